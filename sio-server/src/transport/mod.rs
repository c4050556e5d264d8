//! How bytes travel: long-polling requests, WebSockets, and the change from one to the other.

pub(crate) mod polling;
pub(crate) mod stream;
pub(crate) mod upgrade;

use sio_protocol::engineio::handshake::Handshake;
use sio_protocol::engineio::session::Transport;

use crate::connection::Connection;

/// The data of the open packet.
fn open_packet(connection: &Connection, transport: Transport) -> String {
    let config = &connection.server().config;
    let upgradable = transport == Transport::Polling && config.allow_upgrades && config.websocket;
    Handshake {
        sid: connection.id().as_str(),
        upgrades: if upgradable { &["websocket"] } else { &[] },
        ping_interval: config.timing.ping_interval,
        ping_timeout: config.timing.ping_timeout,
        max_payload: config.max_http_buffer_size as u64,
    }
    .to_json()
}
