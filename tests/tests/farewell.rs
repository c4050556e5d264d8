//! Ends that come at an awkward moment, and what is to be seen of a session that ends.

use sio_server::{DisconnectReason, Server, Socket};
use sio_tests::{Polling, Ws, frame, log, opcode, serve};

#[tokio::test]
async fn a_disconnect_handler_finds_its_session_gone_from_the_count() {
    let io = Server::new();
    let (seen, mut counts) = log();
    io.sockets().on_disconnect(move |socket: Socket| {
        let seen = seen.clone();
        async move { seen.send(socket.server().session_count()).unwrap() }
    });
    let mut client = Polling::open(serve(&io).await).await;
    client.post("40").await;
    assert_eq!(io.session_count(), 1);
    client.post("1").await;
    assert_eq!(counts.next().await, 0);
    io.close().await;
}

#[tokio::test]
async fn a_close_frame_in_the_read_that_completes_the_upgrade_ends_the_session() {
    let io = Server::new();
    let (seen, mut reasons) = log();
    io.sockets().on_disconnect(move |why: DisconnectReason| {
        let seen = seen.clone();
        async move { seen.send(why).unwrap() }
    });
    let mut client = Polling::open(serve(&io).await).await;
    client.post("40").await;
    let mut ws = Ws::connect(client.address, &client.upgrade_target()).await;
    ws.send("2probe").await;
    assert_eq!(ws.recv().await, "3probe");
    let mut last = frame(0x80 | opcode::TEXT, b"5");
    last.extend(frame(0x80 | opcode::CLOSE, &1000_u16.to_be_bytes()));
    ws.write(&last).await;
    assert_eq!(ws.closed().await, Some(1000));
    assert_eq!(reasons.next().await, DisconnectReason::TransportClose);
    assert_eq!(io.session_count(), 0);
}

/// socket.io-client 4 handles a message one tick after its payload, but a close at once: in one payload the close
/// would win, and the client would take being disconnected for a lost connection.
#[tokio::test]
async fn a_close_never_shares_a_payload_with_what_came_before() {
    let io = Server::new();
    io.sockets().on("leave", async |socket: Socket| socket.disconnect(true));
    for held in [true, false] {
        let mut client = Polling::open(serve(&io).await).await;
        client.post("40").await;
        client.next().await;
        let last = if held {
            client.hold().await;
            client.post("42[\"leave\"]").await;
            client.held().await
        } else {
            client.post("42[\"leave\"]").await;
            client.get().await
        };
        assert_eq!(last.text(), "41");
        assert_eq!(client.get().await.text(), "6\x1e1");
        assert_eq!(client.get().await.status, 400);
    }
}
