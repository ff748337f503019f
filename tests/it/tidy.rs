//! Rules about the source itself: arrows between modules, files that nobody declares, sizes, and
//! the tables of ARCHITECTURE.md and docs/. `TIDEWAIT_REGENERATE=1` writes the tables anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Which modules each module may name. What is absent is a wrong arrow.
const ARROWS: [(&str, &[&str]); 39] = [
    (
        "agent",
        &[
            "access",
            "admin",
            "bounds",
            "client",
            "config",
            "describe",
            "escape",
            "files",
            "model",
            "sockets",
            "sources",
            "systemd",
            "telemetry",
        ],
    ),
    ("exchange", &["bounds", "config", "nats", "sources", "telemetry"]),
    ("exchanges", &["bounds", "config", "exchange", "lifecycle", "nats"]),
    ("topics", &["bounds", "config", "lifecycle", "telemetry", "topic"]),
    ("nats", &["bounds", "config", "telemetry"]),
    ("chat", &["bounds", "client", "config", "escape", "fetch", "protocol"]),
    ("topic", &["bounds", "config", "describe", "escape", "files", "hub", "model", "nats", "protocol", "telemetry"]),
    ("fetch", &["bounds", "client", "config", "escape", "files"]),
    (
        "worker",
        &[
            "access",
            "admin",
            "bounds",
            "client",
            "config",
            "describe",
            "escape",
            "lifecycle",
            "protocol",
            "room",
            "sockets",
            "systemd",
            "telemetry",
        ],
    ),
    ("room", &[]),
    ("systemd", &["escape"]),
    ("files", &[]),
    ("access", &["bounds"]),
    ("authentication", &["access", "bounds", "reviews", "sources", "telemetry"]),
    ("authorization", &["access", "authentication", "bounds", "reviews", "telemetry"]),
    ("reviews", &["bounds", "telemetry"]),
    ("refusals", &["access", "describe"]),
    ("tls", &["access", "bounds", "sockets", "telemetry"]),
    ("bounds", &[]),
    ("yaml", &[]),
    ("escape", &[]),
    ("sockets", &["bounds"]),
    ("protocol", &["bounds"]),
    ("model", &["bounds", "protocol", "yaml"]),
    ("client", &["bounds", "escape", "model", "protocol", "sockets"]),
    ("config", &["access", "bounds", "client", "escape", "yaml"]),
    ("crd", &["bounds", "config", "escape"]),
    ("describe", &["bounds", "config", "escape", "model", "protocol"]),
    ("registry", &["access", "bounds", "model", "protocol"]),
    ("lifecycle", &["bounds"]),
    ("telemetry", &["bounds", "config", "escape"]),
    ("hub", &["bounds", "config", "describe", "model", "protocol"]),
    ("sources", &["bounds", "client", "config", "files", "model", "protocol", "telemetry"]),
    (
        "operation",
        &["access", "bounds", "config", "describe", "protocol", "registry", "hub", "model", "sources", "telemetry"],
    ),
    (
        "operations",
        &["bounds", "client", "config", "hub", "lifecycle", "model", "operation", "protocol", "sources", "telemetry"],
    ),
    (
        "controller",
        &[
            "bounds",
            "config",
            "crd",
            "escape",
            "exchange",
            "registry",
            "lifecycle",
            "model",
            "operation",
            "sources",
            "topic",
        ],
    ),
    (
        "http",
        &[
            "access",
            "authentication",
            "authorization",
            "bounds",
            "config",
            "describe",
            "exchange",
            "protocol",
            "refusals",
            "registry",
            "hub",
            "lifecycle",
            "operation",
            "room",
            "sockets",
            "telemetry",
            "tls",
            "topic",
            "model",
        ],
    ),
    (
        "admin",
        &[
            "access",
            "authentication",
            "authorization",
            "bounds",
            "describe",
            "escape",
            "exchange",
            "refusals",
            "registry",
            "lifecycle",
            "operation",
            "sockets",
            "telemetry",
            "tls",
            "topic",
        ],
    ),
    (
        "app",
        &[
            "access",
            "admin",
            "authentication",
            "authorization",
            "reviews",
            "bounds",
            "client",
            "config",
            "controller",
            "escape",
            "exchange",
            "exchanges",
            "http",
            "hub",
            "lifecycle",
            "model",
            "nats",
            "operation",
            "operations",
            "sockets",
            "sources",
            "telemetry",
            "tls",
            "topic",
            "topics",
        ],
    ),
];

