//! What readers of cluster messages put up with, and what they refuse; and that nothing malformed is written.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use bytes::Bytes;
use sio_protocol::cluster::classic::{
    Broadcast, PacketType, ReceivedRequest, ReceivedResponse, Request, RequestBody, Response, ResponseBody,
    v5,
};
use sio_protocol::cluster::sharded::{Body, Message};
use sio_protocol::cluster::{ClusterError, EMITTER, Flags, Names, Opaque, Opts, Payload, SocketEntry};
use sio_protocol::msgpack::{Dialect, Writer, write_json};
use sio_protocol::socketio::Packet;
use sio_protocol::{Limits, Malformed};

const LIMITS: fn() -> Limits = Limits::default;

/// Writes JSON as MessagePack.
fn pack(json: &str) -> Bytes {
    pack_with(json, &[])
}

fn pack_with(json: &str, attachments: &[Bytes]) -> Bytes {
    let mut out = Vec::new();
    write_json(json, attachments, &mut Writer::new(&mut out, Dialect::Notepack2)).unwrap();
    out.into()
}

fn text(json: &str) -> Bytes {
    Bytes::copy_from_slice(json.as_bytes())
}

fn broadcast_error(message: &Bytes) -> ClusterError {
    let limits = LIMITS();
    match Broadcast::decode(message, &limits) {
        Ok(broadcast) => broadcast.packet.to_packet().unwrap_err(),
        Err(error) => error,
    }
}

