//! PURE. The model and its states: what a document is, what names a state of it, which part of it
//! a client selected, how to get from one state to another, and the one place that decides whether
//! something changed.

mod diff;
pub mod document;
pub mod history;
pub mod id;
pub mod index;
pub mod invalid;
mod json;
mod members;
pub mod patch;
pub mod removal;
pub mod revisions;
mod runs;
mod script;
pub mod selection;
mod sharing;
pub mod snapshot;
pub mod store;
mod tree;
mod yaml;

#[cfg(test)]
pub(crate) mod tests;

pub use document::{Content, Document, Value};
pub use history::History;
pub use id::{Digest, Epoch, Since, StateId};
pub use index::Index;
pub use invalid::Invalid;
pub use removal::{BlockedChange, RemovalApproval};
pub use revisions::{RevisionHash, SourceRevision, SourceRevisions};
pub use selection::{InvalidSelection, Pointer, Selection};
pub use snapshot::{Snapshot, SupersededAt};
pub use store::{Offer, Provenance, Publication, Rules, Store};
