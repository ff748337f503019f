//! Outputs on a real file system: what readers see, what a kill or an error at each step leaves, and the way back.

use std::collections::BTreeMap;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rustix::io::Errno;
use tempfile::TempDir;

use super::settings::Options;
use super::*;
use crate::files::faults;
use crate::model::Document;
use crate::model::tests::document;

/// A state of JSON, by its id.
struct Model {
    id: &'static str,
    bytes: Bytes,
    document: Document,
}

impl Model {
    fn new(id: &'static str, json: &str) -> Self {
        Self { id, bytes: Bytes::copy_from_slice(json.as_bytes()), document: document(json) }
    }

    fn state(&self) -> State<'_> {
        State { id: self.id, bytes: &self.bytes, document: Some(&self.document) }
    }
}

fn models() -> (Model, Model) {
    (Model::new("e.1.one", r#"{"a":{"x":1},"b":"one"}"#), Model::new("e.2.two", r#"{"a":{"x":2},"b":"two"}"#))
}

/// A kind of output in a folder.
#[derive(Debug, Clone, Copy)]
enum Kind {
    File,
    Files,
    Tree,
}

fn settings(folder: &Path, kind: Kind) -> Settings {
    let outs: Vec<String> = match kind {
        Kind::File => vec![folder.join("model.json").display().to_string()],
        Kind::Files => vec![format!("/a={}/a.yaml", folder.display()), format!("/b={}/b.txt", folder.display())],
        Kind::Tree => vec!["/a=a.yaml".to_owned(), "/b=sub/b.txt".to_owned()],
    };
    let tree = folder.join("tree");
    let out_dir = matches!(kind, Kind::Tree).then_some(&*tree);
    let options = Options { out: &outs, out_dir, mode: Some("0640"), keep: 1, ..Options::default() };
    Settings::read(options).expect("they are fine")
}

fn open(folder: &Path, kind: Kind, start: Start) -> Output {
    Output::open(settings(folder, kind), start).expect("it can be replaced")
}

fn publish(output: &Output, model: &Model) {
    output.stage(model.state()).expect("there is room").publish().expect("there is room");
}

/// What readers see, each with its mode: through the link, where there is one.
fn seen(folder: &Path) -> BTreeMap<String, (String, u32)> {
    let files = ["model.json", "a.yaml", "b.txt", "tree/current/a.yaml", "tree/current/sub/b.txt"];
    let read = |name: &&str| {
        let path = folder.join(name);
        let mode = path.metadata().ok()?.permissions().mode() & 0o7777;
        Some(((*name).to_owned(), (fs::read_to_string(path).ok()?, mode)))
    };
    files.iter().filter_map(read).collect()
}

/// What lies in a folder and is no output.
fn leftovers(folder: &Path) -> Vec<String> {
    let names = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let all = names(folder).chain(names(&folder.join("tree")));
    let all = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    all.filter(|name| name.contains("tidewait") && name != ".tidewait-trees").collect()
}

#[test]
fn a_state_is_published_and_the_way_back_leads_to_the_one_before() {
    let (one, two) = models();
    for kind in [Kind::File, Kind::Files, Kind::Tree] {
        let folder = faults::folder();
        let output = open(folder.path(), kind, Start::Settled);
        assert!(!output.compare(one.state()).expect("readable").is_empty());
        publish(&output, &one);
        assert!(output.is_unsettled() && output.previous().is_none());
        assert_eq!(output.compare(one.state()).expect("readable"), []);
        let first = seen(folder.path());
        assert!(!first.is_empty() && first.values().all(|(_, mode)| *mode == 0o640), "{first:?}");
        output.settle().expect("there is room");
        assert!(!output.is_unsettled());

        let staged = output.stage(two.state()).expect("there is room");
        assert!(staged.path().exists() && seen(folder.path()) == first, "nothing is visible yet");
        staged.publish().expect("there is room");
        assert!(output.previous().is_some() && seen(folder.path()) != first);
        assert_eq!(output.compare(two.state()).expect("readable"), []);
        output.roll_back().expect("there is room");
        assert_eq!(seen(folder.path()), first);
        output.roll_back().expect("nothing is done");
        // Dropped: as if it had never been.
        drop(output.stage(two.state()).expect("there is room"));
        assert_eq!((seen(folder.path()), leftovers(folder.path())), (first, vec![]), "{kind:?}");

        // Before the first state there was nothing.
        let empty = faults::folder();
        let output = open(empty.path(), kind, Start::Settled);
        publish(&output, &one);
        publish(&output, &two);
        output.roll_back().expect("there is room");
        assert_eq!((seen(empty.path()), leftovers(empty.path())), (BTreeMap::new(), vec![]));
    }
}

/// Kills the process at each step on the way from one state to the next, and starts it again.
fn killed_everywhere(kind: Kind, first: Option<&Model>, go_back: bool) {
    let (_, two) = models();
    let mut ends = BTreeMap::new();
    for killed_at in 0.. {
        let folder = faults::folder();
        let output = open(folder.path(), kind, Start::Settled);
        if let Some(first) = first {
            publish(&output, first);
            output.settle().expect("there is room");
        }
        let before = seen(folder.path());
        let kill = faults::kill_at(killed_at);
        let result = output.stage(two.state()).and_then(Staged::publish);
        let is_held = result.is_ok() && !go_back;
        let result = result.and_then(|()| if go_back { output.roll_back() } else { output.settle() });
        let was_killed = kill.end();
        assert_eq!(result.is_err(), was_killed, "{result:?}");
        let left = seen(folder.path());
        for (name, (text, mode)) in &left {
            let is_old = before.get(name).is_some_and(|(old, _)| old == text);
            assert!(is_old || text.contains("two") || text.contains('2'), "{name} is {text:?} at {killed_at}");
            assert_eq!(*mode, 0o640);
        }
        if !matches!(kind, Kind::Files) {
            let after = BTreeMap::from_iter(left.clone());
            ends.insert(after.values().next().map(|(text, _)| text.clone()), killed_at);
            let texts = after.values().map(|(text, _)| text.contains("two") || text.contains('2'));
            assert!(
                texts.clone().all(|is_new| is_new) || texts.clone().all(|is_new| !is_new),
                "all or nothing: {left:?}"
            );
        }

        let output = open(folder.path(), kind, if is_held { Start::Settled } else { Start::Unsettled });
        if killed_at % 2 == 0 {
            output.roll_back().expect("there is room");
            let expected = if is_held { left } else { before };
            assert_eq!(seen(folder.path()), expected, "killed at {killed_at}");
        }
        publish(&output, &two);
        output.settle().expect("there is room");
        assert_eq!(output.compare(two.state()).expect("readable"), []);
        assert_eq!(leftovers(folder.path()), Vec::<String>::new());
        if !was_killed {
            assert!(killed_at > 8);
            break;
        }
    }
    assert!(matches!(kind, Kind::Files) || ends.len() == 2 || go_back, "the old one, then the new one: {ends:?}");
}

#[test]
fn a_kill_at_any_step_leaves_what_was_or_what_is_to_be_and_the_way_back() {
    let (one, _) = models();
    for kind in [Kind::File, Kind::Files, Kind::Tree] {
        for first in [None, Some(&one)] {
            killed_everywhere(kind, first, false);
            killed_everywhere(kind, first, true);
        }
    }
}

#[test]
fn an_error_at_any_step_of_the_machine_changes_nothing_and_is_told() {
    let (one, two) = models();
    for kind in [Kind::File, Kind::Files, Kind::Tree] {
        let folder = faults::folder();
        let output = open(folder.path(), kind, Start::Settled);
        publish(&output, &one);
        output.settle().expect("there is room");
        let before = seen(folder.path());
        for failing in 0.. {
            let fault = faults::fail_at(failing, [Errno::NOSPC, Errno::ROFS, Errno::DQUOT, Errno::BUSY][failing % 4]);
            let result = output.stage(two.state()).and_then(Staged::publish);
            let happened = fault.end();
            let Err(error) = result else {
                // Not at fault: a link that is copied instead, and what is removed at last.
                assert_eq!(output.compare(two.state()).expect("readable"), []);
                output.roll_back().expect("there is room");
                assert_eq!(seen(folder.path()), before, "{kind:?} at {failing}");
                if happened {
                    continue;
                }
                break;
            };
            let text = error.to_string();
            let remedies = ["free space", "for writing", "raise the quota", "it is a mount point"];
            assert!(matches!(error, Fault::Machine { .. }) && text.contains(remedies[failing % 4]), "{text}");
            assert!(text.contains(&folder.path().display().to_string()) && text.contains("os error"), "{text}");
            assert_eq!((seen(folder.path()), output.is_unsettled()), (before.clone(), false), "{kind:?} at {failing}");
            assert_eq!(leftovers(folder.path()), Vec::<String>::new(), "{kind:?} at {failing}");
        }
    }
}

#[test]
fn readers_see_one_state_or_the_other_with_the_mode_and_owner_that_were_asked_for() {
    let (one, two) = models();
    let texts = [&one, &two].map(|model| String::from_utf8(model.bytes.to_vec()).expect("text"));
    for kind in [Kind::File, Kind::Tree] {
        let folder = faults::folder();
        let output = open(folder.path(), kind, Start::Settled);
        publish(&output, &one);
        output.settle().expect("there is room");
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut looks = 0_u64;
                while !done.load(Ordering::Relaxed) || looks == 0 {
                    looks += 1;
                    if let Kind::Tree = kind {
                        // As readers of a tree do: the link is resolved once.
                        let tree = folder.path().join("tree");
                        let Ok(tree) = fs::read_link(tree.join("current")).map(|name| tree.join(name)) else {
                            continue;
                        };
                        let a = fs::read_to_string(tree.join("a.yaml")).expect("it is kept");
                        let b = fs::read_to_string(tree.join("sub/b.txt")).expect("it is kept");
                        assert!((&*a, &*b) == ("x: 1\n", "one") || (&*a, &*b) == ("x: 2\n", "two"), "{a} {b}");
                        continue;
                    }
                    let file = fs::File::open(folder.path().join("model.json")).expect("it is always there");
                    let mode = file.metadata().expect("readable").mode() & 0o7777;
                    let text = std::io::read_to_string(file).expect("readable");
                    assert!(mode == 0o640 && texts.contains(&text), "{mode:o} {text}");
                }
            });
            for turn in 0..100 {
                publish(&output, if turn % 2 == 0 { &two } else { &one });
                if turn % 3 == 0 {
                    output.roll_back().expect("there is room");
                    publish(&output, &one);
                }
                output.settle().expect("there is room");
            }
            done.store(true, Ordering::Relaxed);
            reader.join().expect("it saw nothing else");
        });
    }
}

