//! Random messages: what is written reads as what it was, bytes that are damaged do no harm, and what is read
//! once reads the same when it is written and read again.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

mod cluster_support;
mod socketio_support;

use bytes::Bytes;
use cluster_support::{broadcast_of, message_of, request_of, response_of};
use sio_protocol::Limits;
use sio_protocol::cluster::classic::{
    Broadcast, Channels, PacketType, ReceivedRequest, ReceivedResponse, Request, RequestBody, Response,
};
use sio_protocol::cluster::sharded::{self, Body, Message, Mode};
use sio_protocol::cluster::{Names, Opts, Scope, namespaces_of};
use sio_protocol::msgpack::{Dialect, Writer, write_json};
use sio_protocol::socketio::{Value, read_value, write_value};
use socketio_support::{Generator, hex};

fn object(entries: Vec<(&str, Value)>) -> Value {
    Value::Object(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn count(random: &mut Generator, limit: usize) -> Value {
    Value::from(random.below(limit) as u64)
}

fn names(random: &mut Generator) -> Value {
    Value::Array((0..random.below(4)).map(|_| random.text().into()).collect())
}

fn event(random: &mut Generator, binary: bool) -> Value {
    let mut items = vec![Value::from(format!("e{}", random.text()))];
    items.extend((0..random.below(4)).map(|_| random.value(3, binary)));
    Value::Array(items)
}

fn opts(random: &mut Generator, flags: bool) -> Value {
    let mut entries = vec![("rooms", names(random)), ("except", names(random))];
    if flags {
        let mut set = Vec::new();
        if random.below(3) == 0 {
            set.push(("volatile", true.into()));
        }
        if random.below(3) == 0 {
            set.push(("compress", (random.below(2) == 0).into()));
        }
        if random.below(3) == 0 {
            set.push(("timeout", count(random, 100_000)));
        }
        entries.push(("flags", object(set)));
    }
    object(entries)
}

fn packet(random: &mut Generator, nsp: Option<&str>) -> Value {
    let mut entries = vec![("type", 2.into()), ("data", event(random, true))];
    entries.extend(nsp.map(|nsp| ("nsp", nsp.into())));
    object(entries)
}

fn sockets(random: &mut Generator, binary: bool) -> Value {
    let one = |random: &mut Generator| {
        object(vec![
            ("id", random.text().into()),
            ("handshake", object(vec![("url", random.text().into())])),
            ("rooms", names(random)),
            ("data", random.value(2, binary)),
        ])
    };
    Value::Array((0..random.below(3)).map(|_| one(random)).collect())
}

fn request(random: &mut Generator) -> Value {
    let kind = random.below(8);
    let mut entries = vec![
        ("uid", "Ab_-12".into()),
        ("requestId", random.text().into()),
        ("type", Value::from(kind as u64)),
    ];
    match kind {
        0 => entries.push(("rooms", names(random))),
        2 | 3 if random.below(2) == 0 => {
            entries.extend([("sid", random.text().into()), ("room", random.text().into())]);
        }
        2 | 3 => entries.extend([("opts", opts(random, false)), ("rooms", names(random))]),
        4 => entries.extend([("opts", opts(random, false)), ("close", (random.below(2) == 0).into())]),
        5 => entries.push(("opts", opts(random, false))),
        6 => entries.push(("data", event(random, false))),
        7 => entries.extend([("packet", packet(random, Some("/n"))), ("opts", opts(random, true))]),
        _ => {}
    }
    object(entries)
}

fn response(random: &mut Generator) -> Value {
    let id = ("requestId", random.text().into());
    object(match random.below(6) {
        0 => vec![id],
        1 => vec![id, ("rooms", names(random))],
        2 => vec![id, ("sockets", sockets(random, false))],
        3 => vec![("type", 6.into()), id, ("data", random.value(3, false))],
        4 => vec![("type", 8.into()), id, ("clientCount", count(random, 1_000))],
        _ => vec![("type", 9.into()), id, ("packet", random.value(3, true))],
    })
}

fn message(random: &mut Generator) -> Value {
    let kind = 1 + random.below(13);
    let id = ("requestId", random.text().into());
    let data = match kind {
        3 => {
            let mut entries = vec![("packet", packet(random, None))];
            entries.extend((random.below(2) == 0).then_some(id));
            entries.push(("opts", opts(random, true)));
            entries
        }
        4 | 5 => vec![("opts", opts(random, true)), ("rooms", names(random))],
        6 => vec![("opts", opts(random, true)), ("close", (random.below(2) == 0).into())],
        7 => vec![("opts", opts(random, true)), id],
        8 => vec![id, ("sockets", sockets(random, true))],
        9 => {
            let mut entries = Vec::from_iter((random.below(2) == 0).then_some(id));
            entries.push(("packet", event(random, true)));
            entries
        }
        10 | 12 => vec![id, ("packet", random.value(3, true))],
        11 => vec![id, ("clientCount", count(random, 1_000))],
        _ => Vec::new(),
    };
    let mut entries = vec![("type", Value::from(kind as u64))];
    if !data.is_empty() {
        entries.push(("data", object(data)));
    }
    entries.extend([("uid", "0123456789abcdef".into()), ("nsp", "/n".into())]);
    object(entries)
}

/// Brings the keys of all maps but those in events and opaque values into another order.
fn shuffled(random: &mut Generator, value: &Value) -> Value {
    const OPAQUE: [&str; 3] = ["data", "packet", "handshake"];
    match value {
        Value::Object(entries) => {
            let mut entries: Vec<(String, Value)> = entries
                .iter()
                .map(|(key, value)| {
                    let opaque = OPAQUE.contains(&key.as_str()) && value.get("opts").is_none();
                    (key.clone(), if opaque { value.clone() } else { shuffled(random, value) })
                })
                .collect();
            for at in (1..entries.len()).rev() {
                entries.swap(at, random.below(at + 1));
            }
            Value::Object(entries)
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| shuffled(random, item)).collect()),
        other => other.clone(),
    }
}

fn write(value: &Value, dialect: Option<Dialect>) -> Bytes {
    let (mut json, mut attachments) = (Vec::new(), Vec::new());
    write_value(&mut json, &mut attachments, value).unwrap();
    let Some(dialect) = dialect else { return json.into() };
    let mut out = Vec::new();
    let json = String::from_utf8(json).unwrap();
    write_json(&json, &attachments, &mut Writer::new(&mut out, dialect)).unwrap();
    out.into()
}

fn has_binary(value: &Value) -> bool {
    match value {
        Value::Binary(_) => true,
        Value::Array(items) => items.iter().any(has_binary),
        Value::Object(entries) => entries.iter().any(|(_, value)| has_binary(value)),
        _ => false,
    }
}

/// Reads a message and writes it again; `None` if it is refused.
type Again = fn(&Bytes) -> Option<Vec<u8>>;

/// The usual limits, but for events with as many binary values as chance gives them.
fn roomy() -> Limits {
    let mut limits = Limits::default();
    limits.max_attachments = limits.max_inline_attachments;
    limits
}

fn request_again(bytes: &Bytes) -> Option<Vec<u8>> {
    let (limits, mut out) = (roomy(), Vec::new());
    match Request::decode(bytes, "/n", &limits).ok()? {
        ReceivedRequest::Current(request) => request.encode(&mut out).ok()?,
        ReceivedRequest::V5(request) => request.encode(&mut out).ok()?,
    }
    Some(out)
}

fn response_again(bytes: &Bytes) -> Option<Vec<u8>> {
    let (limits, mut out) = (roomy(), Vec::new());
    match Response::decode(bytes, &limits).ok()? {
        ReceivedResponse::Current(response) => response.encode(&mut out).ok()?,
        ReceivedResponse::V5(response) => response.encode(&mut out).ok()?,
    }
    Some(out)
}

fn message_again(bytes: &Bytes) -> Option<Vec<u8>> {
    let (limits, mut out) = (roomy(), Vec::new());
    Message::decode(bytes, "/n", &limits).ok()?.encode(&mut out).ok()?;
    Some(out)
}

fn broadcast_again(bytes: &Bytes) -> Option<Vec<u8>> {
    let (limits, mut out) = (roomy(), Vec::new());
    let broadcast = Broadcast::decode(bytes, &limits).ok()?;
    assert_eq!(Broadcast::sender(bytes).unwrap(), broadcast.uid);
    broadcast.encode(&mut out).ok()?;
    let packet = broadcast.packet.to_packet().unwrap();
    let mut json = String::new();
    assert_eq!(broadcast.packet.write_data(&mut json).unwrap(), packet.attachments);
    assert_eq!(json, packet.data);
    assert!(packet.event_name().is_some());
    Some(out)
}

/// Damages a message: cuts it off, or changes, removes or repeats a part.
fn damaged(random: &mut Generator, bytes: &[u8]) -> Bytes {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len().max(1));
        match random.below(5) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            3 if !bytes.is_empty() => {
                bytes.remove(at);
            }
            _ => {
                let end = (at + random.below(20)).min(bytes.len());
                let part = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes.into()
}

#[test]
fn what_is_written_reads_as_what_it_was() {
    let mut random = Generator::new(1);
    for round in 0..4_000 {
        let (content, written, again): (_, _, Again) = match round % 4 {
            0 => {
                let content = Value::Array(vec![
                    "Ab_-12".into(),
                    packet(&mut random, Some("/n")),
                    opts(&mut random, true),
                ]);
                let written = broadcast_of(&content, PacketType::Event);
                (content, written, broadcast_again)
            }
            1 => {
                let content = request(&mut random);
                let written = request_of(&content, "/n");
                (content, written, request_again)
            }
            2 => {
                let content = response(&mut random);
                let written = response_of(&content);
                (content, written, response_again)
            }
            _ => {
                let content = message(&mut random);
                let written = message_of(&content, "/n");
                (content, written, message_again)
            }
        };
        // What is written is the content, in one notation or the other.
        let expected = match written.first() {
            Some(b'{') => write(&content, None),
            _ => write(&content, Some(Dialect::Notepack3)),
        };
        assert_eq!(hex(&written), hex(&expected), "{content:?}");
        assert_eq!(again(&written.clone().into()).unwrap(), written, "{content:?}");
        // It reads the same in the other notation, in other dialects and in another order.
        let content = shuffled(&mut random, &content);
        let mut forms = vec![Some(Dialect::Notepack2), Some(Dialect::Notepack3), Some(Dialect::MsgPack2)];
        if round % 4 != 0 && !has_binary(&content) {
            forms.push(None);
        }
        for form in forms {
            let other = again(&write(&content, form)).unwrap();
            // That one writes integers beyond 53 bits as doubles.
            if form != Some(Dialect::MsgPack2) {
                assert_eq!(hex(&other), hex(&written), "{form:?} of {content:?}");
            }
        }
        for _ in 0..4 {
            let bytes = damaged(&mut random, &written);
            harmless(&bytes);
        }
    }
}

/// Reads bytes as anything that they could be.
fn harmless(bytes: &Bytes) {
    for again in [broadcast_again, request_again, response_again, message_again] {
        if let Some(written) = again(bytes).map(Bytes::from) {
            assert_eq!(again(&written).as_deref(), Some(&written[..]), "{}", hex(bytes));
        }
    }
    let limits = Limits::default();
    let _ = Broadcast::sender(bytes);
    if let Ok(ReceivedRequest::Current(request)) = Request::decode(bytes, "/n", &limits)
        && let RequestBody::Broadcast { packet, .. } | RequestBody::ServerSideEmit { packet } = request.body
        && let Ok(packet) = packet.to_packet()
    {
        assert!(packet.data.starts_with('[') && packet.event_name().is_some());
        read_value::<Value>(&packet.data, &packet.attachments).unwrap();
    }
    if let Ok(message) = Message::decode(bytes, "/n", &limits)
        && let Body::Broadcast { packet, .. } = message.body
        && let Ok(packet) = packet.to_packet()
    {
        assert!(packet.data.starts_with('['));
        read_value::<Value>(&packet.data, &packet.attachments).unwrap();
    }
}

#[test]
fn random_bytes_do_no_harm() {
    let mut random = Generator::new(2);
    for _ in 0..20_000 {
        let mut bytes = random.bytes(60);
        match random.below(3) {
            0 => bytes.insert(0, b'{'),
            1 => bytes.splice(0..0, *b"\x93\xa1u\x83\xa4type\x02\xa4data").for_each(drop),
            _ => {}
        }
        harmless(&bytes.into());
    }
}

#[test]
fn a_channel_leads_back_to_its_room() {
    let mut random = Generator::new(3);
    for _ in 0..2_000 {
        let (prefix, room) = (format!("p{}", random.text().replace('#', "")), random.text());
        let nsp = format!("/{}", random.text());
        let room = if random.below(3) == 0 { format!("{room}#{room}") } else { room };
        let channels = Channels::new(&prefix, &nsp);
        let rooms = [room.clone()];
        let opts = Opts::new(&rooms[..], Names::default(), Default::default());
        let channel = channels.target(&opts);
        let expected = if room.is_empty() { Scope::All } else { Scope::One(&room) };
        assert_eq!(channels.scope_of(&channel), Some(expected));
        assert!(namespaces_of(&prefix, &channel).any(|found| found == (nsp.as_str(), expected)), "{channel}");
        let sharded = sharded::Channels::new(&prefix, &nsp, Mode::DynamicPrivate);
        assert_eq!(sharded.room(&room), channel);
        assert_eq!(sharded.scope_of(&channel), Some(expected));
        assert_eq!(channels.scope_of(channels.broadcast()), Some(Scope::All));
        assert_eq!(channels.scope_of(channels.request()), None);
    }
}
