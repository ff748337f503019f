//! The files with certificates, keys and authorities of a port: read before anybody is served, then followed as models are.
//!
//! A certificate and its key change together, and are seen one after the other. So a pair whose halves do not belong together
//! is tried again with each change, and told only after a moment; meanwhile, and while a file is not good, handshakes use
//! the last good pair.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use rustls::ServerConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::access::certificate::NameKind;
use crate::admin::followed::FollowedFile;
use crate::bounds::{TLS_FILE_BYTES, TLS_PAIR_SETTLES};
use crate::config::{Config, Format, Tls};
use crate::model::Content;
use crate::sources::Report;
use crate::sources::file::{self, FileSource};
use crate::tls::acceptor::unix_now;
use crate::tls::pair::{self, InvalidPair, Pair};
use crate::tls::settings::{self, Clients};
use crate::tls::{Acceptor, Metrics};

/// Why there is no certificate to begin with.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// A file cannot be read.
    #[error("{setting} {}: it cannot be read: name a file that can be", .path.display())]
    Read {
        /// The flag that names it.
        setting: String,
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is of no use.
    #[error("{setting} {}", .path.display())]
    Invalid {
        /// The flag that names it.
        setting: String,
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidPair,
    },
    /// The files are good, and TLS cannot be spoken with them.
    #[error("TLS cannot be spoken with these files")]
    Unsupported(#[from] rustls::Error),
}

/// A port, and what its TLS is made of.
#[derive(Debug, Clone)]
pub(super) struct Port {
    pub(super) tls: Tls,
    /// What its flags begin with.
    pub(super) flags: &'static str,
    /// What it speaks, by the names of ALPN (RFC 7301).
    pub(super) protocols: &'static [&'static [u8]],
    /// Which of the names in a client's certificate is its owner's.
    pub(super) names: Vec<NameKind>,
}

/// What the files hold: certificate, key, and (or nothing) authorities.
type Contents = [Vec<u8>; 3];

/// What was made of them.
pub(super) struct Ready {
    contents: Contents,
    pub(super) config: ServerConfig,
    pub(super) not_after: i64,
}

impl Port {
    /// That of clients; none: it does not speak TLS.
    pub(super) fn of_clients(config: &Config) -> Option<Self> {
        Self::of(config, config.tls.as_ref(), "tls-", &[b"h2", b"http/1.1"])
    }

    /// That of operators.
    pub(super) fn of_admin(config: &Config) -> Option<Self> {
        Self::of(config, config.admin_tls.as_ref(), "admin-tls-", &[b"http/1.1"])
    }

    fn of(
        config: &Config,
        tls: Option<&Tls>,
        flags: &'static str,
        protocols: &'static [&'static [u8]],
    ) -> Option<Self> {
        let names = config.access.certificate_names.clone();
        tls.cloned().map(|tls| Self { tls, flags, protocols, names })
    }

    /// The flag and the path of each file.
    fn files(&self) -> Vec<(String, &Path)> {
        let Tls { certificate, key, clients } = &self.tls;
        let authorities = clients.as_ref().map(|clients| ("client-ca", clients.authorities.as_path()));
        let files = [("certificate", certificate.as_path()), ("key", key.as_path())].into_iter().chain(authorities);
        files.map(|(name, path)| (format!("--{}{name}", self.flags), path)).collect()
    }

    /// Reads the files.
    pub(super) fn read(&self) -> Result<Ready, TlsFileError> {
        let mut contents = Contents::default();
        for (file, content) in self.files().into_iter().zip(&mut contents) {
            *content = bytes(file)?;
        }
        let (config, not_after) = self.make(&contents)?;
        Ok(Ready { contents, config, not_after })
    }

    /// All that is wrong with the files.
    pub(super) fn faults(&self) -> Vec<TlsFileError> {
        let read: Vec<_> = self.files().into_iter().map(bytes).collect();
        let content = |at: usize| read.get(at).and_then(|read| read.as_ref().ok());
        let mut invalid = Vec::new();
        if let (Some(certificate), Some(key)) = (content(0), content(1)) {
            invalid.extend(Pair::parse(certificate, key, &settings::provider(), unix_now()).err());
        }
        invalid.extend(content(2).and_then(|authorities| pair::authorities(authorities).err()));
        let invalid: Vec<_> = invalid.into_iter().map(|invalid| self.invalid(invalid)).collect();
        let faults: Vec<_> = read.into_iter().filter_map(Result::err).chain(invalid).collect();
        if faults.is_empty() { self.read().err().into_iter().collect() } else { faults }
    }

    /// What handshakes use, and when its certificate ends.
    fn make(&self, [certificate, key, authorities]: &Contents) -> Result<(ServerConfig, i64), TlsFileError> {
        let provider = settings::provider();
        let pair = Pair::parse(certificate, key, &provider, unix_now()).map_err(|invalid| self.invalid(invalid))?;
        let clients = match &self.tls.clients {
            None => None,
            Some(clients) => Some(Clients {
                authorities: pair::authorities(authorities).map_err(|invalid| self.invalid(invalid))?,
                is_required: clients.is_required,
                names: self.names.clone(),
            }),
        };
        let not_after = pair.not_after;
        Ok((settings::server(pair, clients, self.protocols, provider)?, not_after))
    }

    fn invalid(&self, source: InvalidPair) -> TlsFileError {
        let at = match source {
            InvalidPair::Certificate(_) => 0,
            InvalidPair::Key(_) | InvalidPair::Mismatch => 1,
            InvalidPair::Authorities(_) => 2,
        };
        let (setting, path) = self.files().into_iter().nth(at).unwrap_or((String::new(), Path::new("")));
        TlsFileError::Invalid { setting, path: path.into(), source }
    }
}

