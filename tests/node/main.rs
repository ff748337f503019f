//! Tests that need pods which really run: on a node of their own, made by the scripts beside this file. They need root
//! and minutes, so `cargo test` leaves them out, and `make test-node` runs them. Where a node cannot be had they fail
//! with the sentence that says what is missing.

#![allow(
    clippy::panic,
    clippy::disallowed_methods,
    clippy::format_push_string,
    reason = "tests read the environment, and end in a panic with the reason"
)]

mod access; // clients that have to say who they are
mod agent; // the agent on each node
mod chart; // releases of the chart in namespaces of their own
mod demo; // what a new user is shown
mod guests; // the sidecar beside what else pods and clusters hold
mod image; // the image, as `make image` builds it
mod injection; // the sidecar comes into pods, whatever else is in them
mod leftovers; // what a node that was taken down leaves
mod lifecycle; // the life of a release
mod metrics; // Prometheus, as the admin port sees it
mod needs; // packages that the machine lacks
mod node; // the node, and the means to speak to it
mod proxy; // the proxy in front of a Service, and the sidecar in another chart
mod readiness; // when pods beside the sidecar start, take traffic and come back
mod readme; // the README, typed as it stands
mod rendering; // what helm makes of the chart
mod rolling; // pods that end, and many parked clients
mod serving; // the node does what a Kubernetes does
mod tls; // releases whose port speaks TLS, and tokens of issuers
mod unit; // the unit for systemd, under one
