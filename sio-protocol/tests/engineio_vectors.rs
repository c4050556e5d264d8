//! Runs what was recorded from Node's `engine.io` 3.6.2 and 6.6.12 and `engine.io-parser` 5.2.3 against this crate.
//!
//! The recordings are of whole servers; here is run what needs no server: polling bodies, WebSocket messages and the
//! session's verdicts. Every vector is either run or listed in `NOT_RUN` with a reason. What a server has to do with it
//! is replayed against one in `tests/tests/engineio_vectors.rs`.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use serde::Deserialize;
use serde_json::{Value, json};
use sio_protocol::engineio::handshake::Handshake;
use sio_protocol::engineio::payload::{BodyKind, Decoder, Encoder, jsonp_form};
use sio_protocol::engineio::session::{
    CandidateRefused, CloseReason, Due, Reaction, Session, Timing, Transport,
};
use sio_protocol::engineio::{Data, DataRef, Frame, Packet, PacketKind, Revision};

/// Patterns over the names of vectors, without the package in front; `*` at the end stands for anything.
const NOT_RUN: &[(&str, &str)] = &[
    ("webtransport-frame/*", "WebTransport is not offered"),
    ("v3/error/*", "an HTTP refusal: routing is the server's"),
    ("v4/error/unknown-*", "an HTTP refusal: routing is the server's"),
    ("v4/error/missing-transport", "an HTTP refusal: routing is the server's"),
    ("v4/error/put-method", "an HTTP refusal: routing is the server's"),
    ("v4/error/options-no-cors", "an HTTP refusal: routing is the server's"),
    ("v4/error/eio*", "an HTTP refusal: routing is the server's"),
    ("v4/error/proto-sid", "an HTTP refusal: routing is the server's"),
    ("v4/error/transport-mismatch", "an HTTP refusal: routing is the server's"),
    ("v4/error/forbidden-*", "an HTTP refusal: routing is the server's"),
    ("v4/overlap/second-*", "an HTTP refusal: which requests are open is the server's"),
    ("v4/overlap/after", "an HTTP refusal: the table of sessions is the server's"),
    ("v4/invalid/after", "an HTTP refusal: the table of sessions is the server's"),
    ("v4/ping-timeout-next-get", "an HTTP refusal: the table of sessions is the server's"),
    ("v4/upgrade/poll-after-upgrade", "an HTTP refusal: routing is the server's"),
    ("v4/close/get-aborted", "a broken connection: the server sees it and names the reason"),
    ("v4/limits/*", "sizes are checked before bytes get here"),
    ("v4/compression/*", "HTTP compression is the server's"),
    ("v4/ws/error-*", "an HTTP refusal: routing is the server's"),
    (
        "v3/poll/jsonp/mixed-binary",
        "Node puts a JSON form of a Buffer into the script, which no client reads; here a JSONP client gets base64",
    ),
];

/// Vectors with another outcome here than in Node, the outcome, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[(
    "v3/post/unicode-codepoint-length-rejected",
    r#"[["error","parser error"]]"#,
    "the length ends inside a character: Node delivers half of it before it fails, we fail at once",
)];

#[derive(Deserialize)]
struct Vector {
    name: String,
    produced_by: String,
    #[serde(flatten)]
    fields: Value,
}

impl Vector {
    /// The name without the package that produced the vector.
    fn case(&self) -> &str {
        self.name.split_once('/').unwrap().1
    }

    fn revision(&self) -> Revision {
        if self.case().starts_with("v3/") { Revision::V3 } else { Revision::V4 }
    }

    fn body(&self) -> Vec<u8> {
        unhex(self.fields["body_hex"].as_str().unwrap())
    }

    fn close_reason(&self) -> Option<&str> {
        self.fields["close"][0].as_str()
    }
}

#[test]
fn every_vector_is_run_or_has_a_reason() {
    let mut unexplained = Vec::new();
    let mut run = 0;
    let vectors = vectors();
    for vector in &vectors {
        let listed = NOT_RUN.iter().any(|(pattern, _)| matches(pattern, vector.case()));
        match (check(vector), listed) {
            (true, false) => run += 1,
            (false, true) => {}
            (true, true) => panic!("{} is run, but listed as not run", vector.name),
            (false, false) => unexplained.push(&vector.name),
        }
    }
    assert!(unexplained.is_empty(), "neither run nor listed: {unexplained:#?}");
    assert_eq!(
        (run, vectors.len()),
        (104, 68 + 75),
        "the numbers of vectors of both revisions, and of those run"
    );
}

