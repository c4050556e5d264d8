//! A namespace: its sockets and rooms, the handlers they share, and its adapter.

mod cluster;
pub(crate) mod connect;
pub(crate) mod pathname;
mod recovery;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};

use serde::Serialize;
use sio_protocol::parser::Parser;
use smallvec::SmallVec;

use crate::adapter::recovery::Store;
use crate::adapter::rooms::{Changes, Rooms};
use crate::adapter::{
    Adapter, AdapterFactory, BroadcastOptions, LocalAdapter, LocalNamespace, RoomEvent, RoomListeners,
};
use crate::broadcast::{Broadcast, IntoRooms};
use crate::error::{ConnectError, EmitError, Incomplete};
use crate::handler::{Handler, IntoReply, Table, check_event_name};
use crate::id::SocketId;
use crate::server::{Server, Shared};
use crate::socket::remote::RemoteSocket;
use crate::socket::{Socket, SocketInner};
use crate::sync::Lock;

pub(crate) struct NamespaceInner {
    /// Itself, for its adapter.
    this: Weak<Self>,
    path: Box<str>,
    server: Weak<Shared>,
    parser: Option<Arc<dyn Parser>>,
    rooms: Mutex<Rooms<Arc<SocketInner>>>,
    /// Replaced as a whole when a handler is added; a batch takes a reference once.
    table: RwLock<Arc<Table>>,
    /// Made by whoever needs the namespace first, outside the lock of the namespaces; others wait for it.
    adapter: OnceLock<Arc<dyn Adapter>>,
    /// Acknowledgement ids are shared by all sockets, so that a broadcast that asks is encoded once. Node:
    /// `Namespace._ids`.
    ack_ids: AtomicU64,
    /// Sockets that have a listener for what is sent to them.
    outgoing_listeners: AtomicUsize,
    room_listeners: RoomListeners,
    parent: Option<Arc<Self>>,
    is_parent: bool,
    /// Sockets that exist or are being connected.
    users: AtomicUsize,
    /// What clients may come back for; none when recovery is off.
    recovery: Option<Mutex<Store>>,
    /// The adapter's word on it, which is user code and not to be asked under a lock.
    adapter_recovers: AtomicBool,
    /// What its children take that stay without sockets because somebody may come back, in bytes.
    staying: AtomicUsize,
}

impl NamespaceInner {
    pub(crate) fn new(server: &Arc<Shared>, path: &str) -> Arc<Self> {
        Self::make(server, path, None, false)
    }

    pub(crate) fn parent(server: &Arc<Shared>) -> Arc<Self> {
        Self::make(server, "", None, true)
    }

    pub(crate) fn child(server: &Arc<Shared>, path: &str, parent: &Arc<Self>) -> Arc<Self> {
        Self::make(server, path, Some(Arc::clone(parent)), false)
    }

