//! The rules of the core once more, as plainly as they can be written: lists that are searched from end to end. Items, offers and
//! clients are numbers, and times are counted from the start.

use std::time::Duration;

use super::{Cause, Failure, Leave, Lost, Over, Refused, Repeat, Rules};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    Assign { claim: u64, item: u64, attempt: u32, queued: Duration },
    Superseded(u64),
    Cancel(u64),
    PutBack(u64, Lost),
    End { item: u64, failure: Failure, lost: Option<Lost>, attempts: u32, claim: Option<u64>, is_dead: bool },
    Forget(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Queued { since: Duration },
    Claimed { claim: u64, since: Duration, lease: Option<Duration>, is_touched: bool },
    Streaming { claim: u64, since: Duration, is_served: bool },
    Ended { until: Duration },
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "as plain as can be")]
pub(super) struct Item {
    pub(super) id: u64,
    pub(super) client: u8,
    pub(super) key: Option<u8>,
    pub(super) declared: u8,
    pub(super) urgency: u8,
    pub(super) consumers: u32,
    pub(super) kept_until: Option<Duration>,
    pub(super) is_async: bool,
    pub(super) is_known: bool,
    pub(super) once: Option<(u8, u8)>,
    pub(super) share: Option<u8>,
    pub(super) is_lost_with_worker: bool,
    pub(super) is_replayable: bool,
    pub(super) submitted: Duration,
    pub(super) expires: Duration,
    pub(super) attempts: u32,
    pub(super) untouched: u32,
    pub(super) state: State,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    pub(super) claim: u64,
    pub(super) key: Option<u8>,
    pub(super) polls: bool,
    pub(super) seat: Option<u8>,
}

/// Items are numbered in the order in which they came.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    rules: Rules,
    pub(super) items: Vec<Item>,
    /// Free slots, the newest last.
    pub(super) offers: Vec<Offer>,
    /// Live claims, with their items.
    pub(super) claims: Vec<(Offer, u64)>,
    /// The newest offer or claim of a seat.
    pub(super) seats: Vec<(u8, u64)>,
    /// The newest item of those that share a name.
    names: Vec<(u8, u64)>,
    completed: Vec<u64>,
    /// Claims of workers that poll which are over, of which items, and why.
    gone: Vec<(u64, u64, Cause)>,
    /// Ended items that are known, the oldest first.
    pub(super) ended: Vec<u64>,
    /// Which client is next, for each key (none: for workers that take all) and urgency.
    turns: Vec<(Option<u8>, u8, u8)>,
    worker_seen: Duration,
    pub(super) did: Vec<Did>,
}

impl Item {
    fn is_wanted(&self, now: Duration) -> bool {
        self.unwanted_at().is_none_or(|at| at > now)
    }

    fn unwanted_at(&self) -> Option<Duration> {
        let is_served = matches!(self.state, State::Streaming { is_served: true, .. });
        let is_over = matches!(self.state, State::Ended { .. });
        let is_needed = self.consumers > 0 || self.is_async || self.once.is_some() || is_served || is_over;
        (!is_needed).then(|| self.kept_until.unwrap_or_default())
    }

    fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued { .. })
    }

    pub(super) fn claim(&self) -> Option<u64> {
        match self.state {
            State::Claimed { claim, .. } | State::Streaming { claim, .. } => Some(claim),
            State::Queued { .. } | State::Ended { .. } => None,
        }
    }

    fn urgency_at(&self, now: Duration) -> u8 {
        self.declared.saturating_sub(u8::try_from(now.saturating_sub(self.submitted).as_secs() / 10).unwrap_or(u8::MAX))
    }

    /// When the time does something to it.
    fn due(&self, rules: &Rules) -> Option<Duration> {
        let rises = self.submitted + Duration::from_secs(10) * u32::from(self.declared - self.urgency + 1);
        let due = match self.state {
            State::Queued { .. } => [Some(self.expires), (self.urgency > 0).then_some(rises)],
            State::Claimed { since, lease, .. } => [Some(since + rules.deadline), lease],
            State::Streaming { .. } => [None, None],
            State::Ended { until } => [Some(until), None],
        };
        due.into_iter().flatten().chain(self.unwanted_at()).min()
    }
}

