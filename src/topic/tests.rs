//! A topic and its readers: what they are told, byte for byte, and when.

use futures::FutureExt as _;
use prometheus::Registry;

use super::backend::{NotStored, Store};
use super::core::{Publication, Refused, Start};
use super::kept::Kept;
use super::message::{By, Data, Draft};
use super::metrics::Families;
use super::reader::{Reader, Step, Told};
use super::request::ReadRequest;
use super::*;
use crate::bounds::STREAM_SILENCE;
use crate::config::{PublishRate, TopicHistory};

const EPOCH: &str = "0000000000000007";

struct Rig {
    topic: Arc<Topic>,
    kept: Kept,
    now: Instant,
}

impl Rig {
    #[expect(clippy::disallowed_methods, reason = "where the clock of a test begins")]
    fn new(messages: usize) -> Self {
        let config = config::Topic::example("chat");
        let history = TopicHistory { messages, ..config.history };
        let rate = PublishRate { per_second: 100_000, burst: 100_000 };
        let config = config::Topic { history, rate, ..config };
        let now = Instant::now();
        let metrics = Families::register(&Registry::new()).expect("new names").of("chat");
        Self {
            topic: Topic::new(config, Epoch::of(7).at(0), Backend::Memory, metrics, now),
            kept: Kept::default(),
            now,
        }
    }

    /// One whose messages are stored by this backend.
    fn stored(store: Box<dyn Store>) -> Self {
        let Self { topic, kept, now } = Self::new(10);
        let metrics = Families::register(&Registry::new()).expect("new names").of("chat");
        let topic = Topic::new((*topic.config()).clone(), Epoch::of(7).at(0), Backend::Stored(store), metrics, now);
        Self { topic, kept, now }
    }

    fn says(&mut self, data: Data, by: Option<&str>) {
        let by = by.map(|name| By { name: name.into(), is_proven: false });
        let draft = Draft { media_type: "text/plain".into(), by, data };
        let publication = Publication { client: "x".into(), once: None, draft, bytes: 1 };
        self.topic.publish(publication, self.now, &"T".into()).now_or_never().expect("at once").expect("published");
    }

    fn text(&mut self, text: &str) {
        self.says(Data::Text(text.to_owned()), None);
    }

    fn reader(&self, query: &str, accept: &str) -> Reader {
        let fields = [(http::header::ACCEPT, HeaderValue::from_str(accept).expect("a value"))].into_iter().collect();
        let request = ReadRequest::parse(&http::Method::GET, Some(query), &fields, true).expect("a request");
        Reader::begin(&self.topic, request, false, self.now).expect("it may read")
    }

    fn events(&self, query: &str) -> Reader {
        self.reader(query, "text/event-stream")
    }

    /// The next part of a stream, and whether it is the last; a panic: there is none.
    fn part(&mut self, reader: &mut Reader) -> (String, bool) {
        match reader.step(self.now, &mut self.kept) {
            Step::Tell(Told::Part(part)) => {
                let first = String::from_utf8(part.first.unwrap_or_default()).expect("text");
                let first = first.strip_prefix("retry: ").map_or(first.as_str(), |rest| &rest[6..]).to_owned();
                (first + std::str::from_utf8(&part.bytes).expect("text"), part.is_last)
            }
            other @ (Step::Wait(_) | Step::Tell(Told::Answer(_))) => panic!("{other:?}"),
        }
    }

    /// How long it waits; a panic: it does not.
    fn waits(&mut self, reader: &mut Reader) -> Duration {
        match reader.step(self.now, &mut self.kept) {
            Step::Wait(until) => until - self.now,
            other @ Step::Tell(_) => panic!("{other:?}"),
        }
    }

    /// The answer to a poll: its status, and its body.
    fn answer(&mut self, reader: &mut Reader) -> (u16, String) {
        match reader.step(self.now, &mut self.kept) {
            Step::Tell(Told::Answer(answer)) => {
                let body = answer.body().map(|body| String::from_utf8(body.to_vec()).expect("text"));
                (answer.status.as_u16(), body.unwrap_or_default())
            }
            other @ (Step::Wait(_) | Step::Tell(Told::Part(_))) => panic!("{other:?}"),
        }
    }
}

fn since(offset: u64) -> String {
    format!("since={EPOCH}.{offset}")
}

