//! Buffers that a thread lends to its connections, one after the other.

use std::cell::RefCell;

use crate::bounds::{TLS_INPUT_BYTES, TLS_OUTPUT_BYTES};

/// The buffers of a thread.
pub(super) struct Buffers {
    /// Into which a connection is read, and where its records are decrypted.
    pub(super) input: Vec<u8>,
    /// Where records are encrypted.
    pub(super) output: Vec<u8>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers { input: Vec::new(), output: Vec::new() }) };
}

/// Works with the buffers of this thread. What reads and writes meanwhile is the kernel or memory, which uses none of them.
pub(super) fn with<T>(work: impl FnOnce(&mut Buffers) -> T) -> T {
    BUFFERS.with_borrow_mut(|buffers| {
        if buffers.input.is_empty() {
            buffers.input.resize(TLS_INPUT_BYTES, 0);
            buffers.output.resize(TLS_OUTPUT_BYTES, 0);
        }
        work(buffers)
    })
}
