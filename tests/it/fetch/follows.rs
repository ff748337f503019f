//! Work that takes long: 303, 202, 429 and 503 until it is done, and where the answer goes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use tidewait::client::fetch::Fetch;

use super::*;

/// The server of seed: a POST starts the work, which is done at the third look.
fn seed(asked: &Asked, before: usize) -> Response<Full<Bytes>> {
    match (&*asked.line(), before) {
        ("POST /start_work", _) => {
            let body = r#"{"state":"queued","position":2,"retryAfter":1}"#;
            says(303, &[("location", "/work/1?n=1"), ("retry-after", "1"), ("content-type", "application/json")], body)
        }
        (_, 1) => says(303, &[("location", "?n=2"), ("retry-after", "0")], ""),
        (_, 2) => says(202, &[("retry-after", "0")], r#"{"state":"running"}"#),
        (_, 3) => says(429, &[("retry-after", "0")], ""),
        (_, 4) => says(200, &[("x-a", "b")], "{\"result\":42}\n"),
        other => says(500, &[], &format!("{other:?}")),
    }
}

#[tokio::test]
async fn work_is_followed_until_it_is_done() {
    let server = Work::start(seed).await;
    let began = Instant::now();
    let output = fetch(&["-d", "{}", "-H", "X-Mine: 1", &server.url("/start_work#part")]).await;
    assert!(began.elapsed() >= SECOND * 2, "it waits: {:?}", began.elapsed());
    let (code, out, err) = parts(&output);
    assert_eq!((code, &*out), (Some(0), "{\"result\":42}\n"), "{err}");
    let told: Vec<_> = err.lines().map(|line| line.split(" s, ").next().unwrap_or_default()).collect();
    assert_eq!(
        told[..3],
        [
            "tidewait: 303 See Other, queued, position 2: asks again in 1",
            "tidewait: 303 See Other: asks again in 0.5",
            "tidewait: 202 Accepted, running: asks again in 0.5",
        ]
    );
    assert!(told.len() == 4 && told[3].starts_with("tidewait: 429 Too Many Requests: asks again in 0."), "{told:?}");
    let asked = server.asked();
    let expected = ["POST /start_work", "GET /work/1?n=1", "GET /work/1?n=2", "GET /work/1?n=2", "GET /work/1?n=2"];
    assert_eq!(server.lines(), expected);
    assert_eq!(
        (&*asked[0].body, asked[0].field("content-type")),
        (&b"{}"[..], Some("application/x-www-form-urlencoded"))
    );
    for look in &asked[1..] {
        assert_eq!((look.body.len(), look.field("content-type"), look.field("x-mine")), (0, None, Some("1")));
        assert_eq!(look.field("content-length"), None);
    }
}

#[tokio::test]
async fn options_shape_the_request_and_the_answer() {
    let server = Work::start(seed).await;
    let url = server.url("/start_work");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result");
    fs::write(&file, "old").expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let arguments = ["-X", "POST", "--async", "--wait", "0", "--idempotency-key", "k", "--quiet", "-i"];
    let path = file.to_str().expect("UTF-8");
    let output = fetch(&[&arguments[..], &["-o", path, &url]].concat()).await;
    let (code, out, err) = parts(&output);
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    assert!(out.starts_with("HTTP/1.1 200 OK\r\nx-a: b\r\n") && out.ends_with("\r\n\r\n"), "{out}");
    assert_eq!(fs::read_to_string(&file).expect("a file"), "{\"result\":42}\n");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left beside it");
    let asked = server.asked();
    for (at, one) in asked.iter().enumerate() {
        let prefer: Vec<_> = one.fields.get_all("prefer").iter().collect();
        assert_eq!(prefer, ["respond-async", "wait=0"]);
        assert_eq!(one.field("idempotency-key"), (at == 0).then_some("k"), "of the work, not of looks at it");
    }
    assert_eq!((&*asked[0].line(), asked[0].field("content-length")), ("POST /start_work", Some("0")));
}

#[tokio::test]
async fn a_body_comes_from_a_file_or_standard_input_and_is_sent_again_whole() {
    let server = Work::start(|asked, before| match before % 3 {
        0 => says(503, &[("retry-after", "0")], ""),
        1 => says(307, &[("location", "/other")], ""),
        _ => says(200, &[], &format!("{} {}", asked.line(), String::from_utf8_lossy(&asked.body))),
    })
    .await;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"a\nb\r\n").expect("it is written");
    let named = format!("@{}", file.path().display());
    for data in [&*named, "-", "@-"] {
        let input = fs::File::open(file.path()).expect("a file");
        let output = fetch_with(&["-X", "PUT", "-d", data, &server.url("/start")], input.into()).await;
        assert_eq!(parts(&output).1, "PUT /other a\nb\r\n", "{data}");
    }
    let asked = server.asked();
    assert!(asked.len() == 9 && asked.iter().all(|one| *one.body == *b"a\nb\r\n" && one.method == Method::PUT));
}

