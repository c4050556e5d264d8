//! The server: what all namespaces and connections share, and the handle users hold.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::adapter::AdapterFactory;
use crate::broadcast::{Broadcast, IntoRooms};
use crate::builder::ServerBuilder;
use crate::config::Config;
use crate::connection::End;
use crate::connection::flush::Lists;
use crate::connection::registry::Registry;
use crate::connection::timers::{self, Timers};
use crate::error::{EmitError, Failure, Incomplete};
use crate::handler::IntoReply;
use crate::namespace::{Namespace, NamespaceInner};
use crate::reason::DisconnectReason;
use crate::service::{Layer, Service};
use crate::socket::remote::RemoteSocket;
use crate::sync::contained;

type OnError = Arc<dyn Fn(&Failure) + Send + Sync>;
type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;
/// Decides whether a namespace that nobody made exists: called with its name and the client's `auth` as JSON.
type Matcher = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// What everything of one server shares.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) sessions: Registry,
    pub(crate) timers: Timers,
    pub(crate) late: Lists,
    epoch: Instant,
    namespaces: RwLock<HashMap<Box<str>, Arc<NamespaceInner>>>,
    /// Namespaces that stand for many, each with its test, in the order they were made.
    parents: RwLock<Vec<(Matcher, Arc<NamespaceInner>)>>,
    adapter: Arc<dyn AdapterFactory>,
    states: States,
    on_error: RwLock<Option<OnError>>,
    pub(crate) runtime: OnceLock<Handle>,
    closed: AtomicBool,
    adapters_closed: AtomicBool,
    tasks: AtomicUsize,
    /// Told whenever a task or a session has ended after `close`.
    idle: Notify,
    pub(crate) closing: Notify,
}

impl Shared {
    /// Milliseconds since the server was built.
    pub(crate) fn now(&self) -> u64 {
        // Half a billion years.
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of an uptime fit 64 bits")]
        let now = self.epoch.elapsed().as_millis() as u64;
        now
    }

    /// Starts the background tasks with the first connection, on the runtime that brought it.
    pub(crate) fn start(self: &Arc<Self>) {
        let mut first = false;
        self.runtime.get_or_init(|| {
            first = true;
            Handle::current()
        });
        if first {
            tokio::spawn(timers::run(Arc::downgrade(self)));
        }
    }

