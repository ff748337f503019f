//! Abuse of the fields that describe reads, and of those that it must not.

use super::{Book, current, get, request};

pub(super) fn add(book: &mut Book) {
    agents(book);
    prefer(book);
    conditions(book);
    codings(book);
    envoy(book);
    ignored(book);
    head_and_options(book);
}

fn field(book: &mut Book, name: &str, expect: &str, fields: &str) {
    book.add(name, expect, get("/describe", fields));
}

/// A field beside a poll that would be held for ever without it.
fn parked(book: &mut Book, name: &str, expect: &str, fields: &str) {
    book.add(name, expect, get(&format!("/describe?since={}", current()), fields));
}

fn agents(book: &mut Book) {
    for (name, value) in [
        ("empty", String::new()),
        ("space", "a b".to_owned()),
        ("tab", "a\tb".to_owned()),
        ("slash", "a/b".to_owned()),
        ("comma", "a,b".to_owned()),
        ("semicolon", "a;b".to_owned()),
        ("percent", "%41".to_owned()),
        ("script", "<script>".to_owned()),
        ("quote", "\"a\"".to_owned()),
        ("brace", "{}".to_owned()),
        ("utf-8", "\u{e9}".to_owned()),
        ("emoji", "\u{1f600}".to_owned()),
        ("254-bytes", "a".repeat(254)),
        ("8-kib", "a".repeat(8 * 1024)),
    ] {
        field(book, &format!("agent-{name}"), "400 open", &format!("Agent-Id: {value}\r\n"));
    }
    let high = [b"GET /describe HTTP/1.1\r\nHost: test\r\nAgent-Id: ".as_slice(), &[0x80, 0xff], b"\r\n\r\n"].concat();
    book.add("agent-not-utf-8", "400 open", high);
    field(book, "agent-twice", "400 open", "Agent-Id: a\r\nAgent-Id: a\r\n");
    field(book, "agent-twice-in-case", "400 open", "Agent-Id: a\r\nAGENT-ID: b\r\n");
    field(book, "agent-253-bytes", "200 open", &format!("Agent-Id: {}\r\n", "a".repeat(253)));
    field(book, "agent-dots", "200 open", "Agent-Id: ...:::---\r\n");
    field(book, "agent-underscore-name", "200 open", "Agent_Id: a b\r\n");
}

/// A preference that cannot be read is ignored (RFC 7240, section 2).
fn prefer(book: &mut Book) {
    for (name, value) in [
        ("empty", String::new()),
        ("no-value", "wait".to_owned()),
        ("empty-value", "wait=".to_owned()),
        ("empty-quotes", "wait=\"\"".to_owned()),
        ("minus", "wait=-1".to_owned()),
        ("exponent", "wait=1e3".to_owned()),
        ("over", "wait=99999999999999999999999999".to_owned()),
        ("most", "wait=18446744073709551615".to_owned()),
        ("open-quote", "wait=\"1".to_owned()),
        ("twice", "wait=1, wait=2".to_owned()),
        ("semicolons", ";;;;;;;;".to_owned()),
        ("commas", ",,,,,,,,".to_owned()),
        ("equals", "=====".to_owned()),
        ("utf-8", "wait=\u{e9}".to_owned()),
        ("8-kib", "a=b, ".repeat(1600)),
    ] {
        field(book, &format!("prefer-{name}"), "200 open", &format!("Prefer: {value}\r\n"));
    }
    for (name, value) in [("zero", "wait=0"), ("most", "wait=18446744073709551615"), ("wrong", "wait=soon")] {
        parked(book, &format!("prefer-{name}-parked"), "204 open", &format!("Prefer: {value}\r\n"));
    }
    field(book, "prefer-60-times", "200 open", &"Prefer: wait=x\r\n".repeat(60));
}

fn conditions(book: &mut Book) {
    let id = current();
    let tag = format!("\"{}.{}\"", id.epoch, id.digest);
    for (name, value, expect) in [
        ("star", "*".to_owned(), "304 open"),
        ("ours", tag.clone(), "304 open"),
        ("ours-weak", format!("W/{tag}"), "304 open"),
        ("ours-last-of-100", format!("{}{tag}", "\"x\", ".repeat(100)), "304 open"),
        ("two-stars", "*, *".to_owned(), "200 open"),
        ("star-quoted", "\"*\"".to_owned(), "200 open"),
        ("empty", String::new(), "200 open"),
        ("empty-tag", "\"\"".to_owned(), "200 open"),
        ("open-quote", "\"".to_owned(), "200 open"),
        ("weak-nothing", "W/".to_owned(), "200 open"),
        ("lower-weak", "w/\"x\"".to_owned(), "200 open"),
        ("commas", ",".repeat(8 * 1024), "200 open"),
        ("thousand", "\"a.b\", ".repeat(1000), "200 open"),
        ("utf-8", "\"\u{e9}\"".to_owned(), "200 open"),
    ] {
        field(book, &format!("if-none-match-{name}"), expect, &format!("If-None-Match: {value}\r\n"));
    }
    parked(book, "if-none-match-parked", "304 open", &format!("If-None-Match: {tag}\r\n"));
    let sixty = "If-None-Match: \"x\"\r\n".repeat(60);
    field(book, "if-none-match-60-times", "200 open", &sixty);
}

