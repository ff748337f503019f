//! Sends the reports of a relay: to the endpoint that its client uses, the newest one, at most one a second.
//!
//! A report is renewed after half the wait. What failed is tried again after a pause that grows; another endpoint is told at
//! once. A server of a version without reports is left alone for ten minutes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::endpoints::Place;
use super::failure::{Failure, FailureKind};
use super::pace::Pace;
use super::random::Random;
use super::settings::{InvalidSetting, Settings};
use super::status::Status;
use crate::bounds::{CLIENT_LEFT, CLIENT_RETRY_AFTER, RELAY_REPORT_ANSWER, RELAY_REPORT_PAUSE, RELAY_REPORT_RENEW};
use crate::protocol::Report;

mod courier;

use courier::Courier;

/// Of the next report of this process: an instance is one process, however many reporters it has one after the other.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Sends reports until it is dropped, or those who say what to report are gone.
#[derive(Debug)]
pub struct Reporter {
    status: watch::Receiver<Reporting>,
    /// Ends with it.
    _driver: JoinSet<()>,
}

/// How reporting goes.
#[derive(Debug, Clone, Default)]
pub struct Reporting {
    /// Reports that were taken.
    pub taken: u64,
    /// Reports that were not.
    pub failures: u64,
    /// Why the last one was not; none: it was taken.
    pub failure: Option<(Failure, Instant)>,
}

/// Brings reports to servers. In tests it has no sockets, so that time can be paused.
trait Carrier: Send {
    /// A place, for people.
    fn name(&self, place: Place) -> String;
    /// Brings the bytes of a report to a place.
    fn bring(&mut self, place: Place, report: Vec<u8>) -> impl Future<Output = Result<(), NotTaken>> + Send;
}

/// Why a report was not taken.
#[derive(Debug)]
enum NotTaken {
    /// The server does not know reports.
    Unknown(Failure),
    /// Anything else.
    Failed(Failure),
}

struct Driver<C> {
    carrier: C,
    client: watch::Receiver<Status>,
    reports: watch::Receiver<Report>,
    told: watch::Sender<Reporting>,
    renew: Duration,
    /// What was taken last, where, and when.
    taken: Option<(Report, Place, Instant)>,
    /// Where it was tried last, when that was over, and how long it waits before it tries there again.
    tried: Option<(Place, Instant, Duration)>,
    /// Until when the server of a URL is left alone.
    left: Vec<Option<Instant>>,
    pace: Pace,
    random: Random,
}

/// What is to be done next.
enum Next {
    /// A report goes to this place.
    Send(Place),
    /// Nothing until then, unless something else is to be reported (if that is `news`), or another place is used.
    Wait { until: Option<Instant>, news: bool },
}

impl Reporter {
    /// Reports what `reports` holds to the endpoint that a client of the same settings uses, whose status is `client`. Each
    /// report gets a number of its own. On the runtime of tokio that this is called in.
    pub fn start(
        settings: &Settings,
        client: watch::Receiver<Status>,
        reports: watch::Receiver<Report>,
    ) -> Result<Self, InvalidSetting> {
        let endpoints = settings.check()?;
        let urls = endpoints.len();
        let carrier = Courier::new(settings, endpoints);
        let (told, status) = watch::channel(Reporting::default());
        let driver = Driver::new(carrier, urls, settings.wait, (client, reports, told), fastrand::u64(..));
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run());
        Ok(Self { status, _driver: tasks })
    }

    /// How reporting goes.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Reporting> {
        self.status.clone()
    }
}

impl<C: Carrier> Driver<C> {
    fn new(
        carrier: C,
        urls: usize,
        wait: Duration,
        (client, reports, told): (watch::Receiver<Status>, watch::Receiver<Report>, watch::Sender<Reporting>),
        seed: u64,
    ) -> Self {
        Self {
            carrier,
            client,
            reports,
            told,
            renew: (wait / 2).clamp(RELAY_REPORT_PAUSE, RELAY_REPORT_RENEW),
            taken: None,
            tried: None,
            left: vec![None; urls],
            pace: Pace::default(),
            random: Random::new(seed),
        }
    }

    async fn run(mut self) {
        loop {
            let place = self.client.borrow().place;
            match self.next(place, now()) {
                Next::Send(place) => self.send(place).await,
                Next::Wait { until, news } => {
                    if !self.wait(place, until, news).await {
                        return;
                    }
                }
            }
        }
    }

