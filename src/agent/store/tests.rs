//! The state directory on a real file system: what a kill or an error at each step, and damage at each byte, leaves.

use std::os::unix::fs::PermissionsExt as _;

use bytes::Bytes;
use rustix::io::Errno;
use tempfile::TempDir;

use super::*;
use crate::files::faults;

fn of(operation: &str) -> Of {
    Of { operation: operation.to_owned(), select: vec!["/a".to_owned()] }
}

fn directory() -> TempDir {
    faults::folder()
}

#[track_caller]
fn open(directory: &TempDir) -> Store {
    let (store, aside) = Store::open(directory.path(), of("/describe")).expect("it opens");
    assert_eq!(aside, Aside::default());
    store
}

fn body(id: &str) -> Body {
    Body::new(id, "application/json", Bytes::from(format!("{{\"id\":\"{id}\"}}")))
}

fn applied() -> Applied {
    Applied { hooks: HookResult::Done, boot: "b".to_owned(), configuration: "c".to_owned(), at: 7 }
}

/// All that a store has.
fn all(store: &Store) -> (Option<Held>, Option<Pending>, Vec<Refusal>) {
    (store.held.clone(), store.pending.clone(), store.refused.clone())
}

fn hold(store: &mut Store, id: &str) {
    store.begin(body(id)).expect("there is room");
    store.hold(applied()).expect("there is room");
}

fn bodies(directory: &TempDir) -> usize {
    let entries = fs::read_dir(directory.path()).expect("a folder").flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("body-")).count()
}

#[test]
fn the_next_process_finds_what_this_one_kept() {
    let folder = directory();
    let mut store = open(&folder);
    assert_eq!(all(&store), (None, None, vec![]));
    hold(&mut store, "one");
    store.begin(body("two")).expect("there is room");
    store.refuse("it is bad", "c").expect("there is room");
    store.begin(body("three")).expect("there is room");
    store.advance(Phase::Published, 2).expect("there is room");
    let before = all(&store);
    drop(store);
    let mut store = open(&folder);
    assert_eq!(all(&store), before);
    assert_eq!(store.held().map(|held| (held.body.clone(), held.applied.clone())), Some((body("one"), applied())));
    assert_eq!(store.pending().map(|pending| (pending.phase, pending.attempts)), Some((Phase::Published, 2)));
    assert_eq!(store.refusal("two", "c").map(|refusal| &*refusal.reason), Some("it is bad"));
    assert_eq!(store.refusal("two", "other"), None, "with other commands it may be good");
    assert_eq!(bodies(&folder), 2, "what is refused needs none");
    let held = store.held().expect("held");
    assert!(held.is_applied("c", "b") && !held.is_applied("c", "other") && !held.is_applied("other", "b"));
    store.rename_held("one-later").expect("there is room");
    store.applied_again(Applied { boot: String::new(), ..applied() }).expect("there is room");
    store.forget_refused().expect("there is room");
    store.drop_pending().expect("there is room");
    drop(store);
    let store = open(&folder);
    let held = store.held().expect("held");
    assert_eq!((held.body.id(), held.body.bytes()), ("one-later", body("one").bytes()));
    assert!(!held.is_applied("c", ""), "without the name of a boot nothing is known");
    assert_eq!((store.pending(), store.refused().len(), bodies(&folder)), (None, 0, 1));
    let mode = |name: &str| folder.path().join(name).metadata().expect("a file").permissions().mode() & 0o777;
    assert_eq!((mode("held"), mode("lock")), (0o600, 0o600));
}

#[test]
fn the_last_refusals_are_remembered() {
    let folder = directory();
    let mut store = open(&folder);
    for number in 0..20 {
        store.begin(body(&format!("{number}"))).expect("there is room");
        store.refuse("no", "c").expect("there is room");
    }
    store.begin(body("10")).expect("there is room");
    store.refuse("again", "c").expect("there is room");
    let ids: Vec<&str> = store.refused().iter().map(|refusal| &*refusal.id).collect();
    assert_eq!((ids.len(), ids[0], ids[1], ids[15]), (16, "10", "19", "4"));
}

/// Everything that changes the store, on the way of one state that is held and one that is refused.
fn changes(store: &mut Store) -> Vec<(Option<Held>, Option<Pending>, Vec<Refusal>)> {
    type Change = fn(&mut Store) -> Result<(), StoreError>;
    let changes: [Change; 9] = [
        |store| store.begin(body("two")),
        |store| store.tried(1),
        |store| store.advance(Phase::Published, 1),
        |store| store.hold(applied()),
        |store| store.rename_held("two-later"),
        |store| store.begin(body("three")),
        |store| store.advance(Phase::RollingBack, 1),
        |store| store.refuse("it is bad", "c"),
        |store| store.forget_refused(),
    ];
    let mut seen = vec![all(store)];
    for change in changes {
        if change(store).is_err() {
            break;
        }
        seen.push(all(store));
    }
    // What was being changed when it ended.
    seen.push(all(store));
    seen
}

