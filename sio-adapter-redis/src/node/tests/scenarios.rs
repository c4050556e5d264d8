//! What nodes do together when they are told to, each in every dialect.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{AdapterError, BroadcastOptions, Incomplete, SocketDetails};

use super::sockets::SimSink;
use super::world::World;
use super::{Dialect, InClassic, InSharded, in_both, settings};
use crate::node::{Answers, Bus, Node, Refused, Topic};
use sio_protocol::cluster::sharded::Mode;

in_both! {
    every_socket_in_a_room_gets_a_broadcast_once
    local_broadcasts_stay_here
    attachments_arrive
    rooms_change_on_all_nodes_once
    sockets_are_fetched_from_all_nodes
    rooms_are_listed_from_all_nodes
    handlers_of_all_other_nodes_get_events
    handlers_of_all_other_nodes_answer
    clients_of_all_nodes_acknowledge
    a_count_that_no_node_can_mean_is_malformed
    a_node_alone_asks_nobody
    a_dead_node_is_missing_at_the_timeout
    a_handler_that_does_not_answer_is_missing_at_the_timeout
    clients_that_do_not_answer_are_forgotten_at_the_timeout
    uncounted_nodes_end_requests_with_what_is_here
    requests_share_counts
    requests_beyond_the_bound_are_refused
    questions_beyond_the_bound_reach_clients_without_answers
    answers_beyond_the_bound_end_the_request
    what_the_queue_refuses_ends_at_once
    what_the_queue_refuses_after_a_count_is_released_once
    the_end_of_a_node_ends_its_requests
    a_node_that_ended_is_not_counted
    malformed_messages_are_counted_and_change_nothing
    messages_of_one_s_own_and_of_other_namespaces_are_ignored
    a_message_for_rooms_of_others_is_not_read
}

pub(crate) fn to(rooms: &[&str]) -> BroadcastOptions {
    let mut options = BroadcastOptions::default();
    options.rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
    options
}

fn except(mut options: BroadcastOptions, rooms: &[&str]) -> BroadcastOptions {
    options.except = rooms.iter().map(|room| (*room).to_owned()).collect();
    options
}

fn event(data: &str) -> Packet<'static> {
    Packet::event("/", None, data.to_owned(), Vec::new())
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn arrived<T>(mut answers: Answers<T>) -> Result<Vec<T>, Incomplete<T>> {
    answers.try_recv().expect("the request has not ended")
}

fn ids(sockets: Result<Vec<SocketDetails>, Incomplete<SocketDetails>>) -> Vec<String> {
    let mut ids: Vec<_> = sockets.unwrap().iter().map(|socket| socket.id.to_string()).collect();
    ids.sort();
    ids
}

fn texts(answers: &[OwnedArgs]) -> Vec<String> {
    let mut texts: Vec<_> = answers.iter().map(|args| args.raw().json().to_owned()).collect();
    texts.sort();
    texts
}

/// Three nodes: a and b on the first, c on the second, d on the third; a and c in the room x, c and d in y.
fn world<D: Dialect>(dialect: D) -> World<D> {
    let mut world = World::new(dialect, 1, 3);
    world.nodes[0].sockets.connect("a", &["x"]);
    world.nodes[0].sockets.connect("b", &[]);
    world.nodes[1].sockets.connect("c", &["x", "y"]);
    world.nodes[2].sockets.connect("d", &["y"]);
    world.settle();
    world
}

fn who_got<D: Dialect>(world: &World<D>, data: &str) -> Vec<String> {
    let mut got = Vec::new();
    for node in &world.nodes {
        for (id, socket) in &node.sockets.locked().sockets {
            got.extend(socket.received.iter().filter(|(seen, _)| seen == data).map(|_| id.clone()));
        }
    }
    got.sort();
    got
}

