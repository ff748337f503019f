//! Ids of items, of claims and of replicas: 128 random bits, in base32 (RFC 4648, section 6) with small letters and without padding. Who
//! knows one may use it, within its access.

use std::fmt;

use data_encoding::BASE32_NOPAD;

/// Names an item.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId(u128);

/// Names one claim on an item: a worker's attempt. Another attempt is another claim.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimId(u128);

/// Names one run of one replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaId(u128);

/// 26 characters.
fn text(bits: u128) -> String {
    BASE32_NOPAD.encode(&bits.to_be_bytes()).to_ascii_lowercase()
}

fn bits(text: &str) -> Option<u128> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).ok()?;
    Some(u128::from_be_bytes(bytes.try_into().ok()?))
}

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// The id with these bits, which nobody can foresee.
            #[must_use]
            pub fn of(bits: u128) -> Self {
                Self(bits)
            }

            /// The id that is written so; none: it is none, or is written otherwise.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                bits(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| serde::de::Error::custom("no id"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&text(self.0))
            }
        }

        impl fmt::Debug for $name {
            /// Without the id: who knows it may use it.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

id!(ItemId);
id!(ClaimId);
id!(ReplicaId);

impl ClaimId {
    /// Stands for the claim on an item that nothing is known of.
    pub(super) fn unknown_of(item: ItemId) -> Self {
        Self(!item.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_in_no_other_way() {
        for bits in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef] {
            let id = ItemId::of(bits);
            assert_eq!(id.to_string().len(), 26);
            assert_eq!(ItemId::parse(&id.to_string()), Some(id));
        }
        for wrong in [
            "",
            "a",
            "aaaaaaaaaaaaaaaaaaaaaaaaa",
            "aaaaaaaaaaaaaaaaaaaaaaaaab",
            "aaaaaaaaaaaaaaaaaaaaaaaa==",
            "AAAAAAAAAAAAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(ItemId::parse(wrong), None, "{wrong}");
        }
        assert_eq!(format!("{:?}", ClaimId::of(7)), "ClaimId");
    }
}
