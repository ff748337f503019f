//! Where a message ends: lengths, transfer codings, chunks, and what is hidden behind them.

use super::{Book, SMUGGLED, get, request};

pub(super) fn add(book: &mut Book) {
    lengths(book);
    codings(book);
    both(book);
    chunks(book);
    trailers(book);
    spellings(book);
    pipelines(book);
}

fn post(fields: &str, body: &str) -> Vec<u8> {
    let mut raw = request("POST", "/app", fields);
    raw.extend_from_slice(body.as_bytes());
    raw
}

fn lengths(book: &mut Book) {
    for (name, value) in [
        ("plus", "+5"),
        ("minus", "-5"),
        ("minus-zero", "-0"),
        ("hex", "0x5"),
        ("empty", ""),
        ("space-within", "1 1"),
        ("list-same", "5, 5"),
        ("list-differs", "5, 6"),
        ("list-no-space", "5,5"),
        ("two-to-the-64", "18446744073709551616"),
        ("two-to-the-64-less-1", "18446744073709551615"),
        ("two-to-the-64-less-2", "18446744073709551614"),
        ("long", "99999999999999999999999999999999999999999"),
        ("decimal", "5.0"),
        ("exponent", "5e0"),
        ("quoted", "\"5\""),
        ("parameter", "5;a=b"),
        ("word", "five"),
        ("fullwidth", "\u{ff15}"),
        ("underscore", "1_0"),
        ("comma-first", ",5"),
        ("comma-last", "5,"),
        ("vertical-tab", "\u{b}5"),
        ("nul", "5\0"),
    ] {
        book.add(&format!("length-{name}"), "400 closed", post(&format!("Content-Length: {value}\r\n"), "hello"));
    }
    let twice = |a: &str, b: &str| post(&format!("Content-Length: {a}\r\nContent-Length: {b}\r\n"), "hello");
    book.add("lengths-differ", "400 closed", twice("5", "6"));
    book.add("lengths-zero-then-five", "400 closed", twice("0", "5"));
    book.add("lengths-five-then-zero", "400 closed", twice("5", "0"));
    book.add("lengths-five-then-wrong", "400 closed", twice("5", "x"));
    book.add("lengths-differ-in-case", "400 closed", post("Content-Length: 5\r\ncontent-length: 6\r\n", "hello"));
    // RFC 9110, section 8.6, lets the same value twice be taken as one; who takes the first alone reads the same.
    book.add("lengths-same", "400 closed", twice("5", "5"));
    book.add("length-leading-zeros", "404 either", post("Content-Length: 0005\r\n", "hello"));
    book.add("length-tabs-around", "404 either", post("Content-Length:\t5\t\r\n", "hello"));
    book.add("length-body-on-get", "200 either", {
        let mut raw = get("/describe", &format!("Content-Length: {}\r\n", SMUGGLED.len()));
        raw.extend_from_slice(SMUGGLED.as_bytes());
        raw
    });
    book.add("length-body-on-head", "200 either", {
        let mut raw = request("HEAD", "/describe", &format!("Content-Length: {}\r\n", SMUGGLED.len()));
        raw.extend_from_slice(SMUGGLED.as_bytes());
        raw
    });
    book.add("length-more-than-sent", "404 closed", post("Content-Length: 500\r\n", "hello"));
}

