//! What the decoder of the default parser accepts, refuses and keeps.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::sync::Arc;

use bytes::Bytes;
use sio_protocol::socketio::{JsonDecoder, Packet, PacketKind, Value};
use sio_protocol::{Limits, Malformed};

fn decoder() -> JsonDecoder {
    JsonDecoder::new(Arc::new(Limits::default()))
}

fn decode(text: &str) -> Result<Option<Packet<'_>>, Malformed> {
    decoder().decode_text(text)
}

/// Decodes a packet whose attachments are "0", "1" and so on.
fn decode_binary(text: &str, attachments: usize) -> Result<Packet<'static>, Malformed> {
    let mut decoder = decoder();
    assert_eq!(decoder.decode_text(text)?, None);
    for index in 0..attachments - 1 {
        assert_eq!(decoder.decode_binary(index.to_string().into())?, None);
    }
    decoder.decode_binary((attachments - 1).to_string().into()).map(Option::unwrap)
}

#[test]
fn plain_packets_borrow_everything() {
    let packet = decode("2/admin,7[\"a\",1]").unwrap().unwrap();
    assert!(matches!(packet.nsp, std::borrow::Cow::Borrowed("/admin")));
    assert!(matches!(packet.data, std::borrow::Cow::Borrowed("[\"a\",1]")));
    assert_eq!((packet.kind, packet.id), (PacketKind::Event, Some(7)));
    assert_eq!(packet, Packet::event("/admin", Some(7), "[\"a\",1]", vec![]));
    assert_eq!(packet.clone().into_owned(), packet);
}

#[test]
fn the_decoder_is_small() {
    assert!(size_of::<JsonDecoder>() <= 16);
}

#[test]
fn white_space_is_accepted_inside_and_after_the_data_but_not_before_it() {
    let packet = decode("2[ \"a\" ,\n{ \"b\" : [ 1 , 2 ] } ] \r\n").unwrap().unwrap();
    assert_eq!(packet.data, "[ \"a\" ,\n{ \"b\" : [ 1 , 2 ] } ]");
    assert_eq!(packet.args().len(), 1);
    for text in ["2 [\"a\"]", "2\n[\"a\"]", "2/x, [\"a\"]", "21 [\"a\"]"] {
        assert!(
            matches!(decode(text), Err(Malformed::DataTypeMismatch { kind: PacketKind::Event, .. })),
            "{text}"
        );
    }
}

#[test]
fn reserved_names_are_refused_however_they_are_written() {
    for name in [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
        "disc\\u006fnnect",
    ] {
        assert_eq!(decode(&format!("2[\"{name}\"]")), Err(Malformed::EventNameReserved), "{name}");
        assert_eq!(decode(&format!("51-[\"{name}\"]")), Err(Malformed::EventNameReserved), "{name}");
    }
    for name in ["error", "__proto__", "connection", "Connect", ""] {
        assert!(decode(&format!("2[\"{name}\"]")).is_ok(), "{name}");
    }
    // Only events are named.
    assert!(decode("31[\"disconnect\"]").is_ok());
}

