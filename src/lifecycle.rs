//! How the process lives: its tasks and their owner, when it is ready, how it stops.

pub mod ready;
pub mod stop;
pub mod tasks;
pub mod threads;
