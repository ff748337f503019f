//! Who may poll.

use super::super::layer::Layer;
use super::super::problem::Problems;
use super::super::reader::Reader;
use super::super::{Access, Judges, value};
use super::tls;
use crate::access::policy::{InvalidRule, NamedRule, PathRule, Rule, Verb};
use crate::access::{IdentityFields, Policy, fields};
use crate::bounds::ACCESS_NAME_BYTES;

mod issuers;

/// Who may poll, by the settings of the process and the rules of the file. `on_admin`: other hosts are asked on the admin port
/// too.
pub(super) fn access(reader: &mut Reader<'_>, file: &Layer, on_admin: bool) -> Option<Access> {
    let layers = file.objects("access.rules");
    let tokens = reader.optional("access-tokens", value::file_path);
    let users = reader.optional("access-users", value::file_path);
    let audiences = reader.list("access-kubernetes", audience);
    let is_named = ["access-kubernetes", "access.kubernetes"].iter().any(|setting| reader.contains(setting));
    if is_named && reader.given("access-kubernetes").is_none() {
        reader.problems.push("access.kubernetes.audiences", "is missing or empty: list one, such as tidewait");
    }
    let issuers = issuers::issuers(reader, file.objects("access.issuers"));
    let judges = reader.setting("access-authorization", judges);
    let anonymous = reader.setting("allow-anonymous", value::switch);
    let forward_credentials = reader.setting("forward-credentials", value::switch);
    let clear_credentials = reader.setting("allow-clear-credentials", value::switch);
    let of_both = file.objects("access.issuers").is_some() || SCHEMES.iter().any(|scheme| reader.contains(scheme));
    let asks = of_both || reader.contains("tls-client-ca");
    let asks_on_admin = on_admin && (of_both || reader.contains("admin-tls-client-ca"));
    if let (Some(given), true, false) = (reader.given("admin-access"), on_admin, asks_on_admin) {
        reader.wrong(
            given,
            "is of no use where nobody is known: give --access-tokens, --access-users, --access-kubernetes, --access-issuer or \
             --admin-tls-client-ca too, or leave this out",
        );
    }
    let is_of_path = |layer: &&Layer| layer.contains("paths");
    let (of_paths, others): (Vec<_>, Vec<_>) = layers.unwrap_or_default().iter().partition(is_of_path);
    let (of_exchanges, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|layer| layer.contains("exchanges"));
    let (of_topics, of_operations): (Vec<_>, Vec<_>) = others.into_iter().partition(|layer| layer.contains("topics"));
    let rules = rules(reader.problems, &of_operations, Of::Process);
    let paths = of_paths.into_iter().map(|layer| path_rule(reader.problems, layer, on_admin)).collect();
    let exchanges: Vec<_> =
        of_exchanges.into_iter().map(|layer| rule_of(reader.problems, layer, "exchanges")).collect();
    let topics: Vec<_> = of_topics.into_iter().map(|layer| rule_of(reader.problems, layer, "topics")).collect();
    let of_clients = !of_operations.is_empty() || !exchanges.is_empty() || !topics.is_empty();
    if layers.is_some() && (of_clients || !asks_on_admin) && !asks {
        reader.problems.push(
            "access.rules",
            "are of no use where nobody is known: give access.tokens, access.users, access.kubernetes, access.issuers or \
             tls.clientCa too, or leave these out",
        );
    }
    if let (Some(given), false) = (reader.given("access-authorization"), asks || asks_on_admin)
        && judges.is_some_and(|judges| judges != Judges::Rules)
    {
        reader.wrong(given, NOBODY);
    }
    for setting in ["forward-user", "forward-groups"] {
        if let (Some(given), false) = (reader.given(setting), asks) {
            reader.wrong(given, NOBODY);
        }
    }
    if let (Some(given), Some(Judges::Kubernetes), Some([_, ..])) =
        (reader.given("access-authorization"), judges, layers)
    {
        reader.wrong(given, "leaves access.rules without use: write both, or leave the rules out");
    }
    let policy = Policy { rules, exchanges, topics, paths, anonymous: anonymous? };
    Some(Access {
        tokens,
        users,
        audiences,
        issuers,
        certificates: reader.contains("tls-client-ca"),
        certificate_names: tls::names(reader),
        judges: judges?,
        policy,
        identity_fields: identity_fields(reader),
        origins: reader.list("access-origins", origin),
        forward_credentials: forward_credentials?,
        clear_credentials: clear_credentials?,
    })
}

