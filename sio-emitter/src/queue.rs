//! The queue between those who emit and the one task that writes to Redis, and the account of what became of
//! each message.
//!
//! Messages wait as finished commands, put together in chunks that are written with one call each. Every message
//! ends in one of two ways, *taken* or *failed*, and does so in the order in which it came; so a flush only has
//! to wait for a number.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::error::{EmitError, FlushError, PublishError};
use crate::frame::{OVERHEAD, Tally, Verb, write_command};

/// What [`Builder::on_error`](crate::Builder::on_error) is given.
pub(crate) type OnError = Box<dyn Fn(&PublishError, u64) + Send + Sync>;

/// The bounds of a queue.
pub(crate) struct Bounds {
    pub(crate) max_bytes: usize,
    pub(crate) timeout: Duration,
}

/// Holds what waits for Redis.
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Notified when room was made, or there will be none any more.
    room: Notify,
    /// Notified when messages were taken or failed.
    settled: Notify,
    bounds: Bounds,
    on_error: Option<OnError>,
}

/// Says why there is no place for a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Closed,
    Full,
}

/// Commands that are written together.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u64,
    /// When the first of them came.
    since: Instant,
}

/// How many messages went which way, since the emitter was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that were queued.
    pub emitted: u64,
    /// Those among them that Redis has taken.
    pub taken: u64,
    /// Those among them that Redis has not taken and will not; see [`PublishError`].
    pub failed: u64,
    /// Those among the taken that no server was subscribed to: nobody will ever see them. `None` in a Redis
    /// Cluster, where the node that answers knows its own subscribers only.
    pub unheard: Option<u64>,
    /// Bytes that wait in the queue.
    pub queued_bytes: usize,
    /// Whether there is a connection. Through a client of `fred` its loss is noticed when the next message is to be sent.
    pub connected: bool,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Chunk>,
    /// The bytes of all chunks.
    bytes: usize,
    /// Messages that were written and not answered.
    in_flight: u64,
    emitted: u64,
    taken: u64,
    failed: u64,
    unheard: u64,
    /// What no flush has reported.
    unreported: Option<FlushError>,
    /// The task that writes, while it waits for messages.
    writer: Option<Waker>,
    /// Nothing more is accepted.
    closed: bool,
    /// Why there is no connection, if there is none.
    away: Option<String>,
    /// An empty buffer for the next chunk.
    spare: Vec<u8>,
}

