//! The file source on a real file system: each wait is for a report, with a deadline.

use std::fs::{self, File};
use std::future::Future;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

use super::*;
use crate::sources::UnusableKind;

const DEADLINE: Duration = Duration::from_secs(20);

/// A source under test; it runs while a report is waited for.
struct Running {
    reports: mpsc::Receiver<Report>,
    source: Pin<Box<dyn Future<Output = ()>>>,
}

impl Running {
    fn start(path: &Path, format: Format) -> Self {
        let file = FileSource { operation: "net".to_owned(), path: path.to_owned(), format, below: None };
        let (sender, reports) = mpsc::channel(crate::bounds::REPORTS);
        Self { reports, source: Box::pin(run(file, sender)) }
    }

    /// One that gets no notices, as where the kernel has no watch to give.
    fn start_blind(path: &Path) -> Self {
        let file = FileSource { operation: "net".to_owned(), path: path.to_owned(), format: Format::Json, below: None };
        let (sender, reports) = mpsc::channel(crate::bounds::REPORTS);
        let (_, noticed) = mpsc::channel(1);
        let source = Box::pin(async move {
            let Err(Closed) = Follower::new(file, sender).follow(None, noticed).await;
        });
        Self { reports, source }
    }

    async fn any(&mut self) -> Report {
        let report = async {
            tokio::select! {
                report = self.reports.recv() => report.expect("the source holds its sender"),
                () = &mut self.source => panic!("the source ended while somebody listens"),
            }
        };
        tokio::time::timeout(DEADLINE, report).await.expect("a report in time")
    }

    /// The next report that says something new.
    async fn next(&mut self) -> Report {
        loop {
            let report = self.any().await;
            if !matches!(report, Report::Confirmed) {
                return report;
            }
        }
    }

    /// The content that the next report holds.
    async fn holds(&mut self) -> String {
        match self.next().await {
            Report::Holds(draft) => String::from_utf8(draft.content.bytes().to_vec()).expect("text"),
            other @ (Report::Unusable(_)
            | Report::Lost { .. }
            | Report::Confirmed
            | Report::ReadCompleted(_)
            | Report::Relayed(_)) => {
                panic!("{other:?}")
            }
        }
    }

    async fn unusable(&mut self) -> (UnusableKind, String) {
        match self.next().await {
            Report::Unusable(Unusable { kind, detail }) => (kind, detail),
            other @ (Report::Holds(_)
            | Report::Lost { .. }
            | Report::Confirmed
            | Report::ReadCompleted(_)
            | Report::Relayed(_)) => {
                panic!("{other:?}")
            }
        }
    }

    /// Whatever comes before it, such as a state in between.
    async fn until_holds(&mut self, expected: &str) {
        loop {
            if let Report::Holds(draft) = self.next().await
                && draft.content.bytes() == expected
            {
                return;
            }
        }
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, text).expect("written");
    fs::rename(temporary, path).expect("renamed");
}

/// A volume as the kubelet writes it: `model.json -> ..data/model.json`, `..data -> ..<generation>`.
fn mount(volume: &Path, generation: &str, text: &str) {
    fs::create_dir(volume.join(generation)).expect("a directory");
    fs::write(volume.join(generation).join("model.json"), text).expect("written");
    symlink(generation, volume.join("..data_tmp")).expect("a link");
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).expect("renamed");
}

#[tokio::test]
async fn a_replaced_file_is_reported_at_once() {
    let directory = directory();
    let path = directory.path().join("model.json");
    replace(&path, "[0]");
    let mut source = Running::start(&path, Format::Json);
    let Report::Holds(draft) = source.next().await else { panic!("it holds a model") };
    assert_eq!((draft.epoch, draft.version, draft.provenance), (Epoch::of(&["file", "net"]), 0, Provenance::Read));
    assert_eq!(draft.content.bytes(), "[0]");
    let mut times = Vec::new();
    for round in 1..=20 {
        let start = Instant::now();
        replace(&path, &format!("[{round}]"));
        assert_eq!(source.holds().await, format!("[{round}]"));
        times.push(start.elapsed());
    }
    times.sort();
    println!("rename to report: median {:?}, longest {:?} of {}", times[10], times[19], times.len());
    assert!(times[10] < crate::bounds::FILE_QUIET, "a rename is not waited for: {times:?}");
}

