//! The workloads: each opens its connections, checks one message in full and measures a window.
//!
//! Results are plain figures of one run; what is repeated, compared and printed is decided elsewhere.

use std::{
    collections::VecDeque,
    error::Error,
    time::{Duration, Instant},
};

use super::{
    clients::{Clients, Waiting},
    histogram::Histogram,
    meter::{Meter, Phase, Timing, Usage, settled_memory},
    script::{self, Expected, Step},
    server::Server,
    wire::{self, BINARY, TEXT},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Connections that are being opened at the same time. Fewer than the shortest listen queue of the peers.
const OPENING: usize = 128;

/// Clients that exchange their 64 kB at the same time.
const EXCHANGING: usize = 16;

/// How long memory may take to come to rest.
const SETTLING: Duration = Duration::from_secs(6);

/// The size of the exchange after which an idle connection is looked at again.
const LARGE: usize = 64 * 1024;

/// What a client sends and gets back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    EchoText,
    EchoBinary,
    Ack,
}

/// Round trips of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) connections: usize,
    /// Messages in flight on each connection.
    pub(crate) depth: usize,
    /// Bytes of the payload, without the wrapping.
    pub(crate) size: usize,
    pub(crate) kind: Kind,
}

/// One sender a room, all members receive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broadcast {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    /// Messages in flight in a room before all deliveries of the oldest have arrived.
    pub(crate) window: usize,
    pub(crate) size: usize,
}

/// How a client connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Opening {
    WebSocket,
    PollingThenUpgrade,
}

/// A rate, with latencies where they mean something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    pub(crate) usage: Usage,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
}

/// Resident bytes of the server for each idle connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleMemory {
    /// The whole process before the first connection.
    pub(crate) base: u64,
    pub(crate) idle: f64,
    pub(crate) after_large: f64,
    pub(crate) after_churn: f64,
}

/// Echoes or acknowledgements, `depth` in flight on every connection.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn exchange(
    plan: &Exchange,
    server: &Server,
    timing: Timing,
    waiting: Waiting,
) -> Result<Throughput> {
    let (request, expected, wanted) = plan.messages();
    let mut script = script::websocket();
    script.push(Step::send(request.clone()));
    script.extend(expected.into_iter().map(Step::Expect));
    let mut clients = Clients::new(server.address, waiting)?;
    clients.open(0..plan.connections, OPENING, &script)?;

    let unit = request.len();
    let batch = request.repeat(plan.depth);
    let mut latencies = Histogram::new();
    let mut sent_at = vec![Instant::now(); plan.connections];
    for index in 0..plan.connections {
        clients.send(index, &batch)?;
    }
    let mut meter = Meter::new(&server.process, timing, waiting);
    let mut count = 0_u64;
    loop {
        clients.wait()?;
        clients.exchange(wanted, |index, messages| {
            count += messages as u64;
            if plan.depth == 1 {
                let now = Instant::now();
                latencies.record(now - sent_at[index]);
                sent_at[index] = now;
            }
            batch.get(..messages * unit)
        })?;
        match meter.tick(count, clients.idle())? {
            Phase::WarmUp | Phase::Measure => {}
            Phase::Begin => latencies.clear(),
            Phase::End(usage) => {
                let (p50, p99) = (latencies.quantile(0.5), latencies.quantile(0.99));
                return Ok(Throughput { usage, p50, p99 });
            }
        }
    }
}