#[tokio::test]
async fn other_answers_are_told_with_their_reason() {
    let server = Work::start(|asked, _| match asked.target.as_str() {
        "/problem" => {
            let body = "{\"title\":\"Full\",\"detail\":\"the queue\\n\\u001b[2J is full\"}";
            says(503, &[("content-type", "application/problem+json")], body)
        }
        "/none" => says(404, &[], "no such page"),
        "/nowhere" => says(303, &[("retry-after", "0")], "see elsewhere"),
        _ => says(200, &[("x-a", "b")], "body"),
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("result");
    fs::write(&file, "old").expect("a file");
    let path = file.to_str().expect("UTF-8");
    for (target, body, line) in [
        ("/problem", "{\"title\"", ": 503 Service Unavailable: the queue\\n\\u{1b}[2J is full\n"),
        ("/none", "no such page", ": 404 Not Found\n"),
        ("/nowhere", "see elsewhere", ": 303 See Other\n"),
    ] {
        let url = server.url(target);
        for more in [&[][..], &["-o", path]] {
            let (code, out, err) = parts(&fetch(&[more, &[&url]].concat()).await);
            assert_eq!((code, err), (Some(3), format!("tidewait: {url}{line}")));
            assert!(out.starts_with(body), "{out}");
        }
    }
    assert_eq!(fs::read_to_string(&file).expect("a file"), "old", "no error page stands in for the result");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    let (code, out, _) = parts(&fetch(&["-X", "HEAD", "-i", &server.url("/")]).await);
    assert_eq!(code, Some(0));
    assert!(out.contains("x-a: b\r\n") && out.ends_with("\r\n\r\n"), "{out}");
    let (code, out, err) = parts(&fetch(&["-o", "/dev/null", &server.url("/")]).await);
    assert_eq!((code, &*out, &*err), (Some(0), "", ""), "a device takes what comes");
}

#[tokio::test]
async fn a_page_of_options_that_cannot_be_used_asks_nothing() {
    let server = Work::start(|_, _| says(200, &[], "")).await;
    let url = server.url("/");
    for (arguments, expected) in [
        (&["--deadline=0"][..], "--deadline: \"0\" is out of bounds: write 1s to 24h"),
        (&["-d", "@no/such/file"], "tidewait: --data: no/such/file: No such file"),
        (&["-H", "x"], "--header: number 1 is no field"),
        (&["--output="], "--output: \"\" is empty"),
    ] {
        let (code, out, err) = parts(&fetch(&[arguments, &[&url]].concat()).await);
        assert_eq!((code, &*out), (Some(2), ""), "{err}");
        assert!(err.starts_with(expected), "{err}");
    }
    let (code, _, err) = parts(&fetch(&["-o", "no/such/folder/file", &url]).await);
    assert_eq!(code, Some(1));
    assert!(err.starts_with("tidewait: --output: cannot create a file beside no/such/folder/file: No such"), "{err}");
    assert_eq!(server.lines(), [""; 0], "what cannot be put out is not asked for");
}

/// The library does the same, and its future can be spawned.
#[tokio::test]
async fn the_library_gives_the_answer_piece_by_piece() {
    let server = Work::start(seed).await;
    let mut fetch = Fetch::new(&server.url("/start_work"));
    fetch.method = Method::POST;
    let fetched = tokio::spawn(async move {
        let mut pauses = Vec::new();
        let fetched = fetch.send(|pause| pauses.push(pause.clone())).await?;
        let (status, url) = (fetched.status, fetched.url.clone());
        Ok::<_, tidewait::client::fetch::FetchError>((status, url, fetched.bytes(100).await?, pauses.len()))
    });
    let (status, url, body, pauses) = fetched.await.expect("it ends").expect("an answer");
    assert_eq!((status.as_u16(), &*body, pauses), (200, &b"{\"result\":42}\n"[..], 4));
    assert_eq!(url, server.url("/work/1?n=2"));
}
