//! The tasks of an exchange whose items replicas share.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Client;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::call::{Of, Piece};
use super::pull::Pull;
use super::push::PUSH;
use super::record::Record;
use super::serve::Readers;
use super::store::{self, Store};
use super::{Link, Lookup, Work, writer};
use crate::bounds::{EXCHANGE_PAYLOAD, EXCHANGE_REPLICA_BEAT, EXCHANGE_STALLED};
use crate::exchange::Exchange;
use crate::exchange::core::{Ended, Failure};
use crate::exchange::entry::Answer;
use crate::exchange::id::{ItemId, ReplicaId};
use crate::exchange::result::Buffer;
use crate::nats::{self, Connection};

/// How long it takes until the stream is opened again, after that has failed.
const AGAIN: Duration = Duration::from_secs(1);

/// What a replica says at short intervals.
#[derive(Debug, Serialize, Deserialize)]
struct Beat {
    replica: ReplicaId,
    slots: usize,
    /// It goes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    leaves: bool,
}

/// Shares the items of an exchange, without end.
pub async fn run(exchange: Arc<Exchange>, connection: Connection, link: Link) {
    let Connection { client, made, copies } = connection;
    let store = open(&exchange, &client, copies).await;
    let (seen, follows) = watch::channel(0);
    // It is set here alone.
    let _ = exchange.lookup.set(Lookup { client: client.clone(), store: store.clone(), seen: follows });
    let payload = client.server_info().max_payload;
    if payload < EXCHANGE_PAYLOAD {
        tracing::warn!(
            exchange = exchange.name(),
            payload,
            "messages of NATS may have few bytes alone: set max_payload of its servers to 64 KiB or more, or requests with long heads \
             cannot be written"
        );
    }
    tracing::info!(exchange = exchange.name(), replica = %link.replica, "requests are in NATS");
    let readers = Arc::new(Readers::default());
    let me = link.replica;
    tokio::join!(
        watch_items(&exchange, (&store, &client, copies), made, seen),
        beats(&exchange, &client, me, &readers),
        serve(&exchange, (&client, &store), me, &readers),
        work(&exchange, &store, &client, &link),
    );
}

/// Does what is to be done for items: each in a task of its own, since one may wait for long.
async fn work(exchange: &Arc<Exchange>, store: &Store, client: &Client, link: &Link) {
    let (me, mut tasks) = (link.replica, JoinSet::new());
    loop {
        tokio::select! {
            Some(_) = tasks.join_next() => continue,
            () = link.is_work.notified() => {}
        }
        let Work { writes, reads, removes, bodies } = exchange.take_work();
        for revision in removes {
            let store = store.clone();
            tasks.spawn(async move { store.remove_written(revision).await });
        }
        for id in bodies {
            let store = store.clone();
            tasks.spawn(async move {
                store.remove(&format!("{id}.request")).await;
                store.remove(&format!("{id}.answer")).await;
            });
        }
        for id in writes {
            let (exchange, store, client) = (Arc::clone(exchange), store.clone(), client.clone());
            tasks.spawn(async move { writer::write(&exchange, &store, &client, me, id).await });
        }
        for (id, (from, cancelled)) in reads {
            let (exchange, client) = (Arc::clone(exchange), client.clone());
            tasks.spawn(async move {
                let _ = cancelled.run_until_cancelled(read(&exchange, &client, id, from)).await;
            });
        }
    }
}

async fn open(exchange: &Exchange, client: &Client, copies: usize) -> Store {
    let mut failed = false;
    loop {
        match Store::open(client.clone(), exchange.name(), copies, super::life(&exchange.config())).await {
            Ok(store) => return store,
            Err(error) => {
                exchange.metrics().backend(false);
                if !std::mem::replace(&mut failed, true) {
                    tracing::warn!(
                        exchange = exchange.name(),
                        error = %error,
                        "the stream of the exchange cannot be opened at NATS: its requests wait until it can (is JetStream on, and are there as many \
                         servers as --nats-replicas?)"
                    );
                }
                sleep(AGAIN).await;
            }
        }
        sleep(AGAIN / 10).await;
    }
}

