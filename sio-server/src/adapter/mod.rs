//! How emits reach sockets, on this node and on others.
//!
//! A namespace talks to its [`Adapter`] (outward: broadcast, join, fetch) and the adapter talks back to the
//! namespace through a [`LocalNamespace`] (inward: deliver to the sockets of this node). The in-memory
//! [`LocalAdapter`] passes everything straight through; a cluster adapter also sends it to its peers.

mod local;
pub(crate) mod recovery;
mod room_listeners;
pub(crate) mod rooms;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sio_protocol::socketio::{OwnedArgs, Packet};

pub use self::local::{LocalAdapter, LocalNamespace};
pub use self::recovery::ConnectionStateRecovery;
pub(crate) use self::room_listeners::RoomListeners;
use self::rooms::Change;
use crate::error::{AdapterError, Incomplete};
use crate::id::SocketId;
use crate::socket::acks::AckSink;

/// Flags of an emit, as they travel with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastFlags {
    /// Only sockets of this node.
    pub local: bool,
    /// Dropped for a client whose transport is busy.
    pub volatile: bool,
    /// Whether the transport may compress it; `None` leaves the default (it may).
    pub compress: Option<bool>,
    /// How long acknowledgements, or the answers of other nodes, are awaited.
    pub timeout: Option<Duration>,
    /// It is aimed at one socket that may be on another node: set for what a
    /// [`RemoteSocket`](crate::RemoteSocket) does. Makes no difference to delivery.
    pub expect_single_response: bool,
}

/// Whom an operation is aimed at. Node: `BroadcastOptions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastOptions {
    /// Sockets in any of these rooms; empty means all sockets of the namespace.
    pub rooms: Vec<String>,
    /// Sockets in any of these rooms are left out.
    pub except: Vec<String>,
    /// How.
    pub flags: BroadcastFlags,
}

/// What is known of a socket, on this or another node. Node: the entries of `fetchSockets()`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SocketDetails {
    /// Its id.
    pub id: SocketId,
    /// Its handshake, as Node prints it: `headers`, `time`, `address`, `xdomain`, `secure`, `issued`, `url`,
    /// `query`, `auth`.
    pub handshake: serde_json::Value,
    /// Its rooms, its own among them.
    pub rooms: Vec<String>,
    /// What [`Socket::set_data`](crate::Socket::set_data) has set; `{}` before that.
    #[serde(default)]
    pub data: serde_json::Value,
}

impl SocketDetails {
    /// Describes a socket of another node.
    pub fn new(
        id: impl Into<SocketId>,
        handshake: serde_json::Value,
        rooms: Vec<String>,
        data: serde_json::Value,
    ) -> Self {
        Self { id: id.into(), handshake, rooms, data }
    }
}

/// A room began or ended, or a socket went in or out. Node: the adapter events `create-room`, `delete-room`,
/// `join-room`, `leave-room`.
///
/// A socket's own room is only reported to adapters that [want it](RoomInterest::All), never to
/// [`Namespace::on_room_event`](crate::Namespace::on_room_event).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// The first socket of this node joined.
    Created {
        /// The room.
        room: String,
    },
    /// The last socket of this node left.
    Deleted {
        /// The room.
        room: String,
    },
    /// A socket joined.
    Joined {
        /// The room.
        room: String,
        /// The socket.
        socket: SocketId,
    },
    /// A socket left.
    Left {
        /// The room.
        room: String,
        /// The socket.
        socket: SocketId,
    },
    /// A socket's own room begins: it is connected, or has joined that room again. Only for adapters.
    SocketAdded {
        /// The socket, whose id is the name of the room.
        socket: SocketId,
    },
    /// A socket's own room ends: it is disconnected, or has left that room. Only for adapters.
    SocketRemoved {
        /// The socket.
        socket: SocketId,
    },
}

impl RoomEvent {
    fn of(change: Change, socket: &SocketId) -> Self {
        let socket = || socket.clone();
        match change {
            Change::Added => Self::SocketAdded { socket: socket() },
            Change::Created(room) => Self::Created { room: room.into() },
            Change::Joined(room) => Self::Joined { room: room.into(), socket: socket() },
            Change::Left(room) => Self::Left { room: room.into(), socket: socket() },
            Change::Deleted(room) => Self::Deleted { room: room.into() },
            Change::Removed => Self::SocketRemoved { socket: socket() },
        }
    }

