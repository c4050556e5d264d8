//! One connection to one Redis server: stream, login, and reading and writing at the same time.
//!
//! Knows no subscriptions and no queue. Nothing here waits without the caller being able to give up: every method that
//! waits may be dropped at any point and loses nothing.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use fred::types::config::{Config, Server};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::{
    error::ConnectError,
    event::LostReason,
    inbox::{Filled, Inbox, Next},
    resp::{Frame, Value, command},
};

/// A connection that is logged in.
pub(super) struct Wire {
    stream: Stream,
    pub(super) inbox: Inbox,
    pub(super) out: Outgoing,
    /// What Redis calls this connection.
    pub(super) id: i64,
}

/// Why a connection could not be made.
#[derive(Debug)]
pub(super) enum Failure {
    /// Trying again does not help.
    Permanent(ConnectError),
    /// Trying again may help.
    Temporary(String),
}

impl Wire {
    /// Connects, logs in, and gives the connection a name by which it can be found again.
    pub(super) async fn connect(
        config: &Config,
        server: &Server,
        name: &str,
        max_read_ahead: usize,
    ) -> Result<Self, Failure> {
        let stream = Stream::connect(config, server).await?;
        let mut wire = Self { stream, inbox: Inbox::new(max_read_ahead), out: Outgoing::default(), id: 0 };
        let (user, password) = match &config.credential_provider {
            Some(provider) => provider
                .fetch(Some(server))
                .await
                .map_err(|error| Failure::Temporary(format!("no credentials: {error}")))?,
            None => (config.username.clone(), config.password.clone()),
        };
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &password {
            hello.extend([b"AUTH", user.as_deref().unwrap_or("default").as_bytes(), password.as_bytes()]);
        }
        hello.extend([b"SETNAME".as_slice(), name.as_bytes()]);
        match wire.ask(&hello).await {
            Ok(Value::Error(error)) => Err(refused(server, "HELLO", error)),
            Ok(answer) => {
                wire.id = answer.get("id").and_then(Value::number).unwrap_or_default();
                Ok(wire)
            }
            Err(reason) => Err(Failure::Temporary(reason.to_string())),
        }
    }

    /// Sends a command and waits for its answer. Only for the time before anything else is under way.
    pub(super) async fn ask(&mut self, parts: &[&[u8]]) -> Result<Value, LostReason> {
        self.out.command(parts);
        loop {
            while let Next::Frame(frame, bytes) =
                self.inbox.next().map_err(|what| LostReason::Protocol(what.0))?
            {
                return Ok(match frame {
                    Frame::Number(n) => Value::Number(n),
                    Frame::Error(text) => Value::Error(String::from_utf8_lossy(&bytes[text]).into_owned()),
                    Frame::Value(value) => value,
                    Frame::Message { .. } | Frame::Confirmed { .. } | Frame::Other => continue,
                });
            }
            self.exchange().await?;
        }
    }