#[test]
fn lone_surrogates_become_replacement_characters() {
    let packet = decode(r#"2["a\ud800","\ude00x","\ud83d\ude00"]"#).unwrap().unwrap();
    assert_eq!(packet.event_name().as_deref(), Some("a\u{fffd}"));
    assert_eq!(packet.args().deserialize::<(String, String)>(), Ok(("\u{fffd}x".into(), "😀".into())));
}

#[test]
fn numbers_beyond_doubles_are_left_to_the_receiver() {
    let packet = decode("2[\"a\",1e400]").unwrap().unwrap();
    assert!(packet.args().deserialize::<f64>().is_err());
    assert_eq!(packet.args().values().unwrap()[0].as_f64(), Some(f64::INFINITY));
}

#[test]
fn messages_out_of_turn_are_refused() {
    let mut decoder = decoder();
    assert_eq!(decoder.decode_binary(Bytes::new()), Err(Malformed::BinaryUnexpected));
    assert_eq!(decoder.decode_text("52-[\"a\"]"), Ok(None));
    assert!(decoder.is_pending());
    assert_eq!(decoder.decode_binary(Bytes::new()), Ok(None));
    assert_eq!(decoder.decode_text("2[\"a\"]"), Err(Malformed::TextWhileBinaryPending { outstanding: 1 }));
    assert!(!decoder.is_pending());
}

#[test]
fn binary_packets_need_no_placeholder_and_no_data() {
    let packet = decode_binary("52-", 2).unwrap();
    assert_eq!((packet.kind, &*packet.data, packet.attachments.len()), (PacketKind::Event, "", 2));
    let packet = decode_binary("61-/x,5[]", 1).unwrap();
    assert_eq!((packet.kind, packet.id, &*packet.data), (PacketKind::Ack, Some(5), "[]"));
}

#[test]
fn placeholders_are_brought_into_one_form() {
    for (data, expected) in [
        (r#"[ "a" , { "_placeholder" : true , "num" : 1 } ]"#, r#"[ "a" , {"_placeholder":true,"num":1} ]"#),
        (r#"["a",{"num":0,"_placeholder":true}]"#, r#"["a",{"_placeholder":true,"num":0}]"#),
        (r#"["a",{"_placeholder":true,"num":1.0}]"#, r#"["a",{"_placeholder":true,"num":1}]"#),
        (r#"["a",{"_placeholder":true,"num":-0}]"#, r#"["a",{"_placeholder":true,"num":0}]"#),
        (r#"["a",{"\u005fplaceholder":true,"n\u0075m":1e0}]"#, r#"["a",{"_placeholder":true,"num":1}]"#),
        (
            r#"["a",{"x":[{"y":2}],"_placeholder":true,"num":1},3]"#,
            r#"["a",{"_placeholder":true,"num":1},3]"#,
        ),
        (
            r#"["a",{"x":{ "_placeholder":true,"num":0},"_placeholder":true,"num":1},{ "_placeholder":true,"num":0}]"#,
            r#"["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
        ),
        (
            r#"["a",{"_placeholder":false,"num":9,"_placeholder":true,"num":1}]"#,
            r#"["a",{"_placeholder":true,"num":1}]"#,
        ),
        // No placeholders: only `true` makes one.
        (r#"["a",{"_placeholder":1,"num":9}]"#, r#"["a",{"_placeholder":1,"num":9}]"#),
        (r#"["a",{"_placeholder":"true","num":9}]"#, r#"["a",{"_placeholder":"true","num":9}]"#),
        (
            r#"["a",{"_placeholder":true,"_placeholder":false}]"#,
            r#"["a",{"_placeholder":true,"_placeholder":false}]"#,
        ),
        (r#"["_placeholder",true,"num"]"#, r#"["_placeholder",true,"num"]"#),
    ] {
        let packet =
            decode_binary(&format!("52-{data}"), 2).unwrap_or_else(|error| panic!("{data}: {error}"));
        assert_eq!(packet.data, expected, "{data}");
        assert!(packet.event_name().is_some());
        packet.args().values().unwrap();
    }
}

#[test]
fn placeholders_for_no_attachment_are_refused() {
    for num in
        ["2", "-1", "0.5", "\"0\"", "null", "true", "[]", "{}", "1e99", "1e400", "18446744073709551616"]
    {
        for data in [
            format!(r#"["a",{{"_placeholder":true,"num":{num}}}]"#),
            format!(r#"["a",[{{ "num":{num}, "_placeholder":true }}]]"#),
        ] {
            let result = decode(&format!("52-{data}")).map(|_| ());
            assert_eq!(result, Err(Malformed::PlaceholderInvalid { attachments: 2 }), "{data}");
        }
    }
    let result = decode(r#"51-["a",{"_placeholder":true}]"#).map(|_| ());
    assert_eq!(result, Err(Malformed::PlaceholderInvalid { attachments: 1 }));
    // Without attachments it is data.
    assert!(decode(r#"2["a",{"_placeholder":true,"num":5}]"#).is_ok());
}

#[test]
fn attachments_are_bounded_in_number_and_size() {
    assert_eq!(decode("511-[\"a\"]"), Err(Malformed::AttachmentsExceeded { seen: 11, limit: 10 }));
    let mut limits = Limits::default();
    limits.max_attachments = 3;
    limits.max_attachment_bytes = 10;
    let mut decoder = JsonDecoder::new(Arc::new(limits));
    assert!(decoder.decode_text("54-[\"a\"]").is_err());
    assert_eq!(decoder.decode_text("53-[\"a\"]"), Ok(None));
    assert_eq!(decoder.decode_binary(vec![0; 6].into()), Ok(None));
    assert_eq!(decoder.decode_binary(vec![0; 4].into()), Ok(None));
    let result = decoder.decode_binary(vec![0; 1].into());
    assert_eq!(result, Err(Malformed::AttachmentBytesExceeded { seen: 11, limit: 10 }));
    assert!(!decoder.is_pending());
}

#[test]
fn an_attachment_counts_as_often_as_the_data_refers_to_it() {
    let mut limits = Limits::default();
    limits.max_attachment_bytes = 10;
    let mut decoder = JsonDecoder::new(Arc::new(limits));
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    let spelled_differently = r#"{"num":0,"_placeholder":true}"#;
    for other in [placeholder, spelled_differently] {
        let text = format!(r#"51-["a",{placeholder},[{other}]]"#);
        assert_eq!(decoder.decode_text(&text), Ok(None));
        let packet = decoder.decode_binary(vec![7; 5].into()).unwrap().unwrap();
        assert_eq!(packet.args().values().unwrap()[0], Value::Binary(vec![7; 5].into()));
        assert_eq!(decoder.decode_text(&text), Ok(None));
        let result = decoder.decode_binary(vec![7; 6].into());
        assert_eq!(result, Err(Malformed::AttachmentBytesExceeded { seen: 12, limit: 10 }));
    }
    // A text and an attachment of a megabyte each, which would deserialise to 30 gigabytes.
    let text = format!("51-[\"a\"{}]", format!(",{placeholder}").repeat(33_000));
    let mut decoder = JsonDecoder::new(Arc::new(Limits::default()));
    assert_eq!(decoder.decode_text(&text), Ok(None));
    let result = decoder.decode_binary(vec![0; 1_000_000].into());
    assert!(matches!(result, Err(Malformed::AttachmentBytesExceeded { .. })));
}

#[test]
fn nesting_is_bounded_for_every_kind() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for text in [
        format!("2[\"a\",{deep}]"),
        format!("31{deep}"),
        format!("0{{\"a\":{deep}}}"),
        format!("51-[\"a\",{deep}]"),
    ] {
        assert_eq!(decode(&text), Err(Malformed::NestingExceeded { limit: 127 }));
    }
    let just = format!("2[\"a\",{}{}]", "[".repeat(126), "]".repeat(126));
    assert!(decode(&just).unwrap().unwrap().args().deserialize::<Value>().is_ok());
    assert!(decode(&just).unwrap().unwrap().args().deserialize::<(serde_json::Value,)>().is_ok());
}

#[test]
fn data_must_fit_the_kind() {
    for text in [
        "0",
        "0{}",
        "1",
        "1/a,",
        "2",
        "3",
        "31",
        "31[]",
        "4",
        "4{}",
        "4\"x\"",
        "2[\"a\"]",
        "2[1]",
        "2[1.5,{}]",
        "0/a?b=c",
    ] {
        assert!(decode(text).is_ok(), "{text}");
    }
    for text in [
        "0[]", "0null", "0\"x\"", "01x", "1{}", "1[]", "12{}", "2{}", "2\"a\"", "2null", "31{}", "4[]",
        "4null", "41[1]",
    ] {
        assert!(decode(text).is_err(), "{text}");
    }
    for text in ["2[]", "2[null]", "2[[]]", "2[{}]", "2[true]"] {
        assert_eq!(decode(text), Err(Malformed::EventNameInvalid), "{text}");
    }
    for text in ["2[\"a\"", "2[\"a\"]x", "2[\"a\",]", "0{\"a\"}", "31[", "4\"x", "2[01]"] {
        assert!(matches!(decode(text), Err(Malformed::JsonInvalid { .. })), "{text}");
    }
}