/// Modules of which every file is PURE, whether or not its own header says so, and what no line of a PURE file may name.
const PURE: [&str; 11] = [
    "src/yaml",
    "src/access",
    "src/refusals",
    "src/model",
    "src/protocol",
    "src/describe",
    "src/escape",
    "src/registry",
    "src/exchange/core",
    "src/topic/core",
    "src/http/head",
];
const IMPURE: [&str; 10] = [
    "tokio",
    "hyper::",
    "kube::",
    "fastrand",
    "Instant::now",
    "SystemTime",
    "wall_clock",
    "std::env",
    "std::fs",
    "std::net::Tcp",
];

/// Lines of a file, its tests apart; of a file with its tests.
const LINES: usize = 400;
const LINES_WITH_TESTS: usize = 600;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file below a folder, as a path from the root.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(root()).expect("below the root").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The code of a file without its tests and comments.
fn code(path: &Path) -> String {
    let text = read(&root().join(path));
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_test(path: &Path) -> bool {
    path.file_stem().is_some_and(|stem| stem == "tests") || path.iter().any(|part| part == "tests")
}

#[test]
fn modules_name_only_what_the_table_allows() {
    let arrows: BTreeMap<_, _> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    for path in files("src").iter().filter(|path| !is_test(path)) {
        let module = path.iter().nth(1).map(|part| part.to_string_lossy().trim_end_matches(".rs").to_owned());
        let module = module.expect("below src");
        if matches!(&*module, "main" | "lib") {
            continue;
        }
        let allowed = arrows.get(&*module).unwrap_or_else(|| panic!("{} is in no arrow", path.display()));
        for other in arrows.keys().filter(|other| **other != module && !allowed.contains(other)) {
            if code(path).contains(&format!("crate::{other}")) {
                wrong.push(format!("{} names {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn pure_modules_know_no_world() {
    let is_listed = |path: &Path| PURE.iter().any(|pure| path.with_extension("").starts_with(pure));
    let claims = |path: &Path| read(&root().join(path)).starts_with("//! PURE.");
    let all: Vec<_> = files("src").into_iter().filter(|path| !is_test(path)).collect();
    for module in PURE {
        assert!(all.iter().any(|path| path.with_extension("").starts_with(module)), "{module} has no file");
    }
    let mut wrong = Vec::new();
    for path in all.iter().filter(|path| is_listed(path) || claims(path)) {
        let code = code(path);
        wrong.extend(
            IMPURE.iter().filter(|word| code.contains(**word)).map(|word| format!("{}: {word}", path.display())),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_is_declared_small_and_says_what_it_is_for() {
    let all: Vec<_> = ["src", "tests/it", "tests/node"].into_iter().flat_map(files).collect();
    let mut wrong = Vec::new();
    for path in &all {
        let text = read(&root().join(path));
        if !text.starts_with("//!") {
            wrong.push(format!("{}: no //! header", path.display()));
        }
        let lines = text.lines().count();
        let without_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().lines().count();
        if lines > LINES_WITH_TESTS || (!is_test(path) && path.starts_with("src") && without_tests > LINES) {
            wrong.push(format!("{}: {without_tests} lines, {lines} with tests", path.display()));
        }
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_root = matches!(&*stem, "main" | "lib");
        let parent = path.parent().expect("a folder");
        let declarers = [parent.with_extension("rs"), parent.join("lib.rs"), parent.join("main.rs")];
        let declared = declarers.iter().map(|file| root().join(file)).filter(|file| file.exists()).any(|file| {
            let declaration = format!("mod {stem};");
            let visible = ["", "pub ", "pub(crate) "].map(|visibility| format!("{visibility}{declaration}"));
            read(&file).lines().any(|line| visible.iter().any(|declaration| line.starts_with(declaration)))
        });
        if !is_root && !declared {
            wrong.push(format!("{}: no mod declares it", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A document whose block between two marks is made by the code.
#[track_caller]
fn holds(file: &str, name: &str, made: &str) {
    let path = root().join(file);
    let text = read(&path);
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{file} has no {begin}"));
    let (block, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{file} has no {end}"));
    if std::env::var_os("TIDEWAIT_REGENERATE").is_some() && block != made {
        fs::write(&path, format!("{before}{begin}{made}{end}{after}")).expect("it can be written");
        return;
    }
    assert!(block == made, "{file}: the table {name} is not what the code says, run: make regenerate\n{made}");
}

#[test]
fn the_page_of_settings_lists_every_flag() {
    let reference = tidewait::config::cli::reference();
    holds("docs/settings.md", "flags", &(reference.trim_end().to_owned() + "\n"));
}

#[test]
fn the_page_of_the_agent_lists_every_option() {
    holds("docs/agent.md", "options", &tidewait::config::cli::agent_reference());
}

#[test]
fn the_page_of_fetch_lists_every_option() {
    holds("docs/fetch.md", "options", &tidewait::config::cli::fetch_reference());
}

#[test]
fn the_page_of_topics_lists_every_option() {
    for (name, table) in ["tail", "publish", "chat"].into_iter().zip(tidewait::config::cli::chat_references()) {
        holds("docs/topics.md", name, &table);
    }
}

#[test]
fn the_page_of_the_worker_lists_every_option() {
    holds("docs/worker.md", "options", &tidewait::config::cli::worker_reference());
}

/// Names of the constants of src/bounds.rs.
fn constants() -> BTreeSet<String> {
    let text = [
        "src/bounds.rs",
        "src/bounds/admin.rs",
        "src/bounds/chat.rs",
        "src/bounds/edge.rs",
        "src/bounds/exchange.rs",
        "src/bounds/topic.rs",
        "src/bounds/websocket.rs",
        "src/bounds/worker.rs",
    ]
    .map(|file| read(&root().join(file)))
    .concat();
    let named = text.lines().filter_map(|line| line.strip_prefix("pub const "));
    named.filter_map(|line| line.split(':').next()).map(str::to_owned).collect()
}

#[test]
fn the_table_of_bounds_lists_every_constant_and_every_limiting_setting() {
    let text = read(&root().join("docs/bounds.md"));
    let section = text.split("## Limits").nth(1).and_then(|rest| rest.split("## ").next()).expect("a section");
    let listed: BTreeSet<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|line| line.split('`').next())
        .map(str::to_owned)
        .collect();
    let settings = [
        "--max-connections",
        "--max-parked",
        "--max-parked-per-agent",
        "--wait-default",
        "--wait-max",
        "--min-interval",
        "--grace",
        "--upstream-connect-timeout",
        "--upstream-head-timeout",
        "--upstream-body-idle-timeout",
        "--watch-timeout",
    ];
    let mut expected = constants();
    // A setting of the client library.
    expected.insert("max_bytes".to_owned());
    let flags = tidewait::config::cli::reference();
    for setting in settings {
        assert!(flags.contains(&format!("`{setting}")), "{setting} is no flag");
        expected.insert(setting.to_owned());
    }
    assert_eq!(listed, expected);
}

/// The value of a constant, as src/bounds.rs spells it, must be used somewhere outside of it.
#[test]
fn every_bound_is_used() {
    let all: Vec<_> = files("src")
        .into_iter()
        .filter(|path| !path.to_string_lossy().starts_with("src/bounds"))
        .map(|path| code(&path))
        .collect();
    let unused: Vec<_> =
        constants().into_iter().filter(|name| !all.iter().any(|code| code.contains(&**name))).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

/// The table of modules has every module, and names for each what the arrows allow.
#[test]
fn the_table_of_modules_is_that_of_the_arrows() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let section = text.split("## Modules").nth(1).and_then(|rest| rest.split("## ").next()).expect("a section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let listed: BTreeMap<_, BTreeSet<_>> = rows
        .map(|(module, rest)| {
            let known = rest.rsplit(" | ").next().unwrap_or_default();
            (module, known.split('`').skip(1).step_by(2).collect())
        })
        .filter(|(module, _)| *module != "main")
        .collect();
    let arrows: BTreeMap<_, BTreeSet<_>> =
        ARROWS.into_iter().map(|(module, known)| (module, known.iter().copied().collect())).collect();
    assert_eq!(listed, arrows);
}
