//! The messages that Node's Redis adapters and emitters were seen to publish, and the channels they used.
//!
//! Each message is read, and written again from what was read; and it is written from what the vector says is in
//! it, without our reader. Both have to give the bytes that Node sent.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

mod cluster_support;
mod socketio_support;

use bytes::Bytes;
use cluster_support::{
    broadcast_of, data_of, encode_broadcast, message_of, names_of, opts_of, request_of, response_of,
    v5_request_of, v5_response_of,
};
use sio_protocol::Limits;
use sio_protocol::cluster::classic::{
    Broadcast, Channels, PacketType, ReceivedRequest, ReceivedResponse, Request, Response,
};
use sio_protocol::cluster::sharded::{self, Message, Mode};
use sio_protocol::cluster::{Scope, namespaces_of};
use sio_protocol::socketio::{Value, read_value};
use socketio_support::{Exceptions, Vector, hex, unhex, untag, vectors};

/// Vectors of formats that are not here.
const SKIPPED: &[(&str, &str)] =
    &[("*-xadd", "entries of a Redis stream"), ("redis-streams-emitter@*", "entries of a Redis stream")];

/// Messages that are read, but written otherwise.
const WRITTEN_OTHERWISE: &[(&str, &str)] = &[
    ("*/broadcast/numbers", "BUG in the encoder: 1e300 became 0, in the form of a large number"),
    ("*/numeric-room*", "names of rooms are text here"),
    ("redis-adapter@7.2.0/broadcast/typed-array", "an extension of notepack.io 2, written as binary value"),
    ("redis-adapter@7.2.0/broadcast/arraybuffer", "an extension of notepack.io 2, written as binary value"),
    ("socket.io-redis@5.4.0/broadcast/undefined-date", "dates become text here, undefined becomes null"),
    ("redis-emitter@5.1.0/emit/date-undefined", "dates become text here"),
    ("redis-emitter@4.1.1/emit/date-undefined", "dates become text here, undefined becomes null"),
    ("redis-emitter@4.1.1/emit/binary", "an extension of notepack.io 2, written as binary value"),
    ("sharded-adapter@8.3.0/dynamic/broadcast/date-with-binary/*", "dates become text here"),
    ("sharded-adapter@8.2.1/*", "without namespace, as 8.3 does not send it any more"),
    ("socket.io-emitter@3.2.0/*", "without except, as later emitters do not send it any more"),
    ("streams-adapter@0.3.1/*", "MessagePack also where the sharded adapter has JSON"),
];

/// Messages that go to another channel.
const SENT_ELSEWHERE: &[(&str, &str)] = &[(
    "sharded-adapter@8.3.0/extra/eio3-to-id/*",
    "BUG in the adapter: nobody subscribes to that channel, so everybody gets the message",
)];

#[derive(Default)]
struct Counts {
    written: usize,
    read: usize,
    named: usize,
}

#[test]
fn every_cluster_vector_holds() {
    let mut skipped = Exceptions::new(SKIPPED);
    let mut otherwise = Exceptions::new(WRITTEN_OTHERWISE);
    let mut elsewhere = Exceptions::new(SENT_ELSEWHERE);
    let mut counts = Counts::default();
    let mut total = 0;
    for vector in ["redis-pubsub", "redis-sharded", "redis-extra", "emitter"].into_iter().flat_map(vectors) {
        total += 1;
        let name = vector.name();
        if skipped.covers(name) {
            continue;
        }
        if vector.get("args").is_some() {
            channels_have_these_names(&vector);
            counts.named += 1;
            continue;
        }
        let expected = if otherwise.covers(name) { None } else { Some(bytes_of(&vector)) };
        counts.written += usize::from(expected.is_some());
        counts.read += 1;
        match vector.text("command") {
            "PUBLISH" if !name.starts_with("streams-adapter@") => classic(&vector, expected.as_ref()),
            _ => sharded(&vector, expected.as_ref(), elsewhere.covers(name)),
        }
    }
    skipped.check_all_used();
    otherwise.check_all_used();
    elsewhere.check_all_used();
    assert_eq!(total, 142 + 70 + 31 + 30);
    assert_eq!((counts.named, counts.read, counts.written), (53, 211, 185));
}

fn bytes_of(vector: &Vector) -> Bytes {
    match vector.get("text") {
        Some(text) => text.as_str().unwrap().to_owned().into(),
        None => unhex(vector.text("hex")).into(),
    }
}