fn every_socket_in_a_room_gets_a_broadcast_once<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let cases = [
        (to(&[]), vec!["a", "b", "c", "d"]),
        (to(&["x"]), vec!["a", "c"]),
        (to(&["x", "y"]), vec!["a", "c", "d"]),
        (except(to(&[]), &["y"]), vec!["a", "b"]),
        (except(to(&["x"]), &["c"]), vec!["a"]),
        (to(&["d"]), vec!["d"]),
        (to(&["nobody"]), vec![]),
    ];
    for (number, (options, expected)) in cases.into_iter().enumerate() {
        for sender in 0..3 {
            let data = format!("[\"e\",{number},{sender}]");
            world.with_node(sender, |node, bus, _| node.broadcast(&event(&data), &options, bus));
            world.settle();
            assert_eq!(who_got(&world, &data), expected, "case {number} from {sender}");
        }
    }
}

fn local_broadcasts_stay_here<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let mut options = to(&[]);
    options.flags.local = true;
    let before = world.published.len();
    world.with_node(0, |node, bus, now| {
        node.broadcast(&event("[\"e\"]"), &options, bus);
        node.join_sockets(&options, &strings(&["here"]), bus);
        node.leave_sockets(&to_local(&["here"]), &strings(&["x"]), bus);
        assert_eq!(ids(arrived(node.fetch_sockets(&options, now, bus))), ["a", "b"]);
        node.disconnect_sockets(&to_local(&["b"]), false, bus);
    });
    let sink = SimSink::caller();
    world.with_node(0, |node, bus, now| {
        node.broadcast_with_ack(&event("[\"e\"]"), &options, sink.clone(), now, bus);
    });
    world.settle();
    assert_eq!(who_got(&world, "[\"e\"]"), ["a", "a"]);
    assert_eq!(sink.collected().complete_at, Some(1));
    assert_eq!(world.published.len(), before);
    assert_eq!(world.nodes[0].sockets.locked().sockets["a"].rooms.iter().collect::<Vec<_>>(), ["here"]);
}

fn to_local(rooms: &[&str]) -> BroadcastOptions {
    let mut options = to(rooms);
    options.flags.local = true;
    options
}

fn attachments_arrive<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let data = r#"["bin",{"_placeholder":true,"num":0},{"b":{"_placeholder":true,"num":1}}]"#;
    let bytes = vec![Bytes::from_static(&[1, 2]), Bytes::from_static(&[0xff])];
    let packet = Packet::event("/", None, data, bytes.clone());
    world.with_node(0, |node, bus, _| node.broadcast(&packet, &to(&["x"]), bus));
    world.settle();
    let state = world.nodes[1].sockets.locked();
    assert_eq!(state.sockets["c"].received, [(data.to_owned(), bytes)]);
}

fn rooms_change_on_all_nodes_once<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    world.with_node(2, |node, bus, _| node.join_sockets(&to(&["x"]), &strings(&["new", "z"]), bus));
    let rooms = |world: &World<D>, node: usize, id: &str| {
        world.nodes[node].sockets.locked().sockets[id].rooms.iter().cloned().collect::<Vec<_>>()
    };
    if D::ECHOED {
        // Nothing changes before the request comes back.
        assert_eq!(world.nodes[2].sockets.locked().joins.get("new"), None);
    }
    world.settle();
    assert_eq!(rooms(&world, 0, "a"), ["new", "x", "z"]);
    assert_eq!(rooms(&world, 1, "c"), ["new", "x", "y", "z"]);
    for node in &world.nodes {
        assert_eq!(node.sockets.locked().joins.get("new"), Some(&1));
    }
    world.with_node(1, |node, bus, _| node.leave_sockets(&to(&["new"]), &strings(&["x", "z"]), bus));
    world.settle();
    assert_eq!(rooms(&world, 0, "a"), ["new"]);
    assert_eq!(rooms(&world, 1, "c"), ["new", "y"]);
    world.with_node(0, |node, bus, _| node.disconnect_sockets(&except(to(&[]), &["new"]), true, bus));
    world.settle();
    let left: Vec<_> = world.nodes.iter().map(|node| node.sockets.select(&to(&[]))).collect();
    assert_eq!(left, [strings(&["a"]), strings(&["c"]), strings(&[])]);
}

