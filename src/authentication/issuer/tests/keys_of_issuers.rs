//! Keys that issuers publish, and how they come here.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::super::follow::Follower;
use super::*;
use crate::bounds::{ISSUER_FETCH_PAUSE, ISSUER_KEY_WAIT, ISSUER_KEYS, ISSUER_REFRESH, ISSUER_WAITING};

fn parse(keys: &[Value]) -> Arc<Keys> {
    Keys::parse(json!({"keys": keys}).to_string().as_bytes()).expect("a set")
}

#[test]
fn keys_that_cannot_verify_tokens_safely_are_left_out() {
    let ec = Signer::new(Algorithm::Es256, "a").jwk();
    let rsa = Signer::new(Algorithm::Rs256, "a").jwk();
    let weak = json!({"n": encode(&[0xff; 128])});
    let short = json!({"n": encode(&[&[0x7f][..], &[0xff; 255]].concat())});
    for (key, expected) in [
        (ec.clone(), true),
        (with(ec.clone(), &json!({"kid": null, "alg": null, "use": null, "x5c": ["x"]})), true),
        (with(ec.clone(), &json!({"key_ops": ["verify"]})), true),
        (with(rsa.clone(), &json!({"alg": "PS512"})), true),
        (with(ec.clone(), &json!({"use": "enc"})), false),
        (with(ec.clone(), &json!({"use": 1})), false),
        (with(ec.clone(), &json!({"kid": 1})), false),
        (with(ec.clone(), &json!({"key_ops": ["encrypt"]})), false),
        (with(ec.clone(), &json!({"key_ops": "verify"})), false),
        (with(ec.clone(), &json!({"alg": "ES384"})), false),
        (with(ec.clone(), &json!({"alg": "ECDH-ES"})), false),
        (with(ec.clone(), &json!({"crv": "P-521"})), false),
        (with(ec.clone(), &json!({"x": encode(&[1; 31])})), false),
        (with(ec.clone(), &json!({"x": "+"})), false),
        (with(rsa.clone(), &weak), false),
        (with(rsa.clone(), &short), false),
        (with(rsa.clone(), &json!({"n": "", "alg": null})), false),
        (with(rsa.clone(), &json!({"alg": "ES256"})), false),
        (json!({"kty": "oct", "k": encode(b"secret"), "alg": "HS256", "kid": "a"}), false),
        (json!({"kty": "oct", "k": encode(b"secret")}), false),
        (json!({"kty": "OKP", "crv": "Ed448", "x": encode(&[1; 57])}), false),
        (json!({}), false),
        (json!("key"), false),
    ] {
        let keys = parse(std::slice::from_ref(&key));
        assert_eq!((keys.len(), keys.left_out()), if expected { (1, 0) } else { (0, 1) }, "{key}");
    }
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[]}{}"#] {
        assert_eq!(Keys::parse(text.as_bytes()).expect_err(text), InvalidKeys::Form);
    }
    let many = json!({"keys": vec![json!({}); ISSUER_KEYS + 1]}).to_string();
    assert_eq!(Keys::parse(many.as_bytes()).expect_err("too many"), InvalidKeys::TooMany);
}

