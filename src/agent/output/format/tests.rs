//! Formats: what is written says what the model says, to the readers that it is for.

use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::model::Pointer;
use crate::model::tests::document;

/// Any value: a model that is null is refused as an empty file.
#[track_caller]
fn value(json: &str) -> Document {
    let found = Pointer::parse("/v").expect("a pointer").find(&document(&format!("{{\"v\":{json}}}")));
    found.expect("it is there")
}

#[track_caller]
fn written(format: Format, json: &str) -> String {
    let bytes = format.write(&value(json)).expect("it fits");
    String::from_utf8(bytes.to_vec()).expect("text")
}

const MODEL: &str =
    r#"{"a":{"list":[1,[2,[]],{"x":"y","z":{}},[{"k":1.50}]],"none":{}},"name":"n 1","no":"no","t":true}"#;

#[test]
fn each_format_writes_the_model_as_people_would() {
    assert_eq!(written(Format::Json, MODEL), MODEL);
    let pretty = written(Format::Pretty, MODEL);
    assert!(
        pretty.starts_with("{\n  \"a\": {\n    \"list\": [\n      1,\n      [\n        2,\n        []\n      ],\n"),
        "{pretty}"
    );
    assert!(pretty.ends_with("\"t\": true\n}\n"), "{pretty}");
    let yaml = r#"a:
  list:
    - 1
    - - 2
      - []
    - x: "y"
      z: {}
    - - k: 1.50
  none: {}
name: "n 1"
"no": "no"
t: true
"#;
    assert_eq!(written(Format::Yaml, MODEL), yaml);
    let env = "A_LIST_0='1'\nA_LIST_1_0='2'\nA_LIST_2_X='y'\nA_LIST_3_0_K='1.50'\nNAME='n 1'\nNO='no'\nT='true'\n";
    assert_eq!(written(Format::Env, MODEL), env);
    for (json, text) in [(r#""a\n\"é""#, "a\n\"é"), ("1.50", "1.50"), ("true", "true"), (r#""""#, "")] {
        assert_eq!(written(Format::Text, json), text);
    }
    for (json, yaml) in [("[]", "[]\n"), ("{}", "{}\n"), ("null", "null\n"), (r#""a""#, "a\n")] {
        assert_eq!(written(Format::Yaml, json), yaml);
    }
    assert_eq!(
        written(Format::Env, r#"{"a":null,"b-c":"it's","1":"\n","":0}"#),
        "_='0'\n_1='\n'\nA=''\nB_C='it'\\''s'\n"
    );
}

#[test]
fn what_does_not_fit_says_why() {
    for (format, json, expected) in [
        (Format::Text, "null", "it is null, and the format string needs a string, a number or a boolean"),
        (Format::Text, "[1]", "it is an array, and"),
        (Format::Env, r#""a""#, "it is a string, and the format env needs an object"),
        (Format::Env, r#"{"a/b":1,"A":{"b":2}}"#, "/A/b and /a~1b would both be A_B in the format env"),
        (Format::Env, r#"{"a":"\u0000"}"#, "/a holds a NUL"),
    ] {
        let error = format.write(&value(json)).expect_err("it does not fit").to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn the_extension_decides_and_then_what_is_given() {
    for (file, given, expected) in [
        ("a.json", None, Some(Format::Json)),
        ("a.json", Some(Format::Yaml), Some(Format::Json)),
        ("a.json", Some(Format::Pretty), Some(Format::Pretty)),
        ("a.yml", Some(Format::Json), Some(Format::Yaml)),
        ("a.env", None, Some(Format::Env)),
        ("a.txt", None, Some(Format::Text)),
        ("a.conf", Some(Format::Text), Some(Format::Text)),
        ("a", None, None),
    ] {
        assert_eq!(Format::of(Path::new(file), given), expected, "{file}");
    }
    assert!(Format::NAMES.iter().all(|(name, format)| Format::parse(name) == Some(*format)));
    assert_eq!(Format::parse("toml"), None);
}

/// A model with keys and texts that are hard to write.
fn values() -> impl Strategy<Value = serde_json::Value> {
    let texts = prop_oneof![
        any::<String>(),
        "[a-z0-9~.:#'\" -]{0,6}",
        Just("null".to_owned()),
        Just("\u{85}\u{2028}\u{feff}\u{7f}".to_owned()),
        Just("x".repeat(1100)),
    ];
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        texts.clone().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
            prop::collection::vec((texts.clone(), inner), 0..5)
                .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn json_and_yaml_read_back_as_the_same_model(value in values()) {
        // Not null alone, which is refused as an empty file.
        let model = document(&serde_json::json!([value]).to_string());
        for format in [Format::Json, Format::Pretty] {
            let bytes = format.write(&model).expect("it fits");
            prop_assert_eq!(Document::from_json(&bytes).expect("JSON").canonical(), model.canonical());
        }
        let bytes = Format::Yaml.write(&model).expect("it fits");
        let read = Document::from_yaml(&bytes);
        prop_assert_eq!(read.expect("YAML").canonical(), model.canonical(), "{}", String::from_utf8_lossy(&bytes));
    }
}

#[test]
fn a_shell_reads_the_names_and_runs_nothing() {
    let text = "$(exit 1) `x` \\ \" 'a' \n ; é";
    let env = written(Format::Env, &format!("{{\"v\":{}}}", serde_json::Value::from(text)));
    let script = format!("{env}printf %s \"$V\"");
    let output = Command::new("sh").args(["-euc", &script]).output().expect("sh runs");
    assert_eq!((String::from_utf8_lossy(&output.stdout).as_ref(), output.status.success()), (text, true));
}
