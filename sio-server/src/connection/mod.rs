//! One client connection: its Engine.IO session, its sockets, its queue, and how it ends.
//!
//! A connection is shared by the task that reads it (WebSocket driver or polling requests), by everybody who emits
//! to it, and by the timer task. Three locks guard it, each held for a few instructions and never while user code
//! runs: `core` (session and sockets), `outbox` (what waits to be sent), `inbound` (the decoder, taken out while a
//! batch is handled). Where two are needed, `core` is taken before `outbox`.

pub(crate) mod dispatch;
pub(crate) mod driver;
pub(crate) mod flush;
pub(crate) mod outbox;
pub(crate) mod registry;
pub(crate) mod running;
mod send;
pub(crate) mod timers;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use sio_protocol::engineio::session::{CandidateId, Due, Session, Timing, Transport};
use sio_protocol::engineio::{PacketKind, Revision};
use smallvec::SmallVec;

use self::dispatch::Inbound;
use self::outbox::{Channel, Outbox};
use self::running::Running;
use crate::config::millis;
use crate::handshake::Request;
use crate::id::SessionId;
use crate::reason::DisconnectReason;
use crate::server::Shared;
use crate::socket::SocketInner;
use crate::sync::Lock;
use crate::websocket::{PerMessageDeflate, close_frame};

/// The state of one client connection.
///
/// In this order in memory, behind the counts of the `Arc`: what a broadcast touches stands together at the beginning.
/// With a thousand recipients nothing of them is in the processor's nearest cache, and each line of it costs as much as
/// everything that is done with it.
#[repr(C)]
pub(crate) struct Connection {
    server: Arc<Shared>,
    revision: Revision,
    /// The client asked for binary as base64 in polling payloads.
    base64: bool,
    /// Its WebSocket has negotiated compression.
    deflate: AtomicBool,
    outbox: Mutex<Outbox>,
    core: Mutex<Core>,
    inbound: Mutex<Slot>,
    running: Running,
    id: SessionId,
    pub(crate) request: Request,
}

/// Where the decoder is.
#[derive(Debug)]
enum Slot {
    Here(Inbound),
    /// A batch is being handled; those who wait for its end.
    Taken(Vec<Waker>),
}

struct Core {
    session: Session,
    /// In the order they were joined.
    sockets: SmallVec<[Arc<SocketInner>; 1]>,
    /// Sockets whose middlewares have not finished. Boxed, as hardly any connection has some.
    #[expect(clippy::box_collection, reason = "16 bytes less in every connection")]
    connecting: Option<Box<Vec<Arc<SocketInner>>>>,
    /// Until a namespace is joined; then [`NEVER`].
    connect_deadline: u64,
    /// The time of this connection's current entry in the timer heap.
    timer_at: u64,
    ended: Option<DisconnectReason>,
    polling: Option<Box<Polling>>,
}

/// What only a polling session needs.
#[derive(Debug, Default)]
pub(crate) struct Polling {
    /// A GET is waiting.
    pub(crate) held: bool,
    /// A POST is being received or handled.
    pub(crate) posting: bool,
    /// The POST, while too much waits for handlers to end.
    pub(crate) post: Option<Waker>,
    /// The `j` of the handshake request: payloads are wrapped as script calls.
    pub(crate) jsonp: Option<Box<str>>,
    /// What a poll gets after the end.
    farewell: Option<Farewell>,
    /// The task of the WebSocket that probes.
    pub(crate) candidate: Option<(CandidateId, Waker)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// The server closed: `1` for a held poll, `6` and `1` for the next one.
    Close,
    /// The client closed: `6` for the held poll.
    Noop,
}

/// How much of the queue an ending connection still sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything queued goes out first.
    Graceful,
    /// What is queued is dropped; a WebSocket gets this close code (none: an empty close frame).
    Abrupt(Option<u16>),
    /// The client is gone or said goodbye: nothing goes out.
    Gone,
}

