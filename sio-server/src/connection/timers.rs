//! The deadlines of all connections in one heap: an idle connection owns no timer of its own.
//!
//! A connection has at most one *current* entry. Deadlines nearly always move back (a pong puts the next ping after
//! the pong's deadline), so an entry that comes due too early is simply put back; only a deadline that moves forward
//! gets a second entry, and the stale one is recognised by its time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Mutex, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Connection;
use crate::server::Shared;
use crate::sync::Lock;

/// The heap and the task that sleeps until its head.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    heap: BinaryHeap<Reverse<Entry>>,
    waker: Option<Waker>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    connection: Weak<Connection>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

impl Timers {
    /// Has `connection` called at `at` (milliseconds of the server's clock).
    pub(crate) fn add(&self, at: u64, connection: Weak<Connection>) {
        let waker = {
            let mut state = self.state.locked();
            let first = state.heap.peek().is_none_or(|Reverse(head)| at < head.at);
            state.heap.push(Reverse(Entry { at, connection }));
            if first { state.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes the entries that are due, or says how long to sleep.
    fn due(&self, now: u64, due: &mut Vec<(u64, Weak<Connection>)>) -> Option<u64> {
        let mut state = self.state.locked();
        while let Some(Reverse(head)) = state.heap.peek() {
            if head.at > now {
                return Some(head.at - now);
            }
            if let Some(Reverse(entry)) = state.heap.pop() {
                due.push((entry.at, entry.connection));
            }
        }
        None
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
    let mut due = Vec::new();
    loop {
        let Some(shared) = server.upgrade() else { return };
        let wait = shared.timers.due(shared.now(), &mut due);
        for (at, connection) in due.drain(..) {
            if let Some(connection) = connection.upgrade() {
                connection.handle_timer(at);
            }
        }
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
                let head = state.heap.peek().map(|Reverse(head)| head.at.saturating_sub(shared.now()));
                if head.is_some_and(|head| wait.is_none_or(|wait| head < wait)) {
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