impl Reference {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            items: Vec::new(),
            offers: Vec::new(),
            claims: Vec::new(),
            seats: Vec::new(),
            names: Vec::new(),
            completed: Vec::new(),
            gone: Vec::new(),
            ended: Vec::new(),
            turns: Vec::new(),
            worker_seen: Duration::ZERO,
            did: Vec::new(),
        }
    }

    pub(super) fn get(&self, id: u64) -> Option<&Item> {
        self.items.iter().find(|item| item.id == id)
    }

    fn of(&mut self, id: u64) -> Option<&mut Item> {
        self.items.iter_mut().find(|item| item.id == id)
    }

    pub(super) fn queued(&self) -> usize {
        self.items.iter().filter(|item| item.is_queued()).count()
    }

    // The queue.

    fn lanes(item: &Item) -> impl Iterator<Item = (Option<u8>, u8, u8)> + use<> {
        let (urgency, client) = (item.urgency, item.client);
        [Some(None), item.key.map(Some)].into_iter().flatten().map(move |lane| (lane, urgency, client))
    }

    fn enter(&mut self, item: &Item, in_front: bool) {
        for turn in Self::lanes(item) {
            if in_front || !self.turns.contains(&turn) {
                self.turns.retain(|other| *other != turn);
                self.turns.insert(if in_front { 0 } else { self.turns.len() }, turn);
            }
        }
    }

    /// An item has left the queue; its client has had its turn if a worker took it.
    fn leave_queue(&mut self, item: &Item, is_taken: bool) {
        for turn in Self::lanes(item) {
            let has_more = self
                .items
                .iter()
                .any(|other| other.id != item.id && other.is_queued() && Self::lanes(other).any(|lane| lane == turn));
            if !has_more || is_taken {
                self.turns.retain(|other| *other != turn);
            }
            if has_more && is_taken {
                self.turns.push(turn);
            }
        }
    }

    pub(super) fn next(&self, lane: Option<u8>) -> Option<u64> {
        let turn = self.turns.iter().filter(|turn| turn.0 == lane).min_by_key(|turn| turn.1)?;
        let of_turn = |item: &&Item| item.is_queued() && Self::lanes(item).any(|lane| lane == *turn);
        self.items.iter().find(of_turn).map(|item| item.id)
    }

    pub(super) fn position(&self, id: u64) -> usize {
        let Some(item) = self.get(id).filter(|item| item.is_queued()) else { return 0 };
        let before = |other: &&Item| other.is_queued() && (other.urgency, other.id) < (item.urgency, id);
        self.items.iter().filter(before).count() + 1
    }

    pub(super) fn order(&self) -> Vec<u64> {
        let (mut rest, mut order) = (self.clone(), Vec::new());
        while let Some(id) = rest.next(None) {
            let item = rest.of(id).expect("it is queued");
            item.state = State::Ended { until: Duration::ZERO };
            let item = item.clone();
            rest.leave_queue(&item, true);
            order.push(id);
        }
        order
    }

    // Consumers.

    pub(super) fn submit(&mut self, now: Duration, item: &Item, is_idempotent: bool) -> Result<Option<u64>, Refused> {
        let same = match item.once {
            Some((name, _)) => {
                let mut all = self.items.iter();
                let same = all.find(|other| other.client == item.client && other.once.is_some_and(|(k, _)| k == name));
                if same.is_some_and(|same| same.once != item.once) {
                    return Err(Refused::KeyReused);
                }
                same.map(|same| same.id)
            }
            None => self.names.iter().find(|(name, _)| Some(*name) == item.share).map(|(_, id)| *id),
        };
        if let Some(same) = same {
            self.attach(same, item.is_async);
            return Ok(Some(same));
        }
        let offer = self.offers.iter().rfind(|offer| offer.key.is_none() || offer.key == item.key).copied();
        if offer.is_none() {
            let since = now.saturating_sub(self.worker_seen);
            let has_worker = !self.offers.is_empty() || !self.claims.is_empty();
            if !has_worker && self.rules.refuse_after.is_some_and(|after| since >= after) {
                return Err(Refused::NoWorker(since));
            }
            if self.queued() >= self.rules.queue_length {
                return Err(Refused::Full(self.rules.queue_length));
            }
            let of_client = self.items.iter().filter(|other| other.is_queued() && other.client == item.client).count();
            if of_client >= self.rules.per_client {
                return Err(Refused::OfClient(self.rules.per_client));
            }
        }
        let may_repeat = match self.rules.repeat {
            Repeat::Always => true,
            Repeat::Never => false,
            Repeat::Idempotent => is_idempotent || item.once.is_some(),
        };
        if let Some(share) = item.share {
            self.names.retain(|(name, _)| *name != share);
            self.names.push((share, item.id));
        }
        let item = Item { is_lost_with_worker: !may_repeat, ..item.clone() };
        self.items.push(item.clone());
        self.enter(&item, false);
        if let Some(offer) = offer {
            self.assign(now, offer, item.id);
        }
        Ok(None)
    }

    pub(super) fn attach(&mut self, id: u64, is_async: bool) -> bool {
        let Some(item) = self.of(id) else { return false };
        item.consumers += u32::from(!is_async);
        item.is_async |= is_async;
        item.is_known |= is_async;
        true
    }

    pub(super) fn tell(&mut self, id: u64) -> bool {
        let Some(item) = self.of(id) else { return false };
        let has_ended = matches!(item.state, State::Ended { .. });
        item.is_known |= !has_ended;
        !has_ended
    }

    pub(super) fn leave(&mut self, now: Duration, id: u64, how: Leave) {
        let Some(item) = self.of(id) else { return };
        item.consumers = item.consumers.saturating_sub(1);
        match (how, &mut item.state) {
            (Leave::Told(after), _) => {
                item.is_known = true;
                item.kept_until = item.kept_until.max(Some(now + after + Duration::from_secs(30)));
            }
            (Leave::Served, State::Streaming { is_served, .. }) => *is_served = true,
            (Leave::Served | Leave::Gone, _) => {}
        }
        if !item.is_wanted(now) {
            self.end(now, id, Some(Failure::Abandoned));
        }
    }

    pub(super) fn delete(&mut self, now: Duration, id: u64) -> Option<bool> {
        let has_ended = matches!(self.get(id)?.state, State::Ended { .. });
        self.end(now, id, Some(Failure::Deleted));
        Some(!has_ended)
    }

    pub(super) fn complete_shared(&mut self, now: Duration, key: Option<u8>) -> Vec<(u64, u32)> {
        let waits = |item: &&Item| matches!(item.state, State::Queued { .. } | State::Claimed { .. });
        let of_key = self.items.iter().filter(waits).filter(|item| item.share.is_some() && item.key == key);
        let found: Vec<_> = of_key.map(|item| (item.id, item.consumers)).collect();
        for (id, _) in &found {
            self.end(now, *id, None);
        }
        found
    }

    /// Ends an item: with an answer, if there is no failure.
    fn end(&mut self, now: Duration, id: u64, failure: Option<Failure>) {
        self.end_with(now, id, failure, None, false);
    }

    fn end_with(&mut self, now: Duration, id: u64, failure: Option<Failure>, lost: Option<Lost>, is_dead: bool) {
        let until = now + self.rules.keep;
        let Some(item) = self.of(id) else { return };
        let before = std::mem::replace(&mut item.state, State::Ended { until });
        let item = item.clone();
        let (mut attempts, mut its) = (item.attempts, None);
        match before {
            State::Ended { .. } => {
                self.of(id).expect("it is there").state = before;
                return;
            }
            State::Queued { .. } => self.leave_queue(&item, false),
            State::Claimed { claim, .. } | State::Streaming { claim, .. } => {
                its = Some(claim);
                let cause = match failure {
                    None => Cause::Pushed,
                    Some(Failure::Deleted) => Cause::Deleted,
                    Some(Failure::TooSlow) => Cause::TooSlow,
                    Some(_) => Cause::Left,
                };
                if self.unclaim(now, claim, Some(cause)).is_some() {
                    self.did.push(Did::Cancel(claim));
                    attempts += 1;
                }
            }
        }
        self.names.retain(|(_, named)| *named != id);
        if matches!(failure, Some(Failure::NotClaimed | Failure::NoWorker)) {
            self.of(id).expect("it is there").once = None;
        }
        self.did.extend(failure.map(|failure| Did::End { item: id, failure, lost, attempts, claim: its, is_dead }));
        self.ended.push(id);
        if !item.is_known {
            self.forget(id);
        }
    }

    fn forget(&mut self, id: u64) {
        self.items.retain(|item| item.id != id);
        self.ended.retain(|ended| *ended != id);
        self.did.push(Did::Forget(id));
    }

    pub(super) fn forget_oldest(&mut self) -> bool {
        let oldest = self.ended.first().copied();
        if let Some(id) = oldest {
            self.forget(id);
        }
        oldest.is_some()
    }

    // Workers.

    /// The claim that the seat has already and never touched, if there is one.
    pub(super) fn offer(&mut self, now: Duration, offer: Offer) -> Option<u64> {
        self.worker_seen = now;
        let before = self.seats.iter().find(|(seat, _)| Some(*seat) == offer.seat).map(|(_, claim)| *claim);
        if let Some(before) = before {
            if self.is_untouched(before) {
                return Some(before);
            }
            if self.offers.iter().any(|offer| offer.claim == before) {
                self.offers.retain(|offer| offer.claim != before);
                self.did.push(Did::Superseded(before));
            }
        }
        self.seats.retain(|(seat, _)| Some(*seat) != offer.seat);
        self.seats.extend(offer.seat.map(|seat| (seat, offer.claim)));
        self.offers.push(offer);
        while let Some(id) = self.next(offer.key) {
            if self.get(id).is_some_and(|item| item.is_wanted(now)) {
                self.assign(now, offer, id);
                break;
            }
            self.end(now, id, Some(Failure::Abandoned));
        }
        None
    }

    pub(super) fn is_untouched(&self, claim: u64) -> bool {
        let is_it = |item: &Item| matches!(item.state, State::Claimed { claim: its, lease: Some(_), is_touched: false, .. } if its == claim);
        self.items.iter().any(is_it)
    }

    fn assign(&mut self, now: Duration, offer: Offer, id: u64) {
        let lease = offer.polls.then_some(now + self.rules.first_touch);
        let item = self.of(id).expect("it is there");
        let State::Queued { since } = item.state else { return };
        item.state = State::Claimed { claim: offer.claim, since: now, lease, is_touched: false };
        let item = item.clone();
        self.leave_queue(&item, true);
        self.offers.retain(|other| other.claim != offer.claim);
        self.claims.push((offer, id));
        self.did.push(Did::Assign {
            claim: offer.claim,
            item: id,
            attempt: item.attempts + 1,
            queued: now.saturating_sub(since),
        });
    }

    fn unclaim(&mut self, now: Duration, claim: u64, cause: Option<Cause>) -> Option<(Offer, u64)> {
        let at = self.claims.iter().position(|(offer, _)| offer.claim == claim)?;
        self.worker_seen = now;
        self.seats.retain(|(_, newest)| *newest != claim);
        let (offer, id) = self.claims.remove(at);
        self.gone.extend(cause.filter(|_| offer.polls).map(|cause| (claim, id, cause)));
        Some((offer, id))
    }

    /// Why a claim that does not live is over.
    fn over(&self, claim: u64) -> Over {
        if self.completed.contains(&claim) {
            return Over::Completed;
        }
        let Some((_, id, cause)) = self.gone.iter().find(|(gone, ..)| *gone == claim) else {
            return Over::Gone(Cause::Unknown);
        };
        let is_anothers = self.get(*id).is_some_and(|item| item.claim().is_some());
        let by_time = matches!(cause, Cause::Untouched | Cause::LeaseOver);
        Over::Gone(if by_time && is_anothers { Cause::Another } else { *cause })
    }

    pub(super) fn withdraw(&mut self, now: Duration, claim: u64) {
        if self.offers.iter().any(|offer| offer.claim == claim) {
            self.worker_seen = now;
            self.offers.retain(|offer| offer.claim != claim);
            self.seats.retain(|(_, newest)| *newest != claim);
        } else {
            self.lost(now, claim, Lost::Unwritten);
        }
    }

    fn live(&mut self, claim: u64) -> Result<&mut Item, Over> {
        let over = self.over(claim);
        self.items.iter_mut().find(|item| item.claim() == Some(claim)).ok_or(over)
    }

    pub(super) fn touch(&mut self, now: Duration, claim: u64) -> Result<Duration, Over> {
        let length = self.rules.lease;
        if let State::Claimed { lease: Some(lease), is_touched, .. } = &mut self.live(claim)?.state {
            (*lease, *is_touched) = (now + length, true);
        }
        Ok(length)
    }

    pub(super) fn head(&mut self, claim: u64) -> Result<bool, Over> {
        let item = self.live(claim)?;
        let State::Claimed { since, .. } = item.state else { return Err(Over::Completed) };
        item.state = State::Streaming { claim, since, is_served: false };
        let (id, keeps) = (item.id, item.is_known || item.share.is_some());
        self.names.retain(|(_, named)| *named != id);
        Ok(keeps)
    }

    pub(super) fn finish(&mut self, now: Duration, claim: u64) -> Option<Duration> {
        let (offer, id) = self.unclaim(now, claim, None)?;
        self.completed.extend(offer.polls.then_some(claim));
        let since = match self.get(id)?.state {
            State::Claimed { since, .. } | State::Streaming { since, .. } => Some(since),
            State::Queued { .. } | State::Ended { .. } => None,
        };
        self.end(now, id, None);
        since.map(|since| now.saturating_sub(since))
    }

    pub(super) fn unread(&mut self, now: Duration, claim: u64) {
        if let Ok(id) = self.live(claim).map(|item| item.id) {
            self.end(now, id, Some(Failure::Abandoned));
        }
    }

    pub(super) fn not_replayable(&mut self, id: u64) {
        if let Some(item) = self.of(id) {
            item.is_replayable = false;
        }
    }

    pub(super) fn lost(&mut self, now: Duration, claim: u64, how: Lost) {
        let cause = match how {
            Lost::Unwritten => Cause::Unwritten,
            Lost::GivenBack => Cause::GivenBack,
            Lost::Written | Lost::AfterHead => Cause::Broke,
            Lost::Malformed => Cause::Malformed,
            Lost::Untouched => Cause::Untouched,
            Lost::LeaseOver => Cause::LeaseOver,
        };
        let (rules, Some((_, id))) = (self.rules.clone(), self.unclaim(now, claim, Some(cause))) else { return };
        let item = self.of(id).expect("a claim has an item");
        item.untouched += u32::from(how == Lost::Untouched);
        let is_third = item.untouched.is_multiple_of(3);
        item.attempts += u32::from(match how {
            Lost::Unwritten | Lost::GivenBack => false,
            Lost::Untouched => is_third,
            Lost::Written | Lost::LeaseOver | Lost::AfterHead | Lost::Malformed => true,
        });
        let may_have_begun = !matches!(how, Lost::Unwritten | Lost::GivenBack);
        let may_repeat = item.is_replayable && !item.is_lost_with_worker;
        let failure = if how == Lost::Malformed {
            Some(Failure::Malformed)
        } else if how == Lost::AfterHead || matches!(item.state, State::Streaming { .. }) {
            Some(Failure::Cut)
        } else if !item.is_replayable || may_have_begun && (!may_repeat || item.attempts >= rules.attempts) {
            Some(Failure::Broke)
        } else if item.is_wanted(now) {
            None
        } else {
            Some(Failure::Abandoned)
        };
        if failure.is_some() {
            let is_dead = failure == Some(Failure::Broke) && may_repeat;
            return self.end_with(
                now,
                id,
                failure,
                failure.filter(|failure| *failure != Failure::Abandoned).map(|_| how),
                is_dead,
            );
        }
        (item.state, item.urgency) = (State::Queued { since: now }, item.urgency_at(now));
        let item = item.clone();
        self.enter(&item, true);
        self.did.push(Did::PutBack(id, how));
        if let Some(offer) = self.offers.iter().rfind(|offer| offer.key.is_none() || offer.key == item.key).copied() {
            self.assign(now, offer, id);
        }
    }

    // The time.

    pub(super) fn due(&self) -> Option<Duration> {
        let has_worker = !self.offers.is_empty() || !self.claims.is_empty();
        let refuses = self.rules.refuse_after.filter(|_| !has_worker && self.queued() > 0);
        let refuses = refuses.map(|after| self.worker_seen + after);
        self.items.iter().filter_map(|item| item.due(&self.rules)).chain(refuses).min()
    }

    pub(super) fn tick(&mut self, now: Duration) {
        let has_worker = !self.offers.is_empty() || !self.claims.is_empty();
        if !has_worker && self.rules.refuse_after.is_some_and(|after| self.worker_seen + after <= now) {
            while let Some(id) = self.next(None) {
                let lost = self.get(id).is_some_and(|item| item.attempts > 0 || item.untouched > 0);
                self.end(now, id, Some(if lost { Failure::Broke } else { Failure::NoWorker }));
            }
        }
        let due = |item: &Item, rules: &Rules| item.due(rules).filter(|due| *due <= now).map(|due| (due, item.id));
        while let Some((_, id)) = self.items.iter().filter_map(|item| due(item, &self.rules)).min() {
            self.look(now, id);
        }
    }

    fn look(&mut self, now: Duration, id: u64) {
        let deadline = self.rules.deadline;
        let item = self.of(id).expect("it is there");
        match item.state {
            State::Ended { .. } => self.forget(id),
            _ if !item.is_wanted(now) => self.end(now, id, Some(Failure::Abandoned)),
            State::Queued { .. } if item.expires <= now => {
                // A worker that was lost to it may have begun.
                let lost = item.attempts > 0 || item.untouched > 0;
                self.end(now, id, Some(if lost { Failure::Broke } else { Failure::NotClaimed }));
            }
            State::Claimed { since, .. } if since + deadline <= now => self.end(now, id, Some(Failure::TooSlow)),
            State::Queued { .. } => {
                let mut risen = item.clone();
                risen.urgency = item.urgency_at(now);
                // Out of one queue and into another.
                let before = std::mem::replace(item, risen.clone());
                self.leave_queue(&before, false);
                self.enter(&risen, false);
            }
            State::Claimed { claim, is_touched, .. } => {
                self.lost(now, claim, if is_touched { Lost::LeaseOver } else { Lost::Untouched });
                self.did.push(Did::Cancel(claim));
            }
            State::Streaming { .. } => unreachable!("nothing is due"),
        }
    }
}
