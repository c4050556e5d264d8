//! What happens to the link, told to whoever listens (`on_event`).

use std::{fmt, time::Duration};

/// A transition of the link to Redis. Each also has a counter in [`Stats`](super::Stats).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RedisEvent {
    /// The link was closed by this process. Nothing follows.
    Closed {
        /// Messages that were still waiting, or whose fate is unknown.
        undelivered: u64,
    },

    /// Every connection stands and every subscription is proven, for the first time.
    Connected {
        /// Channels and patterns subscribed.
        subscriptions: usize,
    },

    /// A connection ended, or was given up. It is tried again until it stands.
    Lost {
        /// Which one.
        connection: RedisConnection,
        /// The server it led to, as `host:port`.
        server: String,
        /// Why.
        reason: LostReason,
    },

    /// A message that came from Redis is larger than what may be held, and was skipped.
    MessageTooLarge {
        /// Its size on the wire, in bytes.
        bytes: usize,
        /// The bound.
        limit: usize,
    },

    /// Redis refused published messages. They are lost; nothing else is. Told at most once a second.
    PublishRejected {
        /// How many since it was last told.
        messages: u64,
        /// What Redis said to the last of them.
        error: String,
    },

    /// The queue has room again after [`QueueFull`](Self::QueueFull).
    QueueDrained {
        /// How many messages were refused meanwhile.
        refused: u64,
    },

    /// A message was refused because the queue is full ([`PublishError::QueueFull`](super::PublishError)). Told
    /// once, until the queue has drained to the half.
    QueueFull {
        /// Bytes that wait.
        queued: usize,
        /// The bound, `max_queued_bytes`.
        limit: usize,
    },

    /// Every connection stands again and every subscription is proven again.
    Restored {
        /// How long it took since the first loss.
        after: Duration,
        /// Channels and patterns subscribed.
        subscriptions: usize,
        /// Bytes that waited for this moment.
        queued: usize,
    },

    /// An attempt to connect failed.
    RetryFailed {
        /// Which one.
        connection: RedisConnection,
        /// The server it would lead to, as `host:port`, or all that are configured.
        server: String,
        /// How many attempts in a row failed, this one included.
        attempt: u32,
        /// How.
        error: String,
        /// When the next attempt comes.
        retry_in: Duration,
    },

    /// Redis refused a subscription, mostly for want of permission (`NOPERM`). What is sent there is not received.
    SubscriptionRejected {
        /// The channel or pattern.
        topic: String,
        /// What Redis said.
        error: String,
    },

    /// The masters of the cluster are others than before.
    TopologyChanged {
        /// All of them, as `host:port`.
        servers: Vec<String>,
    },
}

/// The kinds of connections of a link: one publisher and one subscriber, in a Redis Cluster one of each per master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedisConnection {
    /// The one that asks a cluster for its masters, only while it asks.
    Discovery,
    /// The one that publishes and asks.
    Publisher,
    /// The one that is subscribed.
    Subscriber,
}

impl fmt::Display for RedisConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovery => "discovery",
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
        })
    }
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// Redis, or something in between, closed it.
    Closed,

    /// The system reported an error.
    Io(String),

    /// Redis closed the subscriber while messages were coming in faster than they were handled: in all likelihood it
    /// has reached its `client-output-buffer-limit pubsub`. An unknown number of messages is lost.
    Overrun,

    /// A message sent through the subscription did not come back in time: the connection is dead although nobody
    /// closed it, or Redis hangs.
    ProbeLost {
        /// How long was waited.
        after: Duration,
    },

    /// Something came that is not Redis's protocol.
    Protocol(String),

    /// Redis no longer lets us do what has to be done.
    Refused(String),

    /// A command was not answered in time: the connection is dead although nobody closed it, or Redis hangs.
    Unanswered {
        /// How long was waited.
        after: Duration,
    },
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by Redis"),
            Self::Io(error) => f.write_str(error),
            Self::Overrun => {
                f.write_str("closed by Redis with messages waiting (client-output-buffer-limit pubsub)")
            }
            Self::ProbeLost { after } => write!(f, "the probe did not come back within {after:?}"),
            Self::Protocol(what) => write!(f, "not Redis's protocol: {what}"),
            Self::Refused(error) => write!(f, "refused by Redis: {error}"),
            Self::Unanswered { after } => write!(f, "no answer within {after:?}"),
        }
    }
}
