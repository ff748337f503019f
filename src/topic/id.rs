//! PURE. Names of messages: `epoch.offset`. Offsets count from 1 without gaps; the epoch says in which history.

use std::fmt;

/// Names a history: another one has another epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch(u64);

/// Names a message of a topic, and so the place behind it. Offset 0 is the place before the first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// In which history.
    pub epoch: Epoch,
    /// Where in it.
    pub offset: u64,
}

impl Epoch {
    /// An epoch of these random bits.
    #[must_use]
    pub fn of(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits that it is made of.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The message at this offset.
    #[must_use]
    pub fn at(self, offset: u64) -> MessageId {
        MessageId { epoch: self, offset }
    }
}

impl MessageId {
    /// Reads what [`fmt::Display`] writes; none: it is no id of a message.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once('.')?;
        let is_hex = epoch.len() == 16 && epoch.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_number = offset.bytes().all(|byte| byte.is_ascii_digit()) && (offset == "0" || !offset.starts_with('0'));
        if !is_hex || !is_number {
            return None;
        }
        Some(Self { epoch: Epoch(u64::from_str_radix(epoch, 16).ok()?), offset: offset.parse().ok()? })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.epoch.0, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        for id in [Epoch::of(0).at(0), Epoch::of(u64::MAX).at(u64::MAX), Epoch::of(0xab).at(7)] {
            assert_eq!(MessageId::parse(&id.to_string()), Some(id));
        }
        assert_eq!(Epoch::of(0xab).at(7).to_string(), "00000000000000ab.7");
        for text in [
            "",
            ".",
            "00000000000000ab",
            "00000000000000ab.",
            "00000000000000AB.7",
            "ab.7",
            "00000000000000ab.07",
            "00000000000000ab.+7",
            "00000000000000ab.7.1",
            "00000000000000ab.18446744073709551616",
        ] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }
}
