//! WebSocket: what a client may send, what ends the connection and with which status, and what it gets.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::Read;

use bytes::Bytes;
use sio_server::{Args, Cookie, DisconnectReason, PerMessageDeflate, Server};
use sio_tests::{Client, Frame, Http, Log, Ws, disconnects, frame, log, opcode, serve};

const TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

struct Joined {
    client: Client,
    /// The arguments of the events `t`.
    texts: Log<String>,
    reasons: Log<DisconnectReason>,
}

async fn joined(io: &Server) -> Joined {
    let (seen, texts) = log();
    io.sockets().on("t", move |Args(text): Args<String>| {
        let _ = seen.send(text);
        async {}
    });
    let reasons = disconnects(io);
    let (client, _) = Client::connected(serve(io).await).await;
    Joined { client, texts, reasons }
}

#[tokio::test]
async fn frames_that_break_the_rules_get_the_status_that_says_so() {
    let table: [(&str, Vec<u8>, u16); 11] = [
        ("unmasked", b"\x81\x0542[1]".to_vec(), 1002),
        ("a reserved bit", frame(0xc1, b"3"), 1002),
        ("a reserved opcode", frame(0x83, b"3"), 1002),
        ("a reserved control opcode", frame(0x8b, b"3"), 1002),
        ("a fragmented ping", frame(opcode::PING, b""), 1002),
        ("a ping of 126 bytes", frame(0x80 | opcode::PING, &[0; 126]), 1002),
        ("a continuation of nothing", frame(0x80, b"3"), 1002),
        ("a message inside a message", [frame(0x01, b"4"), frame(0x81, b"3")].concat(), 1002),
        ("a close of one byte", frame(0x88, b"x"), 1002),
        ("text that is not UTF-8", frame(0x81, b"42[\"t\",\"\xff\"]"), 1007),
        ("a reason that is not UTF-8", frame(0x88, b"\x03\xe8\xff"), 1007),
    ];
    for (what, bytes, code) in table {
        let mut joined = joined(&Server::new()).await;
        joined.client.ws().write(&bytes).await;
        assert_eq!(joined.client.closed().await, Some(code), "{what}");
        assert_eq!(joined.reasons.next().await, DisconnectReason::TransportError, "{what}");
        joined.texts.assert_empty();
    }
}

#[tokio::test]
async fn a_message_may_have_a_million_bytes_and_no_more() {
    let fits = format!("42[\"t\",\"{}\"]", "a".repeat(999_990));
    assert_eq!(fits.len(), 1_000_000);
    let mut joined = joined(&Server::new()).await;
    joined.client.ws().send(&fits).await;
    assert_eq!(joined.texts.next().await.len(), 999_990);
    // In pieces too.
    joined.client.ws().frame(0x01, &fits.as_bytes()[..400_000]).await;
    joined.client.ws().frame(0x80, &fits.as_bytes()[400_000..]).await;
    assert_eq!(joined.texts.next().await.len(), 999_990);
    // The length alone is enough: the payload never comes.
    let mut header = vec![0x81, 0x80 | 127];
    header.extend_from_slice(&1_000_001_u64.to_be_bytes());
    header.extend_from_slice(&[0; 4]);
    joined.client.ws().write(&header).await;
    assert_eq!(joined.client.closed().await, Some(1009));
    assert_eq!(joined.reasons.next().await, DisconnectReason::TransportError);
}

#[tokio::test]
async fn the_pieces_of_a_message_count_together() {
    let mut joined = joined(&Server::builder().max_http_buffer_size(1000).build()).await;
    joined.client.ws().frame(0x01, &[b'4'; 600]).await;
    joined.client.ws().frame(0x80, &[b'4'; 401]).await;
    assert_eq!(joined.client.closed().await, Some(1009));
}

#[tokio::test]
async fn pings_between_fragments_are_answered_and_the_message_arrives() {
    let mut joined = joined(&Server::new()).await;
    let text = "42[\"t\",\"€\"]".as_bytes();
    // Cut inside the three bytes of the euro sign.
    let ws = joined.client.ws();
    ws.frame(opcode::TEXT, &text[..9]).await;
    ws.frame(0x80 | opcode::PING, b"are you there").await;
    assert_eq!(ws.next().await, Some(Frame { head: 0x80 | opcode::PONG, payload: b"are you there".into() }));
    ws.frame(opcode::CONTINUATION, &text[9..10]).await;
    ws.frame(0x80 | opcode::PONG, b"unasked").await;
    ws.frame(opcode::CONTINUATION, b"").await;
    ws.frame(0x80 | opcode::CONTINUATION, &text[10..]).await;
    assert_eq!(joined.texts.next().await, "€");
}

