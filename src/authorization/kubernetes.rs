//! What the API server allows somebody, by `SubjectAccessReview`: with RBAC, what roles grant.

use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use kube::Client;

use super::{Action, Judge};
use crate::access::policy::Verb;
use crate::access::{Bound, Known};
use crate::reviews::{Kind, Metrics, Reviews};

/// The group of the resources that Roles name.
pub const GROUP: &str = "tidewait.dev";
/// The resource of an operation. No API server serves its subresource, and RBAC grants it all the same.
pub const OPERATIONS: &str = "describeoperations";
/// The subresource that stands for the state of an operation.
pub const STATE: &str = "state";

/// The resource that stands for exchanges.
pub const EXCHANGES: &str = "exchanges";
/// The resource that stands for topics.
pub const TOPICS: &str = "topics";

const AUTHENTICATED: &str = "system:authenticated";
/// Names and groups that begin so are Kubernetes' own.
const RESERVED: &str = "system:";

/// Asks the API server what somebody may.
#[derive(Debug)]
pub struct AccessReviewer {
    reviews: Reviews,
}

/// Somebody, as the API server knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    name: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes<'a> {
    /// The state of an operation: the subresource `state` of a `DescribeOperation`, whether or not there is such an object.
    State {
        /// `get`, or another verb of Tidewait's.
        verb: &'a str,
        /// The namespace of the operation.
        namespace: &'a str,
        /// The name of the operation.
        operation: &'a str,
    },
    /// An exchange or a topic: whether or not there is such an object.
    Named {
        /// [`EXCHANGES`] or [`TOPICS`].
        resource: &'static str,
        /// `submit` or `work`; `get` or `publish`.
        verb: &'a str,
        /// Its namespace.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A path that is no resource, such as `/metrics`.
    Path {
        /// `get` or `admin`.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

impl Subject {
    /// Whom the API server has authenticated itself.
    #[must_use]
    pub fn reviewed<'g>(name: &str, groups: impl IntoIterator<Item = &'g str>, bound: &Bound) -> Self {
        let mut groups: Vec<_> = groups.into_iter().map(str::to_owned).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        let pod = bound.pod.as_deref().and_then(|pod| pod.split_once('/')).map(|(_, name)| name);
        let extra = [("node-name", bound.node.as_deref()), ("pod-name", pod)];
        let extra = extra.into_iter().filter_map(|(key, value)| {
            value.map(|value| (format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]))
        });
        Self { name: name.to_owned(), groups, extra: extra.collect() }
    }

    /// Whom somebody else has authenticated; none: it claims a name or group of Kubernetes itself, whose rights it would get.
    #[must_use]
    pub fn foreign<'g>(name: &str, groups: impl IntoIterator<Item = &'g str> + Clone) -> Option<Self> {
        let reserved =
            name.starts_with(RESERVED) || groups.clone().into_iter().any(|group| group.starts_with(RESERVED));
        (!reserved).then(|| Self::reviewed(name, groups, &Bound::default()))
    }
}

impl AccessReviewer {
    /// Asks the API server of this client.
    #[must_use]
    pub fn new(client: Client, metrics: &Metrics) -> Self {
        Self { reviews: Reviews::new(client, Kind::Access, metrics) }
    }

    /// Whether `subject` may do this. If it cannot be found out now: why, for operators.
    pub async fn allows(&self, subject: &Subject, attributes: Attributes<'_>) -> Result<bool, String> {
        let judge = |answer: SubjectAccessReview| if is_allowed(&answer) { Ok(()) } else { Err(()) };
        self.reviews.ask(&review(subject, attributes), judge).await.map(|verdict| verdict.is_ok())
    }
}

/// Decides who may poll the operations of one namespace, and who may ask at the admin port.
#[derive(Debug)]
pub struct Namespace {
    /// Who is asked.
    pub reviewer: AccessReviewer,
    /// The namespace.
    pub name: String,
}

#[async_trait]
impl Judge for Namespace {
    async fn allows(&self, caller: &Known, action: &Action) -> Result<bool, String> {
        let groups = caller.groups().iter().map(|group| &**group);
        let subject = if caller.is_in_kubernetes() {
            Subject::reviewed(caller.name(), groups, caller.bound())
        } else {
            match Subject::foreign(caller.name(), groups) {
                Some(subject) => subject,
                None => return Ok(false),
            }
        };
        let attributes = match action {
            Action::Poll(operation) => Attributes::State { verb: Verb::Get.as_str(), namespace: &self.name, operation },
            Action::Exchange(verb, name) => {
                Attributes::Named { resource: EXCHANGES, verb: verb.as_str(), namespace: &self.name, name }
            }
            Action::Topic(verb, name) => {
                Attributes::Named { resource: TOPICS, verb: verb.as_str(), namespace: &self.name, name }
            }
            Action::AtPath(verb, path) => Attributes::Path { verb: verb.as_str(), path },
        };
        self.reviewer.allows(&subject, attributes).await
    }
}

