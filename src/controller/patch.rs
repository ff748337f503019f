//! Writes a status, and only of the object that was meant, as it was when the status was computed.

use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation, ReplaceOperation, TestOperation};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, Request, Resource as _};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::bounds::KUBERNETES_READ;
use crate::sources::kubernetes::failure::{Failure, FailureKind};

/// Which object is meant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meant<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    /// Tells it from another one of its name: a patch without that test would be taken for whatever object has the name
    /// by then.
    pub(super) uid: &'a str,
    /// The version that the status was computed from; 0: whichever it is by then.
    pub(super) version: u64,
}

/// Why a status was not written.
#[derive(Debug)]
pub(super) enum Unwritten {
    /// The object is another by now, by its version: the status is to be computed again.
    Conflict,
    /// Whatever else.
    Failed(Failure),
}

/// What is read of the answer: an object may be deeper than a reader of all of it goes.
#[derive(Deserialize)]
struct PatchedObject {
    metadata: ObjectMeta,
}

/// Replaces the status of an object, and gives the version that it has then; 0: one without order.
pub(super) async fn status(
    client: &Client,
    resource: &ApiResource,
    meant: Meant<'_>,
    status: &impl Serialize,
) -> Result<u64, Unwritten> {
    let path = DynamicObject::url_path(resource, Some(meant.namespace));
    let change = Patch::<()>::Json(operations(meant, status));
    let request = Request::new(path).patch_subresource("status", meant.name, &PatchParams::default(), &change);
    let request = request.map_err(|error| failed(FailureKind::Malformed, error.to_string()))?;
    match timeout(KUBERNETES_READ, client.request::<PatchedObject>(request)).await {
        Ok(Ok(PatchedObject { metadata })) => {
            Ok(metadata.resource_version.and_then(|version| version.parse().ok()).unwrap_or(0))
        }
        Ok(Err(error)) if is_conflict(&error) => Err(Unwritten::Conflict),
        Ok(Err(error)) => Err(Unwritten::Failed(error.into())),
        Err(_) => Err(failed(FailureKind::Timeout, "no answer in time")),
    }
}

/// Whether the API server refused a write since the object is another by now, or is there already: 409.
pub(super) fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

fn operations(meant: Meant<'_>, status: &impl Serialize) -> JsonPatch {
    let pointer = |text: &'static str| json_patch::jsonptr::PointerBuf::parse(text).expect("a pointer");
    let test = TestOperation { path: pointer("/metadata/uid"), value: meant.uid.into() };
    let status = serde_json::to_value(status).expect("a status is JSON");
    let add = AddOperation { path: pointer("/status"), value: status };
    // Not a test: one that fails is 422, as any other mistake, while another version than the one that is there is 409.
    let version = (meant.version != 0).then(|| {
        let value = meant.version.to_string().into();
        PatchOperation::Replace(ReplaceOperation { path: pointer("/metadata/resourceVersion"), value })
    });
    let operations = [Some(PatchOperation::Test(test)), version, Some(PatchOperation::Add(add))];
    JsonPatch(operations.into_iter().flatten().collect())
}

fn failed(kind: FailureKind, message: impl Into<String>) -> Unwritten {
    Unwritten::Failed(Failure::new(kind, message))
}
