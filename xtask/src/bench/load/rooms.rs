//! Messages to rooms: sent by a member, by Redis, or through another node; delivered to every member.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use super::{OPENING, Pace, Result, Throughput, text};
use crate::bench::{
    clients::Clients,
    histogram::Histogram,
    meter::{Meter, Phase},
    process::Process,
    redis::{Publisher, Redis},
    script::{self, Expected, Step},
    server::Server,
    wire::TEXT,
};

/// One sender a room, all members receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broadcast {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    /// Members of each room that stop reading before the measurement.
    pub(crate) silent: usize,
    /// Messages in flight in a room before all deliveries of the oldest have arrived.
    pub(crate) window: usize,
    pub(crate) size: usize,
    pub(crate) senders: Senders,
}

/// Which members of a room send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Senders {
    /// The first one, so that a server may take several messages at once.
    One,
    /// All in turn, so that it cannot.
    All,
}

/// What is asked of the kernel for clients that will not read: less room for what the server cannot get rid of,
/// so that it soon has to decide what to do with it.
const SMALL_BUFFER: usize = 4096;

/// Messages to rooms, `window` in flight in each, and how many bytes the server grew by meanwhile.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn broadcast(plan: &Broadcast, server: &Server, pace: Pace) -> Result<(Throughput, i64)> {
    let mut clients = Clients::new(server.address, pace.waiting)?;
    open_members(plan.rooms, plan.members, plan.silent, &mut clients)?;
    let mut rooms = Rooms::new(plan);
    let mut source = match plan.senders {
        Senders::One => Source::Members(0),
        Senders::All => Source::InTurn { next: 0, of: plan.members },
    };
    rooms.check(&mut clients, &mut source, plan)?;
    let reading = plan.members - plan.silent;
    for room in 0..plan.rooms {
        clients.mute(room * plan.members + reading..(room + 1) * plan.members)?;
    }
    let before = server.process().resident()?;
    let result = rooms.measure(&mut clients, &mut source, Meter::new(server.process(), pace))?;
    let grown = server.process().resident()?.cast_signed() - before.cast_signed();
    Ok((result, grown))
}

/// Messages that come from Redis to a room on one node.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or Redis does not pass messages on.
pub(crate) fn fan_in(plan: &Broadcast, server: &Server, redis: &Redis, pace: Pace) -> Result<Throughput> {
    let mut clients = Clients::new(server.address, pace.waiting)?;
    open_members(plan.rooms, plan.members, plan.silent, &mut clients)?;
    let mut rooms = Rooms::new(plan);
    // Through the node itself first: the floor learns from it what a delivery looks like.
    rooms.check(&mut clients, &mut Source::Members(0), plan)?;
    let mut publisher = redis.publisher("room0", plan.size)?;
    publisher.await_subscriber(1)?;
    let mut source = Source::Redis(publisher);
    rooms.check(&mut clients, &mut source, plan)?;
    let meter = Meter::new(server.process(), pace).beside(redis.process());
    rooms.measure(&mut clients, &mut source, meter)
}

/// Messages sent on one node to a room whose members are all on another one.
///
/// # Errors
///
/// If a server answers anything but what the contract says, or messages do not cross.
pub(crate) fn across_nodes(
    plan: &Broadcast,
    nodes: [&Server; 2],
    redis: &Redis,
    pace: Pace,
) -> Result<Throughput> {
    let [here, there] = nodes;
    let mut clients = Clients::new(there.address, pace.waiting)?;
    open_members(plan.rooms, plan.members, plan.silent, &mut clients)?;
    let senders = plan.members;
    clients.aim(here.address);
    clients.open(senders..senders + 1, 1, &script::websocket())?;
    let mut rooms = Rooms::new(plan);
    let mut source = Source::Members(senders);
    rooms.check(&mut clients, &mut source, plan)?;
    let servers = Process::of_both(here.process(), there.process());
    rooms.measure(&mut clients, &mut source, Meter::new(&servers, pace).beside(redis.process()))
}