fn is_allowed(answer: &SubjectAccessReview) -> bool {
    answer.status.as_ref().is_some_and(|status| status.allowed && status.denied != Some(true))
}

fn review(subject: &Subject, attributes: Attributes<'_>) -> SubjectAccessReview {
    let (resource_attributes, non_resource_attributes) = match attributes {
        Attributes::State { verb, namespace, operation } => {
            let resource = ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(OPERATIONS.to_owned()),
                subresource: Some(STATE.to_owned()),
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(operation.to_owned()),
                ..ResourceAttributes::default()
            };
            (Some(resource), None)
        }
        Attributes::Named { resource, verb, namespace, name } => {
            let resource = ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(resource.to_owned()),
                verb: Some(verb.to_owned()),
                namespace: Some(namespace.to_owned()),
                name: Some(name.to_owned()),
                ..ResourceAttributes::default()
            };
            (Some(resource), None)
        }
        Attributes::Path { verb, path } => {
            (None, Some(NonResourceAttributes { path: Some(path.to_owned()), verb: Some(verb.to_owned()) }))
        }
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(subject.name.clone()),
        groups: Some(subject.groups.clone()),
        extra: Some(subject.extra.clone()),
        uid: None,
        resource_attributes,
        non_resource_attributes,
    };
    SubjectAccessReview { spec, ..SubjectAccessReview::default() }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authorization::v1::SubjectAccessReviewStatus;
    use serde_json::{Value, json};

    use super::*;

    fn asked(subject: &Subject, attributes: Attributes<'_>) -> Value {
        let mut review = serde_json::to_value(review(subject, attributes)).expect("JSON");
        review["spec"].take()
    }

    #[test]
    fn the_subresource_of_an_operation_or_a_path_is_asked_for() {
        let state = Attributes::State { verb: "get", namespace: "apps", operation: "zone-a" };
        let bound = Bound { node: Some("n".to_owned()), pod: Some("apps/p".to_owned()) };
        let subject = Subject::reviewed("system:serviceaccount:apps:edge", ["g"], &bound);
        assert_eq!(
            asked(&subject, state),
            json!({
                "user": "system:serviceaccount:apps:edge",
                "groups": ["g", "system:authenticated"],
                "extra": {
                    "authentication.kubernetes.io/node-name": ["n"],
                    "authentication.kubernetes.io/pod-name": ["p"],
                },
                "resourceAttributes": {
                    "group": "tidewait.dev", "resource": "describeoperations", "subresource": "state",
                    "verb": "get", "namespace": "apps", "name": "zone-a",
                },
            })
        );
        let topic = Attributes::Named { resource: TOPICS, verb: "publish", namespace: "apps", name: "chat" };
        assert_eq!(
            asked(&subject, topic)["resourceAttributes"],
            json!({ "group": "tidewait.dev", "resource": "topics", "verb": "publish", "namespace": "apps", "name": "chat" })
        );
        assert_eq!(
            asked(
                &Subject::reviewed("jane", [], &Bound::default()),
                Attributes::Path { verb: "get", path: "/metrics" }
            ),
            json!({
                "user": "jane",
                "groups": ["system:authenticated"],
                "extra": {},
                "nonResourceAttributes": { "path": "/metrics", "verb": "get" },
            })
        );
    }

    #[test]
    fn nobody_else_gets_the_rights_of_kubernetes_itself() {
        for (name, groups, good) in [
            ("jane", &["edge"][..], true),
            ("jane", &[], true),
            ("jane", &["edge", "system:masters"], false),
            ("jane", &["system:authenticated"], false),
            ("system:serviceaccount:apps:edge", &[], false),
        ] {
            let subject = Subject::foreign(name, groups.iter().copied());
            assert_eq!(subject.is_some(), good, "{name} {groups:?}");
            assert!(subject.is_none_or(|subject| subject.groups.last().is_some_and(|last| last == AUTHENTICATED)));
        }
        let twice = Subject::reviewed("jane", ["system:authenticated", "g"], &Bound::default());
        assert_eq!(twice.groups, ["system:authenticated", "g"]);
    }

    #[test]
    fn only_a_plain_yes_is_one() {
        for (allowed, denied, expected) in [
            (true, None, true),
            (true, Some(false), true),
            (true, Some(true), false),
            (false, None, false),
            (false, Some(false), false),
        ] {
            let status = SubjectAccessReviewStatus { allowed, denied, ..SubjectAccessReviewStatus::default() };
            let answer = SubjectAccessReview { status: Some(status), ..SubjectAccessReview::default() };
            assert_eq!(is_allowed(&answer), expected, "{allowed} {denied:?}");
        }
        assert!(!is_allowed(&SubjectAccessReview::default()));
    }
}