/// What is in the message, with tags for what JSON does not have.
fn content_of(vector: &Vector) -> Value {
    match vector.get("text") {
        Some(text) => serde_json::from_str(text.as_str().unwrap()).unwrap(),
        None => vector.get("decoded").unwrap().clone(),
    }
}

/// Compares what was written with what Node wrote, or, if that cannot be, what both say.
fn same_bytes(name: &str, written: &[u8], expected: Option<&Bytes>) {
    if let Some(expected) = expected {
        assert_eq!(String::from_utf8_lossy(written), String::from_utf8_lossy(expected), "{name}");
        assert_eq!(hex(written), hex(expected), "{name}");
    }
}

fn classic(vector: &Vector, expected: Option<&Bytes>) {
    let (name, channel, message) = (vector.name(), vector.text("channel"), bytes_of(vector));
    let (limits, content) = (Limits::default(), content_of(vector));
    let (prefix, nsp) = prefix_and_namespace(channel);
    let channels = Channels::new(prefix, nsp);
    let mut out = Vec::new();
    if channel == channels.request() {
        match Request::decode(&message, nsp, &limits).unwrap() {
            ReceivedRequest::Current(request) => {
                request.encode(&mut out).unwrap();
                same_bytes(name, &out, expected);
                same_bytes(name, &request_of(&content, nsp), expected);
            }
            ReceivedRequest::V5(request) => {
                request.encode(&mut out).unwrap();
                same_bytes(name, &out, expected);
                same_bytes(name, &v5_request_of(&content), expected);
            }
        }
    } else if channel.starts_with(channels.response()) {
        if channel != channels.response() {
            let uid = channel.strip_prefix(channels.response()).unwrap().strip_suffix('#').unwrap();
            assert_eq!(channels.private_response(uid), channel);
        }
        match Response::decode(&message, &limits).unwrap() {
            ReceivedResponse::Current(response) => {
                response.encode(&mut out).unwrap();
                same_bytes(name, &out, expected);
                same_bytes(name, &response_of(&content), expected);
            }
            ReceivedResponse::V5(response) => {
                response.encode(&mut out).unwrap();
                same_bytes(name, &out, expected);
                same_bytes(name, &v5_response_of(&content), expected);
            }
        }
    } else {
        broadcast(name, &message, &content, expected, (&channels, channel));
    }
}

fn broadcast(
    name: &str,
    message: &Bytes,
    content: &Value,
    expected: Option<&Bytes>,
    (channels, channel): (&Channels, &str),
) {
    let limits = Limits::default();
    let [uid, packet, opts] = content.as_array().unwrap() else { panic!("{name}") };
    let broadcast = Broadcast::decode(message, &limits).unwrap();
    assert_eq!(Broadcast::sender(message).unwrap(), uid.as_str().unwrap());
    assert_eq!(broadcast.uid, uid.as_str().unwrap());
    assert_eq!(broadcast.packet.nsp(), packet.get("nsp").unwrap().as_str().unwrap());
    assert_eq!(broadcast.opts, opts_of(opts), "{name}");
    assert_eq!(broadcast.opts.rooms, names_of(opts.get("rooms")), "{name}");
    let seen = broadcast.packet.to_packet().unwrap();
    assert_eq!(read_value::<Value>(&seen.data, &seen.attachments).unwrap(), data_of(packet), "{name}");
    let mut json = String::from("head room");
    assert_eq!(broadcast.packet.write_data(&mut json).unwrap(), seen.attachments);
    assert_eq!(json.strip_prefix("head room").unwrap(), seen.data);

    let kind = if name.contains("@5.4.0") { PacketType::BinaryEvent } else { PacketType::Event };
    let mut out = Vec::new();
    broadcast.encode_as(kind, &mut out).unwrap();
    same_bytes(name, &out, expected);
    assert_eq!(hex(&out), hex(&broadcast_of(content, kind)), "{name}");
    let again = Bytes::from(out);
    let again = Broadcast::decode(&again, &limits).unwrap();
    assert_eq!(again.packet.to_packet().unwrap(), seen);
    assert_eq!(again.opts, broadcast.opts);
    assert_eq!(encode_broadcast(&broadcast.uid, &seen, &broadcast.opts, kind), {
        let mut out = Vec::new();
        broadcast.encode_as(kind, &mut out).unwrap();
        out
    });

    assert_eq!(channels.target(&broadcast.opts), channel, "{name}");
    let scope = channels.scope_of(channel).unwrap();
    match broadcast.opts.rooms.single() {
        Some("") | None => assert_eq!(scope, Scope::All, "{name}"),
        Some(room) => assert_eq!(scope, Scope::One(room), "{name}"),
    }
}

