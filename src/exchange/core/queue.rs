//! PURE. The order in which queued items are taken: more urgent ones first, among those of one urgency the clients in turn,
//! and the items of a client in the order in which they came.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Client, Key};
use crate::exchange::id::ItemId;

/// Urgencies (RFC 9218, section 4.1): 0 is the most urgent.
pub(super) const URGENCIES: usize = 8;

/// Where an item is in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its urgency now: waiting raises it.
    pub(super) urgency: u8,
    /// Whose it is.
    pub(super) client: Client,
    /// The key in its path, where the exchange has one.
    pub(super) key: Option<Key>,
    /// In the order in which items came; an item that comes back keeps its number.
    pub(super) sequence: u64,
    /// Another replica counts it.
    pub(super) is_foreign: bool,
}

/// Queued items.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(super) struct Queue {
    all: Turns,
    /// The same by key, for workers that take those of one key alone.
    keys: HashMap<Key, Turns>,
    of_client: HashMap<Client, usize>,
    length: usize,
    /// How many of them another replica counts.
    foreign: usize,
}

/// The items that some workers may take, by urgency.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Turns([Level; URGENCIES]);

/// The items of one urgency.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Level {
    /// Clients, in the order of their turns.
    ring: BTreeMap<i64, Client>,
    clients: HashMap<Client, Waiting>,
    last_turn: i64,
    first_turn: i64,
    length: usize,
}

/// The items of one client at one urgency, in the order in which they came.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Waiting {
    turn: i64,
    items: BTreeMap<u64, ItemId>,
}

/// Which end of the turns a client goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Front,
    Back,
}

impl Queue {
    /// How many items there are.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// How many of them this replica counts.
    #[must_use]
    pub(super) fn own(&self) -> usize {
        self.length - self.foreign
    }

    /// Whether there is none.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// How many items of a client there are.
    #[must_use]
    pub(super) fn of_client(&self, client: &Client) -> usize {
        self.of_client.get(client).copied().unwrap_or(0)
    }

    /// Adds an item behind all that its client has.
    pub(super) fn push(&mut self, place: &Place, item: ItemId) {
        self.insert(place, item, End::Back);
    }

    /// Puts an item back that was taken: it is the next of its urgency.
    pub(super) fn put_back(&mut self, place: &Place, item: ItemId) {
        self.insert(place, item, End::Front);
    }

    fn insert(&mut self, place: &Place, item: ItemId, end: End) {
        self.length += 1;
        self.foreign += usize::from(place.is_foreign);
        *self.of_client.entry(Arc::clone(&place.client)).or_default() += 1;
        self.all.insert(place, item, end);
        if let Some(key) = &place.key {
            self.keys.entry(Arc::clone(key)).or_default().insert(place, item, end);
        }
    }

    /// The next item, of those with this key (absent: of all).
    #[must_use]
    pub(super) fn next(&self, key: Option<&Key>) -> Option<ItemId> {
        match key {
            None => self.all.next(),
            Some(key) => self.keys.get(key)?.next(),
        }
    }

    /// Removes an item that a worker takes: it was the turn of its client.
    pub(super) fn take(&mut self, place: &Place) {
        self.drop(place, true);
    }

    /// Removes an item that nobody took.
    pub(super) fn remove(&mut self, place: &Place) {
        self.drop(place, false);
    }

    fn drop(&mut self, place: &Place, had_turn: bool) {
        if !self.all.remove(place, had_turn) {
            return;
        }
        self.length -= 1;
        self.foreign -= usize::from(place.is_foreign);
        if let Some(count) = self.of_client.get_mut(&place.client) {
            *count -= 1;
            if *count == 0 {
                self.of_client.remove(&place.client);
            }
        }
        if let Some(key) = &place.key
            && let Some(turns) = self.keys.get_mut(key)
        {
            turns.remove(place, had_turn);
            if turns.is_empty() {
                self.keys.remove(key);
            }
        }
    }

    /// How many items are taken before this one, if nothing changes, and this one: about as many as are more urgent, or as
    /// urgent and older.
    #[must_use]
    pub(super) fn position(&self, place: &Place) -> usize {
        let urgency = usize::from(place.urgency);
        let more_urgent: usize = self.all.0[..urgency].iter().map(|level| level.length).sum();
        let older = self.all.0[urgency].clients.values().map(|waiting| waiting.items.range(..place.sequence).count());
        more_urgent + older.sum::<usize>() + 1
    }
}

impl Turns {
    fn is_empty(&self) -> bool {
        self.0.iter().all(|level| level.length == 0)
    }

    fn insert(&mut self, place: &Place, item: ItemId, end: End) {
        let level = &mut self.0[usize::from(place.urgency)];
        level.length += 1;
        let is_new = !level.clients.contains_key(&place.client);
        if is_new || end == End::Front {
            level.give_turn(&place.client, end);
        }
        if let Some(waiting) = level.clients.get_mut(&place.client) {
            waiting.items.insert(place.sequence, item);
        }
    }

    fn next(&self) -> Option<ItemId> {
        let level = self.0.iter().find(|level| level.length > 0)?;
        let client = level.ring.values().next()?;
        level.clients.get(client)?.items.values().next().copied()
    }

