//! permessage-deflate: compressed messages, for those who ask for it.
//!
//! Off unless the server's options turn it on. Both sides are made to forget everything between messages
//! (`no_context_takeover`): a connection then owns no compressor (380 kB) and no decompressor (48 kB), there
//! is one of each per thread, made on first use, and one compressed frame serves every recipient of a
//! broadcast. Pure but for that thread-local memory. Spec: RFC 7692.

use std::cell::Cell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};

use super::{Opcode, Violation, write::frame_header};

/// Whether and how WebSocket messages are compressed (Node's `perMessageDeflate`).
///
/// Off by default, as in Node: compression costs the server more time than sending the bytes does, and most
/// messages are too short to gain from it. Where bandwidth is what is scarce, turn it on with
/// [`PerMessageDeflate::new`]. Memory: 0.4 MB for each thread that compresses, nothing per connection.
#[derive(Clone, Debug)]
pub struct PerMessageDeflate {
    threshold: usize,
    level: u32,
}

impl PerMessageDeflate {
    /// Compresses messages of 1024 bytes and more at level 1.
    pub fn new() -> Self {
        Self { threshold: DEFAULT_THRESHOLD, level: DEFAULT_LEVEL }
    }

    /// Sets the length in bytes from which a message is compressed. Default: 1024.
    ///
    /// Below a few hundred bytes the result is hardly ever shorter.
    #[must_use]
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// Sets the effort, from 1 (fastest) to 9 (smallest); values outside are taken as the nearest inside.
    /// Default: 1.
    ///
    /// Level 6 takes three to eight times as long as level 1 to make a message a quarter smaller.
    #[must_use]
    pub fn level(mut self, level: u32) -> Self {
        self.level = level.clamp(1, 9);
        self
    }

    /// Least bytes of a message that is compressed.
    pub(crate) fn min_len(&self) -> usize {
        self.threshold
    }

    /// Compresses the payload of one message; `None` when it is below the threshold or would not shrink.
    ///
    /// The result goes into one frame with RSV1 and suits every connection that negotiated the extension.
    #[cfg(test)]
    pub(crate) fn compress(&self, payload: &[u8]) -> Option<Vec<u8>> {
        self.with_compressed(payload, <[u8]>::to_vec)
    }

    /// Like [`Self::compress`], but makes the finished frame.
    pub(crate) fn compress_frame(&self, opcode: Opcode, payload: &[u8]) -> Option<Vec<u8>> {
        self.with_compressed(payload, |compressed| {
            let (header, size) = frame_header(opcode, compressed.len(), true);
            let mut frame = Vec::with_capacity(size + compressed.len());
            frame.extend_from_slice(&header[..size]);
            frame.extend_from_slice(compressed);
            frame
        })
    }

    fn with_compressed<T>(&self, payload: &[u8], then: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if payload.len() < self.threshold {
            return None;
        }
        // Taken out rather than borrowed: no nested call could ever find it in use.
        let mut deflater = match DEFLATER.take() {
            Some(deflater) if deflater.level == self.level => deflater,
            _ => Box::new(Deflater {
                level: self.level,
                inner: Compress::new(Compression::new(self.level), false),
            }),
        };
        // What does not fit in here is no gain.
        let mut out = Vec::with_capacity(payload.len() + TRAILER.len());
        let outcome = deflater.inner.compress_vec(payload, &mut out, FlushCompress::Sync);
        let whole = deflater.inner.total_in() == payload.len() as u64;
        deflater.inner.reset();
        DEFLATER.set(Some(deflater));

        // With the flush complete there is room left and the output ends in the trailer that is implied.
        let compressed = out.strip_suffix(TRAILER.as_slice())?;
        let complete = whole && out.len() < out.capacity() && matches!(outcome, Ok(Status::Ok));
        (complete && compressed.len() < payload.len()).then(|| then(compressed))
    }
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers the extensions a client offers; `None` when none of the offers is one this server can take.
///
/// The answer goes into `Sec-WebSocket-Extensions`, and the connection's reader must be made for deflate.
pub(crate) fn negotiate(headers: &HeaderMap) -> Option<HeaderValue> {
    headers
        .get_all(SEC_WEBSOCKET_EXTENSIONS)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(answer_offer)
        .map(HeaderValue::from_static)
}

/// Answers one offer. An offer with a parameter that is unknown, repeated, or has a wrong value must be
/// declined, and so must a window smaller than the one shared frames are compressed with.
fn answer_offer(offer: &str) -> Option<&'static str> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
        return None;
    }
    let mut seen: Vec<&str> = Vec::new();
    for part in parts {
        let (name, value) = match part.split_once('=') {
            Some((name, value)) => (name.trim_end(), Some(value.trim_start().trim_matches('"'))),
            None => (part, None),
        };
        let acceptable = match name {
            SERVER_NO_CONTEXT_TAKEOVER | CLIENT_NO_CONTEXT_TAKEOVER => value.is_none(),
            SERVER_MAX_WINDOW_BITS => value == Some("15"),
            // Without a value the client only says that it could be limited.
            CLIENT_MAX_WINDOW_BITS => value.is_none_or(is_window_bits),
            _ => false,
        };
        if !acceptable || seen.contains(&name) {
            return None;
        }
        seen.push(name);
    }
    Some(if seen.contains(&SERVER_MAX_WINDOW_BITS) { ANSWER_WITH_WINDOW } else { ANSWER })
}

