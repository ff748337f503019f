//! Past states of a document, from which a client may be brought to the current one by a patch.
//!
//! A past state shares with the state after it what did not change, so it is counted by what it
//! does not share: states must have been made with [`Document::sharing`] or
//! [`Document::with_member`], else each counts whole.

use std::collections::VecDeque;

use super::{Digest, Document, Selection, sharing};
use crate::bounds::HISTORY_BYTES;

/// The newest past states, up to a number and up to an amount of memory.
#[derive(Debug)]
pub struct History {
    entries: usize,
    bytes: Option<usize>,
    /// From the oldest to the newest; no digest twice.
    past: VecDeque<Past>,
    /// Sum of their `alone`.
    held: usize,
}

#[derive(Debug)]
struct Past {
    digest: Digest,
    document: Document,
    /// Bytes of memory that it did not share with the state that came after it.
    alone: usize,
}

impl History {
    /// An empty one for at most so many `entries` and, beside the current state, so many `bytes` of
    /// memory; `None`: as many as the current state has in canonical text, or [`HISTORY_BYTES`] if
    /// that is more. None of either: it keeps nothing.
    #[must_use]
    pub fn new(entries: usize, bytes: Option<usize>) -> Self {
        Self { entries, bytes, past: VecDeque::new(), held: 0 }
    }

    /// Goes by these bounds from the next state on.
    pub fn set_bounds(&mut self, entries: usize, bytes: Option<usize>) {
        (self.entries, self.bytes) = (entries, bytes);
    }

