//! What servers of socket.io 2.5 and 4.8 and their clients said to each other: every Socket.IO message
//! decodes, and is written again as it was.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

mod socketio_support;

use std::sync::Arc;

use sio_protocol::msgpack::{Dialect, Reader, Token, Writer};
use sio_protocol::parser::{Frame, MsgPackDecoder, MsgPackParser, Parser};
use sio_protocol::socketio::{Packet, Value};
use sio_protocol::{Limits, Malformed};
use socketio_support::{
    Exceptions, Message, Vector, bin_tag, check_messages, hex, messages_in_body, unhex, untag, vectors,
};

/// Vectors without any Socket.IO message.
const EMPTY: &[(&str, &str)] = &[("*/server-shutdown", "the connection is closed and nothing is said")];

/// Messages from clients that are refused here although the server in the transcript went on.
const STRICTER: &[(&str, &str)] = &[
    (
        "socket.io@2.5.1/v4/invalid/unknown-type",
        "socket.io 2 ignores the packet; 4 closes, also for clients of 2",
    ),
    (
        "socket.io@2.5.1/v4/invalid/reserved",
        "socket.io 2 does not reserve names; 4 does, also for clients of 2",
    ),
    (
        "*/invalid/big-ack-id",
        "Node rounds the id, so that the client could not recognise the answer; refused here",
    ),
];

/// Transcripts that end with a close although every message of the client is a packet.
const CLOSED_OTHERWISE: &[(&str, &str)] = &[
    ("*/connect/twice", "the namespace is joined already"),
    ("*/connect/connect-error-from-client", "only servers send this kind"),
    ("*/disconnect/server-close", "the application asked for it"),
    ("*/invalid/nsp-no-comma-with-data", "the namespace, which contains the data, was never joined"),
    ("*/server-shutdown", "the server is shut down"),
    ("*/csr/*", "the client goes away, which is what the vector is about"),
];

/// Messages that this crate writes in another, equal way.
const NORMALISED: &[(&str, &str)] = &[
    ("*/disconnect/client-custom-no-comma", "the comma after a namespace is always written"),
    ("*/invalid/nsp-no-comma-with-data", "the comma after a namespace is always written"),
    ("*/invalid/ack-id-leading-zero", "zeros before an id are not kept"),
];

/// MessagePack packets that clients build differently from servers; they are read, but written as by a
/// server.
const CLIENTS_DIFFER: &[(&str, &str)] = &[
    ("*/encode/connect-undefined-data", "data that is undefined is left out"),
    ("*/encode/event*", "clients add `options`"),
    ("*/encode/disconnect", "clients add `options`"),
    ("*/encode/ack", "clients put the id after the type"),
];

#[test]
fn every_transcript_holds() {
    let (mut empty, mut stricter) = (Exceptions::new(EMPTY), Exceptions::new(STRICTER));
    let (mut later, mut normalised) = (Exceptions::new(CLOSED_OTHERWISE), Exceptions::new(NORMALISED));
    let mut clients_differ = Exceptions::new(CLIENTS_DIFFER);
    let protocol_4 = vectors("socketio-v4");
    let protocol_5 = vectors("socketio-v5");
    assert_eq!((protocol_4.len(), protocol_5.len()), (18, 72));
    for vector in protocol_4.iter().chain(&protocol_5) {
        let name = vector.name();
        if name.starts_with("socket.io-msgpack-parser@") {
            msgpack_packet_holds(vector, &mut clients_differ);
            continue;
        }
        if name.contains("/msgpack/") {
            msgpack_transcript_holds(vector);
            continue;
        }
        let revision = if name.contains("/v4/") || name.contains("/v4-compat/") { 3 } else { 4 };
        let (from_client, from_server) = both_directions(vector, revision);
        let is_stricter = stricter.covers(name);
        let error = check_messages(name, &from_server, false).1;
        assert!(error.is_none() || is_stricter, "{name}, from the server: {error:?}");
        let error = check_messages(name, &from_client, normalised.covers(name)).1;
        let closed = from_server.contains(&Message::Other("close".to_owned()));
        match error {
            Some(_) if is_stricter => assert!(!closed, "{name} is refused by Node too"),
            Some(error) => assert!(closed, "{name} is refused: {error}"),
            None if later.covers(name) => assert!(closed, "{name} does not close"),
            None => assert!(!closed && !is_stricter, "{name} is accepted here"),
        }
        if !from_client.iter().chain(&from_server).any(|message| !matches!(message, Message::Other(_))) {
            assert!(empty.covers(name), "{name} has no message");
        }
    }
    for exceptions in [empty, stricter, later, normalised, clients_differ] {
        exceptions.check_all_used();
    }
}

