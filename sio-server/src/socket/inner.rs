//! What stands behind a socket: its life from the first middleware to the last disconnect handler, what comes in for
//! it and what goes out.

use std::any::{Any, TypeId};
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use sio_protocol::engineio::Revision;
use sio_protocol::socketio::{Packet, RawArgs};

use super::acks::{AckSink, Pending, Waiter};
use crate::adapter::recovery::{Restored, Session};
use crate::adapter::rooms::Member;
use crate::adapter::{BroadcastOptions, SocketDetails};
use crate::connection::{Connection, End};
use crate::encoded::{Draft, Encoded};
use crate::error::{AckError, EmitError};
use crate::handler::{EventTable, ListenerId, Listeners, Table, run};
use crate::handshake::Handshake;
use crate::id::SocketId;
use crate::namespace::NamespaceInner;
use crate::reason::DisconnectReason;
use crate::server::Task;
use crate::sync::{Lock, contained};

/// Where a socket is in its life. It only moves forward, and may skip stages.
pub(super) mod stage {
    /// Middlewares are being asked.
    pub(in crate::socket) const CONNECTING: u8 = 0;
    /// `connection` handlers start: it is connected, but its end has to wait for them.
    pub(in crate::socket) const STARTING: u8 = 1;
    pub(in crate::socket) const CONNECTED: u8 = 2;
    /// The end came while `connection` handlers started. Whoever starts them sees to it.
    pub(in crate::socket) const ENDING: u8 = 3;
    /// `disconnecting` handlers run: rooms are still there, packets still go out.
    pub(in crate::socket) const DISCONNECTING: u8 = 4;
    pub(in crate::socket) const DISCONNECTED: u8 = 5;
}

/// The shared part of a socket: about 100 bytes, plus [`Cold`] for those that use it. In this order in memory: see
/// [`Connection`].
#[repr(C)]
pub(crate) struct SocketInner {
    connection: Arc<Connection>,
    namespace: Arc<NamespaceInner>,
    id: SocketId,
    auth: Option<Arc<str>>,
    stage: AtomicU8,
    /// It has, or had, listeners of its own.
    has_listeners: AtomicBool,
    cold: Mutex<Option<Box<Cold>>>,
}

/// What most sockets never need.
#[derive(Default)]
pub(super) struct Cold {
    pub(super) acks: Pending,
    pub(super) events: EventTable,
    pub(super) outgoing: Vec<(ListenerId, OnOutgoing)>,
    pub(super) data: Option<serde_json::Value>,
    pub(super) extensions: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// Rooms a middleware has joined before the socket was connected.
    pub(super) early_rooms: Vec<String>,
    /// What its client may come back with.
    pub(super) pid: Option<String>,
    /// On the way to what its client missed, until it is connected.
    restored: Option<Restored>,
    /// An end that waits for the `connection` handlers, and has a closing server wait.
    ending: Option<(DisconnectReason, Task)>,
    /// Its client has come back.
    pub(super) recovered: bool,
}

