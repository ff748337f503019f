//! What must outlive the process (`--state-dir`): the state that is held, the one that is on its way, and those that were
//! refused.
//!
//! | file | what it is |
//! |---|---|
//! | `held` | the state that the output has and that was acknowledged, or is about to be |
//! | `pending` | the state that is on its way to the output, and how far it is |
//! | `refused` | the ids that were rejected last |
//! | `body-<sha256>` | the bytes of a state; what names them names their digest, so that it never leads to other bytes |
//! | `command` | the command that runs, written by `hooks` |
//! | `lock` | locked while an agent runs; its process id |
//!
//! A record is one line that has its length and digest, then JSON. It is replaced whole, so that a crash or a full disk
//! leaves the one before. What is damaged is set aside as `*.broken-N` and counted. What belongs to another operation or
//! selection, or was written in another form, is set aside as `*.other-N`, since its id must never be sent for this one; an
//! agent of that operation and selection takes it back.
//!
//! Everything here blocks, for as long as the file system likes. If it fails while the agent runs, the agent goes on with
//! what it has in memory: only a restart would forget.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use self::aside::Why;
pub use self::body::Body;
pub use self::lock::is_locked;
pub(super) use self::record::hex;
pub use self::record::{HookResult, Of, Phase, Refusal, held_id};
use self::record::{Kept, PendingRecord, Record, Refusals, StateName};
use crate::bounds::{AGENT_REFUSED, DOCUMENT_BYTES};
use crate::files::{self, FileError, failed};

mod aside;
mod body;
mod lock;
mod record;

#[cfg(test)]
mod tests;

/// The state that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its bytes, by their id.
    pub body: Body,
    /// How the hooks ended.
    pub applied: Applied,
}

/// How a state was applied, and where: what decides whether the hooks are run again at a start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// How they ended.
    pub hooks: HookResult,
    /// The boot of the machine (`/proc/sys/kernel/random/boot_id`): rules and routes are gone after the next one.
    pub boot: String,
    /// A digest of what outputs and hooks were configured.
    pub configuration: String,
    /// When, in seconds since 1970, for people: clocks jump.
    pub at: u64,
}

/// A state that is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its bytes, by their id.
    pub body: Body,
    /// How far it is.
    pub phase: Phase,
    /// How often the hooks took too long or could not be started.
    pub attempts: u32,
    /// How often they were tried, and are to be tried again.
    pub tries: u32,
}

/// What the process before has left that this one does not use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aside {
    /// Damaged records and bodies, each with where it is now and what is wrong with it.
    pub broken: Vec<String>,
    /// What belongs to another operation or selection, or to another version of tidewait.
    pub other: Vec<String>,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another agent has it.
    #[error(
        "another agent {}keeps its state in {}: stop it, or give each its own --state-dir",
        .holder.map(|pid| format!("(process {pid}) ")).unwrap_or_default(), .directory.display()
    )]
    Locked {
        /// The state directory.
        directory: PathBuf,
        /// Its process id, where it is known.
        holder: Option<u32>,
    },
    /// It is none.
    #[error("--state-dir {}: it is no folder: name one, or a path at which one can be created", .0.display())]
    NoFolder(PathBuf),
    /// The file system refuses.
    #[error(
        "{error}: {cause}: the agent would forget what it holds when it ends; free space, or give another --state-dir",
        cause = .error.source
    )]
    Io {
        /// What was tried, and why not.
        error: FileError,
    },
    /// A state that is larger than what is read back.
    #[error("the state has {0} bytes, and at most {most} are kept", most = DOCUMENT_BYTES)]
    TooLarge(usize),
}

impl From<FileError> for StoreError {
    fn from(error: FileError) -> Self {
        Self::Io { error }
    }
}

/// The state directory, which is this agent's alone.
///
/// What is in memory is the truth: a change that the disk refuses is made there all the same, and is written with the next
/// one, or by [`Store::flush`].
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    of: Of,
    held: Option<Held>,
    pending: Option<Pending>,
    refused: Vec<Refusal>,
    disk: OnDisk,
    _lock: File,
}

/// What the disk is known to have.
#[derive(Debug, Default)]
struct OnDisk {
    /// The files of bodies.
    bodies: BTreeSet<String>,
    /// The text of each record, by its name.
    records: BTreeMap<&'static str, String>,
}

