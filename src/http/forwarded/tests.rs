//! Tables of fields before and after.

use super::*;

fn map(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        headers.append(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
    }
    headers
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII"))).collect()
}

/// The lines without what every request gets.
fn without_hop(headers: &HeaderMap) -> Vec<String> {
    let ours = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"];
    lines(headers).into_iter().filter(|line| !ours.iter().any(|name| line.starts_with(&format!("{name}:")))).collect()
}

fn peer(address: &str) -> Peer {
    let trusted = ["10.0.0.0/8".parse().expect("a net"), "fd00::/8".parse().expect("a net")];
    Peer::new(address.parse().expect("an address"), "http", &trusted, CallerFields::default())
}

#[test]
fn fields_of_one_hop_stay_behind() {
    let cases: &[(&[&str], &[&str])] = &[
        (&["a: 1", "connection: close", "b: 2", "c: 3"], &["a: 1", "b: 2", "c: 3"]),
        (&["connection: keep-alive", "keep-alive: timeout=5", "a: 1"], &["a: 1"]),
        (&["connection: X-Auth , ,x-b", "connection: X-C", "x-auth: 1", "x-b: 2", "x-c: 3", "d: 4"], &["d: 4"]),
        (&["x-auth: 1", "x-auth: 2", "connection: x-auth"], &[]),
        (&["proxy-connection: keep-alive", "proxy-authorization: Basic x", "proxy-authenticate: Basic"], &[]),
        (&["proxy-authentication-info: x", "transfer-encoding: chunked"], &[]),
        (&["te: trailers"], &["te: trailers", "connection: te"]),
        (&["te: gzip;q=0.5, Trailers;q=0.1", "connection: te"], &["te: trailers", "connection: te"]),
        (&["te: gzip"], &[]),
        (&["te: trailersx"], &[]),
        (&["trailer: digest"], &["trailer: digest"]),
        (&["connection: trailer", "trailer: digest"], &["trailer: digest"]),
        (
            &["upgrade: h2c", "connection: upgrade, http2-settings", "http2-settings: AAMAAABkAAQ", "host: a"],
            &["host: a"],
        ),
        (&["http2-settings: AAMAAABkAAQ"], &[]),
        (&["upgrade: websocket", "connection: upgrade", "sec-websocket-key: x"], &["sec-websocket-key: x"]),
        // What frames, routes, authenticates or tells who asked cannot be named away.
        (
            &[
                "host: a",
                "content-length: 3",
                "authorization: Bearer x",
                "cookie: c",
                "connection: host, Content-Length, authorization, cookie, expect",
                "expect: 100-continue",
            ],
            &["host: a", "content-length: 3", "authorization: Bearer x", "cookie: c", "expect: 100-continue"],
        ),
        // Bytes that are no token name nothing.
        (&["connection: \u{7f}?, @", "a: 1"], &["a: 1"]),
        // Repeated fields and their order stay.
        (&["b: 1", "a: 1", "b: 2", "connection: close", "c: 1"], &["b: 1", "b: 2", "a: 1", "c: 1"]),
    ];
    for (before, after) in cases {
        let mut headers = HeaderMap::new();
        for line in *before {
            let (name, value) = line.split_once(": ").expect("a line");
            let value = HeaderValue::from_bytes(value.replace('\u{7f}', "\u{ff}").as_bytes()).expect("a value");
            headers.append(name.parse::<HeaderName>().expect("a name"), value);
        }
        to_app(&mut headers, &peer("192.0.2.1"), None);
        assert_eq!(without_hop(&headers), *after, "of {before:?}");
    }
}

#[test]
fn upgrades_are_asked_for_by_both_fields() {
    for (before, expected) in [
        (&["connection: Upgrade", "upgrade: websocket"][..], Some("websocket")),
        (&["connection: keep-alive, upgrade", "upgrade: h2c, WebSocket, foo/2"], Some("WebSocket, foo/2")),
        (&["upgrade: websocket"], None),
        (&["connection: upgrade"], None),
        (&["connection: upgrade", "upgrade: H2C"], None),
        (&["connection: upgrade", "upgrade: h2c", "upgrade: ,"], None),
    ] {
        let found = upgrade(&map(before));
        assert_eq!(found.as_ref().map(|value| value.to_str().expect("ASCII")), expected, "of {before:?}");
    }
    let mut headers = map(&["host: a", "connection: upgrade", "upgrade: websocket", "te: trailers"]);
    let wanted = upgrade(&headers);
    to_app(&mut headers, &peer("192.0.2.1"), wanted);
    assert_eq!(
        without_hop(&headers),
        ["host: a", "te: trailers", "upgrade: websocket", "connection: te, upgrade"],
        "both options"
    );
}

#[test]
fn answers_lose_what_concerns_one_connection() {
    for (before, upgrade, after) in [
        (
            &["connection: close, x-a", "x-a: 1", "keep-alive: 5", "transfer-encoding: chunked", "upgrade: h2", "b: 2"]
                [..],
            false,
            &["b: 2"][..],
        ),
        (
            &["connection: Upgrade", "upgrade: websocket", "sec-websocket-accept: x"],
            true,
            &["sec-websocket-accept: x", "connection: upgrade", "upgrade: websocket"],
        ),
        (&["set-cookie: a", "connection: set-cookie", "set-cookie: b"], false, &["set-cookie: a", "set-cookie: b"]),
        (&["x-forwarded-for: 1", "forwarded: for=x"], false, &["x-forwarded-for: 1", "forwarded: for=x"]),
    ] {
        let mut headers = map(before);
        to_client(&mut headers, upgrade);
        assert_eq!(lines(&headers), after, "of {before:?}");
    }
}

