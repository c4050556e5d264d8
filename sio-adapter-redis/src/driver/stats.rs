//! Counters of an adapter.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::link::Stats as LinkStats;
use crate::node::Counters;

/// What an adapter has done since it was connected, all namespaces together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What passed between this process and Redis.
    pub link: LinkStats,
    /// Received messages that came back to the node that sent them.
    pub own: u64,
    /// Received messages that were of no interest: for rooms nobody here is in, for other namespaces, answers that
    /// nobody waits for any more.
    pub unconcerned: u64,
    /// Received messages that make no sense. They are dropped.
    pub malformed: u64,
    /// Requests to other nodes that ended without the answers of all.
    pub incomplete: u64,
    /// Requests that were not made, because as many as `max_requests` were open.
    pub refused_requests: u64,
    /// Broadcasts of other nodes whose acknowledgements were not passed on, because as many as `max_questions` were
    /// open.
    pub refused_questions: u64,
}

impl Stats {
    pub(super) fn new(link: LinkStats, counters: &Counters) -> Self {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            link,
            own: read(&counters.own),
            unconcerned: read(&counters.unconcerned),
            malformed: read(&counters.malformed),
            incomplete: read(&counters.incomplete),
            refused_requests: read(&counters.refused_requests),
            refused_questions: read(&counters.refused_questions),
        }
    }
}
