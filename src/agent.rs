//! What the agent does on its machine.

pub mod output;
pub mod store;
