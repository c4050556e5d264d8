//! Generated inputs: nothing panics, what is written is read back, and where `serde_json` does the same it
//! gives the same result.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

mod socketio_support;

use std::sync::Arc;

use bytes::Bytes;
use sio_protocol::msgpack::{Dialect, Reader, Writer, read_json, write_json};
use sio_protocol::parser::{Decode, Frame, JsonParser, MsgPackDecoder, MsgPackParser, Parser};
use sio_protocol::socketio::{
    JsonDecoder, Number, OwnedArgs, Packet, RawArgs, Value, read_value, write_event, write_value,
};
use sio_protocol::{Limits, Malformed};
use socketio_support::Generator;

const ROUNDS: usize = 3_000;

fn limits() -> Arc<Limits> {
    Arc::new(Limits::default())
}

/// Writes a value as JSON text.
fn written(value: &Value) -> (String, Vec<Bytes>) {
    let (mut json, mut attachments) = (Vec::new(), Vec::new());
    write_value(&mut json, &mut attachments, value).unwrap();
    (String::from_utf8(json).unwrap(), attachments)
}

/// Touches everything that a packet can be asked for.
fn look_at(packet: &Packet<'_>) {
    let _ = packet.event_name();
    let args = packet.args();
    let _ = (args.len(), args.json(), args.deserialize::<(String, f64)>(), args.deserialize::<Bytes>());
    let _ = packet.payload::<Value>();
    if args.values().is_ok() {
        assert_eq!(args.len(), args.values().unwrap().len());
    }
    let mut frames = Vec::new();
    MsgPackParser.encode(packet, &mut frames);
    JsonParser.encode(packet, &mut frames);
}

/// Damages text a little, so that most of it still makes sense.
fn damaged(random: &mut Generator, text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(3) {
            0 => bytes.insert(at, *random.pick(b"[]{}\",:\\ut019-+.eE \n\0/_")),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = *random.pick(b"[]{}\",:\\ut019-+.eE \n\0/_"),
            _ => {}
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn no_message_makes_the_json_decoder_panic() {
    let mut random = Generator::new(1);
    let mut accepted = 0;
    for _ in 0..ROUNDS * 5 {
        let (json, _) = written(&random.value(3, true));
        let header = *random.pick(&["2", "3", "0", "4", "1", "51-", "62-", "2/a,", "27", "52-/b,3", "7", ""]);
        let message = match random.below(4) {
            0 => String::from_utf8_lossy(&random.bytes(30)).into_owned(),
            1 => damaged(&mut random, &format!("{header}[\"a\",{json}]")),
            2 => damaged(&mut random, &format!("{header}{json}")),
            _ => format!("{header}[\"a\",{json}]"),
        };
        let mut decoder = JsonDecoder::new(limits());
        match decoder.decode_text(&message) {
            Ok(Some(packet)) => {
                accepted += 1;
                look_at(&packet);
                let mut again = String::new();
                packet.write_text(&mut again);
                assert_eq!(JsonDecoder::new(limits()).decode_text(&again), Ok(Some(packet)), "{message}");
            }
            Ok(None) => {
                while decoder.is_pending() {
                    if let Some(packet) = decoder.decode_binary(random.bytes(5).into()).unwrap() {
                        accepted += 1;
                        look_at(&packet);
                    }
                }
            }
            Err(_) => assert!(!decoder.is_pending()),
        }
    }
    assert!(accepted > ROUNDS, "only {accepted} messages were accepted");
}

#[test]
fn no_message_makes_the_msgpack_decoder_panic() {
    let mut random = Generator::new(2);
    let mut accepted = 0;
    for _ in 0..ROUNDS * 5 {
        let (json, attachments) = written(&random.value(3, true));
        let packet = Packet::event("/a", Some(7), format!("[\"a\",{json}]"), attachments);
        let mut frames = Vec::new();
        MsgPackParser.encode(&packet, &mut frames);
        let [Frame::Binary(message)] = &frames[..] else { panic!() };
        let mut message = message.to_vec();
        match random.below(3) {
            0 => message = random.bytes(40),
            1 => {
                for _ in 0..random.below(4) {
                    let at = random.below(message.len());
                    message[at] = random.next() as u8;
                }
                message.truncate(random.below(message.len() * 4));
            }
            _ => {}
        }
        let bytes = Bytes::from(message);
        let mut reader = Reader::new(&bytes);
        while reader.next_token().is_ok() {}
        let mut reader = Reader::new(&bytes);
        let skipped = reader.skip().map(|()| reader.position());
        let mut reader = Reader::new(&bytes);
        let read = read_json(&mut reader, &limits(), &mut String::new(), &mut Vec::new());
        if let (Ok(end), Ok(())) = (skipped, read) {
            assert_eq!(reader.position(), end);
        }
        if let Ok(Some(packet)) = MsgPackDecoder::new(limits()).decode_binary(bytes) {
            accepted += 1;
            look_at(&packet);
        }
    }
    assert!(accepted > ROUNDS, "only {accepted} messages were accepted");
}

#[test]
fn the_decoder_accepts_the_json_that_serde_json_accepts() {
    let mut random = Generator::new(3);
    let (mut valid, mut invalid) = (0, 0);
    for _ in 0..ROUNDS * 10 {
        let (json, _) = written(&random.value(3, false));
        let json = damaged(&mut random, &format!("[{json}]"));
        if !json.starts_with('[') {
            // What stands before the array would be taken for a header.
            continue;
        }
        // What is to be ignored is checked for its form only, as here: surrogates and ranges do not count.
        let expected = serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok();
        let message = format!("3{json}");
        let seen = JsonDecoder::new(limits()).decode_text(&message);
        assert_eq!(seen.is_ok(), expected, "{json} gives {seen:?}");
        if expected { valid += 1 } else { invalid += 1 }
    }
    assert!(valid > ROUNDS && invalid > ROUNDS, "{valid} valid, {invalid} invalid");
}

#[test]
fn values_are_written_as_serde_json_writes_them_apart_from_numbers() {
    let mut random = Generator::new(4);
    for _ in 0..ROUNDS {
        let value = random.value(4, false);
        let (json, attachments) = written(&value);
        assert!(attachments.is_empty());
        let back: Value = serde_json::from_str(&json).unwrap();
        assert!(doubles(&back) == doubles(&value), "{json}");
        // Once floats are gone, the texts are equal.
        let plain = without_floats(&value);
        assert_eq!(written(&plain).0, serde_json::to_string(&plain).unwrap());
    }
}

fn without_floats(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_i64().is_none() && number.as_u64().is_none() => Value::Null,
        Value::Array(items) => Value::Array(items.iter().map(without_floats).collect()),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), without_floats(value))).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn both_readers_give_the_same() {
    let mut random = Generator::new(5);
    let unused = [Bytes::from_static(b"unused")];
    for _ in 0..ROUNDS {
        let (json, _) = written(&random.value(4, false));
        // With an attachment the reader of this crate is used, without any that of serde_json.
        let own: serde_json::Value = read_value(&json, &unused).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(own, theirs, "{json}");
        let array = format!("[1,{json}]");
        let own: (u8, serde_json::Value, Option<u8>) = RawArgs::new(&array, &unused).deserialize().unwrap();
        let theirs: (u8, serde_json::Value, Option<u8>) = RawArgs::new(&array, &[]).deserialize().unwrap();
        assert_eq!(own, theirs, "{json}");
    }
}

