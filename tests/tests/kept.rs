//! A user may keep a `Socket` for as long as he likes: it keeps no file descriptor.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::net::SocketAddr;

use sio_server::{DisconnectReason, Server, Socket};
use sio_tests::{Client, Frame, Http, Log, Polling, Ws, disconnects, frame, log, serve, within};
use tokio::net::TcpStream;

/// The inode of the server's side of a connection.
fn inode(server: SocketAddr, client: SocketAddr) -> String {
    // Addresses are hexadecimal, the port after the colon; the inode is the tenth column.
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().unwrap_or_default(), 16);
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let mut lines = table.lines().skip(1).map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
    let line = lines.find(|line| port(line[1]) == Ok(server.port()) && port(line[2]) == Ok(client.port()));
    line.expect("the server has accepted the connection")[9].to_owned()
}

fn is_open(inode: &str) -> bool {
    let link = format!("socket:[{inode}]");
    let files = std::fs::read_dir("/proc/self/fd").unwrap();
    files.flatten().any(|file| file.path().read_link().is_ok_and(|to| to.to_str() == Some(&link)))
}

/// Waits until the descriptor is closed: the task of the connection has to end first.
async fn closed(inode: &str) {
    within("the descriptor to be closed", async {
        while is_open(inode) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn sockets(io: &Server) -> Log<Socket> {
    let (sockets, connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    connected
}

/// A WebSocket to the session that `target` names, and the inode of the server's side.
async fn open(address: SocketAddr, target: &str) -> (Ws, String) {
    let stream = TcpStream::connect(address).await.unwrap();
    let client = stream.local_addr().unwrap();
    let ws = Ws::try_over(Http::over(stream), target, &[]).await.unwrap();
    let inode = inode(address, client);
    assert!(is_open(&inode));
    (ws, inode)
}

#[tokio::test]
async fn the_descriptor_of_a_connection_goes_with_its_end_whoever_keeps_the_socket() {
    for said in ["", "goodbye", "kicked"] {
        let io = Server::new();
        let mut connected = sockets(&io);
        let mut reasons = disconnects(&io);
        let address = serve(&io).await;
        let (ws, inode) = open(address, "/socket.io/?EIO=4&transport=websocket").await;
        let mut client = Client::over(ws);
        client.recv_engine().await;
        client.join("/").await;
        let kept = connected.next().await;
        match said {
            "goodbye" => {
                client.ws().frame(0x88, &1000_u16.to_be_bytes()).await;
                client.expect_close(Some(1000)).await;
            }
            "kicked" => {
                kept.disconnect(true);
                client.expect("1").await;
                client.expect_close(None).await;
            }
            _ => {}
        }
        drop(client);
        let reason = reasons.next().await;
        assert_eq!(reason == DisconnectReason::TransportClose, said != "kicked", "{reason}");
        closed(&inode).await;
        // What is emitted to it afterwards does no harm.
        kept.emit("late", &());
        assert!(!kept.is_connected());
    }
}

#[tokio::test]
async fn the_descriptor_goes_when_a_client_is_lost_that_did_not_read() {
    let io = Server::new();
    let mut connected = sockets(&io);
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let (ws, inode) = open(address, "/socket.io/?EIO=4&transport=websocket").await;
    let mut client = Client::over(ws);
    client.recv_engine().await;
    client.join("/").await;
    let kept = connected.next().await;
    // More than the kernel takes, so that the task of the connection waits to write when it ends.
    for _ in 0..10 {
        kept.emit("unread", &"x".repeat(1_000_000));
    }
    // What it has not read makes the kernel reset the connection.
    drop(client);
    assert_eq!(reasons.next().await, DisconnectReason::TransportClose);
    closed(&inode).await;
    drop(kept);
}

#[tokio::test]
async fn the_descriptor_of_an_upgraded_session_goes_with_its_end() {
    let io = Server::new();
    let mut connected = sockets(&io);
    let address = serve(&io).await;
    let mut polling = Polling::open(address).await;
    polling.post("40").await;
    polling.next().await;
    let kept = connected.next().await;
    let (mut ws, inode) = open(address, &polling.upgrade_target()).await;
    ws.send("2probe").await;
    assert_eq!(ws.recv().await, "3probe");
    ws.send("5").await;
    kept.emit("upgraded", &());
    assert_eq!(ws.recv().await, "42[\"upgraded\"]");
    drop(ws);
    closed(&inode).await;
    drop(kept);
}

#[tokio::test]
async fn the_descriptor_goes_though_the_client_never_answers_the_close() {
    let io = Server::new();
    let mut connected = sockets(&io);
    let (ws, inode) = open(serve(&io).await, "/socket.io/?EIO=4&transport=websocket").await;
    let mut client = Client::over(ws);
    client.recv_engine().await;
    client.join("/").await;
    let kept = connected.next().await;
    kept.disconnect(true);
    client.expect("1").await;
    assert_eq!(client.ws().next().await, Some(Frame::close(None)));
    // Anything but the answer, and no end: the server waits, but not for ever. Its five seconds are no option.
    client.ws().write(&frame(0x81, b"42[\"late\"]")).await;
    assert!(is_open(&inode));
    assert_eq!(client.ws().next().await, None);
    closed(&inode).await;
    drop(kept);
}
