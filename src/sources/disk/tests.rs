//! The state on disk, on a real file system: kept whole or not at all.

use std::error::Error as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::files::faults;
use crate::model::{Content, Document, Epoch, StateId};

fn state_dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(directory: &TempDir) -> Disk {
    let disk = Disk::new(directory.path(), "net");
    disk.open().expect("the state directory opens");
    disk
}

/// What is kept of the source of most tests.
#[track_caller]
fn kept(disk: &Disk) -> Option<KeptState> {
    disk.load("file").expect("it can be read").kept
}

fn store(disk: &Disk, snapshot: &Snapshot) {
    disk.store(snapshot, "file").expect("there is room");
}

fn snapshot(json: &str) -> Snapshot {
    let document = Document::from_json(json.as_bytes()).expect("a document");
    Snapshot::of(Epoch::of(&["test"]), 7, &Content::Json(document))
}

fn opaque(media_type: &str, body: &[u8]) -> Snapshot {
    let body = Bytes::copy_from_slice(body);
    Snapshot::of(Epoch::of(&["test"]), 0, &Content::Opaque { media_type: media_type.to_owned(), body })
}

#[track_caller]
fn assert_keeps(disk: &Disk, expected: &Snapshot) {
    let kept = kept(disk).expect("something is kept").snapshot;
    assert_eq!((kept.id, kept.body()), (expected.id, expected.body()));
}

#[track_caller]
fn assert_corrupt(disk: &Disk, bytes: &[u8], expected: &str) {
    fs::write(&disk.place.file, bytes).expect("the file can be written");
    let error = disk.load("file").expect_err("corrupt");
    let text = error.to_string();
    assert!(matches!(error, DiskError::Corrupt { .. }) && text.contains(expected), "{text}");
    assert!(text.contains("net.snapshot cannot be used") && text.contains("net.snapshot.corrupt: look"), "{text}");
    assert!(kept(disk).is_none(), "it is out of the way");
}

/// Where the digit of the form stands in a file.
const FORM_AT: usize = r#"{"tidewait":"#.len();

#[track_caller]
fn assert_other_version(disk: &Disk, bytes: &[u8], form: u32) {
    fs::write(&disk.place.file, bytes).expect("the file can be written");
    let Left { kept: None, unused: Some(unused) } = disk.load("file").expect("nothing is wrong with it") else {
        panic!("it is another version's");
    };
    let aside = disk.beside(&format!("form-{form}"));
    let text = unused.to_string();
    assert!(text.contains(&format!("another version of tidewait (form {form}, this one writes form 2)")), "{text}");
    assert!(text.ends_with(&format!("kept for that version as {}", aside.display())), "{text}");
    assert_eq!(fs::read(&aside).expect("as it was"), bytes);
    assert!(kept(disk).is_none(), "it is out of the way");
}

