//! The way to Redis: one task that takes chunks from the queue and settles the account.
//!
//! There are two ways. A server that is reached over plain TCP or a Unix socket gets a connection of our own,
//! [`direct`], on which the finished bytes of a chunk are written as they are. Measured with finished messages, on
//! one core: 1,450,000 publishes a second, which is all that Redis takes, against 290,000 through pipelines of `fred`.
//! Everything else (TLS, Sentinel, Cluster, credentials that change, a client that the program has already) goes
//! through `fred`, [`client`].

pub(crate) mod client;
pub(crate) mod direct;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use fred::types::config::{Config, ServerConfig};
use tokio::time::sleep_until;

use crate::error::ConnectError;
use crate::queue::Queue;

/// How to reach what a configuration describes.
#[derive(Debug)]
pub(crate) enum Route {
    Direct(direct::Target),
    Client,
}

impl Route {
    pub(crate) fn of(config: &Config) -> Self {
        if config.uses_tls() || config.credential_provider.is_some() {
            return Self::Client;
        }
        let place = match &config.server {
            ServerConfig::Centralized { server } => {
                direct::Place::Tcp { host: server.host.to_string(), port: server.port }
            }
            ServerConfig::Unix { path } => direct::Place::Unix(path.clone()),
            _ => return Self::Client,
        };
        Self::Direct(direct::Target {
            place,
            username: config.username.clone(),
            password: config.password.clone(),
        })
    }
}

/// Reads the address of Redis.
pub(crate) fn read_url(url: &str) -> Result<Config, ConnectError> {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default();
    // fred takes every scheme that it does not know for `redis`, and without its TLS it only warns.
    let (base, kind) = scheme.split_at(scheme.find(['-', '+']).unwrap_or(scheme.len()));
    let tls = matches!(base, "rediss" | "valkeys");
    if !(tls || matches!(base, "redis" | "valkey"))
        || !matches!(kind, "" | "-cluster" | "-sentinel" | "+unix")
    {
        return Err(ConnectError::Config(format!(
            "the address has to begin with redis://, rediss://, redis+unix://, redis-cluster:// or \
             redis-sentinel://{}",
            // Not the address itself, which may hold a password.
            if scheme.is_empty() {
                "; it names no scheme".into()
            } else {
                format!(", not with \"{scheme}://\"")
            }
        )));
    }
    let config = Config::from_url(url)
        .map_err(|error| ConnectError::Config(format!("address of redis: {}", error.details())))?;
    if tls && !config.uses_tls() {
        return Err(ConnectError::Config(
            "this program was built without TLS: build it with the feature `rustls` or `native-tls` of sio-emitter"
                .to_owned(),
        ));
    }
    Ok(config)
}

/// Settles what is left when the task ends, however it ends, so that nobody waits for it in vain.
pub(crate) struct Writer(pub(crate) Arc<Queue>);

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Gives up messages whose time is over, while there is no connection. Ends when the queue is closed and nothing
/// is left in it.
async fn expire(queue: &Queue) {
    loop {
        match queue.expire() {
            Some(next) => sleep_until(next).await,
            None => {
                if !poll_fn(|context| queue.poll_filled(context)).await {
                    return;
                }
            }
        }
    }
}

/// Notes that there is no connection.
fn lost(queue: &Queue, reason: &str) {
    if queue.set_away(Some(reason.to_owned())) {
        tracing::warn!(reason, "the connection to redis is lost; messages wait in the queue");
    } else {
        tracing::debug!(reason, "redis is still away");
    }
}

/// Notes that there is a connection again.
fn restored(queue: &Queue) {
    if queue.set_away(None) {
        tracing::info!("the connection to redis is restored");
    }
}

/// How long to wait before trying to connect again: twice as long each time, and never quite the same for any two
/// processes, which would all come at once otherwise.
fn back_off(attempt: u32) -> Duration {
    let delay = FIRST_DELAY.saturating_mul(1 << attempt.min(10)).min(LAST_DELAY);
    // The keys of hash maps are the random numbers that the standard library has.
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), attempt);
    delay.mul_f64(0.5 + (random % 1024) as f64 / 2048.0)
}

const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_gets_a_connection_of_its_own() {
        let direct = |url: &str| match Route::of(&read_url(url).unwrap()) {
            Route::Direct(target) => Some((target.place.to_string(), target.username, target.password)),
            Route::Client => None,
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(direct("redis://example.org"), Some(("example.org:6379".into(), None, None)));
        assert_eq!(
            direct("redis://:p%40ss@127.0.0.1:7000/3"),
            Some(("127.0.0.1:7000".into(), None, text("p@ss")))
        );
        assert_eq!(direct("valkey://u:p@[::1]:1"), Some(("[::1]:1".into(), text("u"), text("p"))));
        assert_eq!(direct("redis+unix:///run/redis.sock"), Some(("/run/redis.sock".into(), None, None)));
        assert_eq!(direct("redis-cluster://h:1?node=g:2"), None);
        assert_eq!(direct("redis-sentinel://h:1?sentinelServiceName=main"), None);
    }

    #[test]
    fn an_address_that_would_be_misread_is_refused() {
        for url in [
            "localhost:6379",
            "http://localhost",
            "",
            "redis-stream://h",
            "redis-unix:///x",
            "redis+cluster://h",
            "mredis://h",
            "redis://",
            "redis:h",
        ] {
            assert!(matches!(read_url(url), Err(ConnectError::Config(_))), "{url}");
        }
    }

    #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
    #[test]
    fn a_password_is_never_sent_in_the_clear_where_tls_was_asked_for() {
        for url in ["rediss://:secret@h", "valkeys://h", "rediss-cluster://h:1", "REDISS://h"] {
            let error = read_url(url).unwrap_err().to_string();
            assert!(error.contains("without TLS") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn delays_grow_to_a_limit() {
        for attempt in 0..100 {
            let full = FIRST_DELAY.saturating_mul(1 << attempt.min(10)).min(LAST_DELAY);
            let delay = back_off(attempt);
            assert!(delay >= full / 2 && delay <= full, "{attempt}: {delay:?}");
        }
    }
}
