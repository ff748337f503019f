//! What statuses of several kinds have in common: conditions, and the agents that are furthest behind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::fields;
use super::schema;
use crate::bounds::{STATUS_TEXT, WORST_AGENTS};
use crate::escape;

/// The spec is one that can be served; the message names each field that is not.
pub const ACCEPTED: &str = "Accepted";
/// Of an operation: it has a state and serves it. Of an exchange: it is served.
pub const READY: &str = "Ready";
/// Of a model: an operation publishes it, as it is now.
pub const SERVED: &str = "Served";
/// Of an exchange: every sidecar that serves it has a worker.
pub const HAS_WORKERS: &str = "HasWorkers";
/// Every live agent holds the current state; Unknown where there are no agents.
pub const CONVERGED: &str = "Converged";
/// Of an operation: a newer state of the source is not published, since the operation is paused or its guard waits
/// for a confirmation, whose annotation the message names.
pub const HELD: &str = "Held";

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// Nobody can say.
    Unknown,
}

impl Truth {
    /// As conditions spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What is found of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding<'a> {
    /// Which condition, such as [`ACCEPTED`].
    pub condition: &'static str,
    /// Whether it holds.
    pub truth: Truth,
    /// Why, in one word for programs: letters and digits, in `CamelCase`.
    pub reason: &'static str,
    /// Why, for people; what is longer than a status can hold is cut.
    pub message: &'a str,
    /// The generation of the object that it is found of.
    pub generation: Option<i64>,
}

/// Says a finding in a list of conditions; whether that changed the list. `now` becomes the time of the transition
/// only where the status changed.
pub fn say(conditions: &mut Vec<Condition>, finding: &Finding<'_>, now: &Time) -> bool {
    let status = finding.truth.as_str();
    let old = conditions.iter_mut().find(|condition| condition.type_ == finding.condition);
    let since = old.as_ref().filter(|old| old.status == status).map(|old| old.last_transition_time.clone());
    let new = Condition {
        type_: finding.condition.to_owned(),
        status: status.to_owned(),
        reason: finding.reason.to_owned(),
        message: cut(finding.message, STATUS_TEXT),
        observed_generation: finding.generation,
        last_transition_time: since.unwrap_or_else(|| now.clone()),
    };
    match old {
        Some(old) if *old == new => return false,
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    true
}

/// Text as a status or Event can hold it, whoever wrote it: at most this many characters, each line escaped.
#[must_use]
pub fn cut(text: &str, characters: usize) -> String {
    let text = escape::lines(text);
    if text.chars().count() <= characters {
        return text;
    }
    text.chars().take(characters.saturating_sub(3)).chain("...".chars()).collect()
}

/// An agent that does not hold the current state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its key: the identity that it proved, or else what it calls itself.
    #[schemars(schema_with = "fields::of_agent")]
    pub name: String,
    /// The state that it said it holds; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::state_id")]
    pub state_id: Option<String>,
    /// Lagging: it has not come back for the current state. Rejecting: it could not apply it.
    #[schemars(schema_with = "fields::word")]
    pub reason: Reason,
    /// What it said itself, such as why it rejects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "fields::of_agent")]
    pub message: Option<String>,
    /// Since when it has not held the current state.
    #[schemars(schema_with = "fields::moment")]
    pub since: Time,
}

/// The agents that are furthest from the current state.
pub(super) fn worst_agents(generator: &mut SchemaGenerator) -> Schema {
    schema::list(WORST_AGENTS, &generator.subschema_for::<Agent>())
}

/// What is wrong with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// It could not apply the current state.
    Rejecting,
    /// It has not come back for the current state.
    Lagging,
    /// What a newer replica says.
    #[serde(other)]
    Other,
}

/// The schema of a list of conditions, by type.
pub(super) fn list(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "message", "lastTransitionTime"],
            "properties": {
                "type": { "type": "string", "maxLength": 316, "description": "What is said." },
                "status": {
                    "type": "string",
                    "enum": ["True", "False", "Unknown"],
                    "description": "Whether it holds.",
                },
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                    "description": "Why, in one word for programs.",
                },
                "message": {
                    "type": "string",
                    "maxLength": STATUS_TEXT,
                    "description": "Why, for people: what, its value, and the remedy. What is longer is cut.",
                },
                "observedGeneration": {
                    "type": "integer",
                    "format": "int64",
                    "minimum": 0,
                    "description": "The metadata.generation of which it is said.",
                },
                "lastTransitionTime": {
                    "type": "string",
                    "format": "date-time",
                    "maxLength": 40,
                    "description": "Since when the status is what it is.",
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        serde_json::from_str(&format!("{text:?}")).expect("a time")
    }

    #[test]
    fn a_transition_is_when_the_truth_changes() {
        let (first, second) = (time("2026-01-01T00:00:00Z"), time("2026-01-02T00:00:00Z"));
        let mut conditions = Vec::new();
        let finding =
            Finding { condition: READY, truth: Truth::False, reason: "Lost", message: "m", generation: Some(1) };
        assert!(say(&mut conditions, &finding, &first));
        assert!(!say(&mut conditions, &finding, &second), "nothing is new");
        assert!(say(&mut conditions, &Finding { generation: Some(2), ..finding }, &second));
        assert_eq!((conditions.len(), &conditions[0].last_transition_time), (1, &first));
        assert!(say(&mut conditions, &Finding { truth: Truth::True, ..finding }, &second));
        assert_eq!((conditions[0].status.as_str(), &conditions[0].last_transition_time), ("True", &second));
        assert!(say(&mut conditions, &Finding { condition: HELD, ..finding }, &first));
        let kinds: Vec<_> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(kinds, [READY, HELD]);
    }

    #[test]
    fn what_is_too_long_is_cut_by_characters() {
        assert_eq!(cut("grün", 4), "grün");
        assert_eq!(cut("grünes", 5), "gr...");
        let long = "é".repeat(STATUS_TEXT + 1);
        let mut conditions = Vec::new();
        let finding =
            Finding { condition: READY, truth: Truth::Unknown, reason: "R", message: &long, generation: None };
        say(&mut conditions, &finding, &time("2026-01-01T00:00:00Z"));
        assert_eq!(conditions[0].message.chars().count(), STATUS_TEXT);
    }

    #[test]
    fn reasons_of_a_newer_replica_are_read() {
        let agent = r#"{"name":"a","reason":"Upgrading","since":"2026-01-01T00:00:00Z"}"#;
        let agent: Agent = serde_json::from_str(agent).expect("an agent");
        assert_eq!((agent.reason, agent.state_id), (Reason::Other, None));
    }
}
