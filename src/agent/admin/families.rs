//! PURE. The metrics of an agent, of what is known of it.

use std::time::{Duration, Instant};

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use crate::agent::status::Report;
use crate::agent::tally::Counts;
use crate::client::{Counters, Status};
use crate::config::agent::Fault;

/// All of them, at `now`. One without a value is left out.
pub(super) fn of(report: &Report, status: &Status, counts: &Counts, now: Instant) -> Vec<MetricFamily> {
    let all = [state(report, status, now), server(status), commands(counts), rest(counts)];
    all.into_iter().flatten().filter(|family| !family.get_metric().is_empty()).collect()
}

/// What is held, and what is wrong.
fn state(report: &Report, status: &Status, now: Instant) -> Vec<MetricFamily> {
    let ids = [("held", &report.holds), ("applying", &report.applies), ("rejected", &report.rejects)];
    let ids = ids.into_iter().filter_map(|(stage, id)| Some((vec![("stage", stage), ("id", id.as_deref()?)], 1.0)));
    let found = report.faults();
    let faults = Fault::ALL.into_iter().filter(|fault| *fault != Fault::Stopped);
    let faults = faults.map(|fault| (vec![("fault", fault.as_str())], is(found.iter().any(|(one, _)| *one == fault))));
    let lag = status.lacking.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
    let age = status.age(now).map(|age| (vec![], age.as_secs_f64()));
    vec![
        gauge(
            "tidewait_agent_output_whole",
            "1: the output is whole, be it the last good one.",
            [(vec![], is(report.is_whole))],
        ),
        gauge(
            "tidewait_agent_fault",
            "What is wrong with the agent (1), in the words of `tidewait agent status --fail-if`.",
            faults,
        ),
        gauge("tidewait_agent_state_info", "The ids of what is held, being applied and rejected.", ids),
        gauge("tidewait_agent_state_age_seconds", "How old what the server has may be.", age),
        gauge(
            "tidewait_agent_lag_seconds",
            "How long there has been a newer state than the one that is held, be it rejected; 0: there is none.",
            [(vec![], lag.as_secs_f64())],
        ),
    ]
}

/// What comes of polls.
fn server(status: &Status) -> Vec<MetricFamily> {
    // All of them, so that a field that is added is not left out.
    let Counters {
        polls: _,
        states,
        patches,
        bad_patches,
        unchanged,
        failures: _,
        unreachable,
        lost,
        busy,
        denied,
        refused,
        gone,
        untrue,
        bytes,
        restored,
        behind: _,
    } = status.counters;
    let results = [
        ("state", states - patches),
        ("patch", patches),
        ("unchanged", unchanged),
        ("unreachable", unreachable),
        ("lost", lost),
        ("busy", busy),
        ("denied", denied),
        ("refused", refused),
        ("gone", gone),
        ("untrue", untrue),
        ("bad-patch", bad_patches),
    ];
    let results = results.map(|(result, count)| (vec![("result", result)], number(count)));
    let endpoint = Some(&*status.endpoint).filter(|endpoint| !endpoint.is_empty());
    let endpoint = endpoint.map(|endpoint| (vec![("endpoint", endpoint)], 1.0));
    vec![
        gauge("tidewait_agent_endpoint_info", "The endpoint in use.", endpoint),
        counter(
            "tidewait_agent_polls_total",
            "Polls that have ended, by what came of them. What untrue and bad-patch ones brought was thrown away.",
            results,
        ),
        counter("tidewait_agent_received_bytes_total", "Bytes of bodies, as they came.", [(vec![], number(bytes))]),
        counter(
            "tidewait_agent_restores_total",
            "States that were older than the one that was held: the source was restored.",
            [(vec![], number(restored))],
        ),
    ]
}

/// How commands ended.
fn commands(counts: &Counts) -> Vec<MetricFamily> {
    let last = || counts.commands.iter().filter_map(|(command, runs)| Some((*command, runs.last?)));
    let succeeded = last().map(|(command, (succeeded, _))| (vec![("command", command)], is(succeeded)));
    let seconds = last().map(|(command, (_, took))| (vec![("command", command)], took.as_secs_f64()));
    let runs = counts.commands.iter().flat_map(|(command, runs)| {
        let labels = |outcome| vec![("command", *command), ("result", outcome)];
        runs.outcomes.iter().map(move |(outcome, count)| (labels(*outcome), number(*count)))
    });
    vec![
        gauge("tidewait_agent_command_succeeded", "1: the command succeeded when it ran last.", succeeded),
        gauge("tidewait_agent_command_seconds", "How long the command took when it ran last.", seconds),
        counter("tidewait_agent_commands_total", "Commands that have ended, by how.", runs),
    ]
}

fn rest(counts: &Counts) -> Vec<MetricFamily> {
    vec![
        counter(
            "tidewait_agent_retries_total",
            "States that were to be tried again.",
            [(vec![], number(counts.retries))],
        ),
        counter(
            "tidewait_agent_corrections_total",
            "Files of the output that were not what is held, and were put right.",
            [(vec![], number(counts.corrections))],
        ),
        counter(
            "tidewait_admin_connections_closed_total",
            "Connections to the admin port that were closed to make room for newer ones.",
            [(vec![], number(counts.closed))],
        ),
    ]
}

/// A value with its labels.
type Value<'v> = (Vec<(&'static str, &'v str)>, f64);

fn gauge<'v>(name: &str, help: &str, values: impl IntoIterator<Item = Value<'v>>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, values, |metric, value| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    })
}

fn counter<'v>(name: &str, help: &str, values: impl IntoIterator<Item = Value<'v>>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, values, |metric, value| {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    })
}

fn family<'v>(
    name: &str,
    help: &str,
    kind: MetricType,
    values: impl IntoIterator<Item = Value<'v>>,
    set: impl Fn(&mut Metric, f64),
) -> MetricFamily {
    let metrics = values.into_iter().map(|(labels, value)| {
        let mut metric = Metric::from_label(labels.into_iter().map(label).collect());
        set(&mut metric, value);
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics.collect());
    family
}

fn label((name, value): (&'static str, &str)) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

fn is(it: bool) -> f64 {
    f64::from(u8::from(it))
}

/// Exact up to 2^53, as all numbers that Prometheus keeps.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn number(count: u64) -> f64 {
    count as f64
}
