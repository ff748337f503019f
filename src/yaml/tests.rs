//! What YAML becomes, spelling by spelling, and what is refused, with its line.

use smol_str::SmolStr;

use super::{Build, Limit, Limits, Scalar, read};

/// JSON text; of an object its members, sorted as they are shown.
#[derive(Debug, Clone, PartialEq)]
enum Json {
    Text(String),
    Object(Vec<(SmolStr, Json)>),
}

impl Json {
    fn show(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().map(|(key, value)| format!("{key:?}:{}", value.show())).collect();
                members.sort();
                format!("{{{}}}", members.join(","))
            }
        }
    }
}

struct Shown;

impl Build for Shown {
    type Value = Json;

    fn scalar(scalar: &Scalar<'_>) -> Json {
        Json::Text(match scalar {
            Scalar::Null => "null".to_owned(),
            Scalar::Bool(yes) => yes.to_string(),
            Scalar::Number(text) => text.to_string(),
            Scalar::Text(text) => serde_json::to_string(text).expect("text"),
        })
    }

    fn array(items: Vec<Json>) -> Json {
        Json::Text(format!("[{}]", items.iter().map(Json::show).collect::<Vec<_>>().join(",")))
    }

    fn object(members: Vec<(SmolStr, Json)>) -> Json {
        Json::Object(members)
    }

    fn members(value: &Json) -> Option<Vec<(SmolStr, Json)>> {
        if let Json::Object(members) = value { Some(members.clone()) } else { None }
    }
}

const LIMITS: Limits =
    Limits { depth: 8, bytes: Limit { name: "BYTES", most: 4000 }, nodes: Limit { name: "NODES", most: 200 } };

fn shown(yaml: &str) -> String {
    read::<Shown>(yaml, LIMITS).map_or_else(|error| error.to_string(), |value| value.show())
}

#[track_caller]
fn table(cases: &[(&str, &str)]) {
    for (yaml, expected) in cases {
        assert_eq!(shown(yaml), *expected, "of {yaml:?}");
    }
}

/// Exactly as spelt, where JSON can say it.
#[test]
fn numbers_that_json_can_spell() {
    for number in [
        "0",
        "-0",
        "7",
        "-7",
        "1.0",
        "1.10",
        "-2.50",
        "1e3",
        "1E+05",
        "1.5e-7",
        "1e400",
        "0.1234567890123456789",
        "340282366920938463463374607431768211456",
        "-99999999999999999999999999999999999999999999999999",
        "0e1",
    ] {
        assert_eq!(shown(number), number);
    }
}

