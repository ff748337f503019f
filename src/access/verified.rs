//! PURE. What is found out of a credential: whose it is, or why nobody's.

use std::time::Duration;

/// A credential that is good.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// The name of its owner.
    pub name: String,
    /// The groups that its owner is in.
    pub groups: Vec<String>,
    /// What it is bound to.
    pub bound: Bound,
    /// Whether it is Kubernetes that knows the owner by this name and these groups.
    pub in_kubernetes: bool,
    /// How long it is still good, with the leeway for clocks that differ; absent: it does not end by itself.
    pub lasts: Option<Duration>,
}

/// What a credential is bound to: it is of use only as long as that exists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bound {
    /// The Kubernetes node.
    pub node: Option<String>,
    /// The Kubernetes pod, as NAMESPACE/NAME.
    pub pod: Option<String>,
}

/// Why a credential is nobody's. No text here repeats any part of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unverified {
    /// It is not good. What is wrong with it, and the remedy, as the rest of a sentence that begins with "the credential".
    Invalid(&'static str),
    /// It cannot be found out now. For operators: why.
    Unavailable(String),
}
