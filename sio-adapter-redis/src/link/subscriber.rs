//! The task of a subscribing connection: connects, subscribes, proves it, hands on what comes, connects again.
//!
//! Messages are handed on from here, in the order in which they come; nothing is read ahead of a receiver that keeps up.
//! A connection counts as standing when a probe, published on it after all subscriptions, has come back through them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
};

use bytes::Bytes;
use fred::types::{cluster::ClusterRouting, config::Server};
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until, timeout},
};

use super::{
    Receiver, RedisConnection, RedisEvent, Space, Topic,
    event::LostReason,
    inbox::Next,
    life::Life,
    once::Once,
    port::{Asked, Port, Refused},
    resp::{Frame, Value, command},
    shared::{ConnectionId, Node, Report, Shared},
    stats::add,
    wire::{Failure, Wire, refused},
};

/// One subscribing connection, through all its lives.
pub(super) struct Subscriber {
    life: Life,
    node: Node,
}

impl Subscriber {
    pub(super) fn new(number: u64, shared: Arc<Shared>, node: &Node) -> Self {
        let id = ConnectionId { kind: RedisConnection::Subscriber, number };
        let node = node.clone();
        Self { life: Life::new(id, shared, node.server.clone()), node }
    }

    /// Runs until the link is closed.
    pub(super) async fn run(mut self) {
        while !self.life.shared.is_closing() {
            let mut session = Session::new(&self.life, &self.node);
            let prove = async |wire: &mut Wire, server: &Server| session.prove(wire, server).await;
            let Some(mut wire) = self.life.attempt(prove).await else {
                self.node.port.lost(); // it may have broken after the confirmations
                continue;
            };
            let end = session.serve(&mut wire).await;
            self.node.port.lost();
            match end {
                // Redis is there, but has ended this connection in the middle of a burst.
                Some(_) if session.behind && self.is_alive().await => {
                    self.life.lost(LostReason::Overrun).await
                }
                Some(reason) => self.life.lost(reason).await,
                None => return,
            }
        }
    }

    /// Asks the server through the other connection.
    async fn is_alive(&self) -> bool {
        let mut ping = Vec::new();
        command(&mut ping, &[b"PING"]);
        let Ok(answer) = self.node.lane.ask(ping) else { return false };
        let limit = self.life.shared.options.answer_timeout;
        matches!(timeout(limit, answer).await, Ok(Ok(Ok(_))))
    }
}

/// What is true for one connection only.
struct Session {
    shared: Arc<Shared>,
    port: Arc<Port>,
    /// What is probed.
    probe: Topic,
    /// The number of the last probe, and whether it has come back.
    probes: u64,
    returned: bool,
    asked: Asked,
    once: Once,
    /// Whether messages may come in several copies; unknown after a change.
    overlap: Option<bool>,
    /// A command that was refused and without which nothing works.
    fatal: Option<(&'static str, String)>,
    /// Whether the supervisor knows that something is to be asked of another server.
    astray_told: bool,
    /// Whether the connection ended while messages were waiting.
    behind: bool,
    /// Whether the link is being closed.
    leaving: bool,
}

impl Session {
    fn new(life: &Life, node: &Node) -> Self {
        let shared = Arc::clone(&life.shared);
        let port = Arc::clone(&node.port);
        let probe = probe_topic(&shared, life.id.number, node.server.as_ref());
        let singly = shared.is_cluster();
        Self {
            shared,
            port,
            probe,
            probes: 0,
            returned: true,
            asked: Asked::new(singly),
            once: Once::default(),
            overlap: None,
            fatal: None,
            astray_told: false,
            behind: false,
            leaving: false,
        }
    }

    /// Subscribes to everything and waits until a probe has come back.
    async fn prove(&mut self, wire: &mut Wire, server: &Server) -> Result<(), Failure> {
        let broken = |reason: LostReason| Failure::Temporary(reason.to_string());
        self.asked.subscribe(&self.probe, &mut wire.out);
        self.take_changes(wire, true);
        self.send_probe(wire);
        loop {
            while self.handle(wire).await.map_err(broken)? {}
            if let Some((command, error)) = self.fatal.take() {
                return Err(refused(server, command, error));
            }
            if self.returned {
                return Ok(());
            }
            wire.exchange().await.map_err(broken)?;
        }
    }

