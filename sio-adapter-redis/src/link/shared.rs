//! What the tasks of a link and its handles share: options, counters, and who is responsible for which channel.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use bytes::Bytes;
use fred::types::{
    cluster::ClusterRouting,
    config::{Config, Server},
};
use tokio::sync::{mpsc, watch};

use super::{
    ConnectError, LinkOptions, PublishError, Receiver, RedisConnection, RedisEvent, Space, Topic,
    backoff::random,
    event::LostReason,
    port::Port,
    queue::{Budget, Entry, Lane},
    stats::{Counters, add},
    wire::Failure,
};

/// Shared by the handles of a link and its tasks.
pub(super) struct Shared {
    pub(super) config: Config,
    pub(super) options: LinkOptions,
    /// What our connections are called in `CLIENT LIST`, with what they are for appended. No other link has it.
    pub(super) name: String,
    pub(super) counters: Counters,
    pub(super) budget: Budget,
    directory: RwLock<Directory>,
    /// To the supervisor.
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) phase: watch::Sender<Phase>,
}

/// Where a link stands.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// Never stood yet; how the last attempt failed.
    Starting(Option<(String, String)>),
    /// Cannot be used, and trying again does not help.
    Unusable(ConnectError),
    /// Stood at least once.
    Running,
    /// Is being closed: what is queued still goes out.
    Closing,
    /// Has no task any more.
    Closed,
}

/// What a connection tells the supervisor.
#[derive(Debug)]
pub(super) enum Report {
    /// A connection stands; a subscribing one is proven.
    Up(ConnectionId),
    Lost {
        id: ConnectionId,
        server: String,
        reason: LostReason,
    },
    Failed {
        id: ConnectionId,
        server: String,
        attempt: u32,
        failure: Failure,
        retry_in: std::time::Duration,
    },
    /// Something for the receiver.
    Event(RedisEvent),
    /// A server of the cluster says that it is not responsible.
    Astray,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ConnectionId {
    pub(super) kind: RedisConnection,
    pub(super) number: u64,
}

/// Which connections there are: one pair, or one pair per master of a cluster.
#[derive(Default)]
pub(super) struct Directory {
    /// How often it has changed.
    pub(super) generation: u64,
    pub(super) nodes: Vec<Node>,
    /// The slots of a cluster, each with its index in `nodes`.
    pub(super) routing: Option<ClusterRouting>,
    pub(super) owners: Box<[u16]>,
}

/// One server.
#[derive(Clone)]
pub(super) struct Node {
    /// None: the only server, wherever it is at present.
    pub(super) server: Option<Server>,
    pub(super) lane: Arc<Lane>,
    pub(super) port: Arc<Port>,
}

impl Directory {
    /// Finds the index of the node for a slot. What is classic has none and belongs to the first node: a cluster passes
    /// it on.
    fn index(&self, slot: Option<u16>) -> usize {
        slot.and_then(|slot| self.owners.get(usize::from(slot))).map_or(0, |index| usize::from(*index))
    }

    pub(super) fn lane(&self, slot: Option<u16>) -> Option<&Lane> {
        self.nodes.get(self.index(slot)).map(|node| &*node.lane)
    }

    pub(super) fn port(&self, topic: &Topic) -> Option<&Arc<Port>> {
        let slot = match topic {
            Topic::Shard(name) if self.routing.is_some() => Some(ClusterRouting::hash_key(name.as_bytes())),
            _ => None,
        };
        self.nodes.get(self.index(slot)).map(|node| &node.port)
    }
}

impl Shared {
    pub(super) fn new(options: LinkOptions, reports: mpsc::Sender<Report>) -> Result<Self, ConnectError> {
        let config = options.target.config()?;
        let budget = Budget::new(options.max_queued_bytes);
        let (phase, _) = watch::channel(Phase::Starting(None));
        Ok(Self {
            config,
            name: format!("sio-{:016x}", random()),
            counters: Counters::default(),
            budget,
            directory: RwLock::default(),
            options,
            reports,
            phase,
        })
    }

    pub(super) fn directory(&self) -> RwLockReadGuard<'_, Directory> {
        // Nothing can panic while it is held.
        self.directory.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn directory_mut(&self) -> RwLockWriteGuard<'_, Directory> {
        self.directory.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.config.server.is_clustered()
    }

    pub(super) fn receiver(&self) -> Option<Arc<dyn Receiver>> {
        Weak::upgrade(&self.options.receiver)
    }

    pub(super) fn publish(&self, space: Space, channel: &str, message: Bytes) -> Result<(), PublishError> {
        // Held until the message is in its queue: what the supervisor moves to other queues has to be all there is.
        let directory = self.directory();
        let slot = self.slot(space, channel);
        let entry = Entry::new(space, slot, channel, message);
        let cost = entry.cost();
        if let Err((error, first)) = self.budget.take(cost, &self.counters) {
            drop(directory);
            if first && let PublishError::QueueFull { queued, limit, .. } = error {
                add(&self.counters.queue_full, 1);
                // If the supervisor has its hands full the counter tells.
                let _ = self.reports.try_send(Report::Event(RedisEvent::QueueFull { queued, limit }));
            }
            return Err(error);
        }
        let pushed = directory.lane(slot).map_or(Err(PublishError::Closed), |lane| lane.push(entry));
        match pushed {
            Ok(()) => add(&self.counters.published, 1),
            Err(_) => drop(self.budget.give_back(cost)),
        }
        pushed
    }

    /// Finds the slot of a channel, where slots matter.
    pub(super) fn slot(&self, space: Space, channel: &str) -> Option<u16> {
        (space == Space::Sharded && self.is_cluster()).then(|| ClusterRouting::hash_key(channel.as_bytes()))
    }

    /// Gives the bytes of messages back that wait no longer.
    pub(super) fn done(&self, cost: usize) {
        if let Some(refused) = self.budget.give_back(cost) {
            add(&self.counters.queue_drained, 1);
            let _ = self.reports.try_send(Report::Event(RedisEvent::QueueDrained { refused }));
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Closing | Phase::Closed)
    }

    /// Waits until the link is being closed.
    pub(super) async fn closing(&self) {
        let mut phase = self.phase.subscribe();
        // An error would mean that `self` is gone.
        let _ = phase.wait_for(|phase| matches!(phase, Phase::Closing | Phase::Closed)).await;
    }
}
