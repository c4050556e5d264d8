//! Replays what was recorded from Node's `engine.io` 3.6.2 and 6.6.12 against the whole server, over HTTP and WebSocket.
//!
//! The recordings are of bare Engine.IO, so the server gets a parser that makes it one: every message is an event of `/`
//! and every event a message. What remains of Socket.IO is that `/` has to be joined, with the messages `join` and
//! `joined`. Every vector is either replayed or listed in `NOT_REPLAYED` with a reason.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use sio_server::protocol::parser::{Decode, Frame as Sent, Parser};
use sio_server::protocol::socketio::{Packet, PacketKind};
use sio_server::protocol::{Limits, Malformed};
use sio_server::{
    Args, Cookie, Cors, DisconnectReason, PerMessageDeflate, SameSite, Server, ServerBuilder, Socket,
};
use sio_tests::{Frame, Http, Log, Response, Ws, disconnects, log, opcode, serve, within};

/// Patterns over the names of vectors, without the package in front; `*` at the end stands for anything.
const NOT_REPLAYED: &[(&str, &str)] = &[
    ("webtransport-frame/*", "WebTransport is not offered"),
    ("v4/handshake/webtransport-enabled", "WebTransport is not offered"),
    ("decodePayload/*", "of the parser alone, which has no server around it: run in `sio-protocol`"),
    (
        "v3/poll/jsonp/mixed-binary",
        "Node puts a JSON form of a Buffer into the script, which no client reads; here a JSONP client gets base64",
    ),
];

/// What is recorded but not compared, and why: (vector with its package, field, reason).
const NOT_COMPARED: &[(&str, &str, &str)] = &[
    (
        "engine.io@3.6.2/*",
        "headers",
        "engine.io 3 has a cookie and CORS headers by default; here old clients get the headers of engine.io 6",
    ),
    (
        "engine.io@6.6.12/v4/handshake/options",
        "initial packet",
        "bare Engine.IO may put a message of the application behind the handshake; Socket.IO has no such option",
    ),
    (
        "engine.io@6.6.12/v4/ws/frames",
        "close 1006",
        "Node cuts the stream of a client that says goodbye; here it gets a close frame first",
    ),
    ("engine.io@6.6.12/v4/ws/b64", "close 1006", "as before"),
    ("engine.io@6.6.12/v4/upgrade/flow", "close 1006", "as before"),
    ("engine.io@6.6.12/v3/ws/*", "close 1006", "as before"),
    ("engine.io@3.6.2/v3/ws/*", "close 1006", "as before"),
    (
        "engine.io@6.6.12/v4/compression/*",
        "body_len",
        "another compressor makes other lengths: what is compared is the content",
    ),
];

/// Vectors with other messages here than in Node, the messages, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[(
    "v3/post/unicode-codepoint-length-rejected",
    "[]",
    "the length ends inside a character: Node delivers half of it before it fails, we fail at once",
)];

#[tokio::test]
async fn every_vector_is_replayed_or_has_a_reason() {
    let vectors = vectors();
    let mut replayed = 0;
    let mut unexplained = Vec::new();
    for vector in &vectors {
        let listed = NOT_REPLAYED.iter().any(|(pattern, _)| matches(pattern, vector.case()));
        match (replay(vector).await, listed) {
            (true, false) => replayed += 1,
            (false, true) => {}
            (true, true) => panic!("{} is replayed, but listed as not replayed", vector.name()),
            (false, false) => unexplained.push(vector.name()),
        }
    }
    assert!(unexplained.is_empty(), "neither replayed nor listed: {unexplained:#?}");
    assert_eq!((replayed, vectors.len()), (125, 68 + 75), "the numbers of those replayed and of all");
}

#[test]
fn every_exception_is_about_a_vector() {
    let vectors = vectors();
    let cases =
        NOT_REPLAYED.iter().map(|(pattern, _)| pattern).chain(DIFFERENT.iter().map(|(case, ..)| case));
    for pattern in cases {
        assert!(vectors.iter().any(|vector| matches(pattern, vector.case())), "{pattern} matches nothing");
    }
    for (pattern, ..) in NOT_COMPARED {
        assert!(vectors.iter().any(|vector| matches(pattern, vector.name())), "{pattern} matches nothing");
    }
}

