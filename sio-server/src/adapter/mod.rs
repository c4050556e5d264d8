//! How emits reach sockets, on this node and on others.
//!
//! A namespace talks to its [`Adapter`] (outward: broadcast, join, fetch) and the adapter talks back to the
//! namespace through a [`LocalNamespace`] (inward: deliver to the sockets of this node). The in-memory
//! [`LocalAdapter`] passes everything straight through; a cluster adapter also sends it to its peers.

mod local;
pub(crate) mod recovery;
pub(crate) mod rooms;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sio_protocol::socketio::{OwnedArgs, Packet};

pub use self::local::{LocalAdapter, LocalNamespace};
pub use self::recovery::ConnectionStateRecovery;
use crate::error::AdapterError;
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
    /// How long acknowledgements are awaited.
    pub timeout: Option<Duration>,
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

/// A room began or ended, or a socket went in or out. Node: the adapter events `create-room`, `delete-room`,
/// `join-room`, `leave-room`. A socket's own room is not reported.
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

    /// Describes them.
    async fn fetch_sockets(&self, options: &BroadcastOptions) -> Result<Vec<SocketDetails>, AdapterError>;

    /// The names of all rooms on all nodes.
    async fn all_rooms(&self) -> Result<Vec<String>, AdapterError>;

    /// How many nodes there are, this one included.
    async fn server_count(&self) -> Result<usize, AdapterError>;

    /// Sends an event to the other nodes; `packet` is `[event, ..args]`. Nothing happens without other nodes.
    fn server_side_emit(&self, packet: &Packet<'_>) {
        let _ = packet;
    }

    /// The same, asking every other node for an answer.
    async fn server_side_emit_with_ack(
        &self,
        packet: Packet<'static>,
    ) -> Result<Vec<OwnedArgs>, AdapterError> {
        let _ = packet;
        Ok(Vec::new())
    }

    /// Whether an emit with these options could reach anybody: an emit that cannot is not even serialised.
    fn could_reach(&self, options: &BroadcastOptions) -> bool {
        let _ = options;
        true
    }

    /// Whether a client that comes back to this node finds what it missed: true only when this node sees every
    /// event of the namespace.
    fn supports_recovery(&self) -> bool {
        false
    }

    /// Hears of changes on this node.
    fn room_event(&self, event: &RoomEvent) {
        let _ = event;
    }

    /// Whether [`room_event`](Self::room_event) wants to be called.
    fn wants_room_events(&self) -> bool {
        false
    }

    /// Ends what the adapter runs; called once by [`Server::close`](crate::Server::close).
    async fn close(&self) {}
}

/// Makes the adapter of each namespace. Node: the `adapter` option.
pub trait AdapterFactory: Send + Sync + fmt::Debug + 'static {
    /// Makes the adapter of the namespace that `local` stands for.
    fn attach(&self, local: LocalNamespace) -> Arc<dyn Adapter>;
}