pub(super) type OnOutgoing = Arc<dyn Fn(&str, RawArgs<'_>) + Send + Sync>;

impl SocketInner {
    pub(crate) fn new(
        namespace: Arc<NamespaceInner>,
        connection: &Arc<Connection>,
        auth: Option<Arc<str>>,
    ) -> Arc<Self> {
        let id = match connection.revision() {
            Revision::V3 => SocketId::of_protocol_3(namespace.path(), connection.id()),
            _ => SocketId::generate(),
        };
        Self::make(id, namespace, connection, auth, None)
    }

    fn make(
        id: SocketId,
        namespace: Arc<NamespaceInner>,
        connection: &Arc<Connection>,
        auth: Option<Arc<str>>,
        cold: Option<Box<Cold>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            namespace,
            connection: Arc::clone(connection),
            auth,
            stage: AtomicU8::new(stage::CONNECTING),
            has_listeners: AtomicBool::new(false),
            cold: Mutex::new(cold),
        })
    }

    pub(crate) fn id(&self) -> &SocketId {
        &self.id
    }

    pub(crate) fn namespace(&self) -> &Arc<NamespaceInner> {
        &self.namespace
    }

    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    pub(super) fn handshake(&self) -> Handshake {
        Handshake::new(Arc::clone(&self.connection), self.auth.clone())
    }

    /// The rooms it is in, its own first; before it is connected, those it will be put into.
    pub(super) fn rooms(&self) -> Vec<String> {
        match self.stage() {
            stage::CONNECTING => self.if_cold(|cold| cold.early_rooms.clone()).unwrap_or_default(),
            _ => self.namespace.with_rooms(|rooms| rooms.of(self.id.as_str())),
        }
    }

    pub(super) fn is_in(&self, room: &str) -> bool {
        match self.stage() {
            stage::CONNECTING => {
                self.if_cold(|cold| cold.early_rooms.iter().any(|early| early == room)).unwrap_or_default()
            }
            _ => self.namespace.with_rooms(|rooms| rooms.contains(self.id.as_str(), room)),
        }
    }

    pub(super) fn stage(&self) -> u8 {
        self.stage.load(Ordering::Acquire)
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.stage(), stage::STARTING | stage::CONNECTED | stage::DISCONNECTING)
    }

    pub(super) fn cold<R>(&self, f: impl FnOnce(&mut Cold) -> R) -> R {
        f(self.cold.locked().get_or_insert_default())
    }

    /// Reads what is there without making it.
    pub(super) fn if_cold<R>(&self, f: impl FnOnce(&mut Cold) -> R) -> Option<R> {
        self.cold.locked().as_deref_mut().map(f)
    }

    /// Adds a listener, unless the socket is over: nothing calls it any more, and if it holds the socket, the two would
    /// hold each other for ever.
    pub(super) fn listen(&self, add: impl FnOnce(&mut Cold) -> ListenerId) -> ListenerId {
        let mut add = Some(add);
        let id = self.cold(|cold| {
            // Under the lock that the end of the socket takes the listeners with.
            if self.stage() == stage::DISCONNECTED { None } else { add.take().map(|add| add(cold)) }
        });
        self.has_listeners.store(true, Ordering::Relaxed);
        // What was not added is dropped without the lock: it is the user's code.
        drop(add);
        id.unwrap_or_else(ListenerId::next)
    }

    fn advance(&self, from: u8, to: u8) -> bool {
        self.stage.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    // The life of a socket

    /// Connects it: `insert` puts it where broadcasts reach it, then the `connection` handlers run. `false` when its end
    /// came first.
    pub(crate) fn start(self: &Arc<Self>, insert: impl FnOnce(&[String])) -> bool {
        if !self.advance(stage::CONNECTING, stage::STARTING) {
            return false;
        }
        let rooms = self.if_cold(|cold| std::mem::take(&mut cold.early_rooms)).unwrap_or_default();
        insert(&rooms);
        {
            let _here = StartedHere::mark(self);
            run::lifecycle(&self.namespace.table().connection, "connection", self, None);
        }
        if !self.advance(stage::STARTING, stage::CONNECTED)
            && let Some((reason, _task)) = self.if_cold(|cold| cold.ending.take()).flatten()
            && self.advance(stage::ENDING, stage::DISCONNECTING)
        {
            self.wind_up(reason);
        }
        true
    }

    /// Gives up a socket that was never connected.
    pub(crate) fn abandon(&self) {
        self.advance(stage::CONNECTING, stage::DISCONNECTED);
    }

    /// Leaves the namespace, as the client or the server asked.
    pub(crate) fn leave_namespace(self: &Arc<Self>, reason: DisconnectReason) {
        self.handle_end(reason);
        self.connection.remove_socket(self);
    }

    /// The socket is over. Its handlers start after those of its connection, as in Node, where the one thread sees to
    /// that: an end that comes from another thread while they start is left to the thread that starts them; they
    /// themselves may end it at once.
    pub(crate) fn handle_end(self: &Arc<Self>, reason: DisconnectReason) {
        if self.stage() == stage::STARTING {
            if StartedHere::is_marked(self) {
                if self.advance(stage::STARTING, stage::DISCONNECTING) {
                    self.wind_up(reason);
                }
                return;
            }
            // Under the lock, so that whoever finds it ending finds the reason as well.
            let is_left = self.cold(|cold| {
                let is_left = self.advance(stage::STARTING, stage::ENDING);
                if is_left {
                    cold.ending = Some((reason, self.connection.server().task()));
                }
                is_left
            });
            if is_left {
                return;
            }
        }
        if self.advance(stage::CONNECTED, stage::DISCONNECTING) {
            self.wind_up(reason);
        } else if self.advance(stage::CONNECTING, stage::DISCONNECTED)
            && let Some(restored) = self.take_restored()
        {
            self.give_back(restored);
        }
    }

    /// Handlers run, rooms are left, nobody waits for its acknowledgements any more.
    fn wind_up(self: &Arc<Self>, reason: DisconnectReason) {
        let table = self.namespace.table();
        run::lifecycle(&table.disconnecting, "disconnecting", self, Some(reason));
        let rooms = self.namespace.remove(self);
        self.stage.store(stage::DISCONNECTED, Ordering::Release);
        // Only now may its client come back, with the same id.
        if reason.is_recoverable() {
            self.leave_session(rooms);
        }
        // Dropped without the lock: listeners are the user's code.
        let (acks, outgoing) = self
            .if_cold(|cold| (std::mem::take(&mut cold.acks), std::mem::take(&mut cold.outgoing)))
            .unwrap_or_default();
        outgoing.iter().for_each(|_| self.namespace.outgoing_listener(false));
        contained("a listener of a socket", || drop(outgoing));
        for waiter in acks.into_waiters() {
            // A waiter for one answer learns of it as its sender is dropped.
            if let Waiter::Broadcast(sink) = waiter {
                sink.answer(Some(self.id.clone()), Err(AckError::Disconnected));
            }
        }
        run::lifecycle(&table.disconnect, "disconnect", self, Some(reason));
        // Listeners may hold the socket they are registered on: the circle ends here.
        let events = self.if_cold(|cold| std::mem::take(&mut cold.events));
        contained("a listener of a socket", || drop(events));
    }

    // Recovery

    /// A socket for a client that has come back, with what it had.
    pub(crate) fn restored(
        namespace: Arc<NamespaceInner>,
        connection: &Arc<Connection>,
        auth: Option<Arc<str>>,
        pid: &str,
        restored: Restored,
    ) -> Arc<Self> {
        let cold = Cold {
            data: restored.session.data.clone(),
            early_rooms: restored.session.rooms.clone(),
            pid: Some(pid.to_owned()),
            recovered: true,
            ..Cold::default()
        };
        let id = restored.session.id.clone();
        let cold = Cold { restored: Some(restored), ..cold };
        Self::make(id, namespace, connection, auth, Some(Box::new(cold)))
    }

    /// The secret its client may come back with, made at the first call.
    pub(crate) fn pid(&self) -> String {
        self.cold(|cold| cold.pid.get_or_insert_with(|| SocketId::generate().to_string()).clone())
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.if_cold(|cold| cold.recovered).unwrap_or_default()
    }

    pub(crate) fn take_restored(&self) -> Option<Restored> {
        self.if_cold(|cold| cold.restored.take()).flatten()
    }

    /// Leaves the session to the next attempt of a client that was lost while it came back.
    pub(crate) fn give_back(&self, restored: Restored) {
        if self.connection.end_reason().is_some_and(DisconnectReason::is_recoverable) {
            self.namespace.save_session(self.pid(), restored.session);
        }
    }

    /// Leaves behind what its client may come back to.
    pub(crate) fn leave_session(&self, rooms: Vec<String>) {
        let known = self.if_cold(|cold| Some((cold.pid.clone()?, cold.data.clone()))).flatten();
        if let Some((pid, data)) = known {
            self.namespace.save_session(pid, Session { id: self.id.clone(), rooms, data });
        }
    }

    // In

    pub(crate) fn handle_event(self: &Arc<Self>, table: &Table, packet: &Packet<'_>) {
        let Some(name) = packet.event_name() else { return };
        // Most sockets have no listeners of their own, and a lock for every event is not free.
        let own = if self.has_listeners.load(Ordering::Relaxed) {
            self.if_cold(|cold| cold.events.take_listeners(&name)).unwrap_or_default()
        } else {
            Listeners::default()
        };
        run::event(&table.events, &own, self, &name, packet);
    }

    pub(crate) fn handle_ack(&self, packet: &Packet<'_>) {
        let Some(id) = packet.id else { return };
        // An acknowledgement nobody waits for, or one that comes twice, is ignored.
        let Some(waiter) = self.if_cold(|cold| cold.acks.remove(id)).flatten() else { return };
        let args = packet.args().to_owned();
        match waiter {
            // The caller may have given up waiting.
            Waiter::One(sender) => drop(sender.send(args)),
            Waiter::Broadcast(sink) => sink.answer(Some(self.id.clone()), Ok(args)),
        }
    }

    // Out

    /// Sends a broadcast's packet; `false` when it is not taken. A client that disconnects meanwhile or does not read
    /// is not the broadcaster's concern.
    pub(crate) fn deliver(&self, encoded: &Arc<Encoded>, volatile: bool) -> bool {
        (!volatile || self.connection.is_writable(encoded.wire_len(self.connection.revision())))
            && self.connection.send(encoded).is_ok()
    }

    /// Sends a broadcast's packet that asks for an acknowledgement.
    pub(crate) fn ask(&self, encoded: &Arc<Encoded>, id: u64, sink: &AckSink) {
        let result = self.expect_ack(id, Waiter::Broadcast(sink.clone())).and_then(|()| {
            self.connection.send(encoded).map_err(|error| {
                self.forget_ack(id);
                AckError::Emit(error)
            })
        });
        if let Err(error) = result {
            sink.answer(Some(self.id.clone()), Err(error));
        }
    }

    pub(super) fn expect_ack(&self, id: u64, waiter: Waiter) -> Result<(), AckError> {
        let max = self.connection.server().config.max_pending_acks;
        self.cold(|cold| {
            // Under the lock that the end of the socket takes the waiters with.
            if !self.is_connected() {
                return Err(AckError::Disconnected);
            }
            if cold.acks.len() >= max {
                cold.acks.purge();
            }
            if cold.acks.len() >= max {
                return Err(AckError::TooManyPending(max));
            }
            cold.acks.insert(id, waiter);
            Ok(())
        })
    }

    pub(super) fn forget_ack(&self, id: u64) {
        self.if_cold(|cold| cold.acks.remove(id));
    }

    pub(super) fn send<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
        flags: Flags,
        ack: Option<u64>,
    ) -> Result<(), EmitError> {
        let nsp = self.namespace.path();
        let draft = Draft::event(&self.namespace, event, args)?;
        if !self.is_connected() {
            return Err(EmitError::Disconnected);
        }
        // What its client may come back for goes the way of broadcasts, to its own room. Node: `Socket.emit`.
        if ack.is_none() && !flags.volatile && self.namespace.recovers() {
            let mut options =
                BroadcastOptions { rooms: vec![self.id.to_string()], ..BroadcastOptions::default() };
            options.flags.compress = flags.uncompressed.then_some(false);
            self.namespace.adapter().broadcast(&draft.packet(nsp, None), &options);
            return Ok(());
        }
        if self.namespace.has_outgoing_listeners() {
            self.notify_outgoing(&draft.packet(nsp, ack));
        }
        if flags.volatile && !self.connection.is_writable(draft.total_len()) {
            return Ok(());
        }
        if flags.uncompressed {
            let encoded = Encoded::new(&draft.packet(nsp, ack), self.namespace.parser());
            return self.connection.send(&Arc::new(encoded.uncompressed()));
        }
        self.connection.send_draft(draft, nsp, ack)
    }

    /// Answers an event.
    pub(crate) fn acknowledge<T: Serialize + ?Sized>(&self, id: u64, args: &T) -> Result<(), EmitError> {
        let nsp = self.namespace.path();
        let draft = Draft::ack(&self.namespace, args)?;
        if !self.is_connected() {
            return Err(EmitError::Disconnected);
        }
        self.connection.send_draft(draft, nsp, Some(id))
    }

    pub(crate) fn notify_outgoing(&self, packet: &Packet<'_>) {
        let listeners = self.if_cold(|cold| cold.outgoing.clone()).unwrap_or_default();
        if listeners.is_empty() {
            return;
        }
        if let Some(name) = packet.event_name() {
            for (_, listener) in listeners {
                contained("on_any_outgoing", || listener(&name, packet.args()));
            }
        }
    }

    // Rooms

    pub(crate) fn join(&self, rooms: &[String]) {
        match self.stage() {
            stage::CONNECTING => self.cold(|cold| cold.early_rooms.extend_from_slice(rooms)),
            stage::DISCONNECTED => {}
            _ => self.namespace.join(self, rooms),
        }
    }

    pub(crate) fn leave(&self, rooms: &[String]) {
        match self.stage() {
            stage::CONNECTING => self.cold(|cold| cold.early_rooms.retain(|room| !rooms.contains(room))),
            _ => self.namespace.leave(self, rooms),
        }
    }

    pub(crate) fn disconnect(self: &Arc<Self>, close: bool) {
        if close {
            for socket in self.connection.sockets() {
                socket.disconnect(false);
            }
            self.connection.end(DisconnectReason::ForcedServerClose, End::Graceful);
        } else if self.is_connected() {
            // A connection that is gone already needs no goodbye.
            let _ = self.connection.send_packet(&Packet::disconnect(self.namespace.path()));
            self.leave_namespace(DisconnectReason::ServerNamespaceDisconnect);
        }
    }

    pub(crate) fn details(self: &Arc<Self>) -> SocketDetails {
        SocketDetails {
            id: self.id.clone(),
            handshake: self.handshake().to_json(),
            rooms: self.rooms(),
            data: self.if_cold(|cold| cold.data.clone()).flatten().unwrap_or_else(|| serde_json::json!({})),
        }
    }
}

