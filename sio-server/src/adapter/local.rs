//! The sockets of this node, and the adapter that knows no other.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use sio_protocol::Limits;
use sio_protocol::socketio::Packet;

use super::{Adapter, AdapterFactory, BroadcastOptions, SocketDetails};
use crate::connection::flush::Batch;
use crate::encoded::{Draft, Encoded};
use crate::error::{AdapterError, Failure, Incomplete};
use crate::handler::{ServerReply, server_event};
use crate::namespace::NamespaceInner;
use crate::server::Shared;
use crate::socket::SocketInner;
use crate::socket::acks::AckSink;

/// The sockets of one namespace on this node: what an adapter delivers to.
#[derive(Clone, Debug)]
pub struct LocalNamespace {
    // Weak: the namespace owns its adapter.
    namespace: Weak<NamespaceInner>,
    server: Weak<Shared>,
    path: Arc<str>,
}

impl LocalNamespace {
    pub(crate) fn new(namespace: Weak<NamespaceInner>, server: Weak<Shared>, path: &str) -> Self {
        Self { namespace, server, path: path.into() }
    }

    /// The namespace's name, with its slash.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether it and `other` are namespaces of one server: for adapters that serve no second one. It holds whether or
    /// not the server is still there.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.server, &other.server)
    }

    /// What an event from another node may hold: [`ServerBuilder::limits`](crate::ServerBuilder::limits). With a
    /// [parser of your own](crate::ServerBuilder::parser), whose packets have no attachments beside them, as many binary
    /// values as [`max_inline_attachments`](Limits::max_inline_attachments) allows.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let Some(server) = self.server.upgrade() else { return Limits::default() };
        let mut limits = *server.config.limits;
        if server.config.parser.is_some() {
            limits.max_attachments = limits.max_inline_attachments;
        }
        limits
    }

    /// How many sockets there are.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        self.namespace.upgrade().map_or(0, |namespace| namespace.with_rooms(|rooms| rooms.len()))
    }

    /// Whether some socket is in `room`, which may also be the id of one.
    #[must_use]
    pub fn has_room(&self, room: &str) -> bool {
        self.namespace
            .upgrade()
            .is_some_and(|namespace| namespace.with_rooms(|rooms| rooms.is_occupied(room)))
    }

    /// The names of all rooms, without the sockets' own.
    #[must_use]
    pub fn rooms(&self) -> Vec<String> {
        self.namespace
            .upgrade()
            .map_or_else(Vec::new, |namespace| namespace.with_rooms(|rooms| rooms.names()))
    }

    /// The names of all rooms, the sockets' own among them. Node: `adapter.rooms`.
    #[must_use]
    pub fn all_rooms(&self) -> Vec<String> {
        self.namespace
            .upgrade()
            .map_or_else(Vec::new, |namespace| namespace.with_rooms(|rooms| rooms.all_names()))
    }

    /// Whether `options` name anybody at all; cheap, and may say yes for nobody.
    #[must_use]
    pub fn could_reach(&self, options: &BroadcastOptions) -> bool {
        self.namespace.upgrade().is_some_and(|namespace| {
            // Somebody who is away may come back for it.
            namespace.recovers()
                || namespace.with_rooms(|rooms| {
                    if options.rooms.is_empty() {
                        !rooms.is_empty()
                    } else {
                        options.rooms.iter().any(|room| rooms.is_occupied(room))
                    }
                })
        })
    }

    /// Sends `packet` to the sockets that `options` name: encoded once, each socket once. Gives how many sockets' queues
    /// took it: what is volatile passes by those that are busy.
    pub fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions) -> usize {
        let Some(namespace) = self.namespace.upgrade() else { return 0 };
        let (sockets, stored) = namespace.select_and_store(packet, options);
        let packet = stored.as_ref().unwrap_or(packet);
        if sockets.is_empty() {
            return 0;
        }
        let _batch = Batch::begin();
        let encoded = encode(packet, &namespace, options);
        let listening = namespace.has_outgoing_listeners();
        let mut count = 0;
        // Each is let go of while it is at hand: afterwards it would have to be fetched from memory once more.
        for socket in sockets {
            if listening {
                socket.notify_outgoing(packet);
            }
            count += usize::from(socket.deliver(&encoded, options.flags.volatile));
        }
        count
    }

    /// The same for an event that arrives in another form: only when somebody is to get it `write` is called, once and
    /// with no lock held, to append the data of the event, `["name",..]`, to a buffer (whose content it must leave
    /// alone) and to give its attachments. The buffer becomes the frame that all recipients share.
    ///
    /// # Errors
    /// That of `write`; nothing is sent then.
    pub fn broadcast_with<E>(
        &self,
        options: &BroadcastOptions,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, E>,
    ) -> Result<usize, E> {
        let Some(namespace) = self.namespace.upgrade() else { return Ok(0) };
        if namespace.recovers() {
            // Whoever is away may come back for it: it is written, and kept, even when nobody is there.
            let Some(draft) = Draft::written(namespace.path(), write)? else { return Ok(0) };
            return Ok(self.broadcast(&draft.packet(namespace.path(), None), options));
        }
        let sockets = namespace.select(options);
        if sockets.is_empty() {
            return Ok(0);
        }
        let Some(draft) = Draft::written(namespace.path(), write)? else { return Ok(0) };
        let _batch = Batch::begin();
        if namespace.has_outgoing_listeners() {
            let packet = draft.packet(namespace.path(), None);
            sockets.iter().for_each(|socket| socket.notify_outgoing(&packet));
        }
        let encoded = finish(draft, None, &namespace, options);
        let delivered = sockets.into_iter().filter(|socket| socket.deliver(&encoded, options.flags.volatile));
        Ok(delivered.count())
    }

    /// Sends `packet` to the sockets that `options` name and asks each client for an acknowledgement, which goes to
    /// `sink`. Gives how many were asked.
    pub fn broadcast_with_ack(
        &self,
        packet: &Packet<'_>,
        options: &BroadcastOptions,
        sink: &AckSink,
    ) -> usize {
        let Some(namespace) = self.namespace.upgrade() else {
            sink.expect(0);
            return 0;
        };
        let sockets = namespace.select(options);
        let _batch = Batch::begin();
        sink.expect(sockets.len());
        if sockets.is_empty() {
            return 0;
        }
        let id = namespace.next_ack_id();
        let packet = Packet::event(&*packet.nsp, Some(id), &*packet.data, packet.attachments.clone());
        let encoded = encode(&packet, &namespace, options);
        let listening = namespace.has_outgoing_listeners();
        for socket in &sockets {
            if listening {
                socket.notify_outgoing(&packet);
            }
            socket.ask(&encoded, id, sink);
        }
        sockets.len()
    }

    /// The same for an event that arrives in another form, as for [`broadcast_with`](Self::broadcast_with). `sink`
    /// hears how many are asked, be it nobody, before this returns.
    ///
    /// # Errors
    /// That of `write`; nothing is sent then, and `sink` has heard nothing.
    pub fn broadcast_with_ack_with<E>(
        &self,
        options: &BroadcastOptions,
        sink: &AckSink,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, E>,
    ) -> Result<usize, E> {
        let namespace = self.namespace.upgrade();
        let sockets = namespace.as_ref().map(|namespace| namespace.select(options)).unwrap_or_default();
        let Some(namespace) = namespace.filter(|_| !sockets.is_empty()) else {
            sink.expect(0);
            return Ok(0);
        };
        let Some(draft) = Draft::written(namespace.path(), write)? else {
            sink.expect(0);
            return Ok(0);
        };
        let _batch = Batch::begin();
        sink.expect(sockets.len());
        let id = namespace.next_ack_id();
        if namespace.has_outgoing_listeners() {
            let packet = draft.packet(namespace.path(), Some(id));
            sockets.iter().for_each(|socket| socket.notify_outgoing(&packet));
        }
        let encoded = finish(draft, Some(id), &namespace, options);
        for socket in &sockets {
            socket.ask(&encoded, id, sink);
        }
        Ok(sockets.len())
    }

    /// Runs `f` and writes what it sends to clients when it returns: a client that gets several packets gets them with
    /// one system call. For an adapter that has several messages of other nodes at hand; `f` must not wait.
    pub fn together<R>(f: impl FnOnce() -> R) -> R {
        let _batch = Batch::begin();
        f()
    }

    /// Hands an event that another node has emitted to the handlers of this one (see
    /// [`Namespace::on_server_event`](crate::Namespace::on_server_event)). They start here, in order, as for an event
    /// of a client; one that waits goes on in a task of its own. The first answer goes to `reply`, if the node that
    /// emitted wants one; without a handler that answers there is none. Node: `namespace._onServerSideEmit()`.
    pub fn server_event(&self, packet: &Packet<'_>, reply: Option<ServerReply>) {
        if let Some(namespace) = self.namespace.upgrade() {
            let _batch = Batch::begin();
            server_event::handle(&namespace, packet, reply);
        }
    }

    /// Puts the sockets that `options` name into `rooms`.
    pub fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        for socket in self.select(options) {
            socket.join(rooms);
        }
    }

    /// Takes the sockets that `options` name out of `rooms`.
    pub fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        for socket in self.select(options) {
            socket.leave(rooms);
        }
    }

    /// Disconnects the sockets that `options` name; `close` ends their connections too.
    pub fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool) {
        let _batch = Batch::begin();
        for socket in self.select(options) {
            socket.disconnect(close);
        }
    }

    /// Describes the sockets that `options` name.
    #[must_use]
    pub fn fetch_sockets(&self, options: &BroadcastOptions) -> Vec<SocketDetails> {
        self.select(options).iter().map(SocketInner::details).collect()
    }

    /// Reports a failure of the adapter to [`Server::on_error`](crate::Server::on_error).
    pub fn report(&self, message: impl Into<String>) {
        if let Some(server) = self.namespace.upgrade().and_then(|namespace| namespace.server()) {
            server.fail(&Failure::Adapter { namespace: self.path.to_string(), message: message.into() });
        }
    }

    fn select(&self, options: &BroadcastOptions) -> Vec<Arc<SocketInner>> {
        self.namespace.upgrade().map_or_else(Vec::new, |namespace| namespace.select(options))
    }
}

