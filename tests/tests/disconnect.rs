//! How sockets and connections end: reasons, order, what can still be seen, and the end of the whole server.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sio_server::{Args, DisconnectReason, Reply, Server, Socket};
use sio_tests::{Bus, Client, Frame, Http, Message, Polling, Ws, disconnects, log, serve, within};
use tokio::sync::Semaphore;

#[tokio::test]
async fn every_end_has_its_reason_in_the_words_of_node() {
    let io = Server::builder()
        .ping_interval(Duration::from_millis(200))
        .ping_timeout(Duration::from_millis(50))
        .max_queued_bytes(1000)
        .build();
    io.sockets()
        .on("kick", async |socket: Socket| socket.disconnect(false))
        .on("kick out", async |socket: Socket| socket.disconnect(true))
        .on("close", async |socket: Socket| socket.close_connection());
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let said = [
        ("41", "client namespace disconnect"),
        ("42[\"kick\"]", "server namespace disconnect"),
        ("42[\"kick out\"]", "server namespace disconnect"),
        ("42[\"close\"]", "forced close"),
        ("40", "forced server close"),
        ("42/x,[\"x\"]", "forced server close"),
        ("4x", "forced close"),
        ("x", "parse error"),
        ("1", "transport close"),
        ("2", "transport error"),
    ];
    // Node closes a WebSocket before its sockets hear of a packet that is out of place.
    let over_ws = |packet, reason| {
        if matches!(packet, "40" | "42/x,[\"x\"]") { "forced close" } else { reason }
    };
    for (packet, reason) in said {
        let (mut client, _) = Client::connected(address).await;
        client.send_engine(packet).await;
        assert_eq!(reasons.next().await.as_str(), over_ws(packet, reason), "{packet}");
        let mut client = Client::polling(address).await;
        client.join("/").await;
        client.send_engine(packet).await;
        assert_eq!(reasons.next().await.to_string(), reason, "{packet} by polling");
    }
    let (silent, _) = Client::connected(address).await;
    assert_eq!(reasons.next().await.as_str(), "ping timeout");
    drop(silent);
    drop(Client::connected(address).await);
    assert_eq!(reasons.next().await.as_str(), "transport close");
    let mut idle = Client::polling(address).await;
    idle.join("/").await;
    io.emit("a", &"a".repeat(900));
    io.emit("b", &"b".repeat(900));
    assert_eq!(reasons.next().await.as_str(), "slow client");
    let (client, _) = Client::connected(address).await;
    let closing = tokio::spawn(async move { io.close().await });
    assert_eq!(reasons.next().await.as_str(), "server shutting down");
    drop(client);
    within("the server to close", closing).await.unwrap();
    reasons.assert_empty();
}

#[tokio::test]
async fn disconnecting_sees_the_rooms_and_disconnect_does_not() {
    let io = Server::new();
    let (seen, mut events) = log();
    let after = seen.clone();
    io.sockets()
        .on_connection(async |socket: Socket| socket.join(["a", "b"]))
        .on_disconnecting(move |io: Server, socket: Socket, reason: DisconnectReason| {
            // Others can be told, by room, that somebody goes.
            io.to("a").except(&socket).emit("going", socket.id());
            let _ = seen.send((socket.rooms(), socket.is_connected(), reason));
            async {}
        })
        .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
            let _ = after.send((socket.rooms(), socket.is_connected(), reason));
            async {}
        });
    let address = serve(&io).await;
    let (mut stays, _) = Client::connected(address).await;
    let (mut goes, id) = Client::connected(address).await;
    goes.send("1").await;
    let reason = DisconnectReason::ClientNamespaceDisconnect;
    assert_eq!(events.next().await, (vec![id.clone(), "a".into(), "b".into()], true, reason));
    assert_eq!(events.next().await, (vec![], false, reason));
    stays.expect(&format!("2[\"going\",\"{id}\"]")).await;
    // The same when the connection is lost.
    let (lost, id) = Client::connected(address).await;
    drop(lost);
    let reason = DisconnectReason::TransportClose;
    assert_eq!(events.next().await, (vec![id, "a".into(), "b".into()], true, reason));
    assert_eq!(events.next().await, (vec![], false, reason));
}

#[tokio::test]
async fn disconnecting_a_socket_leaves_the_connection() {
    let io = Server::new();
    let _ = io.of("/other");
    io.sockets().on("kick", async |socket: Socket| {
        socket.emit("bye", &());
        socket.disconnect(false);
        socket.emit("too late", &());
        assert!(!socket.is_connected());
    });
    let (mut client, _) = Client::connected(serve(&io).await).await;
    client.join("/other").await;
    client.send("2[\"kick\"]").await;
    client.expect("2[\"bye\"]").await;
    client.expect("1").await;
    io.of("/other").emit("still", &());
    client.expect("2/other,[\"still\"]").await;
    client.join("/").await;
}

