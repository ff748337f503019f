//! What `tidewait tail`, `publish` and `chat` are asked for: the options of their command lines, and the same, resolved. What is
//! wrong is reported all at once.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};

use super::connection::{self, ConnectionOptions, add, reached, validate};
use super::layer::Layer;
use super::problem::{Problems, quote};
use super::reader::Reader;
use super::value;
use crate::bounds::{AGENT_ID_BYTES, CHAT_GIVE_UP, ID_BYTES};
use crate::client::fetch::Fetch;

const READ: &str = "What is read, and how";
const MESSAGE: &str = "What is published";
const OUTPUT: &str = "What is printed";

/// The options of `tidewait tail`, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct TailOptions {
    /// The URL of the topic
    #[arg(value_name = "URL")]
    pub url: String,
    /// How it is read: poll (asked each --interval), long-poll, sse, or ws (WebSocket) [default: sse]
    #[arg(long, value_name = "MODE", help_heading = READ)]
    pub mode: Option<String>,
    /// Begin after the message with this id
    #[arg(long, value_name = "ID", help_heading = READ)]
    pub since: Option<String>,
    /// Begin with the first message that is kept (earliest), or after the last (latest)
    #[arg(long, value_name = "PLACE", help_heading = READ)]
    pub from: Option<String>,
    /// Begin with so many of the last messages [default: 50]
    #[arg(long, value_name = "N", help_heading = READ)]
    pub tail: Option<String>,
    /// How often a plain poll asks (100ms to 1h) [default: 3s]
    #[arg(long, value_name = "DURATION", help_heading = READ)]
    pub interval: Option<String>,
    /// End once all that there is now is read
    #[arg(long, help_heading = READ)]
    pub once: bool,
    /// How long the server may be away before it ends with 1 (1s to 24h) [default: 1m]
    #[arg(long, value_name = "DURATION", help_heading = READ)]
    pub give_up: Option<String>,
    /// Field of each request; several times for several
    #[arg(short = 'H', long, value_name = "NAME: VALUE", help_heading = READ)]
    pub header: Vec<String>,

    /// How it is reached.
    #[command(flatten)]
    pub connection: ConnectionOptions,

    /// Print each message as the JSON object that it is
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
    /// Whether names are coloured: auto (on a terminal), always or never
    #[arg(long, value_name = "WHEN", help_heading = OUTPUT)]
    pub color: Option<String>,
    /// Say nothing while it waits for the server
    #[arg(long, help_heading = OUTPUT)]
    pub quiet: bool,
}

/// The options of `tidewait publish`, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct PublishOptions {
    /// The URL of the topic
    #[arg(value_name = "URL")]
    pub url: String,
    /// The messages; without one, each line of standard input is one. Behind --, they may begin with a dash
    #[arg(value_name = "MESSAGE")]
    pub message: Vec<String>,
    /// Who publishes, as readers are shown where no credential says it
    #[arg(long, value_name = "NAME", help_heading = MESSAGE)]
    pub name: Option<String>,
    /// Each message is JSON, and not a text
    #[arg(long, help_heading = MESSAGE)]
    pub json: bool,
    /// How long the server may be away before it ends with 1 (1s to 24h) [default: 1m]
    #[arg(long, value_name = "DURATION", help_heading = MESSAGE)]
    pub give_up: Option<String>,
    /// Field of each request; several times for several
    #[arg(short = 'H', long, value_name = "NAME: VALUE", help_heading = MESSAGE)]
    pub header: Vec<String>,

    /// How it is reached.
    #[command(flatten)]
    pub connection: ConnectionOptions,

    /// Print the id of each message once it is stored
    #[arg(long, help_heading = OUTPUT)]
    pub ids: bool,
    /// Say nothing while it waits for the server
    #[arg(long, help_heading = OUTPUT)]
    pub quiet: bool,
}

/// The options of `tidewait chat`, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ChatOptions {
    /// The URL of the topic
    #[arg(value_name = "URL")]
    pub url: String,
    /// Who you are, as others are shown where no credential says it
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// How messages are read: stream, or poll (asked each 3 s) [default: stream]
    #[arg(long, value_name = "MODE", help_heading = READ)]
    pub mode: Option<String>,

    /// How it is reached.
    #[command(flatten)]
    pub connection: ConnectionOptions,
}

/// How a topic is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A plain poll, each so often.
    Poll(Duration),
    /// A poll that waits for the next message.
    LongPoll,
    /// Server-sent events.
    Events,
    /// WebSocket.
    WebSocket,
}

/// What is read, and how it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// A request to the topic.
    pub fetch: Fetch,
    /// How it is read.
    pub mode: Mode,
    /// Where it begins: a parameter of the query; absent: where the server says.
    pub start: Option<(&'static str, String)>,
    /// It ends once all that there is now is read.
    pub once: bool,
    /// How long the server may be away.
    pub give_up: Duration,
    /// Each message is printed as it is.
    pub json: bool,
    /// Names are coloured; absent: on a terminal.
    pub color: Option<bool>,
    /// Nothing is said while it waits.
    pub quiet: bool,
}

