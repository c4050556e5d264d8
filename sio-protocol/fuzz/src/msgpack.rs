//! MessagePack and JSON, both ways.
//!
//! Tokens come without a panic, make progress and agree with skipping. What is translated to JSON is JSON; what
//! is written from it, in any dialect, reads as the same values, in the first two dialects even as the same
//! text. JSON that `serde_json` accepts is translated to what `serde_json` understands by it.

use bytes::Bytes;
use sio_protocol::Limits;
use sio_protocol::Malformed;
use sio_protocol::msgpack::{Dialect, Reader, Token, Writer, read_json, write_json};
use sio_protocol::socketio::{Value, read_value};

use crate::value::through_javascript;

/// Takes the input as MessagePack, and as JSON text.
pub fn check(input: &[u8]) {
    let message = Bytes::copy_from_slice(input);
    check_tokens(&message);
    check_message(&message);
    check_json(&String::from_utf8_lossy(input));
}

fn check_tokens(message: &Bytes) {
    let mut reader = Reader::new(message);
    // How many values have to follow, as the tokens say; `skip` has to come to the same end.
    let mut open = 1_usize;
    let mut ended = None;
    let error = loop {
        let before = reader.position();
        match reader.next_token() {
            Ok(token) => {
                assert!(reader.position() > before && reader.position() <= message.len());
                let left = message.len() - reader.position();
                let items = match token {
                    Token::Array(count) => count,
                    Token::Map(count) => 2 * count,
                    _ => 0,
                };
                assert!(items <= left, "{items} items in {left} bytes");
                open = open.saturating_sub(1) + items;
                if open == 0 && ended.is_none() {
                    ended = Some(reader.position());
                }
            }
            Err(malformed) => break malformed,
        }
    };
    assert!(matches!(error, Malformed::MsgPackTruncated | Malformed::MsgPackReservedMarker));
    let mut skipping = Reader::new(message);
    let skipped = skipping.skip().ok().map(|()| skipping.position());
    assert_eq!(skipped, ended);
    assert_eq!(skipping.finish().is_ok(), skipping.position() == message.len());
}

fn check_message(message: &Bytes) {
    let limits = many();
    let Ok((json, attachments, end)) = read(message, &limits) else { return };
    let mut skipping = Reader::new(message);
    assert_eq!(skipping.skip(), Ok(()));
    assert_eq!(skipping.position(), end);

    let value: Value = read_value(&json, &attachments).expect("what was read is JSON");
    for dialect in [Dialect::Notepack2, Dialect::Notepack3, Dialect::MsgPack2] {
        let mut again = Vec::new();
        write_json(&json, &attachments, &mut Writer::new(&mut again, dialect)).expect("JSON can be written");
        let (json_again, attachments_again, end) = read(&again.clone().into(), &limits).expect("and read");
        assert_eq!(end, again.len());
        assert_eq!(attachments_again, attachments);
        if dialect != Dialect::MsgPack2 {
            assert_eq!(json_again, json);
        }
        let value_again: Value = read_value(&json_again, &attachments_again).expect("it is JSON again");
        assert!(through_javascript(&value_again) == through_javascript(&value), "{json} became {json_again}");
    }
}

fn check_json(json: &str) {
    let attachments = [Bytes::from_static(b"first"), Bytes::from_static(&[0xff; 3])];
    for attachments in [&attachments[..], &[]] {
        let expected = read_value::<Value>(json, attachments);
        for dialect in [Dialect::Notepack2, Dialect::Notepack3, Dialect::MsgPack2] {
            let mut message = Vec::new();
            let written = write_json(json, attachments, &mut Writer::new(&mut message, dialect));
            let message = Bytes::from(message);
            // Text that is no JSON may be written as something else, but not as no MessagePack.
            let seen = written.map(|()| {
                let (json, attachments, end) = read(&message, &many()).expect("what was written is read");
                assert_eq!(end, message.len());
                read_value::<Value>(&json, &attachments).expect("and is JSON")
            });
            if serde_json::from_str::<serde_json::Value>(json).is_ok()
                && let Ok(expected) = &expected
            {
                let seen = seen.expect("JSON can be written");
                assert!(through_javascript(&seen) == through_javascript(expected), "{json} became {seen:?}");
            }
        }
    }
}

fn read(message: &Bytes, limits: &Limits) -> Result<(String, Vec<Bytes>, usize), Malformed> {
    let (mut json, mut attachments) = (String::new(), Vec::new());
    let mut reader = Reader::new(message);
    read_json(&mut reader, limits, &mut json, &mut attachments)?;
    Ok((json, attachments, reader.position()))
}

/// The usual limits, except that a text may name its two attachments as often as it likes.
fn many() -> Limits {
    let mut limits = Limits::default();
    limits.max_inline_attachments = 100_000;
    limits
}
