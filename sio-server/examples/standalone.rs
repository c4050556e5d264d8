//! A server that listens by itself: the least there is. Environment: `PORT` (default 3000, 0 picks one).

#![allow(clippy::print_stdout, reason = "whoever starts it waits for the line")]

use sio_server::{Args, Reply, Server, Socket};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    serve(TcpListener::bind(("127.0.0.1", port)).await?).await
}

/// Serves until the server is closed. Without a listener of your own it is `io.listen(address)`.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let io = Server::new();
    io.sockets()
        .on_connection(async |socket: Socket| socket.emit("welcome", socket.id()))
        // What a handler returns is the acknowledgement.
        .on("add", async |Args((a, b)): Args<(i64, i64)>| Reply(a + b))
        .on("say", async |io: Server, Args(text): Args<String>| io.emit("said", &text));

    let listening = io.serve(listener, io.service())?;
    println!("listening on http://{}", listening.address());
    listening.await;
    Ok(())
}