#[tokio::test]
async fn a_file_written_in_place_is_reported_when_closed() {
    let directory = directory();
    let path = directory.path().join("model.json");
    fs::write(&path, "[0]").expect("written");
    let mut source = Running::start(&path, Format::Json);
    assert_eq!(source.holds().await, "[0]");
    let mut times = Vec::new();
    for round in 1..=9 {
        let start = Instant::now();
        fs::write(&path, format!("[{round}]")).expect("written");
        assert_eq!(source.holds().await, format!("[{round}]"));
        times.push(start.elapsed());
    }
    times.sort();
    println!("close to report: median {:?}, longest {:?} of {}", times[4], times[8], times.len());
}

#[tokio::test]
async fn the_swap_of_a_mounted_volume_is_reported_at_once() {
    let directory = directory();
    let path = directory.path().join("model.json");
    mount(directory.path(), "..2026_0", "[0]");
    symlink("..data/model.json", &path).expect("a link");
    let mut source = Running::start(&path, Format::Json);
    assert_eq!(source.holds().await, "[0]");
    let mut times = Vec::new();
    for round in 1..=20 {
        let start = Instant::now();
        mount(directory.path(), &format!("..2026_{round}"), &format!("[{round}]"));
        assert_eq!(source.holds().await, format!("[{round}]"));
        times.push(start.elapsed());
        fs::remove_dir_all(directory.path().join(format!("..2026_{}", round - 1))).expect("removed");
    }
    times.sort();
    println!("swap to report: median {:?}, longest {:?} of {}", times[10], times[19], times.len());
    assert!(times[10] < crate::bounds::FILE_QUIET, "a swap is not waited for: {times:?}");
}

