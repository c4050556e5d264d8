//! Long-polling: payloads of both protocols, what a GET and a POST are answered, and how a polling session ends.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use sio_server::{Args, Arguments, DisconnectReason, Server, Socket};
use sio_tests::{Client, Http, Message, Polling, disconnects, log, serve, within};

/// A server whose sockets are heard of, and a client that polls and has joined `/`.
async fn joined(io: &Server) -> (Polling, Socket) {
    let (sockets, mut connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let mut polling = Polling::open(serve(io).await).await;
    polling.say(&[Message::text("40")]).await;
    let Message::Text(connect) = polling.next().await else { panic!("binary") };
    assert!(connect.starts_with("40{"), "{connect}");
    (polling, connected.next().await)
}

#[tokio::test]
async fn all_that_waits_goes_out_in_one_payload() {
    let (mut polling, socket) = joined(&Server::new()).await;
    socket.emit("a", &"€😀");
    socket.emit("b", &Bytes::from_static(&[1, 2, 3, 4]));
    socket.emit("c", &());
    let response = polling.get().await;
    assert_eq!(
        response.text(),
        "42[\"a\",\"€😀\"]\x1e451-[\"b\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==\x1e42[\"c\"]"
    );
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn a_held_poll_is_answered_by_the_first_emit() {
    let (mut polling, socket) = joined(&Server::new()).await;
    polling.hold().await;
    socket.emit("now", &1);
    let response = polling.held().await;
    assert_eq!(response.text(), "42[\"now\",1]");
}

#[tokio::test]
async fn the_packets_of_a_post_are_handled_in_order_before_it_is_answered() {
    let io = Server::new();
    let (seen, mut events) = log();
    io.sockets().on("n", move |Args(n): Args<u32>| {
        let _ = seen.send(n);
        async {}
    });
    let (mut polling, _) = joined(&io).await;
    let response = polling.post("42[\"n\",1]\x1e42[\"n\",2]\x1e42[\"n\",3]").await;
    assert_eq!((response.status, response.text()), (200, "ok"));
    assert_eq!(response.header("content-type"), Some("text/html"));
    assert_eq!(response.header("content-length"), Some("2"));
    assert_eq!(events.take(3).await, [1, 2, 3]);
}

#[tokio::test]
async fn attachments_may_come_in_later_posts_and_in_sloppy_base64() {
    let io = Server::new();
    let (seen, mut events) = log();
    io.sockets().on("b", move |Args((a, b)): Args<(Bytes, Bytes)>| {
        let _ = seen.send((a, b));
        async {}
    });
    let (mut polling, _) = joined(&io).await;
    let event = r#"452-["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(polling.post(event).await.text(), "ok");
    // URL-safe and without padding: fb ff.
    assert_eq!(polling.post("b-_8").await.text(), "ok");
    assert_eq!(polling.post("bAQID").await.text(), "ok");
    assert_eq!(events.next().await, (Bytes::from_static(&[0xfb, 0xff]), Bytes::from_static(&[1, 2, 3])));
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_replaced() {
    let io = Server::new();
    let (seen, mut events) = log();
    io.sockets().on("t", move |Args(text): Args<String>| {
        let _ = seen.send(text);
        async {}
    });
    let (mut polling, _) = joined(&io).await;
    assert_eq!(polling.post(b"42[\"t\",\"a\xffb\"]").await.text(), "ok");
    assert_eq!(events.next().await, "a\u{fffd}b");
}

#[tokio::test]
async fn garbage_is_answered_ok_and_ends_the_session() {
    for garbage in ["abc", "", "42[\"n\",1]\x1e", "9", "42[\"n\",1]\x1e\x1e42[\"n\",2]"] {
        let io = Server::new();
        let (seen, mut events) = log();
        io.sockets().on("n", move |Args(n): Args<u32>| {
            let _ = seen.send(n);
            async {}
        });
        let mut reasons = disconnects(&io);
        let (mut polling, _) = joined(&io).await;
        let response = polling.post(garbage).await;
        assert_eq!((response.status, response.text()), (200, "ok"), "{garbage:?}");
        assert_eq!(reasons.next().await, DisconnectReason::ParseError, "{garbage:?}");
        if garbage.starts_with("42") {
            assert_eq!(events.next().await, 1, "what came before counts");
        }
        events.assert_empty();
        let response = polling.get().await;
        assert_eq!(response.text(), r#"{"code":1,"message":"Session ID unknown"}"#, "{garbage:?}");
        assert_eq!(io.session_count(), 0);
    }
}

#[tokio::test]
async fn overlapping_polls_end_the_session() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let (mut polling, _) = joined(&io).await;
    polling.hold().await;
    let target = polling.target();
    let second = polling.posts.get(&target).await;
    assert_eq!((second.status, second.text()), (400, ""));
    assert_eq!(reasons.next().await, DisconnectReason::TransportError);
    let held = polling.held().await;
    assert_eq!((held.status, held.text()), (200, "1"));
    assert_eq!(polling.get().await.status, 400);
}

#[tokio::test]
async fn overlapping_posts_end_the_session() {
    let io = Server::new();
    let (seen, mut events) = log::<u32>();
    io.sockets().on("n", move |Args(n): Args<u32>| {
        let _ = seen.send(n);
        async {}
    });
    let mut reasons = disconnects(&io);
    let (mut polling, _) = joined(&io).await;
    let target = polling.target();
    // The first half of a POST, then another.
    polling
        .posts
        .write(format!("POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n42[").as_bytes())
        .await;
    // The server has seen the half once it answers a request that was sent after it on another connection; it may
    // need more than one.
    let second = within("the server to notice the first", async {
        loop {
            let response = polling.gets.post(&target, b"3").await;
            if response.status != 200 {
                return response;
            }
        }
    })
    .await;
    assert_eq!((second.status, second.text()), (400, ""));
    assert_eq!(reasons.next().await, DisconnectReason::TransportError);
    polling.posts.write(b"\"n\",1]]").await;
    let first = within("the end of the first POST", polling.posts.response()).await;
    assert!(first.is_none_or(|response| response.status == 400));
    events.assert_empty();
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_and_costs_nothing_else() {
    let io = Server::new();
    let (seen, mut events) = log();
    io.sockets().on("t", move |Args(text): Args<String>| {
        let _ = seen.send(text.len());
        async {}
    });
    let (mut polling, _) = joined(&io).await;
    let fits = |len: usize| format!("42[\"t\",\"{}\"]", "a".repeat(len - 10));
    assert_eq!(fits(1_000_000).len(), 1_000_000);
    assert_eq!(polling.post(fits(1_000_000)).await.text(), "ok");
    assert_eq!(events.next().await, 999_990);

    // Only the head is sent: the length is judged before the body.
    let target = polling.target();
    let mut http = Http::connect(polling.address).await;
    http.write(format!("POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 1000001\r\n\r\n").as_bytes())
        .await;
    let response = within("the refusal", http.response()).await.unwrap();
    assert_eq!((response.status, response.text()), (413, ""));

    // Without a declared length it shows on the way.
    let mut http = Http::connect(polling.address).await;
    http.write(format!("POST {target} HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes())
        .await;
    http.write(format!("{:x}\r\n{}\r\n", 1_000_000, fits(1_000_000)).as_bytes()).await;
    http.write(b"1\r\nx\r\n").await;
    let response = within("the refusal", http.response()).await.unwrap();
    assert_eq!((response.status, response.text()), (413, ""));

    assert_eq!(polling.post("42[\"t\",\"still here\"]").await.text(), "ok");
    assert_eq!(events.next().await, 10);
    events.assert_empty();
}

#[tokio::test]
async fn octets_in_protocol_4_end_the_session() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let (mut polling, _) = joined(&io).await;
    let target = polling.target();
    let headers = [("Content-Type", "application/octet-stream")];
    let response = polling.posts.request("POST", &target, &headers, b"42[\"x\"]").await;
    assert_eq!(response.status, 400);
    assert_eq!(reasons.next().await, DisconnectReason::TransportError);
}

#[tokio::test]
async fn a_client_that_hangs_up_during_a_poll_is_gone() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let (mut polling, _) = joined(&io).await;
    polling.hold().await;
    polling.gets = Http::connect(polling.address).await;
    assert_eq!(reasons.next().await, DisconnectReason::TransportError);
    assert_eq!(io.session_count(), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_during_a_post_is_gone() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let (mut polling, _) = joined(&io).await;
    let target = polling.target();
    polling
        .posts
        .write(format!("POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n42[").as_bytes())
        .await;
    polling.posts = Http::connect(polling.address).await;
    assert_eq!(reasons.next().await, DisconnectReason::TransportError);
}

#[tokio::test]
async fn a_post_that_never_ends_is_given_up() {
    let short = Duration::from_millis(300);
    let io = Server::builder().ping_interval(short).ping_timeout(Duration::from_secs(2)).build();
    let mut reasons = disconnects(&io);
    let (mut polling, _) = joined(&io).await;
    let target = polling.target();
    let head = format!("POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n");
    polling.posts.write(head.as_bytes()).await;
    polling.posts.write(b"42[").await;
    // The session goes for want of a heartbeat; the request must not stay and keep what has come.
    reasons.next().await;
    let response = within("the answer", polling.posts.response()).await.unwrap();
    assert_eq!(response.status, 400);
    assert_eq!(io.session_count(), 0);
    reasons.assert_empty();
}

#[tokio::test]
async fn a_client_says_goodbye_and_its_poll_gets_a_noop() {
    for (revision, goodbye, noop) in [(4, "1", "6"), (3, "1:1", "1:6")] {
        let io = Server::new();
        let mut reasons = disconnects(&io);
        let mut polling = Polling::open_with(serve(&io).await, revision, "").await;
        if revision == 4 {
            polling.say(&[Message::text("40")]).await;
        }
        polling.next().await;
        polling.hold().await;
        let response = polling.post(goodbye).await;
        assert_eq!((response.status, response.text()), (200, "ok"));
        let held = polling.held().await;
        assert_eq!((held.status, held.text()), (200, noop));
        assert_eq!(reasons.next().await, DisconnectReason::TransportClose);
    }
}

#[tokio::test]
async fn open_upgrade_and_noop_from_a_client_are_ignored() {
    let (mut polling, socket) = joined(&Server::new()).await;
    polling.say(&["0", "5", "6"].map(Message::text)).await;
    socket.emit("fine", &());
    assert_eq!(polling.poll().await, [Message::text("42[\"fine\"]")]);
}

#[tokio::test]
async fn a_server_that_closes_answers_a_held_poll_with_close() {
    for (revision, close) in [(4, "1"), (3, "1:1")] {
        let io = Server::new();
        let (sockets, mut connected) = log();
        io.sockets().on_connection(move |socket: Socket| {
            let _ = sockets.send(socket);
            async {}
        });
        let mut polling = Polling::open_with(serve(&io).await, revision, "").await;
        if revision == 4 {
            polling.say(&[Message::text("40")]).await;
        }
        polling.next().await;
        polling.hold().await;
        connected.next().await.close_connection();
        let held = polling.held().await;
        assert_eq!((held.status, held.text()), (200, close));
        assert_eq!(polling.get().await.status, 400);
    }
}

#[tokio::test]
async fn a_server_that_closes_tells_the_next_poll() {
    let (mut polling, socket) = joined(&Server::new()).await;
    socket.close_connection();
    assert_eq!(polling.get().await.text(), "6\x1e1");
    assert_eq!(polling.get().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
}

#[tokio::test]
async fn what_waits_when_the_server_closes_is_sent_before_the_close() {
    let (mut polling, socket) = joined(&Server::new()).await;
    socket.emit("last", &());
    socket.close_connection();
    let mut packets = polling.poll().await;
    assert_eq!(packets.remove(0), Message::text("42[\"last\"]"));
    while !packets.contains(&Message::text("1")) {
        packets.extend(polling.poll().await);
    }
}

#[tokio::test]
async fn a_held_poll_gets_the_last_packets_and_the_close() {
    let (mut polling, socket) = joined(&Server::new()).await;
    polling.hold().await;
    // A goodbye and the end at once: both have to arrive, in this poll or the next.
    socket.disconnect(true);
    let held = polling.held().await;
    let mut packets = sio_tests::unpack(4, &held);
    assert_eq!(packets.remove(0), Message::text("41"));
    while !packets.contains(&Message::text("1")) {
        packets.extend(polling.poll().await);
    }
}

#[tokio::test]
async fn the_close_waits_for_its_poll_longer_than_a_heartbeat() {
    let io = Server::builder().ping_interval(Duration::from_millis(50)).build();
    let (mut polling, socket) = joined(&io).await;
    // A ping is due soon; the end takes its place.
    socket.close_connection();
    // why: it is the passing of the heartbeat's time that must not matter.
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(polling.get().await.text().split('\x1e').next_back(), Some("1"));
}

#[tokio::test]
async fn payloads_are_compressed_from_the_threshold_on() {
    let (mut polling, socket) = joined(&Server::new()).await;
    let target = polling.target();
    let emit = |len: usize| socket.emit("e", &"a".repeat(len - r#"42["e",""]"#.len()));
    let accept = [("Accept-Encoding", "deflate, gzip")];
    emit(1023);
    let small = polling.gets.request("GET", &target, &accept, b"").await;
    assert_eq!((small.header("content-encoding"), small.body.len()), (None, 1023));
    emit(1024);
    let large = polling.gets.request("GET", &target, &accept, b"").await;
    assert_eq!(large.header("content-encoding"), Some("gzip"));
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&large.body[..]).read_to_string(&mut plain).unwrap();
    assert_eq!((plain.len(), &plain[..8]), (1024, "42[\"e\",\""));
    emit(1024);
    let large = polling.gets.request("GET", &target, &[("Accept-Encoding", "deflate")], b"").await;
    assert_eq!(large.header("content-encoding"), Some("deflate"));
    let mut plain = String::new();
    flate2::read::ZlibDecoder::new(&large.body[..]).read_to_string(&mut plain).unwrap();
    assert_eq!(plain.len(), 1024);
    emit(1024);
    assert_eq!(polling.gets.get(&target).await.body.len(), 1024, "not asked for");
    socket.compress(false).emit("e", &"a".repeat(2000));
    let response = polling.gets.request("GET", &target, &accept, b"").await;
    assert_eq!(response.header("content-encoding"), None, "not wanted for this packet");
}

#[tokio::test]
async fn compression_can_be_turned_off() {
    let (mut polling, socket) = joined(&Server::builder().http_compression(None).build()).await;
    let target = polling.target();
    socket.emit("e", &"a".repeat(5000));
    let response = polling.gets.request("GET", &target, &[("Accept-Encoding", "gzip")], b"").await;
    assert_eq!(response.header("content-encoding"), None);
}

#[tokio::test]
async fn old_explorers_are_told_not_to_filter() {
    let (mut polling, socket) = joined(&Server::new()).await;
    let target = polling.target();
    for agent in ["Mozilla/4.0 (compatible;MSIE 8.0)", "Mozilla/5.0 (Trident/7.0)"] {
        socket.emit("e", &());
        let response = polling.gets.request("GET", &target, &[("User-Agent", agent)], b"").await;
        assert_eq!(response.header("x-xss-protection"), Some("0"), "{agent}");
    }
    socket.emit("e", &());
    assert_eq!(polling.get().await.header("x-xss-protection"), None);
}

// Protocol 3

async fn joined_3(io: &Server, query: &str) -> (Polling, Socket) {
    let (sockets, mut connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let mut polling = Polling::open_with(serve(io).await, 3, query).await;
    assert_eq!(polling.next().await, Message::text("40"));
    (polling, connected.next().await)
}

#[tokio::test]
async fn protocol_3_counts_utf16_units() {
    let io = Server::new();
    let (seen, mut events) = log();
    io.sockets().on("t", move |Args(text): Args<String>| {
        let _ = seen.send(text);
        async {}
    });
    let (mut polling, socket) = joined_3(&io, "").await;
    socket.emit("t", &"€😀");
    socket.emit("u", &());
    let response = polling.get().await;
    assert_eq!(response.text(), "13:42[\"t\",\"€😀\"]7:42[\"u\"]");
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(polling.post("13:42[\"t\",\"€😀\"]011:42[\"t\",\"x\"]").await.text(), "ok");
    assert_eq!(events.take(2).await, ["€😀", "x"]);
}

#[tokio::test]
async fn protocol_3_sends_octets_when_there_is_binary() {
    let (mut polling, socket) = joined_3(&Server::new(), "").await;
    socket.emit("é", &Bytes::from_static(&[0, 1, 0xff, 0x80]));
    let response = polling.get().await;
    assert_eq!(response.header("content-type"), Some("application/octet-stream"));
    let text = "451-[\"é\",{\"_placeholder\":true,\"num\":0}]";
    assert_eq!(text.len(), 40);
    let mut expected = vec![0, 4, 0, 0xff];
    expected.extend_from_slice(text.as_bytes());
    expected.extend_from_slice(&[1, 5, 0xff, 4, 0, 1, 0xff, 0x80]);
    assert_eq!(response.body, expected);
    socket.emit("t", &());
    assert_eq!(polling.get().await.text(), "7:42[\"t\"]", "text as soon as there is none");
}

#[tokio::test]
async fn protocol_3_sends_base64_to_those_who_ask() {
    let (mut polling, socket) = joined_3(&Server::new(), "&b64=1").await;
    socket.emit("b", &Bytes::from_static(&[0, 1, 0xff, 0x80]));
    let response = polling.get().await;
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.text(), "39:451-[\"b\",{\"_placeholder\":true,\"num\":0}]10:b4AAH/gA==");
}

#[tokio::test]
async fn protocol_3_takes_octets_and_base64() {
    let io = Server::new();
    let (seen, mut events) = log();
    io.sockets().on("b", move |Args(bytes): Args<Bytes>| {
        let _ = seen.send(bytes);
        async {}
    });
    let (mut polling, _) = joined_3(&io, "").await;
    let text = "451-[\"b\",{\"_placeholder\":true,\"num\":0}]";
    let mut body = vec![0, 3, 9, 0xff];
    body.extend_from_slice(text.as_bytes());
    body.extend_from_slice(&[1, 4, 0xff, 4, 7, 8, 9]);
    let target = polling.target();
    let headers = [("Content-Type", "application/octet-stream")];
    let response = polling.posts.request("POST", &target, &headers, &body).await;
    assert_eq!(response.text(), "ok");
    assert_eq!(events.next().await, Bytes::from_static(&[7, 8, 9]));
    polling.say(&[Message::text(text), Message::Binary(vec![1, 2])]).await;
    assert_eq!(events.next().await, Bytes::from_static(&[1, 2]));
}

// JSONP

#[tokio::test]
async fn jsonp_wraps_payloads_in_a_call() {
    let io = Server::new();
    let (seen, mut events) = log();
    io.sockets().on("t", move |Arguments(args): Arguments| {
        let _ = seen.send(args.raw().json().to_owned());
        async {}
    });
    let (sockets, mut connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let address = serve(&io).await;
    let mut http = Http::connect(address).await;
    let response = http.get("/socket.io/?EIO=4&transport=polling&j=7x").await;
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    let payload = |response: &sio_tests::Response| -> String {
        let call = response.text().strip_prefix("___eio[7](").and_then(|call| call.strip_suffix(");"));
        serde_json::from_str(call.unwrap_or_else(|| panic!("{}", response.text()))).unwrap()
    };
    let open: serde_json::Value = serde_json::from_str(&payload(&response)[1..]).unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&j=8&sid={}", open["sid"].as_str().unwrap());
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(http.request("POST", &target, &form, b"d=40").await.text(), "ok");
    http.get(&target).await;
    let socket = connected.next().await;
    socket.emit("t", &("\u{2028}\"", Bytes::from_static(&[1])));
    let response = http.get(&target).await;
    assert!(response.text().contains("\\u2028"), "{}", response.text());
    assert_eq!(
        payload(&response),
        "451-[\"t\",\"\u{2028}\\\"\",{\"_placeholder\":true,\"num\":0}]\u{1e}bAQ=="
    );
    // A line break is sent as `\n`, a backslash before an n is doubled; a plus is a space.
    let body = b"x=1&d=42%5B%22t%22%2C%22a+b%25%22%5D";
    assert_eq!(http.request("POST", &target, &form, body).await.text(), "ok");
    assert_eq!(events.next().await, "\"a b%\"");
    assert_eq!(http.request("POST", &target, &form, b"nothing=1").await.text(), "ok");
    assert!(socket.is_connected(), "a form without `d` is nothing at all");
}

#[tokio::test]
async fn clients_of_both_transports_and_protocols_share_a_broadcast() {
    let io = Server::new();
    let address = serve(&io).await;
    let (mut ws, _) = Client::connected(address).await;
    let mut four = Client::polling(address).await;
    four.join("/").await;
    let mut three = Polling::open_with(address, 3, "").await;
    three.next().await;
    io.emit("all", &Bytes::from_static(&[9]));
    for client in [&mut ws, &mut four] {
        let packet = client.packet().await;
        assert_eq!(packet.text, r#"51-["all",{"_placeholder":true,"num":0}]"#);
        assert_eq!(packet.attachments, [[9]]);
    }
    assert_eq!(three.next().await, Message::text(r#"451-["all",{"_placeholder":true,"num":0}]"#));
    assert_eq!(three.next().await, Message::Binary(vec![9]));
}
