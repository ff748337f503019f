//! Which versions of which objects a state was made from: a hash, to be compared between replicas.
//! Two that name the same inputs made the same state, so that whoever applied a generation can be
//! told that it is held, also where it changed no content.

use std::fmt;

/// A hash of the objects that a state was made from.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Inputs([u8; 16]);

/// One object that a state was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Input<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// Its generation; of a kind that has none its resourceVersion.
    pub revision: u64,
}

impl Inputs {
    /// Of what has no objects, as a file.
    pub const NONE: Self = Self([0; 16]);

    /// Of these objects, in whatever order.
    #[must_use]
    pub fn of<'a>(objects: impl IntoIterator<Item = Input<'a>>) -> Self {
        let mut objects: Vec<_> = objects.into_iter().collect();
        objects.sort_unstable();
        let mut hasher = blake3::Hasher::new_derive_key("tidewait.dev v1 inputs");
        for Input { uid, revision } in objects {
            hasher.update(&(uid.len() as u64).to_le_bytes());
            hasher.update(uid.as_bytes());
            hasher.update(&revision.to_le_bytes());
        }
        Self(*hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }
}

impl fmt::Display for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_and_revision_of_each_object_count_and_their_order_does_not() {
        let (a, b) = (Input { uid: "a", revision: 1 }, Input { uid: "b", revision: 2 });
        assert_eq!(Inputs::of([a, b]), Inputs::of([b, a]));
        let all = [
            Inputs::NONE,
            Inputs::of([]),
            Inputs::of([a]),
            Inputs::of([a, b]),
            Inputs::of([Input { revision: 2, ..a }]),
            Inputs::of([Input { uid: "b", ..a }]),
            Inputs::of([a, a]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().map(Inputs::to_string).collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        assert!(distinct.iter().all(|text| text.len() == 32));
    }
}