#[test]
fn every_exception_is_about_a_vector() {
    let vectors = vectors();
    let patterns =
        NOT_RUN.iter().map(|(pattern, _)| *pattern).chain(DIFFERENT.iter().map(|(case, ..)| *case));
    for pattern in patterns {
        assert!(vectors.iter().any(|vector| matches(pattern, vector.case())), "{pattern} matches nothing");
    }
}

/// Checks a vector and returns true, or returns false if nothing in it can be checked here.
fn check(vector: &Vector) -> bool {
    let rev = vector.revision();
    let name = &vector.name;
    let case = vector.case();
    let rest = case.strip_prefix("v3/").or_else(|| case.strip_prefix("v4/")).unwrap_or(case);
    match rest {
        _ if rest.starts_with("decodePayload/") => check_decode(vector),
        _ if vector.fields["body_text"].as_str().is_some_and(|body| body.contains("\"sid\"")) => {
            check_handshake(vector, false);
        }
        "handshake/jsonp" => check_handshake(vector, true),
        "poll/jsonp/mixed-binary" => return false,
        _ if rest.starts_with("poll/") => check_poll(vector),
        _ if rest.starts_with("post/") && rev == Revision::V3 => check_post_v3(vector),
        _ if rest.starts_with("post/")
            || vector.fields["input"].as_str().is_some_and(|i| i.starts_with("POST 4a")) =>
        {
            check_post_v4(vector);
        }
        "invalid/post-abc" => check_post_v4(vector),
        "ping-pong" => check_pong(vector, b"1:2"),
        "ping-with-data" => check_pong(vector, b"6:2probe"),
        "close/post" => {
            assert_eq!(post(rev, BodyKind::Text, b"1:1").close, Some(CloseReason::TransportClose), "{name}");
        }
        "close/pending-get" => {
            assert_eq!(vector.close_reason(), post(rev, BodyKind::Text, b"1").close.map(CloseReason::as_str));
            assert_eq!(body_of(rev, PacketKind::Noop), vector.body(), "{name}");
        }
        "close/server" => assert_eq!(body_of(rev, PacketKind::Close), vector.body(), "{name}"),
        "close/server-close-pending-get" => {
            assert_eq!(body_of(rev, PacketKind::Close), vector.body(), "{name}");
            assert_eq!(vector.close_reason(), Some(CloseReason::ForcedClose.as_str()));
        }
        "overlap/first-poll" => {
            assert_eq!(body_of(rev, PacketKind::Close), vector.body(), "{name}");
            assert_eq!(vector.close_reason(), Some(CloseReason::TransportError.as_str()));
        }
        "ping-timeout" => check_ping_timeout(vector),
        "ws/frames" | "ws/b64" | "ws/invalid" | "ws/server-close" => check_ws(vector),
        "upgrade/flow" => check_upgrade(vector),
        "upgrade/second-ws" => {
            let (timing, mut session) = polling(rev);
            session.handle_candidate(&timing, 0).unwrap();
            assert_eq!(candidate_says(&mut session, &timing, "2probe"), Reaction::AnswerProbe);
            assert_eq!(candidate_says(&mut session, &timing, "5"), Reaction::Upgraded);
            assert_eq!(session.handle_candidate(&timing, 0), Err(CandidateRefused::AlreadyUpgraded));
        }
        "upgrade/bad-packet" | "upgrade/bad-packet-polling-survives" => {
            let (timing, mut session) = polling(rev);
            session.handle_candidate(&timing, 0).unwrap();
            assert_eq!(session.handle_candidate(&timing, 0), Err(CandidateRefused::AlreadyProbing));
            assert_eq!(candidate_says(&mut session, &timing, "4hello"), Reaction::CloseCandidate);
            let message = Packet::decode_text(rev, "4still here").unwrap();
            assert_eq!(session.handle_packet(&timing, 0, Transport::Polling, &message), Reaction::Deliver);
        }
        _ => return false,
    }
    true
}

fn check_decode(vector: &Vector) {
    let input = vector.fields["input"].as_str().unwrap();
    let packets = Decoder::new(Revision::V4, BodyKind::Text, input.as_bytes()).map(|packet| match packet {
        Ok(packet) => {
            let mut expected = json!({ "type": kind_name(packet.kind) });
            let data = data_value(&packet.data);
            if !data.is_null() {
                expected["data"] = data;
            }
            expected
        }
        Err(_) => json!({ "type": "error", "data": "parser error" }),
    });
    assert_eq!(Value::Array(packets.collect()), vector.fields["decoded"], "{}", vector.name);
}

