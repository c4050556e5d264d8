//! Messages through the decoders of both parsers, as one connection sends them, with the usual limits and with
//! tight ones.
//!
//! Nothing panics. A packet that is accepted keeps to the limits, also when its arguments are deserialised; it
//! is written as messages that decode to the same packet; its arguments, sent on, arrive as they were; and the
//! other parser carries it as well. After an error a decoder is as good as new.

use std::sync::Arc;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sio_protocol::parser::{Decode, Frame, JsonParser, MsgPackDecoder, MsgPackParser, Parser};
use sio_protocol::socketio::{
    JsonDecoder, Packet, PacketKind, Value, is_reserved_event, write_args, write_event,
};
use sio_protocol::{Limits, Malformed};

use crate::messages::{Message, split};
use crate::value::{all_through_javascript, binary_len, through_javascript};

/// Takes the input as [messages](crate::messages) of one connection.
pub fn check(input: &[u8]) {
    let messages = split(input);
    for limits in [Limits::default(), tight()] {
        json(&messages, &limits);
        msgpack(&messages, &limits);
    }
}

fn json(messages: &[Message], limits: &Limits) {
    let mut decoder = JsonDecoder::new(Arc::new(*limits));
    for message in messages {
        let pending = decoder.is_pending();
        let (result, is_text) = match message {
            Message::Text(text) => (decoder.decode_text(text), true),
            Message::Binary(bytes) => (decoder.decode_binary(bytes.clone()), false),
        };
        match result {
            Ok(Some(packet)) => {
                assert!(!decoder.is_pending() && pending != is_text);
                let held: usize = packet.attachments.iter().map(Bytes::len).sum();
                assert!(packet.attachments.len() <= limits.max_attachments);
                assert!(held <= limits.max_attachment_bytes, "{held} bytes of attachments");
                let copied: usize = look_at(&packet, limits).iter().map(binary_len).sum();
                assert!(copied <= limits.max_attachment_bytes, "{copied} bytes in the arguments");
                decode_again(&JsonParser, &packet, limits);
                decode_as_msgpack(&packet);
            }
            Ok(None) => assert!(decoder.is_pending()),
            Err(malformed) => {
                assert!(!decoder.is_pending());
                match malformed {
                    Malformed::TextWhileBinaryPending { .. } => assert!(pending && is_text),
                    Malformed::BinaryUnexpected => assert!(!pending && !is_text),
                    Malformed::AttachmentBytesExceeded { .. } => assert!(pending && !is_text),
                    _ => assert!(!pending && is_text),
                }
                check_error(malformed);
            }
        }
    }
}

fn msgpack(messages: &[Message], limits: &Limits) {
    let mut decoder = MsgPackDecoder::new(Arc::new(*limits));
    for message in messages {
        let bytes = match message {
            Message::Text(text) => {
                assert_eq!(decoder.decode_text(text), Err(Malformed::TextUnexpected));
                continue;
            }
            Message::Binary(bytes) => bytes,
        };
        match decoder.decode_binary(bytes.clone()) {
            Ok(Some(packet)) => {
                assert!(packet.attachments.len() <= limits.max_inline_attachments);
                // The worst are a key `false` with a value `false`, of two bytes, and a single of five bytes
                // with the digits of a double.
                let most = 8 * bytes.len() + 64 * packet.attachments.len();
                assert!(packet.data.len() <= most, "{} bytes out of {}", packet.data.len(), bytes.len());
                look_at(&packet, limits);
                decode_again(&MsgPackParser, &packet, limits);
            }
            Ok(None) => panic!("a message is a packet"),
            Err(malformed) => check_error(malformed),
        }
    }
}

/// Asks a packet for everything it has. Gives its arguments, or its data as the only one.
fn look_at(packet: &Packet<'_>, limits: &Limits) -> Vec<Value> {
    assert!(packet.nsp.len() <= limits.max_namespace_length);
    if !packet.data.is_empty() {
        serde_json::from_str::<IgnoredAny>(&packet.data).expect("data is JSON");
        assert!(nesting(&packet.data) <= limits.max_json_depth);
    }
    let name = packet.event_name();
    assert_eq!(name.is_some(), packet.kind == PacketKind::Event && !packet.data.is_empty());
    assert!(!name.is_some_and(|name| is_reserved_event(&name)));
    if matches!(packet.kind, PacketKind::Connect | PacketKind::Disconnect | PacketKind::ConnectError) {
        assert!(packet.args().is_empty());
        // serde_json, unlike JavaScript, refuses numbers that are too large for a double.
        return packet.payload::<Value>().into_iter().collect();
    }

    let args = packet.args();
    let values = args.values().expect("every packet has values");
    assert_eq!(args.len(), values.len());
    assert_eq!(args.is_empty(), values.is_empty());
    assert!(args.to_owned().raw().values().as_ref() == Ok(&values));
    if let Ok(first) = args.deserialize::<Value>() {
        assert!(first == values.first().cloned().unwrap_or_default());
    }
    if let Ok((first, second)) = args.deserialize::<(Value, Value)>() {
        let mut expected = values.iter().cloned().chain([Value::Null, Value::Null]);
        assert!(expected.next() == Some(first) && expected.next() == Some(second));
    }
    let _ = args.deserialize::<serde_json::Value>();
    let _ = args.deserialize::<(String, f64)>();
    let _ = args.deserialize::<Option<i64>>();
    let _ = args.deserialize::<Bytes>();
    let _ = args.deserialize::<(Vec<Bytes>, Option<Vec<u8>>)>();
    let _ = args.deserialize::<&RawValue>();
    let _ = args.deserialize::<(&str, Option<Result<bool, [f32; 2]>>)>();
    args.deserialize::<()>().expect("any packet has no arguments");
    args.deserialize::<IgnoredAny>().expect("any packet has arguments to be ignored");
    send_on(packet, &values);
    values
}

