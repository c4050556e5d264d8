//! What the server knows of a client.

use serde::Serialize;
use sio_server::{Handshake, Namespace, Reply, Socket, Value};

pub(crate) fn add(namespace: &Namespace) {
    namespace
        .on("whoami", async |socket: Socket| {
            Reply(WhoAmI {
                id: socket.id().to_string(),
                nsp: socket.namespace().path().to_owned(),
                protocol: socket.protocol(),
                transport: socket.transport(),
                recovered: socket.is_recovered(),
            })
        })
        .on("handshake", async |handshake: Handshake| {
            let query =
                handshake.query_pairs().into_iter().filter(|(key, _)| !HIDDEN.contains(&key.as_str()));
            Reply(Seen {
                auth: handshake.auth().unwrap_or_default(),
                query: Value::from(query.map(|(key, value)| (key, value.into())).collect::<Vec<_>>()),
                header: handshake.header("x-interop").map(str::to_owned),
                address: handshake.address().map(|address| address.ip().to_string()),
            })
        });
}

#[derive(Serialize)]
struct WhoAmI {
    id: String,
    nsp: String,
    protocol: u8,
    transport: &'static str,
    recovered: bool,
}

#[derive(Serialize)]
struct Seen {
    auth: Value,
    query: Value,
    header: Option<String>,
    address: Option<String>,
}

/// Query parameters of the engine.
const HIDDEN: [&str; 6] = ["EIO", "transport", "t", "sid", "b64", "j"];
