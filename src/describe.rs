//! PURE. The describe protocol: a request becomes a [`PollRequest`], a [`Poll`] where it is held, a [`Decision`] and an
//! [`Answer`]. Nothing here knows how waiting is done, what time it is, or hyper.

pub mod accept;
pub mod answer;
pub mod decision;
pub mod encode;
pub mod origin;
pub mod poll;
pub mod problem;
pub mod request;
pub mod stream;
mod weights;

pub use answer::Answer;
pub use decision::{Arrival, Consistency, Decision};
pub use encode::{Coding, ResponseFields};
pub use poll::Poll;
pub use problem::Problem;
pub use request::PollRequest;