impl Connection {
    /// Opens a session and enters it into the registry. The open packet is the caller's to send.
    pub(crate) fn open(
        server: &Arc<Shared>,
        revision: Revision,
        transport: Transport,
        base64: bool,
        jsonp: Option<Box<str>>,
        request: Request,
    ) -> Option<Arc<Self>> {
        let now = server.now();
        let config = &server.config;
        let session = Session::open(revision, transport, &config.timing, now);
        let (channel, polling) = match transport {
            Transport::Polling => (Channel::Polling, Some(Box::new(Polling { jsonp, ..Polling::default() }))),
            _ => (Channel::WebSocket, None),
        };
        let connect_deadline = now.saturating_add(millis(config.connect_timeout));
        let timer_at = session.deadline().unwrap_or(NEVER).min(connect_deadline);
        let connection = Arc::new(Self {
            server: Arc::clone(server),
            id: SessionId::generate(),
            revision,
            base64,
            request,
            core: Mutex::new(Core {
                session,
                sockets: SmallVec::new(),
                connecting: None,
                connect_deadline,
                timer_at,
                ended: None,
                polling,
            }),
            inbound: Mutex::new(Slot::Here(Inbound::new(config))),
            outbox: Mutex::new(Outbox::new(channel, base64)),
            deflate: AtomicBool::new(false),
            running: Running::default(),
        });
        server.sessions.insert(&connection, config.max_sessions)?;
        // The server may have been closed since the request was let in; whoever closes looks once more after this.
        if server.is_closed() {
            server.sessions.remove(&connection.id);
            return None;
        }
        server.timers.add(timer_at, connection.id.prefix());
        tracing::debug!(session = ?connection.id, ?revision, ?transport, "session opened");
        Some(connection)
    }

    pub(crate) fn server(&self) -> &Arc<Shared> {
        &self.server
    }

    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether the client asked for binary as base64 in polling payloads.
    pub(crate) fn base64(&self) -> bool {
        self.base64
    }

    pub(crate) fn timing(&self) -> &Timing {
        &self.server.config.timing
    }

    pub(crate) fn transport(&self) -> Transport {
        self.core.locked().session.transport()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.core.locked().ended.is_some()
    }

    /// Why it has ended, if it has.
    pub(crate) fn end_reason(&self) -> Option<DisconnectReason> {
        self.core.locked().ended
    }

    /// Waits, as the task of a WebSocket that probes, for the end of the session.
    pub(crate) fn poll_ended(&self, id: CandidateId, cx: &mut Context<'_>) -> Poll<()> {
        let mut core = self.core.locked();
        if core.ended.is_some() {
            return Poll::Ready(());
        }
        core.note_candidate(id, cx);
        Poll::Pending
    }

    /// Waits, as the task of a WebSocket that probes, until no POST is being received or handled.
    pub(crate) fn poll_posted(&self, id: CandidateId, cx: &mut Context<'_>) -> Poll<()> {
        let mut core = self.core.locked();
        // One that is over learns of it from the session.
        if !core.session.is_candidate(id) || !core.polling.as_ref().is_some_and(|polling| polling.posting) {
            return Poll::Ready(());
        }
        core.note_candidate(id, cx);
        Poll::Pending
    }

    /// Whether a POST is being handled.
    pub(crate) fn is_posting(&self) -> bool {
        self.core.locked().polling.as_ref().is_some_and(|polling| polling.posting)
    }

    /// Notes that its WebSocket compresses.
    pub(crate) fn set_deflate(&self) {
        self.deflate.store(true, Ordering::Relaxed);
    }

    fn deflate(&self) -> Option<&PerMessageDeflate> {
        self.server.config.per_message_deflate.as_ref().filter(|_| self.deflate.load(Ordering::Relaxed))
    }

    pub(crate) fn with_session<R>(&self, f: impl FnOnce(&mut Session, u64) -> R) -> R {
        let now = self.server.now();
        let mut core = self.core.locked();
        let result = f(&mut core.session, now);
        self.reschedule(&mut core);
        result
    }

    pub(crate) fn with_polling<R>(&self, f: impl FnOnce(&mut Polling) -> R) -> R {
        f(self.core.locked().polling.get_or_insert_default())
    }

