//! What the emitter publishes, as a real Redis passes it on: byte for byte what Node's emitter was seen to publish, and
//! what becomes of messages when Redis goes away.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use sio_emitter::fred::clients::Client;
use sio_emitter::fred::interfaces::ClientLike;
use sio_emitter::fred::types::config::Config;
use sio_emitter::{ConnectError, Emitter, Mode, PublishError};
use sio_tests::redis::{Redis, Subscriber, full_run};
use sio_tests::within;

/// Connects with the defaults.
async fn connect(redis: &Redis) -> Emitter {
    Emitter::connect(&redis.url()).await.unwrap()
}

/// Hears everything that goes through the classic channels.
async fn hear_all(redis: &Redis) -> Subscriber {
    redis.subscribe("PSUBSCRIBE", &["*"]).await
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let poll = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    within(what, poll).await;
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The vectors of a file whose names begin with `prefix`.
fn vectors(file: &str, prefix: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sio-protocol/testdata").join(file);
    let vectors: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    vectors.into_iter().filter(|vector| vector["name"].as_str().unwrap().starts_with(prefix)).collect()
}

#[derive(Serialize)]
struct Nested {
    b: Bytes,
}

#[tokio::test]
async fn the_bytes_are_those_of_nodes_emitter() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = hear_all(&redis).await;
    let io = connect(&redis).await;
    let other_key = Emitter::builder().key("myapp").connect(&redis.url()).await.unwrap();
    let (mut compared, mut skipped) = (0, 0);
    for vector in vectors("emitter.json", "redis-emitter@5.1.0/") {
        let name = vector["name"].as_str().unwrap();
        let emit = match name.split_once('/').unwrap().1 {
            "emit/all" => io.emit("hello", &("world", 1)),
            "emit/one-room" => io.to("room1").emit("hello", &()),
            "emit/binary" => {
                let nested = Nested { b: Bytes::from_static(b"\x03") };
                io.emit("bin", &(Bytes::from_static(b"\x01\x02"), nested))
            }
            // Rust has no value that Node would send as a date.
            "emit/date-undefined" => {
                skipped += 1;
                continue;
            }
            "emit/key" => other_key.to("r").emit("x", &()),
            "request/socketsJoin-all" => io.sockets_join(["a", "b"]),
            "request/socketsLeave" => io.in_(["r1", "r2"]).sockets_leave("a"),
            "request/disconnectSockets" => io.disconnect_sockets(false),
            "request/serverSideEmit" => io.server_side_emit("hello", &(1, "2")),
            other => panic!("nothing here makes {other}"),
        };
        emit.await.unwrap();
        let (channel, message) = heard.next().await;
        assert_eq!(channel, vector["channel"].as_str().unwrap(), "{name}");
        match vector["text"].as_str() {
            Some(text) => assert_eq!(String::from_utf8(message).unwrap(), text, "{name}"),
            None => assert_eq!(hex(&message), vector["hex"].as_str().unwrap(), "{name}"),
        }
        compared += 1;
    }
    assert_eq!((compared, skipped), (8, 1));
    io.flush().await.unwrap();
    other_key.flush().await.unwrap();
}

