//! Heads cut at every byte: the verdict is that of the whole.

use super::*;

/// The verdict on bytes that come in two pieces, cut anywhere, and one by one; all the same.
#[track_caller]
fn verdict(bytes: &[u8]) -> Verdict {
    let mut reader = Reader::default();
    let whole = reader.judge(bytes);
    for cut in 0..=bytes.len() {
        let mut reader = Reader::default();
        let first = reader.judge(&bytes[..cut]);
        let cut_off = if first == Verdict::Partial { reader.judge(bytes) } else { first };
        assert_eq!(plain(&cut_off), plain(&whole), "cut at {cut}: {:?}", String::from_utf8_lossy(bytes));
    }
    let mut reader = Reader::default();
    let one_by_one = (0..=bytes.len()).map(|end| reader.judge(&bytes[..end])).find(|found| *found != Verdict::Partial);
    assert_eq!(plain(&one_by_one.unwrap_or(Verdict::Partial)), plain(&whole), "one by one");
    whole
}

/// Without the first line as it is logged, of which there may be less so far.
fn plain(verdict: &Verdict) -> (Option<&Passed>, Option<&Problem>) {
    match verdict {
        Verdict::Partial => (None, None),
        Verdict::Passes(passed) => (Some(passed), None),
        Verdict::Refused(refused) => (None, Some(&refused.problem)),
    }
}

#[track_caller]
fn passed(text: &str) -> Passed {
    match verdict(text.as_bytes()) {
        Verdict::Passes(passed) => passed,
        other @ (Verdict::Partial | Verdict::Refused(_)) => panic!("{text:?}: {other:?}"),
    }
}

#[track_caller]
fn refused(bytes: impl AsRef<[u8]>) -> (u16, String) {
    match verdict(bytes.as_ref()) {
        Verdict::Refused(refused) => (refused.problem.kind.status().as_u16(), refused.problem.detail),
        other @ (Verdict::Partial | Verdict::Passes(_)) => {
            panic!("{:?}: {other:?}", String::from_utf8_lossy(bytes.as_ref()))
        }
    }
}

#[test]
fn a_head_passes_as_it_is_and_what_is_behind_it_stays() {
    for (head, body) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ("GET / HTTP/1.0\r\n\r\n", Framing::Length(0)),
        ("\r\n\r\nGET /?a=b HTTP/1.1\r\nHost: a\r\nX:\r\nY: \t#\u{e9}\r\n\r\n", Framing::Length(0)),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0012\r\n\r\n", Framing::Length(12)),
        ("POST / HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING:\tChunked \r\n\r\n", Framing::Chunked),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
        ("GET http://a/x HTTP/1.1\r\nHost: a\r\n\r\n", Framing::Length(0)),
    ] {
        let found = passed(head);
        assert_eq!((found.length, &found.rewritten, found.body), (head.len(), &None, body));
        assert_eq!(passed(&format!("{head}\n\0 more")), found);
        assert_eq!(verdict(&head.as_bytes()[..head.len() - 1]), Verdict::Partial);
    }
}

