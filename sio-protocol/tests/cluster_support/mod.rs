//! Writes messages from what is in them, given as a tree. Says on its own which field means what, so that the
//! writers are checked without the readers.

#![allow(dead_code, reason = "every test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::borrow::Cow;

use sio_protocol::cluster::classic::{
    Broadcast, PacketType, Request, RequestBody, Response, ResponseBody, v5,
};
use sio_protocol::cluster::sharded::{Body, Message};
use sio_protocol::cluster::{Flags, Names, Opaque, Opts, Payload, SocketEntry};
use sio_protocol::socketio::{Packet, Value, write_value};

use crate::socketio_support::untag;

/// The text and the attachments of a value.
pub(crate) fn opaque_of(value: &Value) -> Opaque<'static> {
    let (mut json, mut attachments) = (Vec::new(), Vec::new());
    write_value(&mut json, &mut attachments, &untag(value).unwrap_or_default()).unwrap();
    Opaque::new(String::from_utf8(json).unwrap(), attachments)
}

pub(crate) fn event_of(data: &Value, nsp: &str) -> Packet<'static> {
    let data = opaque_of(data);
    Packet::event(nsp.to_owned(), None, data.json, data.attachments)
}

pub(crate) fn names_of(names: Option<&Value>) -> Names<'static> {
    let names = names.and_then(Value::as_array).unwrap_or_default();
    let text = |name: &Value| match name {
        Value::String(name) => Cow::Owned(name.clone()),
        Value::Number(name) => Cow::Owned(name.to_string()),
        other => panic!("{other:?}"),
    };
    names.iter().map(text).collect::<Vec<_>>().into()
}

pub(crate) fn opts_of(opts: &Value) -> Opts<'static> {
    let mut flags = Flags::default();
    let flag = |name| opts.get("flags").and_then(|flags| flags.get(name));
    flags.volatile = flag("volatile").is_some();
    flags.compress = flag("compress").and_then(Value::as_bool);
    flags.expect_single_response = flag("expectSingleResponse").is_some();
    flags.timeout = flag("timeout").and_then(Value::as_u64);
    Opts::new(names_of(opts.get("rooms")), names_of(opts.get("except")), flags)
}

/// What is in `data`, as clients see it.
pub(crate) fn data_of(packet: &Value) -> Value {
    untag(packet.get("data").unwrap()).unwrap()
}

pub(crate) fn encode_broadcast(uid: &str, packet: &Packet<'_>, opts: &Opts<'_>, kind: PacketType) -> Vec<u8> {
    let mut out = Vec::new();
    Broadcast::new(uid, Payload::from(packet), opts.clone()).encode_as(kind, &mut out).unwrap();
    out
}

pub(crate) fn broadcast_of(content: &Value, kind: PacketType) -> Vec<u8> {
    let [uid, packet, opts] = content.as_array().unwrap() else { panic!() };
    let event = event_of(packet.get("data").unwrap(), packet.get("nsp").unwrap().as_str().unwrap());
    encode_broadcast(uid.as_str().unwrap(), &event, &opts_of(opts), kind)
}

fn text(value: &Value, key: &str) -> Cow<'static, str> {
    value.get(key).and_then(Value::as_str).unwrap().to_owned().into()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap()
}

pub(crate) fn request_of(content: &Value, nsp: &str) -> Vec<u8> {
    let event = match (content.get("data"), content.get("packet")) {
        (Some(data), _) => event_of(data, nsp),
        (_, Some(packet)) => {
            event_of(packet.get("data").unwrap(), packet.get("nsp").unwrap().as_str().unwrap())
        }
        _ => event_of(&Value::Null, nsp),
    };
    let packet = Payload::from(&event);
    let opts = content.get("opts").map(opts_of);
    let rooms = names_of(content.get("rooms"));
    let body = match (content.get("type").and_then(Value::as_u64).unwrap(), opts) {
        (0, None) => RequestBody::Sockets { rooms },
        (1, None) => RequestBody::AllRooms,
        (2, Some(opts)) => RequestBody::Join { opts, rooms },
        (2, None) => RequestBody::JoinOne { sid: text(content, "sid"), room: text(content, "room") },
        (3, Some(opts)) => RequestBody::Leave { opts, rooms },
        (3, None) => RequestBody::LeaveOne { sid: text(content, "sid"), room: text(content, "room") },
        (4, Some(opts)) => RequestBody::Disconnect { opts, close: flag(content, "close") },
        (5, Some(opts)) => RequestBody::FetchSockets { opts },
        (6, None) => RequestBody::ServerSideEmit { packet },
        (7, Some(opts)) => RequestBody::Broadcast { packet, opts },
        (other, _) => panic!("type {other}"),
    };
    let uid = content.get("uid").and_then(Value::as_str);
    let id = content.get("requestId").and_then(Value::as_str);
    let request = match uid {
        Some("emitter") => Request::from_emitter(body),
        Some(uid) => Request::new(uid, id, body),
        None => {
            let mut request = Request::from_emitter(body);
            request.request_id = id.map(Into::into);
            request
        }
    };
    let mut out = Vec::new();
    request.encode(&mut out).unwrap();
    out
}

