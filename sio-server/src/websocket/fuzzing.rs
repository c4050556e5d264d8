//! A door to the reader for what compares it with another implementation: the tests and the fuzz targets.
//!
//! Compiled for these two only. Messages are owned here, so that they can be kept and compared.
#![allow(unreachable_pub, reason = "public for the fuzz targets, in a test build nobody can reach it")]

use std::ops::ControlFlow;

use super::{Message, ReadLimits, Reader};

/// A message that outlives its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, clippy::exhaustive_enums)]
pub enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Message::Ping(payload) => Self::Ping(payload.to_vec()),
            Message::Pong(payload) => Self::Pong(payload.to_vec()),
            Message::Close(code, reason) => Self::Close(code, reason.to_owned()),
        }
    }
}

/// Reads a stream that arrives in pieces: the messages, and the close code of the violation that ended it.
pub fn read<'a>(
    max_message: usize,
    deflate: bool,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Owned>, Option<u16>) {
    let mut reader = Reader::new(deflate);
    let mut messages = Vec::new();
    for piece in pieces {
        let outcome = reader.feed(&ReadLimits { max_message }, &mut piece.to_vec(), &mut |message| {
            messages.push(message.into());
            ControlFlow::Continue(())
        });
        if let Err(violation) = outcome {
            return (messages, Some(violation.close_code()));
        }
    }
    (messages, None)
}
