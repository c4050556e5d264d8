//! What a client can make a connection hold, and that all of it is given back.

use super::*;

/// Feeds pieces and returns the most that was held after any of them.
fn most_held(reader: &mut Reader, pieces: impl IntoIterator<Item = Vec<u8>>) -> usize {
    let mut most = 0;
    for mut piece in pieces {
        reader.feed(&LIMITS, &mut piece, &mut |_| ControlFlow::Continue(())).unwrap();
        most = most.max(reader.held());
    }
    most
}

#[test]
fn an_idle_reader_is_16_bytes_and_holds_nothing() {
    assert_eq!(size_of::<Reader>(), 16);
    let mut reader = Reader::new(false);
    let stream = [client_frame(TEXT, b"hello"), client_frame(PING, b"x")].concat();
    assert_eq!(most_held(&mut reader, [stream]), 0);
}

#[test]
fn a_declared_length_reserves_nothing() {
    let mut reader = Reader::new(false);
    let header = [client_header(BINARY, 900_000), vec![0; 8]].concat();
    let held = most_held(&mut reader, [header]);
    assert!(held < 300, "{held} bytes");
}

#[test]
fn a_slow_drip_never_holds_more_than_twice_what_came() {
    let mut reader = Reader::new(false);
    most_held(&mut reader, [client_header(BINARY, 1_000_000)]);
    let idle = reader.held();
    for received in (100..=999_900).step_by(100) {
        let held = most_held(&mut reader, [vec![0; 100]]);
        assert!(held - idle <= 2 * received + 100, "{held} bytes after {received}");
        assert!(held - idle <= 1_000_000, "{held} bytes after {received}");
    }
}

#[test]
fn a_large_message_is_given_back_at_once() {
    for stream in [
        client_frame(BINARY, &[7; 1_000_000]),
        [client_frame(BINARY_BEGIN, &[7; 600_000]), client_frame(LAST, &[7; 400_000])].concat(),
    ] {
        let mut reader = Reader::new(false);
        let most = most_held(&mut reader, stream.chunks(65_536).map(<[u8]>::to_vec));
        assert!((900_000..1_001_000).contains(&most), "{most} bytes");
        assert_eq!(reader.held(), 0);
    }
}

#[test]
fn a_flood_of_fragments_holds_no_more_than_their_bytes() {
    let mut reader = Reader::new(false);
    most_held(&mut reader, [client_frame(BINARY_BEGIN, b"")]);
    let idle = reader.held();
    let empty = most_held(&mut reader, vec![client_frame(MIDDLE, b""); 50_000]);
    assert_eq!(empty, idle);
    let small = most_held(&mut reader, vec![client_frame(MIDDLE, b"x"); 50_000]);
    assert!(small - idle <= 100_000, "{small} bytes");
}

#[test]
fn a_control_frame_in_pieces_is_given_back() {
    let mut reader = Reader::new(false);
    let ping = client_frame(PING, &[1; 125]);
    let most = most_held(&mut reader, ping[..ping.len() - 1].chunks(1).map(<[u8]>::to_vec));
    assert!(most < 400, "{most} bytes");
    most_held(&mut reader, [ping[ping.len() - 1..].to_vec()]);
    assert_eq!(reader.held(), 0);
}

#[test]
fn a_violation_gives_everything_back() {
    let mut reader = Reader::new(false);
    most_held(&mut reader, [client_frame(BINARY_BEGIN, &[0; 5_000])]);
    assert!(reader.held() > 5_000);
    assert!(reader.feed(&LIMITS, &mut [0x83], &mut |_| ControlFlow::Continue(())).is_err());
    assert_eq!(reader.held(), 0);
}
