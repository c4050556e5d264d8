//! The border between packets and messages: parsers that both sides of a connection have agreed on.
//!
//! [`JsonParser`] is the default one of every client; [`MsgPackParser`] is that of
//! `socket.io-msgpack-parser`. Others can be added: a parser makes one decoder for each connection, and
//! encodes packets without a state. Whatever the parser, inside the server a [`Packet`] is JSON text and
//! attachments.

mod json;
mod msgpack;

use std::fmt::Debug;

use bytes::Bytes;

pub use crate::socketio::JsonDecoder;
pub use json::JsonParser;
pub use msgpack::{MsgPackDecoder, MsgPackParser};

use crate::error::Malformed;
use crate::limits::Limits;
use crate::socketio::Packet;

/// Translates between packets and Engine.IO messages.
///
/// A server asks it for every packet, those that it makes itself among them: CONNECT, DISCONNECT and refusals.
pub trait Parser: Debug + Send + Sync + 'static {
    /// Makes the decoder of a connection.
    fn decoder(&self, limits: &Limits) -> Box<dyn Decode>;

    /// Appends the messages of a packet to `out`: at least one, no more than one text, and that before any
    /// binary. A server sends them in this order whatever comes, and drops a second text.
    fn encode(&self, packet: &Packet<'_>, out: &mut Vec<Frame>);
}

/// Puts packets together from the messages of one connection. After an error, or a panic, the connection is to be
/// closed.
pub trait Decode: Debug + Send {
    /// Takes a text message. `None` means that more messages have to follow before there is a packet.
    ///
    /// # Errors
    ///
    /// If the message is no packet, or not allowed after the one before it.
    fn decode_text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, Malformed>;

    /// Takes a binary message. `None` means that more messages have to follow before there is a packet.
    ///
    /// # Errors
    ///
    /// If the message is no packet, or not allowed after the one before it.
    fn decode_binary(&mut self, bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed>;
}

/// Is one Engine.IO message of an encoded packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "Engine.IO has these two kinds of messages, and each is sent differently"
)]
pub enum Frame {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}
