//! What a relay tells upstream of the agents below it. Each report takes the place of the one before of the same instance;
//! its counts hold for exactly the state that it names.

use serde_json::{Map, Value, json};

use super::{Instance, InvalidParameter};
use crate::bounds::{
    ID_BYTES, REJECTED_REASON_CHARACTERS, RELAY_AGENT_CHARACTERS, RELAY_AGENTS, RELAY_INSTANCE_BYTES,
    RELAY_REPORT_BYTES, RELAY_REPORT_WORST,
};

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Names the process of the relay: another one after each start.
    pub instance: String,
    /// Rises with each report of the instance: an older one that comes late is told by it.
    pub seq: u64,
    /// The id of what the relay serves, whole; absent: nothing yet.
    pub state: Option<String>,
    /// Agents below it, whether or not they poll it directly: the sum of the next three.
    pub total: u64,
    /// Those that hold the state.
    pub converged: u64,
    /// Those that do not, or of which nobody knows.
    pub lagging: u64,
    /// Those that could not apply it.
    pub rejecting: u64,
    /// Those of the lagging ones that are busy with it.
    pub applying: u64,
    /// How long the one lags or rejects that has done so for longest, in whole seconds.
    pub oldest_lag_seconds: u64,
    /// Those to look at first.
    pub worst: Vec<WorstAgent>,
}

/// An agent that does not hold the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorstAgent {
    /// Its name, behind those of the relays in between.
    pub agent: String,
    /// Why it could not apply the state; absent: it lags.
    pub reason: Option<String>,
}

impl Report {
    /// Reads a report; unknown members are for later versions.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidParameter> {
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| invalid("body", &String::from_utf8_lossy(bytes), &format!("it is no JSON ({error})")))?;
        let Value::Object(members) = value else {
            return Err(invalid("body", &value.to_string(), "send an object with instance, seq, state and counts"));
        };
        let number = |name| count(&members, name).and_then(|number| within(name, number, RELAY_AGENTS));
        let report = Self {
            instance: instance(&members)?,
            seq: count(&members, "seq")?,
            state: state(&members)?,
            total: number("total")?,
            converged: number("converged")?,
            lagging: number("lagging")?,
            rejecting: number("rejecting")?,
            applying: number("applying")?,
            oldest_lag_seconds: number("oldestLagSeconds")?,
            worst: worst(&members)?,
        };
        let sum = report.converged + report.lagging + report.rejecting;
        if report.total != sum {
            let remedy = format!("it is the sum of converged, lagging and rejecting, which is {sum}");
            return Err(invalid("total", &report.total.to_string(), &remedy));
        }
        if report.applying > report.lagging {
            let remedy = format!("these are some of those that lag, which are {}", report.lagging);
            return Err(invalid("applying", &report.applying.to_string(), &remedy));
        }
        Ok(report)
    }

    /// Whether it says something that `before` did not, but for the time that has passed: whoever has that report knows so much.
    #[must_use]
    pub fn is_news(&self, before: &Self) -> bool {
        *self != Self { oldest_lag_seconds: self.oldest_lag_seconds, ..before.clone() }
    }

    /// Its bytes, at most [`RELAY_REPORT_BYTES`]: the last of the worst agents are left out where they do not fit.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let mut worst: Vec<_> = self.worst.iter().take(RELAY_REPORT_WORST).map(WorstAgent::to_json).collect();
        loop {
            let bytes = self.to_json(&worst).to_string().into_bytes();
            if bytes.len() <= RELAY_REPORT_BYTES || worst.pop().is_none() {
                return bytes;
            }
        }
    }

    fn to_json(&self, worst: &[Value]) -> Value {
        json!({
            "instance": self.instance,
            "seq": self.seq,
            "state": self.state,
            "total": self.total,
            "converged": self.converged,
            "lagging": self.lagging,
            "rejecting": self.rejecting,
            "applying": self.applying,
            "oldestLagSeconds": self.oldest_lag_seconds,
            "worst": worst,
        })
    }
}

impl WorstAgent {
    fn to_json(&self) -> Value {
        json!({ "agent": self.agent, "reason": self.reason })
    }

    fn read(value: &Value) -> Result<Self, InvalidParameter> {
        let text = |name: &str, most: usize| match value.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.chars().take(most).collect::<String>())),
            Some(other) => Err(invalid("worst", &other.to_string(), &format!("{name} of each is a text"))),
        };
        let agent = text("agent", RELAY_AGENT_CHARACTERS)?.filter(|agent| !agent.is_empty());
        let agent = agent.ok_or_else(|| invalid("worst", &value.to_string(), "name each as {\"agent\":\"...\"}"))?;
        Ok(Self { agent, reason: text("reason", REJECTED_REASON_CHARACTERS)? })
    }
}

fn instance(members: &Map<String, Value>) -> Result<String, InvalidParameter> {
    match members.get("instance") {
        Some(Value::String(text)) if Instance::parse(text).is_some() => Ok(text.clone()),
        other => {
            let remedy = format!("use 1 to {RELAY_INSTANCE_BYTES} characters of A-Z a-z 0-9 . _ -");
            Err(invalid("instance", &shown(other), &remedy))
        }
    }
}

/// Whether it is an id of ours is for those who know them.
fn state(members: &Map<String, Value>) -> Result<Option<String>, InvalidParameter> {
    match members.get("state") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.len() <= ID_BYTES => Ok(Some(id.clone())),
        other => Err(invalid("state", &shown(other), "give the State-Id of what is served, or null")),
    }
}

