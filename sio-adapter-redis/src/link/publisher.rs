//! The task of a publishing connection: connects, sends what is queued, counts the answers, connects again.
//!
//! What is sent is kept until it is answered, and at most `WINDOW` bytes are under way. When the connection ends, what
//! Redis has certainly not seen whole goes back to the front of the queue; what it may have seen is counted as
//! unconfirmed and not sent again, because a message must not arrive twice.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use fred::types::config::Server;
use tokio::time::{Instant, sleep_until};

use super::{
    RedisConnection, RedisEvent,
    event::LostReason,
    inbox::Next,
    life::Life,
    port::{Port, is_elsewhere},
    queue::{Entry, Lane, Question},
    resp::{Frame, Value},
    shared::{ConnectionId, Node, Report, Shared},
    stats::add,
    wire::Wire,
};

/// One publishing connection, through all its lives.
pub(super) struct Publisher {
    life: Life,
    lane: Arc<Lane>,
    /// The subscriptions to the same server.
    port: Arc<Port>,
    /// What is sent and not yet answered, in order.
    under_way: VecDeque<UnderWay>,
    /// Bytes of it.
    under_way_bytes: usize,
    /// What Redis was not ready to take: goes back to the queue once nothing is under way any more.
    again: Vec<Entry>,
    /// Whether that is because another server of the cluster is responsible.
    astray: bool,
    /// Until when nothing is taken from the queue.
    resting: Option<Instant>,
    rejected: Rejected,
}

enum UnderWay {
    Message(Entry),
    Question(Question),
    Ping,
}

/// Errors not yet told.
#[derive(Default)]
struct Rejected {
    messages: u64,
    told: Option<Instant>,
}

impl Publisher {
    pub(super) fn new(number: u64, shared: Arc<Shared>, node: &Node) -> Self {
        let id = ConnectionId { kind: RedisConnection::Publisher, number };
        Self {
            life: Life::new(id, shared, node.server.clone()),
            lane: Arc::clone(&node.lane),
            port: Arc::clone(&node.port),
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            again: Vec::new(),
            astray: false,
            resting: None,
            rejected: Rejected::default(),
        }
    }

    /// Runs until the link is closed.
    pub(super) async fn run(mut self) {
        while !self.life.shared.is_closing() {
            // Questions are answered from here on; the report of success comes after that.
            let lane = Arc::clone(&self.lane);
            let prepare = async |_: &mut Wire, _: &Server| {
                lane.set_up(true);
                Ok(())
            };
            let Some(mut wire) = self.life.attempt(prepare).await else { continue };
            let end = self.serve(&mut wire).await;
            self.lane.set_up(false);
            self.settle(wire.out.len());
            match end {
                Some(reason) => {
                    self.port.suspect();
                    self.life.lost(reason).await;
                }
                None => return,
            }
        }
    }