/// Replays a vector and returns true, or returns false if this file does not know how.
async fn replay(vector: &Vector) -> bool {
    let case = vector.case();
    let rest = case.strip_prefix("v3/").or_else(|| case.strip_prefix("v4/")).unwrap_or(case);
    match rest {
        "poll/jsonp/mixed-binary" => return false,
        "handshake/xhr2" | "handshake/polling" => handshake(vector, builder(), "", &[]).await,
        "handshake/jsonp" => handshake(vector, builder(), "&j=3", &[]).await,
        "handshake/b64-ignored-in-polling" => handshake(vector, builder(), "&b64=1", &[]).await,
        "handshake/options" => {
            let options = builder()
                .allow_upgrades(false)
                .ping_interval(Duration::from_millis(300))
                .ping_timeout(Duration::from_millis(200));
            handshake(vector, options, "", &[]).await;
        }
        "error/empty-sid-is-handshake" => handshake(vector, builder(), "&sid=", &[]).await,
        _ if rest.starts_with("cors/") => cors(vector, rest).await,
        _ if rest.starts_with("error/forbidden-") => forbidden(vector, rest).await,
        "error/transport-mismatch" => {
            let mut session = Session::open(builder(), vector.revision(), "").await;
            let target = session.upgrade_target();
            let response = session.gets.get(&target).await;
            vector.assert_response(&response);
            session.assert_open().await;
        }
        _ if rest.starts_with("error/") => refused(vector).await,
        _ if rest.starts_with("poll/") => poll(vector, rest).await,
        _ if rest.starts_with("post/") => post(vector).await,
        "invalid/post-abc" | "invalid/trailing-separator" => post(vector).await,
        "invalid/after" => {
            let mut session = Session::open(builder(), vector.revision(), "").await;
            session.post("abc").await;
            vector.assert_response(&session.get().await);
        }
        "ping-pong" | "ping-with-data" => {
            let body = if rest == "ping-pong" { "1:2" } else { "6:2probe" };
            let mut session = Session::open(builder(), vector.revision(), "").await;
            assert_eq!(session.post(body).await.text(), "ok");
            vector.assert_response(&session.get().await);
        }
        "ping-timeout" | "ping-timeout-next-get" => ping_timeout(vector).await,
        _ if rest.starts_with("close/") => close(vector, rest).await,
        _ if rest.starts_with("overlap/") => overlap(vector, rest).await,
        _ if rest.starts_with("limits/") => limits(vector, rest).await,
        _ if rest.starts_with("compression/") => compression(vector, rest).await,
        _ if rest.starts_with("ws/error-") => ws_refused(vector, rest).await,
        _ if rest.starts_with("ws/") => ws(vector, rest).await,
        _ if rest.starts_with("upgrade/") => upgrade(vector, rest).await,
        _ => return false,
    }
    true
}

// What the vectors are about

async fn handshake(vector: &Vector, builder: ServerBuilder, query: &str, headers: &[(&str, &str)]) {
    let io = builder.build();
    let target = format!("/socket.io/?EIO={}&transport=polling{query}", vector.revision());
    let response = Http::connect(serve(&io).await).await.request("GET", &target, headers, b"").await;
    vector.assert_response(&response);
    assert_eq!(io.session_count(), 1);
}

async fn cors(vector: &Vector, rest: &str) {
    let (builder, origin) = match rest {
        "cors/handshake-origin" => (builder(), "http://a.com"),
        "cors/handshake" => {
            let cors = Cors::origin("http://example.com").credentials(true);
            (builder().cookie(Cookie::new()).cors(cors), "http://example.com")
        }
        "cors/star-custom-cookie" => {
            let cookie = Cookie::new()
                .name("sio")
                .path("/x")
                .max_age(Duration::from_secs(86400))
                .secure(true)
                .http_only(false)
                .same_site(SameSite::Strict);
            (builder().cookie(cookie).cors(Cors::any()), "http://o.com")
        }
        "cors/reflect" => (builder().cors(Cors::reflect()), "http://o.com"),
        "cors/list-match" => {
            (builder().cors(Cors::origins(["http://a.com", "http://b.com"])), "http://a.com")
        }
        "cors/list-no-match" => {
            (builder().cors(Cors::origins(["http://a.com", "http://b.com"])), "http://c.com")
        }
        other => panic!("what is {other}?"),
    };
    handshake(vector, builder, "", &[("Origin", origin)]).await;
}

