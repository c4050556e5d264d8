//! A Socket.IO server for every client since 1.0: namespaces, rooms, acknowledgements and binary, over long-polling
//! and WebSocket.
//!
//! ```no_run
//! use sio_server::{Args, DisconnectReason, Reply, Server, Socket};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let io = Server::new();
//!     io.on_error(|failure| eprintln!("{failure}"));
//!
//!     io.of("/chat")
//!         .on_connection(async |socket: Socket| socket.join("lobby"))
//!         .on("say", async |socket: Socket, Args(text): Args<String>| {
//!             socket.to("lobby").emit("said", &(socket.id(), text));
//!         })
//!         .on("add", async |Args((a, b)): Args<(i64, i64)>| -> Result<i64, String> {
//!             a.checked_add(b).ok_or_else(|| "too large".into()) // the sum, or {"error": "too large"}
//!         })
//!         .on("upper", async |Args(text): Args<String>| Reply(text.to_uppercase()))
//!         .on_disconnect(async |socket: Socket, why: DisconnectReason| {
//!             println!("{} left: {why}", socket.id());
//!         });
//!
//!     io.listen("127.0.0.1:3000").await?.await;
//!     Ok(())
//! }
//! ```
//!
//! # Answers and failures
//!
//! What a handler returns is the acknowledgement: [`Reply`] or a `Result`; `()` answers nothing. An `Err`, and arguments
//! that do not fit, reach the client as `{"error": text}`, with the error's text word for word. See [`Namespace::on`].
//!
//! No caller hears of a handler that fails, or of an emit that cannot be sent: [`Server::on_error`] does. Without it
//! these are warnings of the crate `tracing`, which nobody sees in a program without a subscriber, such as
//! `tracing_subscriber::fmt().init()`.
//!
//! # Shared state
//!
//! Handlers are called many times, at the same time. What they share is best given to the builder and taken as a
//! parameter. A closure that captures cannot be `async move |..|` (rustc: "async closure does not implement `Fn`"); it is a
//! plain one that clones for each call.
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use sio_server::{Reply, Server, State};
//!
//! #[derive(Default)]
//! struct Visits(AtomicU64);
//!
//! let io = Server::builder().state(Visits::default()).build();
//! io.sockets().on("visit", async |State(visits): State<Visits>| Reply(visits.0.fetch_add(1, Ordering::Relaxed)));
//!
//! let visits = Arc::new(Visits::default());
//! io.sockets().on("captured", move || {
//!     let visits = Arc::clone(&visits);
//!     async move { Reply(visits.0.fetch_add(1, Ordering::Relaxed)) }
//! });
//! ```
//!
//! # Where to look
//!
//! - [`Server`] is the handle to everything; [`ServerBuilder`] has the options, with their defaults and what they
//!   cost in memory.
//! - [`Namespace`] holds the handlers. A handler is an async function whose parameters say what it needs: [`Socket`],
//!   [`Args`], [`Auth`], [`State`], [`AckSender`], [`DisconnectReason`], and what you make of them with
//!   [`FromContext`]. [`Namespace::middleware`] decides who may connect, [`ServerBuilder::cors`] from which pages.
//! - [`Socket`] is one client in one namespace; [`Broadcast`] is what `to`, `except` and their like build up.
//! - [`Server::service`] mounts the server in axum or hyper, [`Server::layer`] in anything tower-like,
//!   [`Server::listen`] runs it alone.
//! - [`Adapter`] is how other nodes come in; [`Namespace::on_server_event`] hears what they say.
//!
//! # What you can rely on
//!
//! - Handlers of one socket start in the order its packets came. A panic in one is reported and costs nothing else.
//! - An emit never waits and is serialised once, however many receive it. What one client receives is in the order it
//!   was emitted, across a change of transport too.
//! - Delivery is at most once: a client that loses its connection misses what is sent meanwhile.
//! - Every queue has a bound, and a client that exceeds one is disconnected with a reason that says so, or is not read
//!   until its handlers have ended.
//! - Idle connections hold no buffer.

mod adapter;
mod broadcast;
mod builder;
mod config;
mod connection;
mod encoded;
mod error;
mod handler;
mod handshake;
mod http;
mod id;
#[cfg(test)]
mod logged;
mod namespace;
mod reason;
mod server;
mod service;
mod socket;
mod sync;
mod transport;
mod websocket;

pub use adapter::{
    Adapter, AdapterFactory, BroadcastFlags, BroadcastOptions, ConnectionStateRecovery, LocalAdapter,
    LocalNamespace, RoomEvent, RoomInterest, SocketDetails,
};
pub use broadcast::{Broadcast, BroadcastAck, IntoRooms};
pub use builder::ServerBuilder;
pub use error::{AckError, AdapterError, ConnectError, EmitError, Failure, Incomplete};
pub use handler::{
    AckSender, Args, Arguments, Auth, Context, Event, FromContext, Handler, IntoReply, ListenerId, Rejection,
    Reply, ServerReply, State,
};
pub use handshake::{Handshake, Peer};
pub use http::{Cookie, Cors, SameSite};
pub use id::SocketId;
pub use namespace::Namespace;
pub use reason::DisconnectReason;
pub use server::Server;
pub use service::{Layer, Layered, Listening, ResponseBody, Service};
/// The wire formats, for parsers and values of one's own.
pub use sio_protocol as protocol;
pub use sio_protocol::socketio::{Value, Values};
pub use socket::acks::{AckFuture, AckResult, AckSink};
pub use socket::remote::RemoteSocket;
pub use socket::{Socket, SocketOperator};
pub use websocket::PerMessageDeflate;

/// The example of the project's front page compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;

/// So does that of the crate's.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct CrateReadme;

#[cfg(fuzzing)]
pub mod fuzzing {
    //! What the fuzz targets may reach. Not part of the API.
    pub use crate::websocket::fuzzing::*;
}
