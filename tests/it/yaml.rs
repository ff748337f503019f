//! YAML as its user meets it: the cases of the YAML test suite, files that grow by aliases, one rule for models and the
//! configuration file.

use serde_json::Value;
use tidewait::model::Document;

use crate::model_file::ModelFile;
use crate::server::{Server, tidewait};

/// Valid YAML that is refused, by what the message says. Each names line and column.
const REFUSED: [(&str, &[&str]); 5] = [
    (
        "a key that is an array or an object at ",
        &[
            "4FJ6", "6BFJ", "6PBE", "9MMW", "KK5P", "LX3P", "M2N8-0", "M2N8-1", "M5DY", "Q9WF", "RZP5", "SBG9", "V9D5",
            "X38W", "XW4D",
        ],
    ),
    (
        "key null at ",
        &["2JQS", "6M2F", "CFD4", "DFF7", "FH7J", "FRK4", "NHX8", "NKF9", "PW8X", "S3PD", "SM9W-1", "UKK6-0"],
    ),
    (
        "tag !",
        &[
            "2XXW", "565N", "5TYM", "6CK3", "6WLZ", "7FWL", "9WXW", "C4HZ", "CC74", "CUP7", "J7PZ", "M5C3", "P76L",
            "UGM3", "Z67P", "Z9M4",
        ],
    ),
    (
        "YAML does not parse: a second document begins, and one is wanted at ",
        &[
            "35KP", "6XDY", "6ZKB", "7Z25", "9DXL", "9KAX", "JHB9", "KSS4", "L383", "M7A3", "PUW8", "RZT7", "U9NS",
            "UT92", "W4TN",
        ],
    ),
    ("YAML does not parse: %YAML 1.1 gives words", &["MUS6-2", "MUS6-3", "MUS6-4"]),
];

/// Read although the suite's JSON is another, or none: a bracket or a quoted line that is not indented, as libyaml,
/// go-yaml and `PyYAML` read it; the last line of a file that ends without a line break, for which they add none.
const READ: [(&str, &str); 7] = [
    ("9C9N", r#"{"flow":["a","b","c"]}"#),
    ("DK95-1", r#"{"foo":"bar baz"}"#),
    ("QB6E", r#"{"quoted":"a b c"}"#),
    ("JEF9-2", r#"[""]"#),
    ("L24T-1", r#"{"foo":"x\n "}"#),
    // The suite has no JSON for these.
    ("4ABK", r#"{"http://foo.com":null,"omitted value":null,"unquoted":"separate"}"#),
    ("UKK6-2", r#""""#),
];

#[test]
fn every_case_of_the_test_suite_is_read_as_it_says_or_known() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("yaml/suite.json")).expect("JSON");
    assert_eq!(cases.len(), 402);
    let mut wrong = Vec::new();
    for case in cases {
        let text = |field: &str| case[field].as_str();
        let (id, yaml) = (text("id").expect("an id"), text("yaml").expect("YAML"));
        let read = Document::from_yaml(yaml.as_bytes()).map_err(|error| error.to_string());
        let read = read.map(|document| String::from_utf8(document.canonical().to_vec()).expect("JSON"));
        let refused = REFUSED.iter().find(|(_, ids)| ids.contains(&id));
        let known = READ.iter().find(|(known, _)| *known == id);
        let as_known = match (&read, refused, known) {
            (Err(error), Some((begin, _)), _) => error.starts_with(begin) && names_line(error),
            (Ok(read), None, Some((_, json))) => read == json,
            (Ok(read), None, None) => {
                let value = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
                case["fail"] != true && text("json").is_some_and(|json| value(json) == value(read))
            }
            (Err(error), None, None) if case["fail"] == true => names_line(error),
            (Err(error), None, None) => {
                let nothing = text("json").is_some_and(|json| matches!(json.trim(), "" | "null"));
                nothing && error.starts_with("it is empty")
            }
            (_, Some(_), _) | (Err(_), None, Some(_)) => false,
        };
        if !as_known {
            wrong.push(format!("{id} {yaml:?}: {read:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn names_line(error: &str) -> bool {
    error.rsplit("line ").next().is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// 109 kB that stand for 960 MB, and 15 kB that stand for a thousand million values.
#[tokio::test]
async fn a_model_that_grows_by_aliases_is_refused_by_name_and_the_last_good_one_stays() {
    let model = ModelFile::new("n: 1\n");
    let mut server = Server::start(&["--file", model.arg(), "--format", "yaml"]).await;
    server.ready().await;
    let good = server.get("/describe").await;
    assert_eq!((good.status, &*good.body), (200, br#"{"n":1}"#.as_slice()));
    let bytes = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(64_000), "*a, ".repeat(15_000));
    model.replace(&bytes);
    server.logged("more than 67108864 bytes (DOCUMENT_BYTES), reached at line 2 column ").await;
    let line = |level: usize| format!("l{level}: &l{level} [{}]\n", format!("*l{},", level - 1).repeat(10));
    model.replace(&format!("l0: &l0 []\n{}", (1..=9).map(line).collect::<String>()));
    server.logged("more than 8388608 values (DOCUMENT_NODES), reached at line ").await;
    let same = server.get("/describe").await;
    assert_eq!((same.status, same.id(), &*same.body), (200, good.id(), &*good.body));
    let resident = std::fs::read_to_string(format!("/proc/{}/status", server.child.id().expect("it runs")));
    let peak = resident
        .expect("it runs")
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
    assert!(peak.is_some_and(|kilobytes: u64| kilobytes < 400_000), "peak of {peak:?} kB");
}

#[tokio::test]
async fn merge_keys_and_numbers_mean_what_they_say_in_models() {
    let model = ModelFile::new(
        "b: &b {x: 1, y: 2}\nd: {<<: *b, y: 3}\nn: 340282366920938463463374607431768211456\ne: [1e400, 1.10]\n",
    );
    let mut server = Server::start(&["--file", model.arg(), "--format", "yaml"]).await;
    server.ready().await;
    let body = server.get("/describe").await.body;
    assert_eq!(
        String::from_utf8_lossy(&body),
        r#"{"b":{"x":1,"y":2},"d":{"x":1,"y":3},"e":[1e400,1.10],"n":340282366920938463463374607431768211456}"#
    );
    model.replace("a: 1\nn: .inf\n");
    server.logged(".inf at /n has no JSON form, line 2 column 4: write a finite number, a string or null").await;
    model.replace("d: {<<: 5}\n");
    server.logged("something other than objects behind << at /d/<< has no JSON form, line 1 column 9").await;
}

#[tokio::test]
async fn the_configuration_file_follows_the_same_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let head = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";
    for (yaml, code, said) in [
        (
            "operations:\n- &a {path: /a, source: {file: {path: m.json}}, wait: {max: 0x10}}\n- {<<: *a, path: /b}\n",
            2,
            "operations[1].wait.max",
        ),
        (
            "operations:\n- &a {path: /a, source: {file: {path: m.json}}, wait: {max: 30s}}\n- {<<: *a, path: /b}\n",
            0,
            "the configuration is good, operations: 2\n",
        ),
        ("operations: [!x {}]\n", 2, "tag !x at /operations/0 has no JSON form, line 3 column 14"),
        ("grace: .inf\n", 2, ".inf at /grace has no JSON form, line 3 column 8"),
    ] {
        let path = folder.path().join("c.yaml");
        std::fs::write(&path, format!("{head}{yaml}")).expect("written");
        let output = tidewait(&["check", "--config", path.to_str().expect("UTF-8")]).output().await.expect("it runs");
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && text.contains(said), "{yaml}: {text}");
    }
}
