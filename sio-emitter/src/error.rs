//! What can go wrong: connecting, emitting, and what Redis does with a message afterwards.

use std::time::Duration;

use sio_protocol::cluster::ClusterError;
use sio_protocol::socketio::EncodeError;

/// Why there is no connection to Redis.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address or another part of the configuration cannot be used.
    #[error("{0}")]
    Config(String),
    /// Redis is there and does not let us in, or cannot serve yet. Its own words.
    #[error("redis refuses the connection: {0}")]
    Refused(String),
    /// Redis did not answer in time.
    #[error("redis at {address} did not answer within {waited:?}")]
    TimedOut {
        /// Where it was looked for.
        address: String,
        /// [`Builder::connect_timeout`](crate::Builder::connect_timeout).
        waited: Duration,
    },
    /// Redis cannot be reached.
    #[error("redis at {address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the system says.
        reason: String,
    },
}

/// Why a message was not queued. It was not sent and will not be.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The emitter was [closed](crate::Emitter::close), or the runtime that it was made in has ended.
    #[error("the emitter is closed")]
    Closed,
    /// The arguments could not be serialised.
    #[error("the arguments cannot be serialised: {0}")]
    Encode(#[from] EncodeError),
    /// The message is longer than a server of the cluster would take.
    #[error("message of {seen} bytes, limit is {limit}")]
    MessageTooLong {
        /// Its length.
        seen: usize,
        /// [`Builder::max_message_bytes`](crate::Builder::max_message_bytes).
        limit: usize,
    },
    /// As much as is allowed waits for Redis already. Only [`try_emit`](crate::Emitter::try_emit) says so at
    /// once; the others wait for room first.
    #[error("the queue is full: {limit} bytes wait for redis")]
    QueueFull {
        /// [`Builder::max_queued_bytes`](crate::Builder::max_queued_bytes).
        limit: usize,
    },
    /// The name belongs to the protocol (`connect`, `connect_error`, `disconnect`, `disconnecting`,
    /// `newListener`, `removeListener`), or in a
    /// [`server_side_emit`](crate::Emitter::server_side_emit) to the server (`connect`, `connection`,
    /// `new_namespace`).
    #[error("the event name \"{0}\" is reserved")]
    ReservedEvent(String),
    /// There was no room in the queue for as long as an emit may wait.
    #[error("no room in the queue for {waited:?}: {reason}")]
    TimedOut {
        /// [`Builder::queue_timeout`](crate::Builder::queue_timeout).
        waited: Duration,
        /// Why it did not empty.
        reason: String,
    },
    /// The message would be malformed, and one such message can end the subscription of every Node server.
    #[error("the message would be malformed: {0}")]
    Malformed(#[from] ClusterError),
}

/// Why a message that was queued was not taken by Redis, as far as anybody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The runtime ended before the message was written.
    #[error("the emitter ended before it was sent")]
    Abandoned,
    /// The connection broke after the message was written and before Redis answered. It may have arrived; it is
    /// not sent again, so that nobody gets it twice.
    #[error("the connection broke before redis answered: {0}")]
    ConnectionLost(String),
    /// Redis refused it. Its own words.
    #[error("redis refuses it: {0}")]
    Refused(String),
    /// Redis was away for as long as a message may wait in the queue.
    #[error("redis was away for {waited:?}: {reason}")]
    TimedOut {
        /// [`Builder::queue_timeout`](crate::Builder::queue_timeout).
        waited: Duration,
        /// Why it is away.
        reason: String,
    },
}

/// Says that Redis has not taken everything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redis has not taken {failed} messages; the first one because {cause}")]
#[non_exhaustive]
pub struct FlushError {
    /// How many messages were not taken, since the last flush that reported any.
    pub failed: u64,
    /// What became of the first of them.
    #[source]
    pub cause: PublishError,
}
