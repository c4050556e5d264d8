//! From packets to a polling body.
//!
//! Pure. Which form a body of revision 3 takes is known only when its last packet is, so those packets are kept until
//! [`Encoder::finish`]; revision 4 is written as it comes.

use super::super::packet::{text_len, write_text};
use super::super::{DataRef, PacketKind, Revision};
use super::decode::{LENGTH_END, SEPARATOR};
use super::jsonp;

/// Collects packets into one polling body.
#[derive(Clone, Debug)]
pub struct Encoder {
    form: Form,
    /// The digits of the query parameter `j`, if it was given.
    jsonp: Option<String>,
}

/// The answer to a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The HTTP body.
    pub body: Vec<u8>,
    /// The value of the header `Content-Type`.
    pub content_type: &'static str,
}

#[derive(Clone, Debug)]
enum Form {
    /// Revision 4.
    Separated(String),
    /// Revision 3 for clients that cannot take binary bodies.
    Text(String),
    /// Revision 3 for the others: the packets as the binary form has them, without their lengths, and where each of
    /// them ends.
    Undecided { packets: Vec<u8>, ends: Vec<End> },
}

#[derive(Clone, Copy, Debug)]
struct End {
    at: usize,
    binary: bool,
}

impl Encoder {
    /// Starts an empty body for a client of revision `rev`. `b64` tells that it cannot take binary bodies (query
    /// parameter `b64`, of no importance in revision 4); `jsonp` is the query parameter `j` of its handshake, of which
    /// the digits count, and implies `b64`.
    pub fn new(rev: Revision, b64: bool, jsonp: Option<&str>) -> Self {
        let form = match rev {
            Revision::V4 => Form::Separated(String::new()),
            // A script can only hold text. Node forgets this and writes `{"type":"Buffer",..}` for a JSONP client that
            // did not say `b64=1`; all known ones do.
            Revision::V3 if b64 || jsonp.is_some() => Form::Text(String::new()),
            Revision::V3 => Form::Undecided { packets: Vec::new(), ends: Vec::new() },
        };
        Self { form, jsonp: jsonp.map(jsonp::index) }
    }

    /// Appends a packet. In revision 4 binary data is always a message: there, `kind` is not written for it; and text
    /// must not contain the separator U+001E, for which that revision has no escape (JSON has one, and uses it).
    pub fn push(&mut self, kind: PacketKind, data: DataRef<'_>) {
        match &mut self.form {
            Form::Separated(body) => {
                // An empty packet cannot be written, so an empty body has no packet yet.
                let separator = if body.is_empty() { None } else { Some(SEPARATOR) };
                body.reserve(text_len(Revision::V4, data) + 1);
                body.extend(separator);
                write_text(Revision::V4, kind, data, body);
            }
            Form::Text(body) => {
                let units = match data {
                    DataRef::Text(text) => 1 + utf16_len(text),
                    DataRef::Binary(_) => text_len(Revision::V3, data),
                };
                body.push_str(&units.to_string());
                body.push(':');
                body.reserve(text_len(Revision::V3, data));
                write_text(Revision::V3, kind, data, body);
            }
            Form::Undecided { packets, ends } => {
                let (head, data, binary) = match data {
                    DataRef::Text(text) => (kind.digit(), text.as_bytes(), false),
                    DataRef::Binary(bytes) => (kind as u8, bytes, true),
                };
                packets.reserve(1 + data.len());
                packets.push(head);
                packets.extend_from_slice(data);
                ends.push(End { at: packets.len(), binary });
            }
        }
    }

    /// Returns the bytes that the packets so far take, give or take their lengths: enough to decide whether one more
    /// fits into a body of limited size.
    pub fn len(&self) -> usize {
        match &self.form {
            Form::Separated(body) | Form::Text(body) => body.len(),
            Form::Undecided { packets, .. } => packets.len(),
        }
    }

    /// Tells whether no packet was pushed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the body. Without packets it is empty in revision 4 and `0:` in revision 3, as in Node.
    pub fn finish(self) -> Payload {
        let text = match self.form {
            Form::Separated(body) => body,
            Form::Text(body) if body.is_empty() => EMPTY_V3.to_owned(),
            Form::Text(body) => body,
            Form::Undecided { packets, ends } if ends.iter().any(|end| end.binary) => {
                return Payload { body: join_binary(&packets, &ends), content_type: OCTET_STREAM };
            }
            Form::Undecided { ends, .. } if ends.is_empty() => EMPTY_V3.to_owned(),
            Form::Undecided { packets, ends } => {
                return Payload { body: join_text(&packets, &ends), content_type: TEXT };
            }
        };
        let body = match self.jsonp {
            None => text,
            Some(index) => jsonp::script(&index, &text),
        };
        Payload { body: body.into_bytes(), content_type: TEXT }
    }
}

/// Writes string packets with their lengths in UTF-16 code units.
fn join_text(packets: &[u8], ends: &[End]) -> Vec<u8> {
    let mut body = Vec::with_capacity(packets.len() + ends.len() * LENGTH_GUESS);
    for packet in split(packets, ends).map(|(packet, _)| packet) {
        body.extend_from_slice(utf16_len_of_utf8(packet).to_string().as_bytes());
        body.push(b':');
        body.extend_from_slice(packet);
    }
    body
}

/// Writes packets of both sorts with their lengths in bytes.
fn join_binary(packets: &[u8], ends: &[End]) -> Vec<u8> {
    let mut body = Vec::with_capacity(packets.len() + ends.len() * LENGTH_GUESS);
    for (packet, binary) in split(packets, ends) {
        body.push(u8::from(binary));
        body.extend(packet.len().to_string().bytes().map(|digit| digit - b'0'));
        body.push(LENGTH_END);
        body.extend_from_slice(packet);
    }
    body
}

fn split<'a>(packets: &'a [u8], ends: &'a [End]) -> impl Iterator<Item = (&'a [u8], bool)> {
    let mut start = 0;
    ends.iter().map(move |end| {
        let packet = &packets[start..end.at];
        start = end.at;
        (packet, end.binary)
    })
}

fn utf16_len(text: &str) -> usize {
    utf16_len_of_utf8(text.as_bytes())
}

/// Counts UTF-16 code units without decoding: one for each byte that begins a character, one more for those that
/// begin a character outside the basic plane.
fn utf16_len_of_utf8(text: &[u8]) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.iter().map(|&byte| usize::from(byte & 0xc0 != 0x80) + usize::from(byte >= 0xf0)).sum()
}

const TEXT: &str = "text/plain; charset=UTF-8";
const OCTET_STREAM: &str = "application/octet-stream";

/// A body of revision 3 without packets.
const EMPTY_V3: &str = "0:";

/// Bytes to reserve for a length: up to four digits, the most common case, and two marks.
const LENGTH_GUESS: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_len_agrees_with_the_standard_library() {
        for text in ["", "abc", "é", "€", "😀", "a€😀é\u{10ffff}\u{fffd}\u{800}\u{7ff}"] {
            assert_eq!(utf16_len(text), text.encode_utf16().count(), "{text:?}");
        }
    }
}
