//! A client that polls: endpoints and an operation in, verified states out.
//!
//! It does what docs/clients.md asks of a client: it waits for an answer as long as the wait and 10 s, takes 204 for what it is, obeys `Retry-After`, pauses at random after failures,
//! goes to another endpoint after three of them, takes patches and answers in gzip and zstd, and gives only states whose bytes
//! are those of their id. It names what it holds in each poll, so that operators see it, and says what it could not apply.
//!
//! ```no_run
//! use tidewait::client::{Client, Settings};
//!
//! # fn apply(state: &tidewait::client::State) -> Result<(), String> { Ok(()) }
//! # async fn follow() -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = Settings::new("https://edge.example:8480", "/describe");
//! settings.endpoints.push("https://other.example:8480".to_owned());
//! settings.agent_id = Some("node-2".to_owned());
//! settings.token_file = Some("/run/credentials/token".into());
//!
//! let (mut states, reports) = Client::start(&settings, None)?;
//! while let Some(state) = states.next().await {
//!     match apply(&state) {
//!         Ok(()) => reports.held(state.id()),
//!         Err(reason) => reports.rejected(state.id(), reason),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! States come in order, and the newest wins: one that nobody has taken yet is replaced. Keep the id, the media type and the
//! bytes of what is held, and begin with [`State::kept`] after a restart: then the server has nothing to send.

mod answer;
mod body;
mod confirm;
mod connection;
mod credentials;
#[cfg(feature = "server")]
mod dial;
mod driver;
mod endpoints;
pub mod events;
mod failure;
pub mod fetch;
mod handles;
mod holdings;
mod line;
mod machine;
mod pace;
mod poll;
mod random;
mod report;
mod settings;
mod stale;
mod state;
mod status;

pub use confirm::Confirmer;
#[cfg(feature = "server")]
pub(crate) use dial::Dialer;
pub use failure::{Failure, FailureKind};
pub use handles::{Client, Reports, States};
#[cfg(feature = "server")]
pub(crate) use pace::doubled;
pub use report::{Reporter, Reporting};
pub use settings::{InvalidSetting, Settings};
#[cfg(feature = "server")]
pub(crate) use state::is_same;
pub use state::{NotTheState, Patch, State};
pub use status::{Counters, Doing, Status, Told};
