//! The emitter before a server that misbehaves: a scripted one, which says what a Redis would say, or does not.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::time::Duration;

use sio_emitter::{Builder, ConnectError, EmitError, Emitter, FlushError, PublishError};
use sio_tests::within;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Says what a test tells it to.
struct Script {
    listener: TcpListener,
}

/// One connection of the emitter.
struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Script {
    async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    fn url(&self) -> String {
        format!("redis://{}", self.listener.local_addr().unwrap())
    }

    /// Takes the next connection, without a word.
    async fn accept(&self) -> Peer {
        let (stream, _) = within("a connection", self.listener.accept()).await.unwrap();
        Peer { stream, read: Vec::new() }
    }

    /// Takes the next connection and lets it in.
    async fn admit(&self) -> Peer {
        let mut peer = self.accept().await;
        assert_eq!(peer.command().await, ["CLIENT", "SETNAME", "sio-emitter"]);
        assert_eq!(peer.command().await, ["PING"]);
        peer.say("+OK\r\n+PONG\r\n").await;
        peer
    }

    async fn connect(&self, builder: Builder) -> (Emitter, Peer) {
        let url = self.url();
        let (emitter, peer) = tokio::join!(builder.connect(&url), self.admit());
        (emitter.unwrap(), peer)
    }
}

impl Peer {
    async fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.read.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).unwrap();
            }
            let length = within("a command", self.stream.read_buf(&mut self.read)).await.unwrap();
            assert!(length > 0, "the emitter hung up");
        }
    }

    /// Reads a command; what is not text reads as something else.
    async fn command(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        let count: usize = self.line().await.strip_prefix('*').unwrap().parse().unwrap();
        for _ in 0..count {
            let length: usize = self.line().await.strip_prefix('$').unwrap().parse().unwrap();
            while self.read.len() < length + 2 {
                within("an argument", self.stream.read_buf(&mut self.read)).await.unwrap();
            }
            let word: Vec<u8> = self.read.drain(..length + 2).take(length).collect();
            words.push(String::from_utf8_lossy(&word).into_owned());
        }
        words
    }

    /// Reads the name of the event that is published, which the tests make a letter.
    async fn event(&mut self) -> String {
        let words = self.command().await;
        assert_eq!(words[0], "PUBLISH");
        let (_, rest) = words[2].split_once("data").unwrap();
        rest.chars().find(char::is_ascii_alphabetic).unwrap().to_string()
    }

    async fn end(mut self) {
        let length = within("the end", self.stream.read_buf(&mut self.read)).await.unwrap();
        assert_eq!(length, 0, "{}", self.read.escape_ascii());
    }
}

fn lost(result: Result<(), FlushError>) -> (u64, PublishError) {
    let error = result.unwrap_err();
    (error.failed, error.cause)
}

#[tokio::test]
async fn what_was_not_answered_is_counted_and_not_sent_again() {
    let script = Script::start().await;
    let (io, mut peer) = script.connect(Emitter::builder()).await;
    for event in ["a", "b", "c"] {
        io.emit(event, &()).await.unwrap();
        assert_eq!(peer.event().await, event);
    }
    peer.say(":1\r\n").await;
    drop(peer);
    let (failed, cause) = lost(within("the flush", io.flush()).await);
    assert_eq!(failed, 2);
    assert!(matches!(cause, PublishError::ConnectionLost(_)), "{cause}");

    io.emit("d", &()).await.unwrap();
    let mut peer = script.admit().await;
    assert_eq!(peer.event().await, "d");
    peer.say(":1\r\n").await;
    within("the flush", io.flush()).await.unwrap();
    let stats = io.stats();
    assert_eq!((stats.emitted, stats.taken, stats.failed, stats.connected), (4, 2, 2, true));
}

