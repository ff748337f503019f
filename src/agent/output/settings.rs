//! Where the model goes, from the options of the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::fault::InvalidOutput;
use super::format::Format;
use crate::bounds::AGENT_OUTS;
use crate::model::Pointer;

/// Bytes of a file's name: what stands before and behind it while it is replaced needs the rest of 255.
const NAME_BYTES: usize = 230;

/// The options as they were given.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'o> {
    /// `--out`, each `FILE` or `POINTER=FILE`.
    pub out: &'o [String],
    /// `--out-dir`.
    pub out_dir: Option<&'o Path>,
    /// `--format`.
    pub format: Option<&'o str>,
    /// `--mode`, in octal.
    pub mode: Option<&'o str>,
    /// `--owner`, a name or a number.
    pub owner: Option<&'o str>,
    /// `--group`, a name or a number.
    pub group: Option<&'o str>,
    /// `--in-place`.
    pub in_place: bool,
    /// `--keep`: older trees that stay beside the current one.
    pub keep: usize,
}

/// Where the model goes.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) outs: Vec<Out>,
    pub(super) tree: Option<PathBuf>,
    pub(super) mode: Option<u32>,
    pub(super) owner: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) keep: usize,
    pub(super) in_place: bool,
}

/// A file, and what of the model it holds.
#[derive(Debug, Clone)]
pub(super) struct Out {
    pub(super) pointer: Pointer,
    /// A path; in a tree, the path from its root.
    pub(super) file: PathBuf,
    /// As the state is served, where there is none.
    pub(super) format: Option<Format>,
}

impl Settings {
    /// Reads the options.
    pub fn read(options: Options<'_>) -> Result<Self, InvalidOutput> {
        let Options { out, out_dir, .. } = options;
        if out.len() > AGENT_OUTS {
            return Err(InvalidOutput::TooMany { count: out.len(), most: AGENT_OUTS });
        }
        let format = options.format.map(format).transpose()?;
        let mut outs = out.iter().map(|text| read_out(text, format)).collect::<Result<Vec<_>, _>>()?;
        match out_dir {
            None if outs.is_empty() => return Err(InvalidOutput::Nowhere),
            Some(_) if outs.is_empty() => outs.push(read_out("model.json", format)?),
            None | Some(_) => {}
        }
        if let Some(folder) = out_dir.filter(|_| options.in_place) {
            return Err(refused("--out-dir", folder, "with --in-place it is of no use: leave one of the two out"));
        }
        for (index, one) in outs.iter().enumerate() {
            check_name(&one.file, out_dir.is_some())?;
            let taken = outs.iter().take(index).any(|other| {
                other.file == one.file
                    || out_dir.is_some() && (other.file.starts_with(&one.file) || one.file.starts_with(&other.file))
            });
            if taken {
                return Err(refused("--out", &one.file, "another --out writes there: give each its own file"));
            }
        }
        Ok(Self {
            outs,
            tree: out_dir.map(Path::to_owned),
            mode: options.mode.map(mode).transpose()?,
            owner: options.owner.map(|name| number("--owner", name, "/etc/passwd")).transpose()?,
            group: options.group.map(|name| number("--group", name, "/etc/group")).transpose()?,
            keep: options.keep,
            in_place: options.in_place,
        })
    }
}

fn refused(option: &'static str, value: &Path, why: &str) -> InvalidOutput {
    InvalidOutput::Option { option, value: value.to_string_lossy().into_owned(), why: why.to_owned() }
}

fn format(name: &str) -> Result<Format, InvalidOutput> {
    Format::parse(name).ok_or_else(|| {
        let why = "give json, pretty, yaml, string or env".to_owned();
        InvalidOutput::Option { option: "--format", value: name.to_owned(), why }
    })
}

