//! Events: their order, who handles them, what handlers are given, and what may not be sent.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sio_server::{
    AckSender, Args, Arguments, Context, DisconnectReason, EmitError, Event, Failure, FromContext, Handshake,
    Namespace, Rejection, Reply, Server, Socket, State, Value,
};
use sio_tests::{Client, Log, disconnects, frame, log, serve};
use tokio::sync::Semaphore;

/// What `on_error` hears, as text.
fn failures(io: &Server) -> Log<String> {
    let (failures, log) = log();
    io.on_error(move |failure: &Failure| {
        let _ = failures.send(failure.to_string());
    });
    log
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_start_in_the_order_of_the_packets() {
    let io = Server::new();
    let (seen, mut events) = log();
    for name in ["a", "b"] {
        let seen = seen.clone();
        io.sockets().on(name, move |Args(n): Args<u32>| {
            let _ = seen.send(n);
            async move {
                // Some go on later; none may start later.
                if n % 3 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        });
    }
    let address = serve(&io).await;
    let mut ws = Client::websocket(address).await;
    ws.join("/").await;
    let mut polling = Client::polling(address).await;
    polling.join("/").await;
    for n in 0..1000 {
        ws.send(&format!("2[\"{}\",{n}]", if n % 2 == 0 { "a" } else { "b" })).await;
    }
    assert_eq!(events.take(1000).await, (0..1000).collect::<Vec<_>>());
    for n in 0..100 {
        let messages: Vec<_> = (0..10)
            .map(|i| {
                sio_tests::Message::Text(format!(
                    "42[\"{}\",{}]",
                    if i % 2 == 0 { "a" } else { "b" },
                    n * 10 + i
                ))
            })
            .collect();
        polling.session().say(&messages).await;
    }
    assert_eq!(events.take(1000).await, (0..1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_in_the_same_write_as_connect_is_handled() {
    let io = Server::new();
    let (seen, mut events) = log();
    let connected = seen.clone();
    io.sockets()
        .on_connection(move |socket: Socket| {
            let _ = connected.send("connection".to_owned());
            // A listener of the socket's own is in time as well.
            let own = connected.clone();
            socket.on("early", move || {
                let _ = own.send("own".to_owned());
                async {}
            });
            async {}
        })
        .on("early", move |Args(text): Args<String>| {
            let _ = seen.send(text);
            async {}
        });
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    client.ws().write(&[frame(0x81, b"40"), frame(0x81, b"42[\"early\",\"x\"]")].concat()).await;
    assert_eq!(events.take(3).await, ["connection", "x", "own"]);
    let mut client = Client::polling(address).await;
    client.session().say(&["40", "42[\"early\",\"y\"]"].map(sio_tests::Message::text)).await;
    assert_eq!(events.take(3).await, ["connection", "y", "own"]);
}

#[tokio::test]
async fn a_handler_that_waits_does_not_hold_up_the_next_and_outlives_its_client() {
    let gate = Arc::new(Semaphore::new(0));
    let io = Server::new();
    let (seen, mut events) = log();
    let (waiting, done) = (Arc::clone(&gate), seen.clone());
    io.sockets()
        .on("slow", move |Args(n): Args<u32>| {
            let (gate, done) = (Arc::clone(&waiting), done.clone());
            async move {
                let _ = gate.acquire().await;
                let _ = done.send(n);
            }
        })
        .on("fast", move |Args(n): Args<u32>| {
            let _ = seen.send(n);
            async {}
        });
    let mut reasons = disconnects(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    client.send("2[\"slow\",1]").await;
    client.send("2[\"fast\",2]").await;
    assert_eq!(events.next().await, 2);
    drop(client);
    reasons.next().await;
    gate.add_permits(1);
    assert_eq!(events.next().await, 1);
}

#[tokio::test]
async fn listeners_run_from_the_general_to_the_special() {
    let io = Server::new();
    let (seen, mut events) = log();
    let say = |what: &'static str| {
        let seen = seen.clone();
        move |Event(name): Event| {
            let _ = seen.send(format!("{what} {name}"));
            async {}
        }
    };
    io.sockets().on("a", say("first")).on("a", say("second")).on_fallback(say("fallback")).on_any(say("any"));
    let (own, any) = (say("own"), say("own any"));
    io.sockets().on_connection(move |socket: Socket| {
        socket.on("a", own.clone());
        socket.on_any(any.clone());
        async {}
    });
    let (mut client, _) = Client::connected(serve(&io).await).await;
    client.send("2[\"a\"]").await;
    assert_eq!(events.take(5).await, ["any a", "own any a", "first a", "second a", "own a"]);
    client.send("2[\"b\"]").await;
    assert_eq!(events.take(3).await, ["any b", "own any b", "fallback b"]);
    // Numbers are names as well, and an event without any name is nothing.
    client.send("2[7]").await;
    assert_eq!(events.take(3).await, ["any 7", "own any 7", "fallback 7"]);
    client.send("2").await;
    client.send("2[\"error\"]").await;
    assert_eq!(events.next().await, "any error");
}

#[tokio::test]
async fn once_and_off_take_listeners_away() {
    let io = Server::new();
    let (sockets, mut connected) = log();
    io.sockets()
        .on_connection(move |socket: Socket| {
            let _ = sockets.send(socket);
            async {}
        })
        .on("sync", async || Reply(()));
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let socket = connected.next().await;
    let (seen, mut events) = log();
    let say = |what: &'static str| {
        let seen = seen.clone();
        move || {
            let _ = seen.send(what);
            async {}
        }
    };
    socket.once("a", say("once"));
    let kept = socket.on("a", say("on"));
    let any = socket.on_any(say("any"));
    client.send("2[\"a\"]").await;
    client.send("2[\"a\"]").await;
    assert_eq!(events.take(5).await, ["any", "once", "on", "any", "on"]);
    assert!(socket.off_listener(kept));
    assert!(!socket.off_listener(kept), "only once");
    client.send("2[\"a\"]").await;
    assert_eq!(events.next().await, "any");
    assert!(socket.off_listener(any));
    socket.on("b", say("one"));
    socket.on("b", say("two"));
    socket.off("b");
    client.send("2[\"b\"]").await;
    client.ask("[\"sync\"]").await;
    events.assert_empty();
    io.sockets().off("sync");
    client.send("28[\"sync\"]").await;
    io.emit("x", &());
    client.expect("2[\"x\"]").await;
}

#[derive(Deserialize)]
struct Message {
    text: String,
    #[serde(default)]
    urgent: bool,
}

#[tokio::test]
async fn handlers_get_what_their_parameters_ask_for() {
    struct Secret(u32);
    struct Names(Vec<String>);
    impl FromContext for Names {
        fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
            let io = Server::from_context(cx)?;
            let Event(event) = Event::from_context(cx)?;
            Ok(Self(vec![event, io.of("/").path().to_owned()]))
        }
    }
    let io = Server::builder().state(Secret(7)).build();
    io.sockets()
        .on("typed", async |Args(message): Args<Message>| Reply((message.text, message.urgent)))
        .on("tuple", async |Args((a, b)): Args<(u32, Option<String>)>| Reply((a, b)))
        .on("raw", async |Arguments(args): Arguments| Reply(args.raw().len()))
        .on("untyped", async |Args(value): Args<Value>| Reply(value))
        .on("state", async |State(secret): State<Secret>| Reply(secret.0))
        .on("own", async |Names(names): Names| Reply(names))
        .on("optional", async |args: Option<Args<u32>>, ack: AckSender| {
            let _ = ack.send(&(args.map(|Args(n)| n), ack.is_wanted()));
        })
        .on("result", async |args: Result<Args<u32>, Rejection>| Reply(args.is_err()))
        .on(
            "eight",
            async |_: Socket,
                   _: Server,
                   _: Namespace,
                   _: Handshake,
                   _: Event,
                   _: AckSender,
                   _: Arguments,
                   _: Option<DisconnectReason>| Reply(8),
        );
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let table = [
        (r#"["typed",{"text":"hi"}]"#, json!(["hi", false])),
        (r#"["typed",{"text":"hi","urgent":true,"more":1},"ignored"]"#, json!(["hi", true])),
        (r#"["tuple",1,"x"]"#, json!([1, "x"])),
        (r#"["tuple",1]"#, json!([1, null])),
        (r#"["raw",1,[2,3],null]"#, json!([3])),
        (r#"["raw"]"#, json!([0])),
        (r#"["untyped",{"b":[1.5,null],"a":"€"}]"#, json!([{"b": [1.5, null], "a": "€"}])),
        (r#"["state"]"#, json!([7])),
        (r#"["own"]"#, json!([["own", "/"]])),
        (r#"["optional",5]"#, json!([5, true])),
        (r#"["optional","x"]"#, json!([null, true])),
        (r#"["result","x"]"#, json!([true])),
        (r#"["eight"]"#, json!([8])),
    ];
    for (event, answer) in table {
        assert_eq!(client.ask(event).await, answer, "{event}");
    }
}

fn never() {
    panic!("must not be called");
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_reported_and_the_handler_is_not_called() {
    let io = Server::new();
    let mut failures = failures(&io);
    io.sockets()
        .on("number", async |Args(_): Args<u32>| never())
        .on("state", async |State(_): State<Vec<u8>>| never())
        .on_connection(async |Args(_): Args<()>| never())
        .on_disconnect(async |Args(_): Args<()>| never())
        .on("sync", async || Reply(()));
    let mut reasons = disconnects(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    assert_eq!(failures.next().await, "handler of \"connection\" in /: only events have arguments");
    for (event, text, told) in [
        ("[\"number\",\"x\"]", "handler of \"number\" in /: ", "argument 0: invalid type: string"),
        ("[\"number\"]", "handler of \"number\" in /: ", "argument 0 is missing"),
        ("[\"state\"]", "handler of \"state\" in /: the server has no state of type ", "internal error"),
    ] {
        // Who does not ask is not told.
        client.send(&format!("2{event}")).await;
        let failure = failures.next().await;
        assert!(failure.starts_with(text), "{failure}");
        // The client is told what it did wrong, and of our mistakes only that there is one.
        let answer = client.ask(event).await;
        assert!(answer[0]["error"].as_str().is_some_and(|text| text.starts_with(told)), "{answer}");
        let failure = failures.next().await;
        assert!(failure.starts_with(text), "{failure}");
    }
    // And that is not the end.
    client.ask("[\"sync\"]").await;
    client.send("1").await;
    assert!(failures.next().await.starts_with("handler of \"disconnect\" in /: "));
    assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
    assert!(io.sockets().local_sockets().is_empty(), "a handler that does not fit keeps nobody");
}

#[tokio::test]
async fn a_listener_for_any_event_that_fails_does_not_answer_for_the_handler() {
    let io = Server::new();
    let mut failures = failures(&io);
    io.sockets()
        .on_any(async |Args(_): Args<Vec<u8>>| never())
        .on_any(async || fail("on purpose"))
        .on_any(async || Err::<(), _>("in words"))
        .on_any(async || Reply("not asked"))
        .on("x", async || Reply("fine"));
    let (mut client, _) = Client::connected(serve(&io).await).await;
    assert_eq!(client.ask("[\"x\",\"text\"]").await, json!(["fine"]));
    assert!(failures.next().await.starts_with("handler of \"x\" in /: argument 0"));
    assert_eq!(failures.next().await, "handler of \"x\" in / panicked: on purpose");
    assert_eq!(failures.next().await, "handler of \"x\" in / failed: in words");
}

fn fail(text: &str) {
    panic!("{text}");
}

#[tokio::test]
async fn panics_cost_nobody_anything() {
    let io = Server::new();
    let mut failures = failures(&io);
    io.sockets()
        .on("at once", |Args(text): Args<String>| -> std::future::Ready<()> { panic!("{text}") })
        .on("first poll", async || fail("in the future"))
        .on("later", async || {
            tokio::task::yield_now().await;
            fail("in a task")
        })
        .on("sync", async || Reply(()))
        .on_connection(async || fail("connection"))
        .on_disconnecting(async || fail("disconnecting"))
        .on_disconnect(async || fail("disconnect"));
    let mut reasons = disconnects(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    assert_eq!(failures.next().await, "handler of \"connection\" in / panicked: connection");
    for (event, name, text) in [
        ("[\"at once\",\"boo\"]", "at once", "boo"),
        ("[\"first poll\"]", "first poll", "in the future"),
        ("[\"later\"]", "later", "in a task"),
    ] {
        client.send(&format!("2{event}")).await;
        assert_eq!(failures.next().await, format!("handler of \"{name}\" in / panicked: {text}"));
        // Who asked is told that there is no answer, and nothing more.
        assert_eq!(client.ask(event).await, json!([{"error": "internal error"}]));
        failures.next().await;
        client.ask("[\"sync\"]").await;
    }
    client.send("1").await;
    assert_eq!(failures.next().await, "handler of \"disconnecting\" in / panicked: disconnecting");
    assert_eq!(failures.next().await, "handler of \"disconnect\" in / panicked: disconnect");
    assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
    assert!(io.sockets().local_sockets().is_empty());
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Picture {
    name: String,
    bytes: Bytes,
    thumbnails: BTreeMap<String, Bytes>,
    parts: Vec<Option<Bytes>>,
}

#[tokio::test]
async fn binary_travels_wherever_it_sits_in_both_directions() {
    let io = Server::new();
    io.sockets()
        .on("typed", async |socket: Socket, Args((number, picture)): Args<(u32, Picture)>| {
            assert_eq!(picture.thumbnails["s"], Bytes::from_static(&[2]));
            socket.emit("typed", &(number, picture));
        })
        .on("untyped", async |Args((a, b)): Args<(Value, Value)>| Reply((a, b)));
    let address = serve(&io).await;
    let placeholder = |n| json!({"_placeholder": true, "num": n});
    let mut ws = Client::websocket(address).await;
    let mut polling = Client::polling(address).await;
    for client in [&mut ws, &mut polling] {
        client.join("/").await;
        let args = json!(["typed", 1, {
            "name": "x", "bytes": placeholder(0), "thumbnails": {"s": placeholder(1)},
            "parts": [placeholder(2), null, placeholder(3)],
        }]);
        client.send_binary(&format!("54-{args}"), &[&[1], &[2], &[], &[0xff; 300]]).await;
        let packet = client.packet().await;
        let text = packet.text.strip_prefix("54-").unwrap_or_else(|| panic!("{packet:?}"));
        assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), args);
        assert_eq!(packet.attachments, [vec![1], vec![2], vec![], vec![0xff; 300]]);
        // Out of order, one used twice, one not at all.
        client
            .send_binary(
                r#"53-9["untyped",[{"_placeholder":true,"num":2},{"_placeholder":true,"num":0}],{"_placeholder":true,"num":2}]"#,
                &[&[1], &[2], &[3]],
            )
            .await;
        let packet = client.packet().await;
        assert_eq!(
            packet.text,
            r#"63-9[[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}],{"_placeholder":true,"num":2}]"#
        );
        assert_eq!(packet.attachments, [[3], [1], [3]]);
        // In a packet without attachments a placeholder is data.
        let answer = client.ask(r#"["untyped",{"_placeholder":true,"num":0},1]"#).await;
        assert_eq!(answer, json!([{"_placeholder": true, "num": 0}, 1]));
    }
}

#[tokio::test]
async fn attachments_out_of_bounds_or_out_of_turn_close_the_connection() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let event = r#"["x",{"_placeholder":true,"num":0}]"#;
    for header in [
        format!("511-{event}"),
        format!("50-{event}"),
        format!("5-{event}"),
        format!("5{event}"),
        format!("51{event}"),
        format!("599999999999999999999-{event}"),
    ] {
        let (mut client, _) = Client::connected(address).await;
        client.send(&header).await;
        client.expect_close(None).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedClose, "{header}");
    }
    for num in ["1", "-1", "0.5", "\"0\"", "null"] {
        let (mut client, _) = Client::connected(address).await;
        client.send_binary(&format!(r#"51-["x",{{"_placeholder":true,"num":{num}}}]"#), &[&[1]]).await;
        client.expect_close(None).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedClose, "{num}");
    }
    // Text between attachments.
    let (mut client, _) = Client::connected(address).await;
    client.send_binary(&format!("52-{event}"), &[&[1]]).await;
    client.send("2[\"x\"]").await;
    client.expect_close(None).await;
    assert_eq!(reasons.next().await, DisconnectReason::ForcedClose);
    // Binary that nothing announced.
    let (mut client, _) = Client::connected(address).await;
    client.ws().send_binary(&[1]).await;
    client.expect_close(None).await;
    assert_eq!(reasons.next().await, DisconnectReason::ForcedClose);
    // Ten are fine.
    let (mut client, _) = Client::connected(address).await;
    io.sockets().on("x", async || Reply(()));
    client.send_binary(&format!("510-3{event}"), &[&[1_u8][..]; 10]).await;
    client.expect("33[]").await;
}

#[tokio::test]
async fn heartbeats_may_come_between_attachments() {
    let io = Server::new();
    io.sockets().on("x", async |Args(bytes): Args<Bytes>| Reply(bytes.len()));
    let (mut client, _) = Client::connected(serve(&io).await).await;
    client.send(r#"51-1["x",{"_placeholder":true,"num":0}]"#).await;
    client.send_engine("3").await;
    client.ws().send_binary(&[1, 2, 3]).await;
    client.expect("31[3]").await;
}

#[tokio::test]
async fn reserved_names_are_neither_sent_nor_taken() {
    let io = Server::new();
    let mut failures = failures(&io);
    let (sockets, mut connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert!(matches!(io.try_emit(name, &()), Err(EmitError::ReservedEvent(_))), "nobody is there yet");
        let (mut client, _) = Client::connected(address).await;
        let socket = connected.next().await;
        assert!(matches!(socket.try_emit(name, &()), Err(EmitError::ReservedEvent(_))));
        assert!(matches!(io.try_emit(name, &()), Err(EmitError::ReservedEvent(_))));
        socket.emit(name, &());
        assert!(failures.next().await.contains(name));
        client.send(&format!("2[\"{name}\"]")).await;
        client.expect_close(None).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedClose, "{name}");
    }
}

#[tokio::test]
async fn arguments_that_cannot_be_sent_are_told_to_the_caller_or_to_on_error() {
    let io = Server::new();
    let mut failures = failures(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let bad = std::collections::HashMap::from([((1, 2), 3)]);
    assert!(matches!(io.try_emit("x", &bad), Err(EmitError::Encode(_))));
    io.emit("x", &bad);
    assert!(failures.next().await.starts_with("emit of \"x\" in /: "));
    io.emit("y", &());
    client.expect("2[\"y\"]").await;
}

#[tokio::test]
async fn binary_has_its_own_types() {
    let io = Server::new();
    let mut failures = failures(&io);
    io.sockets()
        .on("bytes", async |Args(bytes): Args<Bytes>| Reply(bytes.len()))
        .on("json", async |Args(value): Args<serde_json::Value>| Reply(value));
    let (mut client, _) = Client::connected(serve(&io).await).await;
    // To have nothing but binary is what `Value` is for.
    assert_eq!(client.ask(r#"["bytes","\u20ac"]"#).await, json!([3]));
    assert_eq!(client.ask("[\"bytes\",[1,255]]").await, json!([2]));
    let refused = client.ask("[\"bytes\",[256]]").await;
    assert!(refused[0]["error"].as_str().unwrap().starts_with("argument 0: invalid value"), "{refused}");
    assert!(failures.next().await.contains("invalid value"));

    let event = r#"51-7["json",{"a":{"_placeholder":true,"num":0}}]"#;
    client.send_binary(event, &[b"xy"]).await;
    let problem = "argument 0: invalid type: byte array, expected any valid JSON value";
    client.expect(&format!(r#"37[{{"error":"{problem}"}}]"#)).await;
    let failure = failures.next().await;
    let hint = " (`sio_server::Value` takes binary, `serde_json::Value` does not)";
    assert!(failure.ends_with(&format!("{problem}{hint}")), "{failure}");
}

#[tokio::test]
async fn handlers_for_what_is_not_an_event_are_reported() {
    let io = Server::new();
    let mut failures = failures(&io);
    let chat = io.of("/chat");
    chat.on("connection", async || {}).on("disconnect", async || {}).on("newListener", async || {});
    chat.on_connection(async |socket: Socket| {
        socket.on("disconnecting", async || {});
        socket.once("disconnect", async || {});
        socket.on("said", async || {});
    });
    for (event, hint) in [
        ("connection", "not called when a socket connects: use `Namespace::on_connection`"),
        ("disconnect", "never called: use `Namespace::on_disconnect`"),
        ("newListener", "never called: no client can send an event of this name"),
    ] {
        assert_eq!(failures.next().await, format!("handler of \"{event}\" in /chat: {hint}"));
    }
    Client::websocket(serve(&io).await).await.join("/chat").await;
    for (event, hint) in [
        ("disconnecting", "never called: use `Namespace::on_disconnecting`"),
        ("disconnect", "never called: use `Namespace::on_disconnect`"),
    ] {
        assert_eq!(failures.next().await, format!("handler of \"{event}\" in /chat: {hint}"));
    }
    assert!(failures.is_empty());
}

#[tokio::test]
async fn send_emits_message_to_whom_emit_would() {
    let io = Server::new();
    let other = io.of("/other");
    let (sockets, mut connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let address = serve(&io).await;
    let (mut ada, _) = Client::connected(address).await;
    let socket = connected.next().await;
    let (mut bob, _) = Client::connected(address).await;
    bob.join("/other").await;
    connected.next().await.join("room");
    socket.send(&("socket", 1));
    ada.expect(r#"2["message","socket",1]"#).await;
    io.send("server");
    for client in [&mut ada, &mut bob] {
        client.expect(r#"2["message","server"]"#).await;
    }
    other.send(&[1]);
    bob.expect(r#"2/other,["message",1]"#).await;
    io.to("room").send(&());
    bob.expect(r#"2["message"]"#).await;
    // Nothing else has reached anybody.
    io.emit("last", &());
    for client in [&mut ada, &mut bob] {
        client.expect(r#"2["last"]"#).await;
    }
}

#[tokio::test]
async fn what_is_sent_is_heard_by_outgoing_listeners() {
    let io = Server::new();
    let (seen, mut events) = log();
    let (sockets, mut connected) = log();
    io.sockets()
        .on_connection(move |socket: Socket| {
            let _ = sockets.send(socket);
            async {}
        })
        .on("ask", async || Reply("an acknowledgement is no event"));
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let socket = connected.next().await;
    let listener = socket.on_any_outgoing(move |name, args| {
        let _ = seen.send(format!("{name} {}", args.json()));
    });
    socket.emit("a", &1);
    io.emit("b", &(2, "x"));
    client.ask_after(&["2[\"a\",1]", "2[\"b\",2,\"x\"]"]).await;
    assert_eq!(events.take(2).await, ["a 1", "b 2,\"x\""]);
    events.assert_empty();
    socket.off_listener(listener);
    socket.emit("c", &());
    events.end().await;
}

trait AskAfter {
    async fn ask_after(&mut self, expected: &[&str]);
}

impl AskAfter for Client {
    async fn ask_after(&mut self, expected: &[&str]) {
        for text in expected {
            self.expect(text).await;
        }
        self.ask("[\"ask\"]").await;
    }
}

#[tokio::test]
async fn values_attached_to_a_socket_stay_with_it() {
    let io = Server::new();
    io.sockets()
        .on("set", async |socket: Socket, Args(n): Args<u32>| Reply(socket.insert(n).map(|old| *old)))
        .on("get", async |socket: Socket| Reply(socket.get::<u32>().map(|n| *n)))
        .on("data", async |socket: Socket, Args(data): Args<serde_json::Value>| {
            socket.set_data(&data).map_err(|error| error.to_string())?;
            socket.data::<serde_json::Value>().map_err(|error| error.to_string())
        });
    let address = serve(&io).await;
    let (mut one, _) = Client::connected(address).await;
    let (mut two, _) = Client::connected(address).await;
    assert_eq!(one.ask("[\"set\",5]").await, json!([null]));
    assert_eq!(one.ask("[\"set\",6]").await, json!([5]));
    assert_eq!(one.ask("[\"get\"]").await, json!([6]));
    assert_eq!(two.ask("[\"get\"]").await, json!([null]));
    assert_eq!(one.ask("[\"data\",{\"a\":1}]").await, json!([{"a": 1}]));
}

#[tokio::test]
async fn a_callback_that_panics_stops_nothing_that_others_need() {
    let io = Server::builder()
        .ping_interval(std::time::Duration::from_millis(200))
        .ping_timeout(std::time::Duration::from_millis(200))
        .build();
    io.on_error(|failure| panic!("{failure}"));
    io.of_matching(|name, _| panic!("{name}"));
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&left);
    io.sockets()
        .on_connection(async |socket: Socket| {
            socket.join("room");
            socket.on_any_outgoing(|name, _| panic!("{name}"));
        })
        .on_disconnect(async || fail("reported to a callback that panics too"))
        .on_room_event(move |event| {
            if matches!(event, sio_server::RoomEvent::Left { .. }) {
                count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                panic!("{event:?}");
            }
        });
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    // Ended by the timer, whose task is everybody's, and by its own connection.
    let (_silent, _) = Client::connected(address).await;
    assert_eq!(reasons.next().await, DisconnectReason::PingTimeout);
    let mut client = Client::websocket(address).await;
    client.send("0").await;
    assert!(message(&mut client).await.starts_with("40{"));
    client.send("1").await;
    assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
    assert_eq!(left.load(std::sync::atomic::Ordering::Relaxed), 2);
    client.send("0/any,").await;
    assert_eq!(message(&mut client).await, r#"44/any,{"message":"Invalid namespace"}"#);
    client.send("0").await;
    assert!(message(&mut client).await.starts_with("40{"));
    io.emit("x", &());
    assert_eq!(message(&mut client).await, "42[\"x\"]");
    // Heartbeats go on: one more client is missed.
    let (_silent, _) = Client::connected(address).await;
    assert_eq!(reasons.next().await, DisconnectReason::PingTimeout);
}

/// The next message; pings are answered.
async fn message(client: &mut Client) -> String {
    loop {
        match client.recv_engine().await {
            sio_tests::Message::Text(ping) if ping == "2" => client.send_engine("3").await,
            sio_tests::Message::Text(text) => return text,
            sio_tests::Message::Binary(bytes) => panic!("{bytes:?}"),
        }
    }
}
