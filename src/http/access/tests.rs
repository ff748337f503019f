//! Who gets in, who does not, and what they are told.

use http::header::AUTHORIZATION;
use prometheus::IntCounter;

use super::*;
use crate::access::Scheme;
use crate::access::policy::Rule;
use crate::access::tokens::line;
use crate::describe::problem::Kind;

fn metrics() -> Metrics {
    Metrics::unregistered().expect("good names").0
}

fn near(peer: &str, scheme: Scheme) -> Peer<'static> {
    Peer { address: peer.parse().expect("an address"), scheme, certificate: None }
}

fn target(name: &str) -> Target {
    Target::Operation(Arc::new(config::Operation::example(name, "/x")))
}

/// What is known at once.
fn judge(access: &Arc<Access>, field: &[&'static str], target: &Target) -> Result<Caller, Problem> {
    match access.judge(&fields(field), near("127.0.0.1:1", Scheme::Http), target) {
        Judged::Now(judged) => judged.map(|admitted| admitted.caller),
        Judged::Later(_) => panic!("tokens are known at once"),
    }
}

fn with(anonymous: bool, clear_credentials: bool) -> Arc<Access> {
    let tokens = Tokens::parse(line("good", "n", &[]).as_bytes()).expect("tokens");
    Arc::new(Access::with_tokens(tokens, Policy { anonymous, ..Policy::default() }, clear_credentials, metrics()))
}

fn fields(all: &[&'static str]) -> HeaderMap {
    let values = all.iter().map(|value| (AUTHORIZATION, http::HeaderValue::from_static(value)));
    values.collect()
}

/// Who is let in: anonymous or known; and what another one is told.
#[test]
fn who_gets_in_depends_on_credential_settings_and_connection() {
    let (host, far) = ("127.0.0.1:1", "192.0.2.1:1");
    let mapped = "[::ffff:127.0.0.1]:1";
    let none = &[][..];
    let (good, bad) = (&["Bearer good"][..], &["Bearer bad"][..]);
    let (basic, twice) = (&["Basic Z29vZA=="][..], &["Bearer good", "Bearer good"][..]);
    let (anonymous, missing, clear) = ("anonymous", "send Auth", "others can");
    for (allows, address, scheme, field, expected) in [
        // anonymous, clear
        ((false, false), host, Scheme::Http, none, missing),
        ((false, false), host, Scheme::Http, good, "known"),
        ((false, false), mapped, Scheme::Http, good, "known"),
        ((false, false), host, Scheme::Http, bad, "the credential is not known"),
        ((false, false), host, Scheme::Http, basic, "Authorization is of another scheme"),
        ((false, false), host, Scheme::Http, twice, "there are several"),
        ((false, false), far, Scheme::Http, none, missing),
        ((false, false), far, Scheme::Http, good, clear),
        ((false, false), far, Scheme::Http, bad, clear),
        ((false, false), far, Scheme::Https, good, "known"),
        ((false, false), far, Scheme::Https, bad, "the credential is not known"),
        ((false, true), far, Scheme::Http, good, "known"),
        ((false, true), far, Scheme::Http, bad, "the credential is not known"),
        ((false, true), far, Scheme::Http, none, missing),
        ((true, false), far, Scheme::Http, none, anonymous),
        ((true, false), far, Scheme::Http, good, clear),
        ((true, false), host, Scheme::Http, bad, "the credential is not known"),
        ((true, false), host, Scheme::Http, basic, "Authorization is of another scheme"),
        ((true, false), host, Scheme::Http, good, "known"),
        ((true, true), far, Scheme::Http, bad, "the credential is not known"),
    ] {
        let access = with(allows.0, allows.1);
        let Judged::Now(judged) = access.judge(&fields(field), near(address, scheme), &target("x")) else {
            panic!("tokens are known at once")
        };
        let met = match judged.map(|admitted| admitted.caller) {
            Ok(Caller::Anonymous) => "anonymous".to_owned(),
            Ok(Caller::Known(_)) => "known".to_owned(),
            Err(problem) => problem.detail,
        };
        assert!(met.starts_with(expected), "{allows:?} {address} {scheme:?} {field:?}: {met}");
    }
}

#[test]
fn where_nothing_is_asked_a_credential_means_nothing() {
    let access = Arc::new(Access::open(metrics()));
    assert_eq!(judge(&access, &["Bearer a", "b"], &target("x")), Ok(Caller::Anonymous));
}

#[test]
fn what_is_not_known_yet_is_forbidden_to_nobody_with_a_credential() {
    let rules = vec![Rule {
        subjects: vec!["user:n".parse().expect("a subject")],
        operations: vec!["a".parse().expect("a pattern")],
        restrict: Vec::new(),
    }];
    let tokens = Tokens::parse(line("good", "n", &[]).as_bytes()).expect("tokens");
    let access = Arc::new(Access::with_tokens(tokens, Policy { rules, ..Policy::default() }, false, metrics()));
    let kind =
        |field: &[&'static str], target: &Target| judge(&access, field, target).err().map(|problem| problem.kind);
    let good = &["Bearer good"][..];
    for (target, with, without) in [
        (target("a"), None, Some(Kind::Unauthorized)),
        (target("b"), Some(Kind::Forbidden), Some(Kind::Unauthorized)),
        (Target::Nothing("/x".into()), Some(Kind::Forbidden), Some(Kind::Unauthorized)),
        (Target::NotKnownYet, None, Some(Kind::Unauthorized)),
    ] {
        assert_eq!((kind(good, &target), kind(&[], &target)), (with, without), "{target:?}");
    }
}

#[test]
fn a_refusal_tells_the_scheme_and_the_remedy_and_repeats_nothing() {
    let access = with(false, false);
    let refused = |field| judge(&access, field, &target("x")).expect_err("refused");
    let missing = refused(&[]);
    assert_eq!(missing.challenge, Some("Bearer realm=\"tidewait\""));
    let unknown = refused(&["Bearer s3cr3t"]);
    assert_eq!(unknown.challenge, Some("Bearer realm=\"tidewait\", error=\"invalid_token\""));
    assert!(!unknown.detail.contains("s3cr3t"), "{}", unknown.detail);
    let counted = [&access.metrics.missing, &access.metrics.invalid].map(IntCounter::get);
    assert_eq!(counted, [1, 1]);
}

#[test]
fn a_token_that_is_gone_is_withdrawn_and_told_of() {
    let access = with(false, false);
    let withdrawals = access.withdrawals();
    let judge = |token| judge(&access, &[token], &target("x"));
    let replace = |lines: &[String]| {
        access.authentication().replace_tokens(Tokens::parse(lines.join("\n").as_bytes()).expect("tokens"));
    };
    let caller = judge("Bearer good").expect("it is good");
    replace(&[line("good", "n", &[]), line("new", "m", &[])]);
    assert_eq!((caller.lost(), withdrawals.count()), (None, 0), "it is still good");
    assert_eq!(judge("Bearer good"), Ok(caller.clone()));
    replace(&[line("new", "m", &[])]);
    assert_eq!((caller.lost(), withdrawals.count()), (Some(Loss::Withdrawn), 1));
    assert!(judge("Bearer good").is_err() && judge("Bearer new").is_ok());
}

/// A rule for all that have a credential.
fn rule(restrict: &[&str]) -> Rule {
    Rule {
        subjects: vec!["authenticated".parse().expect("a subject")],
        operations: vec!["*".parse().expect("a pattern")],
        restrict: restrict.iter().map(|text| text.parse().expect("a template")).collect(),
    }
}

#[test]
fn a_rule_gives_a_part_and_a_parked_poll_keeps_it_only_while_a_rule_does() {
    let part = |pointers: &[&str]| Selection::parse(pointers, 9).expect("pointers");
    let tokens = Tokens::parse(line("good", "n", &[]).as_bytes()).expect("tokens");
    let policy = Policy { rules: vec![rule(&["/shared", "/nodes/{name}"])], ..Policy::default() };
    let access = Arc::new(Access::with_tokens(tokens, policy, false, metrics()));
    let Judged::Now(Ok(admitted)) =
        access.judge(&fields(&["Bearer good"]), near("127.0.0.1:1", Scheme::Http), &target("x"))
    else {
        panic!("it may")
    };
    assert_eq!(admitted.part, Some(part(&["/shared", "/nodes/n"])));
    let mut operation = config::Operation::example("x", "/x");
    for (own, selected, expected) in [
        (vec![], Some(part(&["/nodes/n"])), Ok(())),
        (vec![], Some(part(&["/nodes/n/a", "/shared"])), Ok(())),
        (vec![], Some(part(&["/nodes/m"])), Err(Loss::Forbidden)),
        (vec![], Some(part(&["/nodes"])), Err(Loss::Forbidden)),
        (vec![], None, Err(Loss::Forbidden)),
        (vec![rule(&[])], None, Ok(())),
        (vec![rule(&["/more"])], Some(part(&["/more", "/shared"])), Ok(())),
    ] {
        operation.access = own;
        assert_eq!(access.still_allows(&admitted.caller, &operation, selected.as_ref()), expected, "{selected:?}");
    }
}
