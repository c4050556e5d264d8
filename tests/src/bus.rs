//! A cluster in one process: servers that call each other directly, through the same doors that an adapter with a
//! network behind it uses.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sio_server::protocol::socketio::{OwnedArgs, Packet};
use sio_server::{
    AckSink, Adapter, AdapterError, AdapterFactory, BroadcastOptions, Incomplete, LocalNamespace, RoomEvent,
    RoomInterest, ServerReply, SocketDetails,
};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

/// What joins the servers. Cheap to clone.
#[derive(Clone, Default)]
pub struct Bus(Arc<State>);

#[derive(Default)]
struct State {
    members: Mutex<Vec<Arc<Member>>>,
    nodes: AtomicUsize,
    /// How often an event was written out for a node other than the one that emitted it.
    written: AtomicUsize,
    forwards: Mutex<Vec<AckSink>>,
    closed: AtomicUsize,
}

/// One namespace of one node.
struct Member {
    node: usize,
    local: LocalNamespace,
    options: NodeOptions,
}

#[derive(Clone, Default)]
struct NodeOptions {
    interest: RoomInterest,
    recovers: bool,
    silent: Arc<AtomicBool>,
    events: Option<UnboundedSender<RoomEvent>>,
}

impl Bus {
    /// A bus without nodes.
    pub fn new() -> Self {
        Self::default()
    }

    /// The adapter of another server.
    pub fn node(&self) -> Node {
        let node = self.0.nodes.fetch_add(1, Ordering::Relaxed);
        Node { bus: self.clone(), node, options: NodeOptions::default() }
    }

    /// How many nodes an event was written out for, other than the one that emitted it.
    pub fn written(&self) -> usize {
        self.0.written.load(Ordering::Relaxed)
    }

    /// How many adapters have been closed.
    pub fn closed(&self) -> usize {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// Closes the sinks of all that was asked on behalf of another node, as its timeout would.
    pub fn close_sinks(&self) {
        for sink in self.0.forwards.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            sink.close();
        }
    }

    fn peers(&self, own: &Member) -> Vec<Arc<Member>> {
        let members = self.0.members.lock().unwrap_or_else(PoisonError::into_inner);
        let is_peer = |other: &&Arc<Member>| other.node != own.node && other.local.path() == own.local.path();
        members.iter().filter(is_peer).cloned().collect()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bus")
    }
}

/// The adapter of one server.
#[derive(Clone)]
pub struct Node {
    bus: Bus,
    node: usize,
    options: NodeOptions,
}

impl Node {
    /// Hears of rooms.
    pub fn hears(mut self, interest: RoomInterest, events: UnboundedSender<RoomEvent>) -> Self {
        self.options.interest = interest;
        self.options.events = Some(events);
        self
    }

    /// Says that it sees every event, so that clients may come back to it.
    pub fn recovers(mut self) -> Self {
        self.options.recovers = true;
        self
    }

    /// Has it answer no questions of other nodes from now on.
    pub fn silence(&self) {
        self.options.silent.store(true, Ordering::Relaxed);
    }

    /// One of its namespaces.
    ///
    /// # Panics
    /// When it has none of that name.
    pub fn local(&self, path: &str) -> LocalNamespace {
        let members = self.bus.0.members.lock().unwrap_or_else(PoisonError::into_inner);
        let mut members = members.iter();
        let member = members.find(|member| member.node == self.node && member.local.path() == path);
        member.expect("a namespace of the node").local.clone()
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.node)
    }
}

impl AdapterFactory for Node {
    fn attach(&self, local: LocalNamespace) -> Arc<dyn Adapter> {
        let member = Arc::new(Member { node: self.node, local, options: self.options.clone() });
        self.bus.0.members.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&member));
        Arc::new(Attached { bus: self.bus.clone(), member })
    }
}

struct Attached {
    bus: Bus,
    member: Arc<Member>,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attached({}, {})", self.member.node, self.member.local.path())
    }
}

impl Attached {
    fn peers(&self, options: &BroadcastOptions) -> Vec<Arc<Member>> {
        if options.flags.local { Vec::new() } else { self.bus.peers(&self.member) }
    }

    /// Asks every peer that is not silent; an error when one is.
    fn gather<T>(
        &self,
        own: Vec<T>,
        peers: &[Arc<Member>],
        ask: impl Fn(&LocalNamespace) -> Vec<T>,
    ) -> Result<Vec<T>, Incomplete<T>> {
        let mut gathered = own;
        let mut missing = 0;
        for peer in peers {
            if peer.options.silent.load(Ordering::Relaxed) {
                missing += 1;
            } else {
                gathered.extend(ask(&peer.local));
            }
        }
        complete(gathered, peers.len(), missing)
    }
}

