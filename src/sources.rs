//! Where models come from: each source is a driver (what to do next, a pure fold over what was
//! seen) and a thin loop that does it. All send [`Report`]s into one bounded channel.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::time::Instant;

use self::describe::Relayed;
use self::reads::Number;
use crate::model::{Content, Epoch, Provenance, SourceRevisions};

pub mod backoff;
pub mod configmap;
pub mod describe;
pub mod disk;
pub mod file;
pub mod format;
pub mod kubernetes;
mod last_report;
pub mod reads;
pub mod resource;
pub mod upstream;

/// Content above this is read away from the threads that serve clients.
const LARGE: usize = 64 * 1024;

/// The channel from a source to its operation. Bounded at one: a source that is ahead waits, and
/// its next report is the newest.
pub type Reports = mpsc::Sender<Report>;

/// What a source reports.
#[derive(Debug, Clone)]
pub enum Report {
    /// It holds this content, now.
    Holds(Draft),
    /// It still holds what it last reported, now: a live watch, a file checked again.
    Confirmed,
    /// Another Tidewait says this of what it serves.
    Relayed(Relayed),
    /// It answered, and what it holds cannot be served: missing, empty, invalid. The last good state stays.
    Unusable(Unusable),
    /// A consistent read has been answered, and what it showed was reported before this.
    ReadCompleted(Number),
    /// It cannot be asked: its last report may be out of date.
    Lost {
        /// What happened, for logs and `/state`.
        reason: String,
    },
}

/// A state on its way in, not yet compared with what is published.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Which history it belongs to.
    pub epoch: Epoch,
    /// How far in it; 0: no order.
    pub version: u64,
    /// What it says.
    pub content: Content,
    /// How it was read, which says whether its version is authoritative.
    pub provenance: Provenance,
    /// The objects that it was made from.
    pub revisions: SourceRevisions,
    /// Those of them whose statuses may be written, and what is to be written there.
    pub source_objects: SourceObjects,
    /// When the change was seen, for the fan-out time.
    pub seen: Instant,
}

/// The objects that a state was made from; each shared by all states in which it is the same.
pub type SourceObjects = Arc<[Arc<SourceObject>]>;

/// One of the objects that a state was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceObject {
    /// Its name.
    pub name: String,
    /// Tells it from another one that had its name before.
    pub uid: String,
    /// Its resourceVersion; 0: no order.
    pub version: u64,
    /// Which spec it has, in kinds that count.
    pub generation: Option<i64>,
    /// Why it cannot be served as it is now; its last good content, if there is any, is in the state.
    pub wrong: Option<String>,
    /// Its status, in JSON.
    pub status: Option<Arc<str>>,
    /// Whether it is a `NetworkModel`, whose status is ours to write.
    pub is_model: bool,
}

/// Why what a source holds cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// A closed set, for metrics.
    pub kind: UnusableKind,
    /// Names the object, the value and the remedy.
    pub detail: String,
}

/// The kinds of [`Unusable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnusableKind {
    /// The object, the key or the file is not there.
    Missing,
    /// Zero bytes or null.
    Empty,
    /// It does not parse, or is over a bound.
    Invalid,
    /// The file or object may not be read.
    Forbidden,
}

impl UnusableKind {
    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Empty => "empty",
            Self::Invalid => "invalid",
            Self::Forbidden => "forbidden",
        }
    }
}

/// Wall-clock time, taken in one place so that only what survives a restart (the state on disk) uses it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the age of a state on disk spans restarts")]
pub fn wall_clock() -> SystemTime {
    SystemTime::now()
}
