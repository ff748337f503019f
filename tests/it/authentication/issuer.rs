//! Tokens of a real issuer, while its keys change and while it is away.

use std::path::PathBuf;
use std::sync::Arc;

use prometheus::Registry;
use serde_json::json;
use tidewait::access::Unverified;
use tidewait::authentication::issuer::{Checked, Issuer, IssuerConfig, KeySource, Keys, Metrics};
use tokio::task::JoinSet;

use super::provider::{AUDIENCE, Provider};
use crate::proxy::harness::{until, within};

/// An issuer whose keys are fetched while this is kept.
pub(super) struct Followed {
    pub(super) issuer: Arc<Issuer>,
    pub(super) registry: Registry,
    _tasks: JoinSet<()>,
}

impl Followed {
    pub(super) fn new(config: IssuerConfig) -> Self {
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).expect("metrics");
        let issuer = Arc::new(Issuer::new(config, &metrics));
        let mut tasks = JoinSet::new();
        let followed = Arc::clone(&issuer);
        tasks.spawn(async move { followed.run().await });
        Self { issuer, registry, _tasks: tasks }
    }

    /// A client that comes again as long as it cannot be found out.
    async fn checked(&self, token: &str) -> Checked {
        within("the token is checked", async {
            loop {
                match self.issuer.check(token).await {
                    Ok(checked) => return checked,
                    Err(Unverified::Unavailable(_)) => tokio::task::yield_now().await,
                    Err(invalid @ Unverified::Invalid(_)) => panic!("{invalid:?}"),
                }
            }
        })
        .await
    }

    /// Until its keys are as asked.
    async fn keys(&self, so: impl Fn(&Keys) -> bool) {
        let mut keys = self.issuer.keys();
        let wait = keys.wait_for(|keys| keys.as_ref().is_some_and(|keys| so(keys)));
        within("the keys come", wait).await.expect("the issuer is there");
    }
}

pub(super) fn config(url: &str, ca: Option<PathBuf>) -> IssuerConfig {
    let mut config = IssuerConfig::new(url.parse().expect("a URL"), AUDIENCE.to_owned());
    (config.groups, config.prefix, config.ca) = (Some("groups".to_owned()), "sso:".to_owned(), ca);
    config
}

#[track_caller]
fn why<T: std::fmt::Debug>(unverified: Result<T, Unverified>) -> String {
    match unverified {
        Err(Unverified::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_of_an_issuer_over_tls_shows_whose_it_is() {
    let mut provider = Provider::new(true).await;
    provider.start().await;
    let token = provider.token().await;
    let followed = Followed::new(config(&provider.url, Some(provider.ca())));
    let checked = followed.checked(&token).await;
    assert_eq!(checked.verified.name, "sso:edge");
    assert_eq!(checked.verified.groups, ["sso:nodes", "sso:edge"]);
    let lasts = checked.verified.lasts.expect("it ends").as_secs();
    assert!((600..=630).contains(&lasts), "ten minutes and the leeway, not {lasts}");
    let text = prometheus::TextEncoder::new().encode_to_string(&followed.registry.gather()).expect("text");
    let held = format!("tidewait_access_issuer_keys{{issuer=\"{}\"}} 1", provider.url);
    assert!(text.contains(&held), "{text}");
    // The same token is refused where another audience, issuer or claim is asked for.
    let of = |change: fn(&mut IssuerConfig)| {
        let mut config = config(&provider.url, Some(provider.ca()));
        change(&mut config);
        Followed::new(config)
    };
    for (change, expected) in [
        ((|config| config.audience = "other".to_owned()) as fn(&mut IssuerConfig), "is for another audience"),
        (|config| config.name = "email".to_owned(), "has a name with other characters"),
        (|config| config.algorithms.clear(), "is signed in a way that is not allowed"),
        (|config| config.url = format!("{}/", config.url).parse().expect("a URL"), "is of another issuer"),
    ] {
        match of(change).issuer.check(&token).await {
            Err(Unverified::Invalid(text)) => assert!(text.starts_with(expected), "{text}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    // Nobody vouches for it.
    let stranger = Followed::new(config(&provider.url, None));
    let why = why(stranger.issuer.check(&token).await);
    assert!(why.contains("cannot be fetched") && why.contains("certificate"), "{why}");
}

#[tokio::test]
async fn keys_that_an_issuer_rotates_are_fetched_and_the_old_ones_are_withdrawn() {
    let mut provider = Provider::new(false).await;
    provider.start().await;
    let old = provider.token().await;
    let followed = Followed::new(config(&provider.url, None));
    let before = followed.checked(&old).await;
    provider.stop().await;
    // It goes on while the issuer is away.
    assert_eq!(followed.checked(&old).await.key, before.key);
    provider.rotate("second").await;
    provider.start().await;
    let after = followed.checked(&provider.token().await).await;
    assert_eq!(after.verified.name, "sso:edge");
    followed.keys(|keys| keys.has(&after.key) && !keys.has(&before.key)).await;
}

#[tokio::test]
async fn an_issuer_that_is_away_at_first_is_found_when_it_comes() {
    let mut provider = Provider::new(false).await;
    provider.start().await;
    let token = provider.token().await;
    provider.stop().await;
    let followed = Followed::new(config(&provider.url, None));
    let why = why(followed.issuer.check(&token).await);
    assert!(why.contains("/.well-known/openid-configuration cannot be fetched"), "{why}");
    provider.start().await;
    followed.keys(|keys| keys.len() == 1).await;
    assert_eq!(followed.checked(&token).await.verified.name, "sso:edge");
}

#[tokio::test]
async fn an_issuer_that_says_that_it_is_another_one_has_no_keys() {
    let mut provider = Provider::new(false).await;
    let other = format!("{}/other", provider.url);
    provider.set("issuer", json!(other));
    provider.start().await;
    let token = provider.token().await;
    let named = Followed::new(config(&provider.url, None));
    let mut keys = config(&other, None);
    keys.keys = KeySource::File("keys".into());
    // The token is good, with keys from a file.
    let by_file = Followed::new(keys);
    let set = tokio::process::Command::new("curl").args(["-sS", &format!("{}/jwks", provider.url)]).output().await;
    by_file.issuer.replace_keys(&set.expect("curl runs").stdout).expect("a set");
    assert_eq!(by_file.issuer.check(&token).await.expect("it is good").verified.name, "sso:edge");
    // Where it is asked, nothing of what it says is believed.
    let text = || prometheus::TextEncoder::new().encode_to_string(&named.registry.gather()).expect("text");
    let failed = format!("fetches_total{{issuer=\"{}\",result=\"failed\"}} 0", provider.url);
    until("the issuer is asked", || !text().contains(&failed)).await;
    assert!(named.issuer.keys().borrow().is_none());
}
