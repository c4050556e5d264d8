//! A parser of one's own, end to end: its notation goes both ways over both transports, each connection has a decoder
//! that keeps what it needs, and an error of the decoder ends the connection.
//!
//! The notation is made to be nobody else's. A packet is a text message of five lines: kind, namespace, ack id or `-`,
//! number of attachments, data. All attachments come in one binary message, each behind a byte that is its length.

use std::borrow::Cow;

use bytes::{Buf, Bytes};
use sio_server::protocol::parser::{Decode, Frame, Parser};
use sio_server::protocol::socketio::{Packet, PacketKind};
use sio_server::protocol::{Limits, Malformed};
use sio_server::{Args, ConnectError, DisconnectReason, Reply, Server, Socket};
use sio_tests::{Client, Message, Ws, disconnects, log, serve};

#[derive(Debug)]
struct Lines;

impl Parser for Lines {
    fn decoder(&self, limits: &Limits) -> Box<dyn Decode> {
        Box::new(LinesDecoder { max_attachments: limits.max_attachments, waiting: None })
    }

    fn encode(&self, packet: &Packet<'_>, out: &mut Vec<Frame>) {
        let kind = match packet.kind {
            PacketKind::Connect => "connect",
            PacketKind::Disconnect => "disconnect",
            PacketKind::Event => "event",
            PacketKind::Ack => "ack",
            PacketKind::ConnectError => "refused",
        };
        let id = packet.id.map_or_else(|| "-".to_owned(), |id| id.to_string());
        let count = packet.attachments.len();
        out.push(Frame::Text(format!("{kind}\n{}\n{id}\n{count}\n{}", packet.nsp, packet.data)));
        if count > 0 {
            out.push(Frame::Binary(pack(&packet.attachments).into()));
        }
    }
}

#[derive(Debug)]
struct LinesDecoder {
    max_attachments: usize,
    /// A packet without its attachments, and how many they are.
    waiting: Option<(Packet<'static>, usize)>,
}

impl Decode for LinesDecoder {
    fn decode_text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, Malformed> {
        if let Some((_, outstanding)) = self.waiting {
            return Err(Malformed::TextWhileBinaryPending { outstanding });
        }
        assert_ne!(text, "panic");
        let lines: Vec<&str> = text.splitn(5, '\n').collect();
        let [kind, nsp, id, count, data] = lines[..] else { return Err(Malformed::EmptyPacket) };
        let id = id.parse().ok();
        let packet = match kind {
            "connect" => Packet::connect(nsp, data),
            "disconnect" => Packet::disconnect(nsp),
            "event" => Packet::event(nsp, id, data, Vec::new()),
            "ack" => Packet::ack(nsp, id.unwrap_or_default(), data, Vec::new()),
            _ => return Err(Malformed::UnknownPacketType { seen: kind.chars().next().unwrap_or(' ') }),
        };
        match count.parse().map_err(|_| Malformed::AttachmentCountInvalid)? {
            0 => Ok(Some(packet)),
            count if count > self.max_attachments => {
                Err(Malformed::AttachmentsExceeded { seen: count as u64, limit: self.max_attachments })
            }
            count => {
                self.waiting = Some((packet.into_owned(), count));
                Ok(None)
            }
        }
    }

