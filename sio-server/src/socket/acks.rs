//! Acknowledgements: those a client owes us, one at a time or as the answers to a broadcast.

use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sio_protocol::socketio::OwnedArgs;
use tokio::sync::oneshot;

use crate::error::AckError;
use crate::handler::BoxFuture;
use crate::id::SocketId;
use crate::sync::{Lock, contained};

/// The acknowledgements one client owes, by id.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    waiters: HashMap<u64, Waiter>,
    /// At how many entries those nobody waits for any more are looked for.
    purge_at: usize,
}

#[derive(Debug)]
pub(crate) enum Waiter {
    One(oneshot::Sender<OwnedArgs>),
    Broadcast(AckSink),
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(crate) fn insert(&mut self, id: u64, waiter: Waiter) {
        if self.waiters.len() >= self.purge_at {
            self.purge();
        }
        self.waiters.insert(id, waiter);
    }

    /// Takes the waiter of `id` out: a second acknowledgement finds none.
    pub(crate) fn remove(&mut self, id: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&id);
        if self.waiters.is_empty() {
            self.waiters = HashMap::new();
        }
        waiter
    }

    /// Forgets those nobody waits for any more: a broadcast that timed out does not visit every silent socket.
    pub(crate) fn purge(&mut self) {
        self.waiters.retain(|_, waiter| match waiter {
            Waiter::One(sender) => !sender.is_closed(),
            Waiter::Broadcast(sink) => sink.is_open(),
        });
        self.purge_at = (self.waiters.len() * 2).max(PURGE_MIN);
    }

    /// Everything that was still awaited.
    pub(crate) fn into_waiters(self) -> impl Iterator<Item = Waiter> {
        self.waiters.into_values()
    }
}

/// Waits for an acknowledgement. The event has left already; dropping the future forgets the acknowledgement.
#[must_use = "to send without waiting, use `emit`"]
pub struct AckFuture<R>(BoxFuture<Result<R, AckError>>);

impl<R> AckFuture<R> {
    pub(crate) fn new(future: impl Future<Output = Result<R, AckError>> + Send + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl<R> Future for AckFuture<R> {
    type Output = Result<R, AckError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<R> fmt::Debug for AckFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckFuture")
    }
}

/// One client's answer to a broadcast.
pub type AckResult = (Option<SocketId>, Result<OwnedArgs, AckError>);

/// Where the answers to one broadcast arrive, from the sockets of this node and through the adapter from others.
#[derive(Clone)]
pub struct AckSink(Target);

#[derive(Clone)]
enum Target {
    /// Somebody on this node waits for all of them.
    Caller(Arc<Mutex<Collected>>),
    /// They go on as they come: another node has asked.
    Elsewhere(Arc<Forward>),
}

#[derive(Debug)]
struct Collected {
    results: Vec<AckResult>,
    /// Parties that have yet to say how many clients they have asked.
    parties: usize,
    expected: usize,
    waker: Option<Waker>,
    closed: bool,
}

/// Shared, so that they are called without the lock and go as soon as the sink is closed, whoever still holds it.
struct Forward(Mutex<Option<Arc<Callbacks>>>);

struct Callbacks {
    asked: Box<dyn Fn(usize) + Send + Sync>,
    answered: Box<OnAnswer>,
}

type OnAnswer = dyn Fn(Option<SocketId>, Result<OwnedArgs, AckError>) + Send + Sync;

impl AckSink {
    /// A sink for a broadcast that another node has asked for: `on_asked` is called once with how many clients were
    /// asked, before `on_answer` is called for each of them, from any thread and in any order. They must not wait. A
    /// client that disconnects answers with [`AckError::Disconnected`]; Node sends nothing for it.
    ///
    /// It stays open until it is [closed](Self::close), which is due when the node that asked waits no longer: until
    /// then every client that does not answer keeps an entry of about 50 bytes for it.
    pub fn forward(
        on_asked: impl Fn(usize) + Send + Sync + 'static,
        on_answer: impl Fn(Option<SocketId>, Result<OwnedArgs, AckError>) + Send + Sync + 'static,
    ) -> Self {
        let callbacks = Callbacks { asked: Box::new(on_asked), answered: Box::new(on_answer) };
        Self(Target::Elsewhere(Arc::new(Forward(Mutex::new(Some(Arc::new(callbacks)))))))
    }

