//! HTTP/2 on the wire: wrong prefaces, malformed messages, frames that break the protocol, and
//! floods. Fields are written without compression, so that any bytes can stand in them.

use super::{Book, current};

/// What a client says first (RFC 9113, section 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITISED: u8 = 32;
/// A whole request.
const WHOLE: u8 = END_STREAM | END_HEADERS;

/// One frame (RFC 9113, section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields, each a literal that is not indexed (RFC 7541, section 6.2.2).
pub(crate) fn fields(pairs: &[(&str, &str)]) -> Vec<u8> {
    pairs.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

fn text(text: &str) -> Vec<u8> {
    let length = match text.len() {
        short @ 0..127 => vec![u8::try_from(short).expect("below 127")],
        long => {
            let (mut rest, mut bytes) = (long - 127, vec![127]);
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).expect("below 128"));
            bytes
        }
    };
    [&length, text.as_bytes()].concat()
}

/// The pseudo-fields of a GET.
pub(crate) fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)]
}

fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// All that a client says, from the preface on.
pub(crate) fn session(frames: &[Vec<u8>]) -> Vec<u8> {
    [hello(), frames.concat()].concat()
}

/// A GET of /describe with other fields behind or instead of its own.
fn message(change: impl FnOnce(&mut Vec<(&'static str, &'static str)>)) -> Vec<u8> {
    let mut pairs = get("/describe");
    change(&mut pairs);
    session(&[frame(HEADERS, WHOLE, 1, &fields(&pairs))])
}

pub(super) fn add(book: &mut Book) {
    prefaces(book);
    messages(book);
    pseudo(book);
    lengths(book);
    broken(book);
    settings(book);
    compression(book);
    floods(book);
}

