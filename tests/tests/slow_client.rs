//! A client that does not read: its queue has a bound, and what happens at the bound costs nobody else.

use sio_server::{DisconnectReason, EmitError, Server, Socket};
use sio_tests::{Client, disconnects, log, serve};

/// More than the kernel buffers for one connection, in all.
const MESSAGE: usize = 1_000_000;

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_and_the_others_miss_nothing() {
    let io = Server::builder().max_queued_bytes(2_000_000).build();
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let (_slow, slow_id) = Client::connected(address).await;
    let (mut fast, _) = Client::connected(address).await;
    let text = "x".repeat(MESSAGE);
    let mut count = 0;
    // The fast one reads each before the next is sent, so its queue is empty every time.
    while io.sockets().local_socket(&slow_id).is_some() {
        io.emit("news", &(count, &text));
        assert!(fast.recv().await.starts_with(&format!("2[\"news\",{count},\"x")));
        count += 1;
        assert!(count < 100, "the queue has no bound");
    }
    assert_eq!(reasons.next().await, DisconnectReason::SlowClient);
    reasons.assert_empty();
    io.emit("after", &());
    fast.expect("2[\"after\"]").await;
    assert_eq!(io.session_count(), 1);
}

#[tokio::test]
async fn an_emit_to_a_full_queue_says_so() {
    let io = Server::builder().max_queued_bytes(2_000_000).build();
    let (sockets, mut connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let mut reasons = disconnects(&io);
    let (_client, _) = Client::connected(serve(&io).await).await;
    let socket = connected.next().await;
    let text = "x".repeat(MESSAGE);
    let error = (0..100).find_map(|_| socket.try_emit("x", &text).err()).expect("the queue has a bound");
    assert!(matches!(error, EmitError::QueueFull), "{error}");
    // Something smaller would fit, and arrive behind the gap.
    assert!(matches!(socket.try_emit("x", &1), Err(EmitError::Disconnected)));
    assert_eq!(reasons.next().await, DisconnectReason::SlowClient);
    assert!(matches!(socket.try_emit("x", &1), Err(EmitError::Disconnected)));
}

#[tokio::test]
async fn one_message_beyond_the_bound_still_goes_to_a_client_that_reads() {
    let io = Server::builder().max_queued_bytes(1000).build();
    let address = serve(&io).await;
    let (mut ws, _) = Client::connected(address).await;
    let mut polling = Client::polling(address).await;
    polling.join("/").await;
    let text = "x".repeat(5000);
    io.emit("large", &text);
    for client in [&mut ws, &mut polling] {
        client.expect(&format!("2[\"large\",\"{text}\"]")).await;
    }
}

#[tokio::test]
async fn a_client_that_polls_too_rarely_is_disconnected() {
    let io = Server::builder().max_queued_bytes(1000).build();
    let mut reasons = disconnects(&io);
    let mut client = Client::polling(serve(&io).await).await;
    client.join("/").await;
    for _ in 0..20 {
        io.emit("x", &"a".repeat(100));
    }
    assert_eq!(reasons.next().await, DisconnectReason::SlowClient);
    assert_eq!(client.session().get().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
}

#[tokio::test]
async fn a_client_that_reads_slowly_gets_everything_in_order() {
    let io = Server::builder().max_queued_bytes(usize::MAX).build();
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let text = "x".repeat(50_000);
    // Far more than the kernel takes, so most of it waits.
    for n in 0..400 {
        io.emit("n", &(n, &text));
        io.emit("n", &(n, "small"));
    }
    for n in 0..400 {
        client.expect(&format!("2[\"n\",{n},\"{text}\"]")).await;
        client.expect(&format!("2[\"n\",{n},\"small\"]")).await;
    }
}

#[tokio::test]
async fn a_flood_of_pings_without_reading_ends_like_any_slow_client() {
    let io = Server::builder().max_queued_bytes(10_000).build();
    let mut reasons = disconnects(&io);
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let pings: Vec<u8> =
        std::iter::repeat_with(|| sio_tests::frame(0x89, &[0; 125])).take(100).flatten().collect();
    // Pongs are few for many pings, so what has to be seen is only that nothing grows without end: either the server
    // stops reading, or it ends the connection.
    let flood = async {
        for _ in 0..2000 {
            client.ws().write(&pings).await;
        }
    };
    tokio::select! {
        () = flood => {}
        reason = reasons.next() => assert_eq!(reason, DisconnectReason::SlowClient),
    }
}