#[test]
fn what_each_form_says_of_a_message() {
    let mut rig = Rig::new(10);
    rig.says(Data::Text("one\r\ntwo\rthree\n".to_owned()), Some("ann"));
    rig.says(Data::Json("{\"a\":[1,\"x\"]}".into()), None);
    rig.text("");
    let first = format!(
        "{{\"id\":\"{EPOCH}.1\",\"at\":\"T\",\"type\":\"text/plain\",\"by\":\"ann\",\"unproven\":true,\"data\":\"one\\r\\ntwo\\rthree\\n\"}}"
    );
    let second = format!(
        "{{\"id\":\"{EPOCH}.2\",\"at\":\"T\",\"type\":\"text/plain\",\"by\":null,\"data\":{{\"a\":[1,\"x\"]}}}}"
    );
    let third = format!("{{\"id\":\"{EPOCH}.3\",\"at\":\"T\",\"type\":\"text/plain\",\"by\":null,\"data\":\"\"}}");
    let events = format!(
        "id: {EPOCH}.1\ndata: one\ndata: two\ndata: three\ndata: \n\nid: {EPOCH}.2\ndata: {{\"a\":[1,\"x\"]}}\n\nid: {EPOCH}.3\ndata: \n\n"
    );
    let mut reader = rig.events("");
    assert_eq!(rig.part(&mut reader), (events, false));
    let mut reader = rig.events("envelope=1");
    let whole =
        format!("id: {EPOCH}.1\ndata: {first}\n\nid: {EPOCH}.2\ndata: {second}\n\nid: {EPOCH}.3\ndata: {third}\n\n");
    assert_eq!(rig.part(&mut reader), (whole, false));
    let mut reader = rig.reader("", "application/x-ndjson");
    let lines = [&first, &second, &third].map(|json| format!("{{\"type\":\"message\",\"message\":{json}}}\n")).concat();
    assert_eq!(rig.part(&mut reader), (lines, false));
    let mut reader = rig.reader("", "*/*");
    let page = format!(
        "{{\"messages\":[{first},{second},{third}],\"next\":\"{EPOCH}.3\",\"first\":\"{EPOCH}.1\",\"gap\":null}}\n"
    );
    assert_eq!(rig.answer(&mut reader), (200, page));
}

#[test]
fn a_poll_is_parked_until_a_message_comes_or_its_wait_is_over() {
    let mut rig = Rig::new(10);
    let empty = format!("{{\"messages\":[],\"next\":\"{EPOCH}.0\",\"first\":\"{EPOCH}.1\",\"gap\":null}}\n");
    let mut never_read = rig.reader("", "*/*");
    assert_eq!(rig.answer(&mut never_read), (200, empty), "without since it never waits");
    let mut reader = rig.reader(&since(0), "*/*");
    assert_eq!((rig.waits(&mut reader).as_secs(), rig.topic.readers()), (25, 1));
    rig.text("a");
    assert_eq!(rig.answer(&mut reader).0, 200);
    drop(reader);
    assert_eq!(rig.topic.readers(), 0);
    let mut reader = rig.reader(&format!("{}&wait=0", since(1)), "*/*");
    assert_eq!(rig.answer(&mut reader), (204, String::new()));
    let mut reader = rig.reader(&format!("{}&wait=2", since(1)), "*/*");
    assert_eq!(rig.waits(&mut reader).as_secs(), 2);
    rig.now += Duration::from_secs(2);
    assert_eq!(rig.answer(&mut reader).0, 204);
}

#[test]
fn parked_polls_are_answered_at_once_and_then_with_all_that_has_come() {
    let mut rig = Rig::new(100);
    rig.now += Duration::from_secs(5);
    let mut reader = rig.reader(&since(0), "*/*");
    rig.waits(&mut reader);
    rig.text("a");
    assert_eq!(rig.answer(&mut reader).0, 200, "the first at once");
    let mut reader = rig.reader(&since(1), "*/*");
    rig.waits(&mut reader);
    rig.now += Duration::from_millis(10);
    rig.text("b");
    assert_eq!(rig.waits(&mut reader), Duration::from_millis(40));
    rig.now += Duration::from_millis(30);
    rig.text("c");
    assert_eq!(rig.waits(&mut reader), Duration::from_millis(10));
    let mut new = rig.reader(&since(1), "*/*");
    assert_eq!(rig.answer(&mut new).0, 200, "who comes with news waiting is answered at once");
    rig.now += Duration::from_millis(10);
    let (status, page) = rig.answer(&mut reader);
    assert!(status == 200 && page.contains("\"b\"") && page.contains("\"c\""), "{page}");
    rig.now += Duration::from_secs(1);
    let mut reader = rig.reader(&since(3), "*/*");
    rig.waits(&mut reader);
    rig.text("d");
    assert_eq!(rig.answer(&mut reader).0, 200, "after silence at once again");
}