    /// Serves one connection. Returns why it ended, or nothing when the link is closed and everything is sent.
    async fn serve(&mut self, wire: &mut Wire) -> Option<LostReason> {
        let shared = Arc::clone(&self.life.shared);
        let (interval, limit) = (shared.options.probe_interval, shared.options.answer_timeout);
        let (mut questions, mut messages) = (Vec::new(), Vec::new());
        // When something was last answered, or sent while nothing was under way.
        let mut heard = Instant::now();
        let mut alarm = pin!(sleep_until(heard + interval));
        // Whoever lost the same Redis is subscribing again just now: what has been waiting goes out when we have done it
        // ourselves, else it would reach nobody. Not for ever: others may be subscribed although we cannot. And not when
        // the link is being closed: then we shall not subscribe any more.
        let port = Arc::clone(&self.port);
        let mut subscribed = pin!(port.subscribed());
        let mut unsubscribed = true;
        self.resting = Some(heard + limit + shared.options.connect_timeout);
        let mut told = false;
        loop {
            let closing = shared.is_closing();
            if closing && !std::mem::replace(&mut told, true) {
                self.resting = None;
            }
            let idle = self.under_way.is_empty();
            if wire.out.len() < BATCH && self.again.is_empty() {
                let room = if self.is_resting() {
                    0
                } else {
                    WINDOW.saturating_sub(self.under_way_bytes).min(BATCH)
                };
                self.lane.take(room, &mut questions, &mut messages);
                self.send(wire, questions.drain(..), messages.drain(..));
            }
            match (idle, self.under_way.is_empty()) {
                (true, false) => heard = Instant::now(),
                // What was put back by `again` waits in the queue.
                (true, true) if closing && !self.is_resting() => return None,
                _ => {}
            }
            let deadline = match (self.under_way.is_empty(), self.resting) {
                (false, _) => heard + limit,
                (true, Some(until)) => until,
                (true, None) => heard + interval,
            };
            // Later is looked at when the alarm rings: setting it costs more than that.
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            tokio::select! {
                done = wire.exchange() => {
                    match self.answers(wire).await {
                        Ok(true) => heard = Instant::now(),
                        Ok(false) => {}
                        Err(reason) => return Some(reason),
                    }
                    if let Err(reason) = done {
                        return Some(reason);
                    }
                }
                () = self.lane.wake.notified() => {}
                () = shared.closing(), if !closing => {}
                () = &mut subscribed, if unsubscribed => {
                    unsubscribed = false;
                    self.resting = None;
                }
                () = &mut alarm => {
                    let now = Instant::now();
                    match (deadline <= now, self.under_way.is_empty()) {
                        (true, false) => return Some(LostReason::Unanswered { after: limit }),
                        (true, true) if self.resting.take().is_none() => {
                            heard = now;
                            wire.out.command(&[b"PING"]);
                            self.under_way.push_back(UnderWay::Ping);
                        }
                        _ => {}
                    }
                    alarm.as_mut().reset(deadline.max(now + Duration::from_millis(1)));
                }
            }
        }
    }

    fn send(
        &mut self,
        wire: &mut Wire,
        questions: impl Iterator<Item = Question>,
        messages: impl Iterator<Item = Entry>,
    ) {
        for question in questions {
            wire.out.copy(&question.command);
            self.under_way.push_back(UnderWay::Question(question));
        }
        for entry in messages {
            self.under_way_bytes += entry.cost();
            wire.out.copy(&entry.head);
            if !entry.body.is_empty() {
                wire.out.share(entry.body.clone());
                wire.out.copy(b"\r\n");
            }
            self.under_way.push_back(UnderWay::Message(entry));
        }
    }

    /// Takes the answers that have come. Says whether there were any.
    async fn answers(&mut self, wire: &mut Wire) -> Result<bool, LostReason> {
        let (mut any, mut confirmed, mut cost) = (false, 0, 0);
        loop {
            let (value, bytes) = match wire.inbox.next().map_err(|what| LostReason::Protocol(what.0))? {
                Next::Empty => break,
                Next::TooLarge(size) => {
                    return Err(LostReason::Protocol(format!("an answer of {size} bytes")));
                }
                Next::Frame(Frame::Message { .. } | Frame::Confirmed { .. } | Frame::Other, _) => continue,
                Next::Frame(value, bytes) => (value, bytes),
            };
            any = true;
            let Some(asked) = self.under_way.pop_front() else {
                return Err(LostReason::Protocol("an answer that nobody asked for".to_owned()));
            };
            let value = match value {
                Frame::Number(_) if matches!(asked, UnderWay::Message(_)) => Value::Null,
                Frame::Number(n) => Value::Number(n),
                Frame::Error(text) => Value::Error(String::from_utf8_lossy(&bytes[text]).into_owned()),
                Frame::Value(value) => value,
                Frame::Message { .. } | Frame::Confirmed { .. } | Frame::Other => Value::Null,
            };
            match (asked, value) {
                (UnderWay::Message(entry), Value::Error(error)) => {
                    self.under_way_bytes -= entry.cost();
                    let elsewhere = self.life.shared.is_cluster() && is_elsewhere(&error);
                    if elsewhere || is_busy(&error) {
                        self.astray |= elsewhere;
                        self.again.push(entry);
                    } else {
                        cost += entry.cost();
                        self.reject(error).await;
                    }
                }
                (UnderWay::Message(entry), _) => {
                    self.under_way_bytes -= entry.cost();
                    cost += entry.cost();
                    confirmed += 1;
                }
                // Nobody may be waiting any more.
                (UnderWay::Question(question), Value::Error(error)) => {
                    drop(question.answer.send(Err(super::LinkError::Rejected(error))));
                }
                (UnderWay::Question(question), value) => drop(question.answer.send(Ok(value))),
                (UnderWay::Ping, _) => {}
            }
        }
        if cost > 0 {
            add(&self.life.shared.counters.confirmed, confirmed);
            self.life.shared.done(cost);
        }
        if any && self.under_way.is_empty() {
            if !self.again.is_empty() {
                self.lane.put_back(self.again.drain(..));
                self.resting = Some(Instant::now() + REST);
            }
            if std::mem::take(&mut self.astray) {
                // Until the supervisor has found out who is responsible.
                self.lane.hold();
                self.life.report(Report::Astray).await;
            }
            self.lane.rest();
        }
        Ok(any)
    }