    /// Whether it is about a socket's own room.
    fn is_private(&self) -> bool {
        matches!(self, Self::SocketAdded { .. } | Self::SocketRemoved { .. })
    }
}

/// Which changes an adapter wants to hear of, each of which costs a call and its names' memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "whoever decides by it has to know all")]
pub enum RoomInterest {
    /// None.
    #[default]
    None,
    /// Of rooms that sockets have joined.
    Rooms,
    /// Of the sockets' own rooms as well.
    All,
}

impl RoomInterest {
    fn covers(self, event: &RoomEvent) -> bool {
        match self {
            Self::None => false,
            Self::Rooms => !event.is_private(),
            Self::All => true,
        }
    }
}

/// Carries a namespace's emits to its sockets, wherever they are. Node: `Adapter`.
///
/// Broadcasts and room changes are synchronous and never wait: an adapter that needs the network queues. Delivery
/// is *at most once* unless an adapter's documentation promises more. Implementations are shared by all threads.
#[async_trait]
pub trait Adapter: Send + Sync + fmt::Debug + 'static {
    /// Sends `packet` to the sockets that `options` name, each once.
    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions);

    /// The same, asking each client for an acknowledgement, which goes to `sink`.
    fn broadcast_with_ack(&self, packet: &Packet<'_>, options: &BroadcastOptions, sink: AckSink);

    /// Puts the sockets that `options` name into `rooms`.
    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String]);

    /// Takes them out.
    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String]);

    /// Disconnects them; `close` ends their connections too.
    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool);

    /// Describes them. Nodes are waited for as long as `flags.timeout` says, or the adapter's own default.
    async fn fetch_sockets(
        &self,
        options: &BroadcastOptions,
    ) -> Result<Vec<SocketDetails>, Incomplete<SocketDetails>>;

    /// The names of all rooms on all nodes, each once, the sockets' own among them.
    async fn all_rooms(&self) -> Result<Vec<String>, Incomplete<String>>;

    /// How many nodes there are, this one included.
    async fn server_count(&self) -> Result<usize, AdapterError>;

    /// Sends an event to the other nodes, not to this one; `packet` is `[event, ..args]`. Nothing happens without
    /// other nodes.
    fn server_side_emit(&self, packet: &Packet<'_>) {
        let _ = packet;
    }

    /// The same, asking every other node for an answer.
    async fn server_side_emit_with_ack(
        &self,
        packet: Packet<'static>,
    ) -> Result<Vec<OwnedArgs>, Incomplete<OwnedArgs>> {
        let _ = packet;
        Ok(Vec::new())
    }

    /// Whether an emit with these options could reach anybody: an emit that cannot is not even serialised.
    fn could_reach(&self, options: &BroadcastOptions) -> bool {
        let _ = options;
        true
    }

    /// Whether a client that comes back to this node finds what it missed: true only when this node sees every
    /// event of the namespace. Asked once, when the adapter is made.
    fn supports_recovery(&self) -> bool {
        false
    }

    /// Which changes on this node [`room_event`](Self::room_event) is told of; asked once, when the adapter is made.
    fn room_interest(&self) -> RoomInterest {
        RoomInterest::None
    }

    /// Hears of changes on this node, after they were made and with no lock held: those of one namespace one at a time and
    /// in the order they were made. When several threads make changes, one of them tells them all, so that a change may
    /// be told a little after the call that made it has returned; up to 1,000 wait to be told, then whoever makes another
    /// waits as well. What is there *now* [`LocalNamespace::has_room`] knows.
    fn room_event(&self, event: &RoomEvent) {
        let _ = event;
    }

    /// Ends what the adapter runs; called once, by [`Server::close`](crate::Server::close) or when a namespace that
    /// was made for clients has lost its last.
    async fn close(&self) {}
}

/// Makes the adapter of each namespace. Node: the `adapter` option.
#[async_trait]
pub trait AdapterFactory: Send + Sync + fmt::Debug + 'static {
    /// Makes the adapter of the namespace that `local` stands for. Called once per namespace, with no lock held, on the
    /// thread that needs the namespace first: the task of a client, perhaps, so it must not wait. Others that need the
    /// namespace meanwhile do wait, so it must not ask for it by [`Server::of`](crate::Server::of); `local` can be used
    /// at once.
    fn attach(&self, local: LocalNamespace) -> Arc<dyn Adapter>;

    /// Ends what the adapters share; called once by [`Server::close`](crate::Server::close), after all adapters were
    /// closed.
    async fn close(&self) {}
}
