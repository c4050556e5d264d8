//! The server that benchmarks drive. Environment: `PORT` (0 picks one), `WORKERS` (threads of the runtime, default 1).
//!
//! On `/`: `echo`(x) emits `echo`(x) back, `ack`(x) acknowledges with x, `join`(room) and `leave`(room) do that and
//! acknowledge, `bcast`(room, x) emits `bcast`(x) to the room, the sender included.

#![allow(clippy::print_stdout, reason = "whoever starts it waits for the line")]

use std::time::Duration;

use sio_server::{Args, Reply, Server, Socket, Value};

fn main() -> std::io::Result<()> {
    let var = |name, default| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let workers: usize = var("WORKERS", 1);
    let runtime = if workers == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?
    };
    runtime.block_on(serve(var("PORT", 0)))
}

async fn serve(port: usize) -> std::io::Result<()> {
    let io = Server::builder().ping_interval(Duration::from_secs(300)).build();
    io.sockets()
        .on("echo", async |socket: Socket, Args(x): Args<Value>| socket.emit("echo", &x))
        .on("ack", async |Args(x): Args<Value>| Reply(x))
        .on("join", async |socket: Socket, Args(room): Args<String>| {
            socket.join(room);
            Reply(())
        })
        .on("leave", async |socket: Socket, Args(room): Args<String>| {
            socket.leave(room);
            Reply(())
        })
        .on("bcast", async |io: Server, Args((room, x)): Args<(String, Value)>| {
            io.to(room).emit("bcast", &x)
        });
    let listening = io.listen(("127.0.0.1", u16::try_from(port).unwrap_or(0))).await?;
    println!("listening on {}", listening.address());
    listening.await;
    Ok(())
}