fn request<R>(message: &Bytes, look: impl FnOnce(Request<'_>) -> R) -> Result<R, ClusterError> {
    let limits = LIMITS();
    match Request::decode(message, "/chat", &limits)? {
        ReceivedRequest::Current(request) => Ok(look(request)),
        ReceivedRequest::V5(request) => panic!("{request:?}"),
    }
}

fn response(message: &Bytes) -> Result<Response<'_>, ClusterError> {
    let limits = LIMITS();
    match Response::decode(message, Box::leak(Box::new(limits)))? {
        ReceivedResponse::Current(response) => Ok(response),
        ReceivedResponse::V5(response) => panic!("{response:?}"),
    }
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_ignored() {
    let limits = LIMITS();
    let message = pack(
        r#"["Ab",{"id":7,"nsp":"/chat","x":[{}],"data":["e",1],"type":2},
            {"flags":{"json":true,"timeout":1.5,"volatile":true,"compress":false,"binary":false},"y":{},"except":["b"],"rooms":["a"]}]"#,
    );
    let broadcast = Broadcast::decode(&message, &limits).unwrap();
    let packet = broadcast.packet.to_packet().unwrap();
    assert_eq!(packet, Packet::event("/chat", None, r#"["e",1]"#, vec![]));
    let mut flags = Flags::default();
    (flags.volatile, flags.compress, flags.timeout) = (true, Some(false), Some(1));
    assert_eq!(broadcast.opts, Opts::new(Names::from_iter(["a"]), Names::from_iter(["b"]), flags));
}

#[test]
fn what_is_missing_counts_as_empty() {
    let limits = LIMITS();
    for opts in
        ["{}", r#"{"rooms":null,"except":null,"flags":null}"#, r#"{"rooms":[],"flags":{"timeout":-1}}"#]
    {
        let message = pack(&format!(r#"["Ab",{{"type":5,"data":["e"]}},{opts}]"#));
        let broadcast = Broadcast::decode(&message, &limits).unwrap();
        assert_eq!(broadcast.packet.nsp(), "/");
        assert_eq!(broadcast.opts, Opts::default());
        assert_eq!(broadcast.packet.to_packet().unwrap().data, r#"["e"]"#);
    }
}

#[test]
fn a_broadcast_to_rooms_never_becomes_one_to_all() {
    for room in ["null", "true", "{}", "[]", r#"["a"]"#] {
        let message = pack(&format!(r#"["Ab",{{"type":2,"data":["e"],"nsp":"/"}},{{"rooms":[{room}]}}]"#));
        assert_eq!(broadcast_error(&message), ClusterError::FieldInvalid { field: "rooms" }, "{room}");
    }
    for rooms in ["1", r#""a""#, "{}", "true"] {
        let message = pack(&format!(r#"["Ab",{{"type":2,"data":["e"],"nsp":"/"}},{{"rooms":{rooms}}}]"#));
        assert_eq!(broadcast_error(&message), ClusterError::FieldInvalid { field: "rooms" }, "{rooms}");
    }
}

#[test]
fn numeric_rooms_read_as_javascript_prints_them() {
    let limits = LIMITS();
    let message = pack(r#"["Ab",{"type":2,"data":["e"]},{"rooms":[42,1.5,-7,1e21]}]"#);
    let broadcast = Broadcast::decode(&message, &limits).unwrap();
    assert_eq!(broadcast.opts.rooms.iter().collect::<Vec<_>>(), ["42", "1.5", "-7", "1e+21"]);
}

#[test]
fn what_is_no_broadcast_is_refused() {
    use ClusterError::*;
    let opts = r#"{"rooms":[]}"#;
    for (json, error) in [
        ("null".to_owned(), FieldInvalid { field: "broadcast" }),
        ("{}".to_owned(), FieldInvalid { field: "broadcast" }),
        ("[]".to_owned(), ItemCountMismatch { seen: 0 }),
        (format!(r#"["Ab",{{"type":2,"data":["e"]}},{opts},1]"#), ItemCountMismatch { seen: 4 }),
        (format!(r#"[1,{{"type":2,"data":["e"]}},{opts}]"#), FieldInvalid { field: "uid" }),
        (format!(r#"[null,{{"type":2,"data":["e"]}},{opts}]"#), FieldMissing { field: "uid" }),
        (format!(r#"["Ab",[],{opts}]"#), FieldInvalid { field: "packet" }),
        (r#"["Ab",{"type":2,"data":["e"]},null]"#.to_owned(), FieldInvalid { field: "opts" }),
        (format!(r#"["Ab",{{"data":["e"]}},{opts}]"#), FieldMissing { field: "type" }),
        (format!(r#"["Ab",{{"type":2}},{opts}]"#), FieldMissing { field: "data" }),
        (format!(r#"["Ab",{{"type":"2","data":["e"]}},{opts}]"#), FieldInvalid { field: "type" }),
        (format!(r#"["Ab",{{"type":3,"data":["e"]}},{opts}]"#), PacketTypeUnsupported { seen: 3 }),
        (format!(r#"["Ab",{{"type":0,"data":{{}}}},{opts}]"#), PacketTypeUnsupported { seen: 0 }),
        (format!(r#"["Ab",{{"type":2,"data":["e"],"nsp":1}},{opts}]"#), FieldInvalid { field: "nsp" }),
        (format!(r#"["Ab",{{"type":2,"data":{{}}}},{opts}]"#), Malformed::EventNameInvalid.into()),
        (format!(r#"["Ab",{{"type":2,"data":[]}},{opts}]"#), Malformed::EventNameInvalid.into()),
        (format!(r#"["Ab",{{"type":2,"data":[null]}},{opts}]"#), Malformed::EventNameInvalid.into()),
        (format!(r#"["Ab",{{"type":2,"data":["connect"]}},{opts}]"#), Malformed::EventNameReserved.into()),
    ] {
        assert_eq!(broadcast_error(&pack(&json)), error, "{json}");
    }
    let good = pack(&format!(r#"["Ab",{{"type":2,"data":["e"]}},{opts}]"#));
    for length in 0..good.len() {
        assert!(Broadcast::decode(&good.slice(..length), &LIMITS()).is_err());
    }
    let mut longer = good.to_vec();
    longer.push(0xc0);
    let trailing = Malformed::MsgPackTrailingBytes { count: 1 };
    assert_eq!(broadcast_error(&longer.into()), trailing.into());
    assert_eq!(broadcast_error(&text("{}")), FieldInvalid { field: "broadcast" });
}

#[test]
fn the_sender_is_found_without_looking_further() {
    assert_eq!(Broadcast::sender(&Bytes::from_static(b"\x93\xa2Ab")).unwrap(), "Ab");
    for bytes in [&b""[..], b"{", b"\x93", b"\x93\x01", b"\xc0", b"\x93\xa3Ab"] {
        assert!(Broadcast::sender(&Bytes::copy_from_slice(bytes)).is_err());
    }
}

#[test]
fn messages_keep_to_the_limits() {
    let mut limits = LIMITS();
    limits.max_cluster_message = 30;
    let message = pack(r#"["Ab",{"type":2,"data":["e"],"nsp":"/"},{"rooms":["a room"]}]"#);
    let too_long = ClusterError::MessageTooLong { seen: message.len(), limit: 30 };
    assert_eq!(Broadcast::decode(&message, &limits).unwrap_err(), too_long);
    let long = text(&format!(r#"{{"type":1,"requestId":"{}"}}"#, "x".repeat(40)));
    assert!(Request::decode(&long, "/", &limits).is_err());
    assert!(Response::decode(&long, &limits).is_err());
    assert!(Message::decode(&long, "/", &limits).is_err());

    let mut limits = LIMITS();
    limits.max_namespace_length = 3;
    let message = pack(r#"["Ab",{"type":2,"data":["e"],"nsp":"/abc"},{}]"#);
    let too_long = Malformed::NamespaceTooLong { seen: 4, limit: 3 };
    assert_eq!(Broadcast::decode(&message, &limits).unwrap_err(), too_long.into());
    assert_eq!(
        Message::decode(&text(r#"{"type":2,"uid":"a","nsp":"/abc"}"#), "/", &limits).unwrap_err(),
        too_long.into()
    );

    let mut limits = LIMITS();
    limits.max_inline_attachments = 1;
    let placeholder = |index| format!(r#"{{"_placeholder":true,"num":{index}}}"#);
    let data = format!(r#"["Ab",{{"type":2,"data":["e",{},{}]}},{{}}]"#, placeholder(0), placeholder(1));
    let message = pack_with(&data, &["a".into(), "b".into()]);
    let error = Broadcast::decode(&message, &limits).unwrap().packet.to_packet().unwrap_err();
    assert_eq!(error, Malformed::AttachmentsExceeded { seen: 2, limit: 1 }.into());
}

#[test]
fn an_event_with_more_attachments_than_clients_accept_is_not_handed_out() {
    let limits = LIMITS();
    let packed = |count: usize, around: fn(String) -> String| {
        let values =
            (0..count).map(|at| format!(r#",{{"_placeholder":true,"num":{at}}}"#)).collect::<String>();
        pack_with(&around(format!(r#"["e"{values}]"#)), &vec!["a".into(); count])
    };
    let classic = |data| format!(r#"["Ab",{{"type":2,"data":{data}}},{{}}]"#);
    let sharded = |data| {
        format!(r#"{{"type":3,"data":{{"packet":{{"type":2,"data":{data}}},"opts":{{}}}},"uid":"a"}}"#)
    };
    let too_many = || ClusterError::from(Malformed::AttachmentsExceeded { seen: 11, limit: 10 });
    for count in [10, 11] {
        let (one, two) = (packed(count, classic), packed(count, sharded));
        let Body::Broadcast { packet, .. } = Message::decode(&two, "/", &limits).unwrap().body else {
            panic!()
        };
        for payload in [Broadcast::decode(&one, &limits).unwrap().packet, packet] {
            let packet = payload.to_packet().map(|packet| packet.attachments.len());
            let written = payload.write_data(&mut String::new()).map(|attachments| attachments.len());
            let expected = if count == 10 { Ok(10) } else { Err(too_many()) };
            assert_eq!((&packet, &written), (&expected, &expected));
        }
    }
    // Servers among themselves are not that narrow.
    let event = |data| format!(r#"{{"type":9,"data":{{"packet":{data}}},"uid":"a"}}"#);
    let message = packed(11, event);
    let Body::ServerSideEmit { packet, .. } = Message::decode(&message, "/", &limits).unwrap().body else {
        panic!()
    };
    assert_eq!(packet.to_packet().unwrap().attachments.len(), 11);
}

#[test]
fn a_response_is_known_by_its_name_without_reading_the_rest() {
    let limits = LIMITS();
    let id = |message: &Bytes| Response::request_id(message, &limits).map(|id| id.map(|id| id.into_owned()));
    assert_eq!(id(&text(r#"{"type":8,"requestId":"abc","rest":?"#)), Ok(Some("abc".to_owned())));
    assert_eq!(id(&pack(r#"{"type":9,"requestId":"abc","packet":1}"#)), Ok(Some("abc".to_owned())));
    assert_eq!(id(&text(r#"{"requestid":"abc","clients":["a"]}"#)), Ok(None));
    assert!(id(&text(r#"{"sockets":?,"requestId":"abc"}"#)).is_err());
    assert!(id(&text("[]")).is_err());
}

#[test]
fn an_event_may_be_nested_as_deep_as_for_a_client_whatever_is_around_it() {
    let limits = LIMITS();
    let nested = |depth: usize| format!(r#"["e",{}{}]"#, "[".repeat(depth - 1), "]".repeat(depth - 1));
    let sharded = |depth| {
        text(&format!(
            r#"{{"type":3,"data":{{"packet":{{"type":2,"data":{}}},"opts":{{}}}},"uid":"a","nsp":"/"}}"#,
            nested(depth)
        ))
    };
    let to_packet = |message: &Bytes| {
        let Body::Broadcast { packet, .. } = Message::decode(message, "/", &limits)?.body else { panic!() };
        packet.to_packet().map(|packet| packet.data.into_owned())
    };
    assert_eq!(to_packet(&sharded(127)).unwrap(), nested(127));
    let too_deep = Err(Malformed::NestingExceeded { limit: 127 }.into());
    assert_eq!(to_packet(&sharded(128)), too_deep);
    assert_eq!(to_packet(&sharded(100_000)), too_deep);

    let mut bytes = vec![0x93, 0xa1, b'a', 0x82, 0xa4];
    bytes.extend_from_slice(b"type\x02\xa4data\x92\xa1e");
    bytes.extend([0x91; 100_000]);
    bytes.extend([0xc0, 0x80]);
    assert_eq!(broadcast_error(&bytes.into()), Malformed::NestingExceeded { limit: 127 }.into());
}

#[test]
fn requests_come_in_both_notations_and_in_any_order() {
    let json = r#"{"rooms":["a"],"opts":{"except":["y"],"rooms":["x"]},"z":[1,{}],"type":2,"uid":"Ab"}"#;
    for message in [text(json), pack(json)] {
        request(&message, |request| {
            let RequestBody::Join { opts, rooms } = request.body else { panic!("{request:?}") };
            assert_eq!((request.uid.as_deref(), request.request_id), (Some("Ab"), None));
            assert_eq!(opts, Opts::new(Names::from_iter(["x"]), Names::from_iter(["y"]), Flags::default()));
            assert_eq!(rooms, Names::from_iter(["a"]));
        })
        .unwrap();
    }
    let spaced = text("{ \"type\" : 1 ,\n\"requestId\" : \"r\" } ");
    request(&spaced, |request| assert!(matches!(request.body, RequestBody::AllRooms))).unwrap();
}

#[test]
fn a_request_for_one_socket_is_told_from_one_for_many() {
    let message = text(r#"{"uid":"Ab","requestId":"id","type":4,"sid":"s","close":true}"#);
    request(&message, |request| {
        let RequestBody::DisconnectOne { sid, close } = request.body else { panic!("{request:?}") };
        assert_eq!((sid.as_ref(), close), ("s", true));
    })
    .unwrap();
    let message = text(r#"{"type":4,"opts":{"rooms":[],"except":[]}}"#);
    request(&message, |request| {
        assert!(matches!(request.body, RequestBody::Disconnect { close: false, .. }), "{request:?}");
    })
    .unwrap();
}

#[test]
fn what_is_no_request_is_refused() {
    use ClusterError::*;
    for (json, error) in [
        ("{}", FieldMissing { field: "type" }),
        (r#"{"type":8}"#, MessageTypeUnknown { seen: 8 }),
        (r#"{"type":-1}"#, FieldInvalid { field: "type" }),
        (r#"{"type":2}"#, FieldMissing { field: "opts" }),
        (r#"{"type":2,"opts":{}}"#, FieldMissing { field: "rooms" }),
        (r#"{"type":3,"sid":"a"}"#, FieldMissing { field: "room" }),
        (r#"{"type":4,"opts":null}"#, FieldMissing { field: "opts" }),
        (r#"{"type":5,"opts":[]}"#, FieldInvalid { field: "opts" }),
        (r#"{"type":6}"#, FieldMissing { field: "data" }),
        (r#"{"type":7,"opts":{}}"#, FieldMissing { field: "packet" }),
        (r#"{"type":7,"packet":{"type":2,"data":["e"]}}"#, FieldMissing { field: "opts" }),
        (r#"{"type":1}{}"#, Malformed::JsonInvalid { at: 10 }.into()),
        (r#"{"type":1"#, Malformed::JsonInvalid { at: 9 }.into()),
        (r#"{"type":01}"#, Malformed::JsonInvalid { at: 9 }.into()),
        (r#"{"type":1,}"#, Malformed::JsonInvalid { at: 10 }.into()),
        (r#"{"type":1,"x":[1}}"#, Malformed::JsonInvalid { at: 16 }.into()),
        (r#"{"type":6,"data":["e",01]}"#, Malformed::JsonInvalid { at: 23 }.into()),
    ] {
        let message = text(json);
        let result = request(&message, |request| match request.body {
            RequestBody::ServerSideEmit { packet } => packet.to_packet().map(|_| ()),
            other => panic!("{other:?}"),
        });
        assert_eq!(result.and_then(|inner| inner), Err(error), "{json}");
    }
    assert_eq!(request(&Bytes::from_static(b"{\"\xff\":1}"), |_| ()), Err(TextNotUtf8));
    assert_eq!(request(&Bytes::new(), |_| ()), Err(Malformed::MsgPackTruncated.into()));
    assert_eq!(request(&Bytes::from_static(b"\xc0"), |_| ()), Err(FieldInvalid { field: "request" }));
}

#[test]
fn events_for_servers_may_have_any_name_but_need_one() {
    let data = |message: &Bytes| {
        request(message, |request| {
            let RequestBody::ServerSideEmit { packet } = request.body else { panic!("{request:?}") };
            assert_eq!(packet.nsp(), "/chat");
            packet.to_packet().map(|packet| packet.data.into_owned())
        })
        .unwrap()
    };
    assert_eq!(data(&text(r#"{"type":6,"data":["disconnect"]}"#)).unwrap(), r#"["disconnect"]"#);
    assert_eq!(
        data(&text(r#"{"type":6,"data":["\ud83d","\ud83d\ude00"]}"#)).unwrap(),
        r#"["\ufffd","\ud83d\ude00"]"#
    );
    for bad in ["[]", "{}", "[null]", "\"e\""] {
        let seen = data(&text(&format!(r#"{{"type":6,"data":{bad}}}"#)));
        assert_eq!(seen, Err(Malformed::EventNameInvalid.into()), "{bad}");
    }
}

#[test]
fn requests_of_version_5_are_kept_apart() {
    let limits = LIMITS();
    for (json, expected) in [
        (
            r#"{"requestid":"i","type":0,"rooms":["a"]}"#,
            v5::RequestBody::Clients { rooms: Names::from_iter(["a"]) },
        ),
        (
            r#"{"requestid":"i","type":6,"sid":"s","close":true}"#,
            v5::RequestBody::Disconnect { sid: "s".into(), close: true },
        ),
        (r#"{"requestid":"i","type":2}"#, v5::RequestBody::AllRooms),
    ] {
        let message = text(json);
        let ReceivedRequest::V5(seen) = Request::decode(&message, "/", &limits).unwrap() else {
            panic!("{json}")
        };
        assert_eq!(seen, v5::Request::new("i", expected));
        let mut out = Vec::new();
        seen.encode(&mut out).unwrap();
        assert_eq!(out, json.as_bytes());
    }
    let message = text(r#"{"requestid":"i","type":5}"#);
    let ReceivedRequest::V5(seen) = Request::decode(&message, "/", &limits).unwrap() else { panic!() };
    assert_eq!(seen.body, v5::RequestBody::Custom { data: Opaque::new("null", vec![]) });
    assert_eq!(
        Request::decode(&text(r#"{"requestid":"i","type":7}"#), "/", &limits).unwrap_err(),
        ClusterError::MessageTypeUnknown { seen: 7 }
    );
    let message = text(r#"{"requestid":"i","clients":["a"]}"#);
    let ReceivedResponse::V5(seen) = Response::decode(&message, &limits).unwrap() else { panic!() };
    assert_eq!(seen, v5::Response::new("i", v5::ResponseBody::Clients(Names::from_iter(["a"]))));
}

#[test]
fn an_answer_may_be_missing() {
    for (json, expected) in [
        (r#"{"type":6,"requestId":"i"}"#, ResponseBody::ServerSideEmit(None)),
        (
            r#"{"type":6,"requestId":"i","data":null}"#,
            ResponseBody::ServerSideEmit(Some(Opaque::new("null", vec![]))),
        ),
        (r#"{"type":9,"requestId":"i"}"#, ResponseBody::Ack(None)),
        (r#"{"requestId":"i"}"#, ResponseBody::Done),
        (r#"{"requestId":"i","sockets":null}"#, ResponseBody::Done),
        (r#"{"requestId":"i","sockets":[]}"#, ResponseBody::Sockets(vec![])),
        (r#"{"requestId":"i","rooms":[]}"#, ResponseBody::Rooms(Names::default())),
    ] {
        for message in [text(json), pack(json)] {
            assert_eq!(response(&message).unwrap(), Response::new("i", expected.clone()), "{json}");
        }
    }
    // How notepack.io 2 writes an acknowledgement without an argument.
    let message = Bytes::from_static(b"\x83\xa4type\x09\xa9requestId\xa1i\xa6packet\xd4\0\0");
    assert_eq!(response(&message).unwrap().body, ResponseBody::Ack(None));
}

#[test]
fn what_is_no_response_is_refused() {
    use ClusterError::*;
    for (json, error) in [
        ("{}", FieldMissing { field: "requestId" }),
        (r#"{"requestId":"i","type":7}"#, MessageTypeUnknown { seen: 7 }),
        (r#"{"requestId":"i","type":8}"#, FieldMissing { field: "clientCount" }),
        (r#"{"requestId":"i","type":8,"clientCount":-1}"#, FieldInvalid { field: "clientCount" }),
        (r#"{"requestId":"i","sockets":{}}"#, FieldInvalid { field: "sockets" }),
        (r#"{"requestId":"i","sockets":[null]}"#, FieldInvalid { field: "sockets" }),
        (r#"{"requestId":"i","sockets":[{"handshake":{}}]}"#, FieldMissing { field: "id" }),
        (r#"{"requestId":"i","sockets":[{"id":"a"}]}"#, FieldMissing { field: "handshake" }),
        (r#"{"requestId":"i","rooms":[null]}"#, FieldInvalid { field: "rooms" }),
    ] {
        assert_eq!(response(&text(json)), Err(error), "{json}");
        assert_eq!(response(&pack(json)), Err(error), "{json}");
    }
}

#[test]
fn the_data_of_a_message_may_come_before_its_type() {
    let limits = LIMITS();
    let packet = Packet::event("/n", None, r#"["e",{"_placeholder":true,"num":0}]"#, vec!["ab".into()]);
    let data = r#"{"opts":{"rooms":["r"]},"requestId":"i","packet":{"data":["e",{"_placeholder":true,"num":0}],"type":2,"nsp":"/x"}}"#;
    for json in [
        format!(r#"{{"data":{data},"type":3,"uid":"u","nsp":"/n"}}"#),
        format!(r#"{{"type":3,"nsp":"/n","uid":"u","data":{data}}}"#),
    ] {
        let message = pack_with(&json, &packet.attachments);
        let seen = Message::decode(&message, "/", &limits).unwrap();
        let Body::Broadcast { packet: payload, opts, request_id } = &seen.body else { panic!("{seen:?}") };
        assert_eq!((opts.rooms.single(), request_id.as_deref()), (Some("r"), Some("i")));
        assert_eq!(payload.to_packet().unwrap(), packet);
        assert_eq!(payload.nsp(), "/n");
    }
    let message = text(r#"{"data":{"packet":{"a":"\ud800"},"requestId":"i"},"uid":"u","type":12}"#);
    let seen = Message::decode(&message, "/m", &limits).unwrap();
    assert_eq!(seen.nsp, "/m");
    let Body::Ack { packet: Some(value), .. } = seen.body else { panic!("{seen:?}") };
    assert_eq!(value, Opaque::new(r#"{"a":"\ufffd"}"#, vec![]));
}

#[test]
fn what_is_no_message_is_refused() {
    use ClusterError::*;
    let limits = LIMITS();
    for (json, error) in [
        ("{}", FieldMissing { field: "type" }),
        (r#"{"type":2}"#, FieldMissing { field: "uid" }),
        (r#"{"type":14,"uid":"u"}"#, MessageTypeUnknown { seen: 14 }),
        (r#"{"type":3,"uid":"u"}"#, FieldMissing { field: "packet" }),
        (r#"{"type":3,"uid":"u","data":[]}"#, FieldInvalid { field: "data" }),
        (r#"{"type":3,"uid":"u","data":{"packet":{"type":2,"data":["e"]}}}"#, FieldMissing { field: "opts" }),
        (r#"{"type":4,"uid":"u","data":{"opts":{}}}"#, FieldMissing { field: "rooms" }),
        (r#"{"type":7,"uid":"u","data":{"opts":{}}}"#, FieldMissing { field: "requestId" }),
        (r#"{"type":8,"uid":"u","data":{"requestId":"i"}}"#, FieldMissing { field: "sockets" }),
        (r#"{"type":9,"uid":"u","data":{}}"#, FieldMissing { field: "packet" }),
        (r#"{"type":10,"uid":"u","data":{"packet":1}}"#, FieldMissing { field: "requestId" }),
        (r#"{"type":11,"uid":"u","data":{"requestId":"i"}}"#, FieldMissing { field: "clientCount" }),
        (r#"{"type":12,"uid":"u","data":{"requestId":7}}"#, FieldInvalid { field: "requestId" }),
    ] {
        assert_eq!(Message::decode(&text(json), "/", &limits).unwrap_err(), error, "{json}");
        assert_eq!(Message::decode(&pack(json), "/", &limits).unwrap_err(), error, "{json}");
    }
}

#[test]
fn nothing_malformed_is_written() {
    let attachment = vec![Bytes::from_static(b"x")];
    for (data, attachments) in [
        ("", vec![]),
        ("[\"e\"", vec![]),
        ("[\"e\"] ]", vec![]),
        ("[\"e\",{\"_placeholder\":true,\"num\":1}]", attachment),
    ] {
        let packet = Packet::event("/", None, data, attachments.clone());
        let mut out = b"before".to_vec();
        let opts = Opts::default();
        assert!(Broadcast::new("u", Payload::from(&packet), opts.clone()).encode(&mut out).is_err());
        let emit = RequestBody::ServerSideEmit { packet: Payload::from(&packet) };
        assert!(Request::new("u", None, emit).encode(&mut out).is_err());
        let body = Body::Broadcast { packet: Payload::from(&packet), opts, request_id: None };
        assert!(Message::new("u", "/", body).encode(&mut out).is_err());
        let value = Opaque::new(data, attachments.clone());
        for body in
            [ResponseBody::Ack(Some(value.clone())), ResponseBody::ServerSideEmit(Some(value.clone()))]
        {
            assert!(Response::new("i", body).encode(&mut out).is_err());
        }
        let entry = SocketEntry::new("s", Opaque::new("{}", vec![]), Names::default(), Some(value));
        let body = Body::Sockets { request_id: "i".into(), sockets: vec![entry] };
        assert!(Message::new("u", "/", body).encode(&mut out).is_err());
        assert_eq!(out, b"before", "{data}");
    }
    for packet in [
        Packet::event("/", None, "[]", vec![]),
        Packet::event("/", None, "{}", vec![]),
        Packet::ack("/", 1, "[\"e\"]", vec![]),
        Packet::disconnect("/"),
    ] {
        let mut out = Vec::new();
        let broadcast = Broadcast::new("u", Payload::from(&packet), Opts::default());
        assert_eq!(broadcast.encode(&mut out), Err(Malformed::EventNameInvalid.into()), "{packet:?}");
    }
}

#[test]
fn messages_are_appended_to_what_is_there() {
    let mut out = b"{\"a\":1}".to_vec();
    Request::new("u", Some("i"), RequestBody::AllRooms).encode(&mut out).unwrap();
    assert_eq!(out, br#"{"a":1}{"uid":"u","requestId":"i","type":1}"#);
}

#[test]
fn binary_values_become_what_json_stringify_makes_of_a_buffer() {
    let data = r#"["e",{"_placeholder":true,"num":1},["{\"_placeholder\":true,\"num\":0}",{"_placeholder":true,"num":0}]]"#;
    let packet = Packet::event("/", None, data, vec![Bytes::new(), Bytes::from_static(&[0, 255])]);
    let mut out = Vec::new();
    let body = RequestBody::ServerSideEmit { packet: Payload::from(&packet) };
    Request::from_emitter(body).encode(&mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"uid":"emitter","type":6,"data":["e",{"type":"Buffer","data":[0,255]},["{\"_placeholder\":true,\"num\":0}",{"type":"Buffer","data":[]}]]}"#
    );
}

#[test]
fn only_pure_clusters_of_version_2_see_packet_type_5() {
    let packet = Packet::event("/", Some(3), r#"["e",{"_placeholder":true,"num":0}]"#, vec!["x".into()]);
    let plain = Packet::event("/", None, r#"["e"]"#, vec![]);
    let kind = |packet: &Packet<'_>, packet_type| {
        let mut out = Vec::new();
        Broadcast::new("u", Payload::from(packet), Opts::default()).encode_as(packet_type, &mut out).unwrap();
        out[9]
    };
    assert_eq!(kind(&packet, PacketType::BinaryEvent), 5);
    assert_eq!(kind(&packet, PacketType::Event), 2);
    assert_eq!(kind(&plain, PacketType::BinaryEvent), 2);
}

#[test]
fn a_large_binary_value_is_not_copied() {
    let limits = LIMITS();
    let packet =
        Packet::event("/", None, r#"["e",{"_placeholder":true,"num":0}]"#, vec![vec![7; 10_000].into()]);
    let mut out = Vec::new();
    Broadcast::new(EMITTER, Payload::from(&packet), Opts::default()).encode(&mut out).unwrap();
    let message = Bytes::from(out);
    let range = message.as_ptr_range();
    let seen = Broadcast::decode(&message, &limits).unwrap().packet.to_packet().unwrap();
    assert!(range.contains(&seen.attachments[0].as_ptr()));
}
