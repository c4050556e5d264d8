//! The streams a WebSocket can run over, and how they are taken back from hyper.
//!
//! Plain TCP is what counts: its file descriptor is shared, so that whoever emits writes without waking a task.
//! Everything else (TLS, unix sockets) is driven through `AsyncRead` and `AsyncWrite` by its own task.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::TcpStream;

/// A TCP stream with `&self` reads and writes. It stays registered with the runtime as it was under hyper.
#[derive(Debug)]
pub(crate) struct Tcp(TcpStream);

impl Tcp {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(stream)
    }

    /// Writes without waiting; `WouldBlock` when the kernel's buffer is full. The runtime knows of it then, and wakes the
    /// task that waits when there is room.
    pub(crate) fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self.send(slices) {
            // Once more, so that the runtime knows when it began to wait for room.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            sent => return sent,
        }
        match slices {
            [one] => self.0.try_write(one),
            many => self.0.try_write_vectored(many),
        }
    }

    /// Writes without asking the runtime first: what it knows of the stream is nearly always that there is room, and has
    /// to be fetched from memory.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        /// A closed stream is an error, not a signal. The same number on all architectures.
        const MSG_NOSIGNAL: i32 = 0x4000;
        let socket = SockRef::from(&self.0);
        match slices {
            [one] => socket.send_with_flags(one, MSG_NOSIGNAL),
            many => socket.send_vectored_with_flags(many, MSG_NOSIGNAL),
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn send(&self, _slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Calls `f` once the stream can be written; when `f` reports `WouldBlock`, the next call waits.
    pub(crate) fn poll_write<R>(
        &self,
        cx: &mut Context<'_>,
        f: impl FnOnce() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        ready!(self.0.poll_write_ready(cx))?;
        Poll::Ready(f())
    }

    /// Reads into `buf` once something is there; `Ok(None)` when it was a false alarm.
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<Option<usize>>> {
        ready!(self.0.poll_read_ready(cx))?;
        let mut taken = None;
        let result = self.0.try_io(Interest::READABLE, || {
            let n = self.0.try_read(buf)?;
            taken = Some(n);
            // A short read says that nothing is left; asking again would cost a system call to hear it. The runtime is
            // told so here. A closed peer stays visible, as readiness for that is not cleared.
            if n > 0 && n < buf.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match result {
            _ if taken.is_some() => Poll::Ready(Ok(taken)),
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Poll::Ready(Err(error))
            }
            _ => Poll::Ready(Ok(None)),
        }
    }

    pub(crate) fn shutdown(&self) {
        // A stream that the peer has reset is as closed as it can be.
        let _ = SockRef::from(&self.0).shutdown(Shutdown::Write);
    }
}

/// A stream of some other kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What hyper held.
pub(crate) enum Raw {
    Tcp(TcpStream),
    Other(Box<dyn Stream>),
}

impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp(_) => "Raw::Tcp",
            Self::Other(_) => "Raw::Other",
        })
    }
}

impl Raw {
    /// Takes the stream out of a finished upgrade, with what hyper had read beyond the request.
    pub(crate) fn from_upgraded(upgraded: Upgraded) -> (Self, Bytes) {
        // Served by `http1::Builder`, by hyper-util's `auto::Builder` (axum), or something unknown.
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => return (Self::tcp(parts.io.into_inner()), parts.read_buf),
            Err(upgraded) => upgraded,
        };
        match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => (Self::tcp(parts.io.into_inner()), parts.read_buf),
            Err(upgraded) => (Self::Other(Box::new(TokioIo::new(upgraded))), Bytes::new()),
        }
    }

    fn tcp(stream: TcpStream) -> Self {
        // Small packets must not wait for acknowledgements of earlier ones. A stream that refuses is merely slower.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY not set");
        }
        Self::Tcp(stream)
    }

    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Other(_) => None,
        }
    }
}

impl AsyncRead for Raw {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Raw {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Other(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stream_that_another_server_has_accepted_is_told_not_to_wait_either() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (_client, accepted) = tokio::join!(client, listener.accept());
        let (stream, _) = accepted.unwrap();
        assert!(!stream.nodelay().unwrap(), "nobody has set it yet");
        let Raw::Tcp(stream) = Raw::tcp(stream) else { panic!("it is TCP") };
        assert!(stream.nodelay().unwrap());
    }
}
