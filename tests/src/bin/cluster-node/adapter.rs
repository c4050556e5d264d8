//! The adapter that section 1 of the contract asks for.

use std::env;
use std::error::Error;
use std::time::Duration;

use sio_adapter_redis::{RedisAdapter, RedisEvent, ShardedRedisAdapter, SubscriptionMode};
use sio_server::ServerBuilder;

use crate::wire;

/// Either adapter; clones of what the server has.
pub(crate) enum Connected {
    Classic(RedisAdapter),
    Sharded(ShardedRedisAdapter),
}

impl Connected {
    /// Connects as the environment says.
    pub(crate) async fn from_environment() -> Result<Self, Box<dyn Error>> {
        let url = env::var("REDIS_URL")?;
        let key = env::var("KEY").unwrap_or_else(|_| "socket.io".into());
        let timeout = env::var("REQUESTS_TIMEOUT").map_or(Ok(5000), |text| text.parse())?;
        let timeout = Duration::from_millis(timeout);
        match env::var("DIALECT").as_deref().unwrap_or("classic") {
            "classic" => {
                let specific = env::var("SPECIFIC").is_ok_and(|text| text == "1");
                let builder = RedisAdapter::builder().key(key).requests_timeout(timeout);
                let builder = builder.publish_on_specific_response_channel(specific).on_event(tell);
                Ok(Self::Classic(builder.connect(url).await?))
            }
            "sharded" => {
                let builder = ShardedRedisAdapter::builder().channel_prefix(key).requests_timeout(timeout);
                let builder = builder.subscription_mode(mode()?).on_event(tell);
                Ok(Self::Sharded(builder.connect(url).await?))
            }
            other => Err(format!("DIALECT={other}, known are classic and sharded").into()),
        }
    }

    /// Gives it to a server.
    pub(crate) fn join(&self, builder: ServerBuilder) -> ServerBuilder {
        match self {
            Self::Classic(adapter) => builder.adapter(adapter.clone()),
            Self::Sharded(adapter) => builder.adapter(adapter.clone()),
        }
    }

    /// Waits for the subscriptions of all namespaces.
    pub(crate) async fn ready(&self) {
        match self {
            Self::Classic(adapter) => adapter.ready().await,
            Self::Sharded(adapter) => adapter.ready().await,
        }
    }
}

fn mode() -> Result<SubscriptionMode, Box<dyn Error>> {
    match env::var("MODE").as_deref().unwrap_or("dynamic") {
        "dynamic" => Ok(SubscriptionMode::Dynamic),
        "dynamic-private" => Ok(SubscriptionMode::DynamicPrivate),
        "static" => Ok(SubscriptionMode::Static),
        other => Err(format!("MODE={other}, known are dynamic, dynamic-private and static").into()),
    }
}

fn tell(event: &RedisEvent) {
    wire::note(&format!("redis: {event:?}"));
}
