//! PURE. When a file is read: never while somebody writes it, as far as can be seen, and always
//! in the end.
//!
//! A rename or a close says that a writer is done: read now. Any other change may be the first of
//! many: read once nothing has moved for [`FILE_QUIET`]. A read during which the file moved does
//! not count.

use std::time::Instant;

use crate::bounds::{FILE_POLL, FILE_QUIET};

/// What a look shows of a file. The times are the file system's, compared only with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// Device and inode.
    pub(super) inode: (u64, u64),
    pub(super) length: u64,
    pub(super) modified: (i64, i64),
    /// Moves with the permissions and where a writer sets `modified` back (`cp -p`), too.
    pub(super) changed: (i64, i64),
}

/// Why a look was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noticed {
    /// The first look, at a file that has been unchanged for long enough.
    First,
    /// It was time, or something happened that says nothing of writers.
    Looked,
    /// Another entry beside the file was renamed: perhaps a link on the way to it.
    Swapped,
    /// The file's own name was renamed to.
    Renamed,
    /// The file was created, written or removed.
    Written,
    /// Somebody who might have written the file closed it.
    Closed,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Read it now.
    Read,
    /// Look again at this time, if nothing is noticed before.
    Wait(Instant),
    /// It is as it was read.
    Nothing,
}

/// What a read met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Met {
    /// A file, as it was before its bytes were read and after.
    File(Identity, Identity),
    /// No file.
    Missing,
    /// It could not be opened or read: tried again at the next look, since what hinders it may be
    /// something that no look shows.
    Failed,
}

/// The last read.
#[derive(Debug, Default, PartialEq, Eq)]
enum LastRead {
    /// There was none that counts.
    #[default]
    Nothing,
    /// It met this file, or none.
    Met(Option<Identity>),
}

/// What is known of a file.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    /// At the last look; `None`: no file.
    seen: Option<Identity>,
    read: LastRead,
    /// When it is to be read, unless it moves before.
    due: Option<Instant>,
}

impl Identity {
    /// Whether the bytes are the same ones. Not by `changed`: replacing a file moves it on the
    /// one that is replaced, and a reader of that one has read it whole.
    fn same_bytes(&self, other: &Self) -> bool {
        (self.inode, self.length, self.modified) == (other.inode, other.length, other.modified)
    }
}

impl Noticed {
    /// Both, in this order, as one: the last that is about the file itself.
    pub(super) fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Renamed | Self::Written | Self::Closed, Self::First | Self::Looked | Self::Swapped)
            | (Self::Swapped, Self::First | Self::Looked) => self,
            (_, next) => next,
        }
    }
}

impl Debounce {
    /// Something was noticed, and the file then looked like this.
    pub(super) fn notice(&mut self, noticed: Noticed, identity: Option<Identity>, now: Instant) -> Action {
        let is_unread = self.read == LastRead::Nothing && self.due.is_none();
        let moved = identity != self.seen || is_unread;
        let another = identity.map(|identity| identity.inode) != self.seen.map(|seen| seen.inode);
        self.seen = identity;
        let (done, moved) = match noticed {
            Noticed::First => (true, true),
            Noticed::Renamed | Noticed::Closed => (identity.is_some(), true),
            // A rename brings another inode; the same one is being written by somebody else.
            Noticed::Swapped => (another && identity.is_some(), moved),
            // Writes within one tick of the file system's clock leave the identity as it is.
            Noticed::Written => (false, true),
            Noticed::Looked => (false, moved),
        };
        if done {
            self.due = Some(now);
        } else if moved {
            self.due = Some(now + FILE_QUIET);
        }
        self.step(now)
    }

    /// A read is over. Whether it counts, and what to do next.
    pub(super) fn has_read(&mut self, met: Met, now: Instant) -> (bool, Action) {
        let (counts, seen) = match (met, self.seen) {
            (Met::File(before, after), Some(seen)) if seen.same_bytes(&before) && before.same_bytes(&after) => {
                (true, Some(before))
            }
            (Met::File(_, after), _) => (false, Some(after)),
            (Met::Missing, seen) => (seen.is_none(), None),
            (Met::Failed, _) => {
                self.read = LastRead::Nothing;
                self.due = Some(now + FILE_POLL);
                return (true, self.step(now));
            }
        };
        self.seen = seen;
        // What is new is read once more: a write that came after the read but within the same tick
        // of the file system's clock, at the same length, shows in nothing else.
        let again = !counts || self.read != LastRead::Met(seen);
        self.due = again.then(|| now + FILE_QUIET);
        self.read = if counts { LastRead::Met(seen) } else { LastRead::Nothing };
        (counts, self.step(now))
    }