fn sockets_are_fetched_from_all_nodes<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let fetch = |world: &mut World<D>, node: usize, options: BroadcastOptions| {
        let answers = world.with_node(node, |node, bus, now| node.fetch_sockets(&options, now, bus));
        world.settle();
        arrived(answers)
    };
    assert_eq!(ids(fetch(&mut world, 0, to(&[]))), ["a", "b", "c", "d"]);
    assert_eq!(ids(fetch(&mut world, 1, to(&["x"]))), ["a", "c"]);
    assert_eq!(ids(fetch(&mut world, 2, except(to(&[]), &["a"]))), ["b", "c", "d"]);
    let found = fetch(&mut world, 0, to(&["c"])).unwrap();
    let [socket] = &found[..] else { panic!("{found:?}") };
    assert_eq!(socket.rooms, ["c", "x", "y"]);
    assert_eq!(socket.handshake["query"]["id"], "c");
    assert_eq!(socket.data["of"], "c");
    world.assert_idle();
    assert!(world.elapsed() < Duration::from_secs(5));
}

fn rooms_are_listed_from_all_nodes<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let answers = world.with_node(1, |node, bus, now| node.all_rooms(now, bus));
    world.settle();
    assert_eq!(arrived(answers).unwrap(), ["a", "b", "c", "d", "x", "y"]);
    world.assert_idle();
}

fn handlers_of_all_other_nodes_get_events<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    world.with_node(1, |node, bus, _| node.server_side_emit(&event("[\"hello\",1]"), bus));
    world.settle();
    let seen: Vec<_> = world
        .nodes
        .iter()
        .map(|node| node.sockets.locked().joins.get("event [\"hello\",1]").copied().unwrap_or_default())
        .collect();
    assert_eq!(seen, [1, 0, 1]);
}

fn handlers_of_all_other_nodes_answer<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let ask = event("[\"ask\",1]");
    let answers = world.with_node(1, |node, bus, now| node.server_side_emit_with_ack(&ask, now, bus));
    world.settle();
    // Only the first argument of an answer travels.
    assert_eq!(texts(&arrived(answers).unwrap()), ["0", "2"]);
    world.assert_idle();
    assert!(world.elapsed() < Duration::from_secs(5));
}

fn clients_of_all_nodes_acknowledge<D: Dialect>(dialect: D) {
    for (options, expected) in [
        (to(&["x"]), vec!["a", "c"]),
        (to(&[]), vec!["a", "b", "c", "d"]),
        (to(&["d"]), vec!["d"]),
        (to(&["nobody"]), vec![]),
    ] {
        let mut world = world(dialect.clone());
        let sink = SimSink::caller();
        world.with_node(0, |node, bus, now| {
            node.broadcast_with_ack(&event("[\"q\"]"), &options, sink.clone(), now, bus);
        });
        // However little there is to do here, the other nodes are waited for.
        assert_eq!(sink.collected().complete_at, None);
        world.settle();
        let collected = sink.collected();
        let expected: Vec<_> = expected.iter().map(|id| format!("{{\"{id}\":[\"q\"]}}")).collect();
        assert_eq!(texts(&collected.answers), expected);
        assert_eq!((collected.parties, collected.expected), (0, expected.len()));
        assert_eq!(collected.complete_at, Some(expected.len()));
        drop(collected);
        world.assert_idle();
        assert!(world.elapsed() < Duration::from_secs(5));
    }
}

fn a_count_that_no_node_can_mean_is_malformed<D: Dialect>(dialect: D) {
    for claim in [1_000_001, 1_000_000_000_000, u64::MAX] {
        let mut world = world(dialect.clone());
        let sink = SimSink::caller();
        world.with_node(0, |node, bus, now| {
            node.broadcast_with_ack(&event("[\"q\"]"), &to(&[]), sink.clone(), now, bus);
        });
        world.collect();
        let (_, question) = world.published.last().unwrap();
        let id = request_id::<D>(question);
        let response = format!(
            r#"{{"type":{},"requestId":"{id}","clientCount":{claim},"uid":"x","data":{{"requestId":"{id}","clientCount":{claim}}}}}"#,
            if D::ECHOED { 8 } else { 11 }
        );
        // Where a node of this dialect takes responses, whoever they are from.
        let channel = if D::ECHOED {
            format!("socket.io-response#{}#", world.nsp())
        } else {
            format!("socket.io#{}#", world.nsp())
        };
        let node = &world.nodes[0];
        node.node.handle_message(&channel, &response.into(), world.now, &node.bus);
        assert_eq!(malformed::<D>(&world), 1, "{claim}");
        world.settle();
        let collected = sink.collected();
        assert_eq!((collected.parties, collected.expected, collected.complete_at), (0, 4, Some(4)));
        drop(collected);
        world.assert_idle();
    }
}