#[test]
fn what_is_stored_is_read_back_by_the_next_process() {
    let directory = state_dir();
    let disk = open(&directory);
    assert!(kept(&disk).is_none(), "an empty directory is fine");
    for expected in [snapshot("{}"), snapshot(r#"{"a":[1.0,"é"]}"#), opaque("text/plain", b"x\ny")] {
        store(&disk, &expected);
        assert_keeps(&disk, &expected);
    }
    drop(disk);
    assert_keeps(&open(&directory), &opaque("text/plain", b"x\ny"));
    let mode = fs::metadata(directory.path().join("net.snapshot")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_missing_directory_is_created_and_a_name_cannot_leave_it() {
    let directory = state_dir();
    let below = directory.path().join("a/b");
    let disk = Disk::new(&below, "../x/..");
    store(&disk, &snapshot("{}"));
    let mut names: Vec<_> =
        fs::read_dir(&below).expect("a directory").map(|entry| entry.expect("one").file_name()).collect();
    names.sort();
    assert_eq!(names, ["%2E%2E%2Fx%2F%2E%2E.lock", "%2E%2E%2Fx%2F%2E%2E.snapshot"]);
}

#[test]
fn two_processes_do_not_share_an_operation() {
    let directory = state_dir();
    let first = open(&directory);
    let error = Disk::new(directory.path(), "net").open().expect_err("locked").to_string();
    let expected = format!(
        "another process keeps the state of operation net in {}: give each process its own --state-dir",
        directory.path().display()
    );
    assert_eq!(error, expected);
    Disk::new(directory.path(), "other").open().expect("another operation is free");
    drop(first);
    open(&directory);
}

#[test]
fn confirming_moves_the_time_alone() {
    let directory = state_dir();
    let disk = open(&directory);
    assert!(matches!(disk.confirm(), Err(DiskError::File(_))), "nothing is kept yet");
    let expected = snapshot("[1]");
    store(&disk, &expected);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::open(&disk.place.file).and_then(|file| file.set_modified(old)).expect("its time can be set");
    assert_eq!(kept(&disk).expect("kept").confirmed, old);
    let before = wall_clock() - Duration::from_millis(1);
    disk.confirm().expect("its time can be set");
    assert!(kept(&disk).expect("kept").confirmed >= before);
    assert_keeps(&disk, &expected);
}

#[test]
fn a_file_cut_anywhere_is_never_a_snapshot() {
    let directory = state_dir();
    let disk = open(&directory);
    store(&disk, &snapshot(r#"{"a":[1,2,3]}"#));
    let whole = fs::read(&disk.place.file).expect("readable");
    for length in 0..whole.len() {
        let expected = if whole[..length].contains(&b'\n') { "bytes of its header" } else { "" };
        assert_corrupt(&disk, &whole[..length], expected);
    }
    assert_corrupt(&disk, &[&whole[..], b"x"].concat(), "bytes of its header");
}

#[test]
fn a_file_with_any_byte_flipped_is_never_a_snapshot() {
    let directory = state_dir();
    let disk = open(&directory);
    for stored in [snapshot(r#"{"a":[1,2,3]}"#), opaque("text/plain", b"1234")] {
        store(&disk, &stored);
        let whole = fs::read(&disk.place.file).expect("readable");
        for (at, bit) in (0..whole.len()).flat_map(|at| [(at, 0x01), (at, 0x20), (at, 0x80)]) {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            // The digit of the form may become another digit: then it seems to be another version's.
            if at == FORM_AT && flipped[at].is_ascii_digit() {
                assert_other_version(&disk, &flipped, u32::from(flipped[at] - b'0'));
            } else {
                assert_corrupt(&disk, &flipped, "");
            }
        }
    }
}

#[test]
fn what_is_not_ours_is_named_for_what_it_is() {
    let directory = state_dir();
    let disk = open(&directory);
    let good = snapshot("[1]");
    let of = |id: &StateId, body: &str| header(id, "application/json", body.as_bytes(), "file");
    let text = of(&good.id, "[1]");
    let id = text.replace(&good.id.to_string(), "-1") + "[1]";
    let spaced = text.replace(',', ", ") + "[1]";
    for (bytes, expected) in [
        (b"\0\x01garbage".to_vec(), "its first line is not a header"),
        (vec![b'{'; 100_000], "its first line is not a header"),
        (id.into_bytes(), "its id is none of ours"),
        (spaced.into_bytes(), "its checksum is wrong"),
        ((of(&good.id, "[2]") + "[2]").into_bytes(), "its id is not that of its content"),
        ((of(&good.id, "[1] ") + "[1] ").into_bytes(), "its id is not that of its content"),
    ] {
        assert_corrupt(&disk, &bytes, expected);
        assert_eq!(fs::read(disk.beside("corrupt")).expect("kept aside"), bytes);
    }
    fs::create_dir(&disk.place.file).expect("a directory in its place");
    fs::remove_file(disk.beside("corrupt")).expect("one is kept");
    let error = disk.load("file").expect_err("not a file").to_string();
    assert!(error.contains("it is not a regular file"), "{error}");
}

#[test]
fn what_another_version_wrote_is_kept_for_it_and_what_this_one_wrote_is_used_again() {
    let directory = state_dir();
    let disk = open(&directory);
    let expected = snapshot("[1]");
    store(&disk, &expected);
    let ours = fs::read(&disk.place.file).expect("it is kept");
    let text = String::from_utf8(ours.clone()).expect("text");
    let older = text.replace("\"tidewait\":2", "\"tidewait\":1");
    let newer = text.replace("\"tidewait\":2", "\"tidewait\":3,\"more\":[]");
    assert_other_version(&disk, older.as_bytes(), 1);
    assert_other_version(&disk, newer.as_bytes(), 3);
    // As a newer version leaves it: ours aside, its own in place.
    fs::write(disk.beside("form-2"), &ours).expect("a file");
    fs::write(&disk.place.file, &newer).expect("a file");
    let Left { kept: Some(kept), unused: Some(_) } = disk.load("file").expect("nothing is wrong") else {
        panic!("ours is used, and theirs is reported");
    };
    assert_eq!(kept.snapshot.id, expected.id);
    assert!(!disk.beside("form-2").exists(), "it is in its place again");
    assert_keeps(&disk, &expected);
    fs::write(disk.beside("form-2"), &newer).expect("a file");
    fs::remove_file(&disk.place.file).expect("it is there");
    let error = disk.load("file").expect_err("a name that lies").to_string();
    assert!(error.contains("it has form 3, and its name says 2"), "{error}");
}

#[test]
fn a_state_is_of_the_source_that_it_came_from() {
    let directory = state_dir();
    let disk = open(&directory);
    store(&disk, &snapshot("[1]"));
    disk.store(&snapshot("[2]"), "upstream").expect("there is room");
    let left = disk.load("file").expect("readable");
    let text = left.unused.expect("it is reported").to_string();
    assert!(left.kept.is_none() && text.contains("of another source (upstream): it is replaced"), "{text}");
    let left = disk.load("upstream").expect("readable");
    assert_eq!((left.kept.expect("kept").snapshot.id, left.unused), (snapshot("[2]").id, None));
}

#[test]
fn who_has_a_successor_writes_no_more() {
    let directory = state_dir();
    let first = open(&directory);
    store(&first, &snapshot("[1]"));
    let second = first.successor();
    // It was requested before, and is done only now.
    store(&first, &snapshot("[2]"));
    first.confirm().expect("nothing is done");
    assert_keeps(&second, &snapshot("[1]"));
    store(&second, &snapshot("[3]"));
    assert_keeps(&first, &snapshot("[3]"));
    drop(first);
    assert!(!second.is_shared());
    assert!(Disk::new(directory.path(), "net").open().is_err(), "the lock is the place's");
}

#[test]
fn a_full_disk_leaves_the_old_file_whole() {
    let directory = state_dir();
    let disk = open(&directory);
    let old = snapshot("[1]");
    store(&disk, &old);
    // Removed, created, its header written: then the body.
    let full = faults::fail_at(3, rustix::io::Errno::NOSPC);
    let error = disk.store(&snapshot("[2]"), "file").expect_err("no room");
    assert!(full.end());
    assert!(
        error.to_string().starts_with("cannot write ") && error.to_string().ends_with("net.snapshot.tmp"),
        "{error}"
    );
    let cause = error.source().expect("a cause").to_string();
    assert!(cause.contains("No space left on device") && !error.to_string().contains(&cause), "{error}: {cause}");
    assert_keeps(&disk, &old);
    assert!(!disk.beside("tmp").exists(), "its room is given back");
}

#[test]
fn what_a_crash_left_is_not_in_the_way() {
    let directory = state_dir();
    let disk = open(&directory);
    let expected = snapshot("[1]");
    fs::write(disk.beside("tmp"), "half").expect("a file");
    assert!(kept(&disk).is_none());
    store(&disk, &expected);
    assert_keeps(&disk, &expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_snapshot_reads_back(body: Vec<u8>, media_type in ".{1,40}", version: u64) {
        let directory = state_dir();
        let disk = open(&directory);
        let stored = opaque(&media_type, &body).at_version(version);
        store(&disk, &stored);
        assert_keeps(&disk, &stored);
    }
}
