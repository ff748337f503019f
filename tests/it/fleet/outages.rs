//! A server that is gone for a while, and wires that are cut: all clients end with the newest state, come back spread over
//! time, and meanwhile try no faster than their back-off allows.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::namespace::{Fault, Wire, is_inside};
use super::{AGENTS, CONVERGED, Fleet, PARKED, Verdict, model, no_second_holds_over_a_tenth};
use crate::model_file::ModelFile;
use crate::server::{STEP, Server};

/// So long that the pauses of all have grown to the longest.
const OUTAGE: Duration = Duration::from_secs(60);
/// The longest pause, and an attempt.
const BACK: Duration = Duration::from_secs(45);
/// Of a parked poll. That a wire is cut is noticed ten seconds later.
const WAIT: Duration = Duration::from_secs(2);
/// Those whose times are judged alone: with 200, of which 13 are expected in one second, chance would decide.
const MANY: usize = 1000;
/// Attempts in an outage: ten are expected, and one client in a million makes more than this.
const ATTEMPTS: u64 = 20;

/// A server at the end of a wire, with a fleet that holds its first state.
struct Scene {
    wire: Wire,
    model: ModelFile,
    server: Server,
    fleet: Fleet,
}

impl Scene {
    async fn new(number: u8, count: usize) -> Self {
        let wire = Wire::new(number);
        let model = ModelFile::new(&model(1));
        let server = wire.serve(&model).await;
        let fleet = Fleet::start(&format!("wire-{number}"), count, server.listen, WAIT, Verdict::Held);
        let scene = Self { wire, model, server, fleet };
        scene.fleet.all_have(1, STEP).await;
        scene.all_hold().await;
        scene
    }

    fn change(&self, n: u64) {
        self.model.replace(&model(n));
    }

    /// The server knows of each that it holds the newest state.
    async fn all_hold(&self) {
        self.server.metric_becomes(PARKED, cast(self.fleet.members.len())).await;
        self.server.metric_becomes(CONVERGED, cast(self.fleet.members.len())).await;
    }

    /// The outage, in which nobody tries too often.
    async fn outage(&self) {
        let before = self.fleet.polls();
        self.change(2);
        sleep(OUTAGE).await;
        self.change(3);
        let tried: Vec<_> = self.fleet.polls().iter().zip(before).map(|(now, before)| now - before).collect();
        assert!(tried.iter().all(|tried| (1..=ATTEMPTS).contains(tried)), "{tried:?}");
        let mean = tried.iter().sum::<u64>() / tried.len() as u64;
        assert!(mean <= 12, "{mean} attempts in the mean");
    }
}

#[expect(clippy::cast_precision_loss, reason = "hundreds")]
fn cast(count: usize) -> f64 {
    count as f64
}

async fn a_restart() {
    let mut scene = Scene::new(1, MANY).await;
    let lost = Instant::now();
    scene.server.child.kill().await.expect("SIGKILL");
    scene.outage().await;
    scene.server = scene.wire.serve(&scene.model).await;
    scene.fleet.all_have(3, BACK).await;
    no_second_holds_over_a_tenth(&scene.fleet.came_back_after(lost));
    scene.all_hold().await;
}

/// Gives how long after the begin of it the poll of each client began that brought the newest state. The connection may have
/// been under way when the wire was whole again: the kernel tries for some seconds.
async fn a_cut(number: u8, fault: Fault) -> Vec<Duration> {
    let scene = Scene::new(number, AGENTS).await;
    let lost = Instant::now();
    scene.wire.breaks(fault);
    scene.outage().await;
    scene.wire.heals();
    scene.fleet.all_have(3, BACK).await;
    scene.all_hold().await;
    scene.fleet.came_back_after(lost)
}

async fn cuts() {
    let (mut times, one_way, black_hole) =
        tokio::join!(a_cut(2, Fault::Cut), a_cut(3, Fault::OneWay), a_cut(4, Fault::BlackHole));
    times.extend(one_way);
    times.extend(black_hole);
    no_second_holds_over_a_tenth(&times);
}

/// Changes, a restart, and changes again.
async fn loss() {
    let mut scene = Scene::new(5, AGENTS).await;
    scene.wire.breaks(Fault::Loss);
    for n in 2..=20 {
        scene.change(n);
        sleep(Duration::from_millis(100)).await;
    }
    scene.fleet.all_have(20, BACK).await;
    scene.server.child.kill().await.expect("SIGKILL");
    scene.change(21);
    scene.server = scene.wire.serve(&scene.model).await;
    scene.fleet.all_have(21, BACK).await;
    scene.change(22);
    scene.fleet.all_have(22, BACK).await;
}

/// At the same time, since each takes a minute in which next to nothing happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_comes_back_after_each() {
    if is_inside("fleet::outages::a_fleet_comes_back_after_each").await {
        raise_descriptors();
        tokio::join!(a_restart(), cuts(), loss());
    }
}

/// Each client is a descriptor here.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).expect("up to the hard one");
}
