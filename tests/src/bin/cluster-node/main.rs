//! A node of the cluster suite: `tests/interop/cluster/CONTRACT.md`, on this server.
//!
//! It is configured by environment variables and driven by lines of JSON on its standard input; it ends with it. What
//! the adapter tells of the connection to Redis, and what a handler could not do, is passed on as a note.

mod adapter;
mod commands;
mod load;
mod wire;

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use sio_server::Server;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use crate::adapter::Connected;
use crate::commands::Node;
use crate::wire::Line;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let adapter = Connected::from_environment().await?;
    let io = adapter.join(Server::builder().allow_eio3(true)).build();
    io.on_error(|failure| wire::note(&format!("error: {failure}")));
    let node = Arc::new(Node::new(env::var("NAME").unwrap_or_default(), io.clone()));
    for path in ["/", "/custom"] {
        node.hear(&io.of(path));
    }
    adapter.ready().await;
    let listening = io.listen(("127.0.0.1", 0)).await?;
    wire::listening(listening.address());
    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let Line { id, nsp, command } = match serde_json::from_str(&line) {
            Ok(line) => line,
            Err(error) => {
                wire::note(&format!("unreadable command: {error}"));
                continue;
            }
        };
        let node = Arc::clone(&node);
        // A request to other nodes takes its time; whoever wants an order waits for answers.
        tokio::spawn(async move { wire::answer(id, node.run(&nsp, command).await) });
    }
    // A client that does not close its side must not hold up the end.
    let _ = tokio::time::timeout(CLOSE_LIMIT, io.close()).await;
    Ok(())
}

/// The suite gives fifteen seconds.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
