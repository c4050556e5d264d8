//! The link to Redis: publishes, subscribes, counts subscribers, and mends itself. Knows channels and bytes, no Socket.IO.
//!
//! ```text
//!  publish ─▶ queue (bounded) ─▶ Publisher ─▶ Wire ─▶ Redis ─▶ Wire ─▶ Subscriber ─▶ Receiver::receive
//!                                    └── reports ──▶ Supervisor ◀── reports ──┘
//!                                                        └────▶ Receiver::changed
//! ```
//!
//! # Why the connections are not fred's
//!
//! fred parses the address, has the credentials and the TLS configuration, and finds the master behind sentinels and the
//! masters of a cluster ([`discover`]). The two connections that messages pass through are our own, because of what was
//! measured (fred 10.1, Redis 7.0 on the same two cores, messages of 100 bytes published at full speed by another process,
//! runtime with one thread):
//!
//! | | fred | own |
//! | --- | --- | --- |
//! | 100,000 messages received, of which lost without a trace | 99,232 with fred's default of 32 places, 62,863 with 16,384, none with 131,072 | none |
//! | memory for that | 94 MB, 620 MB for 1,000,000 places | one block of 64 kB |
//! | receiving, CPU a message | 1.9 us | 0.2 us |
//! | publishing, CPU a message | 3.3 us, 180,000/s | 0.1 us, 800,000/s |
//!
//! fred puts what it reads into a broadcast channel, which overwrites what is not fetched in time; there is no setting by
//! which the reader would wait. It takes a subscription for granted when the command is written, drops the confirmation,
//! and takes an error (`NOPERM`) for the answer to the next command. And it sends commands again whose answer a broken
//! connection kept back, by which a message may arrive twice.
//!
//! # What holds
//!
//! - Messages of one publisher to one channel stay in order. None is sent twice: what a broken connection leaves without
//!   an answer is counted as `unconfirmed`. What was not sent waits in the queue, whose bound has a name
//!   ([`PublishError::QueueFull`]).
//! - A receiver that is slower than Redis lets messages wait, first here (`max_read_ahead`), then in Redis, which ends the
//!   connection when it has 32 MB of them; that is told as [`LostReason::Overrun`].
//! - A channel is subscribed on one connection: before a new connection subscribes, it ends the old one in Redis.
//! - A connection that is silent is probed, and renewed when it does not answer.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
    time::timeout,
};

mod backoff;
mod discover;
mod error;
mod event;
mod inbox;
mod life;
mod once;
mod options;
mod port;
mod publisher;
mod queue;
mod resp;
mod shared;
mod stats;
mod subscriber;
mod supervisor;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use self::options::LinkOptions;
pub use self::{
    error::{ConnectError, LinkError, PublishError},
    event::{LostReason, RedisConnection, RedisEvent},
    options::RedisTarget,
    stats::Stats,
};
use self::{
    life::describe,
    shared::{Phase, Shared},
    supervisor::Supervisor,
};

/// A pair of connections to one Redis: one that publishes and asks, one that is subscribed (in a cluster, a pair per
/// master). Clones share it; when the last one is dropped, everything ends at once ([`close`](Self::close) is the orderly
/// way).
#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
    task: Arc<Task>,
}

/// The supervisor, which ends when nobody holds the link any more.
struct Task {
    abort: AbortHandle,
    handle: Mutex<Option<JoinHandle<()>>>,
}

/// Who gets what comes from Redis.
pub(crate) trait Receiver: Send + Sync + 'static {
    /// Takes a message: on the receiving task, in order of arrival, once per publish however many of our subscriptions
    /// it matches. Must not block. `message` is a slice of a read buffer: what is kept for long should be copied.
    fn receive(&self, channel: &str, message: Bytes);

    /// Runs `hand_on`, which calls [`receive`](Self::receive) for some messages that came together: whatever is better
    /// done once for all of them can be done around it. Must not fail to run it, nor run it twice.
    fn burst(&self, hand_on: &mut dyn FnMut()) {
        hand_on();
    }

    /// Hears of a transition, one after the other, never at the same time. Must not block.
    fn changed(&self, event: &RedisEvent);
}

/// One of Redis's two kinds of channels. The same name in both is two channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Space {
    /// `PUBLISH`, `SUBSCRIBE`, `PSUBSCRIBE`.
    Classic,
    /// `SPUBLISH`, `SSUBSCRIBE` (Redis 7).
    Sharded,
}

/// Something to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    /// `SUBSCRIBE`.
    Channel(Arc<str>),
    /// `PSUBSCRIBE`, a glob.
    Pattern(Arc<str>),
    /// `SSUBSCRIBE`.
    Shard(Arc<str>),
}

impl Link {
    /// Opens the link: waits until every connection stands and the subscription is proven, within `connect_timeout`.
    ///
    /// With `start_without_redis` it returns as soon as Redis turns out not to be there, and goes on trying.
    ///
    /// Must be called within a tokio runtime, on which the link's tasks run from then on.
    pub(crate) async fn open(options: LinkOptions) -> Result<Self, ConnectError> {
        let (reports, receiver) = mpsc::channel(REPORTS);
        let shared = Arc::new(Shared::new(options, reports)?);
        let handle = tokio::spawn(Supervisor::new(Arc::clone(&shared), receiver).run());
        let task = Task { abort: handle.abort_handle(), handle: Mutex::new(Some(handle)) };
        // From here on the tasks end when this is dropped.
        let link = Self { shared, task: Arc::new(task) };
        let (limit, start_without) =
            (link.shared.options.connect_timeout, link.shared.options.start_without_redis);
        let mut phase = link.shared.phase.subscribe();
        let decided = phase.wait_for(|phase| match phase {
            Phase::Starting(failure) => failure.is_some() && start_without,
            Phase::Unusable(_) | Phase::Running | Phase::Closing | Phase::Closed => true,
        });
        let _ = timeout(limit, decided).await;
        let phase = link.shared.phase.borrow().clone();
        match phase {
            Phase::Unusable(error) => Err(error),
            Phase::Starting(failure) if !start_without => {
                let nothing = || (describe(&link.shared.config), "no answer".to_owned());
                let (server, error) = failure.unwrap_or_else(nothing);
                Err(ConnectError::Unreachable { server, after: limit, error })
            }
            _ => Ok(link),
        }
    }