    /// How many states it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.past.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.past.is_empty()
    }

    /// Bytes of memory that it holds beside the current state.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.held
    }

    /// Takes a state that `next` has replaced, and counts it.
    pub fn push(&mut self, document: Document, next: &Document) {
        self.take(document);
        self.trim(next);
    }

    /// Takes a state that is being replaced: it is found from now on. [`History::trim`] follows, which costs more: it may
    /// come after the clients of the next state have been told.
    pub fn take(&mut self, document: Document) {
        let digest = document.digest();
        // A state that came back and went again is as new as its last time.
        if let Some(at) = self.past.iter().position(|past| past.digest == digest) {
            self.held -= self.past.remove(at).map_or(0, |past| past.alone);
        }
        self.past.push_back(Past { digest, document, alone: 0 });
    }

    /// Counts the state that was taken last, which `next` has replaced, and forgets the oldest ones that are too many or
    /// too large.
    pub fn trim(&mut self, next: &Document) {
        if let Some(last) = self.past.back_mut().filter(|_| self.entries > 0) {
            self.held -= last.alone;
            last.alone = sharing::alone(&last.document.root, Some(&next.root));
            self.held += last.alone;
        }
        let most = self.bytes.unwrap_or_else(|| next.canonical_len().max(HISTORY_BYTES));
        while self.past.len() > self.entries || self.held > most {
            self.held -= self.past.pop_front().map_or(0, |past| past.alone);
        }
    }

    /// Forgets all, for instance because another history began.
    pub fn clear(&mut self) {
        self.past.clear();
        self.held = 0;
    }

    /// The past state that has `digest` when pruned to `selection`, pruned to it; of several the
    /// newest. Costs one pruning for each state that is newer, unless the selection is the whole.
    #[must_use]
    pub fn find(&self, selection: &Selection, digest: Digest) -> Option<Document> {
        let mut newest_first = self.past.iter().rev();
        if selection.is_whole() {
            return newest_first.find(|past| past.digest == digest).map(|past| past.document.clone());
        }
        newest_first.map(|past| selection.prune(&past.document)).find(|pruned| pruned.digest() == digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Document {
        Document::from_json(text.as_bytes()).expect("a document")
    }

    /// An object of 1,000 members of 100 bytes, with one that counts.
    fn large(count: usize) -> Document {
        let members = (0..1_000).map(|at| (format!("k{at}"), Document::string(&"x".repeat(100))));
        Document::object(members).with_member("count", json(&count.to_string()))
    }

    #[test]
    fn the_newest_are_kept_and_found_by_digest() {
        let states: Vec<_> = (0..6).map(|n| json(&format!(r#"{{"n":{n},"same":[1]}}"#))).collect();
        let mut history = History::new(3, None);
        for pair in states.windows(2) {
            history.push(pair[0].clone(), &pair[1]);
        }
        let found = |state: &Document| history.find(&Selection::whole(), state.digest()).map(|found| found.canonical());
        assert_eq!(history.len(), 3);
        for (at, state) in states.iter().enumerate() {
            assert_eq!(found(state), (2..5).contains(&at).then(|| state.canonical()), "state {at}");
        }
    }

    #[test]
    fn a_state_that_came_back_is_held_once_and_as_new() {
        let [a, b, c] = [1, 2, 3].map(|n| json(&n.to_string()));
        let mut history = History::new(2, None);
        for (state, next) in [(&a, &b), (&b, &a), (&a, &c)] {
            history.push(state.clone(), next);
        }
        history.push(c, &b);
        let held: Vec<_> = history.past.iter().map(|past| past.document.canonical()).collect();
        assert_eq!(held, ["1", "3"]);
        assert_eq!(history.bytes(), 2);
    }

    #[test]
    fn a_selection_finds_the_newest_state_that_it_sees_so() {
        let states = [r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#, r#"{"a":2,"b":2}"#, r#"{"a":3,"b":2}"#].map(json);
        let mut history = History::new(9, None);
        for pair in states.windows(2) {
            history.push(pair[0].clone(), &pair[1]);
        }
        let a = Selection::parse(&["/a"], 64).expect("a selection");
        for (digest_of, found) in [(r#"{"a":2}"#, true), (r#"{"a":1}"#, true), (r#"{"a":3}"#, false), ("{}", false)] {
            let document = history.find(&a, json(digest_of).digest());
            assert_eq!(document.map(|document| document.canonical()), found.then(|| json(digest_of).canonical()));
        }
    }

    #[test]
    fn bytes_are_those_that_are_not_shared() {
        let mut history = History::new(1_000, Some(200_000));
        let mut current = large(0);
        for count in 1..=100 {
            let next = current.with_member("count", json(&count.to_string()));
            history.push(std::mem::replace(&mut current, next.clone()), &next);
        }
        let one = history.past[0].alone;
        assert!((1_000..30_000).contains(&one), "one run of members: {one}");
        assert_eq!(history.bytes(), history.past.iter().map(|past| past.alone).sum::<usize>());
        assert!(history.bytes() <= 200_000 && history.bytes() + one > 200_000, "{}", history.bytes());

        let read = large(101);
        assert!(sharing::alone(&current.root, Some(&read.root)) > 100_000, "nothing is shared with what was read");
        let next = read.sharing(&current);
        assert!(sharing::alone(&current.root, Some(&next.root)) < 30_000, "until it is made to share");
        history.push(current, &read);
        assert!(history.bytes() <= 200_000);
    }

    #[test]
    fn an_item_of_a_long_array_costs_a_run() {
        let array = |items: &[usize]| {
            let items: Vec<_> = items.iter().map(|at| format!(r#""10.{}.{}.0/24""#, at / 256, at % 256)).collect();
            json(&format!("[{}]", items.join(",")))
        };
        let mut items: Vec<_> = (0..20_000).collect();
        let mut history = History::new(1_000, None);
        let mut current = array(&items);
        for change in 0..40 {
            match change % 4 {
                0 => items.push(100_000 + change),
                1 => items.insert(500 * change, 100_000 + change),
                2 => items[400 * change] = 100_000 + change,
                _ => drop(items.remove(300 * change)),
            }
            let next = array(&items).sharing(&current);
            history.push(std::mem::replace(&mut current, next.clone()), &next);
        }
        assert_eq!(history.len(), 40);
        let each = history.bytes() / history.len();
        assert!((1_000..15_000).contains(&each), "{each} bytes each");
    }

    #[test]
    fn none_of_either_keeps_nothing() {
        for (entries, bytes) in [(0, None), (9, Some(0))] {
            let mut history = History::new(entries, bytes);
            history.push(json("1"), &json("2"));
            assert!(history.is_empty() && history.bytes() == 0);
        }
        let mut history = History::new(9, None);
        history.push(json("1"), &json("2"));
        history.clear();
        assert!(history.is_empty() && history.bytes() == 0);
    }
}
