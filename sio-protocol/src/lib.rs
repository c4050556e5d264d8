//! The wire formats of Socket.IO, without any IO.
//!
//! Everything here turns bytes into packets and packets into bytes: no socket is opened, no clock is read,
//! nothing is random, and how much memory a peer can make a decoder hold is bounded by [`Limits`]. The
//! server, the Redis adapter and the emitter of this workspace are built on it, and so could be a client, a
//! proxy or a load test.
//!
//! A message goes through two layers. [`engineio`] says where messages begin and end, and when a connection
//! is alive. In a message [`socketio`] finds packets: events, acknowledgements, and joining and leaving of
//! namespaces. Which notation packets have is for a [`parser`] to say, JSON or [MessagePack](msgpack).
//! Beside that, [`cluster`] has the messages that servers and emitters send each other through Redis.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use sio_protocol::Limits;
//! use sio_protocol::parser::{Frame, JsonParser, Parser};
//! use sio_protocol::socketio::{JsonDecoder, Packet, write_args};
//!
//! // A client sends an event with a binary argument, and asks for an answer.
//! let mut decoder = JsonDecoder::new(Arc::new(Limits::default()));
//! let header = r#"51-/chat,7["upload","cat.png",{"_placeholder":true,"num":0}]"#;
//! assert_eq!(decoder.decode_text(header)?, None);
//! let packet = decoder.decode_binary(Bytes::from_static(b"\x89PNG"))?.ok_or("a packet")?;
//!
//! assert_eq!(packet.nsp, "/chat");
//! assert_eq!(packet.event_name().as_deref(), Some("upload"));
//! let (name, content): (String, Bytes) = packet.args().deserialize()?;
//!
//! // The server answers.
//! let (mut data, mut attachments) = (Vec::new(), Vec::new());
//! write_args(&mut data, &mut attachments, &(format!("got {name}"), content.len()))?;
//! let ack = Packet::ack("/chat", 7, String::from_utf8(data)?, attachments);
//! let mut messages = Vec::new();
//! JsonParser.encode(&ack, &mut messages);
//! assert_eq!(messages, [Frame::Text(r#"3/chat,7["got cat.png",4]"#.into())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod cluster;
pub mod engineio;
pub mod error;
pub mod limits;
pub mod msgpack;
pub mod parser;
pub mod socketio;

mod json;

pub use error::Malformed;
pub use limits::Limits;

/// The example of the crate's front page compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
#[derive(Debug)]
pub struct Readme;