/// What a request is called, in either notation: the key, the mark of MessagePack or `":"`, a name of known length.
fn request_id<D: Dialect>(message: &[u8]) -> String {
    let key = message.windows(9).position(|window| window == b"requestId").unwrap();
    let (mark, length) = if D::ECHOED { (1, 6) } else { (3, 16) };
    let start = key + 9 + mark;
    String::from_utf8(message[start..start + length].to_vec()).unwrap()
}

fn a_node_alone_asks_nobody<D: Dialect>(dialect: D) {
    let mut world = World::new(dialect, 1, 1);
    world.nodes[0].sockets.connect("a", &["x"]);
    world.settle();
    let (sockets, rooms, events) = world.with_node(0, |node, bus, now| {
        (
            node.fetch_sockets(&to(&[]), now, bus),
            node.all_rooms(now, bus),
            node.server_side_emit_with_ack(&event("[\"ask\"]"), now, bus),
        )
    });
    world.settle();
    assert_eq!(ids(arrived(sockets)), ["a"]);
    assert_eq!(arrived(rooms).unwrap(), ["a", "x"]);
    assert!(arrived(events).unwrap().is_empty());
    assert!(world.published.is_empty());
    world.assert_idle();
}

fn a_dead_node_is_missing_at_the_timeout<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    world.kill(2, Duration::from_secs(60));
    let start = world.now;
    let sink = SimSink::caller();
    let (sockets, rooms, events) = world.with_node(0, |node, bus, now| {
        node.broadcast_with_ack(&event("[\"q\"]"), &to(&[]), sink.clone(), now, bus);
        (
            node.fetch_sockets(&to(&[]), now, bus),
            node.all_rooms(now, bus),
            node.server_side_emit_with_ack(&event("[\"ask\"]"), now, bus),
        )
    });
    world.run(Duration::from_secs(5));
    assert_eq!(world.now - start, Duration::from_secs(5));
    let sockets = arrived(sockets).unwrap_err();
    assert!(matches!(sockets.cause, AdapterError::Timeout { expected: 2, missing: 1 }), "{}", sockets.cause);
    assert_eq!(ids(Ok(sockets.arrived)), ["a", "b", "c"]);
    let rooms = arrived(rooms).unwrap_err();
    assert_eq!(rooms.arrived, ["a", "b", "c", "x", "y"]);
    let events = arrived(events).unwrap_err();
    assert!(matches!(events.cause, AdapterError::Timeout { expected: 2, missing: 1 }));
    assert_eq!(texts(&events.arrived), ["1"]);
    // The sink has what came; that it is not complete, its own timeout notices.
    assert_eq!(sink.collected().answers.len(), 3);
    assert_eq!(sink.collected().complete_at, None);
    world.assert_idle();
    // Once Redis has noticed, nobody waits for it any more.
    world.run(Duration::from_secs(60));
    let sockets = world.with_node(0, |node, bus, now| node.fetch_sockets(&to(&[]), now, bus));
    world.settle();
    assert_eq!(ids(arrived(sockets)), ["a", "b", "c"]);
}

fn a_handler_that_does_not_answer_is_missing_at_the_timeout<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let tell = event("[\"tell\"]");
    let answers = world.with_node(0, |node, bus, now| node.server_side_emit_with_ack(&tell, now, bus));
    world.settle();
    let error = arrived(answers).unwrap_err();
    assert!(error.arrived.is_empty());
    assert!(matches!(error.cause, AdapterError::Timeout { expected: 2, missing: 2 }));
    world.assert_idle();
}

