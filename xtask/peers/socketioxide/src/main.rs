//! The socketioxide peer of `cargo xtask bench`: on axum with `TCP_NODELAY`, everything else at its default.
//!
//! Contract of every server under test: environment `PORT` and `WORKERS`; on `/` the events echo, ack, join,
//! leave and bcast; prints `listening on 127.0.0.1:PORT` once it accepts connections.

use std::{error::Error, time::Duration};

use axum::{Router, serve::ListenerExt};
use rmpv::Value;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::{net::TcpListener, runtime::Builder};

fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = number("PORT", 3000)?.try_into()?;
    let workers = number("WORKERS", 1)?;
    let mut builder = if workers > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    builder.enable_all().build()?.block_on(serve(port))
}

async fn serve(port: u16) -> Result<(), Box<dyn Error>> {
    let (layer, io) = SocketIo::builder().ping_interval(Duration::from_secs(300)).build_layer();
    io.ns("/", on_connect);
    let listener = TcpListener::bind(("127.0.0.1", port)).await?.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            eprintln!("TCP_NODELAY: {error}");
        }
    });
    println!("listening on 127.0.0.1:{port}");
    axum::serve(listener, Router::new().layer(layer)).await?;
    Ok(())
}

/// Registers the events. `rmpv::Value` is what its documentation asks for where a payload of any kind,
/// binary included, is to be passed on.
async fn on_connect(socket: SocketRef) {
    socket.on("echo", async |socket: SocketRef, Data::<Value>(x)| {
        report(socket.emit("echo", &x));
    });
    socket.on("ack", async |Data::<Value>(x), ack: AckSender| {
        report(ack.send(&x));
    });
    socket.on("join", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.join(room);
        report(ack.send(&()));
    });
    socket.on("leave", async |socket: SocketRef, Data::<String>(room), ack: AckSender| {
        socket.leave(room);
        report(ack.send(&()));
    });
    socket.on("bcast", async |socket: SocketRef, Data::<(String, Value)>((room, x))| {
        report(socket.within(room).emit("bcast", &x).await);
    });
}

/// Tells of a message that was not sent: the measurement would wait for it in vain.
fn report<E: Error>(result: Result<(), E>) {
    if let Err(error) = result {
        eprintln!("not sent: {error}");
    }
}

fn number(name: &str, default: usize) -> Result<usize, Box<dyn Error>> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name}={text} is not a number").into()),
        Err(_) => Ok(default),
    }
}