fn codings(book: &mut Book) {
    for (name, value, expect) in [
        ("xchunked", "xchunked", "400 closed"),
        ("chunkedx", "chunkedx", "400 closed"),
        ("identity", "identity", "400,501 closed"),
        ("gzip", "gzip", "400,501 closed"),
        ("chunked-identity", "chunked, identity", "400 closed"),
        ("chunked-gzip", "chunked, gzip", "400 closed"),
        ("gzip-chunked", "gzip, chunked", "501 closed"),
        ("identity-chunked", "identity, chunked", "400,501 closed"),
        ("chunked-chunked", "chunked, chunked", "400 closed"),
        ("chunked-chunked-no-space", "chunked,chunked", "400 closed"),
        ("comma-first", ", chunked", "400,501 closed"),
        ("comma-last", "chunked,", "400 closed"),
        ("parameter", "chunked;q=1", "400 closed"),
        ("quoted", "\"chunked\"", "400 closed"),
        ("single-quoted", "'chunked'", "400 closed"),
        ("empty", "", "400 closed"),
        ("nul", "chunked\0", "400 closed"),
        ("vertical-tab", "\u{b}chunked", "400 closed"),
        ("form-feed", "chunked\u{c}", "400 closed"),
        ("non-breaking-space", "chunked\u{a0}", "400,501 closed"),
        ("line-separator", "\u{2028}chunked", "400,501 closed"),
        ("space-within", "chun ked", "400 closed"),
    ] {
        let raw = post(&format!("Transfer-Encoding: {value}\r\n"), &format!("0\r\n\r\n{SMUGGLED}"));
        book.add(&format!("coding-{name}"), expect, raw);
    }
    let hidden = format!("0\r\n\r\n{SMUGGLED}");
    for (name, fields) in [
        ("chunked-twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked-then-identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
        ("identity-then-chunked", "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"),
        ("chunked-then-empty", "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"),
        ("chunked-then-cow", "Transfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n"),
    ] {
        book.add(&format!("codings-{name}"), "400 closed", post(fields, &hidden));
    }
    let hidden = format!("0\r\n\r\n{}", "GET /describe HTTP/1.1\r\nHost: test\r\n\r\n");
    book.add("coding-upper-case", "404,404+200 either", post("TRANSFER-ENCODING: CHUNKED\r\n", &hidden));
    book.add("coding-tab-before", "404,404+200 either", post("Transfer-Encoding:\tchunked\r\n", &hidden));
    book.add(
        "coding-in-http-1-0",
        "400 closed",
        format!("POST /app HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
    );
}

/// Both framings: refused (RFC 9112, section 6.1).
fn both(book: &mut Book) {
    let hidden = format!("0\r\n\r\n{SMUGGLED}");
    for (name, fields) in [
        ("length-first", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
        ("coding-first", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        ("length-zero", "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"),
        ("length-around", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n"),
        ("length-wrong-after", "Transfer-Encoding: chunked\r\nContent-Length: x\r\n"),
        ("keep-alive", "Connection: keep-alive\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        book.add(&format!("both-{name}"), "400 closed", post(fields, &hidden));
    }
    let wrong = "Content-Length: 4\r\nTransfer-Encoding: xchunked\r\n";
    book.add("both-coding-unknown", "400 closed", post(wrong, &hidden));
}

fn chunks(book: &mut Book) {
    for (name, body) in [
        ("word", "ZZ\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("empty-size", "\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("minus", "-5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("plus", "+5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("hex-prefix", "0x5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("overflow-17-digits", "10000000000000005\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("overflow-f", "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("most", "FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("most-signed", "7FFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("extension-20-kib", format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(20 * 1024))),
        ("many-extensions", format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "y".repeat(500)).repeat(40))),
        ("extension-with-lf", "5;a\nGET /smuggled HTTP/1.1\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("extension-with-cr", "5;a\rb\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("size-ends-in-lf", "5\nhello\r\n0\r\n\r\n".to_owned()),
        ("size-ends-in-cr", "5\rhello\r\n0\r\n\r\n".to_owned()),
        ("data-ends-in-lf", "5\r\nhello\n0\r\n\r\n".to_owned()),
        ("data-ends-in-nothing", "5\r\nhello0\r\n\r\n".to_owned()),
        ("data-longer", "3\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("data-shorter", "50\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("space-before-size", " 5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("nul-in-size", "5\0\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("bare-lf-at-end", "5\r\nhello\r\n0\n\n".to_owned()),
        ("comma-in-size", "5,5\r\nhello\r\n0\r\n\r\n".to_owned()),
        ("underscore-in-size", "0_5\r\nhello\r\n0\r\n\r\n".to_owned()),
    ] {
        let raw = post("Transfer-Encoding: chunked\r\n", &format!("{body}{SMUGGLED}"));
        book.add(&format!("chunk-{name}"), "400,404 closed", raw);
    }
    let many = post("Transfer-Encoding: chunked\r\n", &("1\r\na\r\n".repeat(2000) + "0\r\n\r\n"));
    book.add("chunk-one-byte-each", "404 either", many);
    let zeros = post("Transfer-Encoding: chunked\r\n", &format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(3000)));
    book.add("chunk-zeros-before-size", "400,404 either", zeros);
}

fn trailers(book: &mut Book) {
    for (name, trailer) in [
        ("length", "Content-Length: 100\r\n".to_owned()),
        ("coding", "Transfer-Encoding: chunked\r\n".to_owned()),
        ("host", "Host: evil\r\n".to_owned()),
        ("authorization", "Authorization: evil\r\n".to_owned()),
        ("no-colon", "nothing\r\n".to_owned()),
        ("space-before-colon", "a : b\r\n".to_owned()),
        ("fold", "a: b\r\n c\r\n".to_owned()),
        ("nul", "a: \0\r\n".to_owned()),
        ("bare-lf", "a: b\n".to_owned()),
        ("20-kib", format!("a: {}\r\n", "x".repeat(20 * 1024))),
        ("many", "a: b\r\n".repeat(500)),
    ] {
        let raw = post("Transfer-Encoding: chunked\r\n", &format!("5\r\nhello\r\n0\r\n{trailer}\r\n"));
        book.add(&format!("trailer-{name}"), "400,404 either", raw);
    }
}

/// Spellings of the framing fields that some reader may take for them.
fn spellings(book: &mut Book) {
    let hidden = format!("0\r\n\r\n{SMUGGLED}");
    for (name, fields) in [
        ("space-before-colon-length", "Content-Length : 5\r\n"),
        ("space-before-colon-coding", "Transfer-Encoding : chunked\r\n"),
        ("tab-before-colon-coding", "Transfer-Encoding\t: chunked\r\n"),
        ("no-colon-coding", "Transfer-Encoding chunked\r\n"),
        ("space-first-coding", "X: y\r\n Transfer-Encoding: chunked\r\n"),
        ("folded-coding", "Transfer-Encoding:\r\n chunked\r\n"),
        ("folded-length", "Content-Length:\r\n\t5\r\n"),
        ("underscore-length", "Content_Length: 5\r\n"),
        ("underscore-coding", "Transfer_Encoding: chunked\r\n"),
        ("underscore-upper-case", "TRANSFER_ENCODING: chunked\r\n"),
        ("nul-in-name", "Transfer-\0Encoding: chunked\r\n"),
        ("cr-in-name", "Transfer-\rEncoding: chunked\r\n"),
        ("cr-before-name", "X: y\r\n\rTransfer-Encoding: chunked\r\n"),
        ("lf-before-name", "X: y\nTransfer-Encoding: chunked\r\n"),
        ("cr-in-value", "X: y\rTransfer-Encoding: chunked\r\n"),
        ("non-ascii-name", "Transfer\u{2010}Encoding: chunked\r\n"),
        ("backspace-in-name", "Transfer-Encodingg\u{8}: chunked\r\n"),
        ("colon-twice", "Transfer-Encoding:: chunked\r\n"),
    ] {
        book.add(&format!("spelling-{name}"), "400 closed", post(fields, &hidden));
    }
}

fn pipelines(book: &mut Book) {
    let app = "GET /app HTTP/1.1\r\nHost: test\r\n\r\n";
    let describe = "GET /describe HTTP/1.1\r\nHost: test\r\n\r\n";
    let statuses = |count: usize| vec!["404"; count].join("+");
    book.add("pipeline-of-two", "200+404 open", format!("{describe}{app}"));
    book.add("pipeline-of-fifty", &format!("{} open", statuses(50)), app.repeat(50));
    book.add("pipeline-garbage", "200+400 closed", format!("{describe}\0\x01garbage\r\n\r\n"));
    book.add("pipeline-after-close", "200 closed", {
        format!("GET /describe HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n{SMUGGLED}")
    });
    book.add("pipeline-after-http-1-0", "200 closed", format!("GET /describe HTTP/1.0\r\n\r\n{SMUGGLED}"));
    book.add("pipeline-after-refusal", "400 closed", format!("GET /app#x HTTP/1.1\r\nHost: test\r\n\r\n{SMUGGLED}"));
    book.add("pipeline-after-head", "200+404 open", {
        let head = "HEAD /describe HTTP/1.1\r\nHost: test\r\n\r\n";
        format!("{head}{app}")
    });
    let parked = format!("/describe?since={}&wait=0.3", super::current());
    book.add("pipeline-behind-parked", "204+200 open", {
        format!("GET {parked} HTTP/1.1\r\nHost: test\r\n\r\n{describe}")
    });
    book.add("pipeline-garbage-behind-parked", "204+400 closed", {
        format!("GET {parked} HTTP/1.1\r\nHost: test\r\n\r\nNONSENSE\x01\r\n\r\n")
    });
    book.add("crlf-between", "200+404 open", format!("{describe}\r\n\r\n{app}"));
}

/// What is refused alone is refused behind another request, and behind a body. They came last, so that
/// the numbers of the others stay.
pub(super) fn behind(book: &mut Book) {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let before = [
        ("request", "200", get("/describe", "")),
        ("body", "404", post("Content-Length: 5\r\n", "\r\n\r\n\n")),
        ("chunks", "404", post(chunked, "5;a\r\n\r\n\r\n\n\r\n0\r\nX: y\r\n\r\n")),
    ];
    for (name, status, head) in [
        ("lf", "400", "GET /describe HTTP/1.1\nHost: test\r\n\r\n"),
        ("lf-app", "400", "GET /app HTTP/1.1\r\nHost: test\nX: y\r\n\r\n"),
        ("fragment", "400", "GET /describe#x HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("fragment-app", "400", "GET /app#x HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("fold", "400", "GET /describe HTTP/1.1\r\nHost: test\r\n x\r\n\r\n"),
        ("two-hosts", "400", "GET /describe HTTP/1.1\r\nHost: test\r\nHost: test\r\n\r\n"),
        ("both", "400", "POST /app HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ] {
        for (place, first, raw) in &before {
            let raw = [raw, head.as_bytes(), SMUGGLED.as_bytes()].concat();
            // A body that nobody wants, and that is not here yet, closes the connection before.
            let expect = match *place {
                "request" => format!("{first}+{status} closed"),
                _ => format!("{first},{first}+{status} closed"),
            };
            book.add(&format!("behind-{place}-{name}"), &expect, raw);
        }
    }
}