fn codings(book: &mut Book) {
    for (name, value) in [
        ("empty", String::new()),
        ("br-only", "br".to_owned()),
        ("nothing-left", "identity;q=0, *;q=0".to_owned()),
        ("nan", "gzip;q=NaN".to_owned()),
        ("infinity", "gzip;q=inf".to_owned()),
        ("minus", "gzip;q=-1".to_owned()),
        ("minus-infinity", "gzip;q=-inf".to_owned()),
        ("exponent", "gzip;q=1e999".to_owned()),
        ("tiny", "gzip;q=0.00000000000000000000000000001".to_owned()),
        ("two-qualities", "gzip;q=0;q=1".to_owned()),
        ("semicolons", ";;;;;;".to_owned()),
        ("equals", "=;=;=,=".to_owned()),
        ("commas", ",".repeat(8 * 1024)),
        ("2000-names", "a,".repeat(2000)),
        ("2000-gzips", "gzip;q=0.5,".repeat(1000)),
        ("upper-case", "GZIP".to_owned()),
        ("x-gzip", "x-gzip".to_owned()),
        ("zstd", "zstd".to_owned()),
        ("star", "*".to_owned()),
        ("utf-8", "gz\u{e9}p".to_owned()),
    ] {
        field(book, &format!("accept-encoding-{name}"), "200 open", &format!("Accept-Encoding: {value}\r\n"));
    }
    field(book, "accept-encoding-60-times", "200 open", &"Accept-Encoding: gzip\r\n".repeat(60));
}

fn envoy(book: &mut Book) {
    for (name, value) in [
        ("zero", "0"),
        ("one", "1"),
        ("minus", "-1"),
        ("over", "99999999999999999999999"),
        ("most", "18446744073709551615"),
        ("word", "soon"),
        ("empty", ""),
        ("decimal", "1.5"),
        ("utf-8", "\u{e9}"),
    ] {
        parked(
            book,
            &format!("envoy-timeout-{name}"),
            "204 open",
            &format!("x-envoy-expected-rq-timeout-ms: {value}\r\n"),
        );
    }
}

fn ignored(book: &mut Book) {
    for (name, fields) in [
        ("range", "Range: bytes=0-0\r\n"),
        ("ranges", "Range: bytes=0-0,1-1,2-2,3-3,-1,-2\r\n"),
        ("if-match", "If-Match: \"x\"\r\n"),
        ("if-modified-since", "If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT\r\n"),
        ("if-unmodified-since", "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
        ("accept-nothing", "Accept: text/html;q=0\r\n"),
        ("method-override", "X-HTTP-Method-Override: DELETE\r\n"),
        ("original-url", "X-Original-URL: /app\r\nX-Rewrite-URL: /app\r\n"),
        ("forwarded", "Forwarded: for=127.0.0.1;host=evil;proto=https\r\n"),
        ("forwarded-for", "X-Forwarded-For: 127.0.0.1, 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\n"),
        ("client-certificate", "X-Forwarded-Client-Cert: By=x;Hash=y;Subject=\"CN=admin\"\r\n"),
        ("forwarded-host", "X-Forwarded-Host: evil\r\nX-Forwarded-Proto: gopher\r\n"),
        ("authorization", "Authorization: Basic Og==\r\n"),
        ("traceparent", "traceparent: 00-zz-zz-zz\r\ntracestate: ,,,=\r\n"),
        ("request-id", "X-Request-Id: \u{1f600}\u{202e}evil\r\n"),
        ("max-forwards", "Max-Forwards: 0\r\n"),
        ("te", "TE: trailers, gzip;q=0.5\r\n"),
        ("trailer", "Trailer: Content-Length\r\n"),
        ("pseudo", "X: :path\r\n"),
        ("state-id", "State-Id: evil\r\nState-Age: -1\r\n"),
    ] {
        field(book, &format!("ignored-{name}"), "200 open", fields);
    }
    field(book, "field-with-pseudo-name", "400 closed", ":path: /app\r\n");
}

fn head_and_options(book: &mut Book) {
    let since = format!("/describe?since={}", current());
    book.add("head-never-parks", "204 open", request("HEAD", &since, ""));
    book.add("head-wrong-wait", "400 open", request("HEAD", "/describe?wait=x", ""));
    book.add("head-condition", "304 open", request("HEAD", "/describe", "If-None-Match: *\r\n"));
    book.add("options-wrong-query", "204 open", request("OPTIONS", "/describe?wait=x&since=a&since=b", ""));
    book.add("options-preflight", "204 open", {
        request("OPTIONS", "/describe", "Origin: http://evil\r\nAccess-Control-Request-Method: GET\r\n")
    });
}
