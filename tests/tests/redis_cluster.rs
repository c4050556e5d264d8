//! Two servers on one Redis, and real clients of both: every operation across nodes, in both dialects.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use sio_adapter_redis::{RedisAdapter, RedisEvent, ShardedRedisAdapter, Stats, SubscriptionMode};
use sio_protocol::Limits;
use sio_server::{
    AckError, Adapter, AdapterError, AdapterFactory, LocalNamespace, RemoteSocket, Reply, Server,
    ServerBuilder, Socket,
};
use sio_tests::redis::{Redis, full_run};
use sio_tests::{Client, LIMIT, Log, disconnects, log, serve, within};

/// How a server joins the cluster.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Dialect {
    Classic,
    Sharded(SubscriptionMode),
}

/// Either adapter.
#[derive(Clone, Debug)]
enum Either {
    Classic(RedisAdapter),
    Sharded(ShardedRedisAdapter),
}

impl Either {
    async fn connect(dialect: Dialect, redis: &Redis) -> Self {
        let timeout = Duration::from_millis(1_500);
        match dialect {
            Dialect::Classic => {
                let builder = RedisAdapter::builder().requests_timeout(timeout);
                Self::Classic(within("redis", builder.connect(redis.url())).await.unwrap())
            }
            Dialect::Sharded(mode) => {
                let builder =
                    ShardedRedisAdapter::builder().requests_timeout(timeout).subscription_mode(mode);
                Self::Sharded(within("redis", builder.connect(redis.url())).await.unwrap())
            }
        }
    }

    async fn ready(&self) {
        match self {
            Self::Classic(adapter) => within("subscriptions", adapter.ready()).await,
            Self::Sharded(adapter) => within("subscriptions", adapter.ready()).await,
        }
    }

    fn stats(&self) -> Stats {
        match self {
            Self::Classic(adapter) => adapter.stats(),
            Self::Sharded(adapter) => adapter.stats(),
        }
    }
}

#[async_trait::async_trait]
impl AdapterFactory for Either {
    fn attach(&self, local: LocalNamespace) -> Arc<dyn Adapter> {
        match self {
            Self::Classic(adapter) => adapter.attach(local),
            Self::Sharded(adapter) => adapter.attach(local),
        }
    }

    async fn close(&self) {
        match self {
            Self::Classic(adapter) => AdapterFactory::close(adapter).await,
            Self::Sharded(adapter) => AdapterFactory::close(adapter).await,
        }
    }
}

/// A server of the cluster.
struct Node {
    io: Server,
    adapter: Either,
    address: SocketAddr,
    sockets: Log<Socket>,
}

impl Node {
    async fn start(dialect: Dialect, redis: &Redis) -> Self {
        Self::with(Either::connect(dialect, redis).await).await
    }

    async fn with(adapter: Either) -> Self {
        Self::of(Server::builder(), adapter).await
    }

    async fn of(builder: ServerBuilder, adapter: Either) -> Self {
        let io = builder.adapter(adapter.clone()).build();
        let (sockets, connected) = log();
        io.sockets().on_connection(move |socket: Socket| {
            let _ = sockets.send(socket);
            async {}
        });
        adapter.ready().await;
        let address = serve(&io).await;
        Self { io, adapter, address, sockets: connected }
    }

    /// A client of this server, and its socket.
    async fn client(&mut self) -> (Client, Socket) {
        let (client, _) = Client::connected(self.address).await;
        (client, self.sockets.next().await)
    }

    /// Puts a socket into rooms, and waits until the others' messages to them reach this node.
    async fn join(&self, socket: &Socket, rooms: &[&str]) {
        socket.join(rooms);
        self.adapter.ready().await;
    }
}

/// Two servers, and a client of each.
struct Pair {
    here: Node,
    there: Node,
    one: Client,
    one_socket: Socket,
    two: Client,
    two_socket: Socket,
}

async fn pair(dialect: Dialect, redis: &Redis) -> Pair {
    let (mut here, mut there) = (Node::start(dialect, redis).await, Node::start(dialect, redis).await);
    let (one, one_socket) = here.client().await;
    let (two, two_socket) = there.client().await;
    Pair { here, there, one, one_socket, two, two_socket }
}