/// The body is an open packet of ours for the values in it, and perhaps an initial message.
fn check_handshake(vector: &Vector, jsonp: bool) {
    let rev = vector.revision();
    let body = vector.body();
    let jsonp = jsonp || body.starts_with(b"___eio");
    let script = String::from_utf8(body.clone()).unwrap();
    let payload = if jsonp {
        let literal = script.strip_prefix("___eio[3](").and_then(|rest| rest.strip_suffix(");")).unwrap();
        serde_json::from_str::<String>(literal).unwrap()
    } else {
        script
    };
    let mut packets = Decoder::new(rev, BodyKind::Text, payload.as_bytes()).map(Result::unwrap);
    let open = packets.next().unwrap();
    assert_eq!(open.kind, PacketKind::Open);
    let Data::Text(text) = &open.data else { panic!("open packet of {} is binary", vector.name) };
    let mut encoder = Encoder::new(rev, jsonp, jsonp.then_some("3"));
    encoder.push(PacketKind::Open, DataRef::Text(&handshake_for(text)));
    for packet in packets {
        encoder.push(packet.kind, packet.data.as_ref());
    }
    let payload = encoder.finish();
    assert_eq!(payload.body, body, "{}", vector.name);
    assert_eq!(payload.content_type, vector.fields["headers"]["Content-Type"], "{}", vector.name);
}

