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
