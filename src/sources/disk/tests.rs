//! The state on disk, on a real file system: kept whole or not at all.

use std::error::Error as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::Epoch;
use crate::model::{Content, Document};

fn state_dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

fn open(directory: &TempDir) -> Disk {
    Disk::open(directory.path(), "net", "file").expect("the state directory opens")
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
    let kept = disk.load().expect("it can be read").expect("something is kept").snapshot;
    assert_eq!((kept.id, kept.body()), (expected.id, expected.body()));
}

#[track_caller]
fn assert_corrupt(disk: &Disk, bytes: &[u8], expected: &str) {
    fs::write(&disk.file, bytes).expect("the file can be written");
    let error = disk.load().expect_err("corrupt");
    let text = error.to_string();
    assert!(matches!(error, DiskError::Corrupt { .. }) && text.contains(expected), "{text}");
    assert!(text.contains("net.snapshot cannot be used") && text.contains("net.snapshot.corrupt: look"), "{text}");
    assert!(disk.load().expect("it is out of the way").is_none());
}

#[test]
fn what_is_stored_is_read_back_by_the_next_process() {
    let directory = state_dir();
    let disk = open(&directory);
    assert!(disk.load().expect("an empty directory is fine").is_none());
    for expected in [snapshot("{}"), snapshot(r#"{"a":[1.0,"é"]}"#), opaque("text/plain", b"x\ny")] {
        disk.store(&expected).expect("there is room");
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
    let disk = Disk::open(&below, "../x/..", "file").expect("it is created");
    disk.store(&snapshot("{}")).expect("there is room");
    let mut names: Vec<_> =
        fs::read_dir(&below).expect("a directory").map(|entry| entry.expect("one").file_name()).collect();
    names.sort();
    assert_eq!(names, ["%2E%2E%2Fx%2F%2E%2E.lock", "%2E%2E%2Fx%2F%2E%2E.snapshot"]);
}

#[test]
fn two_processes_do_not_share_an_operation() {
    let directory = state_dir();
    let first = open(&directory);
    let error = Disk::open(directory.path(), "net", "file").expect_err("locked").to_string();
    let expected = format!(
        "another process keeps the state of operation net in {}: give each process its own --state-dir",
        directory.path().display()
    );
    assert_eq!(error, expected);
    Disk::open(directory.path(), "other", "file").expect("another operation is free");
    drop(first);
    open(&directory);
}

#[test]
fn confirming_moves_the_time_alone() {
    let directory = state_dir();
    let disk = open(&directory);
    assert!(matches!(disk.confirm(), Err(DiskError::Io { .. })), "nothing is kept yet");
    let expected = snapshot("[1]");
    disk.store(&expected).expect("there is room");
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    File::open(&disk.file).and_then(|file| file.set_modified(old)).expect("its time can be set");
    assert_eq!(disk.load().expect("readable").expect("kept").confirmed, old);
    let before = wall_clock() - Duration::from_millis(1);
    disk.confirm().expect("its time can be set");
    assert!(disk.load().expect("readable").expect("kept").confirmed >= before);
    assert_keeps(&disk, &expected);
}

#[test]
fn a_file_cut_anywhere_is_never_a_snapshot() {
    let directory = state_dir();
    let disk = open(&directory);
    disk.store(&snapshot(r#"{"a":[1,2,3]}"#)).expect("there is room");
    let whole = fs::read(&disk.file).expect("readable");
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
        disk.store(&stored).expect("there is room");
        let whole = fs::read(&disk.file).expect("readable");
        for (at, bit) in (0..whole.len()).flat_map(|at| [(at, 0x01), (at, 0x20), (at, 0x80)]) {
            let mut flipped = whole.clone();
            flipped[at] ^= bit;
            assert_corrupt(&disk, &flipped, "");
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
    let foreign = text.replace("\"tidewait\":2", "\"tidewait\":1") + "[1]";
    let id = text.replace(&good.id.to_string(), "-1") + "[1]";
    let spaced = text.replace(',', ", ") + "[1]";
    for (bytes, expected) in [
        (b"\0\x01garbage".to_vec(), "its first line is not a header"),
        (vec![b'{'; 100_000], "its first line is not a header"),
        (foreign.into_bytes(), "it has form 1, this version of tidewait writes form 2"),
        (id.into_bytes(), "its id is none of ours"),
        (spaced.into_bytes(), "its checksum is wrong"),
        ((of(&good.id, "[2]") + "[2]").into_bytes(), "its id is not that of its content"),
        ((of(&good.id, "[1] ") + "[1] ").into_bytes(), "its id is not that of its content"),
    ] {
        assert_corrupt(&disk, &bytes, expected);
        assert_eq!(fs::read(disk.beside("corrupt")).expect("kept aside"), bytes);
    }
    fs::create_dir(&disk.file).expect("a directory in its place");
    fs::remove_file(disk.beside("corrupt")).expect("one is kept");
    let error = disk.load().expect_err("not a file").to_string();
    assert!(error.contains("it is not a regular file"), "{error}");
}

#[test]
fn a_full_disk_leaves_the_old_file_whole() {
    let directory = state_dir();
    let disk = open(&directory);
    let old = snapshot("[1]");
    disk.store(&old).expect("there is room");
    let full = |temporary: &Path| {
        fs::write(temporary, "half")?;
        File::options().write(true).open("/dev/full")
    };
    let error = disk.store_through(&snapshot("[2]"), full).expect_err("no room");
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
    assert!(disk.load().expect("readable").is_none());
    disk.store(&expected).expect("there is room");
    assert_keeps(&disk, &expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_snapshot_reads_back(body: Vec<u8>, media_type in ".{1,40}", version: u64) {
        let directory = state_dir();
        let disk = open(&directory);
        let stored = opaque(&media_type, &body).at_version(version);
        disk.store(&stored).expect("there is room");
        assert_keeps(&disk, &stored);
    }
}