impl Drop for SocketInner {
    fn drop(&mut self) {
        // Whoever has the last handle, be it a task that serves all connections, does not pay for what users attach.
        let cold = self.cold.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if cold.is_some() {
            contained("a value or listener of a socket", || drop(cold));
        }
        self.namespace.socket_dropped();
    }
}

impl Member for Arc<SocketInner> {
    fn id(&self) -> &str {
        self.id.as_str()
    }
}

impl fmt::Debug for SocketInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id)
            .field("namespace", &self.namespace.path())
            .finish_non_exhaustive()
    }
}

thread_local! {
    /// The socket whose `connection` handlers this thread is starting.
    static STARTED_HERE: Cell<*const SocketInner> = const { Cell::new(std::ptr::null()) };
}

/// Marks a socket as one whose `connection` handlers the present thread is starting.
struct StartedHere(*const SocketInner);

impl StartedHere {
    fn mark(socket: &SocketInner) -> Self {
        Self(STARTED_HERE.replace(socket))
    }

    fn is_marked(socket: &SocketInner) -> bool {
        std::ptr::eq(STARTED_HERE.get(), socket)
    }
}

impl Drop for StartedHere {
    fn drop(&mut self) {
        STARTED_HERE.set(self.0);
    }
}

/// How one emit to one socket is made.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flags {
    pub(super) volatile: bool,
    pub(super) uncompressed: bool,
}