    /// Gives back what only a session that polls needs, once it no longer does and its last requests are answered.
    pub(crate) fn release_polling(&self) {
        let mut core = self.core.locked();
        if core.session.transport() != Transport::Polling
            && core.polling.as_ref().is_some_and(|polling| {
                !polling.held && !polling.posting && polling.post.is_none() && polling.candidate.is_none()
            })
        {
            core.polling = None;
        }
    }

    /// A session of protocol 4 that nobody reads.
    #[cfg(test)]
    pub(crate) fn alone(server: &Arc<Shared>, transport: Transport) -> Arc<Self> {
        let (parts, ()) = http::Request::new(()).into_parts();
        let request = Request::new(&parts, None);
        Self::open(server, Revision::V4, transport, false, None, request).unwrap()
    }

    #[cfg(test)]
    pub(crate) fn keeps_polling(&self) -> bool {
        self.core.locked().polling.is_some()
    }

    pub(crate) fn with_outbox<R>(&self, f: impl FnOnce(&mut Outbox) -> R) -> R {
        f(&mut self.outbox.locked())
    }

    /// Takes the decoder out for a batch; `None` while another batch of this connection is being handled.
    pub(crate) fn take_inbound(&self) -> Option<Inbound> {
        let mut slot = self.inbound.locked();
        match std::mem::replace(&mut *slot, Slot::Taken(Vec::new())) {
            Slot::Here(inbound) => Some(inbound),
            taken @ Slot::Taken(_) => {
                *slot = taken;
                None
            }
        }
    }