#[test]
fn a_poll_is_given_as_much_as_it_asks_for_and_one_message_always() {
    let mut rig = Rig::new(100);
    for _ in 0..10 {
        rig.text(&"x".repeat(1000));
    }
    for (query, next) in [("limit=3", 3), ("max-bytes=1024", 1), ("max-bytes=2400", 2), ("limit=1000", 10)] {
        let mut reader = rig.reader(&format!("{}&{query}", since(0)), "*/*");
        let (_, page) = rig.answer(&mut reader);
        let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
        assert_eq!(page["next"], format!("{EPOCH}.{next}"), "{query}");
        assert_eq!(page["messages"].as_array().map(Vec::len), Some(next), "{query}");
    }
}

#[test]
fn a_gap_is_told_before_the_next_message() {
    let mut rig = Rig::new(2);
    let mut running = rig.events("");
    rig.part(&mut running);
    for word in ["a", "b", "c", "d", "e"] {
        rig.text(word);
    }
    let gap = |since: &str, missed: &str| {
        format!("event: gap\ndata: {{\"since\":\"{since}\",\"first\":\"{EPOCH}.4\",\"missed\":{missed}}}\n\n")
    };
    let rest = format!("id: {EPOCH}.4\ndata: d\n\nid: {EPOCH}.5\ndata: e\n\n");
    assert_eq!(rig.part(&mut running), (gap(&format!("{EPOCH}.0"), "3") + &rest, false));
    let mut reader = rig.events(&since(1));
    assert_eq!(rig.part(&mut reader), (gap(&format!("{EPOCH}.1"), "2") + &rest, false));
    let mut reader = rig.events("since=x");
    assert_eq!(rig.part(&mut reader), (gap("x", "null") + &rest, false));
    let mut reader = rig.reader(&since(1), "application/x-ndjson");
    let line = format!("{{\"type\":\"gap\",\"since\":\"{EPOCH}.1\",\"first\":\"{EPOCH}.4\",\"missed\":2}}\n");
    assert!(rig.part(&mut reader).0.starts_with(&line));
    let mut reader = rig.reader(&since(1), "*/*");
    let (_, page) = rig.answer(&mut reader);
    let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
    assert_eq!((&page["gap"]["missed"], page["messages"].as_array().map(Vec::len)), (&2.into(), Some(2)));
    let mut future = rig.reader(&since(9), "*/*");
    let (_, page) = rig.answer(&mut future);
    assert!(page.contains("\"missed\":0") && page.contains("\"messages\":[]"), "it is not parked: {page}");
}

/// Who has nothing to read is told where it is, so that it misses nothing if it loses the stream before the first message.
#[test]
fn a_stream_begins_with_a_message_or_the_place_where_it_is() {
    let mut rig = Rig::new(2);
    let place = |offset: u64| format!("id: {EPOCH}.{offset}\nevent: same\ndata: {{\"id\":\"{EPOCH}.{offset}\"}}\n\n");
    for query in ["", "from=latest", "from=earliest", &since(0)] {
        let mut reader = rig.events(query);
        assert_eq!(rig.part(&mut reader), (place(0), false), "{query}");
    }
    let mut of_another = rig.events("since=x");
    let gap = format!("event: gap\ndata: {{\"since\":\"x\",\"first\":\"{EPOCH}.1\",\"missed\":null}}\n\n");
    assert_eq!(rig.part(&mut of_another), (gap + &place(0), false));
    rig.text("a");
    assert_eq!(rig.part(&mut of_another), (format!("id: {EPOCH}.1\ndata: a\n\n"), false));
    let mut reader = rig.reader("from=latest", "application/x-ndjson");
    assert_eq!(rig.part(&mut reader), (format!("{{\"type\":\"same\",\"id\":\"{EPOCH}.1\"}}\n"), false));
}

#[test]
fn a_page_that_is_shared_names_what_is_kept_now() {
    let mut rig = Rig::new(10);
    rig.text("a");
    rig.now += Duration::from_mins(40);
    rig.text("b");
    let mut reader = rig.reader(&since(1), "*/*");
    assert!(rig.answer(&mut reader).1.contains(&format!("\"first\":\"{EPOCH}.1\"")));
    rig.now += Duration::from_mins(40);
    let mut reader = rig.reader(&since(1), "*/*");
    assert!(rig.answer(&mut reader).1.contains(&format!("\"first\":\"{EPOCH}.2\"")));
}

