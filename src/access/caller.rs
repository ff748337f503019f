//! PURE. Who sends a request.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use super::verified::{Bound, Verified};

/// Who sends a request. It is judged before it waits, and again before it is given a state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Caller {
    /// Nobody has asked who it is, or it did not say, and need not.
    #[default]
    Anonymous,
    /// The owner of a credential.
    Known(Arc<Known>),
}

/// The owner of a credential. All of its requests share it.
#[derive(Debug)]
pub struct Known {
    name: Box<str>,
    /// As its agents are known by.
    identity: Arc<str>,
    groups: Box<[Box<str>]>,
    bound: Bound,
    in_kubernetes: bool,
    with: With,
    lost: AtomicU8,
    /// The same owner, once it is known to be in other groups.
    next: OnceLock<Arc<Known>>,
}

/// What an owner is lost with, beside itself.
#[derive(Debug)]
enum With {
    Nothing,
    /// The same owner, of whose permissions this is one.
    Owner(Arc<Known>),
    /// The authorities of its certificate.
    Authorities(Arc<Known>),
}

/// Why a caller may not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Its credential was withdrawn, or has ended.
    Withdrawn,
    /// Whether its credential, or what it was allowed, is still good cannot be found out.
    Unconfirmed,
    /// What it does is not allowed to it any more.
    Forbidden,
}

impl Loss {
    const ALL: [Self; 3] = [Self::Withdrawn, Self::Unconfirmed, Self::Forbidden];

    fn code(self) -> u8 {
        match self {
            Self::Withdrawn => 1,
            Self::Unconfirmed => 2,
            Self::Forbidden => 3,
        }
    }
}

impl Known {
    /// An owner with this name, in these groups, whose credential is good.
    #[must_use]
    pub fn new(name: &str, groups: Box<[Box<str>]>) -> Arc<Self> {
        let groups = groups.into_iter().map(String::from).collect();
        Self::of(Verified { name: name.to_owned(), groups, ..Verified::default() })
    }

    /// The owner of a credential that was verified.
    #[must_use]
    pub fn of(verified: Verified) -> Arc<Self> {
        let Verified { name, groups, bound, in_kubernetes, lasts: _ } = verified;
        // No name has the sign in it, so no other credential gives the same identity.
        let identity = match bound.pod.as_ref().or(bound.node.as_ref()) {
            Some(bound) => format!("{name}#{bound}").into(),
            None => name.as_str().into(),
        };
        let name = name.into();
        let groups = groups.into_iter().map(String::into_boxed_str).collect();
        Self { name, identity, groups, bound, in_kubernetes, ..Self::nobody(With::Nothing) }.into()
    }

    /// The owner of a certificate, for which these authorities vouch: it is lost with them.
    #[must_use]
    pub fn by(authorities: &Arc<Self>, name: &str) -> Arc<Self> {
        let (name, identity) = (name.into(), name.into());
        Self { name, identity, ..Self::nobody(With::Authorities(Arc::clone(authorities))) }.into()
    }

    /// The same owner, for requests that one permission allows: it is lost with the permission or with the credential.
    #[must_use]
    pub fn with_permission(self: &Arc<Self>) -> Arc<Self> {
        let (name, identity, bound) = (self.name.clone(), self.identity.clone(), self.bound.clone());
        let (in_kubernetes, with) = (self.in_kubernetes, With::Owner(Arc::clone(self)));
        Self { name, identity, bound, in_kubernetes, ..Self::nobody(with) }.into()
    }

    fn nobody(with: With) -> Self {
        Self {
            name: Box::default(),
            identity: Arc::default(),
            groups: Box::default(),
            bound: Bound::default(),
            in_kubernetes: false,
            with,
            lost: AtomicU8::new(0),
            next: OnceLock::new(),
        }
    }

    /// Whether it is Kubernetes that knows it by this name and these groups.
    #[must_use]
    pub fn is_in_kubernetes(&self) -> bool {
        self.in_kubernetes
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The groups that it is in now.
    #[must_use]
    pub fn groups(&self) -> &[Box<str>] {
        let mut known = self;
        while let Some(next) = known.next.get().or(known.owner()) {
            known = next;
        }
        &known.groups
    }

    /// What its credential is bound to.
    #[must_use]
    pub fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Whether it has the same name and groups, and is bound to the same.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.groups == other.groups && self.is_same_owner(other)
    }

    fn is_same_owner(&self, other: &Self) -> bool {
        (&self.name, &self.bound, self.in_kubernetes) == (&other.name, &other.bound, other.in_kubernetes)
    }

