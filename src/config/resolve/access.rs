//! Who may poll.

use super::super::layer::Layer;
use super::super::reader::Reader;
use super::super::{Access, value};
use super::tls;
use crate::access::Policy;
use crate::access::policy::Rule;

/// Who may poll, by the settings of the process and the rules of the file.
pub(super) fn access(reader: &mut Reader<'_>, layers: Option<&[Layer]>) -> Option<Access> {
    let tokens = reader.optional("access-tokens", value::file_path);
    let anonymous = reader.setting("allow-anonymous", value::switch);
    let clear_credentials = reader.setting("allow-clear-credentials", value::switch);
    let rules = layers.map(|layers| rules(reader, layers)).unwrap_or_default();
    if layers.is_some() && !reader.contains("access-tokens") {
        reader.problems.push("access.rules", "are of no use without access.tokens: give that too, or leave these out");
    }
    if layers.is_some_and(<[Layer]>::is_empty) {
        reader
            .problems
            .push("access.rules", "is empty: list a rule, or leave the field out if whoever has a token may poll");
    }
    Some(Access {
        tokens,
        certificate_names: tls::names(reader),
        policy: Policy { rules, anonymous: anonymous? },
        clear_credentials: clear_credentials?,
    })
}

fn rules(reader: &mut Reader<'_>, layers: &[Layer]) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(layers.len());
    for layer in layers {
        let mut of_rule = Reader { layers: vec![layer], problems: reader.problems };
        for field in ["subjects", "verbs", "operations"] {
            if of_rule.given(field).is_none() {
                of_rule.wrong_field(field, "is missing or empty: list at least one");
            }
        }
        let subjects = of_rule.list("subjects", |text| text.parse().map_err(|error| format!("{error}")));
        let operations = of_rule.list("operations", |text| text.parse().map_err(|error| format!("{error}")));
        of_rule.list("verbs", verb);
        rules.push(Rule { subjects, operations });
    }
    rules
}

fn verb(text: &str) -> Result<(), String> {
    if text == "get" { Ok(()) } else { Err("is no verb: write get".to_owned()) }
}

#[cfg(test)]
mod tests {
    use crate::config::Access;
    use crate::config::file::ConfigFile;
    use crate::config::resolve::{Layers, resolve};
    use crate::config::settings::Options;

    fn resolved(yaml: &str) -> Result<Access, String> {
        let head = "apiVersion: tidewait.dev/v1alpha1\nkind: ServeConfig\n";
        let flags = Options { file: Some("x".to_owned()), ..Options::default() };
        let file = Some(ConfigFile { name: "f".to_owned(), text: Ok(format!("{head}{yaml}")) });
        let config = resolve(&Layers { flags, environment: Vec::new(), file });
        config.map(|config| config.access).map_err(|problems| problems.to_string())
    }

    #[test]
    fn rules_are_read_with_all_that_they_name() {
        let yaml = "access: {tokens: t, rules: [\
                    {subjects: ['user:a*', anonymous], verbs: [get], operations: ['zone-*', b]}, \
                    {subjects: [authenticated], verbs: [get], operations: ['*']}]}";
        let rules = resolved(yaml).expect("good").policy.rules;
        assert_eq!(rules.len(), 2);
        let operations: Vec<_> = rules[0].operations.iter().map(ToString::to_string).collect();
        assert_eq!((rules[0].subjects.len(), operations), (2, vec!["zone-*".to_owned(), "b".to_owned()]));
        assert!(resolved("access: {tokens: t}").expect("good").policy.rules.is_empty());
    }

    #[test]
    fn every_mistake_in_a_rule_is_told_with_its_place() {
        for (yaml, expected) in [
            ("{tokens: t, rules: []}", "access.rules: is empty: list a rule"),
            (
                "{rules: [{subjects: [anonymous], verbs: [get], operations: [a]}]}",
                "access.rules: are of no use without",
            ),
            ("{tokens: t, rules: x}", "f: access.rules: \"x\" is text, but a list is wanted"),
            (
                "{tokens: t, rules: [{subjects: [anonymous], verbs: [get]}]}",
                "f: access.rules[0].operations: is missing or empty: list at least one",
            ),
            (
                "{tokens: t, rules: [{subjects: [], verbs: [get], operations: [a]}]}",
                "f: access.rules[0].subjects: is missing or empty: list at least one",
            ),
            (
                "{tokens: t, rules: [{subjects: [node-1], verbs: [get], operations: [a]}]}",
                "f: access.rules[0].subjects[0]: \"node-1\" names no caller: write user:NAME, group:NAME,",
            ),
            (
                "{tokens: t, rules: [{subjects: ['user:a b'], verbs: [get], operations: [a]}]}",
                "f: access.rules[0].subjects[0]: \"user:a b\" is no name: write 1 to 253 letters",
            ),
            (
                "{tokens: t, rules: [{subjects: [anonymous], verbs: [get, put], operations: [a]}]}",
                "f: access.rules[0].verbs[1]: \"put\" is no verb: write get",
            ),
            (
                "{tokens: t, rules: [{subjects: [anonymous], verbs: [get], operations: [/a, 'é']}]}",
                "f: access.rules[0].operations[1]: \"é\" is no name",
            ),
            (
                "{tokens: t, rules: [{subject: [anonymous], verbs: [get], operations: [a]}]}",
                "f: access.rules[0].subject: is no field: did you mean subjects?",
            ),
        ] {
            let told = resolved(&format!("access: {yaml}")).expect_err(yaml);
            assert!(told.lines().any(|line| line.starts_with(expected)), "{yaml}:\n{told}");
        }
    }
}
