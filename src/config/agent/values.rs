//! PURE. From text to values of the agent. Every refusal is the rest of a sentence that begins with the value.

use std::time::Duration;

use super::{OnStale, OnStart, Settle};
use crate::bounds::AGENT_ID_BYTES;
use crate::config::value;

/// As it is.
#[expect(clippy::unnecessary_wraps, reason = "it is one reader of values among others")]
pub(super) fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// `MIN[:MAX]`; none: 0.
pub(super) fn settle(text: &str) -> Result<Option<Settle>, String> {
    let range = Duration::ZERO..=Duration::from_hours(1);
    let (least, most) = text.split_once(':').map_or((text, None), |(least, most)| (least, Some(most)));
    let least = value::duration(least, &range)?;
    let most = most.map(|most| value::duration(most, &range)).transpose()?.unwrap_or(4 * least);
    if most < least {
        return Err("has a MAX below its MIN: write MIN:MAX, such as 2s:10s".to_owned());
    }
    Ok((!least.is_zero()).then_some(Settle { least, most }))
}

pub(super) fn on_gone(text: &str) -> Result<(), String> {
    if text == "keep" { Ok(()) } else { Err("is nothing to do: write keep, the only thing that is done".to_owned()) }
}

pub(super) fn on_stale(text: &str) -> Result<OnStale, String> {
    match text {
        "keep" => Ok(OnStale::Keep),
        "exec" => Ok(OnStale::Exec),
        _ => Err("is nothing to do: write keep or exec".to_owned()),
    }
}

pub(super) fn on_start(text: &str) -> Result<OnStart, String> {
    match text {
        "auto" => Ok(OnStart::Auto),
        "always" => Ok(OnStart::Always),
        "never" => Ok(OnStart::Never),
        _ => Err("is not when: write auto, always or never".to_owned()),
    }
}

/// An `Agent-Id` of the host's name; none: it has characters that no `Agent-Id` has.
pub(in crate::config) fn of_host(host: &str) -> Option<String> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    let fits = (1..=AGENT_ID_BYTES).contains(&host.len()) && host.bytes().all(is_good);
    fits.then(|| host.to_owned())
}
