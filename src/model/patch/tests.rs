//! Patches by tables, and against another implementation of RFC 6902.

use proptest::prelude::*;

use super::*;
use crate::model::tests::{Json, any_step, document};

/// The patch, however long it is.
pub(in crate::model) fn patch(old: &Document, new: &Document) -> String {
    let mut draft = Draft::default();
    if !old.root.same(&new.root) {
        draft.edit(&old.root, &new.root, None);
    }
    let len = draft.len();
    let patch = draft.write(len);
    assert_eq!(patch.len(), len, "what was counted is what is written");
    patch
}

/// Applies a patch by the letter of RFC 6902, section 4.
pub(in crate::model) fn apply(target: &mut Json, patch: &str) {
    let Json::Array(operations) = Json::parse(patch) else { panic!("a patch is an array: {patch}") };
    for entry in operations {
        let Json::Object(mut members) = entry else { panic!("an operation is an object: {patch}") };
        let mut string = |name: &str| -> String {
            let Some(Json::Leaf(text)) = members.remove(name) else { panic!("{name} is missing: {patch}") };
            serde_json::from_str(&text).expect("a string")
        };
        let (op, pointer) = (string("op"), string("path"));
        let tokens: Vec<_> =
            pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        let value = members.remove("value");
        let Some((last, before)) = tokens.split_last() else {
            *target = value.expect("the whole document is added or replaced");
            continue;
        };
        let mut parent = &mut *target;
        for token in before {
            parent = match parent {
                Json::Object(members) => members.get_mut(token).expect("it exists"),
                Json::Array(items) => &mut items[token.parse::<usize>().expect("an index")],
                Json::Leaf(text) => panic!("{text} has nothing below it: {patch}"),
            };
        }
        match (&*op, parent, value) {
            ("add", Json::Object(members), Some(value)) => drop(members.insert(last.clone(), value)),
            ("add", Json::Array(items), Some(value)) if last == "-" => items.push(value),
            ("add", Json::Array(items), Some(value)) => items.insert(last.parse().expect("an index"), value),
            ("remove", Json::Object(members), None) => drop(members.remove(last).expect("it exists")),
            ("remove", Json::Array(items), None) => drop(items.remove(last.parse().expect("an index"))),
            ("replace", Json::Object(members), Some(value)) => *members.get_mut(last).expect("it exists") = value,
            ("replace", Json::Array(items), Some(value)) => items[last.parse::<usize>().expect("an index")] = value,
            (op, parent, value) => panic!("{op} of {value:?} at {pointer} in {parent}"),
        }
    }
}

#[track_caller]
fn applied(old: &str, patch: &str) -> String {
    let mut target = Json::parse(old);
    apply(&mut target, patch);
    let by_another = {
        let mut target: serde_json::Value = serde_json::from_str(old).expect("JSON");
        let patch: json_patch::Patch = serde_json::from_str(patch).expect("a patch");
        json_patch::patch(&mut target, &patch).expect("it applies");
        target
    };
    let text = target.to_string();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), by_another, "{patch} of {old}");
    text
}

