//! A server that listens by itself: the least there is. Environment: `PORT` (default 3000, 0 picks one).

#![allow(clippy::print_stdout, reason = "whoever starts it waits for the line")]

use std::net::SocketAddr;

use sio_server::{Args, Listening, Reply, Server, Socket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let listening = start(([127, 0, 0, 1], port).into()).await?;
    println!("listening on http://{}", listening.address());
    // Until the server is closed.
    listening.await;
    Ok(())
}

/// Starts a server that serves until it is closed.
pub(crate) async fn start(address: SocketAddr) -> std::io::Result<Listening> {
    let io = Server::new();
    io.sockets()
        .on_connection(async |socket: Socket| socket.emit("welcome", socket.id()))
        // What a handler returns is the acknowledgement.
        .on("add", async |Args((a, b)): Args<(i64, i64)>| Reply(a + b))
        .on("say", async |io: Server, Args(text): Args<String>| io.emit("said", &text));
    io.listen(address).await
}
