//! `tidewait agent`: keeps files and what follows from them as a model says, on the machine that it runs on.
//!
//! ```text
//! server -- client --> State --> run --> apply --> output (files), hooks (commands), store (what outlives the process)
//!                        ^                 |
//!                        +---- reports ----+   held, rejected: the next poll says so
//! ```
//! Nothing here panics on any state of the disk, or whatever a command of the operator does.

mod admin;
mod age;
pub mod apply;
mod around;
pub mod commands;
mod deadline;
pub mod dry_run;
pub mod exit;
pub mod hooks;
pub mod output;
pub mod run;
mod settle;
pub mod setup;
pub mod signals;
pub mod status;
pub mod store;
pub mod tally;
mod wording;
