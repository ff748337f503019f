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
pub mod fields;
pub mod issuer;
pub mod policy;
pub mod template;
pub mod tokens;
pub mod verdicts;
pub mod verified;

pub use caller::{Caller, Known, Loss};
pub use connection::{Certificate, Connection, Scheme};
pub use credential::{Credential, Refusal};
pub use fields::IdentityFields;
pub use policy::{Allowance, Policy};
pub use tokens::Tokens;
pub use verdicts::{Verdict, Verdicts};
pub use verified::{Bound, Unverified, Verified};
