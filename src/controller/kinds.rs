//! The kinds of objects that say what is to run.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::objects::Kind;
use crate::config::{self, Grants};
use crate::crd::describe_operation::{DescribeOperationSpec, DescribeOperationStatus};
use crate::crd::exchange::{ExchangeSpec, ExchangeStatus};
use crate::crd::topic::{TopicSpec, TopicStatus};
use crate::crd::{CONFIRM_REMOVAL, DescribeOperation, Exchange, Topic};

/// `DescribeOperation`s.
pub(super) struct Operations;

/// `Exchange`s.
pub(super) struct Exchanges;

/// `Topic`s.
pub(super) struct Topics;

impl Kind for Operations {
    type Object = DescribeOperation;
    type Spec = DescribeOperationSpec;
    type Config = config::Operation;
    type Status = DescribeOperationStatus;
    const NAME: &'static str = "DescribeOperation";
    const IS_OPTIONAL: bool = false;

    fn config(
        metadata: ObjectMeta,
        spec: DescribeOperationSpec,
        grants: Grants<'_>,
    ) -> Result<config::Operation, String> {
        let confirmed = metadata.annotations.iter().flatten().find(|(key, _)| *key == CONFIRM_REMOVAL);
        let confirmed = confirmed.map(|(_, value)| value.clone());
        let operation = DescribeOperation { metadata, spec, status: None };
        let config = operation.operation(grants).map_err(|problems| problems.to_string())?;
        Ok(config::Operation { confirmed, ..config })
    }
}

impl Kind for Exchanges {
    type Object = Exchange;
    type Spec = ExchangeSpec;
    type Config = config::Exchange;
    type Status = ExchangeStatus;
    const NAME: &'static str = "Exchange";
    // Rights and definitions may be those of an earlier version.
    const IS_OPTIONAL: bool = true;

    fn config(metadata: ObjectMeta, spec: ExchangeSpec, _: Grants<'_>) -> Result<config::Exchange, String> {
        Exchange { metadata, spec, status: None }.exchange().map_err(|problems| problems.to_string())
    }
}

impl Kind for Topics {
    type Object = Topic;
    type Spec = TopicSpec;
    type Config = config::Topic;
    type Status = TopicStatus;
    const NAME: &'static str = "Topic";
    // Rights and definitions may be those of an earlier version.
    const IS_OPTIONAL: bool = true;

    fn config(metadata: ObjectMeta, spec: TopicSpec, _: Grants<'_>) -> Result<config::Topic, String> {
        Topic { metadata, spec, status: None }.topic().map_err(|problems| problems.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::objects::{Read, read};
    use crate::sources::kubernetes::Object;

    /// An object with this spec and this status, as it was read.
    fn of(spec: &str, status: &str) -> Read<config::Operation, DescribeOperationStatus> {
        let metadata = r#"{"name":"zone-a","namespace":"net","creationTimestamp":"2026-01-01T00:00:00Z"}"#;
        let object = Object {
            name: "zone-a".to_owned(),
            namespace: Some("net".to_owned()),
            uid: "u".to_owned(),
            version: 7,
            generation: Some(2),
            body: format!(r#"{{"metadata":{metadata},"spec":{spec},"status":{status}}}"#).into(),
        };
        read::<Operations>(&object, Grants { file_roots: &[], app: false })
    }

    #[test]
    fn a_strange_status_spoils_no_spec_and_a_strange_spec_no_status() {
        const SPEC: &str = r#"{"path":"/a","source":{"configMap":{"name":"m"}}}"#;
        const STATUS: &str = r#"{"observedGeneration":2}"#;
        let good = of(SPEC, STATUS);
        assert_eq!(good.asked.config.as_ref().map(|config| &*config.path), Ok("/a"));
        assert_eq!(good.status.and_then(|status| status.observed_generation), Some(2));
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for strange in ["7", "null", &deep, r#"{"conditions":7}"#] {
            let read = of(SPEC, strange);
            assert_eq!((read.asked.config, read.status), (good.asked.config.clone(), None), "{strange}");
        }
        for (strange, expected) in [
            ("null", "spec cannot be read: invalid type: null, expected struct DescribeOperationSpec"),
            (r#"{"path":"/a"}"#, "spec cannot be read: missing field `source`"),
            (&deep, "spec cannot be read: "),
            (r#"{"path":"/a","source":{}}"#, "spec.source: "),
        ] {
            let read = of(strange, STATUS);
            let message = read.asked.config.expect_err("it is no spec");
            assert!(message.starts_with(expected), "{message}");
            assert!(read.status.is_some() && read.asked.created > 0, "{strange}");
        }
    }
}
