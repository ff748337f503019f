//! Where a request goes, and how it is answered there.

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body::Body as _;
use tokio::time::{Duration, Instant};

use super::access::{self, Target};
use super::connection::ConnectionState;
use super::head::{self, Head};
use super::metrics::Route;
use super::request_body::RequestBody;
use super::response::{Body, response};
use super::topic::publish::Publisher;
use super::websocket::Opening;
use super::websocket::describe::OperationSource;
use super::{Progress, Router, describe, exchange, http2, report, topic, unwanted, websocket};
use crate::authentication::Peer;
use crate::bounds::WEBSOCKET_MESSAGE;
use crate::describe::problem::{self, Kind};
use crate::describe::{Answer, Problem};
use crate::operation::Operation;
use crate::topic::Topic;
use crate::topic::request::ReadRequest;

impl Router {
    pub(super) async fn route(
        &self,
        parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> (Route, Response<Body>, Duration) {
        let http2 = parts.version == Version::HTTP_2;
        if http2 && let Err(refused) = head::check(&Head::of(&parts)) {
            return (Route::Refused, response(Answer::problem(&refused, fastrand::f64()), None), Duration::ZERO);
        }
        if let Some(asked) = self.exchange_at(parts.uri.path()) {
            let judged = self.judge_exchange(&asked, &parts, (&*connection.client).into());
            return Box::pin(self.exchange(Progress::Judged(asked, judged), parts, body, connection)).await;
        }
        if let Some(topic) = self.topics.get(parts.uri.path()) {
            if let Some(answer) = self.origins().preflight(&parts, "GET, HEAD, POST") {
                return self.preflight(Route::Topic, answer, parts, body).await;
            }
            return Box::pin(self.topic(&topic, parts, body, connection)).await;
        }
        let operation = self.operations.get(parts.uri.path());
        if operation.is_some()
            && let Some(answer) = self.origins().preflight(&parts, "GET, HEAD")
        {
            return self.preflight(Route::Describe, answer, parts, body).await;
        }
        self.serve(operation, parts, body, connection).await
    }

    /// Answers a browser that asks what a page may send.
    async fn preflight(
        &self,
        route: Route,
        answer: Answer,
        parts: Parts,
        body: RequestBody,
    ) -> (Route, Response<Body>, Duration) {
        let http2 = parts.version == Version::HTTP_2;
        let is_read = Box::pin(unwanted::read(body, &parts)).await;
        (route, ending(response(answer, None), http2 || is_read), Duration::ZERO)
    }

    /// Answers a request of an operation, or for the app.
    async fn serve(
        &self,
        operation: Option<Arc<Operation>>,
        parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> (Route, Response<Body>, Duration) {
        if let Some(operation) = operation.as_ref().filter(|_| websocket::is_asked(&parts)) {
            let response = Box::pin(self.operation_websocket(operation, parts, body, connection)).await;
            return (Route::Describe, response, Duration::ZERO);
        }
        let http2 = parts.version == Version::HTTP_2;
        // Who may not poll is not told which paths there are either.
        let may = if operation.is_some() || self.proxy.is_none() {
            let target = match &operation {
                Some(operation) => Target::Operation(operation.config()),
                None => self.nothing_at(parts.uri.path()),
            };
            self.access.judge(&parts.headers, (&*connection.client).into(), &target)
        } else {
            self.access.identify(&parts.headers, (&*connection.client).into())
        };
        let admitted = match may.await {
            Ok(admitted) => admitted,
            Err(problem) => {
                let route = match &operation {
                    Some(_) => Route::Describe,
                    None if self.proxy.is_some() => Route::App,
                    None => Route::None,
                };
                let is_read = Box::pin(unwanted::read(body, &parts)).await;
                let response = response(Answer::problem(&problem, fastrand::f64()), None);
                return (route, ending(response, http2 || is_read), Duration::ZERO);
            }
        };
        if let Some(operation) = operation {
            if let Some(brought) = report::Brought::by(&parts) {
                let by = (&*self.access, admitted);
                let answer = Box::pin(report::answer(brought, &operation, by, &connection.client, &parts, body)).await;
                return (Route::Describe, ending(response(answer.0, None), http2 || answer.1), Duration::ZERO);
            }
            let asked = describe::parse(&operation, &parts);
            let is_read = Box::pin(unwanted::read(body, &parts)).await;
            // A parked request keeps nothing of its head: each field is a slice of the connection's read
            // buffer, 8 KiB.
            drop(parts);
            let outcome = describe::answer(&operation, (&self.access, admitted), &self.stop, connection, asked).await;
            let response = response(outcome.answer, outcome.fan_out);
            return (Route::Describe, ending(response, http2 || is_read), outcome.held);
        }
        let Some(proxy) = &self.proxy else {
            let is_read = Box::pin(unwanted::read(body, &parts)).await;
            let response = response(Answer::problem(&self.nothing_here(), fastrand::f64()), None);
            return (Route::None, ending(response, http2 || is_read), Duration::ZERO);
        };
        let mut parts = parts;
        self.access.keep_back(&mut parts.headers);
        let sent = Instant::now();
        // Boxed: a parked request is the same future, and would hold the room that only a proxied one needs.
        let answer = Box::pin(proxy.forward(Request::from_parts(parts, body), &connection.client, admitted.caller));
        let response = match answer.await {
            Ok(response) => response.map(Body::App),
            Err(error) => {
                let why = crate::telemetry::chain(&error);
                if error.is_of_client() {
                    // Any client can do so, as often as it likes.
                    tracing::debug!(error = %why, "a client broke off its request to the app");
                } else {
                    tracing::warn!(error = %why, "the app did not answer");
                }
                let json = problem::json(error.slug(), error.title(), error.status(), &error.detail());
                let mut response = response(Answer::problem_of(error.status(), json), None);
                if let Some(reason) = error.reset().filter(|_| http2) {
                    response.extensions_mut().insert(http2::Reset(reason));
                }
                response
            }
        };
        (Route::App, response, sent.elapsed())
    }

    /// What a request for a path asks of an exchange; none: it is for something else.
    pub(super) fn exchange_at(&self, path: &str) -> Option<exchange::Asked> {
        self.exchanges.find(path).filter(|_| self.operations.get(path).is_none() && self.topics.get(path).is_none())
    }

    pub(super) fn judge_exchange(&self, asked: &exchange::Asked, parts: &Parts, peer: Peer<'_>) -> access::Judged {
        self.access.judge(&parts.headers, peer, &Target::Exchange(asked.verb(), asked.name().into()))
    }

    pub(super) fn judge_topic(&self, topic: &Topic, parts: &Parts, peer: Peer<'_>) -> access::Judged {
        let verb = topic::verb(&parts.method);
        self.access.judge(&parts.headers, peer, &Target::Topic(verb, Arc::clone(topic.name())))
    }

    /// Answers a request for an operation over WebSocket.
    async fn operation_websocket(
        &self,
        operation: &Arc<Operation>,
        mut parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> Response<Body> {
        let opening = Opening::new(&mut parts, !body.is_end_stream());
        websocket::take_bearer(&mut parts.headers);
        let target = Target::Operation(operation.config());
        let begun = match self.access.judge(&parts.headers, (&*connection.client).into(), &target).await {
            Ok(admitted) => {
                if let Some(problem) = opening.problem(&self.websockets, &parts) {
                    Err(problem)
                } else {
                    let by = (&self.access, admitted);
                    let source = OperationSource::new(by, &connection.client, &self.stop, operation, &parts);
                    source.begun().await
                }
            }
            Err(problem) => Err(problem),
        };
        match begun {
            Ok(source) => {
                let cut = &self.metrics.slow_readers_cut;
                opening.accept(&self.websockets, source, WEBSOCKET_MESSAGE, (connection, cut))
            }
            Err(problem) => opening.refuse(&self.websockets, &problem),
        }
    }

    /// Answers a request for a topic over WebSocket.
    async fn topic_websocket(
        &self,
        topic: &Arc<Topic>,
        mut parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> Response<Body> {
        let opening = Opening::new(&mut parts, !body.is_end_stream());
        websocket::take_bearer(&mut parts.headers);
        let judged = self.judge_topic(topic, &parts, (&*connection.client).into()).await;
        let begun = judged.and_then(|admitted| {
            if let Some(problem) = opening.problem(&self.websockets, &parts) {
                return Err(problem);
            }
            let publisher = Publisher::of((&self.topics, topic), &admitted.caller, connection, &parts)?;
            let request = ReadRequest::parse(&parts.method, parts.uri.query(), &parts.headers, true)?;
            let request = ReadRequest { name: topic::reader(topic, &admitted.caller, &parts)?, ..request };
            Ok((request, admitted.caller, publisher))
        });
        let begun = match begun {
            Ok((request, caller, publisher)) => {
                let lacks = topic.lacks(&request.start);
                let caught_up = if lacks { topic.catch_up(&request.start).await } else { Ok(()) };
                let by = (&self.access, caller);
                caught_up.and_then(|()| websocket::topic::TopicSource::begin(topic, request, by, &self.stop, publisher))
            }
            Err(problem) => Err(problem),
        };
        match begun {
            Ok(source) => {
                let cut = &self.metrics.slow_readers_cut;
                opening.accept(&self.websockets, source, websocket::topic::most(topic), (connection, cut))
            }
            Err(problem) => opening.refuse(&self.websockets, &problem),
        }
    }

    /// Answers a request to a topic.
    async fn topic(
        &self,
        topic: &Arc<Topic>,
        parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> (Route, Response<Body>, Duration) {
        if websocket::is_asked(&parts) {
            let response = Box::pin(self.topic_websocket(topic, parts, body, connection)).await;
            return (Route::Topic, response, Duration::ZERO);
        }
        let http2 = parts.version == Version::HTTP_2;
        let answered = match self.judge_topic(topic, &parts, (&*connection.client).into()).await {
            Ok(admitted) => {
                let by = (&self.access, admitted.caller);
                topic::answer(&self.topics, topic, by, (connection, &self.stop), (parts, body)).await
            }
            Err(problem) => {
                let is_read = unwanted::read(body, &parts).await;
                exchange::Answered { response: topic::refuse(&parts, &problem), is_read, held: Duration::ZERO }
            }
        };
        let exchange::Answered { response, is_read, held } = answered;
        (Route::Topic, ending(response, http2 || is_read), held)
    }

    /// Answers a request to an exchange.
    pub(super) async fn exchange(
        &self,
        progress: Progress,
        mut parts: Parts,
        body: RequestBody,
        connection: &ConnectionState,
    ) -> (Route, Response<Body>, Duration) {
        let http2 = parts.version == Version::HTTP_2;
        let around = (connection, &self.stop);
        let answered = match progress {
            Progress::Parked(parked) => {
                self.access.keep_back(&mut parts.headers);
                exchange::resume(&self.exchanges, parked, &self.access, around, (parts, body)).await
            }
            Progress::Judged(asked, judged) => match judged.await {
                Ok(admitted) => {
                    self.access.keep_back(&mut parts.headers);
                    let by = (&*self.access, admitted.caller);
                    exchange::answer(&self.exchanges, asked, by, around, (parts, body)).await
                }
                Err(problem) => {
                    let is_read = unwanted::read(body, &parts).await;
                    let response = response(Answer::problem(&problem, fastrand::f64()), None);
                    exchange::Answered { response, is_read, held: Duration::ZERO }
                }
            },
        };
        let exchange::Answered { response, is_read, held } = answered;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        (Route::Exchange, ending(response, http2 || is_read || switches), held)
    }

    /// Neither an operation nor an exchange has the path of a request, and no app is behind.
    fn nothing_here(&self) -> Problem {
        // A client that comes to a replica which has just started is not to take its endpoint for removed.
        if let Some(unknown) = self.unknown() {
            let detail = format!("this process has not read {unknown} yet: one of them may have this path");
            return Problem::retry(Kind::NoState, 1, detail);
        }
        let mut paths = self.operations.paths();
        for exchange in self.exchanges.registry().all() {
            let config = exchange.config();
            paths.push(format!("{} (whose workers go to {})", config.path.as_str(), config.endpoint));
        }
        paths.extend(self.topics.registry().all().iter().map(|topic| format!("{} (a topic)", topic.config().path)));
        let paths = paths.join(", ");
        let detail = format!("nothing has this path, and no app is behind (--upstream): paths here are {paths}");
        Problem::new(Kind::NotFound, detail)
    }
}

/// The answer to a request of HTTP/1.1, whose connection ends with it unless all of the request was read.
fn ending(mut response: Response<Body>, is_read: bool) -> Response<Body> {
    if !is_read {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