fn single(path: &str, options: Options<'_>) -> Result<Output, InvalidOutput> {
    Output::open(Settings::read(Options { out: &[path.to_owned()], ..options })?, Start::Settled)
}

fn folder_with(name: &str, text: &str) -> (TempDir, PathBuf) {
    let folder = faults::folder();
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    (folder, path)
}

#[test]
fn what_nobody_asks_for_stays_as_the_old_file_has_it() {
    let (one, _) = models();
    let (_folder, path) = folder_with("model.json", "old");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).expect("it is ours");
    // Only root may give a file away.
    let is_root = rustix::process::geteuid().is_root();
    let owner = if is_root { (12345, 54321) } else { path.metadata().map(|is| (is.uid(), is.gid())).expect("a file") };
    std::os::unix::fs::chown(&path, Some(owner.0), Some(owner.1)).expect("it may");
    publish(&single(path.to_str().expect("text"), Options::default()).expect("a file"), &one);
    let metadata = path.metadata().expect("a file");
    assert_eq!((metadata.mode() & 0o7777, (metadata.uid(), metadata.gid())), (0o604, owner));
    let fresh = path.with_file_name("fresh");
    publish(&single(fresh.to_str().expect("text"), Options::default()).expect("a file"), &one);
    assert_eq!(fresh.metadata().expect("a file").mode() & 0o7777, 0o644);
}

