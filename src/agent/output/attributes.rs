//! Who may read a file: what is asked for, else what the file before it had. All of it is set before the file has its
//! name, so that nobody sees it with anything else.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Gid, Mode, Uid, XattrFlags, fchmod, fchown, fgetxattr, fsetxattr, lgetxattr};
use rustix::io::Errno;

use super::settings::Settings;

/// Permissions of a file that nobody says anything about, whatever the umask is.
const MODE: u32 = 0o644;
/// Where `SELinux` keeps the label of a file.
const LABEL: &str = "security.selinux";
/// Bytes of the longest label that is copied; the kernel's own limit is a page.
const LABEL_BYTES: usize = 4096;

/// What a file is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    mode: Option<u32>,
    owner: Option<u32>,
    group: Option<u32>,
    label: Option<Vec<u8>>,
}

impl Attributes {
    /// What is asked for, and of the rest what the old file has, where there is one.
    pub(super) fn of(settings: &Settings, old: &Path) -> io::Result<Self> {
        let asked = Self { mode: settings.mode, owner: settings.owner, group: settings.group, label: None };
        match old.symlink_metadata() {
            Ok(metadata) if metadata.is_file() => Ok(asked.or(Self::has(&metadata, old)?)),
            Ok(_) => Ok(asked),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(asked),
            Err(error) => Err(error),
        }
    }

    /// A mode, and nothing else.
    pub(super) fn asked(mode: Option<u32>) -> Self {
        Self { mode, ..Self::default() }
    }

    /// What a file has.
    pub(super) fn has(metadata: &Metadata, path: &Path) -> io::Result<Self> {
        Ok(Self {
            mode: Some(metadata.mode() & 0o7777),
            owner: Some(metadata.uid()),
            group: Some(metadata.gid()),
            label: label(path, LABEL)?,
        })
    }

    fn or(self, other: Self) -> Self {
        Self {
            mode: self.mode.or(other.mode),
            owner: self.owner.or(other.owner),
            group: self.group.or(other.group),
            label: self.label.or(other.label),
        }
    }

    /// Gives them to a file that is being written.
    pub(super) fn set(&self, file: &File) -> io::Result<()> {
        let now = file.metadata()?;
        let owner = self.owner.filter(|owner| *owner != now.uid());
        let group = self.group.filter(|group| *group != now.gid());
        if owner.is_some() || group.is_some() {
            fchown(file, owner.map(Uid::from_raw), group.map(Gid::from_raw))?;
        }
        if let Some(label) = &self.label {
            set_label(file, LABEL, label)?;
        }
        // Last: until here nobody but the agent reads it.
        Ok(fchmod(file, Mode::from_raw_mode(self.mode.unwrap_or(MODE)))?)
    }

    /// What a file has other than what is asked for, in words.
    pub(super) fn difference(settings: &Settings, metadata: &Metadata) -> Option<String> {
        let (mode, owner, group) = (metadata.mode() & 0o7777, metadata.uid(), metadata.gid());
        if let Some(wanted) = settings.mode.filter(|wanted| *wanted != mode) {
            return Some(format!("its mode is {mode:04o} instead of {wanted:04o}"));
        }
        if let Some(wanted) = settings.owner.filter(|wanted| *wanted != owner) {
            return Some(format!("its owner is {owner} instead of {wanted}"));
        }
        let wanted = settings.group.filter(|wanted| *wanted != group)?;
        Some(format!("its group is {group} instead of {wanted}"))
    }

    /// The mode of the folders of a tree: whoever may read its files may enter them.
    pub(super) fn folder_mode(settings: &Settings) -> u32 {
        let mode = settings.mode.unwrap_or(MODE);
        mode | 0o700 | (mode & 0o444) >> 2
    }
}

/// Gives a folder of a tree what its files are to have.
pub(super) fn set_on_folder(settings: &Settings, folder: &File) -> io::Result<()> {
    let mode = Some(Attributes::folder_mode(settings));
    Attributes { mode, owner: settings.owner, group: settings.group, label: None }.set(folder)
}

/// An extended attribute of a file, where there is one.
fn label(path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; LABEL_BYTES];
    match lgetxattr(path, name, value.as_mut_slice()) {
        Ok(length) => {
            value.truncate(length);
            Ok(Some(value))
        }
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn set_label(file: &File, name: &str, label: &[u8]) -> io::Result<()> {
    let mut now = vec![0; LABEL_BYTES];
    // The policy of the folder has given it the right one already, most often; setting one needs a permission.
    let is_set = fgetxattr(file, name, now.as_mut_slice()).is_ok_and(|length| now.get(..length) == Some(label));
    if is_set { Ok(()) } else { Ok(fsetxattr(file, name, label, XattrFlags::empty())?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_goes_along() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        let (file, copy) = (File::create(&old).expect("a file"), File::create(&new).expect("a file"));
        assert_eq!(label(&old, "user.tidewait").expect("readable"), None);
        set_label(&file, "user.tidewait", b"a:label").expect("a file system with extended attributes");
        let found = label(&old, "user.tidewait").expect("readable").expect("a label");
        set_label(&copy, "user.tidewait", &found).expect("it is set");
        assert_eq!(label(&new, "user.tidewait").expect("readable").as_deref(), Some(&b"a:label"[..]));
    }
}
