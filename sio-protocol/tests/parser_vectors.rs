//! The packets that Node's `socket.io-parser` 3.4.5, 4.2.6 and 4.2.7 were seen to encode and decode.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

mod socketio_support;

use sio_protocol::parser::{Decode, Frame, JsonParser, Parser};
use sio_protocol::socketio::{Packet, PacketKind, Value, write_value};
use sio_protocol::{Limits, Malformed};
use socketio_support::{Exceptions, Vector, bin_tag, float_tag, tag, untag, vectors};

/// What Node accepts and this crate refuses.
const REFUSED: &[(&str, &str)] = &[
    ("*/decode/2 [\"a\"]", "Node takes a space for the digit 0 of an ack id; only digits are accepted here"),
    (
        "*/decode/2/admin, [\"a\"]",
        "Node takes a space for the digit 0 of an ack id; only digits are accepted here",
    ),
    ("*/decode/5 1-[\"a\"]", "Node reads the count as any JavaScript number; only digits are accepted here"),
    ("*/decode/5+1-[\"a\"]", "Node reads the count as any JavaScript number; only digits are accepted here"),
    ("socket.io-parser@4.2.6/decode/5-[\"a\"]", "4.2.6 let an empty count through, which 4.2.7 repaired"),
    ("socket.io-parser@4.2.6/decode/50-[\"a\"]", "4.2.6 let a count of 0 through, which 4.2.7 repaired"),
    (
        "socket.io-parser@3.4.5/decode/0[]",
        "the rules of 4.x also apply to clients of revision 4, as in socket.io 4",
    ),
    (
        "socket.io-parser@3.4.5/decode/0null",
        "the rules of 4.x also apply to clients of revision 4, as in socket.io 4",
    ),
    ("socket.io-parser@3.4.5/decode/2[\"disconnecting\"]", "3.x did not reserve names, as in socket.io 4"),
    (
        "socket.io-parser@3.4.5/decode/7",
        "3.x made an error packet of an unknown type, which the server then ignored",
    ),
    (
        "socket.io-parser@3.4.5/decode/abc",
        "3.x made an error packet of an unknown type, which the server then ignored",
    ),
];

#[test]
fn every_parser_vector_holds() {
    let mut refused = Exceptions::new(REFUSED);
    let (mut encoded, mut decoded) = (0, 0);
    for vector in vectors("parser-json") {
        if vector.name().contains("/encode/") {
            encoded += 1;
            encodes(&vector);
        } else if refused.covers(vector.name()) {
            assert!(decode(vector.text("input")).is_err(), "{} is accepted now", vector.name());
        } else {
            decoded += 1;
            decodes(&vector);
        }
    }
    refused.check_all_used();
    assert_eq!((encoded, decoded), (54, 114 - 19));
}

fn encodes(vector: &Vector) {
    let name = vector.name();
    let input = vector.get("input").unwrap();
    let nsp = input.get("nsp").unwrap().as_str().unwrap();
    let id = input.get("id").and_then(Value::as_u64);
    let (mut data, mut attachments) = (Vec::new(), Vec::new());
    if let Some(value) = input.get("data").and_then(untag) {
        write_value(&mut data, &mut attachments, &value).unwrap();
    }
    let data = String::from_utf8(data).unwrap();
    let packet = match input.get("type").unwrap().as_u64().unwrap() {
        0 => Packet::connect(nsp, data),
        1 => Packet::disconnect(nsp),
        2 | 5 => Packet::event(nsp, id, data, attachments),
        3 | 6 => Packet::ack(nsp, id.unwrap(), data, attachments),
        4 => Packet::connect_error(nsp, data),
        other => panic!("type {other} in {name}"),
    };
    let mut frames = Vec::new();
    JsonParser.encode(&packet, &mut frames);
    let expected: Vec<Frame> = vector.get("output").unwrap().as_array().unwrap().iter().map(frame).collect();
    assert_eq!(frames, expected, "{name}");
}

fn frame(value: &Value) -> Frame {
    match bin_tag(value) {
        Some(bytes) => Frame::Binary(bytes),
        None => Frame::Text(value.as_str().unwrap().to_owned()),
    }
}

fn decode(text: &str) -> Result<(Option<Packet<'_>>, Box<dyn Decode>), Malformed> {
    let mut decoder = JsonParser.decoder(&Limits::default());
    decoder.decode_text(text).map(|packet| (packet, decoder))
}

fn decodes(vector: &Vector) {
    let name = vector.name();
    let result = decode(vector.text("input"));
    if vector.get("error").is_some() {
        assert!(result.is_err(), "{name} gives {result:?}");
        return;
    }
    let (packet, mut decoder) = result.unwrap_or_else(|error| panic!("{name}: {error}"));
    if let Some(pending) = vector.get("pending_attachments") {
        assert_eq!(packet, None, "{name}");
        for outstanding in (0..pending.as_u64().unwrap()).rev() {
            let packet = decoder.decode_binary("x".into()).unwrap();
            assert_eq!(packet.is_some(), outstanding == 0, "{name}");
        }
        return;
    }
    let packet = packet.unwrap();
    let expected = vector.get("packet").unwrap();
    assert_eq!(kind(packet.kind), expected.get("type").unwrap().as_u64().unwrap(), "{name}");
    assert_eq!(packet.nsp, expected.get("nsp").unwrap().as_str().unwrap(), "{name}");
    assert_eq!(packet.id, expected.get("id").and_then(Value::as_u64), "{name}");
    match expected.get("data").filter(|data| tag(data, "$undefined").is_none()) {
        None => assert_eq!(packet.data, "", "{name}"),
        Some(Value::Array(items)) => {
            let values = match packet.kind {
                // The name is no argument; together with the arguments it is the data.
                PacketKind::Event => {
                    assert!(packet.event_name().is_some(), "{name}");
                    let mut values: Vec<Value> = vec![items[0].clone()];
                    let printed = items[0]
                        .as_str()
                        .map_or_else(|| items[0].as_number().unwrap().to_string(), str::to_owned);
                    assert_eq!(packet.event_name().as_deref(), Some(&*printed), "{name}");
                    values.extend(packet.args().values().unwrap());
                    values
                }
                _ => packet.args().values().unwrap(),
            };
            let expected: Vec<Value> =
                items.iter().map(|item| float_tag(item).map_or(item.clone(), Value::from)).collect();
            assert_eq!(values, expected, "{name}");
        }
        Some(other) => assert_eq!(packet.payload::<Value>().as_ref(), Ok(other), "{name}"),
    }
    let mut text = String::new();
    packet.write_text(&mut text);
    assert_eq!(decode(&text).unwrap().0, Some(packet), "{name} written again is {text}");
}

fn kind(kind: PacketKind) -> u64 {
    kind.digit(false).to_digit(10).unwrap().into()
}