/// A path without symbolic links, as far as it leads anywhere.
fn behind(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|above| Some((above.canonicalize().ok()?, above)));
    there.map_or(path.clone(), |(found, above)| match path.strip_prefix(above) {
        Ok(rest) if !rest.as_os_str().is_empty() => found.join(rest),
        Ok(_) | Err(_) => found,
    })
}

/// `FILE`, or `POINTER=FILE`: split at the last `=`, since a pointer may hold one.
fn read_out(text: &str, format: Option<Format>) -> Result<Out, InvalidOutput> {
    let (pointer, file) = text.rsplit_once('=').unwrap_or(("", text));
    let pointer = Pointer::parse(pointer).map_err(|wrong| {
        let why = format!("what is before the last = is no JSON Pointer (RFC 6901): {wrong}");
        InvalidOutput::Option { option: "--out", value: text.to_owned(), why }
    })?;
    let file = PathBuf::from(file);
    Ok(Out { pointer, format: Format::of(&file, format), file })
}

fn check_name(file: &Path, in_tree: bool) -> Result<(), InvalidOutput> {
    let text = file.as_os_str().as_encoded_bytes();
    let Some(name) = file.file_name().filter(|_| !text.ends_with(b"/") && !text.ends_with(b"/.")) else {
        return Err(refused("--out", file, "it names no file: give the path of one"));
    };
    if name.len() > NAME_BYTES {
        return Err(refused("--out", file, "its name is over 230 bytes: give a shorter one"));
    }
    if in_tree && !file.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(refused(
            "--out",
            file,
            "with --out-dir it is a path within that folder: give it without / before and .. in it",
        ));
    }
    Ok(())
}

fn mode(text: &str) -> Result<u32, InvalidOutput> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = (1..=4).contains(&digits.len()) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    match u32::from_str_radix(digits, 8) {
        Ok(mode) if is_octal && mode <= 0o777 && mode & 0o400 != 0 => Ok(mode),
        Ok(_) | Err(_) => {
            let why = "give permissions in octal, such as 0640: at most 0777, and with 0400 among them, since the agent looks at the file".to_owned();
            Err(InvalidOutput::Option { option: "--mode", value: text.to_owned(), why })
        }
    }
}

/// A number, or what a name stands for in a file such as /etc/passwd.
fn number(option: &'static str, name: &str, file: &str) -> Result<u32, InvalidOutput> {
    // The largest one means "leave it" (chown(2)).
    if let Some(number) = name.parse().ok().filter(|number| *number != u32::MAX) {
        return Ok(number);
    }
    let known = fs::read(file).unwrap_or_default();
    let known = String::from_utf8_lossy(&known);
    let found = known.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name) && !name.is_empty()).then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| {
        let why = format!("{file} does not have it: give a name that stands there, or a number");
        InvalidOutput::Option { option, value: name.to_owned(), why }
    })
}

impl Settings {
    /// Commands are not run in the folder in which the agent was started.
    pub(super) fn make_absolute(&mut self) {
        let files = self.outs.iter_mut().map(|out| &mut out.file).filter(|_| self.tree.is_none());
        for path in files {
            *path = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
        }
        self.tree = self.tree.take().map(|path| std::path::absolute(&path).unwrap_or(path));
    }

    /// What the agent keeps for itself is no part of the output, and the other way round.
    pub(in crate::agent) fn are_apart_from(&self, state_dir: &Path) -> Result<(), InvalidOutput> {
        let state_dir = behind(state_dir);
        if let Some(folder) = &self.tree {
            let behind = behind(folder);
            if behind.starts_with(&state_dir) || state_dir.starts_with(&behind) {
                return Err(refused(
                    "--out-dir",
                    folder,
                    "it and --state-dir are within each other: give each its own folder",
                ));
            }
            return Ok(());
        }
        match self.outs.iter().find(|out| behind(&out.file).starts_with(&state_dir)) {
            Some(out) => Err(refused(
                "--out",
                &out.file,
                "it is in --state-dir, which is for the agent alone: name another folder",
            )),
            None => Ok(()),
        }
    }

