//! One WebSocket message of Engine.IO: reading never panics, and a packet that was read is written as a message
//! that reads as the same packet, with and without base64.

use sio_protocol::engineio::{Data, Frame, Malformed, Packet, PacketKind, Revision};

/// Takes the input as the content of one message, text and binary.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for rev in [Revision::V3, Revision::V4] {
        match Packet::decode_text(rev, &text) {
            Ok(packet) => {
                assert!(packet.data.len() < text.len(), "{packet:?} holds more than {text:?}");
                check_again(rev, &packet);
            }
            Err(malformed) => check_error(malformed),
        }
        match Packet::decode_binary(rev, input) {
            Ok(packet) => {
                assert!(matches!(packet.data, Data::Binary(_)));
                check_again(rev, &packet);
            }
            Err(malformed) => {
                assert_eq!(rev, Revision::V3, "in revision 4 any bytes are a message");
                check_error(malformed);
            }
        }
    }
}

fn check_again(rev: Revision, packet: &Packet<'_>) {
    let binary = matches!(packet.data, Data::Binary(_));
    assert!(!binary || rev == Revision::V3 || packet.kind == PacketKind::Message);
    assert_eq!(packet.clone().into_owned(), *packet);
    for b64 in [false, true] {
        match packet.data.as_ref().to_frame(rev, packet.kind, b64) {
            Frame::Text(text) => {
                assert!(b64 || !binary);
                assert_eq!(Packet::decode_text(rev, &text).as_ref(), Ok(packet));
            }
            Frame::Binary(bytes) => {
                assert!(binary && !b64);
                assert_eq!(Packet::decode_binary(rev, &bytes).as_ref(), Ok(packet));
            }
        }
    }
}

pub(crate) fn check_error(malformed: Malformed) {
    let text = malformed.to_string();
    assert!(!text.is_empty() && !text.ends_with('.'));
}
