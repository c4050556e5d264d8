//! What both dialects have in common: who this node is, what it has asked and what it was asked.
//!
//! Everything that changes is behind one lock, which is held for a look into a table and never while anything else is
//! called. Broadcasts, in and out, do not touch it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sio_protocol::Limits;
use sio_protocol::cluster::{ClusterError, Payload};
use sio_protocol::socketio::OwnedArgs;
use sio_server::{AdapterError, BroadcastOptions, Incomplete};
use tokio::sync::oneshot;

use super::ids::Ids;
use super::local::{Local, Question, ReplyTo, Sink};
use super::questions::Questions;
use super::requests::{Answer, Asker, Caller, Finished, Opened, Requests, Step, Taken};
use super::stats::{Counters, count};
use super::{Answers, Bus, Uncounted};

/// What bounds a node and how long it waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// How long answers of other nodes are awaited.
    pub(crate) requests_timeout: Duration,
    /// How many requests may be open.
    pub(crate) max_requests: usize,
    /// How many questions of other nodes to clients may be open.
    pub(crate) max_questions: usize,
    /// How many bytes the answers to one request may have.
    pub(crate) max_answer_bytes: usize,
    /// What a message may hold.
    pub(crate) limits: Limits,
}

/// What tells one namespace of one node from all others.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) nsp: Box<str>,
    /// What all names that the node draws come from.
    pub(crate) seed: u64,
    pub(crate) counters: Arc<Counters>,
}

#[derive(Debug)]
pub(super) struct Core<L: Local> {
    pub(super) local: L,
    pub(super) nsp: Box<str>,
    pub(super) uid: Box<str>,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    ids: Ids,
    draw: fn(&Ids) -> Box<str>,
    requests_timeout: Duration,
    /// Where requests go, and whose subscribers are counted.
    channel: String,
    waiting: Mutex<Waiting<L::Sink>>,
}

#[derive(Debug)]
struct Waiting<S> {
    requests: Requests<S>,
    questions: Questions<S>,
}