fn clients_that_do_not_answer_are_forgotten_at_the_timeout<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    world.faults.silence = 1_000;
    let mut options = to(&[]);
    options.flags.timeout = Some(Duration::from_secs(2));
    let sink = SimSink::caller();
    world.with_node(0, |node, bus, now| {
        node.broadcast_with_ack(&event("[\"q\"]"), &options, sink.clone(), now, bus);
    });
    world.run(Duration::from_secs(1));
    let parties_and_clients = {
        let collected = sink.collected();
        (collected.parties, collected.expected)
    };
    assert_eq!(parties_and_clients, (0, 4));
    assert_eq!(D::open(&world.nodes[0].node), (1, 0));
    assert_eq!(D::open(&world.nodes[1].node), (0, 1));
    // The others have heard of it a little later, and forget it a little later.
    world.run(Duration::from_millis(1_100));
    world.assert_idle();
}

fn uncounted_nodes_end_requests_with_what_is_here<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    world.faults.uncounted = 1_000;
    let answers = world.with_node(0, |node, bus, now| node.fetch_sockets(&to(&[]), now, bus));
    world.settle();
    let error = arrived(answers).unwrap_err();
    assert_eq!(ids(Ok(error.arrived)), ["a", "b"]);
    assert!(matches!(error.cause, AdapterError::Unreachable(_)));
    world.assert_idle();
    assert!(world.elapsed() < Duration::from_secs(1));
}

fn requests_share_counts<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let counted = AtomicUsize::new(0);
    let answers: Vec<_> = (0..100)
        .map(|_| {
            world.with_node(0, |node, bus, now| {
                let bus = Counting(bus, &counted);
                node.fetch_sockets(&to(&[]), now, &bus)
            })
        })
        .collect();
    assert_eq!(counted.load(Ordering::Relaxed), 1, "one count is under way");
    world.settle();
    for answers in answers {
        assert_eq!(ids(arrived(answers)), ["a", "b", "c", "d"]);
    }
    world.assert_idle();
}

/// Notes how often nodes are counted.
struct Counting<'a>(&'a super::world::SimBus, &'a AtomicUsize);

impl Bus for Counting<'_> {
    fn publish(&self, channel: &str, message: Bytes) -> Result<(), Refused> {
        self.0.publish(channel, message)
    }

    fn subscribe(&self, topic: Topic) {
        self.0.subscribe(topic);
    }

    fn unsubscribe(&self, topic: Topic) {
        self.0.unsubscribe(topic);
    }

    fn count(&self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.count();
    }

    fn wake(&self) {}
}

fn requests_beyond_the_bound_are_refused<D: Dialect>(dialect: D) {
    let settings = super::Settings { max_requests: 2, ..settings() };
    let mut world = World::with(dialect, 1, 2, settings);
    world.nodes[0].sockets.connect("a", &[]);
    world.settle();
    let fetch =
        |world: &World<D>| world.with_node(0, |node, bus, now| node.fetch_sockets(&to(&[]), now, bus));
    let (first, second, third) = (fetch(&world), fetch(&world), fetch(&world));
    let refused = arrived(third).unwrap_err();
    assert!(matches!(refused.cause, AdapterError::TooManyPending(2)));
    assert_eq!(ids(Ok(refused.arrived)), ["a"]);
    let sink = SimSink::caller();
    world.with_node(0, |node, bus, now| {
        node.broadcast_with_ack(&event("[\"q\"]"), &to(&[]), sink.clone(), now, bus);
    });
    assert_eq!(world.nodes[0].sockets.locked().reports.len(), 1);
    world.settle();
    assert!(arrived(first).is_ok() && arrived(second).is_ok());
    assert_eq!(sink.collected().complete_at, None, "who cannot be awaited is not passed over");
    // Those nobody waits for make room, if looking for them was not in vain just now.
    world.run(Duration::from_secs(1));
    drop((fetch(&world), fetch(&world)));
    let fourth = fetch(&world);
    world.settle();
    assert!(arrived(fourth).is_ok());
    world.assert_idle();
}