impl Store {
    /// Locks the directory, which is created where it is missing, and reads what is in it of this operation and selection.
    pub fn open(directory: &Path, of: Of) -> Result<(Self, Aside), StoreError> {
        let is_none = |path: &Path| path.metadata().is_ok_and(|found| !found.is_dir());
        if directory.ancestors().any(is_none) {
            return Err(StoreError::NoFolder(directory.to_owned()));
        }
        files::make_folder(directory, 0o700).map_err(failed("create", directory))?;
        let mut store = Self {
            directory: directory.to_owned(),
            of,
            held: None,
            pending: None,
            refused: Vec::new(),
            disk: OnDisk::default(),
            _lock: lock::lock(directory)?,
        };
        let aside = store.load()?;
        Ok((store, aside))
    }

    /// The state that is held.
    #[must_use]
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// The state that is on its way.
    #[must_use]
    pub fn pending(&self) -> Option<&Pending> {
        self.pending.as_ref()
    }

    /// Those that were refused, the last one first.
    #[must_use]
    pub fn refused(&self) -> &[Refusal] {
        &self.refused
    }

    /// The reason for which a state was refused with this configuration of outputs and hooks: with another one it may be good.
    #[must_use]
    pub fn refusal(&self, id: &str, configuration: &str) -> Option<&Refusal> {
        self.refused.iter().find(|refusal| refusal.id == id && refusal.configuration == configuration)
    }

    /// A newer state is on its way, in place of the one that was.
    pub fn begin(&mut self, body: Body) -> Result<(), StoreError> {
        self.refused.retain(|refusal| refusal.id != body.id());
        self.pending = Some(Pending { body, phase: Phase::Received, attempts: 0, tries: 0 });
        self.flush()
    }

    /// The state that is on its way has come further; nothing if there is none.
    pub fn advance(&mut self, phase: Phase, attempts: u32) -> Result<(), StoreError> {
        if let Some(pending) = &mut self.pending {
            (pending.phase, pending.attempts) = (phase, attempts);
        }
        self.flush()
    }

    /// The hooks were tried for the state that is on its way, and are to be tried again; nothing if there is none.
    pub fn tried(&mut self, attempts: u32) -> Result<(), StoreError> {
        if let Some(pending) = &mut self.pending {
            (pending.attempts, pending.tries) = (attempts, pending.tries.saturating_add(1));
        }
        self.flush()
    }

    /// The state that is on its way is held; nothing if there is none.
    pub fn hold(&mut self, applied: Applied) -> Result<(), StoreError> {
        if let Some(Pending { body, .. }) = self.pending.take() {
            self.held = Some(Held { body, applied });
        }
        self.flush()
    }

    /// The hooks have run again for what is held; nothing if there is nothing.
    pub fn applied_again(&mut self, applied: Applied) -> Result<(), StoreError> {
        if let Some(held) = &mut self.held {
            held.applied = applied;
        }
        self.flush()
    }

    /// What is held has got another id for the same bytes (204 and 304 of the same epoch and digest).
    pub fn rename_held(&mut self, id: &str) -> Result<(), StoreError> {
        if let Some(held) = &mut self.held {
            held.body = held.body.with_id(id);
        }
        self.flush()
    }

    /// The state that is on its way is refused, and what is held stays; nothing if there is none. Once the output before is
    /// back: a process that is killed meanwhile goes on with [`Phase::RollingBack`].
    pub fn refuse(&mut self, reason: &str, configuration: &str) -> Result<(), StoreError> {
        if let Some(Pending { body, .. }) = self.pending.take() {
            let [id, reason, configuration] = [body.id(), reason, configuration].map(str::to_owned);
            let refusal = Refusal { id, reason, configuration };
            self.refused.retain(|before| before.id != refusal.id);
            self.refused.insert(0, refusal);
            self.refused.truncate(AGENT_REFUSED);
        }
        self.flush()
    }

    /// Those that were refused may be tried again.
    pub fn forget_refused(&mut self) -> Result<(), StoreError> {
        self.refused.clear();
        self.flush()
    }

    /// The state that is on its way goes no further.
    pub fn drop_pending(&mut self) -> Result<(), StoreError> {
        self.pending = None;
        self.flush()
    }

