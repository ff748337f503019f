//! The bytes of a head, one after the other: the first that is wrong, or where the head ends. The
//! same whatever pieces they come in.

/// Where in a head the bytes so far end.
#[derive(Debug, Clone, Default)]
pub(super) struct Scan {
    at: At,
    /// The byte before was CR: LF must follow.
    cr: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    /// Before the first line, which empty ones may precede (RFC 9112, section 2.2).
    #[default]
    Before,
    Method,
    /// At the first byte of the target, or beyond.
    Target {
        first: bool,
    },
    Version {
        length: usize,
    },
    /// At the first byte of a line.
    LineStart {
        first: bool,
    },
    Name,
    Value,
}

/// The result of scanning a piece.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scanned {
    Partial,
    /// The head ends before this place in the piece.
    End(usize),
    Fault(Fault),
}

/// What is wrong with a head before anyone asks what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    BareLf,
    BareCr,
    Control(u8),
    Line,
    Version,
    Fragment,
    Fold,
    Name,
}

/// The most that a version can have: `HTTP/1.1`.
const VERSION: usize = 8;

impl Scan {
    pub(super) fn feed(&mut self, piece: &[u8]) -> Scanned {
        for (at, byte) in piece.iter().enumerate() {
            match self.next(*byte) {
                Ok(false) => {}
                Ok(true) => return Scanned::End(at + 1),
                Err(fault) => return Scanned::Fault(fault),
            }
        }
        Scanned::Partial
    }

    /// Whether the head ends with this byte.
    fn next(&mut self, byte: u8) -> Result<bool, Fault> {
        if self.cr {
            self.cr = false;
            return if byte == b'\n' { self.line_ends() } else { Err(Fault::BareCr) };
        }
        match byte {
            b'\r' => {
                self.cr = true;
                Ok(false)
            }
            b'\n' => Err(Fault::BareLf),
            0..=8 | 11..=31 | 127 => Err(Fault::Control(byte)),
            _ => self.step(byte).map(|at| {
                self.at = at;
                false
            }),
        }
    }

    fn step(&self, byte: u8) -> Result<At, Fault> {
        match self.at {
            At::Before | At::Method => match byte {
                b' ' if self.at == At::Method => Ok(At::Target { first: true }),
                _ if is_token(byte) => Ok(At::Method),
                _ => Err(Fault::Line),
            },
            At::Target { first } => match byte {
                b'#' => Err(Fault::Fragment),
                b' ' if !first => Ok(At::Version { length: 0 }),
                b' ' | b'\t' => Err(Fault::Line),
                _ => Ok(At::Target { first: false }),
            },
            At::Version { length } if length < VERSION && byte.is_ascii_graphic() => {
                Ok(At::Version { length: length + 1 })
            }
            At::Version { .. } => Err(Fault::Version),
            At::LineStart { .. } | At::Name => match byte {
                b' ' | b'\t' if self.at != At::Name => Err(Fault::Fold),
                b':' if self.at == At::Name => Ok(At::Value),
                _ if is_token(byte) => Ok(At::Name),
                _ => Err(Fault::Name),
            },
            At::Value => Ok(At::Value),
        }
    }

    fn line_ends(&mut self) -> Result<bool, Fault> {
        match self.at {
            At::Before => Ok(false),
            At::Version { length: VERSION } => {
                self.at = At::LineStart { first: true };
                Ok(false)
            }
            At::Version { .. } => Err(Fault::Version),
            At::Method | At::Target { .. } => Err(Fault::Line),
            At::Value => {
                self.at = At::LineStart { first: false };
                Ok(false)
            }
            At::LineStart { .. } => Ok(true),
            At::Name => Err(Fault::Name),
        }
    }
}

/// A byte of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Fault {
    pub(super) fn detail(self) -> String {
        match self {
            Self::BareLf => "a line of the head ends in LF alone: end lines in CR LF".to_owned(),
            Self::BareCr => "the head holds a CR without LF: end lines in CR LF".to_owned(),
            Self::Control(byte) => format!("the head holds the byte {byte:#04x}: leave it out, or percent-encode it"),
            Self::Line => {
                "the first line is none of HTTP: send a method, one space, a target, one space, HTTP/1.1".into()
            }
            Self::Version => "the version is none that is spoken here: send HTTP/1.1".to_owned(),
            Self::Fragment => "the target has a fragment: send it without # and what follows".to_owned(),
            Self::Fold => "a line of the head begins with white space: send each field on one line".to_owned(),
            Self::Name => "a field has no name, or one with bytes that no name has: send Name: value".to_owned(),
        }
    }
}