fn questions_beyond_the_bound_reach_clients_without_answers<D: Dialect>(dialect: D) {
    let settings = super::Settings { max_questions: 1, ..settings() };
    let mut world = World::with(dialect, 1, 2, settings);
    world.nodes[1].sockets.connect("c", &[]);
    world.settle();
    world.faults.silence = 1_000;
    let sinks: Vec<_> = (0..2)
        .map(|number| {
            let sink = SimSink::caller();
            world.with_node(0, |node, bus, now| {
                let question = event(&format!("[\"q\",{number}]"));
                node.broadcast_with_ack(&question, &to(&[]), sink.clone(), now, bus);
            });
            world.run(Duration::from_millis(100));
            world.faults.silence = 0;
            sink
        })
        .collect();
    world.settle();
    assert_eq!(world.nodes[1].sockets.received("c"), ["[\"q\",0]", "[\"q\",1]"]);
    for sink in sinks {
        let collected = sink.collected();
        assert_eq!((collected.parties, collected.expected, collected.answers.len()), (0, 1, 0));
    }
    world.assert_idle();
}

fn answers_beyond_the_bound_end_the_request<D: Dialect>(dialect: D) {
    let settings = super::Settings { max_answer_bytes: 10, ..settings() };
    let mut world = World::with(dialect, 1, 3, settings);
    world.nodes[1].sockets.connect("c", &[]);
    world.settle();
    let answers = world.with_node(0, |node, bus, now| node.fetch_sockets(&to(&[]), now, bus));
    let sink = SimSink::caller();
    world.with_node(0, |node, bus, now| {
        node.broadcast_with_ack(&event("[\"q\"]"), &to(&[]), sink.clone(), now, bus);
    });
    world.settle();
    let error = arrived(answers).unwrap_err();
    assert!(matches!(error.cause, AdapterError::TooLarge { limit: 10 }));
    assert!(sink.collected().answers.is_empty());
    world.assert_idle();
}

fn what_the_queue_refuses_ends_at_once<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let refuse = |world: &World<D>, refused: Option<&str>| {
        *world.nodes[0].bus.refusal.lock().unwrap() = refused.map(|text| Refused(text.to_owned()));
    };
    refuse(&world, Some("full"));
    let sink = SimSink::caller();
    let (answers, start) = world.with_node(0, |node, bus, now| {
        node.broadcast(&event("[\"e\"]"), &to(&[]), bus);
        node.broadcast_with_ack(&event("[\"q\"]"), &to(&[]), sink.clone(), now, bus);
        (node.fetch_sockets(&to(&[]), now, bus), now)
    });
    world.settle();
    assert!(world.now - start < Duration::from_secs(1));
    let error = arrived(answers).unwrap_err();
    assert!(matches!(&error.cause, AdapterError::Unreachable(text) if text == "full"));
    assert_eq!(ids(Ok(error.arrived)), ["a", "b"]);
    assert_eq!(sink.collected().complete_at, Some(2), "nobody else was asked");
    assert_eq!(who_got(&world, "[\"e\"]"), ["a", "b"]);
    refuse(&world, None);
    world.with_node(0, |node, bus, _| node.broadcast(&event("[\"f\"]"), &to(&[]), bus));
    world.settle();
    assert_eq!(who_got(&world, "[\"f\"]"), ["a", "b", "c", "d"]);
    world.assert_idle();
}

/// A count ends on another thread while the broadcast that it is for is being refused.
fn what_the_queue_refuses_after_a_count_is_released_once<D: Dialect>(dialect: D) {
    struct Late<'a, N>(&'a N, &'a super::world::SimBus);
    impl<N: Node> Bus for Late<'_, N> {
        fn publish(&self, _: &str, _: Bytes) -> Result<(), Refused> {
            self.0.handle_count(Ok(1), self.1);
            Err(Refused("full".to_owned()))
        }
        fn subscribe(&self, _: Topic) {}
        fn unsubscribe(&self, _: Topic) {}
        fn count(&self) {}
        fn wake(&self) {}
    }
    let mut world = world(dialect);
    let sink = SimSink::caller();
    world.with_node(0, |node, bus, now| {
        node.broadcast_with_ack(&event("[\"q\"]"), &to(&[]), sink.clone(), now, &Late(node, bus));
    });
    world.settle();
    assert_eq!(sink.collected().complete_at, Some(2), "the clients of this node are awaited");
}