    /// Serves one connection. Returns why it ended, or nothing when the link is closed.
    async fn serve(&mut self, wire: &mut Wire) -> Option<LostReason> {
        let shared = Arc::clone(&self.shared);
        let (interval, limit) = (shared.options.probe_interval, shared.options.answer_timeout);
        let mut ended = None;
        // When something last came, or was asked while nothing was to come.
        let mut heard = Instant::now();
        let mut alarm = pin!(sleep_until(heard + interval));
        loop {
            match self.handle(wire).await {
                // In the middle of a burst: what waits in Redis is fetched, and others have their turn.
                Ok(true) => {
                    heard = Instant::now();
                    if ended.is_none() {
                        ended = wire.read_ahead().await.err();
                        self.behind = ended.is_some();
                    }
                    yield_now().await;
                    continue;
                }
                Ok(false) => {}
                Err(reason) => return (!self.leaving).then_some(reason),
            }
            if let Some((command, error)) = self.fatal.take() {
                return Some(LostReason::Refused(format!("{command}: {error}")));
            }
            if ended.is_some() {
                // Whatever ends it while it is being left, it is left.
                return ended.filter(|_| !self.leaving);
            }
            let waiting = self.is_waiting();
            if self.port.take_suspicion() {
                self.send_probe(wire);
            } else if self.returned {
                self.port.set_subscribed(true);
            }
            if !self.leaving && shared.is_closing() {
                self.leave(wire);
            }
            self.take_changes(wire, false);
            if !waiting && self.is_waiting() {
                heard = Instant::now();
            }
            let deadline = heard + if self.is_waiting() { limit } else { interval };
            // Later is looked at when the alarm rings: setting it costs more than that.
            if deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            tokio::select! {
                done = wire.exchange() => match done {
                    Ok(true) => heard = Instant::now(),
                    Ok(false) => {}
                    Err(reason) => {
                        ended = Some(reason);
                        self.behind = wire.inbox.is_behind();
                    }
                },
                () = self.port.wake.notified() => {}
                () = shared.closing(), if !self.leaving => {}
                () = &mut alarm => {
                    let now = Instant::now();
                    if deadline <= now {
                        if self.is_waiting() {
                            return (!self.leaving).then_some(LostReason::ProbeLost { after: limit });
                        }
                        heard = now;
                        self.send_probe(wire);
                    }
                    alarm.as_mut().reset(deadline.max(now + limit.min(interval)));
                }
            }
        }
    }

    /// Handles what has come, but not more than a `TURN`. Says whether there is more.
    async fn handle(&mut self, wire: &mut Wire) -> Result<bool, LostReason> {
        let receiver = self.shared.receiver();
        let mut left = TURN;
        loop {
            let mut next = Ok(Next::Empty);
            let mut take = || next = self.take_messages(wire, receiver.as_deref(), &mut left);
            match &receiver {
                Some(receiver) => receiver.burst(&mut take),
                None => take(),
            }
            match next? {
                Next::Empty => return Ok(left == 0),
                Next::TooLarge(bytes) => {
                    add(&self.shared.counters.oversized, 1);
                    let limit = self.shared.options.max_read_ahead;
                    self.tell(RedisEvent::MessageTooLarge { bytes, limit }).await;
                }
                Next::Frame(frame, bytes) => self.answer(wire, frame, &bytes).await?,
            }
        }
    }

    /// Hands messages on until something else comes, or nothing, or `left` are no more left of the turn.
    fn take_messages(
        &mut self,
        wire: &mut Wire,
        receiver: Option<&dyn Receiver>,
        left: &mut usize,
    ) -> Result<Next, LostReason> {
        let mut received = 0;
        let mut next = Ok(Next::Empty);
        while *left > 0 {
            *left -= 1;
            next = wire.inbox.next().map_err(|what| LostReason::Protocol(what.0));
            let Ok(Next::Frame(Frame::Message { pattern, channel, payload }, bytes)) = &next else { break };
            let message = bytes.slice(payload.clone());
            if bytes[channel.clone()] == *self.probe.name().as_bytes() {
                self.returned |= *message == *self.probes.to_string().as_bytes();
            } else if *self.overlap.get_or_insert_with(|| self.asked.may_overlap())
                && self.once.is_copy(
                    pattern.clone().map(|pattern| bytes.slice(pattern)),
                    &bytes.slice(channel.clone()),
                )
            {
                add(&self.shared.counters.duplicates, 1);
            } else {
                received += 1;
                self.hand_on(receiver, &bytes[channel.clone()], message);
            }
            next = Ok(Next::Empty);
        }
        if received > 0 {
            add(&self.shared.counters.received, received);
        }
        next
    }

    fn hand_on(&self, receiver: Option<&dyn Receiver>, channel: &[u8], message: Bytes) {
        let (Some(receiver), Ok(channel)) = (receiver, std::str::from_utf8(channel)) else {
            add(&self.shared.counters.unreadable, u64::from(receiver.is_some()));
            return;
        };
        // A bug in what handles messages must not end the link: nobody would notice until somebody misses a message.
        if catch_unwind(AssertUnwindSafe(|| receiver.receive(channel, message))).is_err() {
            add(&self.shared.counters.panics, 1);
            tracing::error!("a message from Redis made its handler panic");
        }
    }

