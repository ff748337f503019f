//! What is asked for: look-alikes of the describe path, forms of a target, and every abuse of the query.

use super::{Book, current, get};

pub(super) fn add(book: &mut Book) {
    paths(book);
    forms(book);
    since(book);
    ours(book);
    wait(book);
    others(book);
}

/// These are not /describe: they go to the app, or nowhere, never to describe.
fn paths(book: &mut Book) {
    for (name, path) in [
        ("two-slashes", "//describe"),
        ("encoded-letter", "/%64escribe"),
        ("encoded-letter-upper", "/%44escribe"),
        ("all-encoded", "/%64%65%73%63%72%69%62%65"),
        ("parameter", "/describe;a"),
        ("parameter-with-value", "/describe;v=1?since="),
        ("parent", "/a/../describe"),
        ("same", "/./describe"),
        ("encoded-dot", "/%2e/describe"),
        ("encoded-parent", "/a/%2e%2e/describe"),
        ("encoded-slash", "/a%2f..%2fdescribe"),
        ("encoded-first-slash", "/%2Fdescribe"),
        ("twice-encoded", "/%2564escribe"),
        ("slash-after", "/describe/"),
        ("slash-dot-after", "/describe/."),
        ("below", "/describe/x"),
        ("below-and-back", "/describe/x/.."),
        ("itself-and-back", "/describe/../describe"),
        ("parameter-parent", "/describe..;/"),
        ("upper-case", "/DESCRIBE"),
        ("capital", "/Describe"),
        ("extension", "/describe.json"),
        ("prefix", "/describes"),
        ("nul-after", "/describe%00"),
        ("space-after", "/describe%20"),
        ("lf-after", "/describe%0a"),
        ("crlf-after", "/describe%0d%0aX:%20y"),
        ("encoded-query", "/describe%3Fsince=1"),
        ("encoded-fragment", "/describe%23"),
        ("encoded-backslash", "/describe%5c"),
        ("ampersand", "/describe&since=1"),
        ("comma", "/describe,"),
        ("colon", "/describe:80"),
        ("star", "/describe*"),
        ("overlong", "/%c0%afdescribe"),
        ("unfinished-percent", "/describe%"),
        ("wrong-percent", "/%zzdescribe"),
        ("root", "/"),
        ("empty-segments", "///describe"),
        ("host-like", "//test/describe"),
    ] {
        book.add(&format!("path-{name}"), "404 open", get(path, ""));
    }
    for (name, path) in [
        ("backslash", "/\\describe"),
        ("backslash-alone", "\\describe"),
        ("pipe", "/describe|"),
        ("quote", "/describe\""),
        ("angle", "/<describe>"),
        ("brace", "/{describe}"),
        ("caret", "/describe^"),
        ("cyrillic", "/d\u{435}scribe"),
        ("no-slash", "describe"),
        ("only-query", "?since="),
    ] {
        // No path of a URI begins like the others.
        let expect = if path.starts_with('/') { "404 open" } else { "400 closed" };
        book.add(&format!("path-{name}"), expect, get(path, ""));
    }
}

