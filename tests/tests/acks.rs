//! Acknowledgements in both directions, for one socket and for many.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use sio_server::{AckError, AckSender, Args, BroadcastAck, EmitError, Reply, Server, Socket, Value};
use sio_tests::{Client, LIMIT, Log, log, serve, within};

async fn joined(io: &Server) -> (Client, Socket) {
    let (sockets, mut connected): (_, Log<Socket>) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let (client, _) = Client::connected(serve(io).await).await;
    (client, connected.next().await)
}

#[tokio::test]
async fn what_a_handler_returns_is_the_answer() {
    let io = Server::new();
    io.on_error(|_| {});
    io.sockets()
        .on("reply", async || Reply(1))
        .on("several", async || Reply((1, "two", [3])))
        .on("none", async || Reply(()))
        .on("ok", async || Ok::<_, String>("fine"))
        .on("err", async || Err::<(), _>("no \"luck\""))
        .on("silent", async || {})
        .on("later", async || {
            tokio::task::yield_now().await;
            Reply("later")
        })
        .on("twice", async || Reply("first"))
        .on("twice", async || Reply("second"));
    let (mut client, _) = joined(&io).await;
    for (event, answer) in [
        ("reply", json!([1])),
        ("several", json!([1, "two", [3]])),
        ("none", json!([])),
        ("ok", json!(["fine"])),
        ("err", json!([{"error": "no \"luck\""}])),
        ("later", json!(["later"])),
        ("twice", json!(["first"])),
    ] {
        assert_eq!(client.ask(&format!("[\"{event}\"]")).await, answer, "{event}");
    }
    client.send("29[\"silent\"]").await;
    client.send("29[\"nobody\"]").await;
    // Without an id nothing is answered.
    client.send("2[\"reply\"]").await;
    assert_eq!(client.ask("[\"none\"]").await, json!([]));
}