    /// Where each file of a folder would be, and no two the same.
    pub(super) fn are_distinct(targets: &[PathBuf]) -> Result<(), InvalidOutput> {
        let mut seen = BTreeSet::new();
        match targets.iter().find(|target| !seen.insert(*target)) {
            Some(twice) => Err(refused("--out", twice, "two of them lead to this file: give each its own file")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outs(out: &[&str], out_dir: Option<&str>, format: Option<&str>) -> Result<Settings, InvalidOutput> {
        let out: Vec<String> = out.iter().map(|text| (*text).to_owned()).collect();
        Settings::read(Options { out: &out, out_dir: out_dir.map(Path::new), format, ..Options::default() })
    }

    #[test]
    fn a_pointer_ends_at_the_last_equals_sign() {
        let read = outs(&["/a=b=/etc/x.yaml", "/etc/y", "=/etc/z.env"], None, Some("pretty")).expect("they are fine");
        let read: Vec<_> =
            read.outs.iter().map(|out| (out.pointer.to_string(), out.file.to_str(), out.format)).collect();
        assert_eq!(
            read,
            [
                ("/a=b".to_owned(), Some("/etc/x.yaml"), Some(Format::Yaml)),
                (String::new(), Some("/etc/y"), Some(Format::Pretty)),
                (String::new(), Some("/etc/z.env"), Some(Format::Env)),
            ]
        );
        let tree = outs(&[], Some("/srv/t"), None).expect("a tree");
        assert_eq!(tree.outs[0].file.to_str(), Some("model.json"));
    }

    #[test]
    fn what_cannot_be_meant_names_the_option_and_the_remedy() {
        for (out, out_dir, format, expected) in [
            (&[] as &[&str], None, None, "there is nowhere to put the model: give --out FILE or --out-dir DIR"),
            (
                &["a=b"],
                None,
                None,
                "--out \"a=b\": what is before the last = is no JSON Pointer (RFC 6901): it does not",
            ),
            (&["/etc/"], None, None, "--out \"/etc/\": it names no file"),
            (&["/a="], None, None, "--out \"\": it names no file"),
            (&["/etc/x/.."], None, None, "--out \"/etc/x/..\": it names no file"),
            (&["x", "/a=x"], None, None, "--out \"x\": another --out writes there"),
            (&["/a=/x"], Some("d"), None, "--out \"/x\": with --out-dir it is a path within that folder"),
            (&["/a=../x"], Some("d"), None, "--out \"../x\": with --out-dir"),
            (&["/a=x", "/b=x/y"], Some("d"), None, "--out \"x/y\": another --out writes there"),
            (&["x"], None, Some("toml"), "--format \"toml\": give json, pretty, yaml, string or env"),
        ] {
            let error = outs(out, out_dir, format).expect_err("it cannot be").to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let long = "x".repeat(231);
        assert!(outs(&[&long], None, None).expect_err("long").to_string().contains("over 230 bytes"));
        let many = vec!["x"; AGENT_OUTS + 1];
        assert!(outs(&many, None, None).expect_err("many").to_string().contains("give at most"));
    }

    #[test]
    fn modes_and_owners_are_read_as_chmod_and_chown_do() {
        for (text, expected) in [("640", Some(0o640)), ("0640", Some(0o640)), ("0o600", Some(0o600))] {
            assert_eq!(mode(text).ok(), expected);
        }
        for wrong in ["0", "0244", "", "8", "1777", "00640", "-1", "rw", "+7"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
        assert_eq!(number("--owner", "root", "/etc/passwd").ok(), Some(0));
        assert_eq!(number("--group", "1234", "/etc/group").ok(), Some(1234));
        for wrong in ["nobody-of-that-name", "", "4294967295", "-1", "root:x"] {
            let error = number("--owner", wrong, "/etc/passwd").expect_err("unknown").to_string();
            assert!(error.contains("or a number"), "{error}");
        }
    }
}
