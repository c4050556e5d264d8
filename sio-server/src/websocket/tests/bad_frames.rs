//! What may not be sent, and the close code it earns.

use super::*;

#[test]
fn every_bad_frame_has_its_close_code() {
    use Violation::*;
    let oversized = LIMITS.max_message as u64 + 1;
    let cases: &[(&str, Vec<u8>, Violation, u16)] = &[
        // The first byte.
        ("reserved data opcode", vec![0x83], OpcodeReserved { opcode: 0x3 }, 1002),
        ("reserved data opcode", vec![0x87], OpcodeReserved { opcode: 0x7 }, 1002),
        ("reserved control opcode", vec![0x8B], OpcodeReserved { opcode: 0xB }, 1002),
        ("reserved control opcode", vec![0x8F], OpcodeReserved { opcode: 0xF }, 1002),
        ("RSV1 without extension", vec![0xC1], ReservedBits { bits: 0b100 }, 1002),
        ("RSV2", vec![0xA1], ReservedBits { bits: 0b010 }, 1002),
        ("RSV3", vec![0x91], ReservedBits { bits: 0b001 }, 1002),
        ("all reserved bits on a ping", vec![0xF9], ReservedBits { bits: 0b111 }, 1002),
        ("ping without FIN", vec![0x09], ControlFragmented, 1002),
        ("pong without FIN", vec![0x0A], ControlFragmented, 1002),
        ("close without FIN", vec![0x08], ControlFragmented, 1002),
        // The second byte and the length.
        ("no mask", vec![0x81, 0x05], MaskMissing, 1002),
        ("empty frame without mask", vec![0x81, 0x00], MaskMissing, 1002),
        ("ping of 126 bytes", vec![0x89, 0xFE], ControlTooLong, 1002),
        ("close with a length of eight bytes", vec![0x88, 0xFF], ControlTooLong, 1002),
        (
            "highest bit of the length",
            [&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], &MASK[..]].concat(),
            LengthInvalid,
            1002,
        ),
        (
            "more than the limit, by the header alone",
            client_header(BINARY, oversized),
            MessageTooBig { len: oversized, limit: LIMITS.max_message },
            1009,
        ),
        (
            "far more than there is memory",
            client_header(TEXT, i64::MAX as u64),
            MessageTooBig { len: i64::MAX as u64, limit: LIMITS.max_message },
            1009,
        ),
        (
            "fragments that exceed the limit together",
            [client_frame(BINARY_BEGIN, &[0; 500]), client_header(LAST, oversized - 500)].concat(),
            MessageTooBig { len: oversized, limit: LIMITS.max_message },
            1009,
        ),
        // Fragmentation.
        ("continuation first", client_frame(LAST, b"x"), ContinuationUnexpected, 1002),
        (
            "continuation after a whole message",
            [client_frame(TEXT, b"x"), client_frame(MIDDLE, b"y")].concat(),
            ContinuationUnexpected,
            1002,
        ),
        (
            "text inside a fragmented message",
            [client_frame(TEXT_BEGIN, b"x"), client_frame(TEXT, b"y")].concat(),
            DataInsideMessage,
            1002,
        ),
        (
            "another beginning inside a fragmented message",
            [client_frame(TEXT_BEGIN, b""), client_frame(BINARY_BEGIN, b"")].concat(),
            DataInsideMessage,
            1002,
        ),
        // Close frames.
        ("close of one byte", client_frame(CLOSE, &[3]), CloseCodeTruncated, 1002),
        ("close 0", client_frame(CLOSE, &[0, 0]), CloseCodeForbidden { code: 0 }, 1002),
        ("close 999", client_frame(CLOSE, &999_u16.to_be_bytes()), CloseCodeForbidden { code: 999 }, 1002),
        ("close 1004", client_frame(CLOSE, &1004_u16.to_be_bytes()), CloseCodeForbidden { code: 1004 }, 1002),
        ("close 1005", client_frame(CLOSE, &1005_u16.to_be_bytes()), CloseCodeForbidden { code: 1005 }, 1002),
        ("close 1006", client_frame(CLOSE, &1006_u16.to_be_bytes()), CloseCodeForbidden { code: 1006 }, 1002),
        ("close 1015", client_frame(CLOSE, &1015_u16.to_be_bytes()), CloseCodeForbidden { code: 1015 }, 1002),
        ("close 2999", client_frame(CLOSE, &2999_u16.to_be_bytes()), CloseCodeForbidden { code: 2999 }, 1002),
        ("close 5000", client_frame(CLOSE, &5000_u16.to_be_bytes()), CloseCodeForbidden { code: 5000 }, 1002),
        ("close reason not UTF-8", client_frame(CLOSE, b"\x03\xE8\xFF"), Utf8Invalid, 1007),
        // Text.
        ("text not UTF-8", client_frame(TEXT, b"\xCE\xBA\xED\xA0\x80"), Utf8Invalid, 1007),
        ("text that ends inside a character", client_frame(TEXT, b"\xCE"), Utf8Invalid, 1007),
        (
            "text whose last fragment ends inside a character",
            [client_frame(TEXT_BEGIN, b"\xF4\x8F"), client_frame(LAST, b"\xBF")].concat(),
            Utf8Invalid,
            1007,
        ),
    ];
    for (name, bytes, violation, code) in cases {
        let (_, outcome) = feed(bytes);
        assert_eq!(outcome, Err(*violation), "{name}");
        assert_eq!(violation.close_code(), *code, "{name}");

        let (_, drip) = feed_all(Reader::new(false), &LIMITS, bytes.chunks(1));
        assert_eq!(drip, Err(*violation), "{name}, byte by byte");
    }
}

