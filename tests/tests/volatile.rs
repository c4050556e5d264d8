//! Volatile emits: sent when the transport is free at that moment, dropped otherwise, never late.

use sio_server::{Args, Server, Socket};
use sio_tests::{Client, Log, log, serve};

async fn connected(io: &Server) -> Log<Socket> {
    let (sockets, connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    connected
}

#[tokio::test]
async fn of_a_burst_the_first_is_sent_and_the_rest_is_dropped() {
    let io = Server::new();
    io.sockets().on("burst", async |io: Server, socket: Socket, Args(n): Args<u32>| {
        for i in 0..n {
            socket.volatile().emit("own", &i);
        }
        // What must arrive does, whatever was dropped.
        socket.emit("sure", &());
        io.broadcast().volatile().emit("all", &());
        socket.emit("sure", &());
    });
    let (mut client, _) = Client::connected(serve(&io).await).await;
    for _ in 0..3 {
        client.send("2[\"burst\",10]").await;
        client.expect("2[\"own\",0]").await;
        client.expect("2[\"sure\"]").await;
        client.expect("2[\"sure\"]").await;
    }
}

/// What many clients broadcast at the same time waits for one write, but is not in each other's way.
#[tokio::test]
async fn what_others_emit_in_the_same_turn_is_no_reason_to_drop() {
    let io = Server::new();
    io.sockets().on("move", async |socket: Socket, Args(x): Args<u32>| {
        socket.broadcast().volatile().emit("moved", &x);
        socket.broadcast().volatile().emit("second of its burst", &x);
    });
    let addr = serve(&io).await;
    let (mut watcher, _) = Client::connected(addr).await;
    let mut movers = Vec::new();
    for _ in 0..20 {
        movers.push(Client::connected(addr).await.0);
    }
    for round in 0..20 {
        // On the one thread of this test the server reads none of these before all are written.
        for (i, mover) in movers.iter_mut().enumerate() {
            mover.send(&format!("2[\"move\",{}]", round * 100 + i)).await;
        }
        for _ in &movers {
            let moved = watcher.recv().await;
            assert!(moved.starts_with("2[\"moved\","), "{moved}");
        }
    }
}

#[tokio::test]
async fn a_poll_has_to_be_held() {
    let io = Server::new();
    let mut sockets = connected(&io).await;
    let mut client = Client::polling(serve(&io).await).await;
    client.join("/").await;
    let socket = sockets.next().await;
    socket.volatile().emit("lost", &());
    io.broadcast().volatile().emit("lost", &());
    client.session().hold().await;
    socket.volatile().emit("first", &());
    socket.volatile().emit("second", &());
    io.broadcast().volatile().emit("third", &());
    assert_eq!(client.session().held().await.text(), "42[\"first\"]");
    socket.emit("next", &());
    client.expect("2[\"next\"]").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_gets_none_and_is_kept() {
    let io = Server::new();
    let mut sockets = connected(&io).await;
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let socket = sockets.next().await;
    // Fill the buffers of the kernel, until something waits in the queue.
    let filler = "x".repeat(1_000_000);
    for _ in 0..12 {
        socket.emit("filler", &filler);
    }
    for _ in 0..1000 {
        io.broadcast().volatile().emit("lost", &());
        socket.volatile().emit("lost", &());
    }
    socket.emit("end", &());
    for _ in 0..12 {
        assert!(client.recv().await.starts_with("2[\"filler\""));
    }
    client.expect("2[\"end\"]").await;
}
