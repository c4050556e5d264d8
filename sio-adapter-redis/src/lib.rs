//! Under construction.

#[allow(dead_code)] // used by what is built on it
mod link;

pub use link::{
    ConnectError, LinkError, LostReason, PublishError, RedisConnection, RedisEvent, RedisTarget, Stats,
};
