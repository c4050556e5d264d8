//! The bytes a benchmark client speaks: HTTP requests, WebSocket frames and the few Socket.IO messages of the
//! server contract.
//!
//! Pure. Frames towards the server are masked with a fixed key and built once; of frames from the server only
//! the header is read, so that counting three million messages a second costs a small part of one core.
//! Specs: RFC 6455 section 5.2, Engine.IO protocol v4, Socket.IO protocol v5.

use std::ops::Range;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The key every client frame is masked with. A constant is as costly for the server as a random one.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x9e];

/// The longest header of a frame that is not masked.
const HEADER_MAX: usize = 10;

/// Builds a frame as a client sends it.
pub(crate) fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), 0x80);
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Builds a frame as a server sends it.
pub(crate) fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = header(opcode, payload.len(), 0);
    frame.extend(payload);
    frame
}

fn header(opcode: u8, length: usize, mask_bit: u8) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(length) {
        Ok(short @ 0..=125) => frame.push(mask_bit | short as u8),
        Ok(middle) => {
            frame.push(mask_bit | 126);
            frame.extend(middle.to_be_bytes());
        }
        Err(_) => {
            frame.push(mask_bit | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame
}

/// What the header of a frame says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Header {
    pub(crate) last: bool,
    pub(crate) opcode: u8,
    /// The length of the header itself, masking key included.
    pub(crate) length: usize,
    pub(crate) payload: u64,
    masked: bool,
}

impl Header {
    /// Reads a header at the start of `bytes`; nothing while it is incomplete.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let [first, second, rest @ ..] = bytes else { return None };
        let masked = second & 0x80 != 0;
        let (extended, payload) = match second & 0x7f {
            126 => (2, u64::from(u16::from_be_bytes(*rest.first_chunk()?))),
            127 => (8, u64::from_be_bytes(*rest.first_chunk()?)),
            short => (0, u64::from(short)),
        };
        let length = 2 + extended + if masked { 4 } else { 0 };
        Some(Self { last: first & 0x80 != 0, opcode: first & 0x0f, length, payload, masked })
    }

    /// The length of the whole frame.
    pub(crate) fn frame(&self) -> usize {
        self.length + usize::try_from(self.payload).unwrap_or(usize::MAX / 2)
    }

    /// The payload of a frame that lies complete at the start of `bytes`, unmasked.
    pub(crate) fn unmask(&self, bytes: &[u8]) -> Vec<u8> {
        let payload = &bytes[self.length..self.frame()];
        if self.masked {
            let key = &bytes[self.length - 4..self.length];
            payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect()
        } else {
            payload.to_vec()
        }
    }
}

/// Counts messages in a stream of server frames, looking at headers alone.
#[derive(Debug, Default)]
pub(crate) struct FrameCounter {
    /// A header cut off by the end of a read.
    partial: [u8; HEADER_MAX],
    partial_length: usize,
    /// What is still to come of the payload of the current frame.
    remaining: u64,
    /// The opcode of the current message, which its continuation frames do not repeat.
    kind: u8,
    counts: bool,
}

/// What one read brought.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counted {
    /// Complete messages of the kind asked for.
    pub(crate) messages: usize,
    /// Engine.IO and WebSocket pings, both of which want an answer.
    pub(crate) pings: usize,
    pub(crate) closed: bool,
}

impl FrameCounter {
    /// Takes the bytes of one read and counts the messages of kind `wanted` (`TEXT` or `BINARY`) that end in it.
    pub(crate) fn count(&mut self, mut bytes: &[u8], wanted: u8) -> Counted {
        let mut counted = Counted::default();
        while !bytes.is_empty() {
            if self.remaining > 0 {
                let skip = self.remaining.min(bytes.len() as u64);
                self.remaining -= skip;
                bytes = &bytes[skip as usize..];
                counted.messages += usize::from(self.remaining == 0 && self.counts);
                continue;
            }
            if self.partial_length > 0 {
                self.partial[self.partial_length] = bytes[0];
                self.partial_length += 1;
                bytes = &bytes[1..];
                if let Some(header) = Header::parse(&self.partial[..self.partial_length]) {
                    self.partial_length = 0;
                    self.begin(header, wanted, &mut counted);
                }
                continue;
            }
            if let Some(header) = Header::parse(bytes) {
                bytes = &bytes[header.length..];
                self.begin(header, wanted, &mut counted);
            } else {
                self.partial[..bytes.len()].copy_from_slice(bytes);
                self.partial_length = bytes.len();
                return counted;
            }
        }
        counted
    }

    fn begin(&mut self, header: Header, wanted: u8, counted: &mut Counted) {
        self.remaining = header.payload;
        self.counts = false;
        match header.opcode {
            CLOSE => counted.closed = true,
            PING => counted.pings += 1,
            PONG => {}
            // One byte of text is an Engine.IO ping: every Socket.IO message has at least two.
            TEXT if header.payload == 1 => counted.pings += 1,
            opcode => {
                if opcode != 0 {
                    self.kind = opcode;
                }
                self.counts = header.last && self.kind == wanted;
                counted.messages += usize::from(self.counts && header.payload == 0);
            }
        }
    }
}

