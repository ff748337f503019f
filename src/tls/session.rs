//! The TLS of one connection, apart from where its bytes come from and go to. Nothing here blocks, and what waits is kept as
//! small as it can be: an incomplete record, decrypted bytes that there was no room for, and records that the kernel did not
//! take.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{HandshakeKind, ServerConfig};

use super::buffers;
use super::fault::Fault;
use crate::bounds::{TLS_IDLE_BYTES, TLS_RECORD_BYTES};

/// The longest plaintext of a record (RFC 8446, section 5.1).
const PLAIN_BYTES: usize = 16 * 1024;

/// How often it is asked for its state before it can write; more than once only where it has something to say itself.
const ATTEMPTS: usize = 64;

/// The first byte of a TLS handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;

/// The state of a connection.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Session {
    tls: UnbufferedServerConnection,
    /// Read, and not decrypted: less than a record, or than a message of the handshake.
    raw: Vec<u8>,
    /// Decrypted, and not taken.
    plain: Vec<u8>,
    /// Encrypted, and not sent.
    sealed: Vec<u8>,
    /// Bytes of a write whose records are in `sealed`; reported once those are sent.
    owed: usize,
    /// Something has been read.
    has_begun: bool,
    /// The last read took all that there was.
    is_drained: bool,
    /// The peer has said that it sends nothing more (`close_notify`).
    is_closed: bool,
    /// It has failed: what rustls holds fits to no bytes any more, and it is not asked again.
    is_broken: bool,
}

/// Where decrypted bytes go: into the room of whoever reads, and what has no room there behind it.
struct Sink<'a> {
    room: &'a mut [u8],
    used: usize,
    rest: &'a mut Vec<u8>,
}

impl Sink<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let now = bytes.len().min(self.room.len() - self.used);
        self.room[self.used..self.used + now].copy_from_slice(&bytes[..now]);
        self.used += now;
        self.rest.extend_from_slice(&bytes[now..]);
    }
}

