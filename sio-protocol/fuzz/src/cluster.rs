//! One message of the cluster, read as everything that it could be, with the usual limits and with tight
//! ones.
//!
//! Nothing panics. What is accepted keeps to the limits, hands out events that clients can read, and is
//! written as a message that reads as the same. The names of channels lead back to what they were made of.

use bytes::Bytes;
use serde::de::IgnoredAny;
use sio_protocol::Limits;
use sio_protocol::cluster::classic::{
    Broadcast, Channels, PacketType, ReceivedRequest, ReceivedResponse, Request, RequestBody, Response,
    ResponseBody,
};
use sio_protocol::cluster::sharded::{self, Body, Message, Mode};
use sio_protocol::cluster::{
    ClusterError, Names, Opaque, Opts, Payload, Scope, SocketEntry, escape_pattern, namespaces_of,
};
use sio_protocol::socketio::{Packet, PacketKind, Value, is_reserved_event};

/// Takes the input as one message, and as the name of a channel.
pub fn check(input: &[u8]) {
    let message = Bytes::copy_from_slice(input);
    for limits in [Limits::default(), tight()] {
        broadcast(&message, &limits);
        request(&message, &limits);
        response(&message, &limits);
        sharded(&message, &limits);
    }
    channel(&String::from_utf8_lossy(input));
}

fn tight() -> Limits {
    let mut limits = Limits::default();
    limits.max_cluster_message = 200;
    limits.max_inline_attachments = 1;
    limits.max_json_depth = 3;
    limits.max_namespace_length = 4;
    limits
}

fn broadcast(message: &Bytes, limits: &Limits) {
    let broadcast = match Broadcast::decode(message, limits) {
        Ok(broadcast) => broadcast,
        Err(error) => return check_error(error),
    };
    assert_eq!(Broadcast::sender(message), Ok(broadcast.uid.clone()));
    assert!(message.len() <= limits.max_cluster_message);
    let Some(packet) = event(&broadcast.packet, message, limits, true) else { return };
    check_opts(&broadcast.opts, message);
    for kind in [PacketType::Event, PacketType::BinaryEvent] {
        let written = written(|out| broadcast.encode_as(kind, out));
        let usual = Limits::default();
        let again = Broadcast::decode(&written, &usual).expect("what was written is a broadcast");
        assert_eq!(again.packet.to_packet().as_ref(), Ok(&packet));
        assert_eq!((again.uid, again.opts), (broadcast.uid.clone(), broadcast.opts.clone()));
    }
    let channels = Channels::new("p", &packet.nsp);
    let scope = match broadcast.opts.rooms.single() {
        None | Some("") => Scope::All,
        Some(room) => Scope::One(room),
    };
    assert_eq!(channels.scope_of(&channels.target(&broadcast.opts)), Some(scope));
}

fn request(message: &Bytes, limits: &Limits) {
    match Request::decode(message, "/n", limits) {
        Ok(ReceivedRequest::Current(request)) => {
            match &request.body {
                RequestBody::Broadcast { packet, opts } => {
                    check_opts(opts, message);
                    if event(packet, message, limits, true).is_none() {
                        return;
                    }
                }
                RequestBody::ServerSideEmit { packet } => {
                    assert_eq!(packet.nsp(), "/n");
                    if event(packet, message, limits, false).is_none() {
                        return;
                    }
                }
                RequestBody::Sockets { rooms } => check_names(rooms, message),
                RequestBody::Join { opts, rooms } | RequestBody::Leave { opts, rooms } => {
                    check_opts(opts, message);
                    check_names(rooms, message);
                }
                RequestBody::Disconnect { opts, .. } | RequestBody::FetchSockets { opts } => {
                    check_opts(opts, message);
                }
                _ => {}
            }
            let once = written(|out| request.encode(out));
            let usual = Limits::default();
            let Ok(ReceivedRequest::Current(again)) = Request::decode(&once, "/n", &usual) else {
                panic!("{once:?} is no request any more");
            };
            assert_eq!(written(|out| again.encode(out)), once);
        }
        Ok(ReceivedRequest::V5(request)) => {
            let once = written(|out| request.encode(out));
            let usual = Limits::default();
            let Ok(ReceivedRequest::V5(again)) = Request::decode(&once, "/n", &usual) else {
                panic!("{once:?} is no request of version 5 any more");
            };
            assert_eq!(written(|out| again.encode(out)), once);
        }
        Err(error) => check_error(error),
    }
}

fn response(message: &Bytes, limits: &Limits) {
    match Response::decode(message, limits) {
        Ok(ReceivedResponse::Current(response)) => {
            match &response.body {
                ResponseBody::SocketIds(names) | ResponseBody::Rooms(names) => check_names(names, message),
                ResponseBody::Sockets(sockets) => {
                    sockets.iter().for_each(|socket| check_socket(socket, message, limits));
                }
                ResponseBody::ServerSideEmit(Some(value)) | ResponseBody::Ack(Some(value)) => {
                    check_opaque(value, message, limits);
                }
                _ => {}
            }
            let once = written(|out| response.encode(out));
            let usual = Limits::default();
            let Ok(ReceivedResponse::Current(again)) = Response::decode(&once, &usual) else {
                panic!("{once:?} is no response any more");
            };
            assert_eq!(written(|out| again.encode(out)), once);
        }
        Ok(ReceivedResponse::V5(response)) => {
            let once = written(|out| response.encode(out));
            let usual = Limits::default();
            let Ok(ReceivedResponse::V5(again)) = Response::decode(&once, &usual) else {
                panic!("{once:?} is no response of version 5 any more");
            };
            assert_eq!(written(|out| again.encode(out)), once);
        }
        Err(error) => check_error(error),
    }
}