/// The first of two with one name stays, and a key is another one as soon as anything of it changes.
#[test]
fn a_key_is_known_by_its_name_and_its_material() {
    let (one, other) = (Signer::new(Algorithm::Es256, "a"), Signer::new(Algorithm::Es256, "a"));
    let keys = parse(&[one.jwk(), other.jwk(), one.jwk()]);
    assert_eq!((keys.len(), keys.left_out()), (1, 2));
    let issuer = issuer(config(), &[one.jwk()]);
    let checked = check(&issuer, &one.token(&claims())).expect("it is good");
    assert!(keys.has(&checked.key));
    for others in [json!({"kid": "b"}), json!({"alg": null})] {
        assert!(!parse(&[with(one.jwk(), &others)]).has(&checked.key), "{others}");
    }
    assert!(!parse(&[other.jwk()]).has(&checked.key));
    assert!(parse(&[with(one.jwk(), &json!({"x5t": "x"}))]).has(&checked.key));
    // The same keys, or what is no set, change nothing; a set without the key withdraws it.
    let seen = issuer.keys();
    issuer.replace_keys(json!({"keys": [one.jwk()]}).to_string().as_bytes()).expect("a set");
    assert_eq!(issuer.replace_keys(b"{}"), Err(InvalidKeys::Form));
    assert!(!seen.has_changed().expect("it is there"));
    assert!(issuer.keys().borrow().as_ref().expect("keys").has(&checked.key));
    issuer.replace_keys(br#"{"keys":[]}"#).expect("a set");
    assert!(!issuer.keys().borrow().as_ref().expect("keys").has(&checked.key));
}

/// An issuer that publishes what it is told to, in paused time.
struct Published {
    keys: RefCell<Result<Arc<Keys>, String>>,
    /// Whether it answers, or lets who asks wait.
    answers: watch::Sender<bool>,
    fetches: RefCell<Vec<Instant>>,
    /// Another one has begun.
    fetched: Notify,
    follower: Follower,
}

impl Published {
    fn new(keys: Result<Arc<Keys>, String>) -> Self {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
        Self {
            keys: RefCell::new(keys),
            answers: watch::Sender::new(true),
            fetches: RefCell::default(),
            fetched: Notify::new(),
            follower: Follower::new(true, metrics.of(URL)),
        }
    }

    /// Runs `test` while keys are fetched.
    async fn during(&self, test: impl Future<Output = ()>) {
        let fetch = || async {
            self.fetches.borrow_mut().push(Instant::now());
            self.fetched.notify_one();
            // The sender is the test's own.
            let _ = self.answers.subscribe().wait_for(|answers| *answers).await;
            self.keys.borrow().clone()
        };
        tokio::select! {
            () = self.follower.run(fetch, URL) => panic!("it never ends"),
            () = test => {}
        }
    }

    async fn ask(&self, name: &str) -> Result<bool, Unverified> {
        let is_known = |keys: &Keys| !matches!(keys.find(Some(name), Algorithm::EdDsa), Found::None);
        self.follower.keys_that(is_known).await.map(|keys| is_known(&keys))
    }

    fn fetches(&self) -> usize {
        self.fetches.borrow().len()
    }

    /// Waits until so many fetches have begun.
    async fn until_fetches(&self, count: usize) {
        while self.fetches() < count {
            self.fetched.notified().await;
        }
    }

    /// Waits until keys are there.
    async fn until_held(&self) {
        self.follower.keys().wait_for(Option::is_some).await.expect("the follower is there");
    }

    /// Waits until the next fetch may begin as soon as it is asked for.
    async fn until_another_may(&self) {
        self.until_fetches(1).await;
        let last = *self.fetches.borrow().last().expect("one has begun");
        tokio::time::sleep_until(last + ISSUER_FETCH_PAUSE).await;
    }
}

fn named(name: &'static str) -> Arc<Keys> {
    parse(&[Signer::new(Algorithm::EdDsa, name).jwk()])
}

fn why(unverified: Result<bool, Unverified>) -> String {
    match unverified {
        Err(Unverified::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn keys_are_there_with_the_first_fetch_and_fetched_again_every_few_minutes() {
    let issuer = Published::new(Ok(named("a")));
    issuer.answers.send_replace(false);
    issuer
        .during(async {
            let mut asked = Box::pin(issuer.ask("a"));
            assert!(futures::poll!(&mut asked).is_pending(), "who comes before the first fetch waits for it");
            issuer.answers.send_replace(true);
            assert_eq!(asked.await, Ok(true));
            // Who has waited has asked for one more.
            issuer.until_fetches(2).await;
            let (before, begin) = (issuer.fetches(), Instant::now());
            issuer.until_fetches(before + 3).await;
            let took = begin.elapsed().div_duration_f64(ISSUER_REFRESH);
            assert!((2.5..=3.5).contains(&took), "{:?}", issuer.fetches);
            assert_eq!(issuer.ask("a").await, Ok(true));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_fetched_once_for_all_who_wait_and_not_more_often_than_every_ten_seconds() {
    let issuer = Published::new(Ok(named("a")));
    issuer
        .during(async {
            issuer.until_another_may().await;
            *issuer.keys.borrow_mut() = Ok(named("b"));
            let asked = futures::future::join_all((0..100).map(|_| issuer.ask("b"))).await;
            assert!(asked.iter().all(|known| *known == Ok(true)), "{asked:?}");
            assert_eq!(issuer.fetches(), 2);
            assert_eq!(issuer.ask("a").now_or_never(), None, "it is withdrawn, and asked about");
            // A flood of names that do not exist.
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_secs(100) {
                let _ = issuer.ask("c").await;
            }
            let fetches = issuer.fetches.borrow();
            assert!(fetches.windows(2).all(|two| two[1] - two[0] >= ISSUER_FETCH_PAUSE), "{fetches:?}");
            assert!((10..=13).contains(&fetches.len()), "{fetches:?}");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_an_unknown_key_learns_that_it_does_not_exist_or_that_it_is_not_known_yet() {
    let issuer = Published::new(Ok(named("a")));
    issuer
        .during(async {
            issuer.until_another_may().await;
            assert_eq!(issuer.ask("b").await, Ok(false), "a fetch that began after it was asked has shown it");
            // The next fetch may not begin yet, and the issuer has published the key since the last.
            *issuer.keys.borrow_mut() =
                Ok(parse(&[Signer::new(Algorithm::EdDsa, "a").jwk(), Signer::new(Algorithm::EdDsa, "c").jwk()]));
            let begin = Instant::now();
            let (known, unknown) = tokio::join!(issuer.ask("c"), issuer.ask("b"));
            assert_eq!((known, unknown), (Ok(true), Ok(false)), "who asks meanwhile waits for it");
            assert_eq!(begin.elapsed(), ISSUER_FETCH_PAUSE);
            issuer.answers.send_replace(false);
            let begin = Instant::now();
            assert_eq!(why(issuer.ask("b").await), "the issuer has not given its keys within 12s");
            assert_eq!(begin.elapsed(), ISSUER_KEY_WAIT);
            let waiting: Vec<_> = (0..ISSUER_WAITING).map(|_| Box::pin(issuer.ask("b"))).collect();
            let mut waiting = futures::future::join_all(waiting);
            assert!(futures::poll!(&mut waiting).is_pending());
            assert!(why(issuer.ask("b").await).starts_with("too many tokens"));
            assert_eq!(issuer.ask("a").await, Ok(true), "others do not wait");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_away_keeps_its_keys_and_one_that_never_was_there_is_unavailable() {
    let issuer = Published::new(Err("it is away".to_owned()));
    issuer
        .during(async {
            let begin = Instant::now();
            issuer.until_fetches(5).await;
            assert!(begin.elapsed() < Duration::from_secs(100), "{:?}", issuer.fetches);
            issuer.until_fetches(11).await;
            assert!(begin.elapsed() > Duration::from_secs(100), "pauses grow: {:?}", issuer.fetches);
            assert_eq!(issuer.ask("a").now_or_never().map(why).as_deref(), Some("it is away"));
            *issuer.keys.borrow_mut() = Ok(named("a"));
            let begin = Instant::now();
            issuer.until_held().await;
            assert!(begin.elapsed() <= Duration::from_secs(60), "the longest pause");
            assert_eq!(issuer.ask("a").now_or_never(), Some(Ok(true)));
            *issuer.keys.borrow_mut() = Err("it is away again".to_owned());
            let begin = Instant::now();
            while begin.elapsed() < ISSUER_REFRESH * 10 {
                issuer.until_fetches(issuer.fetches() + 1).await;
            }
            assert_eq!(issuer.ask("a").now_or_never(), Some(Ok(true)));
            // As soon as it may be asked about another key: by itself it is asked after at least 30 s.
            issuer.until_another_may().await;
            assert_eq!(why(issuer.ask("b").await), "it is away again");
        })
        .await;
}

/// Runs `test` while an issuer publishes these keys, each fetch those of then; gives how often it was asked.
async fn serving(issuer: &Issuer, keys: &RefCell<Arc<Keys>>, test: impl Future<Output = ()>) -> usize {
    let fetches = Cell::new(0);
    let fetch = || async {
        fetches.set(fetches.get() + 1);
        Ok(Arc::clone(&keys.borrow()))
    };
    tokio::select! {
        () = issuer.follower.run(fetch, URL) => panic!("it never ends"),
        () = test => {}
    }
    fetches.get()
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_replaced_under_its_name_is_fetched_as_an_unknown_one_is() {
    let [one, other, forger] = [(); 3].map(|()| Signer::new(Algorithm::EdDsa, "a"));
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("metrics");
    let issuer = Issuer::new(IssuerConfig { keys: KeySource::Discovery, ..config() }, &metrics);
    let published = RefCell::new(parse(&[one.jwk()]));
    let fetches = serving(&issuer, &published, async {
        issuer.keys().wait_for(Option::is_some).await.expect("the follower is there");
        assert!(check(&issuer, &one.token(&claims())).is_ok(), "without a fetch");
        *published.borrow_mut() = parse(&[other.jwk()]);
        let token = other.token(&claims());
        let checked = issuer.check(&token).await.expect("the key is there now");
        assert!(issuer.keys().borrow().as_ref().expect("keys").has(&checked.key));
        // A flood of bad signatures: each waits for one fetch, and all for the same.
        let begin = Instant::now();
        let token = forger.token(&claims());
        for _ in 0..3 {
            let all = futures::future::join_all((0..100).map(|_| issuer.check(&token))).await;
            for checked in all {
                let Err(Unverified::Invalid(why)) = checked else { panic!("{checked:?}") };
                assert!(why.starts_with("has a wrong signature"), "{why}");
            }
        }
        assert_eq!(begin.elapsed(), 3 * ISSUER_FETCH_PAUSE);
        assert!(check(&issuer, &other.token(&claims())).is_ok(), "others do not wait");
    });
    assert_eq!(fetches.await, 5);
}