fn complete<T>(arrived: Vec<T>, expected: usize, missing: usize) -> Result<Vec<T>, Incomplete<T>> {
    if missing == 0 {
        return Ok(arrived);
    }
    Err(Incomplete::new(arrived, AdapterError::Timeout { expected, missing }))
}

#[async_trait]
impl Adapter for Attached {
    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions) {
        for peer in self.peers(options) {
            let written = peer.local.broadcast_with(options, |json| {
                self.bus.0.written.fetch_add(1, Ordering::Relaxed);
                json.push_str(&packet.data);
                Ok::<_, Infallible>(packet.attachments.clone())
            });
            let Ok(_) = written;
        }
        self.member.local.broadcast(packet, options);
    }

    fn broadcast_with_ack(&self, packet: &Packet<'_>, options: &BroadcastOptions, sink: AckSink) {
        let peers = self.peers(options);
        sink.expect_parties(peers.len());
        for peer in peers {
            let (asked, answered) = (sink.clone(), sink.clone());
            let forward = AckSink::forward(
                move |clients| asked.expect(clients),
                move |socket, result| answered.answer(socket, result),
            );
            self.bus.0.forwards.lock().unwrap_or_else(PoisonError::into_inner).push(forward.clone());
            let written = peer.local.broadcast_with_ack_with(options, &forward, |json| {
                json.push_str(&packet.data);
                Ok::<_, Infallible>(packet.attachments.clone())
            });
            let Ok(_) = written;
        }
        self.member.local.broadcast_with_ack(packet, options, &sink);
    }

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.member.local.join_sockets(options, rooms);
        self.peers(options).iter().for_each(|peer| peer.local.join_sockets(options, rooms));
    }

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.member.local.leave_sockets(options, rooms);
        self.peers(options).iter().for_each(|peer| peer.local.leave_sockets(options, rooms));
    }

    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool) {
        self.member.local.disconnect_sockets(options, close);
        self.peers(options).iter().for_each(|peer| peer.local.disconnect_sockets(options, close));
    }

    async fn fetch_sockets(
        &self,
        options: &BroadcastOptions,
    ) -> Result<Vec<SocketDetails>, Incomplete<SocketDetails>> {
        let own = self.member.local.fetch_sockets(options);
        self.gather(own, &self.peers(options), |peer| peer.fetch_sockets(options))
    }

    async fn all_rooms(&self) -> Result<Vec<String>, Incomplete<String>> {
        let own = self.member.local.all_rooms();
        self.gather(own, &self.bus.peers(&self.member), LocalNamespace::all_rooms)
    }

    async fn server_count(&self) -> Result<usize, AdapterError> {
        Ok(1 + self.bus.peers(&self.member).len())
    }

    fn server_side_emit(&self, packet: &Packet<'_>) {
        for peer in self.bus.peers(&self.member) {
            peer.local.server_event(packet, None);
        }
    }

    async fn server_side_emit_with_ack(
        &self,
        packet: Packet<'static>,
    ) -> Result<Vec<OwnedArgs>, Incomplete<OwnedArgs>> {
        let peers = self.bus.peers(&self.member);
        let ask = |peer: &Arc<Member>| {
            let (sender, receiver) = oneshot::channel();
            peer.local.server_event(&packet, Some(ServerReply::new(|args| _ = sender.send(args))));
            receiver
        };
        let replies: Vec<_> = peers.iter().map(ask).collect();
        let mut arrived = Vec::new();
        for reply in replies {
            // No handler answers: that is known here, where others would have to wait.
            arrived.extend(reply.await);
        }
        let missing = peers.len() - arrived.len();
        complete(arrived, peers.len(), missing)
    }

    fn supports_recovery(&self) -> bool {
        self.member.options.recovers
    }

    fn room_interest(&self) -> RoomInterest {
        self.member.options.interest
    }

    fn room_event(&self, event: &RoomEvent) {
        if let Some(events) = &self.member.options.events {
            let _ = events.send(event.clone());
        }
    }

    async fn close(&self) {
        self.bus.0.closed.fetch_add(1, Ordering::Relaxed);
        let mut members = self.bus.0.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| !Arc::ptr_eq(member, &self.member));
    }
}
