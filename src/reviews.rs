//! Questions to the API server that it answers at once and keeps nowhere: `TokenReview` and `SubjectAccessReview`.
//!
//! Requests of clients cause them, so their number, their time and the size of their answers are bounded. A question may hold
//! a credential, which the answer repeats: so nothing of either gets into errors and logs. kube would log an answer that it
//! cannot read, so answers are read here.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::bounds::{
    KUBERNETES_REVIEW, KUBERNETES_REVIEW_BYTES, KUBERNETES_REVIEW_LOG, KUBERNETES_REVIEW_PAUSE, KUBERNETES_REVIEW_TURN,
    KUBERNETES_REVIEWS, KUBERNETES_REVIEWS_PENDING,
};
use crate::telemetry::seldom::Seldom;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whose a token is: `TokenReview`.
    Token,
    /// Whether somebody may: `SubjectAccessReview`.
    Access,
}

/// The reviews of one kind.
pub struct Reviews {
    client: Client,
    kind: Kind,
    /// Of those that are sent.
    turns: Semaphore,
    /// Of those that are sent, and those that wait for their turn.
    places: Semaphore,
    /// None is sent before: the API server has asked for a pause.
    resume: Mutex<Option<Instant>>,
    lines: Seldom,
    metrics: KindMetrics,
}

/// How reviews end, and how long they take.
#[derive(Debug, Clone)]
pub struct Metrics {
    results: IntCounterVec,
    seconds: HistogramVec,
}

struct KindMetrics {
    yes: IntCounter,
    no: IntCounter,
    unavailable: IntCounter,
    seconds: Histogram,
}

impl Kind {
    fn group(self) -> &'static str {
        match self {
            Self::Token => "authentication.k8s.io",
            Self::Access => "authorization.k8s.io",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Token => "tokenreviews",
            Self::Access => "subjectaccessreviews",
        }
    }
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let metrics = Self::unregistered()?;
        registry.register(Box::new(metrics.results.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        Ok(metrics)
    }

    fn unregistered() -> prometheus::Result<Self> {
        let help = "Reviews by the API server: tokenreviews whose token is good or bad, subjectaccessreviews that are allowed or \
                    refused, and those of both without a verdict.";
        let results = IntCounterVec::new(Opts::new("tidewait_kubernetes_reviews_total", help), &["kind", "result"])?;
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "tidewait_kubernetes_review_seconds",
                "From the question for a review to its end, the wait for its turn included.",
            )
            .buckets(prometheus::exponential_buckets(0.001, 2.0, 14)?),
            &["kind"],
        )?;
        Ok(Self { results, seconds })
    }

    fn of(&self, kind: Kind) -> KindMetrics {
        let result = |result| self.results.with_label_values(&[kind.plural(), result]);
        let (yes, no) = match kind {
            Kind::Token => ("good", "bad"),
            Kind::Access => ("allowed", "refused"),
        };
        KindMetrics {
            yes: result(yes),
            no: result(no),
            unavailable: result("unavailable"),
            seconds: self.seconds.with_label_values(&[kind.plural()]),
        }
    }
}

impl Reviews {
    /// Reviews of this kind, by the API server of this client.
    #[must_use]
    pub fn new(client: Client, kind: Kind, metrics: &Metrics) -> Self {
        Self {
            client,
            kind,
            turns: Semaphore::new(KUBERNETES_REVIEWS),
            places: Semaphore::new(KUBERNETES_REVIEWS_PENDING),
            resume: Mutex::default(),
            lines: Seldom::new((1, KUBERNETES_REVIEW_LOG)),
            metrics: metrics.of(kind),
        }
    }