#[test]
fn who_does_not_go_on_after_a_gap_is_told_so() {
    let mut rig = Rig::new(1);
    let mut running = rig.events("on-gap=close");
    rig.part(&mut running);
    for word in ["a", "b", "c"] {
        rig.text(word);
    }
    let (told, is_last) = rig.part(&mut running);
    assert!(told.starts_with("event: gap\n") && !told.contains("data: c") && is_last, "{told}");
    let mut parked = rig.reader(&format!("{}&on-gap=close", since(3)), "*/*");
    rig.waits(&mut parked);
    for word in ["d", "e"] {
        rig.text(word);
    }
    rig.now += Duration::from_millis(50);
    assert_eq!(rig.answer(&mut parked).0, 410, "messages were missed while it was parked");
    let fields = http::HeaderMap::new();
    let query = format!("{}&on-gap=close", since(1));
    let request = ReadRequest::parse(&http::Method::GET, Some(&query), &fields, true).expect("a request");
    match Reader::begin(&rig.topic, request, false, rig.now) {
        Err(Told::Answer(answer)) => assert_eq!(answer.status.as_u16(), 410),
        other @ (Ok(_) | Err(_)) => panic!("{other:?}"),
    }
}

#[test]
fn a_stream_breaks_its_silence_and_ends_with_its_life_or_the_process() {
    let mut rig = Rig::new(10);
    rig.text("a");
    let mut reader = rig.events("ping=1&life=60");
    rig.part(&mut reader);
    let silence = rig.waits(&mut reader);
    assert!((STREAM_SILENCE.mul_f64(0.9)..=STREAM_SILENCE).contains(&silence), "{silence:?}");
    rig.now += silence;
    assert_eq!(rig.part(&mut reader), ("event: ping\ndata: {}\n\n".to_owned(), false));
    rig.now += Duration::from_secs(60);
    assert_eq!(rig.part(&mut reader), (String::new(), true));
    let mut reader = rig.events("");
    rig.part(&mut reader);
    reader.on_drain(rig.now + Duration::from_secs(1));
    assert_eq!(rig.waits(&mut reader).as_secs(), 1);
    rig.now += Duration::from_secs(1);
    let (told, is_last) = rig.part(&mut reader);
    assert!(told.ends_with("event: move\ndata: {\"within\":1}\n\n") && is_last, "{told}");
    let mut reader = rig.events("");
    rig.part(&mut reader);
    let problem = crate::describe::Problem::new(crate::describe::problem::Kind::Unauthorized, "it was withdrawn");
    match reader.lost(&problem) {
        Told::Part(part) => {
            assert_eq!(
                (&part.bytes[..], part.is_last),
                (&b"event: auth\ndata: {\"reason\":\"it was withdrawn\"}\n\n"[..], true)
            );
        }
        other @ Told::Answer(_) => panic!("{other:?}"),
    }
}

#[test]
fn readers_that_have_read_as_far_share_their_bytes() {
    let mut rig = Rig::new(10);
    let mut readers: Vec<_> = (0..3).map(|_| rig.events("")).collect();
    for reader in &mut readers {
        rig.part(reader);
    }
    rig.text("a");
    let (topic, now) = (Arc::clone(&rig.topic), rig.now);
    let parts: Vec<_> = readers
        .iter_mut()
        .map(|reader| match reader.step(now, &mut rig.kept) {
            Step::Tell(Told::Part(part)) => part.bytes.as_ptr(),
            other @ (Step::Wait(_) | Step::Tell(Told::Answer(_))) => panic!("{other:?}"),
        })
        .collect();
    assert!(parts.iter().all(|part| *part == parts[0]), "in one place of memory");
    assert_eq!(topic.start(&Start::Latest, now).read.offset, 1);
}

/// A backend that stores a message when the test says so.
#[derive(Debug, Default)]
struct Held {
    entries: Arc<Mutex<Vec<Entry>>>,
    stored: watch::Sender<bool>,
}

impl Store for Arc<Held> {
    fn store<'a>(
        &'a self,
        topic: &'a Arc<Topic>,
        entry: Entry,
    ) -> futures::future::BoxFuture<'a, Result<Published, PublishError>> {
        self.entries.lock().expect("whole").push(entry);
        async move {
            let _ = self.stored.subscribe().wait_for(|stored| *stored).await;
            let entries = std::mem::take(&mut *self.entries.lock().expect("whole"));
            if entries.len() > 1 {
                topic.give_up(&entries);
                return Err(NotStored::Failed { after: Duration::from_secs(1) }.into());
            }
            let entries = entries.into_iter().map(|entry| (1, entry)).collect();
            let receipt = topic.append(entries, topic.began).remove(0);
            Ok(Published { receipt, is_repeated: false })
        }
        .boxed()
    }
}

