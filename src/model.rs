//! PURE. The model and its states: what a document is, what names a state of it, and the one
//! place that decides whether something changed.

pub mod document;
pub mod id;
pub mod inputs;
mod json;
mod reign;
pub mod removal;
pub mod snapshot;
pub mod store;
mod yaml;

pub use document::{Content, Document, Invalid};
pub use id::{Digest, Epoch, Since, StateId};
pub use inputs::{Input, Inputs};
pub use reign::Reign;
pub use removal::{Confirmed, Held};
pub use snapshot::Snapshot;
pub use store::{Offer, Publication, Rules, Store};
