//! The sharded adapter, as users see it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sio_protocol::cluster::DEFAULT_PREFIX;
pub use sio_protocol::cluster::sharded::Mode as SubscriptionMode;
use sio_server::{Adapter, AdapterFactory, LocalNamespace};

use crate::driver::{Hub, Stats};
use crate::link::{ConnectError, RedisTarget};
use crate::node::ShardedOptions;
use crate::options::{CommonOptions, common_options};

/// Joins a server to a cluster over `SPUBLISH` and `SSUBSCRIBE`, with Redis from 7.0 on and with Node's servers that use
/// `createShardedAdapter` of `@socket.io/redis-adapter` 8.3.
///
/// In a Redis Cluster these messages go to the one master that is responsible for a channel, where the classic adapter's
/// go to all of them. It does not reach servers that use the [classic](crate::RedisAdapter) one.
///
/// Cheap to clone; all clones are the same adapter, which serves one server. A second server in this process needs an
/// adapter of its own: building it with this one panics, and does nothing to the first.
///
/// ```no_run
/// use sio_adapter_redis::ShardedRedisAdapter;
/// use sio_server::Server;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let adapter = ShardedRedisAdapter::connect("redis-cluster://127.0.0.1:7000").await?;
/// let io = Server::builder().adapter(adapter).build();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ShardedRedisAdapter(Arc<Hub<ShardedOptions>>);

/// Sets the options of a [`ShardedRedisAdapter`].
#[must_use = "nothing happens before `connect`"]
pub struct ShardedRedisAdapterBuilder {
    sharded: ShardedOptions,
    common: CommonOptions,
}

impl ShardedRedisAdapter {
    /// Connects with default options to a URL (`redis://`, `rediss://` with the cargo feature `tls`,
    /// `redis-cluster://`, `redis-sentinel://`), a `fred::types::config::Config` or where a fred client leads.
    ///
    /// # Errors
    /// When the address cannot be used, Redis is older than 7.0, does not let us in, or does not answer within 5 s.
    pub async fn connect(redis: impl Into<RedisTarget>) -> Result<Self, ConnectError> {
        Self::builder().connect(redis).await
    }

    /// Sets options before connecting.
    pub fn builder() -> ShardedRedisAdapterBuilder {
        ShardedRedisAdapterBuilder {
            sharded: ShardedOptions { prefix: DEFAULT_PREFIX.to_owned(), mode: SubscriptionMode::default() },
            common: CommonOptions::default(),
        }
    }

    /// Waits until Redis has confirmed all subscriptions of all namespaces and rooms that there are: from then on
    /// nothing that is published there is missed, until the connection is lost. While there is no Redis it waits for
    /// it.
    pub async fn ready(&self) {
        self.0.ready().await;
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// Leaves the cluster: what is queued is sent if there is a connection to Redis and it takes it within 2 s, and
    /// nobody counts on this node any more. [`Server::close`](sio_server::Server::close) does this at its end.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

impl ShardedRedisAdapterBuilder {
    /// What all channels begin with. Has to be the same for all servers of a cluster. Default: `socket.io`. Node:
    /// `channelPrefix`.
    pub fn channel_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.sharded.prefix = prefix.into();
        self
    }

    /// Which rooms have channels of their own, to which only the nodes with a socket in the room subscribe. Has to be
    /// the same for all servers of a cluster. A subscription takes about 200 bytes here and as much in Redis. Default:
    /// [`Dynamic`](SubscriptionMode::Dynamic), all rooms but those of single sockets. Node: `subscriptionMode`.
    pub fn subscription_mode(mut self, mode: SubscriptionMode) -> Self {
        self.sharded.mode = mode;
        self
    }

    /// Connects; see [`ShardedRedisAdapter::connect`]. Has to be called on a tokio runtime, on which the adapter runs
    /// from then on.
    ///
    /// # Errors
    /// As for [`ShardedRedisAdapter::connect`], with the timeout that was set.
    pub async fn connect(self, redis: impl Into<RedisTarget>) -> Result<ShardedRedisAdapter, ConnectError> {
        Hub::connect(redis.into(), self.sharded, self.common.into_hub_options())
            .await
            .map(ShardedRedisAdapter)
    }
}

common_options!(ShardedRedisAdapterBuilder);

#[async_trait]
impl AdapterFactory for ShardedRedisAdapter {
    fn attach(&self, local: LocalNamespace) -> Arc<dyn Adapter> {
        self.0.attach(local)
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

impl fmt::Debug for ShardedRedisAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedRedisAdapter").field("hub", &self.0).finish_non_exhaustive()
    }
}

impl fmt::Debug for ShardedRedisAdapterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedRedisAdapterBuilder").field("options", &self.sharded).finish_non_exhaustive()
    }
}
