//! Finds out which server to talk to, with fred: the only one, the master that the sentinels name, or the masters of a
//! cluster with their slots.
//!
//! A client of fred lives for the time of one question. Between questions nothing of it is left: no task, no connection.

use std::time::Duration;

use fred::{
    clients::Client,
    interfaces::{ClientLike, ClusterInterface},
    types::{
        Builder,
        cluster::ClusterRouting,
        config::{ClusterDiscoveryPolicy, Config, Server, ServerConfig},
    },
};
use tokio::task::JoinHandle;

use super::{error::ConnectError, wire::Failure};

/// Finds the one server of a configuration that is no cluster's.
pub(super) async fn primary(config: &Config, timeout: Duration) -> Result<Server, Failure> {
    if config.server.is_sentinel() {
        let guest = Guest::connect(config, timeout).await?;
        let found = guest.client.active_connections().into_iter().next();
        guest.leave().await;
        return found.ok_or_else(|| Failure::Temporary("the sentinels name no master".to_owned()));
    }
    if !config.server.is_centralized() {
        let error = "only TCP is supported, to one server, to a cluster, or through sentinels".to_owned();
        return Err(Failure::Permanent(ConnectError::Config(error)));
    }
    let server = config.server.hosts().into_iter().next();
    server.ok_or_else(|| Failure::Permanent(ConnectError::Config("no host is named".to_owned())))
}

/// Finds the masters of a cluster and who is responsible for what. Asks those that were known last as well: those that
/// are configured may be gone by now.
pub(super) async fn cluster(
    config: &Config,
    known: Vec<Server>,
    timeout: Duration,
) -> Result<ClusterRouting, Failure> {
    let hosts = [config.server.hosts(), known].concat();
    let server = ServerConfig::Clustered { hosts, policy: ClusterDiscoveryPolicy::default() };
    let guest = Guest::connect(&Config { server, ..config.clone() }, timeout).await?;
    let routing = guest.client.cached_cluster_state();
    guest.leave().await;
    match routing {
        Some(routing) if routing.len() > 0 => Ok(routing),
        _ => Err(Failure::Temporary("the cluster has no masters".to_owned())),
    }
}

/// A client that is ended when it goes, also in the middle of connecting.
struct Guest {
    client: Client,
    task: JoinHandle<Result<(), fred::error::Error>>,
}

impl Guest {
    async fn connect(config: &Config, timeout: Duration) -> Result<Self, Failure> {
        let config = Config { fail_fast: true, ..config.clone() };
        let servers = config.server.hosts().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let client = Builder::from_config(config)
            .with_connection_config(|connection| {
                // One that does not answer must not use up the time for the others.
                connection.connection_timeout = timeout / 3;
                connection.internal_command_timeout = timeout;
            })
            .build()
            .map_err(|error| Failure::Permanent(ConnectError::Config(error.details().to_owned())))?;
        let task = client.connect();
        let guest = Self { client, task };
        match tokio::time::timeout(timeout, guest.client.wait_for_connect()).await {
            Ok(Ok(())) => Ok(guest),
            Ok(Err(error)) => Err(sorted(&servers, &error)),
            Err(_) => Err(Failure::Temporary(format!("no answer within {timeout:?}"))),
        }
    }

    /// Says goodbye, so that the server need not find out.
    async fn leave(self) {
        // It was asked a moment ago; whether the goodbye arrives does not matter.
        let _ = tokio::time::timeout(Duration::from_millis(500), self.client.quit()).await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn sorted(servers: &str, error: &fred::error::Error) -> Failure {
    use fred::error::ErrorKind;
    let (server, text) = (servers.to_owned(), error.details().to_owned());
    match error.kind() {
        ErrorKind::Auth => Failure::Permanent(ConnectError::Denied { server, error: text }),
        ErrorKind::Config | ErrorKind::Url => Failure::Permanent(ConnectError::Config(text)),
        _ => Failure::Temporary(error.to_string()),
    }
}
