//! PURE. The configuration file: YAML whose every field is known. Reading it yields the same kind of
//! layer as the flags; a field that nobody knows, or that is of the wrong type, is a problem
//! with its path. Relative paths in it start at the working directory, as those of flags do.
//!
//! ```yaml
//! apiVersion: tidewait.dev/v1alpha1
//! kind: ServeConfig
//! upstream: {url: "http://127.0.0.1:3000"}
//! operations:
//! - path: /network
//!   source: {configMap: {namespace: net, name: models, key: network.yaml}}
//!   wait: {max: 30s}
//! ```

use serde::Serialize;
use serde_yaml::Value;

use self::agent::AGENT;
use self::exchange::EXCHANGE;
use self::fields::Kind::{Bytes, Count, Duration, Exactly, Object, Switch, Text, Texts};
use self::fields::{Fields, Kind, OPERATION, TOP};
use self::topic::TOPIC;
use super::layer::Layer;
use super::problem::{self, Problems, quote};

mod agent;
mod exchange;
mod fields;
mod selector;
mod topic;
mod values;

/// A configuration file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Its path, as the user wrote it.
    pub name: String,
    /// What it holds, or why that is not known.
    pub text: Result<String, String>,
}

/// What a file gives.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) settings: Layer,
    pub(super) operations: OperationsField,
}

/// The operations of a file.
#[derive(Debug, Default)]
pub(super) enum OperationsField {
    /// It says nothing of operations.
    #[default]
    Absent,
    /// It lists them.
    Listed(Vec<Layer>),
    /// What it says cannot be read, which is a problem already.
    Unreadable,
}

/// What a file of `serve` gives, and what is wrong with its shape.
pub(super) fn read(file: &ConfigFile, problems: &mut Problems) -> Contents {
    contents(file, TOP, problems)
}

/// What a file of the agent gives, and what is wrong with its shape.
pub(super) fn read_agent(file: &ConfigFile, problems: &mut Problems) -> Layer {
    contents(file, AGENT, problems).settings
}

fn contents(file: &ConfigFile, fields: Fields, problems: &mut Problems) -> Contents {
    let unreadable = || Contents { settings: Layer::new(&file.name), operations: OperationsField::Unreadable };
    let text = match &file.text {
        Ok(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        Err(message) => {
            problems.push(&file.name, message);
            return unreadable();
        }
    };
    let value = match values::read(text) {
        Ok(Value::Null) => {
            problems.push(&file.name, "is empty: write at least apiVersion and kind");
            return unreadable();
        }
        Ok(value) => value,
        Err(error) => {
            problems.push(&file.name, error.to_string());
            return unreadable();
        }
    };
    let mut walk = Walk { file: Some(&file.name), problems, operations: OperationsField::Absent };
    let mut settings = Layer::new(&file.name);
    if walk.object(&value, fields, "", &mut settings) {
        walk.must_be_there(fields, &settings);
        Contents { settings, operations: walk.operations }
    } else {
        unreadable()
    }
}

/// Reads the spec of a `DescribeOperation`, which is as an operation in a file; false where it is none.
pub(super) fn read_spec(spec: &impl Serialize, layer: &mut Layer, problems: &mut Problems) -> bool {
    read_object(spec, OPERATION, layer, problems)
}

/// Reads the spec of an `Exchange`, which is as an exchange in a file; false where it is none.
pub(super) fn read_exchange(spec: &impl Serialize, layer: &mut Layer, problems: &mut Problems) -> bool {
    read_object(spec, EXCHANGE, layer, problems)
}

/// Reads the spec of a `Topic`, which is as a topic in a file; false where it is none.
pub(super) fn read_topic(spec: &impl Serialize, layer: &mut Layer, problems: &mut Problems) -> bool {
    read_object(spec, TOPIC, layer, problems)
}

fn read_object(spec: &impl Serialize, fields: Fields, layer: &mut Layer, problems: &mut Problems) -> bool {
    let mut walk = Walk { file: None, problems, operations: OperationsField::Absent };
    match serde_yaml::to_value(spec) {
        Ok(spec) => walk.object(&spec, fields, "spec", layer),
        Err(error) => {
            walk.push("spec", &format!("cannot be read: {error}: write it anew"));
            false
        }
    }
}

struct Walk<'a> {
    /// The file's name; none for a custom resource, whose fields are named without one.
    file: Option<&'a str>,
    problems: &'a mut Problems,
    operations: OperationsField,
}

