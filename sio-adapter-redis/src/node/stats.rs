//! What a node counts.

use std::sync::atomic::{AtomicU64, Ordering};

use sio_protocol::cluster::ClusterError;

/// Counters that all namespaces of an adapter share. Relaxed: they are for people to look at.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Messages that are no messages of the dialect.
    pub(crate) malformed: AtomicU64,
    /// Messages for rooms that nobody on this node is in, for other namespaces, or of unknown requests.
    pub(crate) unconcerned: AtomicU64,
    /// Messages that came back to the node that sent them.
    pub(crate) own: AtomicU64,
    /// Requests that ended without the answers of all nodes.
    pub(crate) incomplete: AtomicU64,
    /// Requests that were not made because too many were pending.
    pub(crate) refused_requests: AtomicU64,
    /// Questions of other nodes whose answers were not passed on because too many were open.
    pub(crate) refused_questions: AtomicU64,
}

impl Counters {
    /// Notes a message that makes no sense. The first is told to the operator, the others to who looks for them: a
    /// peer that sends one often sends many.
    pub(super) fn malformed(&self, nsp: &str, error: &ClusterError) {
        if self.malformed.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(nsp, %error, "dropped a malformed message from Redis; further ones are only counted");
        } else {
            tracing::debug!(nsp, %error, "dropped a malformed message from Redis");
        }
    }
}

pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
