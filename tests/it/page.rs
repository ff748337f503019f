//! The page of the admin port, in Chromium as a person has it, and the events that it reads.

mod browser; // Chromium, by the protocol of its developer tools
mod events; // /events, the files of the page, and pages of other origins, by a plain client
mod shown; // what a person sees and reaches

mod demonstration; // one topic, read in four ways

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::server::Client;

/// A port that stays while the server behind it goes and comes.
struct Front {
    address: SocketAddr,
    behind: watch::Sender<SocketAddr>,
}

impl Front {
    async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (behind, now) = watch::channel(server);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let server = *now.borrow();
                tokio::spawn(async move {
                    // Where nobody listens the client is left.
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { address, behind }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// An agent that waits, of which the server knows this.
async fn agent(server: SocketAddr, name: &str, query: &str, reason: Option<&str>) -> Client {
    let mut client = Client::connect(server).await;
    let fields = [("Agent-Id", name), ("Rejected-Reason", reason.unwrap_or_default())];
    let fields = if reason.is_some() { &fields[..] } else { &fields[..1] };
    client.send("GET", &format!("/describe?{query}&wait=50"), fields).await;
    client
}