impl Walk<'_> {
    /// Reads an object's fields to `layer`; false where it is none.
    fn object(&mut self, value: &Value, fields: Fields, path: &str, layer: &mut Layer) -> bool {
        let Value::Mapping(members) = value else {
            self.wrong(path, value, "an object with fields is wanted");
            return false;
        };
        for (key, value) in members {
            let Value::String(key) = key else {
                self.push(path, &format!("has a key that is not text ({}): write the name of a field", describe(key)));
                continue;
            };
            match fields.iter().find(|(name, _)| name == key) {
                Some((name, kind)) => self.field(value, kind, &join(path, name), layer),
                None => self.push(&join(path, key), &format!("is no field: {}", nearest(key, fields))),
            }
        }
        true
    }

    fn field(&mut self, value: &Value, kind: &Kind, path: &str, layer: &mut Layer) {
        let (setting, text, wanted) = match kind {
            Object(setting, fields) => {
                layer.mark(setting);
                let before = self.problems.iter().count();
                self.object(value, fields, path, layer);
                if self.problems.iter().count() == before {
                    layer.add(setting, self.origin(path), "");
                }
                return;
            }
            Kind::OperationsField => return self.list_operations(value, path),
            Kind::Objects(setting, fields) => return self.list_objects(value, (setting, fields), path, layer),
            Kind::Selector(setting) => return self.selector(value, setting, path, layer),
            Kind::AtMost(most, kind) => {
                if let Value::Sequence(items) = value
                    && items.len() > *most
                {
                    self.push(path, &format!("has {} items: write at most {most}", items.len()));
                }
                return self.field(value, kind, path, layer);
            }
            Texts(setting) => return self.texts(value, setting, path, layer),
            Exactly(setting, only) => {
                layer.mark(setting);
                if text_of(value).as_deref() != Some(only) {
                    self.wrong(path, value, &format!("only {only} is known: write that"));
                }
                return;
            }
            Text(setting) => (setting, text_of(value), "text is wanted: put it in quotes"),
            Duration(setting) => {
                (setting, text_of(value).or_else(|| number_of(value)), "a duration is wanted: write one such as 25s")
            }
            Bytes(setting) => {
                let text = text_of(value).or_else(|| number_of(value));
                (setting, text, "a number of bytes is wanted: write one such as 8Mi")
            }
            Count(setting) => (setting, number_of(value), "a number is wanted: write one without quotes"),
            Switch(setting) => (setting, bool_of(value), "true or false is wanted: write one of them without quotes"),
        };
        layer.mark(setting);
        match text {
            Some(text) => layer.add(setting, self.origin(path), text),
            None => self.wrong(path, value, wanted),
        }
    }

    fn texts(&mut self, value: &Value, setting: &'static str, path: &str, layer: &mut Layer) {
        layer.mark(setting);
        let Value::Sequence(items) = value else {
            return self.wrong(path, value, "a list is wanted: write each item after a dash");
        };
        for (index, item) in items.iter().enumerate() {
            self.field(item, &Text(setting), &format!("{path}[{index}]"), layer);
        }
    }

    fn list_operations(&mut self, value: &Value, path: &str) {
        self.operations = OperationsField::Unreadable;
        let Value::Sequence(items) = value else {
            return self.wrong(path, value, "a list is wanted: write each operation after a dash");
        };
        if items.is_empty() {
            return self.push(path, "is empty: list an operation, or leave the field out and name one by flags");
        }
        self.operations = OperationsField::Listed(self.objects(items, OPERATION, path));
    }

    fn list_objects(
        &mut self,
        value: &Value,
        (setting, fields): (&'static str, Fields),
        path: &str,
        layer: &mut Layer,
    ) {
        let Value::Sequence(items) = value else {
            return self.wrong(path, value, "a list is wanted: write each item after a dash");
        };
        if items.is_empty() {
            return self.push(path, "is empty: list an item, or leave the field out");
        }
        let objects = self.objects(items, fields, path);
        layer.set_objects(setting, objects);
    }

    /// A layer for each object of a list.
    fn objects(&mut self, items: &[Value], fields: Fields, path: &str) -> Vec<Layer> {
        let mut layers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let mut layer = Layer::new(self.origin(&path));
            if self.object(item, fields, &path, &mut layer) {
                layers.push(layer);
            }
        }
        layers
    }

    fn must_be_there(&mut self, fields: Fields, settings: &Layer) {
        for (name, kind) in fields {
            if let Exactly(setting, only) = kind
                && !settings.contains(setting)
            {
                self.push(name, &format!("is missing: write {name}: {only}"));
            }
        }
    }

    fn wrong(&mut self, path: &str, value: &Value, wanted: &str) {
        self.push(path, &format!("{}, but {wanted}", describe(value)));
    }

    fn push(&mut self, path: &str, message: &str) {
        self.problems.push(self.origin(path), message);
    }

    /// Where a field is, as its writer would look for it.
    fn origin(&self, path: &str) -> String {
        match self.file {
            Some(file) if path.is_empty() => file.to_owned(),
            Some(file) => format!("{file}: {path}"),
            None => path.to_owned(),
        }
    }
}

