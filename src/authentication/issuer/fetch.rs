//! Fetches the keys of an issuer: what it says of itself (OpenID Connect Discovery 1.0, section 4), then the JWK Set that this
//! names. Connections are made for it alone, and certificates are read anew, so that neither outlives a rotation.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use super::IssuerConfig;
use super::keys::Keys;
use super::members::Members;
use crate::bounds::{ISSUER_BODY_BYTES, ISSUER_FETCH, ISSUER_HEAD_BYTES};
use crate::telemetry::chain;

/// Characters of an issuer's words that a message repeats.
const QUOTED: usize = 200;

type Connections = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// The keys; else, for operators, why there are none and the remedy.
pub(super) async fn keys(config: &IssuerConfig) -> Result<Arc<Keys>, String> {
    let fetched = timeout(ISSUER_FETCH, fetch(config)).await;
    fetched.unwrap_or_else(|_| Err(format!("{} has not answered in full within {ISSUER_FETCH:?}", config.url)))
}

async fn fetch(config: &IssuerConfig) -> Result<Arc<Keys>, String> {
    let ca = config.ca.clone();
    let tls = tokio::task::spawn_blocking(move || tls(ca.as_deref())).await;
    let tls = tls.unwrap_or_else(|_| Err("certificates were not read".to_owned()))?;
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let mut builder = Client::builder(TokioExecutor::new());
    let connections = builder.http1_max_buf_size(ISSUER_HEAD_BYTES).build(connector);

    let url = config.url.configuration();
    let described = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let description = get(&connections, described).await?;
    let location = keys_location(config, &description).map_err(|problem| format!("{url}: {problem}"))?;
    let set = get(&connections, location.clone()).await?;
    Keys::parse(&set).map_err(|error| format!("{location} {error}"))
}

/// Where the keys are, as the issuer says that has this URL, and no other one.
fn keys_location(config: &IssuerConfig, description: &[u8]) -> Result<Uri, String> {
    let members = Members::read(description).ok_or("it is no description of an issuer: name the URL of one")?;
    let issuer = members.text("issuer").unwrap_or_default();
    if issuer != config.url.as_str() {
        return Err(format!("its issuer is {}: name it by that URL, if that is the one", quoted(issuer)));
    }
    let location = members.text("jwks_uri").ok_or("it names no keys (jwks_uri): have the keys in a file")?;
    config.url.may_have_keys_at(location).map_err(|error| format!("its jwks_uri {} {error}", quoted(location)))
}

fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(QUOTED).collect::<String>())
}

async fn get(connections: &Connections, url: Uri) -> Result<Bytes, String> {
    let failed = |error: &(dyn Error + 'static)| format!("{url} cannot be fetched: {}", chain(error));
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = url.clone();
    let fields = request.headers_mut();
    fields.insert(header::USER_AGENT, HeaderValue::from_static(concat!("tidewait/", env!("CARGO_PKG_VERSION"))));
    fields.insert(header::ACCEPT, HeaderValue::from_static("application/json, application/jwk-set+json"));
    fields.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let answer = connections.request(request).await.map_err(|error| failed(&error))?;
    let status = answer.status();
    if status.is_redirection() {
        return Err(format!("{url} answers {status}, and redirects are not followed: name the URL that it leads to"));
    }
    if status != StatusCode::OK {
        return Err(format!("{url} answers {status}: let everybody fetch it, or have the keys in a file"));
    }
    let body = Limited::new(answer.into_body(), ISSUER_BODY_BYTES).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| failed(&*error))
}

/// Whom to trust: whom the system does, and the certificates of this file.
fn tls(ca: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let name = path.display();
        let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let certificates = read.map_err(|error| format!("{name}: {error}: name a file of certificates in PEM"))?;
        if certificates.is_empty() {
            return Err(format!("{name}: it has no certificate: name a file of certificates in PEM"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| format!("{name}: {error}: name a file of certificates in PEM"))?;
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| chain(&error))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(description: &str) -> Result<String, String> {
        let config = IssuerConfig::new("https://issuer.example/a".parse().expect("a URL"), "x".to_owned());
        keys_location(&config, description.as_bytes()).map(|uri| uri.to_string())
    }

    #[test]
    fn keys_are_where_the_issuer_says_that_is_meant() {
        let good = r#"{"issuer":"https://issuer.example/a","jwks_uri":"https://keys.example/jwks","x":{"y":[1]}}"#;
        assert_eq!(location(good).as_deref(), Ok("https://keys.example/jwks"));
        for (description, expected) in [
            (good.replace("example/a", "example/a/"), "its issuer is \"https://issuer.example/a/\""),
            (good.replace("issuer\"", "issuers\""), "its issuer is \"\""),
            (good.replace("\"https://issuer.example/a\"", "1"), "its issuer is \"\""),
            (good.replace("jwks_uri", "jwks"), "it names no keys"),
            (good.replace("https://keys", "http://keys"), "its jwks_uri \"http://keys.example/jwks\" is not protected"),
            (good.replace("https://keys.example", ""), "its jwks_uri \"/jwks\" is no URL"),
            (good.replace("\"x\"", "\"issuer\""), "it is no description"),
            ("[]".to_owned(), "it is no description"),
            (String::new(), "it is no description"),
        ] {
            let error = location(&description).expect_err(expected);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