    /// Ends a sink made by [`forward`](Self::forward): its callbacks are dropped, later answers too, and the clients'
    /// entries for it make room as room is needed. Costs nothing per client. One that somebody on this node waits for
    /// ends by itself, and this does nothing.
    pub fn close(&self) {
        if let Target::Elsewhere(forward) = &self.0 {
            // Dropped without the lock: it is the adapter's code.
            let callbacks = forward.0.locked().take();
            drop(callbacks);
        }
    }

    /// Announces nodes beside this one, each of which will say how many clients it asks. Of no use for a sink made by
    /// [`forward`](Self::forward), whose node has only itself to speak for.
    pub fn expect_parties(&self, others: usize) {
        if let Target::Caller(collected) = &self.0 {
            update(collected, |collected| collected.parties = collected.parties.saturating_add(others));
        }
    }

    /// A node has asked `clients` clients.
    pub fn expect(&self, clients: usize) {
        match &self.0 {
            Target::Caller(collected) => update(collected, |collected| {
                collected.parties = collected.parties.saturating_sub(1);
                // Other nodes may say anything.
                collected.expected = collected.expected.saturating_add(clients);
            }),
            Target::Elsewhere(forward) => forward.call(|callbacks| (callbacks.asked)(clients)),
        }
    }

    /// A client has answered; its id is unknown when the wire of the adapter does not carry it.
    pub fn answer(&self, socket: Option<SocketId>, result: Result<OwnedArgs, AckError>) {
        match &self.0 {
            Target::Caller(collected) => {
                update(collected, |collected| collected.results.push((socket, result)));
            }
            Target::Elsewhere(forward) => forward.call(|callbacks| (callbacks.answered)(socket, result)),
        }
    }

    /// Whether somebody still waits; answers after that are dropped.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.0 {
            Target::Caller(collected) => !collected.locked().closed,
            Target::Elsewhere(forward) => forward.0.locked().is_some(),
        }
    }
}

impl fmt::Debug for AckSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckSink").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

impl Forward {
    fn call(&self, f: impl FnOnce(&Callbacks)) {
        let callbacks = self.0.locked().clone();
        if let Some(callbacks) = callbacks {
            contained("an adapter", || f(&callbacks));
        }
    }
}