/// Writes the arguments as a handler does that sends on what it got.
fn send_on(packet: &Packet<'_>, values: &[Value]) {
    let (mut data, mut attachments) = (Vec::new(), Vec::new());
    let sent = match packet.event_name() {
        Some(name) => {
            write_event(&mut data, &mut attachments, &name, &packet.args()).expect("arguments are written");
            Packet::event("/", None, String::from_utf8(data).expect("JSON is text"), attachments)
        }
        None => {
            write_args(&mut data, &mut attachments, &packet.args()).expect("arguments are written");
            Packet::ack("/", 0, String::from_utf8(data).expect("JSON is text"), attachments)
        }
    };
    assert_eq!(sent.event_name(), packet.event_name());
    let arrived = sent.args().values().expect("what was written is read");
    assert!(
        all_through_javascript(&arrived) == all_through_javascript(values),
        "{} became {}",
        packet.data,
        sent.data
    );
}

/// Writes a packet and reads it again.
fn decode_again(parser: &dyn Parser, packet: &Packet<'_>, limits: &Limits) {
    let again = through(parser, packet, limits);
    assert!(again.as_ref() == Ok(packet), "{packet:?} became {again:?}");
}

/// Writes a packet for the other parser, which has to carry what it says: kind, namespace, id and values.
fn decode_as_msgpack(packet: &Packet<'_>) {
    let name = packet.event_name();
    if matches!(name.as_deref(), Some("Infinity" | "-Infinity")) && packet.data.contains(['e', 'E', '0']) {
        // Not a name any more once a number like 1e400 went through MessagePack and JSON.
        return;
    }
    if packet.data.is_empty() && !matches!(packet.kind, PacketKind::Connect | PacketKind::Disconnect) {
        // The default parser lets missing data pass, as Node's does.
        return;
    }
    let mut limits = Limits::default();
    limits.max_inline_attachments = usize::MAX;
    let other = through(&MsgPackParser, packet, &limits).expect("MessagePack carries every packet");
    assert_eq!((other.kind, &other.nsp, other.id), (packet.kind, &packet.nsp, packet.id));
    assert_eq!(other.event_name(), packet.event_name());
    let values = |packet: &Packet<'_>| packet.args().values().map(|values| all_through_javascript(&values));
    assert!(values(&other) == values(packet), "{} became {}", packet.data, other.data);
    if packet.args().is_empty()
        && let Ok(value) = packet.payload::<Value>()
    {
        assert!(other.payload::<Value>().as_ref().map(through_javascript) == Ok(through_javascript(&value)));
    }
}

fn through(parser: &dyn Parser, packet: &Packet<'_>, limits: &Limits) -> Result<Packet<'static>, Malformed> {
    let mut frames = Vec::new();
    parser.encode(packet, &mut frames);
    let mut decoder = parser.decoder(limits);
    let (last, before) = frames.split_last().expect("a packet is at least one message");
    for frame in before {
        assert_eq!(deliver(&mut *decoder, frame)?, None);
    }
    Ok(deliver(&mut *decoder, last)?.expect("the last message completes the packet"))
}

fn deliver(decoder: &mut dyn Decode, frame: &Frame) -> Result<Option<Packet<'static>>, Malformed> {
    match frame {
        Frame::Text(text) => Ok(decoder.decode_text(text)?.map(Packet::into_owned)),
        Frame::Binary(bytes) => decoder.decode_binary(bytes.clone()),
    }
}

/// Counts how deep arrays and objects are nested in valid JSON.
fn nesting(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    deepest
}

fn check_error(malformed: Malformed) {
    let text = malformed.to_string();
    assert!(!text.is_empty() && !text.ends_with('.'));
}

/// Limits that small inputs reach. Two uses of the attachment in the seeds are too many.
fn tight() -> Limits {
    let mut limits = Limits::default();
    limits.max_attachment_bytes = 5;
    limits.max_attachments = 3;
    limits.max_inline_attachments = 4;
    limits.max_json_depth = 5;
    limits.max_namespace_length = 16;
    limits
}
