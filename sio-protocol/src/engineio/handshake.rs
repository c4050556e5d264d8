//! The first packet of a session, by which the server tells the client its terms.
//!
//! Pure. Specification: engine.io-protocol v4, "Handshake"; revision 3 has the same fields without `maxPayload`, and
//! its clients ignore that one.

use serde::Serialize;

/// The data of an open packet. Written as JSON in Node's key order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Handshake<'a> {
    /// The id of the session. A secret between server and client: whoever holds it can post into the session.
    pub sid: &'a str,
    /// The transports to which the client may upgrade: `["websocket"]` for a polling session if upgrades are allowed
    /// and the transport is enabled, else empty.
    pub upgrades: &'a [&'a str],
    /// Milliseconds between two heartbeats.
    pub ping_interval: u64,
    /// Milliseconds that the peer has to answer a heartbeat.
    pub ping_timeout: u64,
    /// Bytes that the server takes in one polling body or WebSocket message. Clients use it to split polling bodies.
    pub max_payload: u64,
}

impl Handshake<'_> {
    /// Returns the JSON text, without the type digit of the open packet.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a struct of strings and integers always has a JSON form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_nodes_order() {
        let handshake = Handshake {
            sid: "AM4Qc7FTR7FgWp2xAAAA",
            upgrades: &["websocket"],
            ping_interval: 25_000,
            ping_timeout: 20_000,
            max_payload: 1_000_000,
        };
        assert_eq!(
            handshake.to_json(),
            r#"{"sid":"AM4Qc7FTR7FgWp2xAAAA","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
    }

    #[test]
    fn a_strange_sid_is_escaped() {
        let handshake =
            Handshake { sid: "a\"\n", upgrades: &[], ping_interval: 1, ping_timeout: 2, max_payload: 3 };
        assert!(handshake.to_json().starts_with(r#"{"sid":"a\"\n","upgrades":[],"#));
    }
}
