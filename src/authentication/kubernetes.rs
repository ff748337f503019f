//! Tokens that the API server authenticates, by `TokenReview`: those of service accounts, and of whatever else it knows.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::Client;

use super::{Authenticator, Challenge, Checked, form};
use crate::access::tokens::is_name;
use crate::access::{Bound, Credential, Unverified, Verified};
use crate::bounds::{ACCESS_ALLOWED_FOR, CREDENTIAL_LEEWAY, IDENTITY_GROUPS};
use crate::reviews::{Kind, Metrics, Reviews};

/// Asks the API server whose a token is.
#[derive(Debug)]
pub struct TokenReviewer {
    reviews: Reviews,
    /// A token is good if it is for one of these.
    audiences: Vec<String>,
}

const EXPIRED: &str = "has expired: ask for another one";
const BAD: &str = "is not good for the API server, or not for the audience that is asked for: ask for another one, for that \
                   audience";
const NAMES: &str = "belongs to a name or group with other characters than letters, digits and -._:/@, or more than 253 of them, \
                     or to too many groups: use another identity";

impl TokenReviewer {
    /// Takes tokens for one of these audiences; without any, it takes none.
    #[must_use]
    pub fn new(client: Client, audiences: Vec<String>, metrics: &Metrics) -> Self {
        Self { reviews: Reviews::new(client, Kind::Token, metrics), audiences }
    }

    /// Whose this token is. One that says itself that it has expired is refused without a question.
    pub async fn verify(&self, token: &str) -> Result<Verified, Unverified> {
        let lasts = lasts(token, since_1970()).map_err(Unverified::Invalid)?;
        let spec = TokenReviewSpec { audiences: Some(self.audiences.clone()), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let judge = |answer: TokenReview| verdict(answer.status.unwrap_or_default(), &self.audiences);
        let verified = self.reviews.ask(&review, judge).await.map_err(Unverified::Unavailable)?;
        verified.map(|verified| Verified { lasts, ..verified }).map_err(Unverified::Invalid)
    }
}

#[async_trait]
impl Authenticator for TokenReviewer {
    /// All of Kubernetes' own tokens have this form, and a flood of others must not become questions.
    fn judges(&self, credential: Credential<'_>) -> bool {
        matches!(credential, Credential::Bearer(token) if form::is_jwt(token))
    }

    fn challenge(&self) -> Challenge {
        Challenge::Bearer
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<Checked, Unverified> {
        let (_, token) = credential.parts();
        let verified = Self::verify(self, token).await?;
        Ok(Checked { verified, mark: None })
    }

    fn holds_for(&self) -> Option<Duration> {
        Some(ACCESS_ALLOWED_FOR)
    }
}

/// How long a token is good, if it is; none: it does not end by itself.
fn lasts(token: &str, now: Duration) -> Result<Option<Duration>, &'static str> {
    let expiry = form::expiry(token).map_err(|form::NoTime| "has an exp that is no time: ask for another one")?;
    let left = expiry.map(|expiry| expiry.saturating_add(CREDENTIAL_LEEWAY).saturating_sub(now));
    if left == Some(Duration::ZERO) { Err(EXPIRED) } else { Ok(left) }
}

#[expect(clippy::disallowed_methods, reason = "the end of a token is a time of day")]
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What an answer means. An API server that does not know audiences leaves them out: such a token may be for anybody.
fn verdict(status: TokenReviewStatus, audiences: &[String]) -> Result<Verified, &'static str> {
    let is_ours = status.audiences.unwrap_or_default().iter().any(|audience| audiences.contains(audience));
    if status.authenticated != Some(true) || !is_ours {
        return Err(BAD);
    }
    let user = status.user.unwrap_or_default();
    let (name, groups) = (user.username.unwrap_or_default(), user.groups.unwrap_or_default());
    if !is_name(&name) || groups.len() > IDENTITY_GROUPS || !groups.iter().all(|group| is_name(group)) {
        return Err(NAMES);
    }
    let bound = bound(&name, &user.extra.unwrap_or_default())?;
    Ok(Verified { name, groups, bound, in_kubernetes: true, lasts: None })
}

