//! The operator behind every emit to more than one socket: rooms, exceptions, flags, then the verb.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::adapter::BroadcastOptions;
use crate::encoded::Draft;
use crate::error::{AckError, EmitError, Failure, Incomplete};
use crate::id::SocketId;
use crate::namespace::NamespaceInner;
use crate::socket::acks::{AckFuture, Awaiting};
use crate::socket::remote::RemoteSocket;
use crate::socket::{Socket, SocketInner};

/// Names of rooms: a string, a socket id, or several of either.
pub trait IntoRooms {
    /// The names.
    fn into_rooms(self) -> Vec<String>;
}

impl IntoRooms for &str {
    fn into_rooms(self) -> Vec<String> {
        vec![self.to_owned()]
    }
}

impl IntoRooms for String {
    fn into_rooms(self) -> Vec<String> {
        vec![self]
    }
}

impl IntoRooms for &String {
    fn into_rooms(self) -> Vec<String> {
        vec![self.clone()]
    }
}

impl IntoRooms for &SocketId {
    fn into_rooms(self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl IntoRooms for SocketId {
    fn into_rooms(self) -> Vec<String> {
        vec![self.to_string()]
    }
}

impl IntoRooms for &Socket {
    fn into_rooms(self) -> Vec<String> {
        vec![self.id().to_string()]
    }
}

impl<T: AsRef<str>> IntoRooms for &[T] {
    fn into_rooms(self) -> Vec<String> {
        self.iter().map(|room| room.as_ref().to_owned()).collect()
    }
}

impl<T: AsRef<str>> IntoRooms for &Vec<T> {
    fn into_rooms(self) -> Vec<String> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>> IntoRooms for Vec<T> {
    fn into_rooms(self) -> Vec<String> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> Vec<String> {
        self.as_slice().into_rooms()
    }
}

impl<T: AsRef<str>, const N: usize> IntoRooms for &[T; N] {
    fn into_rooms(self) -> Vec<String> {
        self.as_slice().into_rooms()
    }
}

/// One client's answer to a broadcast that asked.
#[derive(Debug)]
#[non_exhaustive]
pub struct BroadcastAck<R> {
    /// Who answered; `None` when the answer came from another node over a wire that does not say.
    pub socket: Option<SocketId>,
    /// What it answered.
    pub result: Result<R, AckError>,
}

/// An emit in the making: whom it is aimed at and how. Node: `BroadcastOperator`.
///
/// Made by `to`, `in_`, `except`, `local` and `broadcast` of a server, namespace or socket. A socket in several
/// target rooms is reached once.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before emit, or another verb, is called"]
pub struct Broadcast {
    namespace: Arc<NamespaceInner>,
    options: BroadcastOptions,
}

impl Broadcast {
    pub(crate) fn new(namespace: Arc<NamespaceInner>) -> Self {
        Self { namespace, options: BroadcastOptions::default() }
    }

    /// Everybody but `socket`. Node: `socket.broadcast`, which excepts the sender's own room.
    pub(crate) fn from_socket(socket: &SocketInner) -> Self {
        Self::new(Arc::clone(socket.namespace())).except(socket.id())
    }

    /// Aims at the sockets in any of `rooms`, beside those named before. An empty list names nobody, and a broadcast
    /// that names nobody is for everybody, as in Node.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        for room in rooms.into_rooms() {
            if !self.options.rooms.contains(&room) {
                self.options.rooms.push(room);
            }
        }
        self
    }

    /// The same as [`to`](Self::to).
    pub fn in_(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the sockets in any of `rooms`.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        for room in rooms.into_rooms() {
            if !self.options.except.contains(&room) {
                self.options.except.push(room);
            }
        }
        self
    }

    /// One answer is awaited: it is aimed at one socket that may be on another node.
    pub(crate) fn expect_single_response(mut self) -> Self {
        self.options.flags.expect_single_response = true;
        self
    }

    /// Only sockets of this node.
    pub fn local(mut self) -> Self {
        self.options.flags.local = true;
        self
    }

    /// Dropped for clients whose transport is busy at that moment.
    pub fn volatile(mut self) -> Self {
        self.options.flags.volatile = true;
        self
    }

    /// Whether transports may compress it. Default: they may.
    pub fn compress(mut self, compress: bool) -> Self {
        self.options.flags.compress = Some(compress);
        self
    }

    /// How long [`emit_with_ack`](Self::emit_with_ack) waits for answers. Default: `broadcast_ack_timeout` (5 s).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.flags.timeout = Some(timeout);
        self
    }

