//! The deadlines of all connections in one heap: an idle connection owns no timer of its own.
//!
//! A connection has at most one *current* entry. Deadlines nearly always move back (a pong puts the next ping after
//! the pong's deadline), so an entry that comes due too early is simply put back; only a deadline that moves forward
//! gets a second entry, and the stale one is recognised by its time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Connection;
use super::flush::Batch;
use crate::server::Shared;
use crate::sync::{Lock, contained};

/// The heap and the task that sleeps until its head.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Deadlines with the sessions they are of: 16 bytes each, and a session that has ended keeps no memory alive
    /// until its last deadline passes.
    sessions: BinaryHeap<Reverse<(u64, u64)>>,
    /// Connections that have left the registry and wait for their client to close its side.
    lingering: BinaryHeap<Reverse<Lingering>>,
    /// When sessions and events that nobody has come back for are looked through.
    sweep: Option<u64>,
    waker: Option<Waker>,
    closed: bool,
}

#[derive(Debug)]
struct Lingering {
    at: u64,
    connection: Weak<Connection>,
}

impl PartialEq for Lingering {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Lingering {}
impl PartialOrd for Lingering {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Lingering {
    fn cmp(&self, other: &Self) -> Ordering {
        self.at.cmp(&other.at)
    }
}

impl State {
    fn head(&self) -> Option<u64> {
        let session = self.sessions.peek().map(|Reverse((at, _))| *at);
        let lingering = self.lingering.peek().map(|Reverse(head)| head.at);
        session.into_iter().chain(lingering).chain(self.sweep).min()
    }
}

/// What came due.
#[derive(Debug, Default)]
struct Dues {
    sessions: Vec<(u64, u64)>,
    lingering: Vec<Weak<Connection>>,
    sweep: bool,
}

impl Timers {
    /// Has the session whose id begins with `prefix` called at `at` (milliseconds of the server's clock).
    pub(crate) fn add(&self, at: u64, prefix: u64) {
        self.insert(at, |state| state.sessions.push(Reverse((at, prefix))));
    }

    /// Has a connection that is no longer registered called at `at`.
    pub(crate) fn add_lingering(&self, at: u64, connection: Weak<Connection>) {
        self.insert(at, |state| state.lingering.push(Reverse(Lingering { at, connection })));
    }

    /// Has the server [sweep](Shared::sweep) at `at`, or before.
    pub(crate) fn add_sweep(&self, at: u64) {
        self.insert(at, |state| state.sweep = Some(state.sweep.map_or(at, |earlier| earlier.min(at))));
    }

    fn insert(&self, at: u64, push: impl FnOnce(&mut State)) {
        let waker = {
            let mut state = self.state.locked();
            let first = state.head().is_none_or(|head| at < head);
            push(&mut state);
            if first { state.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the entries that are due, and says when the next one is.
    fn due(&self, now: u64, dues: &mut Dues) -> Option<u64> {
        let mut state = self.state.locked();
        while state.sessions.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            dues.sessions.extend(state.sessions.pop().map(|Reverse(entry)| entry));
        }
        while state.lingering.peek().is_some_and(|Reverse(head)| head.at <= now) {
            dues.lingering.extend(state.lingering.pop().map(|Reverse(entry)| entry.connection));
        }
        dues.sweep = state.sweep.take_if(|at| *at <= now).is_some();
        state.head()
    }

    pub(crate) fn close(&self) {
        let mut state = self.state.locked();
        state.closed = true;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

// The task waits with only a weak handle to the server: it has to be told that the server is gone.
impl Drop for Timers {
    fn drop(&mut self) {
        self.close();
    }
}

/// The task of all timers of a server.
pub(crate) async fn run(server: Weak<Shared>) {
    let mut dues = Dues::default();
    loop {
        let Some(shared) = server.upgrade() else { return };
        let now = shared.now();
        let mut head = shared.timers.due(now, &mut dues);
        if std::mem::take(&mut dues.sweep) {
            // An adapter may go with its namespace, and is the user's.
            contained("an adapter that is dropped", || shared.sweep());
            head = shared.timers.state.locked().head();
        }
        let wait = head.map(|head| head.saturating_sub(now));
        // What is sent here goes out in one write per connection.
        let batch = Batch::begin();
        for (at, prefix) in dues.sessions.drain(..) {
            if let Some(connection) = shared.sessions.get_by_prefix(prefix) {
                connection.handle_timer(at);
            }
        }
        for connection in dues.lingering.drain(..) {
            if let Some(connection) = connection.upgrade() {
                connection.finish_lingering();
            }
        }
        drop(batch);
        drop(shared);
        let mut sleep = pin!(async {
            match wait {
                Some(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                None => std::future::pending().await,
            }
        });
        let closed = poll_fn(|cx| {
            let Some(shared) = server.upgrade() else { return Poll::Ready(true) };
            {
                let mut state = shared.timers.state.locked();
                if state.closed {
                    return Poll::Ready(true);
                }
                // An entry may have come before the waker was left behind.
                if state.head().is_some_and(|next| head.is_none_or(|head| next < head)) {
                    return Poll::Ready(false);
                }
                state.waker = Some(cx.waker().clone());
            }
            sleep.as_mut().poll(cx).map(|()| false)
        })
        .await;
        if closed {
            return;
        }
    }
}