const NOBODY: &str = "is of no use where nobody is known: give --access-tokens, --access-users, --access-kubernetes, --access-issuer or \
                      --tls-client-ca too";

/// An origin, as a browser sends it (RFC 6454, section 6.2).
fn origin(text: &str) -> Result<String, String> {
    let uri = text.parse::<http::Uri>().ok().filter(|_| !text.ends_with('/'));
    let is_origin = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|path| path == "/")
    });
    if is_origin {
        // As a browser sends it: in small letters, and without the port of its scheme.
        let origin = text.to_ascii_lowercase();
        let port = if origin.starts_with("https:") { ":443" } else { ":80" };
        Ok(origin.strip_suffix(port).unwrap_or(&origin).to_owned())
    } else {
        Err("give a scheme, a host and perhaps a port, such as https://chat.example.com".to_owned())
    }
}

/// By which fields the app learns who sends a request.
fn identity_fields(reader: &mut Reader<'_>) -> IdentityFields {
    let user = reader.optional("forward-user", fields::name);
    let groups = reader.optional("forward-groups", fields::name);
    if let (Some(user), Some(groups), Some(given)) = (&user, &groups, reader.given("forward-groups"))
        && fields::is_same(user, groups)
    {
        reader.wrong(given, "is the field of --forward-user too: give each a name of its own");
    }
    IdentityFields { user, groups }
}

/// The ways to know clients, but for certificates: those each port has for itself.
const SCHEMES: [&str; 4] = ["access-tokens", "access-users", "access-kubernetes", "access-issuer"];

/// Whose rules they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Process,
    Operation,
}

/// The rules of an operation.
pub(super) fn own_rules(reader: &mut Reader<'_>) -> Option<Vec<Rule>> {
    let layers = reader.layers.iter().find_map(|layer| layer.objects("access.rules"));
    let before = reader.problems.iter().count();
    let layers: Vec<_> = layers.unwrap_or_default().iter().collect();
    let rules = rules(reader.problems, &layers, Of::Operation);
    (reader.problems.iter().count() == before).then_some(rules)
}

fn rules(problems: &mut Problems, layers: &[&Layer], of: Of) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(layers.len());
    for layer in layers {
        let mut of_rule = Reader { layers: vec![layer], problems };
        needs(&mut of_rule, &["subjects", "verbs"]);
        if of == Of::Process && of_rule.given("operations").is_none() {
            let or = if of_rule.contains("restrict") {
                ""
            } else {
                ", or paths of the admin port, exchanges or topics in their place"
            };
            of_rule.wrong_field("operations", &format!("is missing or empty: list at least one{or}"));
        }
        let subjects = of_rule.list("subjects", |text| text.parse().map_err(|error| format!("{error}")));
        let operations = of_rule.list("operations", |text| text.parse().map_err(|error| format!("{error}")));
        of_rule.list("verbs", verb_of_operations);
        let restrict = of_rule.list("restrict", |text| text.parse().map_err(|error| format!("{error}")));
        if of_rule.contains("restrict") && of_rule.given("restrict").is_none() {
            of_rule.wrong_field(
                "restrict",
                "is empty: list the parts, or leave the field out if the whole model is allowed",
            );
        }
        rules.push(Rule { subjects, operations, restrict });
    }
    rules
}

/// A rule about what this field lists: exchanges, or topics.
fn rule_of<V>(problems: &mut Problems, layer: &Layer, kind: &str) -> NamedRule<V>
where
    V: std::str::FromStr<Err = InvalidRule>,
{
    let mut of_rule = Reader { layers: vec![layer], problems };
    needs(&mut of_rule, &["subjects", "verbs", kind]);
    for field in ["operations", "restrict", "topics"] {
        if field != kind && of_rule.contains(field) {
            let subject = if field == "restrict" { "operations" } else { field };
            let message =
                format!("is of no use beside {kind}: a rule is about {subject} or about {kind}, so write two");
            of_rule.wrong_field(field, &message);
        }
    }
    let subjects = of_rule.list("subjects", |text| text.parse().map_err(|error| format!("{error}")));
    let verbs = of_rule.list("verbs", |text| text.parse().map_err(|error| format!("{error}")));
    let names = of_rule.list(kind, |text| text.parse().map_err(|error| format!("{error}")));
    NamedRule { subjects, verbs, names }
}