    /// Sends an event. The arguments are serialised here, once; a tuple is several arguments, `&()` none, anything
    /// else one; see [`Socket::emit`](crate::Socket::emit) for arrays and null. Bytes anywhere inside (`Bytes`, `serde_bytes`)
    /// travel as binary.
    ///
    /// Nothing is returned and nothing waits: what cannot be sent is reported to
    /// [`Server::on_error`](crate::Server::on_error).
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        if let Err(error) = self.try_emit(event, args) {
            report(&self.namespace, event, error);
        }
    }

    /// Like [`emit`](Self::emit), with the error for the caller.
    ///
    /// # Errors
    /// When the arguments cannot be serialised or the event name is reserved.
    pub fn try_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        for namespace in self.namespace.targets() {
            if !namespace.adapter().could_reach(&self.options) {
                // A reserved name is a mistake of the program, to be told even when nobody listens.
                if sio_protocol::socketio::is_reserved_event(event) {
                    return Err(EmitError::ReservedEvent(event.to_owned()));
                }
                continue;
            }
            let draft = Draft::event(&namespace, event, args)?;
            namespace.adapter().broadcast(&draft.packet(namespace.path(), None), &self.options);
        }
        Ok(())
    }

    /// Sends the event `message`.
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) {
        self.emit("message", args);
    }

    /// Sends an event and waits for every client's acknowledgement: for each that answered, or disconnected, a
    /// result; those that did not answer in time are missing from the list with [`AckError::Timeout`] entries
    /// without id at its end, a million of them at most.
    ///
    /// The event leaves when this is called, not when the future is polled.
    ///
    /// # Errors
    /// When the event could not be sent at all.
    pub fn emit_with_ack<R: DeserializeOwned + Send + 'static>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> AckFuture<Vec<BroadcastAck<R>>> {
        let sent = self.start_with_ack(event, args);
        // Counted from the emit, not from when somebody begins to wait.
        let start = tokio::time::Instant::now();
        AckFuture::new(async move {
            let (sinks, timeout) = sent?;
            // Adding what means "for ever" must not overflow.
            let deadline = start + timeout.min(FOR_EVER);
            let mut acks = Vec::new();
            for sink in sinks {
                let (results, missing) = sink.collect(deadline - tokio::time::Instant::now()).await;
                acks.extend(results.into_iter().map(|(socket, result)| BroadcastAck {
                    socket,
                    result: result.and_then(|args| args.deserialize().map_err(AckError::from)),
                }));
                let late = || BroadcastAck { socket: None, result: Err(AckError::Timeout) };
                acks.extend(std::iter::repeat_with(late).take(missing));
            }
            Ok(acks)
        })
    }

    fn start_with_ack(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<(Vec<Awaiting>, Duration), AckError> {
        let mut options = self.options.clone();
        let default =
            self.namespace.server().map_or(FALLBACK_ACK_TIMEOUT, |s| s.config.broadcast_ack_timeout);
        let timeout = *options.flags.timeout.get_or_insert(default);
        let mut sinks = Vec::new();
        for namespace in self.namespace.targets() {
            let draft = Draft::event(&namespace, event, args)?;
            let (sink, answers) = Awaiting::new();
            namespace.adapter().broadcast_with_ack(&draft.packet(namespace.path(), None), &options, sink);
            sinks.push(answers);
        }
        Ok((sinks, timeout))
    }

    /// The sockets aimed at, on all nodes.
    ///
    /// # Errors
    /// When another node does not answer in time; those that were found are in the error.
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, Incomplete<RemoteSocket>> {
        let mut sockets = Vec::new();
        let mut failed = None;
        for namespace in self.namespace.targets() {
            let remote = |details| RemoteSocket::new(Arc::clone(&namespace), details);
            let details = match namespace.adapter().fetch_sockets(&self.options).await {
                Ok(details) => details,
                Err(Incomplete { arrived, cause }) => {
                    failed.get_or_insert(cause);
                    arrived
                }
            };
            sockets.extend(details.into_iter().map(remote));
        }
        match failed {
            Some(cause) => Err(Incomplete::new(sockets, cause)),
            None => Ok(sockets),
        }
    }

    /// Puts the sockets aimed at into `rooms`.
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        let rooms = rooms.into_rooms();
        for namespace in self.namespace.targets() {
            namespace.adapter().join_sockets(&self.options, &rooms);
        }
    }

    /// Takes the sockets aimed at out of `rooms`.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        let rooms = rooms.into_rooms();
        for namespace in self.namespace.targets() {
            namespace.adapter().leave_sockets(&self.options, &rooms);
        }
    }

    /// Disconnects the sockets aimed at; `close` ends their connections too.
    pub fn disconnect_sockets(&self, close: bool) {
        for namespace in self.namespace.targets() {
            namespace.adapter().disconnect_sockets(&self.options, close);
        }
    }
}

/// Tells `on_error` of an emit nobody waits for.
pub(crate) fn report(namespace: &NamespaceInner, event: &str, error: EmitError) {
    if let Some(server) = namespace.server() {
        let namespace = namespace.path().to_owned();
        server.fail(&Failure::Emit { namespace, event: event.to_owned(), error });
    }
}

/// Thirty years.
const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// For a namespace whose server is gone.
const FALLBACK_ACK_TIMEOUT: Duration = Duration::from_secs(5);
