//! Notices of the kernel about a file: a change is then seen in milliseconds, not at the next look.
//!
//! Directories are watched, never the file itself: a file that is replaced takes a watch on it
//! away. A notice carries no data, so a lost one costs time only, as does the whole watch where
//! the kernel has none left to give or the file system none at all.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::debounce::Noticed;

/// Watches the directories that a path leads through.
#[derive(Debug)]
pub(super) struct Watcher {
    path: PathBuf,
    notices: mpsc::Sender<Noticed>,
    watch: Option<Watch>,
    /// Whether the last attempt failed, so that a lasting lack is logged once.
    failed: bool,
}

/// A watch as it was made; another place makes another watch.
#[derive(Debug)]
struct Watch {
    places: Places,
    #[expect(dead_code, reason = "dropping it ends the watch")]
    watcher: RecommendedWatcher,
}

/// Where a file is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Places {
    /// The directory of the path and, where links lead elsewhere, that of the file; each with its
    /// inode, since one that is deleted and made again is another.
    directories: Vec<(PathBuf, (u64, u64))>,
    /// The file's names in them.
    names: Vec<OsString>,
}

impl Watcher {
    pub(super) fn new(path: PathBuf, notices: mpsc::Sender<Noticed>) -> Self {
        Self { path, notices, watch: None, failed: false }
    }

    /// Makes the watch fit where the path leads now. Blocks.
    pub(super) fn follow(&mut self) {
        let places = Places::of(&self.path);
        if self.watch.as_ref().is_some_and(|watch| watch.places == places) {
            return;
        }
        // The old watch lasts until the new one is there. What happens between the two is in the
        // look that follows.
        match Watch::new(places, &self.notices) {
            Ok(watch) => {
                self.watch = Some(watch);
                self.failed = false;
            }
            Err(error) => {
                self.watch = None;
                if !self.failed {
                    let path = self.path.display();
                    tracing::warn!(%path, %error, "no notices of the kernel about this file: looking at it from time to time instead");
                }
                self.failed = true;
            }
        }
    }
}

impl Watch {
    fn new(places: Places, notices: &mpsc::Sender<Noticed>) -> notify::Result<Self> {
        let names = places.names.clone();
        let directories: Vec<_> = places.directories.iter().map(|(directory, _)| directory.clone()).collect();
        let notices = notices.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Some(noticed) = noticed(event, &names, &directories) {
                // A full queue is as good: whoever empties it looks at the file.
                let _ = notices.try_send(noticed);
            }
        })?;
        for (directory, _) in &places.directories {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
        }
        Ok(Self { places, watcher })
    }
}

impl Places {
    fn of(path: &Path) -> Self {
        let mut places = Self::default();
        places.add(path);
        if let Ok(target) = fs::canonicalize(path) {
            places.add(&target);
        }
        places
    }

    fn add(&mut self, path: &Path) {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        // One that is missing is looked for again at each look.
        let Ok(metadata) = fs::metadata(directory) else { return };
        let inode = (metadata.dev(), metadata.ino());
        if !self.directories.iter().any(|(_, known)| *known == inode) {
            self.directories.push((directory.to_owned(), inode));
        }
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }
}

/// What an event says about the file with these names in these directories; `None`: nothing.
/// Reading the file makes events too, which must not lead to another read.
fn noticed(event: notify::Result<Event>, names: &[OsString], directories: &[PathBuf]) -> Option<Noticed> {
    let Ok(event) = event else { return Some(Noticed::Looked) };
    if event.need_rescan() {
        return Some(Noticed::Looked);
    }
    let own = event.paths.iter().any(|path| names.iter().any(|name| path.file_name() == Some(name)));
    match event.kind {
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) if own => Some(Noticed::Renamed),
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => Some(Noticed::Swapped),
        EventKind::Access(AccessKind::Close(AccessMode::Write)) if own => Some(Noticed::Closed),
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(RenameMode::From)) | EventKind::Create(_) if own => {
            Some(Noticed::Written)
        }
        EventKind::Remove(_) if own => Some(Noticed::Written),
        EventKind::Modify(ModifyKind::Metadata(_)) if own => Some(Noticed::Looked),
        EventKind::Remove(_) if event.paths.iter().any(|path| directories.contains(path)) => Some(Noticed::Looked),
        EventKind::Any
        | EventKind::Access(_)
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_makes_no_notice_and_others_files_only_where_they_may_be_links() {
        use notify::event::{CreateKind, DataChange, MetadataKind, RemoveKind};
        let (names, directories) = ([OsString::from("m.json")], [PathBuf::from("/v")]);
        let renamed = |mode| EventKind::Modify(ModifyKind::Name(mode));
        let closed = |mode| EventKind::Access(AccessKind::Close(mode));
        let data = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        for (kind, own, beside) in [
            (EventKind::Access(AccessKind::Open(AccessMode::Any)), None, None),
            (closed(AccessMode::Read), None, None),
            (closed(AccessMode::Write), Some(Noticed::Closed), None),
            (renamed(RenameMode::To), Some(Noticed::Renamed), Some(Noticed::Swapped)),
            (renamed(RenameMode::From), Some(Noticed::Written), None),
            (renamed(RenameMode::Both), None, None),
            (EventKind::Create(CreateKind::File), Some(Noticed::Written), None),
            (data, Some(Noticed::Written), None),
            (EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any)), Some(Noticed::Looked), None),
            (EventKind::Remove(RemoveKind::File), Some(Noticed::Written), None),
        ] {
            for (path, expected) in [("/v/m.json", own), ("/v/other", beside)] {
                let event = Event::new(kind).add_path(path.into());
                assert_eq!(noticed(Ok(event), &names, &directories), expected, "{kind:?} of {path}");
            }
        }
        let gone = Event::new(EventKind::Remove(RemoveKind::Folder)).add_path("/v".into());
        assert_eq!(noticed(Ok(gone), &names, &directories), Some(Noticed::Looked));
        let overflow = Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert_eq!(noticed(Ok(overflow), &names, &directories), Some(Noticed::Looked));
    }

    #[test]
    fn a_watch_is_made_anew_where_a_directory_is_another() {
        let directory = tempfile::tempdir().expect("a directory");
        let parent = directory.path().join("a");
        let path = parent.join("m.json");
        assert_eq!(Places::of(&path), Places::default(), "nothing to watch yet");
        fs::create_dir(&parent).expect("a directory");
        let first = Places::of(&path);
        assert_eq!(first, Places::of(&path));
        fs::rename(&parent, directory.path().join("b")).expect("renamed");
        fs::create_dir(&parent).expect("a directory");
        assert_ne!(first, Places::of(&path));
        fs::write(directory.path().join("target"), "").expect("written");
        std::os::unix::fs::symlink("../target", &path).expect("a link");
        let places = Places::of(&path);
        assert_eq!((places.directories.len(), places.names), (2, vec!["m.json".into(), "target".into()]));
    }
}
