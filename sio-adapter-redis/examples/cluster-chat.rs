//! Switchboard, the chat of `sio-server`, as one node of a cluster. The one line that differs is the adapter's.
//!
//! `cargo xtask demo --nodes 2` runs two of it with a Redis of their own. Environment: `PORT` and `CLIENT_DIST` as for the
//! chat by itself, `REDIS_URL` (default `redis://127.0.0.1:6379`), `NODE_NAME` (what the page calls this node).

#[path = "../../sio-server/examples/chat/switchboard.rs"]
mod switchboard;

use sio_adapter_redis::RedisAdapter;
use sio_server::Server;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("REDIS_URL").unwrap_or_else(|_| "redis://127.0.0.1:6379".to_owned());
    let builder = Server::builder().adapter(RedisAdapter::connect(url.as_str()).await?);
    switchboard::run(builder, std::env::var("NODE_NAME").ok()).await
}
