//! The MessagePack parser: one binary message a packet. Packets are spelled out by hand.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use bytes::Bytes;
use sio_server::protocol::parser::MsgPackParser;
use sio_server::{Args, DisconnectReason, Reply, Server, Socket};
use sio_tests::{Client, Frame, Message, Polling, disconnects, serve};

fn server() -> Server {
    Server::builder().parser(MsgPackParser).build()
}

fn str(text: &str) -> Vec<u8> {
    assert!(text.len() < 32);
    [&[0xa0 | text.len() as u8], text.as_bytes()].concat()
}

/// A map of these entries, values given as they are encoded.
fn map(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = vec![0x80 | entries.len() as u8];
    for (key, value) in entries {
        bytes.extend(str(key));
        bytes.extend(value);
    }
    bytes
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    [&[0x90 | items.len() as u8], items.concat().as_slice()].concat()
}

/// A CONNECT as the client of Node sends it: `undefined` where there is no auth, and options.
fn connect(nsp: &str) -> Vec<u8> {
    map(&[
        ("type", vec![0]),
        ("data", vec![0xd4, 0, 0]),
        ("nsp", str(nsp)),
        ("options", map(&[("compress", vec![0xc3])])),
    ])
}

async fn joined(io: &Server) -> Client {
    let mut client = Client::websocket(serve(io).await).await;
    client.ws().send_binary(&connect("/")).await;
    let Message::Binary(reply) = client.recv_engine().await else { panic!("text") };
    assert!(reply.windows(4).any(|window| window == [&[0xa3][..], b"sid"].concat()), "{reply:?}");
    client
}

#[tokio::test]
async fn events_and_answers_carry_binary_inline() {
    let io = server();
    io.sockets().on("b", async |socket: Socket, Args((bytes, n)): Args<(Bytes, i64)>| {
        socket.emit("back", &(n, &bytes, "x"));
        Reply(bytes)
    });
    let mut client = joined(&io).await;
    let data = array(&[str("b"), vec![0xc4, 2, 1, 2], vec![0xd0, 0x80]]);
    let packet = map(&[("type", vec![2]), ("data", data), ("nsp", str("/")), ("id", vec![5])]);
    client.ws().send_binary(&packet).await;
    let data = array(&[str("back"), vec![0xd0, 0x80], vec![0xc4, 2, 1, 2], str("x")]);
    let event = map(&[("type", vec![2]), ("data", data), ("nsp", str("/"))]);
    assert_eq!(client.ws().next().await, Some(Frame::binary(&event)));
    let ack = map(&[
        ("id", vec![5]),
        ("type", vec![3]),
        ("data", array(&[vec![0xc4, 2, 1, 2]])),
        ("nsp", str("/")),
    ]);
    assert_eq!(client.ws().next().await, Some(Frame::binary(&ack)));
}

#[tokio::test]
async fn the_server_asks_and_broadcasts() {
    let io = server();
    let mut client = joined(&io).await;
    let asked = io.broadcast().emit_with_ack::<u32>("ask", &());
    let data = array(&[str("ask")]);
    let event = map(&[("type", vec![2]), ("data", data), ("id", vec![0]), ("nsp", str("/"))]);
    assert_eq!(client.ws().next().await, Some(Frame::binary(&event)));
    let ack = map(&[("type", vec![3]), ("id", vec![0]), ("data", array(&[vec![7]])), ("nsp", str("/"))]);
    client.ws().send_binary(&ack).await;
    assert_eq!(asked.await.unwrap()[0].result.as_ref().unwrap(), &7);
    io.of("/").disconnect_sockets(false);
    let bye = map(&[("type", vec![1]), ("nsp", str("/"))]);
    assert_eq!(client.ws().next().await, Some(Frame::binary(&bye)));
}

#[tokio::test]
async fn a_refusal_is_a_packet_too() {
    let io = server();
    let mut client = joined(&io).await;
    client.ws().send_binary(&connect("/x")).await;
    let data = map(&[("message", str("Invalid namespace"))]);
    let refusal = map(&[("type", vec![4]), ("nsp", str("/x")), ("data", data)]);
    assert_eq!(client.ws().next().await, Some(Frame::binary(&refusal)));
}

#[tokio::test]
async fn text_and_nonsense_close_the_connection() {
    let io = server();
    let mut reasons = disconnects(&io);
    for nonsense in [
        vec![],
        vec![0xc1],
        vec![0x80],
        map(&[("type", vec![9]), ("nsp", str("/"))]),
        connect("/")[1..].to_vec(),
    ] {
        let mut client = joined(&io).await;
        client.ws().send_binary(&nonsense).await;
        client.expect_close(None).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedClose, "{nonsense:?}");
    }
    let mut client = joined(&io).await;
    client.send("2[\"x\"]").await;
    client.expect_close(None).await;
    assert_eq!(reasons.next().await, DisconnectReason::ForcedClose);
}

#[tokio::test]
async fn polling_carries_packets_as_base64() {
    let io = server();
    let mut polling = Polling::open(serve(&io).await).await;
    polling.say(&[Message::Binary(connect("/"))]).await;
    assert!(matches!(polling.next().await, Message::Binary(_)));
    io.emit("n", &-1);
    let event = map(&[("type", vec![2]), ("data", array(&[str("n"), vec![0xff]])), ("nsp", str("/"))]);
    assert_eq!(polling.next().await, Message::Binary(event));
}
