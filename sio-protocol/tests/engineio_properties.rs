//! Claims about all inputs, tried on many pseudo-random ones: what is written is read back, and nothing that a peer
//! sends makes decoding panic, run on for ever or take more memory than the bytes it was given.
//!
//! The generator is seeded with constants, so a failure repeats.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::borrow::Cow;

use sio_protocol::engineio::payload::{BodyKind, Decoder, Encoder, jsonp_form};
use sio_protocol::engineio::{Data, Frame, Malformed, Packet, PacketKind, Revision};

const REVISIONS: [Revision; 2] = [Revision::V3, Revision::V4];
const BODY_KINDS: [BodyKind; 2] = [BodyKind::Text, BodyKind::OctetStream];

#[test]
fn a_body_is_read_as_it_was_written() {
    let mut random = Random(0x0123_4567_89ab_cdef);
    for round in 0..4_000 {
        let rev = REVISIONS[round % 2];
        let b64 = random.below(2) == 0;
        let packets: Vec<_> = (0..1 + random.below(6)).map(|_| random.packet(rev)).collect();
        let mut encoder = Encoder::new(rev, b64, None);
        for packet in &packets {
            encoder.push(packet.kind, packet.data.as_ref());
        }
        let payload = encoder.finish();
        let binary = payload.content_type == "application/octet-stream";
        let has_binary = packets.iter().any(|packet| matches!(packet.data, Data::Binary(_)));
        assert_eq!(binary, has_binary && !b64 && rev == Revision::V3);
        let kind = if binary { BodyKind::OctetStream } else { BodyKind::Text };
        let read: Result<Vec<_>, _> = Decoder::new(rev, kind, &payload.body).collect();
        assert_eq!(read.as_ref(), Ok(&packets));
    }
}

#[test]
fn a_script_holds_the_body_that_is_written_without_jsonp() {
    let mut random = Random(0x1111_2222_3333_4444);
    for round in 0..2_000 {
        let rev = REVISIONS[round % 2];
        let mut plain = Encoder::new(rev, true, None);
        let mut jsonp = Encoder::new(rev, false, Some("17"));
        for packet in (0..random.below(4)).map(|_| random.packet(rev)).collect::<Vec<_>>() {
            plain.push(packet.kind, packet.data.as_ref());
            jsonp.push(packet.kind, packet.data.as_ref());
        }
        let script = String::from_utf8(jsonp.finish().body).unwrap();
        assert!(!script.contains(['\n', '\u{2028}', '\u{2029}']));
        let literal = script.strip_prefix("___eio[17](").and_then(|rest| rest.strip_suffix(");")).unwrap();
        assert_eq!(serde_json::from_str::<String>(literal).unwrap().into_bytes(), plain.finish().body);
    }
}

#[test]
fn a_websocket_message_is_read_as_it_was_written() {
    let mut random = Random(0xfeed_beef_dead_cafe);
    for round in 0..4_000 {
        let rev = REVISIONS[round % 2];
        let packet = random.packet(rev);
        let b64 = random.below(2) == 0;
        match packet.data.as_ref().to_frame(rev, packet.kind, b64) {
            Frame::Text(text) => assert_eq!(Packet::decode_text(rev, &text).as_ref(), Ok(&packet)),
            Frame::Binary(bytes) => {
                assert!(!b64);
                assert_eq!(Packet::decode_binary(rev, &bytes).as_ref(), Ok(&packet));
            }
        }
    }
}

#[test]
fn arbitrary_bytes_are_packets_or_an_error_and_then_the_end() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..30_000 {
        let body = random.body();
        for rev in REVISIONS {
            for kind in BODY_KINDS {
                let mut decoder = Decoder::new(rev, kind, &body);
                let mut carried = 0;
                let mut failed = false;
                for packet in decoder.by_ref() {
                    assert!(!failed, "something comes after an error");
                    match packet {
                        Ok(packet) => carried += 1 + packet.data.len(),
                        Err(_) => failed = true,
                    }
                }
                assert!(decoder.next().is_none(), "the end is not the end");
                // A replacement character is three bytes for one that was no UTF-8.
                assert!(carried <= 3 * body.len(), "{carried} bytes out of {}", body.len());
            }
            let _ = Packet::decode_binary(rev, &body);
            let _ = Packet::decode_text(rev, &String::from_utf8_lossy(&body));
        }
        assert!(jsonp_form(&body).is_none_or(|form| form.len() <= body.len()));
    }
}

#[test]
fn broken_valid_bodies_do_not_panic() {
    let mut random = Random(0x5555_aaaa_5555_aaaa);
    for round in 0..10_000 {
        let rev = REVISIONS[round % 2];
        let mut encoder = Encoder::new(rev, random.below(2) == 0, None);
        for packet in (0..1 + random.below(4)).map(|_| random.packet(rev)).collect::<Vec<_>>() {
            encoder.push(packet.kind, packet.data.as_ref());
        }
        let mut body = encoder.finish().body;
        for _ in 0..1 + random.below(3) {
            let at = random.below(body.len());
            match random.below(3) {
                0 => body[at] = random.byte(),
                1 => body.truncate(at + 1),
                _ => body.insert(at, random.byte()),
            }
        }
        for kind in BODY_KINDS {
            assert!(Decoder::new(rev, kind, &body).count() <= body.len() + 1);
        }
    }
}

