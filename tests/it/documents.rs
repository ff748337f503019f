//! The documents: every link leads somewhere, every page says for whom it is and is found from the README, and what they
//! show of settings, configuration and problems is what the code says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use tidewait::describe::problem::Kind;

mod typed; // the commands that they show

/// The documents outside of docs/.
const OTHERS: [&str; 6] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "charts/tidewait/README.md",
    "tests/node/README.md",
];

/// Lines of the README: it is for newcomers.
const README_LINES: usize = 200;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages of docs/, as paths from the root. Pictures are no pages.
fn pages() -> Vec<String> {
    let entries = fs::read_dir(root().join("docs")).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut pages: Vec<_> = entries
        .filter(|path| path.extension().is_none_or(|extension| extension != "png"))
        .map(|path| path.strip_prefix(root()).expect("below the root").to_str().expect("UTF-8").to_owned())
        .collect();
    pages.sort();
    pages
}

fn documents() -> Vec<String> {
    OTHERS.iter().map(|path| (*path).to_owned()).chain(pages()).collect()
}

/// What is outside of fences, and what is within.
fn split(text: &str) -> (Vec<&str>, Vec<&str>) {
    let parts: Vec<_> = text.split("```").collect();
    (parts.iter().step_by(2).copied().collect(), parts.iter().skip(1).step_by(2).copied().collect())
}

/// Prose alone: no blocks of code, no code within a line.
fn prose(text: &str) -> String {
    let outside = split(text).0.concat();
    outside.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// What each link of a document names.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let ends = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    ends.map(str::to_owned).collect()
}

/// The anchors of a document, as GitHub makes them of its headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let outside = split(text).0.concat();
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = outside.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings
        .map(|heading| {
            let kept = heading.to_lowercase();
            let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let times = seen.entry(anchor.clone()).or_default();
            *times += 1;
            if *times == 1 { anchor } else { format!("{anchor}-{}", *times - 1) }
        })
        .collect()
}

/// A relative path from a document, as a path from the root.
fn resolve(from: &str, link: &str) -> PathBuf {
    let mut path = Path::new(from).parent().expect("a folder").to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::ParentDir => assert!(path.pop(), "{from}: {link} leads out of the repository"),
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => path.push(component),
        }
    }
    path
}

/// What is wrong with a link of a document.
fn fault(from: &str, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { PathBuf::from(from) } else { resolve(from, file) };
    if !root().join(&target).exists() {
        return Some(format!("{from}: {link} names no file"));
    }
    let anchor = anchor?;
    let there = anchors(&read(target.to_str().expect("UTF-8")));
    (!there.contains(anchor)).then(|| format!("{from}: {link} names no heading, {} has {there:?}", target.display()))
}

#[test]
fn every_link_names_a_file_and_a_heading_that_exist() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for from in documents() {
        for link in links(&read(&from)) {
            count += 1;
            wrong.extend(fault(&from, &link));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 30, "only {count} links were found");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    assert_eq!(fault("docs/clients.md", "operating.md#metrics"), None);
    assert_eq!(fault("docs/clients.md", "../README.md"), None);
    assert_eq!(fault("README.md", "https://example.com/none"), None);
    for link in ["none.md", "#none", "../README.md#none", "docs/clients.md"] {
        assert!(fault("docs/clients.md", link).is_some(), "{link}");
    }
    let text = "# A `b` c?\n## Twice\n## Twice\n```\n# none\n```\n`[x](code)` [y](a.md#b) [z](c.md)";
    assert_eq!(anchors(text), ["a-b-c", "twice", "twice-1"].map(str::to_owned).into());
    assert_eq!(links(text), ["a.md#b", "c.md"]);
}