    /// The same, waiting for the end of the other batch, which does not wait for us.
    pub(crate) fn poll_take_inbound(&self, cx: &mut Context<'_>) -> Poll<Inbound> {
        let mut slot = self.inbound.locked();
        match std::mem::replace(&mut *slot, Slot::Taken(Vec::new())) {
            Slot::Here(inbound) => Poll::Ready(inbound),
            Slot::Taken(mut waiting) => {
                if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                    waiting.push(cx.waker().clone());
                }
                *slot = Slot::Taken(waiting);
                Poll::Pending
            }
        }
    }

    pub(crate) fn put_inbound(self: &Arc<Self>, inbound: Inbound) {
        let taken = std::mem::replace(&mut *self.inbound.locked(), Slot::Here(inbound));
        if let Slot::Taken(waiting) = taken {
            waiting.into_iter().for_each(Waker::wake);
        }
        // Who ended a handler, or the connection, in the meantime could not see to what waits.
        if self.running.is_waiting() && (self.may_resume() || self.is_ended()) {
            let connection = Arc::clone(self);
            self.server.spawn(async move { connection.resume() });
        }
    }

    // Sockets

    pub(crate) fn socket(&self, nsp: &str) -> Option<Arc<SocketInner>> {
        self.core.locked().sockets.iter().find(|socket| socket.namespace().path() == nsp).cloned()
    }

    /// Notes that `socket`'s middlewares run; `false` when the connection has ended, is in there, or in too many.
    pub(crate) fn begin_connect(&self, socket: &Arc<SocketInner>) -> bool {
        let path = socket.namespace().path();
        let mut core = self.core.locked();
        let known = |s: &Arc<SocketInner>| s.namespace().path() == path;
        if core.ended.is_some()
            || core.sockets.iter().any(known)
            || core.connecting().iter().any(known)
            || core.sockets.len() + core.connecting().len() >= self.server.config.max_namespaces
        {
            return false;
        }
        core.connecting.get_or_insert_default().push(Arc::clone(socket));
        true
    }

    /// Ends what [`begin_connect`](Self::begin_connect) began; `false` when the connection has ended meanwhile.
    pub(crate) fn finish_connect(&self, socket: &Arc<SocketInner>, accepted: bool) -> bool {
        let mut core = self.core.locked();
        if let Some(connecting) = &mut core.connecting {
            connecting.retain(|s| !Arc::ptr_eq(s, socket));
        }
        if core.connecting().is_empty() {
            core.connecting = None;
        }
        if core.ended.is_some() {
            return false;
        }
        if accepted {
            core.sockets.push(Arc::clone(socket));
            core.connect_deadline = NEVER;
        }
        true
    }

    pub(crate) fn remove_socket(&self, socket: &SocketInner) {
        self.core.locked().sockets.retain(|s| !std::ptr::eq(&**s, socket));
    }

    pub(crate) fn sockets(&self) -> SmallVec<[Arc<SocketInner>; 1]> {
        self.core.locked().sockets.clone()
    }

    // Time

    /// Adds a timer entry when the next deadline is before the current entry.
    fn reschedule(&self, core: &mut Core) {
        let deadline = core.deadline();
        if deadline < core.timer_at {
            core.timer_at = deadline;
            self.server.timers.add(deadline, self.id.prefix());
        }
    }

    /// The entry for `at` came due.
    pub(crate) fn handle_timer(self: &Arc<Self>, at: u64) {
        let now = self.server.now();
        let mut dues: SmallVec<[Due; 2]> = SmallVec::new();
        let mut late = false;
        {
            let mut core = self.core.locked();
            if core.ended.is_some() || core.timer_at != at {
                return;
            }
            while let Some(due) = core.session.handle_timeout(self.timing(), now) {
                dues.push(due);
            }
            if core.connect_deadline <= now {
                if core.connecting().is_empty() {
                    late = true;
                } else {
                    // Node ends it here too; a slow middleware should not cost the connection, so it gets a little
                    // more time, again and again.
                    core.connect_deadline = now.saturating_add(CONNECT_EXTENSION);
                }
            }
            core.timer_at = core.deadline();
            if !late && core.timer_at != NEVER {
                self.server.timers.add(core.timer_at, self.id.prefix());
            }
        }
        if late {
            self.end(DisconnectReason::ForcedServerClose, End::Graceful);
            return;
        }
        for due in dues {
            match due {
                Due::Ping => self.send_engine(PacketKind::Ping),
                Due::Noop => {
                    let held = self.outbox.locked();
                    let waiting = held.channel == Channel::Polling && held.is_empty() && held.waker.is_some();
                    drop(held);
                    if waiting {
                        self.send_engine(PacketKind::Noop);
                    }
                }
                Due::Close(reason) => self.end(reason.into(), End::Abrupt(None)),
                // The candidate's own task has the same deadline and closes its stream.
                _ => {}
            }
        }
    }

    // The end

    /// Ends the connection, once: every socket is disconnected for `reason`, the session leaves the registry.
    pub(crate) fn end(self: &Arc<Self>, reason: DisconnectReason, end: End) {
        let (sockets, connecting, linger, candidate) = {
            let mut core = self.core.locked();
            if core.ended.is_some() {
                return;
            }
            core.ended = Some(reason);
            core.session.close();
            let linger = match (core.session.transport(), &mut core.polling) {
                (Transport::Polling, Some(polling)) => {
                    let farewell = if end == End::Gone { Farewell::Noop } else { Farewell::Close };
                    polling.farewell = Some(farewell);
                    // A poll that waits is told now, unless it takes the last packets: a client that got both at once
                    // would see the close first. Then, and without a poll, the next one is told.
                    let told = {
                        let outbox = self.outbox.locked();
                        outbox.waker.is_some() && outbox.is_empty()
                    };
                    (end == End::Graceful && !told).then_some(POLLING_LINGER)
                }
                _ => None,
            };
            let candidate = core.polling.as_mut().and_then(|polling| polling.candidate.take());
            (std::mem::take(&mut core.sockets), core.connecting.take(), linger, candidate)
        };
        if let Some((_, candidate)) = candidate {
            candidate.wake();
        }
        // What waits for a handler is dropped, as soon as nobody handles a batch.
        if self.running.is_waiting() {
            self.resume();
        }
        tracing::debug!(session = ?self.id, %reason, "session closed");
        // Handlers find the session gone from the count, as in Node. A server that closes waits for them all the same.
        let _handlers = self.server.task();
        if linger.is_none() {
            self.leave_registry();
        }
        // Disconnect handlers run before the queue is closed for good, as in Node; what they emit to this
        // client is refused all the same, since the socket is no longer connected.
        for socket in sockets.iter().chain(connecting.iter().flat_map(|connecting| connecting.iter())) {
            socket.handle_end(reason);
        }
        {
            let mut outbox = self.outbox.locked();
            let polling = outbox.channel == Channel::Polling;
            if end == End::Gone {
                outbox.clear();
                outbox.channel = Channel::Closed;
            } else {
                if let End::Abrupt(_) = end {
                    outbox.drop_unsent();
                }
                if !polling {
                    let code = if let End::Abrupt(code) = end { code } else { None };
                    let (frame, len) = close_frame(code);
                    outbox.push_last(frame[..len].to_vec());
                }
                outbox.channel = Channel::Closing;
            }
            outbox.dirty = true;
        }
        match linger {
            Some(wait) => self.linger(wait),
            None if end != End::Gone => self.linger(CLOSE_LINGER),
            None => {}
        }
        flush::schedule(self);
    }

    /// Forgets the session at once, so that no further request finds it.
    pub(crate) fn leave_registry(&self) {
        self.server.sessions.remove(&self.id);
    }

    /// Has [`finish_lingering`](Self::finish_lingering) called after `wait`.
    fn linger(self: &Arc<Self>, wait: Duration) {
        let at = self.server.now().saturating_add(millis(wait));
        self.server.timers.add_lingering(at, Arc::downgrade(self));
    }

    /// Gives up waiting for a client to take its last packets or to close its side.
    pub(crate) fn finish_lingering(&self) {
        self.server.sessions.remove(&self.id);
        let mut outbox = self.outbox.locked();
        outbox.clear();
        outbox.channel = Channel::Closed;
        outbox.tcp = None;
        if let Some(waker) = outbox.waker.take() {
            waker.wake();
        }
    }

    /// What a poll gets once the session has ended and everything queued is gone: the last packets, if any.
    pub(crate) fn farewell(&self, was_held: bool) -> &'static [PacketKind] {
        let mut core = self.core.locked();
        let farewell = core.polling.as_mut().and_then(|polling| polling.farewell);
        match farewell {
            Some(Farewell::Noop) => &[PacketKind::Noop],
            Some(Farewell::Close) if !was_held => &[PacketKind::Noop, PacketKind::Close],
            _ => &[PacketKind::Close],
        }
    }
}