#[tokio::test]
async fn the_answer_has_the_id_and_the_namespace_of_the_question() {
    let io = Server::new();
    io.of("/custom").on("x", async || Reply(Value::Binary(Bytes::from_static(&[1]))));
    io.of("/custom").on("y", async || Reply("y"));
    let mut client = Client::websocket(serve(&io).await).await;
    client.join("/custom").await;
    client.send("2/custom,0[\"y\"]").await;
    client.expect("3/custom,0[\"y\"]").await;
    client.send("2/custom,007[\"y\"]").await;
    client.expect("3/custom,7[\"y\"]").await;
    client.send("2/custom,9007199254740991[\"y\"]").await;
    client.expect("3/custom,9007199254740991[\"y\"]").await;
    client.send("2/custom,7[\"x\"]").await;
    let packet = client.packet().await;
    assert_eq!(packet.text, r#"61-/custom,7[{"_placeholder":true,"num":0}]"#);
    assert_eq!(packet.attachments, [[1]]);
}

#[tokio::test]
async fn an_answer_by_hand_is_sent_once_whenever_it_comes() {
    let io = Server::new();
    let (senders, mut given) = log();
    io.sockets().on("x", move |ack: AckSender| {
        let _ = senders.send(ack);
        async {}
    });
    let (mut client, _) = joined(&io).await;
    client.send("25[\"x\"]").await;
    let ack = given.next().await;
    assert!(ack.is_wanted());
    let clone = ack.clone();
    assert!(ack.send(&("now", 1)).unwrap());
    assert!(!clone.send(&"again").unwrap());
    client.expect("35[\"now\",1]").await;
    client.send("2[\"x\"]").await;
    let ack = given.next().await;
    assert!(!ack.is_wanted());
    assert!(!ack.send(&()).unwrap());
    client.send("26[\"x\"]").await;
    let ack = given.next().await;
    client.send("1").await;
    client.join("/").await;
    assert!(matches!(ack.send(&()), Err(EmitError::Disconnected)), "the socket that was asked is gone");
}

#[tokio::test]
async fn a_client_answers_with_values_and_binary() {
    let (mut client, socket) = joined(&Server::new()).await;
    let answer = socket.emit_with_ack::<(u32, String)>("ask", &"x");
    client.expect("20[\"ask\",\"x\"]").await;
    client.send("30[1,\"a\"]").await;
    assert_eq!(answer.await.unwrap(), (1, "a".to_owned()));
    let answer = socket.emit_with_ack::<Bytes>("ask", &());
    client.expect("21[\"ask\"]").await;
    client.send_binary(r#"61-1[{"_placeholder":true,"num":0}]"#, &[&[1, 2]]).await;
    assert_eq!(answer.await.unwrap(), Bytes::from_static(&[1, 2]));
    let answer = socket.emit_with_ack::<u32>("ask", &());
    client.expect("22[\"ask\"]").await;
    client.send("32[\"no number\"]").await;
    assert!(matches!(answer.await, Err(AckError::Decode(_))));
    let answer = socket.emit_with_ack::<()>("ask", &Bytes::from_static(&[5]));
    let packet = client.packet().await;
    assert_eq!(packet.text, r#"51-3["ask",{"_placeholder":true,"num":0}]"#);
    client.send("33[]").await;
    answer.await.unwrap();
}

#[tokio::test]
async fn the_event_leaves_before_the_answer_is_awaited() {
    let (mut client, socket) = joined(&Server::new()).await;
    let answer = socket.emit_with_ack::<u32>("a", &());
    socket.emit("b", &());
    client.expect("20[\"a\"]").await;
    client.expect("2[\"b\"]").await;
    client.send("30[1]").await;
    assert_eq!(answer.await.unwrap(), 1);
}

#[tokio::test]
async fn answers_nobody_waits_for_are_ignored() {
    let io = Server::new();
    io.sockets().on("sync", async || Reply(()));
    let (mut client, socket) = joined(&io).await;
    client.send("399[1]").await;
    client.send("3[1]").await;
    let answer = socket.emit_with_ack::<u32>("ask", &());
    client.expect("20[\"ask\"]").await;
    client.send("30[1]").await;
    client.send("30[2]").await;
    client.ask("[\"sync\"]").await;
    assert_eq!(answer.await.unwrap(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_answer_in_time_is_an_error_and_leaves_no_entry() {
    let io = Server::builder().max_pending_acks(1).build();
    let (mut client, socket) = joined(&io).await;
    let started = Instant::now();
    let timeout = Duration::from_millis(50);
    let answer = socket.timeout(timeout).emit_with_ack::<u32>("ask", &()).await;
    assert!(matches!(answer, Err(AckError::Timeout)));
    assert!(started.elapsed() >= timeout);
    client.expect("20[\"ask\"]").await;
    // There is room for one, so the last left nothing behind; nor does one that is dropped.
    drop(socket.emit_with_ack::<u32>("ask", &()));
    client.expect("21[\"ask\"]").await;
    let answer = socket.emit_with_ack::<u32>("ask", &());
    client.expect("22[\"ask\"]").await;
    client.send("30[0]").await;
    client.send("31[1]").await;
    client.send("32[2]").await;
    assert_eq!(answer.await.unwrap(), 2, "late answers are not taken for this one");
}

#[tokio::test]
async fn there_is_a_bound_on_answers_that_are_owed() {
    let io = Server::builder().max_pending_acks(2).build();
    let (mut client, socket) = joined(&io).await;
    let first = socket.emit_with_ack::<u32>("ask", &());
    let _second = socket.emit_with_ack::<u32>("ask", &());
    let third = socket.emit_with_ack::<u32>("ask", &()).await;
    assert!(matches!(third, Err(AckError::TooManyPending(2))));
    let acks = io.broadcast().emit_with_ack::<u32>("ask", &()).await.unwrap();
    assert!(matches!(acks[0].result, Err(AckError::TooManyPending(2))));
    client.expect("20[\"ask\"]").await;
    client.expect("21[\"ask\"]").await;
    client.send("30[7]").await;
    assert_eq!(first.await.unwrap(), 7);
    let again = socket.emit_with_ack::<u32>("again", &());
    assert!(client.recv().await.ends_with("[\"again\"]"), "what was refused was not sent");
    drop(again);
}

#[tokio::test]
async fn a_disconnect_fails_what_is_owed_at_once() {
    let (mut client, socket) = joined(&Server::new()).await;
    let single = socket.emit_with_ack::<u32>("ask", &());
    let timed = socket.timeout(Duration::from_secs(60)).emit_with_ack::<u32>("ask", &());
    let broadcast =
        socket.namespace().broadcast().timeout(Duration::from_secs(60)).emit_with_ack::<u32>("ask", &());
    client.expect("20[\"ask\"]").await;
    drop(client);
    assert!(matches!(within("the answer", single).await, Err(AckError::Disconnected)));
    assert!(matches!(within("the answer", timed).await, Err(AckError::Disconnected)));
    let acks = within("the answers", broadcast).await.unwrap();
    assert_eq!(acks.len(), 1);
    assert!(matches!(acks[0].result, Err(AckError::Disconnected)));
    assert_eq!(acks[0].socket.as_ref(), Some(socket.id()));
    // And whoever asks afterwards does not wait either.
    let late = within("the answer", socket.emit_with_ack::<u32>("ask", &())).await;
    assert!(matches!(late, Err(AckError::Disconnected)));
}

#[tokio::test]
async fn a_broadcast_hears_from_every_socket_by_name() {
    let io = Server::new();
    let address = serve(&io).await;
    let (mut one, one_id) = Client::connected(address).await;
    let (mut two, two_id) = Client::connected(address).await;
    let (mut three, three_id) = Client::connected(address).await;
    let asked = io.broadcast().timeout(LIMIT).emit_with_ack::<u32>("ask", &"all");
    let mut questions = Vec::new();
    for client in [&mut one, &mut two, &mut three] {
        questions.push(client.recv().await);
    }
    assert_eq!(questions, ["20[\"ask\",\"all\"]"; 3], "one id for all");
    one.send("30[1]").await;
    two.send("30[\"two\"]").await;
    three.send("1").await;
    let acks = within("the answers", asked).await.unwrap();
    assert_eq!(acks.len(), 3);
    for ack in acks {
        let id = ack.socket.unwrap().to_string();
        match ack.result {
            Ok(1) => assert_eq!(id, one_id),
            Err(AckError::Decode(_)) => assert_eq!(id, two_id),
            Err(AckError::Disconnected) => assert_eq!(id, three_id),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_broadcast_waits_for_nobody_longer_than_its_timeout() {
    let timeout = Duration::from_millis(100);
    let io = Server::builder().broadcast_ack_timeout(timeout).build();
    let address = serve(&io).await;
    let (mut one, one_id) = Client::connected(address).await;
    let (mut two, _) = Client::connected(address).await;
    let started = Instant::now();
    let asked = io.broadcast().emit_with_ack::<u32>("ask", &());
    one.expect("20[\"ask\"]").await;
    two.expect("20[\"ask\"]").await;
    one.send("30[1]").await;
    let acks = asked.await.unwrap();
    assert!(started.elapsed() >= timeout);
    assert_eq!(acks.len(), 2);
    assert_eq!(acks[0].socket.as_ref().unwrap().as_str(), one_id);
    assert!(matches!(acks[0].result, Ok(1)));
    assert!(acks[1].socket.is_none() && matches!(acks[1].result, Err(AckError::Timeout)));
}

#[tokio::test]
async fn broadcasts_that_time_out_leave_no_entries_behind() {
    let io = Server::builder().max_pending_acks(2).build();
    let (mut client, socket) = joined(&io).await;
    for n in 0..100 {
        let asked = io.broadcast().timeout(Duration::ZERO).emit_with_ack::<u32>("ask", &());
        // Were the entries of those before still counted, this would be refused.
        let acks = within("the end of the time", asked).await.unwrap();
        assert!(matches!(acks[..], [BroadcastAck { result: Err(AckError::Timeout), .. }]), "{acks:?}");
        client.expect(&format!("2{}[\"ask\"]", 2 * n)).await;
        // Nor do those leave anything that nobody waits for at all.
        drop(io.broadcast().emit_with_ack::<u32>("drop", &()));
        assert!(client.recv().await.ends_with("[\"drop\"]"));
    }
    let answer = socket.emit_with_ack::<u32>("last", &());
    assert!(client.recv().await.ends_with("[\"last\"]"));
    client.send("3200[7]").await;
    assert_eq!(answer.await.unwrap(), 7);
}

#[tokio::test]
async fn a_broadcast_to_nobody_answers_at_once() {
    let io = Server::new();
    let _ = serve(&io).await;
    let acks = within("no answers", io.to("nobody").emit_with_ack::<u32>("ask", &())).await.unwrap();
    assert!(acks.is_empty());
}

#[tokio::test]
async fn question_and_answer_may_cross() {
    let io = Server::new();
    io.sockets().on("ask", async |socket: Socket, Args(n): Args<u32>| {
        let back = socket.emit_with_ack::<u32>("ask back", &n).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(back + 1)
    });
    let address = serve(&io).await;
    let mut polling = Client::polling(address).await;
    polling.join("/").await;
    let mut ws = Client::connected(address).await.0;
    for (client, id) in [(&mut ws, 0), (&mut polling, 1)] {
        client.send("20[\"ask\",5]").await;
        client.expect(&format!("2{id}[\"ask back\",5]")).await;
        client.send(&format!("3{id}[10]")).await;
        client.expect("30[11]").await;
    }
}
