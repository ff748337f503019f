//! PURE. Whose message it is, and who reads, as others are told.

use std::sync::Arc;

use http::request::Parts;

use crate::access::Caller;
use crate::config::Presence;
use crate::describe::Problem;
use crate::describe::request::agent;
use crate::protocol::query::{self, NAME};
use crate::topic::Topic;
use crate::topic::message::By;

/// Characters of a name that somebody gives itself.
const NAME_CHARACTERS: usize = 64;

/// Who has sent a request, as it is shown: its identity, else its `Agent-Id`, else the name that it gives itself.
pub(super) fn by(caller: &Caller, parts: &Parts) -> Result<Option<By>, Problem> {
    if let Some(identity) = caller.identity() {
        return Ok(Some(By { name: (&**identity).into(), is_proven: true }));
    }
    let unproven = |name: Box<str>| By { name, is_proven: false };
    if let Some(agent) = agent(&parts.headers)? {
        return Ok(Some(unproven(agent.into())));
    }
    let name = query::value_of(parts.uri.query().unwrap_or(""), NAME)?.filter(|name| !name.is_empty());
    match name {
        Some(name) if name.chars().count() > NAME_CHARACTERS || name.chars().any(char::is_control) => {
            let allowed = format!("give at most {NAME_CHARACTERS} characters, and no control characters");
            Err(Problem::parameter(NAME, &name, &allowed))
        }
        name => Ok(name.map(|name| unproven(name.into()))),
    }
}

/// The name of a reader of this topic; none: it has none, or readers are not told names.
pub(in crate::http) fn reader(topic: &Topic, caller: &Caller, parts: &Parts) -> Result<Option<Arc<str>>, Problem> {
    if topic.config().presence != Presence::Named {
        return Ok(None);
    }
    Ok(by(caller, parts)?.map(|by| by.name.into()))
}