/// Collects the messages of a vector, from wherever it has them.
fn both_directions(vector: &Vector, revision: u8) -> (Vec<Message>, Vec<Message>) {
    let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
    for frame in vector.get("transcript").and_then(Value::as_array).unwrap_or_default() {
        let [direction, frame] = frame.as_array().unwrap() else { panic!("{frame:?}") };
        let message = Message::from_frame(frame, revision);
        if direction.as_str() == Some("<") { from_server.push(message) } else { from_client.push(message) }
    }
    for key in ["frames", "first", "second"] {
        for frame in vector.get(key).and_then(Value::as_array).unwrap_or_default() {
            from_server.push(Message::from_frame(frame, revision));
        }
    }
    from_client.extend(vector.get("sent").map(|frame| Message::from_frame(frame, revision)));
    let answers = ["first", "second", "get", "get_binary"].map(|key| vector.get(key));
    for answer in answers.into_iter().flatten().chain([&vector.0]) {
        if let Some(body) = answer.get("body_text").and_then(Value::as_str) {
            from_server.extend(messages_in_body(&plain_body(body), revision));
        }
    }
    (from_client, from_server)
}

/// Takes a body out of its JSONP call.
fn plain_body(body: &str) -> String {
    match body.strip_prefix("___eio[0](").and_then(|rest| rest.strip_suffix(");")) {
        Some(literal) => serde_json::from_str(literal).unwrap(),
        None => body.to_owned(),
    }
}

fn decode_msgpack(bytes: bytes::Bytes) -> Result<Packet<'static>, Malformed> {
    MsgPackDecoder::new(Arc::new(Limits::default())).decode_binary(bytes).map(Option::unwrap)
}

fn encode_msgpack(packet: &Packet<'_>) -> bytes::Bytes {
    let mut frames = Vec::new();
    MsgPackParser.encode(packet, &mut frames);
    match &frames[..] {
        [Frame::Binary(bytes)] => bytes.clone(),
        other => panic!("{other:?}"),
    }
}

fn msgpack_transcript_holds(vector: &Vector) {
    let name = vector.name();
    let mut refused = false;
    for entry in vector.get("transcript").unwrap().as_array().unwrap() {
        let [direction, frame] = entry.as_array().unwrap() else { panic!("{entry:?}") };
        let Some(bytes) = bin_tag(frame) else { continue };
        let packet = match decode_msgpack(bytes.clone()) {
            Ok(packet) => packet,
            Err(error) => {
                assert!(name.ends_with("/invalid-type"), "{name}: {error}");
                refused = true;
                continue;
            }
        };
        let written = encode_msgpack(&packet);
        // Dates and undefined are no longer what they were once they are JSON text, nor is NaN.
        let has_extension = hex(&bytes).contains("d40000") || hex(&bytes).contains("d700");
        // Clients build their packets in another order.
        if direction.as_str() == Some("<") && !has_extension {
            assert_eq!(hex(&written), hex(&bytes), "{name}");
        }
        assert_eq!(decode_msgpack(written), Ok(packet), "{name}");
    }
    assert_eq!(refused, name.ends_with("/invalid-type"), "{name}");
}

fn msgpack_packet_holds(vector: &Vector, clients_differ: &mut Exceptions) {
    let name = vector.name();
    let bytes = unhex(vector.text("hex"));
    let packet = decode_msgpack(bytes.clone().into()).unwrap();
    let expected = vector.get("decoded").unwrap();
    assert_eq!(
        packet.kind.digit(false).to_digit(10).map(u64::from),
        expected.get("type").and_then(Value::as_u64),
        "{name}"
    );
    assert_eq!(Some(&*packet.nsp), expected.get("nsp").and_then(Value::as_str), "{name}");
    assert_eq!(packet.id, expected.get("id").and_then(Value::as_u64), "{name}");
    let data = expected.get("data").and_then(untag);
    let seen = (!packet.data.is_empty()).then(|| packet.payload::<Value>().unwrap());
    assert_eq!(seen, data, "{name}");
    if !clients_differ.covers(name) {
        assert_eq!(hex(&encode_msgpack(&packet)), hex(&bytes), "{name}");
    }
    assert_eq!(decode_msgpack(encode_msgpack(&packet)), Ok(packet), "{name}");
}

