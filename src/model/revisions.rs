//! Which versions of which objects a state was made from: a hash, to be compared between replicas.
//! Two that name the same inputs made the same state, so that a generation
//! can be reported as held also where it changed no content.

use std::fmt;

/// A hash of the objects that a state was made from: the sum of theirs, so that one that changes costs one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceRevisions(u128);

/// The hash of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevisionHash(u128);

/// One object that a state was made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceRevision<'a> {
    /// Its uid.
    pub uid: &'a str,
    /// Its generation; of a kind that has none its resourceVersion.
    pub revision: u64,
}

impl SourceRevision<'_> {
    /// Its hash.
    #[must_use]
    pub fn hash(self) -> RevisionHash {
        let mut hasher = blake3::Hasher::new_derive_key("tidewait.dev v1 inputs");
        hasher.update(&(self.uid.len() as u64).to_le_bytes());
        hasher.update(self.uid.as_bytes());
        hasher.update(&self.revision.to_le_bytes());
        let hash = hasher.finalize();
        RevisionHash(u128::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes")))
    }
}

impl SourceRevisions {
    /// Of what has no objects, as a file.
    pub const NONE: Self = Self(0);

    /// Of these objects, in whatever order.
    #[must_use]
    pub fn of(objects: impl IntoIterator<Item = RevisionHash>) -> Self {
        // From 1, so that no objects are another thing than nothing of the kind.
        Self(objects.into_iter().fold(1, |sum, RevisionHash(hash)| sum.wrapping_add(hash)))
    }
}

impl fmt::Display for SourceRevisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SourceRevisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uid_and_revision_of_each_object_count_and_their_order_does_not() {
        let (a, b) = (SourceRevision { uid: "a", revision: 1 }, SourceRevision { uid: "b", revision: 2 });
        let of = |objects: &[SourceRevision<'_>]| SourceRevisions::of(objects.iter().map(|object| object.hash()));
        assert_eq!(of(&[a, b]), of(&[b, a]));
        let all = [
            SourceRevisions::NONE,
            of(&[]),
            of(&[a]),
            of(&[a, b]),
            of(&[SourceRevision { revision: 2, ..a }]),
            of(&[SourceRevision { uid: "b", ..a }]),
            of(&[a, a]),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().map(SourceRevisions::to_string).collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        assert!(distinct.iter().all(|text| text.len() == 32));
    }
}
