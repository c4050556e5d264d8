//! The classic adapter, as users see it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sio_protocol::cluster::DEFAULT_PREFIX;
use sio_protocol::cluster::classic::PacketType;
use sio_server::{Adapter, AdapterFactory, LocalNamespace};

use crate::driver::{Hub, Stats};
use crate::link::{ConnectError, RedisTarget};
use crate::node::ClassicOptions;
use crate::options::{CommonOptions, common_options};

/// Joins a server to a cluster over `PUBLISH` and `SUBSCRIBE`, with any Redis from 6.0 on and with Node's servers that
/// use `socket.io-redis` or `createAdapter` of `@socket.io/redis-adapter`.
///
/// Cheap to clone; all clones are the same adapter, which serves one server. A second server in this process needs an
/// adapter of its own: building it with this one panics, and does nothing to the first.
///
/// ```no_run
/// use sio_adapter_redis::RedisAdapter;
/// use sio_server::Server;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let adapter = RedisAdapter::connect("redis://127.0.0.1:6379").await?;
/// let io = Server::builder().adapter(adapter).build();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisAdapter(Arc<Hub<ClassicOptions>>);

/// Sets the options of a [`RedisAdapter`].
#[must_use = "nothing happens before `connect`"]
pub struct RedisAdapterBuilder {
    classic: ClassicOptions,
    common: CommonOptions,
}

impl RedisAdapter {
    /// Connects with default options to a URL (`redis://`, `rediss://` with the cargo feature `tls`,
    /// `redis-cluster://`, `redis-sentinel://`), a `fred::types::config::Config` or where a fred client leads.
    ///
    /// # Errors
    /// When the address cannot be used, Redis does not let us in, or it does not answer within 5 s.
    pub async fn connect(redis: impl Into<RedisTarget>) -> Result<Self, ConnectError> {
        Self::builder().connect(redis).await
    }

    /// Sets options before connecting.
    pub fn builder() -> RedisAdapterBuilder {
        RedisAdapterBuilder {
            classic: ClassicOptions {
                prefix: DEFAULT_PREFIX.to_owned(),
                publish_on_specific_response_channel: false,
                packet_type: PacketType::Event,
            },
            common: CommonOptions::default(),
        }
    }

    /// Waits until Redis has confirmed all subscriptions of all namespaces that there are: from then on nothing that
    /// is published is missed, until the connection is lost. While there is no Redis it waits for it.
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

impl RedisAdapterBuilder {
    /// What all channels begin with. Has to be the same for all servers and emitters of a cluster. Default:
    /// `socket.io`. Node: `key`.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.classic.prefix = key.into();
        self
    }

    /// Whether answers go to the node that asked instead of to all. Spares the others reading them; every node has to
    /// be of version 7.1 or later. Default: no. Node: `publishOnSpecificResponseChannel`.
    pub fn publish_on_specific_response_channel(mut self, specific: bool) -> Self {
        self.classic.publish_on_specific_response_channel = specific;
        self
    }

    /// Whether broadcasts with binary values are sent as servers of Socket.IO 2 need them. Those of Socket.IO 3 and 4
    /// on Node break over that, so it is for clusters of this server and Socket.IO 2 alone; what they send, this
    /// server understands in any case. Default: no.
    pub fn socket_io_2_packets(mut self, only: bool) -> Self {
        self.classic.packet_type = if only { PacketType::BinaryEvent } else { PacketType::Event };
        self
    }

    /// Connects; see [`RedisAdapter::connect`]. Has to be called on a tokio runtime, on which the adapter runs from
    /// then on.
    ///
    /// # Errors
    /// As for [`RedisAdapter::connect`], with the timeout that was set.
    pub async fn connect(self, redis: impl Into<RedisTarget>) -> Result<RedisAdapter, ConnectError> {
        Hub::connect(redis.into(), self.classic, self.common.into_hub_options()).await.map(RedisAdapter)
    }
}

common_options!(RedisAdapterBuilder);

#[async_trait]
impl AdapterFactory for RedisAdapter {
    fn attach(&self, local: LocalNamespace) -> Arc<dyn Adapter> {
        self.0.attach(local)
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

impl fmt::Debug for RedisAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdapter").field("hub", &self.0).finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisAdapterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdapterBuilder").field("options", &self.classic).finish_non_exhaustive()
    }
}
