//! Credentials that take time, in paused time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use tokio::time::{Duration, sleep};

use super::*;
use crate::access::tokens::line;
use crate::access::{Known, Unverified, Verified};

/// Knows the tokens that begin with a letter, each for its own name.
#[derive(Debug, Default)]
struct Issuer {
    asked: AtomicUsize,
    says: Mutex<Option<Unverified>>,
    lasts: Option<Duration>,
    holds_for: Option<Duration>,
    has_key: AtomicBool,
    changes: watch::Sender<u64>,
}

#[async_trait]
impl Authenticator for Issuer {
    fn judges(&self, credential: Credential<'_>) -> bool {
        matches!(credential, Credential::Bearer(token) if token.starts_with("slow-"))
    }

    fn challenge(&self) -> Challenge {
        Challenge::Bearer
    }

    async fn verify(&self, credential: Credential<'_>) -> Result<Checked, Unverified> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(10)).await;
        if let Some(unverified) = self.says.lock().expect("whole").clone() {
            return Err(unverified);
        }
        let name = credential.parts().1.to_owned();
        Ok(Checked {
            verified: Verified { name, lasts: self.lasts, ..Verified::default() },
            mark: Some(Mark::Key(issuer::KeyId::default())),
        })
    }

    fn holds_for(&self) -> Option<Duration> {
        self.holds_for
    }

    fn rests_on(&self, _: &Mark) -> bool {
        self.has_key.load(Ordering::Relaxed)
    }

    fn changes(&self) -> BoxStream<'static, ()> {
        let changes = stream::unfold((self.changes.subscribe(), 0), async |(mut changes, seen): (_, u64)| {
            let now = *changes.wait_for(|count| *count > seen).await.ok()?;
            Some(((), (changes, now)))
        });
        changes.boxed()
    }
}

struct Rig {
    issuer: Arc<Issuer>,
    authentication: Arc<Authentication>,
}

impl Rig {
    fn new(issuer: Issuer) -> Self {
        issuer.has_key.store(true, Ordering::Relaxed);
        let issuer = Arc::new(issuer);
        let tokens = Tokens::parse(line("fast", "static", &[]).as_bytes()).expect("tokens");
        let authenticators: Vec<Arc<dyn Authenticator>> = vec![issuer.clone()];
        let schemes =
            Schemes { tokens: Some(tokens), authenticators, certificates: true, clear: false, trusted: Vec::new() };
        let kept = IntGauge::new("a", "b").expect("a name");
        let authentication = Arc::new(Authentication::new(schemes, kept, Arc::default()));
        let maintained = Arc::clone(&authentication);
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(async move { maintained.maintain().await });
        Self { issuer, authentication }
    }

    /// Whether it was known at once, and who it is.
    async fn who(
        &self,
        field: Option<&'static str>,
        certificate: Option<&Certificate>,
    ) -> (bool, Result<Caller, Refusal>) {
        let headers = field.map(|field| (AUTHORIZATION, HeaderValue::from_static(field))).into_iter().collect();
        let peer = Peer { address: ([127, 0, 0, 1], 1).into(), scheme: Scheme::Http, certificate };
        match self.authentication.authenticate(&headers, peer) {
            Answer::Now(caller) => (true, caller),
            Answer::Later(caller) => (false, caller.await),
        }
    }

    async fn known(&self, field: &'static str) -> Arc<Known> {
        match self.who(Some(field), None).await.1 {
            Ok(Caller::Known(known)) => known,
            other => panic!("{other:?}"),
        }
    }