    fn step(&self, now: Instant) -> Action {
        match self.due {
            Some(due) if due <= now => Action::Read,
            Some(due) => Action::Wait(due),
            None => Action::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn file(inode: u64, write: i64) -> Identity {
        Identity { inode: (1, inode), length: 10, modified: (write, 0), changed: (write, 0) }
    }

    fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    /// A file that was read, and read once more.
    fn read(identity: Option<Identity>) -> Debounce {
        Debounce { seen: identity, read: LastRead::Met(identity), due: None }
    }

    #[test]
    fn a_writer_that_is_done_is_read_at_once_any_other_when_quiet() {
        use Noticed::{Closed, First, Looked, Renamed, Swapped, Written};
        let start = tokio::time::Instant::now().into_std();
        let wait = |time| Action::Wait(start + ms(time));
        let (old, new, other) = (Some(file(1, 0)), Some(file(1, 5)), Some(file(2, 5)));
        for (case, notices) in [
            ("renamed over", &[(0, Renamed, other, Action::Read)][..]),
            ("a link swapped", &[(0, Swapped, other, Action::Read)]),
            ("something else renamed", &[(0, Swapped, old, Action::Nothing)]),
            ("something else renamed while written", &[(0, Swapped, new, wait(200)), (50, Swapped, new, wait(200))]),
            ("closed", &[(0, Written, new, wait(200)), (5, Closed, new, Action::Read)]),
            ("closed within one tick", &[(0, Closed, old, Action::Read)]),
            ("written within one tick", &[(0, Written, old, wait(200)), (200, Looked, old, Action::Read)]),
            (
                "held open",
                &[(0, Written, new, wait(200)), (150, Written, new, wait(350)), (350, Looked, new, Action::Read)],
            ),
            ("no notices", &[(0, Looked, new, wait(200)), (200, Looked, Some(file(1, 6)), wait(400))]),
            ("nothing", &[(0, Looked, old, Action::Nothing), (500, Looked, old, Action::Nothing)]),
            ("removed", &[(0, Written, None, wait(200)), (200, Looked, None, Action::Read)]),
            (
                "removed and back",
                &[(0, Written, None, wait(200)), (9, Written, other, wait(209)), (12, Closed, other, Action::Read)],
            ),
            ("renamed away", &[(0, Renamed, None, wait(200))]),
            ("first", &[(0, First, new, Action::Read)]),
        ] {
            let mut debounce = read(old);
            for (time, noticed, identity, expected) in notices {
                let step = debounce.notice(*noticed, *identity, start + ms(*time));
                assert_eq!(step, *expected, "{case}: at {time} ms, {noticed:?}");
            }
        }
    }

    #[test]
    fn a_read_counts_only_if_nothing_moved() {
        let now = tokio::time::Instant::now().into_std();
        let (seen, moved) = (file(1, 1), file(1, 2));
        let replaced = Identity { changed: (9, 0), ..seen };
        let (quiet, poll) = (Action::Wait(now + FILE_QUIET), Action::Wait(now + FILE_POLL));
        for (case, looked, met, expected) in [
            ("first read", Some(seen), Met::File(seen, seen), (true, quiet)),
            ("replaced during the read", Some(seen), Met::File(seen, replaced), (true, quiet)),
            ("written during the read", Some(seen), Met::File(seen, moved), (false, quiet)),
            ("written before the read", Some(seen), Met::File(moved, moved), (false, quiet)),
            ("removed before the read", Some(seen), Met::Missing, (false, quiet)),
            ("missing", None, Met::Missing, (true, quiet)),
            ("back before the read", None, Met::File(seen, seen), (false, quiet)),
            ("not readable", Some(seen), Met::Failed, (true, poll)),
        ] {
            let mut debounce = Debounce::default();
            assert_eq!(debounce.notice(Noticed::First, looked, now), Action::Read, "{case}");
            assert_eq!(debounce.has_read(met, now), expected, "{case}");
        }
        let mut debounce = Debounce::default();
        debounce.notice(Noticed::First, Some(seen), now);
        debounce.has_read(Met::File(seen, seen), now);
        let later = now + FILE_QUIET;
        assert_eq!(debounce.notice(Noticed::Looked, Some(seen), later), Action::Read, "what is new is read once more");
        assert_eq!(debounce.has_read(Met::File(seen, seen), later), (true, Action::Nothing));
    }

    #[test]
    fn notices_of_the_file_itself_outlast_others() {
        use Noticed::{Closed, Looked, Renamed, Swapped, Written};
        for (notices, expected) in [
            (&[Written, Written, Closed][..], Closed),
            (&[Closed, Written], Written),
            (&[Written, Swapped, Looked], Written),
            (&[Renamed, Looked], Renamed),
            (&[Looked, Swapped, Looked], Swapped),
        ] {
            let one = notices.iter().copied().reduce(Noticed::then);
            assert_eq!(one, Some(expected), "{notices:?}");
        }
    }

    /// What a writer does at a moment.
    #[derive(Debug, Clone, Copy)]
    enum Act {
        Write,
        Close,
        Rename,
        Remove,
    }

    /// A file and its writers.
    #[derive(Default)]
    struct World {
        identity: Option<Identity>,
        inode: u64,
        /// When it last moved.
        moved: u64,
        /// Whether a writer has closed or renamed it since.
        done: bool,
    }

    impl World {
        fn act(&mut self, act: Act, now: u64) -> Noticed {
            let (noticed, done) = match act {
                Act::Write | Act::Remove => (Noticed::Written, false),
                Act::Close => (Noticed::Closed, true),
                Act::Rename => (Noticed::Renamed, true),
            };
            self.done = done;
            self.inode += u64::from(matches!(act, Act::Rename));
            let written = i64::try_from(now).expect("short");
            self.identity = match act {
                Act::Close => self.identity,
                Act::Write | Act::Rename => Some(file(self.inode, written)),
                Act::Remove => None,
            };
            if !matches!(act, Act::Close) {
                self.moved = now;
            }
            noticed
        }
    }

    fn any_acts() -> impl Strategy<Value = Vec<(u64, Act, bool)>> {
        let act = prop_oneof![
            4 => Just(Act::Write),
            2 => Just(Act::Close),
            1 => Just(Act::Rename),
            1 => Just(Act::Remove),
        ];
        prop::collection::vec((1_u64..400, act, any::<bool>()), 0..40)
    }

    proptest! {
        /// Writers that do anything at any time, of which any notice may be lost.
        #[test]
        fn never_reads_what_still_changes_and_always_reads_in_the_end(acts in any_acts()) {
            let (start, mut debounce, mut world) = (tokio::time::Instant::now().into_std(), Debounce::default(), World::default());
            let end = acts.iter().map(|(pause, ..)| pause).sum::<u64>() + 1000;
            let mut acts = acts
                .into_iter()
                .scan(0, |at, (pause, act, heard)| { *at += pause; Some((*at, act, heard)) })
                .peekable();
            let (mut wake, mut last_read) = (0, None);
            while wake <= end {
                let (now, noticed) = match acts.next_if(|(at, ..)| *at < wake) {
                    Some((at, act, heard)) => {
                        let noticed = world.act(act, at);
                        if !heard { continue; }
                        (at, noticed)
                    }
                    None => (wake, Noticed::Looked),
                };
                let at = start + ms(now);
                let mut step = debounce.notice(noticed, world.identity, at);
                if step == Action::Read {
                    let quiet = now - world.moved;
                    // A file that came and went between two looks is no file being written.
                    let whole = quiet >= 200 || world.done || world.identity.is_none();
                    prop_assert!(whole, "read {quiet} ms after a write");
                    let met = world.identity.map_or(Met::Missing, |identity| Met::File(identity, identity));
                    let counts;
                    (counts, step) = debounce.has_read(met, at);
                    prop_assert!(counts);
                    last_read = Some(world.identity);
                }
                prop_assert_ne!(step, Action::Read, "a read is never followed by another at once");
                let due = if let Action::Wait(due) = step { (due - start).as_millis() } else { u128::MAX };
                wake = u64::try_from(due).unwrap_or(u64::MAX).min(now + 500);
            }
            prop_assert_eq!(last_read, Some(world.identity), "the last state is read within a second");
        }
    }
}
