//! The built binary as its user sees it, with a model in a file: what it serves while the file
//! changes, what a restart keeps, how it starts and stops, what operators can ask, and what it does where nobody reads what it says.

use crate::model_file::ModelFile;
use crate::server::{Client, Reply, STEP, Server};

mod admin;
mod closing;
mod drain;
mod elsewhere;
mod files;
mod issuers;
mod kept;
mod logs;
mod moved;
mod operators;
mod output;
mod permissions;
mod start;
pub(crate) mod tokens;
mod traces;

pub(crate) use operators::promtool;
pub(crate) use start::limited;
pub(crate) use tokens::made;

/// A server of this model.
pub(crate) async fn serve(model: &ModelFile, more: &[&str]) -> Server {
    let arguments: Vec<_> = ["--file", model.arg()].iter().chain(more).copied().collect();
    Server::start(&arguments).await
}

/// A request that is parked on `id`: the server counts it.
async fn park(server: &Server, id: &str, wait: &str) -> Client {
    let parked = server.metric(PARKED).await;
    let mut client = Client::connect(server.listen).await;
    client.send("GET", &format!("/describe?since={id}&wait={wait}"), &[]).await;
    server.metric_becomes(PARKED, parked + 1.0).await;
    client
}

/// Asks again and again until the answer is as wanted: what changes it is in another process.
async fn until(what: &str, server: &Server, port: Port, target: &str, is_it: impl Fn(&Reply) -> bool) -> Reply {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(20));
    let mut last = None;
    let waited = tokio::time::timeout(STEP, async {
        loop {
            look.tick().await;
            let reply = match port {
                Port::Clients => server.get(target).await,
                Port::Admin => server.admin(target).await,
            };
            if is_it(&reply) {
                return reply;
            }
            last = Some(reply);
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}: {target} still gives {last:?}"))
}

#[derive(Clone, Copy)]
enum Port {
    Clients,
    Admin,
}

pub(crate) const PARKED: &str = "tidewait_parked_requests{operation=\"describe\"}";
const CHANGES: &str = "tidewait_state_changes_total{operation=\"describe\"}";
