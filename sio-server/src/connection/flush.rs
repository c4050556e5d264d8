//! When queues are written: an answer at the end of its batch, everything else at the end of the turn.
//!
//! A connection whose queue gets its first packet becomes *dirty*. While a thread handles a read batch (or any other
//! [`Batch`]) it collects the dirty connections. If the batch has only answered the client whose packets are handled,
//! that one is written when it ends: eight echoes cost one system call. All others wait in a [`List`] of the thread
//! until the tasks that are ready now have had their turn: if sixty members of a room emit in one turn, each member is
//! sent sixty packets with one system call instead of sixty. A lone broadcast waits for nobody.
//!
//! Dirty means: in the batch of a thread, in a list, or in the hands of the task that writes. None of them forgets a
//! connection, be it that the runtime ends or the thread; else it would never be written again.

use std::cell::RefCell;
use std::future::poll_fn;
use std::mem;
use std::ptr;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Poll, Waker};

use super::Connection;
use crate::server::Shared;
use crate::sync::Lock;

thread_local! {
    static BATCH: RefCell<Collected> = const { RefCell::new(Collected::NONE) };
    static LATE: RefCell<Late> = const { RefCell::new(Late(Vec::new())) };
}

#[derive(Debug)]
struct Collected {
    depth: usize,
    /// Counts the outermost batches, but for 0.
    serial: u16,
    /// The connection whose packets are handled, only to be compared.
    own: *const Connection,
    answer: Answer,
    /// All others that are dirty, of one server.
    dirty: Vec<Arc<Connection>>,
}

/// What a batch has queued for the connection whose packets are handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Answer {
    #[default]
    None,
    /// Something, behind what somebody else has in a list already.
    Queued,
    /// Something, as the first.
    Dirty,
}

impl Collected {
    const NONE: Self =
        Self { depth: 0, serial: 0, own: ptr::null(), answer: Answer::None, dirty: Vec::new() };

    /// Begins a batch; `true` for an outermost one.
    fn enter(&mut self) -> bool {
        self.depth += 1;
        if self.depth == 1 {
            self.serial = self.serial.checked_add(1).unwrap_or(1);
        }
        self.depth == 1
    }

    fn serial(&self) -> u16 {
        if self.depth == 0 { 0 } else { self.serial }
    }
}

/// Which batch is under way on this thread, or 0. Two batches may have the same number, on different threads or far
/// from each other.
pub(crate) fn serial() -> u16 {
    // A thread that is ending has no batch.
    BATCH.try_with(|batch| batch.borrow().serial()).unwrap_or_default()
}

/// While it lives, connections that this thread makes dirty are collected; what happens to them is decided when the
/// outermost batch ends.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    own: Option<&'a Arc<Connection>>,
}

impl Batch<'static> {
    pub(crate) fn begin() -> Self {
        let _ = BATCH.try_with(|batch| batch.borrow_mut().enter());
        Self { own: None }
    }
}

impl<'a> Batch<'a> {
    /// A batch in which packets of `connection` are handled.
    pub(crate) fn of(connection: &'a Arc<Connection>) -> Self {
        let outermost = BATCH.try_with(|batch| {
            let mut batch = batch.borrow_mut();
            let outermost = batch.enter();
            if outermost {
                batch.own = Arc::as_ptr(connection);
            }
            outermost
        });
        Self { own: outermost.unwrap_or_default().then_some(connection) }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let ended = BATCH.try_with(|batch| {
            let mut batch = batch.borrow_mut();
            batch.depth -= 1;
            if batch.depth > 0 {
                return (Answer::None, Vec::new());
            }
            batch.own = ptr::null();
            (mem::take(&mut batch.answer), mem::take(&mut batch.dirty))
        });
        let (answer, mut dirty) = ended.unwrap_or_default();
        let own = self.own.filter(|_| answer != Answer::None);
        if dirty.is_empty() {
            // Even if somebody has it in a list: an answer waits for nobody else.
            if let Some(own) = own {
                own.flush();
            }
            return;
        }
        // The answers go along: whoever emits to a room is often in it, and gets what the others emit as well.
        dirty.extend(own.filter(|_| answer == Answer::Dirty).cloned());
        write_late(&mut dirty);
        if dirty.capacity() <= KEEP_CAPACITY {
            let _ = BATCH.try_with(|batch| {
                let mut batch = batch.borrow_mut();
                if batch.dirty.capacity() == 0 {
                    batch.dirty = dirty;
                }
            });
        }
    }
}

