//! PURE. Which addresses are dialled, and how many slots each is offered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::bounds::WORKER_ADDRESSES;

/// An address of an exchange: of which URL, and where.
pub(super) type Place = (usize, SocketAddr);

/// The slots of each address, at least one. Requests that come to more than there are wait for each other.
pub(super) fn shares(slots: usize, places: &BTreeSet<Place>) -> BTreeMap<Place, usize> {
    let count = places.len().clamp(1, WORKER_ADDRESSES);
    let (each, over) = (slots / count, slots % count);
    let shares = places.iter().take(count).enumerate();
    shares.map(|(at, place)| (*place, (each + usize::from(at < over)).max(1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_divided_and_every_address_has_one() {
        for (slots, places, expected) in [
            (4, 0, vec![]),
            (4, 1, vec![4]),
            (5, 2, vec![3, 2]),
            (4, 3, vec![2, 1, 1]),
            (2, 3, vec![1, 1, 1]),
            (1, 2, vec![1, 1]),
        ] {
            let places = (0..places).map(|at| (0, SocketAddr::from(([127, 0, 0, at + 1], 80)))).collect();
            assert_eq!(shares(slots, &places).into_values().collect::<Vec<_>>(), expected);
        }
        let many = (0..200).map(|at| (0, SocketAddr::from(([127, 0, 0, at + 1], 80)))).collect();
        assert_eq!(shares(256, &many).len(), WORKER_ADDRESSES);
    }
}