/// What the operations that we produce do, also in forms that we do not produce (RFC 6902,
/// sections 4 and A).
#[test]
fn operations_do_what_the_rfc_says() {
    for (old, patch, new) in [
        (r#"{"b":1}"#, r#"[{"op":"add","path":"/a","value":2}]"#, r#"{"a":2,"b":1}"#),
        (r#"{"a":1}"#, r#"[{"op":"add","path":"/a","value":2}]"#, r#"{"a":2}"#),
        (r#"{"a":1}"#, r#"[{"op":"add","path":"/a","value":null}]"#, r#"{"a":null}"#),
        ("{}", r#"[{"op":"add","path":"/","value":1}]"#, r#"{"":1}"#),
        (r#"{"a":{}}"#, r#"[{"op":"add","path":"/a/","value":1}]"#, r#"{"a":{"":1}}"#),
        (r#"{"a":1}"#, r#"[{"op":"add","path":"/0","value":2}]"#, r#"{"0":2,"a":1}"#),
        ("{}", r#"[{"op":"add","path":"","value":[]}]"#, "[]"),
        ("[]", r#"[{"op":"add","path":"/0","value":1}]"#, "[1]"),
        ("[1,3]", r#"[{"op":"add","path":"/1","value":2}]"#, "[1,2,3]"),
        ("[1,2]", r#"[{"op":"add","path":"/2","value":3}]"#, "[1,2,3]"),
        ("[1,2]", r#"[{"op":"add","path":"/-","value":3}]"#, "[1,2,3]"),
        ("[1]", r#"[{"op":"add","path":"/1","value":[2,3]}]"#, "[1,[2,3]]"),
        (r#"{"a":[1,{"b":2}]}"#, r#"[{"op":"add","path":"/a/1/c","value":3}]"#, r#"{"a":[1,{"b":2,"c":3}]}"#),
        (r#"{"a":1,"b":2}"#, r#"[{"op":"remove","path":"/a"}]"#, r#"{"b":2}"#),
        (r#"{"a":null}"#, r#"[{"op":"remove","path":"/a"}]"#, "{}"),
        ("[1,2,3]", r#"[{"op":"remove","path":"/1"}]"#, "[1,3]"),
        ("[1,2,3]", r#"[{"op":"remove","path":"/0"},{"op":"remove","path":"/0"}]"#, "[3]"),
        (r#"{"a":1,"b":2}"#, r#"[{"op":"replace","path":"/a","value":[]}]"#, r#"{"a":[],"b":2}"#),
        ("[[1],2]", r#"[{"op":"replace","path":"/0/0","value":"x"}]"#, r#"[["x"],2]"#),
        (r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"b":2}}]"#, r#"{"b":2}"#),
        (r#"{"a/b":1,"m~n":2}"#, r#"[{"op":"replace","path":"/a~1b","value":3}]"#, r#"{"a/b":3,"m~n":2}"#),
        (r#"{"~1":1,"/":2}"#, r#"[{"op":"replace","path":"/~01","value":3}]"#, r#"{"/":2,"~1":3}"#),
        (r#"{"é\"":1}"#, r#"[{"op":"replace","path":"/é\"","value":2}]"#, r#"{"é\"":2}"#),
        (r#"{"a":1}"#, r#"[{"xyz":0,"value":2,"path":"/a","op":"replace"}]"#, r#"{"a":2}"#),
        (r#"{"a":1}"#, "[]", r#"{"a":1}"#),
    ] {
        assert_eq!(applied(old, patch), new, "{patch} of {old}");
    }
}

#[test]
fn patches_are_these() {
    for (old, new, expected) in [
        ("{}", "{}", "[]"),
        (r#"{"a":1,"b":2}"#, r#"{"a":1,"b":2,"c":[3]}"#, r#"[{"op":"add","path":"/c","value":[3]}]"#),
        (r#"{"a":1,"b":2}"#, r#"{"b":2}"#, r#"[{"op":"remove","path":"/a"}]"#),
        (r#"{"a":1,"b":2}"#, r#"{"a":1.0,"b":2}"#, r#"[{"op":"replace","path":"/a","value":1.0}]"#),
        (r#"{"a":1,"b":2}"#, r#"{"a":null,"b":2}"#, r#"[{"op":"replace","path":"/a","value":null}]"#),
        (r#"{"a":{},"b":2}"#, r#"{"a":[],"b":2}"#, r#"[{"op":"replace","path":"/a","value":[]}]"#),
        // Kinds differ at the root.
        ("[1,2]", r#"{"a":1}"#, r#"[{"op":"replace","path":"","value":{"a":1}}]"#),
        ("1", "2", r#"[{"op":"replace","path":"","value":2}]"#),
        // Only what differs, however deep.
        (
            r#"{"a":{"b":{"c":1,"d":[2,{"e":3}]},"f":4}}"#,
            r#"{"a":{"b":{"c":1,"d":[2,{"e":5}]},"f":4}}"#,
            r#"[{"op":"replace","path":"/a/b/d/1/e","value":5}]"#,
        ),
        // Nothing stayed below /a: it is replaced. Below /b something did.
        (
            r#"{"a":{"x":1,"y":2,"z":3},"b":{"x":1,"y":2,"z":3}}"#,
            r#"{"a":{"x":4,"y":5,"z":6},"b":{"x":4,"y":5,"z":3}}"#,
            concat!(
                r#"[{"op":"replace","path":"/a","value":{"x":4,"y":5,"z":6}},"#,
                r#"{"op":"replace","path":"/b/x","value":4},{"op":"replace","path":"/b/y","value":5}]"#
            ),
        ),
        // Keys that a path escapes, and then JSON.
        (
            r#"{"a/b":{"m~n":{"\"\u0001":1}},"z":0}"#,
            r#"{"a/b":{"m~n":{"\"\u0001":2}},"z":0}"#,
            r#"[{"op":"replace","path":"/a~1b/m~0n/\"\u0001","value":2}]"#,
        ),
        (r#"{"":1,"z":0}"#, r#"{"":2,"z":0}"#, r#"[{"op":"replace","path":"/","value":2}]"#),
        // Arrays by index.
        ("[1,2,3]", "[0,1,2,3]", r#"[{"op":"add","path":"/0","value":0}]"#),
        ("[1,2,3]", "[1,2,3,4]", r#"[{"op":"add","path":"/3","value":4}]"#),
        ("[1,2,3]", "[1,3]", r#"[{"op":"remove","path":"/1"}]"#),
        ("[1,2,3]", "[1,9,3]", r#"[{"op":"replace","path":"/1","value":9}]"#),
        (
            "[0,1,2,3,4]",
            "[0,4]",
            r#"[{"op":"remove","path":"/1"},{"op":"remove","path":"/1"},{"op":"remove","path":"/1"}]"#,
        ),
        (
            "[1,2,3,4,5,6]",
            "[2,3,4,7,5,6,8]",
            concat!(
                r#"[{"op":"remove","path":"/0"},{"op":"add","path":"/3","value":7},"#,
                r#"{"op":"add","path":"/6","value":8}]"#
            ),
        ),
        (
            r#"[{"n":"a","v":1},{"n":"b","v":1},{"n":"c","v":1}]"#,
            r#"[{"n":"a","v":1},{"n":"b","v":2},{"n":"x"},{"n":"c","v":1}]"#,
            r#"[{"op":"replace","path":"/1/v","value":2},{"op":"add","path":"/2","value":{"n":"x"}}]"#,
        ),
    ] {
        let (before, after) = (document(old), document(new));
        assert_eq!(patch(&before, &after), expected, "of {old}");
        assert_eq!(applied(old, expected), Json::parse(new).to_string());
    }
}

#[test]
fn a_patch_that_is_not_shorter_is_none() {
    let long = "x".repeat(100);
    for (old, new, expected) in [
        ("{}", r#"{"a":1}"#.to_owned(), false),
        ("{}", "{}".to_owned(), false),
        (r#"{"a":1}"#, format!(r#"{{"a":1,"b":"{long}"}}"#), false),
        (r#"{"a":1}"#, format!(r#"{{"a":2,"b":"{long}"}}"#), false),
    ] {
        assert_eq!(super::between(&document(old), &document(&new)).is_some(), expected, "{old} to {new}");
    }
    let (old, new) = (format!(r#"{{"a":1,"b":"{long}"}}"#), format!(r#"{{"a":2,"b":"{long}"}}"#));
    let patch = super::between(&document(&old), &document(&new)).expect("it is shorter");
    assert_eq!(patch, r#"[{"op":"replace","path":"/a","value":2}]"#);
}

/// An array of many objects, of each of which `value` gives a member.
fn many(value: impl Fn(usize) -> usize) -> String {
    let items: Vec<_> = (0..2_000).map(|at| format!(r#"{{"id":{at},"text":"unchanged","v":{}}}"#, value(at))).collect();
    format!("[{}]", items.join(","))
}

#[test]
fn too_many_edits_of_an_array_go_place_by_place_or_replace_it() {
    let (old, new) = (many(|_| 0), many(|at| at % 2));
    let by_place = patch(&document(&old), &document(&new));
    assert_eq!(by_place.matches(r#""op":"replace""#).count(), 1_000, "more than the bound, each in its place");
    assert!(!by_place.contains("unchanged"), "what stayed does not appear");
    assert_eq!(applied(&old, &by_place), new);

    // All have moved by one place, and more than the bound are new: nothing is in its place.
    let moved = |at: usize| if at.is_multiple_of(4) { at } else { 1 };
    let items: Vec<_> = (1..2_000).map(|at| format!(r#"{{"id":{at},"text":"unchanged","v":{}}}"#, moved(at))).collect();
    let (old, new) = (many(|_| 1), format!("[{},[1,2]]", items.join(",")));
    let (before, after) = (document(&old), document(&new));
    let whole = patch(&before, &after);
    assert_eq!(applied(&old, &whole), new);
    assert!(whole.len() <= after.canonical_len() + 50, "at most a replacement: {}", whole.len());
}

#[test]
fn a_long_path_is_not_written_once_for_each_operation_before_the_patch_is_known_to_be_longer() {
    let (key, depth) = ("k".repeat(1_000), 100);
    let nested = |value: usize| {
        let members: Vec<_> = (0..500).map(|at| format!(r#""{at}":{}"#, value * at)).collect();
        format!("{}{{{}}}{}", format!(r#"{{"{key}":"#).repeat(depth), members.join(","), "}".repeat(depth))
    };
    let (old, new) = (document(&nested(1)), document(&nested(2)));
    let mut draft = Draft::default();
    draft.edit(&old.root, &new.root, None);
    assert!(draft.steps.iter().map(|step| step.text.len()).sum::<usize>() < 200_000, "each step is held once");
    assert_eq!(super::between(&old, &new), None, "member 0 stayed, so 499 operations would have 100 kB of path each");
}

proptest! {
    #[test]
    fn patches_lead_to_the_new_document_also_by_another_implementation((old, new) in any_step()) {
        let patch = patch(&old.document(), &new.document());
        prop_assert_eq!(applied(&old.to_string(), &patch), new.to_string());
    }
}

/// Long arrays, of which most items stay: read anew and made to share.
pub(in crate::model) fn any_long_arrays() -> impl Strategy<Value = (String, String)> {
    let item = |number: u16| format!(r#"{{"id":{number},"tags":["{}"]}}"#, number % 7);
    let change = (any::<prop::sample::Index>(), 0_usize..4, prop::collection::vec(0_u16..900, 0..4));
    let old = prop::collection::vec(0_u16..900, 0..500);
    (old, prop::collection::vec(change, 0..8)).prop_map(move |(old, changes)| {
        let mut new = old.clone();
        for (at, removed, added) in changes {
            let start = at.index(new.len() + 1);
            new.splice(start..(start + removed).min(old.len().min(new.len())).max(start), added);
        }
        let text =
            |items: &[u16]| format!("[{}]", items.iter().map(|number| item(*number)).collect::<Vec<_>>().join(","));
        (text(&old), text(&new))
    })
}

proptest! {
    #[test]
    fn patches_of_long_arrays_lead_to_the_new_one_also_by_another_implementation((old, new) in any_long_arrays()) {
        let (before, read) = (document(&old), document(&new));
        let after = read.sharing(&before);
        prop_assert_eq!(after.digest(), read.digest());
        prop_assert_eq!(after.canonical(), read.canonical());
        for after in [read, after] {
            prop_assert_eq!(applied(&old, &patch(&before, &after)), new.clone());
        }
    }
}