    fn next(&self, place: Option<Place>, now: Instant) -> Next {
        // A host that was not looked up yet.
        let Some(place) = place.filter(|place| place.address.is_some()) else {
            return Next::Wait { until: None, news: false };
        };
        let since_last = |(tried, over, pause): (Place, Instant, Duration)| {
            // Another server has nothing to do with the failures of this one.
            over + if tried == place { pause } else { RELAY_REPORT_PAUSE }
        };
        let not_before = [self.tried.map(since_last), self.left.get(place.url).copied().flatten()];
        if let Some(until) = not_before.into_iter().flatten().max().filter(|until| *until > now) {
            return Next::Wait { until: Some(until), news: false };
        }
        match &self.taken {
            Some((report, at, when)) if *at == place && !self.reports.borrow().is_news(report) => {
                let until = *when + self.renew;
                if until > now { Next::Wait { until: Some(until), news: true } } else { Next::Send(place) }
            }
            Some(_) | None => Next::Send(place),
        }
    }

    /// Waits for what comes first; false: nobody says any more what to report, or where.
    async fn wait(&mut self, place: Option<Place>, until: Option<Instant>, news: bool) -> bool {
        let over = async {
            match until {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let last = self.taken.as_ref().map(|(report, ..)| report);
        let (client, reports) = (&mut self.client, &mut self.reports);
        tokio::select! {
            () = over => true,
            moved = client.wait_for(|status| status.place != place) => moved.is_ok(),
            said = reports.wait_for(|report| last.is_none_or(|last| report.is_news(last))), if news => said.is_ok(),
        }
    }

    async fn send(&mut self, place: Place) {
        // Another server has nothing to do with the failures of the one before.
        if self.tried.is_some_and(|(tried, ..)| tried != place) {
            self.pace = Pace::default();
        }
        let report = self.reports.borrow().clone();
        let seq = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bytes = Report { seq, ..report.clone() }.write();
        let brought = timeout(RELAY_REPORT_ANSWER, self.carrier.bring(place, bytes)).await;
        let late = || {
            let text = format!("no answer to a report within {} s: sent again", RELAY_REPORT_ANSWER.as_secs());
            Err(NotTaken::Failed(Failure::new(FailureKind::Lost, &text)))
        };
        // One a second, as the server counts.
        let over = now();
        let pause = match brought.unwrap_or_else(|_| late()) {
            Ok(()) => {
                self.pace.succeeded();
                self.taken = Some((report, place, over));
                self.tell(|reporting| (reporting.taken, reporting.failure) = (reporting.taken + 1, None));
                RELAY_REPORT_PAUSE
            }
            Err(NotTaken::Unknown(failure)) => {
                let failure = failure.of(&self.carrier.name(place));
                if let Some(left) = self.left.get_mut(place.url) {
                    *left = Some(over + CLIENT_LEFT);
                }
                self.failed(failure, over);
                RELAY_REPORT_PAUSE
            }
            Err(NotTaken::Failed(failure)) => {
                let asked = match failure.kind {
                    FailureKind::Busy(after) => after.map(|after| after.min(CLIENT_RETRY_AFTER)),
                    FailureKind::Unreachable
                    | FailureKind::Lost
                    | FailureKind::Denied
                    | FailureKind::Refused
                    | FailureKind::Gone
                    | FailureKind::Untrue
                    | FailureKind::Patch
                    | FailureKind::Unfit(_) => None,
                };
                let own = self.pace.failed(self.random.part());
                self.failed(failure.of(&self.carrier.name(place)), over);
                asked.unwrap_or(own).max(RELAY_REPORT_PAUSE)
            }
        };
        self.tried = Some((place, over, pause));
    }

    /// Told once, until a report is taken again.
    fn failed(&self, failure: Failure, at: Instant) {
        if self.told.borrow().failure.is_none() {
            log(&failure);
        }
        self.tell(|reporting| {
            (reporting.failures, reporting.failure) = (reporting.failures + 1, Some((failure, at)));
        });
    }

    fn tell(&self, change: impl FnOnce(&mut Reporting)) {
        self.told.send_modify(change);
    }
}

/// Says that a server does not take reports.
#[cfg(feature = "server")]
fn log(failure: &Failure) {
    tracing::warn!(reason = %failure.text, "reports are not taken here: the agents below do not count there");
}

/// A user of the library reads it in [`Reporting`].
#[cfg(not(feature = "server"))]
fn log(_: &Failure) {}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
