//! Compressed messages among fragments, control frames and pieces.

use super::*;
use crate::websocket::PerMessageDeflate;

const COMPRESSED: u8 = 0x40;

fn hello() -> (Vec<u8>, Vec<u8>) {
    let text = "hello, hello, hello! ".repeat(10);
    let compressed = PerMessageDeflate::new().threshold(0).compress(text.as_bytes()).unwrap();
    assert!(compressed.len() > 12);
    (text.into_bytes(), compressed)
}

fn read(stream: &[u8]) -> Outcome {
    feed_all(Reader::new(true), &LIMITS, [stream])
}

#[test]
fn compressed_and_plain_messages_mix() {
    let (text, compressed) = hello();
    let stream = [
        client_frame(TEXT, b"plain"),
        client_frame(TEXT | COMPRESSED, &compressed),
        client_frame(BINARY | COMPRESSED, &compressed),
        client_frame(BINARY, b"plain"),
    ]
    .concat();
    let expected = vec![
        Owned::Text("plain".into()),
        Owned::Text(String::from_utf8(text.clone()).unwrap()),
        Owned::Binary(text),
        Owned::Binary(b"plain".to_vec()),
    ];
    for size in 1..=stream.len() {
        let outcome = feed_all(Reader::new(true), &LIMITS, stream.chunks(size));
        assert_eq!(outcome, (expected.clone(), Ok(())), "pieces of {size}");
    }
}

#[test]
fn control_frames_between_compressed_fragments_stay_as_they_are() {
    let (text, compressed) = hello();
    let stream = [
        client_frame(TEXT_BEGIN | COMPRESSED, &compressed[..5]),
        client_frame(PING, b"plain"),
        client_frame(MIDDLE, &compressed[5..10]),
        client_frame(PONG, b""),
        client_frame(LAST, &compressed[10..]),
        client_frame(TEXT, b"after"),
    ]
    .concat();
    let expected = vec![
        Owned::Ping(b"plain".to_vec()),
        Owned::Pong(Vec::new()),
        Owned::Text(String::from_utf8(text).unwrap()),
        Owned::Text("after".into()),
    ];
    for size in 1..=stream.len() {
        let outcome = feed_all(Reader::new(true), &LIMITS, stream.chunks(size));
        assert_eq!(outcome, (expected.clone(), Ok(())), "pieces of {size}");
    }
}

#[test]
fn only_the_first_data_frame_may_carry_the_mark() {
    let refused = Err(Violation::ReservedBits { bits: 0b100 });
    assert_eq!(read(&client_frame(PING | COMPRESSED, b"")).1, refused);
    assert_eq!(read(&client_frame(CLOSE | COMPRESSED, b"")).1, refused);
    let (_, compressed) = hello();
    for mark_on_first in [0, COMPRESSED] {
        let stream = [
            client_frame(BINARY_BEGIN | mark_on_first, &compressed[..5]),
            client_frame(LAST | COMPRESSED, &compressed[5..]),
        ];
        assert_eq!(read(&stream.concat()).1, refused);
    }
}

#[test]
fn inflated_text_is_judged() {
    let compressed = PerMessageDeflate::new().threshold(0).compress(&[0xFF; 100]).unwrap();
    assert_eq!(read(&client_frame(TEXT | COMPRESSED, &compressed)), (vec![], Err(Violation::Utf8Invalid)));
    assert_eq!(read(&client_frame(BINARY | COMPRESSED, &compressed)).0, [Owned::Binary(vec![0xFF; 100])]);
}

#[test]
fn the_limit_holds_for_what_is_inflated() {
    let bomb = PerMessageDeflate::new().compress(&vec![0; 10_000_000]).unwrap();
    assert!(bomb.len() < 100_000);
    let (messages, outcome) = read(&client_frame(BINARY | COMPRESSED, &bomb));
    assert_eq!(messages, []);
    assert_eq!(outcome.unwrap_err().close_code(), 1009);
}

#[test]
fn garbage_closes_with_1007() {
    let (_, outcome) = read(&client_frame(BINARY | COMPRESSED, &[0xFF; 20]));
    assert_eq!(outcome, Err(Violation::DeflateInvalid));
    assert_eq!(Violation::DeflateInvalid.close_code(), 1007);
}