#[test]
fn behind_a_symbolic_link_the_file_is_replaced_and_the_link_stays() {
    let (one, two) = models();
    let (folder, behind) = folder_with("behind.json", "old");
    let (link, other) = (folder.path().join("link"), folder.path().join("other"));
    symlink("behind.json", &link).expect("a link");
    symlink(folder.path().join("link"), &other).expect("a link");
    let output = single(other.to_str().expect("text"), Options::default()).expect("a file");
    publish(&output, &one);
    assert_eq!(fs::read(&behind).expect("a file"), one.bytes);
    assert!(link.is_symlink() && other.is_symlink());
    output.roll_back().expect("there is room");
    assert_eq!(fs::read_to_string(&behind).expect("a file"), "old");
    // One that leads to nothing yet, and one that leads to itself.
    fs::remove_file(&behind).expect("a file");
    publish(&output, &two);
    assert_eq!(fs::read(&behind).expect("a file"), two.bytes);
    fs::remove_file(&link).expect("a link");
    symlink("other", &link).expect("a link");
    let error = output.stage(one.state()).expect_err("a circle").to_string();
    assert!(error.contains("symbolic links lead in a circle"), "{error}");
    let twice = [other.display().to_string(), folder.path().join("new").display().to_string()];
    fs::remove_file(&link).expect("a link");
    symlink("new", &link).expect("a link");
    let settings = Settings::read(Options { out: &twice, ..Options::default() }).expect("by their names");
    let error = Output::open(settings, Start::Settled).expect_err("one file").to_string();
    assert!(error.contains("two of them lead to this file"), "{error}");
}

