//! The reporter in paused time, with a carrier that a script stands for.

use std::sync::{Arc, Mutex};

use tokio::time::sleep;

use super::*;

const SECS: fn(u64) -> Duration = Duration::from_secs;
const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// What a server does with the next report; takes it, if nothing is left.
enum Deed {
    Takes,
    Unknown,
    Fails(FailureKind),
    Silence,
}

/// A report as it came: to which URL, how many agents, its number, and after how many milliseconds.
type Seen = (usize, u64, u64, u64);

struct Script {
    deeds: std::vec::IntoIter<Deed>,
    seen: Arc<Mutex<Vec<Seen>>>,
    began: tokio::time::Instant,
}

impl Carrier for Script {
    fn name(&self, place: Place) -> String {
        format!("endpoint {}", place.url)
    }

    async fn bring(&mut self, place: Place, report: Vec<u8>) -> Result<(), NotTaken> {
        let report = Report::read(&report).expect("a report");
        let at = u64::try_from(self.began.elapsed().as_millis()).expect("short");
        self.seen.lock().expect("no panic").push((place.url, report.total, report.seq, at));
        let failure = |kind| Failure::new(kind, "on purpose");
        match self.deeds.next().unwrap_or(Deed::Takes) {
            Deed::Takes => Ok(()),
            Deed::Unknown => Err(NotTaken::Unknown(failure(FailureKind::Refused))),
            Deed::Fails(kind) => Err(NotTaken::Failed(failure(kind))),
            Deed::Silence => std::future::pending().await,
        }
    }
}

struct Rig {
    seen: Arc<Mutex<Vec<Seen>>>,
    client: watch::Sender<Status>,
    reports: watch::Sender<Report>,
    status: watch::Receiver<Reporting>,
    tasks: JoinSet<()>,
}

fn at(url: usize) -> Status {
    Status { place: Some(Place { url, address: Some(([10, 0, 0, 1], 80).into()) }), ..Status::default() }
}

fn agents(count: u64) -> Report {
    Report { instance: "5f0a".to_owned(), total: count, converged: count, ..Report::default() }
}

/// A reporter whose client waits for so long, of two URLs of which the first is in use.
fn start(deeds: Vec<Deed>, wait: Duration) -> Rig {
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let carrier = Script { deeds: deeds.into_iter(), seen: Arc::clone(&seen), began: tokio::time::Instant::now() };
    let (client, used) = watch::channel(at(0));
    let (reports, said) = watch::channel(agents(1));
    let (told, status) = watch::channel(Reporting::default());
    let mut tasks = JoinSet::new();
    tasks.spawn(Driver::new(carrier, 2, wait, (used, said, told), 3).run());
    Rig { seen, client, reports, status, tasks }
}