#[test]
fn events_with_binary_values_survive_both_parsers() {
    let mut random = Generator::new(6);
    let mut many = Limits::default();
    many.max_attachments = 100_000;
    many.max_inline_attachments = 100_000;
    for _ in 0..ROUNDS {
        let values: Vec<Value> = (0..random.below(4)).map(|_| random.value(4, true)).collect();
        let name = random.text();
        let (mut data, mut attachments) = (Vec::new(), Vec::new());
        write_event(&mut data, &mut attachments, &name, &()).unwrap();
        data.pop();
        for value in &values {
            data.push(b',');
            write_value(&mut data, &mut attachments, value).unwrap();
        }
        data.push(b']');
        let id = (random.below(2) == 0).then(|| random.next() >> 11);
        let nsp = *random.pick(&["/", "/admin", "/é/x?y"]);
        let packet = Packet::event(nsp, id, String::from_utf8(data).unwrap(), attachments);

        for parser in [&JsonParser as &dyn Parser, &MsgPackParser] {
            let mut frames = Vec::new();
            parser.encode(&packet, &mut frames);
            let mut decoder = parser.decoder(&many);
            let (last, before) = frames.split_last().unwrap();
            for frame in before {
                assert_eq!(deliver(&mut *decoder, frame), Ok(None));
            }
            let seen = deliver(&mut *decoder, last);
            let name_is_reserved = sio_protocol::socketio::is_reserved_event(&name);
            assert!(!name_is_reserved);
            let seen = seen.unwrap().unwrap();
            assert!(seen == packet, "{} became {}", packet.data, seen.data);
            assert_eq!(seen.event_name().as_deref(), Some(&*name));
            let doubles = |values: &[Value]| values.iter().map(doubles).collect::<Vec<_>>();
            assert!(doubles(&seen.args().values().unwrap()) == doubles(&values), "{}", packet.data);
            let owned: OwnedArgs = seen.args().to_owned();
            assert!(doubles(&owned.raw().values().unwrap()) == doubles(&values), "{}", packet.data);
        }
    }
}

fn deliver(decoder: &mut dyn Decode, frame: &Frame) -> Result<Option<Packet<'static>>, Malformed> {
    match frame {
        Frame::Text(text) => decoder.decode_text(text).map(|packet| packet.map(Packet::into_owned)),
        Frame::Binary(bytes) => decoder.decode_binary(bytes.clone()),
    }
}

