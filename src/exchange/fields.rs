//! PURE. The header fields of a request that waits, as one piece of memory: a map of them takes several times as much.

use http::{HeaderMap, HeaderName, HeaderValue};

/// Header fields, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields(
    /// One a line: neither a name nor a value holds a line feed, and a name holds no colon (RFC 9110, section 5).
    Box<[u8]>,
);

impl Fields {
    /// Each of them.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        let lines = self.0.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let fields = lines.filter_map(|line| {
            let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(&value[1..]).ok()?))
        });
        // `collect` would keep the last of each name alone.
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        map
    }
}

impl Fields {
    /// All of them, as bytes for another replica.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Those that another replica had as these bytes.
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<&HeaderMap> for Fields {
    fn from(map: &HeaderMap) -> Self {
        let length = map.iter().map(|(name, value)| name.as_str().len() + value.len() + 2).sum();
        let mut bytes = Vec::with_capacity(length);
        for (name, value) in map {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.push(b':');
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(b'\n');
        }
        Self(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_come_back_as_they_were() {
        let names = "[a-z0-9!#$%&'*+.^_`|~-]{1,20}";
        // What a value may hold: all but control characters; a tab may stand in it.
        let values = prop::collection::vec(prop_oneof![Just(b'\t'), 32..127_u8, 128..=255_u8], 0..20);
        proptest!(|(fields in prop::collection::vec((names, values), 0..12))| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                let (name, value) = (HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_bytes(&value)?);
                map.append(name, value);
            }
            prop_assert_eq!(Fields::from(&map).to_map(), map);
        });
    }
}