fn sharded(message: &Bytes, limits: &Limits) {
    let seen = match Message::decode(message, "/n", limits) {
        Ok(seen) => seen,
        Err(error) => return check_error(error),
    };
    assert!(seen.nsp.len() <= limits.max_namespace_length);
    match &seen.body {
        Body::Broadcast { packet, opts, .. } => {
            assert_eq!(packet.nsp(), seen.nsp);
            check_opts(opts, message);
            if event(packet, message, limits, true).is_none() {
                return;
            }
        }
        Body::ServerSideEmit { packet, .. } => {
            if event(packet, message, limits, false).is_none() {
                return;
            }
        }
        Body::Join { opts, rooms } | Body::Leave { opts, rooms } => {
            check_opts(opts, message);
            check_names(rooms, message);
        }
        Body::Sockets { sockets, .. } => {
            sockets.iter().for_each(|socket| check_socket(socket, message, limits));
        }
        Body::ServerSideEmitAck { packet: Some(value), .. } | Body::Ack { packet: Some(value), .. } => {
            check_opaque(value, message, limits);
        }
        _ => {}
    }
    for mode in [Mode::Static, Mode::Dynamic, Mode::DynamicPrivate] {
        let channels = sharded::Channels::new("p", &seen.nsp, mode);
        assert!(channels.scope_of(&channels.target(&seen.body)).is_some());
    }
    let once = written(|out| seen.encode(out));
    let usual = Limits::default();
    let again = Message::decode(&once, "/other", &usual).expect("what was written is a message");
    assert_eq!((&again.uid, &again.nsp), (&seen.uid, &seen.nsp));
    assert_eq!(written(|out| again.encode(out)), once);
}

/// Asks for the event, and looks at what is handed out.
fn event(
    payload: &Payload<'_>,
    message: &Bytes,
    limits: &Limits,
    for_clients: bool,
) -> Option<Packet<'static>> {
    let mut json = String::from("head room");
    let data = payload.write_data(&mut json);
    let packet = match payload.to_packet() {
        Ok(packet) => packet,
        Err(error) => {
            assert_eq!(data, Err(error));
            check_error(error);
            return None;
        }
    };
    assert_eq!(data.as_ref(), Ok(&packet.attachments));
    assert_eq!(json.strip_prefix("head room"), Some(packet.data.as_ref()));
    assert_eq!((packet.kind, packet.id), (PacketKind::Event, None));
    assert_eq!(packet.nsp, payload.nsp());
    let name = packet.event_name().expect("an event has a name");
    assert!(!for_clients || !is_reserved_event(&name));
    packet.args().values().expect("the arguments are JSON");
    check_opaque(&Opaque::new(packet.data.clone(), packet.attachments.clone()), message, limits);
    let packet = packet.clone();
    Some(packet.into_owned())
}

fn check_opaque(value: &Opaque<'_>, message: &Bytes, limits: &Limits) {
    assert!(value.attachments.len() <= limits.max_inline_attachments);
    let most = 8 * message.len() + 64 * value.attachments.len();
    assert!(value.json.len() <= most, "{} bytes out of {}", value.json.len(), message.len());
    value.deserialize::<Value>().expect("a value is JSON");
    // JSON knows no numbers beyond those of a double, as serde_json does not.
    if value.attachments.is_empty() && serde_json::from_str::<serde_json::Value>(&value.json).is_ok() {
        value.deserialize::<IgnoredAny>().expect("a value is JSON for serde_json as well");
    }
    value.clone().into_args().deserialize::<Value>().expect("a value can be an argument");
}

fn check_socket(socket: &SocketEntry<'_>, message: &Bytes, limits: &Limits) {
    check_opaque(&socket.handshake, message, limits);
    check_names(&socket.rooms, message);
    if let Some(data) = &socket.data {
        check_opaque(data, message, limits);
    }
}

fn check_opts(opts: &Opts<'_>, message: &Bytes) {
    check_names(&opts.rooms, message);
    check_names(&opts.except, message);
}

fn check_names(names: &Names<'_>, message: &Bytes) {
    assert!(names.len() <= message.len());
    assert_eq!(names.iter().count(), names.len());
    assert_eq!(names.clone().into_strings(), names.iter().collect::<Vec<_>>());
}

fn channel(name: &str) {
    for (nsp, scope) in namespaces_of("p", name) {
        let (classic, sharded) =
            (Channels::new("p", nsp), sharded::Channels::new("p", nsp, Mode::DynamicPrivate));
        assert_eq!(classic.scope_of(name), Some(scope));
        assert_eq!(sharded.scope_of(name), Some(scope));
        match scope {
            // A room without a name has a channel, too.
            Scope::All => assert!(name == classic.broadcast() || name == classic.room("")),
            Scope::One(room) => {
                assert_eq!((classic.room(room), sharded.room(room)), (name.into(), name.into()))
            }
        }
    }
    let pattern = escape_pattern(name);
    let specials = name.matches(['*', '?', '[', ']', '\\']).count();
    assert_eq!(pattern.len(), name.len() + specials);
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), ClusterError>) -> Bytes {
    let mut out = Vec::new();
    write(&mut out).expect("what was read can be written");
    out.into()
}

fn check_error(error: ClusterError) {
    let text = error.to_string();
    assert!(!text.is_empty() && !text.ends_with('.'));
}
