//! PURE. The describe protocol: a request becomes a [`Want`], and a want and a state an answer.
//! Nothing here knows how waiting is done, what time it is, or hyper.

pub mod accept;
pub mod answer;
pub mod encode;
pub mod problem;
pub mod want;
mod weights;

pub use answer::{Arrival, Choice, Standing};
pub use encode::{Coding, Face};
pub use problem::Problem;
pub use want::Want;