/// What a file holds, which a flag names.
fn bytes((setting, path): (String, &Path)) -> Result<Vec<u8>, TlsFileError> {
    let limit = u64::try_from(TLS_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|source| TlsFileError::Read { setting, path: path.into(), source })
}

/// Whether the authorities in `next` vouch for all clients for whom those in `before` did: a new one may stand beside them.
fn vouch_for_all(before: &[u8], next: &[u8]) -> bool {
    let roots = |pem: &[u8]| pair::authorities(pem).map(|store| store.roots).unwrap_or_default();
    let next = roots(next);
    roots(before).iter().all(|root| next.contains(root))
}

/// Follows the files of a port.
pub(super) struct Follower {
    port: Port,
    acceptor: Arc<Acceptor>,
    /// Counts up when clients are lost.
    withdrawals: Arc<watch::Sender<u64>>,
    /// As they were seen last.
    seen: Contents,
    /// Why a file cannot be used now.
    faults: [Option<String>; 3],
    /// What handshakes use.
    used: Contents,
    /// What operators see of them.
    shown: Arc<FollowedFile>,
    /// What is to be said, and when, unless it is over before.
    later: Option<(Instant, String)>,
}

impl Follower {
    /// Begins with what was read.
    pub(super) fn new(
        port: Port,
        ready: Ready,
        (name, metrics): (&str, Metrics),
        withdrawals: Arc<watch::Sender<u64>>,
    ) -> (Self, Arc<Acceptor>) {
        let paths = port.files().into_iter().map(|(_, path)| path.to_owned()).collect();
        let holds = format!("certificate of {name}");
        let shown = FollowedFile::new(holds, paths, metrics.good.clone(), Some(metrics.not_after.clone()));
        metrics.not_after.set(ready.not_after);
        let acceptor = Arc::new(Acceptor::new(ready.config, port.names.clone(), metrics));
        let follower = Self {
            port,
            acceptor: Arc::clone(&acceptor),
            withdrawals,
            seen: ready.contents.clone(),
            faults: Default::default(),
            used: ready.contents,
            shown,
            later: None,
        };
        (follower, acceptor)
    }

    /// What operators see of the files.
    pub(super) fn shown(&self) -> Arc<FollowedFile> {
        Arc::clone(&self.shown)
    }

    /// Replaces what handshakes use whenever the files change.
    pub(super) async fn follow(mut self) {
        let (sender, mut reports) = mpsc::channel(1);
        let files = self.port.files().into_iter().enumerate().map(|(at, (flag, path))| {
            let format = Format::Opaque("application/x-pem-file".to_owned());
            let operation = flag.trim_start_matches('-').to_owned();
            let file = FileSource { operation, path: path.to_owned(), format, below: None };
            let sender = sender.clone();
            async move {
                let (of_file, mut reports) = mpsc::channel(1);
                let passed_on = async {
                    while let Some(report) = reports.recv().await {
                        if sender.send((at, report)).await.is_err() {
                            break;
                        }
                    }
                };
                tokio::join!(file::run(file, of_file), passed_on);
            }
        });
        let followed = join_all(files.collect::<Vec<_>>());
        let taken = async {
            loop {
                let later = self.later.as_ref().map(|(at, _)| *at);
                tokio::select! {
                    Some((at, report)) = reports.recv() => self.on_report(at, report),
                    () = sleep_until(later.unwrap_or_else(Instant::now)), if later.is_some() => {
                        if let Some((_, why)) = self.later.take() {
                            self.tell(&why);
                        }
                    }
                }
            }
        };
        tokio::join!(followed, taken);
    }

    fn on_report(&mut self, at: usize, report: Report) {
        match report {
            Report::Holds(draft) => {
                let Content::Opaque { body, .. } = &draft.content else { return };
                self.seen[at] = body.to_vec();
                self.faults[at] = None;
            }
            Report::Unusable(unusable) => self.faults[at] = Some(unusable.detail),
            Report::Lost { reason } => self.faults[at] = Some(reason),
            // Nothing is new, unless it was away.
            Report::Confirmed if self.faults[at].take().is_some() => {}
            Report::Confirmed | Report::ReadCompleted(_) | Report::Relayed(_) => return,
        }
        self.look();
    }

    /// Takes what the files hold, if it is good.
    fn look(&mut self) {
        if let Some(fault) = self.faults.iter().flatten().next() {
            return self.tell(&fault.clone());
        }
        if self.seen == self.used {
            return self.is_good();
        }
        match self.port.make(&self.seen) {
            Ok((config, not_after)) => {
                let vouches = vouch_for_all(&self.used[2], &self.seen[2]);
                self.acceptor.replace(config, vouches);
                if !vouches {
                    self.withdrawals.send_modify(|count| *count += 1);
                }
                self.used = self.seen.clone();
                self.acceptor.metrics.not_after.set(not_after);
                self.is_good();
                tracing::info!(
                    not_after,
                    clients_are_lost = !vouches,
                    "the files of --{}certificate have changed: new connections use them",
                    self.port.flags
                );
            }
            Err(error) => {
                let is_half = matches!(&error, TlsFileError::Invalid { source: InvalidPair::Mismatch, .. });
                let why = crate::telemetry::chain(&error);
                if is_half {
                    self.later.get_or_insert((Instant::now() + TLS_PAIR_SETTLES, why));
                } else {
                    self.tell(&why);
                }
            }
        }
    }

    fn is_good(&mut self) {
        self.later = None;
        self.shown.is_taken();
    }

    /// Says why the files are not good, once.
    fn tell(&mut self, why: &str) {
        self.later = None;
        if self.shown.is_not_taken(why) {
            tracing::error!(error = why, "the files for TLS are not good: the last good certificate stays in use");
        }
    }
}
