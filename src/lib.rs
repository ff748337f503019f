//! Tidewait stands beside an app, holds the current state of a model with the identifier that
//! names it, parks the requests of clients that have that state already, and answers all of them
//! the moment it changes. ARCHITECTURE.md describes the way of a change through these modules.

pub mod access;
pub mod admin;
pub mod app;
pub mod bounds;
pub mod config;
pub mod controller;
pub mod crd;
pub mod describe;
pub mod escape;
pub mod http;
pub mod hub;
pub mod lifecycle;
pub mod model;
pub mod operation;
pub mod operations;
pub mod registry;
pub mod sockets;
pub mod sources;
pub mod telemetry;
pub mod yaml;
