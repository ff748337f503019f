//! What TLS costs: clients that are parked in the clear and over TLS, turn by turn.
//!
//! A loader of its own, since it has no need to be fast: memory is looked at while nothing happens, and the CPU time that is
//! told is the server's alone.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::answer::Answer;
use crate::ask;
use crate::model::{self, ModelFile};
use crate::outcome::{Outcome, because};
use crate::process::Process;

/// Handshakes at once where nothing is stormed.
const CALM: usize = 16;
const PATIENCE: Duration = Duration::from_secs(120);
const FIRST_CLIENTS: usize = 10;
const CHANGES: u64 = 20;

/// What was measured of one server.
struct Figures {
    parked: f64,
    after_changes: f64,
    after_storm: f64,
    cpu: f64,
    connecting: f64,
}

/// Measures `program` with so many clients.
pub(crate) fn run(program: &Path, clients: usize, rounds: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = std::io::stdout();
    print(
        &mut out,
        "| server | clients | kB parked | after changes | after a storm | us of CPU per client told | us per client that connects |",
    )?;
    print(&mut out, "|---|---|---|---|---|---|---|")?;
    for _ in 0..rounds {
        for (name, secured) in [("clear", false), ("TLS", true)] {
            let Figures { parked, after_changes, after_storm, cpu, connecting } =
                runtime.block_on(measure(program, clients, secured))?;
            print(
                &mut out,
                &format!(
                    "| {name} | {clients} | {parked:.2} | {after_changes:.2} | {after_storm:.2} | {cpu:.1} | {connecting:.0} |"
                ),
            )?;
        }
    }
    Ok(())
}

fn print(out: &mut impl std::io::Write, line: &str) -> Outcome<()> {
    Ok(writeln!(out, "{line}")?)
}