    /// Spawns on the server's runtime; user code may emit from threads that have none.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        // Before the first connection an adapter may have something to do, on a runtime of its own.
        match self.runtime.get().cloned().or_else(|| Handle::try_current().ok()) {
            Some(runtime) => drop(runtime.spawn(future)),
            None => tracing::error!("a task was to be spawned without a runtime"),
        }
    }

    /// Makes the server's runtime the current one, for user code that is called from a thread without.
    pub(crate) fn enter(&self) -> Option<tokio::runtime::EnterGuard<'_>> {
        if Handle::try_current().is_ok() { None } else { self.runtime.get().map(Handle::enter) }
    }

    pub(crate) fn task(self: &Arc<Self>) -> Task {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        Task(Arc::clone(self))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn fail(&self, failure: &Failure) {
        let callback = self.on_error.read().unwrap_or_else(PoisonError::into_inner).clone();
        match callback {
            Some(callback) => {
                contained("on_error", || callback(failure));
            }
            None => tracing::warn!("{failure}"),
        }
    }

    pub(crate) fn state<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.states.get(&TypeId::of::<T>()).and_then(|state| Arc::clone(state).downcast().ok())
    }

    fn existing(&self, path: &str) -> Option<Arc<NamespaceInner>> {
        self.namespaces.read().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    /// The namespace for a client's CONNECT: one that exists, or a child of a parent whose test accepts it.
    pub(crate) fn namespace_for(self: &Arc<Self>, path: &str, auth: &str) -> Option<Arc<NamespaceInner>> {
        // Counted as used while the map is locked: a namespace in use is not removed.
        let joined = |namespace: &Arc<NamespaceInner>| {
            namespace.join_begins();
            Arc::clone(namespace)
        };
        let existing = {
            let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
            namespaces.get(path).map(joined)
        };
        if let Some(namespace) = existing {
            return attach(namespace);
        }
        let parents = self.parents.read().unwrap_or_else(PoisonError::into_inner).clone();
        let accepts =
            |matches: &Matcher| contained("of_matching", || matches(path, auth)).unwrap_or_default();
        let parent = parents.into_iter().find(|(matches, _)| accepts(matches))?.1;
        let namespace = {
            let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
            // Of two first joins of one namespace the second finds what the first has made.
            joined(
                namespaces.entry(path.into()).or_insert_with(|| NamespaceInner::child(self, path, &parent)),
            )
        };
        attach(namespace)
    }

    /// Removes a namespace made for clients when its last client has left, and nobody may come back to it.
    pub(crate) fn remove_unused(&self, path: &str) {
        let removed = {
            let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
            match namespaces.get(path) {
                Some(namespace) if namespace.is_unused_child() && !namespace.is_awaited() => {
                    namespaces.remove(path)
                }
                _ => None,
            }
        };
        let Some(namespace) = removed else { return };
        namespace.forget();
        if let Some(adapter) = namespace.attached().cloned() {
            self.spawn(async move { adapter.close().await });
        }
    }

    fn of(self: &Arc<Self>, path: &str) -> Arc<NamespaceInner> {
        let namespace = self.existing(path).unwrap_or_else(|| {
            let mut made = false;
            let namespace = {
                let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
                let namespace = namespaces.entry(path.into()).or_insert_with(|| {
                    made = true;
                    NamespaceInner::new(self, path)
                });
                Arc::clone(namespace)
            };
            // With a parser of the user's a comma is like any other character.
            if made && (path.contains('?') || path.contains(',') && self.config.parser.is_none()) {
                tracing::warn!(
                    path,
                    "a namespace that clients do not join: a comma or a question mark ends its name"
                );
            }
            namespace
        });
        // Without the lock: the factory is not our code.
        namespace.adapter();
        namespace
    }

    pub(crate) fn adapter_factory(&self) -> &Arc<dyn AdapterFactory> {
        &self.adapter
    }

    fn all_namespaces(&self) -> Vec<Arc<NamespaceInner>> {
        self.namespaces.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Drops what nobody has come back for in time; the timers say when.
    pub(crate) fn sweep(&self) {
        let now = self.now();
        let mut next: Option<u64> = None;
        for namespace in self.all_namespaces() {
            next = next.into_iter().chain(namespace.sweep(now)).min();
            if namespace.is_unused_child() {
                self.remove_unused(namespace.path());
            }
        }
        if let Some(at) = next {
            self.timers.add_sweep(at);
        }
    }

    /// The namespaces that were made for clients of `parent`.
    pub(crate) fn children(&self, parent: &Arc<NamespaceInner>) -> Vec<Arc<NamespaceInner>> {
        self.all_namespaces().into_iter().filter(|namespace| namespace.is_child_of(parent)).collect()
    }
}

/// Makes sure that a namespace has its adapter, for a client that is about to join it: `None` when there can be none.
fn attach(namespace: Arc<NamespaceInner>) -> Option<Arc<NamespaceInner>> {
    // A factory that panics costs the client its namespace, not its connection.
    if contained("the adapter factory", || _ = namespace.adapter()).is_none() {
        namespace.socket_dropped();
        return None;
    }
    Some(namespace)
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("config", &self.config).finish_non_exhaustive()
    }
}

/// Counts a task that [`Server::close`] waits for.
#[derive(Debug)]
pub(crate) struct Task(Arc<Shared>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::Release);
        if self.0.is_closed() {
            self.0.idle.notify_one();
        }
    }
}

/// A Socket.IO server. Cheap to clone: all clones are the same server.
///
/// Its methods for emitting are those of its main namespace `/`, which always exists. Node: `Server`, usually `io`.
///
/// ```
/// use sio_server::{Args, Server, Socket};
///
/// let io = Server::new();
/// io.of("/chat").on("say", async |socket: Socket, Args(text): Args<String>| {
///     socket.broadcast().emit("said", &text);
/// });
/// io.emit("news", &("everyone", 1));
/// ```
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) shared: Arc<Shared>,
}