    fn decode_binary(&mut self, mut bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed> {
        let Some((mut packet, count)) = self.waiting.take() else { return Err(Malformed::BinaryUnexpected) };
        while bytes.has_remaining() {
            let length = usize::from(bytes.get_u8());
            if length > bytes.remaining() {
                return Err(Malformed::MsgPackTruncated);
            }
            packet.attachments.push(bytes.split_to(length));
        }
        if packet.attachments.len() != count {
            return Err(Malformed::AttachmentCountInvalid);
        }
        Ok(Some(packet))
    }
}

fn pack<T: AsRef<[u8]>>(attachments: &[T]) -> Vec<u8> {
    let with_length = |bytes: &[u8]| [&[bytes.len() as u8], bytes].concat();
    attachments.iter().flat_map(|bytes| with_length(bytes.as_ref())).collect()
}

fn server() -> Server {
    let io = Server::builder().parser(Lines).build();
    io.sockets()
        .on("add", async |Args((a, b)): Args<(i64, i64)>| Reply(a + b))
        .on("mirror", async |socket: Socket, Args((name, bytes)): Args<(String, Vec<Bytes>)>| {
            let turned: Vec<Bytes> = bytes.iter().rev().cloned().collect();
            socket.emit(&name, &(&turned, bytes.len()));
            Reply(turned)
        })
        .on("ask me", async |socket: Socket| {
            let answer = socket.emit_with_ack::<(String, Bytes)>("question", &"?");
            // The answer is read by whoever handles this event: nothing may wait for it here.
            tokio::spawn(async move {
                let (text, bytes) = answer.await.expect("an answer");
                socket.emit("answered", &(text, bytes.len()));
            });
        });
    io
}

/// The text of a Socket.IO message, without the `4`.
async fn text(client: &mut Client) -> String {
    match client.recv_engine().await {
        Message::Text(text) => text.strip_prefix('4').expect("a message").to_owned(),
        Message::Binary(bytes) => panic!("{bytes:?} where text was to come"),
    }
}

async fn expect(client: &mut Client, expected: &str) {
    assert_eq!(text(client).await, expected);
}

async fn expect_binary(client: &mut Client, expected: &[u8]) {
    assert_eq!(client.recv_engine().await, Message::Binary(expected.to_vec()));
}

async fn join(client: &mut Client) {
    client.send("connect\n/\n-\n0\n").await;
    let reply = text(client).await;
    let sid = reply.strip_prefix("connect\n/\n-\n0\n{\"sid\":\"").and_then(|rest| rest.strip_suffix("\"}"));
    assert!(sid.is_some_and(|sid| sid.len() >= 20), "{reply}");
}

/// A client of either transport that has joined `/`.
async fn joined(io: &Server) -> [Client; 2] {
    let address = serve(io).await;
    let mut clients = [Client::websocket(address).await, Client::polling(address).await];
    for client in &mut clients {
        join(client).await;
    }
    clients
}

#[tokio::test]
async fn events_and_acknowledgements_go_both_ways() {
    // Ids are counted by the namespace.
    for (id, mut client) in joined(&server()).await.into_iter().enumerate() {
        client.send("event\n/\n7\n0\n[\"add\",20,22]").await;
        expect(&mut client, "ack\n/\n7\n0\n[42]").await;
        client.send("event\n/\n-\n0\n[\"ask me\"]").await;
        expect(&mut client, &format!("event\n/\n{id}\n0\n[\"question\",\"?\"]")).await;
        let data = "[\"yes\",{\"_placeholder\":true,\"num\":0}]";
        client.send_binary(&format!("ack\n/\n{id}\n1\n{data}"), &[&pack(&[[1, 2, 3]])]).await;
        expect(&mut client, "event\n/\n-\n0\n[\"answered\",\"yes\",3]").await;
    }
}

#[tokio::test]
async fn binary_goes_as_the_parser_says_not_as_by_default() {
    const TWO: &str = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
    for mut client in joined(&server()).await {
        let event = format!("event\n/\n3\n2\n[\"mirror\",\"back\",[{TWO}]]");
        client.send_binary(&event, &[&pack::<&[u8]>(&[&[1], &[]])]).await;
        expect(&mut client, &format!("event\n/\n-\n2\n[\"back\",[{TWO}],2]")).await;
        expect_binary(&mut client, &[0, 1, 1]).await;
        expect(&mut client, &format!("ack\n/\n3\n2\n[[{TWO}]]")).await;
        expect_binary(&mut client, &[0, 1, 1]).await;
    }
}

#[tokio::test]
async fn namespaces_refusals_and_goodbyes_are_packets_too() {
    let io = server();
    io.of("/closed").middleware(async || Err(ConnectError::new("not you")));
    io.of("/open").on("leave", async |socket: Socket| socket.disconnect(false));
    let mut reasons = disconnects(&io);
    for mut client in joined(&io).await {
        client.send("connect\n/closed\n-\n0\n{\"token\":1}").await;
        expect(&mut client, "refused\n/closed\n-\n0\n{\"message\":\"not you\"}").await;
        client.send("connect\n/nowhere\n-\n0\n").await;
        expect(&mut client, "refused\n/nowhere\n-\n0\n{\"message\":\"Invalid namespace\"}").await;
        client.send("connect\n/open\n-\n0\n").await;
        assert!(text(&mut client).await.starts_with("connect\n/open\n-\n0\n{"));
        client.send("event\n/open\n-\n0\n[\"leave\"]").await;
        expect(&mut client, "disconnect\n/open\n-\n0\n").await;
        client.send("disconnect\n/\n-\n0\n").await;
        assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
    }
}

#[tokio::test]
async fn a_broadcast_is_encoded_by_the_parser_for_every_transport() {
    let io = server();
    let mut clients = joined(&io).await;
    io.emit("news", &("all", Bytes::from_static(&[9])));
    let asked = io.broadcast().emit_with_ack::<u32>("how many", &());
    for client in &mut clients {
        expect(client, "event\n/\n-\n1\n[\"news\",\"all\",{\"_placeholder\":true,\"num\":0}]").await;
        expect_binary(client, &[1, 9]).await;
        expect(client, "event\n/\n0\n0\n[\"how many\"]").await;
        client.send("ack\n/\n0\n0\n[2]").await;
    }
    let answers = asked.await.expect("answers");
    assert_eq!(answers.iter().map(|answer| *answer.result.as_ref().expect("a number")).sum::<u32>(), 4);
}

#[tokio::test]
async fn each_connection_has_a_decoder_which_survives_the_change_of_transport() {
    const ONE: &str = r#"[{"_placeholder":true,"num":0}]"#;
    let io = server();
    let address = serve(&io).await;
    let mut polling = Client::polling(address).await;
    join(&mut polling).await;
    polling.send(&format!("event\n/\n1\n1\n[\"mirror\",\"first\",{ONE}]")).await;
    // The other is in the middle of nothing.
    let mut other = Client::websocket(address).await;
    join(&mut other).await;
    other.send("event\n/\n1\n0\n[\"add\",1,1]").await;
    expect(&mut other, "ack\n/\n1\n0\n[2]").await;
    let mut ws = Ws::connect(address, &polling.session().upgrade_target()).await;
    ws.send("2probe").await;
    assert_eq!(ws.recv().await, "3probe");
    ws.send("5").await;
    let mut upgraded = Client::over(ws);
    upgraded.ws().send_binary(&pack(&[[8]])).await;
    expect(&mut upgraded, &format!("event\n/\n-\n1\n[\"first\",{ONE},1]")).await;
    expect_binary(&mut upgraded, &[1, 8]).await;
    expect(&mut upgraded, &format!("ack\n/\n1\n1\n[{ONE}]")).await;
}

#[tokio::test]
async fn an_error_of_the_decoder_ends_the_connection() {
    let io = server();
    let mut reasons = disconnects(&io);
    let (sums, mut seen) = log();
    io.sockets().on("add", move |Args((a, b)): Args<(i64, i64)>| {
        let _ = sums.send(a + b);
        async {}
    });
    let too_many = format!("event\n/\n-\n{}\n[\"add\",1,2]", Limits::default().max_attachments + 1);
    let wrong: [&[Message]; 8] = [
        &[Message::text("4panic")],
        &[Message::text("4")],
        &[Message::text("42[\"add\",1,2]")],
        &[Message::text("4shout\n/\n-\n0\n[\"add\",1,2]")],
        &[Message::text(&format!("4{too_many}"))],
        &[Message::Binary(vec![1, 1])],
        &[Message::text("4event\n/\n-\n1\n[\"add\",1,2]"), Message::text("4event\n/\n-\n0\n[\"add\",1,2]")],
        &[Message::text("4event\n/\n-\n1\n[\"add\",1,2]"), Message::Binary(vec![200, 1])],
    ];
    for messages in wrong {
        let [mut ws, mut polling] = joined(&io).await;
        for message in messages {
            match message {
                Message::Text(text) => ws.send_engine(text).await,
                Message::Binary(bytes) => ws.ws().send_binary(bytes).await,
            }
        }
        ws.expect_close(None).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedClose, "{messages:?}");
        polling.session().say(messages).await;
        assert_eq!(reasons.next().await, DisconnectReason::ForcedClose, "{messages:?}");
        // The poll that comes next is told, as after any end by the server.
        let last = polling.session().poll().await;
        assert_eq!(last.last(), Some(&Message::text("1")), "{last:?}");
    }
    seen.assert_empty();
    assert_eq!(io.session_count(), 0);
}

#[tokio::test]
async fn what_a_decoder_says_falsely_costs_one_event_at_most() {
    let io = server();
    let mut reasons = disconnects(&io);
    let (failures, mut failed) = log();
    io.on_error(move |failure| {
        let _ = failures.send(failure.to_string());
    });
    let mut clients = joined(&io).await;
    for client in &mut clients {
        // Neither JSON nor a list, a name that is none, a placeholder for nothing: this decoder lets it all through.
        for data in ["", "no JSON", "{}", "[", "[{}]", "[\"nobody listens\","] {
            client.send(&format!("event\n/\n-\n0\n{data}")).await;
            failed.assert_empty();
        }
        for args in ["[\"add\",1,", "[\"add\",1,2", "[\"add\",1,{\"_placeholder\":true,\"num\":3}]"] {
            client.send(&format!("event\n/\n-\n0\n{args}")).await;
            failed.next().await;
        }
        client.send("ack\n/\n5\n0\nnonsense").await;
        client.send("event\n/\n9\n0\n[\"add\",1,2]").await;
        expect(client, "ack\n/\n9\n0\n[3]").await;
    }
    reasons.assert_empty();
}

/// Gives its messages in an order, and in a number, that it may not.
#[derive(Debug)]
struct Unruly;

impl Parser for Unruly {
    fn decoder(&self, limits: &Limits) -> Box<dyn Decode> {
        Lines.decoder(limits)
    }

    fn encode(&self, packet: &Packet<'_>, out: &mut Vec<Frame>) {
        match packet.event_name() {
            Some(Cow::Borrowed("binary first")) => {
                out.push(Frame::Binary(Bytes::from_static(&[5])));
                out.push(Frame::Text("text".to_owned()));
            }
            Some(Cow::Borrowed("two texts")) => {
                out.push(Frame::Text("first".to_owned()));
                out.push(Frame::Text("second".to_owned()));
            }
            _ => Lines.encode(packet, out),
        }
    }
}

#[tokio::test]
async fn of_a_packet_at_most_one_text_goes_out_and_before_its_binary() {
    let io = Server::builder().parser(Unruly).build();
    for mut client in joined(&io).await {
        for event in ["binary first", "two texts", "as usual"] {
            io.emit(event, &());
        }
        expect(&mut client, "text").await;
        expect_binary(&mut client, &[5]).await;
        expect(&mut client, "first").await;
        expect(&mut client, "event\n/\n-\n0\n[\"as usual\"]").await;
    }
}
