//! The transparent reverse proxy: real hyper in front, apps that the tests play behind, raw bytes
//! on the client's side, so that what is on the wire is what is compared.

mod cancel;
mod faults;
mod fields;
pub(crate) mod harness;
mod http2;
mod leaks;
pub(crate) mod nginx;
mod pool;
mod streams;
mod tunnels;