#[test]
fn declared_lengths_are_compared_and_not_believed() {
    let mut huge = b"99999999999999999999999999:4a".to_vec();
    let available = 2;
    let declared = usize::MAX;
    assert_eq!(only(BodyKind::Text, &huge), Err(Malformed::PacketTruncated { declared, available }));
    huge = [&[1; 1][..], &[9; 26], b"\xff\x04a"].concat();
    assert_eq!(only(BodyKind::OctetStream, &huge), Err(Malformed::PacketTruncated { declared, available }));
    let endless = [&[1; 1][..], &[0; 1_000]].concat();
    assert_eq!(only(BodyKind::OctetStream, &endless), Err(Malformed::LengthTooLong { limit: 310 }));
}

#[test]
fn packets_before_an_error_are_delivered() {
    let read = |rev, kind, body: &'static [u8]| Decoder::new(rev, kind, body).collect::<Vec<_>>();
    let hello = Ok(message("hello"));
    let text = BodyKind::Text;
    let v4 = read(Revision::V4, text, b"4hello\x1e9\x1e4lost");
    assert_eq!(v4, [hello.clone(), Err(Malformed::UnknownPacketType { seen: '9' })]);
    let v4 = read(Revision::V4, text, b"4hello\x1e");
    assert_eq!(v4, [hello.clone(), Err(Malformed::EmptyPacket)]);
    let v3 = read(Revision::V3, text, b"6:4hello7:4hello");
    assert_eq!(v3, [hello.clone(), Err(Malformed::PacketTruncated { declared: 7, available: 6 })]);
    let v3 = read(Revision::V3, text, b"6:4hello4");
    assert_eq!(v3, [hello.clone(), Err(Malformed::LengthUnterminated)]);
    let v3 = read(Revision::V3, BodyKind::OctetStream, b"\x00\x06\xff4hello\x01\x01\xff\x09");
    assert_eq!(v3, [hello.clone(), Err(Malformed::UnknownTypeByte { seen: 9 })]);
    let v3 = read(Revision::V3, BodyKind::OctetStream, b"\x00\x06\xff4hello\x01\x01");
    assert_eq!(v3, [hello, Err(Malformed::LengthUnterminated)]);
}

#[test]
fn empty_bodies_are_errors_where_node_says_so() {
    let first = |rev, kind, body| Decoder::new(rev, kind, body).next();
    assert_eq!(first(Revision::V4, BodyKind::Text, b""), Some(Err(Malformed::EmptyPacket)));
    assert_eq!(first(Revision::V3, BodyKind::Text, b""), Some(Err(Malformed::EmptyBody)));
    assert_eq!(first(Revision::V3, BodyKind::Text, b"0:"), None);
    assert_eq!(first(Revision::V3, BodyKind::OctetStream, b""), None);
    assert_eq!(first(Revision::V3, BodyKind::OctetStream, b"\x00\x00\xff"), None);
    let refused = Some(Err(Malformed::OctetStreamInRevision4));
    assert_eq!(first(Revision::V4, BodyKind::OctetStream, b"4a"), refused);
    assert_eq!(Encoder::new(Revision::V4, false, None).finish().body, b"");
    assert_eq!(Encoder::new(Revision::V3, false, None).finish().body, b"0:");
    assert_eq!(Encoder::new(Revision::V3, true, None).finish().body, b"0:");
}

#[test]
fn bytes_that_are_no_utf_8_become_replacement_characters() {
    assert_eq!(Decoder::new(Revision::V4, BodyKind::Text, b"4a\xff").next(), Some(Ok(message("a\u{fffd}"))));
    // The length counts what the replacement has made of the bytes, as in Node.
    assert_eq!(
        Decoder::new(Revision::V3, BodyKind::Text, b"3:4\xff\xfe").next(),
        Some(Ok(message("\u{fffd}\u{fffd}")))
    );
    assert_eq!(only(BodyKind::OctetStream, b"\x00\x02\xff4\xff"), Ok(message("\u{fffd}")));
}

/// Reads the only packet of a revision 3 body.
fn only(kind: BodyKind, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut decoder = Decoder::new(Revision::V3, kind, body);
    let first = decoder.next().unwrap();
    assert_eq!(decoder.next(), None);
    first
}

fn message(text: &str) -> Packet<'_> {
    Packet { kind: PacketKind::Message, data: Data::Text(Cow::Borrowed(text)) }
}

/// A xorshift generator, good enough to be unlike what a person would think of.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn packet(&mut self, rev: Revision) -> Packet<'static> {
        let kind = PacketKind::from_number(self.next().to_be_bytes()[0] % 7).unwrap();
        // Mostly short, sometimes with a length of four digits.
        let len = if self.below(20) == 0 { self.below(2_000) } else { self.below(12) };
        if self.below(3) > 0 {
            let text = (0..len).map(|_| self.char()).collect();
            return Packet { kind, data: Data::Text(Cow::Owned(text)) };
        }
        let kind = if rev == Revision::V4 { PacketKind::Message } else { kind };
        Packet { kind, data: Data::Binary(Cow::Owned((0..len).map(|_| self.byte()).collect())) }
    }

    /// Never the separator of revision 4, which its text cannot contain.
    fn char(&mut self) -> char {
        const CHARS: [char; 12] =
            ['a', '0', ':', '"', '\\', '\n', '\u{7f}', 'é', '€', '😀', '\u{2028}', '\u{fffd}'];
        CHARS[self.below(CHARS.len())]
    }

    /// Bytes in which marks, digits and broken characters are frequent.
    fn body(&mut self) -> Vec<u8> {
        const BYTES: &[u8] =
            b"0123456789:b4\x1e\x00\x01\x02\x03\x04\xff\xff =%+d&\\n\xe2\x82\xac\xf0\x9f\x98\x80-_/";
        let len = self.below(40);
        (0..len)
            .map(|_| if self.below(8) == 0 { self.byte() } else { BYTES[self.below(BYTES.len())] })
            .collect()
    }
}
