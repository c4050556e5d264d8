//! Heartbeats of both protocols. Intervals are as short as a busy machine allows, which has to connect within one and to
//! answer within another; every wait is for a packet or the end of a connection.

use std::time::{Duration, Instant};

use sio_server::{DisconnectReason, Server};
use sio_tests::{Client, Frame, Message, Polling, Ws, disconnects, log, serve};

const INTERVAL: Duration = Duration::from_millis(400);
const TIMEOUT: Duration = Duration::from_millis(500);
/// Deadlines are whole milliseconds, so one may come that much early.
const GRAIN: Duration = Duration::from_millis(2);
/// How often something is tried that a busy machine may spoil, but never bring about.
const ATTEMPTS: usize = 20;

fn server() -> Server {
    Server::builder().ping_interval(INTERVAL).ping_timeout(TIMEOUT).build()
}

fn patient() -> Server {
    Server::builder().ping_interval(INTERVAL).ping_timeout(Duration::from_secs(60)).build()
}

#[tokio::test]
async fn the_first_ping_comes_an_interval_after_the_open_and_the_next_after_the_pong() {
    let address = serve(&patient()).await;
    let opened = Instant::now();
    let mut client = Client::websocket(address).await;
    client.join("/").await;
    assert_eq!(client.recv_engine().await, Message::text("2"));
    assert!(opened.elapsed() + GRAIN >= INTERVAL, "after {:?}", opened.elapsed());
    let answered = Instant::now();
    client.send_engine("3").await;
    assert_eq!(client.recv_engine().await, Message::text("2"));
    assert!(answered.elapsed() + GRAIN >= INTERVAL, "after {:?}", answered.elapsed());
}

#[tokio::test]
async fn pings_reach_clients_that_poll() {
    let io = server();
    let mut reasons = disconnects(&io);
    let mut client = Client::polling(serve(&io).await).await;
    client.join("/").await;
    for _ in 0..2 {
        assert_eq!(client.recv_engine().await, Message::text("2"));
        client.send_engine("3").await;
    }
    reasons.assert_empty();
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_disconnected() {
    let io = server();
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    // The clock of this test starts before the server's.
    let opened = Instant::now();
    let (mut client, _) = Client::connected(address).await;
    assert_eq!(client.recv_engine().await, Message::text("2"));
    client.expect_close(None).await;
    assert!(opened.elapsed() + GRAIN * 2 >= INTERVAL + TIMEOUT, "after {:?}", opened.elapsed());
    assert_eq!(reasons.next().await, DisconnectReason::PingTimeout);
    assert_eq!(io.session_count(), 0);
}

#[tokio::test]
async fn a_client_that_stops_polling_is_disconnected() {
    let io = server();
    let mut reasons = disconnects(&io);
    let mut client = Client::polling(serve(&io).await).await;
    client.join("/").await;
    assert_eq!(reasons.next().await, DisconnectReason::PingTimeout);
    assert_eq!(client.session().get().await.text(), r#"{"code":1,"message":"Session ID unknown"}"#);
}

#[tokio::test]
async fn a_sign_of_life_moves_the_deadline_of_the_pong_once() {
    // When nothing is read in time, as on a machine that is busy, there is no sign of life to be judged.
    for _ in 0..ATTEMPTS {
        let io = server();
        let (seen, busy) = log();
        io.sockets().on("busy", move || {
            let _ = seen.send(());
            async {}
        });
        let mut reasons = disconnects(&io);
        let (mut client, _) = Client::connected(serve(&io).await).await;
        assert_eq!(client.recv_engine().await, Message::text("2"));
        // why: the deadline that is moved has to be told from the one that is not.
        tokio::time::sleep(TIMEOUT / 2).await;
        let moved = Instant::now();
        // Events without end do not stand in for the pong.
        let reason = loop {
            tokio::select! {
                reason = reasons.next() => break reason,
                () = client.send("2[\"busy\"]") => tokio::task::yield_now().await,
            }
            assert!(moved.elapsed() < sio_tests::LIMIT, "the deadline moves for ever");
        };
        assert_eq!(reason, DisconnectReason::PingTimeout);
        if busy.is_empty() {
            continue;
        }
        assert!(moved.elapsed() + GRAIN >= TIMEOUT, "after {:?}", moved.elapsed());
        return;
    }
    panic!("none of {ATTEMPTS} clients was heard before its deadline");
}

#[tokio::test]
async fn a_ping_from_a_client_of_protocol_4_is_an_error() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let (mut client, _) = Client::connected(address).await;
    client.send_engine("2").await;
    client.expect_close(None).await;
    assert_eq!(reasons.next().await, DisconnectReason::TransportError);
    let mut client = Client::polling(address).await;
    client.join("/").await;
    client.send_engine("2").await;
    assert_eq!(reasons.next().await, DisconnectReason::TransportError);
}

#[tokio::test]
async fn a_pong_that_nobody_asked_for_does_no_harm() {
    let io = Server::new();
    let (mut client, _) = Client::connected(serve(&io).await).await;
    for _ in 0..3 {
        client.send_engine("3").await;
        client.send_engine("3data").await;
    }
    io.emit("still there", &());
    client.expect("2[\"still there\"]").await;
}

#[tokio::test]
async fn clients_of_protocol_3_ping_and_get_a_bare_pong() {
    let io = Server::new();
    let address = serve(&io).await;
    let mut ws = Ws::connect(address, "/socket.io/?EIO=3&transport=websocket").await;
    assert!(ws.recv().await.starts_with("0{"));
    assert_eq!(ws.recv().await, "40");
    for ping in ["2", "2probe"] {
        ws.send(ping).await;
        assert_eq!(ws.recv().await, "3", "{ping}");
    }
    let mut polling = Polling::open_with(address, 3, "").await;
    assert_eq!(polling.next().await, Message::text("40"));
    polling.say(&[Message::text("2")]).await;
    assert_eq!(polling.get().await.text(), "1:3");
}

#[tokio::test]
async fn a_client_of_protocol_3_that_falls_silent_is_disconnected() {
    let io = server();
    let mut reasons = disconnects(&io);
    let mut ws = Ws::connect(serve(&io).await, "/socket.io/?EIO=3&transport=websocket").await;
    ws.recv().await;
    ws.recv().await;
    let started = Instant::now();
    ws.send("2").await;
    assert_eq!(ws.recv().await, "3");
    assert_eq!(ws.next().await, Some(Frame::close(None)), "no ping of the server's");
    assert!(started.elapsed() + GRAIN >= INTERVAL + TIMEOUT, "after {:?}", started.elapsed());
    assert_eq!(reasons.next().await, DisconnectReason::PingTimeout);
}

#[tokio::test]
async fn a_pong_from_a_client_of_protocol_3_is_an_error() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let mut ws = Ws::connect(serve(&io).await, "/socket.io/?EIO=3&transport=websocket").await;
    ws.send("3").await;
    ws.closed().await;
    assert_eq!(reasons.next().await, DisconnectReason::TransportError);
}

