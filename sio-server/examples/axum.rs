//! Mounted in axum beside other routes, which emit too. Environment: `PORT` (default 3000, 0 picks one).

#![allow(clippy::print_stdout, reason = "whoever starts it waits for the line")]

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use sio_server::{Args, Server, Socket};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    serve(TcpListener::bind(("127.0.0.1", port)).await?).await
}

/// Serves for as long as the process lives.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let io = Server::new();
    io.sockets().on("say", async |socket: Socket, Args(text): Args<String>| {
        socket.broadcast().emit("said", &text);
    });

    let app = Router::new()
        .route("/", get(async || "the rest of the site"))
        .route("/announce", post(announce))
        .route_service("/socket.io/", io.service())
        // A handle to the server, cheap to clone: any route can emit.
        .with_state(io);

    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await
}

async fn announce(State(io): State<Server>, text: String) {
    io.emit("announcement", &text);
}
