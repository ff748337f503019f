//! What would change in the output, for people: a unified diff of each file of text.

use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::fault::Fault;
use super::render::{Rendered, State};
use super::{Output, Tree, compare, entry};
use crate::bounds::{AGENT_DIFF, AGENT_OUTS, DOCUMENT_BYTES};
use crate::escape::{self, escape};
use crate::files::failed;

/// A file as it is, and as it would be; none: there is none.
#[derive(Debug, PartialEq, Eq)]
struct Change<'s> {
    path: PathBuf,
    before: Option<Vec<u8>>,
    after: Option<&'s [u8]>,
}

impl Output {
    /// The difference that a state would make to the output; empty: none.
    pub fn preview(&self, state: State<'_>) -> Result<String, Fault> {
        let rendered = self.render(state)?;
        let mut changes = Vec::new();
        for Rendered { file, bytes } in &rendered {
            let path = self.place_of(file);
            changes.push(Change { before: contents(&path)?, path, after: Some(bytes) });
        }
        if let Some(tree) = self.tree() {
            let current = tree.current().target;
            for file in files_below(&current)? {
                if rendered.iter().all(|known| known.file != file) {
                    let path = current.join(file);
                    changes.push(Change { before: contents(&path)?, path, after: None });
                }
            }
        }
        let mut text: String = changes.iter().map(difference).collect();
        for (Rendered { file, bytes }, change) in rendered.iter().zip(&changes) {
            // The same bytes with another mode or owner are a change all the same.
            if change.before.as_deref() == Some(&**bytes)
                && let Some(found) = compare::file(&self.target_of(file), bytes, &self.settings)?
            {
                writeln!(text, "{found}").expect("a String takes all");
            }
        }
        Ok(text)
    }

    /// The path by which people know a file.
    fn place_of(&self, file: &Path) -> PathBuf {
        self.tree().map_or_else(|| file.to_owned(), |tree: Tree<'_>| tree.current().target.join(file))
    }

    /// The file itself, behind symbolic links.
    fn target_of(&self, file: &Path) -> PathBuf {
        let place = self.place_of(file);
        place.canonicalize().unwrap_or(place)
    }
}

/// What a file has; none: it is not there, or is no file.
fn contents(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
    let behind = match path.canonicalize() {
        Ok(behind) => behind,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(failed("read", path)(error).into()),
    };
    let mut bytes = Vec::new();
    let read = entry::open(&behind).and_then(|file| file.take(DOCUMENT_BYTES as u64).read_to_end(&mut bytes));
    read.map_err(failed("read", path))?;
    Ok(Some(bytes))
}

/// The files of a tree, each by its path from the root: as many as one of ours may have. Symbolic links in it are not followed.
fn files_below(root: &Path) -> Result<Vec<PathBuf>, Fault> {
    let (mut files, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(inner) = folders.pop() {
        let path = root.join(&inner);
        let Some(entries) = compare::entries(&path)? else { continue };
        for entry in entries {
            let entry = entry.map_err(failed("read", &path))?;
            let kind = entry.file_type().map_err(failed("read", &path))?;
            let name = inner.join(entry.file_name());
            if kind.is_dir() {
                folders.push(name);
            } else if kind.is_file() && files.len() < AGENT_OUTS {
                files.push(name);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn difference(Change { path, before, after }: &Change<'_>) -> String {
    if before.as_deref() == *after {
        return String::new();
    }
    let path = escape(&path.to_string_lossy()).into_owned();
    let name = |is_there: bool| if is_there { path.as_str() } else { "/dev/null" };
    let (old, new) = (before.as_deref().unwrap_or_default(), after.unwrap_or_default());
    let (Ok(old), Ok(new)) = (std::str::from_utf8(old), std::str::from_utf8(new)) else {
        return format!("{path}: {} bytes that are no text become {}\n", old.len(), new.len());
    };
    // Beyond that time the difference is no longer the shortest one.
    let diff = TextDiff::configure().timeout(AGENT_DIFF).diff_lines(old, new);
    let (from, to) = (name(before.is_some()), name(after.is_some()));
    let text = diff.unified_diff().header(from, to).to_string();
    if text.is_empty() { format!("--- {from}\n+++ {to}\n") } else { escape::lines(&text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: Option<&[u8]>, after: Option<&[u8]>) -> String {
        difference(&Change { path: "/etc/x\u{1b}".into(), before: before.map(<[u8]>::to_vec), after })
    }

    #[test]
    fn text_is_told_by_line_and_other_bytes_by_their_number() {
        assert_eq!(told(Some(b"a\n"), Some(b"a\n")), "");
        assert_eq!(
            told(Some(b"a\nb\nc\n"), Some(b"a\nB\x1b\nc\n".as_slice())),
            "--- /etc/x\\u{1b}\n+++ /etc/x\\u{1b}\n@@ -1,3 +1,3 @@\n a\n-b\n+B\\u{1b}\n c\n"
        );
        assert_eq!(
            told(None, Some(b"a")),
            "--- /dev/null\n+++ /etc/x\\u{1b}\n@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n"
        );
        assert_eq!(told(None, Some(b"")), "--- /dev/null\n+++ /etc/x\\u{1b}\n");
        assert_eq!(told(Some(b"\xff"), Some(b"ab")), "/etc/x\\u{1b}: 1 bytes that are no text become 2\n");
    }
}
