//! What is on the disk after kills, errors and damage, and what a restart makes of it.

use std::io::Write as _;

use jiff::Timestamp;
use rustix::io::Errno;

use super::*;
use crate::files::faults;
use crate::topic::file::record;
use crate::topic::message::{Data, Draft};

const FIRST: u64 = 7;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a moment")
}

/// Appends these texts together; the second of each is its offset.
fn append(segments: &mut Segments, texts: &[&str]) -> Result<(), FileError> {
    let (mut bytes, mut newest) = (Vec::new(), at(0));
    for (offset, text) in (segments.last() + 1..).zip(texts) {
        let draft = Draft { media_type: "text/plain".into(), by: None, data: Data::Text((*text).to_owned()) };
        newest = at(i64::try_from(offset).expect("few"));
        record::write(offset, newest, None, &draft, &mut bytes);
    }
    segments.append(&bytes, texts.len() as u64, newest.as_millisecond())
}

/// Opens them as the next process does.
fn open(folder: &Path, fresh: u64) -> Opened {
    Segments::open(folder, Epoch::of(fresh)).expect("it can be used")
}

/// Each message with its offset; a long one by its length.
fn messages(opened: &Opened) -> Vec<(u64, String)> {
    let text = |record: &Record| match &record.draft.data {
        Data::Text(text) if text.len() > 100 => text.len().to_string(),
        Data::Text(text) => text.clone(),
        Data::Json(_) => panic!("they are texts"),
    };
    opened.records.iter().map(|record| (record.offset, text(record))).collect()
}

fn numbered(texts: &[&str]) -> Vec<(u64, String)> {
    (1..).zip(texts.iter().map(|text| (*text).to_owned())).collect()
}

/// The names in a folder, apart from its lock.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = entries.map(|name| name.into_string().expect("UTF-8")).collect();
    names.retain(|name| name != "lock");
    names.sort();
    names
}

/// As long as a segment.
fn long() -> String {
    "x".repeat(usize::try_from(TOPIC_SEGMENT_BYTES).expect("few"))
}

#[test]
fn what_was_stored_is_there_after_a_restart_and_offsets_go_on() {
    let folder = faults::folder();
    let path = folder.path().join("topics/chat");
    let mut opened = open(&path, FIRST);
    assert_eq!((messages(&opened), opened.segments.last()), (vec![], 0));
    append(&mut opened.segments, &["a", "b"]).expect("there is room");
    append(&mut opened.segments, &["c"]).expect("there is room");
    assert!(matches!(Segments::open(&path, Epoch::of(1)), Err(LockError::Held)));
    drop(opened);
    let mut opened = open(&path, 8);
    assert_eq!((messages(&opened), opened.segments.last()), (numbered(&["a", "b", "c"]), 3));
    assert_eq!((opened.segments.epoch(), opened.records[1].at), (Epoch::of(FIRST), at(2)));
    append(&mut opened.segments, &["d"]).expect("there is room");
    drop(opened);
    let opened = open(&path, 9);
    assert_eq!((messages(&opened).len(), opened.segments.epoch()), (4, Epoch::of(FIRST)));
    assert_eq!(names(&path), ["00000001.segment"]);
}

#[test]
fn a_kill_at_any_step_loses_nothing_that_was_stored() {
    let long = long();
    let batches: [&[&str]; 4] = [&["a", "b"], &[&long], &["c"], &["d", "e"]];
    let all = numbered(&["a", "b", &long.len().to_string(), "c", "d", "e"]);
    for killed_at in 0.. {
        let folder = faults::folder();
        let kill = faults::kill_at(killed_at);
        let (mut stored, mut tried) = (0, 0);
        if let Ok(mut opened) = Segments::open(folder.path(), Epoch::of(FIRST)) {
            for batch in batches {
                tried += batch.len();
                if append(&mut opened.segments, batch).is_err() {
                    break;
                }
                stored = tried;
            }
        }
        let was_killed = kill.end();
        let mut opened = open(folder.path(), FIRST);
        let found = messages(&opened);
        assert!((stored..=tried).contains(&found.len()), "at {killed_at}: {} of {stored} to {tried}", found.len());
        assert_eq!((&found[..], &opened.lost[..]), (&all[..found.len()], &[][..]), "at {killed_at}");
        append(&mut opened.segments, &["next"]).expect("there is room");
        drop(opened);
        assert_eq!(messages(&open(folder.path(), 8)).len(), found.len() + 1, "at {killed_at}");
        if !was_killed {
            assert_eq!(found, all);
            break;
        }
    }
}

