//! Spans over OTLP/HTTP. The exporter runs on a thread of its own, where hyper's client finds no
//! runtime and panics (open-telemetry/opentelemetry-rust#3125); so each call is handed to ours.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;

use super::{TelemetryError, chain};

/// Longest time for one export.
const EXPORT: Duration = Duration::from_secs(10);

/// hyper's client, run on our runtime.
#[derive(Debug)]
struct OnRuntime {
    runtime: Handle,
    client: Arc<HyperClient>,
    endpoint: String,
    /// Whether the last attempt failed, so that a collector that is down is logged once.
    failing: AtomicBool,
}

#[async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        let call = self.runtime.spawn(async move { client.send_bytes(request).await });
        let sent = call.await?;
        let refusal = match &sent {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status())),
            Err(error) => Some(chain(&**error)),
        };
        let endpoint = &self.endpoint;
        match (self.failing.swap(refusal.is_some(), Ordering::Relaxed), refusal) {
            (false, Some(error)) => {
                tracing::warn!(%endpoint, %error, "the collector does not take spans: they are lost");
            }
            (true, None) => tracing::info!(%endpoint, "the collector takes spans again"),
            (false, None) | (true, Some(_)) => {}
        }
        sent
    }
}

/// A provider that sends spans to `endpoint`, the whole URL, in batches.
pub(super) fn provider(endpoint: &str) -> Result<SdkTracerProvider, TelemetryError> {
    let client = HyperClient::with_default_connector(EXPORT, None);
    let failing = AtomicBool::new(false);
    let url = endpoint.to_owned();
    let client = OnRuntime { runtime: Handle::current(), client: Arc::new(client), endpoint: url.clone(), failing };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).with_endpoint(url).with_timeout(EXPORT);
    let exporter = exporter
        .build()
        .map_err(|error| TelemetryError::Exporter { endpoint: endpoint.to_owned(), source: error.into() })?;
    let resource = Resource::builder().with_service_name("tidewait").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
