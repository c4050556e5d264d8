//! The sessions of a server by id: 9 bytes a session beside the session itself.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::Connection;
use crate::id::SessionId;
use crate::sync::Lock;

/// All open sessions, in shards so that handshakes on many threads do not wait for each other.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [Mutex<HashTable<Arc<Connection>>>; SHARDS],
    hasher: DefaultHashBuilder,
    count: AtomicUsize,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { shards: Default::default(), hasher: DefaultHashBuilder::default(), count: AtomicUsize::new(0) }
    }

    /// Enters a session; `None` when there are `max` already.
    pub(crate) fn insert(&self, connection: &Arc<Connection>, max: usize) -> Option<()> {
        if self.count.fetch_add(1, Ordering::Relaxed) >= max {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let hash = self.hash(connection.id().prefix());
        let rehash = |c: &Arc<Connection>| self.hash(c.id().prefix());
        self.shard(hash).locked().insert_unique(hash, Arc::clone(connection), rehash);
        Some(())
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<Arc<Connection>> {
        let hash = self.hash(id.prefix());
        self.shard(hash).locked().find(hash, |c| c.id() == id).cloned()
    }

    /// The session whose id begins like this.
    pub(crate) fn get_by_prefix(&self, prefix: u64) -> Option<Arc<Connection>> {
        let hash = self.hash(prefix);
        self.shard(hash).locked().find(hash, |c| c.id().prefix() == prefix).cloned()
    }

    /// Removes a session, if it is still there.
    pub(crate) fn remove(&self, id: &SessionId) {
        let hash = self.hash(id.prefix());
        let removed = {
            let mut shard = self.shard(hash).locked();
            shard.find_entry(hash, |c| c.id() == id).ok().map(|entry| entry.remove().0)
        };
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many sessions are open. Node: `io.engine.clientsCount`.
    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// All sessions at this moment.
    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.shards.iter().flat_map(|shard| shard.locked().iter().cloned().collect::<Vec<_>>()).collect()
    }

    fn hash(&self, prefix: u64) -> u64 {
        self.hasher.hash_one(prefix)
    }

    fn shard(&self, hash: u64) -> &Mutex<HashTable<Arc<Connection>>> {
        // The table itself uses the low bits and the top seven.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

const SHARDS: usize = 16;