#[tokio::test]
async fn an_upgrade_keeps_the_schedule_of_pings() {
    // A machine that is busy may be late with any ping. A schedule that started anew would be late with every one.
    for _ in 0..ATTEMPTS {
        let address = serve(&patient()).await;
        let opened = Instant::now();
        let mut polling = Polling::open(address).await;
        polling.say(&[Message::text("40")]).await;
        polling.next().await;
        let mut ws = Ws::connect(polling.address, &polling.upgrade_target()).await;
        ws.send("2probe").await;
        assert_eq!(ws.recv().await, "3probe");
        // why: the upgrade has to be far enough behind the opening to tell what the ping is counted from.
        tokio::time::sleep(INTERVAL / 2).await;
        let upgraded = Instant::now();
        ws.send("5").await;
        assert_eq!(ws.recv().await, "2");
        assert!(opened.elapsed() + GRAIN >= INTERVAL, "after {:?}", opened.elapsed());
        if upgraded - opened < INTERVAL && upgraded.elapsed() + GRAIN < INTERVAL {
            return;
        }
    }
    panic!("in none of {ATTEMPTS} upgrades the ping came when it was due before");
}

#[tokio::test]
async fn a_ping_that_meets_a_full_queue_costs_nothing() {
    let io = Server::builder()
        .ping_interval(INTERVAL)
        .ping_timeout(Duration::from_secs(60))
        .max_queued_bytes(1000)
        .build();
    let mut reasons = disconnects(&io);
    let mut client = Client::polling(serve(&io).await).await;
    client.join("/").await;
    let text = "x".repeat(980);
    io.emit("full", &text);
    // why: the ping has to find the queue full, so nothing may be polled until it is due.
    tokio::time::sleep(INTERVAL * 2).await;
    client.expect(&format!("2[\"full\",\"{text}\"]")).await;
    assert_eq!(client.recv_engine().await, Message::text("2"));
    reasons.assert_empty();
}
