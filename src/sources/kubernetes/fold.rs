//! PURE. What was seen of one object by name becomes what changed: nothing older than what a
//! stream showed already, and a list is the truth.

use kube::ResourceExt;

use super::Seen;
use super::driver::number;
use crate::sources::Authority;

/// The order of what was seen of one object.
#[derive(Debug, Default)]
pub struct One {
    /// What a stream says of this version or an older one is history: a repetition, or out of
    /// order. Versions of one resource type are comparable across objects, so this holds too for
    /// the deletion of an object that has been created anew since. 0: no order is known.
    known: u64,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<K> {
    /// The object is this one now.
    Holds {
        /// The object.
        object: K,
        /// Its resourceVersion; 0: no order.
        version: u64,
        /// How it was seen.
        authority: Authority,
    },
    /// There is no such object now.
    Gone,
    /// Nothing, and the API server is in contact.
    Same,
    /// The API server cannot be asked.
    Lost {
        /// Why.
        reason: String,
    },
    /// The API server refuses to be asked.
    Denied {
        /// Why, and the remedy.
        reason: String,
    },
}

impl One {
    /// Takes what was seen.
    pub fn take<K: ResourceExt>(&mut self, seen: Seen<K>) -> Change<K> {
        match seen {
            Seen::Listed { mut objects, version } => {
                self.known = number(&version).unwrap_or(0);
                let object = objects.pop();
                object.map_or(Change::Gone, |object| Change::holds(object, Authority::Read))
            }
            Seen::Applied(object) if self.is_news(&object) => Change::holds(object, Authority::Stream),
            // The version of a deletion is its own, not that of the last change.
            Seen::Deleted(object) if self.is_news(&object) => Change::Gone,
            Seen::Applied(_) | Seen::Deleted(_) | Seen::Live => Change::Same,
            Seen::Lost { reason } => Change::Lost { reason },
            Seen::Denied { reason } => Change::Denied { reason },
        }
    }

    fn is_news<K: ResourceExt>(&mut self, object: &K) -> bool {
        let version = version_of(object);
        let news = version == 0 || version > self.known;
        self.known = self.known.max(version);
        news
    }
}

impl<K: ResourceExt> Change<K> {
    fn holds(object: K, authority: Authority) -> Self {
        Self::Holds { version: version_of(&object), object, authority }
    }
}

fn version_of<K: ResourceExt>(object: &K) -> u64 {
    object.resource_version().as_deref().and_then(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use proptest::prelude::*;

    use super::*;

    fn map(uid: u8, version: u64) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.uid = Some(format!("uid-{uid}"));
        map.metadata.resource_version = Some(version.to_string());
        map
    }

    fn list(objects: Vec<ConfigMap>, version: u64) -> Seen<ConfigMap> {
        Seen::Listed { objects, version: version.to_string() }
    }

    /// What a change is, in short: uid and version, or a word.
    fn short(change: &Change<ConfigMap>) -> String {
        match change {
            Change::Holds { object, version, authority } => {
                format!("{}@{version} {authority:?}", object.uid().unwrap_or_default())
            }
            Change::Gone => "gone".to_owned(),
            Change::Same => "same".to_owned(),
            Change::Lost { reason } | Change::Denied { reason } => reason.clone(),
        }
    }

    #[track_caller]
    fn assert_changes(steps: Vec<(Seen<ConfigMap>, &str)>) {
        let mut one = One::default();
        for (index, (seen, expected)) in steps.into_iter().enumerate() {
            assert_eq!(short(&one.take(seen)), expected, "step {index}");
        }
    }

    /// Row (c) 6: duplicate and reordered events; each id once, ascending.
    #[test]
    fn what_a_stream_repeats_or_reorders_is_dropped() {
        assert_changes(vec![
            (list(vec![map(1, 5)], 9), "uid-1@5 Read"),
            (Seen::Applied(map(1, 5)), "same"),
            (Seen::Applied(map(1, 11)), "uid-1@11 Stream"),
            (Seen::Applied(map(1, 10)), "same"),
            (Seen::Applied(map(1, 11)), "same"),
            (Seen::Applied(map(1, 12)), "uid-1@12 Stream"),
        ]);
    }

    /// Row (c) 8: deleted, and created anew with another uid; also where the events swap places.
    #[test]
    fn deletion_and_re_creation_are_told_in_order() {
        assert_changes(vec![
            (list(vec![], 9), "gone"),
            (Seen::Applied(map(1, 10)), "uid-1@10 Stream"),
            (Seen::Deleted(map(1, 11)), "gone"),
            (Seen::Applied(map(1, 10)), "same"),
            (Seen::Applied(map(2, 13)), "uid-2@13 Stream"),
            (Seen::Deleted(map(1, 12)), "same"),
        ]);
    }

    /// Row (c) 7: a store restored from a backup; a list is the truth, also where it is older.
    #[test]
    fn a_list_is_the_truth() {
        assert_changes(vec![
            (list(vec![map(1, 1000)], 1018), "uid-1@1000 Read"),
            (Seen::Applied(map(1, 1020)), "uid-1@1020 Stream"),
            (list(vec![map(1, 990)], 1003), "uid-1@990 Read"),
            (Seen::Applied(map(1, 1004)), "uid-1@1004 Stream"),
        ]);
    }

    #[test]
    fn without_numbers_there_is_no_order() {
        let odd = |version: &str| {
            let mut map = map(1, 0);
            map.metadata.resource_version = Some(version.to_owned());
            map
        };
        assert_changes(vec![
            (list(vec![odd("b")], 0), "uid-1@0 Read"),
            (Seen::Applied(odd("a")), "uid-1@0 Stream"),
            (Seen::Applied(odd("a")), "uid-1@0 Stream"),
        ]);
    }

    fn any_seen() -> impl Strategy<Value = Seen<ConfigMap>> {
        let object = || (0_u8..3, 1_u64..40).prop_map(|(uid, version)| map(uid, version));
        prop_oneof![
            1 => (0_u8..3, 1_u64..40, 0_u64..5).prop_map(|(uid, version, later)| {
                list(vec![map(uid, version)], version + later)
            }),
            1 => (1_u64..40).prop_map(|version| list(vec![], version)),
            6 => object().prop_map(Seen::Applied),
            2 => object().prop_map(Seen::Deleted),
            1 => Just(Seen::Live),
        ]
    }

    proptest! {
        #[test]
        fn streams_never_go_back_between_lists(all in prop::collection::vec(any_seen(), 0..60)) {
            let mut one = One::default();
            let mut newest = std::collections::BTreeMap::new();
            for seen in all {
                if matches!(seen, Seen::Listed { .. }) {
                    newest.clear();
                }
                if let Change::Holds { version, object, .. } = one.take(seen) {
                    let before = newest.insert(object.uid(), version);
                    prop_assert!(before.is_none_or(|before| before < version), "{version} after {before:?}");
                }
            }
        }
    }
}
