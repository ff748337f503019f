//! PURE. A source that is an operation of another Tidewait.

use std::path::PathBuf;

use crate::bounds::{CLIENT_WAIT, DOCUMENT_BYTES};
use crate::client::Settings;
use crate::config::reader::Reader;
use crate::config::{Source, value};

/// The fields of the settings, and what they are called in the file.
const NAMES: [(&str, &str); 4] =
    [("endpoints", "urls"), ("agent_id", "agentId"), ("select", "select"), ("wait", "wait")];

pub(super) fn source(reader: &mut Reader<'_>) -> Option<Source> {
    let object = "source.describe";
    let text = |text: &str| Ok(text.to_owned());
    let urls = reader.list("source.describe.urls", text);
    if !reader.contains("source.describe.urls") && reader.given(object).is_some() {
        reader.wrong_field(
            "source.describe.urls",
            "is missing: list the URLs of the operation, such as https://root:8480/describe",
        );
    }
    let select = reader.list("source.describe.select", text);
    let agent_id = reader.optional("source.describe.agentId", text);
    let wait = reader.optional("source.describe.wait", |text| value::duration(text, &(CLIENT_WAIT.0..=CLIENT_WAIT.1)));
    let max_bytes = reader.optional("source.describe.maxBytes", |text| value::number(text, &(1..=DOCUMENT_BYTES)));
    let ca = reader.optional("source.describe.ca", value::file_path);
    let token_file = reader.optional("source.describe.tokenFile", value::file_path);
    let clear_credentials = reader.optional("source.describe.allowClearCredentials", value::switch);
    let certificate = certificate(reader);
    if !reader.contains("source.describe.urls") {
        return None;
    }
    let default = Settings::new("", "");
    let settings = Settings {
        endpoints: urls,
        select,
        agent_id,
        wait: wait.unwrap_or(default.wait),
        max_bytes: max_bytes.unwrap_or(default.max_bytes),
        ca,
        certificate,
        token_file,
        clear_credentials: clear_credentials.unwrap_or(false),
        ..default
    };
    if let Err(invalid) = settings.validate() {
        let name = NAMES.iter().find(|(field, _)| *field == invalid.name).map_or(invalid.name, |(_, name)| name);
        let remedy =
            invalid.remedy.replace("clear_credentials", "allowClearCredentials").replace("token_file", "tokenFile");
        reader.wrong_field(&format!("{object}.{name}"), &format!("\"{}\": {remedy}", invalid.value));
        return None;
    }
    Some(Source::Describe(Box::new(settings)))
}

fn certificate(reader: &mut Reader<'_>) -> Option<(PathBuf, PathBuf)> {
    let certificate = reader.optional("source.describe.certificate", value::file_path);
    let key = reader.optional("source.describe.key", value::file_path);
    match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (Some(_), None) => {
            reader.wrong_field("source.describe.key", "is missing: name the key of certificate");
            None
        }
        (None, Some(_)) => {
            reader.wrong_field("source.describe.certificate", "is missing: name the certificate of key");
            None
        }
        (None, None) => None,
    }
}
