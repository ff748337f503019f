//! Tokens that are good, and each way in which one is not. jsonwebtoken gives a second opinion on those that are good.

mod keys_of_issuers;
mod signer;

use futures::FutureExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use self::signer::{Signer, encode};
use super::*;
use crate::bounds::{IDENTITY_GROUPS, ISSUER_TOKEN_BYTES};

const URL: &str = "https://issuer.example";

fn config() -> IssuerConfig {
    let mut config = IssuerConfig::new(URL.parse().expect("a URL"), "tidewait".to_owned());
    config.groups = Some("groups".to_owned());
    config.keys = KeySource::File("keys".into());
    config.algorithms = Algorithm::ALL.to_vec();
    config
}

fn issuer(config: IssuerConfig, keys: &[Value]) -> Issuer {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
    let issuer = Issuer::new(config, &metrics);
    issuer.replace_keys(json!({"keys": keys}).to_string().as_bytes()).expect("a set");
    issuer
}

/// Nothing is fetched, so nothing is waited for.
fn check(issuer: &Issuer, token: &str) -> Result<Checked, Unverified> {
    issuer.check(token).now_or_never().expect("the keys are there")
}

fn seconds() -> u64 {
    now().as_secs()
}

fn claims() -> Value {
    json!({"iss": URL, "aud": "tidewait", "sub": "node-1", "groups": ["edge"], "exp": seconds() + 60, "iat": seconds()})
}

/// These claims with some of others; null takes one out.
fn with(mut claims: Value, others: &Value) -> Value {
    for (name, value) in others.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    claims
}

#[track_caller]
fn refused(issuer: &Issuer, token: &str, expected: &str) {
    match check(issuer, token) {
        Err(Unverified::Invalid(text)) => assert!(text.starts_with(expected), "{text}, and not {expected}"),
        other => panic!("{other:?}, and not {expected}"),
    }
}

/// What jsonwebtoken makes of it.
fn second_opinion(token: &str, key: &Value) -> bool {
    let header = jsonwebtoken::decode_header(token).expect("a header");
    let mut rules = jsonwebtoken::Validation::new(header.alg);
    (rules.leeway, rules.validate_nbf) = (30, true);
    rules.set_audience(&["tidewait"]);
    rules.set_issuer(&[URL]);
    let key: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.clone()).expect("a key");
    let key = jsonwebtoken::DecodingKey::from_jwk(&key).expect("a key");
    jsonwebtoken::decode::<Value>(token, &key, &rules).is_ok()
}

#[test]
fn a_token_of_each_algorithm_shows_whose_it_is() {
    for algorithm in Algorithm::ALL {
        let signer = Signer::new(algorithm, "a");
        let issuer = issuer(config(), &[signer.jwk()]);
        let token = signer.token(&claims());
        let checked = check(&issuer, &token).unwrap_or_else(|error| panic!("{algorithm:?}: {error:?}"));
        assert_eq!((&*checked.verified.name, &*checked.verified.groups), ("node-1", &["edge".to_owned()][..]));
        let lasts = checked.verified.lasts.expect("it ends").as_secs();
        assert!((85..=90).contains(&lasts), "60 s and the leeway, not {lasts}");
        assert!(issuer.keys().borrow().as_ref().expect("keys").has(&checked.key));
        assert!(second_opinion(&token, &signer.jwk()), "{algorithm:?}");
        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|other| *other != algorithm).collect();
        let strict = self::issuer(IssuerConfig { algorithms: others, ..config() }, &[signer.jwk()]);
        refused(&strict, &token, "is signed in a way that is not allowed");
    }
}