#[tokio::test]
async fn without_notices_looks_find_each_kind_of_change() {
    let directory = directory();
    let path = directory.path().join("model.json");
    mount(directory.path(), "..2026_0", "[0]");
    symlink("..data/model.json", &path).expect("a link");
    let mut source = Running::start_blind(&path);
    assert_eq!(source.holds().await, "[0]");
    for (round, name) in (1..).zip(["swap", "rename", "write"]) {
        let (start, text) = (Instant::now(), format!("[{round}]"));
        match name {
            "swap" => mount(directory.path(), "..2026_1", &text),
            "rename" => replace(&path, &text),
            _ => fs::write(&path, &text).expect("written"),
        }
        let took = start.elapsed();
        assert_eq!(source.holds().await, text, "{name}");
        println!("without notices: {name} took {took:?}, to report {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn a_half_written_file_keeps_the_last_good_one_until_it_is_whole() {
    let directory = directory();
    let path = directory.path().join("model.json");
    fs::write(&path, "[0]").expect("written");
    let mut source = Running::start(&path, Format::Json);
    assert_eq!(source.holds().await, "[0]");
    // Held open to the end: quiet is the only sign.
    let mut file = File::create(&path).expect("created");
    file.write_all(b"{\"a\":").expect("written");
    let (kind, detail) = source.unusable().await;
    assert_eq!(kind, UnusableKind::Invalid);
    let expected =
        format!("file {}: JSON does not parse: EOF while parsing a value at line 1 column 5: ", path.display());
    assert!(detail.starts_with(&expected), "{detail}");
    file.write_all(b"1}").expect("written");
    assert_eq!(source.holds().await, r#"{"a":1}"#);
    drop(file);
}

#[tokio::test]
async fn each_problem_is_said_once_and_its_end_too() {
    let directory = directory();
    let path = directory.path().join("model.yaml");
    fs::write(&path, "a: 1").expect("written");
    let mut source = Running::start(&path, Format::Yaml);
    assert_eq!(source.holds().await, r#"{"a":1}"#);
    replace(&path, "a: [1,");
    assert_eq!(source.unusable().await.0, UnusableKind::Invalid, "YAML cut short");
    replace(&path, "");
    assert_eq!(source.unusable().await.0, UnusableKind::Empty);
    fs::remove_file(&path).expect("removed");
    let (kind, detail) = source.unusable().await;
    assert_eq!(kind, UnusableKind::Missing);
    assert!(detail.ends_with("model.yaml: it is not there: create it, or name another path"), "{detail}");
    replace(&path, "a: 1");
    assert_eq!(source.holds().await, r#"{"a":1}"#, "reported again, though it is what was last held");
    // What changes only the spelling is the operation's to compare; the same bytes are nothing new.
    replace(&path, "a: 1");
    let start = Instant::now();
    assert!(matches!(source.any().await, Report::Confirmed));
    assert!(matches!(source.any().await, Report::Confirmed));
    assert!(start.elapsed() >= FILE_POLL, "at most about one a second");
}

#[tokio::test]
async fn what_is_no_file_is_refused_by_name_and_without_hanging() {
    let directory = directory();
    let path = directory.path().join("model.json");
    fs::create_dir(&path).expect("a directory");
    let mut source = Running::start(&path, Format::Json);
    let (kind, detail) = source.unusable().await;
    assert_eq!(kind, UnusableKind::Invalid);
    assert!(
        detail.ends_with("model.json: it is a directory: put a regular file there, or name another path"),
        "{detail}"
    );
    fs::remove_dir(&path).expect("removed");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    assert!(source.unusable().await.1.contains("model.json: it is a FIFO: "));
    fs::remove_file(&path).expect("removed");
    symlink("/dev/zero", &path).expect("a link");
    assert!(source.unusable().await.1.contains("model.json: it is a device: "));
    fs::remove_file(&path).expect("removed");
    let file = File::create(&path).expect("created");
    file.set_len(crate::bounds::DOCUMENT_BYTES as u64 + 1).expect("sparse");
    assert!(source.unusable().await.1.contains("model.json: it is 67108865 bytes, over the limit of 67108864: "));
    drop(file);
    replace(&path, "[1]");
    assert_eq!(source.holds().await, "[1]");
}

#[tokio::test]
async fn a_chain_of_links_is_followed_anew_each_time() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("conf")).expect("a directory");
    fs::create_dir(at("data")).expect("a directory");
    symlink("../between", at("conf/model.json")).expect("a link");
    symlink("data/one", at("between")).expect("a link");
    fs::write(at("data/one"), "[1]").expect("written");
    fs::write(at("data/two"), "[2]").expect("written");
    let mut source = Running::start(&at("conf/model.json"), Format::Json);
    assert_eq!(source.holds().await, "[1]");
    // The target's directory is watched.
    replace(&at("data/one"), "[11]");
    assert_eq!(source.holds().await, "[11]");
    // The link between is not: a look finds it.
    symlink("data/two", at("other")).expect("a link");
    fs::rename(at("other"), at("between")).expect("renamed");
    assert_eq!(source.holds().await, "[2]");
    fs::remove_file(at("data/two")).expect("removed");
    assert_eq!(source.unusable().await.0, UnusableKind::Missing, "a link to nothing");
    symlink("between", at("round")).expect("a link");
    fs::rename(at("round"), at("between")).expect("renamed");
    let Report::Lost { reason } = source.next().await else { panic!("links in a circle cannot be followed") };
    assert!(reason.contains("conf/model.json: "), "{reason}");
    replace(&at("conf/model.json"), "[3]");
    assert_eq!(source.holds().await, "[3]");
}

#[tokio::test]
async fn the_directory_may_come_go_and_come_back() {
    let directory = directory();
    let parent = directory.path().join("a/b");
    let path = parent.join("model.json");
    let mut source = Running::start(&path, Format::Json);
    assert_eq!(source.unusable().await.0, UnusableKind::Missing);
    for round in 0..3 {
        fs::create_dir_all(&parent).expect("a directory");
        fs::write(&path, format!("[{round}]")).expect("written");
        assert_eq!(source.holds().await, format!("[{round}]"));
        replace(&path, &format!("[1{round}]"));
        assert_eq!(source.holds().await, format!("[1{round}]"));
        fs::remove_dir_all(directory.path().join("a")).expect("removed");
        assert_eq!(source.unusable().await.0, UnusableKind::Missing);
    }
}

#[tokio::test]
async fn a_hundred_quick_changes_end_on_the_last() {
    let directory = directory();
    let path = directory.path().join("model.json");
    fs::write(&path, "[99]").expect("written");
    let mut source = Running::start(&path, Format::Json);
    assert_eq!(source.holds().await, "[99]");
    let in_place: fn(&Path, &str) = |path, text| fs::write(path, text).expect("written");
    for (change, first) in [(replace as fn(&Path, &str), 100), (in_place, 300)] {
        let target = path.clone();
        let writer = tokio::task::spawn_blocking(move || {
            for round in first..first + 100 {
                change(&target, &format!("[{round}]"));
            }
        });
        source.until_holds(&format!("[{}]", first + 99)).await;
        writer.await.expect("it wrote all");
    }
}

/// Some writers remove the file first; between the two there is none.
#[tokio::test]
async fn other_programs_ways_of_writing() {
    let directory = directory();
    let path = directory.path().join("model.json");
    fs::write(&path, "[0]").expect("written");
    let mut source = Running::start(&path, Format::Json);
    assert_eq!(source.holds().await, "[0]");
    for (round, script) in [
        "rm model.json; echo '[1]' >model.json",
        "echo '[2]' >new; cp -p new model.json",
        "echo '[3]' >new; mv new model.json; chmod 644 model.json",
        "echo '[4]' >new; ln -sf new model.json",
        "echo '[5]' >new",
    ]
    .iter()
    .enumerate()
    {
        let status = Command::new("sh").args(["-ec", script]).current_dir(directory.path()).status();
        assert!(status.expect("a shell").success(), "{script}");
        assert_eq!(source.holds().await, format!("[{}]", round + 1), "{script}");
    }
}

#[tokio::test]
async fn it_ends_when_nobody_listens() {
    let directory = directory();
    let Running { reports, source } = Running::start(&directory.path().join("model.json"), Format::Json);
    drop(reports);
    tokio::time::timeout(DEADLINE, source).await.expect("it ends in time");
}

#[tokio::test(start_paused = true)]
async fn a_file_system_that_hangs_is_reported_and_waited_for() {
    let (sender, mut reports) = mpsc::channel(crate::bounds::REPORTS);
    let file = FileSource { operation: "net".to_owned(), path: "model.json".into(), format: Format::Json, below: None };
    let mut follower = Follower::new(file, sender);
    let (release, hung) = std::sync::mpsc::channel();
    let released = async {
        tokio::time::advance(FILE_ANSWER).await;
        let report = reports.recv().await;
        let Some(Report::Lost { reason }) = report else { panic!("{report:?}") };
        assert_eq!(reason, "file model.json: the file system has not answered for 10 s");
        release.send("there").expect("it still waits");
    };
    let (answer, ()) = tokio::join!(follower.answer(move || hung.recv()), released);
    assert_eq!(answer.expect("somebody listens"), Ok("there"));
}

#[test]
fn after_an_absence_the_same_bytes_are_confirmed_at_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let now = runtime.expect("a runtime").block_on(async { Instant::now() });
    let (epoch, mut last_report) = (Epoch::of(&["x"]), LastReport::default());
    let mut say = |found| last_report.report(found, epoch, now);
    let lost = || Found::Lost("no answer".to_owned());
    let content = crate::model::Content::Opaque { media_type: "text/plain".to_owned(), body: "x".into() };
    let bad = Unusable { kind: UnusableKind::Empty, detail: "empty".to_owned() };
    assert!(matches!(say(Found::Good(content, blake3::hash(b"x"))), Some(Report::Holds(_))));
    assert!(say(Found::Known).is_none());
    assert!(matches!(say(lost()), Some(Report::Lost { .. })));
    assert!(say(lost()).is_none(), "reported once");
    assert!(matches!(say(Found::Known), Some(Report::Confirmed)));
    assert!(matches!(say(Found::Bad(bad.clone(), None)), Some(Report::Unusable(_))));
    assert!(say(Found::Bad(bad.clone(), None)).is_none(), "reported once");
    assert!(matches!(say(lost()), Some(Report::Lost { .. })));
    assert!(matches!(say(Found::Bad(bad, None)), Some(Report::Unusable(_))), "reported again after an absence");
}