    /// Its credential is `next`'s now. If that is the same owner in other groups its requests go on, as far as these may; they
    /// are to be judged again. Otherwise it is lost.
    pub fn give_way(&self, next: &Arc<Self>) {
        if !self.is_same_owner(next) || self.next.set(Arc::clone(next)).is_err() {
            self.lose(Loss::Withdrawn);
        }
    }

    /// Whether it is in other groups than it was when its requests were judged.
    pub(super) fn has_changed(&self) -> bool {
        self.next.get().is_some() || self.owner().is_some_and(|owner| owner.has_changed())
    }

    fn owner(&self) -> Option<&Arc<Self>> {
        match &self.with {
            With::Owner(owner) => Some(owner),
            With::Nothing | With::Authorities(_) => None,
        }
    }

    /// From now on its requests may not go on. The first reason counts.
    pub fn lose(&self, loss: Loss) {
        let _ = self.lost.compare_exchange(0, loss.code(), Ordering::AcqRel, Ordering::Acquire);
    }

    /// Why its requests may not go on; none: they may.
    #[must_use]
    pub fn lost(&self) -> Option<Loss> {
        let mut known = self;
        loop {
            let code = known.lost.load(Ordering::Acquire);
            if let Some(own) = Loss::ALL.into_iter().find(|loss| loss.code() == code) {
                return Some(own);
            }
            known = match (known.next.get(), &known.with) {
                (Some(next), _) => next,
                (None, With::Owner(with) | With::Authorities(with)) => with,
                (None, With::Nothing) => return None,
            };
        }
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Known {}

impl Caller {
    /// The authenticated identity, as its agents are known by; none: it is anonymous.
    #[must_use]
    pub fn identity(&self) -> Option<&Arc<str>> {
        match self {
            Self::Anonymous => None,
            Self::Known(known) => Some(&known.identity),
        }
    }

    /// Why its requests may not go on; none: they may.
    #[must_use]
    pub fn lost(&self) -> Option<Loss> {
        match self {
            Self::Anonymous => None,
            Self::Known(known) => known.lost(),
        }
    }

    /// Whether it is in other groups than it was when its requests were judged: they are to be judged again.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Known(known) => known.has_changed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(name: &str, node: Option<&str>, pod: Option<&str>) -> Option<Arc<str>> {
        let bound = Bound { node: node.map(str::to_owned), pod: pod.map(str::to_owned) };
        let known = Known::of(Verified { name: name.to_owned(), bound, ..Verified::default() });
        Caller::Known(known).identity().cloned()
    }

    #[test]
    fn what_a_credential_is_bound_to_is_part_of_the_identity() {
        let name = |text: &str| Some(text.into());
        assert_eq!(bound("a", None, None), name("a"));
        assert_eq!(bound("a", Some("node-1"), None), name("a#node-1"));
        assert_eq!(bound("a", Some("node-1"), Some("ns/pod")), name("a#ns/pod"));
    }

    #[test]
    fn a_permission_is_lost_alone_and_with_its_owner() {
        let owner = Known::new("a", Box::default());
        let (one, other) = (owner.with_permission(), owner.with_permission());
        one.lose(Loss::Forbidden);
        assert_eq!((one.lost(), other.lost(), owner.lost()), (Some(Loss::Forbidden), None, None));
        owner.lose(Loss::Withdrawn);
        owner.lose(Loss::Unconfirmed);
        assert_eq!((one.lost(), other.lost()), (Some(Loss::Forbidden), Some(Loss::Withdrawn)));
        assert_eq!(owner.lost(), Some(Loss::Withdrawn));
    }

    #[test]
    fn an_owner_in_other_groups_goes_on_and_another_owner_does_not() {
        let groups = |groups: &[&str]| groups.iter().map(|group| Box::from(*group)).collect();
        let [one, next, last] = ["a", "b", "c"].map(|group| Known::new("a", groups(&[group])));
        let permission = one.with_permission();
        assert_eq!((permission.groups(), permission.has_changed()), (one.groups(), false));
        one.give_way(&next);
        next.give_way(&last);
        for known in [&one, &permission] {
            assert_eq!((known.groups(), known.has_changed(), known.lost()), (&*groups(&["c"]), true, None));
        }
        assert!(!last.has_changed());
        last.lose(Loss::Unconfirmed);
        assert_eq!([&one, &permission, &next].map(|known| known.lost()), [Some(Loss::Unconfirmed); 3]);
        let other = Known::new("b", groups(&["a"]));
        let before = Known::new("a", groups(&["a"]));
        before.give_way(&other);
        assert_eq!((before.lost(), before.has_changed()), (Some(Loss::Withdrawn), false));
    }
}
