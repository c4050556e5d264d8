//! When queues are written: an answer at the end of its batch, everything else at the end of the turn.
//!
//! A connection whose queue gets its first packet becomes *dirty*. While a thread handles a read batch (or any other
//! [`Batch`]) it collects the dirty connections. If that is only the one whose packets are handled, it is written when
//! the batch ends: eight echoes cost one system call. All others wait in the thread's [`Late`] list until the tasks that
//! are ready now have had their turn: if sixty members of a room emit in one turn, each member is sent sixty packets
//! with one system call instead of sixty. The runtime polls for new events before the list is written, so that a lone
//! broadcast waits for a microsecond, and one among many for the tasks that tokio runs between two polls (61).

use std::cell::RefCell;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use tokio::runtime::Handle;

use super::Connection;
use crate::sync::Lock;

thread_local! {
    static BATCH: RefCell<Collected> =
        const { RefCell::new(Collected { depth: 0, serial: 0, own: std::ptr::null(), answers: false, dirty: Vec::new() }) };
    static LATE: Late = Late::default();
}

#[derive(Debug)]
struct Collected {
    depth: usize,
    /// Counts the outermost batches, but for 0.
    serial: u16,
    /// The connection whose packets are handled, only to be compared.
    own: *const Connection,
    /// That connection is dirty.
    answers: bool,
    /// All others that are.
    dirty: Vec<Arc<Connection>>,
}

impl Collected {
    /// Begins a batch; `true` for an outermost one.
    fn enter(&mut self) -> bool {
        self.depth += 1;
        if self.depth == 1 {
            self.serial = self.serial.checked_add(1).unwrap_or(1);
        }
        self.depth == 1
    }
}

/// Which batch is under way on this thread, or 0. Two batches may have the same number, on different threads or far
/// from each other.
pub(crate) fn serial() -> u16 {
    BATCH.with_borrow(|batch| if batch.depth == 0 { 0 } else { batch.serial })
}

/// While it lives, connections that this thread makes dirty are collected; what happens to them is decided when the
/// outermost batch ends.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    own: Option<&'a Arc<Connection>>,
}

impl Batch<'static> {
    pub(crate) fn begin() -> Self {
        BATCH.with_borrow_mut(|batch| batch.enter());
        Self { own: None }
    }
}

impl<'a> Batch<'a> {
    /// A batch in which packets of `connection` are handled.
    pub(crate) fn of(connection: &'a Arc<Connection>) -> Self {
        let outermost = BATCH.with_borrow_mut(|batch| {
            let outermost = batch.enter();
            if outermost {
                batch.own = Arc::as_ptr(connection);
            }
            outermost
        });
        Self { own: outermost.then_some(connection) }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let (answers, mut dirty) = BATCH.with_borrow_mut(|batch| {
            batch.depth -= 1;
            if batch.depth > 0 {
                return (false, Vec::new());
            }
            batch.own = std::ptr::null();
            (std::mem::take(&mut batch.answers), std::mem::take(&mut batch.dirty))
        });
        let own = self.own.filter(|_| answers);
        if dirty.is_empty() {
            if let Some(own) = own {
                own.flush();
            }
            return;
        }
        // The answers go along: whoever emits to a room is often in it, and gets what the others emit as well.
        write_late(&mut dirty, own);
        if dirty.capacity() <= KEEP_CAPACITY {
            BATCH.with_borrow_mut(|batch| {
                if batch.dirty.capacity() == 0 {
                    batch.dirty = dirty;
                }
            });
        }
    }
}

/// Has `connection` written soon: with the batch under way on this thread, or at the end of the turn.
pub(crate) fn schedule(connection: &Arc<Connection>) {
    let collected = BATCH.with_borrow_mut(|batch| {
        if batch.depth == 0 {
            return false;
        }
        if batch.own == Arc::as_ptr(connection) {
            batch.answers = true;
        } else {
            batch.dirty.push(Arc::clone(connection));
        }
        true
    });
    if !collected {
        write_late(&mut Vec::new(), Some(connection));
    }
}

