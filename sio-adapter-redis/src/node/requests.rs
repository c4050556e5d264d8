//! What this node has asked the others and is not fully answered yet.
//!
//! Pure data behind the lock of [`Core`](super::core::Core): methods say what is to be done once the lock is released.
//! A request waits first for the number of nodes, then for as many answers. Requests that come while nodes are being
//! counted share the next count, so that however many there are, one count at a time is under way.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sio_protocol::socketio::OwnedArgs;
use sio_server::{AdapterError, Incomplete, SocketDetails, SocketId};
use tokio::sync::oneshot;

use super::Uncounted;
use super::local::Sink;

/// All open requests of a node.
#[derive(Debug)]
pub(super) struct Requests<S> {
    open: HashMap<Box<str>, Request<S>>,
    deadlines: BTreeSet<(Instant, Box<str>)>,
    /// Those that the count under way is for.
    counting: Vec<Box<str>>,
    /// Those that came after it had begun, for which it may be too old.
    uncounted: Vec<Box<str>>,
    is_counting: bool,
    purged: Option<Instant>,
    max_open: usize,
    max_bytes: usize,
    is_closed: bool,
}

/// Who waits, and what has arrived for it.
#[derive(Debug)]
pub(super) enum Asker<S> {
    Sockets {
        caller: Caller<SocketDetails>,
        arrived: Vec<SocketDetails>,
        ids: HashSet<SocketId>,
    },
    Rooms {
        caller: Caller<String>,
        arrived: BTreeSet<String>,
    },
    Events {
        caller: Caller<OwnedArgs>,
        arrived: Vec<OwnedArgs>,
    },
    /// The sink has what arrives. Counted is how many clients the others have asked, and how many have answered.
    Clients {
        sink: S,
        asked: usize,
        answered: usize,
        released: bool,
    },
}

pub(super) type Caller<T> = oneshot::Sender<Result<Vec<T>, Incomplete<T>>>;

/// What one node answers to a request that wants one answer of each.
#[derive(Debug)]
pub(super) enum Answer {
    Sockets(Vec<SocketDetails>),
    Rooms(Vec<String>),
    Event(OwnedArgs),
    /// Something else than was asked for: the node has answered, with nothing.
    Nothing,
}

#[derive(Debug)]
struct Request<S> {
    deadline: Instant,
    asker: Asker<S>,
    /// What is to be published when the nodes are counted.
    message: Option<Bytes>,
    /// How many other nodes there are, once they are counted.
    peers: Option<usize>,
    heard: Heard,
    /// The length of all answers together.
    bytes: usize,
}

/// Which nodes have answered. One whose answers do not say whose they are counts as often as it answers, as in Node.
#[derive(Debug, Default)]
struct Heard {
    count: usize,
    names: HashSet<Box<str>>,
}

/// What follows from a new request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    /// The nodes are to be counted.
    pub(super) count: bool,
    /// It is the next to time out.
    pub(super) wake: bool,
}

/// What follows from a count for one request.
pub(super) enum Step<S> {
    Publish(Box<str>, Bytes),
    Finish(Finished),
    /// All that there are have said how many clients they ask.
    Release(S),
}

/// A request that has ended, whose caller has yet to be told, which is done without the lock.
#[must_use]
pub(super) struct Finished(Box<dyn FnOnce() + Send>);

/// What became of an answer.
pub(super) enum Taken {
    Unknown,
    Kept,
    Finished(Finished),
}

