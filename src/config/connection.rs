//! How a server is reached, for the commands that ask one: the same options for each.

use std::path::PathBuf;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::layer::Layer;
use super::problem::Problems;
use super::reader::Reader;
use super::value;
use crate::client::fetch::Fetch;

const CONNECTION: &str = "How it is reached";

/// The options, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct ConnectionOptions {
    /// Verify servers by the authorities of this file (PEM), and not by those of the system
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub ca: Option<String>,
    /// Client certificate (PEM), with --key
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub certificate: Option<String>,
    /// Its key (PEM)
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub key: Option<String>,
    /// Send the token that this file holds; it is read for each request
    #[arg(long, value_name = "FILE", help_heading = CONNECTION)]
    pub token_file: Option<String>,
    /// Send credentials over connections that others can read, too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", help_heading = CONNECTION)]
    pub allow_clear_credentials: Option<String>,
}

impl ConnectionOptions {
    /// Adds them to the layer of the command line.
    pub(super) fn add_to(&self, flags: &mut Layer) {
        for (setting, text) in [
            ("ca", &self.ca),
            ("certificate", &self.certificate),
            ("key", &self.key),
            ("token-file", &self.token_file),
            ("allow-clear-credentials", &self.allow_clear_credentials),
        ] {
            add(flags, setting, text.as_deref());
        }
    }
}

/// Adds an option to the layer of the command line, where it is given.
pub(super) fn add(flags: &mut Layer, setting: &'static str, text: Option<&str>) {
    if let Some(text) = text {
        flags.add(setting, format!("--{setting}"), text);
    }
}

/// A request to a URL that is reached so.
pub(super) fn reached(reader: &mut Reader<'_>, url: &str) -> Fetch {
    Fetch {
        ca: reader.optional("ca", value::file_path),
        certificate: certificate(reader),
        token_file: reader.optional("token-file", value::file_path),
        clear_credentials: reader.optional("allow-clear-credentials", value::switch).unwrap_or(false),
        ..Fetch::new(url)
    }
}

/// Notes what is wrong with a request, by the names of flags.
pub(super) fn validate(fetch: &Fetch, problems: &mut Problems) {
    if let Err(wrong) = fetch.validate() {
        let flag = match wrong.name {
            "url" => "URL",
            "fields" => "--header",
            "method" => "--request",
            other => other,
        };
        let remedy = wrong.remedy.replace("clear_credentials", "--allow-clear-credentials");
        problems.push(flag, format!("{:?}: {remedy}", wrong.value));
    }
}

/// The fields of `--header`. What is wrong is told without the value, which may be a secret.
pub(super) fn fields(header: &[String], problems: &mut Problems) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (at, text) in header.iter().enumerate() {
        let read = text.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::from_bytes(name.trim_end().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        match read {
            Some((name, mut value)) => {
                value.set_sensitive(true);
                fields.append(name, value);
            }
            None => problems.push("--header", format!("number {} is no field: write NAME: VALUE", at + 1)),
        }
    }
    fields
}

fn certificate(reader: &mut Reader<'_>) -> Option<(PathBuf, PathBuf)> {
    let pair = ["certificate", "key"].map(|name| reader.optional(name, value::file_path));
    for (name, other) in [("certificate", "key"), ("key", "certificate")] {
        if let (Some(given), false) = (reader.given(name), reader.contains(other)) {
            reader.wrong(given, &format!("is of no use without --{other}: give that too, or leave this out"));
        }
    }
    let [certificate, key] = pair;
    certificate.zip(key)
}
