//! PURE. Who sends a request, over which connection, and by which credential: what every decision on a request starts from.
//!
//! ```text
//!  Authorization: Bearer ... --> credential::read --> Tokens::find --> Caller, or a Refusal
//!                                                       ^
//!                                                       |            policy: may it poll this operation?
//!                       the file with tokens -> Tokens::parse; what is not in it any more is withdrawn
//! ```

pub mod caller;
pub mod certificate;
pub mod connection;
pub mod credential;
pub mod policy;
pub mod tokens;
pub mod verified;

pub use caller::{Caller, Identity};
pub use connection::{Connection, Scheme};
pub use credential::Refusal;
pub use policy::Policy;
pub use tokens::Tokens;
pub use verified::{Bound, Unverified, Verified};