fn forms(book: &mut Book) {
    for (name, target, expect) in [
        ("absolute", "http://test/describe", "200 open"),
        ("absolute-in-case", "HTTP://TEST/describe", "200 open"),
        ("absolute-other-host", "http://evil/describe", "400 closed"),
        ("absolute-other-port", "http://test:1/describe", "400 closed"),
        ("absolute-user", "http://user@test/describe", "400 closed"),
        ("absolute-password", "http://user:secret@test/app", "400 closed"),
        ("absolute-no-host", "http:///describe", "400 closed"),
        ("absolute-two-slashes", "http://test//describe", "404 open"),
        ("absolute-no-path", "http://test", "404 open"),
        ("absolute-query-only", "http://test?since=", "404 open"),
        ("absolute-https", "https://test/describe", "200,400 either"),
        ("absolute-ftp", "ftp://test/describe", "200,400 either"),
        ("absolute-file", "file:///etc/passwd", "400 closed"),
        ("absolute-fragment", "http://test/describe#x", "400 closed"),
        ("authority", "test:80", "400 closed"),
        ("authority-of-evil", "evil:80", "400 closed"),
        ("star", "*", "404 open"),
        ("fragment", "/describe#x", "400 closed"),
        ("fragment-empty", "/describe#", "400 closed"),
        ("fragment-in-query", "/describe?since=#x", "400 closed"),
        ("fragment-alone", "#", "400 closed"),
        ("fragment-app", "/app#/../describe", "400 closed"),
        ("fragment-then-query", "/app#x?y", "400 closed"),
    ] {
        book.add(&format!("target-{name}"), expect, get(target, ""));
    }
    book.add("target-absolute-without-host", "400 closed", "GET http://test/describe HTTP/1.1\r\n\r\n");
    book.add("target-absolute-without-host-1-0", "200 closed", "GET http://test/describe HTTP/1.0\r\n\r\n");
}

fn query(book: &mut Book, name: &str, expect: &str, query: &str) {
    book.add(name, expect, get(&format!("/describe?{query}"), ""));
}

/// Foreign ids are the null state: answered at once, whatever the wait.
fn since(book: &mut Book) {
    for (name, value) in [
        ("empty", ""),
        ("minus", "-1"),
        ("zero", "0"),
        ("two-to-the-64", "18446744073709551616"),
        ("null", "null"),
        ("undefined", "undefined"),
        ("nul", "%00"),
        ("nul-many", "%00%00%00%00%00%00%00%00"),
        ("emoji", "%F0%9F%98%80"),
        ("not-utf-8", "%ff%fe%c0%80"),
        ("surrogate", "%ed%a0%80"),
        ("unfinished-percent", "%"),
        ("short-percent", "%4"),
        ("wrong-percent", "%zz"),
        ("percent-u", "%u0041"),
        ("twice-encoded", "%2561"),
        ("crlf", "%0d%0aSet-Cookie:%20a=b"),
        ("parent", "../../../../etc/passwd"),
        ("quote", "'%20OR%201=1--"),
        ("script", "%3Cscript%3Ealert(1)%3C/script%3E"),
        ("format", "%25s%25n%25x"),
        ("dots", "......................"),
        ("two-dots", ".."),
        ("plus", "+++"),
        ("tilde", "~gzip"),
        ("only-quotes", "%22%22"),
        ("weak", "W/%22%22"),
        ("256-bytes", &"a".repeat(256)),
        ("256-encoded", &"%41".repeat(256)),
    ] {
        query(book, &format!("since-{name}"), "200 open", &format!("since={value}&wait=55"));
    }
    query(book, "since-257-bytes", "400 open", &format!("since={}", "a".repeat(257)));
    query(book, "since-257-encoded", "400 open", &format!("since={}", "%00".repeat(257)));
    query(book, "since-ten-kib", "400 open", &format!("since={}", "a".repeat(10 * 1024)));
    query(book, "since-twice", "400 open", "since=a&since=b");
    query(book, "since-twice-empty", "400 open", "since=&since=");
    query(book, "since-twice-encoded", "400 open", "since=a&%73ince=b");
    query(book, "since-thousand-times", "400 open", &"since=a&".repeat(1000));
    query(book, "since-as-array", "200 open", "since[]=a&since[]=b");
    query(book, "since-no-value", "200 open", "since");
    query(book, "since-two-question-marks", "200 open", "?since=a&since=b");
    query(book, "since-semicolon", "200 open", "since=a;since=b");
}

