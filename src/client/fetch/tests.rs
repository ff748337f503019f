//! What can be asked for, and what people are told.

use http::HeaderName;

use super::*;

type Change = fn(&mut Fetch);

#[test]
fn what_cannot_be_asked_for_is_named_with_its_remedy() {
    let changes: [(Change, &str); 12] = [
        (|it| it.url = "work/1".to_owned(), "url is \"work/1\": it is no URL: write it as https://host:8480/path"),
        (|it| it.url = "ftp://a".to_owned(), "url is \"ftp://a\": it is neither http nor https: "),
        (|it| it.url = "http://me:secret@a/".to_owned(), "url is \"http://***@a/\": it has a user or password in it: "),
        (|it| it.url = "http://a/b c".to_owned(), "url is \"http://a/b c\": it is no URL: "),
        (|it| it.method = Method::CONNECT, "method is \"CONNECT\": "),
        (|it| add(it, "content-length"), "fields is \"content-length\": leave it out: it is made for each request"),
        (|it| add(it, "transfer-encoding"), "fields is \"transfer-encoding\": "),
        (|it| it.deadline = Duration::ZERO, "deadline is \"0ns\": give 1 to 86400 seconds"),
        (
            |it| it.certificate = Some(("a".into(), "b".into())),
            "url is \"http://10.0.0.1/\": begin it with https: there is a client certificate",
        ),
        (
            |it| it.token_file = Some("token".into()),
            "url is \"http://10.0.0.1/\": begin it with https, or the credential could be read on the way (clear_credentials allows that)",
        ),
        (|it| add(it, "authorization"), "url is \"http://10.0.0.1/\": begin it with https, or the credential"),
        (|it| add(it, "cookie"), "url is \"http://10.0.0.1/\": begin it with https, or the credential"),
    ];
    for (change, expected) in changes {
        let mut fetch = Fetch::new("http://10.0.0.1/");
        assert_eq!(fetch.validate(), Ok(()));
        change(&mut fetch);
        let found = fetch.validate().expect_err("it cannot be asked for").to_string();
        assert!(found.starts_with(expected), "{found}");
    }
    for url in ["http://localhost:1/", "http://127.0.0.1/", "https://a/"] {
        let mut fetch = Fetch::new(url);
        add(&mut fetch, "authorization");
        assert_eq!(fetch.validate(), Ok(()), "{url}");
    }
    let mut fetch = Fetch::new("http://a/");
    add(&mut fetch, "cookie");
    fetch.clear_credentials = true;
    assert_eq!(fetch.validate(), Ok(()));
}

fn add(fetch: &mut Fetch, name: &'static str) {
    fetch.fields.insert(HeaderName::from_static(name), HeaderValue::from_static("secret"));
}

#[test]
fn no_credential_is_in_what_debug_prints() {
    let mut fetch = Fetch::new("https://me:secret@a/");
    add(&mut fetch, "authorization");
    add(&mut fetch, "x-key");
    fetch.idempotency_key = Some(HeaderValue::from_static("secret"));
    fetch.body = "secret".into();
    let text = format!("{fetch:?}");
    assert!(!text.contains("secret") && text.contains("x-key") && text.contains("https://***@a/"), "{text}");
}

#[test]
fn a_pause_is_one_line() {
    let pause =
        |cause| Pause { cause, pause: Duration::from_secs(3), left: Duration::from_millis(296_999) }.to_string();
    let progress = |state: Option<&str>, position| Progress { state: state.map(str::to_owned), position };
    for (cause, expected) in [
        (
            Cause::Asked(StatusCode::SEE_OTHER, progress(Some("queued"), Some(4))),
            "303 See Other, queued, position 4: asks again in 3 s, 296 s left",
        ),
        (
            Cause::Asked(StatusCode::ACCEPTED, progress(None, Some(1))),
            "202 Accepted, position 1: asks again in 3 s, 296 s left",
        ),
        (
            Cause::Asked(StatusCode::TOO_MANY_REQUESTS, Progress::default()),
            "429 Too Many Requests: asks again in 3 s, 296 s left",
        ),
        (Cause::Failed("http://a/: gone".to_owned()), "http://a/: gone: asks again in 3 s, 296 s left"),
    ] {
        assert_eq!(pause(cause), expected);
    }
}