    /// Whether it was there.
    fn remove(&mut self, place: &Place, had_turn: bool) -> bool {
        let level = &mut self.0[usize::from(place.urgency)];
        let Some(waiting) = level.clients.get_mut(&place.client) else { return false };
        if waiting.items.remove(&place.sequence).is_none() {
            return false;
        }
        level.length -= 1;
        if waiting.items.is_empty() {
            let turn = waiting.turn;
            level.ring.remove(&turn);
            level.clients.remove(&place.client);
        } else if had_turn {
            level.give_turn(&place.client, End::Back);
        }
        true
    }
}

impl Level {
    /// Moves a client to an end of the turns; adds it where it has none.
    fn give_turn(&mut self, client: &Client, end: End) {
        let turn = match end {
            End::Back => {
                self.last_turn += 1;
                self.last_turn
            }
            End::Front => {
                self.first_turn -= 1;
                self.first_turn
            }
        };
        let waiting =
            self.clients.entry(Arc::clone(client)).or_insert_with(|| Waiting { turn, items: BTreeMap::new() });
        self.ring.remove(&waiting.turn);
        waiting.turn = turn;
        self.ring.insert(turn, Arc::clone(client));
    }
}

#[cfg(test)]
impl Queue {
    /// Whether nothing of earlier items is left in it.
    pub(super) fn holds_nothing(&self) -> bool {
        let levels = self.all.0.iter().all(|level| level.ring.is_empty() && level.clients.is_empty());
        self.is_empty() && self.all.is_empty() && levels && self.keys.is_empty() && self.of_client.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(urgency: u8, client: &str, key: Option<&str>, sequence: u64) -> Place {
        Place { urgency, client: client.into(), key: key.map(Arc::from), sequence, is_foreign: false }
    }

    /// All items in the order in which they are taken.
    fn drain(queue: &mut Queue, places: &HashMap<ItemId, Place>, key: Option<&str>) -> Vec<u64> {
        let key = key.map(Arc::from);
        let mut order = Vec::new();
        while let Some(item) = queue.next(key.as_ref()) {
            queue.take(&places[&item]);
            order.push(places[&item].sequence);
        }
        order
    }

    fn filled(places: &[Place]) -> (Queue, HashMap<ItemId, Place>) {
        let mut queue = Queue::default();
        let mut by_id = HashMap::new();
        for place in places {
            let item = ItemId::of(u128::from(place.sequence));
            queue.push(place, item);
            by_id.insert(item, place.clone());
        }
        (queue, by_id)
    }

    #[test]
    fn clients_take_turns_and_each_has_its_items_in_order() {
        let places = [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("c", 5), ("b", 6)];
        let places = places.map(|(client, sequence)| place(3, client, None, sequence));
        let (mut queue, places) = filled(&places);
        assert_eq!(queue.of_client(&"a".into()), 3);
        assert_eq!(drain(&mut queue, &places, None), [1, 4, 5, 2, 6, 3]);
        assert!(queue.is_empty() && queue.of_client.is_empty() && queue.all.is_empty());
    }

    #[test]
    fn the_more_urgent_go_first_and_what_is_put_back_is_the_next_of_its_urgency() {
        let places = [place(3, "a", None, 1), place(3, "b", None, 2), place(0, "a", None, 3), place(7, "a", None, 4)];
        let (mut queue, places) = filled(&places);
        let back = place(3, "a", None, 1);
        queue.take(&back);
        queue.push(&place(3, "c", None, 5), ItemId::of(5));
        queue.put_back(&back, ItemId::of(1));
        let mut places = places;
        places.insert(ItemId::of(5), place(3, "c", None, 5));
        assert_eq!(drain(&mut queue, &places, None), [3, 1, 2, 5, 4]);
    }

    #[test]
    fn a_worker_of_one_key_takes_items_of_that_key_alone() {
        let places = [("x", "a", 1), ("y", "a", 2), ("y", "b", 3), ("x", "b", 4), ("y", "a", 5)];
        let places = places.map(|(key, client, sequence)| place(3, client, Some(key), sequence));
        let (mut queue, places) = filled(&places);
        assert_eq!(drain(&mut queue, &places, Some("y")), [2, 3, 5]);
        assert_eq!(queue.len(), 2);
        assert!(drain(&mut queue, &places, Some("z")).is_empty());
        // The last turn was that of a.
        assert_eq!(drain(&mut queue, &places, None), [4, 1]);
        assert!(queue.keys.is_empty());
    }

    #[test]
    fn a_position_counts_what_is_more_urgent_and_what_is_older() {
        let places = [place(0, "a", None, 9), place(3, "a", None, 1), place(3, "b", None, 2), place(3, "a", None, 3)];
        let (queue, _) = filled(&places);
        assert_eq!(places.map(|place| queue.position(&place)), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_not_there_cannot_be_removed() {
        let (mut queue, _) = filled(&[place(3, "a", Some("k"), 1)]);
        queue.remove(&place(3, "a", Some("k"), 2));
        queue.remove(&place(2, "a", Some("k"), 1));
        assert_eq!((queue.len(), queue.of_client(&"a".into())), (1, 1));
        queue.remove(&place(3, "a", Some("k"), 1));
        queue.remove(&place(3, "a", Some("k"), 1));
        assert!(queue.is_empty() && queue.keys.is_empty());
    }
}
