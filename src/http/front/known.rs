//! Heads of plain polls that an event loop has read lately. Clients of one kind send the same bytes, so most heads need no
//! second reading.

use std::sync::Arc;

use crate::access::Caller;
use crate::bounds::KNOWN_HEADS;
use crate::describe::PollRequest;
use crate::operation::Operation;

/// The heads that were read last.
#[derive(Debug, Default)]
pub(super) struct KnownHeads {
    heads: Vec<KnownHead>,
    /// The one that is replaced next.
    next: usize,
    /// Of the table of operations, when they were read.
    generation: u64,
}

/// A head, and how it was read.
#[derive(Debug, Clone)]
pub(super) struct KnownHead {
    /// From its first byte to the empty line.
    bytes: Arc<[u8]>,
    /// Whose it is, as far as its bytes say.
    pub(super) caller: Caller,
    pub(super) operation: Arc<Operation>,
    pub(super) request: Arc<PollRequest>,
    /// The client closes the connection after the answer.
    pub(super) closes: bool,
    /// The settings by which it was read.
    settings: u64,
}

impl KnownHead {
    /// A head that was read by the settings of this generation.
    pub(super) fn new(
        bytes: &[u8],
        caller: &Caller,
        operation: &Arc<Operation>,
        request: &Arc<PollRequest>,
        closes: bool,
        settings: u64,
    ) -> Self {
        let (caller, operation, request) = (caller.clone(), Arc::clone(operation), Arc::clone(request));
        Self { bytes: bytes.into(), caller, operation, request, closes, settings }
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }
}

impl KnownHeads {
    /// What `bytes` begin with, if that was read before, and means the same now.
    pub(super) fn find(&mut self, bytes: &[u8], generation: u64) -> Option<&KnownHead> {
        if generation != self.generation {
            self.heads.clear();
            (self.next, self.generation) = (0, generation);
        }
        // A head ends with its first empty line: so what begins with a head has no other one.
        let known = self.heads.iter().find(|known| bytes.starts_with(&known.bytes))?;
        let may = known.caller.lost().is_none() && !known.caller.has_changed();
        let is_current = may && known.settings == known.operation.settings_generation();
        is_current.then_some(known)
    }

    /// Keeps a head, unless its meaning is of one client only.
    pub(super) fn keep(&mut self, known: KnownHead) {
        // A selection is in use for as long as somebody has it.
        if known.request.select.is_some() || known.request.rejected.is_some() {
            return;
        }
        if let Some(same) = self.heads.iter_mut().find(|head| head.bytes == known.bytes) {
            *same = known;
        } else if self.heads.len() < KNOWN_HEADS {
            self.heads.push(known);
        } else {
            self.heads[self.next] = known;
            self.next = (self.next + 1) % KNOWN_HEADS;
        }
    }
}