    fn asked(&self) -> usize {
        self.issuer.asked.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_credential_is_judged_and_a_bad_one_is_never_none() {
    let rig = Rig::new(Issuer::default());
    let ends = Instant::now().into_std() + Duration::from_secs(60);
    let certificate = Certificate { owner: Known::new("certified", Box::default()), ends };
    let invalid = |invalid| Err(Refusal::Invalid(invalid));
    for (field, has_certificate, at_once, expected) in [
        (None, false, true, Ok("")),
        (None, true, true, Ok("certified")),
        (Some("Bearer fast"), false, true, Ok("static")),
        (Some("Bearer fast"), true, true, Ok("static")),
        (Some("Bearer slow-a"), true, false, Ok("slow-a")),
        (Some("Bearer slow-a"), false, true, Ok("slow-a")),
        (Some("Bearer other"), true, true, invalid(UNKNOWN)),
        (Some("Basic YTpi"), true, true, invalid(Invalid::Scheme)),
        (Some("Digest x"), true, true, invalid(Invalid::Scheme)),
        (Some("Bearer a b"), true, true, invalid(Invalid::Form)),
    ] {
        let (now, met) = rig.who(field, has_certificate.then_some(&certificate)).await;
        let met = met.map(|caller| match caller {
            Caller::Anonymous => String::new(),
            Caller::Known(known) => known.name().to_owned(),
        });
        assert_eq!(
            (now, met.as_ref().map(|name| &**name)),
            (at_once, expected.as_ref().map(|name| *name)),
            "{field:?}"
        );
    }
    certificate.owner.lose(Loss::Withdrawn);
    assert_eq!(rig.who(None, Some(&certificate)).await.1, Err(Refusal::Withdrawn));
}

#[tokio::test(start_paused = true)]
async fn a_bad_credential_is_judged_once_in_its_time_and_one_that_nobody_can_judge_each_time() {
    let rig = Rig::new(Issuer::default());
    *rig.issuer.says.lock().expect("whole") = Some(Unverified::Invalid("is rubbish"));
    for expected in [false, true, true] {
        let (now, met) = rig.who(Some("Bearer slow-a"), None).await;
        assert_eq!((now, met), (expected, Err(Refusal::Invalid(Invalid::Judged("is rubbish")))));
    }
    assert_eq!(rig.asked(), 1);
    *rig.issuer.says.lock().expect("whole") = Some(Unverified::Unavailable("away".to_owned()));
    for _ in 0..2 {
        assert_eq!(rig.who(Some("Bearer slow-b"), None).await, (false, Err(Refusal::Unavailable)));
    }
    assert_eq!(rig.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_credential_that_ends_is_lost_at_its_end_and_no_later() {
    let rig = Rig::new(Issuer { lasts: Some(Duration::from_secs(60)), ..Issuer::default() });
    let mut withdrawals = rig.authentication.withdrawals();
    let known = rig.known("Bearer slow-a").await;
    let start = Instant::now();
    withdrawals.more_than(0).await;
    assert_eq!((known.lost(), start.elapsed().as_secs()), (Some(Loss::Withdrawn), 60));
    assert_eq!(rig.asked(), 1, "nothing prolongs it");
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_found_out_again_while_it_is_used_and_holds_while_nobody_answers_until_its_end() {
    let rig = Rig::new(Issuer { holds_for: Some(Duration::from_secs(120)), ..Issuer::default() });
    let mut withdrawals = rig.authentication.withdrawals();
    let known = rig.known("Bearer slow-a").await;
    sleep(Duration::from_secs(100)).await;
    assert_eq!((rig.asked(), known.lost()), (2, None));
    *rig.issuer.says.lock().expect("whole") = Some(Unverified::Unavailable("away".to_owned()));
    sleep(Duration::from_secs(100)).await;
    assert_eq!((rig.who(Some("Bearer slow-a"), None).await.0, known.lost()), (true, None), "what is kept holds");
    assert_eq!(rig.who(Some("Bearer slow-b"), None).await.1, Err(Refusal::Unavailable), "nothing new is let in");
    withdrawals.more_than(0).await;
    assert_eq!(known.lost(), Some(Loss::Unconfirmed));
}

#[tokio::test(start_paused = true)]
async fn what_rests_on_a_key_is_withdrawn_with_it() {
    let issuer = Issuer::default();
    let rig = Rig::new(issuer);
    let mut withdrawals = rig.authentication.withdrawals();
    let known = rig.known("Bearer slow-a").await;
    rig.issuer.changes.send_replace(1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(known.lost(), None, "the key is there");
    rig.issuer.has_key.store(false, Ordering::Relaxed);
    rig.issuer.changes.send_replace(2);
    withdrawals.more_than(0).await;
    assert_eq!(known.lost(), Some(Loss::Withdrawn));
}

#[test]
fn nothing_shows_a_credential() {
    let basis =
        Basis { by: 0, peer: [192, 0, 2, 1].into(), mark: None, credential: (Challenge::Bearer, "s3cr3t".into()) };
    assert!(!format!("{basis:?}").contains("s3cr3t"));
}