/// What only looks like one of our ids, or is one.
fn ours(book: &mut Book) {
    let id = current();
    let (epoch, digest) = (id.epoch.to_string(), id.digest.to_string());
    let zeros = "0".repeat(32);
    for (name, value) in [
        ("foreign-epoch", format!("0000000000000000.0.{digest}")),
        ("foreign-digest", format!("{epoch}.0.{zeros}")),
        ("ahead", format!("{epoch}.9999.{zeros}")),
        ("version-most", format!("{epoch}.18446744073709551615.{zeros}")),
        ("version-over", format!("{epoch}.18446744073709551616.{digest}")),
        ("version-minus", format!("{epoch}.-1.{digest}")),
        ("version-plus", format!("{epoch}.%2B1.{digest}")),
        ("version-leading-zero", format!("{epoch}.00.{digest}")),
        ("version-empty", format!("{epoch}..{digest}")),
        ("upper-case", id.to_string().to_uppercase()),
        ("short-digest", format!("{epoch}.0.{}", &digest[..31])),
        ("long-digest", format!("{epoch}.0.{digest}0")),
        ("split-in-a-character", format!("{epoch}.0.{}%C3%A9", &digest[..31])),
        ("four-parts", format!("{id}.1")),
    ] {
        query(book, &format!("id-{name}"), "200 open", &format!("since={value}&wait=55"));
    }
    for (name, value) in [
        ("plain", id.to_string()),
        ("quoted", format!("%22{id}%22")),
        ("etag", format!("%22{epoch}.{digest}%22")),
        ("weak-etag", format!("W/%22{epoch}.{digest}%22")),
        ("gzip-suffix", format!("{epoch}.{digest}~gzip")),
        ("proxy-suffix", format!("{epoch}.{digest}-gzip")),
        ("spaces-around", format!("%20{id}+")),
        ("encoded", id.to_string().replace('.', "%2E")),
        ("version-ahead", format!("{epoch}.7.{digest}")),
    ] {
        query(book, &format!("id-ours-{name}"), "204 open", &format!("since={value}&wait=0.2"));
    }
}

fn wait(book: &mut Book) {
    let since = format!("since={}", current());
    for (name, value, expect) in [
        ("clamped", "999999", "204 open"),
        ("clamped-40-digits", "9999999999999999999999999999999999999999", "204 open"),
        ("zero", "0", "204 open"),
        ("zeros", "0000.000", "204 open"),
        ("a-thousandth", "0.001", "204 open"),
        ("encoded-digit", "%30", "204 open"),
        ("minus", "-1", "400 open"),
        ("plus", "%2B1", "400 open"),
        ("exponent", "1e3", "400 open"),
        ("hex", "0x10", "400 open"),
        ("nan", "NaN", "400 open"),
        ("infinity", "Infinity", "400 open"),
        ("inf", "inf", "400 open"),
        ("empty", "", "400 open"),
        ("space", "+", "400 open"),
        ("comma", "1,5", "400 open"),
        ("point-only", ".", "400 open"),
        ("point-last", "1.", "400 open"),
        ("point-first", ".5", "400 open"),
        ("four-decimals", "1.2345", "400 open"),
        ("two-points", "1.2.3", "400 open"),
        ("unit", "25s", "400 open"),
        ("nul", "1%00", "400 open"),
        ("arabic-digit", "%D9%A1", "400 open"),
        ("fullwidth-digit", "%EF%BC%91", "400 open"),
        ("quoted", "%221%22", "400 open"),
    ] {
        query(book, &format!("wait-{name}"), expect, &format!("{since}&wait={value}"));
    }
    query(book, "wait-twice", "400 open", "wait=1&wait=1");
    query(book, "wait-twice-encoded", "400 open", "wait=1&w%61it=2");
    query(book, "wait-no-value", "400 open", "wait");
    query(book, "wait-ten-kib", "400 open", &format!("wait={}x", "9".repeat(10 * 1024)));
    query(book, "wait-as-array", "200 open", "wait[]=x");
}