#[test]
fn who_asked_is_said_by_us_or_by_a_trusted_peer() {
    let spoofed: &[&str] = &[
        "host: a:8080",
        "x-forwarded-for: 1.1.1.1",
        "x-forwarded-for: 2.2.2.2",
        "forwarded: for=1.1.1.1;proto=https",
        "x-forwarded-proto: https",
        "x-forwarded-host: evil",
        "x-forwarded-client-cert: By=x",
        "x-forwarded-port: 1",
        "x-real-ip: 1.1.1.1",
        "x_forwarded_for: 3.3.3.3",
        "connection: x-forwarded-for, forwarded, x-forwarded-proto",
        "x-other: kept",
    ];
    for (address, expected) in [
        (
            "192.0.2.1",
            &[
                "host: a:8080",
                "x-other: kept",
                "x-forwarded-for: 192.0.2.1",
                "x-forwarded-proto: http",
                "x-forwarded-host: a:8080",
                "forwarded: for=192.0.2.1;host=\"a:8080\";proto=http",
            ][..],
        ),
        (
            "::ffff:10.1.2.3",
            &[
                "host: a:8080",
                "x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.1.2.3",
                "forwarded: for=1.1.1.1;proto=https, for=10.1.2.3;host=\"a:8080\";proto=http",
                "x-forwarded-proto: https",
                "x-forwarded-host: evil",
                "x-forwarded-client-cert: By=x",
                "x-forwarded-port: 1",
                "x-real-ip: 1.1.1.1",
                "x-other: kept",
            ],
        ),
    ] {
        let mut headers = map(spoofed);
        to_app(&mut headers, &peer(address), None);
        assert_eq!(lines(&headers), expected, "from {address}");
    }
}

#[test]
fn forwarded_quotes_what_is_no_token() {
    for (address, host, expected) in [
        ("192.0.2.1", Some("a.example"), "for=192.0.2.1;host=a.example;proto=http"),
        ("2001:db8::1", Some("[::1]:80"), "for=\"[2001:db8::1]\";host=\"[::1]:80\";proto=http"),
        ("::ffff:192.0.2.1", None, "for=192.0.2.1;proto=http"),
        ("fd00::1", Some("a\"b\\c"), "for=\"[fd00::1]\";host=\"a\\\"b\\\\c\";proto=http"),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(HOST, host.parse().expect("a value"));
        }
        to_app(&mut headers, &peer(address), None);
        assert_eq!(headers[FORWARDED], expected, "of {address}");
    }
    let mut headers = map(&["host: a"]);
    headers.insert(HOST, HeaderValue::from_bytes(b"caf\xe9").expect("a value"));
    to_app(&mut headers, &peer("192.0.2.1"), None);
    assert_eq!(headers[FORWARDED], "for=192.0.2.1;proto=http", "a host that is not ASCII is left out");
}

#[test]
fn http2_becomes_http1() {
    let mut headers = map(&["a: 1", "cookie: x=1", "cookie: y=2", "b: 2"]);
    from_http2(&mut headers, Some(HeaderValue::from_static("app.example")));
    assert_eq!(lines(&headers), ["host: app.example", "a: 1", "cookie: x=1; y=2", "b: 2"]);
    let mut headers = map(&["host: said", "cookie: x=1"]);
    from_http2(&mut headers, Some(HeaderValue::from_static("said")));
    assert_eq!(lines(&headers), ["host: said", "cookie: x=1"]);
}

#[test]
fn an_app_of_http2_gets_no_fields_of_a_connection_and_the_host_apart() {
    let mut headers = map(&[
        "host: a.example:81",
        "x-first: 1",
        "connection: x-auth, upgrade",
        "x-auth: 1",
        "upgrade: websocket",
        "te: gzip, trailers",
        "x-last: 2",
    ]);
    let host = to_http2_app(&mut headers, &peer("192.0.2.1"));
    assert_eq!(host.expect("a host"), "a.example:81");
    let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(
        names,
        ["x-first", "x-last", "te", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded"]
    );
    assert_eq!(headers["te"], "trailers");
    assert_eq!(headers["x-forwarded-host"], "a.example:81");
}

#[test]
fn trailers_say_nothing_about_hop_or_client() {
    let mut trailers = map(&[
        "x-sum: 7",
        "x-forwarded-for: 1.1.1.1",
        "x_real_ip: 1.1.1.1",
        "connection: close",
        "host: b",
        "content-length: 1",
        "x_user: root",
        "grpc-status: 0",
    ]);
    let user = Some(HeaderName::from_static("x-user"));
    trailers_to_app(&mut trailers, &IdentityFields { user, groups: None });
    assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sum", "grpc-status"]);
}

#[test]
fn codings_beside_chunked_are_seen() {
    for (values, expected) in [
        (&[][..], None),
        (&["chunked"], None),
        (&["Chunked"], None),
        (&["gzip, chunked"], Some("gzip, chunked")),
        (&["gzip", "chunked"], Some("gzip, chunked")),
        (&["identity"], None),
    ] {
        let lines: Vec<_> = values.iter().map(|value| format!("transfer-encoding: {value}")).collect();
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        assert_eq!(codings(&map(&lines)).as_deref(), expected);
    }
}
