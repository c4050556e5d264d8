//! What the vector tests share: the files, the tags in them, and the book-keeping that lets no vector go
//! unnoticed.

#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sio_protocol::msgpack::{Dialect, Reader, Writer, read_json};
use sio_protocol::parser::{Frame, JsonParser, Parser};
use sio_protocol::socketio::{JsonDecoder, OwnedArgs, Packet, Value};
use sio_protocol::{Limits, Malformed};

/// One vector: an object with a unique `name`.
pub(crate) struct Vector(pub(crate) Value);

impl Vector {
    pub(crate) fn name(&self) -> &str {
        self.text("name")
    }

    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_else(|| panic!("vector without {key}: {:?}", self.0))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }
}

/// Reads a file of `testdata`.
pub(crate) fn vectors(file: &str) -> Vec<Vector> {
    let path = format!("{}/testdata/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str::<Vec<Value>>(&text).unwrap().into_iter().map(Vector).collect()
}

/// Knows which vectors are treated differently, and why. Every entry has to be used.
pub(crate) struct Exceptions {
    list: &'static [(&'static str, &'static str)],
    used: BTreeMap<&'static str, usize>,
}

impl Exceptions {
    /// Takes pairs of a pattern (`*` at its ends stands for anything) and a reason.
    pub(crate) fn new(list: &'static [(&'static str, &'static str)]) -> Self {
        Self { list, used: BTreeMap::new() }
    }

    pub(crate) fn covers(&mut self, name: &str) -> bool {
        for &(pattern, reason) in self.list {
            assert!(!reason.is_empty(), "{pattern} needs a reason");
            let part = pattern.trim_matches('*');
            let matches = match (pattern.starts_with('*'), pattern.ends_with('*')) {
                (true, true) => name.contains(part),
                (true, false) => name.ends_with(part),
                (false, true) => name.starts_with(part),
                (false, false) => name == part,
            };
            if matches {
                *self.used.entry(pattern).or_default() += 1;
                return true;
            }
        }
        false
    }

    pub(crate) fn check_all_used(&self) {
        for (pattern, _) in self.list {
            assert!(self.used.contains_key(pattern), "no vector is called {pattern} any more");
        }
    }
}

/// The content of a tag such as `{"$bin":"00ff"}`.
pub(crate) fn tag<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    match value {
        Value::Object(entries) if entries.len() == 1 && entries[0].0 == name => Some(&entries[0].1),
        _ => None,
    }
}

pub(crate) fn float_tag(value: &Value) -> Option<f64> {
    Some(match tag(value, "$float")?.as_str().unwrap() {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        other => panic!("{other}"),
    })
}

/// Makes what `JSON.stringify` would see of a value with tags, `None` for undefined.
pub(crate) fn untag(value: &Value) -> Option<Value> {
    if tag(value, "$undefined").is_some() {
        return None;
    }
    if let Some(hex) = tag(value, "$bin").or(tag(value, "$arraybuffer")) {
        return Some(Value::Binary(unhex(hex.as_str().unwrap()).into()));
    }
    if let Some(date) = tag(value, "$date") {
        return Some(date.as_i64().map_or(Value::Null, |milliseconds| iso(milliseconds).as_str().into()));
    }
    if let Some(float) = float_tag(value) {
        return Some(float.into());
    }
    Some(match value {
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| untag(item).unwrap_or_default()).collect())
        }
        Value::Object(entries) => Value::Object(
            entries.iter().filter_map(|(key, value)| Some((key.clone(), untag(value)?))).collect(),
        ),
        other => other.clone(),
    })
}

/// The text of a date, by way of the only place in the crate that knows dates.
fn iso(milliseconds: i64) -> String {
    let mut message = Vec::new();
    Writer::new(&mut message, Dialect::Notepack2).date(Some(milliseconds));
    let mut json = String::new();
    read_json(&mut Reader::new(&message.into()), &Limits::default(), &mut json, &mut Vec::new()).unwrap();
    serde_json::from_str(&json).unwrap()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn bin_tag(value: &Value) -> Option<Bytes> {
    Some(unhex(tag(value, "$bin")?.as_str().unwrap()).into())
}

/// A small deterministic generator (xorshift), so that a failure can be repeated.
pub(crate) struct Generator(u64);

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize) % limit
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, longest: usize) -> Vec<u8> {
        (0..self.below(longest + 1)).map(|_| self.next() as u8).collect()
    }

    pub(crate) fn text(&mut self) -> String {
        const PARTS: [&str; 16] = [
            "a",
            "hello",
            "é",
            "€",
            "😀",
            "\"",
            "\\",
            "\n",
            "\u{0}",
            "\u{1f}",
            "\u{7f}",
            "\u{2028}",
            "/",
            "_placeholder",
            "\\u0041",
            "a longer piece of text, so that blocks are scanned as well",
        ];
        (0..self.below(6)).map(|_| *self.pick(&PARTS)).collect()
    }

    /// Few mostly, but also more than the shortest form of MessagePack can count.
    fn items(&mut self) -> usize {
        if self.below(20) == 0 { self.below(40) } else { self.below(5) }
    }

    /// A value of bounded depth. `binary` says whether binary values may occur.
    pub(crate) fn value(&mut self, depth: usize, binary: bool) -> Value {
        match self.below(if depth == 0 { 8 } else { 12 }) {
            0 => Value::Null,
            1 => Value::Bool(self.below(2) == 0),
            2 => Value::from(self.next() as i64 >> self.below(64)),
            3 => Value::from(self.next() >> self.below(64)),
            4 => match f64::from_bits(self.next()) {
                finite if finite.is_finite() => finite.into(),
                _ => 0.5.into(),
            },
            5 => Value::from(self.next() as i32 as f64 / 64.0),
            6 if binary => Value::Binary(self.bytes(40).into()),
            6 | 7 => self.text().into(),
            8 | 9 => Value::Array((0..self.items()).map(|_| self.value(depth - 1, binary)).collect()),
            _ => Value::Object(
                // Keys are numbered, because of two equal ones only the last would count.
                (0..self.items())
                    .map(|at| (format!("{at}{}", self.text()), self.value(depth - 1, binary)))
                    .collect(),
            ),
        }
    }
}

