//! Nodes against what was recorded between Node's servers, by `sio-protocol/testdata`.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value as Json;
use sio_protocol::cluster::sharded::Mode;
use sio_protocol::socketio::OwnedArgs;
use sio_server::BroadcastOptions;

use super::sockets::{SimSink, Sockets};
use super::world::{Member, SimBus, World};
use super::{Back, Dialect, InClassic, InSharded, identity, settings};
use crate::node::Node;

struct Recorded {
    name: String,
    command: String,
    channel: String,
    message: Bytes,
    /// The message as JSON, with marks for what JSON has not.
    content: Json,
}

fn recorded(files: &[&str]) -> Vec<Recorded> {
    let mut all = Vec::new();
    for file in files {
        let path = format!("{}/../sio-protocol/testdata/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let vectors: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        for vector in vectors {
            let text = |key: &str| vector[key].as_str().unwrap_or_default().to_owned();
            if !matches!(&*text("command"), "PUBLISH" | "SPUBLISH") || text("name").starts_with("streams") {
                continue;
            }
            let (content, message) = match vector["text"].as_str() {
                Some(text) => (serde_json::from_str(text).unwrap(), Bytes::from(text.to_owned())),
                None => (vector["decoded"].clone(), bytes_of(&text("hex"))),
            };
            let (name, command, channel) = (text("name"), text("command"), text("channel"));
            all.push(Recorded { name, command, channel, message, content });
        }
    }
    all
}