impl Queue {
    pub(crate) fn new(bounds: Bounds, on_error: Option<OnError>) -> Self {
        Self { state: Mutex::default(), room: Notify::new(), settled: Notify::new(), bounds, on_error }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a message, if there is room. A message that is longer than the whole queue is taken when nothing
    /// else waits.
    pub(crate) fn push(&self, verb: Verb, channel: &str, message: &[u8]) -> Result<(), Refusal> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(Refusal::Closed);
        }
        let most = channel.len() + message.len() + OVERHEAD;
        if state.bytes > 0 && state.bytes + most > self.bounds.max_bytes {
            return Err(Refusal::Full);
        }
        if state.chunks.back().is_none_or(|chunk| chunk.bytes.len() >= CHUNK) {
            let bytes = mem::take(&mut state.spare);
            state.chunks.push_back(Chunk { bytes, count: 0, since: Instant::now() });
        }
        if let Some(chunk) = state.chunks.back_mut() {
            let before = chunk.bytes.len();
            write_command(&mut chunk.bytes, verb, channel.as_bytes(), message);
            chunk.count += 1;
            state.bytes += chunk.bytes.len() - before;
        }
        state.emitted += 1;
        let writer = state.writer.take();
        drop(guard);
        if let Some(writer) = writer {
            writer.wake();
        }
        Ok(())
    }

    /// Queues a message, waiting for room for as long as an emit may.
    pub(crate) async fn push_when_room(
        self: Arc<Self>,
        verb: Verb,
        channel: String,
        message: Vec<u8>,
    ) -> Result<(), EmitError> {
        let pushed = timeout(self.bounds.timeout, async {
            loop {
                let mut room = pin!(self.room.notified());
                // From here on a notification is not missed.
                room.as_mut().enable();
                match self.push(verb, &channel, &message) {
                    Err(Refusal::Full) => room.await,
                    Err(Refusal::Closed) => return Err(EmitError::Closed),
                    Ok(()) => return Ok(()),
                }
            }
        });
        pushed.await.unwrap_or_else(|_| {
            let reason =
                self.lock().away.clone().unwrap_or_else(|| "redis is slow to take messages".to_owned());
            Err(EmitError::TimedOut { waited: self.bounds.timeout, reason })
        })
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.bounds.max_bytes
    }

    /// Waits until every message that was queued before is taken or failed, and reports what failed and was not
    /// reported yet.
    pub(crate) async fn flush(&self) -> Result<(), FlushError> {
        let target = self.lock().emitted;
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            {
                let mut state = self.lock();
                if state.taken + state.failed >= target {
                    return state.unreported.take().map_or(Ok(()), Err);
                }
            }
            settled.await;
        }
    }

    pub(crate) fn stats(&self, counts_subscribers: bool) -> Stats {
        let state = self.lock();
        Stats {
            emitted: state.emitted,
            taken: state.taken,
            failed: state.failed,
            unheard: counts_subscribers.then_some(state.unheard),
            queued_bytes: state.bytes,
            connected: state.away.is_none() && !state.closed,
        }
    }

    /// Accepts nothing more. What is queued still goes out.
    pub(crate) fn close(&self) {
        let writer = {
            let mut state = self.lock();
            state.closed = true;
            state.writer.take()
        };
        if let Some(writer) = writer {
            writer.wake();
        }
        self.room.notify_waiters();
    }

    /// Gives the next chunk, which counts as written from then on; `None` when the queue is closed and empty.
    pub(crate) fn poll_take(&self, context: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let mut state = self.lock();
        let Some(chunk) = state.chunks.pop_front() else {
            if state.closed {
                return Poll::Ready(None);
            }
            state.wait(context);
            return Poll::Pending;
        };
        state.bytes -= chunk.bytes.len();
        state.in_flight += chunk.count;
        drop(state);
        self.room.notify_waiters();
        Poll::Ready(Some(chunk))
    }

    /// Gives the buffer of a written chunk back for the next one. A large one goes: what a burst took is not
    /// kept.
    pub(crate) fn recycle(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= 4 * CHUNK {
            buffer.clear();
            self.lock().spare = buffer;
        }
    }

    /// Notes what Redis has answered, and counts what it has not.
    pub(crate) fn settle(&self, tally: Tally) -> u64 {
        let mut state = self.lock();
        state.taken += tally.taken;
        state.unheard += tally.unheard;
        state.in_flight = state.in_flight.saturating_sub(tally.taken + tally.refused);
        let in_flight = state.in_flight;
        let failed = tally.refusal.map(|text| state.fail(PublishError::Refused(text), tally.refused));
        self.settled(state, failed);
        in_flight
    }

    /// Notes that so many messages were written and will not be answered.
    pub(crate) fn lose(&self, cause: PublishError, count: u64) {
        let mut state = self.lock();
        state.in_flight = state.in_flight.saturating_sub(count);
        let failed = state.fail(cause, count);
        self.settled(state, Some(failed));
    }

    /// Notes that nothing of what was written will be answered any more.
    pub(crate) fn lose_in_flight(&self, reason: &str) {
        let lost = self.in_flight();
        if lost > 0 {
            self.lose(PublishError::ConnectionLost(reason.to_owned()), lost);
        }
    }

    /// Gives up what waits longer than it may, and says when the next message will; `None` while nothing waits.
    pub(crate) fn expire(&self) -> Option<Instant> {
        let mut state = self.lock();
        let (now, mut expired) = (Instant::now(), 0);
        while state.chunks.front().is_some_and(|chunk| now >= chunk.since + self.bounds.timeout)
            && let Some(chunk) = state.chunks.pop_front()
        {
            state.bytes -= chunk.bytes.len();
            expired += chunk.count;
        }
        let next = state.chunks.front().map(|chunk| chunk.since + self.bounds.timeout);
        if expired > 0 {
            let reason = state.away.clone().unwrap_or_default();
            let cause = PublishError::TimedOut { waited: self.bounds.timeout, reason };
            let failed = state.fail(cause, expired);
            self.settled(state, Some(failed));
            self.room.notify_waiters();
        }
        next
    }

    /// Waits until there is a message, or there will be none; `false` for the latter.
    pub(crate) fn poll_filled(&self, context: &mut Context<'_>) -> Poll<bool> {
        let mut state = self.lock();
        if !state.chunks.is_empty() {
            return Poll::Ready(true);
        }
        if state.closed {
            return Poll::Ready(false);
        }
        state.wait(context);
        Poll::Pending
    }

    /// Waits until nothing is unanswered.
    pub(crate) async fn answered(&self) {
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            if self.in_flight() == 0 {
                return;
            }
            settled.await;
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.lock().in_flight
    }

    /// Notes whether there is a connection, and if not, why. `true` if that is news.
    pub(crate) fn set_away(&self, away: Option<String>) -> bool {
        let mut state = self.lock();
        let news = state.away.is_some() != away.is_some();
        state.away = away;
        news
    }

    /// Ends everything: nobody will write any more.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.bytes = 0;
        let left = mem::take(&mut state.chunks).iter().map(|chunk| chunk.count).sum::<u64>();
        let left = left + mem::take(&mut state.in_flight);
        let failed = (left > 0).then(|| state.fail(PublishError::Abandoned, left));
        self.settled(state, failed);
        self.room.notify_waiters();
    }

    /// Tells those who wait, and those who want to hear of failures.
    fn settled(&self, state: MutexGuard<'_, State>, failed: Option<Failed>) {
        drop(state);
        self.settled.notify_waiters();
        let Some(Failed { cause, count, first }) = failed else { return };
        if first {
            tracing::warn!(count, %cause, "messages were not taken by redis");
        } else {
            tracing::debug!(count, %cause, "more messages were not taken by redis");
        }
        // A panic here would end the task that writes, and another one on the way out the process.
        if let Some(on_error) = &self.on_error
            && catch_unwind(AssertUnwindSafe(|| on_error(&cause, count))).is_err()
        {
            tracing::error!("on_error panicked");
        }
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats(true).fmt(formatter)
    }
}

