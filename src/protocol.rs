//! PURE. What server and clients must agree on, byte for byte: the names of header fields, parameters, media types,
//! codings and problems, the query of a poll, the report of a relay, and the digest of a body. The server reads what clients write, and the
//! other way round, by the same definitions.

pub mod answer;
pub mod coding;
pub mod fields;
pub mod media_type;
pub mod problem;
pub mod query;
pub mod relay;
pub mod report;
pub mod websocket;

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

pub use answer::{AnswerHead, InvalidAnswer};
pub use coding::Coding;
pub use query::{InvalidParameter, Query};
pub use relay::{Instance, RelayPolicy, StatePath};
pub use report::Report;

/// Bytes of a [`state_digest`]: 32 bytes in base64, and what stands around them.
pub const STATE_DIGEST_BYTES: usize = "sha-256=:".len() + 44 + ":".len();

/// `State-Digest` of the bytes of a state without a coding: SHA-256 in the syntax of RFC 9530, `sha-256=:...:`.
#[must_use]
pub fn state_digest(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(STATE_DIGEST_BYTES);
    text.push_str("sha-256=:");
    base64::engine::general_purpose::STANDARD.encode_string(Sha256::digest(bytes), &mut text);
    text.push(':');
    text
}