/// Looks at the stream, before it is followed: the number of what was written last; none: it cannot be opened. `known`: what told it
/// from others when it was looked at before.
async fn look(
    exchange: &Arc<Exchange>,
    (store, client, copies): (&Store, &Client, usize),
    known: &mut Option<i128>,
    seen: &watch::Sender<u64>,
) -> Option<u64> {
    let error = match store.made().await {
        Ok((stream, last)) => {
            if known.is_some_and(|known| known != stream) || last < *seen.borrow() {
                tracing::warn!(
                    exchange = exchange.name(),
                    "NATS has lost what was written of the exchange, or shows an older state: what this replica has of it is written again"
                );
                seen.send_replace(0);
                exchange.written_is_lost();
            }
            *known = Some(stream);
            return Some(last);
        }
        Err(error) => error,
    };
    tracing::debug!(exchange = exchange.name(), error, "the stream cannot be looked at");
    // It may be gone, and what was in it.
    let opened = Store::open(client.clone(), exchange.name(), copies, super::life(&exchange.config())).await;
    if let Err(error) = opened
        && let Some(before) = exchange.nats_lines.next()
    {
        tracing::warn!(
            exchange = exchange.name(),
            error,
            before,
            "the stream of the exchange cannot be opened at NATS again: its requests wait until it can"
        );
    }
    None
}

/// Follows what is written.
async fn watch_items(
    exchange: &Arc<Exchange>,
    (store, client, copies): (&Store, &Client, usize),
    mut made: watch::Receiver<u64>,
    seen: watch::Sender<u64>,
) {
    let mut known = None;
    loop {
        let before = *made.borrow();
        let Some(shown) = look(exchange, (store, client, copies), &mut known, &seen).await else {
            sleep(AGAIN).await;
            continue;
        };
        match store.watch().await {
            Ok(mut messages) => {
                exchange.is_followed(true);
                loop {
                    let message = tokio::select! {
                        message = messages.next() => message,
                        // The server may not know of it any more, which would be learnt of late.
                        Ok(_) = made.wait_for(|made| *made != before) => break,
                    };
                    let Some(message) = message else { break };
                    let message = match message {
                        Ok(message) => message,
                        Err(error) => {
                            tracing::debug!(exchange = exchange.name(), %error, "the stream is followed anew");
                            break;
                        }
                    };
                    let Ok(sequence) = message.info().map(|info| info.stream_sequence) else { continue };
                    if let Some(id) = store.item(&message.subject) {
                        match Record::decode(&message.payload) {
                            Ok(record) => exchange.seen(id, record, sequence, sequence <= shown),
                            Err(error) => {
                                tracing::warn!(exchange = exchange.name(), item = %id, %error, "an item is not written as it should be");
                            }
                        }
                    }
                    seen.send_replace(sequence);
                }
                exchange.is_followed(false);
            }
            Err(error) => {
                tracing::debug!(exchange = exchange.name(), error = %error, "the stream cannot be followed");
                sleep(AGAIN).await;
            }
        }
    }
}

/// Says that this replica lives, and hears which others do.
async fn beats(exchange: &Arc<Exchange>, client: &Client, me: ReplicaId, readers: &Readers) {
    let subject = store::beats(exchange.name());
    let mut ticks = interval(EXCHANGE_REPLICA_BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut heard = nats::listen(client, &subject).await;
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    readers.look();
                    exchange.look_at_peers();
                    say(exchange, client, me, false).await;
                }
                message = heard.next() => {
                    let Some(message) = message else { break };
                    let Ok(beat) = serde_json::from_slice::<Beat>(&message.payload) else { continue };
                    exchange.heard(me, beat.replica, beat.slots, beat.leaves);
                }
            }
        }
    }
}