fn is_window_bits(bits: &str) -> bool {
    matches!(bits, "8" | "9" | "10" | "11" | "12" | "13" | "14" | "15")
}

/// Inflates one message of at most `limit` bytes. Stops at the limit, not after it.
pub(super) fn inflate(payload: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    let mut inflater = INFLATER.take().unwrap_or_else(|| Box::new(Decompress::new(false)));
    let outcome = inflate_with(&mut inflater, payload, limit);
    inflater.reset(false);
    INFLATER.set(Some(inflater));
    outcome
}

fn inflate_with(inflater: &mut Decompress, payload: &[u8], limit: usize) -> Result<Vec<u8>, Violation> {
    let mut plain = Vec::new();
    for mut input in [payload, &TRAILER] {
        loop {
            if plain.len() == plain.capacity() {
                let step = plain.len().max(payload.len()).max(MIN_STEP);
                // One byte past the limit is room enough to see it exceeded.
                let room = limit.saturating_sub(plain.len()).saturating_add(1);
                plain.reserve_exact(step.min(room));
            }
            let before = inflater.total_in();
            let status = inflater
                .decompress_vec(input, &mut plain, FlushDecompress::Sync)
                .map_err(|_| Violation::DeflateInvalid)?;
            if plain.len() > limit {
                return Err(Violation::MessageTooBig { len: plain.len() as u64, limit });
            }
            let taken = (inflater.total_in() - before) as usize;
            input = &input[taken..];
            if status == Status::StreamEnd {
                // A client may end a message with a final block; the one byte after it would begin the empty
                // block that the trailer completes. More than one such block is allowed, but nobody sends
                // it, and starting over for every two bytes would cost us more than it costs the sender.
                return if matches!(input, [] | [0]) { Ok(plain) } else { Err(Violation::DeflateInvalid) };
            } else if plain.len() < plain.capacity() {
                // All that could be written has been.
                if input.is_empty() {
                    break;
                }
                if taken == 0 {
                    return Err(Violation::DeflateInvalid);
                }
            }
        }
    }
    Ok(plain)
}

#[derive(Debug)]
struct Deflater {
    level: u32,
    inner: Compress,
}

thread_local! {
    static DEFLATER: Cell<Option<Box<Deflater>>> = const { Cell::new(None) };
    static INFLATER: Cell<Option<Box<Decompress>>> = const { Cell::new(None) };
}

/// The end of every flushed DEFLATE block, which is not sent (RFC 7692, section 7.2.1).
const TRAILER: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// Node's default: shorter messages hardly shrink, and a packet of this length fits into one segment anyway.
const DEFAULT_THRESHOLD: usize = 1024;

/// Measured with JSON of 1 kB: level 1 takes 4 us and leaves 343 bytes, level 6 takes 13 us and leaves 248.
const DEFAULT_LEVEL: u32 = 1;