#[test]
fn bytes_that_a_uri_must_encode_are_encoded_and_no_others() {
    for (sent, expected) in [
        ("/a?since=\"x\"", Some("/a?since=%22x%22")),
        ("/<a>`?<b>`", Some("/%3Ca%3E%60?%3Cb%3E`")),
        ("/\"{}|^\\?{}|^`\\", None),
        ("/a?\u{e9}=%22", None),
        ("http://a/\u{e9}?\"", Some("http://a/\u{e9}?%22")),
        ("http://a?\"", Some("http://a?%22")),
    ] {
        let head = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a\r\nX: \"<>\r\n\r\n");
        let rewritten = passed(&head(sent)).rewritten;
        assert_eq!(rewritten, expected.map(|target| head(target).into_bytes()), "{sent}");
    }
    let high = b"GET /?\xff\xc3\xa9\xfe HTTP/1.1\r\nHost: a\r\n\r\n";
    let Verdict::Passes(high) = verdict(high) else { panic!("it passes") };
    let rewritten = "GET /?%FF\u{e9}%FE HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes().to_vec();
    assert_eq!(high.rewritten, Some(rewritten));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_by_the_first_byte_that_shows_it() {
    for (text, detail) in [
        ("GET / HTTP/1.1\nHost", "LF alone"),
        ("\n", "LF alone"),
        ("GET / HTTP/1.1\r\nHost: a\n", "LF alone"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", "LF alone"),
        ("GET / HTTP/1.1\rH", "CR without LF"),
        ("\r\r", "CR without LF"),
        ("GET / HTTP/1.1\r\nHost: a\r\r", "CR without LF"),
        ("GET / HTTP/1.1\r\nX: \0", "0x00"),
        ("GET /\u{7f}", "0x7f"),
        ("\u{16}\u{3}\u{1}", "0x16"),
        ("GET /x#", "fragment"),
        ("GET #", "fragment"),
        ("GET  /", "the first line"),
        (" ", "the first line"),
        ("/ /", "the first line"),
        ("GET\t", "the first line"),
        ("GET\r\n", "the first line"),
        ("GET /\r\n", "the first line"),
        ("GET / HTTP/1.1 ", "the version"),
        ("GET / \r\n", "the version"),
        ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", "the version"),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", "the version"),
        ("GET / HTTP/1.1\r\n Host", "white space"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\tb", "white space"),
        ("GET / HTTP/1.1\r\n:", "a field has no name"),
        ("GET / HTTP/1.1\r\nHost\r\n", "a field has no name"),
        ("GET / HTTP/1.1\r\nHost :", "a field has no name"),
        ("GET / HTTP/1.1\r\nH\u{e9}", "a field has no name"),
        ("GET x HTTP/1.1\r\nHost: a\r\n\r\n", "the target is \"x\""),
        ("GET /%<a b HTTP/1.1\r\n", "the version"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n", "stands twice"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "stands beside"),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 has no"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \r\n\r\n", "the number of bytes"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", "the number of bytes"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551614\r\n\r\n", "the number of bytes"),
    ] {
        let (status, message) = refused(text);
        assert_eq!(status, 400, "{text:?}: {message}");
        assert!(message.contains(detail), "{text:?}: {message}, want {detail}");
        assert_eq!(refused(format!("{text}\0")).1, message, "what follows changes nothing");
    }
    assert_eq!(refused([0xff; 4]).0, 400);
}

#[test]
fn a_head_has_its_bounds() {
    let head = |length: usize| {
        let empty = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(length - empty))
    };
    let judge = |text: &str| Reader::default().judge(text.as_bytes());
    let status = |verdict: Verdict| match verdict {
        Verdict::Refused(refused) => refused.problem.kind.status().as_u16(),
        Verdict::Partial => 0,
        Verdict::Passes(_) => 200,
    };
    assert_eq!(status(judge(&head(HEAD_BYTES))), 200);
    assert_eq!(status(judge(&head(HEAD_BYTES + 1))), 431);
    assert_eq!(status(judge(&head(HEAD_BYTES + 1)[..HEAD_BYTES - 1])), 0);
    assert_eq!(status(judge(&"A".repeat(HEAD_BYTES))), 431);
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(status(judge(&fields(HEAD_FIELDS))), 200);
    assert_eq!(status(judge(&fields(HEAD_FIELDS + 1))), 431);
    let quotes = format!("GET /?{} HTTP/1.1\r\nHost: a\r\n\r\n", "\"".repeat(6000));
    assert_eq!(status(judge(&quotes)), 431, "also once it is encoded");
}

#[test]
fn what_is_told_of_a_head_that_is_refused_is_bounded() {
    let line = |text: &str| match Reader::default().judge(text.as_bytes()) {
        Verdict::Refused(refused) => refused.line,
        other @ (Verdict::Partial | Verdict::Passes(_)) => panic!("{other:?}"),
    };
    assert_eq!(line("GET /x#y HTTP/1.1\r\n"), Some(("GET".to_owned(), "/x#y".to_owned())));
    assert_eq!(line("\u{16}\u{3} x"), None);
    let long = line(&format!("GET /{}#", "x".repeat(5000))).expect("a line");
    assert_eq!(long.1.len(), 256);
}