impl Exchange {
    /// The bytes of a request, the messages that answer it, and the kind of message to count.
    fn messages(&self) -> (Vec<u8>, Vec<Expected>, u8) {
        let text = "x".repeat(self.size);
        match self.kind {
            Kind::EchoText => {
                let message = format!(r#"42["echo","{text}"]"#);
                (wire::client_frame(TEXT, message.as_bytes()), vec![Expected::Text(message)], TEXT)
            }
            Kind::EchoBinary => {
                let bytes = text.into_bytes();
                let mut request = wire::client_frame(TEXT, br#"451-["echo",{"_placeholder":true,"num":0}]"#);
                request.extend(wire::client_frame(BINARY, &bytes));
                (request, vec![Expected::TextPrefix(r#"451-["echo","#), Expected::Binary(bytes)], BINARY)
            }
            Kind::Ack => {
                let request = wire::client_frame(TEXT, format!(r#"421["ack","{text}"]"#).as_bytes());
                (request, vec![Expected::Text(format!(r#"431["{text}"]"#))], TEXT)
            }
        }
    }
}

/// A room with messages on their way.
struct Room {
    sender: usize,
    request: Vec<u8>,
    /// For each message in flight, oldest first: deliveries still to come, and when it was sent.
    flying: VecDeque<(usize, Instant)>,
    /// How many messages have been delivered to everybody.
    finished: u64,
}

/// Messages to rooms, `window` in flight in each.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn broadcast(
    plan: &Broadcast,
    server: &Server,
    timing: Timing,
    waiting: Waiting,
) -> Result<Throughput> {
    let (members, total) = (plan.members, plan.rooms * plan.members);
    let payload = "x".repeat(plan.size);
    let mut script = script::websocket();
    script.push(Step::Send(Box::new(move |index, _| {
        wire::client_frame(TEXT, format!(r#"420["join","room{}"]"#, index / members).as_bytes())
    })));
    script.push(Step::Expect(Expected::TextPrefix("430[")));
    let mut clients = Clients::new(server.address, waiting)?;
    clients.open(0..total, OPENING, &script)?;

    let mut rooms = Vec::new();
    for number in 0..plan.rooms {
        let message = format!(r#"42["bcast","room{number}","{payload}"]"#);
        let request = wire::client_frame(TEXT, message.as_bytes());
        rooms.push(Room { sender: number * members, request, flying: VecDeque::new(), finished: 0 });
    }
    for room in &rooms {
        clients.send(room.sender, &room.request)?;
    }
    let delivery = Expected::Text(format!(r#"42["bcast","{payload}"]"#));
    clients.replay(0..total, total, &[Step::Expect(delivery)])?;

    let now = Instant::now();
    for room in &mut rooms {
        clients.send(room.sender, &room.request.repeat(plan.window))?;
        room.flying.extend(std::iter::repeat_n((members, now), plan.window));
    }
    let mut received = vec![0_u64; total];
    let mut latencies = Histogram::new();
    let mut count = 0_u64;
    let mut meter = Meter::new(&server.process, timing, waiting);
    loop {
        clients.wait()?;
        let mut surplus = None;
        clients.exchange(TEXT, |index, messages| {
            count += messages as u64;
            let room = &mut rooms[index / members];
            for number in received[index]..received[index] + messages as u64 {
                match room.flying.get_mut((number - room.finished) as usize) {
                    Some((missing, _)) => *missing -= 1,
                    None => surplus = Some(index),
                }
            }
            received[index] += messages as u64;
            None
        })?;
        if let Some(index) = surplus {
            return Err(format!("connection {index} got more messages than were sent").into());
        }
        for room in &mut rooms {
            let mut finished = 0;
            while let Some((0, sent)) = room.flying.front() {
                latencies.record(sent.elapsed());
                room.flying.pop_front();
                finished += 1;
            }
            if finished > 0 {
                room.finished += finished as u64;
                let now = Instant::now();
                room.flying.extend(std::iter::repeat_n((members, now), finished));
                clients.send(room.sender, &room.request.repeat(finished))?;
            }
        }
        match meter.tick(count, clients.idle())? {
            Phase::WarmUp | Phase::Measure => {}
            Phase::Begin => latencies.clear(),
            Phase::End(usage) => {
                let (p50, p99) = (latencies.quantile(0.5), latencies.quantile(0.99));
                return Ok(Throughput { usage, p50, p99 });
            }
        }
    }
}

/// Clients that connect, join `/` and leave, `slots` at the same time.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn connects(
    opening: Opening,
    slots: usize,
    server: &Server,
    timing: Timing,
    waiting: Waiting,
) -> Result<Throughput> {
    let mut script = match opening {
        Opening::WebSocket => script::websocket(),
        Opening::PollingThenUpgrade => script::polling_then_upgrade(),
    };
    script.extend(script::goodbye());
    let mut clients = Clients::new(server.address, waiting)?;
    clients.spread_sources();
    let mut meter = Meter::new(&server.process, timing, waiting);
    let mut result = None;
    clients.open_repeatedly(slots, &script, |done, idle| {
        if let Phase::End(usage) = meter.tick(done, idle)? {
            result = Some(Throughput { usage, p50: None, p99: None });
        }
        Ok(result.is_none())
    })?;
    result.ok_or_else(|| "the window did not end".into())
}

/// Memory for each idle WebSocket connection, fresh and after use.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn idle_websockets(connections: usize, server: &Server) -> Result<IdleMemory> {
    let script = script::websocket();
    let mut clients = Clients::new(server.address, Waiting::Sleep)?;
    let base = base_memory(&mut clients, &script, server)?;
    let each = |resident: u64| resident.saturating_sub(base) as f64 / connections as f64;

    clients.open(0..connections, OPENING, &script)?;
    let idle = each(settled_memory(&server.process, &mut clients, SETTLING)?);

    let (request, expected, _) =
        Exchange { connections, depth: 1, size: LARGE, kind: Kind::EchoText }.messages();
    let mut large = vec![Step::send(request)];
    large.extend(expected.into_iter().map(Step::Expect));
    clients.replay(0..connections, EXCHANGING, &large)?;
    let after_large = each(settled_memory(&server.process, &mut clients, SETTLING)?);

    let churned = connections / 10;
    clients.drop_range(0..churned);
    settled_memory(&server.process, &mut clients, SETTLING)?;
    clients.open(0..churned, OPENING, &script)?;
    let after_churn = each(settled_memory(&server.process, &mut clients, SETTLING)?);
    Ok(IdleMemory { base, idle, after_large, after_churn })
}

/// Memory for each long-polling session whose GET the server holds, and the size before the first one.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn idle_polls(connections: usize, server: &Server) -> Result<(u64, f64)> {
    let script = script::held_poll();
    let mut clients = Clients::new(server.address, Waiting::Sleep)?;
    let base = base_memory(&mut clients, &script, server)?;
    clients.open(0..connections, OPENING, &script)?;
    let resident = settled_memory(&server.process, &mut clients, SETTLING)?;
    Ok((base, resident.saturating_sub(base) as f64 / connections as f64))
}

/// The size of a server that has served a few clients, so that what it sets up once is not put on the account
/// of the connections.
fn base_memory(clients: &mut Clients, script: &[Step], server: &Server) -> Result<u64> {
    const FEW: usize = 16;
    clients.open(0..FEW, FEW, script)?;
    clients.drop_range(0..FEW);
    Ok(settled_memory(&server.process, clients, SETTLING)?)
}
