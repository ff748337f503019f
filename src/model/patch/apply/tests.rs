//! Patches applied: those that we make, by any route, and any others, beside another implementation of RFC 6902.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::patch::{self, between};
use crate::model::sharing;
use crate::model::tests::{any_json, any_step, document, text};

#[track_caller]
fn applied(old: &str, patch: &str) -> String {
    text(&apply(&document(old), patch.as_bytes()).unwrap_or_else(|error| panic!("{error}: {patch} of {old}")))
}

fn refused(old: &str, patch: &str) -> String {
    apply(&document(old), patch.as_bytes()).expect_err(patch).to_string()
}

#[test]
fn every_operation_does_what_the_rfc_says() {
    for (old, patch, new) in [
        (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/-","value":{"x":[]}}]"#, r#"{"a":[1,{"x":[]}]}"#),
        (r#"{"a":[1]}"#, r#"[{"op":"add","path":"/a/0","value":0},{"op":"remove","path":"/a/1"}]"#, r#"{"a":[0]}"#),
        ("{}", r#"[{"op":"add","path":"","value":[]},{"op":"add","path":"/0","value":1.0}]"#, "[1.0]"),
        (r#"{"a":{"b":1},"c":2}"#, r#"[{"op":"move","from":"/a/b","path":"/c"}]"#, r#"{"a":{},"c":1}"#),
        ("[1,2,3]", r#"[{"op":"move","from":"/0","path":"/2"}]"#, "[2,3,1]"),
        ("[1,2,3]", r#"[{"op":"move","from":"/2","path":"/2"}]"#, "[1,2,3]"),
        (r#"{"a":1}"#, r#"[{"op":"move","from":"","path":""}]"#, r#"{"a":1}"#),
        (r#"{"a":1}"#, r#"[{"op":"copy","from":"","path":"/a"}]"#, r#"{"a":{"a":1}}"#),
        ("[[1],2]", r#"[{"op":"copy","from":"/0","path":"/-"},{"op":"add","path":"/0/0","value":0}]"#, "[[0,1],2,[1]]"),
        (r#"{"a":{"b":[1]}}"#, r#"[{"op":"test","path":"/a","value":{ "b" : [1] }}]"#, r#"{"a":{"b":[1]}}"#),
        (r#"{"":{"~1":"é"}}"#, r#"[{"op":"test","path":"//~01","value":"\u00e9"}]"#, r#"{"":{"~1":"é"}}"#),
        (r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":null},{"op":"add","path":"","value":2}]"#, "2"),
        (r#"{"a":1}"#, r#"[{"comment":{},"op":"remove","path":"/a"}]"#, "{}"),
    ] {
        assert_eq!(applied(old, patch), new, "{patch} of {old}");
    }
}

#[test]
fn an_error_names_the_operation_and_its_path() {
    let good = r#"{"op":"test","path":"/a/1","value":2}"#;
    for (operation, path, why) in [
        (r#"{"op":"remove","path":"/b"}"#, "/b", "path leads to nothing"),
        (r#"{"op":"replace","path":"/b","value":1}"#, "/b", "path leads to nothing"),
        (r#"{"op":"add","path":"/a/0/x","value":1}"#, "/a/0/x", "path leads to nothing"),
        (r#"{"op":"move","from":"/b","path":"/c"}"#, "/c", "from leads to nothing"),
        (r#"{"op":"move","from":"/a","path":"/a/0"}"#, "/a/0", "from is moved into itself"),
        (r#"{"op":"remove","path":""}"#, "", "the whole document cannot be removed"),
        (r#"{"op":"remove","path":"/a/2"}"#, "/a/2", r#""2" is no place in the array there"#),
        (r#"{"op":"remove","path":"/a/-"}"#, "/a/-", r#""-" is no place in the array there"#),
        (r#"{"op":"remove","path":"/a/01"}"#, "/a/01", r#""01" is no place in the array there"#),
        (r#"{"op":"add","path":"/a/3","value":1}"#, "/a/3", r#""3" is no place in the array there"#),
        (r#"{"op":"add","path":"/a/+1","value":1}"#, "/a/+1", r#""+1" is no place in the array there"#),
        (r#"{"op":"add","path":"/c"}"#, "/c", "value is missing, or of a wrong kind"),
        (r#"{"op":"move","path":"/c"}"#, "/c", "from is missing, or of a wrong kind"),
        (r#"{"op":"add","path":1,"value":1}"#, "", "path is missing, or of a wrong kind"),
        (r#"{"path":"/c","value":1}"#, "/c", "op is missing, or of a wrong kind"),
        (r#"{"op":"Add","path":"/c"}"#, "/c", r#"op "Add" is none of add, remove, replace, move, copy and test"#),
        ("[]", "", "it is no object"),
        (r#"{"op":"test","path":"/a/0","value":1.0}"#, "/a/0", "another value is there"),
        (
            r#"{"op":"remove","path":"c"}"#,
            "c",
            "path is no JSON Pointer: it does not begin with /: write it as /a/b, or leave it empty for the whole model",
        ),
        (
            r#"{"op":"copy","path":"/c","from":"/~"}"#,
            "/c",
            "from is no JSON Pointer: ~ at byte 1 has neither 0 nor 1 behind it: write ~0 for ~ and ~1 for /",
        ),
    ] {
        let expected = format!("operation 1 of the patch, at {path:?}: {why}: take the full state");
        assert_eq!(refused(r#"{"a":[1,2]}"#, &format!("[{good},{operation}]")), expected);
    }
    for (patch, why) in [
        ("", "the patch is no array: give an array of operations"),
        ("{}", "the patch is no array: give an array of operations"),
        (r#"[{"op":"add","op":"add"}]"#, r#"the patch: key "op" stands twice in /0: keep one"#),
        (
            r#"[{"op":"replace","path":"","value":null}]"#,
            "what the patch leads to is refused: it is empty: write a model, {} for an empty one",
        ),
    ] {
        assert_eq!(refused("{}", patch), why);
    }
}

#[test]
fn a_small_patch_cannot_make_a_large_document() {
    let (open, close) = (r#"{"a":"#.repeat(DOCUMENT_DEPTH - 1), "}".repeat(DOCUMENT_DEPTH - 1));
    let deepest = format!("{open}{{}}{close}");
    let path = "/a".repeat(DOCUMENT_DEPTH - 1);
    assert!(applied(&deepest, &format!(r#"[{{"op":"add","path":"{path}/b","value":1}}]"#)).contains(r#"{"b":1}"#));
    let why = format!("nested deeper than {DOCUMENT_DEPTH} levels");
    for operation in [
        format!(r#"{{"op":"add","path":"{path}/b","value":[]}}"#),
        r#"{"op":"copy","from":"","path":"/a"}"#.to_owned(),
        format!(r#"{{"op":"remove","path":"{path}/b/c"}}"#),
    ] {
        assert!(refused(&deepest, &format!("[{operation}]")).contains(&why), "{operation}");
    }

    let doubling = r#"{"op":"copy","from":"/0","path":"/0/-"}"#;
    let doubled = format!("[{}]", [doubling; 60].join(","));
    assert!(refused("[[1]]", &doubled).contains("the patch moves, copies or tests more than"));
    let long = format!(r#"["{}"]"#, "x".repeat(10_000_000));
    let copied = format!("[{}]", [r#"{"op":"copy","from":"/0","path":"/-"}"#; 9].join(","));
    let why = "what the patch leads to has 100000031 bytes, more than 67108864: make the model smaller";
    assert_eq!(refused(&long, &copied), why);
}

#[test]
fn of_a_long_array_only_what_was_touched_is_new() {
    let items: Vec<_> = (0..10_000).map(|at| format!(r#"{{"id":{at}}}"#)).collect();
    let old = document(&format!("[{}]", items.join(",")));
    let patch = br#"[{"op":"replace","path":"/5000/id","value":-1},{"op":"remove","path":"/7000"}]"#;
    let new = apply(&old, patch).expect("it applies");
    let (alone, all) = (sharing::alone(&new.root, Some(&old.root)), sharing::alone(&new.root, None));
    assert!(alone < all / 20, "{alone} of {all}");
}

fn any_pointer() -> impl Strategy<Value = String> {
    let token = prop::sample::select(&["a", "b", "c", "", "a~1b", "m~0n", "0", "1", "2", "-", "01", "é"][..]);
    prop::collection::vec(token.prop_map(|token| format!("/{token}")), 0..4).prop_map(|tokens| tokens.concat())
}

/// Numbers have one spelling each: the other implementation does not keep how they are spelt.
fn any_json_of_whole_numbers() -> impl Strategy<Value = String> {
    let numbers = [("12345678901234567890.5", "3"), ("1.0", "1"), ("1e0", "2"), ("-0", "0")];
    any_json()
        .prop_map(move |json| numbers.iter().fold(json.to_string(), |text, (one, other)| text.replace(one, other)))
}

fn any_operation() -> impl Strategy<Value = Value> {
    let op = prop::sample::select(&["add", "remove", "replace", "move", "copy", "test"][..]);
    let value = prop::sample::select(&["1", "\"x\"", "[1,2]", "{\"a\":{\"b\":1}}", "true", "{}", "[]"][..]);
    let operation = (op, any_pointer(), any_pointer(), value);
    // Which changes nothing, and which they refuse.
    let operation = operation.prop_filter("a move of the whole to itself", |(op, path, from, _)| {
        *op != "move" || !path.is_empty() || !from.is_empty()
    });
    operation.prop_map(|(op, path, from, value)| {
        let value: Value = serde_json::from_str(value).expect("JSON");
        match op {
            "remove" => json!({ "op": op, "path": path }),
            "move" | "copy" => json!({ "op": op, "path": path, "from": from }),
            _ => json!({ "op": op, "path": path, "value": value }),
        }
    })
}

proptest! {
    #[test]
    fn what_we_make_leads_to_the_new_document((old, new) in any_step()) {
        let (before, after) = (old.document(), new.document());
        for after in [after.sharing(&before), after] {
            let whole = patch::tests::patch(&before, &after);
            let made = between(&before, &after).map_or_else(|| whole.into_bytes(), |patch| patch.to_vec());
            let applied = apply(&before, &made).expect("our own");
            prop_assert_eq!(applied.state_digest(), after.state_digest());
            prop_assert_eq!(applied.digest(), after.digest());
            prop_assert_eq!(text(&applied), new.to_string());
        }
    }

    #[test]
    fn long_arrays_too((old, new) in patch::tests::any_long_arrays()) {
        let (before, after) = (document(&old), document(&new));
        let applied = apply(&before, patch::tests::patch(&before, &after).as_bytes()).expect("our own");
        prop_assert_eq!(text(&applied), new);
    }

    #[test]
    fn any_patch_does_what_another_implementation_does(
        old in any_json_of_whole_numbers(),
        operations in prop::collection::vec(any_operation(), 0..8),
    ) {
        let patch = Value::Array(operations);
        let mut theirs: Value = serde_json::from_str(&old).expect("JSON");
        let read: json_patch::Patch = serde_json::from_value(patch.clone()).expect("a patch");
        // Without undoing, which panics where a part became the whole.
        let them = json_patch::patch_unsafe(&mut theirs, &read);
        match apply(&document(&old), patch.to_string().as_bytes()) {
            Ok(ours) => {
                prop_assert!(them.is_ok(), "{:?} of {} is {}: {:?}", patch, old, text(&ours), them);
                prop_assert_eq!(serde_json::from_str::<Value>(&text(&ours)).expect("JSON"), theirs);
            }
            // Where an array would be removed whole they leave null, which is no document.
            Err(InvalidPatch::Result(Invalid::Empty)) => prop_assert_eq!(theirs, Value::Null),
            Err(error) => prop_assert!(them.is_err(), "{error}: {:?} of {} is {}", patch, old, theirs),
        }
    }

    #[test]
    fn no_bytes_make_it_panic(old in any_json(), patch in "[\\[\\]{}\":,a-z/~0-9 -]{0,100}") {
        let _ = apply(&old.document(), patch.as_bytes());
    }
}