async fn forbidden(vector: &Vector, rest: &str) {
    let message = if rest == "error/forbidden-message" { "nope" } else { "" };
    let io = builder().allow_request(move |_| Err(message.to_owned())).build();
    let mut http = Http::connect(serve(&io).await).await;
    vector.assert_response(&http.get("/socket.io/?EIO=4&transport=polling").await);
    assert_eq!(io.session_count(), 0);
}

/// The request is the input.
async fn refused(vector: &Vector) {
    // In Node clients of protocol 3 are not served unless the option is set.
    let io = builder().allow_eio3(vector.revision() == 3).build();
    let input = vector.input();
    let (input, headers) = match input.strip_suffix(" with Origin") {
        Some(input) => (input, &[("Origin", "http://a.com")][..]),
        None => (input, &[][..]),
    };
    let (method, target) = input.split_once(' ').unwrap();
    let target = target.replace("/engine.io/", "/socket.io/");
    let response = Http::connect(serve(&io).await).await.request(method, &target, headers, b"").await;
    vector.assert_response(&response);
    assert_eq!(io.session_count(), 0);
}

async fn poll(vector: &Vector, rest: &str) {
    let query = match rest {
        _ if rest.contains("/b64/") => "&b64=1",
        _ if rest.contains("/jsonp/") => "&j=3",
        _ => "",
    };
    let mut session = Session::open(builder(), vector.revision(), query).await;
    let socket = &session.socket;
    match rest.rsplit('/').next().unwrap() {
        "strings" => ["hello", "€😀", ""].iter().for_each(|text| say(socket, text)),
        "mixed-binary" => {
            say(socket, "é");
            say_binary(socket, &[0, 1, 0xff, 0x80]);
            say(socket, "line\nbreak\\n\u{2028}");
        }
        "empty-binary" => say_binary(socket, &[]),
        "binary-300" => say_binary(socket, &[0xab; 300]),
        "batch" => {
            say(socket, "hi");
            say_binary(socket, &[1, 2, 3, 4]);
            say(socket, "€😀");
            say(socket, "");
        }
        other => panic!("what is sent in {other}?"),
    }
    vector.assert_response(&session.get().await);
}

async fn post(vector: &Vector) {
    let input = &vector.0["input"];
    let mut query = "";
    let mut headers = vec![("Content-Type", "text/plain;charset=UTF-8")];
    let body = match input {
        Value::String(text) => {
            let body = text.strip_prefix("POST ").unwrap();
            let body = body.strip_prefix("body ").map_or(body, |quoted| quoted.trim_matches('"'));
            body.replace("<1e>", "\u{1e}").into_bytes()
        }
        _ => {
            query = input["q"].as_str().unwrap();
            if let Some(kind) = input["headers"]["content-type"].as_str() {
                headers = vec![("Content-Type", kind)];
            }
            match &input["body"] {
                Value::String(text) => text.clone().into_bytes(),
                binary => unhex(binary["$hex"].as_str().unwrap()),
            }
        }
    };
    let mut session = Session::open(builder(), vector.revision(), query).await;
    let target = session.target();
    let response = session.posts.request("POST", &target, &headers, &body).await;
    vector.assert_response(&response);
    // Handlers have started, and the end has come, before a POST is answered.
    let different = DIFFERENT.iter().find(|(case, ..)| *case == vector.case());
    let expected = match (vector.case(), different) {
        (_, Some((_, messages, _))) => serde_json::from_str(messages).unwrap(),
        ("v4/post/ok", _) => json!(["hello", { "$bin": "01020304" }, "€"]),
        ("v4/invalid/trailing-separator", _) => json!(["a"]),
        _ if vector.0["packets"].is_array() => messages_of(&vector.0["packets"]),
        _ if vector.0["messages"].is_array() => vector.0["messages"].clone(),
        _ => json!([]),
    };
    session.assert_messages(vector, &expected).await;
    match vector.close_reason() {
        Some(_) => session.assert_closed(vector).await,
        None => session.assert_open().await,
    }
}

