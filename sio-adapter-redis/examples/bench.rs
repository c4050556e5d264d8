//! The node that benchmarks drive. Environment: `REDIS_URL` (default `redis://127.0.0.1:6379`), `DIALECT` (`classic`, the
//! default, or `sharded`), `PORT` (0 picks one), `WORKERS` (threads of the runtime, default 1).
//!
//! On `/`: `echo`(x) emits `echo`(x) back, `ack`(x) acknowledges with x, `join`(room) and `leave`(room) do that and
//! acknowledge, `bcast`(room, x) emits `bcast`(x) to the room on all nodes, the sender included.

#![allow(clippy::print_stdout, reason = "whoever starts it waits for the line")]

use std::error::Error;
use std::time::Duration;

use sio_adapter_redis::{RedisAdapter, ShardedRedisAdapter};
use sio_server::{Args, Reply, Server, Socket, Value};

fn main() -> Result<(), Box<dyn Error>> {
    let workers = std::env::var("WORKERS").ok().and_then(|workers| workers.parse().ok()).unwrap_or(1);
    let runtime = if workers == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?
    };
    runtime.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let redis = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let builder = Server::builder().ping_interval(Duration::from_secs(300));
    let (io, ready): (_, Ready) = match std::env::var("DIALECT").as_deref() {
        Err(_) | Ok("classic") => {
            let adapter = RedisAdapter::connect(redis).await?;
            (builder.adapter(adapter.clone()).build(), Box::pin(async move { adapter.ready().await }))
        }
        Ok("sharded") => {
            let adapter = ShardedRedisAdapter::connect(redis).await?;
            (builder.adapter(adapter.clone()).build(), Box::pin(async move { adapter.ready().await }))
        }
        Ok(other) => return Err(format!("DIALECT is {other}, it has to be classic or sharded").into()),
    };
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
    ready.await;
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    let listening = io.listen(("127.0.0.1", port)).await?;
    println!("listening on {}", listening.address());
    listening.await;
    Ok(())
}

type Ready = std::pin::Pin<Box<dyn Future<Output = ()>>>;
