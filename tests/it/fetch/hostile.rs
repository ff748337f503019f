//! Servers that send what no sane one does: it ends in time, with a reason on one line, and nothing half stands for a whole.

use std::fs;
use std::time::Instant;

use super::*;

/// Runs it, with a deadline of some seconds that none of these needs.
async fn ends(arguments: &[&str]) -> (Option<i32>, String, String) {
    let began = Instant::now();
    let ended = parts(&fetch(&[&["--deadline=20s"], arguments].concat()).await);
    assert!(began.elapsed() < SECOND * 15, "{arguments:?} took {:?}", began.elapsed());
    assert!(!ended.2.contains(|c: char| c.is_control() && c != '\n'), "{:?}", ended.2);
    ended
}

#[tokio::test]
async fn redirects_without_an_end_have_one() {
    let server = Work::start(|asked, before| match asked.target.as_str() {
        "/loop" => says(303, &[("location", "/loop")], ""),
        "/pair" => says(307, &[("location", "/riap")], ""),
        "/riap" => says(308, &[("location", "/pair")], ""),
        _ => says(302, &[("location", &format!("/many?{before}"))], ""),
    })
    .await;
    for target in ["/loop", "/pair", "/many"] {
        let before = server.asked().len();
        let (code, out, err) = ends(&[&server.url(target)]).await;
        assert_eq!((code, &*out), (Some(1), ""));
        assert!(err.contains("it is the end of 20 redirects in a row of which none has Retry-After"), "{err}");
        assert_eq!(server.asked().len() - before, 21, "{target}");
    }
}

#[tokio::test]
async fn times_that_no_server_means_are_not_waited_for() {
    let server = Work::start(|asked, _| {
        let wait = asked.target.trim_start_matches("/?").replace("%20", " ");
        says(503, &[("retry-after", &wait)], "busy")
    })
    .await;
    for (wait, code) in [
        ("21", 4),
        ("99999999999999999999999999999", 4),
        ("Fri,%2031%20Dec%209999%2023:59:59%20GMT", 4),
        ("-1", 3),
        ("1e9", 3),
        ("garbage", 3),
    ] {
        let before = server.asked().len();
        let (ended, _, err) = ends(&[&server.url(&format!("/?{wait}"))]).await;
        assert_eq!((ended, server.asked().len() - before), (Some(code), 1), "{wait}: {err}");
        assert_eq!(err.lines().count(), 1, "{err}");
    }
    // A date that has passed, or is now, by the clock of the server.
    let past = Work::start(|_, before| match before {
        0 => says(303, &[("location", "/x"), ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")], ""),
        _ => says(200, &[], "done"),
    })
    .await;
    assert_eq!(ends(&["--quiet", &past.url("/")]).await, (Some(0), "done".to_owned(), String::new()));
}

#[tokio::test]
async fn a_location_that_leads_nowhere_is_named() {
    let places = [
        ("ftp://a/b", "\"ftp://a/b\", which is neither http nor https"),
        ("http://me:secret@127.0.0.1/", "\"http://***@127.0.0.1/\", which has a user or password in it"),
        ("http://[::1", "\"http://[::1\", which is no URL"),
        ("/a b", "\"/a b\", which is no URL"),
        ("http://127.0.0.1:0/", "\"http://127.0.0.1:0/\", which has no port between 1 and 65535"),
    ];
    for (place, expected) in places {
        let server = Work::start(move |_, _| says(303, &[("location", place), ("retry-after", "0")], "")).await;
        let (code, _, err) = ends(&[&server.url("/")]).await;
        assert_eq!(code, Some(1));
        assert_eq!(err, format!("tidewait: {}: the 303 has the Location {expected}\n", server.url("/")));
    }
}

#[tokio::test]
async fn what_the_server_writes_drives_no_terminal() {
    let server = Work::start(|_, before| match before {
        0 => {
            let body = r#"{"state":"\u001b[2J\r\nFAKE: \u202e","position":18446744073709551615}"#;
            says(202, &[("location", "/x"), ("retry-after", "0")], body)
        }
        _ => says(200, &[], "done"),
    })
    .await;
    let (code, _, err) = ends(&[&server.url("/")]).await;
    assert_eq!((code, err.lines().count()), (Some(0), 1), "{err}");
    let expected = "tidewait: 202 Accepted, \\u{1b}[2J\\r\\nFAKE: \\u{202e}, position 18446744073709551615: ";
    assert!(err.starts_with(expected), "{err}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_success() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result");
    fs::write(&file, "old").expect("a file");
    let path = file.to_str().expect("UTF-8");
    for (head, body) in [
        ("Content-Length: 10\r\n", "half"),
        ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\n"),
        ("Transfer-Encoding: chunked\r\n", "4\r\nhalf\r\nzzz\r\n"),
    ] {
        let server = Raw::start(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}").into(), false).await;
        let (code, out, err) = ends(&["-d", "x", &server.url]).await;
        assert_eq!((code, &*out), (Some(1), "half"), "{err}");
        assert!(err.starts_with(&format!("tidewait: {}: the body broke off after 4 bytes (", server.url)), "{err}");
        let (code, out, _) = ends(&["-o", path, &server.url]).await;
        assert_eq!((code, &*out), (Some(1), ""));
        assert_eq!(fs::read_to_string(&file).expect("a file"), "old");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
}

#[tokio::test]
async fn what_is_no_answer_is_told_and_not_asked_for_again() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1024 * 1024));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(10_000));
    for bytes in ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 999999 X\r\n\r\n", "\0\0\0\0\0\0\0\0\0\0\r\n\r\n", &long, &many] {
        let server = Raw::start(bytes.into(), true).await;
        let (code, out, err) = ends(&[&server.url]).await;
        assert_eq!((code, &*out, server.requests()), (Some(1), "", 1), "{err}");
        assert!(err.contains("the answer is no HTTP/1.1, or its head is too large ("), "{err}");
        assert!(err.lines().count() == 1 && err.len() < 1000, "{err}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_has_until_the_deadline() {
    let silent = async |bytes: &str| {
        let server = Raw::start(bytes.into(), true).await;
        let began = Instant::now();
        let (code, _, err) = parts(&fetch(&["--deadline=3s", &server.url]).await);
        assert_eq!((code, server.requests()), (Some(4), 1), "{bytes:?}: {err}");
        assert!(began.elapsed() >= SECOND * 3 && err.lines().count() == 1, "{err}");
    };
    tokio::join!(
        silent(""),
        silent("HTTP/1.1 200 OK\r\nX: "),
        silent("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
        silent("HTTP/1.1 100 Continue\r\n\r\n"),
    );
}

#[tokio::test]
async fn a_connection_that_ends_is_made_again_where_nothing_is_done_twice() {
    let server = Raw::start(Vec::new(), false).await;
    let (code, _, err) = ends(&["-d", "x", &server.url]).await;
    assert_eq!((code, server.requests()), (Some(1), 1));
    assert!(err.contains("the work may have begun, so it is not asked for again"), "{err}");
    for more in [&["--quiet"][..], &["-d", "x", "--idempotency-key=k"]] {
        let server = Raw::start(Vec::new(), false).await;
        let (code, _, err) = parts(&fetch(&[more, &["--deadline=3s", &server.url]].concat()).await);
        assert_eq!(code, Some(4), "{err}");
        assert!(server.requests() >= 2, "{} requests", server.requests());
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let began = Instant::now();
    let (code, _, err) = ends(&[&format!("http://{gone}/")]).await;
    assert_eq!(code, Some(1));
    assert!(err.contains("Connection refused") && began.elapsed() < SECOND * 5, "{err}");
}