    /// Handles what is no message.
    async fn answer(&mut self, wire: &mut Wire, frame: Frame, bytes: &Bytes) -> Result<(), LostReason> {
        let error = match frame {
            Frame::Confirmed { verb, topic } => {
                self.once.reset();
                self.overlap = None;
                self.asked.confirmed(verb, topic.map(|topic| &bytes[topic]));
                None
            }
            Frame::Number(receivers) => match (self.asked.published(), receivers) {
                // Nobody is subscribed to it, not even we; unless that was refused, which says more.
                (true, 0) if self.fatal.is_none() => {
                    return Err(LostReason::ProbeLost { after: std::time::Duration::ZERO });
                }
                (true, _) => None,
                (false, _) => return unexpected("a number"),
            },
            Frame::Error(text) => Some(String::from_utf8_lossy(&bytes[text]).into_owned()),
            Frame::Value(Value::Error(error)) => Some(error),
            Frame::Value(_) if !self.leaving => return unexpected("a value"),
            Frame::Value(_) | Frame::Other | Frame::Message { .. } => None,
        };
        if let Some(error) = error
            && !self.leaving
        {
            self.refused(wire, error).await?;
        }
        if let Some(number) = self.asked.reached() {
            self.port.confirm(number);
        }
        if self.asked.astray && !self.astray_told {
            self.astray_told = true;
            self.report(Report::Astray).await;
        }
        Ok(())
    }

    async fn refused(&mut self, wire: &mut Wire, error: String) -> Result<(), LostReason> {
        let verb = |topic: &Topic| topic.verb(true).name();
        match self.asked.refused(&error, &mut wire.out) {
            None => return unexpected(&error),
            Some(Refused::Nothing) => {}
            Some(Refused::Probe) => drop(self.fatal.get_or_insert(("PUBLISH", error))),
            Some(Refused::Topic(topic) | Refused::Elsewhere(topic)) if topic == self.probe => {
                self.fatal.get_or_insert((verb(&topic), error));
            }
            Some(Refused::Elsewhere(_)) => {}
            Some(Refused::Topic(topic)) => {
                add(&self.shared.counters.rejected_subscriptions, 1);
                let topic = topic.name().to_owned();
                self.tell(RedisEvent::SubscriptionRejected { topic, error }).await;
            }
        }
        Ok(())
    }

    fn take_changes(&mut self, wire: &mut Wire, all: bool) {
        if !self.leaving
            && let Some(changes) = self.port.take(all)
        {
            self.astray_told &= changes.all.is_none();
            self.asked.apply(changes, &mut wire.out);
            // Nothing may have had to be asked.
            if let Some(number) = self.asked.reached() {
                self.port.confirm(number);
            }
        }
    }

    fn send_probe(&mut self, wire: &mut Wire) {
        self.probes += 1;
        self.returned = false;
        add(&self.shared.counters.probes, 1);
        self.asked.probe(&self.probe, self.probes.to_string().as_bytes(), &mut wire.out);
    }

    /// Takes every subscription back and says goodbye: when Redis ends the connection, nobody counts us any more.
    fn leave(&mut self, wire: &mut Wire) {
        self.leaving = true;
        for command in [b"UNSUBSCRIBE".as_slice(), b"PUNSUBSCRIBE", b"SUNSUBSCRIBE", b"QUIT"] {
            wire.out.command(&[command]);
        }
    }

    fn is_waiting(&self) -> bool {
        self.leaving || !self.returned || self.asked.is_waiting()
    }

    async fn tell(&self, event: RedisEvent) {
        self.report(Report::Event(event)).await;
    }

    async fn report(&self, report: Report) {
        // An error would mean that the supervisor is gone, and this task with it.
        let _ = self.shared.reports.send(report).await;
    }
}

fn unexpected<T>(what: &str) -> Result<T, LostReason> {
    Err(LostReason::Protocol(format!("an answer that nobody asked for: {what}")))
}

/// Finds a channel of our own. In a cluster a shard's channel has to be in a slot of the server that is probed.
fn probe_topic(shared: &Shared, number: u64, node: Option<&Server>) -> Topic {
    let name = format!("{}{}-{number}", shared.options.probe_prefix, shared.name);
    if shared.options.space == Space::Classic {
        return Topic::Channel(name.into());
    }
    let directory = shared.directory();
    if let (Some(node), Some(routing)) = (node, &directory.routing) {
        // A server with slots has one in 16384 at least; one without any is on its way out, and says so.
        for attempt in 0..100_000 {
            let name = format!("{name}-{attempt}");
            if routing.get_server(ClusterRouting::hash_key(name.as_bytes())) == Some(node) {
                return Topic::Shard(name.into());
            }
        }
    }
    Topic::Shard(name.into())
}

/// Messages handled before the runtime's other tasks get their turn: a third of a millisecond, if one takes a
/// microsecond.
const TURN: usize = 256;