#[test]
fn what_is_no_file_is_refused_and_never_replaced() {
    let (one, _) = models();
    let folder = faults::folder();
    for path in ["/dev/null", folder.path().to_str().expect("text")] {
        let error = single(path, Options::default()).expect_err("no file").to_string();
        assert!(error.contains(path) && error.contains("only a file can be replaced"), "{error}");
    }
    let path = folder.path().join("later");
    let output = single(path.to_str().expect("text"), Options::default()).expect("nothing is there");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).expect("a pipe");
    let error = output.stage(one.state()).expect_err("a pipe").to_string();
    assert!(error.contains("only a file can be replaced"), "{error}");
    assert_eq!(output.compare(one.state()).expect("it is not waited for").len(), 1);
    assert!(path.symlink_metadata().expect("it stays").file_type().is_fifo());
    let missing = folder.path().join("none/file");
    let output = single(missing.to_str().expect("text"), Options::default()).expect("it may come");
    let error = output.stage(one.state()).expect_err("no folder").to_string();
    assert!(error.contains("No such file or directory (os error 2): create the folder"), "{error}");
    fs::create_dir(folder.path().join("current")).expect("a folder");
    let options = Options { out_dir: Some(folder.path()), ..Options::default() };
    let error =
        Output::open(Settings::read(options).expect("fine"), Start::Settled).expect_err("in the way").to_string();
    assert!(error.contains("is no symbolic link"), "{error}");
}

#[test]
fn commands_are_given_whole_paths() {
    let output = single("a-file-of-no-test", Options::default()).expect("a file");
    assert!(output.path().is_absolute() && output.path().ends_with("a-file-of-no-test"));
    let options = Options { out_dir: Some(Path::new("a-folder-of-no-test")), ..Options::default() };
    let output = Output::open(Settings::read(options).expect("fine"), Start::Settled).expect("a folder");
    assert!(output.path().is_absolute() && output.path().ends_with("a-folder-of-no-test/current"));
}

#[test]
fn a_state_that_does_not_fit_is_told_apart_from_a_machine_that_cannot() {
    let (one, _) = models();
    let folder = faults::folder();
    let opaque = Bytes::from_static(b"\x00\xff not JSON");
    let opaque = State { id: "x", bytes: &opaque, document: None };
    for (out, state, expected) in [
        ("/none=f", one.state(), "f: the model has nothing at /none: correct --out or the model"),
        ("/a=f.txt", one.state(), "f.txt: /a cannot be written: it is an object, and the format string needs"),
        ("/a=f", opaque, "f: the model is not JSON"),
        ("f.json", opaque, "f.json: the model is not JSON"),
    ] {
        let out = out.replace('f', &format!("{}/f", folder.path().display()));
        let output = single(&out, Options::default()).expect("it can be replaced");
        let error = output.stage(state).expect_err("it does not fit");
        assert!(matches!(error, Fault::State { .. }) && error.to_string().contains(expected), "{error}");
    }
    let path = folder.path().join("f.bin");
    let output = single(path.to_str().expect("text"), Options::default()).expect("it can be replaced");
    output.stage(opaque).expect("bytes are bytes").publish().expect("there is room");
    assert_eq!(fs::read(path).expect("a file"), *opaque.bytes);
}

type Edit = fn(&Path);

#[test]
fn what_somebody_else_changes_is_found_and_put_right() {
    let (one, _) = models();
    for kind in [Kind::File, Kind::Files, Kind::Tree] {
        let folder = faults::folder();
        let output = open(folder.path(), kind, Start::Settled);
        publish(&output, &one);
        output.settle().expect("there is room");
        let file = match kind {
            Kind::File => folder.path().join("model.json"),
            Kind::Files => folder.path().join("b.txt"),
            Kind::Tree => folder.path().join("tree/e.1.one/sub/b.txt"),
        };
        let edits: [(&str, Edit); 5] = [
            ("its content is another one", |file| fs::write(file, "by hand").expect("a file")),
            ("its content is another one", |file| fs::write(file, "oNe").expect("a file")),
            ("its mode is 0666 instead of 0640", |file| {
                fs::set_permissions(file, fs::Permissions::from_mode(0o666)).expect("a file");
            }),
            ("it is not there", |file| fs::remove_file(file).expect("a file")),
            ("it is no file", |file| {
                fs::remove_file(file).expect("a file");
                fs::create_dir(file).expect("a folder");
            }),
        ];
        for (what, edit) in edits {
            edit(&file);
            let found = output.compare(one.state()).expect("readable");
            assert_eq!((found.len(), &*found[0].what), (1, what), "{kind:?}: {found:?}");
            if what == "it is no file" && !matches!(kind, Kind::Tree) {
                // A folder is nothing that an agent removes.
                assert!(output.stage(one.state()).is_err());
                continue;
            }
            publish(&output, &one);
            output.settle().expect("there is room");
            assert_eq!(output.compare(one.state()).expect("readable"), [], "{kind:?} after {what}");
        }
    }
}