    /// Writes what the disk does not have yet. Bodies come before what names them. What is on its way comes last: a process
    /// that is killed in between finds it held, or refused, as well, and drops it.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        for body in [self.held.as_ref().map(|held| &held.body), self.pending.as_ref().map(|pending| &pending.body)] {
            let Some(body) = body.filter(|body| !self.disk.bodies.contains(&body.file_name())) else { continue };
            body.keep(&self.directory)?;
            self.disk.bodies.insert(body.file_name());
        }
        let refused = (!self.refused.is_empty()).then(|| Refusals::new(&self.of, &self.refused).text());
        let held = self.held.as_ref().map(|held| Kept::new(&self.of, held).text());
        let pending = self.pending.as_ref().map(|pending| PendingRecord::new(&self.of, pending).text());
        let mut is_changed = false;
        for (name, text) in [(Refusals::NAME, refused), (Kept::NAME, held), (PendingRecord::NAME, pending)] {
            if self.disk.records.get(name) == text.as_ref() {
                continue;
            }
            let path = self.directory.join(name);
            if let Some(text) = text {
                files::replace(&path, &path.with_added_extension("tmp"), &[text.as_bytes()])?;
                self.disk.records.insert(name, text);
            } else {
                files::remove(&path).map_err(failed("remove", &path))?;
                files::sync_folder(&self.directory)?;
                self.disk.records.remove(name);
            }
            is_changed = true;
        }
        if is_changed {
            self.remove_unused();
        }
        Ok(())
    }

    fn load(&mut self) -> Result<Aside, StoreError> {
        let mut aside = Aside::default();
        self.refused = self.read::<Refusals>(&mut aside)?.map(Refusals::refused).unwrap_or_default();
        if let Some(record) = self.read::<Kept>(&mut aside)? {
            self.held = self.load_body(Kept::NAME, &record.state, &mut aside)?.map(|body| {
                let applied = record.applied();
                Held { body, applied }
            });
        }
        if let Some(PendingRecord { state, phase, attempts, tries, .. }) = self.read(&mut aside)? {
            let body = self.load_body(PendingRecord::NAME, &state, &mut aside)?;
            self.pending = body.map(|body| Pending { body, phase, attempts, tries });
        }
        let is_done = |pending: &Pending| {
            self.held.as_ref().is_some_and(|held| held.body == pending.body)
                || self.refused.iter().any(|refusal| refusal.id == pending.body.id())
        };
        if self.pending.as_ref().is_some_and(is_done) {
            self.pending = None;
        }
        self.flush()?;
        self.remove_unused();
        Ok(aside)
    }

    /// A record, unless it is damaged or of something else: then it is set aside, and what was ours before is taken back.
    fn read<R: Record>(&mut self, aside: &mut Aside) -> Result<Option<R>, StoreError> {
        let path = self.directory.join(R::NAME);
        let mut found = record::read::<R>(&path, &self.of)?;
        if let Err(why) = found {
            aside.set(&self.directory, R::NAME, why)?;
            found = Ok(None);
        }
        if matches!(found, Ok(None)) && aside::take_back(&self.directory, R::NAME, &self.of)? {
            found = record::read::<R>(&path, &self.of)?;
        }
        let record = found.ok().flatten();
        if let Some(record) = &record {
            self.disk.records.insert(R::NAME, record.text());
        }
        Ok(record)
    }

    fn load_body(
        &mut self,
        name: &'static str,
        state: &StateName,
        aside: &mut Aside,
    ) -> Result<Option<Body>, StoreError> {
        match Body::load(&self.directory, state)? {
            Ok(body) => {
                self.disk.bodies.insert(body.file_name());
                Ok(Some(body))
            }
            Err(why) => {
                self.disk.records.remove(name);
                aside.set(&self.directory, name, Why::Broken(why))?;
                Ok(None)
            }
        }
    }

    /// Removes bodies that nothing names, and halves of files, when the disk has what is in memory. Best effort: they are
    /// in nobody's way.
    fn remove_unused(&mut self) {
        let bodies = [self.held.as_ref().map(|held| &held.body), self.pending.as_ref().map(|pending| &pending.body)];
        let mut used: BTreeSet<String> = bodies.into_iter().flatten().map(Body::file_name).collect();
        self.disk.bodies.retain(|name| used.contains(name));
        used.extend(aside::bodies(&self.directory));
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if Body::is_file_name(name) && !used.contains(name) || is_half(name) {
                let _ = files::remove(&entry.path());
            }
        }
    }
}

/// Whether a name is one under which a file of ours is written.
fn is_half(name: &str) -> bool {
    let whole = name.strip_suffix(".tmp");
    whole.is_some_and(|name| {
        [Refusals::NAME, Kept::NAME, PendingRecord::NAME].contains(&name) || Body::is_file_name(name)
    })
}

/// The boot of the machine, by the name that the kernel gives it; empty where there is none.
#[must_use]
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

impl Held {
    /// Whether the hooks have succeeded for it with this configuration, in this boot of the machine.
    #[must_use]
    pub fn is_applied(&self, configuration: &str, boot: &str) -> bool {
        let Applied { hooks, boot: of, configuration: with, .. } = &self.applied;
        *hooks == HookResult::Done && with == configuration && of == boot && !boot.is_empty()
    }
}
