//! Socket.IO servers, Rust and Node, as one cluster over Redis.

mod link;
mod node;

pub use link::{
    ConnectError, LinkError, LostReason, PublishError, RedisConnection, RedisEvent, RedisTarget, Stats,
};