#[test]
fn a_message_is_shown_once_its_backend_has_stored_it() {
    let held = Arc::new(Held::default());
    let mut rig = Rig::stored(Box::new(Arc::clone(&held)));
    let (topic, now) = (Arc::clone(&rig.topic), rig.now);
    let publish = |key: &str| {
        let draft = Draft { media_type: "text/plain".into(), by: None, data: Data::Text("a".to_owned()) };
        let publication = Publication { client: "x".into(), once: Some((key.into(), [0; 32])), draft, bytes: 1 };
        let topic = Arc::clone(&topic);
        async move { topic.publish(publication, now, &"T".into()).await }.boxed()
    };
    let (mut first, mut second) = (publish("k"), publish("l"));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none(), "both wait");
    let mut reader = rig.reader(&format!("{}&wait=9", since(0)), "*/*");
    assert_eq!(rig.waits(&mut reader).as_secs(), 9);
    assert_eq!(publish("k").now_or_never(), Some(Err(Refused::KeyUnderWay.into())));
    held.stored.send_replace(true);
    assert!(matches!(first.now_or_never(), Some(Err(PublishError::NotStored(_)))));
    assert_eq!(topic.extent(now).last.offset, 0, "neither is stored");
    let published = publish("k").now_or_never().expect("it is stored").expect("published");
    assert_eq!((published.receipt.id.offset, published.is_repeated), (1, false), "its key was free");
    assert!(publish("k").now_or_never().expect("at once").expect("known").is_repeated);
    assert_eq!(rig.answer(&mut reader).0, 200);
}

#[test]
fn who_reads_a_topic_that_ends_is_given_the_rest_and_then_told_so() {
    let mut rig = Rig::new(10);
    rig.text("a");
    let (mut stream, mut behind) = (rig.events(""), rig.events("from=earliest"));
    let mut lines = rig.reader("", "application/x-ndjson");
    for reader in [&mut stream, &mut behind, &mut lines] {
        rig.part(reader);
    }
    rig.waits(&mut stream);
    let mut parked = rig.reader(&since(1), "*/*");
    rig.waits(&mut parked);
    rig.text("b");
    rig.part(&mut stream);
    rig.topic.end();
    let draft = Draft { media_type: "text/plain".into(), by: None, data: Data::Text("c".to_owned()) };
    let publication = Publication { client: "x".into(), once: None, draft, bytes: 1 };
    let refused = rig.topic.publish(publication, rig.now, &"T".into()).now_or_never();
    assert_eq!(refused, Some(Err(Refused::Ended.into())));
    let problem = String::from_utf8(rig.topic.ended().to_json()).expect("text");
    let problem = problem.trim_end();
    let end = (format!("event: end\ndata: {problem}\n\n"), true);
    assert_eq!(rig.part(&mut stream), end);
    assert_eq!(rig.part(&mut behind), (format!("id: {EPOCH}.2\ndata: b\n\n"), false), "it was not published in vain");
    assert_eq!(rig.part(&mut behind), end);
    assert!(rig.part(&mut lines).0.contains("\"data\":\"b\""));
    assert_eq!(rig.part(&mut lines), (format!("{{\"type\":\"end\",\"problem\":{problem}}}\n"), true));
    assert!(rig.answer(&mut parked).1.contains("\"data\":\"b\""), "at once, whenever polls are due");
    let mut waits = rig.reader(&since(2), "*/*");
    assert_eq!(rig.answer(&mut waits), (404, format!("{problem}\n")));
}

#[test]
fn a_change_is_seen_by_those_who_read_already() {
    let mut rig = Rig::new(10);
    for word in ["a", "b", "c"] {
        rig.text(word);
    }
    let mut reader = rig.events("from=earliest");
    rig.part(&mut reader);
    rig.waits(&mut reader);
    let before = rig.topic.config();
    let history = TopicHistory { messages: 1, ..before.history };
    let config = config::Topic { path: "/elsewhere".to_owned(), history, ..(*before).clone() };
    rig.topic.change(config, rig.now);
    assert_eq!((rig.topic.config().path.as_str(), rig.topic.extent(rig.now).messages), ("/elsewhere", 1));
    rig.waits(&mut reader);
    rig.text("d");
    assert_eq!(rig.part(&mut reader), (format!("id: {EPOCH}.4\ndata: d\n\n"), false));
    assert_eq!(rig.topic.within_minute(rig.now), 4);
}