impl Server {
    /// A server with the default options and the in-memory adapter.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Sets options, adapter and state.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    pub(crate) fn assemble(config: Config, adapter: Arc<dyn AdapterFactory>, states: States) -> Self {
        let shared = Arc::new(Shared {
            config,
            sessions: Registry::new(),
            timers: Timers::default(),
            late: Lists::default(),
            epoch: Instant::now(),
            namespaces: RwLock::default(),
            parents: RwLock::default(),
            adapter,
            states,
            on_error: RwLock::default(),
            runtime: OnceLock::new(),
            closed: AtomicBool::new(false),
            adapters_closed: AtomicBool::new(false),
            tasks: AtomicUsize::new(0),
            idle: Notify::new(),
            closing: Notify::new(),
        });
        shared.of("/");
        Self { shared }
    }

    /// The namespace `path`, made if it does not exist. A missing leading slash is added. Node: `io.of()`.
    ///
    /// Clients do not join one with a comma or a question mark in its name, and making it logs a warning: on the wire a
    /// comma ends the name (not with [`MsgPackParser`](crate::protocol::parser::MsgPackParser)), and for clients a
    /// question mark does, as in `io("/chat?token=1")`.
    #[must_use]
    pub fn of(&self, path: &str) -> Namespace {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Namespace::new(self.shared.of(&path))
    }

    /// The main namespace `/`. Node: `io.sockets`.
    #[must_use]
    pub fn sockets(&self) -> Namespace {
        self.of("/")
    }

    /// A namespace that stands for all those `matches` accepts: it is called with the name a client asks for and
    /// the client's `auth` as JSON text. A real namespace is made for the first client of each name and shares the
    /// handlers registered here; emits made here reach all of them. Node: `io.of(regex)` and `io.of(function)`.
    ///
    /// Names come from clients: a test that accepts everything lets them make as many namespaces as they have
    /// connections times `max_namespaces`, at about 400 bytes each. One is removed when the last of its sockets is
    /// gone (Node: `cleanupEmptyChildNamespaces`) and nobody can come back to it any more
    /// ([`ConnectionStateRecovery`](crate::ConnectionStateRecovery)); a [`Namespace`] kept from [`of`](Self::of) then
    /// has no sockets and reaches nobody, but in a cluster what it emits goes to the namespace of that name on all nodes
    /// that have one.
    pub fn of_matching(&self, matches: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Namespace {
        let parent = NamespaceInner::parent(&self.shared);
        let mut parents = self.shared.parents.write().unwrap_or_else(PoisonError::into_inner);
        parents.push((Arc::new(matches), Arc::clone(&parent)));
        Namespace::new(parent)
    }

    /// Has failures that no caller waits for reported to `callback`: rejected arguments, handlers that return
    /// errors or panic, emits that fail, handlers whose name is not that of an event. Without it they are logged as
    /// warnings of the crate `tracing`, which nobody sees in a program without a subscriber. Set it first: what failed
    /// before is not reported again.
    ///
    /// ```
    /// # let io = sio_server::Server::new();
    /// io.on_error(|failure| eprintln!("{failure}"));
    /// ```
    pub fn on_error(&self, callback: impl Fn(&Failure) + Send + Sync + 'static) -> &Self {
        let callback = Arc::new(callback);
        let old = self.shared.on_error.write().unwrap_or_else(PoisonError::into_inner).replace(callback);
        // Without the lock: it is the user's code.
        drop(old);
        self
    }

    /// Sends an event to every client of `/`. Serialised once, written to each client without copying. See
    /// [`Broadcast::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        self.sockets().emit(event, args);
    }

    /// Like [`emit`](Self::emit), with the error for the caller.
    ///
    /// # Errors
    /// When the arguments cannot be serialised or the event name is reserved.
    pub fn try_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.sockets().try_emit(event, args)
    }

    /// Sends the event `message`. Node: `io.send()`.
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) {
        self.emit("message", args);
    }

    /// Aims at the clients of `/` in any of `rooms`.
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.sockets().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> Broadcast {
        self.to(rooms)
    }

    /// Leaves out the clients of `/` in any of `rooms`.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.sockets().except(rooms)
    }

    /// Aims at all clients of `/`, to add flags or a timeout.
    pub fn broadcast(&self) -> Broadcast {
        self.sockets().broadcast()
    }

    /// Only clients of this process, not those of other nodes.
    pub fn local(&self) -> Broadcast {
        self.broadcast().local()
    }

    /// The sockets of `/`, on all nodes. Node: `io.fetchSockets()`.
    ///
    /// # Errors
    /// When another node does not answer in time; those that were found are in the error.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, Incomplete<RemoteSocket>> {
        self.sockets().fetch_sockets().await
    }

    /// Puts all sockets of `/` into `rooms`. Node: `io.socketsJoin()`.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        self.sockets().sockets_join(rooms);
    }

    /// Takes all sockets of `/` out of `rooms`. Node: `io.socketsLeave()`.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        self.sockets().sockets_leave(rooms);
    }

    /// Disconnects all sockets of `/`; `close` ends their connections too. Node: `io.disconnectSockets()`.
    pub fn disconnect_sockets(&self, close: bool) {
        self.sockets().disconnect_sockets(close);
    }

    /// Emits an event to all other nodes. See [`Namespace::server_side_emit`].
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        self.sockets().server_side_emit(event, args);
    }

    /// Like [`server_side_emit`](Self::server_side_emit), with the error for the caller.
    ///
    /// # Errors
    /// When the arguments cannot be serialised or the event name is reserved.
    pub fn try_server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
    ) -> Result<(), EmitError> {
        self.sockets().try_server_side_emit(event, args)
    }

    /// Emits an event to all other nodes and waits for an answer of each. See
    /// [`Namespace::server_side_emit_with_ack`].
    ///
    /// # Errors
    /// When a node does not answer in time, or not with an `R`; what did arrive is in the error.
    pub async fn server_side_emit_with_ack<R: DeserializeOwned + Send>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<Vec<R>, Incomplete<R>> {
        self.sockets().server_side_emit_with_ack(event, args).await
    }

    /// Calls `handler` for every event `event` that another node emits. See [`Namespace::on_server_event`].
    pub fn on_server_event<T, F, Fut>(&self, event: impl Into<String>, handler: F) -> &Self
    where
        T: DeserializeOwned,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoReply> + Send + 'static,
    {
        self.sockets().on_server_event(event, handler);
        self
    }

    /// What was given to [`ServerBuilder::state`], by type; handlers take it with [`State`](crate::State).
    #[must_use]
    pub fn state<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.shared.state()
    }

    /// How many sessions are open, including those that have not joined a namespace. Node:
    /// `io.engine.clientsCount`.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.shared.sessions.len()
    }

    /// The server as a service for axum, hyper, or anything tower-like. All services of one server share it.
    ///
    /// It answers requests whose whole path begins with [`path`](ServerBuilder::path) and a slash, all others with 404.
    /// In axum it is therefore mounted as below, with the trailing slash, and not nested, which strips the path.
    ///
    /// ```
    /// # use sio_server::Server;
    /// let io = Server::new();
    /// let app: axum::Router = axum::Router::new().route_service("/socket.io/", io.service());
    /// ```
    #[must_use]
    pub fn service(&self) -> Service {
        Service::new(Arc::clone(&self.shared))
    }

    /// The server as a tower layer: requests below its path are its own, all others go to the wrapped service.
    #[must_use]
    pub fn layer(&self) -> Layer {
        Layer::new(Arc::clone(&self.shared))
    }

    /// Closes the server: new sessions are refused, every socket is disconnected with `server shutting down`, and
    /// when nothing is left (at the latest after 5 seconds for clients that do not close their side) it returns.
    /// `disconnect` handlers have started then; those that wait for something go on, but are not waited for. Node:
    /// `io.close()`.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.closed.store(true, Ordering::Release);
        shared.closing.notify_waiters();
        for connection in shared.sessions.all() {
            connection.end(DisconnectReason::ServerShuttingDown, End::Graceful);
        }
        // A handshake that had passed the check before the flag was set is caught here or refuses itself.
        while shared.tasks.load(Ordering::Acquire) > 0 || shared.sessions.len() > 0 {
            for connection in shared.sessions.all() {
                connection.end(DisconnectReason::ServerShuttingDown, End::Graceful);
                connection.leave_registry();
            }
            if shared.tasks.load(Ordering::Acquire) > 0 {
                shared.idle.notified().await;
            }
        }
        // Somebody else may be closing too, and each wake-up reaches one.
        shared.idle.notify_one();
        if !shared.adapters_closed.swap(true, Ordering::AcqRel) {
            for namespace in shared.all_namespaces() {
                if let Some(adapter) = namespace.attached() {
                    adapter.close().await;
                }
            }
            shared.adapter.close().await;
        }
        shared.timers.close();
    }

    /// Whether [`close`](Self::close) has been called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logged::logged;
    use crate::protocol::parser::MsgPackParser;

    #[test]
    fn a_namespace_that_clients_do_not_join_is_a_warning_once() {
        let io = Server::new();
        for path in ["/a,b", "x?y=1"] {
            let log = logged(|| drop((io.of(path), io.of(path))));
            assert!(log.len() == 1 && log[0].starts_with("WARN "), "{log:?}");
            assert!(log[0].contains(io.of(path).path()), "{log:?}");
        }
        assert_eq!(logged(|| drop(io.of("/chat"))), [""; 0]);
        let io = Server::builder().parser(MsgPackParser).build();
        assert_eq!(logged(|| drop(io.of("/a,b"))), [""; 0], "a comma does not end it here");
    }
}
