//! Rooms: who is in which, whom an emit reaches, each once.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use bytes::Bytes;
use serde_json::json;
use sio_server::{Args, Broadcast, DisconnectReason, Reply, RoomEvent, Server, Socket};
use sio_tests::{Client, Log, disconnects, log, serve};

/// Clients that have joined `/`, with their sockets.
async fn clients<const N: usize>(io: &Server) -> ([Client; N], [Socket; N]) {
    let (sockets, mut connected): (_, Log<Socket>) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let address = serve(io).await;
    let mut clients = Vec::new();
    let mut sockets = Vec::new();
    for _ in 0..N {
        clients.push(Client::connected(address).await.0);
        sockets.push(connected.next().await);
    }
    (clients.try_into().unwrap(), sockets.try_into().unwrap())
}

/// Emits to `aim` and asserts who gets it, by number.
async fn assert_reaches(io: &Server, clients: &mut [Client], aim: Broadcast, expected: &[usize]) {
    aim.emit("aimed", &1);
    io.emit("all", &());
    for (number, client) in clients.iter_mut().enumerate() {
        let mut count = 0;
        loop {
            match client.recv().await.as_str() {
                "2[\"aimed\",1]" => count += 1,
                "2[\"all\"]" => break,
                other => panic!("{other}"),
            }
        }
        assert_eq!(count, usize::from(expected.contains(&number)), "client {number} by {aim:?}");
    }
}

#[tokio::test]
async fn a_socket_in_several_target_rooms_is_reached_once() {
    let io = Server::new();
    let (mut clients, sockets) = clients::<3>(&io).await;
    sockets[0].join(["a", "b", "c"]);
    sockets[1].join("b");
    assert_reaches(&io, &mut clients, io.to(["a", "b"]), &[0, 1]).await;
    assert_reaches(&io, &mut clients, io.to("a").to("b").in_("c").to("a"), &[0, 1]).await;
    assert_reaches(&io, &mut clients, io.to("a").to(sockets[0].id()), &[0]).await;
    let found = io.to(["a", "b"]).fetch_sockets().await.unwrap();
    assert_eq!(found.len(), 2);
}

#[tokio::test]
async fn to_and_in_are_the_same_and_except_leaves_out() {
    let io = Server::new();
    let (mut clients, sockets) = clients::<4>(&io).await;
    sockets[0].join("a");
    sockets[1].join(["a", "muted"]);
    sockets[2].join("b");
    for aim in [io.to("a"), io.in_("a"), io.of("/").to("a"), io.sockets().in_("a")] {
        assert_reaches(&io, &mut clients, aim, &[0, 1]).await;
    }
    assert_reaches(&io, &mut clients, io.to("a").except("muted"), &[0]).await;
    assert_reaches(&io, &mut clients, io.except("a"), &[2, 3]).await;
    assert_reaches(&io, &mut clients, io.except(["a", "b"]), &[3]).await;
    assert_reaches(&io, &mut clients, io.except(sockets[3].id()), &[0, 1, 2]).await;
    assert_reaches(&io, &mut clients, io.to("nobody"), &[]).await;
    assert_reaches(&io, &mut clients, io.broadcast(), &[0, 1, 2, 3]).await;
    assert_reaches(&io, &mut clients, io.local().to("b"), &[2]).await;
}

#[tokio::test]
async fn a_socket_that_sends_to_rooms_is_left_out() {
    let io = Server::new();
    let (mut clients, sockets) = clients::<3>(&io).await;
    sockets[0].join("a");
    sockets[1].join("a");
    assert_reaches(&io, &mut clients, sockets[0].to("a"), &[1]).await;
    assert_reaches(&io, &mut clients, sockets[0].in_("a"), &[1]).await;
    assert_reaches(&io, &mut clients, sockets[0].broadcast(), &[1, 2]).await;
    assert_reaches(&io, &mut clients, sockets[0].except("a"), &[2]).await;
    assert_reaches(&io, &mut clients, sockets[0].local(), &[1, 2]).await;
    assert_reaches(&io, &mut clients, sockets[2].to("a"), &[0, 1]).await;
}

#[tokio::test]
async fn every_socket_has_a_room_of_its_own() {
    let io = Server::new();
    let (mut clients, sockets) = clients::<2>(&io).await;
    let id = sockets[0].id().to_string();
    assert_eq!(sockets[0].rooms(), std::slice::from_ref(&id));
    assert!(sockets[0].is_in(&id) && !sockets[1].is_in(&id));
    assert_reaches(&io, &mut clients, io.to(&id), &[0]).await;
    assert_reaches(&io, &mut clients, sockets[1].to(&id), &[0]).await;
    assert_reaches(&io, &mut clients, sockets[0].to(&id), &[]).await;
    // Another socket may be let in, and it can be left like any room.
    sockets[1].join(&id);
    assert_reaches(&io, &mut clients, io.to(&id), &[0, 1]).await;
    sockets[0].leave(&id);
    assert_reaches(&io, &mut clients, io.to(&id), &[1]).await;
    assert!(!io.sockets().local_rooms().is_empty());
}