impl Rig {
    /// URL, agents and milliseconds of all so far, whose numbers rise.
    fn seen(&self) -> Vec<(usize, u64, u64)> {
        let seen = self.seen.lock().expect("no panic");
        assert!(seen.is_sorted_by(|one, next| one.2 < next.2), "{seen:?}");
        seen.iter().map(|(url, agents, _, at)| (*url, *agents, *at)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_sent_at_most_once_a_second_and_renewed_after_half_the_wait() {
    let rig = start(Vec::new(), SECS(20));
    for count in 2..=25 {
        sleep(MILLIS(100)).await;
        rig.reports.send_replace(agents(count));
    }
    sleep(SECS(30)).await;
    let expected = [(0, 1, 0), (0, 10, 1000), (0, 20, 2000), (0, 25, 3000), (0, 25, 13_000), (0, 25, 23_000)];
    let seen = rig.seen();
    assert_eq!((seen[0], seen[3], &seen[4..6]), (expected[0], expected[3], &expected[4..6]));
    assert!(seen.windows(2).all(|two| two[1].2 - two[0].2 >= 1000), "{seen:?}");
    assert_eq!(rig.status.borrow().taken, seen.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_renews_no_later_and_nothing_is_sent_before_there_is_an_address() {
    let rig = start(Vec::new(), SECS(600));
    sleep(SECS(40)).await;
    assert_eq!(rig.seen(), [(0, 1, 0), (0, 1, 15_000), (0, 1, 30_000)]);
    rig.client.send_replace(Status { place: Some(Place { url: 1, address: None }), ..Status::default() });
    sleep(SECS(60)).await;
    assert_eq!(rig.seen().len(), 3);
    rig.client.send_replace(at(1));
    sleep(MILLIS(1)).await;
    assert_eq!(rig.seen().last(), Some(&(1, 1, 100_000)));
}

#[tokio::test(start_paused = true)]
async fn what_failed_is_tried_again_with_growing_pauses_and_never_faster_than_once_a_second() {
    let fails = || Deed::Fails(FailureKind::Lost);
    let rig = start((0..8).map(|_| fails()).collect(), SECS(20));
    sleep(SECS(300)).await;
    let seen = rig.seen();
    let pauses: Vec<_> = seen.windows(2).map(|two| two[1].2 - two[0].2).collect();
    assert!(pauses.iter().all(|pause| (1000..=30_000).contains(pause)), "{pauses:?}");
    assert!(pauses[..8].iter().max() > Some(&5000), "they grow: {pauses:?}");
    let status = rig.status.borrow().clone();
    assert_eq!((status.failures, status.taken), (8, seen.len() as u64 - 8));
    assert!(status.failure.is_none(), "the last was taken");
}

#[tokio::test(start_paused = true)]
async fn a_server_says_how_long_it_is_busy_and_another_one_is_told_at_once() {
    let busy = Deed::Fails(FailureKind::Busy(Some(SECS(40))));
    let rig = start(vec![busy, Deed::Takes, Deed::Fails(FailureKind::Busy(Some(SECS(40))))], SECS(20));
    sleep(SECS(41)).await;
    assert_eq!(rig.seen(), [(0, 1, 0), (0, 1, 40_000)]);
    rig.reports.send_replace(agents(2));
    sleep(SECS(4)).await;
    assert_eq!(rig.seen().last(), Some(&(0, 2, 41_000)));
    rig.client.send_replace(at(1));
    sleep(MILLIS(1)).await;
    assert_eq!(rig.seen().last(), Some(&(1, 2, 45_000)), "it is not busy");
    let status = rig.status.borrow().clone();
    assert!(status.failures == 2 && status.failure.is_none(), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_of_a_version_before_is_left_alone_for_ten_minutes() {
    let rig = start(vec![Deed::Unknown], SECS(20));
    for count in 2..=500 {
        sleep(SECS(1)).await;
        rig.reports.send_replace(agents(count));
    }
    assert_eq!(rig.seen(), [(0, 1, 0)]);
    let failure = rig.status.borrow().failure.clone().expect("there is one").0;
    assert_eq!(failure.text, "endpoint 0: on purpose");
    rig.client.send_replace(at(1));
    sleep(SECS(5)).await;
    assert_eq!(rig.seen()[1], (1, 500, 499_000), "the other one is not");
    rig.client.send_replace(at(0));
    sleep(SECS(120)).await;
    let again = rig.seen().into_iter().rfind(|(url, ..)| *url == 1).expect("one");
    assert!(rig.seen().iter().filter(|(url, ..)| *url == 0).map(|(.., at)| *at).skip(1).all(|at| at >= 600_000));
    assert!(rig.seen().iter().any(|(url, agents, at)| (*url, *agents, *at) == (0, 500, 600_000)), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_in_time() {
    let rig = start(vec![Deed::Silence], SECS(20));
    sleep(RELAY_REPORT_ANSWER + SECS(2)).await;
    let seen = rig.seen();
    assert_eq!((seen.len(), seen[1].2), (2, 11_000), "{seen:?}");
    assert_eq!(rig.status.borrow().failures, 1);
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_those_who_say_what_to_report_and_where() {
    for gone in ["reports", "client"] {
        let Rig { client, reports, mut tasks, seen, status: _status } = start(Vec::new(), SECS(20));
        sleep(SECS(2)).await;
        match gone {
            "reports" => drop(reports),
            _ => drop(client),
        }
        assert!(timeout(SECS(100), tasks.join_next()).await.is_ok(), "{gone}");
        assert_eq!(seen.lock().expect("no panic").len(), 1, "{gone}");
    }
}