#[tokio::test]
async fn frames_may_arrive_byte_by_byte() {
    let mut joined = joined(&Server::new()).await;
    for byte in
        [frame(0x81, b"42[\"t\",\"a\"]"), frame(0x81, &[b'3'; 200]), frame(0x81, b"42[\"t\",\"b\"]")].concat()
    {
        joined.client.ws().write(&[byte]).await;
    }
    assert_eq!(joined.texts.take(2).await, ["a", "b"]);
}

#[tokio::test]
async fn frames_may_come_in_the_segment_of_the_handshake() {
    let io = Server::new();
    let (seen, mut texts) = log();
    io.sockets().on("t", move |Args(text): Args<String>| {
        let _ = seen.send(text);
        async {}
    });
    let mut http = Http::connect(serve(&io).await).await;
    let mut bytes = format!(
        "GET {TARGET} HTTP/1.1\r\nHost: t\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes();
    bytes.extend(frame(0x81, b"40"));
    bytes.extend(frame(0x81, b"42[\"t\",\"early\"]"));
    http.write(&bytes).await;
    assert_eq!(sio_tests::within("101", http.response()).await.unwrap().status, 101);
    assert_eq!(texts.next().await, "early");
}

#[tokio::test]
async fn a_close_frame_is_answered_in_kind() {
    for code in [None, Some(1000), Some(1001), Some(4321)] {
        let mut joined = joined(&Server::new()).await;
        let payload = code.map_or_else(Vec::new, |code: u16| code.to_be_bytes().to_vec());
        joined.client.ws().frame(0x88, &payload).await;
        joined.client.expect_close(code).await;
        assert_eq!(joined.reasons.next().await, DisconnectReason::TransportClose);
    }
}

#[tokio::test]
async fn a_client_that_goes_without_a_word_has_closed_the_transport() {
    let io = Server::new();
    let mut joined = joined(&io).await;
    drop(joined.client);
    assert_eq!(joined.reasons.next().await, DisconnectReason::TransportClose);
    assert_eq!(io.session_count(), 0);
}

#[tokio::test]
async fn a_close_packet_closes_the_session() {
    let mut joined = joined(&Server::new()).await;
    joined.client.send_engine("1").await;
    joined.client.expect_close(None).await;
    assert_eq!(joined.reasons.next().await, DisconnectReason::TransportClose);
}

#[tokio::test]
async fn what_is_no_engine_packet_is_a_parse_error() {
    for garbage in ["", "7", "x", "é", "42"] {
        let mut joined = joined(&Server::new()).await;
        // `42` is an event without data: nothing at all, but no error.
        let harmless = garbage == "42";
        joined.client.send_engine(garbage).await;
        if harmless {
            joined.client.send("2[\"t\",\"x\"]").await;
            assert_eq!(joined.texts.next().await, "x");
            continue;
        }
        joined.client.expect_close(None).await;
        assert_eq!(joined.reasons.next().await, DisconnectReason::ParseError, "{garbage:?}");
    }
}

#[tokio::test]
async fn messages_after_a_fatal_one_are_not_looked_at() {
    let mut joined = joined(&Server::new()).await;
    let bytes =
        [frame(0x81, b"42[\"t\",\"a\"]"), frame(0x81, b"x"), frame(0x81, b"42[\"t\",\"b\"]")].concat();
    joined.client.ws().write(&bytes).await;
    joined.client.expect_close(None).await;
    assert_eq!(joined.texts.next().await, "a");
    joined.texts.assert_empty();
}

#[tokio::test]
async fn base64_text_stands_for_a_binary_message_and_is_sent_to_those_who_ask() {
    let io = Server::new();
    io.sockets().on("b", async |socket: sio_server::Socket, Args(bytes): Args<Bytes>| {
        socket.emit("b", &bytes);
    });
    let address = serve(&io).await;
    let event = r#"451-["b",{"_placeholder":true,"num":0}]"#;
    let mut ws = Ws::connect(address, &format!("{TARGET}&b64=1")).await;
    ws.recv().await;
    ws.send("40").await;
    ws.recv().await;
    ws.send(event).await;
    ws.send("bAQID").await;
    assert_eq!(ws.recv().await, event);
    assert_eq!(ws.recv().await, "bAQID");
    let mut ws = Ws::connect(address, "/socket.io/?EIO=3&transport=websocket&b64=1").await;
    ws.recv().await;
    ws.recv().await;
    ws.send(event).await;
    ws.send("b4AQID").await;
    assert_eq!(ws.recv().await, event);
    assert_eq!(ws.recv().await, "b4AQID");
}

#[tokio::test]
async fn binary_frames_have_a_type_byte_in_protocol_3_only() {
    let io = Server::new();
    io.sockets().on("b", async |socket: sio_server::Socket, Args(bytes): Args<Bytes>| {
        socket.emit("b", &bytes);
    });
    let address = serve(&io).await;
    let event = r#"451-["b",{"_placeholder":true,"num":0}]"#;
    for (revision, wire, empty) in [(4, vec![1, 2], vec![]), (3, vec![4, 1, 2], vec![4])] {
        let mut ws = Ws::connect(address, &format!("/socket.io/?EIO={revision}&transport=websocket")).await;
        ws.recv().await;
        if revision == 4 {
            ws.send("40").await;
        }
        ws.recv().await;
        for bytes in [wire, empty] {
            ws.send(event).await;
            ws.send_binary(&bytes).await;
            assert_eq!(ws.recv().await, event);
            assert_eq!(ws.next().await, Some(Frame::binary(&bytes)));
        }
    }
}

#[tokio::test]
async fn a_bad_handshake_is_told_what_is_wrong() {
    let address = serve(&Server::new()).await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "websocket")];
    let version = ("Sec-WebSocket-Version", "13");
    let table = [
        (vec![version], 400),
        (vec![version, ("Sec-WebSocket-Key", "too short")], 400),
        (vec![("Sec-WebSocket-Version", "12"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")], 426),
    ];
    for (headers, status) in table {
        let mut http = Http::connect(address).await;
        let all: Vec<_> = upgrade.into_iter().chain(headers.clone()).collect();
        let response = http.request("GET", TARGET, &all, b"").await;
        assert_eq!(response.status, status, "{headers:?}");
        assert!(http.is_closed().await);
    }
}

#[tokio::test]
async fn neither_subprotocol_nor_extension_is_agreed_on_unasked_and_no_cookie_set() {
    let address = serve(&Server::builder().cookie(Cookie::new()).build()).await;
    let mut http = Http::connect(address).await;
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
        ("Sec-WebSocket-Protocol", "a, b"),
    ];
    let response = http.request("GET", TARGET, &headers, b"").await;
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-extensions"), None);
    assert_eq!(response.header("sec-websocket-protocol"), None);
    assert_eq!(response.header("set-cookie"), None);
}

#[tokio::test]
async fn large_messages_are_compressed_when_both_sides_want_it() {
    let io = Server::builder().per_message_deflate(PerMessageDeflate::default()).build();
    let (seen, mut texts) = log();
    io.sockets().on("t", move |Args(text): Args<String>| {
        let _ = seen.send(text);
        async {}
    });
    let address = serve(&io).await;
    let offer = [("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")];
    let mut deflating = Ws::try_over(Http::connect(address).await, TARGET, &offer).await.unwrap();
    let mut plain = Ws::connect(address, TARGET).await;
    for ws in [&mut deflating, &mut plain] {
        ws.next().await;
        ws.send("40").await;
        ws.next().await;
    }
    let text = "a".repeat(5000);
    io.emit("t", &text);
    let message = format!("42[\"t\",\"{text}\"]");
    assert_eq!(plain.recv().await, message);
    let frame = deflating.next().await.unwrap();
    assert_eq!(frame.head, 0xc1, "a text message with the bit of the extension");
    assert!(frame.payload.len() < 500);
    let mut inflated = String::new();
    let stream = [&frame.payload[..], &[0, 0, 0xff, 0xff]].concat();
    // The stream has no end of its own, only a flush.
    let _ = flate2::read::DeflateDecoder::new(&stream[..]).read_to_string(&mut inflated);
    assert_eq!(inflated, message);
    io.emit("t", &"short");
    assert_eq!(deflating.recv().await, "42[\"t\",\"short\"]", "not worth it");
    // Whoever emits decides as well, for many clients or for one.
    io.broadcast().compress(false).emit("t", &text);
    assert_eq!(deflating.recv().await, message, "not wanted for this packet");
    let mut sockets = io.sockets().local_sockets();
    sockets.retain(|socket| socket.handshake().header("sec-websocket-extensions").is_some());
    let [socket] = &sockets[..] else { panic!("{sockets:?}") };
    socket.emit("t", &text);
    assert_eq!(deflating.next().await.unwrap().head, 0xc1, "to one client");
    socket.compress(false).emit("t", &text);
    assert_eq!(deflating.recv().await, message, "not wanted for this packet to one client");
    // A compressed message is taken as well: this server's own serves as one.
    deflating.frame(0xc1, &frame.payload).await;
    assert_eq!(texts.next().await, text);
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let io = Server::new();
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let text = "x".repeat(3_000_000);
    io.emit("big", &text);
    io.emit("small", &1);
    assert_eq!(client.recv().await, format!("2[\"big\",\"{text}\"]"));
    client.expect("2[\"small\",1]").await;
}
