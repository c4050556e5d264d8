//! Joining namespaces: who is let in, who is told what, and what closes the connection.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use sio_server::{Auth, ConnectError, DisconnectReason, RoomEvent, Server, Socket};
use sio_tests::{Client, Message, Polling, Ws, disconnects, log, serve, within};
use tokio::sync::Semaphore;

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_connection_stays() {
    let address = serve(&Server::new()).await;
    let mut client = Client::websocket(address).await;
    client.send("0/random,").await;
    client.expect(r#"4/random,{"message":"Invalid namespace"}"#).await;
    // A query is part of the name.
    client.send("0/?a=b,").await;
    client.expect(r#"4/?a=b,{"message":"Invalid namespace"}"#).await;
    client.join("/").await;
}

#[tokio::test]
async fn ids_are_twenty_characters_and_say_nothing_about_the_session() {
    let io = Server::new();
    let _ = io.of("/other");
    let mut polling = Polling::open(serve(&io).await).await;
    let sid = polling.sid.clone();
    polling.say(&[Message::text("40"), Message::text("40/other")]).await;
    let mut ids = Vec::new();
    for prefix in ["40", "40/other,"] {
        let Message::Text(text) = polling.next().await else { panic!("binary") };
        let data: serde_json::Value = serde_json::from_str(text.strip_prefix(prefix).unwrap()).unwrap();
        assert_eq!(data.as_object().unwrap().len(), 1, "the sid and nothing else: {data}");
        ids.push(data["sid"].as_str().unwrap().to_owned());
    }
    assert_ne!(ids[0], ids[1]);
    for id in &ids {
        assert_eq!(id.len(), 20);
        // The last four characters count; what is secret is before them.
        assert_ne!(id[..16], sid[..16]);
    }
    assert_ne!(ids[0][..16], ids[1][..16]);
}

#[tokio::test]
async fn a_namespace_may_be_joined_with_or_without_its_comma() {
    let io = Server::new();
    let (auths, mut seen) = log();
    io.of("custom").on_connection(move |socket: Socket| {
        let _ = auths.send(socket.handshake().auth_json().to_owned());
        async {}
    });
    let address = serve(&io).await;
    for (connect, auth) in
        [("0/custom", "{}"), ("0/custom,", "{}"), (r#"0/custom,{"token":"abc"}"#, r#"{"token":"abc"}"#)]
    {
        let mut client = Client::websocket(address).await;
        client.send(connect).await;
        assert!(client.recv().await.starts_with(r#"0/custom,{"sid":""#), "{connect}");
        assert_eq!(seen.next().await, auth);
    }
}

#[tokio::test]
async fn namespaces_of_one_connection_come_and_go_independently() {
    let io = Server::new();
    for nsp in ["/a", "/b"] {
        io.of(nsp).on("n", async || sio_server::Reply(1));
    }
    let mut reasons = {
        let (sender, reasons) = log();
        io.of("/a").on_disconnect(move |reason: DisconnectReason| {
            let _ = sender.send(reason);
            async {}
        });
        reasons
    };
    let mut client = Client::websocket(serve(&io).await).await;
    let first = client.join("/a").await;
    client.join("/b").await;
    client.send("1/a,").await;
    assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
    assert_eq!(client.ask_in("/b", r#"["n"]"#).await, json!([1]));
    let second = client.join("/a").await;
    assert_ne!(first, second, "a new socket");
    assert_eq!(client.ask_in("/a", r#"["n"]"#).await, json!([1]));
}

#[tokio::test]
async fn a_second_connect_closes_the_connection() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    client.send("0").await;
    client.expect_close(None).await;
    assert_eq!(reasons.next().await, DisconnectReason::ForcedClose);
    reasons.assert_empty();
    assert_eq!(io.sockets().local_sockets().len(), 0);
}

#[tokio::test]
async fn packets_for_a_namespace_that_is_not_joined_close_the_connection() {
    let address = serve(&Server::new()).await;
    for packet in ["2[\"x\"]", "30[]", "1", "2/x,[\"x\"]", "4{\"message\":\"x\"}"] {
        let mut client = Client::websocket(address).await;
        client.send(packet).await;
        client.expect_close(None).await;
    }
    for packet in ["2/x,[\"x\"]", "3/x,0[]", "1/x,", "4{\"message\":\"x\"}"] {
        let (mut client, _) = Client::connected(address).await;
        client.send(packet).await;
        client.expect_close(None).await;
    }
    // Also after a namespace was left.
    let (mut client, _) = Client::connected(address).await;
    client.send("1").await;
    client.send("2[\"x\"]").await;
    client.expect_close(None).await;
}

#[tokio::test]
async fn malformed_packets_close_the_connection() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let packets =
        ["9", "x", "2{}", "2[]", "2[{}]", "2[\"x\"", "2[\"x\"]]", "0[]", "0null", "1{}", "3{}", "5[\"x\"]"];
    for packet in packets {
        let (mut client, _) = Client::connected(address).await;
        client.send(packet).await;
        client.expect_close(None).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedClose, "{packet}");
    }
}

#[tokio::test]
async fn a_middleware_refuses_with_message_and_data_and_the_client_may_try_again() {
    let io = Server::new();
    io.of("/auth").middleware(async |Auth(auth): Auth<serde_json::Value>| match auth["token"].as_str() {
        Some("right") => Ok(()),
        Some(_) => Err(ConnectError::new("wrong \"token\"")),
        None => Err(ConnectError::new("no token").with_data(&json!({"hint": [1, 2]}))),
    });
    let (connected, mut sockets) = log();
    io.of("/auth").on_connection(move |socket: Socket| {
        let _ = connected.send(socket.id().to_string());
        async {}
    });
    let mut client = Client::websocket(serve(&io).await).await;
    client.send("0/auth,").await;
    client.expect(r#"4/auth,{"message":"no token","data":{"hint":[1,2]}}"#).await;
    client.send(r#"0/auth,{"token":"wrong"}"#).await;
    client.expect(r#"4/auth,{"message":"wrong \"token\""}"#).await;
    sockets.assert_empty();
    let id = client.join_with("/auth", r#"{"token":"right"}"#).await.unwrap();
    assert_eq!(sockets.next().await, id);
}

#[tokio::test]
async fn bytes_in_the_data_of_a_refusal_arrive_as_node_s_buffers() {
    let io = Server::new();
    io.of("/x").middleware(async || {
        let data = (Bytes::from_static(b"\x01\x02"), json!({"n": 1}), Bytes::new());
        Err::<(), _>(ConnectError::new("no").with_data(&data))
    });
    let mut client = Client::websocket(serve(&io).await).await;
    client.send("0/x,").await;
    let buffer = |bytes: &[u8]| json!({"type": "Buffer", "data": bytes});
    let refusal = client.recv().await;
    let refusal: serde_json::Value = serde_json::from_str(refusal.strip_prefix("4/x,").unwrap()).unwrap();
    assert_eq!(refusal, json!({"message": "no", "data": [buffer(&[1, 2]), {"n": 1}, buffer(&[])]}));
}

#[tokio::test]
async fn a_middleware_sees_the_rooms_its_socket_will_be_in() {
    let io = Server::new();
    let (rooms, mut seen) = log();
    io.of("/x").middleware(async |socket: Socket| {
        socket.join(["a", "b"]);
        socket.leave("b");
        let names = ["a", "b", socket.id().as_str()].map(|room| socket.is_in(room));
        socket.set_data(&names).map_err(|_| ConnectError::new("no"))
    });
    io.of("/x").on_connection(move |socket: Socket| {
        let names = ["a", "b", socket.id().as_str()].map(|room| socket.is_in(room));
        let _ = rooms.send((socket.data::<[bool; 3]>(), names));
        async {}
    });
    let mut client = Client::websocket(serve(&io).await).await;
    client.join("/x").await;
    let (before, after) = seen.next().await;
    assert_eq!(before.unwrap(), [true, false, false]);
    assert_eq!(after, [true, false, true]);
}

#[tokio::test]
async fn a_refused_client_is_in_no_room_and_hears_nothing() {
    let io = Server::new();
    io.of("/x").middleware(async |socket: Socket| {
        socket.join("room");
        Err::<(), _>(ConnectError::new("no"))
    });
    let mut client = Client::websocket(serve(&io).await).await;
    client.send("0/x,").await;
    client.expect(r#"4/x,{"message":"no"}"#).await;
    assert_eq!(io.of("/x").local_rooms(), Vec::<String>::new());
    io.of("/x").emit("secret", &());
    client.join("/").await;
    client.send("2/x,[\"x\"]").await;
    client.expect_close(None).await;
}

#[tokio::test]
async fn middlewares_run_in_order_and_the_first_refusal_ends_it() {
    let io = Server::new();
    let (steps, mut log) = log();
    for step in 1..=3 {
        let steps = steps.clone();
        io.sockets().middleware(move |socket: Socket| {
            let steps = steps.clone();
            async move {
                assert!(!socket.is_connected());
                tokio::task::yield_now().await;
                let _ = steps.send(step);
                if step == 2 { Err("stop".into()) } else { Ok(()) }
            }
        });
    }
    let mut client = Client::websocket(serve(&io).await).await;
    assert_eq!(client.join_with("/", "").await, Err(json!({"message": "stop"})));
    assert_eq!(log.take(2).await, [1, 2]);
    log.assert_empty();
}

#[tokio::test]
async fn a_middleware_whose_parameters_do_not_fit_or_that_panics_refuses() {
    let io = Server::new();
    io.on_error(|_| {});
    io.of("/typed").middleware(async |Auth(_): Auth<Vec<u8>>| Ok(()));
    io.of("/panics").middleware(async |socket: Socket| {
        assert!(socket.is_connected(), "on purpose");
        Ok(())
    });
    let mut client = Client::websocket(serve(&io).await).await;
    let refused = client.join_with("/typed", r#"{"a":1}"#).await.unwrap_err();
    assert_eq!(refused, json!({"message": "auth: invalid type: map, expected a sequence"}));
    assert_eq!(client.join_with("/panics", "").await, Err(json!({"message": "internal error"})));
    client.join("/").await;
}

#[tokio::test]
async fn a_slow_middleware_holds_up_its_namespace_alone() {
    let gate = Arc::new(Semaphore::new(0));
    let io = Server::builder().connect_timeout(Duration::from_millis(100)).build();
    io.sockets().on("n", async || sio_server::Reply(1));
    let waiting = Arc::clone(&gate);
    io.of("/slow")
        .middleware(move |socket: Socket| {
            let gate = Arc::clone(&waiting);
            async move {
                socket.join("early");
                let _ = gate.acquire().await;
                Ok(())
            }
        })
        .on_connection(async |socket: Socket| socket.emit("welcome", &socket.rooms().len()))
        .on("n", async || sio_server::Reply(2));
    let mut client = Client::websocket(serve(&io).await).await;
    let started = Instant::now();
    client.send("0/slow,").await;
    client.join("/").await;
    while started.elapsed() < Duration::from_millis(200) {
        // It also outlasts the timeout for joining, as it is on its way.
        assert_eq!(client.ask(r#"["n"]"#).await, json!([1]));
    }
    gate.add_permits(1);
    assert!(client.recv().await.starts_with(r#"0/slow,{"sid":"#));
    client.expect(r#"2/slow,["welcome",2]"#).await;
    assert_eq!(client.ask_in("/slow", r#"["n"]"#).await, json!([2]));
}

#[tokio::test]
async fn a_second_connect_during_a_slow_middleware_closes() {
    let io = Server::new();
    io.sockets().middleware(async || {
        std::future::pending::<()>().await;
        Ok(())
    });
    let mut client = Client::websocket(serve(&io).await).await;
    client.send("0").await;
    client.send("0").await;
    client.expect_close(None).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_a_slow_middleware_is_never_connected() {
    let gate = Arc::new(Semaphore::new(0));
    let io = Server::new();
    let (events, mut seen) = log();
    let (waiting, done) = (Arc::clone(&gate), events.clone());
    io.sockets().middleware(move |socket: Socket| {
        let (gate, done) = (Arc::clone(&waiting), done.clone());
        async move {
            socket.join("early");
            let _ = done.send("asked");
            let _ = gate.acquire().await;
            let _ = done.send("passed");
            Ok(())
        }
    });
    let (connected, gone) = (events.clone(), events.clone());
    io.sockets()
        .on_connection(move || {
            let _ = connected.send("connection");
            async {}
        })
        .on_disconnect(move || {
            let _ = gone.send("disconnect");
            async {}
        });
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    client.send("0").await;
    assert_eq!(seen.next().await, "asked");
    client.ws().frame(0x88, b"").await;
    client.closed().await;
    gate.add_permits(1);
    assert_eq!(seen.next().await, "passed");
    // The next client gets through everything; had the first, it would have come before.
    let mut client = Client::websocket(address).await;
    client.join("/").await;
    assert_eq!(seen.take(3).await, ["asked", "passed", "connection"]);
    assert_eq!(io.sockets().local_sockets().len(), 1);
    assert_eq!(io.sockets().local_rooms(), ["early"]);
}

#[tokio::test]
async fn the_connect_reply_comes_before_anything_the_handlers_send() {
    let io = Server::new();
    io.sockets().on_connection(async |io: Server, socket: Socket| {
        socket.emit("own", &1);
        io.emit("all", &2);
        io.to(socket.id()).emit("room", &3);
    });
    let mut polling = Client::polling(serve(&io).await).await;
    polling.join("/").await;
    for event in [r#"2["own",1]"#, r#"2["all",2]"#, r#"2["room",3]"#] {
        polling.expect(event).await;
    }
}

#[tokio::test]
async fn matching_namespaces_are_made_on_demand_and_share_handlers() {
    let io = Server::new();
    let tenants = io.of_matching(|name, auth| name.starts_with("/tenant-") && auth.contains("key"));
    tenants.on("who", async |socket: Socket| sio_server::Reply(socket.namespace().path().to_owned()));
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    let auth = r#"{"key":1}"#;
    assert!(client.join_with("/tenant-1", "").await.is_err(), "the test sees the auth");
    assert!(client.join_with("/elsewhere", auth).await.is_err());
    client.join_with("/tenant-1", auth).await.unwrap();
    client.join_with("/tenant-2", auth).await.unwrap();
    assert_eq!(client.ask_in("/tenant-1", r#"["who"]"#).await, json!(["/tenant-1"]));
    assert_eq!(client.ask_in("/tenant-2", r#"["who"]"#).await, json!(["/tenant-2"]));
    io.of("/tenant-1").emit("one", &());
    tenants.emit("all", &());
    client.expect(r#"2/tenant-1,["one"]"#).await;
    let mut all = [client.recv().await, client.recv().await];
    all.sort();
    assert_eq!(all, [r#"2/tenant-1,["all"]"#, r#"2/tenant-2,["all"]"#]);
    // Handlers that are added later reach namespaces that exist.
    tenants.on("late", async || sio_server::Reply(()));
    assert_eq!(client.ask_in("/tenant-1", r#"["late"]"#).await, json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_joins_at_once_meet_in_one_namespace() {
    const CLIENTS: usize = 8;
    let io = Server::new();
    io.of_matching(|_, _| true);
    let address = serve(&io).await;
    for round in 0..10 {
        let name = format!("/room-{round}");
        let barrier = Arc::new(tokio::sync::Barrier::new(CLIENTS));
        let tasks: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (name, barrier) = (name.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    let mut client = Client::websocket(address).await;
                    barrier.wait().await;
                    client.join(&name).await;
                    client
                })
            })
            .collect();
        let mut clients = Vec::new();
        for task in tasks {
            clients.push(task.await.unwrap());
        }
        io.of(&name).emit("everyone", &());
        for client in &mut clients {
            client.expect(&format!("2{name},[\"everyone\"]")).await;
        }
    }
}

#[tokio::test]
async fn a_matched_namespace_goes_with_its_last_client() {
    let io = Server::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let parent = io.of_matching(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        true
    });
    parent.middleware(
        async |socket: Socket| {
            if socket.namespace().path() == "/refused" { Err("no".into()) } else { Ok(()) }
        },
    );
    let address = serve(&io).await;
    let mut one = Client::websocket(address).await;
    let mut two = Client::websocket(address).await;
    one.join("/x").await;
    two.join("/x").await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the second finds it");
    one.send("1/x,").await;
    one.join("/x").await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "somebody is left");
    // Left by packet and by hanging up.
    one.send("1/x,").await;
    one.join("/y").await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    two.ws().frame(0x88, b"").await;
    two.closed().await;
    one.join("/x").await;
    assert_eq!(asked.load(Ordering::Relaxed), 3, "nobody was left");
    // One that nobody was ever let into does not stay either.
    for calls in [4, 5] {
        one.join_with("/refused", "").await.unwrap_err();
        assert_eq!(asked.load(Ordering::Relaxed), calls);
    }
}

#[tokio::test]
async fn room_events_of_matched_namespaces_are_heard_on_their_parent() {
    let io = Server::new();
    let (events, mut seen) = log();
    let parent = io.of_matching(|_, _| true);
    parent.on_connection(async |socket: Socket| socket.join("r"));
    parent.on_room_event(move |event: &RoomEvent| {
        let _ = events.send(event.clone());
    });
    let mut client = Client::websocket(serve(&io).await).await;
    client.join("/x").await;
    assert!(matches!(seen.next().await, RoomEvent::Created { room, .. } if room == "r"));
    assert!(matches!(seen.next().await, RoomEvent::Joined { room, .. } if room == "r"));
}

#[tokio::test]
async fn a_client_that_joins_nothing_is_disconnected() {
    let io = Server::builder().connect_timeout(Duration::from_millis(100)).build();
    let address = serve(&io).await;
    let started = Instant::now();
    let mut idle = Client::websocket(address).await;
    let mut refused = Client::websocket(address).await;
    refused.join_with("/random", "").await.unwrap_err();
    let mut joined = Client::websocket(address).await;
    joined.join("/").await;
    let mut polling = Polling::open(address).await;
    idle.expect_close(None).await;
    assert!(started.elapsed() >= Duration::from_millis(98), "after {:?}", started.elapsed());
    refused.expect_close(None).await;
    // Alone to a poll that was in time to be held, behind a noop to one that was not.
    assert!(["1", "6\x1e1"].contains(&polling.get().await.text()));
    io.emit("still here", &());
    joined.expect(r#"2["still here"]"#).await;
}

#[tokio::test]
async fn one_namespace_too_many_closes_the_connection() {
    let io = Server::builder().max_namespaces(3).build();
    io.of_matching(|_, _| true);
    let mut reasons = disconnects(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    client.join("/a").await;
    client.join("/b").await;
    // A place that is given back can be taken.
    client.send("1/b,").await;
    client.join("/c").await;
    client.send("0/d,").await;
    client.expect_close(None).await;
    assert_eq!(reasons.next().await, DisconnectReason::ForcedClose);
}

// Protocol 3

#[tokio::test]
async fn protocol_3_clients_are_in_the_main_namespace_from_the_start() {
    let io = Server::new();
    let (ids, mut seen) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = ids.send((socket.id().to_string(), socket.protocol()));
        async {}
    });
    let address = serve(&io).await;
    let response = sio_tests::Http::connect(address).await.get("/socket.io/?EIO=3&transport=polling").await;
    assert!(response.text().ends_with("2:40"), "{}", response.text());
    let (id, protocol) = seen.next().await;
    assert!(response.text().contains(&id), "its client takes the session id for its own");
    assert_eq!(protocol, 3);
    let mut ws = Ws::connect(address, "/socket.io/?EIO=3&transport=websocket").await;
    ws.recv().await;
    assert_eq!(ws.recv().await, "40");
}

#[tokio::test]
async fn protocol_3_credentials_are_the_query_of_the_namespace() {
    let io = Server::new();
    let (auths, mut seen) = log();
    io.of("/admin").on_connection(move |socket: Socket| {
        let _ = auths.send((socket.handshake().auth_json().to_owned(), socket.id().to_string()));
        async {}
    });
    let address = serve(&io).await;
    for (connect, auth) in
        [("40/admin", json!({})), ("40/admin?token=a%20b&x=1&x=2,", json!({"token": "a b", "x": "2"}))]
    {
        let mut ws = Ws::connect(address, "/socket.io/?EIO=3&transport=websocket").await;
        let open: serde_json::Value = serde_json::from_str(&ws.recv().await[1..]).unwrap();
        ws.recv().await;
        ws.send(connect).await;
        assert_eq!(ws.recv().await, "40/admin,");
        let (seen_auth, id) = seen.next().await;
        assert_eq!(serde_json::from_str::<serde_json::Value>(&seen_auth).unwrap(), auth);
        assert_eq!(id, format!("/admin#{}", open["sid"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn a_namespace_of_protocol_3_is_read_as_a_url() {
    let io = Server::new();
    io.of("/my%20room").on("x", async || sio_server::Reply(1));
    let mut ws = Ws::connect(serve(&io).await, "/socket.io/?EIO=3&transport=websocket").await;
    ws.recv().await;
    ws.recv().await;
    ws.send("40/my room?token=1,").await;
    assert_eq!(ws.recv().await, "40/my%20room,");
    // Node reads it so in every packet.
    ws.send("42/my room,5[\"x\"]").await;
    assert_eq!(ws.recv().await, "43/my%20room,5[1]");
}

#[tokio::test]
async fn protocol_3_errors_have_the_shape_its_clients_know() {
    let io = Server::new();
    io.of("/text").middleware(async || Err::<(), _>(ConnectError::new("not authorized")));
    io.of("/data")
        .middleware(async || Err::<(), _>(ConnectError::new("x").with_data(&json!({"content": 1}))));
    let mut ws = Ws::connect(serve(&io).await, "/socket.io/?EIO=3&transport=websocket").await;
    ws.recv().await;
    ws.recv().await;
    for (nsp, reply) in [
        ("/text", r#"44/text,"not authorized""#),
        ("/data", r#"44/data,{"content":1}"#),
        ("/random", r#"44/random,{"message":"Invalid namespace"}"#),
    ] {
        ws.send(&format!("40{nsp}")).await;
        assert_eq!(ws.recv().await, reply);
    }
}

#[tokio::test]
async fn a_slow_middleware_does_not_hold_up_the_handshake_of_protocol_3() {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    let io = Server::new();
    io.sockets().middleware(move || {
        let gate = Arc::clone(&waiting);
        async move {
            let _ = gate.acquire().await;
            Ok(())
        }
    });
    let mut polling = within("the open packet", Polling::open_with(serve(&io).await, 3, "")).await;
    polling.hold().await;
    gate.add_permits(1);
    assert_eq!(polling.held().await.text(), "2:40");
}
