//! Connection state recovery over the wire: what a client that comes back is given, and when it starts anew.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use sio_server::protocol::Limits;
use sio_server::protocol::parser::{Decode, Frame, JsonParser, Parser};
use sio_server::protocol::socketio::{Packet, PacketKind};
use sio_server::{ConnectionStateRecovery, DisconnectReason, Reply, Server, Socket};
use sio_tests::{Client, Log, disconnects, log, serve, within};
use tokio::sync::Semaphore;

fn server() -> Server {
    Server::builder().connection_state_recovery(ConnectionStateRecovery::new()).build()
}

fn connections(io: &Server) -> Log<(Socket, bool)> {
    let (sockets, connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let recovered = socket.is_recovered();
        let _ = sockets.send((socket, recovered));
        async {}
    });
    connected
}

/// Joins `/`; gives the data of the reply.
async fn join(client: &mut Client, auth: &str) -> Value {
    client.send(&format!("0{auth}")).await;
    let reply = client.recv().await;
    serde_json::from_str(reply.strip_prefix('0').unwrap_or_else(|| panic!("{reply}"))).unwrap()
}

/// The arguments of the next event without its offset, and the offset.
async fn event(client: &mut Client) -> (Value, String) {
    let text = client.recv().await;
    let mut data: Vec<Value> =
        serde_json::from_str(text.strip_prefix('2').unwrap_or_else(|| panic!("{text}"))).unwrap();
    let offset = data.pop().unwrap().as_str().unwrap().to_owned();
    (Value::Array(data), offset)
}