/// What Node's emitter writes for these, put together by hand from the format: `fix*` of MessagePack only.
#[tokio::test]
async fn flags_rooms_and_namespaces_are_where_nodes_emitter_has_them() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = hear_all(&redis).await;
    let io = connect(&redis).await;
    let text = |text: &str| [&[0xa0 + text.len() as u8], text.as_bytes()].concat();
    let list = |items: &[&str]| {
        [vec![0x90 + items.len() as u8], items.iter().flat_map(|item| text(item)).collect()].concat()
    };
    let message = |nsp: &str, rooms: &[&str], flags: Vec<u8>, except: &[&str]| {
        let packet = [vec![0x83], text("type"), vec![2], text("data"), list(&["e"]), text("nsp"), text(nsp)];
        let opts =
            [vec![0x83], text("rooms"), list(rooms), text("flags"), flags, text("except"), list(except)];
        [vec![0x93], text("emitter"), packet.concat(), opts.concat()].concat()
    };
    let none = || vec![0x80];
    let volatile = || [vec![0x81], text("volatile"), vec![0xc3]].concat();
    let both = || [vec![0x82], text("volatile"), vec![0xc3], text("compress"), vec![0xc2]].concat();

    let admin = io.of("admin");
    assert_eq!(admin.path(), "/admin");
    io.volatile().to("a").emit("e", &()).await.unwrap();
    io.to("a").to(["b", "a"]).in_(vec!["c".to_owned()]).emit("e", &()).await.unwrap();
    io.except(&["x", "y"]).volatile().compress(false).emit("e", &()).await.unwrap();
    admin.emit("e", &()).await.unwrap();
    admin.to("a").except("b").emit("e", &()).await.unwrap();
    io.of("/x#y").to("#").emit("e", &()).await.unwrap();
    io.to([""; 0]).except(Vec::<String>::new()).try_emit("e", &()).unwrap();
    for (channel, expected) in [
        ("socket.io#/#a#", message("/", &["a"], volatile(), &[])),
        ("socket.io#/#", message("/", &["a", "b", "c"], none(), &[])),
        ("socket.io#/#", message("/", &[], both(), &["x", "y"])),
        ("socket.io#/admin#", message("/admin", &[], none(), &[])),
        ("socket.io#/admin#a#", message("/admin", &["a"], none(), &["b"])),
        ("socket.io#/x#y###", message("/x#y", &["#"], none(), &[])),
        ("socket.io#/#", message("/", &[], none(), &[])),
    ] {
        let (seen, bytes) = heard.next().await;
        assert_eq!((seen.as_str(), hex(&bytes)), (channel, hex(&expected)));
    }

    admin.to("a").except("b").sockets_join("c").await.unwrap();
    admin.to("a").volatile().disconnect_sockets(true).await.unwrap();
    admin.server_side_emit("e", &json!({"a": [1, null, 0.5]})).await.unwrap();
    for expected in [
        r#"{"type":2,"opts":{"rooms":["a"],"except":["b"]},"rooms":["c"]}"#,
        r#"{"type":4,"opts":{"rooms":["a"],"except":[]},"close":true}"#,
        r#"{"uid":"emitter","type":6,"data":["e",{"a":[1,null,0.5]}]}"#,
    ] {
        let (channel, bytes) = heard.next().await;
        assert_eq!(channel, "socket.io-request#/admin#");
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
    io.flush().await.unwrap();
    assert_eq!(io.stats().unheard, Some(0));
}

