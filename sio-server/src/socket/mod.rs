//! One client in one namespace: the handle users hold.

pub(crate) mod acks;
mod inner;
mod operator;
pub(crate) mod remote;

use std::any::{Any, TypeId};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_protocol::engineio::Revision;
use sio_protocol::engineio::session::Transport;
use sio_protocol::socketio::{OwnedArgs, RawArgs};
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::acks::{AckFuture, Waiter};
use self::inner::Flags;
pub(crate) use self::inner::SocketInner;
pub use self::operator::SocketOperator;
use crate::broadcast::{Broadcast, IntoRooms, report};
use crate::connection::End;
use crate::connection::flush::Batch;
use crate::error::{AckError, EmitError};
use crate::handler::{Context, Handler, IntoReply, ListenerId, check_event_name};
use crate::handshake::Handshake;
use crate::id::SocketId;
use crate::namespace::Namespace;
use crate::reason::DisconnectReason;
use crate::server::Server;

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
        self.0.id()
    }

    /// The namespace it is in. Node: `socket.nsp`.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        Namespace::new(Arc::clone(self.0.namespace()))
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> Server {
        Server { shared: Arc::clone(self.0.connection().server()) }
    }

    /// What the client said when it connected.
    #[must_use]
    pub fn handshake(&self) -> Handshake {
        self.0.handshake()
    }

    /// Whether it is connected. Node: `socket.connected`.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// Whether its client has come back to its session after a loss of connection. Node: `socket.recovered`.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.0.is_recovered()
    }

    /// What carries its packets at the moment: `polling` or `websocket`. Node: `socket.conn.transport.name`.
    #[must_use]
    pub fn transport(&self) -> &'static str {
        match self.0.connection().transport() {
            Transport::Polling => "polling",
            _ => "websocket",
        }
    }

    /// The Engine.IO protocol of its client: 3 (Socket.IO 1.x and 2.x) or 4. Node: `socket.conn.protocol`.
    #[must_use]
    pub fn protocol(&self) -> u8 {
        match self.0.connection().revision() {
            Revision::V3 => 3,
            _ => 4,
        }
    }

    // Emitting

    /// Sends an event to this client. A tuple is several arguments, `&()` none, anything else one; bytes anywhere inside
    /// (`Bytes`, `serde_bytes`) travel as binary. serde does not tell arrays of fixed length from tuples, nor
    /// `serde_json::Value::Null` from `()`: `&[1, 2]` is two arguments, `&vec![1, 2]` one, a null in a tuple,
    /// `&(Value::Null,)`, one.
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
            Err(error) => report(self.0.namespace(), event, error),
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
    /// [`timeout`](Self::timeout). Ends at once when the client disconnects. Of several that are awaited by different
    /// tasks any may go on first, whatever the order of the answers. The event leaves when this is called,
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
        let id = self.0.namespace().next_ack_id();
        let sent = self.0.expect_ack(id, Waiter::One(sender)).and_then(|()| {
            self.0.send(event, args, flags, Some(id)).map_err(|error| {
                self.0.forget_ack(id);
                AckError::from(error)
            })
        });
        // Counted from the emit, not from when somebody begins to wait.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let awaited = Awaited { socket: Arc::clone(&self.0), id };
        AckFuture::new(async move {
            let _awaited = awaited;
            sent?;
            let args = match deadline {
                None => receiver.await,
                Some(deadline) => {
                    tokio::time::timeout_at(deadline, receiver).await.map_err(|_| AckError::Timeout)?
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
        self.0.rooms()
    }

    /// Whether it is in a room; in a middleware, whether it will be put into it.
    #[must_use]
    pub fn is_in(&self, room: &str) -> bool {
        self.0.is_in(room)
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
        let event = event.into();
        check_event_name(self.0.namespace(), &event);
        self.0.listen(|cold| cold.events.add(event, handler))
    }

    /// Calls `handler` for the next event `event` only.
    pub fn once<A: 'static, H>(&self, event: impl Into<String>, handler: H) -> ListenerId
    where
        H: Handler<A>,
        H::Output: IntoReply,
    {
        let event = event.into();
        check_event_name(self.0.namespace(), &event);
        self.0.listen(|cold| cold.events.add_once(event, handler))
    }

    /// Removes all of this socket's own listeners of `event`.
    pub fn off(&self, event: &str) {
        drop(self.0.if_cold(|cold| cold.events.remove(event)));
    }

    /// Removes one listener; `false` when it is not there (any more).
    pub fn off_listener(&self, id: ListenerId) -> bool {
        // What is removed is dropped without the lock: it is the user's code.
        let outgoing = self
            .0
            .if_cold(|cold| {
                let at = cold.outgoing.iter().position(|(known, _)| *known == id)?;
                Some(cold.outgoing.remove(at))
            })
            .flatten();
        if outgoing.is_some() {
            self.0.namespace().outgoing_listener(false);
            return true;
        }
        self.0.if_cold(|cold| cold.events.remove_listener(id)).flatten().is_some()
    }

    /// Calls `handler` for every event of this socket, before the others. What it returns answers nobody. Node:
    /// `socket.onAny()`.
    pub fn on_any<A: 'static, H>(&self, handler: H) -> ListenerId
    where
        H: Handler<A>,
        H::Output: IntoReply,
    {
        self.0.listen(|cold| cold.events.add_any(handler))
    }

    /// Calls `listener` with the name and arguments of every event that is sent to this socket, broadcasts
    /// included, acknowledgements not. It runs on the emitting thread and should be quick. Node:
    /// `socket.onAnyOutgoing()`.
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&str, RawArgs<'_>) + Send + Sync + 'static,
    ) -> ListenerId {
        self.0.listen(|cold| {
            let id = ListenerId::next();
            cold.outgoing.push((id, Arc::new(listener)));
            self.0.namespace().outgoing_listener(true);
            id
        })
    }

    /// Disconnects the client from this namespace, or with `close` from all of them, ending the connection. Both
    /// sides see `server namespace disconnect` (`io server disconnect` on the client). Node:
    /// `socket.disconnect(close)`.
    pub fn disconnect(&self, close: bool) {
        let _batch = Batch::begin();
        self.0.disconnect(close);
    }

    /// Closes the client's connection without a goodbye, as a lost network would: every namespace ends with
    /// `forced close`, and a client that reconnects by itself does. Node: `socket.conn.close()`.
    pub fn close_connection(&self) {
        self.0.connection().end(DisconnectReason::ForcedClose, End::Graceful);
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

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