#[test]
fn old_trees_go_and_what_is_not_ours_stays() {
    let folder = faults::folder();
    let output = open(folder.path(), Kind::Tree, Start::Settled);
    let tree = folder.path().join("tree");
    let ids = ["e.1.a", "e.2.b", "e.3.c", "e.4.d"];
    for id in ids {
        let model = Model::new(id, &format!(r#"{{"a":{{}},"b":"{id}"}}"#));
        publish(&output, &model);
        fs::create_dir_all(tree.join("e.0.ours-not")).expect("a folder");
        output.settle().expect("there is room");
    }
    let left: Vec<_> = ids.iter().filter(|id| tree.join(id).exists()).collect();
    assert_eq!(left, [&"e.3.c", &"e.4.d"], "one beside the current one");
    assert!(tree.join("e.0.ours-not").exists());
    assert_eq!(fs::read_link(tree.join("current")).expect("a link"), Path::new("e.4.d"));
    fs::write(tree.join("e.4.d/extra"), "x").expect("a file");
    let model = Model::new("e.4.d", r#"{"a":{},"b":"e.4.d"}"#);
    let found = output.compare(model.state()).expect("readable");
    assert_eq!(found[0].to_string(), format!("{}/e.4.d/extra: it does not belong here", tree.display()));
    publish(&output, &model);
    assert!(!tree.join("e.4.d/extra").exists());
    // A list of names that somebody else wrote leads nowhere outside.
    fs::write(tree.join(".tidewait-trees"), "../victim\n.\n..\n/etc\ncurrent\n").expect("a file");
    fs::create_dir(folder.path().join("victim")).expect("a folder");
    publish(&output, &Model::new("e.5.e", r#"{"a":{},"b":""}"#));
    output.settle().expect("there is room");
    assert!(folder.path().join("victim").exists() && tree.join("current").is_symlink());
}

/// The next process may have nothing to publish, so that it is the start which removes what is in nobody's use.
#[test]
fn a_kill_while_old_trees_go_leaves_nothing_behind_the_next_start() {
    let models = ["e.1.a", "e.2.b", "e.3.c"].map(|id| Model::new(id, r#"{"a":{},"b":""}"#));
    for killed_at in 0.. {
        let folder = faults::folder();
        let output = open(folder.path(), Kind::Tree, Start::Settled);
        publish(&output, &models[0]);
        publish(&output, &models[1]);
        output.settle().expect("there is room");
        publish(&output, &models[2]);
        let kill = faults::kill_at(killed_at);
        let result = output.settle();
        let was_killed = kill.end();
        assert_eq!(result.is_err(), was_killed, "{result:?}");
        open(folder.path(), Kind::Tree, Start::Settled);
        assert_eq!(leftovers(folder.path()), Vec::<String>::new(), "killed at {killed_at}");
        let left = models.each_ref().map(|model| folder.path().join("tree").join(model.id).exists());
        assert_eq!(left, [false, true, true], "killed at {killed_at}");
        if !was_killed {
            assert!(killed_at > 4);
            break;
        }
    }
}

#[test]
fn of_several_files_those_are_put_back_that_were_replaced() {
    let (one, two) = models();
    let folder = faults::folder();
    let output = open(folder.path(), Kind::Files, Start::Settled);
    publish(&output, &one);
    output.settle().expect("there is room");
    let before = seen(folder.path());
    let staged = output.stage(two.state()).expect("there is room");
    let steps = faults::steps(|| staged.publish().expect("there is room"));
    let swaps: Vec<_> = steps.iter().enumerate().filter(|(_, step)| step.starts_with("rename")).collect();
    assert_eq!(swaps.len(), 2, "{steps:?}");
    output.roll_back().expect("there is room");
    for failing in swaps.iter().map(|(at, _)| *at) {
        let staged = output.stage(two.state()).expect("there is room");
        let fault = faults::fail_at(failing, Errno::BUSY);
        staged.publish().expect_err("it is busy");
        assert!(fault.end());
        assert_eq!(seen(folder.path()), before);
        assert!(!output.is_unsettled() && leftovers(folder.path()).is_empty());
    }
}