#[test]
fn what_came_before_a_violation_is_delivered() {
    let (messages, outcome) = feed(&[client_frame(TEXT, b"fine"), vec![0x83]].concat());
    assert_eq!(messages, [Owned::Text("fine".into())]);
    assert!(outcome.is_err());
}

#[test]
fn nothing_is_read_after_a_violation() {
    let mut reader = Reader::new(false);
    let mut count = 0;
    let mut on = |_: Message<'_>| {
        count += 1;
        ControlFlow::Continue(())
    };
    assert!(reader.feed(&LIMITS, &mut [0x83, 0x80], &mut on).is_err());
    assert_eq!(reader.feed(&LIMITS, &mut client_frame(TEXT, b"late"), &mut on), Ok(()));
    assert_eq!(count, 0);
}

#[test]
fn nothing_is_read_after_a_close_frame() {
    let stream = [client_frame(CLOSE, b""), vec![0x83, 0x12], client_frame(TEXT, b"late")].concat();
    assert_eq!(feed(&stream), (vec![Owned::Close(None, String::new())], Ok(())));
}

#[test]
fn break_drops_the_rest() {
    let mut reader = Reader::new(false);
    let mut count = 0;
    let stream = [client_frame(TEXT, b"a"), client_frame(TEXT, b"b"), client_header(TEXT, 9)].concat();
    for _ in 0..2 {
        let outcome = reader.feed(&LIMITS, &mut stream.clone(), &mut |_| {
            count += 1;
            ControlFlow::Break(())
        });
        assert_eq!(outcome, Ok(()));
    }
    assert_eq!(count, 1);
    assert_eq!(reader.held(), 0);
}

#[test]
fn too_many_fragments_close_with_1008() {
    let begin = client_frame(TEXT_BEGIN, b"");
    let middle = client_frame(MIDDLE, b"");
    let most = super::super::reader::MAX_FRAGMENTS as usize;

    let stream = [begin.clone(), middle.repeat(most - 2), client_frame(LAST, b"")].concat();
    assert_eq!(feed(&stream), (vec![Owned::Text(String::new())], Ok(())));

    let stream = [begin, middle.repeat(most)].concat();
    assert_eq!(feed(&stream).1, Err(Violation::FragmentsExceeded));
    assert_eq!(Violation::FragmentsExceeded.close_code(), 1008);
}
