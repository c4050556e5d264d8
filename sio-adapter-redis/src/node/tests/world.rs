//! A Redis that never was: it delivers, counts, loses, duplicates and delays as it is told, in virtual time.
//!
//! Messages of one channel reach a subscriber in their order, as they do from a Redis; those of different channels may
//! overtake each other, as they do between the shards of a cluster.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sio_protocol::socketio::OwnedArgs;
use sio_server::RoomEvent;

use super::sockets::{SimSink, Sockets};
use super::{Back, Dialect, Random, identity};
use crate::node::{Bus, Node, Question, Refused, ReplyTo, Settings, Sink, Topic, Uncounted};

/// What goes wrong, in thousandths, and how long things take at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) loss: u64,
    pub(crate) duplication: u64,
    pub(crate) delay: Duration,
    /// How often the nodes cannot be counted.
    pub(crate) uncounted: u64,
    /// How often a client or a handler never answers.
    pub(crate) silence: u64,
}

impl Faults {
    pub(crate) const NONE: Self =
        Self { loss: 0, duplication: 0, delay: Duration::from_millis(20), uncounted: 0, silence: 0 };
}

pub(crate) struct World<D: Dialect> {
    dialect: D,
    pub(crate) random: Random,
    pub(crate) faults: Faults,
    pub(crate) settings: Settings,
    start: Instant,
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Arc<Member<D::Node>>>,
    due: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    /// When the last message of a channel reaches a node: the next does not come earlier.
    arrivals: HashMap<(usize, String), Instant>,
    /// Everything that was published.
    pub(crate) published: Vec<(String, Bytes)>,
    /// How many copies of messages were delivered.
    pub(crate) delivered: usize,
}

/// One node with what belongs to it.
pub(crate) struct Member<N> {
    pub(crate) node: N,
    pub(crate) sockets: Sockets,
    pub(crate) bus: SimBus,
    /// It has gone without a word: nothing reaches it.
    pub(crate) is_dead: OnceLock<()>,
}

enum Event {
    Deliver { node: usize, channel: String, message: Bytes },
    Count { node: usize },
    Counted { node: usize, count: Result<usize, Uncounted> },
    ClientAnswers { node: usize, sink: SimSink, client: String, data: String },
    HandlerAnswers { node: usize, to: ReplyTo, data: String },
    Forget { node: usize },
}

/// What a node wants done, until the world does it.
#[derive(Default)]
pub(crate) struct SimBus {
    pub(crate) topics: Mutex<HashSet<Topic>>,
    published: Mutex<Vec<(String, Bytes)>>,
    counts: Mutex<usize>,
    /// Why the queue takes nothing, if it does not.
    pub(crate) refusal: Mutex<Option<Refused>>,
}

impl Bus for SimBus {
    fn publish(&self, channel: &str, message: Bytes) -> Result<(), Refused> {
        if let Some(refused) = locked(&self.refusal).clone() {
            return Err(refused);
        }
        locked(&self.published).push((channel.to_owned(), message));
        Ok(())
    }

    fn subscribe(&self, topic: Topic) {
        assert!(locked(&self.topics).insert(topic.clone()), "{topic:?} is subscribed to already");
    }

    fn unsubscribe(&self, topic: Topic) {
        assert!(locked(&self.topics).remove(&topic), "{topic:?} is not subscribed to");
    }

    fn count(&self) {
        *locked(&self.counts) += 1;
    }

    fn wake(&self) {}
}

impl SimBus {
    fn matches(&self, channel: &str) -> usize {
        let matches = |topic: &&Topic| match topic {
            Topic::Channel(name) | Topic::Shard(name) => **name == *channel,
            Topic::Pattern(pattern) => {
                let prefix = pattern.strip_suffix('*').unwrap().replace('\\', "");
                channel.starts_with(&prefix)
            }
        };
        locked(&self.topics).iter().filter(matches).count()
    }

    pub(crate) fn shards(&self) -> HashSet<String> {
        let name = |topic: &Topic| match topic {
            Topic::Shard(name) => Some(name.to_string()),
            _ => None,
        };
        locked(&self.topics).iter().filter_map(name).collect()
    }
}

impl<N: Node<Local = Sockets>> Back for Member<N> {
    fn asked(&self, question: &Question, clients: usize) {
        self.node.handle_asked(question, clients, &self.bus);
    }

