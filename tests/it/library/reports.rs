//! Two relays that report to the built binary, of which one dies.

use std::time::Duration;

use tidewait::bounds::{AGENT_SKEW, RELAY_REPORT_RENEW};
use tidewait::client::{Reporter, Settings};
use tidewait::protocol::Report;
use tidewait::protocol::report::WorstAgent;
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout};

use super::{Follower, settings};
use crate::model_file::ModelFile;
use crate::process::serve;
use crate::server::{STEP, Server, until};

/// A client that serves others, or says so.
struct Relay {
    follower: Follower,
    reporter: Reporter,
    reports: watch::Sender<Report>,
}

impl Relay {
    fn start(server: &Server, instance: &str) -> Self {
        let settings =
            Settings { agent_id: Some(format!("relay-{instance}")), ..settings(&format!("http://{}", server.listen)) };
        let follower = Follower::start(&settings);
        let (reports, said) = watch::channel(Report { instance: instance.to_owned(), ..Report::default() });
        let reporter = Reporter::start(&settings, follower.reports.status(), said).expect("settings that can be used");
        Self { follower, reporter, reports }
    }

    /// Takes the next state, and says that so many agents below hold it, and one lags if so.
    async fn holds(&mut self, text: &str, agents: u64, lags: bool) {
        let state = self.follower.reaches(text).await;
        self.says(state.id(), agents, lags);
    }

    fn says(&self, id: &str, agents: u64, lags: bool) {
        self.reports.send_modify(|report| {
            (report.state, report.converged) = (Some(id.to_owned()), agents);
            report.lagging = u64::from(lags);
            report.total = agents + report.lagging;
            report.worst = vec![WorstAgent { agent: "leaf".to_owned(), reason: None }; usize::from(lags)];
        });
    }
}

/// Converged, lagging.
async fn agents(server: &Server) -> (f64, f64) {
    let of = |state| format!("tidewait_agents{{operation=\"describe\",state=\"{state}\"}}");
    (server.metric(&of("converged")).await, server.metric(&of("lagging")).await)
}

async fn becomes(server: &Server, converged: f64, lagging: f64) {
    let what = format!("{converged} converged, {lagging} lagging");
    until(&what, async || (agents(server).await == (converged, lagging)).then_some(())).await;
}

#[tokio::test]
async fn what_is_below_a_relay_counts_and_lags_until_it_is_gone_for_good() {
    let file = ModelFile::new("{\"n\":0}");
    let mut server = serve(&file, &[]).await;
    server.ready().await;
    let (mut one, mut two) = (Relay::start(&server, "one"), Relay::start(&server, "two"));
    one.holds("{\"n\":0}", 2, true).await;
    two.holds("{\"n\":0}", 3, false).await;
    // Each is an agent itself.
    becomes(&server, 7.0, 1.0).await;
    let shown = server.admin("/agents").await.json();
    let relays = shown["relays"].as_array().expect("relays");
    let counts: Vec<_> = relays.iter().map(|relay| (&relay["instance"], &relay["total"], &relay["gone"])).collect();
    assert_eq!(counts, [(&"one".into(), &3.into(), &false.into()), (&"two".into(), &3.into(), &false.into())]);
    assert_eq!(relays[0]["worst"][0]["name"], "one/leaf");
    assert_eq!(relays[0]["worst"][0]["authenticated"], false);

    file.replace("{\"n\":1}");
    let state = one.follower.reaches("{\"n\":1}").await;
    two.holds("{\"n\":1}", 3, false).await;
    becomes(&server, 5.0, 3.0).await;
    one.says(state.id(), 3, false);
    becomes(&server, 8.0, 0.0).await;

    drop(one);
    let died = Instant::now();
    file.replace("{\"n\":2}");
    two.holds("{\"n\":2}", 3, false).await;
    // Its own poll is forgotten after the skew, what is below it later.
    let mut look = interval(Duration::from_millis(200));
    let left = timeout(Duration::from_secs(90), async {
        while agents(&server).await != (4.0, 0.0) {
            let (_, lagging) = agents(&server).await;
            assert!(lagging >= 3.0 || died.elapsed() > RELAY_REPORT_RENEW, "{lagging}");
            look.tick().await;
        }
    });
    left.await.expect("it is forgotten");
    assert!(died.elapsed() > RELAY_REPORT_RENEW + AGENT_SKEW, "{:?}", died.elapsed());
    let reporting = two.reporter.status().borrow().clone();
    assert!(reporting.failures == 0 && reporting.taken >= 5, "{reporting:?}");
}

#[tokio::test]
async fn a_server_that_takes_no_reports_is_left_alone() {
    let file = ModelFile::new("{}");
    let mut server = serve(&file, &[]).await;
    server.ready().await;
    let follower = Follower::start(&settings(&format!("http://{}", server.listen)));
    let wrong = Settings::new(&format!("http://{}", server.listen), "/nothing");
    let (_reports, said) = watch::channel(Report { instance: "a".to_owned(), ..Report::default() });
    let reporter = Reporter::start(&wrong, follower.reports.status(), said).expect("settings that can be used");
    let mut status = reporter.status();
    let waited = timeout(STEP, status.wait_for(|status| status.failures > 0)).await;
    let (failure, _) = waited.expect("in time").expect("it runs").failure.clone().expect("there is one");
    assert!(failure.text.contains("404"), "{}", failure.text);
}