    async fn reject(&mut self, error: String) {
        add(&self.life.shared.counters.rejected, 1);
        self.rejected.messages += 1;
        if self.rejected.told.is_none_or(|told| told.elapsed() >= Duration::from_secs(1)) {
            self.rejected.told = Some(Instant::now());
            let messages = std::mem::take(&mut self.rejected.messages);
            self.life.report(Report::Event(RedisEvent::PublishRejected { messages, error })).await;
        }
    }

    /// Decides what becomes of what was under way on a connection that has ended with so many bytes unwritten.
    fn settle(&mut self, mut unwritten: usize) {
        let (mut unseen, mut lost, mut cost) = (Vec::new(), 0, 0);
        while let Some(last) = self.under_way.pop_back() {
            let whole = unwritten == 0;
            match last {
                UnderWay::Message(entry) => {
                    let end = if entry.body.is_empty() { 0 } else { 2 };
                    unwritten = unwritten.saturating_sub(entry.head.len() + entry.body.len() + end);
                    if whole {
                        lost += 1;
                        cost += entry.cost();
                    } else {
                        unseen.push(entry);
                    }
                }
                UnderWay::Question(question) => {
                    unwritten = unwritten.saturating_sub(question.command.len());
                    drop(question.answer.send(Err(super::LinkError::Down)));
                }
                UnderWay::Ping => unwritten = unwritten.saturating_sub(b"*1\r\n$4\r\nPING\r\n".len()),
            }
        }
        self.under_way_bytes = 0;
        (self.resting, self.astray) = (None, false);
        // What Redis refused to take for the time being came before what it has not seen.
        self.lane.put_back(self.again.drain(..).chain(unseen.into_iter().rev()));
        self.lane.rest();
        if lost > 0 {
            add(&self.life.shared.counters.unconfirmed, lost);
            self.life.shared.done(cost);
        }
    }

    fn is_resting(&self) -> bool {
        self.resting.is_some_and(|until| until > Instant::now())
    }
}

impl Drop for Publisher {
    /// Counts what was under way when the task is ended in the middle.
    fn drop(&mut self) {
        self.settle(0);
    }
}

/// Says whether Redis will take the same command a little later. It has not done it.
fn is_busy(error: &str) -> bool {
    ["BUSY ", "LOADING ", "MASTERDOWN "].iter().any(|word| error.starts_with(word))
}

/// Bytes handed to the system at once: from here on a larger call is no faster.
const BATCH: usize = 64 << 10;

/// Bytes, with overhead, that may be unanswered: what is lost at most when a connection breaks. Over a network with a
/// millisecond there and back this gives 256 MB a second.
const WINDOW: usize = 256 << 10;

/// How long is waited before Redis gets again what it was not ready to take.
const REST: Duration = Duration::from_millis(100);
