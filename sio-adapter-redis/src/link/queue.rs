//! What waits to be published over one connection: in order, bounded in bytes together with the other connections of the
//! link, counted until Redis has confirmed it.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use super::{
    Space,
    error::{LinkError, PublishError},
    resp::{Value, head},
    stats::{Counters, add},
};

/// The queue of one publishing connection.
#[derive(Default)]
pub(super) struct Lane {
    state: Mutex<State>,
    /// Wakes the connection's task when it is parked.
    pub(super) wake: Notify,
    /// Wakes whoever waits until nothing is under way.
    rested: Notify,
}

#[derive(Default)]
struct State {
    messages: VecDeque<Entry>,
    questions: VecDeque<Question>,
    /// Whether the task has nothing to do and has to be woken.
    parked: bool,
    /// Whether there is a connection, so that questions can be asked.
    up: bool,
    /// Whether messages stay here until it is clear which server is responsible for them.
    held: bool,
    /// Whether messages are under way.
    busy: bool,
    closed: bool,
}

/// A message, as it goes over the wire.
#[derive(Debug)]
pub(super) struct Entry {
    /// The whole command, or all before the message itself when that is large.
    pub(super) head: Vec<u8>,
    /// The message, when it is large: then it is not copied.
    pub(super) body: Bytes,
    /// Where the message belongs in a cluster, if that is laid down.
    pub(super) slot: Option<u16>,
}

/// A command whose answer somebody waits for. It overtakes messages.
pub(super) struct Question {
    pub(super) command: Vec<u8>,
    pub(super) answer: oneshot::Sender<Result<Value, LinkError>>,
}

impl Entry {
    /// Builds the command. Costs one allocation.
    pub(super) fn new(space: Space, slot: Option<u16>, channel: &str, message: Bytes) -> Self {
        let name: &[u8] = match space {
            Space::Classic => b"*3\r\n$7\r\nPUBLISH\r\n",
            Space::Sharded => b"*3\r\n$8\r\nSPUBLISH\r\n",
        };
        let large = message.len() >= LARGE;
        let mut head =
            Vec::with_capacity(name.len() + channel.len() + if large { 0 } else { message.len() } + 48);
        head.extend_from_slice(name);
        self::head(&mut head, b'$', channel.len());
        head.extend_from_slice(channel.as_bytes());
        head.extend_from_slice(b"\r\n");
        self::head(&mut head, b'$', message.len());
        if large {
            return Self { head, body: message, slot };
        }
        head.extend_from_slice(&message);
        head.extend_from_slice(b"\r\n");
        Self { head, body: Bytes::new(), slot }
    }

    /// What the entry counts for.
    pub(super) fn cost(&self) -> usize {
        self.head.len() + self.body.len() + OVERHEAD
    }
}

impl Lane {
    /// Appends a message.
    pub(super) fn push(&self, entry: Entry) -> Result<(), PublishError> {
        let mut state = self.lock();
        if state.closed {
            return Err(PublishError::Closed);
        }
        state.messages.push_back(entry);
        self.unpark(state);
        Ok(())
    }

    /// Asks something.
    pub(super) fn ask(
        &self,
        command: Vec<u8>,
    ) -> Result<oneshot::Receiver<Result<Value, LinkError>>, LinkError> {
        let mut state = self.lock();
        match &*state {
            State { closed: true, .. } => return Err(LinkError::Closed),
            State { up: false, .. } => return Err(LinkError::Down),
            // Each has a caller that waits for it, so that there are never many; this is only to have a bound.
            state if state.questions.len() >= MAX_QUESTIONS => {
                return Err(LinkError::Rejected(format!("{MAX_QUESTIONS} questions wait already")));
            }
            _ => {}
        }
        let (answer, receiver) = oneshot::channel();
        state.questions.push_back(Question { command, answer });
        state.parked = false;
        drop(state);
        // Parked or not: while messages wait for something else, nothing would wake the task.
        self.wake.notify_one();
        Ok(receiver)
    }

