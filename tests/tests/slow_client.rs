//! A client that does not read: its queue has a bound, and what happens at the bound costs nobody else.

use std::cell::Cell;

use hyper_util::rt::TokioIo;
use sio_server::{Args, DisconnectReason, EmitError, Server, Socket};
use sio_tests::{Client, Frame, Http, Ws, disconnects, frame, log, opcode, serve};

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
async fn a_handler_that_emits_more_than_the_bound_does_not_end_a_client_that_reads() {
    const COUNT: usize = 1000;
    // Nothing is written before the handler is done; the kernel takes the 500 kB at once, the queue may hold 20.
    let io = Server::builder().max_queued_bytes(20_000).build();
    io.sockets()
        .on("one", async |socket: Socket| (0..COUNT).for_each(|n| socket.emit("n", &(n, &"x".repeat(500)))))
        .on("all", async |io: Server| (0..COUNT).for_each(|n| io.emit("n", &(n, &"x".repeat(500)))));
    let address = serve(&io).await;
    let (mut asking, _) = Client::connected(address).await;
    let (mut listening, _) = Client::connected(address).await;
    for event in ["one", "all"] {
        asking.send(&format!("2[\"{event}\"]")).await;
        for n in 0..COUNT {
            assert!(asking.recv().await.starts_with(&format!("2[\"n\",{n},")), "{event} {n}");
        }
    }
    for n in 0..COUNT {
        assert!(listening.recv().await.starts_with(&format!("2[\"n\",{n},")), "{n}");
    }
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
async fn a_flood_of_pings_without_reading_is_not_read_on() {
    const BOUND: usize = 10_000;
    /// What the stream holds for a client that does not read: unlike a kernel's buffer, neither much nor growing.
    const STREAM: usize = 4096;
    let io = Server::builder().max_queued_bytes(BOUND).build();
    let mut reasons = disconnects(&io);
    let (ours, theirs) = tokio::io::duplex(STREAM);
    let service = io.service();
    tokio::spawn(async move {
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(theirs), service)
            .with_upgrades();
        let _ = connection.await;
    });
    let target = "/socket.io/?EIO=4&transport=websocket";
    let mut ws = Ws::try_over(Http::over(ours), target, &[]).await.expect("the answer is 101");
    assert!(ws.recv().await.starts_with("0{"));
    ws.send("40").await;
    assert!(ws.recv().await.starts_with("40{"));
    let ping = frame(0x80 | opcode::PING, &[7; 125]);
    let taken = Cell::new(0);
    let flood = async {
        // Each by itself: pings that come together are owed one pong.
        while taken.get() < 10_000 {
            ws.write(&ping).await;
            taken.set(taken.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    // Nothing here comes from outside of this thread: when nothing moves after that many turns, nothing will.
    let standstill = async {
        let mut last = (0, 0);
        while last.1 < 1000 {
            tokio::task::yield_now().await;
            last = if last.0 == taken.get() { (last.0, last.1 + 1) } else { (taken.get(), 0) };
        }
    };
    tokio::select! {
        () = flood => panic!("{} pings were read of a client that reads no pong", taken.get()),
        () = standstill => {}
    }
    assert!(taken.get() > BOUND / 2 / 127, "{} pings fill no queue", taken.get());
    // Nor is it the end. Once it reads it gets what waited, which was within the bound, and is heard again.
    reasons.assert_empty();
    assert_eq!(io.session_count(), 1);
    let pong = Frame { head: 0x80 | opcode::PONG, payload: vec![7; 125] };
    for _ in 0..BOUND / 2 / 127 {
        assert_eq!(ws.next().await.as_ref(), Some(&pong));
    }
    io.emit("after", &());
    let mut pongs = 0;
    let after = loop {
        match ws.next().await.expect("the connection goes on") {
            frame if frame == pong => pongs += 1,
            frame => break frame,
        }
    };
    assert_eq!(after, Frame::text("42[\"after\"]"));
    assert!((pongs + BOUND / 2 / 127) * 127 < STREAM + BOUND, "{pongs} more pongs");
    reasons.assert_empty();
}

/// What is queued while the kernel's buffer is full is written by the task that waits for room; afterwards the client is
/// as good as any other.
#[tokio::test]
async fn a_client_that_was_slow_for_a_while_is_served_as_before() {
    let io = Server::new();
    io.sockets().on("echo", async |socket: Socket, Args(n): Args<u32>| socket.emit("echo", &n));
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let filler = "x".repeat(1_000_000);
    for round in 0..2 {
        for n in 0..12 {
            io.emit("filler", &(n, &filler));
        }
        // With the first one here the others have been tried, and the buffers are full.
        assert!(client.recv().await.starts_with("2[\"filler\",0,"));
        io.emit("behind", &round);
        for n in 1..12 {
            assert!(client.recv().await.starts_with(&format!("2[\"filler\",{n},")));
        }
        client.expect(&format!("2[\"behind\",{round}]")).await;
        io.emit("afterwards", &round);
        client.expect(&format!("2[\"afterwards\",{round}]")).await;
        client.send(&format!("2[\"echo\",{round}]")).await;
        client.expect(&format!("2[\"echo\",{round}]")).await;
    }
}