fn sharded(vector: &Vector, expected: Option<&Bytes>, elsewhere: bool) {
    let (name, channel, message) = (vector.name(), vector.text("channel"), bytes_of(vector));
    let (limits, content) = (Limits::default(), content_of(vector));
    let (prefix, nsp) = prefix_and_namespace(channel);
    let seen = Message::decode(&message, nsp, &limits).unwrap();
    assert_eq!(seen.nsp, nsp, "{name}");
    let mut out = Vec::new();
    seen.encode(&mut out).unwrap();
    same_bytes(name, &out, expected);
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&message_of(&content, nsp)), "{name}");
    let again = Bytes::from(out);
    let again = Message::decode(&again, nsp, &limits).unwrap();
    let mut out = Vec::new();
    again.encode(&mut out).unwrap();
    assert_eq!(out, message_of(&content, nsp));

    let mode = match name {
        _ if name.contains("/static/") => Mode::Static,
        _ if name.contains("/dynamic-private/") => Mode::DynamicPrivate,
        _ => Mode::Dynamic,
    };
    let channels = sharded::Channels::new(prefix, nsp, mode);
    let kind = content.get("type").and_then(Value::as_u64).unwrap();
    if matches!(kind, 8 | 10 | 11 | 12) {
        let Some(Scope::One(uid)) = channels.scope_of(channel) else { panic!("{name}") };
        assert_eq!(uid.len(), 16);
        assert_eq!(channels.private(uid), channel);
    } else if elsewhere {
        assert_eq!(channels.target(&seen.body), channels.main());
        assert!(channels.scope_of(channel).is_some());
    } else {
        assert_eq!(channels.target(&seen.body), channel, "{name}");
    }
    let nsp = content.get("nsp").map_or(nsp, |nsp| nsp.as_str().unwrap());
    assert!(namespaces_of(prefix, channel).any(|(found, _)| found == nsp), "{name}");
}

/// Checks that the command of the vector names channels as they are named here.
fn channels_have_these_names(vector: &Vector) {
    let args = untag(vector.get("args").unwrap()).unwrap();
    let mut args = args.as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
    let command = args.next().unwrap();
    let counts = command.eq_ignore_ascii_case("pubsub");
    let counted = if counts { args.next() } else { None };
    for channel in args {
        let (prefix, nsp) = prefix_and_namespace(channel);
        let classic = Channels::new(prefix, nsp);
        let sharded = sharded::Channels::new(prefix, nsp, Mode::Dynamic);
        let last = |base: &str| {
            channel.strip_prefix(base).and_then(|rest| rest.strip_suffix('#')).map(str::to_owned)
        };
        let names = match (command.to_ascii_lowercase().as_str(), counted) {
            ("psubscribe" | "punsubscribe", None) => vec![classic.broadcast_pattern()],
            ("subscribe" | "unsubscribe", None) => vec![
                classic.request().to_owned(),
                classic.response().to_owned(),
                last(classic.response()).map(|uid| classic.private_response(&uid)).unwrap_or_default(),
            ],
            ("ssubscribe", None) => vec![
                sharded.main().to_owned(),
                last(sharded.main()).map(|uid| sharded.private(&uid)).unwrap_or_default(),
            ],
            ("pubsub", Some("numsub" | "NUMSUB")) => vec![classic.request().to_owned()],
            ("pubsub", Some("SHARDNUMSUB")) => vec![sharded.main().to_owned()],
            other => panic!("{other:?}"),
        };
        assert!(names.iter().any(|name| name == channel), "{channel} is none of {names:?}");
    }
}

fn prefix_and_namespace(channel: &str) -> (&str, &str) {
    let (prefix, rest) = channel.split_once('#').unwrap();
    let (nsp, _) = rest.split_once('#').unwrap();
    let prefix = prefix.strip_suffix("-request").or(prefix.strip_suffix("-response")).unwrap_or(prefix);
    (prefix, nsp)
}