#[tokio::test]
async fn closing_the_connection_says_goodbye_in_every_namespace_in_the_order_they_were_joined() {
    let io = Server::new();
    let (seen, mut events) = log();
    for nsp in ["/", "/b", "/a"] {
        let seen = seen.clone();
        io.of(nsp)
            .on_disconnect(move |socket: Socket, reason: DisconnectReason| {
                let _ = seen.send((socket.namespace().path().to_owned(), reason));
                async {}
            })
            .on("out", async |socket: Socket| {
                socket.emit("last", &());
                socket.disconnect(true);
            });
    }
    let address = serve(&io).await;
    let mut ws = Client::websocket(address).await;
    let mut polling = Client::polling(address).await;
    for client in [&mut ws, &mut polling] {
        for nsp in ["/b", "/", "/a"] {
            client.join(nsp).await;
        }
        client.send("2[\"out\"]").await;
        for packet in ["2[\"last\"]", "1/b,", "1", "1/a,"] {
            client.expect(packet).await;
        }
        for nsp in ["/b", "/", "/a"] {
            assert_eq!(events.next().await, (nsp.to_owned(), DisconnectReason::ServerNamespaceDisconnect));
        }
    }
    ws.expect_close(None).await;
    let mut rest = Vec::new();
    while !rest.contains(&Message::text("1")) {
        rest.push(polling.recv_engine().await);
    }
    assert_eq!(io.session_count(), 0);
}

