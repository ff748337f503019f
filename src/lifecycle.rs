//! How the process lives: its tasks and their owner, when it is ready, how it stops, and what is to run in it.

pub mod ready;
pub mod stop;
pub mod tasks;
pub mod threads;
pub mod wanted;