fn count(members: &Map<String, Value>, name: &'static str) -> Result<u64, InvalidParameter> {
    let value = members.get(name);
    let remedy = if value.is_none() { "it is missing: give a whole number" } else { "give a whole number" };
    value.and_then(Value::as_u64).ok_or_else(|| invalid(name, &shown(value), remedy))
}

fn within(name: &'static str, number: u64, most: u64) -> Result<u64, InvalidParameter> {
    if number <= most { Ok(number) } else { Err(invalid(name, &number.to_string(), &format!("it is at most {most}"))) }
}

fn worst(members: &Map<String, Value>) -> Result<Vec<WorstAgent>, InvalidParameter> {
    match members.get("worst") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) if items.len() <= RELAY_REPORT_WORST => items.iter().map(WorstAgent::read).collect(),
        other => Err(invalid("worst", &shown(other), &format!("give an array of at most {RELAY_REPORT_WORST}"))),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn invalid(name: &'static str, value: &str, remedy: &str) -> InvalidParameter {
    InvalidParameter { name, value: value.to_owned(), remedy: remedy.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let worst = ["a", "relay/b"].map(|agent| WorstAgent { agent: agent.to_owned(), reason: None }).to_vec();
        Report {
            instance: "5f0a.edge-2".to_owned(),
            seq: 7,
            state: Some("e.1.d".to_owned()),
            total: 6,
            converged: 3,
            lagging: 2,
            rejecting: 1,
            applying: 1,
            oldest_lag_seconds: 12,
            worst,
        }
    }

    #[test]
    fn the_time_that_passes_is_no_news() {
        let before = Report { lagging: 1, total: 1, oldest_lag_seconds: 3, ..Report::default() };
        assert!(!Report { oldest_lag_seconds: 9, ..before.clone() }.is_news(&before));
        assert!(Report { oldest_lag_seconds: 9, lagging: 2, total: 2, ..before.clone() }.is_news(&before));
    }

    #[test]
    fn what_is_written_is_read() {
        let mut report = report();
        report.worst[0].reason = Some("no such interface".to_owned());
        assert_eq!(Report::read(&report.write()), Ok(report.clone()));
        report.state = None;
        assert_eq!(Report::read(&report.write()), Ok(report));
    }

    #[test]
    fn a_report_always_fits_and_what_is_long_in_it_is_cut() {
        let mut long = report();
        let agent = "\u{1}".repeat(2000);
        long.worst = vec![WorstAgent { agent, reason: Some("x".repeat(2000)) }; 100];
        let bytes = long.write();
        assert!(bytes.len() <= RELAY_REPORT_BYTES, "{}", bytes.len());
        let read = Report::read(&bytes).expect("it is one");
        assert_eq!(read.worst.len(), 1, "no other fits");
        let WorstAgent { agent, reason } = &read.worst[0];
        assert_eq!(agent.len(), RELAY_AGENT_CHARACTERS);
        assert_eq!(reason.as_ref().map(String::len), Some(REJECTED_REASON_CHARACTERS));
    }

    #[test]
    fn what_is_no_report_is_refused_with_the_member_its_value_and_the_remedy() {
        let with = |name: &str, value: Value| {
            let mut members: Value = serde_json::from_slice(&report().write()).expect("JSON");
            members[name] = value;
            members.to_string()
        };
        let many = Value::Array(vec![json!({ "agent": "a" }); RELAY_REPORT_WORST + 1]);
        for (body, expected) in [
            ("{".to_owned(), "body is \"{\": it is no JSON (EOF"),
            ("[]".to_owned(), "body is \"[]\": send an object"),
            (with("instance", json!("")), "instance is \"\\\"\\\"\": use 1 to 64 characters"),
            (with("instance", json!("a b")), "instance is \"\\\"a b\\\"\": use"),
            (with("instance", json!("x".repeat(65))), "instance is"),
            (with("instance", json!(1)), "instance is \"1\": use"),
            (with("seq", json!(-1)), "seq is \"-1\": give a whole number"),
            (with("seq", json!(1.5)), "seq is \"1.5\": give a whole number"),
            (with("state", json!("x".repeat(129))), "state is"),
            (with("state", json!(7)), "state is \"7\": give the State-Id"),
            (with("lagging", json!("2")), "lagging is \"\\\"2\\\"\": give a whole number"),
            (with("converged", json!(RELAY_AGENTS + 1)), "converged is \"1000000001\": it is at most 1000000000"),
            (with("total", json!(7)), "total is \"7\": it is the sum of converged, lagging and rejecting, which is 6"),
            (with("applying", json!(3)), "applying is \"3\": these are some of those that lag, which are 2"),
            (with("oldestLagSeconds", Value::Null), "oldestLagSeconds is \"null\": give a whole number"),
            (with("worst", json!({})), "worst is \"{}\": give an array of at most 16"),
            (with("worst", many), "worst is"),
            (with("worst", json!([{ "agent": "" }])), "worst is \"{\\\"agent\\\":\\\"\\\"}\": name each"),
            (with("worst", json!(["a"])), "worst is \"\\\"a\\\"\": name each"),
            (with("worst", json!([{ "agent": "a", "reason": 1 }])), "worst is \"1\": reason of each is a text"),
            ("{}".to_owned(), "instance is \"\": use"),
        ] {
            let found = Report::read(body.as_bytes()).expect_err("it is none").to_string();
            assert!(found.starts_with(expected), "{found}");
        }
        assert!(Report::read(with("later", json!(1)).as_bytes()).is_ok(), "of a later version");
    }
}
