//! Sends to the clients of Socket.IO servers from any process, through the Redis that connects the servers.
//!
//! The servers may be those of this workspace or Node's, or both: what goes through Redis is what
//! `@socket.io/redis-emitter` 5 writes, byte for byte. This crate knows neither HTTP nor the server.
//!
//! ```no_run
//! use sio_emitter::Emitter;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let io = Emitter::connect("redis://127.0.0.1:6379").await?;
//!
//! io.emit("maintenance", &10).await?;                                // to every client of "/"
//! io.of("/chat").to("lobby").except("muted").emit("said", &("ann", "hello")).await?;
//! io.to("user:42").sockets_join("vip").await?;
//!
//! io.flush().await?;                                                 // Redis has taken all of it
//! # Ok(())
//! # }
//! ```
//!
//! # Emitting
//!
//! [`Emitter`] is the handle of a namespace, [`Broadcast`] is what `to`, `except` and their like build up. They are
//! called as in the server, and take what they take there: a tuple or a fixed array is several arguments, `&()` and a JSON
//! null none, anything else one; `Bytes` anywhere inside a value travel as binary.
//!
//! An emit is queued, and the queue is written to Redis in large pieces by a task of its own. Awaiting an emit waits
//! only if the queue is full, so a loop of emits runs at the speed of Redis and no faster; [`Emitter::try_emit`] never
//! waits. Nothing that goes wrong is kept quiet:
//!
//! | what | who says so |
//! | --- | --- |
//! | the arguments cannot be serialised, the name is reserved, the message is too long | the emit: [`EmitError`] |
//! | the queue is full and does not empty | the emit, after [`queue_timeout`](Builder::queue_timeout) |
//! | Redis refuses a message, was away too long, or the connection broke before it answered | [`flush`](Emitter::flush), with how many, and [`on_error`](Builder::on_error): [`PublishError`] |
//! | no server was subscribed | [`Stats::unheard`] |
//!
//! Many at a time, without a list of them in memory:
//!
//! ```no_run
//! # use sio_emitter::Emitter;
//! # async fn example(prices: impl Iterator<Item = (String, f64)>) -> Result<(), Box<dyn std::error::Error>> {
//! let io = Emitter::connect("redis://127.0.0.1:6379").await?;
//! for (symbol, price) in prices {
//!     io.to(symbol.as_str()).volatile().emit("price", &(&symbol, price)).await?;
//! }
//! if let Err(error) = io.flush().await {
//!     eprintln!("{} of {} messages are lost: {}", error.failed, io.stats().emitted, error.cause);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is guaranteed
//!
//! - A message is sent to Redis **at most once**. One that was written when the connection broke counts as failed,
//!   because nobody knows what became of it, and is not written again.
//! - What was queued while Redis was away is sent when it is back, in order, if that is within
//!   [`queue_timeout`](Builder::queue_timeout).
//! - Messages of one connection reach each server in the order in which they were emitted. (In the sharded dialect on
//!   a Redis Cluster, only those of one channel.)
//! - When [`flush`](Emitter::flush) has returned `Ok`, Redis has passed everything on to the servers that were subscribed.
//!
//! Redis keeps nothing of it. A server that starts later, or has lost its connection to Redis at that moment, never
//! sees the message, nor does a client that is not connected. What must arrive has to be asked for by the client.
//!
//! # Dialects
//!
//! ```no_run
//! # use sio_emitter::{ConnectError, Emitter, Mode};
//! # async fn example() -> Result<(), ConnectError> {
//! let io = Emitter::builder()
//!     .sharded(Mode::Dynamic)        // servers with `createShardedAdapter`; the classic adapter is the default
//!     .key("my-app")                 // the servers' option `key`, or `channelPrefix`
//!     .connect("redis-cluster://node-1:6379?node=node-2:6379")
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! There is no emitter for the sharded adapter among Node's packages; this one publishes what a server would, under the
//! name `emitter`.
//!
//! # Redis
//!
//! Addresses are those of [`fred`]: `redis://`, `rediss://`, `redis+unix://`, `redis-cluster://`, `redis-sentinel://`,
//! each with credentials. A configuration ([`Builder::connect_with`]) or a client ([`Builder::client`]) of that crate will
//! do as well. A single server without TLS gets a plain connection of our own, which is about four times as fast.
//!
//! # Features
//!
//! | feature | what it adds | by default |
//! | --- | --- | --- |
//! | `cli` | the command `sio-emit` | yes; turn it off for the library alone |
//! | `rustls` | `rediss://`, with the certificates of the system | no |
//! | `native-tls` | `rediss://`, with the TLS library of the system | no |

mod broadcast;
mod builder;
mod emit;
mod emitter;
mod encode;
mod error;
mod frame;
mod link;
mod queue;
mod rooms;

pub use broadcast::Broadcast;
pub use builder::Builder;
pub use emit::Emit;
pub use emitter::Emitter;
pub use error::{ConnectError, EmitError, FlushError, PublishError};
pub use fred;
pub use queue::Stats;
pub use rooms::IntoRooms;
pub use sio_protocol::cluster::sharded::Mode;

/// The example of the crate's front page compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