/// One Engine.IO message, without its type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Text(String),
    Binary(Bytes),
    /// Something else than a message, or the end of the connection.
    Other(String),
}

impl Message {
    /// Reads a frame of a WebSocket. In revision 3 a binary one has a type byte.
    pub(crate) fn from_frame(frame: &Value, revision: u8) -> Self {
        match (bin_tag(frame), frame.as_str()) {
            (Some(bytes), _) if revision == 3 => {
                assert_eq!(bytes.first(), Some(&4));
                Self::Binary(bytes.slice(1..))
            }
            (Some(bytes), _) => Self::Binary(bytes),
            (_, Some(text)) => Self::from_text(text),
            _ => Self::Other("close".to_owned()),
        }
    }

    fn from_text(text: &str) -> Self {
        match text.strip_prefix('4') {
            Some(message) => Self::Text(message.to_owned()),
            None => Self::Other(text.to_owned()),
        }
    }
}

/// Reads a polling body. Enough for the bodies in the vectors, which are ASCII where lengths count.
pub(crate) fn messages_in_body(body: &str, revision: u8) -> Vec<Message> {
    let base64 = |text: &str| {
        use base64::Engine as _;
        Message::Binary(base64::engine::general_purpose::STANDARD.decode(text).unwrap().into())
    };
    if revision == 4 {
        return body
            .split('\u{1e}')
            .map(|packet| packet.strip_prefix('b').map_or_else(|| Message::from_text(packet), base64))
            .collect();
    }
    let mut messages = Vec::new();
    let mut rest = body;
    while let Some((length, after)) = rest.split_once(':') {
        let (packet, after) = after.split_at(length.parse().unwrap());
        messages.push(packet.strip_prefix("b4").map_or_else(|| Message::from_text(packet), base64));
        rest = after;
    }
    assert_eq!(rest, "");
    messages
}

/// Checks that what came in one direction decodes, and is written again as it came. Gives the packets, and
/// whether it ended with a message that is refused.
pub(crate) fn check_messages(
    name: &str,
    messages: &[Message],
    normalised: bool,
) -> (usize, Option<Malformed>) {
    let mut decoder = JsonDecoder::new(Arc::new(Limits::default()));
    let (mut packets, mut received) = (0, Vec::new());
    for message in messages {
        let result = match message {
            Message::Text(text) => {
                received.push(Frame::Text(text.clone()));
                decoder.decode_text(text)
            }
            Message::Binary(bytes) => {
                received.push(Frame::Binary(bytes.clone()));
                decoder.decode_binary(bytes.clone())
            }
            Message::Other(_) => continue,
        };
        let packet = match result {
            Ok(Some(packet)) => packet,
            Ok(None) => continue,
            Err(error) => return (packets, Some(error)),
        };
        packets += 1;
        let mut written = Vec::new();
        JsonParser.encode(&packet, &mut written);
        if normalised {
            let Frame::Text(text) = &written[0] else { panic!("{written:?}") };
            assert_eq!(decode_one(text), packet, "{name}");
        } else {
            assert_eq!(written, received, "{name}");
        }
        serialised_again(name, &packet);
        received.clear();
    }
    assert!(!decoder.is_pending(), "{name} ends with attachments outstanding");
    (packets, None)
}

fn decode_one(text: &str) -> Packet<'_> {
    JsonDecoder::new(Arc::new(Limits::default())).decode_text(text).unwrap().unwrap()
}

/// Checks that arguments survive being deserialised and serialised.
fn serialised_again(name: &str, packet: &Packet<'_>) {
    let values = packet.args().values().unwrap();
    assert_eq!(packet.args().len(), values.len(), "{name}");
    let (mut data, mut attachments) = (Vec::new(), Vec::new());
    let array = Value::Array(values.clone());
    sio_protocol::socketio::write_value(&mut data, &mut attachments, &array).unwrap();
    let data = String::from_utf8(data).unwrap();
    assert_eq!(OwnedArgs::new(data, attachments).raw().values().unwrap(), values, "{name}");
}
