//! Which resource serves a kind. The definition of a custom resource may come later than whoever asks.

use kube::Client;
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{self, Scope};
use tokio::time::timeout;

use super::failure::{Failure, FailureKind};
use crate::bounds::KUBERNETES_READ;
use crate::sources::{Report, Unusable, UnusableKind};

/// The resource of a kind that belongs to a namespace; else what a source has to say of that.
pub async fn resource(client: &Client, api_version: &str, kind: &str) -> Result<ApiResource, Report> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let wanted = GroupVersionKind::gvk(group, version, kind);
    let found = timeout(KUBERNETES_READ, discovery::pinned_kind(client, &wanted)).await;
    let failure = match found {
        Ok(Ok((resource, capabilities))) if capabilities.scope == Scope::Namespaced => return Ok(resource),
        Ok(Ok(_)) => {
            let detail = format!("{kind} of {api_version} belongs to no namespace: name a kind that does");
            return Err(Report::Unusable(Unusable { kind: UnusableKind::Invalid, detail }));
        }
        // kube has words of its own for a kind that its group has not; of a group that is not there the server
        // says it in plain text.
        Ok(Err(kube::Error::Discovery(_))) => Failure::new(FailureKind::NotFound, String::new()),
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Failure::new(FailureKind::NotFound, String::new()),
        Ok(Err(error)) => error.into(),
        Err(_) => Failure::new(FailureKind::Timeout, "no answer in time"),
    };
    Err(if failure.kind == FailureKind::NotFound {
        let detail = format!(
            "the cluster serves no {kind} of {api_version}: install its CustomResourceDefinition, or correct apiVersion and kind"
        );
        Report::Unusable(Unusable { kind: UnusableKind::Missing, detail })
    } else {
        Report::Lost { reason: format!("cannot find out how {kind} of {api_version} is served: {}", failure.message) }
    })
}