#[test]
fn json_text_survives_every_msgpack_dialect() {
    let mut random = Generator::new(7);
    let mut many = Limits::default();
    many.max_inline_attachments = 100_000;
    for _ in 0..ROUNDS {
        let value = random.value(4, true);
        let (json, attachments) = written(&value);
        for dialect in [Dialect::Notepack2, Dialect::Notepack3, Dialect::MsgPack2] {
            let mut message = Vec::new();
            write_json(&json, &attachments, &mut Writer::new(&mut message, dialect)).unwrap();
            let message = Bytes::from(message);
            let mut reader = Reader::new(&message);
            let (mut back, mut back_attachments) = (String::new(), Vec::new());
            read_json(&mut reader, &many, &mut back, &mut back_attachments).unwrap();
            reader.finish().unwrap();
            let seen: Value = read_value(&back, &back_attachments).unwrap();
            assert!(doubles(&seen) == doubles(&value), "{dialect:?} {json}");
            assert!(back_attachments == attachments);
        }
    }
}

/// Makes all numbers doubles: beyond 2^53 the dialects differ in what they keep.
fn doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => Number::from(number.as_f64()).into(),
        Value::Array(items) => Value::Array(items.iter().map(doubles).collect()),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), doubles(value))).collect())
        }
        other => other.clone(),
    }
}

#[test]
fn msgpack_maps_that_look_like_placeholders_stay_maps() {
    let json = r#"["e",{ "_placeholder":true,"num":0},{"_placeholder":true,"num":0}]"#;
    let mut message = Vec::new();
    write_json(json, &["x".into()], &mut Writer::new(&mut message, Dialect::Notepack2)).unwrap();
    let (mut back, mut attachments) = (String::new(), Vec::new());
    read_json(&mut Reader::new(&message.into()), &limits(), &mut back, &mut attachments).unwrap();
    assert_eq!(back, json);
    let packet = Packet::event("/", None, back, attachments);
    let (map, binary): (Value, Bytes) = packet.args().deserialize().unwrap();
    assert_eq!(map.get("_placeholder"), Some(&true.into()));
    assert_eq!(binary, "x");
    // Without binary values there is nothing to be taken for.
    let (mut data, mut none) = (Vec::new(), Vec::new());
    write_event(&mut data, &mut none, "e", &map).unwrap();
    assert_eq!(data, br#"["e",{"_placeholder":true,"num":0}]"#);
}

#[test]
fn msgpack_is_bounded_before_anything_is_allocated() {
    let read = |bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        let (mut json, mut attachments) = (String::new(), Vec::new());
        read_json(&mut Reader::new(&bytes), &limits(), &mut json, &mut attachments).map(|()| json)
    };
    for marker in [0xdb, 0xc6, 0xdd, 0xdf, 0xc9] {
        assert_eq!(read(&[marker, 0xff, 0xff, 0xff, 0xff, 0]), Err(Malformed::MsgPackTruncated));
    }
    assert_eq!(read(&[0x91; 200]), Err(Malformed::NestingExceeded { limit: 127 }));
    assert_eq!(read(&[0xc1]), Err(Malformed::MsgPackReservedMarker));
    assert_eq!(read(&[]), Err(Malformed::MsgPackTruncated));
    assert_eq!(read(&[0x81, 0x90, 0x01]), Err(Malformed::MsgPackKeyInvalid));
    let mut binaries = vec![0xdc, 0x03, 0xe9];
    binaries.extend([0xc4, 0x00].repeat(1_001));
    assert_eq!(read(&binaries), Err(Malformed::AttachmentsExceeded { seen: 1_001, limit: 1_000 }));
    // An array in an array in an array that all claim what is left.
    assert_eq!(Reader::new(&vec![0x9f; 40].into()).skip(), Err(Malformed::MsgPackTruncated));

    let json = read(&[
        0x85, 0x01, 0x02, 0xc3, 0x03, 0xc0, 0x04, 0xa1, b'u', 0xd4, 0, 0, 0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0,
        0xc2,
    ]);
    assert_eq!(json.as_deref(), Ok(r#"{"1":2,"true":3,"null":4,"0.5":false}"#));
}

#[test]
fn packets_of_every_kind_survive_both_parsers() {
    let packets = [
        Packet::connect("/", ""),
        Packet::connect("/a", r#"{"sid":"x"}"#),
        Packet::disconnect("/a"),
        Packet::connect_error("/", r#"{"message":"no"}"#),
        Packet::connect_error("/", "\"no\""),
        Packet::event("/", None, "[1.5]", vec![]),
        Packet::ack("/a", 0, "[]", vec![]),
        Packet::ack("/", 7, r#"[{"_placeholder":true,"num":0}]"#, vec!["x".into()]),
    ];
    for packet in packets {
        for parser in [&JsonParser as &dyn Parser, &MsgPackParser] {
            let mut frames = Vec::new();
            parser.encode(&packet, &mut frames);
            let mut decoder = parser.decoder(&limits());
            let mut decoded = None;
            for frame in &frames {
                assert_eq!(decoded, None);
                decoded = deliver(&mut *decoder, frame).unwrap();
            }
            assert_eq!(decoded.as_ref(), Some(&packet));
        }
    }
}