/// Has `connection`, which has become dirty, written soon: with the batch under way on this thread, or at the end of the
/// turn.
pub(crate) fn schedule(connection: &Arc<Connection>) {
    let collected = BATCH.try_with(|batch| {
        let mut batch = batch.borrow_mut();
        if batch.depth == 0 {
            return false;
        }
        if batch.own == Arc::as_ptr(connection) {
            batch.answer = Answer::Dirty;
            return true;
        }
        let fits = batch.dirty.first().is_none_or(|first| Arc::ptr_eq(first.server(), connection.server()));
        if fits {
            batch.dirty.push(Arc::clone(connection));
        }
        fits
    });
    if !collected.unwrap_or_default() {
        write_late(&mut vec![Arc::clone(connection)]);
    }
}

/// Notes that something was queued behind what others have queued for `connection`.
pub(crate) fn note_answer(connection: &Connection) {
    let _ = BATCH.try_with(|batch| {
        let mut batch = batch.borrow_mut();
        if batch.own == ptr::from_ref(connection) && batch.answer == Answer::None {
            batch.answer = Answer::Queued;
        }
    });
}

/// Hands connections of one server to this thread's list for it, and leaves `dirty` empty. What cannot be written later
/// is written here.
fn write_late(dirty: &mut Vec<Arc<Connection>>) {
    let Some(server) = dirty.first().map(|connection| Arc::clone(connection.server())) else { return };
    // Not when the thread is ending.
    let list = LATE.try_with(|late| late.borrow_mut().list(&server)).ok();
    if !list.is_some_and(|list| add(&list, &server, dirty)) {
        Unwritten(mem::take(dirty));
    }
}

/// What one thread has to write at the end of the turn: a list for each server. It goes with the thread.
#[derive(Debug)]
struct Late(Vec<(Weak<Shared>, Arc<Mutex<List>>)>);

#[derive(Debug, Default)]
struct List {
    dirty: Vec<Arc<Connection>>,
    /// The task that writes, while it has nothing to do.
    waker: Option<Waker>,
    /// There is a task. Without one the next connection starts it.
    served: bool,
    /// The thread or the server is gone.
    closed: bool,
}

impl Late {
    fn list(&mut self, server: &Arc<Shared>) -> Arc<Mutex<List>> {
        let known = self.0.iter().find(|(of, _)| ptr::eq(of.as_ptr(), Arc::as_ptr(server)));
        if let Some((_, list)) = known {
            return Arc::clone(list);
        }
        self.0.retain(|(of, _)| of.strong_count() > 0);
        let list = Arc::default();
        self.0.push((Arc::downgrade(server), Arc::clone(&list)));
        server.late.add(&list);
        list
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, list)| close(list));
    }
}

/// The lists that all threads have for one server. Their tasks end with it.
#[derive(Debug, Default)]
pub(crate) struct Lists(Mutex<Vec<Weak<Mutex<List>>>>);

impl Lists {
    fn add(&self, list: &Arc<Mutex<List>>) {
        let mut lists = self.0.locked();
        lists.retain(|list| list.strong_count() > 0);
        lists.push(Arc::downgrade(list));
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        self.0.locked().iter().filter_map(Weak::upgrade).for_each(|list| close(&list));
    }
}

