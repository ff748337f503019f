//! The requests to the API server and their answers. kube makes the requests and sends them, with
//! its authentication and TLS; the answers are read here, object by object ([`super::decode`]).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use kube::Client;
use kube::api::{GetParams, ListParams, WatchParams};
use kube::client::Body;
use kube::core::request::Error as RequestError;
use kube::core::{Request as Requests, Status};
use tokio::time::timeout;

use super::decode::{self, Lines, RawEvent};
use super::failure::{Failure, FailureKind};
use super::object::{Malformed, Object};
use super::target::{Selector, Target};
use crate::bounds::{
    KUBERNETES_EVENT_BYTES, KUBERNETES_LIST_BYTES, KUBERNETES_PAGE, KUBERNETES_READ, KUBERNETES_REQUEST,
};

/// One target at the API server.
pub(super) struct Api {
    client: Client,
    requests: Requests,
    selector: Selector,
}

/// Objects, and no other, as the API server showed them.
#[derive(Debug, Default)]
pub(super) struct Set {
    pub(super) objects: Vec<Object>,
    pub(super) malformed: Vec<Malformed>,
    /// Of the list; of the object where one was asked for by name, and then empty if there is none.
    pub(super) version: String,
}

impl Set {
    /// How many bytes the objects have.
    pub(super) fn bytes(&self) -> usize {
        self.objects.iter().map(|object| object.body.len()).sum()
    }
}

/// A watch that is open.
pub(super) struct Events {
    body: Body,
    lines: Lines,
}

impl Api {
    pub(super) fn new(client: Client, target: &Target) -> Self {
        Self { client, requests: Requests::new(target.path()), selector: target.selector.clone() }
    }

    /// A list without a resourceVersion, all pages of it.
    pub(super) async fn list(&self) -> Result<Set, Failure> {
        match self.pages().await {
            // The server forgot the version that the pages are of: begun anew, once.
            Err(failure) if failure.kind == FailureKind::Expired => self.pages().await,
            answer => answer,
        }
    }

    async fn pages(&self) -> Result<Set, Failure> {
        let (mut set, mut room) = (Set::default(), KUBERNETES_LIST_BYTES);
        let mut params = match &self.selector {
            // At most one: there is nothing to page.
            Selector::Name(name) => ListParams::default().fields(&format!("metadata.name={name}")),
            Selector::Labels(labels) => {
                let params = ListParams::default().limit(KUBERNETES_PAGE);
                if labels.is_empty() { params } else { params.labels(labels) }
            }
        };
        loop {
            let answer = in_time(KUBERNETES_REQUEST, async {
                let answer = self.send(self.requests.list(&params)).await?;
                let response = answer.map_err(|status| Failure::of_status(&status))?;
                whole(response.into_body(), room).await
            });
            let bytes = answer.await?;
            room -= bytes.len();
            let page = decode::page(&bytes)?;
            set.objects.extend(page.objects);
            set.malformed.extend(page.malformed);
            set.version = page.version;
            match page.more {
                Some(more) => params.continue_token = Some(more),
                None => return Ok(set),
            }
        }
    }

    /// A consistent read: of one object by name, else a list. Both without a resourceVersion.
    pub(super) async fn read(&self) -> Result<Set, Failure> {
        let Selector::Name(name) = &self.selector else { return self.list().await };
        let answer = in_time(KUBERNETES_READ, async {
            match self.send(self.requests.get(name, &GetParams::default())).await? {
                Ok(response) => whole(response.into_body(), KUBERNETES_EVENT_BYTES).await.map(Some),
                // Of an object that is not there the server says the name; of a resource that is not, nothing.
                Err(status) if status.code == 404 && names_object(&status) => Ok(None),
                Err(status) => Err(Failure::of_status(&status)),
            }
        });
        let Some(bytes) = answer.await? else { return Ok(Set::default()) };
        Ok(match decode::object(&bytes)? {
            Ok(object) => Set { version: object.version.to_string(), objects: vec![object], ..Set::default() },
            Err(malformed) => Set { malformed: vec![malformed], ..Set::default() },
        })
    }

    /// A watch from a version. `initial`: it shows the whole set first.
    pub(super) async fn watch(&self, version: &str, lasting: Duration, initial: bool) -> Result<Events, Failure> {
        let params = WatchParams::default().timeout(u32::try_from(lasting.as_secs()).unwrap_or(u32::MAX));
        let params = match &self.selector {
            Selector::Name(name) => params.fields(&format!("metadata.name={name}")),
            Selector::Labels(labels) if labels.is_empty() => params,
            Selector::Labels(labels) => params.labels(labels),
        };
        let params = WatchParams { send_initial_events: initial, ..params };
        let response = in_time(KUBERNETES_REQUEST, async {
            let answer = self.send(self.requests.watch(&params, version)).await?;
            answer.map_err(|status| Failure::of_status(&status))
        });
        Ok(Events { body: response.await?.into_body(), lines: Lines::default() })
    }

    async fn send(
        &self,
        request: Result<Request<Vec<u8>>, RequestError>,
    ) -> Result<Result<Response<Body>, Status>, Failure> {
        let request = request.map_err(|error| Failure::new(FailureKind::Refused, error.to_string()))?;
        let response = self.client.send(request.map(Body::from)).await.map_err(Failure::from)?;
        let code = response.status();
        if !code.is_client_error() && !code.is_server_error() {
            return Ok(Ok(response));
        }
        let bytes = whole(response.into_body(), KUBERNETES_EVENT_BYTES).await?;
        Ok(Err(decode::status(code.as_u16(), &bytes)))
    }
}

fn names_object(status: &Status) -> bool {
    status.details.as_ref().is_some_and(|details| !details.name.is_empty())
}

impl Events {
    /// The next event; none at the end. Nothing is lost when this is dropped midway.
    pub(super) async fn next(&mut self) -> Option<Result<RawEvent, Failure>> {
        loop {
            if let Some(line) = self.lines.next() {
                return Some(decode::event(&line));
            }
            if self.lines.waiting() > KUBERNETES_EVENT_BYTES {
                return Some(Err(too_large("an event", KUBERNETES_EVENT_BYTES)));
            }
            match self.body.frame().await? {
                Ok(frame) => self.lines.push(frame.data_ref().map_or(&[], |data| data)),
                Err(error) => return Some(Err(Failure::from(error))),
            }
        }
    }
}

/// The whole of an answer, up to so many bytes.
async fn whole(mut body: Body, room: usize) -> Result<Bytes, Failure> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(Failure::from)?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if bytes.len() + data.len() > room {
            return Err(too_large("the answer", room));
        }
        bytes.extend_from_slice(data);
    }
    Ok(bytes.freeze())
}

async fn in_time<T>(limit: Duration, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let late = || Failure::new(FailureKind::Timeout, format!("no answer within {} s", limit.as_secs()));
    timeout(limit, answer).await.unwrap_or_else(|_| Err(late()))
}

fn too_large(what: &str, room: usize) -> Failure {
    Failure::new(FailureKind::Malformed, format!("{what} has more than {room} bytes"))
}