/// A request that asks for a WebSocket at `target`.
pub(crate) fn upgrade_request(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// A long-polling GET.
pub(crate) fn get_request(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// A long-polling POST.
pub(crate) fn post_request(target: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain;charset=UTF-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A complete HTTP response at the start of a buffer.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// How many bytes of the buffer the response took.
    pub(crate) length: usize,
}

impl Response {
    /// Reads a response; `Ok(None)` while it is incomplete.
    ///
    /// # Errors
    ///
    /// If the bytes are no HTTP response.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes[..head]);
        let mut lines = text.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .ok_or(format!("no status in {line:?}"))?;
        let mut expected = 0;
        let mut chunked = false;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                expected = value.trim().parse().map_err(|_| format!("content length {value:?}"))?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        let start = head + 4;
        if chunked {
            return Self::parse_chunks(bytes, start, status);
        }
        let Some(body) = bytes.get(start..start + expected) else { return Ok(None) };
        Ok(Some(Self { status, body: body.to_vec(), length: start + expected }))
    }

    fn parse_chunks(bytes: &[u8], mut at: usize, status: u16) -> Result<Option<Self>, String> {
        let mut body = Vec::new();
        loop {
            let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
            let digits = String::from_utf8_lossy(&bytes[at..at + end]);
            let size =
                usize::from_str_radix(digits.trim(), 16).map_err(|_| format!("chunk size {digits:?}"))?;
            at += end + 2;
            let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
            body.extend(&chunk[..size]);
            at += size + 2;
            if size == 0 {
                return Ok(Some(Self { status, body, length: at }));
            }
        }
    }
}

/// The session id in an Engine.IO open packet.
pub(crate) fn session_id(open: &str) -> Option<&str> {
    let range = session_id_range(open)?;
    open.get(range)
}

fn session_id_range(open: &str) -> Option<Range<usize>> {
    const KEY: &str = "\"sid\":\"";
    let start = open.find(KEY)? + KEY.len();
    Some(start..start + open[start..].find('"')?)
}

/// Where `needle` first occurs.
pub(crate) fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_length_follows_payload_length() {
        for (payload, length) in [(0, 6), (125, 6), (126, 8), (65_535, 8), (65_536, 14)] {
            let frame = client_frame(TEXT, &vec![b'x'; payload]);
            let header = Header::parse(&frame).unwrap();
            assert_eq!((header.length, header.payload as usize), (length, payload));
            assert_eq!(header.unmask(&frame), vec![b'x'; payload]);
        }
    }

    #[test]
    fn messages_are_counted_wherever_a_read_cuts_them() {
        let mut stream = Vec::new();
        for length in [2, 64, 126, 300, 70_000] {
            stream.extend(server_frame(TEXT, &vec![b'x'; length]));
        }
        for step in [1, 2, 3, 7, 1_000, stream.len()] {
            let mut counter = FrameCounter::default();
            let total: usize = stream.chunks(step).map(|chunk| counter.count(chunk, TEXT).messages).sum();
            assert_eq!(total, 5, "reads of {step} bytes");
        }
    }

    #[test]
    fn only_the_wanted_kind_is_counted() {
        let mut stream = server_frame(TEXT, b"451-[]");
        stream.extend(server_frame(BINARY, &[0; 10]));
        assert_eq!(FrameCounter::default().count(&stream, BINARY).messages, 1);
    }

    #[test]
    fn pings_and_closes_are_no_messages() {
        let mut stream = server_frame(TEXT, b"2");
        stream.extend(server_frame(PING, b"abc"));
        stream.extend(server_frame(CLOSE, &[3, 232]));
        let counted = FrameCounter::default().count(&stream, TEXT);
        assert_eq!(counted, Counted { messages: 0, pings: 2, closed: true });
    }

    #[test]
    fn fragments_are_one_message() {
        let mut stream = server_frame(TEXT, b"ab");
        stream[0] = TEXT;
        stream.extend(server_frame(0, b"cd"));
        assert_eq!(FrameCounter::default().count(&stream, TEXT).messages, 1);
    }

    #[test]
    fn chunked_and_plain_bodies_are_read() {
        let plain = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!";
        let response = Response::parse(plain).unwrap().unwrap();
        assert_eq!(
            (response.status, response.body.as_slice(), response.length),
            (200, &b"ok"[..], plain.len() - 1)
        );
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
        assert_eq!(Response::parse(chunked).unwrap().unwrap().body, b"ok");
        assert_eq!(Response::parse(&chunked[..chunked.len() - 1]), Ok(None));
    }

    #[test]
    fn session_id_is_found_in_the_open_packet() {
        assert_eq!(session_id(r#"0{"sid":"abc","upgrades":[]}"#), Some("abc"));
        assert_eq!(session_id("0{}"), None);
    }
}
