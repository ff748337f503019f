//! Requests that were refused, by reason, and the verdicts that are kept.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::access::credential::{Invalid, Refusal};

/// Refusals, by reason.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(super) missing: IntCounter,
    pub(super) invalid: IntCounter,
    clear: IntCounter,
    withdrawn: IntCounter,
    pub(super) forbidden: IntCounter,
    unknown: IntCounter,
    limited: IntCounter,
    crowded: IntCounter,
    /// Good verdicts on credentials that are kept.
    pub credentials: IntGauge,
    /// Good verdicts on what callers may that are kept.
    pub permissions: IntGauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let (metrics, unauthorized, verdicts) = Self::unregistered()?;
        registry.register(Box::new(unauthorized))?;
        registry.register(Box::new(verdicts))?;
        for counter in [&metrics.forbidden, &metrics.unknown, &metrics.limited, &metrics.crowded] {
            registry.register(Box::new(counter.clone()))?;
        }
        Ok(metrics)
    }

    pub(super) fn unregistered() -> prometheus::Result<(Self, IntCounterVec, IntGaugeVec)> {
        let help = "Requests answered 401: without a credential, with one that is not good, with one over a connection that \
                    others can read, or with one that was withdrawn while the request waited.";
        let unauthorized = IntCounterVec::new(Opts::new("tidewait_http_unauthorized_total", help), &["reason"])?;
        let of = |reason: &str| unauthorized.with_label_values(&[reason]);
        let help = "Good verdicts that are kept, on credentials that take time to judge and on what their owners may.";
        let verdicts = IntGaugeVec::new(Opts::new("tidewait_access_verdicts", help), &["on"])?;
        let metrics = Self {
            missing: of("missing"),
            invalid: of("invalid"),
            clear: of("clear"),
            withdrawn: of("withdrawn"),
            forbidden: IntCounter::new(
                "tidewait_http_forbidden_total",
                "Requests answered 403: no rule allows them to the owner of their credential, or the API server does not.",
            )?,
            unknown: IntCounter::new(
                "tidewait_http_access_unknown_total",
                "Requests answered 503, since it could not be found out whose their credential is, or what its owner may: who judges \
                 did not answer, or the owner had asked for too much lately that it may not have.",
            )?,
            limited: IntCounter::new(
                "tidewait_http_access_limited_total",
                "Requests answered 429, since too many bad credentials have come from the same address.",
            )?,
            crowded: IntCounter::new(
                "tidewait_http_access_crowded_total",
                "Requests answered 503, since too many credentials from the same address, or requests of the same owner, were being \
                 judged.",
            )?,
            credentials: verdicts.with_label_values(&["credentials"]),
            permissions: verdicts.with_label_values(&["permissions"]),
        };
        Ok((metrics, unauthorized, verdicts))
    }

    pub(super) fn of(&self, refusal: Refusal) -> &IntCounter {
        match refusal {
            Refusal::Missing => &self.missing,
            Refusal::Invalid(Invalid::Clear) => &self.clear,
            Refusal::Invalid(Invalid::Several | Invalid::Scheme | Invalid::Form | Invalid::Judged(_)) => &self.invalid,
            Refusal::Withdrawn => &self.withdrawn,
            Refusal::Unavailable | Refusal::TooManyForbidden => &self.unknown,
            Refusal::TooManyBad => &self.limited,
            Refusal::Crowded => &self.crowded,
        }
    }
}
