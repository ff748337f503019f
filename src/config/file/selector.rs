//! PURE. A label selector as manifests structure it (`matchLabels`, `matchExpressions`), turned into the requirements
//! that the API server takes: `tier=edge`, `zone in (a,b)`, `!draft`.

use serde_yaml::Value;

use super::{Walk, describe, join, text_of};
use crate::config::layer::Layer;
use crate::config::problem::quote;
use crate::config::value::{is_label_key, is_label_value};

impl Walk<'_> {
    /// Reads the requirements to `layer`, one value each. One without requirements matches everything.
    pub(super) fn selector(&mut self, value: &Value, setting: &'static str, path: &str, layer: &mut Layer) {
        layer.mark(setting);
        let Value::Mapping(members) = value else {
            return self.wrong(path, value, "an object with matchLabels or matchExpressions is wanted");
        };
        for (key, value) in members {
            match text_of(key).as_deref() {
                Some("matchLabels") => self.labels(value, setting, &join(path, "matchLabels"), layer),
                Some("matchExpressions") => {
                    self.expressions(value, setting, &join(path, "matchExpressions"), layer);
                }
                _ => {
                    let message =
                        format!("has the field {}: the fields here are matchLabels, matchExpressions", name(key));
                    self.push(path, &message);
                }
            }
        }
    }

    fn labels(&mut self, value: &Value, setting: &'static str, path: &str, layer: &mut Layer) {
        let Value::Mapping(members) = value else {
            return self.wrong(path, value, "an object with a text for each label is wanted");
        };
        for (key, value) in members {
            let path = join(path, &name(key));
            if let (Some(key), Some(value)) = (self.key(key, &path), self.value(value, &path)) {
                layer.add(setting, self.origin(&path), format!("{key}={value}"));
            }
        }
    }

    fn expressions(&mut self, value: &Value, setting: &'static str, path: &str, layer: &mut Layer) {
        let Value::Sequence(items) = value else {
            return self.wrong(path, value, "a list is wanted: write each expression after a dash");
        };
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some(requirement) = self.expression(item, &path) {
                layer.add(setting, self.origin(&path), requirement);
            }
        }
    }

    fn expression(&mut self, value: &Value, path: &str) -> Option<String> {
        let Value::Mapping(members) = value else {
            self.wrong(path, value, "an object with key, operator and values is wanted");
            return None;
        };
        let known = ["key", "operator", "values"];
        if let Some(other) = members.keys().find(|key| !known.iter().any(|known| key.as_str() == Some(known))) {
            self.push(path, &format!("has the field {}: the fields here are key, operator, values", name(other)));
        }
        let empty = Value::Null;
        let member = |name: &str| members.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value);
        let key = self.key(member("key").unwrap_or(&empty), &join(path, "key"));
        let values = member("values").map_or(Some(Vec::new()), |values| self.values(values, &join(path, "values")));
        let operator = member("operator").and_then(text_of).unwrap_or_default();
        let (key, mut values) = (key?, values?);
        values.sort();
        values.dedup();
        let set = values.join(",");
        match (operator.as_str(), values.is_empty()) {
            ("In", false) => Some(format!("{key} in ({set})")),
            ("NotIn", false) => Some(format!("{key} notin ({set})")),
            ("Exists", true) => Some(key),
            ("DoesNotExist", true) => Some(format!("!{key}")),
            ("In" | "NotIn", true) => {
                self.refuse(path, &format!("has the operator {operator} without values: list some"))
            }
            ("Exists" | "DoesNotExist", false) => {
                self.refuse(path, &format!("has the operator {operator} with values: leave them out"))
            }
            _ => self.refuse(
                path,
                &format!("has the operator {}: write In, NotIn, Exists or DoesNotExist", quote(&operator)),
            ),
        }
    }

    fn values(&mut self, value: &Value, path: &str) -> Option<Vec<String>> {
        let Value::Sequence(items) = value else {
            self.wrong(path, value, "a list is wanted: write each value after a dash");
            return None;
        };
        let values: Vec<_> =
            items.iter().enumerate().map(|(index, item)| self.value(item, &format!("{path}[{index}]"))).collect();
        values.into_iter().collect()
    }

    fn key(&mut self, value: &Value, path: &str) -> Option<String> {
        let key = text_of(value).filter(|key| is_label_key(key));
        if key.is_none() {
            self.wrong(path, value, "the key of a label is wanted: write one such as tier or example.org/tier");
        }
        key
    }

    fn value(&mut self, value: &Value, path: &str) -> Option<String> {
        let text = text_of(value).filter(|text| is_label_value(text));
        if text.is_none() {
            let wanted = "the value of a label is wanted: write at most 63 of a-z, A-Z, 0-9, -, _ and . in quotes";
            self.wrong(path, value, wanted);
        }
        text
    }

    fn refuse<T>(&mut self, path: &str, message: &str) -> Option<T> {
        self.push(path, message);
        None
    }
}

/// A key, for people.
fn name(key: &Value) -> String {
    text_of(key).unwrap_or_else(|| describe(key))
}