async fn ping_timeout(vector: &Vector) {
    let short = Duration::from_millis(20);
    let mut session =
        Session::open(builder().ping_interval(short).ping_timeout(short), vector.revision(), "").await;
    // Nothing is polled, nothing is answered.
    let reason = session.reasons.next().await;
    if vector.case() == "v4/ping-timeout" {
        assert_eq!(Some(reason.as_str()), vector.close_reason());
    } else {
        vector.assert_response(&session.get().await);
    }
}

async fn close(vector: &Vector, rest: &str) {
    let mut session = Session::open(builder(), vector.revision(), "").await;
    session.hold().await;
    match rest {
        "close/post" => {
            vector.assert_response(&session.post("1:1").await);
            assert_eq!(session.held().await.text(), "1:6");
        }
        "close/pending-get" => {
            assert_eq!(session.post("1").await.text(), "ok");
            vector.assert_response(&session.held().await);
            session.assert_closed(vector).await;
        }
        "close/server" => {
            session.socket.close_connection();
            vector.assert_response(&session.held().await);
        }
        "close/server-close-pending-get" => {
            session.socket.close_connection();
            vector.assert_response(&session.held().await);
            session.assert_closed(vector).await;
        }
        "close/get-aborted" => {
            session.gets = Http::connect(session.address).await;
            session.assert_closed(vector).await;
        }
        other => panic!("what is {other}?"),
    }
    assert_eq!(session.io.session_count(), 0);
}

async fn overlap(vector: &Vector, rest: &str) {
    let mut session = Session::open(builder(), vector.revision(), "").await;
    let target = session.target();
    if rest == "overlap/second-post" {
        session
            .posts
            .write(format!("POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n4").as_bytes())
            .await;
        // Which of two connections is read first is the server's choice: it may not have seen the first POST yet.
        let second = within("the server to notice the first", async {
            loop {
                let response = session.gets.post(&target, b"6").await;
                if response.status != 200 {
                    return response;
                }
            }
        });
        vector.assert_response(&second.await);
        return;
    }
    session.hold().await;
    let second = session.posts.get(&target).await;
    let first = session.held().await;
    match rest {
        "overlap/second-poll" => vector.assert_response(&second),
        "overlap/first-poll" => {
            vector.assert_response(&first);
            session.assert_closed(vector).await;
        }
        "overlap/after" => vector.assert_response(&session.get().await),
        other => panic!("what is {other}?"),
    }
}

async fn limits(vector: &Vector, rest: &str) {
    let builder = builder().max_http_buffer_size(10);
    if rest == "limits/ws-too-big" {
        let mut session = Session::over_websocket(builder, 4, "").await;
        session.ws().send(&format!("4{}", "a".repeat(20))).await;
        let code = vector.0["ws_close"][0].as_u64().unwrap();
        assert_eq!(session.ws().next().await, Some(Frame::close(Some(u16::try_from(code).unwrap()))));
        session.assert_closed(vector).await;
        return;
    }
    let mut session = Session::open(builder, vector.revision(), "").await;
    let target = session.target();
    let mut http = Http::connect(session.address).await;
    let large = http.post(&target, format!("4{}", "a".repeat(20)).as_bytes()).await;
    match rest {
        "limits/413" => vector.assert_response(&large),
        "limits/413-session-still-usable" => vector.assert_response(&session.post("4small").await),
        other => panic!("what is {other}?"),
    }
    let seen = if rest == "limits/413" { json!([]) } else { json!(["small"]) };
    session.assert_messages(vector, &seen).await;
    session.assert_open().await;
}

async fn compression(vector: &Vector, rest: &str) {
    let length = match rest {
        "compression/gzip" => 2001,
        "compression/below-threshold-1023" => 1023,
        "compression/at-threshold-1024" => 1024,
        other => panic!("how long is {other}?"),
    };
    let mut session = Session::open(builder(), vector.revision(), "").await;
    say(&session.socket, &"a".repeat(length - 1));
    let target = session.target();
    let accept = [("Accept-Encoding", "gzip, deflate")];
    let mut response = session.gets.request("GET", &target, &accept, b"").await;
    vector.assert_head(&response);
    if response.header("content-encoding") == Some("gzip") {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&response.body[..]).read_to_end(&mut plain).unwrap();
        assert!(response.body.len() < length / 10);
        response.body = plain;
    } else {
        assert_eq!(vector.0["body_len"], length);
    }
    assert_eq!(response.text(), format!("4{}", "a".repeat(length - 1)));
}