    fn answered(&self, question: &Question, answer: Option<&OwnedArgs>) {
        self.node.handle_answer(question, answer, &self.bus);
    }

    fn replied(&self, to: &ReplyTo, answer: &OwnedArgs) {
        self.node.handle_reply(to, answer, &self.bus);
    }

    fn room_event(&self, event: &RoomEvent) {
        self.node.handle_room_event(event, &self.bus);
    }
}

impl<D: Dialect> World<D> {
    pub(crate) fn new(dialect: D, seed: u64, nodes: usize) -> Self {
        Self::with(dialect, seed, nodes, super::settings())
    }

    pub(crate) fn with(dialect: D, seed: u64, nodes: usize, settings: Settings) -> Self {
        let start = Instant::now();
        let mut world = Self {
            dialect,
            random: Random::new(seed),
            faults: Faults::NONE,
            settings,
            start,
            now: start,
            nodes: Vec::new(),
            due: BTreeMap::new(),
            sequence: 0,
            arrivals: HashMap::new(),
            published: Vec::new(),
            delivered: 0,
        };
        for _ in 0..nodes {
            world.add_node();
        }
        world
    }

    pub(crate) fn add_node(&mut self) -> usize {
        let sockets = Sockets::default();
        let seed = self.random.next();
        let node = self.dialect.node(sockets.clone(), identity(self.nsp(), seed), &self.settings);
        let member = Arc::new(Member { node, sockets, bus: SimBus::default(), is_dead: OnceLock::new() });
        let back: Weak<dyn Back> = Arc::downgrade(&(Arc::clone(&member) as Arc<dyn Back>));
        member.sockets.set_back(back);
        member.node.start(&member.bus);
        self.nodes.push(member);
        self.nodes.len() - 1
    }

