//! Connections of the kernel, in the clear or over TLS: as an event loop reads and writes them, and as libraries do.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::tls::{self, Session};

/// A connection of an event loop.
#[derive(Debug)]
pub enum Socket {
    /// In the clear.
    Clear(TcpStream),
    /// Over TLS.
    Tls(TcpStream, Box<Session>),
}

/// The same connection while it is lent.
#[derive(Debug)]
pub enum Stream {
    /// In the clear.
    Clear(tokio::net::TcpStream),
    /// Over TLS.
    Tls(tls::Stream<tokio::net::TcpStream>),
}

impl Socket {
    /// A connection over TLS whose handshake is over.
    pub fn tls(stream: tls::Stream<tokio::net::TcpStream>) -> io::Result<Self> {
        let (tcp, session) = stream.into_parts();
        Ok(Self::Tls(tcp.into_std()?, session))
    }

    /// What the kernel knows it by.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(tcp) | Self::Tls(tcp, _) => tcp,
        }
    }

    pub(super) fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Clear(tcp) => tcp.read(room),
            Self::Tls(tcp, session) => match session.read(tcp, room).map_err(io::Error::from) {
                // Heads end where they say so, and there is nothing else here: what is whole needs no `close_notify` behind it.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }
    }

    pub(super) fn short_read_is_last(&self) -> bool {
        match self {
            Self::Clear(_) => true,
            Self::Tls(_, session) => session.short_read_is_last(),
        }
    }

    pub(super) fn write(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, bytes) {
            (Self::Clear(tcp), [bytes]) => tcp.write(bytes),
            (Self::Clear(tcp), bytes) => tcp.write_vectored(bytes),
            (Self::Tls(tcp, session), bytes) => Ok(session.write(tcp, bytes)?),
        }
    }

    pub(super) fn shutdown(&mut self) -> io::Result<()> {
        if let Self::Tls(tcp, session) = self {
            // Where there is no room for it the client sees a FIN, behind an answer that is whole.
            let _ = session.close(tcp);
        }
        self.tcp().shutdown(Shutdown::Write)
    }

    pub(super) fn into_stream(self) -> io::Result<Stream> {
        let tokio = tokio::net::TcpStream::from_std;
        match self {
            Self::Clear(tcp) => tokio(tcp).map(Stream::Clear),
            Self::Tls(tcp, session) => Ok(Stream::Tls(tls::Stream::new(tokio(tcp)?, session))),
        }
    }
}

impl Stream {
    pub(super) fn into_socket(self) -> io::Result<Socket> {
        match self {
            Self::Clear(tcp) => tcp.into_std().map(Socket::Clear),
            Self::Tls(stream) => Socket::tls(stream),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Clear(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