async fn say(exchange: &Exchange, client: &Client, me: ReplicaId, leaves: bool) {
    let beat = Beat { replica: me, slots: if leaves { 0 } else { exchange.slots() }, leaves };
    let payload = serde_json::to_vec(&beat).unwrap_or_default();
    if let Err(error) = client.publish(store::beats(exchange.name()), payload.into()).await {
        tracing::debug!(exchange = exchange.name(), %error, "a beat could not be sent");
    }
}

/// Says that this replica goes, so that others do not wait for it.
pub(super) async fn leave(exchange: &Exchange, client: &Client) {
    let Some(me) = exchange.replica() else { return };
    say(exchange, client, me, true).await;
    let _ = tokio::time::timeout(AGAIN, client.flush()).await;
}

/// Lets others read what is here.
async fn serve(exchange: &Arc<Exchange>, (client, store): (&Client, &Store), me: ReplicaId, readers: &Arc<Readers>) {
    loop {
        let mut asked = nats::listen(client, &super::pull::subject(me, "*")).await;
        let mut tasks = JoinSet::new();
        loop {
            let message = tokio::select! {
                Some(_) = tasks.join_next() => continue,
                message = asked.next() => message,
            };
            let Some(message) = message else { break };
            let (exchange, client, readers) = (Arc::clone(exchange), client.clone(), Arc::clone(readers));
            let last = message.subject.rsplit('.').next();
            if last == Some(PUSH) {
                let store = store.clone();
                tasks.spawn(async move {
                    let consumers = exchange.pushed(&store, &message.payload).await;
                    if let Some(reply) = message.reply {
                        // Who asks does not wait for long.
                        let _ = client.publish(reply, consumers.to_string().into()).await;
                    }
                });
                continue;
            }
            let Some(item) = last.and_then(ItemId::parse) else { continue };
            tasks.spawn(async move { readers.answer(&exchange, &client, item, message).await });
        }
    }
}

/// An answer that is not whole when this is dropped never is.
struct CutOnDrop(Arc<Buffer>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.cut();
    }
}

/// Reads an answer from another replica, for consumers that wait here.
async fn read(exchange: &Arc<Exchange>, client: &Client, id: ItemId, from: ReplicaId) {
    let Some(entry) = exchange.entry(id) else { return };
    let begun = Instant::now();
    let (mut pull, status, headers) = loop {
        let mut pull = Pull::new(client, from, id, Of::Answer);
        if let Ok(Piece::Head(status, headers)) = pull.next().await {
            break (pull, status, headers);
        }
        // It may have ended there, or the other one is gone: the record says so, and ends this.
        let _ = exchange.find(id).await;
        if begun.elapsed() > EXCHANGE_STALLED * 3 {
            return exchange.ended_elsewhere(id, Ended::Failed(Failure::Broke));
        }
        sleep(AGAIN / 4).await;
    };
    let limits = exchange.config().result;
    let body = Buffer::new(Arc::clone(exchange.budget()), limits.window, entry.answers_many.then_some(limits.bytes));
    if !entry.answer(Answer { status, headers, body: Arc::clone(&body) }) {
        return;
    }
    // Who reads it has to see its end, whatever ends this.
    let body = CutOnDrop(body);
    loop {
        match pull.next().await {
            Ok(Piece::Data(data)) => {
                if body.0.write(data).await.is_err() {
                    // Nobody reads it, so that its item has ended, or is about to.
                    return exchange.unread_elsewhere(id);
                }
            }
            Ok(Piece::End(trailers)) => {
                body.0.finish(trailers);
                exchange.linger(&body.0);
                return exchange.ended_elsewhere(id, Ended::Done);
            }
            Ok(_) | Err(_) => {
                return exchange.ended_elsewhere(id, Ended::Failed(Failure::Cut));
            }
        }
    }
}