fn update(collected: &Mutex<Collected>, f: impl FnOnce(&mut Collected)) {
    let waker = {
        let mut collected = collected.locked();
        if collected.closed {
            return;
        }
        f(&mut collected);
        collected.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A sink that somebody waits for; dropped, answers are no longer taken.
#[derive(Debug)]
pub(crate) struct Awaiting(Arc<Mutex<Collected>>);

impl Awaiting {
    /// A sink, and what it takes to wait for its answers.
    pub(crate) fn new() -> (AckSink, Self) {
        let collected = Arc::new(Mutex::new(Collected {
            results: Vec::new(),
            parties: 1,
            expected: 0,
            waker: None,
            closed: false,
        }));
        (AckSink(Target::Caller(Arc::clone(&collected))), Self(collected))
    }

    /// Waits until everybody has answered or `timeout` has passed; gives the answers that came and how many
    /// clients did not answer, at most `MAX_MISSING`: each becomes an entry, and the number may come from elsewhere.
    pub(crate) async fn collect(&self, timeout: Duration) -> (Vec<AckResult>, usize) {
        let mut sleep = pin!(tokio::time::sleep(timeout));
        poll_fn(|cx| {
            {
                let mut collected = self.0.locked();
                if collected.parties == 0 && collected.results.len() >= collected.expected {
                    return Poll::Ready(());
                }
                collected.waker = Some(cx.waker().clone());
            }
            sleep.as_mut().poll(cx)
        })
        .await;
        let mut collected = self.0.locked();
        collected.closed = true;
        let results = std::mem::take(&mut collected.results);
        let missing = collected.expected.saturating_sub(results.len());
        (results, missing.min(MAX_MISSING))
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        self.0.locked().closed = true;
    }
}

/// Entries for clients that did not answer, of one broadcast.
const MAX_MISSING: usize = 1_000_000;

/// Fewer entries are not worth looking through.
const PURGE_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn args(json: &str) -> OwnedArgs {
        OwnedArgs::new(json, Vec::new())
    }

    #[test]
    fn a_forwarding_sink_passes_everything_on_until_it_is_closed() {
        let (heard, seen) = mpsc::channel();
        let (asked, answered) = (heard.clone(), heard.clone());
        let sink = AckSink::forward(
            move |clients| asked.send(format!("{clients}")).unwrap(),
            move |socket, result| answered.send(format!("{socket:?} {}", result.is_ok())).unwrap(),
        );
        drop(heard);
        let copy = sink.clone();
        copy.expect(2);
        copy.answer(Some(SocketId::from("a")), Ok(args("[1]")));
        copy.answer(None, Err(AckError::Disconnected));
        assert!(sink.is_open());
        sink.close();
        sink.close();
        assert!(!copy.is_open());
        copy.expect(1);
        copy.answer(None, Ok(args("[2]")));
        let seen: Vec<String> = seen.iter().collect();
        assert_eq!(seen[0], "2", "and the callbacks are dropped, or this would wait for more");
        assert!(seen[1].ends_with(" true") && seen[2] == "None false" && seen.len() == 3, "{seen:?}");
    }

    #[test]
    fn callbacks_run_and_are_dropped_without_the_lock() {
        struct Asks(Arc<Mutex<Option<AckSink>>>);
        impl Drop for Asks {
            fn drop(&mut self) {
                let sink = self.0.locked().take().unwrap();
                assert!(!sink.is_open());
            }
        }
        let slot: Arc<Mutex<Option<AckSink>>> = Arc::default();
        let (asks, own) = (Asks(Arc::clone(&slot)), Arc::clone(&slot));
        let sink = AckSink::forward(
            move |_| {
                let _ = &asks;
                let sink = own.locked().clone().unwrap();
                assert!(sink.is_open());
                sink.close();
            },
            |_, _| panic!("contained"),
        );
        *slot.locked() = Some(sink.clone());
        sink.answer(None, Ok(args("[]")));
        assert!(sink.is_open(), "a callback that panics costs its answer");
        sink.expect(1);
        assert!(!sink.is_open());
        assert!(slot.locked().is_none(), "dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn what_other_nodes_say_they_have_asked_is_not_taken_at_its_word() {
        let (sink, awaiting) = Awaiting::new();
        sink.expect_parties(3);
        for clients in [usize::MAX, 2, 0, 0] {
            sink.expect(clients);
        }
        sink.answer(None, Ok(args("[1]")));
        let start = tokio::time::Instant::now();
        let (results, missing) = awaiting.collect(Duration::from_secs(1)).await;
        assert_eq!((results.len(), missing), (1, MAX_MISSING), "neither wrapped nor reserved");
        assert_eq!(start.elapsed(), Duration::from_secs(1), "it was not complete");
    }

    #[test]
    fn entries_of_closed_sinks_make_room_for_others() {
        let mut pending = Pending::default();
        let open = AckSink::forward(|_| {}, |_, _| {});
        pending.insert(0, Waiter::Broadcast(open));
        for id in 1..10_000 {
            let sink = AckSink::forward(|_| {}, |_, _| {});
            pending.insert(id, Waiter::Broadcast(sink.clone()));
            sink.close();
        }
        assert!(pending.len() <= PURGE_MIN + 1, "{}", pending.len());
        assert!(pending.remove(0).is_some());
    }
}
