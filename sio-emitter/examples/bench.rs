//! How many messages a second go out: `N` messages in batches of `B`, each batch flushed before the next.
//!
//! ```sh
//! REDIS_URL=redis://127.0.0.1:6379 N=2000000 B=1000 cargo run --release -p sio-emitter --example bench
//! ```
//!
//! `B=0` flushes only at the end. `DIALECT=sharded` speaks to the sharded adapter, `CLIENT=fred` goes through a client
//! of `fred`. `THREADS` is the number of threads, 1 unless it is set. `ROOM` is the room, none if it is empty.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use serde::Serialize;
use sio_emitter::fred::clients::Client;
use sio_emitter::fred::interfaces::ClientLike;
use sio_emitter::fred::types::config::Config;
use sio_emitter::{Broadcast, Emitter, Mode};

#[derive(Serialize)]
struct Message {
    text: &'static str,
    user: &'static str,
    n: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let runtime = match number("THREADS", 1)? {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        threads => tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads as usize)
            .enable_all()
            .build()?,
    };
    // Not the future given to `block_on`, which runs outside the workers.
    let run = runtime.spawn(async { run().await.map_err(|error| error.to_string()) });
    Ok(runtime.block_on(run)??)
}

async fn run() -> Result<(), Box<dyn Error>> {
    let url = env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let (count, batch) = (number("N", 2_000_000)?, number("B", 1_000)?);
    let room = env::var("ROOM").unwrap_or_else(|_| "room1".to_owned());

    let mut builder = Emitter::builder();
    if env::var("DIALECT").is_ok_and(|dialect| dialect == "sharded") {
        builder = builder.sharded(Mode::Dynamic);
    }
    let emitter = if env::var("CLIENT").is_ok_and(|client| client == "fred") {
        let client = Client::new(Config::from_url(&url)?, None, None, None);
        client.init().await?;
        builder.client(client)
    } else {
        builder.connect(&url).await?
    };

    let operator = || if room.is_empty() { emitter.to([""; 0]) } else { emitter.to(room.as_str()) };
    send(&emitter, operator, count / 20, batch).await?;
    let (start, cpu) = (Instant::now(), cpu_time());
    send(&emitter, operator, count, batch).await?;
    let took = start.elapsed();
    let cpu = match (cpu, cpu_time()) {
        (Some(before), Some(after)) => {
            format!("{:.0} % cpu", (after - before).as_secs_f64() / took.as_secs_f64() * 100.0)
        }
        _ => "cpu unknown".to_owned(),
    };
    println!("{:.0} messages/s, {cpu}", count as f64 / took.as_secs_f64());
    Ok(())
}

async fn send(
    emitter: &Emitter,
    operator: impl Fn() -> Broadcast,
    count: u64,
    batch: u64,
) -> Result<(), Box<dyn Error>> {
    for n in 1..=count {
        let message =
            Message { text: "a message of the usual length, as chats have them", user: "someone", n };
        operator().emit("message", &message).await?;
        if n.checked_rem(batch) == Some(0) {
            emitter.flush().await?;
        }
    }
    emitter.flush().await?;
    Ok(())
}

fn number(name: &str, default: u64) -> Result<u64, Box<dyn Error>> {
    env::var(name).map_or(Ok(default), |text| Ok(text.replace('_', "").parse()?))
}

/// The time that this process has run, where the system says so in Linux's way.
fn cpu_time() -> Option<Duration> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let mut total = 0;
    for task in tasks {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        total += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(total))
}
