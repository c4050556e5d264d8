//! The messages that the servers of a cluster send each other through Redis, and that emitters send to them.
//!
//! Pure: messages go in and out as bytes; publishing, subscribing and counting answers is for others to do.
//! The formats are those of Node's packages, so that servers and emitters of both kinds can share one Redis.
//! What is written is what the newest package writes; what is read is what any of them writes, in JSON and in
//! every dialect of [MessagePack](crate::msgpack).
//!
//! | dialect | packages | Redis commands |
//! | --- | --- | --- |
//! | [`classic`] | `socket.io-redis` 5 and 6, `@socket.io/redis-adapter` 7 and 8 (`createAdapter`), `socket.io-emitter` 3, `@socket.io/redis-emitter` 4 and 5 | `PUBLISH`, `SUBSCRIBE`, `PSUBSCRIBE` |
//! | [`sharded`] | `@socket.io/redis-adapter` 8.2 and 8.3 (`createShardedAdapter`) | `SPUBLISH`, `SSUBSCRIBE` |
//!
//! The dialects do not understand each other, and do not meet, although some of their channels have the same
//! names: sharded channels are a space of their own.
//!
//! Messages from Redis are read in stages, and each is taken only for those who need the next: the
//! [channel](Scope) says whether a local socket can be meant, the [head](classic::Broadcast) of the message
//! who sent it and to whom, and the [`Payload`] becomes a packet at the end.
//!
//! ```
//! use bytes::Bytes;
//! use sio_protocol::Limits;
//! use sio_protocol::cluster::classic::{Broadcast, Channels};
//! use sio_protocol::cluster::{Flags, Opts, Payload, Scope};
//! use sio_protocol::socketio::Packet;
//!
//! // One server sends.
//! let channels = Channels::new("socket.io", "/chat");
//! let packet = Packet::event("/chat", None, r#"["said","hi"]"#, vec![]);
//! let rooms = vec!["lobby".to_owned()];
//! let opts = Opts::new(&rooms, &[][..], Flags::default());
//! let channel = channels.target(&opts).into_owned();
//! let mut message = Vec::new();
//! Broadcast::new("Ab_-12", Payload::from(&packet), opts).encode(&mut message)?;
//!
//! // Another one receives.
//! let (message, limits) = (Bytes::from(message), Limits::default());
//! assert_eq!(channels.scope_of(&channel), Some(Scope::One("lobby")));
//! assert_eq!(Broadcast::sender(&message)?, "Ab_-12");
//! let broadcast = Broadcast::decode(&message, &limits)?;
//! assert_eq!(broadcast.opts.rooms.single(), Some("lobby"));
//! assert_eq!(broadcast.packet.to_packet()?, packet);
//! # Ok::<(), sio_protocol::cluster::ClusterError>(())
//! ```

pub mod classic;
pub mod sharded;

mod channel;
mod error;
mod input;
mod names;
mod opaque;
mod options;
mod output;
mod payload;
mod socket;

pub use channel::{Scope, escape_pattern, namespaces_of};
pub use error::ClusterError;
pub use names::Names;
pub use opaque::Opaque;
pub use options::{Flags, Opts};
pub use payload::Payload;
pub use socket::SocketEntry;

/// The prefix of channels, unless an application chooses its own. Node: the options `key` of the classic
/// adapter and of emitters, and `channelPrefix` of the sharded adapter.
pub const DEFAULT_PREFIX: &str = "socket.io";

/// What emitters have in place of the id of a server. No server ignores messages from it as its own.
pub const EMITTER: &str = "emitter";
