//! However the network cuts a stream, the messages are the same.

use super::*;

/// One of everything, with control frames where they are awkward.
fn sample() -> Vec<u8> {
    [
        client_frame(TEXT, b"2probe"),
        client_frame(TEXT, b""),
        client_frame(BINARY, &[0xFF; 130]),
        client_frame(TEXT_BEGIN, "κόσμε".as_bytes().split_at(3).0),
        client_frame(PING, b"in between"),
        client_frame(MIDDLE, b""),
        client_frame(MIDDLE, &"κόσμε".as_bytes()[3..6]),
        client_frame(PONG, b""),
        client_frame(LAST, &"κόσμε".as_bytes()[6..]),
        client_frame(PING, &[b'p'; 125]),
        client_frame(BINARY_BEGIN, b""),
        client_frame(LAST, b""),
        client_frame(CLOSE, b"\x0F\xA0gone"),
    ]
    .concat()
}

fn expected() -> Vec<Owned> {
    vec![
        Owned::Text("2probe".into()),
        Owned::Text(String::new()),
        Owned::Binary(vec![0xFF; 130]),
        Owned::Ping(b"in between".to_vec()),
        Owned::Pong(Vec::new()),
        Owned::Text("κόσμε".into()),
        Owned::Ping(vec![b'p'; 125]),
        Owned::Binary(Vec::new()),
        Owned::Close(Some(4000), "gone".into()),
    ]
}

#[test]
fn a_stream_in_one_piece_gives_its_messages() {
    assert_eq!(feed(&sample()), (expected(), Ok(())));
}

#[test]
fn every_size_of_piece_gives_the_same_messages() {
    let stream = sample();
    for size in 1..=stream.len() {
        let outcome = feed_all(Reader::new(false), &LIMITS, stream.chunks(size));
        assert_eq!(outcome, (expected(), Ok(())), "pieces of {size}");
    }
}

#[test]
fn every_cut_into_three_gives_the_same_messages() {
    let stream = sample();
    for first in 0..=stream.len() {
        for second in first..=stream.len() {
            let pieces = [&stream[..first], &stream[first..second], &stream[second..]];
            let outcome = feed_all(Reader::new(false), &LIMITS, pieces);
            assert_eq!(outcome, (expected(), Ok(())), "cut at {first} and {second}");
        }
    }
}

#[test]
fn a_long_message_in_pieces_is_whole() {
    let payload: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let stream = [client_frame(BINARY, &payload), client_frame(TEXT, b"next")].concat();
    for size in [1, 7, 1_000, 65_536] {
        let (messages, outcome) = feed_all(Reader::new(false), &LIMITS, stream.chunks(size));
        assert_eq!(outcome, Ok(()));
        assert_eq!(messages.len(), 2, "pieces of {size}");
        assert_eq!(messages[0], Owned::Binary(payload.clone()));
    }
}

#[test]
fn a_length_in_more_bytes_than_needed_is_taken() {
    let mut long = vec![TEXT, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 2];
    long.extend(MASK);
    long.extend([b'h' ^ MASK[0], b'i' ^ MASK[1]]);
    assert_eq!(feed(&long), (vec![Owned::Text("hi".into())], Ok(())));
}

#[test]
fn a_message_of_exactly_the_limit_is_taken() {
    let limits = ReadLimits { max_message: 10 };
    let stream =
        [client_frame(BINARY, &[1; 10]), client_frame(BINARY_BEGIN, &[2; 4]), client_frame(LAST, &[2; 6])];
    let (messages, outcome) = feed_all(Reader::new(false), &limits, [&stream.concat()[..]]);
    assert_eq!(outcome, Ok(()));
    assert_eq!(messages, [Owned::Binary(vec![1; 10]), Owned::Binary(vec![2; 10])]);
}
