//! A client that sends events faster than their handlers end: few of them run at a time, the rest waits, and the client
//! is slowed down.

use std::sync::Arc;
use std::time::Duration;

use sio_server::{Args, DisconnectReason, Reply, Server, Socket};
use sio_tests::{Client, disconnects, frame, log, opcode, serve, within};
use tokio::sync::Semaphore;

/// More than the kernel buffers for one connection, in all.
const FLOOD: usize = 64 << 20;

// Threads, so that handlers end while the next batch is handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn everything_arrives_in_order_however_slow_the_handlers_are() {
    const COUNT: u32 = 5_000;
    let io = Server::builder().max_running_handlers(3).max_http_buffer_size(20_000).build();
    let (sender, mut started) = log();
    io.sockets().on("n", move |Args((n, _)): Args<(u32, String)>| {
        let _ = sender.send(n);
        tokio::task::yield_now()
    });
    let address = serve(&io).await;
    let text = "x".repeat(90);
    let (mut ws, _) = Client::connected(address).await;
    for n in 0..COUNT {
        ws.send(&format!("2[\"n\",{n},\"{text}\"]")).await;
    }
    assert!(started.take(5_000).await.into_iter().eq(0..COUNT));
    let mut polling = Client::polling(address).await;
    polling.join("/").await;
    for start in (0..COUNT).step_by(100) {
        let events = (start..start + 100).map(|n| format!("42[\"n\",{n},\"{text}\"]"));
        let messages: Vec<_> = events.map(sio_tests::Message::Text).collect();
        polling.session().say(&messages).await;
    }
    assert!(started.take(5_000).await.into_iter().eq(0..COUNT));
}

/// tokio has each task wait after 128 steps, even if nothing keeps it waiting: a read batch may have more than that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handlers_that_have_nothing_to_wait_for_are_done_in_order_however_many_come_at_once() {
    const COUNT: u32 = 1_000;
    let io = Server::new();
    let (done, mut order) = tokio::sync::mpsc::channel(COUNT as usize);
    io.sockets().on("n", move |Args(n): Args<u32>| {
        let done = done.clone();
        async move {
            let _ = done.send(n).await;
            Reply(n)
        }
    });
    let address = serve(&io).await;
    let (mut ws, mut polling) = (Client::connected(address).await.0, Client::polling(address).await);
    polling.join("/").await;
    let events: Vec<_> = (0..COUNT).map(|n| format!("42{n}[\"n\",{n}]")).collect();
    let frames = events.iter().flat_map(|event| frame(0x80 | opcode::TEXT, event.as_bytes()));
    ws.ws().write(&frames.collect::<Vec<u8>>()).await;
    for n in 0..COUNT {
        assert_eq!(order.recv().await, Some(n));
        ws.expect(&format!("3{n}[{n}]")).await;
    }
    let messages: Vec<_> = events.into_iter().map(sio_tests::Message::Text).collect();
    polling.session().say(&messages).await;
    for n in 0..COUNT {
        assert_eq!(order.recv().await, Some(n));
        polling.expect(&format!("3{n}[{n}]")).await;
    }
}

#[tokio::test]
async fn a_client_is_not_read_while_its_handlers_do_not_end_and_is_lost_like_one_that_is_silent() {
    let io = Server::builder()
        .max_running_handlers(3)
        .ping_interval(Duration::from_millis(200))
        .ping_timeout(Duration::from_millis(200))
        .build();
    let (sender, mut started) = log();
    let (mut reasons, never) = (disconnects(&io), Arc::new(Semaphore::new(0)));
    io.sockets().on("n", move |_: Socket| {
        let (never, _) = (Arc::clone(&never), sender.send(()));
        async move { drop(never.acquire().await) }
    });
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let event = format!("2[\"n\",\"{}\"]", "x".repeat(100_000));
    let flood = async {
        for _ in 0..FLOOD / event.len() {
            client.send(&event).await;
        }
    };
    tokio::select! {
        () = flood => panic!("{FLOOD} bytes were read"),
        reason = reasons.next() => assert_eq!(reason, DisconnectReason::PingTimeout),
    }
    started.take(3).await;
    started.assert_empty();
}

#[tokio::test]
async fn a_post_is_answered_when_there_is_room_again() {
    let io = Server::builder().max_running_handlers(1).max_http_buffer_size(1000).build();
    let (sender, mut started) = log();
    let permits = Arc::new(Semaphore::new(0));
    let wanted = Arc::clone(&permits);
    io.sockets().on("n", move |Args(n): Args<u32>| {
        let (wanted, _) = (Arc::clone(&wanted), sender.send(n));
        async move { wanted.acquire().await.expect("open").forget() }
    });
    let mut client = Client::polling(serve(&io).await).await;
    client.join("/").await;
    let messages: Vec<_> = (0..50).map(|n| sio_tests::Message::Text(format!("42[\"n\",{n}]"))).collect();
    let post = client.session().say(&messages);
    let release = async {
        for n in 0..50 {
            assert_eq!(started.next().await, n);
            started.assert_empty();
            permits.add_permits(1);
        }
    };
    // It is held until some have ended: alone it would not be answered.
    within("the post and its events", async { tokio::join!(post, release) }).await;
}
