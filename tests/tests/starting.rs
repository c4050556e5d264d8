//! The moment in which a socket is connected: what waits for its `connection` handlers to start, and what comes too
//! early.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use sio_server::{Args, DisconnectReason, Namespace, Server, Socket};
use sio_tests::{Client, Http, Log, Message, disconnects, log, serve, within};
use tokio::sync::Semaphore;

/// A server whose `connection` handler says that it is running, stays in its first poll until it is released, and says
/// that it is done; its other handlers say what they are.
struct Held {
    io: Server,
    running: Log<Socket>,
    release: Sender<()>,
    seen: Log<String>,
}

fn held() -> Held {
    let io = Server::new();
    let (sockets, running) = log();
    let (release, released): (_, Receiver<()>) = channel();
    let released = Mutex::new(released);
    let (seen, log) = log();
    let (disconnecting, disconnect, event) = (seen.clone(), seen.clone(), seen.clone());
    io.sockets()
        .on_connection(move |socket: Socket| {
            let _ = sockets.send(socket.clone());
            // Other tasks of this thread go on, the handler does not.
            tokio::task::block_in_place(|| released.lock().unwrap().recv().unwrap());
            let _ = seen.send(format!("connection, still connected: {}", socket.is_connected()));
            async {}
        })
        .on_disconnecting(move |socket: Socket| {
            let _ = disconnecting.send(format!("disconnecting from {:?}", &socket.rooms()[1..]));
            async {}
        })
        .on_disconnect(move |reason: DisconnectReason| {
            let _ = disconnect.send(format!("disconnect: {reason}"));
            async {}
        })
        .on("n", move |Args(n): Args<u32>| {
            let _ = event.send(format!("event {n}"));
            async {}
        });
    Held { io, running, release, seen: log }
}