async fn ws_refused(vector: &Vector, rest: &str) {
    let builder = match rest {
        "ws/error-forbidden" => builder().allow_request(|_| Err("nope".to_owned())),
        _ => builder(),
    };
    let query = if rest == "ws/error-unknown-sid" { vector.input() } else { "" };
    let target = format!("/socket.io/?EIO=4&transport=websocket{query}");
    let http = Http::connect(serve(&builder.build()).await).await;
    let response = Ws::try_over(http, &target, &[]).await.unwrap_err();
    let [_, status, headers, body] = &vector.0["log"][0].as_array().unwrap()[..] else {
        panic!("{vector:?}")
    };
    assert_eq!((json!(response.status), json!(response.text())), (status.clone(), body.clone()));
    assert_headers(vector, headers, &response);
}

async fn ws(vector: &Vector, rest: &str) {
    let recorded = vector.0["frames"].as_array().unwrap();
    let query = if rest == "ws/b64" { "&b64=1" } else { "" };
    let builder = match rest {
        // Offered by the server, but not by this client, it changes nothing.
        "ws/b64" => builder().per_message_deflate(PerMessageDeflate::default()),
        _ => builder(),
    };
    let mut session = Session::over_websocket(builder, vector.revision(), query).await;
    assert_eq!(session.open_packet, vector.text_for(recorded[0].as_str().unwrap(), &session.open_packet));
    let socket = session.socket.clone();
    match (rest, vector.revision()) {
        ("ws/frames", 3) => {
            say(&socket, "hi");
            say_binary(&socket, &[1, 2, 3]);
            session.ws().send("4abc").await;
            session.ws().send_binary(&[4, 9, 9]).await;
            session.ws().send("2").await;
            session.ws().send("b4AQID").await;
        }
        ("ws/frames", _) => {
            say(&socket, "hi");
            say_binary(&socket, &[1, 2, 3]);
            say_binary(&socket, &[]);
            say(&socket, "");
        }
        ("ws/b64", _) => say_binary(&socket, &[1, 2, 3]),
        ("ws/invalid", _) => session.ws().send("abc").await,
        ("ws/server-close", _) => socket.close_connection(),
        other => panic!("what is {other:?}?"),
    }
    for frame in &recorded[1..recorded.len() - 1] {
        assert_eq!(session.ws().next().await, Some(frame_of(frame)), "{}", vector.name());
    }
    // What is left is the end.
    match recorded.last().unwrap()[1].as_u64() {
        Some(1005) => assert_eq!(session.ws().next().await, Some(Frame::close(None)), "{}", vector.name()),
        Some(1006) => {
            // The client's goodbye.
            session.ws().send("1").await;
            assert_eq!(session.ws().next().await, Some(Frame::close(None)), "{}", vector.name());
            assert_eq!(session.reasons.next().await, DisconnectReason::TransportClose);
        }
        other => panic!("{other:?}"),
    }
    if vector.close_reason().is_some() {
        session.assert_closed(vector).await;
    }
    if vector.0["packets"].is_array() {
        session.assert_messages(vector, &messages_of(&vector.0["packets"])).await;
    }
}