/// Failures that somebody has to be told of.
struct Failed {
    cause: PublishError,
    count: u64,
    /// Nothing else waits to be reported.
    first: bool,
}

impl State {
    fn fail(&mut self, cause: PublishError, count: u64) -> Failed {
        self.failed += count;
        let first = self.unreported.is_none();
        let unreported =
            self.unreported.get_or_insert_with(|| FlushError { failed: 0, cause: cause.clone() });
        unreported.failed += count;
        Failed { cause, count, first }
    }

    fn wait(&mut self, context: &Context<'_>) {
        match &mut self.writer {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.writer = Some(context.waker().clone()),
        }
    }
}

/// The bytes from which on a chunk is full. One call writes so much, and a socket's buffer takes it.
const CHUNK: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn queue(max_bytes: usize) -> Arc<Queue> {
        Arc::new(Queue::new(Bounds { max_bytes, timeout: TIMEOUT }, None))
    }

    fn push(queue: &Queue) -> Result<(), Refusal> {
        queue.push(Verb::Publish, "c", &[b'x'; 1000])
    }

    fn answer(taken: u64) -> Tally {
        Tally { taken, ..Tally::default() }
    }

    async fn take(queue: &Queue) -> u64 {
        poll_fn(|context| queue.poll_take(context)).await.unwrap().count
    }

    fn refusals(queue: &Queue) -> (u64, u64, u64) {
        let Stats { emitted, taken, failed, .. } = queue.stats(true);
        (emitted, taken, failed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_takes_nothing_and_an_empty_one_anything() {
        let queue = queue(3000);
        assert_eq!((push(&queue), push(&queue), push(&queue)), (Ok(()), Ok(()), Err(Refusal::Full)));
        assert_eq!(take(&queue).await, 2);
        assert_eq!(queue.push(Verb::Publish, "c", &[b'x'; 100_000]), Ok(()));
        assert_eq!(push(&queue), Err(Refusal::Full));
        assert_eq!(queue.stats(true).emitted, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_emit_waits_for_room_and_no_longer_than_it_may() {
        let queue = queue(2000);
        push(&queue).unwrap();
        let start = Instant::now();
        queue.set_away(Some("connection refused".to_owned()));
        let emit = || Arc::clone(&queue).push_when_room(Verb::Publish, "c".to_owned(), vec![b'x'; 1000]);
        let error = emit().await.unwrap_err();
        assert_eq!(error.to_string(), "no room in the queue for 10s: connection refused");
        assert_eq!(start.elapsed(), TIMEOUT);

        let (waited, taken) = tokio::join!(emit(), take(&queue));
        assert!(waited.is_ok());
        assert_eq!((taken, start.elapsed()), (1, TIMEOUT));
        assert_eq!(queue.stats(true).emitted, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_room_learns_that_there_will_be_none() {
        let queue = queue(2000);
        push(&queue).unwrap();
        let emit = Arc::clone(&queue).push_when_room(Verb::Publish, "c".to_owned(), vec![b'x'; 1000]);
        let (waited, ()) = tokio::join!(emit, async { queue.close() });
        assert!(matches!(waited, Err(EmitError::Closed)), "{waited:?}");
        assert_eq!(push(&queue), Err(Refusal::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flush_waits_for_what_came_before_it_and_nothing_else() {
        let queue = queue(100_000);
        assert_eq!(queue.flush().await, Ok(()));
        push(&queue).unwrap();
        push(&queue).unwrap();
        let mut flush = pin!(queue.flush());
        assert!(timeout(TIMEOUT, &mut flush).await.is_err());
        push(&queue).unwrap();
        assert_eq!(take(&queue).await, 3);
        assert_eq!(queue.settle(answer(1)), 2);
        assert!(timeout(TIMEOUT, &mut flush).await.is_err());
        assert_eq!(queue.settle(answer(1)), 1);
        assert_eq!(flush.await, Ok(()));
        assert_eq!(refusals(&queue), (3, 2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_reported_once() {
        let queue = queue(100_000);
        for _ in 0..5 {
            push(&queue).unwrap();
        }
        take(&queue).await;
        let refusal = Some("NOPERM".to_owned());
        queue.settle(Tally { taken: 1, unheard: 1, refused: 2, refusal });
        queue.lose_in_flight("reset");
        let cause = PublishError::Refused("NOPERM".to_owned());
        let error = queue.flush().await.unwrap_err();
        assert_eq!(error, FlushError { failed: 4, cause });
        assert_eq!(
            error.to_string(),
            "redis has not taken 4 messages; the first one because redis refuses it: NOPERM"
        );
        assert_eq!(queue.flush().await, Ok(()));
        assert_eq!((refusals(&queue), queue.stats(true).unheard), ((5, 1, 4), Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_too_long_is_given_up_and_makes_room() {
        let queue = queue(2000);
        assert_eq!(queue.expire(), None);
        push(&queue).unwrap();
        let start = Instant::now();
        assert_eq!(queue.expire(), Some(start + TIMEOUT));
        tokio::time::advance(TIMEOUT / 2).await;
        let emit = Arc::clone(&queue).push_when_room(Verb::Publish, "c".to_owned(), vec![b'x'; 1000]);
        let expired = async {
            // why: virtual time, which moves on by itself.
            tokio::time::sleep_until(start + TIMEOUT).await;
            queue.set_away(Some("gone".to_owned()));
            queue.expire()
        };
        let (expired, waited) = tokio::join!(expired, emit);
        assert!(waited.is_ok());
        assert_eq!(expired, None);
        let cause = PublishError::TimedOut { waited: TIMEOUT, reason: "gone".to_owned() };
        // The second message is not settled yet, so only what is known is reported.
        assert_eq!(queue.lock().unreported, Some(FlushError { failed: 1, cause }));
        assert_eq!(queue.expire(), Some(start + TIMEOUT + TIMEOUT));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_writer_that_has_ended() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let note = Arc::clone(&told);
        let on_error: OnError =
            Box::new(move |cause, count| note.lock().unwrap().push((cause.clone(), count)));
        let queue = Queue::new(Bounds { max_bytes: 100_000, timeout: TIMEOUT }, Some(on_error));
        push(&queue).unwrap();
        take(&queue).await;
        push(&queue).unwrap();
        let (flushed, ()) = tokio::join!(queue.flush(), async { queue.abandon() });
        assert_eq!(flushed, Err(FlushError { failed: 2, cause: PublishError::Abandoned }));
        assert_eq!(*told.lock().unwrap(), [(PublishError::Abandoned, 2)]);
        assert_eq!(push(&queue), Err(Refusal::Closed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_callback_that_panics_ends_nothing() {
        let on_error: OnError = Box::new(|_, _| panic!("contained"));
        let queue = Queue::new(Bounds { max_bytes: 100_000, timeout: TIMEOUT }, Some(on_error));
        push(&queue).unwrap();
        push(&queue).unwrap();
        take(&queue).await;
        // As the writer does, which would then end and abandon the queue while it unwinds.
        queue.lose(PublishError::ConnectionLost("gone".to_owned()), 2);
        push(&queue).unwrap();
        queue.abandon();
        assert_eq!(refusals(&queue), (3, 0, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_burst_took_is_given_back() {
        let queue = queue(1_000_000);
        queue.push(Verb::Publish, "c", &[b'x'; 900_000]).unwrap();
        let chunk = poll_fn(|context| queue.poll_take(context)).await.unwrap();
        queue.recycle(chunk.bytes);
        assert_eq!(queue.lock().spare.capacity(), 0);
        queue.recycle(Vec::with_capacity(CHUNK));
        push(&queue).unwrap();
        assert!(queue.lock().chunks[0].bytes.capacity() >= CHUNK);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_is_emptied_first() {
        let queue = queue(100_000);
        push(&queue).unwrap();
        queue.close();
        assert!(poll_fn(|context| queue.poll_filled(context)).await);
        assert_eq!(take(&queue).await, 1);
        assert!(poll_fn(|context| queue.poll_take(context)).await.is_none());
        assert!(!poll_fn(|context| queue.poll_filled(context)).await);
    }
}
