//! As a tower layer in front of a service that knows nothing of it: requests below `/socket.io/` are the server's, all
//! others go through. Environment: `PORT` (default 3000, 0 picks one).

#![allow(clippy::print_stdout, reason = "whoever starts it waits for the line")]

use axum::Router;
use axum::routing::get;
use hyper_util::service::TowerToHyperService;
use sio_server::{Args, Reply, Server};
use tokio::net::TcpListener;
use tower_layer::Layer;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    serve(TcpListener::bind(("127.0.0.1", port)).await?).await
}

/// Serves until the server is closed.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let io = Server::new();
    io.sockets().on("upper", async |Args(text): Args<String>| Reply(text.to_uppercase()));

    // Any tower service will do: a router, a proxy, static files.
    let site = Router::new().route("/", get(async || "the site")).fallback(async || "any other page");
    let service = io.layer().layer(site);

    let listening = io.serve(listener, TowerToHyperService::new(service))?;
    println!("listening on http://{}", listening.address());
    listening.await;
    Ok(())
}
