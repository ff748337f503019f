//! A client without its network: what it asks for next, and what it makes of an answer. With the feature `client` also one
//! that polls.

use std::error::Error;

use tidewait::model::{Document, patch};
use tidewait::protocol::{AnswerHead, Query};

/// The query of the next poll, and the state after an answer, or the same where it has not changed.
pub fn next(have: &Document, answer: http::Response<Vec<u8>>) -> Result<(String, Document), Box<dyn Error>> {
    let (id, state) = match AnswerHead::read(answer.status(), answer.headers())? {
        AnswerHead::State(state, body) => {
            let is_patch = body.delta_base.is_some();
            let new = if is_patch { patch::apply(have, answer.body())? } else { Document::from_json(answer.body())? };
            (state.id, (new.state_digest() == body.digest).then_some(new).ok_or("not what State-Digest says")?)
        }
        AnswerHead::Unchanged(state) | AnswerHead::NotModified(state) => (state.id, have.clone()),
        AnswerHead::Refused { status, .. } => return Err(status.as_str().into()),
    };
    Ok((Query { since: Some(id), ..Query::default() }.to_string(), state))
}

/// Keeps a file as the model is: the example of docs/clients.md.
#[cfg(feature = "client")]
pub async fn follow(file: &std::path::Path) -> Result<(), tidewait::client::InvalidSetting> {
    use tidewait::client::{Client, Settings};

    let mut settings = Settings::new("https://edge.example:8480", "/describe");
    settings.endpoints.push("https://other.example:8480".to_owned());
    settings.agent_id = Some("node-2".to_owned());
    settings.token_file = Some("/run/credentials/token".into());

    let (mut states, reports) = Client::start(&settings, None)?;
    while let Some(state) = states.next().await {
        match std::fs::write(file, state.bytes()) {
            Ok(()) => reports.held(state.id()),
            Err(error) => reports.rejected(state.id(), error.to_string()),
        }
    }
    Ok(())
}

/// What has come of work that was asked for: the example of docs/fetch.md.
#[cfg(feature = "client")]
pub async fn fetch(url: &str) -> Result<(http::StatusCode, Vec<u8>), tidewait::client::fetch::FetchError> {
    use tidewait::client::fetch::Fetch;

    let mut fetch = Fetch::new(url);
    fetch.method = http::Method::POST;
    fetch.body = "{}".into();
    fetch.deadline = std::time::Duration::from_secs(60);

    let mut fetched = fetch.send(|pause| eprintln!("{pause}")).await?;
    let mut body = Vec::new();
    while let Some(bytes) = fetched.chunk().await? {
        body.extend_from_slice(&bytes);
    }
    Ok((fetched.status, body))
}