/// A rule about paths of the admin port. `asks`: other hosts are asked there who they are.
fn path_rule(problems: &mut Problems, layer: &Layer, asks: bool) -> PathRule {
    let mut of_rule = Reader { layers: vec![layer], problems };
    needs(&mut of_rule, &["subjects", "verbs", "paths"]);
    for field in ["operations", "exchanges", "topics", "restrict"] {
        if of_rule.contains(field) {
            of_rule.wrong_field(
                field,
                "is of no use beside paths: a rule is about operations or about paths of the admin port, so write two",
            );
        }
    }
    if let (Some(given), false) = (of_rule.given("paths"), asks) {
        of_rule.wrong(
            given,
            "is at the admin port, which asks nobody who they are: give --admin-access too, or leave the rule out",
        );
    }
    let subjects = of_rule.list("subjects", |text| text.parse().map_err(|error| format!("{error}")));
    let verbs = of_rule.list("verbs", |text| text.parse().map_err(|error| format!("{error}")));
    let paths = of_rule.list("paths", |text| text.parse().map_err(|error| format!("{error}")));
    PathRule { subjects, verbs, paths }
}

/// Notes which of these fields of a rule are missing.
fn needs(of_rule: &mut Reader<'_>, fields: &[&str]) {
    for field in fields {
        if of_rule.given(field).is_none() {
            of_rule.wrong_field(field, "is missing or empty: list at least one");
        }
    }
}

