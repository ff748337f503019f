//! Handshakes: bounded in number and time, with the newest certificate.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use prometheus::IntGauge;
use rustls::ServerConfig;
use rustls::pki_types::UnixTime;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Duration, timeout};

use super::fault::Fault;
use super::metrics::Metrics;
use super::pair::Leaf;
use super::session::Session;
use super::stream::Stream;
use crate::access::caller::{Known, Loss};
use crate::access::certificate::NameKind;
use crate::bounds::{LINGER, TLS_HANDSHAKE, TLS_HANDSHAKE_CROWDED, TLS_HANDSHAKES};

/// What a port makes TLS connections with.
#[derive(Debug)]
pub struct Acceptor {
    current: ArcSwap<Current>,
    /// Which of the names in a client's certificate is the owner's.
    names: Vec<NameKind>,
    permits: Semaphore,
    /// Handshakes whose turn has not come.
    waiting: watch::Sender<usize>,
    /// Of the port.
    pub metrics: Metrics,
}

/// What handshakes begin with.
#[derive(Debug)]
struct Current {
    config: Arc<ServerConfig>,
    /// Stands for the authorities that vouch for clients: with it all are lost for whom they vouch.
    authorities: Arc<Known>,
}

/// A connection whose handshake is over.
#[derive(Debug)]
pub struct Accepted<S> {
    /// Its stream.
    pub stream: Stream<S>,
    /// Whose certificate the client has shown, and when that ends; absent: it has shown none.
    pub client: Option<(Arc<Known>, Instant)>,
}