    /// Queues a message for publishing. Never waits, and costs one allocation; order is kept per channel.
    pub(crate) fn publish(&self, space: Space, channel: &str, message: Bytes) -> Result<(), PublishError> {
        self.shared.publish(space, channel, message)
    }

    /// Asks for a subscription, also for all connections to come. Asking twice is asking once.
    pub(crate) fn subscribe(&self, topic: Topic) {
        self.set(topic, true);
    }

    /// Takes a subscription back.
    pub(crate) fn unsubscribe(&self, topic: Topic) {
        self.set(topic, false);
    }

    fn set(&self, topic: Topic, wanted: bool) {
        // The directory is held so that the topic is not forgotten when topics are being moved.
        let directory = self.shared.directory();
        if let Some(port) = directory.port(&topic) {
            port.set(topic, wanted);
        }
    }

    /// Counts the subscribers of a channel: `PUBSUB NUMSUB`, summed over the masters of a cluster, or `PUBSUB
    /// SHARDNUMSUB`, asked of the master that has the channel's slot. Overtakes what is queued.
    pub(crate) async fn subscribers(&self, space: Space, channel: &str) -> Result<u64, LinkError> {
        let (kind, slot): (&[u8], _) = match space {
            Space::Classic => (b"NUMSUB", None),
            Space::Sharded => (b"SHARDNUMSUB", self.shared.slot(space, channel)),
        };
        let mut command = Vec::new();
        resp::command(&mut command, &[b"PUBSUB", kind, channel.as_bytes()]);
        let answers = {
            let directory = self.shared.directory();
            match space {
                Space::Classic => directory.nodes.iter().map(|node| node.lane.ask(command.clone())).collect(),
                Space::Sharded => directory.lane(slot).map(|lane| lane.ask(command)).into_iter().collect(),
            }
        };
        let answers: Vec<Result<_, LinkError>> = answers;
        let count = async {
            let mut sum = 0;
            for answer in answers {
                // Dropped without an answer: the connection's task has ended.
                let answer = answer?.await.unwrap_or(Err(LinkError::Closed))?;
                let n = answer.get(channel).and_then(resp::Value::number).and_then(|n| u64::try_from(n).ok());
                sum += n.ok_or_else(|| LinkError::Rejected(format!("{answer:?}")))?;
            }
            Ok(sum)
        };
        let limit = self.shared.options.answer_timeout;
        timeout(limit, count).await.unwrap_or(Err(LinkError::TimedOut(limit)))
    }

    /// Waits until Redis has confirmed everything asked of it so far by `subscribe` and `unsubscribe`, or refused it
    /// ([`RedisEvent::SubscriptionRejected`]), and has not been lost since. Returns at once when the link is closed.
    pub(crate) async fn settled(&self) {
        let mut phase = self.shared.phase.subscribe();
        let settled = async {
            loop {
                let (generation, ports): (_, Vec<_>) = {
                    let directory = self.shared.directory();
                    (
                        directory.generation,
                        directory.nodes.iter().map(|node| Arc::clone(&node.port)).collect(),
                    )
                };
                for port in ports {
                    port.settled().await;
                }
                // Else topics may have moved to other connections meanwhile.
                if self.shared.directory().generation == generation {
                    return;
                }
            }
        };
        tokio::select! {
            () = settled => {}
            _ = phase.wait_for(|phase| matches!(phase, Phase::Closing | Phase::Closed)) => {}
        }
    }

    /// Says whether the link takes nothing any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.shared.is_closing()
    }

    /// Returns the counters.
    pub(crate) fn stats(&self) -> Stats {
        let subscriptions: usize = self.shared.directory().nodes.iter().map(|node| node.port.len()).sum();
        Stats {
            queued_bytes: self.shared.budget.used() as u64,
            subscriptions: subscriptions as u64,
            ..self.shared.counters.snapshot()
        }
    }

    /// Ends the link: takes nothing any more, sends what is queued if it can within `close_timeout`, takes back every
    /// subscription, ends the connections. When it returns no task is left. Calling it again waits for the same end.
    pub(crate) async fn close(&self) {
        // First the queues: what a task finds in them once it knows of the end is all there will be.
        for node in &self.shared.directory().nodes {
            node.lane.close();
        }
        self.shared.phase.send_if_modified(|phase| {
            let open = !matches!(phase, Phase::Closing | Phase::Closed);
            if open {
                *phase = Phase::Closing;
            }
            open
        });
        let handle = self.task.handle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            let _ = handle.await; // how it ended does not matter
        }
        let mut phase = self.shared.phase.subscribe();
        let _ = phase.wait_for(|phase| matches!(phase, Phase::Closed)).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Reports that may wait for the supervisor: a sender waits when there are more.
const REPORTS: usize = 64;