/// Hands connections to the list of this thread and leaves `dirty` empty. Without a runtime that could write them later
/// they are written here.
fn write_late(dirty: &mut Vec<Arc<Connection>>, one_more: Option<&Arc<Connection>>) {
    let added = LATE.try_with(|late| late.add(dirty, one_more));
    // The thread is ending, or there is no runtime.
    if !added.unwrap_or(false) {
        dirty.iter().chain(one_more).for_each(|connection| connection.flush());
        dirty.clear();
    }
}

/// What one thread has to write at the end of the turn, and the task that does it. It goes with the thread.
#[derive(Debug, Default)]
struct Late {
    list: Arc<Mutex<List>>,
}

#[derive(Debug, Default)]
struct List {
    dirty: Vec<Arc<Connection>>,
    /// The task, while it has nothing to do.
    waker: Option<Waker>,
    /// There is a task. Without one the next connection starts it: its runtime may have ended and another begun.
    served: bool,
    /// The thread is gone.
    closed: bool,
}

impl Late {
    /// Takes over what is in `dirty`, and `one_more`; `false` if nobody would write them.
    fn add(&self, dirty: &mut Vec<Arc<Connection>>, one_more: Option<&Arc<Connection>>) -> bool {
        let mut list = self.list.locked();
        if !list.served {
            let Some(any) = dirty.first().or(one_more) else { return true };
            let Some(runtime) = Handle::try_current().ok().or_else(|| any.server().runtime.get().cloned())
            else {
                return false;
            };
            list.served = true;
            // Spawned without the lock: on a runtime that has ended the task is dropped here.
            drop(list);
            runtime.spawn(run(Served(Arc::clone(&self.list)), runtime.metrics().num_workers()));
            list = self.list.locked();
            if !list.served {
                return false;
            }
        }
        if list.dirty.is_empty() {
            std::mem::swap(&mut list.dirty, dirty);
        } else {
            list.dirty.append(dirty);
        }
        list.dirty.extend(one_more.cloned());
        let waker = list.waker.take();
        drop(list);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let mut list = self.list.locked();
        list.closed = true;
        let waker = list.waker.take();
        drop(list);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The task's handle of the list. If the task goes before the thread, with its runtime, nothing stays behind.
struct Served(Arc<Mutex<List>>);

impl Drop for Served {
    fn drop(&mut self) {
        let rest = {
            let mut list = self.0.locked();
            list.served = false;
            list.waker = None;
            std::mem::take(&mut list.dirty)
        };
        rest.iter().for_each(|connection| connection.flush());
    }
}

async fn run(list: Served, workers: usize) {
    let mut batch = Vec::new();
    loop {
        let more = poll_fn(|cx| {
            let mut list = list.0.locked();
            if !list.dirty.is_empty() {
                return Poll::Ready(true);
            }
            if list.closed {
                return Poll::Ready(false);
            }
            match &mut list.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await;
        if !more {
            return;
        }
        // Comes back when the runtime has polled for events, after the tasks that were ready.
        tokio::task::yield_now().await;
        std::mem::swap(&mut batch, &mut list.0.locked().dirty);
        share(&mut batch, workers);
        write(&mut batch).await;
        if batch.capacity() > KEEP_CAPACITY {
            batch = Vec::new();
        }
    }
}

/// Leaves parts of a large batch to worker threads that have nothing to do; if there are none, this one comes to it.
fn share(batch: &mut Vec<Arc<Connection>>, workers: usize) {
    let parts = workers.min(batch.len() / SHARED_MIN);
    for left in (2..=parts).rev() {
        let mut part = batch.split_off(batch.len() - batch.len() / left);
        tokio::spawn(async move { write(&mut part).await });
    }
}

async fn write(batch: &mut Vec<Arc<Connection>>) {
    while !batch.is_empty() {
        for connection in batch.drain(batch.len().saturating_sub(FLUSH_CHUNK)..) {
            connection.flush();
        }
        if !batch.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

/// So many dirty connections are worth waking another thread: a write takes about 4 us, waking up to 50 us.
const SHARED_MIN: usize = 64;
/// Connections written before other tasks get a turn: about 1 ms.
const FLUSH_CHUNK: usize = 256;
/// Entries (8 bytes each) a list may keep between bursts.
const KEEP_CAPACITY: usize = 4096;