/// The same number as JSON has to spell it, text, or refused.
#[test]
fn numbers_that_json_spells_otherwise() {
    table(&[
        // As JSON has to spell it.
        ("+1", "1"),
        ("+1.5e+3", "1.5e+3"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("+.5", "0.5"),
        ("1.", "1.0"),
        ("1.e5", "1.0e5"),
        ("00.5", "0.5"),
        ("-007e1", "-7e1"),
        ("0x10", "16"),
        ("-0xfF", "-255"),
        ("0o17", "15"),
        ("0b101", "5"),
        ("-0x0", "0"),
        ("0xffffffffffffffffffffffffffffffff", "340282366920938463463374607431768211455"),
        // Text, of which nothing is lost.
        ("017", "\"017\""),
        ("010", "\"010\""),
        ("-01", "\"-01\""),
        ("00", "\"00\""),
        ("1_000", "\"1_000\""),
        ("1,000", "\"1,000\""),
        ("1:30", "\"1:30\""),
        ("2026-11-28", "\"2026-11-28\""),
        ("0x", "\"0x\""),
        ("0xg", "\"0xg\""),
        ("0X1", "\"0X1\""),
        ("0o8", "\"0o8\""),
        ("0x-1", "\"0x-1\""),
        ("+-1", "\"+-1\""),
        (".", "\".\""),
        ("..5", "\"..5\""),
        ("e5", "\"e5\""),
        (".e5", "\".e5\""),
        ("1e", "\"1e\""),
        ("1e+", "\"1e+\""),
        ("1e5.", "\"1e5.\""),
        ("1.2.3", "\"1.2.3\""),
        ("inf", "\"inf\""),
        ("NaN", "\"NaN\""),
        ("\u{661}", "\"\u{661}\""),
        ("\"1\"", "\"1\""),
        ("'0x1'", "\"0x1\""),
        ("|\n 1", "\"1\""),
        // Refused.
        (".inf", ".inf at the top level has no JSON form, line 1 column 1: write a finite number, a string or null"),
        ("a:\n- -.INF", "-.INF at /a/0 has no JSON form, line 2 column 3: write a finite number, a string or null"),
        ("+.inf", "+.inf at the top level has no JSON form, line 1 column 1: write a finite number, a string or null"),
        (".NaN", ".NaN at the top level has no JSON form, line 1 column 1: write a finite number, a string or null"),
        (
            "a: 0x1ffffffffffffffffffffffffffffffff",
            "0x1ffffffffffffffffffffffffffffffff at /a has no JSON form, line 1 column 4: \
             write a number of more than 128 bits in decimal",
        ),
    ]);
}

#[test]
fn other_words() {
    table(&[
        (
            "[null, ~, Null, NULL, , ]",
            "YAML does not parse: unexpected EOF while parsing an implicit flow mapping at line 1 column 23: repair it there",
        ),
        ("[null, ~, Null, NULL]", "[null,null,null,null]"),
        ("[true, True, FALSE, tRUE]", "[true,true,false,\"tRUE\"]"),
        ("[yes, no, on, off, y, n]", "[\"yes\",\"no\",\"on\",\"off\",\"y\",\"n\"]"),
        ("{a: , b: \"\", c}", "{\"a\":null,\"b\":\"\",\"c\":null}"),
        ("", "null"),
        ("# nothing\n", "null"),
        ("---\n...\n", "null"),
        ("- # empty\n- x", "[null,\"x\"]"),
    ]);
}

#[test]
fn keys_are_text_and_distinct() {
    table(&[
        ("\"1\": a\n'true': b\nno: c", "{\"1\":\"a\",\"no\":\"c\",\"true\":\"b\"}"),
        ("!!str 1: a", "{\"1\":\"a\"}"),
        ("010: a", "{\"010\":\"a\"}"),
        ("a:\n  1: x", "key 1 at /a has no JSON form, line 2 column 3: put the key in quotes"),
        ("true: x", "key true at the top level has no JSON form, line 1 column 1: put the key in quotes"),
        ("? \n: x", "key null at the top level has no JSON form, line 2 column 1: put the key in quotes"),
        (
            "{[a]: b}",
            "a key that is an array or an object at the top level has no JSON form, line 1 column 2: write a key of text",
        ),
        (
            "&a {x: 1}: b",
            "a key that is an array or an object at the top level has no JSON form, line 1 column 4: write a key of text",
        ),
        ("x: &k name\n*k : 1", "{\"name\":1,\"x\":\"name\"}"),
        (
            "x: &k [1]\n*k : 1",
            "a key that is an array or an object at the top level has no JSON form, line 2 column 1: write a key of text",
        ),
        ("a: 1\nb: {c: 1,\n  \"c\": 2}", "YAML does not parse: duplicate key \"c\" in /b at line 3 column 3: keep one"),
        ("a~/b: [{c: 1, c: 1}]", "YAML does not parse: duplicate key \"c\" in /a~0~1b/0 at line 1 column 15: keep one"),
        ("a: 1\n? a\n: 2", "YAML does not parse: duplicate key \"a\" in the top level at line 2 column 3: keep one"),
    ]);
}

/// YAML 1.1, as most readers of manifests still do.
#[test]
fn merge_keys() {
    let base = "b: &b {x: 1, y: 2}\nc: &c {y: 4, z: 5}\nd: ";
    for (merging, expected) in [
        ("{<<: *b, y: 3}", "{\"x\":1,\"y\":3}"),
        ("{y: 3, <<: *b}", "{\"x\":1,\"y\":3}"),
        ("{<<: [*b, *c]}", "{\"x\":1,\"y\":2,\"z\":5}"),
        ("{<<: [*c, *b], q: 1}", "{\"q\":1,\"x\":1,\"y\":4,\"z\":5}"),
        ("{<<: {i: 1}}", "{\"i\":1}"),
        ("{<<: []}", "{}"),
        ("{\"<<\": *b}", "{\"<<\":{\"x\":1,\"y\":2}}"),
        ("{!!str <<: 1}", "{\"<<\":1}"),
        ("{<<: {<<: *c, x: 0}}", "{\"x\":0,\"y\":4,\"z\":5}"),
        ("<<", "\"<<\""),
        ("[<<]", "[\"<<\"]"),
    ] {
        let yaml = format!("{base}{merging}");
        assert!(shown(&yaml).ends_with(&format!(",\"d\":{expected}}}")), "{yaml}: {}", shown(&yaml));
    }
    let refused = "at /d/<< has no JSON form, line 3 column";
    for merging in ["{<<: 1}", "{<<: }", "{<<: [1]}", "{<<: [*b, [*c]]}"] {
        let text = shown(&format!("{base}{merging}"));
        assert!(
            text.starts_with("something other than objects behind << at /d/<<") && text.contains(refused),
            "{text}"
        );
    }
    let twice = shown(&format!("{base}{{<<: *b, <<: *c}}"));
    assert_eq!(twice, "YAML does not parse: duplicate key \"<<\" in /d at line 3 column 13: keep one");
}

#[test]
fn tags_say_what_is_so_anyway_or_are_refused() {
    table(&[
        ("[!!str 1, !!str , ! 2, !!str ~]", "[\"1\",\"\",\"2\",\"~\"]"),
        ("[!!int \"3\", !!float 1, !!float 1.50, !!bool 'true', !!null '']", "[3,1,1.50,true,null]"),
        ("!!map {a: !!seq [1]}", "{\"a\":[1]}"),
        ("!<tag:yaml.org,2002:str> 1", "\"1\""),
        ("%TAG !y! tag:yaml.org,2002:\n---\n!y!str 1", "\"1\""),
        ("a: !secret x", "tag !secret at /a has no JSON form, line 1 column 4: write the value without a tag"),
        ("a: !!binary aGk=", "tag !!binary at /a has no JSON form, line 1 column 4: write the value without a tag"),
        (
            "a: !!timestamp 2026-11-28",
            "tag !!timestamp at /a has no JSON form, line 1 column 4: write the value without a tag",
        ),
        ("a:\n  !!set\n  ? x", "tag !!set at /a has no JSON form, line 2 column 3: write the value without a tag"),
        ("a: !x [1]", "tag !x at /a has no JSON form, line 1 column 4: write the value without a tag"),
        ("!!int 1.5", "\"1.5\" as !!int at the top level has no JSON form, line 1 column 1: correct value or tag"),
        ("!!bool yes", "\"yes\" as !!bool at the top level has no JSON form, line 1 column 1: correct value or tag"),
        ("!!seq {}", "tag !!seq at the top level has no JSON form, line 1 column 1: write the value without a tag"),
        ("!a%0Ab x", "tag !a\\nb at the top level has no JSON form, line 1 column 1: write the value without a tag"),
    ]);
}

#[test]
fn streams_and_characters() {
    table(&[
        ("a: 1\r\nb: |\r\n  x\r\n  y\r\n", "{\"a\":1,\"b\":\"x\\ny\\n\"}"),
        ("a: |\n  x", "{\"a\":\"x\"}"),
        (
            "--- a\n--- b",
            "YAML does not parse: a second document begins, and one is wanted at line 2 column 1: repair it there",
        ),
        (
            "a: 1\n---\n",
            "YAML does not parse: a second document begins, and one is wanted at line 2 column 1: repair it there",
        ),
        ("%YAML 1.2\n---\na: 1", "{\"a\":1}"),
        (
            "%YAML 1.1\n---\na: yes",
            "YAML does not parse: %YAML 1.1 gives words such as yes and 010 another meaning than YAML 1.2 \
             at line 2 column 1: repair it there",
        ),
        ("a:\t1", "{\"a\":1}"),
        ("a: [\n1\n]", "{\"a\":[1]}"),
        ("*x", "YAML does not parse: while parsing node, found unknown anchor at line 1 column 1: repair it there"),
    ]);
    for (refused, place) in [
        ("a:\n\tb: 1", "line 2"),
        ("a: 1\n\u{feff}b: 2", "line 2 column 1"),
        ("a\0", "line 1 column 2"),
        ("a: \"\u{1}\"", "line 1 column 5"),
        ("a: b: c", "line 1 column 5"),
        ("a: 'x", "line 1 column 4"),
    ] {
        let text = shown(refused);
        assert!(text.starts_with("YAML does not parse: ") && text.contains(place), "{refused:?}: {text}");
    }
}

/// What is built counts, not what is written.
#[test]
fn aliases_are_counted_before_they_are_followed() {
    let text = "x".repeat(100);
    let laughs = |levels: usize| {
        let line = |level: usize| format!("l{level}: &l{level} [{}]\n", format!("*l{},", level - 1).repeat(9));
        format!("l0: &l0 [lol]\n{}", (1..=levels).map(line).collect::<String>())
    };
    for (yaml, expected) in [
        (format!("a: &a {text}\nb: [{}]", "*a,".repeat(30)), None),
        (
            format!("a: &a {text}\nb: [{}]", "*a,".repeat(40)),
            Some("more than 4000 bytes (BYTES), reached at line 2 column 116"),
        ),
        (format!("a: &a {{k: {text}}}\nb: [{}]", "{<<: *a},".repeat(40)), Some("bytes (BYTES), reached at line 2")),
        (
            format!("a: &a \"{}\"\nb: [{}]", "\\0".repeat(100), "*a,".repeat(8)),
            Some("bytes (BYTES), reached at line 2"),
        ),
        (format!("[{}]", "1,".repeat(199)), None),
        (format!("[{}]", "1,".repeat(200)), Some("more than 200 values (NODES), reached at line 1 column 400")),
        (laughs(2), None),
        (laughs(7), Some("values (NODES), reached at line 4")),
        (laughs(100), Some("values (NODES), reached at line 4")),
        ("a: &a [[[[1]]]]\nb: [[[*a]]]".to_owned(), None),
        (
            "a: &a [[[[1]]]]\nb: [[[[*a]]]]".to_owned(),
            Some("nested deeper than 8 levels at /b/0/0/0/0, line 2 column 8"),
        ),
        ("a: &a [*a]".to_owned(), Some("an alias stands within what it names")),
        ("[".repeat(8) + &"]".repeat(8), None),
        ("[".repeat(9) + &"]".repeat(9), Some("nested deeper than 8 levels at /0/0/0/0/0/0/0/0, line 1 column 9")),
        ("[".repeat(1_000_000), Some("nested deeper than 8 levels")),
        ("- ".repeat(1_000_000), Some("nested deeper than 8 levels")),
        ("? ".repeat(1_000_000), Some("a key that is")),
    ] {
        let found = read::<Shown>(&yaml, LIMITS).map_err(|error| error.to_string());
        match (&found, expected) {
            (Ok(_), None) => {}
            (Err(error), Some(expected)) => assert!(error.contains(expected), "{error}"),
            _ => panic!("{found:?} is not {expected:?}"),
        }
    }
}
