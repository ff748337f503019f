//! Who reads a topic, as its readers are told.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::backend::Backend;
use super::presence::{Kind, Local, Others, Summary};
use super::{Topic, event};
use crate::config;
use crate::describe::stream::Form;

/// Who reads a topic.
#[derive(Debug)]
pub(super) struct Presence {
    local: Local,
    others: Mutex<Others>,
    /// How many readers are to be told.
    asking: AtomicUsize,
    /// What they are told; none: nothing yet, or nobody is told.
    shown: ArcSwapOption<Shown>,
    shows: AtomicU64,
    /// Looks at who reads that have begun, and those that are over.
    looks: (AtomicU64, AtomicU64),
    /// A reader that is to be told has come, and no look has begun since.
    has_come: AtomicBool,
}

/// What readers are told.
#[derive(Debug)]
pub(super) struct Shown {
    /// Grows by one with each.
    pub(super) number: u64,
    summary: Summary,
    /// In each form: they are those of all readers.
    events: [(Form, Bytes); 3],
}

impl Shown {
    /// As it is told in this form.
    pub(super) fn event(&self, form: Form) -> Bytes {
        self.events.iter().find(|(known, _)| *known == form).map(|(_, bytes)| bytes.clone()).unwrap_or_default()
    }
}

impl Presence {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            local: Local::new(now),
            others: Mutex::default(),
            asking: AtomicUsize::new(0),
            shown: ArcSwapOption::empty(),
            shows: AtomicU64::new(0),
            looks: (AtomicU64::new(0), AtomicU64::new(0)),
            has_come: AtomicBool::new(false),
        }
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        // No step leaves it half done.
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a reader for as long as it is there.
#[derive(Debug)]
pub(super) struct Present {
    topic: Arc<Topic>,
    kind: Kind,
    name: Option<Arc<str>>,
    /// It is to be told who reads.
    asks: bool,
    /// The last look that had begun when it came: the next one counts it.
    look: u64,
    answered: Option<Instant>,
}

impl Present {
    pub(super) fn new(topic: &Arc<Topic>, kind: Kind, name: Option<Arc<str>>, asks: bool, now: Instant) -> Self {
        let presence = &topic.presence;
        presence.local.comes(kind, name.as_ref(), now);
        let look = presence.looks.0.load(Ordering::SeqCst);
        if asks {
            presence.asking.fetch_add(1, Ordering::Relaxed);
            presence.has_come.store(true, Ordering::SeqCst);
        }
        Self { topic: Arc::clone(topic), kind, name, asks, look, answered: None }
    }

    /// What it is told of who reads, itself included; none: it knows that, the one with this number, or it was not looked since it came.
    pub(super) fn who_reads(&self, told: u64) -> Option<Arc<Shown>> {
        let presence = &self.topic.presence;
        let is_seen = self.asks && presence.looks.1.load(Ordering::SeqCst) > self.look;
        presence.shown.load_full().filter(|shown| is_seen && shown.number != told)
    }

    /// It is a poll that is answered now.
    pub(super) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let presence = &self.topic.presence;
        presence.local.goes(self.kind, self.name.as_ref(), self.answered);
        if self.asks {
            presence.asking.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Topic {
    /// Who reads, of all replicas; none: that is not told.
    #[must_use]
    pub fn present(&self) -> Option<Summary> {
        self.presence.shown.load().as_ref().map(|shown| shown.summary.clone())
    }

    /// Another replica has said who reads there.
    pub(super) fn others_said(&self, replica: u64, summary: Summary, now: Instant) {
        self.presence.others().said(replica, summary, now);
    }

    /// Looks who reads, and tells readers where that has changed: to be called once a second.
    pub fn look_who_reads(&self, now: Instant) {
        let mode = self.config().presence;
        if mode == config::Presence::Off {
            self.presence.shown.store(None);
            self.metrics.present.set(0);
            return self.say_who_reads(Summary::default());
        }
        let look = self.presence.looks.0.fetch_add(1, Ordering::SeqCst) + 1;
        let has_come = self.presence.has_come.swap(false, Ordering::SeqCst);
        let with_names = mode == config::Presence::Named;
        let here = self.presence.local.summary(with_names, now);
        let mut all = here.clone();
        self.presence.others().add_to(&mut all, with_names, now);
        self.metrics.present.set(i64::try_from(all.readers).unwrap_or(i64::MAX));
        let is_new = self.presence.shown.load().as_ref().is_none_or(|shown| shown.summary != all);
        if is_new {
            let number = self.presence.shows.fetch_add(1, Ordering::Relaxed) + 1;
            let events = [Form::Events, Form::Lines, Form::WebSocket].map(|form| {
                let mut bytes = Vec::new();
                event::presence(form, &all, with_names, &mut bytes);
                (form, bytes.into())
            });
            self.presence.shown.store(Some(Arc::new(Shown { number, summary: all, events })));
        }
        self.presence.looks.1.store(look, Ordering::SeqCst);
        if (is_new || has_come) && self.presence.asking.load(Ordering::Relaxed) > 0 {
            self.tell();
        }
        self.say_who_reads(here);
    }

    /// Says to other replicas who reads here.
    fn say_who_reads(&self, here: Summary) {
        if let Backend::Stored(store) = &self.backend {
            store.say_who_reads(here);
        }
    }
}