/// What a write that failed has left does not count, whether or not it could be cut off.
#[test]
fn a_write_that_failed_is_no_message_and_the_next_one_is() {
    let long = long();
    for first in ["a", &long] {
        for cuts in [true, false] {
            for failing in 0.. {
                let folder = faults::folder();
                let mut opened = open(folder.path(), FIRST);
                append(&mut opened.segments, &[first]).expect("there is room");
                let fault = if cuts { faults::fail_at(failing, Errno::NOSPC) } else { faults::kill_at(failing) };
                let stored = append(&mut opened.segments, &["b", "b"]).is_ok();
                let has_failed = fault.end();
                append(&mut opened.segments, &["c"]).expect("there is room again");
                drop(opened);
                let opened = open(folder.path(), 8);
                let first = if first.len() > 100 { first.len().to_string() } else { first.to_owned() };
                let expected: &[&str] = if stored { &[&first, "b", "b", "c"] } else { &[&first, "c"] };
                let told = (messages(&opened), &opened.lost[..], opened.segments.epoch());
                assert_eq!(told, (numbered(expected), &[][..], Epoch::of(FIRST)), "at {failing}, {cuts}");
                if !has_failed {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_torn_message_is_cut_off_and_a_damaged_one_begins_another_history() {
    let folder = faults::folder();
    let mut opened = open(folder.path(), FIRST);
    append(&mut opened.segments, &["a", "b", "c"]).expect("there is room");
    drop(opened);
    let segment = folder.path().join("00000001.segment");
    let whole = fs::read(&segment).expect("a file");
    // The last of them has 45 bytes.
    for cut in 1..45 {
        fs::write(&segment, &whole[..whole.len() - cut]).expect("it can be written");
        let mut opened = open(folder.path(), 8);
        assert_eq!((messages(&opened), opened.segments.epoch()), (numbered(&["a", "b"]), Epoch::of(FIRST)), "{cut}");
        assert!(opened.torn.is_some(), "{cut}");
        append(&mut opened.segments, &["d"]).expect("there is room");
        drop(opened);
        assert_eq!(messages(&open(folder.path(), 8)), numbered(&["a", "b", "d"]), "{cut}");
    }
    for (at, kept) in [(3, 0), (HEADER + 1, 0), (HEADER + 20, 0), (whole.len() - 1, 2)] {
        for name in names(folder.path()) {
            fs::remove_file(folder.path().join(name)).expect("it can be removed");
        }
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&segment, &damaged).expect("it can be written");
        let mut opened = open(folder.path(), 8);
        assert_eq!((messages(&opened), opened.segments.epoch()), (numbered(&["a", "b"][..kept]), Epoch::of(8)), "{at}");
        let lost = opened.lost[0].to_string();
        assert!(lost.contains("00000001.segment, from byte ") && opened.lost.len() == 1, "{lost}");
        append(&mut opened.segments, &["d"]).expect("there is room");
        drop(opened);
        assert_eq!(names(folder.path()), ["00000001.aside", "00000002.segment"]);
        assert_eq!(fs::read(folder.path().join("00000001.aside")).expect("a file"), damaged);
        let opened = open(folder.path(), 9);
        assert_eq!((messages(&opened).len(), opened.segments.epoch()), (kept + 1, Epoch::of(8)), "{at}");
        assert!(opened.lost.is_empty());
    }
}

#[test]
fn a_segment_that_is_missing_or_damaged_between_others_is_found() {
    let long = long();
    for damage in ["missing", "header", "end"] {
        let folder = faults::folder();
        let mut opened = open(folder.path(), FIRST);
        for text in [&long, "b", &long, "d"] {
            append(&mut opened.segments, &[text]).expect("there is room");
        }
        drop(opened);
        assert_eq!(names(folder.path()).len(), 3, "the second is full once it has more than its bound");
        let second = folder.path().join("00000002.segment");
        let mut bytes = fs::read(&second).expect("a file");
        let lost = match damage {
            "missing" => {
                fs::remove_file(&second).expect("it can be removed");
                "messages 2 to 3 are missing before it"
            }
            "header" => {
                bytes[0] = b'x';
                fs::write(&second, bytes).expect("it can be written");
                "its first bytes are not those of a segment"
            }
            _ => {
                bytes.truncate(bytes.len() - 1);
                fs::write(&second, bytes).expect("it can be written");
                "it was not written to its end, and messages 3 to 3 are missing"
            }
        };
        let opened = open(folder.path(), 8);
        assert!(opened.lost[0].to_string().contains(lost), "{:?}", opened.lost);
        let kept: &[&str] = if damage == "end" { &["4194304", "b", "d"] } else { &["4194304", "d"] };
        assert_eq!((messages(&opened), opened.segments.epoch()), (numbered(kept), Epoch::of(8)), "{damage}");
    }
}

#[test]
fn segments_go_when_nothing_in_them_is_kept_and_no_key_is_known() {
    let (folder, long) = (faults::folder(), long());
    let mut opened = open(folder.path(), FIRST);
    let segments = &mut opened.segments;
    for _ in 0..20 {
        append(segments, &[&long]).expect("there is room");
    }
    assert!(segments.bytes() > 20 * TOPIC_SEGMENT_BYTES && names(folder.path()).len() == 20);
    let is = |offset| at(offset).as_millisecond();
    segments.drop_old(3, is(0)).expect("it can be removed");
    assert_eq!(names(folder.path()).len(), 20, "keys of them are known");
    segments.drop_old(3, is(2)).expect("it can be removed");
    assert_eq!(names(folder.path())[0], "00000002.segment", "the first one");
    segments.drop_old(20, is(0)).expect("it can be removed");
    assert_eq!(names(folder.path()).len(), 1 + TOPIC_KEY_SEGMENTS, "so many for keys alone");
    segments.drop_old(30, is(100)).expect("it can be removed");
    assert_eq!(names(folder.path()), ["00000020.segment"], "the newest stays");
    drop(opened);
    let opened = open(folder.path(), 8);
    assert_eq!((opened.segments.last(), opened.records[0].offset, opened.lost.len()), (20, 20, 0));
}

/// A file that another version has written is no damage, and yet not what this one can go on with.
#[test]
fn a_segment_of_another_version_is_set_aside() {
    let folder = faults::folder();
    drop(open(folder.path(), FIRST));
    let segment = folder.path().join("00000001.segment");
    let mut header = Header { epoch: Epoch::of(FIRST), first: 1 }.write();
    header[8] = 2;
    let mut check = flate2::Crc::new();
    check.update(&header[..28]);
    header[28..].copy_from_slice(&check.sum().to_le_bytes());
    fs::File::create(&segment).and_then(|mut file| file.write_all(&header)).expect("it can be written");
    let opened = open(folder.path(), 8);
    assert!(opened.lost[0].why.contains("form 2, this one writes form 1"), "{:?}", opened.lost);
    assert_eq!(names(folder.path()), ["00000001.aside", "00000002.segment"]);
}
