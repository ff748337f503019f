//! Writes a status, and only of the object that was meant.

use json_patch::{AddOperation, Patch as JsonPatch, PatchOperation, TestOperation};
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde::Serialize;
use tokio::time::timeout;

use crate::bounds::KUBERNETES_READ;
use crate::sources::kubernetes::failure::{Failure, FailureKind};

/// Replaces the status of an object, which `uid` tells from another one of its name: a patch without that test would
/// be taken for whatever object has the name by then.
pub(super) async fn status(
    client: &Client,
    resource: &ApiResource,
    (namespace, name): (&str, &str),
    uid: &str,
    status: &impl Serialize,
) -> Result<(), Failure> {
    let pointer = |text: &'static str| json_patch::jsonptr::PointerBuf::parse(text).expect("a pointer");
    let test = TestOperation { path: pointer("/metadata/uid"), value: uid.into() };
    let add = AddOperation { path: pointer("/status"), value: serde_json::to_value(status).expect("a status is JSON") };
    let patch = Patch::<()>::Json(JsonPatch(vec![PatchOperation::Test(test), PatchOperation::Add(add)]));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let params = PatchParams::default();
    let patched = api.patch_status(name, &params, &patch);
    match timeout(KUBERNETES_READ, patched).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(Failure::new(FailureKind::Timeout, "no answer in time")),
    }
}
