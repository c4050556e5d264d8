//! The link against a real Redis, which each test starts for itself.
//!
//! Every test that needs one runs with `SIO_TEST_FULL=1` only.

#![allow(clippy::await_holding_lock, reason = "what was received is looked at when nothing more comes")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{ConnectError, Link, LinkOptions, Receiver, RedisEvent, RedisTarget, Space, Topic};

mod proxy;
mod redis;

mod access;
mod cluster;
mod failure;
mod lifetime;
mod receive;

/// Says whether the test runs, and otherwise why not.
fn skipped() -> bool {
    let skipped = std::env::var_os("SIO_TEST_FULL").is_none();
    if skipped {
        eprintln!("needs redis-server: skipped, `cargo xtask test` runs it");
    }
    skipped
}

/// Runs a test on one thread, as a small server may, with an end in any case.
fn run(test: impl Future<Output = ()>) {
    if skipped() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test hangs")
    });
}

/// A receiver that remembers.
struct Recorder {
    messages: Mutex<Vec<(String, Bytes)>>,
    count: watch::Sender<usize>,
    events: mpsc::UnboundedSender<RedisEvent>,
    heard: tokio::sync::Mutex<mpsc::UnboundedReceiver<RedisEvent>>,
}

impl Recorder {
    fn new() -> Arc<Self> {
        let (events, heard) = mpsc::unbounded_channel();
        let messages = Mutex::default();
        Arc::new(Self {
            messages,
            count: watch::Sender::new(0),
            events,
            heard: tokio::sync::Mutex::new(heard),
        })
    }

    /// Waits for so many messages.
    async fn received(&self, count: usize) {
        self.count.subscribe().wait_for(|received| *received >= count).await.unwrap();
    }

    /// Waits for an event, passing over others.
    async fn event<T>(&self, mut wanted: impl FnMut(&RedisEvent) -> Option<T>) -> T {
        let mut heard = self.heard.lock().await;
        loop {
            let event = heard.recv().await.unwrap();
            eprintln!("{event:?}");
            if let Some(found) = wanted(&event) {
                return found;
            }
        }
    }

    async fn restored(&self) {
        self.event(|event| matches!(event, RedisEvent::Restored { .. }).then_some(())).await;
    }

    fn texts(&self) -> Vec<String> {
        let messages = self.messages.lock().unwrap();
        messages.iter().map(|(_, message)| String::from_utf8(message.to_vec()).unwrap()).collect()
    }

    fn numbers(&self) -> Vec<u64> {
        self.messages.lock().unwrap().iter().map(|(_, message)| number(message)).collect()
    }
}

/// Reads the number that a message begins with.
fn number(message: &[u8]) -> u64 {
    std::str::from_utf8(&message[..8]).unwrap().parse().unwrap()
}

/// Makes a message of 100 bytes that begins with its number.
fn numbered(number: u64) -> Bytes {
    Bytes::from(format!("{number:08}{}", "x".repeat(92)))
}

impl Receiver for Recorder {
    fn receive(&self, channel: &str, message: Bytes) {
        self.messages.lock().unwrap().push((channel.to_owned(), message));
        self.count.send_modify(|count| *count += 1);
    }

    fn changed(&self, event: &RedisEvent) {
        let _ = self.events.send(event.clone());
    }
}

/// Options with which nothing takes long.
fn options(target: impl Into<RedisTarget>, receiver: &Arc<Recorder>) -> LinkOptions {
    let receiver: Arc<dyn Receiver> = receiver.clone();
    let mut options = LinkOptions::new(target, Arc::downgrade(&receiver));
    options.backoff = (Duration::from_millis(10), Duration::from_millis(200));
    options
}

fn channel(name: &str) -> Topic {
    Topic::Channel(name.into())
}

fn pattern(name: &str) -> Topic {
    Topic::Pattern(name.into())
}

fn shard(name: &str) -> Topic {
    Topic::Shard(name.into())
}