/// What is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// A request to the topic, without a body.
    pub fetch: Fetch,
    /// The messages; none: those of standard input.
    pub messages: Vec<String>,
    /// How long the server may be away.
    pub give_up: Duration,
    /// Ids are printed.
    pub ids: bool,
    /// Nothing is said while it waits.
    pub quiet: bool,
}

/// What is to be read by `tidewait tail`, if all of it can be.
pub fn resolve_tail(options: &TailOptions) -> Result<Tail, Problems> {
    let mut problems = Problems::default();
    let mut flags = Layer::new("the command line");
    for (setting, text) in [
        ("mode", &options.mode),
        ("since", &options.since),
        ("from", &options.from),
        ("tail", &options.tail),
        ("interval", &options.interval),
        ("give-up", &options.give_up),
        ("color", &options.color),
    ] {
        add(&mut flags, setting, text.as_deref());
    }
    options.connection.add_to(&mut flags);
    let mut reader = Reader { layers: vec![&flags], problems: &mut problems };
    let mut fetch = reached(&mut reader, &options.url);
    let interval = reader
        .optional("interval", |text| value::duration(text, &(Duration::from_millis(100)..=Duration::from_hours(1))));
    let mode = reader.optional("mode", mode).unwrap_or(Mode::Events);
    if let (Some(given), false) = (reader.given("interval"), matches!(mode, Mode::Poll(_))) {
        reader.wrong(given, "is of no use without --mode poll: give that too, or leave this out");
    }
    let mode = match (mode, interval) {
        (Mode::Poll(_), Some(interval)) => Mode::Poll(interval),
        (mode, _) => mode,
    };
    let start = start(&mut reader);
    let give_up = give_up(&mut reader);
    let color = reader.optional("color", color).flatten();
    fetch.fields = connection::fields(&options.header, &mut problems);
    checked(&fetch, problems)?;
    let (once, json, quiet) = (options.once, options.json, options.quiet);
    Ok(Tail { fetch, mode, start, once, give_up, json, color, quiet })
}

/// What is to be published by `tidewait publish`, if all of it can be.
pub fn resolve_publish(options: &PublishOptions) -> Result<Publish, Problems> {
    let mut problems = Problems::default();
    let mut flags = Layer::new("the command line");
    add(&mut flags, "give-up", options.give_up.as_deref());
    options.connection.add_to(&mut flags);
    let mut reader = Reader { layers: vec![&flags], problems: &mut problems };
    let mut fetch = reached(&mut reader, &options.url);
    let give_up = give_up(&mut reader);
    fetch.method = Method::POST;
    fetch.fields = connection::fields(&options.header, &mut problems);
    let media_type = if options.json { "application/json" } else { "text/plain; charset=utf-8" };
    fetch.fields.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(media_type));
    if let Some(name) = &options.name {
        named(&mut fetch, name, &mut problems);
    }
    checked(&fetch, problems)?;
    Ok(Publish { fetch, messages: options.message.clone(), give_up, ids: options.ids, quiet: options.quiet })
}

/// What is read and published by `tidewait chat`, if all of it can be.
pub fn resolve_chat(options: &ChatOptions) -> Result<(Tail, Publish), Problems> {
    let mode = match options.mode.as_deref() {
        None | Some("stream") => "sse",
        Some("poll") => "poll",
        Some(other) => {
            let mut problems = Problems::default();
            problems.push("--mode", format!("{} is no way to read: write stream or poll", quote(other)));
            return Err(problems);
        }
    };
    let (url, connection) = (options.url.clone(), options.connection.clone());
    let name = Some(options.name.clone());
    let publish =
        PublishOptions { url: url.clone(), name, connection: connection.clone(), ..PublishOptions::default() };
    let publish = resolve_publish(&publish)?;
    let tail = TailOptions { url, mode: Some(mode.to_owned()), connection, ..TailOptions::default() };
    Ok((resolve_tail(&tail)?, publish))
}

/// Where it begins, by one of three options.
fn start(reader: &mut Reader<'_>) -> Option<(&'static str, String)> {
    let since = reader.optional("since", id).map(|id| ("since", id));
    let from = reader.optional("from", |text| match text {
        "earliest" | "latest" => Ok(("from", text.to_owned())),
        _ => Err("is no place: write earliest or latest".to_owned()),
    });
    let tail = reader.optional("tail", |text| value::number(text, &(0..=1000))).map(|tail| ("tail", tail.to_string()));
    let given: Vec<_> = ["since", "from", "tail"].into_iter().filter_map(|name| reader.given(name)).collect();
    if let [first, second, ..] = given[..] {
        reader.wrong(second, &format!("is beside {}: give one of them", first.origin));
    }
    since.or(from).or(tail)
}