#[tokio::test]
async fn a_room_exists_while_somebody_is_in_it() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let (mut clients, sockets) = clients::<2>(&io).await;
    let rooms = || {
        let mut rooms = io.sockets().local_rooms();
        rooms.sort();
        rooms
    };
    sockets[0].join(["a", "b"]);
    sockets[1].join("a");
    sockets[1].join("a");
    assert_eq!(rooms(), ["a", "b"]);
    sockets[0].leave("b");
    sockets[0].leave("never joined");
    assert_eq!(rooms(), ["a"]);
    sockets[0].join("c");
    clients[0].send("1").await;
    assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
    assert_eq!(rooms(), ["a"]);
    sockets[1].leave("a");
    assert_eq!(rooms(), Vec::<String>::new());
}

#[tokio::test]
async fn a_socket_that_is_gone_joins_nothing() {
    let io = Server::new();
    let (_clients, sockets) = clients::<1>(&io).await;
    sockets[0].join("a");
    sockets[0].disconnect(false);
    assert!(!sockets[0].is_connected());
    assert_eq!(sockets[0].rooms(), Vec::<String>::new());
    sockets[0].join(["a", "b"]);
    sockets[0].leave("a");
    assert_eq!(sockets[0].rooms(), Vec::<String>::new());
    assert_eq!(io.sockets().local_rooms(), Vec::<String>::new());
    assert!(io.to("a").fetch_sockets().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_join_in_a_disconnecting_handler_leaves_nothing_behind() {
    let io = Server::new();
    let (done, mut seen) = log();
    io.sockets().on_disconnecting(async |socket: Socket| socket.join("late")).on_disconnect(
        move |socket: Socket| {
            socket.join("later");
            let _ = done.send(socket.rooms());
            async {}
        },
    );
    let (mut clients, _) = clients::<1>(&io).await;
    clients[0].send("1").await;
    assert_eq!(seen.next().await, Vec::<String>::new());
    assert_eq!(io.sockets().local_rooms(), Vec::<String>::new());
}

#[tokio::test]
async fn rooms_of_one_name_in_two_namespaces_are_two() {
    let io = Server::new();
    for nsp in ["/", "/other"] {
        io.of(nsp).on_connection(async |socket: Socket| socket.join("a"));
    }
    let address = serve(&io).await;
    let (mut main, _) = Client::connected(address).await;
    let mut other = Client::websocket(address).await;
    other.join("/other").await;
    io.to("a").emit("x", &1);
    io.of("/other").to("a").emit("x", &2);
    main.expect(r#"2["x",1]"#).await;
    other.expect(r#"2/other,["x",2]"#).await;
}

#[tokio::test]
async fn changes_of_rooms_are_reported_in_order() {
    let io = Server::new();
    let (events, mut seen) = log();
    io.sockets().on_room_event(move |event: &RoomEvent| {
        let _ = events.send(match event {
            RoomEvent::Created { room, .. } => format!("+{room}"),
            RoomEvent::Deleted { room, .. } => format!("-{room}"),
            RoomEvent::Joined { room, .. } => format!(">{room}"),
            RoomEvent::Left { room, .. } => format!("<{room}"),
            other => format!("{other:?}"),
        });
    });
    let (mut clients, sockets) = clients::<2>(&io).await;
    sockets[0].join("a");
    sockets[1].join("a");
    sockets[0].join("a");
    assert_eq!(seen.take(3).await, ["+a", ">a", ">a"]);
    sockets[0].leave("a");
    assert_eq!(seen.next().await, "<a");
    clients[1].send("1").await;
    assert_eq!(seen.take(2).await, ["<a", "-a"]);
    seen.assert_empty();
}

#[tokio::test]
async fn sockets_are_moved_between_rooms_from_outside() {
    let io = Server::new();
    let (mut clients, sockets) = clients::<3>(&io).await;
    io.to([sockets[0].id().as_str(), sockets[1].id().as_str()]).sockets_join(["a", "b"]);
    assert_reaches(&io, &mut clients, io.to("a"), &[0, 1]).await;
    io.except(sockets[0].id()).sockets_leave("a");
    assert_reaches(&io, &mut clients, io.to("a"), &[0]).await;
    io.sockets().sockets_join("everybody");
    assert_reaches(&io, &mut clients, io.to("everybody"), &[0, 1, 2]).await;
    io.sockets().sockets_leave(["everybody", "a", "b"]);
    assert_eq!(io.sockets().local_rooms(), Vec::<String>::new());
}

#[tokio::test]
async fn the_server_stands_for_its_main_namespace() {
    let io = Server::new();
    let _ = io.of("/other");
    let (mut clients, sockets) = clients::<2>(&io).await;
    let other = clients[0].join("/other").await;
    let mut found: Vec<_> =
        io.fetch_sockets().await.unwrap().iter().map(|socket| socket.id().to_string()).collect();
    found.sort();
    let mut expected = sockets.each_ref().map(|socket| socket.id().to_string());
    expected.sort();
    assert_eq!(found, expected);
    io.sockets_join(["a", "b"]);
    io.sockets_leave("b");
    assert_reaches(&io, &mut clients, io.to("a"), &[0, 1]).await;
    assert_reaches(&io, &mut clients, io.to("b"), &[]).await;
    io.disconnect_sockets(false);
    for client in &mut clients {
        client.expect("1").await;
    }
    // Nobody else is meant.
    let others = io.of("/other").fetch_sockets().await.unwrap();
    assert_eq!((others.len(), others[0].id().as_str(), others[0].rooms().len()), (1, &*other, 1));
    clients[1].join("/").await;
    io.disconnect_sockets(true);
    clients[1].expect("1").await;
    clients[1].expect_close(None).await;
}

#[tokio::test]
async fn sockets_are_disconnected_from_outside() {
    let io = Server::new();
    let (mut clients, sockets) = clients::<3>(&io).await;
    sockets[0].join("a");
    sockets[1].join("b");
    io.to("a").disconnect_sockets(false);
    clients[0].expect("1").await;
    clients[0].join("/").await;
    io.to("b").disconnect_sockets(true);
    clients[1].expect("1").await;
    clients[1].expect_close(None).await;
    let [_rejoined, _gone, third] = clients;
    assert_reaches(&io, &mut [third], io.broadcast(), &[0]).await;
}

#[tokio::test]
async fn fetched_sockets_show_what_is_known_and_can_be_acted_on() {
    let io = Server::new();
    let (mut clients, sockets) = clients::<2>(&io).await;
    sockets[0].join("a");
    sockets[0].set_data(&json!({"name": "Ada"})).unwrap();
    let mut found = io.to("a").fetch_sockets().await.unwrap();
    assert_eq!(found.len(), 1);
    let remote = found.remove(0);
    assert_eq!(remote.id(), sockets[0].id());
    assert_eq!(remote.rooms(), [sockets[0].id().to_string(), "a".to_owned()]);
    assert_eq!(remote.data::<serde_json::Value>().unwrap(), json!({"name": "Ada"}));
    assert_eq!(remote.handshake()["query"]["transport"], "websocket");
    let keys: Vec<&str> = remote.handshake().as_object().unwrap().keys().map(String::as_str).collect();
    let of_node = ["headers", "time", "address", "xdomain", "secure", "issued", "url", "query", "auth"];
    assert_eq!(keys, of_node, "in the order in which Node prints them");
    assert_eq!(remote.handshake()["headers"]["host"], "test");
    assert_eq!(remote.handshake()["auth"], json!({}));
    remote.emit("direct", &1);
    clients[0].expect(r#"2["direct",1]"#).await;
    remote.leave("a");
    remote.join("b");
    assert_eq!(sockets[0].rooms()[1..], ["b"]);
    let asked = tokio::spawn(async move {
        let answer = remote.emit_with_ack::<u32>("ask", &(), sio_tests::LIMIT).await.unwrap();
        remote.disconnect(false);
        answer
    });
    clients[0].expect(r#"20["ask"]"#).await;
    clients[0].send("30[5]").await;
    assert_eq!(asked.await.unwrap(), 5);
    clients[0].expect("1").await;
    assert_eq!(io.sockets().fetch_sockets().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_broadcast_is_the_same_bytes_for_everyone_and_keeps_its_order() {
    let io = Server::new();
    io.sockets().on("go", async |io: Server, Args(n): Args<u32>| {
        for i in 0..n {
            io.emit("i", &(i, Bytes::from(vec![i as u8])));
        }
        Reply(n)
    });
    let (mut clients, _) = clients::<5>(&io).await;
    clients[0].send(r#"2["go",50]"#).await;
    for client in &mut clients {
        for i in 0..50_u8 {
            let packet = client.packet().await;
            assert_eq!(packet.text, format!(r#"51-["i",{i},{{"_placeholder":true,"num":0}}]"#));
            assert_eq!(packet.attachments, [[i]]);
        }
    }
}
