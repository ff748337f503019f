//! Which resource serves a kind. The definition of a custom resource may be created after the operation that uses it.

use std::time::Duration;

use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, Scope};
use tokio::time::timeout;

use super::failure::{Failure, FailureKind};
use crate::bounds::KUBERNETES_READ;
use crate::sources::{Report, Unusable, UnusableKind};

/// The report of a source where the resource of a kind is not known, and the pause that the API server asked for.
#[derive(Debug)]
pub struct Undiscovered {
    /// What is to be reported.
    pub report: Report,
    /// The least pause before the next attempt.
    pub retry_after: Option<Duration>,
}

/// The resource of a kind that belongs to a namespace; else the report of the source on that.
pub async fn resource(client: &Client, api_version: &str, kind: &str) -> Result<ApiResource, Undiscovered> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let wanted = GroupVersionKind::gvk(group, version, kind);
    let found = timeout(KUBERNETES_READ, discovery::pinned_kind(client, &wanted)).await;
    let failure = match found {
        Ok(Ok((resource, capabilities))) if capabilities.scope == Scope::Namespaced => return Ok(resource),
        Ok(Ok(_)) => {
            let detail = format!("{kind} of {api_version} belongs to no namespace: name a kind that does");
            let report = Report::Unusable(Unusable { kind: UnusableKind::Invalid, detail });
            return Err(Undiscovered { report, retry_after: None });
        }
        Ok(Err(error)) => Failure::from(error),
        Err(_) => Failure::new(FailureKind::Timeout, "no answer in time"),
    };
    Err(Undiscovered { report: report(&failure, api_version, kind), retry_after: failure.retry_after })
}

fn report(failure: &Failure, api_version: &str, kind: &str) -> Report {
    // kube has words of its own for a kind that its group has not; of a group that is not there the server
    // says it in plain text.
    if failure.kind == FailureKind::NotFound {
        let detail = format!(
            "the cluster serves no {kind} of {api_version}: install its CustomResourceDefinition, or correct apiVersion and kind"
        );
        return Report::Unusable(Unusable { kind: UnusableKind::Missing, detail });
    }
    let reason = format!("cannot find out how {kind} of {api_version} is served: {}", failure.message);
    if failure.kind.is_denial() {
        // The right to discover is everybody's who is known, unless it was taken away.
        let detail =
            format!("{reason}; check the credentials, and that the ClusterRole system:discovery is bound to them");
        return Report::Unusable(Unusable { kind: UnusableKind::Forbidden, detail });
    }
    Report::Lost { reason }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_denial_is_told_as_one() {
        for (code, expected) in [(403, Some(UnusableKind::Forbidden)), (404, Some(UnusableKind::Missing)), (503, None)]
        {
            let failure = Failure::from(kube::Error::Api(Status::failure("words", "").with_code(code).boxed()));
            let kind = match report(&failure, "net.example/v1", "Zone") {
                Report::Unusable(unusable) => Some(unusable.kind),
                Report::Holds(_)
                | Report::Confirmed
                | Report::ReadCompleted(_)
                | Report::Relayed(_)
                | Report::Lost { .. } => None,
            };
            assert_eq!(kind, expected, "{code}");
        }
    }
}