    /// Takes out what `room` bytes and the order allow, questions first. When nothing is there, or `take` says no more,
    /// the task is parked.
    pub(super) fn take(&self, mut room: usize, questions: &mut Vec<Question>, messages: &mut Vec<Entry>) {
        let mut state = self.lock();
        questions.extend(state.questions.drain(..));
        while let Some(entry) = state.messages.front()
            && room > 0
            && !state.held
        {
            room = room.saturating_sub(entry.cost());
            messages.extend(state.messages.pop_front());
            state.busy = true;
        }
        state.parked = state.messages.is_empty() || state.held;
    }

    /// Notes that nothing is under way any more.
    pub(super) fn rest(&self) {
        let mut state = self.lock();
        state.busy = false;
        let held = state.held;
        drop(state);
        if held {
            self.rested.notify_waiters();
        }
    }

    /// Lets nothing out until it is released, except questions.
    pub(super) fn hold(&self) {
        self.lock().held = true;
    }

    pub(super) fn release(&self) {
        let mut state = self.lock();
        state.held = false;
        self.unpark(state);
    }

    /// Waits until nothing is under way.
    pub(super) async fn rested(&self) {
        loop {
            let rested = self.rested.notified();
            if !self.lock().busy {
                return;
            }
            rested.await;
        }
    }

    /// Puts messages back at the front, in their order.
    pub(super) fn put_back(&self, messages: impl DoubleEndedIterator<Item = Entry>) {
        let mut state = self.lock();
        for entry in messages.rev() {
            state.messages.push_front(entry);
        }
    }

    /// Takes every message out.
    pub(super) fn drain(&self) -> VecDeque<Entry> {
        std::mem::take(&mut self.lock().messages)
    }

    /// Says whether there is a connection. Questions that wait when it goes are answered.
    pub(super) fn set_up(&self, up: bool) {
        let mut state = self.lock();
        state.up = up;
        if !up {
            let questions = std::mem::take(&mut state.questions);
            drop(state);
            for question in questions {
                let _ = question.answer.send(Err(LinkError::Down));
            }
        }
    }

    /// Refuses everything from now on.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        self.unpark(state);
    }

    fn unpark(&self, mut state: MutexGuard<'_, State>) {
        let parked = std::mem::take(&mut state.parked);
        drop(state);
        if parked {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing can panic while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes that wait in all queues of a link, and the verdict when there are too many.
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// Whether a message was refused since the queue was last half empty.
    full: AtomicBool,
    refused: AtomicU64,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), full: AtomicBool::new(false), refused: AtomicU64::new(0) }
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `cost` bytes. The error comes with whether it is the first one since there was room.
    pub(super) fn take(&self, cost: usize, counters: &Counters) -> Result<(), (PublishError, bool)> {
        let queued = self.used.fetch_add(cost, Ordering::Relaxed);
        if queued + cost <= self.limit {
            return Ok(());
        }
        self.used.fetch_sub(cost, Ordering::Relaxed);
        self.refused.fetch_add(1, Ordering::Relaxed);
        add(&counters.refused, 1);
        let first = !self.full.swap(true, Ordering::Relaxed);
        Err((PublishError::QueueFull { message: cost, queued, limit: self.limit }, first))
    }

    /// Gives `cost` bytes back. Returns how many messages were refused, when the queue is half empty again.
    pub(super) fn give_back(&self, cost: usize) -> Option<u64> {
        let used = self.used.fetch_sub(cost, Ordering::Relaxed) - cost;
        if used > self.limit / 2
            || !self.full.load(Ordering::Relaxed)
            || !self.full.swap(false, Ordering::Relaxed)
        {
            return None;
        }
        Some(self.refused.swap(0, Ordering::Relaxed))
    }
}

/// From this size a message is not copied: as much as the copy costs, one more write costs.
const LARGE: usize = 16 << 10;

/// What an entry takes beside its bytes: itself, the allocation, the note that it is under way.
const OVERHEAD: usize = 128;

