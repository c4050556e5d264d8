//! What can go wrong between this process and Redis, as the caller sees it.

use std::time::Duration;

/// Why no link to Redis could be made.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL or the configuration cannot be used, whatever Redis says.
    #[error("the Redis address cannot be used: {0}")]
    Config(String),

    /// Redis wants other credentials, or none of ours. Trying again would not help.
    #[error("{server} does not let us in: {error}")]
    Denied {
        /// The server that refused, as `host:port`.
        server: String,
        /// What it said.
        error: String,
    },

    /// The user may log in, but not do what an adapter has to do. The text names the command and the channel.
    #[error("{server} forbids what the adapter needs: {error}")]
    Forbidden {
        /// The server that refused, as `host:port`.
        server: String,
        /// The command, and what Redis said to it.
        error: String,
    },

    /// The server does not know a command that the adapter needs: Redis 6.0 for the classic dialect, 7.0 for the
    /// sharded one.
    #[error("{server} is too old, it does not know {command}: {error}")]
    TooOld {
        /// The server, as `host:port`.
        server: String,
        /// The command it does not know.
        command: &'static str,
        /// What it said.
        error: String,
    },

    /// Nobody answered properly within the time allowed (`connect_timeout`).
    #[error("no working connection to {server} within {after:?}: {error}")]
    Unreachable {
        /// What was tried, as `host:port`.
        server: String,
        /// How long was tried.
        after: Duration,
        /// How the last attempt failed.
        error: String,
    },
}

impl ConnectError {
    /// Says whether trying again is pointless until somebody changes a configuration.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unreachable { .. })
    }
}

/// Why a message was not taken for publishing. It was not sent, and it will not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The link was closed.
    #[error("the link to Redis is closed")]
    Closed,

    /// As much as is allowed waits to be sent: Redis is down, or slower than its senders.
    #[error("{queued} bytes wait for Redis and {message} would be added, limit is {limit}")]
    QueueFull {
        /// What the message would have cost, in bytes.
        message: usize,
        /// What waits already, in bytes.
        queued: usize,
        /// The bound, `max_queued_bytes`.
        limit: usize,
    },
}

/// Why a question to Redis got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The link was closed.
    #[error("the link to Redis is closed")]
    Closed,

    /// There is no connection at present.
    #[error("there is no connection to Redis")]
    Down,

    /// Redis answered with an error, or with something that is no answer to the question.
    #[error("Redis answered: {0}")]
    Rejected(String),

    /// The answer did not come in time.
    #[error("Redis did not answer within {0:?}")]
    TimedOut(Duration),
}