/// Has the task of a list end when it has written what is there.
fn close(list: &Mutex<List>) {
    let mut list = list.locked();
    list.closed = true;
    let waker = list.waker.take();
    drop(list);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Takes over what is in `dirty`; `false` if nobody would write it.
fn add(list: &Arc<Mutex<List>>, server: &Shared, dirty: &mut Vec<Arc<Connection>>) -> bool {
    let mut held = list.locked();
    if !held.served {
        // Always the server's own: whatever else this thread is in may not be driven any more.
        let Some(runtime) = server.runtime.get() else { return false };
        held.served = true;
        // Spawned without the lock: on a runtime that has ended the task is dropped here.
        drop(held);
        runtime.spawn(run(Served(Arc::clone(list)), runtime.metrics().num_workers()));
        held = list.locked();
        if !held.served {
            return false;
        }
    }
    if held.dirty.is_empty() {
        mem::swap(&mut held.dirty, dirty);
    } else {
        held.dirty.append(dirty);
    }
    let waker = held.waker.take();
    drop(held);
    if let Some(waker) = waker {
        waker.wake();
    }
    true
}

/// The task's handle of the list.
struct Served(Arc<Mutex<List>>);

impl Drop for Served {
    fn drop(&mut self) {
        let mut list = self.0.locked();
        list.served = false;
        list.waker = None;
        let rest = mem::take(&mut list.dirty);
        drop(list);
        drop(Unwritten(rest));
    }
}

/// Dirty connections, written at the latest when it is dropped.
#[derive(Debug, Default)]
struct Unwritten(Vec<Arc<Connection>>);

impl Unwritten {
    async fn write(&mut self) {
        loop {
            let chunk = self.0.len().saturating_sub(FLUSH_CHUNK);
            for connection in self.0.drain(chunk..) {
                connection.flush();
            }
            if self.0.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.0.iter().for_each(|connection| connection.flush());
    }
}

async fn run(list: Served, workers: usize) {
    let mut batch = Unwritten::default();
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
        end_of_turn().await;
        mem::swap(&mut batch.0, &mut list.0.locked().dirty);
        let parts = workers.min(batch.0.len() / SHARED_MIN);
        if parts < 2 {
            batch.write().await;
        } else {
            // For worker threads that have nothing to do. The last one is this thread's next task.
            for left in (1..=parts).rev() {
                let mut part = Unwritten(batch.0.split_off(batch.0.len() - batch.0.len() / left));
                tokio::spawn(async move { part.write().await });
            }
        }
        if batch.0.capacity() > KEEP_CAPACITY {
            batch = Unwritten::default();
        }
    }
}

/// Waits behind the tasks that are ready on this thread. Unlike tokio's `yield_now` it does so where other threads look
/// for work, should this one be kept busy by a task.
async fn end_of_turn() {
    let mut waited = false;
    poll_fn(|cx| {
        if mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// So many dirty connections are worth waking another thread: a write takes about 4 us, waking up to 50 us.
const SHARED_MIN: usize = 64;
/// Connections written before other tasks get a turn: about 1 ms.
const FLUSH_CHUNK: usize = 256;
/// Entries (8 bytes each) a list may keep between bursts.
const KEEP_CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use sio_protocol::engineio::PacketKind;
    use sio_protocol::engineio::session::Transport;

    use super::*;
    use crate::Server;

    /// A connection that has nobody who could write to it: what is queued stays, and `dirty` tells whether it was tried.
    fn alone(server: &Server) -> Arc<Connection> {
        server.shared.start();
        Connection::alone(&server.shared, Transport::WebSocket)
    }

    fn is_dirty(connection: &Connection) -> bool {
        connection.with_outbox(|outbox| outbox.dirty)
    }

    /// Every task that is ready has had its turn, and again whatever that has woken.
    async fn turns() {
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_several_batches_queue_for_others_is_written_at_once_at_the_end_of_the_turn() {
        let server = Server::new();
        let connection = alone(&server);
        for kind in [PacketKind::Ping, PacketKind::Noop, PacketKind::Ping] {
            let batch = Batch::begin();
            connection.send_engine(kind);
            drop(batch);
            assert!(is_dirty(&connection), "nobody has written it yet");
        }
        turns().await;
        assert!(!is_dirty(&connection));
    }

    #[tokio::test]
    async fn an_answer_is_written_when_its_batch_ends_even_behind_what_others_have_queued() {
        let server = Server::new();
        let connection = alone(&server);
        for first in [false, true] {
            if first {
                connection.send_engine(PacketKind::Noop);
            }
            let batch = Batch::of(&connection);
            connection.send_engine(PacketKind::Ping);
            assert!(is_dirty(&connection));
            drop(batch);
            assert!(!is_dirty(&connection));
        }
    }

    #[tokio::test]
    async fn connections_of_two_servers_in_one_batch_are_both_written() {
        let servers = [Server::new(), Server::new()];
        let connections = servers.each_ref().map(alone);
        let batch = Batch::begin();
        for connection in &connections {
            connection.send_engine(PacketKind::Ping);
        }
        drop(batch);
        turns().await;
        assert!(connections.iter().all(|connection| !is_dirty(connection)));
    }

    /// A thread may be in a runtime that nobody drives after this.
    #[test]
    fn the_servers_own_runtime_writes_whatever_runtime_the_thread_is_in() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let other = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let server = Server::new();
        let connection = runtime.block_on(async { alone(&server) });
        other.block_on(async { connection.send_engine(PacketKind::Ping) });
        runtime.block_on(turns());
        assert!(!is_dirty(&connection));
    }

    /// With more than are written in one go, so that some are in the task's hands.
    #[test]
    fn nothing_stays_behind_when_the_runtime_ends() {
        for workers in [1, 4] {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(workers).build().unwrap();
            let server = Server::new();
            let connections: Vec<_> =
                runtime.block_on(async { (0..FLUSH_CHUNK * 5).map(|_| alone(&server)).collect() });
            let batch = Batch::begin();
            connections.iter().for_each(|connection| connection.send_engine(PacketKind::Ping));
            drop(batch);
            drop(runtime);
            let dirty = connections.iter().filter(|connection| is_dirty(connection)).count();
            assert_eq!(dirty, 0, "with {workers} workers");
            // Nor afterwards.
            connections[0].send_engine(PacketKind::Noop);
            assert!(!is_dirty(&connections[0]));
        }
    }

    /// A thread that is held up in its part, by a queue that somebody else has locked, holds up no other part.
    #[test]
    fn a_large_list_is_written_by_several_threads() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        let server = Server::new();
        let connections: Vec<_> =
            runtime.block_on(async { (0..2 * SHARED_MIN).map(|_| alone(&server)).collect() });
        let batch = Batch::begin();
        connections.iter().for_each(|connection| connection.send_engine(PacketKind::Ping));
        let written = |connections: &[Arc<Connection>]| {
            let until = Instant::now() + Duration::from_secs(20);
            while connections.iter().any(|connection| is_dirty(connection)) {
                assert!(Instant::now() < until, "nobody writes them");
                thread::yield_now();
            }
        };
        // Without parts it is the first to be written.
        let locked = connections[0].outbox.locked();
        drop(batch);
        written(&connections[SHARED_MIN..]);
        drop(locked);
        written(&connections);
    }

    #[tokio::test]
    async fn the_task_ends_with_the_server() {
        let server = Server::new();
        let connection = alone(&server);
        connection.send_engine(PacketKind::Ping);
        turns().await;
        let list = Arc::downgrade(&LATE.with(|late| late.borrow_mut().list(&server.shared)));
        connection.leave_registry();
        drop((connection, server));
        turns().await;
        // The thread's own handle is left until it meets another server.
        assert_eq!(list.strong_count(), 1);
    }
}