fn others(book: &mut Book) {
    for (name, text, expect) in [
        ("select", "select=/a", "200 open"),
        ("select-empty", "select=", "200 open"),
        ("select-no-value", "select", "200 open"),
        ("select-encoded", "%73elect=/a", "200 open"),
        ("select-many", "select=/a&select=/b&select=/c", "200 open"),
        ("select-as-array", "select[]=/a", "200 open"),
        ("rejected", "rejected=nonsense", "200 open"),
        ("rejected-twice", "rejected=a&rejected=b", "400 open"),
        ("query-empty", "", "200 open"),
        ("query-of-ampersands", "&&&&&&&&&&", "200 open"),
        ("query-of-equals", "=&==&===", "200 open"),
        ("query-of-percent", "%&%=%&%0", "200 open"),
        ("query-crlf-for-link", "x=%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0abody", "200 open"),
        ("query-angle-for-link", "x=%3E;rel=prev,%3Chttp://evil/", "200 open"),
        ("query-raw-angle-for-link", "x=y&%3E%3B=%22", "200 open"),
        ("query-not-utf-8", "%ff=%fe", "200 open"),
        ("query-nul-name", "%00=%00", "200 open"),
        ("query-proto", "__proto__[x]=y&constructor=z", "200 open"),
    ] {
        query(book, name, expect, text);
    }
    query(book, "query-of-3000-parameters", "200 open", &"a=b&".repeat(3000));
    query(book, "query-that-grows-in-link", "200 open", &"%22".repeat(4000));
    query(book, "query-raw-that-grows-in-link", "200 open", &"!".repeat(14_000));
}

/// What is selected. They came last, so that the numbers of the others stay.
pub(super) fn selections(book: &mut Book) {
    for (name, text, expect) in [
        ("no-slash", "select=a", "400 open"),
        ("fragment-form", "select=%23/a", "400 open"),
        ("space-first", "select=+/a", "400 open"),
        ("wrong-escape", "select=/a~2", "400 open"),
        ("escape-at-the-end", "select=/a~", "400 open"),
        ("escape-encoded", "select=/a%7E", "400 open"),
        ("one-wrong-of-many", "select=/a&select=/b&select=c", "400 open"),
        ("not-utf-8", "select=/%ff", "400 open"),
        ("nul", "select=/%00", "200 open"),
        ("crlf-for-link", "select=/a%0d%0aSet-Cookie:%20evil=1%0d%0a%0d%0abody", "200 open"),
        ("angle-for-link", "select=/a%3E;rel=prev,%3Chttp://evil/", "200 open"),
        ("only-slashes", "select=////////////////////////", "200 open"),
        ("minus", "select=/zones/-", "200 open"),
        ("huge-index", "select=/zones/18446744073709551616", "200 open"),
    ] {
        query(book, &format!("selection-{name}"), expect, text);
    }
    query(book, "selection-of-64", "200 open", &"select=/a&".repeat(64));
    query(book, "selection-of-65", "400 open", &"select=/a&".repeat(65));
}

/// Bytes that browsers and curl send as they are. They came last, so that the numbers of the others stay.
pub(super) fn unencoded(book: &mut Book) {
    let id = current();
    let tag = format!("{}.{}", id.epoch, id.digest);
    query(book, "id-ours-raw-quotes", "204 open", &format!("since=\"{tag}\"&wait=0.2"));
    query(book, "id-ours-raw-weak", "204 open", &format!("since=W/\"{tag}\"&wait=0.2"));
    query(book, "query-raw-angles", "200 open", "x=<a>;rel=prev");
    query(book, "query-raw-quotes-for-link", "200 open", "x=\";rel=prev,<http://evil/>");
    query(book, "query-promql", "200 open", "query=up{job=\"x\"}");
    let mut raw = get("/describe?x=@", "");
    let at = raw.iter().position(|byte| *byte == b'@').expect("it is there");
    raw[at] = 0xff;
    book.add("query-raw-not-utf-8", "200 open", raw);
}