#[test]
fn the_table_of_claims() {
    let signer = Signer::new(Algorithm::Es256, "a");
    let issuer = issuer(config(), &[signer.jwk()]);
    let now = seconds();
    for others in [
        json!({"aud": ["other", "tidewait"]}),
        json!({"exp": now - 25}),
        json!({"exp": super::now().as_secs_f64(), "nbf": now + 25, "iat": now + 25}),
        json!({"exp": 253_402_300_799_u64}),
        json!({"iat": null, "groups": null}),
        json!({"groups": [], "other": {"x": [1, null]}}),
    ] {
        let token = signer.token(&with(claims(), &others));
        assert!(check(&issuer, &token).is_ok(), "{others}: {:?}", check(&issuer, &token));
        assert!(second_opinion(&token, &signer.jwk()), "{others}");
    }
    let one = signer.token(&with(claims(), &json!({"groups": "edge"})));
    assert_eq!(check(&issuer, &one).expect("one group").verified.groups, ["edge"]);
    let odd = signer.token(&with(claims(), &json!({"groups": ["Domain Users", "edge", "", "a,b"]})));
    assert_eq!(check(&issuer, &odd).expect("one that a rule can name").verified.groups, ["edge"]);
    let many: Vec<_> = (0..=IDENTITY_GROUPS).map(|n| n.to_string()).collect();
    for (others, expected) in [
        (json!({"iss": null}), "is of another issuer"),
        (json!({"iss": format!("{URL}/")}), "is of another issuer"),
        (json!({"iss": [URL]}), "is of another issuer"),
        (json!({"aud": null}), "is for another audience"),
        (json!({"aud": "Tidewait"}), "is for another audience"),
        (json!({"aud": ["other", 1]}), "is for another audience"),
        (json!({"aud": {"tidewait": true}}), "is for another audience"),
        (json!({"exp": null}), "has no end"),
        (json!({"exp": now - 31}), "has expired"),
        (json!({"exp": 0}), "has expired"),
        (json!({"exp": -1}), "has a time that is no number"),
        (json!({"exp": (now + 60).to_string()}), "has a time that is no number"),
        (json!({"exp": 1e300}), "has a time that is no number"),
        (json!({"nbf": now + 40}), "is not valid yet"),
        (json!({"nbf": "now"}), "has a time that is no number"),
        (json!({"iat": now + 40}), "was issued in the future"),
        (json!({"sub": null}), "has a name with other characters"),
        (json!({"sub": ""}), "has a name with other characters"),
        (json!({"sub": 7}), "has a name with other characters"),
        (json!({"sub": "a b"}), "has a name with other characters"),
        (json!({"sub": "a*"}), "has a name with other characters"),
        (json!({"sub": "n".repeat(254)}), "has a name with other characters"),
        (json!({"groups": [1]}), "has groups that are neither a text nor"),
        (json!({"groups": ["a", ["b"]]}), "has groups that are neither a text nor"),
        (json!({"groups": {"a": true}}), "has groups that are neither a text nor"),
        (json!({"groups": many}), "has more than 256 groups"),
    ] {
        refused(&issuer, &signer.token(&with(claims(), &others)), expected);
    }
}

#[test]
fn names_are_of_the_claim_that_is_configured_with_a_prefix() {
    let signer = Signer::new(Algorithm::EdDsa, "a");
    let by_address = IssuerConfig { name: "email".to_owned(), prefix: "corp:".to_owned(), ..config() };
    let issuer = issuer(by_address, &[signer.jwk()]);
    for (others, expected) in [
        (json!({"email": "a@b.example"}), Some("corp:a@b.example")),
        (json!({"email": "a@b.example", "email_verified": true}), Some("corp:a@b.example")),
        (json!({"email": "a@b.example", "email_verified": false}), None),
        (json!({"email": "a@b.example", "email_verified": "true"}), None),
        (json!({"email": ""}), None),
        (json!({"email": "a".repeat(249)}), None),
        (json!({}), None),
    ] {
        let checked = check(&issuer, &signer.token(&with(claims(), &others)));
        assert_eq!(checked.as_ref().ok().map(|checked| &*checked.verified.name), expected, "{others}");
        assert!(checked.is_err() || checked.is_ok_and(|checked| checked.verified.groups == ["corp:edge"]));
    }
}