#[tokio::test]
async fn a_client_that_comes_back_gets_its_id_rooms_data_and_what_it_missed_first() {
    let io = server();
    let mut connected = connections(&io);
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    let before = join(&mut client, "").await;
    let (socket, recovered) = connected.next().await;
    assert!(!recovered);
    socket.join("room");
    socket.set_data(&json!({"name": "Ada"})).unwrap();
    io.emit("seen", &1);
    let (seen, offset) = event(&mut client).await;
    assert_eq!(seen, json!(["seen", 1]));
    drop(client);
    assert_eq!(reasons.next().await, DisconnectReason::TransportClose);

    io.emit("all", &2);
    io.to("room").emit("room", &bytes::Bytes::from_static(&[7]));
    io.to("elsewhere").emit("not for it", &());
    io.except("room").emit("not for it", &());
    io.broadcast().volatile().emit("worthless when late", &());
    io.to(socket.id()).emit("private", &3);
    let mut client = Client::websocket(address).await;
    let auth = json!({"pid": before["pid"], "offset": offset, "more": 1});
    client.send(&format!("0{auth}")).await;
    assert_eq!(event(&mut client).await.0, json!(["all", 2]));
    let packet = client.packet().await;
    assert!(packet.text.starts_with(r#"51-["room",{"_placeholder":true,"num":0},""#), "{}", packet.text);
    assert_eq!(packet.attachments, [[7]]);
    assert_eq!(event(&mut client).await.0, json!(["private", 3]));
    let reply = client.recv().await;
    assert_eq!(serde_json::from_str::<Value>(reply.strip_prefix('0').unwrap()).unwrap(), before);
    let (back, recovered) = connected.next().await;
    assert!(recovered);
    assert_eq!(back.id(), socket.id());
    assert_eq!(back.rooms(), [back.id().to_string(), "room".to_owned()]);
    assert_eq!(back.data::<Value>().unwrap(), json!({"name": "Ada"}));
    io.to("room").emit("live", &());
    assert_eq!(event(&mut client).await.0, json!(["live"]));
}

#[tokio::test]
async fn the_only_client_of_a_matched_namespace_may_come_back() {
    let io = server();
    let tenants = io.of_matching(|_, _| true);
    let (lost, mut reasons) = log();
    tenants.on_disconnect(move |reason: DisconnectReason| {
        let _ = lost.send(reason);
        async {}
    });
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    client.send("0/one,").await;
    let before = client.recv().await;
    let data: Value = serde_json::from_str(before.strip_prefix("0/one,").unwrap()).unwrap();
    io.of("/one").emit("seen", &1);
    let seen = client.recv().await;
    let offset = seen.rsplit('"').nth(1).unwrap();
    drop(client);
    assert_eq!(reasons.next().await, DisconnectReason::TransportClose);

    io.of("/one").emit("missed", &2);
    tenants.emit("to all", &3);
    let mut client = Client::websocket(address).await;
    client.send(&format!("0/one,{}", json!({"pid": data["pid"], "offset": offset}))).await;
    for event in [r#"2/one,["missed",2,"#, r#"2/one,["to all",3,"#] {
        let text = client.recv().await;
        assert!(text.starts_with(event), "{text}");
    }
    assert_eq!(client.recv().await, before);
    // Its handlers are still those of the parent.
    drop(client);
    assert_eq!(reasons.next().await, DisconnectReason::TransportClose);
}

#[tokio::test]
async fn a_client_that_said_goodbye_or_gives_what_is_unknown_starts_anew() {
    let io = server();
    let mut connected = connections(&io);
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    let before = join(&mut client, "").await;
    io.emit("x", &());
    let (_, offset) = event(&mut client).await;
    client.send("1").await;
    assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
    connected.next().await;
    for auth in [
        json!({"pid": before["pid"], "offset": offset}),
        json!({"pid": "unknown", "offset": offset}),
        json!({"pid": before["pid"], "offset": "unknown"}),
        json!({"pid": before["pid"], "offset": 1}),
    ] {
        let mut client = Client::websocket(address).await;
        let after = join(&mut client, &auth.to_string()).await;
        assert_ne!(after["sid"], before["sid"], "{auth}");
        assert_ne!(after["pid"], before["pid"], "{auth}");
        assert!(!connected.next().await.1, "{auth}");
    }
}

#[tokio::test]
async fn a_session_is_given_back_once() {
    let io = server();
    let mut connected = connections(&io);
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    let first = join(&mut client, "").await;
    io.emit("x", &());
    let auth = json!({"pid": first["pid"], "offset": event(&mut client).await.1}).to_string();
    drop(client);
    reasons.next().await;
    assert!(!connected.next().await.1);
    let mut back = Client::websocket(address).await;
    assert_eq!(join(&mut back, &auth).await, first);
    assert!(connected.next().await.1);
    // Neither while it is there nor after its goodbye does anybody else become it.
    for goodbye in [false, true] {
        if goodbye {
            back.send("1").await;
            assert_eq!(reasons.next().await, DisconnectReason::ClientNamespaceDisconnect);
        }
        let mut other = Client::websocket(address).await;
        let second = join(&mut other, &auth).await;
        assert_ne!(second["sid"], first["sid"]);
        assert_ne!(second["pid"], first["pid"]);
        assert!(!connected.next().await.1);
        drop(other);
        assert_eq!(reasons.next().await, DisconnectReason::TransportClose);
    }
}

#[tokio::test]
async fn a_session_is_not_given_back_too_late() {
    let recovery = ConnectionStateRecovery::new().max_disconnection_duration(Duration::from_millis(50));
    let io = Server::builder().connection_state_recovery(recovery).build();
    let mut connected = connections(&io);
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    let first = join(&mut client, "").await;
    io.emit("x", &());
    let (_, offset) = event(&mut client).await;
    drop(client);
    reasons.next().await;
    connected.next().await;
    // why: it is the passing of the time that makes it too late.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut client = Client::websocket(address).await;
    let second = join(&mut client, &json!({"pid": first["pid"], "offset": offset}).to_string()).await;
    assert_ne!(second["sid"], first["sid"]);
    assert!(!connected.next().await.1);
}

#[tokio::test]
async fn acknowledged_and_volatile_events_carry_no_offset() {
    let io = server();
    io.sockets().on("ask", async || Reply(1));
    let mut connected = connections(&io);
    let mut client = Client::websocket(serve(&io).await).await;
    join(&mut client, "").await;
    let (socket, _) = connected.next().await;
    let answer = socket.emit_with_ack::<u32>("question", &1);
    client.expect(r#"20["question",1]"#).await;
    client.send("30[5]").await;
    assert_eq!(answer.await.unwrap(), 5);
    socket.volatile().emit("v", &1);
    client.expect(r#"2["v",1]"#).await;
    assert_eq!(client.ask(r#"["ask"]"#).await, json!([1]));
    socket.emit("own", &1);
    assert_eq!(event(&mut client).await.0, json!(["own", 1]));
}

#[tokio::test]
async fn middlewares_are_asked_again_only_where_that_is_wanted() {
    for (skip, asked) in [(true, 1), (false, 2)] {
        let recovery = ConnectionStateRecovery::new().skip_middlewares(skip);
        let io = Server::builder().connection_state_recovery(recovery).build();
        let (calls, mut seen) = log();
        io.sockets().middleware(move || {
            let _ = calls.send(());
            async { Ok(()) }
        });
        let mut reasons = disconnects(&io);
        let address = serve(&io).await;
        let mut client = Client::websocket(address).await;
        let before = join(&mut client, "").await;
        io.emit("x", &());
        let (_, offset) = event(&mut client).await;
        drop(client);
        reasons.next().await;
        let mut client = Client::websocket(address).await;
        let after = join(&mut client, &json!({"pid": before["pid"], "offset": offset}).to_string()).await;
        assert_eq!(after, before);
        seen.take(asked).await;
        seen.assert_empty();
    }
}

/// A server that asks its one middleware again. It lets the first client in at once, says when it is asked again, and
/// then waits for a permit.
fn asking(recovery: ConnectionStateRecovery) -> (Server, Arc<Semaphore>, Log<()>) {
    let recovery = recovery.skip_middlewares(false);
    let io = Server::builder().connection_state_recovery(recovery).build();
    let permits = Arc::new(Semaphore::new(1));
    let inner = Arc::clone(&permits);
    let (asks, asked) = log();
    io.sockets().middleware(move || {
        let (permits, asks) = (Arc::clone(&inner), asks.clone());
        async move {
            if permits.available_permits() == 0 {
                let _ = asks.send(());
            }
            permits.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    (io, permits, asked)
}

/// Joins, gets an event and is lost; gives the reply to CONNECT and what to come back with.
async fn lost(io: &Server, address: SocketAddr) -> (String, String) {
    let mut reasons = disconnects(io);
    let mut client = Client::websocket(address).await;
    client.send("0").await;
    let reply = client.recv().await;
    let data: Value = serde_json::from_str(&reply[1..]).unwrap();
    io.emit("last", &());
    let (_, offset) = event(&mut client).await;
    drop(client);
    reasons.next().await;
    (reply, format!("0{}", json!({"pid": data["pid"], "offset": offset})))
}

#[tokio::test]
async fn what_is_sent_while_the_middlewares_are_asked_again_is_not_missed() {
    let (io, permits, mut asked) = asking(ConnectionStateRecovery::new());
    let address = serve(&io).await;
    let (reply, come_back) = lost(&io, address).await;
    io.emit("n", &0);
    let mut client = Client::websocket(address).await;
    client.send(&come_back).await;
    asked.next().await;
    for n in 1..5 {
        io.emit("n", &n);
    }
    permits.add_permits(1);
    for n in 0..5 {
        assert_eq!(event(&mut client).await.0, json!(["n", n]));
    }
    client.expect(&reply).await;
    io.emit("n", &5);
    assert_eq!(event(&mut client).await.0, json!(["n", 5]));
}

/// Emits while packets are encoded: the moment between any two steps of coming back.
#[derive(Clone, Debug, Default)]
struct Meddling(Arc<OnceLock<Server>>);

impl Parser for Meddling {
    fn decoder(&self, limits: &Limits) -> Box<dyn Decode> {
        JsonParser.decoder(limits)
    }

    fn encode(&self, packet: &Packet<'_>, out: &mut Vec<Frame>) {
        if let Some(io) = self.0.get() {
            match (packet.kind, packet.event_name().as_deref()) {
                (PacketKind::Event, Some("missed")) => io.emit("while it catches up", &()),
                (PacketKind::Connect, _) => io.emit("while it is connected", &()),
                // Now it is about to be put into its rooms, but there is still something that it has missed.
                (PacketKind::Event, Some("while it is connected")) => io.emit("while that is sent", &()),
                _ => {}
            }
        }
        JsonParser.encode(packet, out);
    }
}

#[tokio::test]
async fn nothing_falls_between_what_was_missed_and_what_comes_live() {
    let parser = Meddling::default();
    let recovery = ConnectionStateRecovery::new();
    let io = Server::builder().connection_state_recovery(recovery).parser(parser.clone()).build();
    let address = serve(&io).await;
    let (reply, come_back) = lost(&io, address).await;
    io.emit("missed", &());
    parser.0.set(io.clone()).unwrap();
    let mut client = Client::websocket(address).await;
    client.send(&come_back).await;
    assert_eq!(event(&mut client).await.0, json!(["missed"]));
    assert_eq!(event(&mut client).await.0, json!(["while it catches up"]));
    client.expect(&reply).await;
    assert_eq!(event(&mut client).await.0, json!(["while it is connected"]));
    assert_eq!(event(&mut client).await.0, json!(["while that is sent"]));
    io.emit("live", &());
    assert_eq!(event(&mut client).await.0, json!(["live"]));
}

#[tokio::test]
async fn a_client_that_is_lost_while_it_comes_back_may_try_again() {
    let (io, permits, mut asked) = asking(ConnectionStateRecovery::new());
    let address = serve(&io).await;
    let (reply, come_back) = lost(&io, address).await;
    io.emit("n", &0);
    for hangs_up in [true, false] {
        let mut client = Client::websocket(address).await;
        client.send(&come_back).await;
        asked.next().await;
        if hangs_up {
            drop(client);
            within("the end of the session", async {
                while io.session_count() > 0 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            continue;
        }
        // One for the first, whom nobody is left to be let in for.
        permits.add_permits(2);
        assert_eq!(event(&mut client).await.0, json!(["n", 0]));
        client.expect(&reply).await;
    }
}

#[tokio::test]
async fn a_client_for_whom_it_takes_too_long_comes_anew_instead_of_missing_something() {
    let (io, permits, mut asked) = asking(ConnectionStateRecovery::new().max_stored_bytes(2000));
    let address = serve(&io).await;
    let (reply, come_back) = lost(&io, address).await;
    io.emit("n", &0);
    let mut client = Client::websocket(address).await;
    client.send(&come_back).await;
    asked.next().await;
    for n in 1..100 {
        io.emit("n", &n);
    }
    permits.add_permits(2);
    client.expect_close(None).await;
    let mut client = Client::websocket(address).await;
    client.send(&come_back).await;
    assert_ne!(client.recv().await, reply);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_a_client_is_lost_and_comes_back_it_gets_everything_once_and_in_order() {
    let io = server();
    let mut reasons = disconnects(&io);
    let address = serve(&io).await;
    let mut client = Client::websocket(address).await;
    let data = join(&mut client, "").await;
    let received = Arc::new(AtomicU64::new(0));
    let emitter = tokio::task::spawn_blocking({
        let (io, received) = (io.clone(), Arc::clone(&received));
        move || {
            for n in 0..3000 {
                // Far enough ahead that there is always something to be missed.
                while n > received.load(Ordering::Relaxed) + 50 {
                    std::thread::yield_now();
                }
                io.emit("n", &n);
            }
        }
    });
    let mut offset = String::new();
    for n in 0..3000 {
        if n % 20 == 19 {
            drop(client);
            assert_eq!(reasons.next().await, DisconnectReason::TransportClose);
            client = Client::websocket(address).await;
            client.send(&format!("0{}", json!({"pid": data["pid"], "offset": offset}))).await;
        }
        let text = loop {
            let text = client.recv().await;
            if !text.starts_with('0') {
                break text;
            }
            assert!(text.contains(data["sid"].as_str().unwrap()), "{text}");
        };
        let event: Value = serde_json::from_str(&text[1..]).unwrap();
        assert_eq!(event[1], n);
        offset = event[2].as_str().unwrap().to_owned();
        received.store(n, Ordering::Relaxed);
    }
    emitter.await.unwrap();
}

#[tokio::test]
async fn without_the_option_there_is_neither_pid_nor_offset() {
    let io = Server::new();
    let mut client = Client::websocket(serve(&io).await).await;
    let data = join(&mut client, r#"{"pid":"a","offset":"b"}"#).await;
    assert_eq!(data.as_object().unwrap().len(), 1);
    io.emit("x", &1);
    client.expect(r#"2["x",1]"#).await;
}
