//! What the clients of a measurement are to be told, byte for byte.

use crate::model;

/// The body that each client must be given.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// All of them the same.
    Whole(Vec<u8>),
    /// Each its own node of [`model::nodes`], of this generation.
    Nodes(u64),
    /// Each the patch that brings its node to this generation.
    Patches(u64),
}

impl Expected {
    /// Whether this is what a client should be told.
    pub(crate) fn is(&self, client: usize, body: &[u8]) -> bool {
        match self {
            Self::Whole(expected) => expected == body,
            Self::Nodes(generation) => model::node_alone(client, *generation) == body,
            Self::Patches(generation) => model::node_patch(client, *generation) == body,
        }
    }
}