/// What the token of a service account is bound to. Of another user's it is not known who says it.
fn bound(name: &str, extra: &BTreeMap<String, Vec<String>>) -> Result<Bound, &'static str> {
    let account = name.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
    let Some((namespace, _)) = account else { return Ok(Bound::default()) };
    let one = |key: &str| match extra.get(key).map(Vec::as_slice) {
        None | Some([]) => Ok(None),
        Some([name]) if is_name(name) => Ok(Some(name.clone())),
        Some(_) => Err("is bound to a node or pod whose name has no form of one: ask for another one"),
    };
    let node = one("authentication.kubernetes.io/node-name")?;
    let pod = one("authentication.kubernetes.io/pod-name")?.map(|pod| format!("{namespace}/{pod}"));
    Ok(Bound { node, pod })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    const ACCOUNT: &str = "system:serviceaccount:apps:edge";

    fn user(name: &str, groups: &[&str], extra: &[(&str, &[&str])]) -> UserInfo {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let extra =
            extra.iter().map(|(key, values)| (format!("authentication.kubernetes.io/{key}"), texts(values))).collect();
        UserInfo { username: Some(name.to_owned()), groups: Some(texts(groups)), extra: Some(extra), uid: None }
    }

    fn judged(
        authenticated: Option<bool>,
        audiences: Option<&[&str]>,
        user: UserInfo,
    ) -> Result<Verified, &'static str> {
        let audiences = audiences.map(|all| all.iter().map(|audience| (*audience).to_owned()).collect());
        let status = TokenReviewStatus { audiences, authenticated, error: None, user: Some(user) };
        verdict(status, &["tidewait".to_owned(), "other".to_owned()])
    }

    #[test]
    fn a_yes_counts_for_an_audience_of_ours_alone() {
        for (authenticated, audiences, good) in [
            (Some(true), Some(&["tidewait"][..]), true),
            (Some(true), Some(&["x", "other"]), true),
            (Some(true), Some(&["x"]), false),
            (Some(true), Some(&["Tidewait"]), false),
            (Some(true), Some(&[]), false),
            (Some(true), None, false),
            (Some(false), Some(&["tidewait"]), false),
            (None, Some(&["tidewait"]), false),
        ] {
            let verdict = judged(authenticated, audiences, user(ACCOUNT, &[], &[]));
            assert_eq!(verdict.err(), (!good).then_some(BAD), "{authenticated:?} {audiences:?}");
        }
        assert_eq!(verdict(TokenReviewStatus::default(), &[]), Err(BAD));
        let status = TokenReviewStatus {
            authenticated: Some(true),
            audiences: Some(vec!["https://kubernetes.default.svc".to_owned()]),
            ..TokenReviewStatus::default()
        };
        assert_eq!(verdict(status, &[]), Err(BAD), "who asks for no audience takes none");
    }

    #[test]
    fn names_and_groups_are_taken_as_they_are_or_not_at_all() {
        let many: Vec<_> = (0..=IDENTITY_GROUPS).map(|group| group.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let long = "g".repeat(254);
        for (name, groups, good) in [
            (ACCOUNT, &["system:serviceaccounts", "system:serviceaccounts:apps", "system:authenticated"][..], true),
            ("system:node:node-1.example", &["system:nodes"], true),
            ("https://issuer.example/jane@example.com", &[], true),
            (ACCOUNT, &many[1..], true),
            (ACCOUNT, &many[..], false),
            (ACCOUNT, &["Domain Users"], false),
            (ACCOUNT, &["good", ""], false),
            (ACCOUNT, &[&long], false),
            ("https://issuer.example#jane", &[], false),
            ("jane\nadmin", &[], false),
            ("j\u{e4}ne", &[], false),
            ("", &[], false),
        ] {
            let verdict = judged(Some(true), Some(&["tidewait"]), user(name, groups, &[]));
            match verdict {
                Ok(verified) => {
                    assert!(good, "{name:?} {groups:?}");
                    assert_eq!(
                        (&*verified.name, verified.groups),
                        (name, groups.iter().map(ToString::to_string).collect())
                    );
                }
                Err(why) => assert_eq!((good, why), (false, NAMES), "{name:?} {groups:?}"),
            }
        }
    }

    #[test]
    fn node_and_pod_of_a_service_account_are_kept() {
        for (name, extra, expected) in [
            (
                ACCOUNT,
                &[("pod-name", &["p-0"][..]), ("node-name", &["n.example"])][..],
                Ok((Some("n.example"), Some("apps/p-0"))),
            ),
            (ACCOUNT, &[("node-name", &["n"])], Ok((Some("n"), None))),
            (ACCOUNT, &[("pod-name", &[])], Ok((None, None))),
            (ACCOUNT, &[], Ok((None, None))),
            ("jane", &[("pod-name", &["p-0"]), ("node-name", &["n"])], Ok((None, None))),
            (ACCOUNT, &[("node-name", &["n", "m"])], Err(())),
            (ACCOUNT, &[("pod-name", &["p\n"])], Err(())),
            (ACCOUNT, &[("pod-name", &[""])], Err(())),
        ] {
            let verdict = judged(Some(true), Some(&["tidewait"]), user(name, &[], extra));
            let expected = expected.map(|(node, pod): (Option<&str>, Option<&str>)| Bound {
                node: node.map(str::to_owned),
                pod: pod.map(str::to_owned),
            });
            assert_eq!(verdict.map(|verified| verified.bound).map_err(drop), expected, "{name} {extra:?}");
        }
    }

    #[test]
    fn a_token_lasts_for_its_time_and_the_leeway() {
        use base64::Engine as _;
        use base64::prelude::BASE64_URL_SAFE_NO_PAD;
        let token = format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp":1000}"#));
        for (now, expected) in
            [(0, Ok(Some(1030))), (1000, Ok(Some(30))), (1029, Ok(Some(1))), (1030, Err(EXPIRED)), (9999, Err(EXPIRED))]
        {
            let expected = expected.map(|left: Option<u64>| left.map(Duration::from_secs));
            assert_eq!(lasts(&token, Duration::from_secs(now)), expected, "{now}");
        }
        assert_eq!(lasts("opaque", Duration::ZERO), Ok(None));
    }
}
