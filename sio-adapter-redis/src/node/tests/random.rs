//! Random clusters: everything that applications do, while nodes come and die. Each run is named by its seed.

use std::collections::BTreeSet;
use std::time::Duration;

use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{AdapterError, BroadcastOptions, SocketDetails};

use super::sockets::SimSink;
use super::world::{Faults, World};
use super::{Dialect, in_both};
use crate::node::{Answers, Node};

in_both! {
    without_faults_everything_is_exact
    with_faults_nothing_is_left_and_nothing_comes_twice
    with_duplication_everything_ends
}

const ROOMS: [&str; 4] = ["r", "s", "t", "u"];

/// What an application waits for.
enum Asked {
    Sockets(Answers<SocketDetails>, BroadcastOptions),
    Rooms(Answers<String>),
    Events(Answers<OwnedArgs>),
    Clients(SimSink, BroadcastOptions),
}

struct Run<D: Dialect> {
    world: World<D>,
    sockets: usize,
    number: usize,
    asked: Vec<(usize, Asked)>,
    /// The rooms that were joined from outside, one for each time.
    joins: Vec<String>,
    broadcasts: Vec<(String, BroadcastOptions)>,
}

impl<D: Dialect> Run<D> {
    fn new(dialect: D, seed: u64) -> Self {
        let mut world = World::new(dialect, seed, 1);
        for _ in 0..world.random.below(4) {
            world.add_node();
        }
        world.settle();
        Self { world, sockets: 0, number: 0, asked: Vec::new(), joins: Vec::new(), broadcasts: Vec::new() }
    }

    fn node(&mut self) -> usize {
        let alive = self.world.alive();
        *self.world.random.pick(&alive).unwrap()
    }

    fn options(&mut self) -> BroadcastOptions {
        let random = &mut self.world.random;
        let mut some = |most: usize| {
            (0..random.below(most + 1))
                .map(|_| random.pick(&ROOMS).unwrap().to_string())
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        };
        let (rooms, except) = (some(2), some(1));
        let mut options = BroadcastOptions::default();
        options.rooms = rooms;
        options.except = except;
        if self.sockets > 0 && self.world.random.chance(200) {
            options.rooms = vec![format!("socket-{}", self.world.random.below(self.sockets))];
        }
        options.flags.local = self.world.random.chance(100);
        options
    }

    fn event(&mut self, name: &str) -> Packet<'static> {
        self.number += 1;
        Packet::event("/", None, format!("[\"{name}\",{}]", self.number), Vec::new())
    }

    /// Does something, as the seed says.
    fn act(&mut self) {
        let node = self.node();
        let options = self.options();
        match self.world.random.below(14) {
            0 | 1 => {
                let id = format!("socket-{}", self.sockets);
                self.sockets += 1;
                let room = *self.world.random.pick(&ROOMS).unwrap();
                self.world.nodes[node].sockets.connect(&id, &[room]);
            }
            2 => {
                let id = format!("socket-{}", self.world.random.below(self.sockets));
                self.world.nodes[node].sockets.disconnect(&id);
            }
            3 => {
                let id = format!("socket-{}", self.world.random.below(self.sockets));
                let room = self.world.random.pick(&ROOMS).unwrap().to_string();
                if self.world.random.chance(500) {
                    self.world.nodes[node].sockets.put(&id, &[room]);
                } else {
                    self.world.nodes[node].sockets.take(&id, &[room]);
                }
            }
            4..=6 => {
                let packet = self.event("e");
                self.world.with_node(node, |node, bus, _| node.broadcast(&packet, &options, bus));
                self.broadcasts.push((packet.data.into_owned(), options));
            }
            7 => {
                self.number += 1;
                let room = format!("join-{}", self.number);
                self.world.with_node(node, |node, bus, _| {
                    node.join_sockets(&options, std::slice::from_ref(&room), bus);
                });
                if !options.flags.local {
                    self.joins.push(room);
                }
            }
            8 => {
                let room = self.world.random.pick(&ROOMS).unwrap().to_string();
                self.world.with_node(node, |node, bus, _| node.leave_sockets(&options, &[room], bus));
            }
            9 => {
                let answers =
                    self.world.with_node(node, |node, bus, now| node.fetch_sockets(&options, now, bus));
                self.asked.push((node, Asked::Sockets(answers, options)));
            }
            10 => {
                let answers = self.world.with_node(node, |node, bus, now| node.all_rooms(now, bus));
                self.asked.push((node, Asked::Rooms(answers)));
            }
            11 => {
                let packet = self.event("ask");
                let answers = self
                    .world
                    .with_node(node, |node, bus, now| node.server_side_emit_with_ack(&packet, now, bus));
                self.asked.push((node, Asked::Events(answers)));
            }
            12 => {
                let (packet, sink) = (self.event("q"), SimSink::caller());
                self.world.with_node(node, |node, bus, now| {
                    node.broadcast_with_ack(&packet, &options, sink.clone(), now, bus);
                });
                self.broadcasts.push((packet.data.into_owned(), options.clone()));
                self.asked.push((node, Asked::Clients(sink, options)));
            }
            _ => match self.world.random.below(4) {
                0 if self.world.alive().len() > 1 => {
                    let lingering = Duration::from_millis(self.world.random.below(8_000) as u64);
                    self.world.kill(node, lingering);
                }
                1 if self.world.alive().len() > 1 => {
                    self.world.with_node(node, |node, bus, _| node.stop(bus));
                    self.world.collect();
                    self.world.kill(node, Duration::ZERO);
                }
                _ if self.world.alive().len() < 6 => {
                    self.world.add_node();
                }
                _ => {}
            },
        }
    }

    /// The sockets that options name, on all nodes or on one.
    fn selected(&self, node: usize, options: &BroadcastOptions) -> BTreeSet<String> {
        let nodes = if options.flags.local { vec![node] } else { self.world.alive() };
        nodes.into_iter().flat_map(|node| self.world.nodes[node].sockets.select(options)).collect()
    }

    /// No socket has anything twice.
    fn assert_each_once(&self) {
        for node in &self.world.nodes {
            let state = node.sockets.locked();
            for (id, socket) in &state.sockets {
                let all: Vec<_> = socket.received.iter().map(|(data, _)| data).collect();
                let each: BTreeSet<_> = all.iter().collect();
                assert_eq!(all.len(), each.len(), "{id} got an event twice");
            }
        }
    }

    fn joined(&self, node: usize, room: &str) -> usize {
        self.world.nodes[node].sockets.locked().joins.get(room).copied().unwrap_or_default()
    }
}

