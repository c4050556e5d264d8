//! On bare hyper, without a router: every connection gets the service. Environment: `PORT` (default 3000, 0 picks one).

#![allow(clippy::print_stdout, reason = "whoever starts it waits for the line")]

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use sio_server::{Args, Reply, Server, Value};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    serve(TcpListener::bind(("127.0.0.1", port)).await?).await
}

/// Serves for as long as the process lives.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let io = Server::new();
    io.sockets().on("echo", async |Args(value): Args<Value>| Reply(value));

    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = io.service();
        tokio::spawn(async move {
            // Without `with_upgrades` there are no WebSockets, and clients stay with polling.
            let connection =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
            if let Err(error) = connection.await {
                eprintln!("connection failed: {error}");
            }
        });
    }
}