#[test]
fn a_kill_at_any_step_leaves_what_was_before_a_change_or_what_is_after_it() {
    for killed_at in 0.. {
        let folder = directory();
        let mut store = open(&folder);
        hold(&mut store, "one");
        let kill = faults::kill_at(killed_at);
        let seen = changes(&mut store);
        let was_killed = kill.end();
        drop(store);
        let store = open(&folder);
        let (before, after) = (&seen[seen.len() - 2], &seen[seen.len() - 1]);
        let now = all(&store);
        assert!(now == *before || now == *after, "at {killed_at}: {now:?}, not {before:?} or {after:?}");
        let used = 1 + usize::from(now.1.is_some());
        assert_eq!(bodies(&folder), used, "nothing else is kept");
        assert!(
            fs::read_dir(folder.path())
                .expect("a folder")
                .flatten()
                .all(|entry| { !entry.file_name().to_string_lossy().ends_with(".tmp") })
        );
        if !was_killed {
            assert!(killed_at > 50, "{killed_at}");
            break;
        }
    }
}

#[test]
fn what_the_disk_refuses_is_in_memory_and_is_written_with_the_next_change() {
    for failing in 0.. {
        let folder = directory();
        let mut store = open(&folder);
        hold(&mut store, "one");
        let fault = faults::fail_at(failing, Errno::NOSPC);
        let (first, second) = (store.begin(body("two")), store.hold(applied()));
        let happened = fault.end();
        assert_eq!(store.held().map(|held| held.body.id()), Some("two"));
        for error in [first, second].into_iter().filter_map(Result::err) {
            let text = error.to_string();
            assert!(text.contains("cannot ") && text.contains("No space left on device"), "{text}");
            assert!(text.contains(&folder.path().display().to_string()) && text.contains("free space"), "{text}");
        }
        store.flush().expect("there is room again");
        let now = all(&store);
        drop(store);
        assert_eq!(all(&open(&folder)), now);
        assert_eq!(bodies(&folder), 1);
        if !happened {
            break;
        }
    }
}

#[test]
fn what_is_damaged_anywhere_is_set_aside_and_counted() {
    let whole = directory();
    let mut store = open(&whole);
    hold(&mut store, "one");
    store.begin(body("two")).expect("there is room");
    let before = all(&store);
    drop(store);
    for name in ["held", "pending", &*body("one").file_name()] {
        let bytes = fs::read(whole.path().join(name)).expect("a file");
        let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
        let flipped = (0..bytes.len()).map(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x04;
            bytes
        });
        for damaged in cut.chain(flipped).chain([[&bytes[..], b"x"].concat(), vec![0; 2 * 1024 * 1024]]) {
            let folder = directory();
            for file in fs::read_dir(whole.path()).expect("a folder").flatten() {
                fs::copy(file.path(), folder.path().join(file.file_name())).expect("a file");
            }
            fs::write(folder.path().join(name), &damaged).expect("a file");
            let (store, aside) = Store::open(folder.path(), of("/describe")).expect("it opens");
            // Another form is no damage; that of the mark is.
            assert_eq!(aside.broken.len() + aside.other.len(), 1, "{aside:?}");
            let (held, pending, _) = all(&store);
            if name == "pending" {
                assert_eq!((held, pending), (before.0.clone(), None));
            } else {
                assert_eq!((held, pending), (None, before.1.clone()));
            }
            drop(store);
            let again = open(&folder);
            drop(again);
        }
    }
}

#[test]
fn only_so_many_are_set_aside() {
    let folder = directory();
    for _ in 0..8 {
        fs::write(folder.path().join("held"), "x").expect("a file");
        let (_, aside) = Store::open(folder.path(), of("/describe")).expect("it opens");
        assert!(aside.broken[0].ends_with("(it was held): it has no head"), "{aside:?}");
    }
    let names = fs::read_dir(folder.path()).expect("a folder").flatten();
    let names = names.filter(|entry| entry.file_name().to_string_lossy().contains("broken")).count();
    assert_eq!(names, 4);
    fs::create_dir(folder.path().join("pending")).expect("a folder");
    let (store, aside) = Store::open(folder.path(), of("/describe")).expect("it opens");
    assert_eq!((aside.broken.len(), all(&store)), (1, (None, None, vec![])));
}

#[test]
fn another_operation_has_a_state_of_its_own_and_the_first_one_finds_its_again() {
    let folder = directory();
    let mut store = open(&folder);
    hold(&mut store, "one");
    let before = all(&store);
    drop(store);
    let (mut store, aside) = Store::open(folder.path(), of("/other")).expect("it opens");
    assert_eq!(all(&store), (None, None, vec![]));
    assert!(
        aside.broken.is_empty() && aside.other[0].ends_with("it is of another operation or selection"),
        "{aside:?}"
    );
    hold(&mut store, "other");
    drop(store);
    let (store, aside) = Store::open(folder.path(), of("/describe")).expect("it opens");
    assert_eq!((all(&store), aside.other.len()), (before, 1));
    drop(store);
    let (store, _) = Store::open(folder.path(), of("/other")).expect("it opens");
    assert_eq!(store.held().map(|held| held.body.id()), Some("other"));
}

#[test]
fn a_directory_has_one_agent_and_the_second_one_is_told_which() {
    let folder = directory();
    let store = open(&folder);
    let error = Store::open(folder.path(), of("/describe")).expect_err("it is locked").to_string();
    let process = std::process::id();
    assert!(error.starts_with(&format!("another agent (process {process}) keeps its state in ")), "{error}");
    assert!(error.ends_with("stop it, or give each its own --state-dir"), "{error}");
    drop(store);
    open(&folder);
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file");
    let error = Store::open(&file, of("/describe")).expect_err("no folder").to_string();
    assert_eq!(
        error,
        format!("--state-dir {}: it is no folder: name one, or a path at which one can be created", file.display())
    );
    assert!(!boot().is_empty());
}
