//! When queues are written: at the end of the batch that filled them, or by the flusher.
//!
//! A connection that gets its first packet becomes *dirty*. While a thread handles a read batch (or any other
//! [`Batch`]) it collects the dirty connections and writes them all at the end, so that eight emits to a client
//! cost one system call. Emits from anywhere else go to the server's flusher tasks, which one wake-up a burst sets
//! going.

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};

use super::Connection;
use crate::sync::Lock;

thread_local! {
    static BATCH: RefCell<Collected> = const { RefCell::new(Collected { depth: 0, dirty: Vec::new() }) };
}

#[derive(Debug)]
struct Collected {
    depth: usize,
    dirty: Vec<Arc<Connection>>,
}

/// While it lives, connections that this thread makes dirty are collected; they are written when the outermost
/// batch ends.
#[derive(Debug)]
pub(crate) struct Batch(());

impl Batch {
    pub(crate) fn begin() -> Self {
        BATCH.with_borrow_mut(|batch| batch.depth += 1);
        Self(())
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        let mut dirty = BATCH.with_borrow_mut(|batch| {
            batch.depth -= 1;
            if batch.depth == 0 { std::mem::take(&mut batch.dirty) } else { Vec::new() }
        });
        if dirty.is_empty() {
            return;
        }
        if dirty.len() > INLINE_MAX {
            let flusher = Arc::clone(&dirty[0].server().flusher);
            flusher.share(&mut dirty);
        }
        for connection in dirty.drain(..) {
            connection.flush();
        }
        // The list's memory serves the next batch, unless a huge broadcast has blown it up.
        if dirty.capacity() <= KEEP_CAPACITY {
            BATCH.with_borrow_mut(|batch| {
                if batch.dirty.capacity() == 0 {
                    batch.dirty = dirty;
                }
            });
        }
    }
}

/// Has `connection` written soon: by the batch under way on this thread, or by the flusher.
pub(crate) fn schedule(connection: &Arc<Connection>) {
    let collected = BATCH.with_borrow_mut(|batch| {
        if batch.depth > 0 {
            batch.dirty.push(Arc::clone(connection));
        }
        batch.depth > 0
    });
    if !collected {
        connection.server().flusher.submit(Arc::clone(connection));
    }
}

/// The tasks that write what no batch writes: one per worker thread of the runtime.
#[derive(Debug, Default)]
pub(crate) struct Flusher {
    shards: Vec<Shard>,
    next: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    state: Mutex<ShardState>,
}

#[derive(Debug, Default)]
struct ShardState {
    dirty: Vec<Arc<Connection>>,
    waker: Option<Waker>,
    closed: bool,
}

impl Flusher {
    pub(crate) fn new(shards: usize) -> Self {
        Self { shards: (0..shards.max(1)).map(|_| Shard::default()).collect(), next: AtomicUsize::new(0) }
    }

    /// Starts the tasks on the current runtime. They end with [`close`](Self::close) or with the flusher.
    pub(crate) fn spawn(self: &Arc<Self>) {
        for index in 0..self.shards.len() {
            tokio::spawn(run(Arc::downgrade(self), index));
        }
    }

    fn submit(&self, connection: Arc<Connection>) {
        // The emits of a burst belong together, so that one wake-up serves them all; what turns out large is shared by
        // whoever finds it.
        self.shards[0].add([connection]);
    }

    /// Hands parts of a large list to the other shards, so that all worker threads write.
    fn share(&self, dirty: &mut Vec<Arc<Connection>>) {
        let parts = self.shards.len();
        if parts == 1 {
            return;
        }
        let part = dirty.len().div_ceil(parts);
        for _ in 1..parts {
            let at = dirty.len().saturating_sub(part);
            // Not to the first, which is where a burst that nobody has shared yet waits.
            let index = 1 + self.next.fetch_add(1, Ordering::Relaxed) % (parts - 1);
            self.shards[index].add(dirty.drain(at..));
        }
    }

    pub(crate) fn close(&self) {
        for shard in &self.shards {
            let mut state = shard.state.locked();
            state.closed = true;
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Shard {
    fn add(&self, connections: impl IntoIterator<Item = Arc<Connection>>) {
        let waker = {
            let mut state = self.state.locked();
            let idle = state.dirty.is_empty();
            state.dirty.extend(connections);
            if idle { state.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

async fn run(flusher: Weak<Flusher>, index: usize) {
    let mut batch = Vec::new();
    loop {
        // Only a weak handle is held while waiting: a dropped server takes its flusher along.
        let more = poll_fn(|cx| {
            let Some(flusher) = flusher.upgrade() else { return Poll::Ready(false) };
            let mut state = flusher.shards[index].state.locked();
            if !state.dirty.is_empty() {
                std::mem::swap(&mut batch, &mut state.dirty);
                return Poll::Ready(true);
            }
            if state.closed {
                return Poll::Ready(false);
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        if !more {
            return;
        }
        if index == 0
            && batch.len() > INLINE_MAX
            && let Some(flusher) = flusher.upgrade()
        {
            flusher.share(&mut batch);
        }
        while !batch.is_empty() {
            for connection in batch.drain(batch.len().saturating_sub(FLUSH_CHUNK)..) {
                connection.flush();
            }
            if !batch.is_empty() {
                tokio::task::yield_now().await;
            }
        }
        if batch.capacity() > KEEP_CAPACITY {
            batch = Vec::new();
        }
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.close();
    }
}

/// From this many dirty connections on the other worker threads help: below it a wake-up costs more than the
/// writes it saves (a write takes about 4 us, waking another thread up to 50 us).
const INLINE_MAX: usize = 64;
/// Connections written before other tasks get a turn: about 1 ms.
const FLUSH_CHUNK: usize = 256;
/// Entries (8 bytes each) a list may keep between bursts.
const KEEP_CAPACITY: usize = 4096;