/// A certificate for the server in a folder, and what clients verify it by.
fn certificates(folder: &Path) -> Outcome<Arc<ClientConfig>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    std::fs::write(folder.join("tls.crt"), leaf.pem())?;
    std::fs::write(folder.join("tls.key"), key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // Each handshake is a whole one.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

async fn measure(program: &Path, clients: usize, secured: bool) -> Outcome<Figures> {
    let folder = tempfile::tempdir()?;
    let config = certificates(folder.path())?;
    let file = ModelFile::new(folder.path(), &model::small(0))?;
    let [address, admin] = ask::free()?;
    let mut command = Command::new(program);
    command.args(["serve", "--listen", &address.to_string(), "--admin", &admin.to_string(), "--file"]).arg(file.path());
    command.args(["--wait-max", "1h", "--wait-default", "1h"]);
    if secured {
        command.arg("--tls-certificate").arg(folder.path().join("tls.crt"));
        command.arg("--tls-key").arg(folder.path().join("tls.key"));
    }
    let mut process = Process::start(&mut command, &folder.path().join("log"), None)?;
    ask::until_answered(admin, "/readyz", || process.must_run())?;
    let to = (address, secured.then(|| TlsConnector::from(config)));
    let mut crowd = Crowd::park(&to, admin, FIRST_CLIENTS, CALM).await?;
    file.replace(&model::small(1))?;
    crowd.told(1).await?;
    drop(crowd);
    parked(admin, 0).await?;
    let base = process.resident();
    let (start, per) =
        (process.cpu(), |bytes: u64| f64_of(bytes.saturating_sub(base)) / 1000.0 / f64_of(clients as u64));
    let mut crowd = Crowd::park(&to, admin, clients, CALM).await?;
    let connecting = process.cpu().saturating_sub(start);
    let at_first = per(process.resident());
    let mut spent = Vec::new();
    for generation in 2..2 + CHANGES {
        let before = process.cpu();
        file.replace(&model::small(generation))?;
        crowd.told(generation).await?;
        parked(admin, clients).await?;
        spent.push(process.cpu().saturating_sub(before).as_secs_f64());
    }
    let after_changes = per(process.resident());
    drop(crowd);
    parked(admin, 0).await?;
    let crowd = Crowd::park(&to, admin, clients, clients).await?;
    let after_storm = per(process.resident());
    drop(crowd);
    spent.sort_by(f64::total_cmp);
    let each = |seconds: f64| seconds * 1e6 / f64_of(clients as u64);
    Ok(Figures {
        parked: at_first,
        after_changes,
        after_storm,
        cpu: each(spent[spent.len() / 2]),
        connecting: each(connecting.as_secs_f64()),
    })
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn f64_of(number: u64) -> f64 {
    number as f64
}

/// Waits until so many requests are parked.
async fn parked(admin: SocketAddr, count: usize) -> Outcome<()> {
    let start = Instant::now();
    loop {
        let metrics = tokio::task::spawn_blocking(move || ask::get(admin, "/metrics")).await??;
        let metrics = String::from_utf8_lossy(&metrics);
        let line =
            metrics.lines().find_map(|line| line.strip_prefix("tidewait_parked_requests{operation=\"describe\"} "));
        if line.and_then(|value| value.parse().ok()) == Some(count) {
            // Nothing is under way any more.
            tokio::time::sleep(Duration::from_millis(200)).await;
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            return Err(because(format!("{line:?} requests are parked, and not {count}")));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Clients that poll again whenever they are told.
struct Crowd {
    tasks: JoinSet<Outcome<()>>,
    told: mpsc::UnboundedReceiver<u64>,
    count: usize,
}

impl Crowd {
    async fn park(
        (address, connector): &(SocketAddr, Option<TlsConnector>),
        admin: SocketAddr,
        count: usize,
        at_once: usize,
    ) -> Outcome<Self> {
        let (sender, told) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(at_once));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let (address, connector, permits, sender) =
                (*address, connector.clone(), Arc::clone(&permits), sender.clone());
            tasks.spawn(async move {
                let permit = permits.acquire_owned().await?;
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                match connector {
                    None => {
                        drop(permit);
                        poll(stream, sender).await
                    }
                    Some(connector) => {
                        let name = ServerName::try_from("localhost")?;
                        let stream = connector.connect(name, stream).await?;
                        drop(permit);
                        poll(stream, sender).await
                    }
                }
            });
        }
        let mut crowd = Self { tasks, told, count };
        tokio::select! {
            parked = parked(admin, count) => parked?,
            Some(ended) = crowd.tasks.join_next() => ended??,
        }
        Ok(crowd)
    }

    /// Waits until each has been told of this generation.
    async fn told(&mut self, generation: u64) -> Outcome<()> {
        let mut left = self.count;
        while left > 0 {
            tokio::select! {
                Some(told) = self.told.recv() => left -= usize::from(told == generation),
                Some(ended) = self.tasks.join_next() => ended??,
            }
        }
        Ok(())
    }
}

/// Asks for the model, and then for each change of it.
async fn poll<S>(mut stream: S, told: mpsc::UnboundedSender<u64>) -> Outcome<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut target = "/describe".to_owned();
    loop {
        let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        stream.flush().await?;
        let mut bytes = Vec::new();
        let (id, body) = loop {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Err(because("a connection was lost"));
            }
            if let Some(answer) = Answer::read(&bytes)? {
                if answer.status != 200 {
                    return Err(because(format!("a client was told {}", answer.status)));
                }
                let id = std::str::from_utf8(answer.state.unwrap_or_default())?.to_owned();
                break (id, answer.body.to_vec());
            }
        };
        let text = String::from_utf8(body)?;
        let generation = text.strip_prefix("{\"generation\":").and_then(|rest| rest.split(',').next());
        // Nobody counts any more where it is given up.
        let _ = told.send(generation.and_then(|number| number.parse().ok()).unwrap_or_default());
        target = format!("/describe?since={id}");
    }
}