fn prefaces(book: &mut Book) {
    book.add("h2-get", "200 open", message(|_| {}));
    for (name, raw) in [
        ("wrong-end", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".as_slice()),
        ("lower-case", b"pri * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("http-1-1", b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n"),
        ("lf", b"PRI * HTTP/2.0\n\nSM\n\n"),
        ("without-sm", b"PRI * HTTP/2.0\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
        ("other-target", b"PRI / HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("frames-without", b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0"),
        ("after-a-line", b"\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        book.add(&format!("h2-preface-{name}"), "400 closed", raw);
    }
    let then = |rest: &[u8]| [PREFACE, rest].concat();
    book.add("h2-preface-then-http-1", "goaway closed", then(b"GET /describe HTTP/1.1\r\nHost: test\r\n\r\n"));
    let first = frame(HEADERS, WHOLE, 1, &fields(&get("/describe")));
    book.add("h2-preface-then-headers", "200,goaway either", then(&first));
    book.add("h2-preface-then-tls", "goaway closed", then(&[0x16, 3, 1, 0, 0xa5, 1, 0, 0, 0xa1, 3, 3, 0, 0, 0]));
    book.add("h2-preface-twice", "goaway closed", then(PREFACE));
}

/// Malformed, each in a way of RFC 9113, sections 8.2 and 8.3.
fn messages(book: &mut Book) {
    for (name, field, value, expect) in [
        ("te-gzip", "te", "gzip", "rst,400 open"),
        ("connection", "connection", "close", "rst open"),
        ("connection-keep-alive", "connection", "keep-alive", "rst open"),
        ("keep-alive", "keep-alive", "timeout=5", "rst open"),
        ("proxy-connection", "proxy-connection", "close", "rst open"),
        ("transfer-encoding", "transfer-encoding", "chunked", "rst open"),
        ("upgrade", "upgrade", "h2c", "rst open"),
        ("upper-case-name", "X-Upper", "y", "rst,goaway either"),
        ("crlf-in-value", "x", "y\r\nz: evil", "rst,goaway either"),
        ("lf-in-value", "x", "y\nz", "rst,goaway either"),
        ("nul-in-value", "x", "y\0z", "rst,goaway either"),
        ("crlf-in-name", "x\r\ny", "z", "rst,goaway either"),
        ("colon-in-name", "x:y", "z", "rst,goaway either"),
        ("space-in-name", "x y", "z", "rst,goaway either"),
        ("non-ascii-name", "\u{e9}", "z", "rst,goaway either"),
        ("empty-name", "", "z", "rst,goaway either"),
        ("two-hosts", "host", "evil", "400 open"),
        ("expect-unknown", "expect", "200-maybe", "417 open"),
        ("look-alike", "content_length", "5", "400 open"),
    ] {
        book.add(&format!("h2-{name}"), expect, message(|pairs| pairs.push((field, value))));
    }
    book.add("h2-te-trailers", "200 open", message(|pairs| pairs.push(("te", "trailers"))));
    book.add("h2-host-same", "200 open", message(|pairs| pairs.push(("host", "test"))));
    book.add("h2-host-twice", "400 open", message(|pairs| pairs.extend([("host", "test"), ("host", "test")])));
}

fn pseudo(book: &mut Book) {
    for (name, at, value, expect) in [
        ("space-in-path", 3, "/desc ribe", "rst,400 open"),
        ("crlf-in-path", 3, "/describe HTTP/1.1\r\nx: y", "rst,400,goaway either"),
        ("nul-in-path", 3, "/describe\0", "rst,400,goaway either"),
        ("empty-path", 3, "", "rst,400 open"),
        ("no-slash", 3, "describe", "rst,400,404 open"),
        ("absolute-path", 3, "http://test/describe", "rst,400,404 open"),
        ("star-path", 3, "*", "rst,404 open"),
        ("two-slashes", 3, "//describe", "404 open"),
        ("encoded-path", 3, "/%64escribe", "404 open"),
        ("parent-path", 3, "/a/../describe", "404 open"),
        ("empty-authority", 2, "", "rst,400 open"),
        ("user-in-authority", 2, "user@test", "rst,400 open"),
        ("space-in-authority", 2, "te st", "rst,400 open"),
        ("path-in-authority", 2, "test/evil", "rst,400 open"),
        ("crlf-in-authority", 2, "test\r\nx: y", "rst,400,goaway either"),
        ("space-in-method", 0, "GE T", "rst,400,goaway either"),
        ("crlf-in-method", 0, "GET / HTTP/1.1\r\nx: y", "rst,400,goaway either"),
        ("empty-method", 0, "", "rst,400,goaway either"),
        ("trace", 0, "TRACE", "405 open"),
        ("post", 0, "POST", "405 open"),
        ("connect-with-path", 0, "CONNECT", "rst,405 open"),
        ("empty-scheme", 1, "", "rst,400,200 open"),
        ("wrong-scheme", 1, "ht tp", "rst,400,200 open"),
        ("other-scheme", 1, "ftp", "rst,400,200 open"),
    ] {
        book.add(&format!("h2-{name}"), expect, message(|pairs| pairs[at].1 = value));
    }
    for (name, at) in [("method", 0), ("scheme", 1), ("path", 3)] {
        let mut twice = get("/describe");
        twice.insert(at, twice[at]);
        let twice = session(&[frame(HEADERS, WHOLE, 1, &fields(&twice))]);
        book.add(&format!("h2-duplicate-{name}"), "rst,goaway either", twice);
        let mut without = get("/describe");
        without.remove(at);
        let without = session(&[frame(HEADERS, WHOLE, 1, &fields(&without))]);
        book.add(&format!("h2-without-{name}"), "rst,400 open", without);
    }
    book.add("h2-without-authority", "400 open", message(|pairs| pairs.retain(|(name, _)| *name != ":authority")));
    book.add("h2-duplicate-authority", "rst,goaway either", message(|pairs| pairs.insert(2, (":authority", "evil"))));
    book.add("h2-pseudo-after-field", "rst,goaway either", message(|pairs| pairs.insert(2, ("x", "y"))));
    book.add("h2-pseudo-unknown", "rst,goaway either", message(|pairs| pairs.insert(0, (":evil", "y"))));
    book.add("h2-pseudo-of-answers", "rst,goaway either", message(|pairs| pairs.insert(0, (":status", "200"))));
    book.add(
        "h2-extended-connect",
        "rst,goaway,405 either",
        message(|pairs| {
            pairs[0].1 = "CONNECT";
            pairs.push((":protocol", "websocket"));
        }),
    );
    let connect = fields(&[(":method", "CONNECT"), (":authority", "test:443")]);
    book.add("h2-connect", "405 open", session(&[frame(HEADERS, WHOLE, 1, &connect)]));
}

fn lengths(book: &mut Book) {
    let open = |value: &'static str| {
        let mut pairs = get("/describe");
        pairs[0].1 = "POST";
        pairs.push(("content-length", value));
        frame(HEADERS, END_HEADERS, 1, &fields(&pairs))
    };
    let end = |bytes: &[u8]| frame(DATA, END_STREAM, 1, bytes);
    for (name, value) in [("short", "50"), ("long", "3")] {
        // What is wrong comes after the head: the refusal of the method may be first.
        book.add(&format!("h2-length-{name}"), "rst,405,405+rst open", session(&[open(value), end(b"hello")]));
    }
    for (name, value) in [("word", "five"), ("minus", "-5"), ("plus", "+5"), ("list", "5, 5")] {
        book.add(&format!("h2-length-{name}"), "rst,405,405+rst,400 open", session(&[open(value), end(b"hello")]));
    }
    book.add("h2-length-on-nothing", "rst,200 open", message(|pairs| pairs.push(("content-length", "5"))));
    book.add(
        "h2-length-twice",
        "rst,200,400 open",
        message(|pairs| {
            pairs.extend([("content-length", "0"), ("content-length", "5")]);
        }),
    );
}

/// Frames that break the protocol end the connection (RFC 9113, sections 5.1 and 6).
fn broken(book: &mut Book) {
    let head = fields(&get("/describe"));
    let whole = |stream| frame(HEADERS, WHOLE, stream, &head);
    let unended = frame(HEADERS, END_STREAM, 1, &head);
    for (name, frames) in [
        ("data-on-idle", vec![frame(DATA, 0, 1, b"x")]),
        ("data-on-0", vec![frame(DATA, 0, 0, b"x")]),
        ("headers-on-0", vec![whole(0)]),
        ("headers-on-even", vec![whole(2)]),
        ("rst-on-0", vec![frame(RST_STREAM, 0, 0, &[0, 0, 0, 8])]),
        ("rst-on-idle", vec![frame(RST_STREAM, 0, 9, &[0, 0, 0, 8])]),
        ("rst-short", vec![whole(1), frame(RST_STREAM, 0, 1, &[0, 0, 8])]),
        ("push-promise", vec![frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &*head].concat())]),
        ("ping-short", vec![frame(PING, 0, 0, &[0; 7])]),
        ("ping-long", vec![frame(PING, 0, 0, &[0; 9])]),
        ("ping-on-stream", vec![frame(PING, 0, 1, &[0; 8])]),
        ("goaway-on-stream", vec![frame(GOAWAY, 0, 1, &[0; 8])]),
        ("window-update-0", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 4])]),
        ("window-update-short", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])]),
        ("window-update-overflow", vec![frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]),
        ("window-update-on-idle", vec![frame(WINDOW_UPDATE, 0, 9, &[0, 0, 0, 1])]),
        ("continuation-alone", vec![frame(CONTINUATION, END_HEADERS, 1, &head)]),
        ("continuation-on-other", vec![unended.clone(), frame(CONTINUATION, END_HEADERS, 3, &[])]),
        ("headers-interrupted", vec![unended.clone(), frame(DATA, 0, 1, b"x")]),
        ("headers-interrupted-by-ping", vec![unended, frame(PING, 0, 0, &[0; 8])]),
        ("padding-too-long", vec![frame(HEADERS, WHOLE | PADDED, 1, &[200, 0, 0])]),
        ("data-padding-too-long", vec![whole(1), frame(DATA, PADDED, 1, &[200, 0])]),
        ("headers-cut-in-priority", vec![frame(HEADERS, WHOLE | PRIORITISED, 1, &[0, 0])]),
        ("frame-over-16-kib", vec![frame(DATA, 0, 1, &[0; 16_385])]),
        ("length-16-mib", vec![vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]]),
    ] {
        book.add(&format!("h2-frame-{name}"), "goaway,200+goaway closed", session(&frames));
    }
    for (name, frames, expect) in [
        (
            "priority-on-itself",
            vec![whole(1), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])],
            "200,rst,goaway,200+rst either",
        ),
        ("priority-short", vec![whole(1), frame(PRIORITY, 0, 1, &[0; 4])], "200,rst,goaway,200+rst,200+goaway either"),
        ("stream-again", vec![whole(1), whole(1)], "rst,goaway,200+rst,200+goaway either"),
        ("stream-lower", vec![whole(5), whole(3)], "goaway,200+goaway,200+rst either"),
        ("unknown-kind", vec![frame(0xee, 0xff, 0, b"anything"), whole(1)], "200 open"),
        ("unknown-flags", vec![frame(HEADERS, WHOLE | 0xc2, 1, &head)], "200 open"),
        ("reserved-bit", vec![frame(HEADERS, WHOLE, 0x8000_0001, &head)], "200 open"),
        (
            "window-update-0-on-stream",
            vec![whole(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])],
            "200,rst,200+rst,goaway,200+goaway either",
        ),
        ("goaway", vec![frame(GOAWAY, 0, 0, &[0; 8])], "close,goaway closed"),
        (
            "headers-in-pieces",
            vec![
                frame(HEADERS, END_STREAM, 1, &head[..9]),
                frame(CONTINUATION, 0, 1, &head[9..20]),
                frame(CONTINUATION, END_HEADERS, 1, &head[20..]),
            ],
            "200 open",
        ),
    ] {
        book.add(&format!("h2-{name}"), expect, session(&frames));
    }
}

