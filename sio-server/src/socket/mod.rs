//! One client in one namespace: the handle users hold, and what stands behind it.

pub(crate) mod acks;
pub(crate) mod remote;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_protocol::engineio::Revision;
use sio_protocol::engineio::session::Transport;
use sio_protocol::socketio::{OwnedArgs, Packet, RawArgs};
use tokio::sync::oneshot;

use self::acks::{AckFuture, AckSink, Pending, Waiter};
use crate::adapter::SocketDetails;
use crate::adapter::rooms::Member;
use crate::broadcast::{Broadcast, IntoRooms, report};
use crate::connection::{Connection, End};
use crate::encoded::{Draft, Encoded};
use crate::error::{AckError, EmitError};
use crate::handler::{Context, EventTable, Handler, IntoReply, ListenerId, Listeners, Table, run};
use crate::handshake::Handshake;
use crate::id::SocketId;
use crate::namespace::{Namespace, NamespaceInner};
use crate::reason::DisconnectReason;
use crate::server::Server;
use crate::sync::Lock;

/// Where a socket is in its life. It only moves forward.
mod stage {
    /// Middlewares are being asked.
    pub(super) const CONNECTING: u8 = 0;
    pub(super) const CONNECTED: u8 = 1;
    /// `disconnecting` handlers run: rooms are still there, packets still go out.
    pub(super) const DISCONNECTING: u8 = 2;
    pub(super) const DISCONNECTED: u8 = 3;
}

/// The shared part of a socket: about 100 bytes, plus [`Cold`] for those that use it.
pub(crate) struct SocketInner {
    id: SocketId,
    namespace: Arc<NamespaceInner>,
    connection: Arc<Connection>,
    auth: Option<Arc<str>>,
    stage: AtomicU8,
    /// It has, or had, listeners of its own.
    has_listeners: AtomicBool,
    cold: Mutex<Option<Box<Cold>>>,
}

/// What most sockets never need.
#[derive(Default)]
struct Cold {
    acks: Pending,
    events: EventTable,
    outgoing: Vec<(ListenerId, OnOutgoing)>,
    data: Option<serde_json::Value>,
    extensions: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    /// Rooms a middleware has joined before the socket was connected.
    early_rooms: Vec<String>,
}

