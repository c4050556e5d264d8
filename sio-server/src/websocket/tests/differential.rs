//! The same streams to our reader and to tungstenite: the same messages, or refused by both.

use super::*;
use crate::websocket::fuzzing;

/// Small, so that the limit is met often.
const MAX_MESSAGE: usize = 700;

/// Numbers that look random and are the same in every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn text(&mut self) -> Vec<u8> {
        let most = [8, 60, 200][self.below(3)];
        (0..self.below(most)).map(|_| ['a', 'é', '€', '😀'][self.below(4)]).collect::<String>().into_bytes()
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.below(256) as u8).collect()
    }

    fn control(&mut self) -> Vec<u8> {
        match self.below(20) {
            0 => client_frame(CLOSE, b""),
            1 => {
                let code = self.below(5100) as u16;
                client_frame(CLOSE, &[&code.to_be_bytes(), &self.bytes(3)[..]].concat())
            }
            2..10 => client_frame(PONG, &self.bytes(126)),
            _ => client_frame(PING, &self.bytes(126)),
        }
    }

    /// A message in one to five frames, with control frames in between.
    fn message(&mut self) -> Vec<u8> {
        let text = self.one_in(2);
        let payload = if text { self.text() } else { self.bytes(400) };
        let opcode = if text { TEXT_BEGIN } else { BINARY_BEGIN };
        let mut cuts: Vec<usize> = (0..self.below(5)).map(|_| self.below(payload.len() + 1)).collect();
        cuts.push(payload.len());
        cuts.sort_unstable();

        let mut stream = Vec::new();
        let mut from = 0;
        for (index, to) in cuts.iter().enumerate() {
            let fin = if index + 1 == cuts.len() { 0x80 } else { 0 };
            let opcode = if index == 0 { opcode } else { MIDDLE };
            stream.extend(client_frame(fin | opcode, &payload[from..*to]));
            from = *to;
            if self.one_in(4) {
                stream.extend(self.control());
            }
        }
        stream
    }

    fn stream(&mut self) -> Vec<u8> {
        let mut stream: Vec<u8> = (0..=self.below(6)).flat_map(|_| self.message()).collect();
        for _ in 0..self.below(3) {
            let at = self.below(stream.len());
            match self.below(3) {
                0 => stream[at] ^= 1 << self.below(8),
                1 => stream.truncate(at + 1),
                _ => {
                    stream.remove(at);
                    stream.push(0);
                }
            }
        }
        stream
    }
}

#[test]
fn tungstenite_agrees_on_thousands_of_streams() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let (mut whole, mut refused) = (0, 0);
    for round in 0..3_000 {
        let stream = numbers.stream();
        let ours = fuzzing::read(MAX_MESSAGE, false, [&stream[..]]);
        peer::compare(&stream, MAX_MESSAGE, &ours)
            .unwrap_or_else(|difference| panic!("{round}: {difference}"));

        let size = 1 + numbers.below(40);
        assert_eq!(fuzzing::read(MAX_MESSAGE, false, stream.chunks(size)), ours, "{round}: pieces of {size}");
        *if ours.1.is_some() { &mut refused } else { &mut whole } += 1;
    }
    // The generator is only worth something while both happen often.
    assert!(whole > 800 && refused > 800, "{whole} streams read, {refused} refused");
}

#[test]
fn tungstenite_gives_the_same_close_codes() {
    let oversized = [0; MAX_MESSAGE + 1];
    for (stream, code) in [
        (client_frame(0x83, b""), 1002),
        (client_frame(0xC1, b""), 1002),
        (client_frame(0x09, b""), 1002),
        (client_frame(LAST, b""), 1002),
        (client_frame(CLOSE, b"\x03"), 1002),
        (client_frame(CLOSE, b"\x03\xED"), 1002),
        (client_frame(TEXT, b"\xFF"), 1007),
        (client_frame(CLOSE, b"\x03\xE8\xFF"), 1007),
        (client_frame(BINARY, &oversized), 1009),
        ([client_frame(BINARY_BEGIN, &oversized[1..]), client_frame(LAST, b"1")].concat(), 1009),
    ] {
        assert_eq!(fuzzing::read(MAX_MESSAGE, false, [&stream[..]]), (vec![], Some(code)), "{stream:02X?}");
        assert_eq!(peer::read(&stream, MAX_MESSAGE), (vec![], Some(code)), "{stream:02X?}");
    }
}
