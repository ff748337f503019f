//! What `tidewait fetch` is asked for: the options of its command line, and the same, resolved. What is wrong is reported all at
//! once, and never with the value of a field, which may be a secret.

use std::path::PathBuf;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};

use super::connection::{self, ConnectionOptions, add, reached, validate};
use super::layer::Layer;
use super::problem::Problems;
use super::reader::Reader;
use super::value;
use crate::bounds::{CLIENT_WAIT, FETCH_DEADLINE};
use crate::client::fetch::Fetch;

const REQUEST: &str = "What is asked for";
const OUTPUT: &str = "Where the answer goes";

/// The options of `tidewait fetch`, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct FetchOptions {
    /// http or https
    #[arg(value_name = "URL")]
    pub url: String,

    /// Method [default: GET, and POST with --data]
    #[arg(short = 'X', long, value_name = "METHOD", help_heading = REQUEST)]
    pub request: Option<String>,
    /// Body, as it is; @FILE: what the file holds; - or @-: what comes on standard input
    #[arg(short = 'd', long, value_name = "DATA", allow_hyphen_values = true, help_heading = REQUEST)]
    pub data: Option<String>,
    /// Field of the request; several times for several
    #[arg(short = 'H', long, value_name = "NAME: VALUE", help_heading = REQUEST)]
    pub header: Vec<String>,
    /// Ask the server to answer at once and to do the work meanwhile (Prefer: respond-async)
    #[arg(long, help_heading = REQUEST)]
    pub r#async: bool,
    /// How long the server is to hold the request at most, in seconds (Prefer: wait=N)
    #[arg(long, value_name = "N", help_heading = REQUEST)]
    pub wait: Option<String>,
    /// The server does what has this key once: so the request is sent again where a connection ends (Idempotency-Key)
    #[arg(long, value_name = "KEY", help_heading = REQUEST)]
    pub idempotency_key: Option<String>,
    /// Time for all of it, to the last byte of the answer (1s to 24h) [default: 5m]
    #[arg(long, value_name = "DURATION", help_heading = REQUEST)]
    pub deadline: Option<String>,

    /// How it is reached.
    #[command(flatten)]
    pub connection: ConnectionOptions,

    /// Write the body of a 2xx to this file, once it is whole
    #[arg(short = 'o', long, value_name = "FILE", help_heading = OUTPUT)]
    pub output: Option<String>,
    /// Print the head of the answer first
    #[arg(short = 'i', long, help_heading = OUTPUT)]
    pub include: bool,
    /// Say nothing while it waits
    #[arg(long, help_heading = OUTPUT)]
    pub quiet: bool,
}

/// What is fetched, and where the answer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetching {
    /// The request; its body is in `data`.
    pub fetch: Fetch,
    /// Its body.
    pub data: Data,
    /// The file; absent: standard output.
    pub output: Option<PathBuf>,
    /// The head is printed, too.
    pub include: bool,
    /// Nothing is said while it waits.
    pub quiet: bool,
}

/// The body of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Data {
    /// There is none.
    #[default]
    None,
    /// This.
    Text(String),
    /// What a file holds.
    File(PathBuf),
    /// What comes on standard input.
    Input,
}

/// What is asked for, if all of it can be.
pub fn resolve(options: &FetchOptions) -> Result<Fetching, Problems> {
    let mut problems = Problems::default();
    let flags = from_flags(options);
    let mut reader = Reader { layers: vec![&flags], problems: &mut problems };
    let (least, most) = FETCH_DEADLINE;
    let method = reader.optional("request", method);
    let fetch = Fetch {
        method: method.unwrap_or(if options.data.is_some() { Method::POST } else { Method::GET }),
        fields: HeaderMap::new(),
        deadline: reader
            .optional("deadline", |text| value::duration(text, &(least..=most)))
            .unwrap_or(Duration::from_secs(300)),
        respond_async: options.r#async,
        wait: reader.optional("wait", wait),
        idempotency_key: None,
        ..reached(&mut reader, &options.url)
    };
    let output = reader.optional("output", value::file_path);
    let data = options.data.as_deref().map(|text| data(text, &mut problems)).unwrap_or_default();
    let fields = fields(options, &mut problems);
    let idempotency_key = options.idempotency_key.as_deref().and_then(|text| key(text, &mut problems));
    let fetch = Fetch { fields, idempotency_key, ..fetch };
    validate(&fetch, &mut problems);
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Fetching { fetch, data, output, include: options.include, quiet: options.quiet })
}

fn from_flags(options: &FetchOptions) -> Layer {
    let mut flags = Layer::new("the command line");
    for (setting, text) in [
        ("request", &options.request),
        ("wait", &options.wait),
        ("deadline", &options.deadline),
        ("output", &options.output),
    ] {
        add(&mut flags, setting, text.as_deref());
    }
    options.connection.add_to(&mut flags);
    flags
}

fn method(text: &str) -> Result<Method, String> {
    Method::from_bytes(text.as_bytes()).map_err(|_| "is no method: write one such as POST".to_owned())
}

/// Seconds, or a duration of whole seconds.
fn wait(text: &str) -> Result<u32, String> {
    let most = CLIENT_WAIT.1;
    let seconds = || format!("is no number of seconds: write 0 to {}", most.as_secs());
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if is_number { format!("{text}s") } else { text.to_owned() };
    let wait = value::duration(&text, &(Duration::ZERO..=most))?;
    if wait.subsec_nanos() > 0 {
        return Err(seconds());
    }
    u32::try_from(wait.as_secs()).map_err(|_| seconds())
}

