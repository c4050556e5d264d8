//! Tests of the reader as a whole: what it takes, what it refuses, what it remembers.

mod autobahn;
mod bad_frames;
mod chunks;
mod compressed;
mod differential;
mod memory;
mod peer;

use std::ops::ControlFlow;

use super::{Message, ReadLimits, Reader, Violation, fuzzing::Owned};

/// What a reader made of a stream: the messages, and how it ended.
pub(super) type Outcome = (Vec<Owned>, Result<(), Violation>);

pub(super) const LIMITS: ReadLimits = ReadLimits { max_message: 1_000_000 };

/// Feeds a stream in pieces.
pub(super) fn feed_all<'a>(
    mut reader: Reader,
    limits: &ReadLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut messages = Vec::new();
    for piece in pieces {
        let outcome = reader.feed(limits, &mut piece.to_vec(), &mut |message| {
            messages.push(Owned::from(message));
            ControlFlow::Continue(())
        });
        if outcome.is_err() {
            return (messages, outcome);
        }
    }
    (messages, Ok(()))
}

/// Feeds a stream at once to a reader without extensions.
pub(super) fn feed(stream: &[u8]) -> Outcome {
    feed_all(Reader::new(false), &LIMITS, [stream])
}

/// Makes a frame as a client does. `first` is the whole first byte.
pub(super) fn client_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = client_header(first, payload.len() as u64);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Makes the header of a client frame, with the mask.
pub(super) fn client_header(first: u8, len: u64) -> Vec<u8> {
    let mut header = vec![first];
    match len {
        0..=125 => header.push(0x80 | len as u8),
        126..=0xFFFF => {
            header.push(0x80 | 126);
            header.extend((len as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(len.to_be_bytes());
        }
    }
    header.extend(MASK);
    header
}

pub(super) const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

pub(super) const TEXT: u8 = 0x81;
pub(super) const BINARY: u8 = 0x82;
pub(super) const CLOSE: u8 = 0x88;
pub(super) const PING: u8 = 0x89;
pub(super) const PONG: u8 = 0x8A;
/// Without FIN: the first and the middle frames of a message.
pub(super) const TEXT_BEGIN: u8 = 0x01;
pub(super) const BINARY_BEGIN: u8 = 0x02;
pub(super) const MIDDLE: u8 = 0x00;
pub(super) const LAST: u8 = 0x80;