/// Adds a middleware that says that it is asked and lets in when it has a permit, on another task than the one that
/// reads.
fn slow(namespace: &Namespace) -> (Arc<Semaphore>, Log<()>) {
    let permits = Arc::new(Semaphore::new(0));
    let (asks, asked) = log();
    let inner = Arc::clone(&permits);
    namespace.middleware(move || {
        let (permits, asks) = (Arc::clone(&inner), asks.clone());
        async move {
            // Whatever happens meanwhile: the first poll does not get further.
            tokio::task::yield_now().await;
            let _ = asks.send(());
            permits.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    (permits, asked)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn an_end_on_another_thread_waits_for_the_connection_handlers() {
    for close in [false, true] {
        let Held { io, mut running, release, mut seen } = held();
        let mut client = Client::websocket(serve(&io).await).await;
        client.send("0").await;
        let socket = running.next().await;
        socket.join("room");
        socket.disconnect(close);
        // Once more changes nothing.
        socket.disconnect(close);
        socket.close_connection();
        assert!(!socket.is_connected());
        assert!(socket.try_emit("late", &()).is_err());
        seen.assert_empty();
        release.send(()).unwrap();
        assert_eq!(
            seen.take(3).await,
            [
                "connection, still connected: false",
                "disconnecting from [\"room\"]",
                "disconnect: server namespace disconnect"
            ]
        );
        assert!(socket.rooms().is_empty());
        seen.assert_empty();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_server_that_closes_waits_for_an_end_that_waits() {
    let Held { io, mut running, release, mut seen } = held();
    // Not on the task that reads, so that only the end itself can be waited for.
    let (permits, mut asked) = slow(&io.sockets());
    let mut client = Client::websocket(serve(&io).await).await;
    client.send("0").await;
    asked.next().await;
    permits.add_permits(1);
    running.next().await;
    let closing = tokio::spawn({
        let io = io.clone();
        async move { io.close().await }
    });
    assert_eq!(client.closed().await, None);
    drop(client);
    assert_eq!(io.session_count(), 0);
    assert!(!closing.is_finished());
    release.send(()).unwrap();
    within("the server to close", closing).await.unwrap();
    assert_eq!(seen.next().await, "connection, still connected: false");
    assert_eq!(seen.take(2).await[1], "disconnect: server shutting down");
    seen.assert_empty();
}

#[tokio::test]
async fn a_connection_handler_may_end_its_socket_at_once() {
    let io = Server::new();
    let (seen, mut events) = log();
    let after = seen.clone();
    let inner = seen.clone();
    io.sockets()
        .on_connection(move |socket: Socket| {
            socket.join("room");
            socket.emit("before", &());
            socket.disconnect(false);
            socket.emit("after", &());
            let _ = seen.send(format!("connection, {} {}", socket.is_connected(), socket.rooms().len()));
            async {}
        })
        .on_disconnecting(move |socket: Socket| {
            let _ = inner.send(format!("disconnecting from {:?}", &socket.rooms()[1..]));
            async {}
        })
        .on_disconnect(move |reason: DisconnectReason| {
            let _ = after.send(format!("disconnect: {reason}"));
            async {}
        });
    let mut client = Client::websocket(serve(&io).await).await;
    for _ in 0..2 {
        client.join("/").await;
        client.expect("2[\"before\"]").await;
        client.expect("1").await;
        // As in Node, its handlers run within the call.
        assert_eq!(
            events.take(3).await,
            [
                "disconnecting from [\"room\"]",
                "disconnect: server namespace disconnect",
                "connection, false 0"
            ]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_a_client_sends_when_it_is_connected_waits_for_the_connection_handlers() {
    let Held { io, mut running, release, mut seen } = held();
    let (permits, mut asked) = slow(&io.sockets());
    let address = serve(&io).await;
    let mut client = Client::polling(address).await;
    client.send("0").await;
    asked.next().await;
    permits.add_permits(1);
    running.next().await;
    // The reply is there already, whoever comes for it.
    let reply = client.recv().await;
    assert!(reply.starts_with("0{"), "{reply}");
    let polling = client.session();
    let target = polling.target();
    polling.posts.send("POST", &target, &[], b"42[\"n\",1]").await;
    // Time for the server to look at it, and to look again.
    for _ in 0..10 {
        assert_eq!(Http::connect(address).await.get("/").await.status, 404);
    }
    seen.assert_empty();
    release.send(()).unwrap();
    assert_eq!(seen.take(2).await, ["connection, still connected: true", "event 1"]);
    assert_eq!(within("the POST", polling.posts.response()).await.unwrap().text(), "ok");
}

/// Node: `Client.ondecoded` finds no socket before the middlewares are through, and closes.
#[tokio::test]
async fn whatever_comes_while_the_middlewares_are_asked_closes_the_connection() {
    for packet in ["2/slow,[\"n\"]", "2/slow,0[\"n\"]", "3/slow,0[]", "1/slow,"] {
        let io = Server::new();
        let (permits, mut asked) = slow(&io.of("/slow"));
        let (connected, mut sockets) = log();
        let (done, mut decided) = log();
        io.of("/slow")
            .middleware(move || {
                let _ = done.send(());
                async { Ok(()) }
            })
            .on_connection(move |_: Socket| {
                let _ = connected.send(());
                async {}
            });
        let mut reasons = disconnects(&io);
        let address = serve(&io).await;
        let (mut ws, _) = Client::connected(address).await;
        ws.send("0/slow,").await;
        ws.send(packet).await;
        ws.expect_close(None).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedClose, "{packet}");
        let mut polling = Client::polling(address).await;
        polling.join("/").await;
        polling.session().say(&[Message::text("40/slow,"), Message::Text(format!("4{packet}"))]).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedServerClose, "{packet}");
        asked.take(2).await;
        // Let in too late, neither is connected.
        permits.add_permits(2);
        decided.take(2).await;
        drop((ws, polling));
        within("the server to close", io.close()).await;
        sockets.assert_empty();
    }
}
