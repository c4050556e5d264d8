//! Text as the Autobahn suite tests it (its section 6): valid and invalid UTF-8, whole, in fragments and in
//! pieces, and how early a fault is noticed.

use super::*;

/// Feeds bytes one at a time and returns how many were taken before the violation.
fn fails_after(stream: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(false);
    stream
        .iter()
        .position(|byte| reader.feed(&LIMITS, &mut [*byte], &mut |_| ControlFlow::Continue(())).is_err())
}

const VALID: &[&[u8]] = &[
    b"",
    b"Hello-\xC2\xB5@\xC3\x9F\xC3\xB6\xC3\xA4\xC3\xBC\xC3\xA0\xC3\xA1-UTF-8!!",
    b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5",
    // First and last of each length.
    b"\x00",
    b"\x7F",
    b"\xC2\x80",
    b"\xDF\xBF",
    b"\xE0\xA0\x80",
    b"\xEF\xBF\xBF",
    b"\xF0\x90\x80\x80",
    b"\xF4\x8F\xBF\xBF",
    // Either side of the surrogates, the replacement character, non-characters.
    b"\xED\x9F\xBF",
    b"\xEE\x80\x80",
    b"\xEF\xBF\xBD",
    b"\xEF\xBF\xBE",
    b"\xF0\x9F\xBF\xBE",
];

/// Invalid text, and the index of the first byte after which nothing can make it valid. A length beyond the
/// end means that only the end of the message shows the fault.
const INVALID: &[(&[u8], usize)] = &[
    (b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xED\xA0\x80edited", 12),
    (b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5\xF4\x90\x80\x80edited", 12),
    // Past the last code point, and forms of five and six bytes.
    (b"\xF4\x90\x80\x80", 1),
    (b"\xF8\x88\x80\x80\x80", 0),
    (b"\xFC\x84\x80\x80\x80\x80", 0),
    (b"\xF7\xBF\xBF\xBF", 0),
    // Continuation bytes on their own.
    (b"\x80", 0),
    (b"\xBF", 0),
    (b"ab\x80\xBF", 2),
    // Bytes that never occur.
    (b"\xFE", 0),
    (b"\xFF", 0),
    // First bytes followed by something else.
    (b"\xC3 ", 1),
    (b"\xE1\x80 ", 2),
    (b"\xF1\x80\x80 ", 3),
    // Overlong forms.
    (b"\xC0\xAF", 0),
    (b"\xC1\xBF", 0),
    (b"\xE0\x80\xAF", 1),
    (b"\xE0\x9F\xBF", 1),
    (b"\xF0\x80\x80\xAF", 1),
    (b"\xF0\x8F\xBF\xBF", 1),
    // Surrogates, alone and in pairs.
    (b"\xED\xA0\x80", 1),
    (b"\xED\xBF\xBF", 1),
    (b"\xED\xA0\x80\xED\xB0\x80", 1),
    // Cut off.
    (b"\xC3", 1),
    (b"\xE1\x80", 2),
    (b"\xF1\x80\x80", 3),
    (b"\xCE\xBA\xE1\xBD", 4),
];

#[test]
fn valid_text_is_taken_however_it_is_fragmented() {
    for text in VALID {
        let expected = (vec![Owned::Text(String::from_utf8(text.to_vec()).unwrap())], Ok(()));
        assert_eq!(feed(&client_frame(TEXT, text)), expected);

        let mut single = client_frame(TEXT_BEGIN, b"");
        for byte in *text {
            single.extend(client_frame(MIDDLE, &[*byte]));
        }
        single.extend(client_frame(LAST, b""));
        assert_eq!(feed(&single), expected);
        assert_eq!(feed_all(Reader::new(false), &LIMITS, single.chunks(1)), expected);
    }
}

#[test]
fn invalid_text_is_refused_however_it_is_fragmented() {
    for (text, _) in INVALID {
        let refused = (vec![], Err(Violation::Utf8Invalid));
        assert_eq!(feed(&client_frame(TEXT, text)), refused);
        for cut in 0..=text.len() {
            let stream = [client_frame(TEXT_BEGIN, &text[..cut]), client_frame(LAST, &text[cut..])].concat();
            assert_eq!(feed(&stream), refused, "{text:02X?} cut at {cut}");
        }
    }
}

#[test]
fn a_fault_is_noticed_at_its_first_byte_inside_one_frame() {
    for (text, at) in INVALID {
        // More is announced than is sent, so that the end of the frame cannot be what is noticed.
        let mut stream = client_header(TEXT, 100);
        let header = stream.len();
        stream.extend(text.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        let expected = (*at < text.len()).then_some(header + at);
        assert_eq!(fails_after(&stream), expected, "{text:02X?}");
    }
}

#[test]
fn a_fault_is_noticed_at_the_fragment_that_holds_it() {
    for (text, at) in INVALID {
        let fragments: Vec<Vec<u8>> = text
            .iter()
            .enumerate()
            .map(|(index, byte)| client_frame(if index == 0 { TEXT_BEGIN } else { MIDDLE }, &[*byte]))
            .collect();
        let mut reader = Reader::new(false);
        let noticed = fragments.into_iter().position(|mut frame| {
            reader.feed(&LIMITS, &mut frame, &mut |_| ControlFlow::Continue(())).is_err()
        });
        assert_eq!(noticed, (*at < text.len()).then_some(*at), "{text:02X?}");
    }
}

#[test]
fn text_is_judged_across_a_control_frame() {
    let stream =
        [client_frame(TEXT_BEGIN, b"\xF0\x9F"), client_frame(PING, b"\xFF"), client_frame(LAST, b"\x98\x80")]
            .concat();
    let expected = vec![Owned::Ping(vec![0xFF]), Owned::Text("😀".into())];
    assert_eq!(feed(&stream), (expected, Ok(())));
}

#[test]
fn binary_is_not_judged() {
    for (bytes, _) in INVALID {
        assert_eq!(feed(&client_frame(BINARY, bytes)), (vec![Owned::Binary(bytes.to_vec())], Ok(())));
    }
}