impl Core {
    fn connecting(&self) -> &[Arc<SocketInner>] {
        self.connecting.as_deref().map_or(&[], |connecting| connecting)
    }

    /// Leaves behind whom to wake. One that is over, and has not noticed yet, must not take the place of the next.
    fn note_candidate(&mut self, id: CandidateId, cx: &Context<'_>) {
        if self.session.is_candidate(id) {
            self.polling.get_or_insert_default().candidate = Some((id, cx.waker().clone()));
        }
    }

    fn deadline(&self) -> u64 {
        self.session.deadline().unwrap_or(NEVER).min(self.connect_deadline)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// The time of what is not due at any time.
const NEVER: u64 = u64::MAX;
/// Milliseconds by which the time to join a namespace is extended while a middleware is asked.
const CONNECT_EXTENSION: u64 = 1000;
/// How long a closed polling session waits for the poll that tells the client. Node: 30 s.
const POLLING_LINGER: Duration = Duration::from_secs(30);
/// How long a closed WebSocket waits for the client's side to close before the stream is dropped. Dropping it at
/// once could lose the close frame, since unread input makes the kernel reset the connection.
const CLOSE_LINGER: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_takes_little() {
        // Each client has one, and this is most of what an idle one takes beside its task and its socket.
        // With the counts of the Arc and the allocator's own word it fills 320 bytes; the next size is 336.
        assert!(size_of::<Connection>() <= 296, "{} bytes", size_of::<Connection>());
    }
}