// Not the accessors of `Value`: they look through tags, so that `!secret x` would be x.

fn text_of(value: &Value) -> Option<String> {
    if let Value::String(text) = value { Some(text.clone()) } else { None }
}

fn number_of(value: &Value) -> Option<String> {
    if let Value::Number(number) = value { Some(number.to_string()) } else { None }
}

fn bool_of(value: &Value) -> Option<String> {
    if let Value::Bool(yes) = value { Some(yes.to_string()) } else { None }
}

/// A value, for people.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "has no value".to_owned(),
        Value::Bool(yes) => format!("{yes} is a truth value"),
        Value::Number(number) => format!("{number} is a number"),
        Value::String(text) => format!("{} is text", quote(text)),
        Value::Sequence(_) => "is a list".to_owned(),
        Value::Mapping(_) => "is an object".to_owned(),
        Value::Tagged(tagged) => format!("has the tag {}", quote(&tagged.tag.to_string())),
    }
}

/// What the writer of an unknown field may have meant.
fn nearest(key: &str, fields: Fields) -> String {
    if let Some(name) = problem::nearest(key, fields.iter().map(|(name, _)| *name)) {
        return format!("did you mean {name}?");
    }
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    format!("the fields here are {}", names.join(", "))
}

fn join(path: &str, key: &str) -> String {
    let plain = !key.is_empty()
        && key.len() <= 64
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let key = if plain { key.to_owned() } else { quote(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";

    fn problems_of(text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        read(&ConfigFile { name: "f".to_owned(), text: Ok(text.to_owned()) }, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_wrong_with_the_shape_is_told_by_path() {
        let many_rules = format!("access: {{rules: [{}]}}", "{subjects: [anonymous]},".repeat(1025));
        let many_subjects =
            format!("operations: [{{access: {{rules: [{{subjects: [{}]}}]}}}}]", "anonymous,".repeat(65));
        for (yaml, expected) in [
            ("listen: 8480", "f: listen: 8480 is a number, but text is wanted: put it in quotes"),
            ("listen:", "f: listen: has no value, but text is wanted: put it in quotes"),
            ("grace: [1s]", "f: grace: is a list, but a duration is wanted: write one such as 25s"),
            (
                "maxConnections: \"5\"",
                "f: maxConnections: \"5\" is text, but a number is wanted: write one without quotes",
            ),
            (
                "allowAnonymous: yes",
                "f: allowAnonymous: \"yes\" is text, but true or false is wanted: write one of them",
            ),
            ("log: text", "f: log: \"text\" is text, but an object with fields is wanted"),
            (
                "log: {level: !x info}",
                "f: tag !x at /log/level has no JSON form, line 3 column 14: write the value without",
            ),
            ("log: {7: x}", "f: key 7 at /log has no JSON form, line 3 column 7: put the key in quotes"),
            (
                "trustedProxies: 10.0.0.0/8",
                "f: trustedProxies: \"10.0.0.0/8\" is text, but a list is wanted: write each item after a dash",
            ),
            ("trustedProxies: [a, 5]", "f: trustedProxies[1]: 5 is a number, but text is wanted: put it in quotes"),
            ("operations: {}", "f: operations: is an object, but a list is wanted: write each operation after a dash"),
            (
                "operations: []",
                "f: operations: is empty: list an operation, or leave the field out and name one by flags",
            ),
            (&many_rules, "f: access.rules: has 1025 items: write at most 1024"),
            (&many_subjects, "f: operations[0].access.rules[0].subjects: has 65 items: write at most 64"),
            ("operations: [x]", "f: operations[0]: \"x\" is text, but an object with fields is wanted"),
            (
                "operations: [{wait: {max: {}}}]",
                "f: operations[0].wait.max: is an object, but a duration is wanted: write one such as 25s",
            ),
            (
                "apiVersion: v1",
                "f: YAML does not parse: duplicate key \"apiVersion\" in the top level at line 3 column 1: keep one",
            ),
        ] {
            let found = problems_of(&format!("{HEAD}{yaml}\n"));
            assert!(found.len() == 1 && found[0].starts_with(expected), "{yaml}: {found:?}");
        }
    }

    #[test]
    fn unknown_fields_are_reported_with_the_nearest_name() {
        for (yaml, expected) in [
            ("listne: x", "f: listne: is no field: did you mean listen?"),
            ("state_dir: x", "f: state_dir: is no field: did you mean stateDir?"),
            ("upstream: {URL: x}", "f: upstream.URL: is no field: did you mean url?"),
            (
                "operations: [{wait: {maximum: 1s}}]",
                "f: operations[0].wait.maximum: is no field: the fields here are default, max",
            ),
            (
                "operations: [{source: {configmap: {}}}]",
                "f: operations[0].source.configmap: is no field: did you mean configMap?",
            ),
            ("? \"a b\\n\"\n: 1", "f: \"a b\\n\": is no field: the fields here are apiVersion, kind, listen,"),
            ("\"<<\": {listen: x}", "f: \"<<\": is no field: the fields here are"),
            ("<<: {listne: x}", "f: listne: is no field: did you mean listen?"),
        ] {
            let found = problems_of(&format!("{HEAD}{yaml}\n"));
            assert!(found.len() == 1 && found[0].starts_with(expected), "{yaml}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_told_once() {
        for (text, expected) in [
            ("", &["f: is empty: write at least apiVersion and kind"][..]),
            ("# nothing", &["f: is empty: write at least apiVersion and kind"]),
            ("[]", &["f: is a list, but an object with fields is wanted"]),
            ("a: [", &["f: YAML does not parse: unclosed bracket '[' at line 1 column 4"]),
            (
                "a: 1\n---\nb: 1",
                &["f: YAML does not parse: a second document begins, and one is wanted at line 2 column 1"],
            ),
            (
                "kind: Config",
                &[
                    "f: kind: \"Config\" is text, but only ServeConfig is known: write that",
                    "f: apiVersion: is missing: write apiVersion: tidewait.dev/v1alpha1",
                ],
            ),
        ] {
            let found = problems_of(text);
            assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
            assert!(
                found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected)),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn every_field_gives_its_setting() {
        let yaml = format!(
            "\u{feff}{HEAD}listen: a\ntrustedProxies: [b, c]\nmaxConnections: 7\nlog: {{access: true}}\ngrace: 20\n\
             operations:\n- name: n\n  source: {{configMap: {{namespace: ns, key: k}}}}\n- wait: {{max: 5s}}\n"
        );
        let mut problems = Problems::default();
        let contents = read(&ConfigFile { name: "f".to_owned(), text: Ok(yaml) }, &mut problems);
        assert_eq!(problems.to_string(), "");
        let text =
            |layer: &Layer, setting| layer.all(setting).iter().map(|given| given.text.clone()).collect::<Vec<_>>();
        assert_eq!(text(&contents.settings, "trusted-proxies"), ["b", "c"]);
        assert_eq!(text(&contents.settings, "max-connections"), ["7"]);
        assert_eq!(text(&contents.settings, "access-log"), ["true"]);
        assert_eq!(
            text(&contents.settings, "grace"),
            ["20"],
            "its unit is missing, which the reader of durations tells"
        );
        let OperationsField::Listed(operations) = contents.operations else { panic!("two operations") };
        assert_eq!(text(&operations[0], "source.configMap.namespace"), ["ns"]);
        assert_eq!(operations[1].all("wait-max")[0].origin, "f: operations[1].wait.max");
    }

    #[test]
    fn the_rules_for_models_hold_for_the_file_too() {
        let text = |contents: &Contents, setting| contents.settings.all(setting)[0].text.clone();
        let yaml = format!("{HEAD}log: &l {{level: info, format: json}}\nmaxConnections: 0x10\n");
        let mut problems = Problems::default();
        let contents = read(&ConfigFile { name: "f".to_owned(), text: Ok(yaml) }, &mut problems);
        assert_eq!(problems.to_string(), "");
        assert_eq!(text(&contents, "max-connections"), "16");
        let merged = format!("{HEAD}operations:\n- &a {{path: /a, wait: {{max: 5s}}}}\n- {{<<: *a, path: /b}}\n");
        let contents = read(&ConfigFile { name: "f".to_owned(), text: Ok(merged) }, &mut problems);
        assert_eq!(problems.to_string(), "");
        let OperationsField::Listed(operations) = contents.operations else { panic!("two operations") };
        let of = |setting| operations[1].all(setting).iter().map(|given| given.text.clone()).collect::<Vec<_>>();
        assert_eq!((of("path"), of("wait-max")), (vec!["/b".to_owned()], vec!["5s".to_owned()]));
        let grown = format!("{HEAD}a: &a \"{}\"\nb: [{}]\n", "x".repeat(64_000), "*a,".repeat(15_000));
        let problem = &problems_of(&grown)[0];
        assert!(problem.contains("more than 1048576 bytes (CONFIG_BYTES), reached at line 4 column"), "{problem}");
    }

    fn any_yaml() -> impl Strategy<Value = Value> {
        let key = prop_oneof![
            prop::sample::select(vec![
                "apiVersion",
                "kind",
                "operations",
                "source",
                "file",
                "configMap",
                "path",
                "wait",
                "max",
                "log"
            ])
            .prop_map(|name| Value::String(name.to_owned())),
            ".{0,6}".prop_map(Value::String),
            any::<i64>().prop_map(Value::from),
            Just(Value::Null),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[-0-9hms/.:é%]{0,9}".prop_map(Value::String),
        ];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Sequence),
                prop::collection::vec((key.clone(), inner), 0..6)
                    .prop_map(|members| Value::Mapping(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused_with_problems_of_one_line(value in any_yaml(), cut in 0_usize..400) {
            let mut text = serde_yaml::to_string(&value).expect("YAML");
            text.truncate((0..=cut.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
            let file = Some(ConfigFile { name: "f".to_owned(), text: Ok(format!("{HEAD}{text}")) });
            let layers = crate::config::resolve::Layers { file, ..Default::default() };
            let problems = crate::config::resolve::resolve(&layers).expect_err("it has no source");
            prop_assert!(!problems.is_empty());
            prop_assert_eq!(problems.to_string().split('\n').count(), problems.iter().count());
        }
    }
}
