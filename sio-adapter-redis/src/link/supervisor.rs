//! The task that holds the others: knows which connections stand, tells the receiver, and follows a cluster's changes.
//!
//! Everything that the receiver hears of comes from here, one thing after the other. When this task is dropped, all
//! others are.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fred::types::{cluster::ClusterRouting, config::Server};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{
    RedisConnection, RedisEvent,
    backoff::Backoff,
    discover,
    life::describe,
    port::Port,
    publisher::Publisher,
    queue::Lane,
    shared::{ConnectionId, Directory, Node, Phase, Report, Shared},
    stats::add,
    subscriber::Subscriber,
    wire::Failure,
};

/// The state behind the task.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    reports: mpsc::Receiver<Report>,
    tasks: JoinSet<()>,
    /// Which connections stand.
    standing: HashMap<ConnectionId, bool>,
    /// The connections of each server of a cluster.
    servers: HashMap<Server, (u64, [AbortHandle; 2])>,
    next_number: u64,
    /// Since when not everything stands that has stood.
    down_since: Option<Instant>,
    /// Whether everything has stood at the same time.
    complete: bool,
    /// When the cluster is to be looked at.
    look_at: Option<Instant>,
    looking: Option<Look>,
    backoff: Backoff,
}

/// The question who belongs to a cluster, being asked.
type Look = Pin<Box<dyn Future<Output = Result<ClusterRouting, Failure>> + Send>>;

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, reports: mpsc::Receiver<Report>) -> Self {
        let backoff = Backoff::new(shared.options.backoff);
        let mut this = Self {
            shared,
            reports,
            tasks: JoinSet::new(),
            standing: HashMap::new(),
            servers: HashMap::new(),
            next_number: 0,
            down_since: None,
            complete: false,
            look_at: None,
            looking: None,
            backoff,
        };
        // One node stands in for a cluster until its servers are known: what is published and subscribed waits there.
        let (lane, port) = (Arc::new(Lane::default()), Arc::new(Port::new()));
        let node = Node { server: None, lane, port };
        this.shared.directory_mut().nodes = vec![node.clone()];
        if this.shared.is_cluster() {
            this.look_at = Some(Instant::now());
        } else {
            this.spawn(&node);
        }
        this
    }

    /// Runs until the link is closed.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        loop {
            let look_at = self.look_at.filter(|_| self.looking.is_none());
            tokio::select! {
                Some(report) = self.reports.recv() => self.handle(report),
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => {
                    self.look_at = None;
                    let shared = Arc::clone(&shared);
                    self.looking = Some(Box::pin(look(shared)));
                }
                found = async {
                    match &mut self.looking {
                        Some(looking) => looking.await,
                        None => pending().await,
                    }
                } => {
                    self.looking = None;
                    self.handle_found(found);
                }
                () = shared.closing() => break,
            }
        }
        self.close().await;
    }

    fn handle(&mut self, report: Report) {
        match report {
            Report::Up(id) => {
                // A connection that belongs to a server no longer there may still report.
                if let Some(stands) = self.standing.get_mut(&id) {
                    *stands = true;
                    self.check();
                }
            }
            Report::Lost { id, server, reason } => {
                if let Some(stands) = self.standing.get_mut(&id) {
                    *stands = false;
                    self.down_since.get_or_insert_with(Instant::now);
                    self.look_soon();
                    self.tell(&RedisEvent::Lost { connection: id.kind, server, reason });
                }
            }
            Report::Failed { id, server, attempt, failure, retry_in } => {
                if self.standing.contains_key(&id) {
                    self.look_soon();
                    self.failed(id.kind, server, attempt, failure, retry_in);
                }
            }
            Report::Event(event) => self.tell(&event),
            Report::Astray => self.look_soon(),
        }
    }

    fn failed(
        &self,
        connection: RedisConnection,
        server: String,
        attempt: u32,
        failure: Failure,
        retry_in: Duration,
    ) {
        let error = match &failure {
            Failure::Permanent(error) => error.to_string(),
            Failure::Temporary(error) => error.clone(),
        };
        if !self.complete {
            self.set_phase(match failure {
                Failure::Permanent(error) => Phase::Unusable(error),
                Failure::Temporary(error) => Phase::Starting(Some((server.clone(), error))),
            });
        }
        self.tell(&RedisEvent::RetryFailed { connection, server, attempt, error, retry_in });
    }

    /// Tells when everything stands.
    fn check(&mut self) {
        if self.standing.is_empty() || self.standing.values().any(|stands| !stands) {
            return;
        }
        let subscriptions = self.shared.directory().nodes.iter().map(|node| node.port.len()).sum();
        if !self.complete {
            self.complete = true;
            self.down_since = None;
            self.set_phase(Phase::Running);
            self.tell(&RedisEvent::Connected { subscriptions });
        } else if let Some(since) = self.down_since.take() {
            add(&self.shared.counters.restored, 1);
            let (after, queued) = (since.elapsed(), self.shared.budget.used());
            self.tell(&RedisEvent::Restored { after, subscriptions, queued });
        }
    }

    fn tell(&self, event: &RedisEvent) {
        // The other transitions are counted where they happen.
        let counters = &self.shared.counters;
        match event {
            RedisEvent::Connected { .. } => add(&counters.connected, 1),
            RedisEvent::TopologyChanged { .. } => add(&counters.topology_changes, 1),
            RedisEvent::Closed { .. } => add(&counters.closed, 1),
            _ => {}
        }
        match event {
            RedisEvent::Connected { .. }
            | RedisEvent::Restored { .. }
            | RedisEvent::QueueDrained { .. }
            | RedisEvent::TopologyChanged { .. }
            | RedisEvent::Closed { undelivered: 0 } => tracing::info!(?event, "Redis"),
            _ => tracing::warn!(?event, "Redis"),
        }
        let Some(receiver) = self.shared.receiver() else { return };
        if catch_unwind(AssertUnwindSafe(|| receiver.changed(event))).is_err() {
            add(&self.shared.counters.panics, 1);
            tracing::error!(?event, "a listener panicked");
        }
    }

    fn set_phase(&self, next: Phase) {
        self.shared.phase.send_if_modified(|phase| {
            let open = !matches!(phase, Phase::Closing | Phase::Closed);
            if open {
                *phase = next;
            }
            open
        });
    }

    /// Starts the two tasks of a node.
    fn spawn(&mut self, node: &Node) {
        let number = self.next_number;
        self.next_number += 1;
        let publisher = Publisher::new(number, Arc::clone(&self.shared), node);
        let subscriber = Subscriber::new(number, Arc::clone(&self.shared), node);
        let handles = [self.tasks.spawn(publisher.run()), self.tasks.spawn(subscriber.run())];
        for kind in [RedisConnection::Publisher, RedisConnection::Subscriber] {
            self.standing.insert(ConnectionId { kind, number }, false);
        }
        if let Some(server) = &node.server {
            self.servers.insert(server.clone(), (number, handles));
        }
    }

    /// Has a cluster looked at, but not all the time.
    fn look_soon(&mut self) {
        if self.shared.is_cluster() && self.looking.is_none() {
            self.look_at.get_or_insert(Instant::now() + LOOK_PAUSE);
        }
    }

    fn handle_found(&mut self, found: Result<ClusterRouting, Failure>) {
        match found {
            Ok(routing) => {
                self.backoff.reset();
                self.follow(routing);
            }
            Err(failure) => {
                let (attempt, retry_in) = self.backoff.fail();
                self.look_at = Some(Instant::now() + retry_in);
                let server = describe(&self.shared.config);
                add(&self.shared.counters.failed_connects, 1);
                self.failed(RedisConnection::Discovery, server, attempt, failure, retry_in);
            }
        }
    }

    /// Makes the connections those of the cluster as it is now, and moves what waits to where it belongs.
    fn follow(&mut self, routing: ClusterRouting) {
        let shared = Arc::clone(&self.shared);
        let servers = routing.unique_primary_nodes();
        let mut directory = shared.directory_mut();
        let old = std::mem::take(&mut directory.nodes);
        // Servers that stay keep their place: the first one has what is classic.
        let stays = |node: &&Node| node.server.as_ref().is_some_and(|server| servers.contains(server));
        let mut nodes: Vec<Node> = old.iter().filter(stays).cloned().collect();
        let mut new = Vec::new();
        for server in &servers {
            if nodes.iter().all(|node| node.server.as_ref() != Some(server)) {
                let (lane, port) = (Arc::new(Lane::default()), Arc::new(Port::new()));
                new.push(Node { server: Some(server.clone()), lane, port });
            }
        }
        nodes.extend(new.iter().cloned());
        let mut owners = vec![0; SLOTS].into_boxed_slice();
        for range in routing.slots() {
            let index =
                nodes.iter().position(|node| node.server.as_ref() == Some(&range.primary)).unwrap_or(0);
            for owner in owners.iter_mut().take(usize::from(range.end) + 1).skip(usize::from(range.start)) {
                *owner = u16::try_from(index).unwrap_or(0);
            }
        }
        let generation = directory.generation + 1;
        *directory = Directory { generation, nodes, routing: Some(routing), owners };
        // Nobody publishes or subscribes meanwhile: they would have to read the directory. A channel's messages were all
        // in one queue, so that they stay in order.
        let entries: Vec<_> = old.iter().flat_map(|node| node.lane.drain()).collect();
        let mut dropped = 0;
        for entry in entries {
            let cost = entry.cost();
            let lane = directory.lane(entry.slot);
            if lane.is_none_or(|lane| lane.push(entry).is_err()) {
                dropped += 1;
                self.shared.done(cost);
            }
        }
        add(&self.shared.counters.dropped, dropped);
        for node in &old {
            let elsewhere =
                |topic: &_| directory.port(topic).is_some_and(|port| !Arc::ptr_eq(port, &node.port));
            for topic in node.port.split_off(|topic| !elsewhere(topic)) {
                if let Some(port) = directory.port(&topic) {
                    port.set(topic, true);
                }
            }
            if directory.nodes.iter().all(|present| !Arc::ptr_eq(&present.port, &node.port)) {
                node.port.retire();
            }
        }
        for node in &directory.nodes {
            node.port.touch_all();
            node.lane.release();
        }
        drop(directory);
        let present: HashSet<_> = servers.iter().cloned().collect();
        let gone: Vec<_> = self.servers.keys().filter(|server| !present.contains(*server)).cloned().collect();
        for server in &gone {
            if let Some((number, handles)) = self.servers.remove(server) {
                self.standing.retain(|id, _| id.number != number);
                handles.iter().for_each(AbortHandle::abort);
            }
        }
        for node in &new {
            self.spawn(node);
        }
        if self.complete && (!new.is_empty() || !gone.is_empty()) {
            self.down_since.get_or_insert_with(Instant::now);
            self.tell(&RedisEvent::TopologyChanged {
                servers: servers.iter().map(ToString::to_string).collect(),
            });
            self.check();
        }
    }

    /// Lets the tasks finish, for a while, and ends them.
    async fn close(&mut self) {
        let counters = &self.shared.counters;
        let before = counters.unconfirmed.load(Relaxed);
        let lanes: Vec<_> = self.shared.directory().nodes.iter().map(|node| Arc::clone(&node.lane)).collect();
        lanes.iter().for_each(|lane| lane.close());
        let finish = async {
            loop {
                tokio::select! {
                    // Nobody must be kept waiting by a report that is not taken.
                    Some(_) = self.reports.recv() => {}
                    done = self.tasks.join_next() => if done.is_none() { break },
                }
            }
        };
        if timeout(self.shared.options.close_timeout, finish).await.is_err() {
            self.tasks.shutdown().await;
        }
        let dropped: usize = lanes.iter().map(|lane| lane.drain().len()).sum();
        add(&self.shared.counters.dropped, dropped as u64);
        let unconfirmed = self.shared.counters.unconfirmed.load(Relaxed) - before;
        self.tell(&RedisEvent::Closed { undelivered: dropped as u64 + unconfirmed });
    }
}

/// Finds out who belongs to a cluster, and lets what is under way arrive before anything is moved: else it might come back
/// to a queue after what was published later has gone out by another.
async fn look(shared: Arc<Shared>) -> Result<ClusterRouting, Failure> {
    let known: Vec<_> = shared.directory().nodes.iter().filter_map(|node| node.server.clone()).collect();
    let routing = discover::cluster(&shared.config, known, shared.options.connect_timeout).await?;
    let lanes: Vec<_> = shared.directory().nodes.iter().map(|node| Arc::clone(&node.lane)).collect();
    lanes.iter().for_each(|lane| lane.hold());
    let rested = async {
        for lane in &lanes {
            lane.rested().await;
        }
    };
    // A connection without answers is given up after this time, and has nothing under way then.
    let _ = timeout(shared.options.answer_timeout, rested).await;
    Ok(routing)
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        for node in &self.shared.directory().nodes {
            node.lane.close();
        }
        // Whoever waits for the end must not wait for ever, also when the runtime has gone away.
        self.shared.phase.send_replace(Phase::Closed);
    }
}

/// How long at least lies between two looks at a cluster, while something is wrong with it.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

const SLOTS: usize = 16384;