/// Why a handshake has come to no good end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It took too long.
    #[error("the TLS handshake took too long")]
    Timeout,
    /// The client speaks HTTP in the clear.
    #[error("the client speaks HTTP in the clear")]
    Clear,
    /// One of the two does not accept the certificate of the other.
    #[error("a certificate is not accepted")]
    Certificate(#[source] rustls::Error),
    /// They share no protocol, or the client breaks it.
    #[error("the client speaks no TLS that is taken here")]
    Protocol(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client has gone.
    #[error("the client has gone during the TLS handshake")]
    Closed(#[source] io::Error),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        use rustls::AlertDescription as Alert;
        match fault {
            Fault::Clear => Self::Clear,
            Fault::Idle => Self::Protocol(Box::new(fault)),
            Fault::Io(error) => Self::Closed(error),
            Fault::Tls(error) => {
                let is_certificate = matches!(
                    &error,
                    rustls::Error::InvalidCertificate(_)
                        | rustls::Error::NoCertificatesPresented
                        | rustls::Error::AlertReceived(
                            Alert::BadCertificate
                                | Alert::UnsupportedCertificate
                                | Alert::CertificateRevoked
                                | Alert::CertificateExpired
                                | Alert::CertificateUnknown
                                | Alert::UnknownCA
                        )
                );
                if is_certificate { Self::Certificate(error) } else { Self::Protocol(error.into()) }
            }
        }
    }
}

impl Acceptor {
    /// One that begins with this.
    #[must_use]
    pub fn new(config: ServerConfig, names: Vec<NameKind>, metrics: Metrics) -> Self {
        let (permits, waiting) = (Semaphore::new(TLS_HANDSHAKES), watch::Sender::default());
        let current = ArcSwap::from_pointee(Current { config: Arc::new(config), authorities: authorities() });
        Self { current, names, permits, waiting, metrics }
    }

    /// From now on handshakes begin with this. `vouches`: its authorities vouch for all for whom those of before did;
    /// otherwise the owners of certificates that were shown so far are lost.
    pub fn replace(&self, config: ServerConfig, vouches: bool) {
        let before = self.current.load_full();
        let authorities = if vouches { Arc::clone(&before.authorities) } else { authorities() };
        self.current.store(Arc::new(Current { config: Arc::new(config), authorities }));
        if !vouches {
            // Behind the store: a handshake that began before has an owner that is lost too.
            before.authorities.lose(Loss::Withdrawn);
        }
    }

    /// Makes a TLS connection of one that was accepted, if that comes to an end before `over` does, and in time. Where it
    /// fails the client has been told, and (some) has the stream to be told more on.
    pub async fn accept(
        &self,
        io: TcpStream,
        over: impl Future<Output = ()>,
    ) -> Result<Accepted<TcpStream>, (Failure, Option<TcpStream>)> {
        let mut io = Some(io);
        let result = tokio::select! {
            biased;
            done = timeout(TLS_HANDSHAKE, self.shake_hands(&mut io)) => done.unwrap_or(Err(Failure::Timeout)),
            () = over => Err(Failure::Timeout),
        };
        result.map_err(|failure| {
            self.metrics.failed(&failure);
            (failure, io)
        })
    }

    async fn shake_hands(&self, slot: &mut Option<TcpStream>) -> Result<Accepted<TcpStream>, Failure> {
        let gone = || Failure::Closed(io::ErrorKind::NotConnected.into());
        // A client that says nothing takes nobody's turn.
        slot.as_ref().ok_or_else(gone)?.readable().await.map_err(Failure::Closed)?;
        let permit = if let Ok(permit) = self.permits.try_acquire() {
            permit
        } else {
            let _waits = Waits::new(&self.waiting);
            // It is never closed.
            self.permits.acquire().await.map_err(|_| gone())?
        };
        let under_way = UnderWay::new(&self.metrics.under_way);
        let current = self.current.load_full();
        let session = Session::new(Arc::clone(&current.config)).map_err(|error| Failure::Protocol(error.into()))?;
        let mut stream = Stream::new(slot.take().ok_or_else(gone)?, Box::new(session));
        let done = tokio::select! {
            done = poll_fn(|cx| stream.poll_handshake(cx)) => done,
            () = self.is_crowded() => return Err(Failure::Timeout),
        };
        drop((permit, under_way));
        if let Err(fault) = done {
            *slot = Some(stream.into_parts().0);
            return Err(fault.into());
        }
        let client = match self.client(stream.session(), &current.authorities) {
            Ok(client) => client,
            Err(failure) => {
                *slot = Some(stream.into_parts().0);
                return Err(failure);
            }
        };
        let kind = if stream.session().is_resumed() { &self.metrics.resumed } else { &self.metrics.full };
        kind.inc();
        Ok(Accepted { stream, client })
    }

    /// Waits until a handshake whose turn began now has had enough of it, since others wait: a few clients that begin and never
    /// end must not keep all turns.
    async fn is_crowded(&self) {
        tokio::time::sleep(TLS_HANDSHAKE_CROWDED).await;
        if self.waiting.subscribe().wait_for(|waiting| *waiting > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whose certificate the client has shown. One that has ended since a former connection is not good for this one.
    fn client(&self, session: &Session, authorities: &Arc<Known>) -> Result<Option<(Arc<Known>, Instant)>, Failure> {
        let Some(certificate) = session.client_certificate() else { return Ok(None) };
        let bad = |why| Failure::Certificate(rustls::Error::InvalidCertificate(why));
        let leaf = Leaf::parse(certificate).ok_or_else(|| bad(rustls::CertificateError::BadEncoding))?;
        let name = leaf.names.owner(&self.names);
        let name = name.ok_or_else(|| bad(rustls::CertificateError::ApplicationVerificationFailure))?;
        let left = u64::try_from(leaf.not_after - unix_now()).unwrap_or(0);
        if left == 0 {
            return Err(bad(rustls::CertificateError::Expired));
        }
        let ends = tokio::time::Instant::now() + Duration::from_secs(left);
        Ok(Some((Known::by(authorities, name), ends.into_std())))
    }
}

fn authorities() -> Arc<Known> {
    Known::new("authorities", Box::default())
}

/// A handshake that is counted until this is dropped.
struct UnderWay<'a>(&'a IntGauge);

impl<'a> UnderWay<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A handshake that waits for its turn until this is dropped.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn new(waiting: &'a watch::Sender<usize>) -> Self {
        waiting.send_modify(|waiting| *waiting += 1);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|waiting| *waiting -= 1);
    }
}

/// Says a last thing to a client whose handshake has failed, and reads what it still sends for a moment: to close before would
/// be a reset, which can take that, or an alert, from it.
pub async fn end(mut io: TcpStream, last: &[u8]) {
    let heard = async {
        io.write_all(last).await?;
        io.shutdown().await?;
        tokio::io::copy(&mut io, &mut tokio::io::sink()).await
    };
    // Its own end, or the time for it: either way it is closed.
    let _ = timeout(LINGER, heard).await;
}

/// Seconds of Unix time.
#[must_use]
pub fn unix_now() -> i64 {
    i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX)
}
