//! The link to Redis: channels and bytes.

use std::sync::Weak;

use bytes::Bytes;

mod error;
mod event;
mod options;
mod stats;

pub use self::{
    error::{ConnectError, LinkError, PublishError},
    event::{LostReason, RedisConnection, RedisEvent},
    options::RedisTarget,
    stats::Stats,
};
pub(crate) use self::options::LinkOptions;

/// A pair of connections to one Redis: one that publishes and asks, one that is subscribed. Clones share it; when the
/// last one is dropped, everything ends at once ([`close`](Self::close) is the orderly way).
#[derive(Clone)]
pub(crate) struct Link {}

/// Who gets what comes from Redis.
pub(crate) trait Receiver: Send + Sync + 'static {
    /// Takes a message: on the receiving task, in order of arrival, once per publish however many of our subscriptions
    /// it matches. Must not block. `message` is a slice of a read buffer: what is kept for long should be copied.
    fn receive(&self, channel: &str, message: Bytes);

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
    Channel(Box<str>),
    /// `PSUBSCRIBE`, a glob.
    Pattern(Box<str>),
    /// `SSUBSCRIBE`.
    Shard(Box<str>),
}

impl Link {
    /// Opens the link and waits until both connections stand and the subscription is proven.
    pub(crate) async fn open(options: LinkOptions) -> Result<Self, ConnectError> {
        let _: Weak<dyn Receiver> = options.receiver;
        unimplemented!("comes with the next commits")
    }

    /// Queues a message. Never waits; costs one allocation.
    pub(crate) fn publish(&self, _space: Space, _channel: &str, _message: Bytes) -> Result<(), PublishError> {
        unimplemented!()
    }

    /// Asks for a subscription. Asking twice is asking once.
    pub(crate) fn subscribe(&self, _topic: Topic) {
        unimplemented!()
    }

    /// Takes a subscription back.
    pub(crate) fn unsubscribe(&self, _topic: Topic) {
        unimplemented!()
    }

    /// Counts the subscribers of a channel: `PUBSUB NUMSUB` or `PUBSUB SHARDNUMSUB`, summed over the masters of a
    /// cluster.
    pub(crate) async fn subscribers(&self, _space: Space, _channel: &str) -> Result<u64, LinkError> {
        unimplemented!()
    }

    /// Waits until Redis has confirmed everything asked of it so far by `subscribe` and `unsubscribe`. Returns at once
    /// when the link is closed.
    pub(crate) async fn settled(&self) {
        unimplemented!()
    }

    /// Returns the counters.
    pub(crate) fn stats(&self) -> Stats {
        unimplemented!()
    }

    /// Ends the link: sends what is queued within `close_timeout`, takes back every subscription, ends the connections.
    /// When it returns no task is left.
    pub(crate) async fn close(&self) {
        unimplemented!()
    }
}