fn bytes_of(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn member<D: Dialect>(dialect: &D, nsp: &str) -> Arc<Member<D::Node>> {
    let sockets = Sockets::default();
    let node = dialect.node(sockets.clone(), identity(nsp, 1), &settings());
    let member = Arc::new(Member { node, sockets, bus: SimBus::default(), is_dead: OnceLock::new() });
    let back: Weak<dyn Back> = Arc::downgrade(&(Arc::clone(&member) as Arc<dyn Back>));
    member.sockets.set_back(back);
    member.node.start(&member.bus);
    member
}

/// Prefix and namespace of a channel for broadcasts.
fn nsp_of(channel: &str) -> Option<&str> {
    channel.strip_prefix("socket.io#")?.split('#').next()
}

fn strings(names: &Json) -> Vec<String> {
    let text = |name: &Json| name.as_str().map_or_else(|| name.to_string(), str::to_owned);
    names.as_array().map_or_else(Vec::new, |names| names.iter().map(text).collect())
}

/// Everything of a kind that was recorded reaches a client in its rooms, once, and nobody else.
fn every_recorded_broadcast_arrives<D: Dialect>(
    dialect: &D,
    command: &str,
    opts_of: fn(&Json) -> Option<&Json>,
) -> usize {
    let mut seen = 0;
    for vector in recorded(&["redis-pubsub", "redis-sharded", "redis-extra", "emitter"]) {
        let (Some(nsp), Some(opts)) = (nsp_of(&vector.channel), opts_of(&vector.content)) else { continue };
        if vector.command != command {
            continue;
        }
        let member = member(dialect, nsp);
        let rooms = strings(&opts["rooms"]);
        let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
        member.sockets.connect("wanted", &rooms);
        for (at, except) in strings(&opts["except"]).iter().enumerate() {
            member.sockets.connect(&format!("excepted-{at}"), &[&rooms[..], &[except]].concat());
        }
        member.node.handle_message(&vector.channel, &vector.message, std::time::Instant::now(), &member.bus);
        let state = member.sockets.locked();
        let received: Vec<_> = state.sockets.values().map(|socket| socket.received.len()).collect();
        assert_eq!(received.iter().sum::<usize>(), 1, "{}", vector.name);
        assert_eq!(state.sockets["wanted"].received.len(), 1, "{}", vector.name);
        seen += 1;
    }
    seen
}

#[test]
fn broadcasts_of_every_classic_version_and_emitter_arrive() {
    fn opts(content: &Json) -> Option<&Json> {
        content.as_array().map(|items| &items[2])
    }
    let seen = every_recorded_broadcast_arrives(&InClassic::default(), "PUBLISH", opts);
    assert!(seen > 50, "only {seen}");
}

#[test]
fn broadcasts_of_every_sharded_version_arrive() {
    fn opts(content: &Json) -> Option<&Json> {
        let data = &content["data"];
        (content["type"] == 3 && data["requestId"].is_null()).then(|| &data["opts"])
    }
    let seen = every_recorded_broadcast_arrives(&InSharded(Mode::Dynamic), "SPUBLISH", opts);
    assert!(seen > 10, "only {seen}");
}

/// The first id of a socket in an exchange.
fn socket_in(exchange: &[&Recorded]) -> Option<String> {
    fn find(value: &Json) -> Option<String> {
        match value {
            Json::String(text) if text.len() == 20 => Some(text.clone()),
            Json::Array(items) => items.iter().find_map(find),
            Json::Object(fields) => ["sid", "rooms", "sockets", "id", "data"]
                .iter()
                .find_map(|key| fields.get(*key).and_then(find)),
            _ => None,
        }
    }
    exchange.iter().find_map(|vector| find(&vector.content))
}

/// Asks a node what was asked of Node, and compares what it answers with what Node answered, byte by byte.
fn exchanges_are_answered_as_node_does<D: Dialect>(dialect: &D, command: &str, prefix: &str) -> Vec<String> {
    let all = recorded(&["redis-pubsub", "redis-sharded", "redis-extra"]);
    let all: Vec<_> = all
        .iter()
        .filter(|vector| vector.command == command)
        .filter(|vector| vector.name.contains("/exchange/") && vector.channel.starts_with(prefix))
        .collect();
    let group = |vector: &Recorded| vector.name.rsplit_once('/').unwrap().0.to_owned();
    let mut answered = Vec::new();
    let mut names: Vec<_> = all.iter().map(|vector| group(vector)).collect();
    names.dedup();
    for name in names {
        let exchange: Vec<_> = all.iter().copied().filter(|vector| group(vector) == name).collect();
        // Handshakes are the client's, and Node's custom answers the application's.
        if name.contains("fetchSockets") || name.contains("customRequest") || name.contains("binary") {
            continue;
        }
        let [request, responses @ ..] = &exchange[..] else { panic!("{name}") };
        let mut world = World::new(dialect.clone(), 1, 0);
        world.add_node();
        let socket = socket_in(&exchange).unwrap_or_else(|| "abcdefghijklmnopqrst".to_owned());
        if name.contains("specific") {
            // Nobody is there.
        } else {
            world.nodes[0].sockets.connect(&socket, &["room1"]);
        }
        world.with_node(0, |node, bus, now| {
            node.handle_message(&request.channel, &request.message, now, bus);
        });
        answer_as_recorded(&world.nodes[0]);
        world.collect();
        let published = std::mem::take(&mut world.published);
        // Node's second server has no client: one answer of the two is ours.
        let expected: Vec<_> = responses
            .iter()
            .filter(|response| !(name.ends_with("allRooms") && response.message.ends_with(b"[]}")))
            .collect();
        assert_eq!(published.len(), expected.len(), "{name}: {published:?}");
        for ((channel, message), expected) in published.iter().zip(expected) {
            assert_eq!(*channel, expected.channel, "{name}");
            assert_eq!(unnamed(message), unnamed(&expected.message), "{name}");
        }
        answered.push(name);
    }
    answered
}

/// The handlers of the recorded servers, and their client.
fn answer_as_recorded<N: Node<Local = Sockets>>(member: &Member<N>) {
    let (questions, events) = {
        let mut state = member.sockets.locked();
        (std::mem::take(&mut state.questions), std::mem::take(&mut state.server_events))
    };
    let argument = |data: &str| {
        let data: Json = serde_json::from_str(data).unwrap();
        data[1].to_string()
    };
    for asked in questions {
        let SimSink::Elsewhere(question, _) = &asked.sink else { panic!() };
        let answer = format!("[\"answer:{}\"]", argument(&asked.data));
        member.answered(question, Some(&OwnedArgs::new(answer, Vec::new())));
    }
    for (data, reply) in events {
        let answer = format!("[\"pong:{}\"]", argument(&data));
        member.replied(&reply.unwrap(), &OwnedArgs::new(answer, Vec::new()));
    }
}

/// A message without the name of its sender, where the dialect has one.
fn unnamed(message: &[u8]) -> String {
    let text = String::from_utf8_lossy(message).into_owned();
    match text.find("\"uid\":\"") {
        Some(at) => format!("{}{}", &text[..at + 7], &text[at + 23..]),
        None => text,
    }
}

#[test]
fn classic_requests_are_answered_as_node_answers_them() {
    let answered = exchanges_are_answered_as_node_does(&InClassic::default(), "PUBLISH", "socket.io-");
    for expected in [
        "socket.io-redis@5.4.0/exchange/clientRooms",
        "socket.io-redis@5.4.0/exchange/allRooms",
        "socket.io-redis@5.4.0/exchange/remoteJoin",
        "socket.io-redis@6.1.1/exchange/sockets",
        "socket.io-redis@6.1.1/exchange/remoteLeave",
        "redis-adapter@7.2.0/exchange/legacy-remoteJoin",
        "redis-adapter@8.3.0/exchange/broadcastWithAck",
        "redis-adapter@8.3.0/exchange/serverSideEmit-ack",
    ] {
        assert!(answered.iter().any(|name| name == expected), "{expected} is not among {answered:?}");
    }
}

#[test]
fn sharded_requests_are_answered_as_node_answers_them() {
    let answered = exchanges_are_answered_as_node_does(&InSharded(Mode::Dynamic), "SPUBLISH", "socket.io#");
    for expected in ["broadcastWithAck", "serverSideEmit-ack"] {
        assert!(answered.iter().any(|name| name.ends_with(expected)), "{expected} is not among {answered:?}");
    }
}

#[test]
fn responses_go_where_they_are_awaited() {
    let request = Bytes::from_static(br#"{"uid":"bGUDHN","requestId":"o9y0YH","type":1}"#);
    let nameless = Bytes::from_static(br#"{"requestId":"o9y0YH","type":1}"#);
    for (specific_responses, channels) in [
        (false, ["socket.io-response#/#", "socket.io-response#/#"]),
        (true, ["socket.io-response#/#bGUDHN#", "socket.io-response#/#"]),
    ] {
        let mut world = World::new(InClassic { specific_responses }, 1, 1);
        for message in [&request, &nameless] {
            world.with_node(0, |node, bus, now| {
                node.handle_message("socket.io-request#/#", message, now, bus);
            });
        }
        world.collect();
        let published: Vec<_> = world.published.iter().map(|(channel, _)| channel.clone()).collect();
        assert_eq!(published, channels);
        assert_eq!(&*world.published[0].1, br#"{"requestId":"o9y0YH","rooms":[]}"#);
    }
    // But the answers of handlers go to all.
    let mut world = World::new(InClassic { specific_responses: true }, 1, 1);
    let request = Bytes::from_static(br#"{"uid":"bGUDHN","requestId":"o9y0YH","type":6,"data":["sse",5]}"#);
    world.with_node(0, |node, bus, now| node.handle_message("socket.io-request#/#", &request, now, bus));
    answer_as_recorded(&world.nodes[0]);
    world.collect();
    assert_eq!(world.published[0].0, "socket.io-response#/#");
}

#[test]
fn requests_of_socket_io_2_are_answered_by_a_node_without_their_client() {
    let answer = |request: &'static str| {
        let mut world = World::new(InClassic::default(), 1, 1);
        world.nodes[0].sockets.connect("other", &["room1"]);
        world.with_node(0, |node, bus, now| {
            node.handle_message("socket.io-request#/#", &Bytes::from_static(request.as_bytes()), now, bus);
        });
        world.collect();
        let texts = world.published.iter().map(|(_, message)| String::from_utf8(message.to_vec()).unwrap());
        (texts.collect::<Vec<_>>(), world)
    };
    assert_eq!(
        answer(r#"{"requestid":"a","type":0,"rooms":["room1"]}"#).0,
        [r#"{"requestid":"a","clients":["other"]}"#]
    );
    assert_eq!(
        answer(r#"{"requestid":"a","type":0,"rooms":["none"]}"#).0,
        [r#"{"requestid":"a","clients":[]}"#]
    );
    assert_eq!(
        answer(r#"{"requestid":"a","type":5,"data":{"x":1}}"#).0,
        [r#"{"requestid":"a","data":null}"#]
    );
    for owner_only in [
        r#"{"requestid":"a","type":1,"sid":"room1"}"#,
        r#"{"requestid":"a","type":3,"sid":"room1","room":"r"}"#,
        r#"{"requestid":"a","type":4,"sid":"none","room":"r"}"#,
        r#"{"requestid":"a","type":6,"sid":"none","close":true}"#,
    ] {
        assert_eq!(answer(owner_only).0, [""; 0], "{owner_only}");
    }
    let (texts, world) = answer(r#"{"requestid":"a","type":6,"sid":"other","close":true}"#);
    assert_eq!(texts, [r#"{"requestid":"a"}"#]);
    assert!(world.nodes[0].sockets.locked().sockets.is_empty());
}

/// Gives what Node answered to a node of ours that asked, under the name of our request.
fn fetched<D: Dialect>(dialect: D, name: &str, key: &str) -> sio_server::SocketDetails {
    let mut world = World::new(dialect, 1, 2);
    // The other node is a Node that was recorded.
    world.kill(1, Duration::from_secs(60));
    let all = BroadcastOptions::default();
    let mut answers = world.with_node(0, |node, bus, now| node.fetch_sockets(&all, now, bus));
    world.run(Duration::from_millis(100));
    let (_, request) = world.published.pop().unwrap();
    let id_of = |content: &Json| {
        let id = if content[key].is_null() { &content["data"][key] } else { &content[key] };
        id.as_str().unwrap().to_owned()
    };
    let request: Json = serde_json::from_slice(&request).unwrap();
    let all = recorded(&["redis-pubsub", "redis-sharded"]);
    let response = all.iter().find(|vector| vector.name == name).unwrap();
    let (theirs, ours) = (id_of(&response.content), id_of(&request));
    let mut message = response.message.to_vec();
    let at = message.windows(theirs.len()).position(|window| window == theirs.as_bytes()).unwrap();
    message[at..at + ours.len()].copy_from_slice(ours.as_bytes());
    let channel = world.nodes[0].bus.topics.lock().unwrap().iter().find_map(|topic| match topic {
        crate::node::Topic::Channel(name) if name.contains("response") => Some(name.to_string()),
        crate::node::Topic::Shard(name) if name.len() > 16 => Some(name.to_string()),
        _ => None,
    });
    world.with_node(0, |node, bus, now| node.handle_message(&channel.unwrap(), &message.into(), now, bus));
    let sockets = answers.try_recv().unwrap().unwrap();
    let [socket] = &sockets[..] else { panic!("{sockets:?}") };
    socket.clone()
}

#[test]
fn sockets_of_node_s_servers_are_described() {
    for (version, id) in [
        ("socket.io-redis@6.1.1", "KQCh-YdLo3ES_W2xAAAB"),
        ("redis-adapter@7.2.0", "bQTOU11R1daLFkCGAAAA"),
        ("redis-adapter@8.3.0", "8z7gMCKXB5BO1xKYAAAA"),
    ] {
        let name = format!("{version}/exchange/fetchSockets/2-publish");
        let socket = fetched(InClassic::default(), &name, "requestId");
        assert_eq!(socket.id.as_str(), id);
        assert!(socket.rooms.iter().any(|room| room == "room1"));
        assert_eq!(socket.handshake["headers"]["sec-websocket-version"], "13");
        assert!(socket.data.is_object(), "{version}: {:?}", socket.data);
    }
    let name = "sharded-adapter@8.3.0/dynamic/exchange/fetchSockets/2-spublish";
    let socket = fetched(InSharded(Mode::Dynamic), name, "requestId");
    assert_eq!(socket.id.as_str(), "HTvg0-TqhgVZ1c5EAAAA");
    assert_eq!(socket.handshake["headers"]["sec-websocket-version"], "13");
}

#[test]
fn binary_data_of_a_socket_becomes_numbers() {
    let name = "sharded-adapter@8.3.0/dynamic/exchange/fetchSockets-binary-data/2-spublish";
    let socket = fetched(InSharded(Mode::Dynamic), name, "requestId");
    let data = socket.data.to_string();
    assert!(data.contains('[') && !data.contains("_placeholder"), "{data}");
}