fn settings(book: &mut Book) {
    let setting = |id: u8, value: u32| [&[0, id], value.to_be_bytes().as_slice()].concat();
    for (name, stream, flags, payload) in [
        ("of-5-bytes", 0, 0, vec![0; 5]),
        ("on-stream", 1, 0, vec![]),
        ("ack-with-payload", 0, 1, setting(3, 1)),
        ("push-2", 0, 0, setting(2, 2)),
        ("window-over", 0, 0, setting(4, 0x8000_0000)),
        ("frame-size-0", 0, 0, setting(5, 0)),
        ("frame-size-over", 0, 0, setting(5, 0x0100_0000)),
    ] {
        book.add(&format!("h2-settings-{name}"), "goaway closed", session(&[frame(SETTINGS, flags, stream, &payload)]));
    }
    let get = frame(HEADERS, WHOLE, 1, &fields(&get("/describe")));
    for (name, payload) in [
        ("unknown", setting(0xee, 1)),
        ("table-0", setting(1, 0)),
        ("table-most", setting(1, u32::MAX)),
        ("streams-0", setting(3, 0)),
        ("list-size-0", setting(6, 0)),
    ] {
        book.add(&format!("h2-settings-{name}"), "200 open", session(&[frame(SETTINGS, 0, 0, &payload), get.clone()]));
    }
    // No window: the head may come, the body cannot.
    book.add("h2-settings-window-0", "200 open", session(&[frame(SETTINGS, 0, 0, &setting(4, 0)), get]));
}