/// Least growth of an inflated message.
const MIN_STEP: usize = 1024;

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// An offer that names the server's window must be answered with one.
const ANSWER_WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offer: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(offer));
        negotiate(&headers).map(|answer| answer.to_str().unwrap().to_owned())
    }

    #[test]
    fn both_sides_are_made_to_forget() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=10; server_no_context_takeover",
            "x-webkit-deflate-frame, Permessage-Deflate ; client_no_context_takeover",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            assert_eq!(answer(offer).as_deref(), Some(ANSWER), "{offer}");
        }
        assert_eq!(
            answer("permessage-deflate; server_max_window_bits=\"15\"").as_deref(),
            Some(ANSWER_WITH_WINDOW)
        );
    }

    #[test]
    fn an_offer_that_cannot_be_kept_is_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_no_context_takeover=1",
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
            "permessage-deflate; unknown",
        ] {
            assert_eq!(answer(offer), None, "{offer}");
        }
    }

    #[test]
    fn every_offer_of_every_header_is_considered() {
        let mut headers = HeaderMap::new();
        headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("foo; bar=1"));
        headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        assert!(negotiate(&headers).is_some());
        assert!(negotiate(&HeaderMap::new()).is_none());
    }

    #[test]
    fn what_is_compressed_inflates_to_the_same() {
        let json = br#"{"id":1,"name":"a name","tags":["x","y"]},"#.repeat(40);
        for level in [1, 6, 9] {
            let deflate = PerMessageDeflate::new().level(level);
            let compressed = deflate.compress(&json).unwrap();
            assert!(compressed.len() < json.len() / 4);
            assert_eq!(inflate(&compressed, json.len()).unwrap(), json);
        }
    }

    #[test]
    fn what_would_not_shrink_is_sent_as_it_is() {
        let deflate = PerMessageDeflate::new();
        assert_eq!(deflate.compress(&[b'a'; 1023]), None);
        assert!(deflate.compress(&[b'a'; 1024]).is_some());

        let mut noise = vec![0_u8; 5000];
        let mut state = 1_u64;
        for byte in &mut noise {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            *byte = (state >> 56) as u8;
        }
        assert_eq!(deflate.compress(&noise), None);
        // And the thread's compressor is none the worse for it.
        assert!(deflate.compress(&[b'a'; 1024]).is_some());
    }

    #[test]
    fn a_compressed_frame_is_marked() {
        let frame = PerMessageDeflate::new().compress_frame(Opcode::Text, &[b'a'; 2000]).unwrap();
        assert_eq!(frame[0], 0xC1);
        assert_eq!(usize::from(frame[1]), frame.len() - 2);
        assert_eq!(inflate(&frame[2..], 2000).unwrap(), [b'a'; 2000]);
    }

    #[test]
    fn inflating_stops_at_the_limit() {
        let bomb = PerMessageDeflate::new().compress(&vec![0; 5_000_000]).unwrap();
        assert_eq!(
            inflate(&bomb, 1_000_000).unwrap_err(),
            Violation::MessageTooBig { len: 1_000_001, limit: 1_000_000 }
        );
        let plain = inflate(&bomb, 5_000_000).unwrap();
        assert_eq!(plain.len(), 5_000_000);
        assert!(plain.capacity() <= 5_000_001);
    }

    #[test]
    fn the_examples_of_the_rfc_inflate() {
        // Section 7.2.3: one block, a stored block, a final block, two blocks.
        for bytes in [
            &[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00][..],
            &[0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00],
            &[0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00],
            &[0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(bytes, 5).unwrap(), b"Hello");
        }
        assert_eq!(inflate(&[0x00], 0).unwrap(), b"");
        assert_eq!(inflate(&[], 0).unwrap(), b"");
    }

    #[test]
    fn nothing_comes_after_a_final_block() {
        assert_eq!(inflate(&[0x03, 0x00].repeat(1000), 5), Err(Violation::DeflateInvalid));
        assert_eq!(inflate(&[0x03, 0x00, 0x01], 5), Err(Violation::DeflateInvalid));
        assert_eq!(inflate(&[0x03, 0x00], 5).unwrap(), b"");
    }

    #[test]
    fn nothing_is_remembered_from_one_message_to_the_next() {
        // The decompressor is shared by all connections of the thread: a message that refers to the one
        // before it must not be shown what another client sent.
        let mut taking_over = Compress::new(Compression::best(), false);
        let mut messages = [Vec::with_capacity(200), Vec::with_capacity(200)];
        for message in &mut messages {
            let secret = b"a secret of some length, said twice";
            taking_over.compress_vec(secret, message, FlushCompress::Sync).unwrap();
        }
        let [first, second] = messages.map(|message| message[..message.len() - 4].to_vec());
        assert!(second.len() < first.len() / 2);
        assert!(inflate(&first, 100).is_ok());
        assert_eq!(inflate(&second, 100), Err(Violation::DeflateInvalid));
    }

    #[test]
    fn garbage_is_refused_and_harms_nobody_after() {
        assert_eq!(inflate(&[0xFF; 20], 1000), Err(Violation::DeflateInvalid));
        assert_eq!(inflate(&[0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00], 5).unwrap(), b"Hello");
    }
}