fn data(text: &str, problems: &mut Problems) -> Data {
    match text {
        "-" | "@-" => Data::Input,
        _ => match text.strip_prefix('@').map(value::file_path) {
            None => Data::Text(text.to_owned()),
            Some(Ok(path)) => Data::File(path),
            Some(Err(wrong)) => {
                problems.push("--data", format!("the file {wrong}"));
                Data::None
            }
        },
    }
}

fn fields(options: &FetchOptions, problems: &mut Problems) -> HeaderMap {
    let mut fields = connection::fields(&options.header, problems);
    // As curl says it.
    if options.data.is_some() && !fields.contains_key(CONTENT_TYPE) {
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    }
    fields
}

fn key(text: &str, problems: &mut Problems) -> Option<HeaderValue> {
    let key = HeaderValue::from_str(text).ok().filter(|_| !text.trim().is_empty());
    if key.is_none() {
        problems.push("--idempotency-key", "is no value of a field: write some printable characters of ASCII");
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> FetchOptions {
        FetchOptions { url: url.to_owned(), ..FetchOptions::default() }
    }

    const GIVEN: fn(&str) -> Option<String> = |text| Some(text.to_owned());

    #[test]
    fn data_makes_a_post_unless_the_method_is_given() {
        for (request, data, method, expected) in [
            (None, None, "GET", Data::None),
            (None, GIVEN(""), "POST", Data::Text(String::new())),
            (None, GIVEN("-"), "POST", Data::Input),
            (None, GIVEN("@-"), "POST", Data::Input),
            (GIVEN("PUT"), GIVEN("@a b"), "PUT", Data::File("a b".into())),
            (GIVEN("GET"), GIVEN("-x"), "GET", Data::Text("-x".to_owned())),
            (GIVEN("PURGE"), None, "PURGE", Data::None),
        ] {
            let fetching = resolve(&FetchOptions { request, data, ..options("http://a/") }).expect("good");
            assert_eq!((fetching.fetch.method.as_str(), &fetching.data), (method, &expected));
            let form = fetching.fetch.fields.get("content-type").is_some();
            assert_eq!(form, expected != Data::None, "as curl says it");
        }
        let header = vec!["content-type:text/plain".to_owned(), "A: b: c ".to_owned(), "a:".to_owned()];
        let fetching = resolve(&FetchOptions { data: GIVEN("x"), header, ..options("http://a/") }).expect("good");
        assert_eq!(fetching.fetch.fields["content-type"], "text/plain");
        assert_eq!(fetching.fetch.fields.get_all("a").iter().collect::<Vec<_>>(), ["b: c", ""]);
    }

    #[test]
    fn times_have_defaults_and_bounds() {
        let fetching = resolve(&options("http://a/")).expect("good");
        assert_eq!((fetching.fetch.deadline, fetching.fetch.wait), (Duration::from_secs(300), None));
        for (wait, expected) in [("0", 0), ("25", 25), ("1m", 60), ("600", 600)] {
            let fetching = resolve(&FetchOptions { wait: GIVEN(wait), ..options("http://a/") }).expect("good");
            assert_eq!(fetching.fetch.wait, Some(expected), "{wait}");
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_flag_and_without_secrets() {
        let wrong = FetchOptions {
            request: GIVEN("A B"),
            data: GIVEN("@"),
            header: vec![
                "good: x".to_owned(),
                "Authorization secret".to_owned(),
                "a: secret\n".to_owned(),
                "é: secret".to_owned(),
            ],
            wait: GIVEN("1500ms"),
            idempotency_key: GIVEN("secret\n"),
            deadline: GIVEN("2d"),
            output: GIVEN(""),
            connection: ConnectionOptions {
                key: GIVEN("k"),
                allow_clear_credentials: GIVEN("perhaps"),
                ..ConnectionOptions::default()
            },
            ..options("ftp://me:secret@a")
        };
        let told = resolve(&wrong).expect_err("wrong").to_string();
        for line in [
            "--request: \"A B\" is no method: write one such as POST",
            "--deadline: \"2d\" is not a duration",
            "--wait: \"1500ms\" is no number of seconds: write 0 to 600",
            "--key: \"k\" is of no use without --certificate",
            "--output: \"\" is empty",
            "--data: the file is empty",
            "--header: number 2 is no field: write NAME: VALUE",
            "--header: number 4 is no field: write NAME: VALUE",
            "--idempotency-key: is no value of a field",
            "--allow-clear-credentials: \"perhaps\" ",
            "URL: \"ftp://***@a\": it is neither http nor https: write it as https://host:8480/path, percent-encoded",
        ] {
            assert!(told.lines().any(|found| found.starts_with(line)), "{line}\nis not in\n{told}");
        }
        assert!(!told.contains("secret"), "{told}");
        for (header, url, line) in [
            (
                "Content-Length: 3",
                "http://a/",
                "--header: \"content-length\": leave it out: it is made for each request",
            ),
            (
                "Cookie: secret",
                "http://a/",
                "URL: \"http://a/\": begin it with https, or the credential could be read on the way (--allow-clear-credentials allows that)",
            ),
        ] {
            let told = resolve(&FetchOptions { header: vec![header.to_owned()], ..options(url) }).expect_err("wrong");
            assert_eq!(told.to_string(), line);
        }
    }
}
