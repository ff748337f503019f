//! The head of a message: line ends, forbidden bytes, hosts, methods, versions, sizes, other protocols.

use super::{Book, SMUGGLED, get, request};

pub(super) fn add(book: &mut Book) {
    line_ends(book);
    bytes_in_fields(book);
    hosts(book);
    methods(book);
    versions(book);
    expectations(book);
    upgrades(book);
    sizes(book);
    other_protocols(book);
}

fn line_ends(book: &mut Book) {
    for (name, raw) in [
        ("all-lf", "GET /describe HTTP/1.1\nHost: test\n\n"),
        ("first-line-lf", "GET /describe HTTP/1.1\nHost: test\r\n\r\n"),
        ("field-lf", "GET /describe HTTP/1.1\r\nHost: test\nX: y\r\n\r\n"),
        ("last-field-lf", "GET /describe HTTP/1.1\r\nHost: test\n\r\n"),
        ("end-lf", "GET /describe HTTP/1.1\r\nHost: test\r\n\n"),
        ("lf-before", "\nGET /describe HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("app-lf", "GET /app HTTP/1.1\nHost: test\n\n"),
        ("lf-hides-a-field", "GET /app HTTP/1.1\r\nHost: test\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n"),
        ("cr-ends-first-line", "GET /describe HTTP/1.1\rHost: test\r\n\r\n"),
        ("cr-ends-field", "GET /describe HTTP/1.1\r\nHost: test\rX: y\r\n\r\n"),
        ("cr-cr-lf", "GET /describe HTTP/1.1\r\r\nHost: test\r\n\r\n"),
        ("cr-in-target", "GET /desc\rribe HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("lf-in-target", "GET /desc\nribe HTTP/1.1\r\nHost: test\r\n\r\n"),
        ("fold-with-space", "GET /describe HTTP/1.1\r\nHost: test\r\nX: y\r\n z\r\n\r\n"),
        ("fold-with-tab", "GET /describe HTTP/1.1\r\nHost: test\r\nX: y\r\n\tz\r\n\r\n"),
        ("fold-of-host", "GET /describe HTTP/1.1\r\nHost:\r\n test\r\n\r\n"),
        ("fold-before-first-field", "GET /describe HTTP/1.1\r\n Host: test\r\n\r\n"),
        ("fold-of-nothing", "GET /describe HTTP/1.1\r\nHost: test\r\n \r\n\r\n"),
    ] {
        book.add(&format!("line-{name}"), "400 closed", raw);
    }
    book.add("line-crlf-before", "200 open", "\r\n\r\nGET /describe HTTP/1.1\r\nHost: test\r\n\r\n");
}

fn bytes_in_fields(book: &mut Book) {
    for (name, byte) in [
        ("nul", 0_u8),
        ("bell", 7),
        ("backspace", 8),
        ("vertical-tab", 11),
        ("form-feed", 12),
        ("cr", 13),
        ("escape", 27),
        ("unit-separator", 31),
        ("delete", 127),
    ] {
        let field = |line: &[u8]| [b"GET /describe HTTP/1.1\r\nHost: test\r\n", line, b"\r\n\r\n"].concat();
        book.add(&format!("value-with-{name}"), "400 closed", field(&[b'X', b':', b' ', b'a', byte, b'b']));
        book.add(&format!("name-with-{name}"), "400 closed", field(&[b'X', byte, b'Y', b':', b' ', b'b']));
        let target = [b"GET /describe?x=a".as_slice(), &[byte], b"b HTTP/1.1\r\nHost: test\r\n\r\n"].concat();
        book.add(&format!("target-with-{name}"), "400 closed", target);
    }
    for (name, line) in [
        ("space", "X Y: z"),
        ("tab", "X\tY: z"),
        ("parenthesis", "X(Y: z"),
        ("slash", "X/Y: z"),
        ("at", "X@Y: z"),
        ("bracket", "X[Y]: z"),
        ("quote", "\"X\": z"),
        ("utf-8", "X\u{e9}: z"),
        ("nothing", ": z"),
        ("no-colon", "X"),
        ("space-before-colon", "X : z"),
        ("space-first", " X: z"),
    ] {
        book.add(&format!("name-of-{name}"), "400 closed", get("/describe", &format!("{line}\r\n")));
    }
    let high = [b"GET /describe HTTP/1.1\r\nHost: test\r\nX: ".as_slice(), &[0x80, 0xff, 0xfe], b"\r\n\r\n"].concat();
    book.add("value-of-high-bytes", "200 open", high);
}

fn hosts(book: &mut Book) {
    let with = |fields: &str| format!("GET /describe HTTP/1.1\r\n{fields}\r\n");
    for (name, fields) in [
        ("missing", ""),
        ("empty", "Host:\r\n"),
        ("twice-same", "Host: test\r\nHost: test\r\n"),
        ("twice-differs", "Host: test\r\nHost: evil\r\n"),
        ("twice-in-case", "Host: test\r\nHOST: evil\r\n"),
        ("spelt-h-o-s-t-underscore", "Host: test\r\nHost_: evil\r\nTransfer_Encoding: x\r\n"),
        ("user", "Host: user@test\r\n"),
        ("user-and-password", "Host: user:secret@test\r\n"),
        ("path", "Host: test/describe\r\n"),
        ("url", "Host: http://test\r\n"),
        ("space-within", "Host: test evil\r\n"),
        ("tab-within", "Host: test\tevil\r\n"),
        ("query", "Host: test?x\r\n"),
        ("fragment", "Host: test#x\r\n"),
        ("non-ascii", "Host: t\u{e9}st\r\n"),
        ("backslash", "Host: test\\evil\r\n"),
        ("quote", "Host: \"test\"\r\n"),
        ("angle", "Host: <test>\r\n"),
        ("port-word", "Host: test:http\r\n"),
        ("port-over", "Host: test:65536\r\n"),
        ("port-minus", "Host: test:-1\r\n"),
        ("port-twice", "Host: test:80:80\r\n"),
        ("port-alone", "Host: :80\r\n"),
        ("ipv6-open", "Host: [::1\r\n"),
        ("ipv6-closed-only", "Host: ::1]\r\n"),
        ("percent-wrong", "Host: te%zzst\r\n"),
    ] {
        book.add(&format!("host-{name}"), "400 closed", with(fields));
    }
    for (name, fields) in
        [("ipv6", "Host: [::1]:8480\r\n"), ("port", "Host: test:8480\r\n"), ("dot", "Host: test.\r\n")]
    {
        book.add(&format!("host-{name}-is-fine"), "200 open", with(fields));
    }
    book.add("host-missing-in-http-1-0", "200 closed", "GET /describe HTTP/1.0\r\n\r\n");
    book.add("host-twice-in-http-1-0", "400 closed", "GET /describe HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n");
    book.add("http-1-0-keep-alive", "200 open", "GET /describe HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
}

fn methods(book: &mut Book) {
    for (name, line, expect) in [
        ("connect-authority", "CONNECT test:443", "405 closed"),
        ("connect-path", "CONNECT /describe", "400,405 closed"),
        ("connect-app", "CONNECT /app", "400,405 closed"),
        ("trace", "TRACE /app", "405 closed"),
        ("trace-describe", "TRACE /describe", "405 closed"),
        ("trace-star", "TRACE *", "405 closed"),
        ("post", "POST /describe", "405 open"),
        ("put", "PUT /describe", "405 open"),
        ("delete", "DELETE /describe", "405 open"),
        ("patch", "PATCH /describe", "405 open"),
        ("query", "QUERY /describe", "405 open"),
        ("propfind", "PROPFIND /describe", "405 open"),
        ("lower-case", "get /describe", "405 open"),
        ("mixed-case", "Get /describe", "405 open"),
        ("lower-case-trace", "trace /describe", "405 open"),
        ("unknown", "FROBNICATE /describe", "405 open"),
        ("punctuation", "!#$%&'*+-.^_`|~ /describe", "405 open"),
        ("options-star", "OPTIONS *", "404 open"),
        ("options", "OPTIONS /describe", "204 open"),
        ("head", "HEAD /describe", "200 open"),
        ("non-ascii", "G\u{c9}T /describe", "400 closed"),
        ("nul", "G\0T /describe", "400 closed"),
        ("colon", "GET: /describe", "400 closed"),
        ("slash", "/ /describe", "400 closed"),
        ("none", " /describe", "400 closed"),
        ("none-at-all", "/describe", "400 closed"),
        ("two-spaces", "GET  /describe", "400 closed"),
        ("tab", "GET\t/describe", "400 closed"),
        ("space-first", " GET /describe", "400 closed"),
        ("byte-order-mark", "\u{feff}GET /describe", "400 closed"),
        ("pri", "PRI *", "404 open"),
    ] {
        book.add(&format!("method-{name}"), expect, format!("{line} HTTP/1.1\r\nHost: test\r\n\r\n"));
    }
    book.add("method-of-ten-kib", "405 open", request(&"A".repeat(10 * 1024), "/describe", ""));
    book.add("post-with-body", "405 either", {
        let mut raw = request("POST", "/describe", &format!("Content-Length: {}\r\n", SMUGGLED.len()));
        raw.extend_from_slice(SMUGGLED.as_bytes());
        raw
    });
    book.add("trace-with-body", "405 closed", {
        let mut raw = request("TRACE", "/app", &format!("Content-Length: {}\r\n", SMUGGLED.len()));
        raw.extend_from_slice(SMUGGLED.as_bytes());
        raw
    });
}

fn versions(book: &mut Book) {
    for (name, version) in [
        ("0-9", " HTTP/0.9"),
        ("1-2", " HTTP/1.2"),
        ("2-0", " HTTP/2.0"),
        ("2", " HTTP/2"),
        ("3", " HTTP/3"),
        ("9-9", " HTTP/9.9"),
        ("1-10", " HTTP/1.10"),
        ("01-1", " HTTP/01.1"),
        ("lower-case", " http/1.1"),
        ("comma", " HTTP/1,1"),
        ("space-after", " HTTP/1.1 "),
        ("space-before-number", " HTTP/ 1.1"),
        ("two-spaces-before", "  HTTP/1.1"),
        ("tab-before", "\tHTTP/1.1"),
        ("another-protocol", " ICAP/1.0"),
        ("no-number", " HTTP/"),
        ("something-after", " HTTP/1.1 GET /smuggled HTTP/1.1"),
        ("space-after-target", " "),
    ] {
        let raw = format!("GET /describe{version}\r\nHost: test\r\n\r\n");
        book.add(&format!("version-{name}"), "400 closed", raw);
    }
    book.add("http-0-9", "400 closed", "GET /describe\r\n");
    book.add("http-0-9-with-fields", "400 closed", "GET /describe\r\nHost: test\r\n\r\n");
    book.add("http-0-9-lf", "400 closed", "GET /describe\n\n");
}

fn expectations(book: &mut Book) {
    for (name, fields, expect) in [
        ("unknown", "Expect: 200-maybe\r\n", "417 closed"),
        ("empty", "Expect:\r\n", "417 closed"),
        ("list", "Expect: 100-continue, x\r\n", "417 closed"),
        ("unknown-second", "Expect: 100-continue\r\nExpect: 200-maybe\r\n", "417 closed"),
        ("unknown-first", "Expect: 200-maybe\r\nExpect: 100-continue\r\n", "417 closed"),
        ("non-ascii", "Expect: 100-contin\u{fc}e\r\n", "417 closed"),
        ("continue", "Expect: 100-continue\r\n", "200 open"),
        ("continue-in-case", "EXPECT: 100-Continue\r\n", "200 open"),
    ] {
        book.add(&format!("expect-{name}"), expect, get("/describe", fields));
    }
    let post = request("POST", "/app", "Expect: 100-continue\r\nContent-Length: 5\r\n");
    book.add("expect-and-no-body", "404 closed", post);
}

fn upgrades(book: &mut Book) {
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAA\r\n";
    for (name, target, status) in [("describe", "/describe", 200), ("app", "/app", 404)] {
        let raw = |fields: &str| String::from_utf8(get(target, fields)).expect("ASCII");
        book.add(&format!("upgrade-h2c-{name}"), &format!("{status} open"), raw(h2c));
        let piped = format!("{}{preface}", raw(h2c));
        let expect = format!("{status}+400 closed");
        book.add(&format!("upgrade-h2c-{name}-and-preface"), &expect, piped);
        let smuggled = format!("{}NOT HTTP AT ALL {SMUGGLED}", raw(h2c));
        book.add(&format!("upgrade-h2c-{name}-and-bytes"), &format!("{status}+400 closed"), smuggled);
        let other = raw("Connection: upgrade\r\nUpgrade: frobnicate/7\r\n");
        book.add(&format!("upgrade-unknown-{name}"), &format!("{status} open"), other);
    }
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    book.add("upgrade-websocket", "426 open", get("/describe", websocket));
    for (name, fields) in [
        ("names-a-field", "Connection: X-Auth\r\nX-Auth: 1\r\n"),
        ("names-host", "Connection: host\r\n"),
        ("names-length", "Connection: content-length\r\nContent-Length: 0\r\n"),
        ("names-itself", "Connection: connection\r\n"),
        ("of-commas", "Connection: ,,,,,,\r\n"),
    ] {
        book.add(&format!("connection-{name}"), "200 open", get("/describe", fields));
    }
    book.add("connection-close-and-keep-alive", "200 closed", get("/describe", "Connection: close, keep-alive\r\n"));
    book.add("connection-close-then-keep-alive", "200 closed", {
        get("/describe", "Connection: close\r\nConnection: keep-alive\r\n")
    });
}

fn sizes(book: &mut Book) {
    let fields = |count: usize| (0..count).fold(String::new(), |all, at| all + &format!("X-{at}: y\r\n"));
    book.add("fields-100", "200 open", get("/describe", &fields(99)));
    book.add("fields-101", "431 closed", get("/describe", &fields(100)));
    book.add("fields-1000", "431 closed", get("/describe", &fields(1000)));
    book.add("fields-empty-values", "431 closed", get("/describe", &"X:\r\n".repeat(200)));
    for (name, size, expect) in [("8-kib", 8, "200 open"), ("20-kib", 20, "431 closed"), ("40-kib", 40, "431 closed")] {
        let value = format!("X: {}\r\n", "a".repeat(size * 1024));
        book.add(&format!("field-of-{name}"), expect, get("/describe", &value));
        let long = format!("X{}: y\r\n", "a".repeat(size * 1024));
        book.add(&format!("name-of-{name}"), expect, get("/describe", &long));
    }
    book.add("target-of-8-kib", "200 open", get(&format!("/describe?{}", "a".repeat(8 * 1024)), ""));
    book.add("target-of-20-kib", "431 closed", get(&format!("/{}", "a".repeat(20 * 1024)), ""));
    book.add("target-of-70-kb", "431 closed", get(&format!("/describe?since={}", "a".repeat(70_000)), ""));
    book.add("first-line-without-end", "431 closed", "A".repeat(40 * 1024));
    book.add("cookies-of-12-kib", "200 open", get("/describe", &format!("Cookie: {}\r\n", "a=b; ".repeat(2400))));
}

fn other_protocols(book: &mut Book) {
    let hello = [
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03".as_slice(),
        &[7; 32],
        b"\x00\x00\x04\x13\x01\x13\x02\x01\x00\x00\x74\x00\x00\x00\x09\x00\x07\x00\x00\x04test\r\n\r\n",
    ];
    book.add("tls-hello", "400 closed", hello.concat());
    book.add("tls-hello-of-1-0", "400 closed", b"\x16\x03\x01\x00\x2e\x01\x00\x00\x2a\x03\x01rest");
    book.add("ssl-2-hello", "400 closed", b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10rest");
    book.add("ssh-banner", "400 closed", "SSH-2.0-OpenSSH_9.9\r\n");
    book.add("smtp", "400 closed", "EHLO test\r\nMAIL FROM:<a@test>\r\n");
    book.add("redis", "400 closed", "*1\r\n$4\r\nPING\r\n");
    book.add("memcached", "400 closed", "stats items\r\n");
    book.add("rtsp", "400 closed", "DESCRIBE rtsp://test/describe RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    book.add("sip", "400 closed", "OPTIONS sip:test SIP/2.0\r\nTo: <sip:test>\r\n\r\n");
    book.add("proxy-protocol-1", "400 closed", {
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /describe HTTP/1.1\r\nHost: test\r\n\r\n"
    });
    book.add(
        "proxy-protocol-2",
        "400 closed",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\0\x50\0\x51",
    );
    book.add("http-answer", "400 closed", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    book.add("nul-bytes", "400 closed", [0; 512]);
    book.add("high-bytes", "400 closed", [0xff; 512]);
    book.add("only-lf-then-request", "400 closed", "\n\n\n\nGET /describe HTTP/1.1\r\nHost: test\r\n\r\n");
    book.add("json", "400 closed", "{\"jsonrpc\":\"2.0\",\"method\":\"describe\"}\r\n\r\n");
    book.add("shell", "400 closed", "() { :; }; echo\r\n\r\n");
}