/// Repeats a question until the answer is the wanted one: what travels through Redis without an answer takes its time.
async fn until<T: PartialEq + std::fmt::Debug>(wanted: T, mut ask: impl AsyncFnMut() -> T) {
    let deadline = tokio::time::Instant::now() + LIMIT;
    loop {
        let got = ask().await;
        if got == wanted {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{got:?} instead of {wanted:?}");
        tokio::task::yield_now().await;
    }
}

/// Instantiates the tests for every dialect.
macro_rules! in_every_dialect {
    ($($name:ident)*) => {
        mod classic {
            $(#[tokio::test] async fn $name() { super::run(super::Dialect::Classic, super::$name).await })*
        }
        mod sharded {
            $(#[tokio::test] async fn $name() {
                super::run(super::Dialect::Sharded(super::SubscriptionMode::Dynamic), super::$name).await
            })*
        }
        mod sharded_static {
            $(#[tokio::test] async fn $name() {
                super::run(super::Dialect::Sharded(super::SubscriptionMode::Static), super::$name).await
            })*
        }
        mod sharded_dynamic_private {
            $(#[tokio::test] async fn $name() {
                super::run(super::Dialect::Sharded(super::SubscriptionMode::DynamicPrivate), super::$name).await
            })*
        }
    };
}

async fn run(dialect: Dialect, test: impl AsyncFnOnce(Dialect, Redis)) {
    if full_run() {
        test(dialect, Redis::start()).await;
    }
}

in_every_dialect! {
    broadcasts_reach_the_sockets_of_both_nodes_once
    namespaces_are_apart
    sockets_are_moved_and_disconnected_on_both_nodes
    sockets_are_found_on_both_nodes_and_can_be_acted_on
    rooms_and_servers_are_known_everywhere
    clients_of_both_nodes_acknowledge
    a_client_that_does_not_acknowledge_is_missed_at_the_timeout
    servers_emit_to_each_other
    a_server_that_does_not_answer_is_missed_at_the_timeout
    a_closed_server_is_awaited_by_nobody
    a_dropped_server_is_awaited_by_nobody
    many_messages_arrive_in_order
    a_restart_of_redis_is_survived
    a_second_server_with_the_same_adapter_is_refused
    a_namespace_comes_again_at_once
    an_event_that_clients_would_refuse_does_not_reach_those_of_other_nodes
    a_room_whose_name_is_all_separators_holds_nobody_up
}