/// Writes the handshake anew from the values in `recorded`.
fn handshake_for(recorded: &str) -> String {
    let value: Value = serde_json::from_str(recorded).unwrap();
    let upgrades: Vec<_> =
        value["upgrades"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let json = Handshake {
        sid: value["sid"].as_str().unwrap(),
        upgrades: &upgrades,
        ping_interval: value["pingInterval"].as_u64().unwrap(),
        ping_timeout: value["pingTimeout"].as_u64().unwrap(),
        max_payload: value["maxPayload"].as_u64().unwrap_or_default(),
    }
    .to_json();
    if value["maxPayload"].is_null() {
        // engine.io 3 does not know this key; its clients ignore it.
        return json.replace(",\"maxPayload\":0", "");
    }
    json
}

fn check_poll(vector: &Vector) {
    let rev = vector.revision();
    let case = vector.case();
    let jsonp = case.contains("/jsonp/");
    let hex_ab = [0xab; 300];
    let sent: &[DataRef<'_>] = match case.rsplit('/').next().unwrap() {
        "strings" => &[DataRef::Text("hello"), DataRef::Text("€😀"), DataRef::Text("")],
        "mixed-binary" => &[
            DataRef::Text("é"),
            DataRef::Binary(&[0, 1, 0xff, 0x80]),
            DataRef::Text("line\nbreak\\n\u{2028}"),
        ],
        "empty-binary" => &[DataRef::Binary(&[])],
        "binary-300" => &[DataRef::Binary(&hex_ab)],
        "batch" => {
            &[DataRef::Text("hi"), DataRef::Binary(&[1, 2, 3, 4]), DataRef::Text("€😀"), DataRef::Text("")]
        }
        other => panic!("what is sent in {other}?"),
    };
    let mut encoder = Encoder::new(rev, case.contains("/b64/"), jsonp.then_some("3"));
    for data in sent {
        encoder.push(PacketKind::Message, *data);
    }
    let payload = encoder.finish();
    assert_eq!(payload.body, vector.body(), "{}", vector.name);
    assert_eq!(payload.content_type, vector.fields["headers"]["Content-Type"], "{}", vector.name);
    if !jsonp {
        let kind = match payload.content_type {
            "application/octet-stream" => BodyKind::OctetStream,
            _ => BodyKind::Text,
        };
        let read: Vec<_> = Decoder::new(rev, kind, &payload.body).map(Result::unwrap).collect();
        assert_eq!(
            read.iter().map(|packet| packet.data.as_ref()).collect::<Vec<_>>(),
            sent,
            "{}",
            vector.name
        );
    }
}

fn check_post_v3(vector: &Vector) {
    let input = &vector.fields["input"];
    let body = match &input["body"] {
        Value::String(text) => text.clone().into_bytes(),
        binary => unhex(binary["$hex"].as_str().unwrap()),
    };
    let body = if input["q"] == "&j=3" { jsonp_form(&body) } else { Some(body) };
    let kind = match input["headers"]["content-type"].as_str() {
        Some("application/octet-stream") => BodyKind::OctetStream,
        _ => BodyKind::Text,
    };
    let outcome = body.map(|body| post(Revision::V3, kind, &body)).unwrap_or_default();
    let different = DIFFERENT.iter().find(|(case, ..)| *case == vector.case());
    let expected = match different {
        Some((_, packets, _)) => serde_json::from_str(packets).unwrap(),
        None => vector.fields["packets"].clone(),
    };
    assert_eq!(Value::Array(outcome.packets), expected, "{}", vector.name);
    assert_eq!(outcome.close.map(CloseReason::as_str), vector.close_reason(), "{}", vector.name);
}

fn check_post_v4(vector: &Vector) {
    let input = vector.fields["input"].as_str().unwrap();
    let body = input.strip_prefix("POST ").unwrap();
    let body =
        body.strip_prefix("body ").map_or(body, |quoted| quoted.trim_matches('"')).replace("<1e>", "\u{1e}");
    let outcome = post(Revision::V4, BodyKind::Text, body.as_bytes());
    let expected = match (vector.case(), &vector.fields["messages"]) {
        ("v4/post/ok", _) => json!(["hello", { "$bin": "01020304" }, "€"]),
        ("v4/invalid/trailing-separator", _) => json!(["a"]),
        (_, Value::Null) => json!([]),
        (_, messages) => messages.clone(),
    };
    assert_eq!(Value::Array(outcome.messages), expected, "{}", vector.name);
    assert_eq!(outcome.close.map(CloseReason::as_str), vector.close_reason(), "{}", vector.name);
}

fn check_pong(vector: &Vector, body: &[u8]) {
    let outcome = post(Revision::V3, BodyKind::Text, body);
    assert_eq!(outcome.reactions, [Reaction::Pong], "{}", vector.name);
    assert_eq!(body_of(Revision::V3, PacketKind::Pong), vector.body(), "{}", vector.name);
}

fn check_ping_timeout(vector: &Vector) {
    let (timing, mut session) = polling(Revision::V4);
    let ping_at = session.deadline().unwrap();
    assert_eq!(session.handle_timeout(&timing, ping_at), Some(Due::Ping));
    let Some(Due::Close(reason)) = session.handle_timeout(&timing, session.deadline().unwrap()) else {
        panic!("the session did not close");
    };
    assert_eq!(vector.close_reason(), Some(reason.as_str()));
}

/// The server's frames are what we write, the client's are read as Node reads them.
fn check_ws(vector: &Vector) {
    let rev = vector.revision();
    let b64 = vector.case().ends_with("b64");
    let frames = vector.fields["frames"].as_array().unwrap();
    let open = frames[0].as_str().unwrap().strip_prefix('0').unwrap();
    let handshake = handshake_for(open);
    let mut sent = vec![(PacketKind::Open, DataRef::Text(&handshake))];
    sent.extend_from_slice(match vector.case() {
        "v3/ws/frames" => &[
            (PacketKind::Message, DataRef::Text("hi")),
            (PacketKind::Message, DataRef::Binary(&[1, 2, 3])),
            (PacketKind::Pong, DataRef::Text("")),
        ],
        "v4/ws/frames" => &[
            (PacketKind::Message, DataRef::Text("hi")),
            (PacketKind::Message, DataRef::Binary(&[1, 2, 3])),
            (PacketKind::Message, DataRef::Binary(&[])),
            (PacketKind::Message, DataRef::Text("")),
        ],
        _ if b64 => &[(PacketKind::Message, DataRef::Binary(&[1, 2, 3]))],
        _ => &[],
    });
    let written: Vec<_> = sent
        .into_iter()
        .map(|(kind, data)| match data.to_frame(rev, kind, b64) {
            Frame::Text(text) => json!(text),
            Frame::Binary(bytes) => json!({ "$bin": hex(&bytes) }),
        })
        .collect();
    let recorded: Vec<_> = frames.iter().filter(|frame| !frame.is_array()).cloned().collect();
    assert_eq!(written, recorded, "{}", vector.name);

    if let Some(packets) = vector.fields["packets"].as_array() {
        let read = [
            Packet::decode_text(rev, "4abc"),
            Packet::decode_binary(rev, &[4, 9, 9]),
            Packet::decode_text(rev, "2"),
            Packet::decode_text(rev, "b4AQID"),
            Packet::decode_text(rev, "1"),
        ];
        let read: Vec<_> = read.into_iter().map(|packet| packet_value(&packet.unwrap())).collect();
        assert_eq!(&read, packets, "{}", vector.name);
    }
    match vector.case() {
        "v4/ws/invalid" => {
            let reason = CloseReason::from(Packet::decode_text(rev, "abc").unwrap_err());
            assert_eq!(vector.close_reason(), Some(reason.as_str()));
        }
        "v4/ws/server-close" => assert_eq!(vector.close_reason(), Some(CloseReason::ForcedClose.as_str())),
        _ => {}
    }
}

fn check_upgrade(vector: &Vector) {
    let rev = vector.revision();
    let frame = |kind, text| match DataRef::Text(text).to_frame(rev, kind, false) {
        Frame::Text(text) => json!(text),
        Frame::Binary(_) => panic!("text became binary"),
    };
    let (timing, mut session) = polling(rev);
    session.handle_candidate(&timing, 0).unwrap();
    assert_eq!(candidate_says(&mut session, &timing, "2probe"), Reaction::AnswerProbe);
    assert_eq!(vector.fields["ws"][0], frame(PacketKind::Pong, "probe"));

    let noop_at = session.deadline().unwrap();
    assert_eq!(session.handle_timeout(&timing, noop_at), Some(Due::Noop));
    assert_eq!(body_of(rev, PacketKind::Noop), unhex(vector.fields["get"]["body_hex"].as_str().unwrap()));

    assert_eq!(session.transport(), Transport::Polling);
    let mut during = Encoder::new(rev, false, None);
    during.push(PacketKind::Message, DataRef::Text("during"));
    assert_eq!(during.finish().body, unhex(vector.fields["get_during"]["body_hex"].as_str().unwrap()));

    assert_eq!(candidate_says(&mut session, &timing, "5"), Reaction::Upgraded);
    assert_eq!(session.transport(), Transport::WebSocket);
    assert_eq!(vector.fields["ws"][1], frame(PacketKind::Message, "after"));
}

/// What a POST to a fresh session leads to.
#[derive(Default)]
struct Outcome {
    packets: Vec<Value>,
    messages: Vec<Value>,
    reactions: Vec<Reaction>,
    close: Option<CloseReason>,
}

fn post(rev: Revision, kind: BodyKind, body: &[u8]) -> Outcome {
    let (timing, mut session) = polling(rev);
    let mut outcome = Outcome::default();
    for packet in Decoder::new(rev, kind, body) {
        let packet = match packet {
            Ok(packet) => packet,
            Err(malformed) => {
                outcome.packets.push(json!(["error", "parser error"]));
                outcome.close = Some(malformed.into());
                break;
            }
        };
        outcome.packets.push(packet_value(&packet));
        let reaction = session.handle_packet(&timing, 0, Transport::Polling, &packet);
        outcome.reactions.push(reaction);
        match reaction {
            Reaction::Deliver => outcome.messages.push(data_value(&packet.data)),
            Reaction::Close(reason) => outcome.close = Some(reason),
            _ => {}
        }
    }
    outcome
}

fn polling(rev: Revision) -> (Timing, Session) {
    let timing = Timing::default();
    (timing, Session::open(rev, Transport::Polling, &timing, 0))
}

fn candidate_says(session: &mut Session, timing: &Timing, text: &str) -> Reaction {
    let packet = Packet::decode_text(session.revision(), text).unwrap();
    session.handle_packet(timing, 0, Transport::WebSocket, &packet)
}

/// The answer to a poll that is only a packet of type `kind`.
fn body_of(rev: Revision, kind: PacketKind) -> Vec<u8> {
    let mut encoder = Encoder::new(rev, false, None);
    encoder.push(kind, DataRef::Text(""));
    encoder.finish().body
}

fn packet_value(packet: &Packet<'_>) -> Value {
    json!([kind_name(packet.kind), data_value(&packet.data)])
}

/// Node does not tell empty text from no data.
fn data_value(data: &Data<'_>) -> Value {
    match data {
        Data::Text(text) if text.is_empty() => Value::Null,
        Data::Text(text) => json!(text),
        Data::Binary(bytes) => json!({ "$bin": hex(bytes) }),
    }
}

/// The names of Node's parsers.
fn kind_name(kind: PacketKind) -> &'static str {
    match kind {
        PacketKind::Open => "open",
        PacketKind::Close => "close",
        PacketKind::Ping => "ping",
        PacketKind::Pong => "pong",
        PacketKind::Message => "message",
        PacketKind::Upgrade => "upgrade",
        PacketKind::Noop => "noop",
    }
}

fn vectors() -> Vec<Vector> {
    let files = [include_str!("../testdata/engineio-v3.json"), include_str!("../testdata/engineio-v4.json")];
    let vectors: Vec<Vector> =
        files.iter().flat_map(|file| serde_json::from_str::<Vec<Vector>>(file).unwrap()).collect();
    assert!(vectors.iter().all(|vector| vector.produced_by.starts_with("engine.io")));
    vectors
}

fn matches(pattern: &str, case: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => case.starts_with(start),
        None => case == pattern,
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
