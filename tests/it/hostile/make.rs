//! The corpus: every case with its bytes and what may come of it, made here and nowhere else.
//! `TIDEWAIT_REGENERATE=1 cargo test --test it corpus_is` writes the files anew.
//!
//! | word in expect.txt | means |
//! |---|---|
//! | `400` | one answer with this status |
//! | `404+200` | answers with these, in order and no others |
//! | `close`, `none` | no answer |
//! | `goaway`, `rst` | HTTP/2: the connection, or a stream, ended with an error |
//! | `400,431` | either |
//! | `closed`, `open`, `either` | whether the connection must be closed after, must serve the next request, or may do either |

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use tidewait::model::{Content, Document, Epoch, Snapshot, StateId};

mod fields;
pub(crate) mod frames;
mod framing;
mod heads;
mod targets;

/// The model that the corpus is sent to: its id stands in some cases.
pub(crate) const MODEL: &str =
    r#"{"mtu":1450,"zones":["zone-a","zone-a","zone-a","zone-a","zone-a","zone-a","zone-a","zone-a"]}"#;

/// One hostile connection.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) raw: Vec<u8>,
    /// What may be answered.
    pub(crate) outcomes: Vec<String>,
    pub(crate) after: After,
}

/// The connection after the last answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Closed,
    Open,
    Either,
}

/// Cases are numbered as they are added.
#[derive(Default)]
pub(crate) struct Book(Vec<Case>);

impl Book {
    /// `expect` is a line of expect.txt without the name.
    fn add(&mut self, name: &str, expect: &str, raw: impl AsRef<[u8]>) {
        let name = format!("{:03}-{name}", self.0.len() + 1);
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        assert!(name.bytes().all(fits), "{name}");
        self.0.push(Case::new(name, expect, raw.as_ref().to_vec()));
    }
}

impl Case {
    fn new(name: String, expect: &str, raw: Vec<u8>) -> Self {
        let (outcomes, after) = expect.split_once(' ').unwrap_or_else(|| panic!("{name}: {expect}"));
        let after = match after {
            "closed" => After::Closed,
            "open" => After::Open,
            "either" => After::Either,
            other => panic!("{name}: {other}"),
        };
        Self { name, raw, outcomes: outcomes.split(',').map(ToOwned::to_owned).collect(), after }
    }
}

/// The id that every server has for [`MODEL`] in a file at /describe.
pub(crate) fn current() -> StateId {
    let document = Document::from_json(MODEL.as_bytes()).expect("a document");
    Snapshot::of(Epoch::of(&["file", "describe"]), 0, &Content::Json(document)).id
}

/// A request of HTTP/1.1 whose fields are given as they are sent.
fn request(method: &str, target: &str, fields: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{fields}\r\n").into_bytes()
}

fn get(target: &str, fields: &str) -> Vec<u8> {
    request("GET", target, fields)
}

/// A request that must never be answered, hidden behind or within another one.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n";

fn made() -> Vec<Case> {
    let mut book = Book::default();
    framing::add(&mut book);
    heads::add(&mut book);
    targets::add(&mut book);
    fields::add(&mut book);
    frames::add(&mut book);
    targets::selections(&mut book);
    framing::behind(&mut book);
    targets::unencoded(&mut book);
    book.0
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/hostile"))
}

/// The committed corpus.
pub(crate) fn corpus() -> Vec<Case> {
    let table = std::fs::read_to_string(folder().join("expect.txt")).expect("expect.txt is there");
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let case = |line: &str| {
        let (name, expect) = line.split_once(' ').expect("a name");
        let raw = std::fs::read(folder().join(format!("corpus/{name}.raw"))).expect(name);
        Case::new(name.to_owned(), expect.trim(), raw)
    };
    lines.map(case).collect()
}

fn files() -> BTreeMap<PathBuf, Vec<u8>> {
    let cases = made();
    let mut table =
        "# name, what may be answered, the connection after: the words are explained in make.rs\n".to_owned();
    for Case { name, outcomes, after, .. } in &cases {
        let after = format!("{after:?}").to_lowercase();
        writeln!(table, "{name} {} {after}", outcomes.join(",")).expect("a String takes all");
    }
    let raw = cases.into_iter().map(|case| (folder().join(format!("corpus/{}.raw", case.name)), case.raw));
    raw.chain([(folder().join("expect.txt"), table.into_bytes())]).collect()
}

#[test]
fn the_committed_corpus_is_what_this_file_makes() {
    let made = files();
    let corpus = folder().join("corpus");
    if std::env::var_os("TIDEWAIT_REGENERATE").is_some() {
        if corpus.exists() {
            std::fs::remove_dir_all(&corpus).expect("it can be written");
        }
        std::fs::create_dir(&corpus).expect("it can be written");
        for (path, bytes) in &made {
            std::fs::write(path, bytes).expect("it can be written");
        }
    }
    let listed = std::fs::read_dir(&corpus).expect("it is there").map(|entry| entry.expect("an entry").path());
    let mut committed: Vec<_> = listed.collect();
    committed.push(folder().join("expect.txt"));
    committed.sort();
    let same = committed.iter().eq(made.keys())
        && made.iter().all(|(path, bytes)| std::fs::read(path).is_ok_and(|there| there == *bytes));
    assert!(same, "run: TIDEWAIT_REGENERATE=1 cargo test --test it corpus_is");
    assert!(made.len() > 250, "{}", made.len());
    let bytes: usize = made.values().map(Vec::len).sum();
    assert!(bytes < 1_000_000, "a corpus that everybody clones stays small: {bytes}");
}
