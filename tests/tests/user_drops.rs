//! What users hand over is dropped without a lock: code that runs when it is dropped may use the server.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::sync::Arc;
use std::time::Duration;

use sio_server::{DisconnectReason, Failure, Namespace, Server, Socket};
use sio_tests::{Client, Log, Message, disconnects, log, serve, within};
use tokio::sync::oneshot;

/// Calls `f` when it is dropped.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Something to capture that uses a socket in every way that takes a lock of it, and of its namespace.
fn meddler(
    socket: &Socket,
    dropped: &tokio::sync::mpsc::UnboundedSender<()>,
) -> Arc<OnDrop<impl Fn() + use<>>> {
    let (socket, dropped) = (socket.clone(), dropped.clone());
    Arc::new(OnDrop(move || {
        let _ = socket.data::<serde_json::Value>();
        socket.off("other");
        socket.insert(1_u8);
        let _ = socket.rooms();
        socket.namespace().off("other");
        let _ = dropped.send(());
    }))
}

/// Runs `f` on a thread of its own: were there a lock, it would never come back.
async fn on_a_thread(f: impl FnOnce() + Send + 'static) {
    let (done, finished) = oneshot::channel();
    std::thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    within("a call that drops user code", finished).await.unwrap();
}

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
async fn listeners_of_a_socket_that_are_removed() {
    let (_client, socket) = joined(&Server::new()).await;
    let (dropped, mut drops) = log();
    let kept = meddler(&socket, &dropped);
    let listen = |kept: Arc<OnDrop<_>>| {
        move || {
            let _ = &kept;
            async {}
        }
    };
    socket.on("a", listen(meddler(&socket, &dropped)));
    let inner = socket.clone();
    on_a_thread(move || inner.off("a")).await;
    drops.next().await;

    let named = socket.on("a", listen(meddler(&socket, &dropped)));
    let any = socket.on_any(listen(meddler(&socket, &dropped)));
    let captured = meddler(&socket, &dropped);
    let outgoing = socket.on_any_outgoing(move |_, _| _ = &captured);
    for id in [named, any, outgoing] {
        let inner = socket.clone();
        on_a_thread(move || assert!(inner.off_listener(id) && !inner.off_listener(id))).await;
        drops.next().await;
    }
    drop(kept);
    drops.next().await;
    drops.assert_empty();
}

#[tokio::test]
async fn listeners_of_a_socket_that_ends_and_those_that_come_too_late() {
    let io = Server::new();
    let mut ends = disconnects(&io);
    let (_client, socket) = joined(&io).await;
    let (dropped, mut drops) = log();
    let captured = meddler(&socket, &dropped);
    socket.on("a", move || {
        let _ = &captured;
        async {}
    });
    let captured = meddler(&socket, &dropped);
    socket.on_any_outgoing(move |_, _| _ = &captured);
    let inner = socket.clone();
    on_a_thread(move || inner.disconnect(false)).await;
    ends.next().await;
    drops.take(2).await;
    // They hold the socket that would hold them: nothing is kept.
    let inner = socket.clone();
    on_a_thread(move || {
        let captured = meddler(&inner, &dropped);
        let also = Arc::clone(&captured);
        inner.on("a", move || {
            let _ = &captured;
            async {}
        });
        inner.on_any_outgoing(move |_, _| _ = &also);
    })
    .await;
    drops.next().await;
    drops.end().await;
}

#[tokio::test]
async fn handlers_of_a_namespace_and_callbacks_that_are_replaced() {
    let io = Server::new();
    let namespace = io.sockets();
    let (dropped, mut drops) = log();
    let captured = |namespace: &Namespace| {
        let (namespace, dropped) = (namespace.clone(), dropped.clone());
        Arc::new(OnDrop(move || {
            namespace.off("other");
            namespace.on_fallback(async || {});
            if let Some(io) = namespace.server() {
                io.on_error(|_| {});
            }
            let _ = dropped.send(());
        }))
    };
    let kept = captured(&namespace);
    namespace.on("a", move || {
        let _ = &kept;
        async {}
    });
    let inner = namespace.clone();
    on_a_thread(move || _ = inner.off("a")).await;
    drops.next().await;

    let kept = captured(&namespace);
    namespace.on_room_event(move |_| _ = &kept);
    let inner = namespace.clone();
    on_a_thread(move || {
        inner.on_room_event(|_| {});
    })
    .await;
    drops.next().await;

    let kept = captured(&namespace);
    io.on_error(move |_: &Failure| _ = &kept);
    let inner = io.clone();
    on_a_thread(move || {
        inner.on_error(|_| {});
    })
    .await;
    drops.next().await;
}

/// The one task that looks after all heartbeats lives on.
#[tokio::test]
async fn a_value_of_a_lost_socket_that_panics_when_it_is_dropped_costs_nobody_anything() {
    let (interval, timeout) = (Duration::from_millis(300), Duration::from_secs(1));
    let io = Server::builder().ping_interval(interval).ping_timeout(timeout).build();
    let mut reasons = disconnects(&io);
    io.sockets().on_connection(async |socket: Socket| _ = socket.insert(OnDrop(|| panic!("dropped"))));
    let address = serve(&io).await;
    let (_silent, _) = Client::connected(address).await;
    let mut reader = Client::websocket(address).await;
    reader.join_with("/", "").await.unwrap();
    let mut pings_since = None;
    while pings_since != Some(2) {
        if pings_since.is_none() && !reasons.is_empty() {
            assert_eq!(reasons.next().await, DisconnectReason::PingTimeout);
            pings_since = Some(0);
        }
        assert_eq!(reader.recv_engine().await, Message::text("2"));
        reader.send_engine("3").await;
        pings_since = pings_since.map(|pings| pings + 1);
    }
}
