//! Connections of an event loop that are kept in memory, so that they work in paused time.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use tidewait::http::front::{EventLoop, Poller, Ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// The server's end of a connection.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Reports on connections in memory.
#[derive(Debug, Default)]
pub(crate) struct Memory(pub(crate) Arc<Woken>);

/// A connection, and who is woken for it.
pub(crate) struct Socket {
    stream: Box<dyn Stream>,
    waker: Waker,
}

/// The keys of connections on which something has happened.
#[derive(Debug, Default)]
pub(crate) struct Woken {
    keys: Mutex<Vec<u32>>,
    event_loop: AtomicWaker,
}

struct Key {
    key: u32,
    woken: Arc<Woken>,
}

impl Socket {
    pub(crate) fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), waker: Waker::noop().clone() }
    }

    fn now<T>(
        &mut self,
        act: impl FnOnce(Pin<&mut dyn Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        match act(Pin::new(&mut *self.stream), &mut Context::from_waker(&self.waker)) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").finish_non_exhaustive()
    }
}

impl Woken {
    fn add(&self, key: u32) {
        self.keys.lock().expect("no panic").push(key);
        self.event_loop.wake();
    }
}

impl Wake for Key {
    fn wake(self: Arc<Self>) {
        self.woken.add(self.key);
    }
}

impl Poller for Memory {
    type Socket = Socket;
    type Stream = Socket;

    fn add(&mut self, key: u32, socket: &mut Socket) -> io::Result<()> {
        socket.waker = Arc::new(Key { key, woken: Arc::clone(&self.0) }).into();
        // As the kernel does: it may be ready already.
        self.0.add(key);
        Ok(())
    }

    fn remove(&mut self, _socket: &Socket) -> io::Result<()> {
        Ok(())
    }

    fn stream(socket: Socket) -> io::Result<Socket> {
        Ok(socket)
    }

    fn socket(stream: Socket) -> io::Result<Socket> {
        Ok(stream)
    }

    fn read(socket: &mut Socket, room: &mut [u8]) -> io::Result<usize> {
        let mut room = ReadBuf::new(room);
        socket.now(|stream, cx| stream.poll_read(cx, &mut room))?;
        Ok(room.filled().len())
    }

    fn short_read_is_last(_socket: &Socket) -> bool {
        false
    }

    fn write(socket: &mut Socket, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        socket.now(|stream, cx| stream.poll_write_vectored(cx, bytes))
    }

    fn shutdown(socket: &mut Socket) -> io::Result<()> {
        let waker = socket.waker.clone();
        match Pin::new(&mut *socket.stream).poll_shutdown(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Drives an event loop to its end.
pub(crate) async fn run(mut event_loop: EventLoop<Memory>, woken: Arc<Woken>) {
    let mut ready = Vec::new();
    let mut timer = Box::pin(tokio::time::sleep(Duration::ZERO));
    while !event_loop.is_over() {
        if event_loop.is_busy() {
            tokio::task::yield_now().await;
        }
        poll_fn(|cx| {
            woken.event_loop.register(cx.waker());
            let mut has_work = event_loop.take_messages(cx) || event_loop.is_busy();
            let mut keys = woken.keys.lock().expect("no panic");
            has_work |= !keys.is_empty();
            ready.extend(keys.drain(..).map(|key| Ready { key, ended: false }));
            if let Some(deadline) = event_loop.deadline() {
                if timer.deadline().into_std() != deadline {
                    timer.as_mut().reset(deadline.into());
                }
                has_work |= timer.as_mut().poll(cx).is_ready();
            }
            if has_work { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        event_loop.step(&mut ready, Instant::now().into_std());
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