    /// The namespace of the nodes.
    pub(crate) fn nsp(&self) -> &'static str {
        self.dialect.nsp()
    }

    /// Ends a node without a word. Redis notices after `lingering` and counts it until then.
    pub(crate) fn kill(&mut self, node: usize, lingering: Duration) {
        let _ = self.nodes[node].is_dead.set(());
        self.schedule(lingering, Event::Forget { node });
    }

    pub(crate) fn is_alive(&self, node: usize) -> bool {
        self.nodes[node].is_dead.get().is_none()
    }

    pub(crate) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.is_alive(*node)).collect()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Has a node do something.
    pub(crate) fn with_node<R>(&self, node: usize, f: impl FnOnce(&D::Node, &SimBus, Instant) -> R) -> R {
        let member = &self.nodes[node];
        f(&member.node, &member.bus, self.now)
    }

    /// Runs until nothing is due any more.
    pub(crate) fn settle(&mut self) {
        while self.step() {}
    }

    /// Runs for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        self.collect();
        while self.next_due().is_some_and(|next| next <= until) && self.step() {}
        self.now = self.now.max(until);
    }

    /// Does what is due next, and moves time there.
    pub(crate) fn step(&mut self) -> bool {
        self.collect();
        let Some(next) = self.next_due() else { return false };
        self.now = self.now.max(next);
        if let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= next) {
            let event = entry.remove();
            self.happen(event);
        } else {
            for node in self.alive() {
                self.with_node(node, |node, _, now| node.handle_timeout(now));
            }
        }
        self.collect();
        true
    }

    fn next_due(&self) -> Option<Instant> {
        let timeouts = self.alive().into_iter().filter_map(|node| self.nodes[node].node.poll_timeout()).min();
        let event = self.due.first_key_value().map(|((time, _), _)| *time);
        [timeouts, event].into_iter().flatten().min()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Deliver { node, channel, message } => {
                if self.is_alive(node) {
                    self.delivered += 1;
                    self.with_node(node, |node, bus, now| node.handle_message(&channel, &message, now, bus));
                }
            }
            Event::Count { node } => {
                let channel = self.nodes[node].node.counted_channel().to_owned();
                let count = self.nodes.iter().map(|member| member.bus.matches(&channel)).sum();
                let failed = self.random.chance(self.faults.uncounted);
                let count = if failed { Err(Uncounted("no Redis".to_owned())) } else { Ok(count) };
                let delay = self.delay();
                self.schedule(delay, Event::Counted { node, count });
            }
            Event::Counted { node, count } => {
                if self.is_alive(node) {
                    self.with_node(node, |node, bus, _| node.handle_count(count, bus));
                }
            }
            Event::ClientAnswers { node, sink, client, data } => {
                if !self.is_alive(node) {
                    return;
                }
                let member = &self.nodes[node];
                let is_there = member.sockets.locked().sockets.contains_key(&client);
                let answer = OwnedArgs::new(format!("[{{\"{client}\":{data}}}]"), Vec::new());
                match &sink {
                    SimSink::Caller(_) => sink.answer(answer),
                    SimSink::Elsewhere(question, _) if sink.is_open() => {
                        member.answered(question, is_there.then_some(&answer));
                    }
                    SimSink::Elsewhere(..) => {}
                }
            }
            Event::HandlerAnswers { node, to, data } => {
                if self.is_alive(node) {
                    let answer = OwnedArgs::new(format!("[{node},{data}]"), Vec::new());
                    self.nodes[node].replied(&to, &answer);
                }
            }
            Event::Forget { node } => locked(&self.nodes[node].bus.topics).clear(),
        }
    }

    /// Takes what nodes and sockets want done and schedules it.
    pub(crate) fn collect(&mut self) {
        for node in 0..self.nodes.len() {
            let member = Arc::clone(&self.nodes[node]);
            for (channel, message) in std::mem::take(&mut *locked(&member.bus.published)) {
                self.publish(&channel, &message);
            }
            for _ in 0..std::mem::take(&mut *locked(&member.bus.counts)) {
                let delay = self.delay();
                self.schedule(delay, Event::Count { node });
            }
            for asked in std::mem::take(&mut member.sockets.locked().questions) {
                if !self.random.chance(self.faults.silence) {
                    let delay = self.delay();
                    let (sink, client, data) = (asked.sink, asked.client, asked.data);
                    self.schedule(delay, Event::ClientAnswers { node, sink, client, data });
                }
            }
            let events = std::mem::take(&mut member.sockets.locked().server_events);
            for (data, reply) in &events {
                let answers = data.starts_with("[\"ask\"");
                if let Some(to) =
                    reply.clone().filter(|_| answers && !self.random.chance(self.faults.silence))
                {
                    let delay = self.delay();
                    self.schedule(delay, Event::HandlerAnswers { node, to, data: data.clone() });
                }
            }
            self.server_events(node, events);
        }
    }

    fn server_events(&mut self, node: usize, events: Vec<(String, Option<ReplyTo>)>) {
        let mut state = self.nodes[node].sockets.locked();
        for (data, _) in events {
            *state.joins.entry(format!("event {data}")).or_default() += 1;
        }
    }

    /// Delivers a message to whoever has subscribed to its channel, once for each subscription.
    pub(crate) fn publish(&mut self, channel: &str, message: &Bytes) {
        self.published.push((channel.to_owned(), message.clone()));
        for node in 0..self.nodes.len() {
            for _ in 0..self.nodes[node].bus.matches(channel) {
                if self.random.chance(self.faults.loss) {
                    continue;
                }
                let copies = if self.random.chance(self.faults.duplication) { 2 } else { 1 };
                for _ in 0..copies {
                    let key = (node, channel.to_owned());
                    let not_before = self.arrivals.get(&key).copied().unwrap_or(self.start);
                    let arrival = (self.now + self.delay()).max(not_before);
                    self.arrivals.insert(key, arrival);
                    let event =
                        Event::Deliver { node, channel: channel.to_owned(), message: message.clone() };
                    self.schedule(arrival - self.now, event);
                }
            }
        }
    }

    fn delay(&mut self) -> Duration {
        let micros = usize::try_from(self.faults.delay.as_micros()).unwrap();
        Duration::from_micros(self.random.below(micros + 1) as u64)
    }

    fn schedule(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.due.insert((self.now + delay, self.sequence), event);
    }

    /// Nothing may be left that anybody waits for.
    pub(crate) fn assert_idle(&self) {
        for node in self.alive() {
            let open = D::open(&self.nodes[node].node);
            assert_eq!(open, (0, 0), "node {node} still has requests or questions");
            assert_eq!(self.nodes[node].node.poll_timeout(), None);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
