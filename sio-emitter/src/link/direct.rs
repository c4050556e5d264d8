//! A connection of our own to one server: chunks are written as they lie in the queue, answers are counted.
//!
//! The protocol is RESP 2. Nothing but the address, the credentials and the messages is needed for it, so a
//! reconnect is no more than connecting again. What was written and not answered when a connection breaks is not
//! written again: it may have arrived.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fred::socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use super::{Writer, back_off, expire, lost, restored};
use crate::error::ConnectError;
use crate::frame::{Answers, Tally, write_bulk};
use crate::queue::Queue;

/// Where a server is, and how to be let in.
pub(crate) struct Target {
    pub(crate) place: Place,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

/// Where a server is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// A connection that Redis has let in.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Bounds on how long Redis may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

impl Target {
    /// Connects, once.
    pub(crate) async fn connect(&self, limit: Duration) -> Result<Stream, ConnectError> {
        let address = || self.place.to_string();
        match timeout(limit, self.open()).await {
            Err(_) => Err(ConnectError::TimedOut { address: address(), waited: limit }),
            Ok(Err(error)) => {
                Err(ConnectError::Unreachable { address: address(), reason: error.to_string() })
            }
            Ok(Ok(Err(refusal))) => Err(ConnectError::Refused(refusal)),
            Ok(Ok(Ok(stream))) => Ok(stream),
        }
    }

    async fn open(&self) -> io::Result<Result<Stream, String>> {
        Ok(match &self.place {
            Place::Tcp { host, port } => {
                // In an address, and only there, an IPv6 address has brackets.
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let mut stream = TcpStream::connect((host, *port)).await?;
                stream.set_nodelay(true)?;
                // What lies between forgets connections on which nothing moves.
                SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
                self.greet(&mut stream).await?.map(|()| Stream::Tcp(stream))
            }
            Place::Unix(path) => {
                let mut stream = UnixStream::connect(path).await?;
                self.greet(&mut stream).await?.map(|()| Stream::Unix(stream))
            }
        })
    }

    /// Gives the credentials, a name that operators find in `CLIENT LIST`, and asks whether Redis is ready.
    async fn greet(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> io::Result<Result<(), String>> {
        let (mut request, mut expected) = (Vec::new(), 0);
        let mut command = |words: &[&str]| {
            request.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            words.iter().for_each(|word| write_bulk(&mut request, word.as_bytes()));
            expected += 1;
        };
        match (self.username.as_deref(), self.password.as_deref()) {
            (None, None) => {}
            (None, Some(password)) => command(&["AUTH", password]),
            (Some(username), password) => command(&["AUTH", username, password.unwrap_or_default()]),
        }
        command(&["CLIENT", "SETNAME", "sio-emitter"]);
        command(&["PING"]);
        stream.write_all(&request).await?;

        let mut answer = Vec::new();
        let mut lines = 0;
        while lines < expected {
            if stream.read_buf(&mut answer).await? == 0 {
                // A server that has too many clients says so before it hangs up.
                break;
            }
            if answer.len() > GREETING_MAX {
                return Ok(Err("this is not redis: the answer is too long".to_owned()));
            }
            lines = answer.iter().filter(|byte| **byte == b'\n').count();
        }
        let text = String::from_utf8_lossy(&answer);
        let mut answers = text.lines();
        if expected == 3 {
            let answer = answers.next().unwrap_or_default();
            if !answer.starts_with('+') {
                return Ok(Err(refusal_of(answer)));
            }
        }
        // A user who may do nothing but publish has neither the right to a name nor to a ping.
        let (name, ping) = (answers.next().unwrap_or_default(), answers.next());
        Ok(match ping {
            Some(answer) if answer == "+PONG" || answer.starts_with("-NOPERM") => Ok(()),
            Some(answer) => Err(refusal_of(answer)),
            None => Err(refusal_of(name)),
        })
    }
}

fn refusal_of(answer: &str) -> String {
    match answer.strip_prefix('-') {
        Some(text) => text.to_owned(),
        None if answer.is_empty() => "the connection was closed".to_owned(),
        None => format!("this is not redis: \"{}\"", answer.escape_debug().take(80).collect::<String>()),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } => write!(formatter, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(formatter),
        }
    }
}

impl fmt::Debug for Target {
    /// Without the password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Target").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Writes what is queued, connecting again as often as it takes, until the queue is closed and empty.
pub(crate) async fn drive(writer: Writer, target: Target, first: Stream, timeouts: Timeouts) {
    let queue = &*writer.0;
    let mut stream = first;
    loop {
        let reason = match serve(stream, queue, timeouts.response).await {
            Ok(()) => return,
            Err(reason) => reason,
        };
        lost(queue, &reason);
        queue.lose_in_flight(&reason);
        stream = tokio::select! {
            stream = reconnect(&target, queue, timeouts.connect) => stream,
            () = expire(queue) => return,
        };
        restored(queue);
    }
}

async fn reconnect(target: &Target, queue: &Queue, limit: Duration) -> Stream {
    let mut attempt = 0;
    loop {
        // Also before the first attempt: a server that lets us in and hangs up is not to be called in a tight loop.
        sleep(back_off(attempt)).await;
        match target.connect(limit).await {
            Ok(stream) => return stream,
            Err(error) => lost(queue, &error.to_string()),
        }
        attempt += 1;
    }
}

/// Uses one connection until the queue is closed and everything answered, or it breaks.
async fn serve(stream: Stream, queue: &Queue, response: Duration) -> Result<(), String> {
    match stream {
        Stream::Tcp(mut stream) => {
            let (reader, writer) = stream.split();
            exchange(reader, writer, queue, response).await
        }
        Stream::Unix(mut stream) => {
            let (reader, writer) = stream.split();
            exchange(reader, writer, queue, response).await
        }
    }
}

async fn exchange(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    queue: &Queue,
    response: Duration,
) -> Result<(), String> {
    let write = async {
        while let Some(chunk) = poll_fn(|context| queue.poll_take(context)).await {
            writer.write_all(&chunk.bytes).await.map_err(|error| error.to_string())?;
            queue.recycle(chunk.bytes);
        }
        queue.answered().await;
        Ok(())
    };
    let read = async {
        let mut buffer = vec![0; READ_BUFFER];
        let mut answers = Answers::default();
        // Whether there were messages without an answer when the wait began.
        let mut awaited = false;
        loop {
            let length = match timeout(response, reader.read(&mut buffer)).await {
                Ok(Ok(0)) => return "redis closed the connection".to_owned(),
                Ok(Ok(length)) => length,
                Ok(Err(error)) => return error.to_string(),
                Err(_) if awaited => return format!("no answer for {response:?}"),
                Err(_) => {
                    awaited = queue.in_flight() > 0;
                    continue;
                }
            };
            let mut tally = Tally::default();
            let read = answers.feed(&buffer[..length], &mut tally);
            awaited = queue.settle(tally) > 0;
            if let Err(reason) = read {
                return reason;
            }
        }
    };
    tokio::select! {
        written = write => written,
        reason = read => Err(reason),
    }
}

/// Answers are short: one read takes those to thousands of messages.
const READ_BUFFER: usize = 16_384;
/// Far more than three lines of Redis have.
const GREETING_MAX: usize = 4_096;
/// Well below what load balancers and firewalls allow.
const KEEPALIVE: Duration = Duration::from_secs(60);