fn the_end_of_a_node_ends_its_requests<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let (fetch, ask) = world.with_node(0, |node, bus, now| {
        let fetch = node.fetch_sockets(&to(&[]), now, bus);
        (fetch, node.server_side_emit_with_ack(&event("[\"ask\"]"), now, bus))
    });
    world.with_node(0, |node, bus, _| node.stop(bus));
    assert!(matches!(arrived(fetch).unwrap_err().cause, AdapterError::Unreachable(_)));
    assert!(arrived(ask).is_err());
    assert!(world.nodes[0].bus.topics.lock().unwrap().is_empty());
    world.settle();
    world.assert_idle();
    let late = world.with_node(0, |node, bus, now| node.all_rooms(now, bus));
    assert!(matches!(arrived(late).unwrap_err().cause, AdapterError::Unreachable(_)));
}

fn a_node_that_ended_is_not_counted<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    world.with_node(2, |node, bus, _| node.stop(bus));
    let joined = world.add_node();
    world.nodes[joined].sockets.connect("e", &["x"]);
    world.settle();
    let answers = world.with_node(0, |node, bus, now| node.fetch_sockets(&to(&["x", "y"]), now, bus));
    world.settle();
    assert_eq!(ids(arrived(answers)), ["a", "c", "e"]);
}

fn malformed_messages_are_counted_and_change_nothing<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    let channels: Vec<String> = ["#NSP#", "#NSP#x#", "-request#NSP#", "-response#NSP#"]
        .map(|end| format!("socket.io{}", end.replace("NSP", world.nsp())))
        .to_vec();
    let mut random = super::Random::new(7);
    for round in 0..2_000 {
        let channel = &channels[random.below(4)];
        let mut message: Vec<u8> = (0..random.below(40)).map(|_| (random.next() & 0xff) as u8).collect();
        if round % 2 == 0 {
            message.insert(0, b'{');
        }
        world.with_node(0, |node, bus, now| node.handle_message(channel, &message.into(), now, bus));
    }
    // What is on channels that the dialect does not have is not looked at.
    let unconcerned = D::counters(&world.nodes[0].node).unconcerned.load(Ordering::Relaxed);
    assert_eq!(malformed::<D>(&world) + unconcerned, 2_000);
    assert!(if D::ECHOED { unconcerned < 10 } else { (900..1_100).contains(&unconcerned) }, "{unconcerned}");
    world.settle();
    assert!(world.published.is_empty(), "malformed messages are not answered");
    let answers = world.with_node(0, |node, bus, now| node.fetch_sockets(&to(&[]), now, bus));
    world.settle();
    assert_eq!(ids(arrived(answers)), ["a", "b", "c", "d"]);
    world.assert_idle();
}

fn messages_of_one_s_own_and_of_other_namespaces_are_ignored<D: Dialect>(dialect: D) {
    let mut world = world(dialect);
    for options in [to(&[]), to(&["x"])] {
        world.with_node(0, |node, bus, _| node.broadcast(&event("[\"e\"]"), &options, bus));
        let binary = Packet::event(
            "/",
            None,
            r#"["b",{"_placeholder":true,"num":0}]"#,
            vec![Bytes::from_static(b"\x01")],
        );
        world.with_node(0, |node, bus, _| node.broadcast(&binary, &options, bus));
        world.settle();
    }
    assert_eq!(world.nodes[0].sockets.locked().written, 0);
    // The same again, as if for a namespace whose name begins like a room of this one.
    for (channel, message) in world.published.clone() {
        let text: Vec<u8> = message.to_vec();
        let at = (0..text.len()).rev().find(|at| text[*at..].starts_with(b"nsp")).unwrap();
        let mut other = text.clone();
        let slash = (at..text.len()).find(|at| text[*at] == b'/').unwrap();
        other[slash] = b'x';
        let before = world.nodes[1].sockets.locked().written;
        world.with_node(1, |node, bus, now| node.handle_message(&channel, &other.into(), now, bus));
        assert_eq!(world.nodes[1].sockets.locked().written, before, "{channel}");
    }
}

