//! PURE. The text of a file to a value, by the rules of [`crate::yaml`], which models are read by too.

use serde_yaml::{Mapping, Number, Value};
use smol_str::SmolStr;

use crate::bounds::{CONFIG_BYTES, DOCUMENT_DEPTH, DOCUMENT_NODES};
use crate::yaml::{self, Build, Error, Limit, Limits, Scalar};

#[expect(clippy::cast_possible_truncation, reason = "a mebibyte")]
const LIMITS: Limits = Limits {
    depth: DOCUMENT_DEPTH,
    bytes: Limit { name: "CONFIG_BYTES", most: CONFIG_BYTES as usize },
    nodes: Limit { name: "DOCUMENT_NODES", most: DOCUMENT_NODES },
};

/// Reads one YAML document.
pub(super) fn read(text: &str) -> Result<Value, Error> {
    yaml::read::<Values>(text, LIMITS)
}

struct Values;

impl Build for Values {
    type Value = Value;

    fn scalar(scalar: &Scalar<'_>) -> Value {
        match scalar {
            Scalar::Null => Value::Null,
            Scalar::Bool(yes) => Value::Bool(*yes),
            // One that is beyond all numbers is beyond the bounds of every setting.
            Scalar::Number(text) => Value::Number(text.parse().unwrap_or_else(|_| Number::from(f64::INFINITY))),
            Scalar::Text(text) => Value::String(text.clone().into_owned()),
        }
    }

    fn array(items: Vec<Value>) -> Value {
        Value::Sequence(items)
    }

    fn object(members: Vec<(SmolStr, Value)>) -> Value {
        let members = members.into_iter().map(|(key, value)| (Value::String(key.into()), value));
        Value::Mapping(members.collect::<Mapping>())
    }

    fn members(value: &Value) -> Option<Vec<(SmolStr, Value)>> {
        let Value::Mapping(members) = value else { return None };
        let named = |(key, value): (&Value, &Value)| Some((key.as_str()?.into(), value.clone()));
        Some(members.iter().filter_map(named).collect())
    }
}
