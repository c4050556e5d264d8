//! Socket.IO servers, Rust and Node, as one cluster over Redis.

mod classic;
mod driver;
mod link;
mod node;
mod options;
mod sharded;

pub use classic::{RedisAdapter, RedisAdapterBuilder};
pub use driver::Stats;
pub use link::{
    ConnectError, LinkError, LostReason, PublishError, RedisConnection, RedisEvent, RedisTarget,
    Stats as LinkStats,
};
pub use sharded::{ShardedRedisAdapter, ShardedRedisAdapterBuilder, SubscriptionMode};