const MAX_QUESTIONS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &'static str) -> Entry {
        Entry::new(Space::Classic, None, "c", Bytes::from_static(text.as_bytes()))
    }

    fn taken(lane: &Lane, room: usize) -> Vec<Entry> {
        let mut messages = Vec::new();
        lane.take(room, &mut Vec::new(), &mut messages);
        messages
    }

    #[test]
    fn an_entry_is_the_command() {
        let small = Entry::new(Space::Sharded, Some(7), "ch", Bytes::from_static(b"message"));
        assert_eq!(&small.head[..], b"*3\r\n$8\r\nSPUBLISH\r\n$2\r\nch\r\n$7\r\nmessage\r\n");
        let message = Bytes::from(vec![b'x'; LARGE]);
        let large = Entry::new(Space::Classic, None, "ch", message.clone());
        assert_eq!(&large.head[..], b"*3\r\n$7\r\nPUBLISH\r\n$2\r\nch\r\n$16384\r\n");
        assert_eq!(large.body.as_ptr(), message.as_ptr(), "copied");
    }

    #[test]
    fn messages_keep_their_order_when_put_back() {
        let lane = Lane::default();
        for text in ["1", "2", "3"] {
            lane.push(entry(text)).unwrap();
        }
        let first = taken(&lane, 1);
        assert_eq!(first.len(), 1, "one at least, however little room there is");
        let second = taken(&lane, 1);
        lane.put_back(first.into_iter().chain(second));
        let all: Vec<_> = taken(&lane, usize::MAX).iter().map(|entry| entry.head.clone()).collect();
        assert_eq!(all, ["1", "2", "3"].map(|text| entry(text).head));
        lane.close();
        assert_eq!(lane.push(entry("4")), Err(PublishError::Closed));
    }

    #[tokio::test]
    async fn a_lane_that_is_held_keeps_its_messages_and_rests_when_what_is_under_way_is_done() {
        let lane = Lane::default();
        for text in ["1", "2"] {
            lane.push(entry(text)).unwrap();
        }
        let under_way = taken(&lane, 1);
        lane.hold();
        assert!(taken(&lane, usize::MAX).is_empty());
        let mut rested = std::pin::pin!(lane.rested());
        tokio::select! {
            biased;
            () = &mut rested => panic!("one is under way"),
            () = std::future::ready(()) => {}
        }
        lane.put_back(under_way.into_iter());
        lane.rest();
        rested.await;
        lane.release();
        assert_eq!(taken(&lane, usize::MAX).len(), 2);
    }

    #[tokio::test]
    async fn questions_need_a_connection() {
        let lane = Lane::default();
        assert_eq!(lane.ask(Vec::new()).err(), Some(LinkError::Down));
        lane.set_up(true);
        let answer = lane.ask(Vec::new()).unwrap();
        lane.set_up(false);
        assert_eq!(answer.await.unwrap(), Err(LinkError::Down));
    }

    #[tokio::test]
    async fn a_question_wakes_the_task_while_messages_rest() {
        let lane = Lane::default();
        lane.set_up(true);
        lane.push(entry("1")).unwrap();
        assert!(taken(&lane, 0).is_empty());
        let _answer = lane.ask(Vec::new()).unwrap();
        tokio::select! {
            biased;
            () = lane.wake.notified() => {}
            () = std::future::ready(()) => panic!("the question lies there"),
        }
    }

    #[test]
    fn the_budget_is_exact_and_tells_full_once_and_drained_once() {
        let (budget, counters) = (Budget::new(100), Counters::default());
        budget.take(100, &counters).unwrap();
        let full = |first| Err((PublishError::QueueFull { message: 1, queued: 100, limit: 100 }, first));
        assert_eq!(budget.take(1, &counters), full(true));
        assert_eq!(budget.take(1, &counters), full(false));
        assert_eq!((budget.give_back(49), budget.give_back(1), budget.give_back(50)), (None, Some(2), None));
        assert_eq!((budget.used(), counters.snapshot().refused), (0, 2));
    }
}
