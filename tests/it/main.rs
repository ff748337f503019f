//! All integration tests, one binary.

#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::format_push_string,
    reason = "tests spawn tasks of their own, read the environment, and end in a panic with the reason"
)]

mod acknowledge; // who holds, lacks or rejects the state, as operators see it
mod agent; // `tidewait agent`, the built binary: outputs, commands, signals, crashes
mod agents; // clients that poll and remember
mod api_proxy; // faults in front of the real API server
mod authentication; // credentials whose check takes time
mod chart; // the files of the chart agree
mod client; // what a client is built of
mod cluster; // the built binary and the real API server
mod configmap; // the source alone and the real API server
mod control_plane; // the real API server, etcd and kubectl
mod controller; // DescribeOperations and statuses, by kubectl, against a real API server
mod copies; // the clients of deploy/clients
mod crd; // the API types and the real API server
mod documents; // the pages lead somewhere and are true
mod example; // the example model is made by the code
mod exchange; // requests that wait for workers, and the workers
mod faults; // killed, stopped, out of disk
mod fetch; // `tidewait fetch`, the built binary, against servers that ask to come back
mod fleet; // some hundred clients of the library, outages, and states that cannot be applied
mod hostile; // requests that no sane client sends, and clients that are slow, many or gone
mod http; // describe through the real router, answer by answer
mod library; // the client library, and the built binary or a server that lies
mod load; // thousands of clients at once
mod model_file; // a model in a file, changed the ways that people change files
mod nats; // real NATS servers, alone and in a cluster of three
mod openapi; // the protocol as a document, held to the code
mod packaging; // the unit for systemd, and the recipes of deploy/agent
mod page; // the page of the admin port, in Chromium, and the events that it reads
mod process; // the built binary as its user sees it
mod proxy; // the way to the app and back
mod readers; // clients of others that read streams
mod relay; // a tier between a server and its clients
mod server; // the built binary, started for a test
mod talk; // a client that sends any bytes, in pieces
mod tidy; // rules about the source itself
mod tls; // the built binary over TLS, and openssl and curl as its clients
mod topic; // messages, and who publishes and reads them
mod upstream; // the app as a source
mod versions; // an agent and a server of the version before
mod websocket; // connections of WebSocket
mod worker; // `tidewait worker`, between an exchange and a server
mod yaml; // what YAML means, and the YAML test suite
