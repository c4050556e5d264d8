//! Socket.IO servers, Rust and Node, as one cluster over Redis.
//!
//! With an adapter of this crate, rooms, broadcasts and everything else of a
//! [`Server`](sio_server::Server) reach the sockets of all servers on the same Redis. The messages are those of Node's
//! packages, so that servers of both kinds, and their emitters, share namespaces and rooms.
//!
//! ```no_run
//! use sio_adapter_redis::RedisAdapter;
//! use sio_server::{Args, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let adapter = RedisAdapter::connect("redis://127.0.0.1:6379").await?; // the only line that knows Redis
//!     let io = Server::builder().adapter(adapter).build();
//!     io.on_error(|failure| eprintln!("{failure}"));
//!     io.sockets()
//!         .on_connection(async |socket: Socket| socket.join("lobby"))
//!         .on("say", async |io: Server, Args(text): Args<String>| io.to("lobby").emit("said", &text));
//!     io.listen("0.0.0.0:3000").await?.await;
//!     Ok(())
//! }
//! ```
//!
//! That Redis is lost or back is told to `on_event` of the builder and to the crate `tracing`, which is mute in a program
//! without a subscriber, such as `tracing_subscriber::fmt().init()`.
//!
//! | adapter | Redis | understands |
//! | --- | --- | --- |
//! | [`RedisAdapter`] | 6.0 | `socket.io-redis` 5 and 6, `createAdapter` of `@socket.io/redis-adapter` 7 and 8, their emitters |
//! | [`ShardedRedisAdapter`] | 7.0 | `createShardedAdapter` of `@socket.io/redis-adapter` 8.3 |
//!
//! The two do not reach each other. Broadcasts that want acknowledgements need version 7.2 or later on every node that
//! uses the classic one: older ones may fail over the request.
//!
//! # What is guaranteed
//!
//! - Sockets of the node that emits get a broadcast as without an adapter, whether or not Redis is there.
//! - A socket of another node gets it **at most once**. Messages of one node to one channel arrive in their order.
//! - Requests (`fetch_sockets`, `all_rooms`, `server_side_emit_with_ack`) always end: with the answers of all nodes, or
//!   at `requests_timeout` with [`Incomplete`](sio_server::Incomplete), which has what arrived and counts who is missing.
//! - While Redis is away, what is published waits in a queue of `max_queued_bytes`; what finds no room is dropped and
//!   counted. Subscriptions are restored and proven afterwards. See [`RedisEvent`] and [`Stats`].
//!
//! # What Redis pub/sub cannot give
//!
//! Redis keeps no messages. A node that is not subscribed at the moment misses what is published: while it starts
//! (`adapter.ready().await` on a clone of what the builder got says when that is over), while its connection is down,
//! and, with the sharded adapter, in the round trip in which it subscribes to the channel of a room that it is the first to join. Nobody hears of that, and connection state recovery is not
//! available. What must arrive wants an acknowledgement.
//!
//! With the classic adapter, `sockets_join`, `sockets_leave` and `disconnect_sockets` are carried out, also on the node
//! that calls them, when the request comes back from Redis, as in Node: not at once, and not without Redis.
//!
//! # Memory and versions
//!
//! Beside `max_queued_bytes`, `max_requests`, `max_questions` and `max_answer_bytes`, each subscribing connection (one, in
//! a Redis Cluster one per master) reads up to 64 MiB ahead of handlers that are slower than Redis. That is also the
//! largest message it takes, larger ones are skipped and counted; it cannot be set. Redis itself ends a subscriber for
//! whom it has to hold more than its `client-output-buffer-limit pubsub`.
//!
//! When a connection broke without Redis noticing, its subscriptions go on being counted, and others wait for answers of a
//! node that is not there. A new connection ends the old one first; that needs Redis 6.2 and the right to `CLIENT LIST`
//! and `CLIENT KILL`. Without them it lasts until Redis notices by itself (`tcp-keepalive`).
//!
//! # Features
//!
//! | feature | default | for |
//! | --- | --- | --- |
//! | `tls` | no | `rediss://`; needs a C compiler |

mod classic;
mod driver;
mod link;
mod node;
mod options;
mod sharded;

pub use classic::{RedisAdapter, RedisAdapterBuilder};
pub use driver::Stats;
pub use link::{
    ConnectError, LinkError, LostReason, PublishError, RedisConnection, RedisEvent, RedisTarget,
    Stats as LinkStats,
};
pub use sharded::{ShardedRedisAdapter, ShardedRedisAdapterBuilder, SubscriptionMode};

/// The example of the crate's front page compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
