//! The WebSocket reader against tungstenite.
//!
//! The input is a list of frames, mostly well formed, so that the fuzzer gets past the first header, and raw
//! bytes in between. Checked: both read the same messages or both refuse the stream; the pieces a stream
//! arrives in make no difference, compressed messages included.
#![no_main]

#[path = "../../src/websocket/tests/peer.rs"]
mod peer;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use sio_server::fuzzing::{Owned, read};

#[derive(Arbitrary, Debug)]
struct Input {
    parts: Vec<Part>,
    pieces: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Part {
    Frame { first: u8, mask: [u8; 4], payload: Vec<u8> },
    LongFrame { first: u8, mask: [u8; 4], byte: u8, len: u16 },
    Raw(Vec<u8>),
}

fuzz_target!(|input: Input| {
    let stream = stream(&input.parts);
    for deflate in [false, true] {
        let whole = read(MAX_MESSAGE, deflate, [&stream[..]]);
        assert_eq!(read(MAX_MESSAGE, deflate, pieces(&stream, &input.pieces)), whole);
        if !deflate {
            peer::compare(&stream, MAX_MESSAGE, &whole).unwrap_or_else(|difference| panic!("{difference}"));
        }
    }
});

fn stream(parts: &[Part]) -> Vec<u8> {
    let mut stream = Vec::new();
    for part in parts {
        match part {
            Part::Frame { first, mask, payload } => frame(&mut stream, *first, *mask, payload),
            Part::LongFrame { first, mask, byte, len } => {
                frame(&mut stream, *first, *mask, &vec![*byte; usize::from(*len) % (2 * MAX_MESSAGE)]);
            }
            Part::Raw(bytes) => stream.extend(bytes),
        }
    }
    stream
}

fn frame(stream: &mut Vec<u8>, first: u8, mask: [u8; 4], payload: &[u8]) {
    stream.push(first);
    if payload.len() < 126 {
        stream.push(0x80 | payload.len() as u8);
    } else {
        stream.push(0x80 | 126);
        stream.extend((payload.len() as u16).to_be_bytes());
    }
    stream.extend(mask);
    stream.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// Cuts a stream by the given lengths, over and over.
fn pieces<'a>(stream: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    let mut lengths = lengths.iter().map(|length| usize::from(*length).max(1)).cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(lengths.next().unwrap_or(rest.len()).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

const MAX_MESSAGE: usize = 700;