fn a_message_for_rooms_of_others_is_not_read<D: Dialect>(dialect: D) {
    let world = world(dialect);
    let node = &world.nodes[0].node;
    // Whatever it is, it is none of our business.
    let message = Bytes::from_static(b"\x93\xa1u\xc1");
    let counters = |f: &dyn Fn()| {
        let before = node.local().locked().written;
        f();
        assert_eq!(node.local().locked().written, before);
    };
    let channel = |room: &str| format!("socket.io#{}#{room}#", world.nsp());
    counters(&|| node.handle_message(&channel("nobody"), &message, world.now, &world.nodes[0].bus));
    assert_eq!(malformed::<D>(&world), 0);
    counters(&|| node.handle_message(&channel("x"), &message, world.now, &world.nodes[0].bus));
    assert_eq!(malformed::<D>(&world), 1);
}

fn malformed<D: Dialect>(world: &World<D>) -> u64 {
    D::counters(&world.nodes[0].node).malformed.load(Ordering::Relaxed)
}

#[test]
fn answers_to_what_others_have_asked_are_not_read() {
    let world = world(InClassic::default());
    let answer = |rest: &str| format!(r#"{{"requestId":"nobody","rooms":[{rest}"#).into();
    world.with_node(0, |node, bus, now| {
        node.handle_message("socket.io-response#/#", &answer(r#""r"]}"#), now, bus);
        node.handle_message("socket.io-response#/#", &answer("whatever"), now, bus);
    });
    assert_eq!(malformed::<InClassic>(&world), 0);
    let unconcerned = &InClassic::counters(&world.nodes[0].node).unconcerned;
    assert_eq!(unconcerned.load(Ordering::Relaxed), 2);
}

#[test]
fn room_channels_follow_the_rooms() {
    let channel = |room: &str| format!("socket.io#/#{room}#");
    let id = "abcdefghijklmnopqrst";
    for (mode, rooms) in
        [(Mode::Static, vec![]), (Mode::Dynamic, vec!["r"]), (Mode::DynamicPrivate, vec!["r", id])]
    {
        let mut world = World::new(InSharded(mode), 1, 1);
        world.settle();
        let basic = world.nodes[0].bus.shards();
        assert_eq!(basic.len(), 2);
        world.nodes[0].sockets.connect(id, &["r"]);
        let mut expected = basic.clone();
        expected.extend(rooms.iter().map(|room| channel(room)));
        assert_eq!(world.nodes[0].bus.shards(), expected, "{mode:?}");
        world.nodes[0].sockets.disconnect(id);
        assert_eq!(world.nodes[0].bus.shards(), basic, "{mode:?}");
    }
}

#[test]
fn ids_of_another_length_have_channels_of_their_own() {
    let id = "/admin#CAuIFmK6wXQLJ1NjAAAB";
    let sockets = super::sockets::Sockets::default();
    let node = InSharded(Mode::Dynamic).node(sockets, super::identity("/admin", 1), &settings());
    assert_eq!(node.room_interest(), sio_server::RoomInterest::All);
    let world = World::new(InSharded(Mode::Dynamic), 1, 1);
    assert_eq!(world.nodes[0].node.room_interest(), sio_server::RoomInterest::Rooms);
    world.nodes[0].sockets.connect(id, &[]);
    assert!(world.nodes[0].bus.shards().contains(&format!("socket.io#/#{id}#")));
}

#[test]
fn broadcasts_are_subscribed_to_before_others_count_the_node() {
    let topics = started(&InClassic::default());
    let at = |wanted: &Topic| topics.iter().position(|topic| topic == wanted).unwrap();
    let pattern = at(&Topic::Pattern("socket.io#/#*".into()));
    assert!(pattern < at(&Topic::Channel("socket.io-request#/#".into())), "{topics:?}");
}

fn started<D: Dialect>(dialect: &D) -> Vec<Topic> {
    struct Order(std::sync::Mutex<Vec<Topic>>);
    impl Bus for Order {
        fn publish(&self, _: &str, _: Bytes) -> Result<(), Refused> {
            panic!("nothing is published at the start");
        }
        fn subscribe(&self, topic: Topic) {
            self.0.lock().unwrap().push(topic);
        }
        fn unsubscribe(&self, _: Topic) {}
        fn count(&self) {}
        fn wake(&self) {}
    }
    let order = Order(std::sync::Mutex::default());
    dialect.node(super::sockets::Sockets::default(), super::identity("/", 1), &settings()).start(&order);
    order.0.into_inner().unwrap()
}