pub(crate) fn sockets_of(sockets: &Value) -> Vec<SocketEntry<'static>> {
    let entry = |socket: &Value| {
        let handshake = opaque_of(socket.get("handshake").unwrap());
        let data = socket.get("data").map(opaque_of);
        SocketEntry::new(text(socket, "id"), handshake, names_of(socket.get("rooms")), data)
    };
    sockets.as_array().unwrap().iter().map(entry).collect()
}

pub(crate) fn response_of(content: &Value) -> Vec<u8> {
    let sockets = content.get("sockets");
    let ids = sockets.and_then(|ids| ids.as_array()?.first()).is_some_and(|id| id.as_str().is_some());
    let body = match (content.get("type").and_then(Value::as_u64), sockets, content.get("rooms")) {
        (Some(6), ..) => ResponseBody::ServerSideEmit(content.get("data").map(opaque_of)),
        (Some(8), ..) => {
            ResponseBody::ClientCount(content.get("clientCount").and_then(Value::as_u64).unwrap())
        }
        (Some(9), ..) => ResponseBody::Ack(content.get("packet").map(opaque_of)),
        (None, Some(_), _) if ids => ResponseBody::SocketIds(names_of(sockets)),
        (None, Some(sockets), _) => ResponseBody::Sockets(sockets_of(sockets)),
        (None, None, rooms @ Some(_)) => ResponseBody::Rooms(names_of(rooms)),
        (None, None, None) => ResponseBody::Done,
        (Some(other), ..) => panic!("type {other}"),
    };
    let mut out = Vec::new();
    Response::new(text(content, "requestId"), body).encode(&mut out).unwrap();
    out
}

pub(crate) fn v5_request_of(content: &Value) -> Vec<u8> {
    let body = match content.get("type").and_then(Value::as_u64).unwrap() {
        1 => v5::RequestBody::ClientRooms { sid: text(content, "sid") },
        2 => v5::RequestBody::AllRooms,
        3 => v5::RequestBody::Join { sid: text(content, "sid"), room: text(content, "room") },
        4 => v5::RequestBody::Leave { sid: text(content, "sid"), room: text(content, "room") },
        5 => v5::RequestBody::Custom { data: opaque_of(content.get("data").unwrap()) },
        other => panic!("type {other}"),
    };
    let mut out = Vec::new();
    v5::Request::new(text(content, "requestid"), body).encode(&mut out).unwrap();
    out
}

pub(crate) fn v5_response_of(content: &Value) -> Vec<u8> {
    let body = match (content.get("rooms"), content.get("data")) {
        (rooms @ Some(_), _) => v5::ResponseBody::Rooms(names_of(rooms)),
        (_, Some(data)) => v5::ResponseBody::Custom(opaque_of(data)),
        _ => v5::ResponseBody::Done,
    };
    let mut out = Vec::new();
    v5::Response::new(text(content, "requestid"), body).encode(&mut out).unwrap();
    out
}

/// The message of the sharded dialect. `nsp` counts if the content names no namespace.
pub(crate) fn message_of(content: &Value, nsp: &str) -> Vec<u8> {
    let nsp = content.get("nsp").map_or(nsp, |nsp| nsp.as_str().unwrap());
    let empty = Value::Object(Vec::new());
    let data = content.get("data").unwrap_or(&empty);
    let kind = content.get("type").and_then(Value::as_u64).unwrap();
    let event = match (kind, data.get("packet")) {
        (3, Some(packet)) => event_of(packet.get("data").unwrap(), nsp),
        (9, Some(packet)) => event_of(packet, nsp),
        _ => event_of(&Value::Null, nsp),
    };
    let packet = Payload::from(&event);
    let opts = data.get("opts").map(opts_of).unwrap_or_default();
    let rooms = names_of(data.get("rooms"));
    let id = data.get("requestId").map(|id| Cow::Owned(id.as_str().unwrap().to_owned()));
    let body = match kind {
        1 => Body::InitialHeartbeat,
        2 => Body::Heartbeat,
        3 => Body::Broadcast { packet, opts, request_id: id },
        4 => Body::Join { opts, rooms },
        5 => Body::Leave { opts, rooms },
        6 => Body::Disconnect { opts, close: flag(data, "close") },
        7 => Body::FetchSockets { opts, request_id: id.unwrap() },
        8 => Body::Sockets { request_id: id.unwrap(), sockets: sockets_of(data.get("sockets").unwrap()) },
        9 => Body::ServerSideEmit { packet, request_id: id },
        10 => Body::ServerSideEmitAck { request_id: id.unwrap(), packet: data.get("packet").map(opaque_of) },
        11 => {
            let count = data.get("clientCount").and_then(Value::as_u64).unwrap();
            Body::ClientCount { request_id: id.unwrap(), count }
        }
        12 => Body::Ack { request_id: id.unwrap(), packet: data.get("packet").map(opaque_of) },
        13 => Body::AdapterClose,
        other => panic!("type {other}"),
    };
    let mut out = Vec::new();
    Message::new(text(content, "uid"), nsp, body).encode(&mut out).unwrap();
    out
}