fn encode(packet: &Packet<'_>, namespace: &NamespaceInner, options: &BroadcastOptions) -> Arc<Encoded> {
    compressible(Encoded::new(packet, namespace.parser()), options)
}

fn compressible(encoded: Encoded, options: &BroadcastOptions) -> Arc<Encoded> {
    Arc::new(if options.flags.compress == Some(false) { encoded.uncompressed() } else { encoded })
}

fn finish(
    draft: Draft,
    id: Option<u64>,
    namespace: &NamespaceInner,
    options: &BroadcastOptions,
) -> Arc<Encoded> {
    if namespace.parser().is_some() {
        return encode(&draft.packet(namespace.path(), id), namespace, options);
    }
    compressible(draft.encode(namespace.path(), id), options)
}

/// The adapter of a server that stands alone: everything stays in memory. Node: `Adapter` of `socket.io-adapter`.
///
/// A broadcast is delivered to every connected socket exactly once, or not at all when the client's queue is full
/// or its connection is lost.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct LocalAdapter;

impl LocalAdapter {
    /// The adapter's factory.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl AdapterFactory for LocalAdapter {
    fn attach(&self, local: LocalNamespace) -> Arc<dyn Adapter> {
        Arc::new(Attached(local))
    }
}

#[derive(Debug)]
struct Attached(LocalNamespace);

#[async_trait]
impl Adapter for Attached {
    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions) {
        self.0.broadcast(packet, options);
    }

    fn broadcast_with_ack(&self, packet: &Packet<'_>, options: &BroadcastOptions, sink: AckSink) {
        self.0.broadcast_with_ack(packet, options, &sink);
    }

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.0.join_sockets(options, rooms);
    }

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.0.leave_sockets(options, rooms);
    }

    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool) {
        self.0.disconnect_sockets(options, close);
    }

    async fn fetch_sockets(
        &self,
        options: &BroadcastOptions,
    ) -> Result<Vec<SocketDetails>, Incomplete<SocketDetails>> {
        Ok(self.0.fetch_sockets(options))
    }

    async fn all_rooms(&self) -> Result<Vec<String>, Incomplete<String>> {
        Ok(self.0.all_rooms())
    }

    async fn server_count(&self) -> Result<usize, AdapterError> {
        Ok(1)
    }

    fn could_reach(&self, options: &BroadcastOptions) -> bool {
        self.0.could_reach(options)
    }

    fn supports_recovery(&self) -> bool {
        true
    }
}