type OnOutgoing = Arc<dyn Fn(&str, RawArgs<'_>) + Send + Sync>;

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
        Arc::new(Self {
            id,
            namespace,
            connection: Arc::clone(connection),
            auth,
            stage: AtomicU8::new(stage::CONNECTING),
            has_listeners: AtomicBool::new(false),
            cold: Mutex::new(None),
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

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.stage.load(Ordering::Acquire), stage::CONNECTED | stage::DISCONNECTING)
    }

    fn cold<R>(&self, f: impl FnOnce(&mut Cold) -> R) -> R {
        f(self.cold.locked().get_or_insert_default())
    }

    /// Reads what is there without making it.
    fn if_cold<R>(&self, f: impl FnOnce(&mut Cold) -> R) -> Option<R> {
        self.cold.locked().as_deref_mut().map(f)
    }

    fn listen(&self, add: impl FnOnce(&mut EventTable) -> ListenerId) -> ListenerId {
        let id = self.cold(|cold| add(&mut cold.events));
        self.has_listeners.store(true, Ordering::Relaxed);
        id
    }

    fn advance(&self, from: u8, to: u8) -> bool {
        self.stage.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    // The life of a socket

    /// Connects it: broadcasts reach it from here on, and the `connection` handlers run.
    pub(crate) fn start(self: &Arc<Self>) {
        if !self.advance(stage::CONNECTING, stage::CONNECTED) {
            return;
        }
        let rooms = self.if_cold(|cold| std::mem::take(&mut cold.early_rooms)).unwrap_or_default();
        self.namespace.insert(self, &rooms);
        if self.connection.is_ended() {
            // The connection ended between the CONNECT and here; its end has not seen this socket connected.
            self.handle_end(DisconnectReason::TransportClose);
            return;
        }
        run::lifecycle(&self.namespace.table().connection, "connection", self, None);
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

    /// The socket is over: handlers run, rooms are left, nobody waits for its acknowledgements any more.
    pub(crate) fn handle_end(self: &Arc<Self>, reason: DisconnectReason) {
        if !self.advance(stage::CONNECTED, stage::DISCONNECTING) {
            self.abandon();
            return;
        }
        let table = self.namespace.table();
        run::lifecycle(&table.disconnecting, "disconnecting", self, Some(reason));
        self.namespace.remove(self);
        self.stage.store(stage::DISCONNECTED, Ordering::Release);
        let waiters = self.if_cold(|cold| {
            for _ in cold.outgoing.drain(..) {
                self.namespace.outgoing_listener(false);
            }
            std::mem::take(&mut cold.acks)
        });
        for waiter in waiters.into_iter().flat_map(Pending::into_waiters) {
            // A waiter for one answer learns of it as its sender is dropped.
            if let Waiter::Broadcast(sink) = waiter {
                sink.answer(Some(self.id.clone()), Err(AckError::Disconnected));
            }
        }
        run::lifecycle(&table.disconnect, "disconnect", self, Some(reason));
        // Listeners may hold the socket they are registered on: the circle ends here.
        self.if_cold(|cold| std::mem::take(&mut cold.events));
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

    /// Sends a broadcast's packet.
    pub(crate) fn deliver(&self, encoded: &Arc<Encoded>, volatile: bool) {
        if volatile && !self.connection.is_writable() {
            return;
        }
        // A client that disconnects meanwhile or does not read is not the broadcaster's concern.
        let _ = self.connection.send(encoded);
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

    fn expect_ack(&self, id: u64, waiter: Waiter) -> Result<(), AckError> {
        let max = self.connection.server().config.max_pending_acks;
        self.cold(|cold| {
            // Under the lock that the end of the socket takes the waiters with.
            if !self.is_connected() {
                return Err(AckError::Disconnected);
            }
            if cold.acks.len() >= max {
                return Err(AckError::TooManyPending(max));
            }
            cold.acks.insert(id, waiter);
            Ok(())
        })
    }

    fn forget_ack(&self, id: u64) {
        self.if_cold(|cold| cold.acks.remove(id));
    }

    fn send<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
        flags: Flags,
        ack: Option<u64>,
    ) -> Result<(), EmitError> {
        let nsp = self.namespace.path();
        let draft = Draft::event(nsp, event, args)?;
        if !self.is_connected() {
            return Err(EmitError::Disconnected);
        }
        if self.namespace.has_outgoing_listeners() {
            self.notify_outgoing(&draft.packet(nsp, ack));
        }
        if flags.volatile && !self.connection.is_writable() {
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
        let draft = Draft::ack(nsp, args)?;
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
                listener(&name, packet.args());
            }
        }
    }

    // Rooms

    pub(crate) fn join(&self, rooms: &[String]) {
        match self.stage.load(Ordering::Acquire) {
            stage::CONNECTING => self.cold(|cold| cold.early_rooms.extend_from_slice(rooms)),
            stage::DISCONNECTED => {}
            _ => self.namespace.join(self, rooms),
        }
    }

    pub(crate) fn leave(&self, rooms: &[String]) {
        match self.stage.load(Ordering::Acquire) {
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
        let socket = Socket(Arc::clone(self));
        SocketDetails {
            id: self.id.clone(),
            handshake: socket.handshake().to_json(),
            rooms: socket.rooms(),
            data: self.if_cold(|cold| cold.data.clone()).flatten().unwrap_or_else(|| serde_json::json!({})),
        }
    }
}

impl Drop for SocketInner {
    fn drop(&mut self) {
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

/// A client in a namespace. Cheap to clone: all clones are the same socket. Node: `Socket`.
///
/// A handle may be kept after the client has gone; emits then do nothing.
#[derive(Clone, Debug)]
pub struct Socket(pub(crate) Arc<SocketInner>);

impl Socket {
    /// The id: 20 characters, random, different in each namespace, and the name of the room this socket always sits
    /// in. It may be shown to other users. Clients of protocol 3 are the exception: see
    /// [`ServerBuilder::allow_eio3`](crate::ServerBuilder::allow_eio3).
    #[must_use]
    pub fn id(&self) -> &SocketId {
        &self.0.id
    }

    /// The namespace it is in. Node: `socket.nsp`.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        Namespace::new(Arc::clone(&self.0.namespace))
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> Server {
        Server { shared: Arc::clone(self.0.connection.server()) }
    }

    /// What the client said when it connected.
    #[must_use]
    pub fn handshake(&self) -> Handshake {
        Handshake::new(Arc::clone(&self.0.connection), self.0.auth.clone())
    }

    /// Whether it is connected. Node: `socket.connected`.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// What carries its packets at the moment: `polling` or `websocket`. Node: `socket.conn.transport.name`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match self.0.connection.transport() {
            Transport::Polling => "polling",
            _ => "websocket",
        }
    }

    /// The Engine.IO protocol of its client: 3 (Socket.IO 1.x and 2.x) or 4. Node: `socket.conn.protocol`.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        match self.0.connection.revision() {
            Revision::V3 => 3,
            _ => 4,
        }
    }

    // Emitting

    /// Sends an event to this client. A tuple is several arguments, `&()` none, anything else one; bytes anywhere
    /// inside (`Bytes`, `serde_bytes`) travel as binary.
    ///
    /// Nothing waits: the packet goes into the client's queue, which is bounded by `max_queued_bytes`. What cannot
    /// be sent is reported to [`Server::on_error`], except to a client that has gone.
    ///
    /// ```
    /// # use sio_server::Socket;
    /// # fn example(socket: Socket) {
    /// socket.emit("hello", "world");
    /// socket.emit("moved", &("knight", 3, 4));
    /// # }
    /// ```
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        match self.try_emit(event, args) {
            Ok(()) | Err(EmitError::Disconnected) => {}
            Err(error) => report(&self.0.namespace, event, error),
        }
    }

    /// Like [`emit`](Self::emit), with the error for the caller.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn try_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.0.send(event, args, Flags::default(), None)
    }

    /// Emits through the returned operator are dropped when the transport is busy at that moment, for what is
    /// worthless when late. Of several in one go the first is sent. Node: `socket.volatile`.
    pub fn volatile(&self) -> SocketOperator {
        self.operator().volatile()
    }

    /// Whether transports may compress what is emitted through the returned operator. Default: they may. Node:
    /// `socket.compress()`.
    pub fn compress(&self, compress: bool) -> SocketOperator {
        self.operator().compress(compress)
    }

    fn operator(&self) -> SocketOperator {
        SocketOperator { socket: self.clone(), flags: Flags::default(), timeout: None }
    }

    /// Sends the event `message`. Node: `socket.send()`.
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) {
        self.emit("message", args);
    }

    /// Sends an event and waits for the client's acknowledgement, however long it takes; see
    /// [`timeout`](Self::timeout). Ends at once when the client disconnects. The event leaves when this is called,
    /// not when the future is polled; dropping the future forgets the acknowledgement.
    ///
    /// # Errors
    /// See [`AckError`].
    pub fn emit_with_ack<R: DeserializeOwned + Send + 'static>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> AckFuture<R> {
        self.ask(event, args, Flags::default(), None)
    }

    /// Sets how long an acknowledgement is awaited. Node: `socket.timeout()`.
    pub fn timeout(&self, timeout: Duration) -> SocketOperator {
        self.operator().timeout(timeout)
    }

    fn ask<R: DeserializeOwned + Send + 'static>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
        flags: Flags,
        timeout: Option<Duration>,
    ) -> AckFuture<R> {
        let (sender, receiver) = oneshot::channel();
        let id = self.0.namespace.next_ack_id();
        let sent = self.0.expect_ack(id, Waiter::One(sender)).and_then(|()| {
            self.0.send(event, args, flags, Some(id)).map_err(|error| {
                self.0.forget_ack(id);
                AckError::from(error)
            })
        });
        let awaited = Awaited { socket: Arc::clone(&self.0), id };
        AckFuture::new(async move {
            let _awaited = awaited;
            sent?;
            let args = match timeout {
                None => receiver.await,
                Some(timeout) => {
                    tokio::time::timeout(timeout, receiver).await.map_err(|_| AckError::Timeout)?
                }
            };
            let args: OwnedArgs = args.map_err(|_| AckError::Disconnected)?;
            Ok(args.deserialize()?)
        })
    }

    /// Aims at everybody in the namespace but this socket. Node: `socket.broadcast`.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::from_socket(&self.0)
    }

    /// Aims at the other sockets in any of `rooms`.
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> Broadcast {
        self.to(rooms)
    }

    /// Aims at the other sockets that are in none of `rooms`.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// Aims at the other sockets of this node.
    pub fn local(&self) -> Broadcast {
        self.broadcast().local()
    }

    // Rooms

    /// Enters rooms. Does nothing once the socket is disconnected. In a middleware it takes effect when the socket
    /// is connected.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.0.join(&rooms.into_rooms());
    }

    /// Leaves rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        self.0.leave(&rooms.into_rooms());
    }

    /// The rooms it is in, its own first.
    #[must_use]
    pub fn rooms(&self) -> Vec<String> {
        match self.0.stage.load(Ordering::Acquire) {
            stage::CONNECTING => self.0.if_cold(|cold| cold.early_rooms.clone()).unwrap_or_default(),
            _ => self.0.namespace.with_rooms(|rooms| rooms.of(self.id().as_str())),
        }
    }

    /// Whether it is in a room.
    #[must_use]
    pub fn is_in(&self, room: &str) -> bool {
        self.0.namespace.with_rooms(|rooms| rooms.contains(self.id().as_str(), room))
    }

    // Data

    /// Stores data that [`fetch_sockets`](Namespace::fetch_sockets) shows on every node. Node: `socket.data`.
    ///
    /// # Errors
    /// When it is not representable as JSON.
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), serde_json::Error> {
        let data = serde_json::to_value(data)?;
        self.0.cold(|cold| cold.data = Some(data));
        Ok(())
    }

    /// The stored data as `T`; `{}` when none was stored.
    ///
    /// # Errors
    /// Says what does not fit `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let data = self.0.if_cold(|cold| cold.data.clone()).flatten();
        serde_json::from_value(data.unwrap_or_else(|| serde_json::json!({})))
    }

    /// Attaches a value of any type, one per type, for this node only; gives the one it replaces.
    pub fn insert<T: Any + Send + Sync>(&self, value: T) -> Option<Arc<T>> {
        let old = self.0.cold(|cold| cold.extensions.insert(TypeId::of::<T>(), Arc::new(value)));
        old.and_then(|old| old.downcast().ok())
    }

    /// The attached value of a type.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let value = self.0.if_cold(|cold| cold.extensions.get(&TypeId::of::<T>()).cloned()).flatten();
        value.and_then(|value| value.downcast().ok())
    }

    // Listeners of this socket alone

    /// Calls `handler` for every event `event` of this socket, after the namespace's handlers. Prefer
    /// [`Namespace::on`], which costs no memory per socket and misses no early event.
    pub fn on<A: 'static, H>(&self, event: impl Into<String>, handler: H) -> ListenerId
    where
        H: Handler<A>,
        H::Output: IntoReply,
    {
        self.0.listen(|events| events.add(event.into(), handler))
    }

    /// Calls `handler` for the next event `event` only.
    pub fn once<A: 'static, H>(&self, event: impl Into<String>, handler: H) -> ListenerId
    where
        H: Handler<A>,
        H::Output: IntoReply,
    {
        self.0.listen(|events| events.add_once(event.into(), handler))
    }

    /// Removes all of this socket's own listeners of `event`.
    pub fn off(&self, event: &str) {
        self.0.if_cold(|cold| cold.events.remove(event));
    }

    /// Removes one listener; `false` when it is not there (any more).
    pub fn off_listener(&self, id: ListenerId) -> bool {
        self.0
            .if_cold(|cold| {
                let before = cold.outgoing.len();
                cold.outgoing.retain(|(known, _)| *known != id);
                if cold.outgoing.len() < before {
                    self.0.namespace.outgoing_listener(false);
                    return true;
                }
                cold.events.remove_listener(id)
            })
            .unwrap_or(false)
    }

    /// Calls `handler` for every event of this socket, before the others. Node: `socket.onAny()`.
    pub fn on_any<A: 'static, H>(&self, handler: H) -> ListenerId
    where
        H: Handler<A>,
        H::Output: IntoReply,
    {
        self.0.listen(|events| events.add_any(handler))
    }

    /// Calls `listener` with the name and arguments of every event that is sent to this socket, broadcasts
    /// included, acknowledgements not. It runs on the emitting thread and should be quick. Node:
    /// `socket.onAnyOutgoing()`.
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&str, RawArgs<'_>) + Send + Sync + 'static,
    ) -> ListenerId {
        let id = ListenerId::next();
        self.0.cold(|cold| {
            if self.0.stage.load(Ordering::Acquire) != stage::DISCONNECTED {
                cold.outgoing.push((id, Arc::new(listener)));
                self.0.namespace.outgoing_listener(true);
            }
        });
        id
    }

    /// Disconnects the client from this namespace, or with `close` from all of them, ending the connection. Both
    /// sides see `server namespace disconnect` (`io server disconnect` on the client). Node:
    /// `socket.disconnect(close)`.
    pub fn disconnect(&self, close: bool) {
        let _batch = crate::connection::flush::Batch::begin();
        self.0.disconnect(close);
    }

    /// Closes the client's connection without a goodbye, as a lost network would: every namespace ends with
    /// `forced close`, and a client that reconnects by itself does. Node: `socket.conn.close()`.
    pub fn close_connection(&self) {
        self.0.connection.end(DisconnectReason::ForcedClose, End::Graceful);
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

/// How one emit to one socket is made.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    volatile: bool,
    uncompressed: bool,
}

