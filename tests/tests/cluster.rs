//! Two and more servers joined by direct calls: what the adapter interface gives to those who write adapters, and
//! what users see of other nodes.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sio_server::protocol::socketio::Packet;
use sio_server::{
    AckError, AckSink, AdapterError, BroadcastOptions, ConnectionStateRecovery, Reply, Server, Socket,
};
use sio_tests::{Bus, Client, LIMIT, Log, Node, disconnects, log, serve, within};

fn server(node: &Node) -> Server {
    Server::builder().adapter(node.clone()).build()
}

/// A server on the bus with a client of it.
async fn with_client(node: &Node) -> (Server, Client, Socket) {
    let io = server(node);
    let (sockets, mut connected): (_, Log<Socket>) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let (client, _) = Client::connected(serve(&io).await).await;
    (io, client, connected.next().await)
}

#[tokio::test]
async fn a_broadcast_reaches_the_sockets_of_all_nodes_once() {
    let bus = Bus::new();
    let (here, mut one, one_socket) = with_client(&bus.node()).await;
    let (there, mut two, two_socket) = with_client(&bus.node()).await;
    let mut polling = Client::polling(serve(&there).await).await;
    polling.join("/").await;
    one_socket.join(["a", "b"]);
    two_socket.join(["a", "b"]);

    here.to(["a", "b"]).emit("rooms", &1);
    here.except("a").emit("others", &2);
    here.local().emit("near", &3);
    here.to(two_socket.id()).emit("private", &4);
    one_socket.broadcast().emit("rest", &Bytes::from_static(&[5]));
    here.emit("all", "é");

    for expected in [r#"2["rooms",1]"#, r#"2["near",3]"#, r#"2["all","é"]"#] {
        one.expect(expected).await;
    }
    for expected in [r#"2["rooms",1]"#, r#"2["private",4]"#] {
        two.expect(expected).await;
    }
    polling.expect(r#"2["others",2]"#).await;
    for client in [&mut two, &mut polling] {
        let packet = client.packet().await;
        assert_eq!(packet.text, r#"51-["rest",{"_placeholder":true,"num":0}]"#);
        assert_eq!(packet.attachments, [[5]]);
        client.expect(r#"2["all","é"]"#).await;
    }
}

#[tokio::test]
async fn an_event_in_another_form_is_written_only_when_somebody_gets_it() {
    let bus = Bus::new();
    let (here, mut one, _) = with_client(&bus.node()).await;
    let (_there, mut two, two_socket) = with_client(&bus.node()).await;
    here.to("nobody").emit("lost", &1);
    here.except([one_id(&here), two_socket.id().to_string()]).emit("lost", &1);
    assert_eq!(bus.written(), 0);
    here.emit("found", &1);
    assert_eq!(bus.written(), 1);
    one.expect(r#"2["found",1]"#).await;
    two.expect(r#"2["found",1]"#).await;
}

fn one_id(io: &Server) -> String {
    io.sockets().local_sockets()[0].id().to_string()
}

#[tokio::test]
async fn an_event_that_cannot_be_written_is_not_sent() {
    let node = Bus::new().node();
    let (io, mut client, _) = with_client(&node).await;
    let local = node.local("/");
    let (asked, mut questions) = log();
    let sink = AckSink::forward(move |clients| asked.send(clients).unwrap(), |_, _| {});
    let broken = |json: &mut String| {
        json.push_str("[\"half");
        Err("broken")
    };
    let options = BroadcastOptions::default();
    assert_eq!(local.broadcast_with(&options, broken), Err("broken"));
    assert_eq!(local.broadcast_with_ack_with(&options, &sink, broken), Err("broken"));
    questions.assert_empty();
    let gone = |json: &mut String| {
        json.clear();
        Ok::<_, Infallible>(Vec::new())
    };
    // An adapter that takes the head room away, or writes nothing, has nothing to send.
    assert_eq!(local.broadcast_with(&options, gone), Ok(0));
    assert_eq!(local.broadcast_with_ack_with(&options, &sink, |_| Ok::<_, Infallible>(Vec::new())), Ok(0));
    assert_eq!(questions.next().await, 0);
    io.emit("next", &());
    client.expect(r#"2["next"]"#).await;
}

#[tokio::test]
async fn what_comes_from_other_nodes_is_counted_and_seen_by_outgoing_listeners() {
    let bus = Bus::new();
    let node = bus.node();
    let (here, _one, _) = with_client(&bus.node()).await;
    let (_there, mut two, socket) = with_client(&node).await;
    let (seen, mut outgoing) = log();
    socket.on_any_outgoing(move |name, args| {
        let _ = seen.send((name.to_owned(), args.json().to_owned(), args.attachments().to_vec()));
    });
    here.emit("file", &("a", Bytes::from_static(b"b")));
    let data = r#""a",{"_placeholder":true,"num":0}"#;
    assert_eq!(outgoing.next().await, ("file".to_owned(), data.to_owned(), vec![Bytes::from_static(b"b")]));
    assert_eq!(two.packet().await.attachments, [b"b"]);
    let write = |json: &mut String| {
        json.push_str(r#"["x"]"#);
        Ok::<_, Infallible>(Vec::new())
    };
    let mut options = BroadcastOptions::default();
    assert_eq!(node.local("/").broadcast_with(&options, write), Ok(1));
    options.rooms.push("nobody".to_owned());
    assert_eq!(node.local("/").broadcast_with(&options, write), Ok(0));
}

#[tokio::test]
async fn acknowledgements_come_from_the_clients_of_all_nodes() {
    let bus = Bus::new();
    let (here, mut one, one_socket) = with_client(&bus.node()).await;
    let (there, mut two, two_socket) = with_client(&bus.node()).await;
    let (mut three, three_id) = Client::connected(serve(&there).await).await;
    let asked = here.broadcast().timeout(LIMIT).emit_with_ack::<u32>("ask", &1);
    for client in [&mut one, &mut two, &mut three] {
        client.expect(r#"20["ask",1]"#).await;
    }
    three.send("1").await;
    two.send("30[2]").await;
    one.send("30[1]").await;
    let acks = within("the answers", asked).await.unwrap();
    assert_eq!(acks.len(), 3);
    for ack in acks {
        let id = ack.socket.unwrap().to_string();
        match ack.result {
            Ok(1) => assert_eq!(id, one_socket.id().as_str()),
            Ok(2) => assert_eq!(id, two_socket.id().as_str()),
            Err(AckError::Disconnected) => assert_eq!(id, three_id),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_question_that_nobody_gets_is_answered_by_every_node_at_once() {
    let bus = Bus::new();
    let (here, _one, _) = with_client(&bus.node()).await;
    let (_there, _two, _) = with_client(&bus.node()).await;
    let asked = here.to("nobody").timeout(Duration::from_secs(3600)).emit_with_ack::<u32>("ask", &());
    assert!(within("no answers", asked).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_closed_sink_hears_nothing_more_and_leaves_no_entry() {
    let node = Bus::new().node();
    let io = Server::builder().adapter(node.clone()).max_pending_acks(1).build();
    let (mut client, _) = Client::connected(serve(&io).await).await;
    io.sockets().on("sync", async || Reply(()));
    let local = node.local("/");
    let (heard, mut answers) = log();
    let ask = |name: &str| {
        let (asked, answered) = (heard.clone(), heard.clone());
        let sink = AckSink::forward(
            move |clients| asked.send(format!("{clients} asked")).unwrap(),
            move |_, result| {
                answered.send(format!("{:?}", result.map(|args| args.raw().json().to_owned()))).unwrap()
            },
        );
        let packet = Packet::event("/", None, format!("[\"{name}\"]"), Vec::new());
        local.broadcast_with_ack(&packet, &BroadcastOptions::default(), &sink);
        sink
    };
    let first = ask("first");
    client.expect(r#"20["first"]"#).await;
    assert_eq!(answers.next().await, "1 asked");
    assert!(first.is_open());
    first.close();
    assert!(!first.is_open());
    client.send("30[1]").await;
    client.ask("[\"sync\"]").await;
    answers.assert_empty();

    // Only one may be pending: each finds the entry of the one before gone.
    for n in 1..100 {
        let sink = ask("again");
        client.expect(&format!(r#"2{n}["again"]"#)).await;
        assert_eq!(answers.next().await, "1 asked");
        sink.close();
    }
    let last = ask("last");
    client.expect(r#"2100["last"]"#).await;
    client.send("3100[[7]]").await;
    assert_eq!(answers.take(2).await, ["1 asked", "Ok(\"[7]\")"]);
    ask("full");
    client.expect(r#"2101["full"]"#).await;
    ask("too many");
    assert_eq!(answers.take(3).await[..2], ["1 asked", "1 asked"]);
    drop(last);
}

#[tokio::test]
async fn sockets_are_found_moved_and_disconnected_on_all_nodes() {
    let bus = Bus::new();
    let (here, _one, one_socket) = with_client(&bus.node()).await;
    let (there, mut two, two_socket) = with_client(&bus.node()).await;
    let mut gone = disconnects(&there);
    two_socket.set_data(&json!({"name": "Ada"})).unwrap();
    here.sockets().sockets_join(["a", "b"]);
    here.in_("a").sockets_leave("b");
    assert_eq!(two_socket.rooms(), [two_socket.id().as_str(), "a"]);
    let mut rooms = here.sockets().all_rooms().await.unwrap();
    rooms.sort();
    let mut expected = vec!["a".to_owned(), one_socket.id().to_string(), two_socket.id().to_string()];
    expected.sort();
    assert_eq!(rooms, expected, "each once, the sockets' own among them");
    assert_eq!(here.sockets().server_count().await.unwrap(), 2);
    let found = here.to("a").fetch_sockets().await.unwrap();
    assert_eq!(found.len(), 2);
    let remote = found.iter().find(|socket| socket.id() == two_socket.id()).unwrap();
    assert_eq!(remote.data::<serde_json::Value>().unwrap(), json!({"name": "Ada"}));
    remote.emit("hello", &());
    two.expect(r#"2["hello"]"#).await;
    let asked = tokio::spawn({
        let remote = remote.clone();
        async move { remote.emit_with_ack::<u32>("ask", &(), LIMIT).await }
    });
    two.expect(r#"20["ask"]"#).await;
    two.send("30[8]").await;
    assert_eq!(asked.await.unwrap().unwrap(), 8);
    remote.disconnect(true);
    gone.next().await;
    assert_eq!(here.local().fetch_sockets().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_node_that_does_not_answer_costs_what_it_knows_and_no_more() {
    let bus = Bus::new();
    let silent = bus.node();
    let (here, _one, one_socket) = with_client(&bus.node()).await;
    let (_there, _two, two_socket) = with_client(&bus.node()).await;
    let (_silent, _three, _) = with_client(&silent).await;
    silent.silence();
    let incomplete = here.sockets().fetch_sockets().await.unwrap_err();
    let ids: Vec<_> = incomplete.arrived.iter().map(|socket| socket.id().clone()).collect();
    assert_eq!(ids, [one_socket.id().clone(), two_socket.id().clone()]);
    assert_eq!(incomplete.to_string(), "2 arrived, 1 of 2 nodes did not answer in time");
    let incomplete = here.sockets().all_rooms().await.unwrap_err();
    assert_eq!(incomplete.arrived.len(), 2);
    assert!(matches!(incomplete.cause, AdapterError::Timeout { expected: 2, missing: 1 }));
}

#[tokio::test]
async fn what_an_adapter_keeps_does_nothing_when_its_server_is_gone() {
    let node = Bus::new().node();
    let local = {
        let _io = server(&node);
        node.local("/")
    };
    let options = BroadcastOptions::default();
    let packet = Packet::event("/", None, r#"["e"]"#, Vec::new());
    let (asked, mut questions) = log();
    let sink = AckSink::forward(move |clients| asked.send(clients).unwrap(), |_, _| {});
    assert_eq!(local.broadcast(&packet, &options), 0);
    assert_eq!(local.broadcast_with_ack(&packet, &options, &sink), 0);
    let never = |_: &mut String| -> Result<Vec<Bytes>, Infallible> { panic!("written for nobody") };
    assert_eq!(local.broadcast_with(&options, never), Ok(0));
    assert_eq!(local.broadcast_with_ack_with(&options, &sink, never), Ok(0));
    assert_eq!(questions.take(2).await, [0, 0], "whoever asked need not wait");
    local.server_event(&packet, None);
    local.join_sockets(&options, &["a".to_owned()]);
    local.leave_sockets(&options, &["a".to_owned()]);
    local.disconnect_sockets(&options, true);
    assert!(local.fetch_sockets(&options).is_empty());
    assert!(local.rooms().is_empty() && local.all_rooms().is_empty());
    assert!(!local.has_room("a") && !local.could_reach(&options));
    assert_eq!((local.socket_count(), local.path()), (0, "/"));
}

#[tokio::test]
async fn events_of_other_nodes_are_kept_for_those_who_come_back_only_where_the_adapter_sees_all() {
    for recovers in [false, true] {
        let bus = Bus::new();
        let node = if recovers { bus.node().recovers() } else { bus.node() };
        let (here, _one, _) = with_client(&bus.node()).await;
        let recovery = ConnectionStateRecovery::new();
        let there = Server::builder().adapter(node).connection_state_recovery(recovery).build();
        let mut lost = disconnects(&there);
        let address = serve(&there).await;
        let mut client = Client::websocket(address).await;
        client.send("0").await;
        let reply = client.recv().await;
        let data: serde_json::Value = serde_json::from_str(reply.strip_prefix('0').unwrap()).unwrap();
        here.emit("seen", &1);
        let seen = client.recv().await;
        assert_eq!(seen != r#"2["seen",1]"#, recovers, "{seen}");
        assert_eq!(data["pid"].is_string(), recovers);
        if !recovers {
            continue;
        }
        let offset = seen.strip_suffix("\"]").unwrap().rsplit('"').next().unwrap();
        drop(client);
        lost.next().await;
        // Nobody is there to get it.
        here.emit("missed", &2);
        let mut client = Client::websocket(address).await;
        client.send(&format!("0{}", json!({"pid": data["pid"], "offset": offset}))).await;
        let missed = client.recv().await;
        assert!(missed.starts_with(r#"2["missed",2,""#), "{missed}");
        client.expect(&reply).await;
    }
}