#[test]
fn fields_that_are_not_as_they_should_be_are_refused() {
    type Field<'f> = (&'f str, &'f dyn Fn(&mut Writer<'_>));
    let message = |fields: &[Field<'_>]| {
        let mut message = Vec::new();
        let mut writer = Writer::new(&mut message, Dialect::Notepack2);
        writer.map(fields.len());
        for (key, value) in fields {
            writer.string(key);
            value(&mut writer);
        }
        decode_msgpack(message.into())
    };
    let number = |number: f64| move |writer: &mut Writer<'_>| writer.number(number);
    let text = |text: &'static str| move |writer: &mut Writer<'_>| writer.string(text);
    let data = |json: &'static str| {
        move |writer: &mut Writer<'_>| sio_protocol::msgpack::write_json(json, &[], writer).unwrap()
    };
    let invalid = |field| Err(Malformed::FieldInvalid { field });
    let (event, nsp) = (&number(2.0), &text("/"));

    assert!(
        message(&[("data", &data("[\"a\"]")), ("x", &data("{}")), ("nsp", nsp), ("type", event)]).is_ok()
    );
    assert_eq!(message(&[("nsp", nsp), ("data", &data("[\"a\"]"))]), invalid("type"));
    for bad in [5.0, -1.0, 0.5, f64::NAN] {
        assert_eq!(
            message(&[("type", &number(bad)), ("nsp", nsp), ("data", &data("[\"a\"]"))]),
            invalid("type")
        );
    }
    assert_eq!(message(&[("type", event), ("data", &data("[\"a\"]"))]), invalid("nsp"));
    assert_eq!(
        message(&[("type", event), ("nsp", &number(1.0)), ("data", &data("[\"a\"]"))]),
        invalid("nsp")
    );
    assert_eq!(message(&[("type", event), ("nsp", nsp)]), invalid("data"));
    assert_eq!(
        message(&[("type", event), ("nsp", nsp), ("data", &|writer| writer.undefined())]),
        invalid("data")
    );
    assert_eq!(
        message(&[("type", event), ("nsp", nsp), ("data", &data("[]"))]),
        Err(Malformed::EventNameInvalid)
    );
    assert_eq!(
        message(&[("type", event), ("nsp", nsp), ("data", &data("[\"disconnect\"]"))]),
        Err(Malformed::EventNameReserved)
    );
    for bad in ["{}", "null", "\"a\""] {
        let result = message(&[("type", event), ("nsp", nsp), ("data", &data(bad))]);
        assert!(matches!(result, Err(Malformed::DataTypeMismatch { .. })), "{result:?}");
    }
    for (kind, bad) in [(0.0, "[]"), (0.0, "null"), (1.0, "{}"), (4.0, "[]"), (3.0, "{}")] {
        let result = message(&[("type", &number(kind)), ("nsp", nsp), ("data", &data(bad))]);
        assert!(matches!(result, Err(Malformed::DataTypeMismatch { .. })), "{result:?}");
    }
    let long = format!("/{}", "a".repeat(4_096));
    for (nsp, allowed) in [(&long[..4_096], true), (&long, false)] {
        let result =
            message(&[("type", event), ("nsp", &|writer| writer.string(nsp)), ("data", &data("[\"a\"]"))]);
        let refused = Err(Malformed::NamespaceTooLong { seen: 4_097, limit: 4_096 });
        assert!(if allowed { result.is_ok() } else { result == refused }, "{result:?}");
    }
    let with_id = |id: &dyn Fn(&mut Writer<'_>)| {
        message(&[("type", event), ("nsp", nsp), ("data", &data("[\"a\"]")), ("id", id)])
            .map(|packet| packet.id)
    };
    assert_eq!(with_id(&number(7.0)), Ok(Some(7)));
    assert_eq!(with_id(&|writer| writer.undefined()), Ok(None));
    assert_eq!(with_id(&|writer| writer.nil()), Err(Malformed::FieldInvalid { field: "id" }));
    assert_eq!(with_id(&number(-1.0)), Err(Malformed::FieldInvalid { field: "id" }));
    assert_eq!(with_id(&number(1.5)), Err(Malformed::FieldInvalid { field: "id" }));
    assert!(matches!(with_id(&number(9_007_199_254_740_992.0)), Err(Malformed::AckIdTooLarge { .. })));
    let message = encode_msgpack(&Packet::disconnect("/"));
    assert_eq!(Reader::new(&message).next_token(), Ok(Token::Map(2)));
    let trailing = [&message[..], &[0]].concat();
    assert_eq!(decode_msgpack(trailing.into()), Err(Malformed::MsgPackTrailingBytes { count: 1 }));
}
