//! Pieces of schema. Each says the bound, and how to write a value that is refused: the message of a `pattern` alone
//! is the pattern.

use std::ops::RangeInclusive;
use std::time::Duration;

use schemars::{Schema, json_schema};
use serde_json::{Value, json};

use crate::config::brief;

/// A DNS label (RFC 1123), as a pattern. No pattern here may hold a single quote: rules quote them.
pub(super) const LABEL: &str = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";
/// A DNS name.
pub(super) const SUBDOMAIN: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The value of a label.
pub(super) const LABEL_VALUE: &str = "^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$";
/// The key of a label.
pub(super) const LABEL_KEY: &str = "^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$";
/// `25s`, `1m30s`, `100ms`; the digits are so few that no sum overflows.
const DURATION: &str = "^(0|([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?([0-9]{1,11}ms)?)$";
/// A rule for `x-kubernetes-validations`.
pub(super) fn rule(rule: &str, message: &str) -> Value {
    json!({ "rule": rule, "message": message })
}

/// Text of a pattern; `hint` says how to write it.
pub(super) fn matching(length: usize, pattern: &str, hint: &str) -> Schema {
    json_schema!({
        "type": "string",
        "maxLength": length,
        "pattern": pattern,
        "x-kubernetes-validations": [rule(&format!("self.matches(r'{pattern}')"), hint)],
    })
}

/// A whole number.
pub(super) fn number(range: &RangeInclusive<usize>) -> Schema {
    json_schema!({ "type": "integer", "format": "int64", "minimum": range.start(), "maximum": range.end() })
}

/// A duration.
pub(super) fn duration(range: &RangeInclusive<Duration>) -> Schema {
    let (start, end) = (brief(*range.start()), brief(*range.end()));
    let bounds = format!("duration(self) >= duration('{start}') && duration(self) <= duration('{end}')");
    let mut schema = matching(32, DURATION, "write whole numbers with h, m, s or ms, such as 1m30s or 100ms");
    schema.insert("minLength".to_owned(), json!(1));
    // What does not match is reported by the other rule; here it would be an error of the rule itself.
    let bounds = format!("!self.matches(r'{DURATION}') || self.size() == 0 || ({bounds})");
    also(&mut schema, rule(&bounds, &format!("write a duration from {start} to {end}")));
    schema
}

/// Adds a rule.
pub(super) fn also(schema: &mut Schema, rule: Value) {
    if let Some(Value::Array(rules)) = schema.get_mut("x-kubernetes-validations") {
        rules.push(rule);
    }
}

/// A list that is replaced as a whole.
pub(super) fn list(length: usize, item: &Schema) -> Schema {
    json_schema!({ "type": "array", "maxItems": length, "items": item, "x-kubernetes-list-type": "atomic" })
}

/// Text that is only bounded.
pub(super) fn text(length: usize) -> Schema {
    json_schema!({ "type": "string", "maxLength": length })
}

/// That one duration is not longer than another; both are durations, or another rule reports them.
pub(super) fn not_longer(one: &str, other: &str) -> String {
    let sound =
        |field: &str| format!("!has(self.{field}) || !self.{field}.matches(r'{DURATION}') || self.{field}.size() == 0");
    format!("{} || {} || duration(self.{one}) <= duration(self.{other})", sound(one), sound(other))
}

/// That a duration which is longer than `limit` needs another field, whose default that is.
pub(super) fn needs_longer(field: &str, limit: &str, other: &str) -> String {
    format!(
        "has(self.{other}) || !has(self.{field}) || !self.{field}.matches(r'{DURATION}') || self.{field}.size() == 0 || \
         duration(self.{field}) <= duration('{limit}')"
    )
}

/// Up to which size a number of bytes is written so: the pattern of `least` to 1Gi.
pub(super) const UP_TO_1_GI: &str = "^0*(102[4-9]|10[3-9][0-9]|1[1-9][0-9]{2}|[2-9][0-9]{3}|[1-9][0-9]{4,8}|10[0-6][0-9]{7}|[1-9][0-9]{0,5}Ki|10[0-3][0-9]{4}Ki|\
     [1-9][0-9]{0,2}Mi|10[01][0-9]Mi|102[0-4]Mi|1Gi)$";
/// The pattern of 1 to 256Ki.
pub(super) const UP_TO_256_KI: &str =
    "^0*([1-9][0-9]{0,4}|1[0-9]{5}|2[0-5][0-9]{4}|26[01][0-9]{3}|[1-9][0-9]?Ki|1[0-9]{2}Ki|2[0-4][0-9]Ki|25[0-6]Ki)$";

/// That `messageBytes` is not more than `history.bytes`, which is more than any of them by default; both are of their patterns, or
/// another rule reports them.
pub(super) fn message_fits() -> String {
    let (message, history) = ("self.messageBytes", "self.history.bytes");
    let bytes = |field: &str| {
        let unit = |unit: &str, factor: usize| {
            format!("{field}.endsWith('{unit}') ? int({field}.substring(0, {field}.size() - 2)) * {factor}")
        };
        format!("({} : {} : {} : int({field}))", unit("Ki", 1 << 10), unit("Mi", 1 << 20), unit("Gi", 1 << 30))
    };
    format!(
        "!has({message}) || !has(self.history) || !has({history}) || !{message}.matches(r'{UP_TO_256_KI}') || \
         !{history}.matches(r'{UP_TO_1_GI}') || {} <= {}",
        bytes(message),
        bytes(history),
    )
}

/// That `lease.first` is not longer than `deadline`, which is 10m by default.
pub(super) fn first_touch() -> String {
    let unsound = |field: &str| format!("!self.{field}.matches(r'{DURATION}') || self.{field}.size() == 0");
    format!(
        "!has(self.lease) || !has(self.lease.first) || {} || (has(self.deadline) ? {} || duration(self.lease.first) <= \
         duration(self.deadline) : duration(self.lease.first) <= duration('10m'))",
        unsound("lease.first"),
        unsound("deadline"),
    )
}
