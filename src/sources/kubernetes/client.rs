//! The connection to the API server.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kube::Client;
use kube::client::{ClientBuilder, DynBody};
use kube::config::AuthInfo;
use kube::core::Status;
use kube::core::response::StatusDetails;
use tower::BoxError;
use tower::util::{MapRequestLayer, MapResponseLayer};

use super::connect_error::ConnectError;
use super::kubeconfig;
use super::token::{TokenError, TokenFile};

/// TCP and TLS; the time for requests is [`crate::bounds::KUBERNETES_REQUEST`].
const CONNECT: Duration = Duration::from_secs(5);

/// A client for the API server that the kubeconfig names; without one, that of `KUBECONFIG`,
/// `~/.kube/config` or the pod's service account. It sends nothing yet.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = kubeconfig::config(kubeconfig).await?;
    if let Some(proxy) = &config.proxy_url {
        let host = proxy.host().unwrap_or_default();
        return Err(ConnectError::Proxy { proxy: host.to_owned() });
    }
    // The loop decides when to ask again; kube would repeat a 429 unseen.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    // A watch is quiet for a minute at a time; the loop itself notices one that fell silent.
    config.read_timeout = None;
    let token = token_file(&mut config.auth_info)?;
    let agent = HeaderValue::from_static(concat!("tidewait/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    let builder = ClientBuilder::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))?;
    let authorize = move |request| match &token {
        Some(token) => token.authorize(request),
        None => request,
    };
    let builder = builder.with_layer(&MapRequestLayer::new(authorize));
    Ok(builder.with_layer(&MapResponseLayer::new(keep_retry_after)).build())
}

/// Takes the token file from kube, which would send what is in it as it is. With a token beside it the file counts, and
/// the token where that is of no use, as for kubectl.
fn token_file(user: &mut AuthInfo) -> Result<Option<TokenFile>, TokenError> {
    let by_other_means = user.auth_provider.is_some() || (user.username.is_some() && user.password.is_some());
    let Some(path) = user.token_file.take_if(|_| !by_other_means) else { return Ok(None) };
    match TokenFile::open(Path::new(&path)) {
        Ok(token) => {
            user.token = None;
            user.exec = None;
            Ok(Some(token))
        }
        Err(error) if user.token.is_some() => {
            let error = crate::telemetry::chain(&error);
            tracing::warn!(%error, "the token in the kubeconfig itself is used");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Puts `Retry-After` into the body, since kube forgets the header. An API server that is
/// overloaded answers plain text: it has no time for a `Status`.
fn keep_retry_after(response: Response<Box<DynBody>>) -> Response<Box<DynBody>> {
    let code = response.status();
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().ends_with(b"json"));
    let after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u32>().ok());
    match after {
        Some(seconds) if !is_json && (code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error()) => {
            let text = code.canonical_reason().unwrap_or_default();
            let details = StatusDetails { retry_after_seconds: seconds, ..no_details() };
            let status = Status::failure(text, "").with_code(code.as_u16()).with_details(details);
            response.map(|_| body(serde_json::to_vec(&status).unwrap_or_default()))
        }
        Some(_) | None => response,
    }
}

fn body(bytes: impl Into<Bytes>) -> Box<DynBody> {
    Box::new(Full::new(bytes.into()).map_err(|never: Infallible| -> BoxError { match never {} }))
}

fn no_details() -> StatusDetails {
    StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, media_type: &'static str, text: &'static str) -> Response<Box<DynBody>> {
        Response::builder()
            .status(code)
            .header(RETRY_AFTER, "7")
            .header(CONTENT_TYPE, media_type)
            .body(body(text))
            .expect("a response")
    }

    #[tokio::test]
    async fn the_pause_that_an_overloaded_server_asks_for_is_kept() {
        for (code, media_type, expected) in [
            (429, "text/plain; charset=utf-8", Some(7)),
            (503, "text/plain", Some(7)),
            (200, "text/plain", None),
            (429, "application/json", None),
        ] {
            let body = keep_retry_after(answer(code, media_type, "{}")).into_body().collect().await.expect("a body");
            let status: Status = serde_json::from_slice(&body.to_bytes()).expect("JSON");
            assert_eq!(status.details.map(|details| details.retry_after_seconds), expected, "{code} {media_type}");
        }
    }

    #[tokio::test]
    async fn a_kubeconfig_that_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("kubeconfig");
        let error = connect(Some(&path)).await.err().expect("there is no file");
        assert!(error.to_string().contains("kubeconfig cannot be used"), "{error}");
        assert!(std::error::Error::source(&error).is_some(), "the cause is in source()");
        let cluster =
            "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', proxy-url: 'http://u:secret@proxy:3128'}}]";
        let context = "contexts: [{name: x, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]";
        let text = format!("apiVersion: v1\nkind: Config\ncurrent-context: x\n{cluster}\n{context}\n");
        std::fs::write(&path, text).expect("a file");
        let error = connect(Some(&path)).await.err().expect("a proxy").to_string();
        assert!(error.contains("through the proxy proxy,") && !error.contains("secret"), "{error}");
    }
}