async fn broadcasts_reach_the_sockets_of_both_nodes_once(dialect: Dialect, redis: Redis) {
    let Pair { here, mut there, mut one, one_socket, mut two, two_socket } = pair(dialect, &redis).await;
    let (mut three, three_socket) = there.client().await;
    here.join(&one_socket, &["a", "b"]).await;
    there.join(&two_socket, &["a", "b"]).await;
    there.join(&three_socket, &["c"]).await;

    here.io.to(["a", "b"]).emit("rooms", &1);
    here.io.to("a").emit("room", &2);
    here.io.except("a").emit("others", &3);
    here.io.local().emit("near", &4);
    here.io.to(two_socket.id()).emit("private", &5);
    one_socket.broadcast().emit("rest", &Bytes::from_static(&[6]));
    one_socket.to("c").emit("third", &7);
    here.io.broadcast().compress(false).emit("plain", &8);
    here.io.emit("all", "é");

    for expected in [r#"2["rooms",1]"#, r#"2["room",2]"#, r#"2["near",4]"#, r#"2["plain",8]"#] {
        one.expect(expected).await;
    }
    one.expect(r#"2["all","é"]"#).await;
    // A cluster does not keep messages to different channels in order.
    let rooms = [r#"2["rooms",1]"#, r#"2["room",2]"#, r#"2["private",5]"#];
    let (mut text, mut binary) = (Vec::new(), Vec::new());
    for client in [&mut two, &mut three] {
        loop {
            let packet = client.packet().await;
            match packet.text.as_str() {
                r#"2["all","é"]"# => break,
                r#"51-["rest",{"_placeholder":true,"num":0}]"# => binary.push(packet.attachments),
                _ => text.push(packet.text),
            }
        }
    }
    text.sort();
    let mut expected = rooms.to_vec();
    expected.extend([r#"2["others",3]"#, r#"2["third",7]"#, r#"2["plain",8]"#, r#"2["plain",8]"#]);
    expected.sort_unstable();
    assert_eq!(text, expected);
    assert_eq!(binary, [[[6]], [[6]]]);
    assert_eq!(there.adapter.stats().malformed, 0);
}

async fn namespaces_are_apart(dialect: Dialect, redis: Redis) {
    let mut nodes = [Node::start(dialect, &redis).await, Node::start(dialect, &redis).await];
    // The channels of some are patterns for those of others, or channels of their rooms.
    let names = ["/", "/a", "/a*", "/a#b", "/ab", "/[a]", "/a?", "/guide"];
    for node in &nodes {
        for name in names {
            node.io.of(name).on_connection(async |socket: Socket| socket.join("b"));
        }
        node.adapter.ready().await;
    }
    let mut clients = Vec::new();
    for name in names {
        let mut client = Client::websocket(nodes[1].address).await;
        client.join(name).await;
        clients.push(client);
    }
    nodes[1].adapter.ready().await;
    for name in names {
        nodes[0].io.of(name).emit("all", name);
        nodes[0].io.of(name).to("b").emit("room", name);
    }
    for (client, name) in clients.iter_mut().zip(names) {
        let prefix = if name == "/" { String::new() } else { format!("{name},") };
        let mut got = [client.recv().await, client.recv().await];
        got.sort();
        assert_eq!(got, ["all", "room"].map(|event| format!("2{prefix}[\"{event}\",\"{name}\"]")));
    }
    // Nothing else was under way.
    nodes[0].io.of("/").emit("end", &());
    clients[0].expect(r#"2["end"]"#).await;
    for (client, name) in clients.iter_mut().zip(names).skip(1) {
        nodes[0].io.of(name).emit("end", &());
        client.expect(&format!(r#"2{name},["end"]"#)).await;
    }
    let [here, there] = &mut nodes;
    assert_eq!(within("a count", here.io.of("/a").server_count()).await.unwrap(), 2);
    let found = within("sockets", there.io.of("/a#b").fetch_sockets()).await.unwrap();
    assert_eq!(found.len(), 1);
}

async fn sockets_are_moved_and_disconnected_on_both_nodes(dialect: Dialect, redis: Redis) {
    let Pair { here, there, mut one, one_socket, mut two, two_socket } = pair(dialect, &redis).await;
    let mut gone = disconnects(&there.io);
    here.io.sockets().sockets_join(["a", "b"]);
    let rooms = |socket: &Socket| {
        let mut rooms = socket.rooms();
        rooms.retain(|room| room != socket.id().as_str());
        rooms.sort();
        rooms
    };
    until([vec!["a", "b"], vec!["a", "b"]].map(strings), async || [rooms(&one_socket), rooms(&two_socket)])
        .await;
    there.io.in_("a").except(one_socket.id()).sockets_leave("b");
    until([vec!["a", "b"], vec!["a"]].map(strings), async || [rooms(&one_socket), rooms(&two_socket)]).await;
    here.adapter.ready().await;
    there.io.to("b").emit("b", &());
    one.expect(r#"2["b"]"#).await;
    here.io.in_(two_socket.id()).disconnect_sockets(false);
    two.expect("1").await;
    gone.next().await;
    here.io.sockets().disconnect_sockets(true);
    one.expect("1").await;
    one.closed().await;
}

fn strings(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

async fn sockets_are_found_on_both_nodes_and_can_be_acted_on(dialect: Dialect, redis: Redis) {
    let Pair { here, there, one: _one, one_socket, mut two, two_socket } = pair(dialect, &redis).await;
    let mut gone = disconnects(&there.io);
    two_socket.set_data(&json!({ "name": "Ada" })).unwrap();
    there.join(&two_socket, &["a"]).await;
    let ids = |found: &[RemoteSocket]| {
        let mut ids: Vec<_> = found.iter().map(|socket| socket.id().to_string()).collect();
        ids.sort();
        ids
    };
    let found = within("sockets", here.io.sockets().fetch_sockets()).await.unwrap();
    let mut both = vec![one_socket.id().to_string(), two_socket.id().to_string()];
    both.sort();
    assert_eq!(ids(&found), both);
    let found = within("sockets", here.io.in_("a").fetch_sockets()).await.unwrap();
    let [remote] = &found[..] else { panic!("{found:?}") };
    assert_eq!(remote.rooms(), [two_socket.id().as_str(), "a"]);
    assert_eq!(remote.data::<serde_json::Value>().unwrap(), json!({ "name": "Ada" }));
    assert_eq!(remote.handshake()["query"]["transport"], "websocket");
    assert_eq!(here.io.local().fetch_sockets().await.unwrap().len(), 1);

    remote.emit("hello", &1);
    two.expect(r#"2["hello",1]"#).await;
    let asked = remote.clone();
    let asked = tokio::spawn(async move { asked.emit_with_ack::<u32>("ask", &(), LIMIT).await });
    two.expect(r#"20["ask"]"#).await;
    two.send("30[8]").await;
    assert_eq!(within("the answer", asked).await.unwrap().unwrap(), 8);
    remote.join("b");
    until(true, async || two_socket.rooms().contains(&"b".to_owned())).await;
    remote.leave(["a", "b"]);
    until(1, async || two_socket.rooms().len()).await;
    remote.disconnect(true);
    gone.next().await;
}

async fn rooms_and_servers_are_known_everywhere(dialect: Dialect, redis: Redis) {
    let Pair { here, there, one: _one, one_socket, two: _two, two_socket } = pair(dialect, &redis).await;
    here.join(&one_socket, &["a", "b"]).await;
    there.join(&two_socket, &["b", "c"]).await;
    let mut rooms = within("rooms", here.io.sockets().all_rooms()).await.unwrap();
    rooms.sort();
    let mut expected = strings(vec!["a", "b", "c", one_socket.id().as_str(), two_socket.id().as_str()]);
    expected.sort();
    assert_eq!(rooms, expected);
    assert_eq!(within("a count", here.io.sockets().server_count()).await.unwrap(), 2);
}

async fn clients_of_both_nodes_acknowledge(dialect: Dialect, redis: Redis) {
    let Pair { here, there: _there, mut one, one_socket, mut two, .. } = pair(dialect, &redis).await;
    let asked = here.io.broadcast().timeout(LIMIT).emit_with_ack::<Bytes>("ask", &1);
    one.expect(r#"20["ask",1]"#).await;
    two.expect(r#"20["ask",1]"#).await;
    two.send_binary(r#"61-0[{"_placeholder":true,"num":0},"dropped"]"#, &[&[2]]).await;
    one.send_binary(r#"61-0[{"_placeholder":true,"num":0}]"#, &[&[1]]).await;
    let acks = within("the answers", asked).await.unwrap();
    let answers: Vec<_> =
        acks.iter().map(|ack| (ack.socket.clone(), ack.result.as_ref().unwrap().clone())).collect();
    assert_eq!(answers.len(), 2);
    // The wire does not say which client of another node has answered.
    assert!(answers.contains(&(Some(one_socket.id().clone()), Bytes::from_static(&[1]))), "{answers:?}");
    assert!(answers.contains(&(None, Bytes::from_static(&[2]))), "{answers:?}");

    let asked = here.io.to("nobody").timeout(LIMIT).emit_with_ack::<u32>("ask", &1);
    assert!(within("no answers", asked).await.unwrap().is_empty());
}

async fn a_client_that_does_not_acknowledge_is_missed_at_the_timeout(dialect: Dialect, redis: Redis) {
    let Pair { here, there: _there, mut one, mut two, .. } = pair(dialect, &redis).await;
    let asked = here.io.broadcast().timeout(Duration::from_millis(500)).emit_with_ack::<u32>("ask", &1);
    one.expect(r#"20["ask",1]"#).await;
    two.expect(r#"20["ask",1]"#).await;
    one.send("30[1]").await;
    let acks = within("the timeout", asked).await.unwrap();
    let answered = acks.iter().filter(|ack| matches!(ack.result, Ok(1))).count();
    let late = acks.iter().filter(|ack| matches!(ack.result, Err(AckError::Timeout))).count();
    assert_eq!((answered, late), (1, 1));
}

async fn servers_emit_to_each_other(dialect: Dialect, redis: Redis) {
    let Pair { here, there, .. } = pair(dialect, &redis).await;
    let third = Node::start(dialect, &redis).await;
    let (seen, mut events) = log();
    for (name, node) in [("here", &here), ("there", &there), ("third", &third)] {
        let seen = seen.clone();
        node.io.sockets().on_server_event("tell", move |(text, number): (String, u32)| {
            seen.send((name, text, number)).unwrap();
            async {}
        });
        node.io.sockets().on_server_event("ask", move |number: u32| async move { Reply(number + 1) });
    }
    here.io.server_side_emit("tell", &("hello", 1));
    let mut got = events.take(2).await;
    got.sort();
    assert_eq!(got, [("there", "hello".to_owned(), 1), ("third", "hello".to_owned(), 1)]);
    let answers = within("the answers", here.io.server_side_emit_with_ack::<u32>("ask", &1)).await.unwrap();
    assert_eq!(answers, [2, 2]);
    events.assert_empty();
}

async fn a_server_that_does_not_answer_is_missed_at_the_timeout(dialect: Dialect, redis: Redis) {
    let Pair { here, there, .. } = pair(dialect, &redis).await;
    let third = Node::start(dialect, &redis).await;
    there.io.sockets().on_server_event("ask", async |number: u32| Reply(number + 1));
    third.io.sockets().on_server_event("ask", async |_: u32| {});
    let asked = here.io.server_side_emit_with_ack::<u32>("ask", &1);
    let incomplete = within("the timeout", asked).await.unwrap_err();
    assert_eq!(incomplete.arrived, [2]);
    assert!(matches!(incomplete.cause, AdapterError::Timeout { expected: 2, missing: 1 }), "{incomplete}");
}

async fn a_closed_server_is_awaited_by_nobody(dialect: Dialect, redis: Redis) {
    let Pair { here, there, mut one, two, .. } = pair(dialect, &redis).await;
    // A client that does not close its side would be waited for.
    drop(two);
    there.io.emit("farewell", &());
    within("the end", there.io.close()).await;
    // What was queued has left before.
    one.expect(r#"2["farewell"]"#).await;
    assert_eq!(here.io.sockets().server_count().await.unwrap(), 1);
    let found = within("sockets", here.io.sockets().fetch_sockets()).await.unwrap();
    assert_eq!(found.len(), 1);
    let closed = there.io.sockets().fetch_sockets().await.unwrap_err();
    assert!(matches!(closed.cause, AdapterError::Unreachable(_)), "{closed}");
}

async fn a_dropped_server_is_awaited_by_nobody(dialect: Dialect, redis: Redis) {
    let here = Node::start(dialect, &redis).await;
    let adapter = Either::connect(dialect, &redis).await;
    let there = Server::builder().adapter(adapter.clone()).build();
    let room = there.of("/room");
    adapter.ready().await;
    assert_eq!(here.io.sockets().server_count().await.unwrap(), 2);
    // The adapter may live on.
    drop((there, room));
    until(1, async || here.io.sockets().server_count().await.unwrap()).await;
    assert!(within("sockets", here.io.sockets().fetch_sockets()).await.unwrap().is_empty());
    assert_eq!(adapter.stats().link.subscriptions, 0);
    // And serve another server.
    let _another = Server::builder().adapter(adapter.clone()).build();
    adapter.ready().await;
    assert_eq!(here.io.sockets().server_count().await.unwrap(), 2);
}

async fn many_messages_arrive_in_order(dialect: Dialect, redis: Redis) {
    let Pair { here, there, mut two, two_socket, .. } = pair(dialect, &redis).await;
    there.join(&two_socket, &["room"]).await;
    let sender = tokio::spawn(async move {
        for number in 0..MANY {
            here.io.to("room").emit("n", &number);
            if number % 1_000 == 999 {
                tokio::task::yield_now().await;
            }
        }
        here
    });
    for number in 0..MANY {
        two.expect(&format!("2[\"n\",{number}]")).await;
    }
    let here = sender.await.unwrap();
    assert_eq!(here.adapter.stats().link.refused, 0);
    assert!(there.adapter.stats().link.received >= u64::from(MANY));
}

/// Fits the queue of a client that reads as slowly as this one.
const MANY: u32 = 20_000;

async fn a_restart_of_redis_is_survived(dialect: Dialect, mut redis: Redis) {
    let Pair { here, there, mut one, one_socket, mut two, two_socket } = pair(dialect, &redis).await;
    here.join(&one_socket, &["room"]).await;
    there.join(&two_socket, &["room"]).await;
    redis.kill();
    until(2, async || here.adapter.stats().link.lost).await;
    tokio::select! {
        biased;
        () = here.adapter.ready() => panic!("there is no Redis that could have confirmed anything"),
        () = std::future::ready(()) => {}
    }
    here.io.to("room").emit("alone", &());
    one.expect(r#"2["alone"]"#).await;
    let incomplete = within("an end", here.io.sockets().fetch_sockets()).await.unwrap_err();
    assert_eq!(incomplete.arrived.len(), 1, "what is here is found");
    assert!(matches!(incomplete.cause, AdapterError::Unreachable(_)), "{incomplete}");
    redis.restart();
    until(2, async || here.io.sockets().server_count().await.unwrap_or_default()).await;
    here.adapter.ready().await;
    there.adapter.ready().await;
    until(Some(2), async || here.io.sockets().fetch_sockets().await.ok().map(|found| found.len())).await;
    there.io.to("room").emit("together", &());
    one.expect(r#"2["together"]"#).await;
    // What waited for Redis may have arrived before the other node was back, or after.
    let mut text = two.recv().await;
    if text == r#"2["alone"]"# {
        text = two.recv().await;
    }
    assert_eq!(text, r#"2["together"]"#);
    assert!(here.adapter.stats().link.restored > 0);
}

async fn a_second_server_with_the_same_adapter_is_refused(dialect: Dialect, redis: Redis) {
    let Pair { here, there, mut one, mut two, .. } = pair(dialect, &redis).await;
    let adapter = here.adapter.clone();
    let build = || Server::builder().adapter(adapter.clone()).build();
    let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(build)).unwrap_err();
    let message = refused.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| refused.downcast_ref::<&str>().copied()).unwrap_or_default();
    assert!(message.contains("connect another adapter"), "{message:?}");
    // The first one sends and receives as before, and in new namespaces too.
    let _room = here.io.of("/new");
    here.adapter.ready().await;
    here.io.emit("from here", &1);
    two.expect(r#"2["from here",1]"#).await;
    one.expect(r#"2["from here",1]"#).await;
    there.io.emit("from there", &2);
    one.expect(r#"2["from there",2]"#).await;
    drop(one);
    within("the end", here.io.close()).await;
    // One that was closed does not serve another either.
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(build)).is_err());
}

/// A namespace that was made for clients goes with the last of them and comes with the next.
async fn a_namespace_comes_again_at_once(dialect: Dialect, redis: Redis) {
    let (here, there) = (Node::start(dialect, &redis).await, Node::start(dialect, &redis).await);
    let room = here.io.of("/room-1");
    for node in [&here, &there] {
        node.io
            .of_matching(|name, _| name.starts_with("/room-"))
            .on_connection(async |socket: Socket| socket.join("x"));
    }
    for turn in 0..20 {
        let mut client = Client::websocket(there.address).await;
        client.join("/room-1").await;
        there.adapter.ready().await;
        room.emit("all", &turn);
        client.expect(&format!(r#"2/room-1,["all",{turn}]"#)).await;
        room.to("x").emit("room", &turn);
        client.expect(&format!(r#"2/room-1,["room",{turn}]"#)).await;
        // The last socket goes while the next comes: the old node may end before or after the new one has begun.
        client.send("41/room-1,").await;
        if turn % 2 == 0 {
            until(1, async || room.server_count().await.unwrap()).await;
        }
    }
    until(1, async || room.server_count().await.unwrap()).await;
    assert_eq!(there.adapter.stats().malformed, 0);
}

async fn an_event_that_clients_would_refuse_does_not_reach_those_of_other_nodes(
    dialect: Dialect,
    redis: Redis,
) {
    let Pair { here, there, mut two, .. } = pair(dialect, &redis).await;
    let mut limits = Limits::default();
    limits.max_attachments = 11;
    let adapter = Either::connect(dialect, &redis).await;
    let mut third = Node::of(Server::builder().limits(limits), adapter).await;
    let (mut three, _) = third.client().await;
    let values = |count: usize| vec![Bytes::from_static(&[1]); count];
    here.io.emit("many", &(values(11),));
    here.io.emit("most", &(values(10),));
    let packet = two.packet().await;
    assert!(packet.text.contains("most"), "{packet:?}");
    assert_eq!((packet.attachments.len(), there.adapter.stats().malformed), (10, 1));
    // Where clients have been told to accept more, they get it.
    let packet = three.packet().await;
    assert!(packet.text.contains("many"), "{packet:?}");
    assert_eq!((packet.attachments.len(), third.adapter.stats().malformed), (11, 0));
}

async fn a_room_whose_name_is_all_separators_holds_nobody_up(dialect: Dialect, redis: Redis) {
    let Pair { here, there, mut two, two_socket, .. } = pair(dialect, &redis).await;
    let room = "#".repeat(200_000);
    there.join(&two_socket, &[&room]).await;
    here.io.to(&room).emit("room", &1);
    passed_on(&here).await;
    two.expect(r#"2["room",1]"#).await;
    here.io.emit("all", &2);
    two.expect(r#"2["all",2]"#).await;
}

/// Waits until Redis has passed on everything that a node has published.
async fn passed_on(node: &Node) {
    until(true, async || {
        let stats = node.adapter.stats().link;
        stats.published > 0 && stats.confirmed == stats.published
    })
    .await;
}

#[tokio::test]
async fn the_dialects_do_not_meet() {
    if !full_run() {
        return;
    }
    let dialects = [Dialect::Classic, Dialect::Sharded(SubscriptionMode::Dynamic)];
    for (own, other) in [(dialects[0], dialects[1]), (dialects[1], dialects[0])] {
        let redis = Redis::start();
        let stranger = Node::start(other, &redis).await;
        let (mut here, there) = (Node::start(own, &redis).await, Node::start(own, &redis).await);
        let (mut client, _) = here.client().await;
        stranger.io.emit("strange", &());
        passed_on(&stranger).await;
        // From the other node, so that it comes through Redis, behind whatever comes from there.
        there.io.emit("known", &());
        client.expect(r#"2["known"]"#).await;
        assert_eq!(stranger.io.sockets().server_count().await.unwrap(), 1);
        assert_eq!(here.io.sockets().server_count().await.unwrap(), 2);
        assert_eq!(here.adapter.stats().malformed, 0);
    }
}

#[tokio::test]
async fn prefixes_keep_clusters_apart() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let other = RedisAdapter::builder().key("other").connect(redis.url()).await.unwrap();
    let other = Node::with(Either::Classic(other)).await;
    let mut usual = Node::start(Dialect::Classic, &redis).await;
    let another = Node::start(Dialect::Classic, &redis).await;
    let (mut client, _) = usual.client().await;
    other.io.emit("other", &());
    passed_on(&other).await;
    another.io.emit("usual", &());
    client.expect(r#"2["usual"]"#).await;
    assert_eq!(usual.io.sockets().server_count().await.unwrap(), 2);
    assert_eq!(other.io.sockets().server_count().await.unwrap(), 1);
}

#[tokio::test]
async fn without_redis_connecting_is_an_error_or_waits_as_told() {
    if !full_run() {
        return;
    }
    let mut redis = Redis::start();
    redis.kill();
    let builder = RedisAdapter::builder().connect_timeout(Duration::from_millis(300));
    let error = within("an error", builder.connect(redis.url())).await.unwrap_err();
    assert!(error.to_string().contains(&redis.port().to_string()), "{error}");

    let (events, mut heard) = log();
    let adapter = RedisAdapter::builder()
        .start_without_redis(true)
        .on_event(move |event: &RedisEvent| {
            if matches!(event, RedisEvent::Connected { .. } | RedisEvent::Closed { .. }) {
                events.send(format!("{event:?}")).unwrap();
            }
        })
        .connect(redis.url());
    let adapter = within("a server without Redis", adapter).await.unwrap();
    let io = Server::builder().adapter(adapter.clone()).build();
    let (mut client, _) = Client::connected(serve(&io).await).await;
    io.emit("here", &());
    client.expect(r#"2["here"]"#).await;
    assert!(io.sockets().server_count().await.is_err());
    redis.restart();
    assert!(heard.next().await.starts_with("Connected"));
    within("subscriptions", adapter.ready()).await;
    let mut other = Node::start(Dialect::Classic, &redis).await;
    let (mut there, _) = other.client().await;
    io.emit("both", &());
    client.expect(r#"2["both"]"#).await;
    // What was emitted before there was a Redis has waited for it and reached nobody: nobody was there.
    there.expect(r#"2["both"]"#).await;
    drop(client);
    within("the end", io.close()).await;
    assert!(heard.next().await.starts_with("Closed"));
}
