//! Under construction.

mod link;

pub use link::{
    ConnectError, LinkError, LostReason, PublishError, RedisConnection, RedisEvent, RedisTarget, Stats,
};