fn compression(book: &mut Book) {
    let head = fields(&get("/describe"));
    for (name, block) in [
        ("index-0", vec![0x80]),
        ("index-200", vec![0xff, 0x49]),
        ("integer-overflow", vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
        ("literal-cut", vec![0, 5, b'x']),
        ("length-over", vec![0, 0x7f, 0xff, 0xff, 0xff, 0x07, b'x']),
        ("huffman-padding", vec![0, 1, b'x', 0x81, 0x00]),
        ("huffman-end-of-string", vec![0, 1, b'x', 0x84, 0xff, 0xff, 0xff, 0xff]),
        ("table-over", vec![0x3f, 0xe1, 0xff, 0x03]),
        ("table-update-last", [&*head, &[0x20]].concat()),
    ] {
        book.add(&format!("h2-hpack-{name}"), "goaway,rst either", session(&[frame(HEADERS, WHOLE, 1, &block)]));
    }
    // One entry of 3 KiB in the table, named again and again (CVE-2016-6581).
    let long = "a".repeat(3000);
    let entry = [vec![0x40], text("x-bomb"), text(&long)].concat();
    let bomb = [head, entry, vec![0xbe; 8000]].concat();
    book.add("h2-hpack-bomb", "431,rst,goaway either", session(&[frame(HEADERS, WHOLE, 1, &bomb)]));
}

fn floods(book: &mut Book) {
    // The smallest request: all but the authority and the path are in the static table.
    let short = |path: &str| [vec![0x82, 0x86, 0x01], text("test"), vec![0x04], text(path)].concat();
    let get = |stream: u32, path: &str| frame(HEADERS, WHOLE, stream, &short(path));
    let each =
        |count: u32, make: &dyn Fn(u32) -> Vec<u8>| session(&(0..count).map(|at| make(2 * at + 1)).collect::<Vec<_>>());
    let parked = format!("/describe?since={}&wait=0.5", current());
    let cancel = |stream| frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    let end = || frame(0xee, 0, 0, &[]);

    let rapid = each(400, &|stream| [get(stream, &parked), cancel(stream)].concat());
    book.add("h2-flood-rapid-reset", "goaway closed", rapid);
    let provoked = each(1100, &|stream| [get(stream, &parked), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat());
    book.add("h2-flood-made-you-reset", "goaway,rst+goaway closed", provoked);
    let streams = each(300, &|stream| get(stream, &parked));
    book.add("h2-flood-streams", "204+rst either", streams);

    let head = fields(&super::frames::get("/describe"));
    let open = frame(HEADERS, END_STREAM, 1, &head);
    let more = fields(&[("x", &"y".repeat(1000))]);
    let continued = |count: usize, piece: &[u8]| {
        session(&[
            open.clone(),
            frame(CONTINUATION, 0, 1, piece).repeat(count),
            frame(CONTINUATION, END_HEADERS, 1, &[]),
        ])
    };
    book.add("h2-flood-continuation", "goaway closed", continued(60, &more));
    book.add("h2-flood-continuation-empty", "goaway closed", continued(1000, &[]));

    let mut post = super::frames::get("/describe");
    post[0].1 = "POST";
    let post = frame(HEADERS, END_HEADERS, 1, &fields(&post));
    let data = frame(DATA, 0, 1, &[]).repeat(1500);
    book.add("h2-flood-empty-data", "goaway,405,405+rst,405+goaway either", session(&[post, data, end()]));
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(1200);
    book.add("h2-flood-ping", "200,goaway either", session(&[pings, get(1, "/describe")]));
    let settings = frame(SETTINGS, 0, 0, &[]).repeat(1200);
    book.add("h2-flood-settings", "200,goaway either", session(&[settings, get(1, "/describe")]));
    let priorities = frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 0]).repeat(1200);
    book.add("h2-flood-priority", "200,goaway either", session(&[priorities, get(5, "/describe")]));
    let resets = [get(1, "/describe"), cancel(1).repeat(1200)].concat();
    book.add("h2-flood-reset-of-one", "close,goaway,200,200+goaway,rst either", session(&[resets]));
    let many = fields(&[("x", "y")]).repeat(3000);
    let many = frame(HEADERS, WHOLE, 1, &[head, many].concat());
    book.add("h2-flood-fields", "431,rst,goaway either", session(&[many]));
}
