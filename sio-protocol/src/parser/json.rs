//! The default parser: a text message for each packet, followed by one binary message for each attachment.
//!
//! Pure. Spec: socket.io-protocol v5, "Packet encoding"; Node's `socket.io-parser`.

use std::sync::Arc;

use bytes::Bytes;

use super::{Decode, Frame, JsonDecoder, Parser};
use crate::error::Malformed;
use crate::limits::Limits;
use crate::socketio::Packet;

/// Is the parser that clients use unless they are told otherwise.
///
/// ```
/// use sio_protocol::parser::{Frame, JsonParser, Parser};
/// use sio_protocol::socketio::Packet;
///
/// let mut messages = Vec::new();
/// JsonParser.encode(&Packet::event("/chat", Some(1), r#"["hello"]"#, vec![]), &mut messages);
/// assert_eq!(messages, [Frame::Text(r#"2/chat,1["hello"]"#.into())]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a parser has no state, and users name it as a value")]
pub struct JsonParser;

impl Parser for JsonParser {
    fn decoder(&self, limits: &Limits) -> Box<dyn Decode> {
        Box::new(JsonDecoder::new(Arc::new(*limits)))
    }

    fn encode(&self, packet: &Packet<'_>, out: &mut Vec<Frame>) {
        let mut text = String::new();
        packet.write_text(&mut text);
        out.push(Frame::Text(text));
        out.extend(packet.attachments.iter().cloned().map(Frame::Binary));
    }
}

impl Decode for JsonDecoder {
    fn decode_text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, Malformed> {
        Self::decode_text(self, text)
    }

    fn decode_binary(&mut self, bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed> {
        Self::decode_binary(self, bytes)
    }
}