impl<S: Sink> Requests<S> {
    pub(super) fn new(max_open: usize, max_bytes: usize) -> Self {
        Self {
            open: HashMap::new(),
            deadlines: BTreeSet::new(),
            counting: Vec::new(),
            uncounted: Vec::new(),
            is_counting: false,
            purged: None,
            max_open,
            max_bytes,
            is_closed: false,
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.open.contains_key(id)
    }

    /// Why [`open`](Self::open) has refused.
    pub(super) fn refusal(&self) -> AdapterError {
        if self.is_closed {
            AdapterError::Unreachable(CLOSED.to_owned())
        } else {
            AdapterError::TooManyPending(self.max_open)
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Notes a request whose `message` is to be published once the nodes are counted, or was published already.
    pub(super) fn open(
        &mut self,
        id: &str,
        asker: Asker<S>,
        message: Option<Bytes>,
        now: Instant,
        timeout: Duration,
    ) -> Result<Opened, Asker<S>> {
        if self.open.len() >= self.max_open {
            self.purge(now);
        }
        if self.is_closed || self.open.len() >= self.max_open {
            return Err(asker);
        }
        let deadline = now + timeout.min(FOR_EVER);
        let wake = self.next_deadline().is_none_or(|next| deadline < next);
        let request = Request { deadline, asker, message, peers: None, heard: Heard::default(), bytes: 0 };
        self.open.insert(id.into(), request);
        self.deadlines.insert((deadline, id.into()));
        let count = !std::mem::replace(&mut self.is_counting, true);
        if count { &mut self.counting } else { &mut self.uncounted }.push(id.into());
        Ok(Opened { count, wake })
    }

    /// Takes the number of nodes, this one included. Says whether they are to be counted once more.
    pub(super) fn counted(&mut self, count: &Result<usize, Uncounted>) -> (Vec<Step<S>>, bool) {
        let mut steps = Vec::new();
        for id in std::mem::take(&mut self.counting) {
            let Some(request) = self.open.get_mut(&id) else { continue };
            match count {
                Ok(nodes) => {
                    request.peers = Some(nodes.saturating_sub(1));
                    if let Some(sink) = request.release() {
                        steps.push(Step::Release(sink));
                    }
                    if request.is_complete() {
                        steps.extend(self.take(&id).map(|request| Step::Finish(request.finish(None))));
                    } else if let Some(message) = request.message.take() {
                        steps.push(Step::Publish(id, message));
                    }
                }
                // Clients answer all the same, and their caller has a timeout of its own.
                Err(_) if matches!(request.asker, Asker::Clients { .. }) => {}
                Err(Uncounted(reason)) => {
                    let cause = AdapterError::Unreachable(reason.clone());
                    steps.extend(self.take(&id).map(|request| Step::Finish(request.finish(Some(cause)))));
                }
            }
        }
        self.counting = std::mem::take(&mut self.uncounted);
        self.is_counting = !self.counting.is_empty();
        (steps, self.is_counting)
    }

    /// Takes the answer of a node, which is called `from` if the answer says so, in a message of `size` bytes.
    pub(super) fn answered(&mut self, id: &str, from: Option<&str>, size: usize, answer: Answer) -> Taken {
        let Some(request) = self.open.get_mut(id) else { return Taken::Unknown };
        if matches!(request.asker, Asker::Clients { .. }) || !request.heard.note(from) {
            return Taken::Unknown;
        }
        request.bytes = request.bytes.saturating_add(size);
        let cause =
            (request.bytes > self.max_bytes).then_some(AdapterError::TooLarge { limit: self.max_bytes });
        request.asker.add(answer);
        if cause.is_none() && !request.is_complete() {
            return Taken::Kept;
        }
        self.take(id).map_or(Taken::Unknown, |request| Taken::Finished(request.finish(cause)))
    }

    /// Gives the sink of a broadcast that awaits acknowledgements, if it still wants to know how many clients `from`
    /// asks. It has to be told before [`clients_asked`](Self::clients_asked) is called: the count task may find
    /// everybody heard at any moment after that.
    pub(super) fn sink_for_count(&self, id: &str, from: Option<&str>) -> Option<S> {
        let request = self.open.get(id)?;
        let Asker::Clients { sink, .. } = &request.asker else { return None };
        let heard = from.is_some_and(|from| request.heard.names.contains(from));
        (!heard).then(|| sink.clone())
    }

    /// Notes how many clients a node asks. Gives the sink if that was the last of the nodes.
    pub(super) fn clients_asked(&mut self, id: &str, from: Option<&str>, clients: usize) -> Option<S> {
        let request = self.open.get_mut(id)?;
        let Asker::Clients { asked, .. } = &mut request.asker else { return None };
        if !request.heard.note(from) {
            return None;
        }
        *asked = asked.saturating_add(clients);
        let release = request.release();
        if request.is_complete() {
            self.take(id);
        }
        release
    }

    /// Notes that a client of another node has acknowledged, in a message of `size` bytes. Gives the sink that is to
    /// have the answer.
    pub(super) fn client_answered(&mut self, id: &str, size: usize) -> Option<S> {
        let request = self.open.get_mut(id)?;
        let Asker::Clients { sink, answered, .. } = &mut request.asker else { return None };
        request.bytes = request.bytes.saturating_add(size);
        let sink = (request.bytes <= self.max_bytes).then(|| sink.clone());
        *answered += 1;
        // Beyond the bound nothing more is taken; the caller's own timeout ends it.
        if sink.is_none() || request.is_complete() {
            self.take(id);
        }
        sink
    }

    /// Ends a request that could not be sent.
    pub(super) fn fail(&mut self, id: &str, cause: AdapterError) -> Option<Finished> {
        self.take(id).map(|request| request.finish(Some(cause)))
    }

    /// Forgets a broadcast that could not be sent. Says whether its sink still waits to hear from the other nodes.
    pub(super) fn forget(&mut self, id: &str) -> bool {
        let request = self.take(id);
        request.is_some_and(|request| matches!(request.asker, Asker::Clients { released: false, .. }))
    }

    /// Ends what was awaited until now.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Finished> {
        let mut expired = Vec::new();
        while let Some((deadline, id)) = self.deadlines.first() {
            if *deadline > now {
                break;
            }
            let id = id.clone();
            if let Some(request) = self.take(&id) {
                let cause = request.late();
                expired.push(request.finish(Some(cause)));
            }
        }
        expired
    }

    /// Ends everything.
    pub(super) fn close(&mut self) -> Vec<Finished> {
        let open = std::mem::take(&mut self.open).into_values();
        self.deadlines.clear();
        self.is_closed = true;
        open.map(|request| request.finish(Some(AdapterError::Unreachable(CLOSED.to_owned())))).collect()
    }

    fn take(&mut self, id: &str) -> Option<Request<S>> {
        let (id, request) = self.open.remove_entry(id)?;
        self.deadlines.remove(&(request.deadline, id));
        Some(request)
    }

    /// Makes room by forgetting those that nobody waits for any more. Not again at once: when all are waited for, each
    /// request too many would look through all of them.
    fn purge(&mut self, now: Instant) {
        if self.purged.is_some_and(|purged| now < purged + PURGE_INTERVAL) {
            return;
        }
        self.purged = Some(now);
        let deadlines = &mut self.deadlines;
        self.open.retain(|id, request| {
            let keep = request.asker.is_open();
            if !keep {
                deadlines.remove(&(request.deadline, id.clone()));
            }
            keep
        });
    }
}

impl<S: Sink> Request<S> {
    /// All others have answered, or said how many clients they ask.
    fn is_heard(&self) -> bool {
        self.peers.is_some_and(|peers| self.heard.count >= peers)
    }

    fn is_complete(&self) -> bool {
        self.is_heard()
            && match &self.asker {
                Asker::Clients { asked, answered, .. } => answered >= asked,
                _ => true,
            }
    }

    /// Gives the sink once, when all others have said how many clients they ask.
    fn release(&mut self) -> Option<S> {
        if !self.is_heard() {
            return None;
        }
        let Asker::Clients { sink, released, .. } = &mut self.asker else { return None };
        (!std::mem::replace(released, true)).then(|| sink.clone())
    }

    fn late(&self) -> AdapterError {
        match self.peers {
            Some(peers) => {
                AdapterError::Timeout { expected: peers, missing: peers.saturating_sub(self.heard.count) }
            }
            None => AdapterError::Unreachable("the nodes were not counted in time".to_owned()),
        }
    }

    fn finish(self, cause: Option<AdapterError>) -> Finished {
        self.asker.finish(cause)
    }
}

impl<S: Sink> Asker<S> {
    /// Adds what one node has answered. A socket that is named twice is kept once.
    fn add(&mut self, answer: Answer) {
        match (self, answer) {
            (Self::Sockets { arrived, ids, .. }, Answer::Sockets(sockets)) => {
                arrived.extend(sockets.into_iter().filter(|socket| ids.insert(socket.id.clone())));
            }
            (Self::Rooms { arrived, .. }, Answer::Rooms(rooms)) => arrived.extend(rooms),
            (Self::Rooms { arrived, .. }, Answer::Sockets(sockets)) => {
                arrived.extend(sockets.into_iter().flat_map(|socket| socket.rooms));
            }
            (Self::Events { arrived, .. }, Answer::Event(args)) => arrived.push(args),
            _ => {}
        }
    }

    fn is_open(&self) -> bool {
        match self {
            Self::Sockets { caller, .. } => !caller.is_closed(),
            Self::Rooms { caller, .. } => !caller.is_closed(),
            Self::Events { caller, .. } => !caller.is_closed(),
            Self::Clients { sink, .. } => sink.is_open(),
        }
    }

    /// Ends the waiting: with everything, or with what came and why the rest did not.
    pub(super) fn finish(self, cause: Option<AdapterError>) -> Finished {
        fn tell<T: Send + 'static>(
            caller: Caller<T>,
            arrived: Vec<T>,
            cause: Option<AdapterError>,
        ) -> Finished {
            Finished(Box::new(move || {
                // Who has stopped waiting does not want to know.
                let _ = caller.send(match cause {
                    None => Ok(arrived),
                    Some(cause) => Err(Incomplete::new(arrived, cause)),
                });
            }))
        }
        match self {
            Self::Sockets { caller, arrived, .. } => tell(caller, arrived, cause),
            Self::Rooms { caller, arrived } => tell(caller, arrived.into_iter().collect(), cause),
            Self::Events { caller, arrived } => tell(caller, arrived, cause),
            // The sink's own timeout tells its caller, or has done so.
            Self::Clients { sink, .. } => Finished(Box::new(move || drop(sink))),
        }
    }
}

impl Heard {
    /// Notes an answer; says whether it is not a second one of the same node.
    fn note(&mut self, from: Option<&str>) -> bool {
        let new = from.is_none_or(|from| self.names.insert(from.into()));
        self.count += usize::from(new);
        new
    }
}

impl Finished {
    pub(super) fn tell(self) {
        (self.0)();
    }
}

/// Thirty years: adding what means "for ever" must not overflow.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
const CLOSED: &str = "the adapter is closed";
const PURGE_INTERVAL: Duration = Duration::from_millis(100);