pub(super) fn audience(text: &str) -> Result<String, String> {
    let is_good = (1..=ACCESS_NAME_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_good { Ok(text.to_owned()) } else { Err("is no audience: write a name such as tidewait".to_owned()) }
}

fn judges(text: &str) -> Result<Judges, String> {
    match text {
        "rules" => Ok(Judges::Rules),
        "kubernetes" => Ok(Judges::Kubernetes),
        "both" => Ok(Judges::Both),
        _ => Err("is no judge: write rules, kubernetes or both".to_owned()),
    }
}

fn verb_of_operations(text: &str) -> Result<(), String> {
    match text.parse().map_err(|error| format!("{error}"))? {
        Verb::Get => Ok(()),
        Verb::Admin => Err("is for paths of the admin port alone: write get, or a rule with paths".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use crate::access::policy::Verb;
    use crate::config::Access;
    use crate::config::file::ConfigFile;
    use crate::config::resolve::{Layers, resolve};
    use crate::config::settings::Options;

    pub(super) fn resolved(yaml: &str) -> Result<Access, String> {
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
        let yaml = "access: {tokens: t, rules: [{subjects: [authenticated], verbs: [get], operations: ['*'], \
                    restrict: [/shared, '/nodes/{name}']}]}";
        let rules = resolved(yaml).expect("good").policy.rules;
        let parts: Vec<_> = rules[0].restrict.iter().map(ToString::to_string).collect();
        assert_eq!(parts, ["/shared", "/nodes/{name}"]);
    }

    #[test]
    fn fields_for_the_app_have_names_of_their_own_and_need_somebody_who_is_known() {
        for (yaml, expected) in [
            ("{tokens: t, forwardUser: X-User, forwardGroups: X-Groups}", None),
            ("{tokens: t, forwardUser: X-User, forwardGroups: x_user}", Some("is the field of --forward-user too")),
            ("{tokens: t, forwardUser: Host}", Some("\"Host\" means something else already: write a name such as")),
            ("{tokens: t, forwardUser: 'a b'}", Some("\"a b\" is no name of a header field")),
            ("{forwardUser: X-User}", Some("\"X-User\" is of no use where nobody is known: give --access-tokens")),
        ] {
            let told = resolved(&format!("access: {yaml}")).err();
            assert_eq!(told.is_some(), expected.is_some(), "{yaml}: {told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()), "{yaml}");
        }
    }

    #[test]
    fn a_rule_is_about_operations_or_about_paths() {
        let yaml = "adminAccess: true\naccess: {tokens: t, rules: [\
                    {subjects: ['user:p'], verbs: [get], paths: [/metrics, /a*]}, \
                    {subjects: [authenticated], verbs: [get], operations: ['*']}, \
                    {subjects: ['group:ops'], verbs: [get, admin], paths: ['*']}]}";
        let access = resolved(yaml).expect("good");
        assert_eq!((access.policy.rules.len(), access.policy.paths.len()), (1, 2));
        assert_eq!(access.policy.paths[1].verbs, [Verb::Get, Verb::Admin]);
        // Certificates alone are enough there, and the port for clients asks nobody.
        let yaml = "adminAccess: true\nadminTls: {certificate: c, key: k, clientCa: a}\n\
                    access: {certificates: {names: [cn]}, \
                    rules: [{subjects: [authenticated], verbs: [get], paths: ['*']}]}";
        let access = resolved(yaml).expect("good");
        assert_eq!((access.policy.paths.len(), access.asks()), (1, false));
    }

    #[test]
    fn what_the_admin_port_lacks_is_told_with_its_place() {
        let of_nobody = "of no use where nobody is known: give --access-tokens, --access-users, --access-kubernetes, \
                         --access-issuer or --admin-tls-client-ca too";
        let rule = |fields: &str| format!("access: {{tokens: t, rules: [{{subjects: [authenticated], {fields}}}]}}");
        let on = |fields: &str| format!("adminAccess: true\n{}", rule(fields));
        for (yaml, expected) in [
            ("adminAccess: true".to_owned(), format!("f: adminAccess: \"true\" is {of_nobody}")),
            (
                "adminAccess: true\ntls: {certificate: c, key: k, clientCa: a}".to_owned(),
                format!("f: adminAccess: \"true\" is {of_nobody}"),
            ),
            (
                "adminAccess: yes please".to_owned(),
                "f: adminAccess: \"yes please\" is text, but true or false".to_owned(),
            ),
            (
                rule("verbs: [get], paths: [/metrics]"),
                "f: access.rules[0].paths[0]: \"/metrics\" is at the admin port, which asks nobody who they are: give \
                 --admin-access"
                    .to_owned(),
            ),
            (
                "adminAccess: true\nadminTls: {certificate: c, key: k, clientCa: a}\naccess: {rules: [{subjects: \
                 [anonymous], verbs: [get], operations: [a]}]}"
                    .to_owned(),
                "access.rules: are of no use where nobody is known".to_owned(),
            ),
            (
                on("verbs: [get], operations: [a], paths: [/metrics]"),
                "f: access.rules[0].operations: is of no use beside paths: a rule is about operations or".to_owned(),
            ),
            (
                on("verbs: [get], restrict: [/a], paths: [/metrics]"),
                "f: access.rules[0].restrict: is of no use beside paths".to_owned(),
            ),
            (
                on("verbs: [get]"),
                "f: access.rules[0].operations: is missing or empty: list at least one, or paths".to_owned(),
            ),
            (on("verbs: [get], paths: []"), "f: access.rules[0].paths: is missing or empty".to_owned()),
            (
                on("verbs: [get], paths: [metrics]"),
                "f: access.rules[0].paths[0]: \"metrics\" is no path: write one such as /metrics".to_owned(),
            ),
            (
                on("verbs: [submit], paths: [/metrics]"),
                "f: access.rules[0].verbs[0]: \"submit\" is no verb: write get, or admin for what changes".to_owned(),
            ),
            (
                on("verbs: [get, admin], operations: [a]"),
                "f: access.rules[0].verbs[1]: \"admin\" is for paths of the admin port alone: write get".to_owned(),
            ),
            (
                "operations: [{name: a, path: /a, source: {file: {path: x}}, access: {rules: [{subjects: [anonymous], \
                 verbs: [get], paths: [/metrics]}]}}]"
                    .to_owned(),
                "f: operations[0].access.rules[0].paths: is no field".to_owned(),
            ),
            (
                "operations: [{name: a, path: /a, source: {file: {path: x}}, access: {rules: [{subjects: [anonymous], \
                 verbs: [admin]}]}}]"
                    .to_owned(),
                "f: operations[0].access.rules[0].verbs[0]: \"admin\" is for paths of the admin port alone".to_owned(),
            ),
        ] {
            let told = resolved(&yaml).expect_err(&yaml);
            assert!(told.lines().any(|line| line.starts_with(&expected)), "{yaml}:\n{told}");
        }
    }

    #[test]
    fn every_mistake_in_a_rule_is_told_with_its_place() {
        for (yaml, expected) in [
            ("{tokens: t, rules: []}", "f: access.rules: is empty: list an item"),
            ("{kubernetes: {}}", "access.kubernetes.audiences: is missing or empty"),
            ("{kubernetes: {audiences: []}}", "access.kubernetes.audiences: is missing or empty"),
            (
                "{rules: [{subjects: [anonymous], verbs: [get], operations: [a]}]}",
                "access.rules: are of no use where nobody is known",
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
                "{tokens: t, rules: [{subjects: [anonymous], verbs: [get], operations: [a], restrict: []}]}",
                "f: access.rules[0].restrict: is empty: list the parts",
            ),
            (
                "{tokens: t, rules: [{subjects: [anonymous], verbs: [get], operations: [a], restrict: ['/{who}']}]}",
                "f: access.rules[0].restrict[0]: \"/{who}\" is no part of a model: write a JSON Pointer",
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
