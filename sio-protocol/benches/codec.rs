//! What encoding and decoding cost, message by message. See `support` for how it is run.

#![allow(missing_docs, clippy::print_stdout, reason = "a program, not a library")]
#![allow(clippy::unwrap_used, reason = "a case that fails has nothing to measure")]

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sio_protocol::Limits;
use sio_protocol::cluster::{Flags, Names, Opts, Payload, classic, sharded};
use sio_protocol::engineio::payload::{BodyKind, Decoder, Encoder};
use sio_protocol::engineio::{DataRef, PacketKind, Revision};
use sio_protocol::parser::{Frame, JsonParser, MsgPackParser, Parser};
use sio_protocol::socketio::{JsonDecoder, Packet, write_event};

mod support;

use support::Case;

/// A message as applications have it.
#[derive(Deserialize, Serialize)]
struct Said {
    from: String,
    text: String,
    at: u64,
    tags: Vec<String>,
}

fn main() {
    let mut cases = Vec::new();
    socketio(&mut cases);
    arguments(&mut cases);
    msgpack(&mut cases);
    payloads(&mut cases);
    cluster(&mut cases);
    support::main(cases);
}

fn event(size: usize) -> String {
    format!(r#"["bcast","{}"]"#, "x".repeat(size))
}

fn decoder() -> JsonDecoder {
    JsonDecoder::new(Arc::new(Limits::default()))
}

/// Packets in JSON, from and to messages.
fn socketio(cases: &mut Vec<Case>) {
    for (name, size) in
        [("decode event 64 B", 64), ("decode event 1 kB", 1024), ("decode event 64 kB", 65_536)]
    {
        let message = format!("2{}", event(size));
        let mut decoder = decoder();
        cases.push(Case::new(name, message.len(), if size > 10_000 { 100 } else { 2_000 }, move || {
            move || {
                let packet = decoder.decode_text(black_box(&message)).unwrap().unwrap();
                assert_eq!(black_box(packet).data.len(), message.len() - 1);
            }
        }));
    }
    let mut asking = decoder();
    let message = r#"2/chat,17["say",{"text":"hello","to":["a","b"]}]"#;
    cases.push(Case::new("decode event with ack and namespace", message.len(), 2_000, move || {
        move || {
            let packet = asking.decode_text(black_box(message)).unwrap().unwrap();
            assert_eq!(black_box(packet).id, Some(17));
        }
    }));
    let mut binary = decoder();
    let attachment = Bytes::from(vec![7; 1024]);
    let header = r#"51-["upload",{"_placeholder":true,"num":0}]"#;
    cases.push(Case::new("decode binary event 1 kB", 1024, 2_000, move || {
        move || {
            assert!(binary.decode_text(black_box(header)).unwrap().is_none());
            let packet = binary.decode_binary(black_box(attachment.clone())).unwrap().unwrap();
            assert_eq!(black_box(packet).attachments.len(), 1);
        }
    }));
    for (name, size) in [("encode event 64 B", 64), ("encode event 1 kB", 1024)] {
        let text = "x".repeat(size);
        let (mut data, mut attachments, mut messages) = (Vec::new(), Vec::new(), Vec::new());
        cases.push(Case::new(name, size, 2_000, move || {
            move || {
                data.clear();
                write_event(&mut data, &mut attachments, "bcast", black_box(&text)).unwrap();
                let packet = Packet::event("/", None, std::str::from_utf8(&data).unwrap(), Vec::new());
                messages.clear();
                JsonParser.encode(&packet, &mut messages);
                assert_eq!(black_box(&messages).len(), 1);
            }
        }));
    }
}

/// Typed arguments, from and to JSON.
fn arguments(cases: &mut Vec<Case>) {
    let said = || Said {
        from: "somebody".to_owned(),
        text: "a line as people write them, with \"quotes\"".to_owned(),
        at: 1_795_348_997,
        tags: vec!["one".to_owned(), "two".to_owned()],
    };
    let (mut data, mut attachments) = (Vec::new(), Vec::new());
    write_event(&mut data, &mut attachments, "said", &said()).unwrap();
    let text = String::from_utf8(data).unwrap();
    let packet = Packet::event("/", None, text.clone(), Vec::new());
    cases.push(Case::new("arguments into a struct", text.len(), 2_000, move || {
        move || {
            let said: Said = black_box(&packet).args().deserialize().unwrap();
            assert_eq!(black_box(said).at, 1_795_348_997);
        }
    }));
    let (mut data, mut attachments, said) = (Vec::new(), Vec::new(), said());
    cases.push(Case::new("arguments from a struct", text.len(), 2_000, move || {
        move || {
            data.clear();
            write_event(&mut data, &mut attachments, "said", black_box(&said)).unwrap();
            assert!(black_box(&data).len() > 50);
        }
    }));
}

/// The same packets in MessagePack.
fn msgpack(cases: &mut Vec<Case>) {
    for (encode, decode, size) in [
        ("encode event 64 B, MessagePack", "decode event 64 B, MessagePack", 64),
        ("encode event 1 kB, MessagePack", "decode event 1 kB, MessagePack", 1024),
    ] {
        let packet = Packet::event("/", None, event(size), Vec::new());
        let mut messages = Vec::new();
        MsgPackParser.encode(&packet, &mut messages);
        let Some(Frame::Binary(message)) = messages.first().cloned() else { panic!("one binary message") };
        cases.push(Case::new(encode, size, 2_000, move || {
            move || {
                messages.clear();
                MsgPackParser.encode(black_box(&packet), &mut messages);
                assert_eq!(black_box(&messages).len(), 1);
            }
        }));
        let mut decoder = MsgPackParser.decoder(&Limits::default());
        cases.push(Case::new(decode, size, 2_000, move || {
            move || {
                let packet = decoder.decode_binary(black_box(message.clone())).unwrap().unwrap();
                assert!(black_box(packet).data.len() > size);
            }
        }));
    }
}

/// Bodies of long polls.
fn payloads(cases: &mut Vec<Case>) {
    const PACKETS: usize = 10;
    let message = format!("2{}", event(64));
    for (encode, decode, revision) in [
        ("encode a payload of 10", "decode a payload of 10", Revision::V4),
        ("encode a payload of 10, revision 3", "decode a payload of 10, revision 3", Revision::V3),
    ] {
        let fill = move |message: &str| {
            let mut encoder = Encoder::new(revision, false, None);
            for _ in 0..PACKETS {
                encoder.push(PacketKind::Message, DataRef::Text(message));
            }
            encoder.finish().body
        };
        let body = fill(&message);
        let size = body.len();
        let text = message.clone();
        cases.push(Case::new(encode, size, 1_000, move || {
            move || {
                assert_eq!(black_box(fill(black_box(&text))).len(), size);
            }
        }));
        cases.push(Case::new(decode, size, 1_000, move || {
            move || {
                let packets = Decoder::new(revision, BodyKind::Text, black_box(&body));
                assert_eq!(packets.filter(|packet| packet.is_ok()).count(), PACKETS);
            }
        }));
    }
}

/// Broadcasts between the nodes of a cluster.
fn cluster(cases: &mut Vec<Case>) {
    const ROOMS: [&str; 1] = ["room0"];
    let rooms = || ROOMS.into_iter().collect::<Names<'_>>();
    let data = event(64);
    let size = data.len();
    let encode = move || {
        let packet = Packet::event("/", None, black_box(&data[..]), Vec::new());
        let opts = Opts::new(rooms(), &[][..], Flags::default());
        let mut message = Vec::new();
        classic::Broadcast::new("Ab_-12", Payload::from(&packet), opts).encode(&mut message).unwrap();
        message
    };
    let (message, limits) = (Bytes::from(encode()), Limits::default());
    cases.push(Case::new("encode a classic broadcast", size, 2_000, move || {
        move || {
            assert!(black_box(encode()).len() > 64);
        }
    }));
    cases.push(Case::new("decode a classic broadcast", size, 2_000, move || {
        move || {
            assert_eq!(classic::Broadcast::sender(black_box(&message)).unwrap(), "Ab_-12");
            let broadcast = classic::Broadcast::decode(black_box(&message), &limits).unwrap();
            let packet = broadcast.packet.to_packet().unwrap();
            assert_eq!(black_box(packet).data.len(), size);
        }
    }));

    let data = event(64);
    let encode = move || {
        let packet = Packet::event("/", None, black_box(&data[..]), Vec::new());
        let opts = Opts::new(rooms(), &[][..], Flags::default());
        let body = sharded::Body::Broadcast { packet: Payload::from(&packet), opts, request_id: None };
        let mut message = Vec::new();
        sharded::Message::new("a37804bd39eb2db8", "/", body).encode(&mut message).unwrap();
        message
    };
    let (message, limits) = (Bytes::from(encode()), Limits::default());
    cases.push(Case::new("encode a sharded broadcast", size, 2_000, move || {
        move || {
            assert!(black_box(encode()).len() > 64);
        }
    }));
    cases.push(Case::new("decode a sharded broadcast", size, 2_000, move || {
        move || {
            let message = sharded::Message::decode(black_box(&message), "/", &limits).unwrap();
            let sharded::Body::Broadcast { packet, .. } = message.body else { panic!("a broadcast") };
            assert_eq!(black_box(packet.to_packet().unwrap()).data.len(), size);
        }
    }));
}