#[tokio::test]
async fn a_server_that_never_answers_is_left() {
    let script = Script::start().await;
    let builder = Emitter::builder().response_timeout(Duration::from_millis(50));
    let (io, mut peer) = script.connect(builder).await;
    io.emit("a", &()).await.unwrap();
    assert_eq!(peer.event().await, "a");
    let (failed, cause) = lost(within("the flush", io.flush()).await);
    assert_eq!((failed, cause), (1, PublishError::ConnectionLost("no answer for 50ms".to_owned())));
    peer.end().await;
    script.admit().await;
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_ends_the_connection() {
    let script = Script::start().await;
    let (io, mut peer) = script.connect(Emitter::builder()).await;
    io.emit("a", &()).await.unwrap();
    io.emit("b", &()).await.unwrap();
    assert_eq!((peer.event().await, peer.event().await), ("a".to_owned(), "b".to_owned()));
    peer.say(":1\r\n+what\r\n").await;
    let (failed, cause) = lost(within("the flush", io.flush()).await);
    assert_eq!(failed, 1);
    assert!(cause.to_string().contains(r#"unexpected answer "+what"#), "{cause}");
    assert_eq!(io.stats().taken, 1);
}

#[tokio::test]
async fn refusals_are_counted_in_the_words_of_redis() {
    let script = Script::start().await;
    let (told, mut told_of) = tokio::sync::mpsc::unbounded_channel();
    let builder = Emitter::builder().on_error(move |cause, count| {
        told.send((cause.clone(), count)).unwrap();
    });
    let (io, mut peer) = script.connect(builder).await;
    for event in ["a", "b", "c"] {
        io.emit(event, &()).await.unwrap();
        assert_eq!(peer.event().await, event);
    }
    peer.say("-NOPERM first\r\n:0\r\n-NOPERM second\r\n").await;
    let cause = PublishError::Refused("NOPERM first".to_owned());
    assert_eq!(lost(within("the flush", io.flush()).await), (2, cause.clone()));
    let mut count = 0;
    while count < 2 {
        let (seen, more) = within("on_error", told_of.recv()).await.unwrap();
        assert!(matches!(seen, PublishError::Refused(_)));
        count += more;
    }
    assert_eq!((count, io.stats().unheard), (2, Some(1)));
    within("the flush", io.flush()).await.unwrap();
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why() {
    let script = Script::start().await;
    let url = script.url();
    for (answer, expected) in [
        ("-DENIED too many clients\r\n", "redis refuses the connection: DENIED too many clients"),
        ("+OK\r\n-LOADING not yet\r\n", "redis refuses the connection: LOADING not yet"),
        (
            "-NOAUTH who are you\r\n-NOAUTH who are you\r\n",
            "redis refuses the connection: NOAUTH who are you",
        ),
        (
            "HTTP/1.1 400 Bad Request\r\n",
            r#"redis refuses the connection: this is not redis: "HTTP/1.1 400 Bad Request""#,
        ),
        ("", "redis refuses the connection: the connection was closed"),
    ] {
        let refuse = async {
            let mut peer = script.accept().await;
            peer.command().await;
            peer.command().await;
            peer.say(answer).await;
        };
        let (error, ()) = tokio::join!(within("the error", Emitter::connect(&url)), refuse);
        assert_eq!(error.unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn the_credentials_of_the_address_are_given() {
    let script = Script::start().await;
    let address = script.listener.local_addr().unwrap();
    for (credentials, words) in [
        (":s%3Acret", vec!["AUTH", "s:cret"]),
        ("me:secret", vec!["AUTH", "me", "secret"]),
        ("me", vec!["AUTH", "me", ""]),
    ] {
        let url = format!("redis://{credentials}@{address}");
        let refuse = async {
            let mut peer = script.accept().await;
            assert_eq!(peer.command().await, words);
            peer.command().await;
            peer.command().await;
            peer.say("-WRONGPASS no\r\n-NOAUTH\r\n-NOAUTH\r\n").await;
        };
        let (error, ()) = tokio::join!(within("the error", Emitter::connect(&url)), refuse);
        assert_eq!(error.unwrap_err().to_string(), "redis refuses the connection: WRONGPASS no");
    }
}

#[tokio::test]
async fn a_silent_server_is_not_awaited_for_long() {
    let script = Script::start().await;
    let url = script.url();
    let connect = Emitter::builder().connect_timeout(Duration::from_millis(50)).connect(&url);
    let (error, _peer) = tokio::join!(within("the error", connect), script.accept());
    assert!(matches!(error, Err(ConnectError::TimedOut { .. })), "{error:?}");
}

#[tokio::test]
async fn nothing_listens_is_told_at_once() {
    let script = Script::start().await;
    let url = script.url();
    drop(script);
    let error = within("the error", Emitter::connect(&url)).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Unreachable { address, .. } if url.ends_with(address)), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_read_holds_the_emitter_up() {
    let script = Script::start().await;
    let builder = Emitter::builder().max_queued_bytes(100_000).queue_timeout(Duration::from_millis(100));
    let (io, mut peer) = script.connect(builder).await;
    let text = "x".repeat(10_000);
    // The buffers of the system fill up first.
    let mut sent: u64 = 0;
    let refused = loop {
        match io.emit("a", &text).await {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100_000, "nothing held it up");
    };
    assert!(matches!(refused, EmitError::TimedOut { .. }), "{refused}");
    assert!(matches!(io.try_emit("a", &text), Err(EmitError::QueueFull { limit: 100_000 })));
    assert!(io.stats().queued_bytes <= 100_000);
    assert_eq!(io.stats().emitted, sent);

    let read = async {
        for _ in 0..sent {
            assert_eq!(peer.event().await, "a");
            peer.say(":1\r\n").await;
        }
    };
    let (flushed, ()) = within("the rest", async { tokio::join!(io.flush(), read) }).await;
    flushed.unwrap();
    assert_eq!(io.stats().taken, sent);
}

#[tokio::test]
async fn what_is_queued_goes_out_when_the_last_handle_is_gone() {
    let script = Script::start().await;
    let (io, mut peer) = script.connect(Emitter::builder()).await;
    let other = io.of("/chat");
    io.emit("a", &()).await.unwrap();
    drop(io);
    other.emit("b", &()).await.unwrap();
    drop(other);
    assert_eq!((peer.event().await, peer.event().await), ("a".to_owned(), "b".to_owned()));
    peer.say(":1\r\n:1\r\n").await;
    peer.end().await;
}

#[tokio::test]
async fn close_waits_for_the_answers_and_ends_the_connection() {
    let script = Script::start().await;
    let (io, mut peer) = script.connect(Emitter::builder()).await;
    io.emit("a", &()).await.unwrap();
    let answer = async {
        assert_eq!(peer.event().await, "a");
        peer.say(":3\r\n").await;
        peer.end().await;
    };
    let (closed, ()) = tokio::join!(within("the end", io.close()), answer);
    closed.unwrap();
    assert!(matches!(io.emit("b", &()).await, Err(EmitError::Closed)));
    assert!(matches!(io.try_emit("b", &()), Err(EmitError::Closed)));
    assert!(!io.stats().connected);
}

#[tokio::test]
async fn nobody_waits_for_an_emitter_whose_runtime_is_gone() {
    let script = Script::start().await;
    let url = script.url();
    let elsewhere =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let connect = elsewhere.spawn(async move { Emitter::connect(&url).await });
    let (io, _peer) = tokio::join!(connect, script.admit());
    let io = io.unwrap().unwrap();
    io.emit("a", &()).await.unwrap();
    elsewhere.shutdown_background();
    assert_eq!(lost(within("the flush", io.flush()).await), (1, PublishError::Abandoned));
    assert!(matches!(io.emit("b", &()).await, Err(EmitError::Closed)));
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_it_is_queued() {
    let script = Script::start().await;
    let (io, _peer) = script.connect(Emitter::builder().max_message_bytes(1000)).await;
    for event in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
    {
        assert!(matches!(io.try_emit(event, &()), Err(EmitError::ReservedEvent(name)) if name == event));
        assert!(matches!(io.emit(event, &()).await, Err(EmitError::ReservedEvent(_))));
    }
    for event in ["connect", "connection", "new_namespace"] {
        assert!(matches!(io.server_side_emit(event, &()).await, Err(EmitError::ReservedEvent(_))));
    }
    let long = "x".repeat(1000);
    assert!(matches!(
        io.emit("e", &long).await,
        Err(EmitError::MessageTooLong { seen: 1001.., limit: 1000 })
    ));
    assert!(matches!(io.sockets_join(&long).await, Err(EmitError::MessageTooLong { .. })));
    let keys = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(io.emit("e", &keys).await, Err(EmitError::Encode(_))));
    assert_eq!(io.stats().emitted, 0);
}
