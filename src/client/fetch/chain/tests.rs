//! What becomes of answers, case by case.

use http::HeaderValue;

use super::*;

const HERE: &str = "http://a/start?x";

fn at(left: u64) -> At {
    At { now: Duration::ZERO, left: Duration::from_secs(left), random: 0.5 }
}

fn chain(method: Method) -> Chain {
    Chain::new(Target::parse(HERE).expect("a URL"), method, false)
}

fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
    };
    lines.iter().map(pair).collect()
}

fn answer(chain: &mut Chain, status: u16, lines: &[(&'static str, &str)], at: At) -> Result<Next, FetchError> {
    let status = StatusCode::from_u16(status).expect("a status");
    chain.answered(&Head { status, fields: &fields(lines) }, at)
}

const MILLIS: fn(u64) -> Next = |millis| Next::After(Duration::from_millis(millis));
const LOCATION: (&str, &str) = ("location", "/work/1");

/// The method, the answer, and what comes of it: the pause, the next request, and whether that has the body.
type Case = (Method, u16, &'static [(&'static str, &'static str)], Next, &'static str, bool);

#[test]
fn each_status_leads_to_the_next_request_or_is_the_last_one() {
    const RETRY: (&str, &str) = ("retry-after", "3");
    const OPERATION: (&str, &str) = ("operation-location", "/operation/1");
    const NONE: &[(&str, &str)] = &[];
    let (get, post, put, head) = (Method::GET, Method::POST, Method::PUT, Method::HEAD);
    let cases: [Case; 41] = [
        // 303: with GET, after the time that is asked for.
        (post.clone(), 303, &[LOCATION, RETRY], MILLIS(3000), "GET http://a/work/1", false),
        (post.clone(), 303, &[LOCATION], MILLIS(0), "GET http://a/work/1", false),
        (put.clone(), 303, &[LOCATION, RETRY], MILLIS(3000), "GET http://a/work/1", false),
        (get.clone(), 303, &[LOCATION, RETRY], MILLIS(3000), "GET http://a/work/1", false),
        (head.clone(), 303, &[LOCATION, RETRY], MILLIS(3000), "HEAD http://a/work/1", false),
        (post.clone(), 303, &[LOCATION, ("retry-after", "0")], MILLIS(500), "GET http://a/work/1", false),
        (post.clone(), 303, &[LOCATION, ("retry-after", "soon")], MILLIS(0), "GET http://a/work/1", false),
        (post.clone(), 303, &[LOCATION, ("retry-after", "-5")], MILLIS(0), "GET http://a/work/1", false),
        (post.clone(), 303, &[RETRY], Next::Last, "POST http://a/start?x", true),
        (post.clone(), 303, &[OPERATION], Next::Last, "POST http://a/start?x", true),
        (post.clone(), 303, &[("location", ""), RETRY], MILLIS(3000), "GET http://a/start?x", false),
        // 301 and 302 make a GET of a POST, and of nothing else; 307 and 308 of nothing.
        (post.clone(), 301, &[LOCATION], MILLIS(0), "GET http://a/work/1", false),
        (post.clone(), 302, &[LOCATION, RETRY], MILLIS(3000), "GET http://a/work/1", false),
        (put.clone(), 301, &[LOCATION], MILLIS(0), "PUT http://a/work/1", true),
        (put.clone(), 302, &[LOCATION], MILLIS(0), "PUT http://a/work/1", true),
        (get.clone(), 302, &[LOCATION], MILLIS(0), "GET http://a/work/1", true),
        (post.clone(), 307, &[LOCATION], MILLIS(0), "POST http://a/work/1", true),
        (post.clone(), 308, &[LOCATION, RETRY], MILLIS(3000), "POST http://a/work/1", true),
        (head.clone(), 307, &[LOCATION], MILLIS(0), "HEAD http://a/work/1", true),
        // Other 3xx lead nowhere.
        (get.clone(), 300, &[LOCATION], Next::Last, "GET http://a/start?x", true),
        (get.clone(), 304, &[LOCATION, RETRY], Next::Last, "GET http://a/start?x", true),
        (get.clone(), 305, &[LOCATION], Next::Last, "GET http://a/start?x", true),
        // 202 with a place to look at.
        (post.clone(), 202, &[LOCATION, RETRY], MILLIS(3000), "GET http://a/work/1", false),
        (post.clone(), 202, &[LOCATION, OPERATION, RETRY], MILLIS(3000), "GET http://a/work/1", false),
        (post.clone(), 202, &[OPERATION, RETRY], MILLIS(3000), "GET http://a/operation/1", false),
        (post.clone(), 202, &[LOCATION], MILLIS(1000), "GET http://a/work/1", false),
        (head.clone(), 202, &[LOCATION], MILLIS(1000), "HEAD http://a/work/1", false),
        (post.clone(), 202, NONE, Next::Last, "POST http://a/start?x", true),
        // It would begin the work once more.
        (post.clone(), 202, &[RETRY], Next::Last, "POST http://a/start?x", true),
        (put.clone(), 202, &[RETRY], Next::Last, "PUT http://a/start?x", true),
        (get.clone(), 202, &[RETRY], MILLIS(3000), "GET http://a/start?x", false),
        (get.clone(), 202, NONE, Next::Last, "GET http://a/start?x", true),
        // The same request again, a little later than it is asked for.
        (post.clone(), 429, &[RETRY], MILLIS(3150), "POST http://a/start?x", true),
        (post.clone(), 503, &[RETRY, LOCATION], MILLIS(3150), "POST http://a/start?x", true),
        (get.clone(), 503, &[("retry-after", "0")], MILLIS(525), "GET http://a/start?x", true),
        (get.clone(), 503, NONE, Next::Last, "GET http://a/start?x", true),
        (get.clone(), 429, &[("retry-after", "-1")], Next::Last, "GET http://a/start?x", true),
        // These are what was asked for.
        (post.clone(), 200, &[LOCATION, RETRY], Next::Last, "POST http://a/start?x", true),
        (post.clone(), 201, &[LOCATION, RETRY], Next::Last, "POST http://a/start?x", true),
        (get.clone(), 404, &[LOCATION, RETRY], Next::Last, "GET http://a/start?x", true),
        (get, 502, &[RETRY], Next::Last, "GET http://a/start?x", true),
    ];
    for (method, status, lines, next, request, is_original) in cases {
        let mut chain = chain(method.clone());
        let case = format!("{method} {status} {lines:?}");
        assert_eq!(answer(&mut chain, status, lines, at(300)), Ok(next), "{case}");
        let step = chain.step();
        assert_eq!(format!("{} {}", step.method, step.target), request, "{case}");
        assert_eq!((step.is_original, step.is_home), (is_original, true), "{case}");
    }
}

#[test]
fn work_is_looked_at_again_and_again_and_less_often_where_nothing_says_when() {
    let mut chain = chain(Method::POST);
    assert_eq!(answer(&mut chain, 303, &[LOCATION, ("retry-after", "1")], at(300)), Ok(MILLIS(1000)));
    for expected in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(answer(&mut chain, 202, &[], at(300)), Ok(MILLIS(expected * 1000)));
        assert_eq!(chain.step().target.to_string(), "http://a/work/1");
    }
    assert_eq!(answer(&mut chain, 202, &[], at(9)), Ok(MILLIS(8500)), "once more before the deadline");
    assert_eq!(answer(&mut chain, 202, &[("retry-after", "2")], at(300)), Ok(MILLIS(2000)));
    assert_eq!(answer(&mut chain, 202, &[], at(300)), Ok(MILLIS(1000)), "it says when, at times");
}

#[test]
fn redirects_are_counted_unless_they_ask_to_wait() {
    let mut chain = chain(Method::GET);
    for n in 0..1000 {
        let location = format!("/work/1?n={n}");
        let lines = [("location", &*location), ("retry-after", "0")];
        assert_eq!(answer(&mut chain, 303, &lines, at(300)), Ok(MILLIS(500)));
    }
    for _ in 0..FETCH_REDIRECTS {
        assert_eq!(answer(&mut chain, 303, &[LOCATION], at(300)), Ok(MILLIS(0)));
    }
    assert!(answer(&mut chain, 303, &[LOCATION, ("retry-after", "1")], at(300)).is_ok());
    for _ in 0..FETCH_REDIRECTS {
        assert_eq!(answer(&mut chain, 307, &[LOCATION], at(300)), Ok(MILLIS(0)), "they count anew");
    }
    let FetchError::Redirects(text) = answer(&mut chain, 302, &[LOCATION], at(300)).expect_err("it is a loop") else {
        panic!("redirects")
    };
    assert!(text.starts_with("http://a/work/1: it is the end of 20 redirects in a row"), "{text}");
}

#[test]
fn what_is_asked_for_beyond_the_deadline_is_not_waited_for() {
    for (status, retry_after) in [
        (303, "300"),
        (202, "301"),
        (429, "300"),
        (503, "99999999999999999999999"),
        (303, "99999999999999999999999"),
        (503, "Fri, 31 Dec 9999 23:59:59 GMT"),
    ] {
        let ended = answer(&mut chain(Method::GET), status, &[LOCATION, ("retry-after", retry_after)], at(300));
        let Err(FetchError::Deadline(text)) = ended else { panic!("{status} {retry_after}: {ended:?}") };
        assert!(text.ends_with("300 s of the deadline are left: give it more time"), "{text}");
    }
    let late = At { random: 0.999, ..at(300) };
    let waits = answer(&mut chain(Method::GET), 503, &[("retry-after", "299")], late);
    assert_eq!(waits, Ok(MILLIS(299_500)), "what is added does not go beyond it");
    assert!(answer(&mut chain(Method::POST), 202, &[LOCATION], at(0)).is_err(), "none is left");
}

#[test]
fn credentials_stay_with_the_origin_and_do_not_come_back() {
    for (location, is_home) in [
        ("/work", true),
        ("http://A:80/work", true),
        ("http://b/work", false),
        ("http://a:8080/work", false),
        ("https://a/work", false),
        ("//a.b/work", false),
    ] {
        let mut chain = chain(Method::GET);
        answer(&mut chain, 307, &[("location", location)], at(300)).expect("it leads on");
        assert_eq!(chain.step().is_home, is_home, "{location}");
        if !is_home && !location.starts_with("https") {
            answer(&mut chain, 307, &[("location", HERE)], at(300)).expect("it leads back");
            assert!(!chain.step().is_home, "another origin has chosen what is asked for: {location}");
        }
    }
}

#[test]
fn a_location_that_leads_nowhere_is_named() {
    for (location, expected) in [
        ("http://me:secret@a/", "\"http://***@a/\", which has a user or password in it"),
        ("ftp://a/", "\"ftp://a/\", which is neither http nor https"),
        ("/a b\u{e9}", "\"/a b\u{e9}\", which is no URL"),
        ("http://[", "\"http://[\", which is no URL"),
    ] {
        for (status, name) in [(303, "location"), (202, "location"), (202, "operation-location")] {
            let ended = answer(&mut chain(Method::GET), status, &[(name, location)], at(300));
            let Err(FetchError::Location(text)) = ended else { panic!("{location}: {ended:?}") };
            let name = if name == "location" { "Location" } else { "Operation-Location" };
            assert_eq!(text, format!("{HERE}: the {status} has the {name} {expected}"));
        }
    }
    let secure = Chain::new(Target::parse("https://a/").expect("a URL"), Method::GET, false);
    let mut secure = secure;
    let down = answer(&mut secure, 303, &[("location", "http://a/"), ("retry-after", "1")], at(300));
    assert!(down.is_err_and(|error| error.to_string().contains("which leads from https to http")));
}

fn broken(how: How) -> Broken {
    Broken { how, text: "http://a/: gone".to_owned() }
}

#[test]
fn a_first_connection_that_fails_is_told_at_once_and_a_later_one_is_tried_again() {
    for method in [Method::GET, Method::POST] {
        let mut chain = chain(method);
        let refused = chain.broke(&broken(How::Unsent), at(300));
        assert_eq!(refused, Err(FetchError::Unreachable("http://a/: gone".to_owned())));
        answer(&mut chain, 503, &[("retry-after", "1")], at(300)).expect("it asks to come back");
        for ceiling in [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000] {
            let pause = chain.broke(&broken(How::Unsent), at(300));
            assert_eq!(pause, Ok(Duration::from_millis(ceiling / 2)), "nothing of it was written");
        }
        answer(&mut chain, 503, &[("retry-after", "1")], at(300)).expect("it asks to come back");
        assert_eq!(chain.broke(&broken(How::Unsent), at(300)), Ok(Duration::from_millis(400)), "anew");
        let never = At { random: 0.0, ..at(300) };
        assert_eq!(chain.broke(&broken(How::Unsent), never), Ok(CLIENT_BACKOFF_LEAST));
    }
}

#[test]
fn what_may_have_begun_is_sent_again_only_where_that_does_it_once() {
    for (method, has_key, is_again) in [
        (Method::GET, false, true),
        (Method::HEAD, false, true),
        (Method::PUT, false, true),
        (Method::DELETE, false, true),
        (Method::POST, false, false),
        (Method::PATCH, false, false),
        (Method::POST, true, true),
        (Method::PATCH, true, true),
    ] {
        let mut chain = Chain::new(Target::parse(HERE).expect("a URL"), method.clone(), has_key);
        let pause = chain.broke(&broken(How::Sent), at(300));
        assert_eq!(pause.is_ok(), is_again, "{method} {has_key}");
        match pause {
            Ok(_) => assert!(chain.broke(&broken(How::Unsent), at(300)).is_ok(), "the server was there"),
            Err(FetchError::MayHaveBegun(text)) => assert!(text.contains("the work may have begun"), "{text}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    let mut chain = chain(Method::POST);
    answer(&mut chain, 303, &[LOCATION], at(300)).expect("it leads on");
    assert!(chain.broke(&broken(How::Sent), at(300)).is_ok(), "it only looks");
    let malformed = chain.broke(&broken(How::Malformed), at(300));
    assert_eq!(malformed, Err(FetchError::Malformed("http://a/: gone".to_owned())), "never again");
    let malformed = self::chain(Method::POST).broke(&broken(How::Malformed), at(300));
    assert!(malformed.is_err_and(|error| error.to_string().ends_with("; the work may have begun")));
}

#[test]
fn attempts_end_with_the_deadline_and_not_before() {
    let mut chain = chain(Method::GET);
    for _ in 0..20 {
        let pause = chain.broke(&broken(How::Sent), at(4)).expect("there is time");
        assert!(pause <= Duration::from_secs(2), "{pause:?}");
    }
    let ended = chain.broke(&broken(How::Sent), at(0));
    assert_eq!(ended, Err(FetchError::Deadline("http://a/: gone; the deadline is over".to_owned())));
}

#[test]
fn times_are_for_people() {
    for (millis, expected) in [
        (0, "0 s"),
        (500, "0.5 s"),
        (1000, "1 s"),
        (1049, "1 s"),
        (1260, "1.3 s"),
        (9951, "10.0 s"),
        (10_999, "10 s"),
        (300_000, "300 s"),
    ] {
        assert_eq!(seconds(Duration::from_millis(millis)), expected);
    }
}