    /// Ends an older connection of ours that Redis may still hold open: one that broke without Redis noticing would go on
    /// counting as a subscriber. Returns whether there was one.
    ///
    /// The name is compared first, because numbers begin anew when Redis is restarted. Needs Redis 6.2 and the right to
    /// `CLIENT LIST` and `CLIENT KILL`; without it the old connection is left to Redis's own time-out.
    pub(super) async fn retire(&mut self, id: i64, name: &str) -> Result<bool, LostReason> {
        let id = id.to_string();
        let listed = self.ask(&[b"CLIENT", b"LIST", b"ID", id.as_bytes()]).await?;
        let name = format!("name={name}");
        if !listed.text().is_some_and(|line| line.split_ascii_whitespace().any(|field| field == name)) {
            if let Value::Error(error) = listed {
                tracing::debug!(error, "cannot look for an old connection");
            }
            return Ok(false);
        }
        match self.ask(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()]).await? {
            Value::Error(error) => {
                tracing::warn!(
                    error,
                    "an old connection to Redis stays subscribed until Redis notices that it is dead"
                );
                Ok(false)
            }
            killed => Ok(killed.number() == Some(1)),
        }
    }

    /// Writes what is to be written and reads what is there, until at least one of the two made progress. Says whether
    /// something was read. Errors are the end of the connection.
    pub(super) async fn exchange(&mut self) -> Result<bool, LostReason> {
        poll_fn(|cx| self.poll_exchange(cx)).await
    }

    /// Reads what is there without waiting, but not much more than a receiver handles meanwhile.
    pub(super) async fn read_ahead(&mut self) -> Result<(), LostReason> {
        poll_fn(|cx| {
            for _ in 0..AHEAD {
                let Poll::Ready(done) = self.poll_exchange(cx) else { break };
                if !done? || self.inbox.is_full() {
                    break;
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    fn poll_exchange(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, LostReason>> {
        let wrote = self.out.poll_write(cx, &mut self.stream);
        let read = match self.inbox.poll_fill(cx, &mut self.stream) {
            // Full: there is something to handle, which is progress too.
            Poll::Ready(Ok(Filled::Bytes | Filled::Full)) => return Poll::Ready(Ok(true)),
            Poll::Ready(Ok(Filled::End)) => Poll::Ready(LostReason::Closed),
            Poll::Ready(Err(error)) => Poll::Ready(lost(&error)),
            Poll::Pending => Poll::Pending,
        };
        match (wrote, read) {
            // Only now, with everything read that Redis has said: it may have answered before it went.
            (Poll::Ready(Err(error)), _) => Poll::Ready(Err(lost(&error))),
            (_, Poll::Ready(reason)) => Poll::Ready(Err(reason)),
            (wrote, Poll::Pending) => wrote.map(|_| Ok(false)),
        }
    }
}

/// What is to be written: small things in one buffer, so that many go out with one call, large ones as they are.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Goes first.
    parts: VecDeque<Bytes>,
    /// Goes after that.
    small: Vec<u8>,
    /// How much of the first part, or else of `small`, is written.
    written: usize,
    /// Whether something is written that the stream may still hold back.
    dirty: bool,
    /// Bytes not yet written.
    len: usize,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn command(&mut self, parts: &[&[u8]]) {
        let before = self.small.len();
        command(&mut self.small, parts);
        self.len += self.small.len() - before;
    }

    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.small.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    pub(super) fn share(&mut self, bytes: Bytes) {
        let rest = if self.parts.is_empty() { std::mem::take(&mut self.written) } else { 0 };
        let mut small = std::mem::take(&mut self.small);
        small.drain(..rest);
        self.len += bytes.len();
        self.parts.extend([Bytes::from(small), bytes].into_iter().filter(|part| !part.is_empty()));
    }

    /// Writes as much as the stream takes. Ready when it took something.
    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<()>> {
        let before = self.len;
        while self.len > 0 {
            let part = self.parts.front().map_or(self.small.as_slice(), |part| part);
            let rest = &part[self.written..];
            let whole = rest.len();
            let Poll::Ready(n) = Pin::new(&mut *stream).poll_write(cx, rest)? else { break };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.len -= n;
            self.written += n;
            self.dirty = true;
            if n == whole {
                self.written = 0;
                if self.parts.pop_front().is_none() {
                    self.small.clear();
                    self.small.shrink_to(SMALL);
                }
            }
        }
        if self.dirty && Pin::new(stream).poll_flush(cx)?.is_ready() {
            self.dirty = false;
        }
        if self.len < before { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

/// The bytes below, plain or encrypted.
enum Stream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl Stream {
    async fn connect(config: &Config, server: &Server) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Temporary(error.to_string());
        let tcp = TcpStream::connect((&*server.host, server.port)).await.map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        if !config.uses_tls() {
            return Ok(Self::Plain(tcp));
        }
        #[cfg(feature = "tls")]
        {
            use fred::types::config::TlsConnector;
            let Some(TlsConnector::Rustls(connector)) = config.tls.as_ref().map(|tls| &tls.connector) else {
                return Err(unusable("only TLS by rustls is supported"));
            };
            let name = server.tls_server_name.as_ref().unwrap_or(&server.host).to_string();
            let name = tokio_rustls::rustls::pki_types::ServerName::try_from(name)
                .map_err(|error| unusable(&format!("{error}: {}", server.host)))?;
            Ok(Self::Tls(Box::new(connector.connect(name, tcp).await.map_err(failed)?)))
        }
        #[cfg(not(feature = "tls"))]
        Err(unusable("TLS needs the cargo feature `tls` of sio-adapter-redis"))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Sorts what Redis said to a command without which there is no link.
pub(super) fn refused(server: &Server, command: &'static str, error: String) -> Failure {
    let word = error.split_ascii_whitespace().next().unwrap_or_default();
    let server = server.to_string();
    match word {
        "WRONGPASS" | "NOAUTH" | "DENIED" => Failure::Permanent(ConnectError::Denied { server, error }),
        "NOPERM" => {
            Failure::Permanent(ConnectError::Forbidden { server, error: format!("{command}: {error}") })
        }
        "NOPROTO" => Failure::Permanent(ConnectError::TooOld { server, command, error }),
        "ERR" if error.contains("unknown command") => {
            Failure::Permanent(ConnectError::TooOld { server, command, error })
        }
        _ => Failure::Temporary(error),
    }
}

fn unusable(what: &str) -> Failure {
    Failure::Permanent(ConnectError::Config(what.to_owned()))
}

fn lost(error: &io::Error) -> LostReason {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => LostReason::Closed, // TLS without its goodbye
        _ => LostReason::Io(error.to_string()),
    }
}

/// Blocks read before messages are handled again: a megabyte.
const AHEAD: usize = 16;

/// What an idle connection keeps for writing.
const SMALL: usize = 128 << 10;