#[tokio::test]
async fn handlers_run_once_however_many_ends_meet() {
    let io = Server::new();
    io.sockets().on_disconnecting(async |socket: Socket| {
        socket.disconnect(true);
        socket.close_connection();
    });
    io.sockets().on_disconnect(async |socket: Socket| socket.disconnect(false));
    let mut reasons = disconnects(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    client.send("1").await;
    assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
    client.closed().await;
    reasons.assert_empty();
}

#[tokio::test]
async fn what_a_batch_brings_after_a_disconnect_is_not_handled() {
    let io = Server::new();
    let (seen, mut events) = log();
    io.sockets().on("out", async |socket: Socket| socket.disconnect(true)).on(
        "n",
        move |Args(n): Args<u32>| {
            let _ = seen.send(n);
            async {}
        },
    );
    let mut reasons = disconnects(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let frames =
        ["42[\"n\",1]", "42[\"out\"]", "42[\"n\",2]"].map(|text| sio_tests::frame(0x81, text.as_bytes()));
    client.ws().write(&frames.concat()).await;
    client.expect("1").await;
    client.expect_close(None).await;
    reasons.next().await;
    assert_eq!(events.next().await, 1);
    events.assert_empty();
}

#[tokio::test]
async fn a_closed_server_has_ended_every_session_and_takes_no_more() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let (mut ws, _) = Client::connected(address).await;
    let mut held = Client::polling(address).await;
    held.join("/").await;
    held.session().hold().await;
    let mut idle = Client::polling(address).await;
    idle.join("/").await;
    let mut nowhere = Ws::open(address).await;
    let mut open = Http::connect(address).await;
    assert_eq!(open.get("/").await.status, 404);
    assert_eq!(io.session_count(), 4);

    let closing = tokio::spawn({
        let io = io.clone();
        async move { io.close().await }
    });
    // No packet says goodbye: transports are closed.
    ws.expect_close(None).await;
    assert_eq!(nowhere.closed().await, None);
    assert_eq!(held.session().held().await.text(), "1");
    drop((ws, nowhere));
    within("the server to close", closing).await.unwrap();
    for _ in 0..3 {
        assert_eq!(reasons.next().await, DisconnectReason::ServerShuttingDown);
    }
    assert!(io.is_closed());
    assert_eq!(io.session_count(), 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
    assert!(open.is_closed().await, "a connection that idles is closed");
    // Once more does nothing.
    within("the server to close", io.close()).await;
}

#[tokio::test]
async fn whoever_closes_a_server_waits_until_it_is_closed() {
    let bus = Bus::new();
    let io = Server::builder().adapter(bus.node()).build();
    let _ = io.of("/other");
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let closing: Vec<_> = (0..3)
        .map(|_| {
            let io = io.clone();
            tokio::spawn(async move { io.close().await })
        })
        .collect();
    // The client has not answered, so nobody is done.
    assert_eq!(client.ws().next().await, Some(Frame::close(None)));
    assert!(closing.iter().all(|task| !task.is_finished()));
    assert_eq!(bus.closed(), 0);
    drop(client);
    for task in closing {
        within("the server to close", task).await.unwrap();
    }
    assert_eq!(bus.closed(), 2, "the adapter of each namespace once");
}

#[tokio::test]
async fn a_closed_server_refuses_handshakes_where_it_is_mounted() {
    let io = Server::new();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().route_service("/socket.io/", io.service());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let (mut client, _) = Client::connected(address).await;
    let closing = tokio::spawn({
        let io = io.clone();
        async move { io.close().await }
    });
    client.expect_close(None).await;
    drop(client);
    within("the server to close", closing).await.unwrap();
    let mut http = Http::connect(address).await;
    let response = http.get("/socket.io/?EIO=4&transport=polling").await;
    assert_eq!((response.status, response.text()), (403, r#"{"code":4,"message":"server shutting down"}"#));
    let refused = Ws::try_over(http, "/socket.io/?EIO=4&transport=websocket", &[]).await;
    assert_eq!(refused.unwrap_err().status, 400);
}

#[tokio::test]
async fn disconnect_handlers_have_started_when_a_server_is_closed_and_those_that_wait_go_on() {
    let io = Server::new();
    let (started, permits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (ends, mut ended) = log();
    io.sockets().on_disconnect({
        let (started, permits) = (Arc::clone(&started), Arc::clone(&permits));
        move |reason: DisconnectReason| {
            let (started, permits, ends) = (Arc::clone(&started), Arc::clone(&permits), ends.clone());
            async move {
                started.fetch_add(1, Ordering::Relaxed);
                permits.acquire().await.unwrap().forget();
                let _ = ends.send(reason);
            }
        }
    });
    let address = serve(&io).await;
    let (mut ws, _) = Client::connected(address).await;
    let mut polling = Client::polling(address).await;
    polling.join("/").await;
    let closing = tokio::spawn({
        let io = io.clone();
        async move { io.close().await }
    });
    ws.expect_close(None).await;
    drop((ws, polling));
    within("the server to close", closing).await.unwrap();
    assert_eq!(started.load(Ordering::Relaxed), 2);
    ended.assert_empty();
    permits.add_permits(2);
    assert_eq!(ended.take(2).await, [DisconnectReason::ServerShuttingDown; 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_waits_for_handlers_of_a_session_that_has_just_ended() {
    let io = Server::new();
    let (sockets, mut connected) = log();
    let (runs, mut running) = log();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    io.sockets()
        .on_connection(move |socket: Socket| {
            let _ = sockets.send(socket);
            async {}
        })
        .on_disconnect(move || {
            let _ = runs.send(());
            // The thread that has ended the session stays in here.
            released.lock().unwrap().recv().unwrap();
            async {}
        });
    // Mounted elsewhere, so that nothing but the handler can be waited for: no connection is the server's own.
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().route_service("/socket.io/", io.service());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = Client::polling(address).await;
    client.join("/").await;
    let socket = connected.next().await;
    let ending = tokio::task::spawn_blocking(move || socket.close_connection());
    running.next().await;
    let mut closing = std::pin::pin!(io.close());
    tokio::select! {
        biased;
        () = &mut closing => panic!("closed while a handler runs"),
        () = std::future::ready(()) => {}
    }
    release.send(()).unwrap();
    within("the server to close", closing).await;
    within("the handler", ending).await.unwrap();
}

#[tokio::test]
async fn closing_does_not_wait_for_a_websocket_that_only_probes() {
    let io = Server::new();
    let polling = Polling::open(serve(&io).await).await;
    let mut ws = Ws::connect(polling.address, &polling.upgrade_target()).await;
    ws.send("2probe").await;
    ws.recv().await;
    let closing = tokio::spawn(async move { io.close().await });
    assert_eq!(ws.closed().await, None);
    drop(ws);
    within("the server to close", closing).await.unwrap();
}

#[tokio::test]
async fn a_server_that_nobody_used_closes() {
    let io = Server::new();
    let listening = io.listen(("127.0.0.1", 0)).await.unwrap();
    within("the server to close", io.close()).await;
    within("the end of listening", listening.into_future()).await;
}

#[tokio::test]
async fn emits_to_a_socket_that_is_gone_do_nothing() {
    let io = Server::new();
    let (sockets, mut connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    io.on_error(|failure| panic!("{failure}"));
    let mut reasons = disconnects(&io);
    let (client, id) = Client::connected(serve(&io).await).await;
    let socket = connected.next().await;
    drop(client);
    reasons.next().await;
    socket.emit("x", &1);
    socket.volatile().emit("x", &1);
    socket.disconnect(true);
    io.to(&id).emit("x", &1);
    assert!(matches!(socket.try_emit("x", &1), Err(sio_server::EmitError::Disconnected)));
    assert_eq!(socket.id().as_str(), id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_come_and_go_leave_nothing_behind() {
    let io = Server::new();
    io.sockets()
        .middleware(async || {
            // Connects on another thread than the one that reads.
            tokio::task::yield_now().await;
            Ok(())
        })
        .on_connection(async |socket: Socket| socket.join("room"))
        .on("n", async || Reply(()));
    let address = serve(&io).await;
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..50 {
                    let mut client = Client::websocket(address).await;
                    client.send("0").await;
                    drop(client);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    within("the server to close", async {
        // Everything there was has ended once the server has closed.
        io.close().await;
    })
    .await;
    assert_eq!(io.sockets().local_sockets().len(), 0);
    assert_eq!(io.sockets().local_rooms(), Vec::<String>::new());
}
