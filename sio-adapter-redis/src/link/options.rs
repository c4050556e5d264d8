//! Where Redis is, and how the link behaves towards it.

use std::{fmt, sync::Weak, time::Duration};

use fred::{clients::Client, interfaces::ClientLike, types::config::Config};

use super::{ConnectError, Receiver, Space};

/// How a link is opened. All fields have defaults ([`LinkOptions::new`]).
pub(crate) struct LinkOptions {
    /// Where Redis is.
    pub(crate) target: RedisTarget,
    /// Who gets the messages and hears of transitions. When it is gone, messages are dropped.
    pub(crate) receiver: Weak<dyn Receiver>,
    /// How long `open` tries before it gives up. Default: 5 s.
    pub(crate) connect_timeout: Duration,
    /// Whether `open` gives a link that is down, instead of an error, when Redis cannot be reached. Default: no.
    /// Wrong credentials and a wrong configuration are errors in any case.
    pub(crate) start_without_redis: bool,
    /// Bytes that may wait to be published, those that Redis has not yet confirmed included. This is also the worst-
    /// case memory. Default: 64 MiB.
    pub(crate) max_queued_bytes: usize,
    /// Bytes that are read ahead of a receiver that is slower than Redis, and the largest message. This is also the
    /// worst-case memory, for each subscribing connection. Beyond it Redis buffers (32 MB by default), beyond that it
    /// closes the connection ([`LostReason::Overrun`](super::LostReason)). Default: 64 MiB.
    pub(crate) max_read_ahead: usize,
    /// How long nothing may come before a probe is sent. Default: 10 s.
    pub(crate) probe_interval: Duration,
    /// How long an answer, a confirmation or a probe may take while nothing else comes. Default: 5 s.
    pub(crate) answer_timeout: Duration,
    /// The first and the longest pause between attempts to connect. It doubles from the one to the other, and a random
    /// part of up to a half is taken off. Default: 50 ms, 5 s.
    pub(crate) backoff: (Duration, Duration),
    /// How long `close` waits for what is queued. Default: 2 s.
    pub(crate) close_timeout: Duration,
    /// What the names of probe channels begin with. It must match no pattern that a peer subscribes to. Default:
    /// `socket.io-probe#`.
    pub(crate) probe_prefix: String,
    /// Which kind of subscription is probed: the kind that is used. Default: classic.
    pub(crate) space: Space,
}

impl LinkOptions {
    pub(crate) fn new(target: impl Into<RedisTarget>, receiver: Weak<dyn Receiver>) -> Self {
        Self {
            target: target.into(),
            receiver,
            connect_timeout: Duration::from_secs(5),
            start_without_redis: false,
            max_queued_bytes: 64 << 20,
            max_read_ahead: 64 << 20,
            probe_interval: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(5),
            backoff: (Duration::from_millis(50), Duration::from_secs(5)),
            close_timeout: Duration::from_secs(2),
            probe_prefix: "socket.io-probe#".to_owned(),
            space: Space::Classic,
        }
    }
}

/// Where Redis is: a URL, a configuration of fred, or a client of fred.
///
/// URLs are those of fred: `redis://[[user:]password@]host[:port]`, `rediss://` with TLS (cargo feature `tls`),
/// `redis-cluster://host:port?node=host2:port2`, `redis-sentinel://host:port?sentinelServiceName=name&node=host2:port2`.
/// The number of a database has no meaning for publish/subscribe.
///
/// Of a client only the configuration is used: what is subscribed must stay on connections that nobody else closes or
/// subscribes, and peers count the subscriptions.
#[derive(Clone)]
#[non_exhaustive]
pub enum RedisTarget {
    /// A client of fred, whose configuration is taken.
    Client(Client),
    /// A configuration of fred.
    Config(Box<Config>),
    /// A URL.
    Url(String),
}

impl RedisTarget {
    /// Returns the configuration that the target stands for.
    pub(super) fn config(&self) -> Result<Config, ConnectError> {
        match self {
            Self::Client(client) => Ok(client.client_config()),
            Self::Config(config) => Ok(Config::clone(config)),
            Self::Url(url) => from_url(url).map_err(ConnectError::Config),
        }
    }
}

/// Reads a URL. The error never repeats it: it may hold a password.
fn from_url(url: &str) -> Result<Config, String> {
    // fred takes any scheme for one server without TLS.
    let scheme =
        url.split_once("://").map(|(scheme, _)| scheme).ok_or("it is no URL like redis://host:port")?;
    let (kind, topology) =
        scheme.split_once('-').map_or((scheme, None), |(kind, topology)| (kind, Some(topology)));
    let tls = match kind {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(format!("scheme {scheme}, it has to be redis, rediss, valkey or valkeys")),
    };
    if !matches!(topology, None | Some("cluster" | "sentinel")) {
        return Err(format!("scheme {scheme}, only -cluster and -sentinel may follow"));
    }
    let config = Config::from_url(url).map_err(|error| error.details().to_owned())?;
    // Without the feature fred would connect without TLS, and send the password in the clear.
    if tls && !config.uses_tls() {
        return Err("TLS needs the cargo feature `tls` of sio-adapter-redis".to_owned());
    }
    Ok(config)
}

impl fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL or a configuration may hold a password.
        f.write_str(match self {
            Self::Client(_) => "RedisTarget::Client",
            Self::Config(_) => "RedisTarget::Config",
            Self::Url(_) => "RedisTarget::Url",
        })
    }
}

impl From<&str> for RedisTarget {
    fn from(url: &str) -> Self {
        Self::Url(url.to_owned())
    }
}

impl From<String> for RedisTarget {
    fn from(url: String) -> Self {
        Self::Url(url)
    }
}

impl From<Config> for RedisTarget {
    fn from(config: Config) -> Self {
        Self::Config(Box::new(config))
    }
}

impl From<Client> for RedisTarget {
    fn from(client: Client) -> Self {
        Self::Client(client)
    }
}
