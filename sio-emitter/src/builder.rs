//! The options of an emitter.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fred::clients::Client;
use fred::interfaces::ClientLike;
use fred::types::config::Config;
use sio_protocol::Limits;
use sio_protocol::cluster::DEFAULT_PREFIX;
use sio_protocol::cluster::sharded::Mode;

use crate::emitter::{Emitter, Shared};
use crate::encode::Dialect;
use crate::error::{ConnectError, PublishError};
use crate::link::direct::Timeouts;
use crate::link::{Route, Writer, client, direct, read_url};
use crate::queue::{Bounds, OnError, Queue};

/// Sets the options of an [`Emitter`]. What concerns the servers has Node's name and default.
#[must_use = "an emitter is made by connect, connect_with or client"]
pub struct Builder {
    dialect: Dialect,
    prefix: String,
    max_queued_bytes: usize,
    max_message_bytes: usize,
    queue_timeout: Duration,
    timeouts: Timeouts,
    on_error: Option<OnError>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            dialect: Dialect::Classic,
            prefix: DEFAULT_PREFIX.to_owned(),
            max_queued_bytes: 16 * 1024 * 1024,
            max_message_bytes: Limits::default().max_cluster_message,
            queue_timeout: Duration::from_secs(10),
            timeouts: Timeouts { connect: Duration::from_secs(5), response: Duration::from_secs(10) },
            on_error: None,
        }
    }
}

impl Builder {
    /// Sends to servers with the sharded adapter (Node: `createShardedAdapter`), whose `subscriptionMode` is
    /// `mode`. Default: the classic adapter. The two do not hear each other.
    pub fn sharded(mut self, mode: Mode) -> Self {
        self.dialect = Dialect::Sharded(mode);
        self
    }

    /// The prefix of all channels, which has to be that of the servers. Default `socket.io`.
    pub fn key(mut self, key: &str) -> Self {
        self.prefix = key.to_owned();
        self
    }

    /// The same as [`key`](Self::key), which is called so in the sharded adapter. Node: `channelPrefix`.
    pub fn channel_prefix(self, prefix: &str) -> Self {
        self.key(prefix)
    }

    /// The bytes of messages that may wait for Redis. Default 16 MiB, about 80,000 short messages. A message that
    /// is longer is taken when no other waits, so at worst this or one message is held in memory, and 128 kB more
    /// that are being written.
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.max_queued_bytes = bytes;
        self
    }

    /// The bytes of one message. Default 32 MiB: unless it is configured otherwise, Redis closes the connection of
    /// a subscriber for whom it has to hold more.
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes;
        self
    }

    /// How long a message waits while Redis is away: an emit for room in the queue, and then the message in it.
    /// Default 10 s. After that the one gives [`EmitError::TimedOut`](crate::EmitError::TimedOut), and the other
    /// counts as failed with [`PublishError::TimedOut`].
    pub fn queue_timeout(mut self, timeout: Duration) -> Self {
        self.queue_timeout = timeout;
        self
    }

    /// How long an attempt to connect may take, the first and any later one. Default 5 s. The first connection is
    /// attempted once; one that is lost later is tried again, after 50 ms first and every 2 s in the end, until it
    /// is there.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = timeout;
        self
    }

    /// How long Redis may take to answer. Default 10 s. A connection on which nothing came for once to twice as
    /// long while something was awaited is given up, and what was awaited counts as failed with
    /// [`PublishError::ConnectionLost`].
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.response = timeout;
        self
    }

    /// Has it told at once when messages were queued and Redis has not taken them: why, and how many. Without it
    /// [`flush`](Emitter::flush) says so, and the first failure since the last flush is logged as a warning. It is
    /// called from the task that writes and must not block.
    pub fn on_error(mut self, callback: impl Fn(&PublishError, u64) + Send + Sync + 'static) -> Self {
        self.on_error = Some(Box::new(callback));
        self
    }

    /// Connects to the Redis at an address. See [`Emitter::connect`].
    ///
    /// # Errors
    ///
    /// If the address is none, or Redis does not let us in in time.
    pub async fn connect(self, url: &str) -> Result<Emitter, ConnectError> {
        self.connect_with(read_url(url)?).await
    }

    /// Connects to what a configuration of `fred` describes: ACL users, TLS, Sentinel, Cluster.
    ///
    /// A single server without TLS gets a plain connection, which is about four times as fast as the client of
    /// `fred` that serves for the rest; of the configuration it needs address and credentials.
    ///
    /// # Errors
    ///
    /// If Redis does not let us in in time.
    pub async fn connect_with(self, config: Config) -> Result<Emitter, ConnectError> {
        let timeouts = self.timeouts;
        match Route::of(&config) {
            Route::Direct(target) => {
                let stream = target.connect(timeouts.connect).await?;
                let (emitter, writer) = self.finish(true);
                tokio::spawn(direct::drive(writer, target, stream, timeouts));
                Ok(emitter)
            }
            Route::Client => {
                let client = client::connect(config, timeouts.connect).await?;
                Ok(self.with_client(client, true))
            }
        }
    }

    /// Sends through a client that the program has already, and that is connected or about to be. Messages go
    /// through its pipelines, at about a quarter of the speed of a connection of our own; see
    /// [`connect_with`](Self::connect_with). It is not closed with the emitter.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn client(self, client: Client) -> Emitter {
        self.with_client(client, false)
    }

    fn with_client(self, client: Client, owned: bool) -> Emitter {
        let timeouts = self.timeouts;
        let options = client::options(&client, self.dialect, &self.prefix, timeouts.response);
        let (emitter, writer) = self.finish(!client.is_clustered());
        tokio::spawn(client::drive(writer, client, options, owned, timeouts));
        emitter
    }

    fn finish(self, counts_subscribers: bool) -> (Emitter, Writer) {
        let bounds = Bounds { max_bytes: self.max_queued_bytes, timeout: self.queue_timeout };
        let queue = Arc::new(Queue::new(bounds, self.on_error));
        let emitter = Emitter::new(Shared {
            queue: Arc::clone(&queue),
            dialect: self.dialect,
            prefix: self.prefix,
            max_message_bytes: self.max_message_bytes,
            counts_subscribers,
        });
        (emitter, Writer(queue))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Builder")
            .field("dialect", &self.dialect)
            .field("prefix", &self.prefix)
            .field("max_queued_bytes", &self.max_queued_bytes)
            .field("max_message_bytes", &self.max_message_bytes)
            .field("queue_timeout", &self.queue_timeout)
            .field("timeouts", &self.timeouts)
            .finish_non_exhaustive()
    }
}