/// Opens the members of all rooms and has them join; of the last `silent` of each room the kernel holds little.
pub(super) fn open_members(rooms: usize, members: usize, silent: usize, clients: &mut Clients) -> Result<()> {
    let reading = members - silent;
    let mut script = script::websocket();
    script.push(Step::Send(Box::new(move |index, _| {
        text(&format!(r#"420["join","room{}"]"#, index / members))
    })));
    script.push(Step::Expect(Expected::TextPrefix("430[")));
    for room in 0..rooms {
        let first = room * members;
        clients.open(first..first + reading, OPENING, &script)?;
        clients.limit_receiving(Some(SMALL_BUFFER));
        clients.open(first + reading..first + members, OPENING, &script)?;
        clients.limit_receiving(None);
    }
    Ok(())
}

/// Who sends the messages.
enum Source {
    /// In each room the member with this offset from its first one.
    Members(usize),
    /// In each room another one of so many members each time.
    InTurn {
        next: usize,
        of: usize,
    },
    Redis(Publisher),
}

/// A room with messages on their way.
struct Room {
    first: usize,
    request: Vec<u8>,
    /// For each message in flight, oldest first: deliveries still to come, and when it was sent.
    flying: VecDeque<(usize, Instant)>,
    /// How many messages have been delivered to everybody who reads.
    finished: u64,
}

struct Rooms {
    rooms: Vec<Room>,
    members: usize,
    reading: usize,
    window: usize,
    /// Messages received since the measurement began, of every connection.
    received: Vec<u64>,
    latencies: Histogram,
}

impl Source {
    fn send(&mut self, clients: &mut Clients, room: &Room, count: usize) -> io::Result<()> {
        match self {
            Self::Members(offset) => clients.send(room.first + *offset, &room.request.repeat(count)),
            Self::InTurn { next, of } => {
                for _ in 0..count {
                    clients.send(room.first + *next, &room.request)?;
                    *next = (*next + 1) % *of;
                }
                Ok(())
            }
            Self::Redis(publisher) => publisher.publish(count),
        }
    }
}

impl Rooms {
    fn new(plan: &Broadcast) -> Self {
        let payload = "x".repeat(plan.size);
        let room = |number: usize| Room {
            first: number * plan.members,
            request: text(&format!(r#"42["bcast","room{number}","{payload}"]"#)),
            flying: VecDeque::new(),
            finished: 0,
        };
        Self {
            rooms: (0..plan.rooms).map(room).collect(),
            members: plan.members,
            reading: plan.members - plan.silent,
            window: plan.window,
            received: vec![0; plan.rooms * plan.members],
            latencies: Histogram::new(),
        }
    }

    /// Sends one message to every room and compares what each member gets.
    fn check(&mut self, clients: &mut Clients, source: &mut Source, plan: &Broadcast) -> Result<()> {
        for room in &self.rooms {
            source.send(clients, room, 1)?;
        }
        let delivery = Expected::Text(format!(r#"42["bcast","{}"]"#, "x".repeat(plan.size)));
        let total = plan.rooms * plan.members;
        Ok(clients.replay(0..total, total, &[Step::Expect(delivery)])?)
    }

    fn measure(
        &mut self,
        clients: &mut Clients,
        source: &mut Source,
        mut meter: Meter<'_>,
    ) -> Result<Throughput> {
        for room in &mut self.rooms {
            source.send(clients, room, self.window)?;
            let missing = (self.reading, Instant::now());
            room.flying.extend(std::iter::repeat_n(missing, self.window));
        }
        let mut count = 0_u64;
        loop {
            clients.wait()?;
            let mut surplus = None;
            clients.exchange(TEXT, |index, messages| {
                count += messages as u64;
                surplus = surplus.or(self.deliver(index, messages));
                None
            })?;
            if let Some(index) = surplus {
                return Err(format!("connection {index} got more messages than were sent").into());
            }
            self.refill(clients, source)?;
            match meter.tick(count, clients.idle())? {
                Phase::WarmUp | Phase::Measure => {}
                Phase::Begin => self.latencies.clear(),
                Phase::End(usage) => {
                    let quantile = |share| -> Option<Duration> { self.latencies.quantile(share) };
                    return Ok(Throughput { usage, p50: quantile(0.5), p99: quantile(0.99) });
                }
            }
        }
    }

    /// Notes what a member got; gives its number if that is more than was sent.
    fn deliver(&mut self, index: usize, messages: usize) -> Option<usize> {
        let received = self.received.get_mut(index)?;
        let room = &mut self.rooms[index / self.members];
        let mut surplus = None;
        for number in *received..*received + messages as u64 {
            match room.flying.get_mut((number - room.finished) as usize) {
                Some((missing, _)) => *missing -= 1,
                None => surplus = Some(index),
            }
        }
        *received += messages as u64;
        surplus
    }

    /// Sends as many messages as have been delivered to everybody.
    fn refill(&mut self, clients: &mut Clients, source: &mut Source) -> io::Result<()> {
        for room in &mut self.rooms {
            let mut finished = 0;
            while let Some((0, sent)) = room.flying.front() {
                self.latencies.record(sent.elapsed());
                room.flying.pop_front();
                finished += 1;
            }
            if finished > 0 {
                room.finished += finished as u64;
                let missing = (self.reading, Instant::now());
                room.flying.extend(std::iter::repeat_n(missing, finished));
                source.send(clients, room, finished)?;
            }
        }
        Ok(())
    }
}
