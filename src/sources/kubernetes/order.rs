//! PURE. The order of what list, stream and consistent reads show: what is new, and what is
//! authoritative. A stream may repeat and reorder; a read shows the moment at which it was served,
//! which may be long past when the answer arrives.
//!
//! By name a read is a GET, and only reads show the object; what lists and the synthetic events of
//! a watch show may come from a cache that is behind a restored store, and gives the position only.
//! By labels a read is a list.

use super::driver::Contradiction;

/// The order of one target.
#[derive(Debug)]
pub(super) struct Order {
    by_name: bool,
    /// What a stream says of this version or an older one is history. Versions of one resource type
    /// are comparable across objects, so this holds too for the deletion of an object that has been
    /// created anew since.
    floor: u64,
    /// The newest version that is part of what was returned. By name that of the object, or of its
    /// deletion; by labels the position. 0: none.
    known: u64,
    /// By name: the position is one of list or watch, and what lies between `known` and it has not been seen.
    unseen: bool,
    /// What was known when the read that is under way began.
    began: Option<u64>,
}

/// What a consistent read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadVerdict {
    /// It is authoritative, and equals what was known.
    Same,
    /// It is authoritative, and newer: the stream is on its way there.
    Newer,
    /// It is authoritative, and contradicts what was known.
    Contradicts {
        how: Contradiction,
        /// What was known.
        known: u64,
    },
    /// It confirms what was known, and the stream has brought something newer since.
    Superseded,
    /// It is older than what was known, and the stream has brought something newer since: late, or
    /// of a store that was restored? Only another read can show that.
    Ambiguous,
}

impl ReadVerdict {
    /// The metric label.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Newer => "newer",
            Self::Contradicts { how: Contradiction::Older, .. } => "older",
            Self::Contradicts { how: Contradiction::Missed, .. } => "missed",
            Self::Superseded => "superseded",
            Self::Ambiguous => "ambiguous",
        }
    }
}

impl Order {
    pub(super) fn new(by_name: bool) -> Self {
        Self { by_name, floor: 0, known: 0, unseen: false, began: None }
    }

    /// The newest version that is part of what was returned.
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// The stream shows an object at a version; returns whether that is new. 0: no order is known.
    pub(super) fn event(&mut self, version: u64) -> bool {
        let is_new = version == 0 || version > self.floor.max(self.known);
        if is_new && version != 0 {
            (self.floor, self.known) = (version, version);
            self.unseen = false;
        }
        is_new
    }

    /// The stream is complete up to a version.
    pub(super) fn bookmark(&mut self, version: u64) {
        self.floor = self.floor.max(version);
        if !self.by_name {
            self.known = self.known.max(version);
        }
    }

    /// A consistent list shows the set at a version. By labels no read is under way then.
    pub(super) fn listed(&mut self, version: u64) {
        if !self.by_name {
            self.known = version;
        } else if version < self.floor {
            // Of a history that has ended: the read to come is no restore of its own.
            self.known = 0;
        }
        self.floor = version;
        self.unseen = self.by_name;
    }

    /// A watch shows the set, not older than the position; returns whether it is new.
    pub(super) fn synced(&mut self, version: u64) -> bool {
        self.floor = version;
        self.unseen = self.by_name;
        let is_new = version >= self.known;
        if is_new && !self.by_name {
            self.known = version;
        }
        is_new
    }

    /// A consistent read begins.
    pub(super) fn read_begins(&mut self) {
        self.began = Some(self.known);
    }

    /// It shows this version: of the object, or of the list. Absent: there is no such object, or no order.
    pub(super) fn read(&mut self, shown: Option<u64>) -> ReadVerdict {
        let known = self.known;
        let began = self.began.take().unwrap_or(known);
        let moved = known > began;
        match shown {
            None if moved => return ReadVerdict::Ambiguous,
            Some(shown) if shown < known && moved => {
                return if shown >= began { ReadVerdict::Superseded } else { ReadVerdict::Ambiguous };
            }
            Some(_) | None => {}
        }
        let unseen = std::mem::take(&mut self.unseen);
        let Some(shown) = shown else { return ReadVerdict::Same };
        self.known = shown;
        if shown < known {
            return ReadVerdict::Contradicts { how: Contradiction::Older, known };
        }
        if shown == known {
            return ReadVerdict::Same;
        }
        // By labels the stream is never beyond what is known.
        if shown <= self.floor && !unseen {
            return ReadVerdict::Contradicts { how: Contradiction::Missed, known };
        }
        ReadVerdict::Newer
    }
}

#[cfg(test)]
mod tests;
