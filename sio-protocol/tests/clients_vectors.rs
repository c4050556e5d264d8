//! What real clients sent and were sent, over polling and WebSocket.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

mod socketio_support;

use bytes::Bytes;
use sio_protocol::socketio::Value;
use socketio_support::{Message, check_messages, messages_in_body, unhex, vectors};

#[test]
fn clients_of_revision_4_are_understood() {
    let recorded = vectors("clients-v2");
    assert_eq!(recorded.len(), 2);
    for vector in recorded {
        let (mut packets, mut over_websocket) = (0, 0);
        for connection in vector.get("connections").unwrap().as_array().unwrap() {
            for key in ["http", "response"] {
                let Some(message) = connection.get(key).and_then(Value::as_str) else { continue };
                let (_, body) = message.split_once("\r\n\r\n").unwrap();
                if body.is_empty() || body == "ok" {
                    continue;
                }
                let (seen, error) = check_messages(vector.name(), &messages_in_body(body, 3), false);
                assert_eq!(error, None);
                packets += seen;
            }
            for key in ["client_frames", "server_frames"] {
                let frames = connection.get(key).and_then(Value::as_array).unwrap_or_default();
                let messages: Vec<Message> = frames.iter().map(message_in_frame).collect();
                let (seen, error) = check_messages(vector.name(), &messages, false);
                assert_eq!(error, None);
                over_websocket += seen;
            }
        }
        assert!(over_websocket >= 6, "{}: {over_websocket}", vector.name());
        assert_eq!(packets > 0, vector.name().ends_with("/polling+upgrade"));
    }
}

/// Reads a frame as it was recorded: text, or the hexadecimal digits of a binary message with its type byte.
fn message_in_frame(frame: &Value) -> Message {
    let data = frame.get("data").and_then(Value::as_str).unwrap();
    match frame.get("op").and_then(Value::as_u64) {
        Some(1) => data
            .strip_prefix('4')
            .map_or(Message::Other(data.to_owned()), |text| Message::Text(text.to_owned())),
        Some(2) => Message::Binary(Bytes::from(unhex(data)).slice(1..)),
        _ => Message::Other("close".to_owned()),
    }
}