/// An emit to one socket in the making; see [`Socket::volatile`], [`Socket::compress`], [`Socket::timeout`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before emit or emit_with_ack is called"]
pub struct SocketOperator {
    socket: Socket,
    flags: Flags,
    timeout: Option<Duration>,
}

impl SocketOperator {
    /// See [`Socket::volatile`].
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// See [`Socket::compress`].
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// See [`Socket::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// See [`Socket::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        match self.try_emit(event, args) {
            Ok(()) | Err(EmitError::Disconnected) => {}
            Err(error) => report(&self.socket.0.namespace, event, error),
        }
    }

    /// Like [`emit`](Self::emit), with the error for the caller. A volatile event that is dropped is no error.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn try_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.socket.0.send(event, args, self.flags, None)
    }

    /// Sends an event and waits for the client's acknowledgement, for at most the timeout, if one was set.
    ///
    /// # Errors
    /// See [`AckError`].
    pub fn emit_with_ack<R: DeserializeOwned + Send + 'static>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> AckFuture<R> {
        self.socket.ask(event, args, self.flags, self.timeout)
    }
}

/// Forgets an acknowledgement that nobody waits for any more.
struct Awaited {
    socket: Arc<SocketInner>,
    id: u64,
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.socket.forget_ack(self.id);
    }
}

impl<'a> Context<'a> {
    pub(crate) fn socket(&self) -> Socket {
        Socket(Arc::clone(self.socket))
    }
}