/// A path in the text itself, such as deploy/examples/network.json.
#[test]
fn every_file_that_a_document_names_is_there() {
    const FOLDERS: [&str; 7] = ["benches/", "charts/", "deploy/", "docs/", "src/", "tests/", ".ci/"];
    let mut wrong = Vec::new();
    for document in documents().iter().filter(|document| *document != "CHANGELOG.md") {
        let text = split(&read(document)).0.concat();
        let named = text.split('`').skip(1).step_by(2).filter_map(|code| code.split(' ').next());
        for name in named.filter(|name| FOLDERS.iter().any(|folder| name.starts_with(folder))) {
            let all = match name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
                Some((before, (middle, after))) => {
                    middle.split(',').map(|one| format!("{before}{one}{after}")).collect()
                }
                None => vec![name.to_owned()],
            };
            wrong.extend(all.iter().filter(|one| !root().join(one).exists()).map(|one| format!("{document}: {one}")));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readme_is_short_and_leads_to_every_page() {
    let readme = read("README.md");
    let lines = readme.lines().count();
    assert!(lines < README_LINES, "{lines} lines: move what a newcomer need not know to docs/");
    let linked: BTreeSet<_> = links(&readme).into_iter().collect();
    let wanted = pages()
        .into_iter()
        .chain(["ARCHITECTURE.md", "CHANGELOG.md", "SECURITY.md", "charts/tidewait/README.md"].map(str::to_owned));
    let missing: Vec<_> = wanted.filter(|page| !linked.contains(page)).collect();
    assert!(missing.is_empty(), "README.md has no link to {missing:?}");
}

#[test]
fn every_page_says_first_for_whom_it_is() {
    for page in pages().into_iter().chain(["ARCHITECTURE.md", "SECURITY.md"].map(str::to_owned)) {
        let text = read(&page);
        let mut paragraphs = text.split("\n\n");
        assert!(paragraphs.next().is_some_and(|title| title.starts_with("# ")), "{page} begins with a title");
        let first = paragraphs.next().unwrap_or_default();
        assert!(first.starts_with("For "), "{page} says for whom it is: {first}");
    }
}

/// How many items a list has that stands last in a configuration.
fn listed(text: &str, field: &str) -> usize {
    let Some((_, listed)) = text.split_once(&format!("\n{field}:\n")) else { return 0 };
    let item = &listed[..=listed.find('-').expect("there is one")];
    listed.lines().filter(|line| line.starts_with(item)).count()
}

/// Every configuration that a document shows is one, and they show one.
#[tokio::test]
async fn every_configuration_that_is_shown_is_good() {
    let mut shown = Vec::new();
    for document in documents() {
        let text = read(&document);
        let blocks = split(&text).1.into_iter().filter_map(|block| block.strip_prefix("yaml\n"));
        shown.extend(blocks.filter(|block| block.contains("kind: ServeConfig")).map(str::to_owned));
    }
    assert!(!shown.is_empty(), "docs/settings.md shows a configuration file");
    for text in shown {
        let file = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
        fs::write(file.path(), &text).expect("it can be written");
        let path = file.path().to_str().expect("UTF-8");
        let output =
            crate::server::tidewait(&["check", "--without-files", "--config", path]).output().await.expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{text}");
        let (exchanges, note) = match listed(&text, "exchanges") {
            0 => (String::new(), ""),
            count if text.matches("backend: nats").count() == count => (format!(", exchanges: {count} (nats)"), ""),
            count => {
                let note = "note: each replica has its own queue of an exchange in memory: workers that poll, and consumers that come back \
                            for an answer, have to reach the same one\n";
                (format!(", exchanges: {count} (memory)"), note)
            }
        };
        // No page shows a whole file with one in memory.
        let topics = match listed(&text, "topics") {
            0 => String::new(),
            count => format!(", topics: {count} (nats)"),
        };
        let operations = listed(&text, "operations");
        let expected = format!("the configuration is good, operations: {operations}{exchanges}{topics}\n{note}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{text}");
    }
}

/// The rows of a table of problems: type and status.
fn problems(document: &str) -> BTreeSet<(String, String)> {
    let text = read(document);
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let rows = rows.filter_map(|(slug, rest)| Some((slug.to_owned(), rest.split_once(" | ")?.0.to_owned())));
    rows.filter(|(_, status)| status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

#[test]
fn the_pages_list_every_problem() {
    const OF_THE_ADMIN_PORT: &str = "loopback-only";
    let clients = Kind::ALL.iter().filter(|kind| kind.slug() != OF_THE_ADMIN_PORT);
    let expected: BTreeSet<_> =
        clients.map(|kind| (kind.slug().to_owned(), kind.status().as_str().to_owned())).collect();
    let of_exchanges = problems("docs/exchange.md");
    assert!(of_exchanges.is_disjoint(&problems("docs/clients.md")));
    assert_eq!(&problems("docs/clients.md") | &of_exchanges, expected);
    let code = read("src/http/proxy/error.rs");
    let slugs = code.split("pub fn slug").nth(1).and_then(|rest| rest.split("\n    }").next()).expect("the types");
    let slugs: BTreeSet<_> = slugs.split('"').skip(1).step_by(2).map(str::to_owned).collect();
    let listed: BTreeSet<_> = problems("docs/operating.md").into_iter().map(|(slug, _)| slug).collect();
    assert_eq!(listed, slugs);
}

/// Words of a text that are names of metrics, if `quote` stands on both sides.
fn metrics(text: &str, quote: char) -> BTreeSet<String> {
    let words = text.split(quote).filter(|word| word.starts_with("tidewait_"));
    words.filter(|word| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).map(str::to_owned).collect()
}

#[test]
fn the_page_for_operators_lists_every_metric_and_no_page_another() {
    let there = metrics(&crate::chart::texts(root().join("src")), '"');
    assert_eq!(metrics(&split(&read("docs/operating.md")).0.concat(), '`'), there);
    for document in documents().iter().filter(|document| *document != "CHANGELOG.md") {
        let named = metrics(&split(&read(document)).0.concat(), '`');
        assert!(named.is_subset(&there), "{document} names {:?}", named.difference(&there));
    }
}
