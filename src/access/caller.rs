//! PURE. Who sends a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The authenticated identity of a caller.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Identity {
    /// No identity was asked for, or none was presented.
    #[default]
    Anonymous,
    /// Authenticated, under this name.
    Authenticated(Arc<str>),
}

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
    identity: Identity,
    groups: Box<[Box<str>]>,
    withdrawn: AtomicBool,
}

impl Known {
    /// An owner with this name, in these groups, whose credential is good.
    #[must_use]
    pub fn new(name: &str, groups: Box<[Box<str>]>) -> Arc<Self> {
        let identity = Identity::Authenticated(name.into());
        Arc::new(Self { identity, groups, withdrawn: AtomicBool::new(false) })
    }

    /// Whether it has the same name and groups.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.identity, &self.groups) == (&other.identity, &other.groups)
    }

    /// From now on the credential is not good any more.
    pub fn withdraw(&self) {
        self.withdrawn.store(true, Ordering::Release);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Known {}

impl Caller {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        match self {
            Self::Anonymous => &Identity::Anonymous,
            Self::Known(known) => &known.identity,
        }
    }

    /// The groups that it is in.
    #[must_use]
    pub fn groups(&self) -> &[Box<str>] {
        match self {
            Self::Anonymous => &[],
            Self::Known(known) => &known.groups,
        }
    }

    /// Whether its credential is not good any more.
    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Known(known) => known.withdrawn.load(Ordering::Acquire),
        }
    }
}