fn ids(sockets: &[SocketDetails]) -> BTreeSet<String> {
    sockets.iter().map(|socket| socket.id.to_string()).collect()
}

/// Every operation is finished before the next: what it does is known exactly.
fn without_faults_everything_is_exact<D: Dialect>(dialect: D) {
    for seed in 0..20 {
        let mut run = Run::new(dialect.clone(), seed);
        for _ in 0..80 {
            let before = (run.broadcasts.len(), run.joins.len());
            run.act();
            // What it does, it does to the sockets that are there now, on nodes that are there now.
            let node = run.asked.last().map_or(0, |(node, _)| *node);
            let expected = run.asked.last().map(|(_, asked)| match asked {
                Asked::Sockets(_, options) | Asked::Clients(_, options) => run.selected(node, options),
                _ => BTreeSet::new(),
            });
            let alive = run.world.alive();
            // Redis has noticed everybody that is gone.
            run.world.settle();
            run.world.run(Duration::from_secs(10));
            if let [(data, options)] = &run.broadcasts[before.0..] {
                for node in &alive {
                    let sockets = &run.world.nodes[*node].sockets;
                    for id in sockets.select(&BroadcastOptions::default()) {
                        let got = sockets.received(&id).iter().filter(|seen| *seen == data).count();
                        let wanted = usize::from(sockets.select(options).contains(&id));
                        let at_most = options.flags.local;
                        assert!(
                            got == wanted || (at_most && got <= wanted),
                            "seed {seed}: {id} {data} {got}"
                        );
                    }
                }
            }
            if let [room] = &run.joins[before.1..] {
                assert!(alive.iter().all(|node| run.joined(*node, room) == 1), "seed {seed}: {room}");
            }
            for (node, asked) in std::mem::take(&mut run.asked) {
                let expected = expected.clone().unwrap_or_default();
                match asked {
                    Asked::Sockets(mut answers, _) => {
                        let sockets = answers.try_recv().unwrap().unwrap();
                        assert_eq!(ids(&sockets), expected, "seed {seed}");
                        assert_eq!(sockets.len(), expected.len(), "seed {seed}");
                    }
                    Asked::Rooms(mut answers) => {
                        let rooms = answers.try_recv().unwrap().unwrap();
                        let all = alive
                            .iter()
                            .flat_map(|node| crate::node::Local::rooms(&run.world.nodes[*node].sockets));
                        assert_eq!(rooms, all.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
                    }
                    Asked::Events(mut answers) => {
                        let mut from: Vec<usize> = answers
                            .try_recv()
                            .unwrap()
                            .unwrap()
                            .iter()
                            .map(|args| args.deserialize().unwrap())
                            .collect();
                        from.sort_unstable();
                        let others: Vec<_> = alive.iter().copied().filter(|other| *other != node).collect();
                        assert_eq!(from, others, "seed {seed}");
                    }
                    Asked::Clients(sink, _) => {
                        let collected = sink.collected();
                        assert_eq!(collected.complete_at, Some(expected.len()), "seed {seed}");
                        assert_eq!(collected.answers.len(), expected.len(), "seed {seed}");
                    }
                }
            }
            run.world.assert_idle();
        }
        run.assert_each_once();
    }
}

/// Everything overlaps, messages are lost and late, nodes die: whatever is asked ends, with what arrived.
fn with_faults_nothing_is_left_and_nothing_comes_twice<D: Dialect>(dialect: D) {
    for seed in 0..20 {
        let mut run = Run::new(dialect.clone(), 1_000 + seed);
        run.world.faults = Faults {
            loss: 30,
            duplication: 0,
            delay: Duration::from_millis(400),
            uncounted: 50,
            silence: 100,
        };
        for _ in 0..150 {
            run.act();
            let pause = Duration::from_millis(run.world.random.below(300) as u64);
            run.world.run(pause);
        }
        run.world.run(Duration::from_secs(30));
        run.world.assert_idle();
        run.assert_each_once();
        for room in &run.joins {
            for node in 0..run.world.nodes.len() {
                assert!(run.joined(node, room) <= 1, "seed {seed}: {room} was joined twice on {node}");
            }
        }
        // Who waited on a node that died, died with it.
        let alive = run.world.alive();
        for (_, asked) in run.asked.into_iter().filter(|(node, _)| alive.contains(node)) {
            match asked {
                Asked::Sockets(mut answers, _) => {
                    let sockets = match answers.try_recv().unwrap() {
                        Ok(sockets) => sockets,
                        Err(incomplete) => {
                            assert_says_why(&incomplete.cause);
                            incomplete.arrived
                        }
                    };
                    assert_eq!(ids(&sockets).len(), sockets.len(), "seed {seed}: a socket was found twice");
                }
                Asked::Rooms(mut answers) => {
                    if let Err(incomplete) = answers.try_recv().unwrap() {
                        assert_says_why(&incomplete.cause);
                    }
                }
                Asked::Events(mut answers) => {
                    if let Err(incomplete) = answers.try_recv().unwrap() {
                        assert_says_why(&incomplete.cause);
                    }
                }
                // It says that it is complete only when it is.
                Asked::Clients(sink, _) => {
                    let collected = sink.collected();
                    if let Some(at) = collected.complete_at {
                        assert_eq!((at, collected.parties), (collected.expected, 0), "seed {seed}");
                    }
                }
            }
        }
    }
}

fn assert_says_why(cause: &AdapterError) {
    match cause {
        AdapterError::Timeout { expected, missing } => assert!(*missing > 0 && missing <= expected),
        AdapterError::Unreachable(_) => {}
        other => panic!("{other}"),
    }
}

/// A message that comes twice is done twice, as it must be when nobody numbers messages; everything ends all the same.
fn with_duplication_everything_ends<D: Dialect>(dialect: D) {
    for seed in 0..15 {
        let mut run = Run::new(dialect.clone(), 2_000 + seed);
        run.world.faults = Faults { duplication: 200, loss: 20, ..Faults::NONE };
        for _ in 0..100 {
            run.act();
            let pause = Duration::from_millis(run.world.random.below(100) as u64);
            run.world.run(pause);
        }
        run.world.run(Duration::from_secs(30));
        run.world.assert_idle();
        // Who waited on a node that died, died with it.
        let alive = run.world.alive();
        for (_, asked) in run.asked.into_iter().filter(|(node, _)| alive.contains(node)) {
            match asked {
                Asked::Sockets(mut answers, _) => {
                    let answer = answers.try_recv().unwrap();
                    let sockets = answer.unwrap_or_else(|incomplete| incomplete.arrived);
                    assert_eq!(ids(&sockets).len(), sockets.len(), "seed {seed}: a socket was found twice");
                }
                Asked::Rooms(mut answers) => drop(answers.try_recv().unwrap()),
                Asked::Events(mut answers) => drop(answers.try_recv().unwrap()),
                Asked::Clients(..) => {}
            }
        }
        // As often as copies came, and no more.
        for node in &run.world.nodes {
            let state = node.sockets.locked();
            for (id, socket) in &state.sockets {
                for (data, _) in &socket.received {
                    let copies = socket.received.iter().filter(|(seen, _)| seen == data).count();
                    assert!(copies <= 2, "seed {seed}: {id} got {data} {copies} times");
                }
            }
        }
    }
}
