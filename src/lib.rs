//! Tidewait stands beside an app, holds the current state of a model with the identifier that
//! names it, parks the requests of clients that have that state already, and answers all of them
//! the moment it changes. ARCHITECTURE.md describes the way of a change through these modules.
//!
//! With the feature `client` alone it is a [`client`] and what that needs. Without any feature it is what every client shares
//! with the server: the model, its states and patches, and the names and forms of the protocol.

#[cfg(feature = "server")]
pub mod access;
#[cfg(feature = "server")]
pub mod admin;
#[cfg(feature = "server")]
pub mod agent;
#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod authentication;
#[cfg(feature = "server")]
pub mod authorization;
pub mod bounds;
#[cfg(feature = "server")]
pub mod chat;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod controller;
#[cfg(feature = "server")]
pub mod crd;
#[cfg(feature = "server")]
pub mod describe;
#[cfg(feature = "client")]
pub mod escape;
#[cfg(feature = "server")]
pub mod exchange;
#[cfg(feature = "server")]
pub mod exchanges;
#[cfg(feature = "server")]
pub mod fetch;
#[cfg(feature = "server")]
pub mod files;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod hub;
#[cfg(feature = "server")]
pub mod lifecycle;
pub mod model;
#[cfg(feature = "server")]
pub mod operation;
#[cfg(feature = "server")]
pub mod operations;
pub mod protocol;
#[cfg(feature = "server")]
pub mod refusals;
#[cfg(feature = "server")]
pub mod registry;
#[cfg(feature = "server")]
pub mod reviews;
#[cfg(feature = "server")]
pub mod room;
#[cfg(feature = "client")]
pub mod sockets;
#[cfg(feature = "server")]
pub mod sources;
#[cfg(feature = "server")]
pub mod systemd;
#[cfg(feature = "server")]
pub mod telemetry;
#[cfg(feature = "server")]
pub mod tls;
#[cfg(feature = "server")]
pub mod topic;
#[cfg(feature = "server")]
pub mod worker;
pub mod yaml;