    fn make(server: &Arc<Shared>, path: &str, parent: Option<Arc<Self>>, is_parent: bool) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            path: path.into(),
            server: Arc::downgrade(server),
            parser: server.config.parser.clone(),
            rooms: Mutex::new(Rooms::new()),
            table: RwLock::default(),
            adapter: OnceLock::new(),
            ack_ids: AtomicU64::new(0),
            outgoing_listeners: AtomicUsize::new(0),
            room_listeners: RoomListeners::default(),
            parent,
            is_parent,
            users: AtomicUsize::new(0),
            recovery: server.config.recovery.map(|options| Mutex::new(Store::new(options))),
            adapter_recovers: AtomicBool::new(false),
            staying: AtomicUsize::new(0),
        })
    }

    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn server(&self) -> Option<Arc<Shared>> {
        self.server.upgrade()
    }

    pub(crate) fn parser(&self) -> Option<&Arc<dyn Parser>> {
        self.parser.as_ref()
    }

    pub(crate) fn is_child_of(&self, parent: &Arc<Self>) -> bool {
        self.parent.as_ref().is_some_and(|own| Arc::ptr_eq(own, parent))
    }

    /// A socket is about to be made for it.
    pub(crate) fn join_begins(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// A socket of it no longer exists.
    pub(crate) fn socket_dropped(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1
            && self.parent.is_some()
            && let Some(server) = self.server()
        {
            server.remove_unused(&self.path);
        }
    }

    pub(crate) fn is_unused_child(&self) -> bool {
        self.parent.is_some() && self.users.load(Ordering::Acquire) == 0
    }

    /// The adapter. Not for parents, which have no sockets of their own.
    pub(crate) fn adapter(&self) -> &Arc<dyn Adapter> {
        self.adapter.get_or_init(|| {
            let local = LocalNamespace::new(Weak::clone(&self.this), Weak::clone(&self.server), &self.path);
            let adapter = match self.server() {
                Some(server) => server.adapter_factory().attach(local),
                // Nobody can connect any more.
                None => LocalAdapter::new().attach(local),
            };
            self.room_listeners.set_interest(adapter.room_interest());
            self.adapter_recovers.store(adapter.supports_recovery(), Ordering::Relaxed);
            adapter
        })
    }

    /// The adapter, if it has been made.
    pub(crate) fn attached(&self) -> Option<&Arc<dyn Adapter>> {
        self.adapter.get()
    }

    /// The handlers: a child's are its parent's.
    pub(crate) fn table(&self) -> Arc<Table> {
        match &self.parent {
            Some(parent) => parent.table(),
            None => Arc::clone(&self.table.read().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    /// Changes the handlers; what `update` takes out it gives back, to be dropped without the lock.
    fn update_table<R>(&self, update: impl FnOnce(&mut Table) -> R) -> R {
        match &self.parent {
            Some(parent) => parent.update_table(update),
            None => update(Arc::make_mut(&mut self.table.write().unwrap_or_else(PoisonError::into_inner))),
        }
    }

    pub(crate) fn next_ack_id(&self) -> u64 {
        self.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn has_outgoing_listeners(&self) -> bool {
        self.outgoing_listeners.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn outgoing_listener(&self, added: bool) {
        if added {
            self.outgoing_listeners.fetch_add(1, Ordering::Relaxed);
        } else {
            self.outgoing_listeners.fetch_sub(1, Ordering::Relaxed);
        }
    }

    // Sockets and rooms

    pub(crate) fn with_rooms<R>(&self, f: impl FnOnce(&mut Rooms<Arc<SocketInner>>) -> R) -> R {
        f(&mut self.rooms.locked())
    }

    /// The sockets that `options` name, each once. The lock is released before anything is sent.
    pub(crate) fn select(&self, options: &BroadcastOptions) -> Vec<Arc<SocketInner>> {
        let mut sockets = Vec::new();
        let rooms = options.rooms.iter().map(String::as_str);
        let except = options.except.iter().map(String::as_str);
        self.with_rooms(|all| {
            if options.rooms.is_empty() {
                sockets.reserve(all.len());
            }
            all.select(rooms, except, |socket| sockets.push(Arc::clone(socket)));
        });
        sockets
    }

    pub(crate) fn insert(&self, socket: &Arc<SocketInner>, rooms: &[String]) {
        self.change(socket.id(), |all, changes| insert(all, socket, rooms, changes));
        self.tell();
    }

    /// Takes a socket out of all its rooms, and gives their names.
    pub(crate) fn remove(&self, socket: &SocketInner) -> Vec<String> {
        let id = socket.id().as_str();
        let (rooms, removed) = self.change(socket.id(), |all, changes| (all.of(id), all.remove(id, changes)));
        // Not under the lock, should it be the last reference.
        drop(removed);
        self.tell();
        rooms
    }

    pub(crate) fn join(&self, socket: &SocketInner, rooms: &[String]) {
        let id = socket.id().as_str();
        self.change(socket.id(), |all, changes| rooms.iter().for_each(|room| all.join(id, room, changes)));
        self.tell();
    }

    pub(crate) fn leave(&self, socket: &SocketInner, rooms: &[String]) {
        let id = socket.id().as_str();
        self.change(socket.id(), |all, changes| rooms.iter().for_each(|room| all.leave(id, room, changes)));
        self.tell();
    }

    /// Has `f` change the rooms of the socket `id`. Whoever listens is to be [told](Self::tell) when no lock is held.
    fn change<R>(&self, id: &SocketId, f: impl FnOnce(&mut Rooms<Arc<SocketInner>>, &mut Changes) -> R) -> R {
        let mut changes = Changes::new(self.room_listeners.is_wanted(self.user_listeners()));
        self.with_rooms(|rooms| {
            let result = f(rooms, &mut changes);
            if !changes.is_empty() {
                self.room_listeners.note(id, changes);
            }
            result
        })
    }

    fn tell(&self) {
        let user = self.user_listeners();
        if self.room_listeners.is_wanted(user) {
            self.room_listeners.tell(user, || &**self.adapter());
        }
    }

    /// Those that have the user's callback: a child's are its parent's.
    fn user_listeners(&self) -> &RoomListeners {
        &self.parent.as_deref().unwrap_or(self).room_listeners
    }

    /// The namespaces an emit on this one goes to: itself, or the children of a parent.
    pub(crate) fn targets(self: &Arc<Self>) -> SmallVec<[Arc<Self>; 1]> {
        if self.is_parent {
            self.server().map_or_else(SmallVec::new, |server| server.children(self).into())
        } else {
            SmallVec::from_iter([Arc::clone(self)])
        }
    }
}

fn insert(
    all: &mut Rooms<Arc<SocketInner>>,
    socket: &Arc<SocketInner>,
    rooms: &[String],
    changes: &mut Changes,
) {
    all.insert(Arc::clone(socket), changes);
    rooms.iter().for_each(|room| all.join(socket.id().as_str(), room, changes));
}

impl fmt::Debug for NamespaceInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A namespace of a server. Cheap to clone: all clones are the same namespace. Node: `Namespace`.
///
/// Handlers registered here serve every socket of the namespace. They are in place before the first client can send
/// anything, so that no event arrives too early, and a connection takes no memory for them.
#[derive(Clone, Debug)]
pub struct Namespace(pub(crate) Arc<NamespaceInner>);

impl Namespace {
    pub(crate) fn new(inner: Arc<NamespaceInner>) -> Self {
        Self(inner)
    }

    /// The name, with its slash. Empty for one made by [`Server::of_matching`].
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// Adds a test that a client passes before it is connected: the first that returns an error refuses it, and the
    /// client's `connect_error` event tells why. They run in the order they were added; each may wait. Node:
    /// `namespace.use()`.
    ///
    /// ```
    /// use sio_server::{Auth, ConnectError, Server, Socket};
    ///
    /// # #[derive(serde::Deserialize)]
    /// struct Token { token: String }
    ///
    /// async fn authenticate(socket: Socket, Auth(auth): Auth<Token>) -> Result<(), ConnectError> {
    ///     if auth.token != "secret" {
    ///         return Err(ConnectError::new("not authorized").with_data(&"ask for a token"));
    ///     }
    ///     socket.join("members");
    ///     Ok(())
    /// }
    ///
    /// Server::new().of("/admin").middleware(authenticate);
    /// ```
    pub fn middleware<A: 'static, H>(&self, handler: H) -> &Self
    where
        H: Handler<A, Output = Result<(), ConnectError>>,
    {
        self.0.update_table(|table| table.add_middleware(handler));
        self
    }

    /// Calls `handler` for every socket that connects, before anything the client sends afterwards is looked at.
    /// Node: `connection`.
    pub fn on_connection<A: 'static, H>(&self, handler: H) -> &Self
    where
        H: Handler<A, Output = ()>,
    {
        self.0.update_table(|table| table.add_connection(handler));
        self
    }

    /// Calls `handler` for every socket about to be disconnected, while its rooms can still be read. Only what runs
    /// before the first `.await` sees them. Node: `disconnecting`.
    pub fn on_disconnecting<A: 'static, H>(&self, handler: H) -> &Self
    where
        H: Handler<A, Output = ()>,
    {
        self.0.update_table(|table| table.add_disconnecting(handler));
        self
    }

    /// Calls `handler` for every socket that was disconnected. Node: `disconnect`.
    pub fn on_disconnect<A: 'static, H>(&self, handler: H) -> &Self
    where
        H: Handler<A, Output = ()>,
    {
        self.0.update_table(|table| table.add_disconnect(handler));
        self
    }

    /// Calls `handler` for every event `event` of any socket. Handlers of one socket start in the order of its
    /// packets; one that waits does not hold up the next, as long as fewer than
    /// [`max_running_handlers`](crate::ServerBuilder::max_running_handlers) of its connection do, and runs on if the
    /// client disconnects. One that finds whatever it awaits ready is done before the next one starts, however many
    /// events come at once; but for fairness it has tokio's budget of 128 steps (a lock taken or a message sent to a
    /// channel is one), past which it goes on like one that waits.
    ///
    /// What it returns is the acknowledgement: [`Reply(value)`](crate::Reply) and `Ok(value)` answer with `value`, a
    /// tuple being several arguments, `Err(error)` with `{"error": text}`, `()` does not answer. The text is the error's
    /// `Display`, word for word, and so is that of arguments that do not fit. The client of a handler that panics, or
    /// asks for [`State`](crate::State) that is not there, gets `{"error": "internal error"}`. All of these are reported
    /// to [`Server::on_error`], whether or not the client wants an acknowledgement. See
    /// [`AckSender`](crate::AckSender) for answering at another time. Several handlers of one event run in the order
    /// they were added; the first answer counts.
    ///
    /// `connection`, `disconnect` and `disconnecting` are no events here, and a handler for one is reported as a
    /// mistake: see [`on_connection`](Self::on_connection), [`on_disconnect`](Self::on_disconnect) and
    /// [`on_disconnecting`](Self::on_disconnecting).
    pub fn on<A: 'static, H>(&self, event: impl Into<String>, handler: H) -> &Self
    where
        H: Handler<A>,
        H::Output: IntoReply,
    {
        let event = event.into();
        check_event_name(&self.0, &event);
        self.0.update_table(|table| {
            table.events.add(event, handler);
        });
        self
    }

    /// Calls `handler` for every event of any socket, before its own handlers. What it returns answers nobody. Node:
    /// `socket.onAny()`.
    pub fn on_any<A: 'static, H>(&self, handler: H) -> &Self
    where
        H: Handler<A>,
        H::Output: IntoReply,
    {
        self.0.update_table(|table| {
            table.events.add_any(handler);
        });
        self
    }

    /// Calls `handler` for every event that has no handler of its own.
    pub fn on_fallback<A: 'static, H>(&self, handler: H) -> &Self
    where
        H: Handler<A>,
        H::Output: IntoReply,
    {
        self.0.update_table(|table| table.events.add_fallback(handler));
        self
    }

    /// Removes all handlers of `event` that were registered on the namespace.
    pub fn off(&self, event: &str) -> &Self {
        drop(self.0.update_table(|table| table.events.remove(event)));
        self
    }

    /// Calls `callback` when a room of this node begins or ends, or a socket goes in or out: one call at a time, in the
    /// order of the changes. It runs on the thread that made the change, or on one that was telling another change at
    /// that moment, and should be quick: past 1,000 changes that wait to be told, the thread that makes one more waits
    /// with it, worker threads of the runtime included, and a thread that tells goes on as long as
    /// others make changes. A socket's own room is not reported. Node: the events of
    /// `namespace.adapter`.
    pub fn on_room_event(&self, callback: impl Fn(&RoomEvent) + Send + Sync + 'static) -> &Self {
        self.0.parent.as_deref().unwrap_or(&self.0).room_listeners.set_callback(Arc::new(callback));
        self
    }

    /// Sends an event to every socket of the namespace. See [`Broadcast::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        self.broadcast().emit(event, args);
    }

    /// Like [`emit`](Self::emit), with the error for the caller.
    ///
    /// # Errors
    /// When the arguments cannot be serialised or the event name is reserved.
    pub fn try_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.broadcast().try_emit(event, args)
    }

    /// Sends the event `message`.
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) {
        self.emit("message", args);
    }

    /// Aims at the sockets in any of `rooms`, each once.
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> Broadcast {
        self.to(rooms)
    }

    /// Leaves out the sockets in any of `rooms`.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// Only sockets of this process.
    pub fn local(&self) -> Broadcast {
        self.broadcast().local()
    }

    /// Aims at all sockets of the namespace, to add flags or a timeout.
    pub fn broadcast(&self) -> Broadcast {
        Broadcast::new(Arc::clone(&self.0))
    }

    /// The sockets of the namespace, on all nodes. Node: `fetchSockets()`.
    ///
    /// # Errors
    /// When another node does not answer in time; those that were found are in the error.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, Incomplete<RemoteSocket>> {
        self.broadcast().fetch_sockets().await
    }

    /// Puts all sockets of the namespace into `rooms`. Node: `socketsJoin()`.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        self.broadcast().sockets_join(rooms);
    }

    /// Takes all sockets of the namespace out of `rooms`. Node: `socketsLeave()`.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        self.broadcast().sockets_leave(rooms);
    }

    /// Disconnects all sockets of the namespace; `close` ends their connections too. Node: `disconnectSockets()`.
    pub fn disconnect_sockets(&self, close: bool) {
        self.broadcast().disconnect_sockets(close);
    }

    /// The sockets of the namespace on this node.
    #[must_use]
    pub fn local_sockets(&self) -> Vec<Socket> {
        self.0.select(&BroadcastOptions::default()).into_iter().map(Socket).collect()
    }

    /// The socket `id`, if it is on this node.
    #[must_use]
    pub fn local_socket(&self, id: &str) -> Option<Socket> {
        self.0.with_rooms(|rooms| rooms.get(id).cloned()).map(Socket)
    }

    /// The rooms of this node, without the sockets' own.
    #[must_use]
    pub fn local_rooms(&self) -> Vec<String> {
        self.0.with_rooms(|rooms| rooms.names())
    }

    /// The server, unless it is gone.
    #[must_use]
    pub fn server(&self) -> Option<Server> {
        self.0.server().map(|shared| Server { shared })
    }
}