    /// Asks, and gives what `judge` makes of the answer: whether it is a yes is counted. Without an answer, why, for
    /// operators; a line of the log has said it, or a later one will say how often.
    pub async fn ask<A: DeserializeOwned, T, E>(
        &self,
        review: &impl Serialize,
        judge: impl FnOnce(A) -> Result<T, E>,
    ) -> Result<Result<T, E>, String> {
        let _timer = self.metrics.seconds.start_timer();
        match self.answer(review).await {
            Ok(answer) => {
                let verdict = judge(answer);
                if verdict.is_ok() { &self.metrics.yes } else { &self.metrics.no }.inc();
                Ok(verdict)
            }
            Err(why) => {
                let why = format!("cannot create {}.{}: {why}", self.kind.plural(), self.kind.group());
                self.metrics.unavailable.inc();
                self.log(&why);
                Err(why)
            }
        }
    }

    async fn answer<A: DeserializeOwned>(&self, review: &impl Serialize) -> Result<A, String> {
        let Ok(_place) = self.places.try_acquire() else {
            return Err(format!("{KUBERNETES_REVIEWS_PENDING} others wait for the API server"));
        };
        let Ok(turn) = timeout(KUBERNETES_REVIEW_TURN, self.turns.acquire()).await else {
            return Err(format!("its turn did not come within {KUBERNETES_REVIEW_TURN:?}: the API server is slow"));
        };
        let _turn = turn.map_err(|_| "the process ends".to_owned())?;
        if lock(&self.resume).is_some_and(|resume| Instant::now() < resume) {
            return Err("the API server has asked for a pause".to_owned());
        }
        match timeout(KUBERNETES_REVIEW, self.send(review)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {KUBERNETES_REVIEW:?}")),
        }
    }

    async fn send<A: DeserializeOwned>(&self, review: &impl Serialize) -> Result<A, String> {
        let path = format!("/apis/{}/v1/{}", self.kind.group(), self.kind.plural());
        let review = serde_json::to_vec(review).map_err(|_| "it is no JSON".to_owned())?;
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(Body::from(review));
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.client.send(request).await.map_err(|error| crate::telemetry::chain(&error))?;
        let (head, body) = answer.into_parts();
        if let Some(pause) = pause(head.status, &head.headers) {
            *lock(&self.resume) = Some(Instant::now() + pause);
        }
        let body = Limited::new(body, KUBERNETES_REVIEW_BYTES).collect().await;
        let body =
            body.map_err(|_| format!("the answer broke off, or is larger than {KUBERNETES_REVIEW_BYTES} bytes"))?;
        let body = body.to_bytes();
        if head.status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| "the answer cannot be read".to_owned());
        }
        Err(self.refused(head.status, &body))
    }

    /// What went wrong, and the remedy. Of the answer's text only the reason, which is one word, is repeated.
    fn refused(&self, status: StatusCode, body: &[u8]) -> String {
        #[derive(Deserialize)]
        struct Reason {
            reason: String,
        }
        let (group, plural) = (self.kind.group(), self.kind.plural());
        let remedy = match status {
            StatusCode::UNAUTHORIZED => {
                "; the API server does not know who asks: check the token of the pod's service account, or the user in the \
                 kubeconfig"
                    .to_owned()
            }
            StatusCode::FORBIDDEN => format!(
                "; bind the ClusterRole \"system:auth-delegator\", or one with apiGroups [{group:?}], resources [{plural:?}], \
                 verbs [\"create\"], to it"
            ),
            StatusCode::NOT_FOUND => format!("; check that the cluster serves {group}/v1"),
            _ => String::new(),
        };
        let reason = serde_json::from_slice(body).map(|Reason { reason }| reason).unwrap_or_default();
        let is_word = (1..64).contains(&reason.len()) && reason.bytes().all(|byte| byte.is_ascii_alphabetic());
        let reason = if is_word { &reason } else { status.canonical_reason().unwrap_or("refused") };
        format!("{reason} ({}){remedy}", status.as_u16())
    }

    fn log(&self, why: &str) {
        if let Some(unsaid) = self.lines.next() {
            tracing::warn!(reason = %why, before = unsaid, "a review has no verdict");
        }
    }
}

/// Without the client, which has credentials.
impl fmt::Debug for Reviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reviews").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// The pause that an overloaded API server asks for.
fn pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return None;
    }
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(KUBERNETES_REVIEW_PAUSE))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Every step leaves a whole value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
