//! PURE. How a worker ends, and its exit codes.

/// How a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// As asked, and all requests that ran were finished.
    Stopped,
    /// It could not go on.
    Failed,
    /// As asked, and requests that ran were cut: their time was over, or there was a second signal.
    Cut,
}

impl Exit {
    /// The exit code. 2 is for options that are wrong.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Failed => 1,
            Self::Cut => 3,
        }
    }
}