async fn upgrade(vector: &Vector, rest: &str) {
    let mut session = Session::open(builder(), vector.revision(), "").await;
    let target = session.upgrade_target();
    if rest.starts_with("upgrade/bad-packet") {
        let mut first = Ws::connect(session.address, &target).await;
        // Once it has its answer the server has taken it for the candidate.
        first.send("2probe").await;
        assert_eq!(first.recv().await, "3probe");
        let mut second = Ws::connect(session.address, &target).await;
        assert_eq!(second.next().await, Some(Frame::close(None)));
        first.send("4hello").await;
        assert_eq!(first.next().await, Some(Frame::close(None)));
        // So is one that does not begin with the probe.
        second = Ws::connect(session.address, &target).await;
        second.send("4hello").await;
        assert_eq!(second.next().await, Some(Frame::close(None)));
        let response = session.post("4still here").await;
        if rest == "upgrade/bad-packet-polling-survives" {
            vector.assert_response(&response);
        } else {
            let empty_close = json!([["close", 1005, ""]]);
            assert_eq!((&vector.0["ws"], &vector.0["ws2"]), (&empty_close, &empty_close));
        }
        session.assert_messages(vector, &json!(["still here"])).await;
        session.assert_open().await;
        return;
    }
    session.hold().await;
    let mut ws = Ws::connect(session.address, &target).await;
    ws.send("2probe").await;
    let mut frames = vec![json!(ws.recv().await)];
    let held = session.held().await;
    say(&session.socket, "during");
    let during = session.get().await;
    ws.send("5").await;
    // Messages go over the WebSocket once the server has read that.
    within("the upgrade", async {
        while session.socket.transport() != "websocket" {
            tokio::task::yield_now().await;
        }
    })
    .await;
    say(&session.socket, "after");
    frames.push(json!(ws.recv().await));
    match rest {
        "upgrade/flow" => {
            assert_eq!(frames, vector.0["ws"].as_array().unwrap()[..2]);
            assert_recorded(vector, &vector.0["get"], &held);
            assert_recorded(vector, &vector.0["get_during"], &during);
        }
        "upgrade/poll-after-upgrade" => vector.assert_response(&session.get().await),
        "upgrade/second-ws" => {
            let mut second = Ws::connect(session.address, &target).await;
            assert_eq!(second.next().await, Some(Frame::close(None)));
            assert_eq!(vector.0["log"], json!([["close", 1005, ""]]));
        }
        other => panic!("what is {other}?"),
    }
    say(&session.socket, "still there");
    assert_eq!(ws.recv().await, "4still there");
}

// A server of bare Engine.IO

/// Makes an event of `/` of every message, and a message of every event.
#[derive(Clone, Copy, Debug)]
struct Bare;

impl Parser for Bare {
    fn decoder(&self, _: &Limits) -> Box<dyn Decode> {
        Box::new(*self)
    }

    fn encode(&self, packet: &Packet<'_>, out: &mut Vec<Sent>) {
        let event = packet.event_name();
        match (packet.kind, event.as_deref()) {
            (PacketKind::Connect, _) => out.push(Sent::Text("joined".to_owned())),
            (PacketKind::Event, Some("text")) => out.push(Sent::Text(packet.args().deserialize().unwrap())),
            (PacketKind::Event, Some("binary")) => out.push(Sent::Binary(packet.attachments[0].clone())),
            _ => panic!("{packet:?} is not for this test"),
        }
    }
}

impl Decode for Bare {
    fn decode_text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, Malformed> {
        if text == "join" {
            return Ok(Some(Packet::connect("/", "")));
        }
        Ok(Some(Packet::event("/", None, json!(["text", text]).to_string(), Vec::new())))
    }

