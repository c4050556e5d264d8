//! Switchboard on its own, with the in-memory adapter: a small chat that shows namespaces, rooms, private messages,
//! acknowledgements and binary at work. `switchboard.rs` is the chat; `sio-adapter-redis` has the example that makes
//! several of it one.
//!
//! `cargo xtask demo` runs it; by hand, `npm ci` in this directory and `cargo run --example chat`. Environment: `PORT`
//! (default 3000, 0 picks one) and `CLIENT_DIST` (default `node_modules/socket.io-client/dist` beside this file).

#[path = "switchboard.rs"]
mod switchboard;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    switchboard::run(sio_server::Server::builder(), None).await
}
