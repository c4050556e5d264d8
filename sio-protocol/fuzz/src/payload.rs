//! Polling bodies: reading one never panics, ends at the first error, holds no more than the body did, and the
//! packets that came before the error, written as a body of any form, are read again as they were.

use sio_protocol::engineio::payload::{BodyKind, Decoder, Encoder, jsonp_form};
use sio_protocol::engineio::{Data, Packet, Revision};

use crate::packet::check_error;

/// Takes the input as a body, in every revision and form.
pub fn check(input: &[u8]) {
    check_forms(input);
    if let Some(body) = jsonp_form(input) {
        assert!(body.len() <= input.len());
        check_forms(&body);
    }
    check_form_field(input);
}

fn check_forms(body: &[u8]) {
    for rev in [Revision::V3, Revision::V4] {
        for kind in [BodyKind::Text, BodyKind::OctetStream] {
            let packets = read(rev, kind, body);
            if !packets.is_empty() {
                check_again(rev, &packets);
            }
        }
    }
}

/// Reads the packets before the first error.
fn read<'a>(rev: Revision, kind: BodyKind, body: &'a [u8]) -> Vec<Packet<'a>> {
    let mut decoder = Decoder::new(rev, kind, body);
    let mut packets = Vec::new();
    let mut carried = 0;
    for result in decoder.by_ref() {
        match result {
            Ok(packet) => {
                carried += 1 + packet.data.len();
                packets.push(packet);
            }
            Err(malformed) => {
                check_error(malformed);
                break;
            }
        }
    }
    assert!(decoder.next().is_none(), "the end is not the end");
    // A byte that is no UTF-8 becomes a replacement character, of three bytes.
    assert!(carried <= 3 * body.len(), "{carried} bytes out of {}", body.len());
    packets
}

fn check_again(rev: Revision, packets: &[Packet<'_>]) {
    let some_binary = packets.iter().any(|packet| matches!(packet.data, Data::Binary(_)));
    for b64 in [false, true] {
        let payload = write(rev, b64, None, packets);
        let binary = payload.content_type == "application/octet-stream";
        assert_eq!(binary, some_binary && !b64 && rev == Revision::V3);
        let kind = if binary { BodyKind::OctetStream } else { BodyKind::Text };
        let again: Result<Vec<_>, _> = Decoder::new(rev, kind, &payload.body).collect();
        assert_eq!(again.as_deref(), Ok(packets));
    }
    let script = String::from_utf8(write(rev, false, Some("7"), packets).body).expect("a script is text");
    let literal = script.strip_prefix("___eio[7](").and_then(|rest| rest.strip_suffix(");"));
    let body: String =
        literal.and_then(|text| serde_json::from_str(text).ok()).expect("a script holds a string");
    assert!(!script.contains(['\n', '\r', '\u{2028}', '\u{2029}']));
    assert_eq!(body.as_bytes(), write(rev, true, None, packets).body);
}

fn write(
    rev: Revision,
    b64: bool,
    jsonp: Option<&str>,
    packets: &[Packet<'_>],
) -> sio_protocol::engineio::payload::Payload {
    let mut encoder = Encoder::new(rev, b64, jsonp);
    for packet in packets {
        encoder.push(packet.kind, packet.data.as_ref());
    }
    assert!(!encoder.is_empty());
    encoder.finish()
}

/// Posts a body as the clients do in JSONP, which has to arrive as it was. They make no difference between a
/// backslash before a line feed and one before the letter n, so such bodies are left out.
fn check_form_field(body: &[u8]) {
    if body.windows(2).any(|pair| pair == b"\\\n") {
        return;
    }
    let mut field = b"j=7&d=".to_vec();
    for (at, &byte) in body.iter().enumerate() {
        match byte {
            b'\n' => percent(&mut field, b"\\n"),
            b'\\' if body.get(at + 1) == Some(&b'n') => percent(&mut field, b"\\\\"),
            b' ' => field.push(b'+'),
            byte if byte.is_ascii_alphanumeric() => field.push(byte),
            byte => percent(&mut field, &[byte]),
        }
    }
    field.extend(b"&x=");
    assert_eq!(jsonp_form(&field).as_deref(), Some(body));
}

fn percent(field: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        field.extend(format!("%{byte:02X}").bytes());
    }
}