    fn decode_binary(&mut self, bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed> {
        Ok(Some(Packet::event("/", None, r#"["binary",{"_placeholder":true,"num":0}]"#, vec![bytes])))
    }
}

fn builder() -> ServerBuilder {
    Server::builder().parser(Bare)
}

fn say(socket: &Socket, text: &str) {
    socket.emit("text", &text);
}

fn say_binary(socket: &Socket, bytes: &[u8]) {
    socket.emit("binary", &Bytes::copy_from_slice(bytes));
}

/// A session that has joined `/`, on a server of its own.
struct Session {
    io: Server,
    address: SocketAddr,
    revision: u8,
    /// As it came, with what came behind it.
    open_packet: String,
    sid: String,
    gets: Http,
    posts: Http,
    ws: Option<Ws>,
    socket: Socket,
    messages: Log<Value>,
    reasons: Log<DisconnectReason>,
}

impl Session {
    async fn open(builder: ServerBuilder, revision: u8, query: &str) -> Self {
        Self::start(builder, revision, query, false).await
    }

    async fn over_websocket(builder: ServerBuilder, revision: u8, query: &str) -> Self {
        Self::start(builder, revision, query, true).await
    }

    async fn start(builder: ServerBuilder, revision: u8, query: &str, websocket: bool) -> Self {
        let io = builder.build();
        let (seen, messages) = log();
        let (sockets, mut connected) = log();
        let binary = seen.clone();
        io.sockets()
            .on("text", move |Args(text): Args<String>| {
                let _ = seen.send(json!(text));
                async {}
            })
            .on("binary", move |Args(bytes): Args<Bytes>| {
                let _ = binary.send(json!({ "$bin": hex(&bytes) }));
                async {}
            })
            .on_connection(move |socket: Socket| {
                let _ = sockets.send(socket);
                async {}
            });
        let reasons = disconnects(&io);
        let address = serve(&io).await;
        let (mut gets, mut posts) = (Http::connect(address).await, Http::connect(address).await);
        let (open_packet, ws) = if websocket {
            let target = format!("/socket.io/?EIO={revision}&transport=websocket{query}");
            let mut ws = Ws::connect(address, &target).await;
            let open_packet = ws.recv().await;
            if revision == 4 {
                ws.send("4join").await;
            }
            assert_eq!(ws.recv().await, "4joined");
            (open_packet, Some(ws))
        } else {
            let target = format!("/socket.io/?EIO={revision}&transport=polling{query}");
            let open_packet = gets.get(&target).await.text().to_owned();
            if revision == 4 {
                let target = format!("{target}&sid={}", sid(&open_packet).unwrap());
                assert_eq!(posts.post(&target, b"4join").await.text(), "ok");
                assert_eq!(gets.get(&target).await.text(), "4joined");
            }
            (open_packet, None)
        };
        let sid = sid(&open_packet).unwrap().to_owned();
        let socket = connected.next().await;
        Self { io, address, revision, open_packet, sid, gets, posts, ws, socket, messages, reasons }
    }

    fn target(&self) -> String {
        format!("/socket.io/?EIO={}&transport=polling&sid={}", self.revision, self.sid)
    }

    fn upgrade_target(&self) -> String {
        format!("/socket.io/?EIO={}&transport=websocket&sid={}", self.revision, self.sid)
    }

    fn ws(&mut self) -> &mut Ws {
        self.ws.as_mut().unwrap()
    }

    async fn get(&mut self) -> Response {
        let target = self.target();
        self.gets.get(&target).await
    }

    async fn post(&mut self, body: &str) -> Response {
        let target = self.target();
        self.posts.post(&target, body.as_bytes()).await
    }

    /// Sends a GET and makes sure that the server holds it: a POST that was sent after it has been answered.
    async fn hold(&mut self) {
        let target = self.target();
        self.gets.send("GET", &target, &[], b"").await;
        let noop = if self.revision == 3 { "1:6" } else { "6" };
        assert_eq!(self.post(noop).await.text(), "ok");
    }

    async fn held(&mut self) -> Response {
        within("the held poll", self.gets.response()).await.unwrap()
    }

    async fn assert_messages(&mut self, vector: &Vector, expected: &Value) {
        for message in expected.as_array().unwrap() {
            assert_eq!(self.messages.next().await, *message, "{}", vector.name());
        }
        self.messages.assert_empty();
    }

    async fn assert_closed(&mut self, vector: &Vector) {
        assert_eq!(Some(self.reasons.next().await.as_str()), vector.close_reason(), "{}", vector.name());
        assert_eq!(self.io.session_count(), 0, "{}", vector.name());
    }

    async fn assert_open(&mut self) {
        self.reasons.assert_empty();
        say(&self.socket, "still there");
        let response = self.get().await;
        assert!(response.text().contains("4still there"), "{}", response.text());
    }
}

// The vectors

#[derive(Debug)]
struct Vector(Value);

impl Vector {
    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    /// The name without the package that produced the vector.
    fn case(&self) -> &str {
        self.name().split_once('/').unwrap().1
    }

    fn revision(&self) -> u8 {
        if self.case().starts_with("v3/") { 3 } else { 4 }
    }

    fn input(&self) -> &str {
        self.0["input"].as_str().unwrap()
    }

    fn close_reason(&self) -> Option<&str> {
        self.0["close"][0].as_str()
    }

    fn is_of_engine_3(&self) -> bool {
        self.name().starts_with("engine.io@3")
    }

    /// Recorded text with what is different in each session, as it is in `ours`.
    fn text_for(&self, recorded: &str, ours: &str) -> String {
        let text = match (sid(recorded), sid(ours)) {
            (Some(recorded_sid), Some(our_sid)) => recorded.replace(recorded_sid, our_sid),
            _ => recorded.to_owned(),
        };
        let text = match text.split_once("\u{1e}4hello") {
            Some((open, _)) if self.case() == "v4/handshake/options" => open.to_owned(),
            _ => text,
        };
        if !self.is_of_engine_3() || !text.contains("pingTimeout") {
            return text;
        }
        // engine.io 3 does not know this key, and its clients ignore it.
        let quote = if text.contains("\\\"") { "\\\"" } else { "\"" };
        let key = format!(",{quote}maxPayload{quote}:1000000");
        text.replace("20000}", &format!("20000{key}}}")).replace("97:0{", "118:0{")
    }

    fn assert_response(&self, response: &Response) {
        assert_recorded(self, &self.0, response);
    }

    /// Status and headers.
    fn assert_head(&self, response: &Response) {
        assert_eq!(json!(response.status), self.0["status"], "{}", self.name());
        assert_headers(self, &self.0["headers"], response);
    }
}

fn assert_recorded(vector: &Vector, recorded: &Value, response: &Response) {
    assert_eq!(json!(response.status), recorded["status"], "{}", vector.name());
    let body = unhex(recorded["body_hex"].as_str().unwrap());
    match (String::from_utf8(body), std::str::from_utf8(&response.body)) {
        (Ok(body), Ok(ours)) => {
            // Protocol 3 joins `/` unasked, and says so behind the handshake.
            let without =
                if sid(ours).is_some() { ours.replacen("7:4joined", "", 1) } else { ours.to_owned() };
            assert_eq!(without, vector.text_for(&body, ours), "{}", vector.name());
        }
        (Err(body), _) => assert_eq!(response.body, body.into_bytes(), "{}", vector.name()),
        (Ok(body), Err(_)) => panic!("{:?} instead of {body} in {}", response.body, vector.name()),
    }
    assert_headers(vector, &recorded["headers"], response);
}

/// All headers but those by which HTTP frames a message.
fn assert_headers(vector: &Vector, recorded: &Value, response: &Response) {
    const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "date", "connection"];
    let ours = sid(std::str::from_utf8(&response.body).unwrap_or_default());
    let mut expected: Vec<(String, String)> = recorded
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().unwrap().to_owned()))
        .filter(|(name, _)| !FRAMING.contains(&&**name))
        .map(|(name, value)| match (&*name, ours, value.split_once(['=', ';'])) {
            ("set-cookie", Some(ours), Some((cookie, rest))) => {
                let (_, attributes) = rest.split_once(';').unwrap();
                (name, format!("{cookie}={ours};{attributes}"))
            }
            _ => (name, value),
        })
        .collect();
    let mut seen: Vec<_> =
        response.headers.iter().filter(|(name, _)| !FRAMING.contains(&&**name)).cloned().collect();
    if vector.is_of_engine_3() {
        expected.retain(|(name, _)| name == "content-type");
        seen.retain(|(name, _)| name == "content-type");
    }
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected, "{}", vector.name());
}

/// The messages among recorded packets.
fn messages_of(packets: &Value) -> Value {
    let messages = packets.as_array().unwrap().iter().filter(|packet| packet[0] == "message");
    messages.map(|packet| packet[1].clone()).collect()
}

fn frame_of(recorded: &Value) -> Frame {
    match recorded {
        Value::String(text) => Frame::text(text),
        _ => Frame { head: 0x80 | opcode::BINARY, payload: unhex(recorded["$bin"].as_str().unwrap()) },
    }
}

/// The session id in a handshake, be it JSON or JSON in a script.
fn sid(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once(r#"{"sid":""#).or_else(|| text.split_once(r#"{\"sid\":\""#))?;
    rest.get(..20)
}

fn vectors() -> Vec<Vector> {
    let files = [
        include_str!("../../sio-protocol/testdata/engineio-v3.json"),
        include_str!("../../sio-protocol/testdata/engineio-v4.json"),
    ];
    files.iter().flat_map(|file| serde_json::from_str::<Vec<Value>>(file).unwrap()).map(Vector).collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
