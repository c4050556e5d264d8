//! The server under test of the interop suite: `tests/interop/CONTRACT.md`, on this server.
//!
//! It is configured by environment variables, prints where it listens, and ends with SIGTERM. It logs what a handler
//! could not do to standard error, and nothing else.

mod handlers;
mod namespaces;

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::str::FromStr;
use std::time::Duration;

use sio_server::protocol::parser::MsgPackParser;
use sio_server::{ConnectionStateRecovery, Cors, Server, ServerBuilder};
use tokio::signal::unix::{SignalKind, signal};

use crate::handlers::ends::Ends;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let io = configured()?.state(Ends::default()).build();
    io.on_error(|failure| eprintln!("{failure}"));
    namespaces::add(&io);
    let listening = io.listen(("127.0.0.1", number("PORT", 0)?)).await?;
    writeln!(io::stdout(), "listening on http://{}", listening.address())?;
    terminate.recv().await;
    // A client that does not close its side must not hold up the end, but it shows.
    tokio::time::timeout(CLOSE_LIMIT, io.close()).await?;
    Ok(())
}

/// The options of section 1 of the contract.
fn configured() -> Result<ServerBuilder, Box<dyn Error>> {
    let transports = env::var("TRANSPORTS").unwrap_or_else(|_| "polling,websocket".into());
    let enabled = |name| transports.split(',').any(|transport| transport == name);
    let mut builder = Server::builder()
        .ping_interval(Duration::from_millis(number("PING_INTERVAL", 25_000)?))
        .ping_timeout(Duration::from_millis(number("PING_TIMEOUT", 20_000)?))
        .upgrade_timeout(Duration::from_millis(number("UPGRADE_TIMEOUT", 10_000)?))
        .connect_timeout(Duration::from_millis(number("CONNECT_TIMEOUT", 45_000)?))
        .max_http_buffer_size(number("MAX_HTTP_BUFFER_SIZE", 5_000_000)?)
        .allow_eio3(number("ALLOW_EIO3", 1)? != 0)
        .allow_upgrades(number("ALLOW_UPGRADES", 1)? != 0)
        .transports(enabled("polling"), enabled("websocket"));
    match env::var("PARSER").as_deref() {
        Err(_) | Ok("") => {}
        Ok("msgpack") => builder = builder.parser(MsgPackParser),
        Ok(other) => return Err(format!("PARSER={other}, only msgpack is known").into()),
    }
    if let Ok(origin) = env::var("CORS_ORIGIN") {
        builder = builder.cors(Cors::origin(&origin).credentials(true));
    }
    let recovery = number("RECOVERY", 0)?;
    if recovery > 0 {
        let kept = Duration::from_millis(recovery);
        let recovery = ConnectionStateRecovery::new().max_disconnection_duration(kept);
        builder = builder.connection_state_recovery(recovery);
    }
    Ok(builder)
}

fn number<T: FromStr>(name: &str, default: T) -> Result<T, Box<dyn Error>> {
    match env::var(name) {
        Ok(text) if !text.is_empty() => {
            text.parse().map_err(|_| format!("{name}={text} is not a number in range").into())
        }
        _ => Ok(default),
    }
}

/// What the contract gives. A client that keeps its side open would take the five seconds of a lingering close.
const CLOSE_LIMIT: Duration = Duration::from_secs(4);