#[test]
fn the_table_of_headers_and_forms() {
    let signer = Signer::new(Algorithm::Rs256, "a");
    let issuer = issuer(config(), &[signer.jwk()]);
    let as_text = |header: &Value| signer.signed(&header.to_string(), &claims().to_string());
    for typ in [json!({}), json!({"typ": "JWT"}), json!({"typ": "at+jwt"}), json!({"typ": "x", "jku": "https://evil"})]
    {
        let header = with(json!({"alg": "RS256", "kid": "a"}), &typ);
        assert!(check(&issuer, &as_text(&header)).is_ok(), "{header}");
    }
    for (header, expected) in [
        (json!({"kid": "a"}), "does not say how it is signed"),
        (json!({"alg": 1, "kid": "a"}), "does not say how it is signed"),
        (json!({"alg": "none", "kid": "a"}), "is signed in a way that is not allowed"),
        (json!({"alg": "HS256", "kid": "a"}), "is signed in a way that is not allowed"),
        (json!({"alg": "rs256", "kid": "a"}), "is signed in a way that is not allowed"),
        (json!({"alg": "ES512", "kid": "a"}), "is signed in a way that is not allowed"),
        (json!({"alg": "ES256", "kid": "a"}), "is signed with another algorithm than its key is for"),
        (json!({"alg": "RS512", "kid": "a"}), "is signed with another algorithm than its key is for"),
        (json!({"alg": "RS256", "kid": "b"}), "is signed with a key that its issuer does not publish"),
        (json!({"alg": "RS256", "kid": 1}), "names its key by something else"),
        (json!({"alg": "RS256", "kid": "a", "crit": ["exp"]}), "needs an extension"),
        (json!({"alg": "RS256", "kid": "a", "crit": []}), "needs an extension"),
        (json!({"alg": "RS256", "kid": "a", "crit": ["b64"], "b64": false}), "needs an extension"),
    ] {
        refused(&issuer, &as_text(&header), expected);
    }
    let good = signer.token(&claims());
    let (content, signature) = good.rsplit_once('.').expect("parts");
    let (head, payload) = content.split_once('.').expect("parts");
    let twice = claims().to_string().replace("\"sub\"", "\"sub\":\"admin\",\"sub\"");
    let header = r#"{"alg":"RS256","kid":"a"}"#;
    for form in [
        String::new(),
        "..".to_owned(),
        content.to_owned(),
        format!("{good}.{signature}"),
        format!("{head}.{payload}.{signature}=="),
        format!("{head}=.{payload}.{signature}"),
        format!(" {good}"),
        good.replace('.', ","),
        signer.signed("[]", &claims().to_string()),
        signer.signed(header, "[]"),
        signer.signed(header, &format!("{}x", claims())),
        signer.signed(header, &twice),
        signer.signed(r#"{"alg":"none","alg":"RS256","kid":"a"}"#, &claims().to_string()),
        format!("{head}.{}.{signature}", encode(b"\xff")),
    ] {
        refused(&issuer, &form, "is no signed JWT");
    }
    refused(&issuer, &format!("{content}."), "has a wrong signature");
    let huge = signer.token(&with(claims(), &json!({"x": "x".repeat(ISSUER_TOKEN_BYTES)})));
    refused(&issuer, &huge, "is longer than 16384 bytes");
}

/// The classic attacks: unsigned, and signed with the public key as if it were a secret.
#[test]
fn what_anybody_could_have_made_is_refused() {
    let signer = Signer::new(Algorithm::Rs256, "a");
    let issuer = issuer(config(), &[signer.jwk()]);
    let payload = encode(claims().to_string().as_bytes());
    let unsigned = format!("{}.{payload}.", encode(br#"{"alg":"none"}"#));
    refused(&issuer, &unsigned, "is signed in a way that is not allowed");
    let secret = jsonwebtoken::EncodingKey::from_secret(&signer.public_der()).expect("a secret");
    let header = jsonwebtoken::Header { kid: Some("a".to_owned()), ..jsonwebtoken::Header::default() };
    let confused = jsonwebtoken::encode(&header, &claims(), &secret).expect("a token");
    refused(&issuer, &confused, "is signed in a way that is not allowed");
    let stranger = Signer::new(Algorithm::Es256, "a");
    let known = Signer::new(Algorithm::Es256, "a");
    refused(&self::issuer(config(), &[known.jwk()]), &stranger.token(&claims()), "has a wrong signature");
}

#[test]
fn a_token_without_a_key_name_needs_one_key() {
    let (one, other, rsa) =
        (Signer::new(Algorithm::Es256, "a"), Signer::new(Algorithm::Es256, "b"), Signer::new(Algorithm::Rs256, "c"));
    let token = one.signed(r#"{"alg":"ES256"}"#, &claims().to_string());
    assert!(check(&issuer(config(), &[one.jwk(), rsa.jwk()]), &token).is_ok());
    refused(&issuer(config(), &[one.jwk(), other.jwk()]), &token, "does not name its key");
    refused(&issuer(config(), &[rsa.jwk()]), &token, "is signed with a key that its issuer does not publish");
    refused(&issuer(config(), &[]), &token, "is signed with a key that its issuer does not publish");
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
    let unread = Issuer::new(config(), &metrics);
    let why = "the file with the keys of the issuer has not been read".to_owned();
    assert_eq!(check(&unread, &token), Err(Unverified::Unavailable(why)));
}

#[test]
fn a_token_is_of_the_issuer_that_it_names() {
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
    let of = |url: &str| {
        let config = IssuerConfig::new(url.parse().expect("a URL"), "x".to_owned());
        Arc::new(Issuer::new(config, &metrics))
    };
    let (other, ours) = (of("https://other.example"), of(URL));
    let judges = |token: &str| [&other, &ours].map(|issuer| issuer.judges(Credential::Bearer(token)));
    let signer = Signer::new(Algorithm::EdDsa, "a");
    assert_eq!(judges(&signer.token(&claims())), [false, true]);
    for others in [json!({"iss": "https://third.example"}), json!({"iss": null}), json!({"iss": 1})] {
        assert_eq!(judges(&signer.token(&with(claims(), &others))), [false, false]);
    }
    for token in ["tw_static", "a.b.c", ""] {
        assert_eq!(judges(token), [false, false]);
    }
    assert!(!ours.judges(Credential::Basic(&signer.token(&claims()))));
}

proptest! {
    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,60}", parts in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
        let issuer = issuer(config(), &[Signer::shared().jwk()]);
        prop_assert!(check(&issuer, &text).is_err());
        let parts: Vec<_> = parts.iter().map(|part| encode(part)).collect();
        prop_assert!(check(&issuer, &parts.join(".")).is_err());
    }

    /// Also where the text changes and what it encodes does not.
    #[test]
    fn a_token_of_which_a_bit_or_a_letter_is_changed_is_refused(at in any::<prop::sample::Index>(), bit in 0..7_u8, letter in "[A-Za-z0-9_.-]") {
        let issuer = issuer(config(), &[Signer::shared().jwk()]);
        let good = Signer::shared().token(&claims());
        prop_assert!(check(&issuer, &good).is_ok());
        let at = at.index(good.len());
        let mut flipped = good.clone().into_bytes();
        flipped[at] ^= 1 << bit;
        if let Ok(flipped) = String::from_utf8(flipped) {
            prop_assert!(check(&issuer, &flipped).is_err(), "{at} {bit}");
        }
        let mut other = good.clone();
        other.replace_range(at..=at, &letter);
        prop_assert_eq!(check(&issuer, &other).is_ok(), other == good);
    }
}
