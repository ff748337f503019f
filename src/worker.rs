//! `tidewait worker`: dials exchanges, and has a server answer the requests that wait there.
//!
//! ```text
//! fleet: the addresses of each name -- seat: one connection, offered while it may be --> dial --> http2 | http1
//!                                        ^                                                          |  a request
//!            gates, the server's health -+                            server (hyper's client) <-----+
//!                                                                       |  an answer
//!                                             the exchange <------------+------------> redirect: kept for one GET
//! ```
//! A connection holds one slot or several. What is to be offered can shrink at any moment, and a limit of streams cannot be changed
//! on a live connection by the libraries: so a connection that is not to be offered any more is left by GOAWAY, which loses no
//! request, and another one is dialled when it may be.

mod admin;
mod answer;
mod context;
mod dial;
pub mod exit;
mod fields;
mod fleet;
mod gate;
mod http1;
mod http2;
mod metrics;
mod offer;
mod pause;
mod plan;
mod redirect;
pub mod run;
mod seat;
mod server;
mod slots;
mod standing;