#[tokio::test]
async fn the_sharded_dialect_uses_the_channels_of_its_mode() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let id = "CAuIFmK6wXQLJ1NjAAAB";
    let own_room = format!("app#/#{id}#");
    let names = ["app#/#", "app#/#room#", &own_room, "app#/chat#"];
    let mut heard = redis.subscribe("SSUBSCRIBE", &names).await;
    for (mode, room, to_id) in [
        (Mode::Static, "app#/#", "app#/#"),
        (Mode::Dynamic, "app#/#room#", "app#/#"),
        (Mode::DynamicPrivate, "app#/#room#", own_room.as_str()),
    ] {
        let builder = Emitter::builder().sharded(mode).channel_prefix("app");
        let io = builder.connect(&redis.url()).await.unwrap();
        io.to("room").emit("e", &1).await.unwrap();
        io.to(id).volatile().emit("e", &1.5).await.unwrap();
        io.to(["room", "b"]).except("c").emit("e", &()).await.unwrap();
        io.to("room").sockets_leave(["x"]).await.unwrap();
        io.of("chat").disconnect_sockets(false).await.unwrap();
        io.server_side_emit("e", &("a", 2)).await.unwrap();
        io.flush().await.unwrap();
        let opts = r#""opts":{"rooms":["room"],"except":[],"flags":{}}"#;
        let end = r#""uid":"emitter","nsp":"/"}"#;
        for (channel, expected) in [
            (room, format!(r#"{{"type":3,"data":{{"packet":{{"type":2,"data":["e",1]}},{opts}}},{end}"#)),
            (to_id, format!(r#"{{"type":3,"data":{{"packet":{{"type":2,"data":["e",1.5]}},"opts":{{"rooms":["{id}"],"except":[],"flags":{{"volatile":true}}}}}},{end}"#)),
            ("app#/#", format!(r#"{{"type":3,"data":{{"packet":{{"type":2,"data":["e"]}},"opts":{{"rooms":["room","b"],"except":["c"],"flags":{{}}}}}},{end}"#)),
            ("app#/#", format!(r#"{{"type":5,"data":{{{opts},"rooms":["x"]}},{end}"#)),
            ("app#/chat#", r#"{"type":6,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"close":false},"uid":"emitter","nsp":"/chat"}"#.to_owned()),
            ("app#/#", format!(r#"{{"type":9,"data":{{"packet":["e","a",2]}},{end}"#)),
        ] {
            let (seen, bytes) = heard.next().await;
            assert_eq!((seen.as_str(), String::from_utf8(bytes).unwrap()), (channel, expected));
        }

        // Bytes make it MessagePack.
        io.to("room").emit("bin", &(Bytes::from_static(b"\x01\x02"),)).await.unwrap();
        let (seen, bytes) = heard.next().await;
        let expected = "84a47479706503a46461746182a67061636b657482a47479706502a46461746192a362696ec4020102\
            a46f70747383a5726f6f6d7391a4726f6f6da665786365707490a5666c61677380a3756964a7656d6974746572a36e7370a12f";
        assert_eq!((seen.as_str(), hex(&bytes).as_str()), (room, expected));
    }
}

#[tokio::test]
async fn a_hundred_thousand_arrive_in_order() {
    if !full_run() {
        return;
    }
    let redis = Redis::with(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let mut heard = hear_all(&redis).await;
    let io = connect(&redis).await;
    let count = 100_000;
    let send = async {
        for n in 0..count {
            io.to("room").emit("n", &format!("{n:06}")).await.unwrap();
        }
        io.flush().await.unwrap();
    };
    let receive = async {
        for n in 0..count {
            let (channel, bytes) = heard.next().await;
            assert_eq!(channel, "socket.io#/#room#");
            let expected = format!("{n:06}");
            assert!(bytes.windows(6).any(|part| part == expected.as_bytes()), "{expected}: {}", hex(&bytes));
        }
    };
    tokio::join!(send, receive);
    let stats = io.stats();
    assert_eq!((stats.emitted, stats.taken, stats.failed, stats.queued_bytes), (100_000, 100_000, 0, 0));
}

#[tokio::test]
async fn what_is_emitted_while_redis_is_away_arrives_when_it_is_back() {
    if !full_run() {
        return;
    }
    let mut redis = Redis::start();
    // A user of its own, who is let in only when the subscriber is there.
    let user = ["ACL", "SETUSER", "emitter", "on", ">secret", "+@all", "&*"];
    assert_eq!(redis.command(&user).await, "+OK");
    let url = format!("redis://emitter:secret@127.0.0.1:{}", redis.port());
    let io = Emitter::connect(&url).await.unwrap();
    io.emit("before", &()).await.unwrap();
    io.flush().await.unwrap();

    redis.kill();
    until("the loss", || !io.stats().connected).await;
    for n in 0..3 {
        io.to("room").emit("n", &n).await.unwrap();
    }
    assert!(io.stats().queued_bytes > 0);
    redis.restart();
    let mut heard = hear_all(&redis).await;
    assert_eq!(redis.command(&user).await, "+OK");
    for n in 0..3 {
        let (_, bytes) = heard.next().await;
        assert!(hex(&bytes).contains(&format!("92a16e{n:02x}a36e7370")), "{}", hex(&bytes));
    }
    io.flush().await.unwrap();
    let stats = io.stats();
    assert_eq!((stats.emitted, stats.taken, stats.failed, stats.connected), (4, 4, 0, true));
}

#[tokio::test]
async fn what_waits_too_long_for_redis_is_given_up_with_a_reason() {
    if !full_run() {
        return;
    }
    let mut redis = Redis::start();
    let builder = Emitter::builder().queue_timeout(Duration::from_millis(200));
    let io = builder.connect(&redis.url()).await.unwrap();
    redis.kill();
    until("the loss", || !io.stats().connected).await;
    io.emit("a", &()).await.unwrap();
    io.emit("b", &()).await.unwrap();
    let error = within("the flush", io.flush()).await.unwrap_err();
    assert_eq!(error.failed, 2);
    let PublishError::TimedOut { waited, reason } = &error.cause else { panic!("{error}") };
    assert_eq!(*waited, Duration::from_millis(200));
    assert!(reason.contains("refused") || reason.contains("closed"), "{reason}");

    redis.restart();
    until("the connection", || io.stats().connected).await;
    io.emit("c", &()).await.unwrap();
    io.flush().await.unwrap();
    assert_eq!(io.stats().taken, 1);
}

#[tokio::test]
async fn a_user_with_no_right_but_to_publish_will_do() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let user = ["ACL", "SETUSER", "emitter", "on", ">secret", "+publish", "resetchannels", "&socket.io*"];
    assert_eq!(redis.command(&user).await, "+OK");
    let mut heard = hear_all(&redis).await;
    let url = format!("redis://emitter:secret@127.0.0.1:{}", redis.port());
    for io in [Emitter::connect(&url).await.unwrap(), through_fred(&url, Emitter::builder()).await] {
        io.emit("a", &()).await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(heard.next().await.0, "socket.io#/#");
    }

    let foreign = Emitter::builder().key("other").connect(&url).await.unwrap();
    let through_fred = through_fred(&url, Emitter::builder().key("other")).await;
    for io in [foreign, through_fred] {
        io.emit("a", &()).await.unwrap();
        io.emit("b", &()).await.unwrap();
        let error = io.flush().await.unwrap_err();
        assert_eq!(error.failed, 2);
        let PublishError::Refused(text) = &error.cause else { panic!("{error}") };
        assert!(text.starts_with("NOPERM"), "{text}");
    }

    let wrong = format!("redis://emitter:wrong@127.0.0.1:{}", redis.port());
    let error = Emitter::connect(&wrong).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Refused(text) if text.starts_with("WRONGPASS")), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_counted() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    for io in [connect(&redis).await, through_fred(&redis.url(), Emitter::builder()).await] {
        io.emit("a", &()).await.unwrap();
        io.flush().await.unwrap();
        let heard = redis.subscribe("PSUBSCRIBE", &["socket.io#/#*"]).await;
        io.emit("a", &()).await.unwrap();
        io.of("/other").emit("a", &()).await.unwrap();
        io.flush().await.unwrap();
        let stats = io.stats();
        assert_eq!((stats.taken, stats.unheard), (3, Some(2)));
        drop(heard);
    }
}

#[tokio::test]
async fn a_unix_socket_will_do() {
    if !full_run() {
        return;
    }
    let redis = Redis::with(&["--unixsocket", "redis.sock"]);
    let mut heard = hear_all(&redis).await;
    let url = format!("redis+unix://{}", redis.directory().join("redis.sock").display());
    let io = Emitter::connect(&url).await.unwrap();
    io.of("/chat").emit("a", &()).await.unwrap();
    assert_eq!(heard.next().await.0, "socket.io#/chat#");
    io.close().await.unwrap();
}

async fn through_fred(url: &str, builder: sio_emitter::Builder) -> Emitter {
    let client = Client::new(Config::from_url(url).unwrap(), None, None, None);
    client.init().await.unwrap();
    builder.client(client)
}

#[tokio::test]
async fn a_client_that_is_there_already_sends_the_same() {
    if !full_run() {
        return;
    }
    let redis = Redis::with(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let mut heard = hear_all(&redis).await;
    let direct = Emitter::builder().key("direct").connect(&redis.url()).await.unwrap();
    let client = Client::new(Config::from_url(&redis.url()).unwrap(), None, None, None);
    client.init().await.unwrap();
    let io = Emitter::builder().key("fred").client(client.clone());
    for n in 0..10_000 {
        direct.to("room").emit("n", &n).await.unwrap();
        io.to("room").emit("n", &n).await.unwrap();
    }
    io.flush().await.unwrap();
    direct.flush().await.unwrap();
    let (mut one_way, mut other_way) = (Vec::new(), Vec::new());
    for _ in 0..20_000 {
        match heard.next().await {
            (channel, message) if channel == "direct#/#room#" => one_way.push(message),
            (channel, message) => {
                assert_eq!(channel, "fred#/#room#");
                other_way.push(message);
            }
        }
    }
    assert_eq!(one_way.len(), 10_000);
    assert!(one_way == other_way, "the messages differ, or their order");
    assert_eq!(io.stats().taken, 10_000);
    // It is not ours to end.
    io.close().await.unwrap();
    client.ping::<String>(None).await.unwrap();
}

#[tokio::test]
async fn a_client_without_a_connection_is_waited_for() {
    if !full_run() {
        return;
    }
    let mut redis = Redis::start();
    let policy = sio_emitter::fred::types::config::ReconnectPolicy::new_constant(0, 20);
    let client = Client::new(Config::from_url(&redis.url()).unwrap(), None, None, Some(policy));
    client.init().await.unwrap();
    let io = Emitter::builder().client(client.clone());
    io.emit("a", &()).await.unwrap();
    io.flush().await.unwrap();
    redis.kill();
    until("the loss", || !client.is_connected()).await;
    io.emit("b", &()).await.unwrap();
    redis.restart();
    within("the flush", io.flush()).await.unwrap();

    let impatient = Emitter::builder().queue_timeout(Duration::from_millis(100)).client(client.clone());
    redis.kill();
    until("the loss", || !client.is_connected()).await;
    impatient.emit("c", &()).await.unwrap();
    let error = within("the flush", impatient.flush()).await.unwrap_err();
    assert!(matches!(error.cause, PublishError::TimedOut { .. }), "{error}");
    assert_eq!(io.stats().taken, 2);
}

/// Starts a cluster of two nodes, which share the slots.
async fn cluster() -> [Redis; 2] {
    // The nodes talk to each other on a port that is higher by 10,000.
    let node = || loop {
        let node = Redis::with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"]);
        if node.port() < 55_000 {
            return node;
        }
    };
    let nodes = [node(), node()];
    for (node, [first, last]) in nodes.iter().zip([["0", "8191"], ["8192", "16383"]]) {
        assert_eq!(node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await, "+OK");
    }
    let [one, other] = &nodes;
    assert_eq!(one.command(&["CLUSTER", "MEET", "127.0.0.1", &other.port().to_string()]).await, "+OK");
    for node in &nodes {
        let ready = async {
            while !node.command(&["CLUSTER", "INFO"]).await.contains("cluster_state:ok") {
                tokio::task::yield_now().await;
            }
        };
        within("the cluster", ready).await;
    }
    nodes
}

fn cluster_url([one, other]: &[Redis; 2]) -> String {
    format!("redis-cluster://127.0.0.1:{}?node=127.0.0.1:{}", one.port(), other.port())
}

/// Emits to rooms whose channels are on either node.
async fn emit_to_rooms(io: &Emitter) {
    for n in 0..20 {
        io.to(format!("r{n}").as_str()).emit("n", &n).await.unwrap();
    }
    within("the flush", io.flush()).await.unwrap();
    let stats = io.stats();
    assert_eq!((stats.taken, stats.failed, stats.unheard), (20, 0, None));
}

#[tokio::test]
async fn every_node_of_a_cluster_hears_the_classic_dialect_in_order() {
    if !full_run() {
        return;
    }
    let nodes = cluster().await;
    let (mut one, mut other) = (hear_all(&nodes[0]).await, hear_all(&nodes[1]).await);
    let io = Emitter::connect(&cluster_url(&nodes)).await.unwrap();
    emit_to_rooms(&io).await;
    for n in 0..20 {
        let channel = format!("socket.io#/#r{n}#");
        assert_eq!((one.next().await.0, other.next().await.0), (channel.clone(), channel));
    }
    within("the end", io.close()).await.unwrap();
}

#[tokio::test]
async fn a_cluster_gets_shard_messages_where_the_channel_is() {
    if !full_run() {
        return;
    }
    let nodes = cluster().await;
    let mut subscribed = [0, 0];
    let mut subscribers = Vec::new();
    for n in 0..20 {
        let channel = format!("socket.io#/#r{n}#");
        let slot: u32 = nodes[0]
            .command(&["CLUSTER", "KEYSLOT", &channel])
            .await
            .strip_prefix(':')
            .unwrap()
            .parse()
            .unwrap();
        let node = usize::from(slot > 8191);
        subscribed[node] += 1;
        subscribers.push(nodes[node].subscribe("SSUBSCRIBE", &[&channel]).await);
    }
    assert!(subscribed[0] > 0 && subscribed[1] > 0, "{subscribed:?}");
    let io = Emitter::builder().sharded(Mode::Dynamic).connect(&cluster_url(&nodes)).await.unwrap();
    emit_to_rooms(&io).await;
    for (n, subscriber) in subscribers.iter_mut().enumerate() {
        assert_eq!(subscriber.next().await.0, format!("socket.io#/#r{n}#"));
    }
}

#[tokio::test]
async fn a_sentinel_says_where_redis_is() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = hear_all(&redis).await;
    let monitor = format!("main 127.0.0.1 {} 1", redis.port());
    let sentinel = Redis::sentinel(&monitor);
    let url = format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=main", sentinel.port());
    let io = within("the connection", Emitter::connect(&url)).await.unwrap();
    io.emit("a", &()).await.unwrap();
    io.flush().await.unwrap();
    assert_eq!(heard.next().await.0, "socket.io#/#");
    assert_eq!(io.stats().unheard, Some(0));
}

#[tokio::test]
async fn no_redis_at_the_start_is_an_error_within_the_stated_time() {
    if !full_run() {
        return;
    }
    let mut redis = Redis::start();
    redis.kill();
    for url in [redis.url(), cluster_url_of(&redis), sentinel_url_of(&redis)] {
        let connect = Emitter::builder().connect_timeout(Duration::from_secs(1)).connect(&url);
        let error = within("the error", connect).await.unwrap_err();
        let expected = matches!(error, ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. });
        assert!(expected, "{url}: {error:?}");
    }
}

fn cluster_url_of(redis: &Redis) -> String {
    format!("redis-cluster://127.0.0.1:{}", redis.port())
}

fn sentinel_url_of(redis: &Redis) -> String {
    format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=main", redis.port())
}

#[tokio::test]
async fn an_emit_can_be_spawned_and_borrows_nothing() {
    fn is_send<T: Future + Send + 'static>(future: T) -> T {
        future
    }
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let io = connect(&redis).await;
    let queued = {
        let borrowed = String::from("x");
        is_send(io.to(&borrowed).emit(&borrowed, &borrowed.as_str()))
    };
    tokio::spawn(queued).await.unwrap().unwrap();
    io.flush().await.unwrap();
    assert_eq!(io.stats().taken, 1);
}
