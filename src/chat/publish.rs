//! Publishes messages, one after the other: each is stored before the next is sent, so their order is kept. Each has a key, so it is
//! published once, however often it is sent.

use bytes::Bytes;
use http::HeaderValue;
use serde_json::Value;
use tokio::io::AsyncRead;

use super::{Exit, Failure, Own, Patience, ask, print, say};
use crate::bounds::CLIENT_PROBLEM_BYTES;
use crate::client::fetch::Fetch;
use crate::config::chat::Publish;

use super::lines::Lines;

/// Publishes the messages that were given, or else the lines of an input.
pub(super) async fn run<R: AsyncRead + Unpin>(publish: &Publish, mut lines: Lines<R>, own: &Own) -> Exit {
    let prefix = format!("{:016x}", fastrand::u64(..));
    let mut patience = Patience::new(publish.give_up);
    let mut given = publish.messages.iter();
    for number in 1_u64.. {
        let body = if publish.messages.is_empty() {
            match lines.next().await {
                Ok(line) => line.map(Bytes::from),
                Err(error) => {
                    say(&format!("message {number}: standard input cannot be read: {error}"));
                    return Exit::Misconfigured;
                }
            }
        } else {
            given.next().map(|text| Bytes::from(text.clone()))
        };
        let Some(body) = body else { break };
        own.sends(&body);
        // What the server was not asked meanwhile does not count.
        patience.seen();
        if let Err(exit) = one(publish, (number, &format!("{prefix}-{number}")), body, &mut patience).await {
            return exit;
        }
    }
    Exit::Good
}

/// Publishes one message, as often as it has to be sent.
async fn one(publish: &Publish, (number, key): (u64, &str), body: Bytes, patience: &mut Patience) -> Result<(), Exit> {
    let mut fetch = Fetch { body, deadline: publish.give_up, ..publish.fetch.clone() };
    fetch.idempotency_key = HeaderValue::from_str(key).ok();
    loop {
        let published = async {
            let fetched = ask(&fetch, publish.quiet).await?;
            let lost = |error: crate::client::fetch::FetchError| Failure::Lost(error.to_string());
            let body = fetched.bytes(CLIENT_PROBLEM_BYTES).await.map_err(lost)?;
            let receipt: Value = serde_json::from_slice(&body).unwrap_or_default();
            match receipt["id"].as_str() {
                Some(id) if publish.ids => print(&format!("{id}\n")).await,
                Some(_) => Ok(()),
                None => {
                    let text = format!("{}: the answer names no message: is it the URL of a topic?", fetch.url);
                    Err(Failure::Final(Exit::Refused, text))
                }
            }
        };
        match published.await {
            Ok(()) => return Ok(()),
            Err(Failure::Final(exit, text)) => {
                say(&format!("message {number}: {text}"));
                return Err(exit);
            }
            Err(Failure::Lost(text)) => {
                if !patience.wait(&format!("message {number}: {text}"), publish.quiet).await {
                    return Err(Exit::Failed);
                }
            }
        }
    }
}