impl Session {
    /// A connection of which nothing was read.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            raw: Vec::new(),
            plain: Vec::new(),
            sealed: Vec::new(),
            owed: 0,
            has_begun: false,
            is_drained: false,
            is_closed: false,
            is_broken: false,
        })
    }

    /// Whether the handshake is not over.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether the handshake took up a former connection.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The certificate that the client has shown.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.tls.peer_certificates().and_then(<[_]>::first)
    }

    /// Whether a read that gives fewer bytes than there was room for has given all.
    #[must_use]
    pub fn short_read_is_last(&self) -> bool {
        self.is_drained && self.plain.is_empty() && !self.is_closed
    }

    /// Reads what the peer has sent; 0: it has said that it sends nothing more. Where the connection ends without that, the
    /// error is [`io::ErrorKind::UnexpectedEof`].
    pub fn read<S: Read + Write>(&mut self, io: &mut S, room: &mut [u8]) -> Result<usize, Fault> {
        self.send_on(io)?;
        let taken = self.take_plain(room);
        if taken > 0 {
            return Ok(taken);
        }
        let mut idle = 0;
        while !self.is_closed {
            let (used, given) = self.receive(io, room)?;
            if given > 0 {
                return Ok(given);
            }
            idle += used;
            if idle > TLS_IDLE_BYTES {
                return Err(Fault::Idle);
            }
        }
        Ok(0)
    }

    /// Reads once, and decrypts what is whole. How many bytes that were, and how many came of it in `room`.
    pub(super) fn receive<S: Read + Write>(&mut self, io: &mut S, room: &mut [u8]) -> Result<(usize, usize), Fault> {
        self.is_whole()?;
        buffers::with(|buffers| {
            let input = &mut buffers.input;
            let held = self.raw.len();
            input[..held].copy_from_slice(&self.raw);
            let read = io.read(&mut input[held..held + TLS_RECORD_BYTES])?;
            if read == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let filled = held + read;
            self.is_drained = read < TLS_RECORD_BYTES;
            if !std::mem::replace(&mut self.has_begun, true) && input[0] != HANDSHAKE && input[0].is_ascii_alphabetic()
            {
                return Err(Fault::Clear);
            }
            let mut sink = Sink { room, used: 0, rest: &mut self.plain };
            let opened = open(&mut self.tls, &mut input[..filled], &mut sink, &mut self.sealed, &mut self.is_closed);
            let given = sink.used;
            let used = match opened {
                Ok(used) => used,
                Err(error) => {
                    self.is_broken = true;
                    // The alert, as far as there is room for it at once.
                    self.send_on(io)?;
                    return Err(error.into());
                }
            };
            self.raw = if self.is_closed { Vec::new() } else { input[used..filled].to_vec() };
            if self.raw.len() > input.len() - TLS_RECORD_BYTES {
                return Err(Fault::Idle);
            }
            self.send_on(io)?;
            Ok((used, given))
        })
    }

    fn is_whole(&self) -> io::Result<()> {
        if self.is_broken { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    fn take_plain(&mut self, room: &mut [u8]) -> usize {
        let now = self.plain.len().min(room.len());
        room[..now].copy_from_slice(&self.plain[..now]);
        if now == self.plain.len() {
            self.plain = Vec::new();
        } else {
            self.plain.drain(..now);
        }
        now
    }

    /// Writes as much as there is room for. Bytes are written when all of their records are sent: until then whoever writes
    /// offers the same bytes again.
    pub fn write<S: Write>(&mut self, io: &mut S, parts: &[IoSlice<'_>]) -> Result<usize, Fault> {
        self.send(io)?;
        if self.owed == 0 {
            self.owed = self.seal(io, parts)?;
            if !self.sealed.is_empty() {
                return Err(io::Error::from(io::ErrorKind::WouldBlock).into());
            }
        }
        Ok(std::mem::take(&mut self.owed))
    }

    /// Takes as many bytes as fit into a record, once those before are sent. They are sent by this, by the next call, or by
    /// [`Self::send`].
    pub(super) fn write_behind<S: Write>(&mut self, io: &mut S, parts: &[IoSlice<'_>]) -> Result<usize, Fault> {
        self.send(io)?;
        let taken = std::mem::take(&mut self.owed);
        if taken > 0 {
            return Ok(taken);
        }
        self.seal(io, parts)
    }

    /// Encrypts a record's worth of bytes, and sends as much of that as there is room for. How many bytes those are.
    fn seal<S: Write>(&mut self, io: &mut S, parts: &[IoSlice<'_>]) -> Result<usize, Fault> {
        buffers::with(|buffers| {
            let (mut taken, mut filled) = (0, 0);
            for part in parts {
                let now = part.len().min(PLAIN_BYTES - taken);
                if now > 0 {
                    let plain = &part[..now];
                    filled += self.encode(&mut buffers.output, filled, |traffic, out| traffic.encrypt(plain, out))?;
                    taken += now;
                }
            }
            let sent = write_some(io, &buffers.output[..filled])?;
            self.sealed.extend_from_slice(&buffers.output[sent..filled]);
            Ok(taken)
        })
    }

    /// Says to the peer that nothing more is sent, once what was written is. It may not be written after this.
    pub fn close<S: Write>(&mut self, io: &mut S) -> Result<(), Fault> {
        buffers::with(|buffers| {
            #[expect(clippy::redundant_closure_for_method_calls, reason = "the method is of one lifetime only")]
            let filled = self.encode(&mut buffers.output, 0, |traffic, out| traffic.queue_close_notify(out))?;
            self.sealed.extend_from_slice(&buffers.output[..filled]);
            Ok::<_, Fault>(())
        })?;
        Ok(self.send(io)?)
    }

    /// Writes something to `output` behind `at`, when the connection can write. How many bytes that took.
    fn encode(
        &mut self,
        output: &mut Vec<u8>,
        at: usize,
        mut write: impl FnMut(&mut WriteTraffic<'_, ServerConnectionData>, &mut [u8]) -> Result<usize, EncryptError>,
    ) -> Result<usize, Fault> {
        self.is_whole()?;
        let mut filled = at;
        for _ in 0..ATTEMPTS {
            // With what is held: where that is a part of a message, rustls has read it and counts on it.
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.raw);
            let mut done = None;
            let state = state.inspect_err(|_| self.is_broken = true)?;
            match state {
                ConnectionState::WriteTraffic(mut traffic) => match write(&mut traffic, &mut output[filled..]) {
                    Ok(written) => done = Some(filled + written - at),
                    Err(EncryptError::InsufficientSize(size)) => output.resize(filled + size.required_size, 0),
                    Err(EncryptError::EncryptExhausted) => break,
                },
                ConnectionState::EncodeTlsData(mut data) => {
                    let mut message = Vec::new();
                    encode_message(&mut data, &mut message);
                    output.truncate(filled);
                    output.extend_from_slice(&message);
                    filled = output.len();
                    output.resize(output.len() + PLAIN_BYTES, 0);
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.is_closed = true,
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        self.plain.extend_from_slice(record?.payload);
                    }
                }
                ConnectionState::Closed | ConnectionState::BlockedHandshake | ConnectionState::ReadEarlyData(_) => {
                    break;
                }
                _ => break,
            }
            self.raw.drain(..discard);
            if let Some(written) = done {
                return Ok(written);
            }
        }
        Err(io::Error::from(io::ErrorKind::BrokenPipe).into())
    }

    /// Sends what is encrypted; an error says, among others, that not all of it has room.
    pub(super) fn send<S: Write>(&mut self, io: &mut S) -> io::Result<()> {
        if self.sealed.is_empty() {
            return Ok(());
        }
        let sent = write_some(io, &self.sealed)?;
        if sent < self.sealed.len() {
            self.sealed.drain(..sent);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.sealed = Vec::new();
        Ok(())
    }

    /// The same, as far as there is room.
    fn send_on<S: Write>(&mut self, io: &mut S) -> io::Result<()> {
        match self.send(io) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            sent => sent,
        }
    }
}

/// Decrypts the records that are whole. How many bytes those were. What rustls has to say is put to `sealed`; after an error
/// that is the alert.
fn open(
    tls: &mut UnbufferedServerConnection,
    input: &mut [u8],
    sink: &mut Sink<'_>,
    sealed: &mut Vec<u8>,
    is_closed: &mut bool,
) -> Result<usize, rustls::Error> {
    let mut used = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = tls.process_tls_records(&mut input[used..]);
        match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => encode_message(&mut data, sealed),
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    sink.put(record.payload);
                }
            }
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::PeerClosed) => *is_closed = true,
            Ok(ConnectionState::WriteTraffic(_) | ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
                return Ok(used + discard);
            }
            // It is never offered.
            Ok(ConnectionState::ReadEarlyData(_)) => return Err(rustls::Error::General("early data".to_owned())),
            Ok(_) => return Err(rustls::Error::General("a state that is not known".to_owned())),
            Err(error) => {
                used += discard;
                // What is to be sent comes before anything is read again.
                while tls.wants_write() {
                    let ConnectionState::EncodeTlsData(mut data) = tls.process_tls_records(&mut input[used..]).state?
                    else {
                        break;
                    };
                    encode_message(&mut data, sealed);
                }
                return Err(error);
            }
        }
        used += discard;
    }
}

/// Appends a message of the handshake, or an alert.
fn encode_message(data: &mut EncodeTlsData<'_, ServerConnectionData>, to: &mut Vec<u8>) {
    let at = to.len();
    if let Err(EncodeError::InsufficientSize(size)) = data.encode(&mut []) {
        to.resize(at + size.required_size, 0);
        let written = data.encode(&mut to[at..]).unwrap_or(0);
        to.truncate(at + written);
    }
}

/// Writes until there is no more room. How many bytes that were.
fn write_some<S: Write>(io: &mut S, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match io.write(&bytes[sent..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => sent += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Without keys or bytes.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("is_closed", &self.is_closed).finish_non_exhaustive()
    }
}
