//! What the lives of the two kinds of connections have in common: attempts, pauses between them, and reports.

use std::sync::Arc;

use fred::types::config::Server;
use tokio::time::{Instant, sleep, timeout};

use super::{
    backoff::Backoff,
    discover,
    event::LostReason,
    shared::{ConnectionId, Report, Shared},
    stats::add,
    wire::{Failure, Wire},
};

/// One connection through all its lives.
pub(super) struct Life {
    pub(super) id: ConnectionId,
    pub(super) shared: Arc<Shared>,
    /// None: the only server, wherever it is at present.
    node: Option<Server>,
    backoff: Backoff,
    /// Where the present or last connection leads.
    server: String,
    /// What Redis called the last connection, which it may still hold open.
    last: Option<i64>,
    since: Instant,
}

impl Life {
    pub(super) fn new(id: ConnectionId, shared: Arc<Shared>, node: Option<Server>) -> Self {
        let backoff = Backoff::new(shared.options.backoff);
        Self { id, shared, node, backoff, server: String::new(), last: None, since: Instant::now() }
    }

    /// Connects and lets `prepare` do what belongs to it, within one time limit. Nothing when the link is being closed,
    /// or when it failed and the pause after that is over.
    pub(super) async fn attempt(
        &mut self,
        prepare: impl AsyncFnOnce(&mut Wire, &Server) -> Result<(), Failure>,
    ) -> Option<Wire> {
        let shared = Arc::clone(&self.shared);
        let limit = shared.options.connect_timeout;
        let attempt = tokio::select! {
            attempt = timeout(limit, self.connect(prepare)) => attempt,
            () = shared.closing() => return None,
        };
        let failure = match attempt {
            Ok(Ok(wire)) => {
                self.since = Instant::now();
                add(&shared.counters.connects, 1);
                self.report(Report::Up(self.id)).await;
                return Some(wire);
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Temporary(format!("no answer within {limit:?}")),
        };
        add(&shared.counters.failed_connects, 1);
        let (attempt, retry_in) = self.backoff.fail();
        let (id, server) = (self.id, self.server.clone());
        self.report(Report::Failed { id, server, attempt, failure, retry_in }).await;
        self.pause(retry_in).await;
        None
    }

    async fn connect(
        &mut self,
        prepare: impl AsyncFnOnce(&mut Wire, &Server) -> Result<(), Failure>,
    ) -> Result<Wire, Failure> {
        let shared = &*self.shared;
        let server = match &self.node {
            Some(server) => server.clone(),
            None => {
                self.server = describe(&shared.config);
                discover::primary(&shared.config, shared.options.connect_timeout).await?
            }
        };
        self.server = server.to_string();
        let name = format!("{}-{}-{}", shared.name, self.id.kind, self.id.number);
        let mut wire = Wire::connect(&shared.config, &server, &name, shared.options.max_read_ahead).await?;
        // Before anything is subscribed: a subscription on two connections at once would be counted twice.
        if let Some(last) = self.last
            && wire.retire(last, &name).await.map_err(|reason| Failure::Temporary(reason.to_string()))?
        {
            add(&shared.counters.killed, 1);
        }
        self.last = Some(wire.id);
        prepare(&mut wire, &server).await?;
        Ok(wire)
    }

    /// Reports the end of a connection and waits a moment.
    pub(super) async fn lost(&mut self, reason: LostReason) {
        let counters = &self.shared.counters;
        add(&counters.lost, 1);
        match reason {
            LostReason::Overrun => add(&counters.overruns, 1),
            LostReason::ProbeLost { .. } => add(&counters.lost_probes, 1),
            _ => {}
        }
        // One that breaks as soon as it stands is a failure as well.
        if self.since.elapsed() > self.shared.options.backoff.1 {
            self.backoff.reset();
        }
        let (id, server) = (self.id, self.server.clone());
        self.report(Report::Lost { id, server, reason }).await;
        let (_, pause) = self.backoff.fail();
        self.pause(pause).await;
    }

    pub(super) async fn report(&self, report: Report) {
        // An error would mean that the supervisor is gone, and this task with it.
        let _ = self.shared.reports.send(report).await;
    }

    async fn pause(&self, pause: std::time::Duration) {
        tokio::select! {
            () = sleep(pause) => {}
            () = self.shared.closing() => {}
        }
    }
}

/// Names what a configuration leads to.
pub(super) fn describe(config: &fred::types::config::Config) -> String {
    let servers: Vec<_> = config.server.hosts().iter().map(ToString::to_string).collect();
    servers.join(", ")
}
