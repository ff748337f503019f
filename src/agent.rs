//! What the agent does on its machine with the states that a client gives it. No part of this knows a network, and nothing
//! panics on any state of the disk, or whatever a command of the operator does.

pub mod hooks;
pub mod notify;
pub mod output;
pub mod store;