fn id(text: &str) -> Result<String, String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    if text.is_empty() || text.len() > ID_BYTES || !text.bytes().all(is_good) {
        return Err("is no id of a message: write one as readers are given it, such as a3f09b7c11d2e480.7".to_owned());
    }
    Ok(text.to_owned())
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "poll" => Ok(Mode::Poll(Duration::from_secs(3))),
        "long-poll" => Ok(Mode::LongPoll),
        "sse" => Ok(Mode::Events),
        "ws" => Ok(Mode::WebSocket),
        _ => Err("is no way to read: write poll, long-poll, sse or ws".to_owned()),
    }
}

fn color(text: &str) -> Result<Option<bool>, String> {
    match text {
        "auto" => Ok(None),
        "always" => Ok(Some(true)),
        "never" => Ok(Some(false)),
        _ => Err("does not say when: write auto, always or never".to_owned()),
    }
}

fn give_up(reader: &mut Reader<'_>) -> Duration {
    let (default, least, most) = CHAT_GIVE_UP;
    reader.optional("give-up", |text| value::duration(text, &(least..=most))).unwrap_or(default)
}

/// A name, in the form of an `Agent-Id`.
fn named(fetch: &mut Fetch, name: &str, problems: &mut Problems) {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let value = HeaderValue::from_str(name).ok();
    match value.filter(|_| (1..=AGENT_ID_BYTES).contains(&name.len()) && name.bytes().all(is_good)) {
        Some(value) => {
            fetch.fields.insert(HeaderName::from_static("agent-id"), value);
        }
        None => problems.push(
            "--name",
            format!("{} is no name: write 1 to {AGENT_ID_BYTES} characters of A-Z a-z 0-9 . _ : -", quote(name)),
        ),
    }
}

fn checked(fetch: &Fetch, mut problems: Problems) -> Result<(), Problems> {
    if fetch.url.contains('#') {
        problems.push("URL", format!("{} has a fragment, which is not sent: leave it out", quote(&fetch.url)));
    }
    validate(fetch, &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(url: &str) -> TailOptions {
        TailOptions { url: url.to_owned(), ..TailOptions::default() }
    }

    #[test]
    fn what_nobody_chose_has_defaults() {
        let read = resolve_tail(&tail("http://a/chat")).expect("good");
        assert_eq!((read.mode, read.start, read.give_up.as_secs(), read.color), (Mode::Events, None, 60, None));
        let options = TailOptions { mode: Some("poll".to_owned()), tail: Some("5".to_owned()), ..tail("http://a/") };
        let read = resolve_tail(&options).expect("good");
        assert_eq!((read.mode, read.start), (Mode::Poll(Duration::from_secs(3)), Some(("tail", "5".to_owned()))));
        let options = PublishOptions { url: "http://a/".to_owned(), ..PublishOptions::default() };
        let said = resolve_publish(&options).expect("good");
        assert_eq!(
            (said.fetch.method, &said.fetch.fields[CONTENT_TYPE]),
            (Method::POST, &"text/plain; charset=utf-8".parse::<HeaderValue>().expect("a value"))
        );
        let options = ChatOptions { url: "http://a/".to_owned(), name: "ann".to_owned(), ..ChatOptions::default() };
        let (_, said) = resolve_chat(&options).expect("good");
        assert_eq!(said.fetch.fields["agent-id"], "ann");
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_flag() {
        let given = |text: &str| Some(text.to_owned());
        let wrong = TailOptions {
            mode: given("wss"),
            since: given("a b"),
            from: given("begin"),
            interval: given("1ms"),
            give_up: given("2d"),
            color: given("red"),
            header: vec!["x".to_owned()],
            ..tail("ftp://a/#b")
        };
        let told = resolve_tail(&wrong).expect_err("wrong").to_string();
        for line in [
            "--mode: \"wss\" is no way to read: write poll, long-poll, sse or ws",
            "--since: \"a b\" is no id of a message",
            "--from: \"begin\" is no place: write earliest or latest",
            "--from: \"begin\" is beside --since: give one of them",
            "--interval: \"1ms\"",
            "--give-up: \"2d\"",
            "--color: \"red\" does not say when",
            "--header: number 1 is no field",
            "URL: \"ftp://a/#b\" has a fragment",
            "URL: \"ftp://a/#b\": it is neither http nor https",
        ] {
            assert!(told.lines().any(|found| found.starts_with(line)), "{line}\nis not in\n{told}");
        }
        let options = TailOptions { interval: given("5s"), ..tail("http://a/") };
        let told = resolve_tail(&options).expect_err("wrong").to_string();
        assert!(told.contains("is of no use without --mode poll"), "{told}");
        let options = ChatOptions { url: "http://a/".to_owned(), name: "a b".to_owned(), ..ChatOptions::default() };
        assert!(resolve_chat(&options).expect_err("wrong").to_string().starts_with("--name: \"a b\" is no name"));
        let options = ChatOptions { mode: given("ws"), ..options };
        assert!(resolve_chat(&options).expect_err("wrong").to_string().contains("write stream or poll"));
    }
}