impl<L: Local> Core<L> {
    /// `draw` makes names in the form of the dialect.
    pub(super) fn new(
        local: L,
        identity: Identity,
        settings: &Settings,
        draw: fn(&Ids) -> Box<str>,
        channel: String,
    ) -> Self {
        let ids = Ids::new(identity.seed);
        let waiting = Waiting {
            requests: Requests::new(settings.max_requests, settings.max_answer_bytes),
            questions: Questions::new(settings.max_questions),
        };
        Self {
            local,
            nsp: identity.nsp,
            uid: draw(&ids),
            limits: settings.limits,
            counters: identity.counters,
            ids,
            draw,
            requests_timeout: settings.requests_timeout,
            channel,
            waiting: Mutex::new(waiting),
        }
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    pub(super) fn malformed(&self, error: &ClusterError) {
        self.counters.malformed(&self.nsp, error);
    }

    /// Publishes what `write` makes. What cannot be written is not published in part; what the queue refuses is counted
    /// there.
    pub(super) fn publish(
        &self,
        channel: &str,
        bus: &dyn Bus,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ClusterError>,
    ) {
        match encoded(write) {
            Ok(message) => {
                if let Err(refused) = bus.publish(channel, message) {
                    tracing::debug!(nsp = &*self.nsp, %refused, "a message to the other nodes was dropped");
                }
            }
            Err(error) => {
                self.local.report(format!("a message to the other nodes cannot be written: {error}"))
            }
        }
    }

    // What this node asks

    /// Asks all other nodes for an answer each; `write` makes the request of its id.
    pub(super) fn ask(
        &self,
        asker: Asker<L::Sink>,
        timeout: Option<Duration>,
        now: Instant,
        bus: &dyn Bus,
        write: impl FnOnce(&str, &mut Vec<u8>) -> Result<(), ClusterError>,
    ) {
        let id = self.new_id();
        let message = match encoded(|out| write(&id, out)) {
            Ok(message) => message,
            Err(error) => {
                let cause = AdapterError::Unreachable(format!("the request cannot be written: {error}"));
                return asker.finish(Some(cause)).tell();
            }
        };
        let timeout = timeout.unwrap_or(self.requests_timeout);
        let opened = {
            let mut waiting = self.locked();
            let opened = waiting.requests.open(&id, asker, Some(message), now, timeout);
            opened.map_err(|asker| (asker, waiting.requests.refusal()))
        };
        match opened {
            Ok(opened) => Self::opened(opened, bus),
            Err((asker, cause)) => {
                count(&self.counters.refused_requests);
                asker.finish(Some(cause)).tell();
            }
        }
    }

    /// Asks the clients of all other nodes, at once; `write` makes the request of its id.
    pub(super) fn ask_clients(
        &self,
        sink: &L::Sink,
        options: &BroadcastOptions,
        now: Instant,
        bus: &dyn Bus,
        write: impl FnOnce(&str, &mut Vec<u8>) -> Result<(), ClusterError>,
    ) {
        let id = self.new_id();
        let message = match encoded(|out| write(&id, out)) {
            Ok(message) => message,
            Err(error) => return self.local.report(format!("a broadcast cannot be written: {error}")),
        };
        // Stands for all other nodes until they have been counted and have said how many clients they ask: the sink
        // must not find itself complete before that.
        sink.expect_parties(1);
        let asker = Asker::Clients { sink: sink.clone(), asked: 0, answered: 0, released: false };
        let timeout = options.flags.timeout.unwrap_or(self.requests_timeout);
        let opened = {
            let mut waiting = self.locked();
            let opened = waiting.requests.open(&id, asker, None, now, timeout);
            opened.map_err(|_| waiting.requests.refusal())
        };
        if let Err(cause) = &opened {
            // The clients get the event all the same; the caller's timeout ends its waiting.
            count(&self.counters.refused_requests);
            self.local.report(format!("acknowledgements of other nodes are not awaited: {cause}"));
        }
        if let Err(refused) = bus.publish(&self.channel, message) {
            // A count may have found that there is nobody to ask: then the sink has heard that already.
            let waits = opened.is_err() || self.locked().requests.forget(&id);
            if waits {
                sink.expect(0);
            }
            self.local.report(format!("a broadcast did not leave this node: {refused}"));
        }
        // Also for a request that has ended by now: others may have come to rely on this count.
        if let Ok(opened) = opened {
            Self::opened(opened, bus);
        }
    }

    fn opened(opened: Opened, bus: &dyn Bus) {
        if opened.wake {
            bus.wake();
        }
        if opened.count {
            bus.count();
        }
    }

    pub(super) fn is_asking(&self, id: &str) -> bool {
        self.locked().requests.contains(id)
    }

    pub(super) fn handle_count(&self, nodes: &Result<usize, Uncounted>, bus: &dyn Bus) {
        let (steps, again) = self.locked().requests.counted(nodes);
        for step in steps {
            match step {
                Step::Publish(id, message) => {
                    let Err(refused) = bus.publish(&self.channel, message) else { continue };
                    let cause = AdapterError::Unreachable(refused.to_string());
                    let failed = self.locked().requests.fail(&id, cause);
                    self.end_incomplete(failed);
                }
                Step::Finish(finished) if nodes.is_err() => self.end_incomplete([finished]),
                Step::Finish(finished) => finished.tell(),
                Step::Release(sink) => sink.expect(0),
            }
        }
        if again {
            bus.count();
        }
    }

    /// Takes the answer of a node to a request, in a message of `size` bytes. `from` is the node's name, if the answer
    /// says.
    pub(super) fn handle_answer(&self, id: &str, from: Option<&str>, size: usize, answer: Answer) {
        let taken = self.locked().requests.answered(id, from, size, answer);
        match taken {
            Taken::Unknown => count(&self.counters.unconcerned),
            Taken::Kept => {}
            Taken::Finished(finished) => finished.tell(),
        }
    }

    /// Takes how many clients another node asks. A number that no node can mean is as good as none: the node is waited
    /// for until the timeout.
    pub(super) fn handle_client_count(&self, id: &str, from: Option<&str>, clients: u64) {
        if clients > MAX_CLIENTS {
            return self.malformed(&ClusterError::ClientCountTooLarge { seen: clients, limit: MAX_CLIENTS });
        }
        let clients = usize::try_from(clients).unwrap_or(usize::MAX);
        let Some(sink) = self.locked().requests.sink_for_count(id, from) else {
            return count(&self.counters.unconcerned);
        };
        // One more node, and how many it asks: together they leave the sink as incomplete as it was.
        sink.expect_parties(1);
        sink.expect(clients);
        let release = self.locked().requests.clients_asked(id, from, clients);
        if let Some(sink) = release {
            sink.expect(0);
        }
    }

    /// Takes the acknowledgement of a client of another node.
    pub(super) fn handle_client_answer(&self, id: &str, size: usize, answer: OwnedArgs) {
        let sink = self.locked().requests.client_answered(id, size);
        match sink {
            Some(sink) => sink.answer(answer),
            None => count(&self.counters.unconcerned),
        }
    }

    // What this node is asked

    /// Asks the clients of this node on behalf of another. `asked` is called with how many those are if the event could
    /// not be sent, because somebody waits for the number.
    pub(super) fn handle_question(
        &self,
        packet: &Payload<'_>,
        options: &BroadcastOptions,
        to: ReplyTo,
        now: Instant,
        bus: &dyn Bus,
        asked: impl FnOnce(&Question, usize),
    ) {
        let timeout = options.flags.timeout.unwrap_or(self.requests_timeout);
        let opened = self.locked().questions.open(now, timeout);
        let question = Question { key: opened.map(|(key, _)| key), to };
        if let Some((_, wake)) = opened {
            if wake {
                bus.wake();
            }
        } else {
            // The clients get the event and the asker hears of them; that their answers do not come, it notices.
            count(&self.counters.refused_questions);
        }
        let sink = self.local.sink_for(question.clone());
        if let Err(error) = self.local.broadcast_with_ack_with(options, &sink, |json| packet.write_data(json))
        {
            self.malformed(&error);
            asked(&question, 0);
        }
        let done = match question.key {
            Some(key) => self.locked().questions.keep(key, sink),
            None => Some(sink),
        };
        if let Some(sink) = done {
            sink.close();
        }
    }

    /// Notes how many clients of this node are asked.
    pub(super) fn note_asked(&self, question: &Question, clients: usize) {
        let done = question.key.and_then(|key| self.locked().questions.asked(key, clients));
        if let Some(sink) = done {
            sink.close();
        }
    }

    /// Notes that a client of this node has answered or is gone.
    pub(super) fn note_answered(&self, question: &Question) {
        let done = question.key.and_then(|key| self.locked().questions.answered(key));
        if let Some(sink) = done {
            sink.close();
        }
    }

    // Time, and the end

    pub(super) fn handle_timeout(&self, now: Instant) {
        let (late, sinks) = {
            let mut waiting = self.locked();
            (waiting.requests.expire(now), waiting.questions.expire(now))
        };
        self.end_incomplete(late);
        sinks.iter().for_each(Sink::close);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.locked();
        let deadlines = [waiting.requests.next_deadline(), waiting.questions.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn close(&self) {
        let (open, sinks) = {
            let mut waiting = self.locked();
            (waiting.requests.close(), waiting.questions.close())
        };
        self.end_incomplete(open);
        sinks.iter().for_each(Sink::close);
    }

    /// How many requests and questions are open.
    #[cfg(test)]
    pub(super) fn open_count(&self) -> (usize, usize) {
        let waiting = self.locked();
        (waiting.requests.len(), waiting.questions.len())
    }

    fn end_incomplete(&self, ended: impl IntoIterator<Item = Finished>) {
        for finished in ended {
            count(&self.counters.incomplete);
            finished.tell();
        }
    }

    fn new_id(&self) -> Box<str> {
        loop {
            let id = (self.draw)(&self.ids);
            // Six characters are few enough to meet one that is still in use.
            if !self.is_asking(&id) {
                return id;
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Waiting<L::Sink>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A caller, and what it waits for.
pub(super) fn caller<T>() -> (Caller<T>, Answers<T>) {
    oneshot::channel()
}

/// An answer that is there already.
pub(super) fn at_once<T>(answer: Result<Vec<T>, Incomplete<T>>) -> Answers<T> {
    let (caller, answers) = oneshot::channel();
    // The receiver is in our hands.
    let _ = caller.send(answer);
    answers
}

fn encoded(write: impl FnOnce(&mut Vec<u8>) -> Result<(), ClusterError>) -> Result<Bytes, ClusterError> {
    let mut out = Vec::new();
    write(&mut out)?;
    Ok(out.into())
}

/// More connections than one node holds. What is awaited in vain costs its caller an entry for each client.
const MAX_CLIENTS: u64 = 1_000_000;
