//! The workloads: their names, who takes part, and which figures each gives. Which ones run is up to `plan`.

use std::{error::Error, path::Path, time::Duration};

use super::{
    clients::Waiting,
    load::{self, Broadcast, Exchange, Kind, Membership, Opening, Pace, Paced, Senders, Throughput},
    peers::{Peer, Role},
    redis::Redis,
    results::{Better, Figure, LOAD, NOISE},
    server::{LOAD_CORE, Launch, SERVER_CORE, Server},
};

/// One row of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    IdleWebSockets {
        connections: usize,
    },
    IdlePolls {
        connections: usize,
    },
    Connects {
        opening: Opening,
        slots: usize,
    },
    Exchange(Exchange),
    Broadcast(Broadcast),
    Membership(Membership),
    /// Broadcast by a server with so many threads and as many cores, under a load that needs little of them.
    Workers {
        workers: usize,
    },
    /// Redis publishes, one node delivers.
    FanIn(Broadcast),
    /// One node broadcasts, the other delivers.
    TwoNodes {
        plan: Broadcast,
        dialect: Dialect,
    },
    Emitter,
}

/// How nodes talk through Redis.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Dialect {
    Classic,
    Sharded,
}

/// What is needed to run a workload once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) command: &'a [String],
    /// Threads or processes a server may use.
    pub(crate) workers: usize,
    /// Takes what the servers write to their standard error.
    pub(crate) log: &'a Path,
    pub(crate) pace: Pace,
}

/// The generator looks so seldom while a server has both cores: it has to share one. All rooms together are work for ten
/// times as long, so that no server waits for it.
const NAP: Duration = Duration::from_micros(500);
/// Enough rooms to keep two threads busy while the generator waits for its turn on one of their cores. A write is shared
/// when several rooms fall into one turn.
const WORKERS: Paced = Paced { rooms: 32, members: 64, size: 64 };

impl Workload {
    /// A name for the command line and for file names.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::IdleWebSockets { connections } => format!("idle-{connections}"),
            Self::IdlePolls { connections } => format!("idle-polling-{connections}"),
            Self::Connects { opening: Opening::WebSocket, .. } => "connect-websocket".to_owned(),
            Self::Connects { opening: Opening::PollingThenUpgrade, .. } => "connect-upgrade".to_owned(),
            Self::Exchange(Exchange { kind, depth, size, .. }) => {
                let kind = match kind {
                    Kind::EchoText => "echo-text",
                    Kind::EchoBinary => "echo-binary",
                    Kind::Ack => "ack",
                };
                format!("{kind}-{size}-d{depth}")
            }
            Self::Broadcast(Broadcast { rooms: 1, silent: 0, members, window, .. }) => {
                format!("broadcast-{members}-w{window}")
            }
            Self::Broadcast(Broadcast { senders: Senders::All, rooms, members, .. }) => {
                format!("all-send-{rooms}x{members}")
            }
            Self::Broadcast(Broadcast { silent: 0, rooms, members, window, .. }) => {
                format!("rooms-{rooms}x{members}-w{window}")
            }
            Self::Broadcast(Broadcast { members, window, .. }) => format!("silent-{members}-w{window}"),
            Self::Membership(Membership { members, .. }) => format!("join-leave-{members}"),
            Self::Workers { workers } => format!("workers-{workers}"),
            Self::FanIn(Broadcast { members, window, .. }) => format!("fan-in-{members}-w{window}"),
            Self::TwoNodes { plan: Broadcast { members, window, .. }, dialect } => {
                format!("two-nodes-{}-{members}-w{window}", dialect.name())
            }
            Self::Emitter => "emitter".to_owned(),
        }
    }

    /// What is measured, in words.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::IdleWebSockets { connections } => {
                format!("{connections} idle WebSocket connections joined to /")
            }
            Self::IdlePolls { connections } => {
                format!("{connections} idle long-polling sessions joined to /")
            }
            Self::Connects { opening, slots } => {
                let how = match opening {
                    Opening::WebSocket => "WebSocket directly",
                    Opening::PollingThenUpgrade => "polling, then upgrade",
                };
                format!("Connect, join / and leave: {how}, {slots} at a time")
            }
            Self::Exchange(Exchange { connections, depth, size, kind }) => {
                let kind = match kind {
                    Kind::EchoText => "Echo of text",
                    Kind::EchoBinary => "Echo of binary",
                    Kind::Ack => "Acknowledgement of text",
                };
                format!("{kind}, {size} B, {connections} connections, {depth} in flight on each")
            }
            Self::Broadcast(Broadcast { rooms: 1, silent: 0, members, window, size, .. }) => {
                format!("Broadcast of {size} B to {members} members, {window} in flight")
            }
            Self::Broadcast(Broadcast { senders: Senders::All, rooms, members, window, size, .. }) => {
                format!(
                    "Broadcast of {size} B in {rooms} rooms of {members} by all members in turn, {window} in flight in each"
                )
            }
            Self::Broadcast(Broadcast { silent: 0, rooms, members, window, size, .. }) => {
                format!("Broadcast of {size} B in {rooms} rooms of {members}, {window} in flight in each")
            }
            Self::Broadcast(Broadcast { members, silent, window, size, .. }) => format!(
                "Broadcast of {size} B to {members} members, {silent} of which do not read, {window} in flight"
            ),
            Self::Membership(Membership { members, movers, depth }) => format!(
                "{movers} clients join and leave a room of {members}, {depth} requests in flight on each"
            ),
            Self::Workers { workers } => format!(
                "Broadcast in {} rooms of {}, one member in 16 read at once, {workers} worker thread{}",
                WORKERS.rooms,
                WORKERS.members,
                if *workers == 1 { "" } else { "s" }
            ),
            Self::FanIn(Broadcast { members, window, size, .. }) => {
                format!("Redis publishes {size} B to {members} sockets on one node, {window} in flight")
            }
            Self::TwoNodes { plan: Broadcast { members, window, size, .. }, dialect } => format!(
                "{size} B emitted on one node, delivered by another to {members} ({}), {window} in flight",
                dialect.name()
            ),
            Self::Emitter => "Emitting to a room from outside, through Redis".to_owned(),
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self {
            Self::FanIn(_) | Self::TwoNodes { .. } => Role::Cluster,
            Self::Emitter => Role::Emit,
            _ => Role::Serve,
        }
    }

    /// Whether this peer takes part.
    pub(crate) fn measures(&self, peer: Peer) -> bool {
        let takes_part = match self {
            Self::IdleWebSockets { .. } | Self::IdlePolls { .. } => true,
            // The floor keeps no rooms that one could leave, passes nothing on and has one thread.
            Self::Membership(_) | Self::TwoNodes { .. } => peer != Peer::Floor,
            // Node has processes instead, which share no rooms; the others use one core whatever they get.
            Self::Workers { .. } => matches!(peer, Peer::SioServer | Peer::Socketioxide),
            _ => true,
        };
        let only_memory = matches!(self, Self::IdleWebSockets { .. } | Self::IdlePolls { .. });
        takes_part && peer.plays(self.role()) && (only_memory || !peer.has_jemalloc())
    }

    /// How often to measure, of so many rounds: memory hardly moves from one to the next.
    pub(crate) fn rounds(&self, asked: usize, quick: bool) -> usize {
        match self {
            Self::IdleWebSockets { .. } | Self::IdlePolls { .. } => asked.min(if quick { 1 } else { 2 }),
            _ => asked,
        }
    }

    /// Measures once. The first figure is the one servers are compared by.
    ///
    /// # Errors
    ///
    /// If the server does not do what the contract says.
    pub(crate) fn run(&self, stage: &Stage<'_>) -> Result<Vec<Figure>, Box<dyn Error>> {
        let pace = stage.pace;
        match self {
            Self::IdleWebSockets { connections } => {
                let memory = load::idle_websockets(*connections, &stage.serve()?)?;
                Ok(vec![
                    main(lower("B idle", memory.idle)),
                    main(lower("B after 64 kB", memory.after_large)),
                    main(lower("B after churn", memory.after_churn)),
                    neither("base kB", memory.base as f64 / 1024.0),
                ])
            }
            Self::IdlePolls { connections } => {
                let (base, each) = load::idle_polls(*connections, &stage.serve()?)?;
                Ok(vec![main(lower("B idle", each)), neither("base kB", base as f64 / 1024.0)])
            }
            Self::Connects { opening, slots } => {
                let result = load::connects(*opening, *slots, &stage.serve()?, pace)?;
                Ok(rates("connects/s", &result))
            }
            Self::Exchange(plan) => Ok(rates("messages/s", &load::exchange(plan, &stage.serve()?, pace)?)),
            Self::Broadcast(plan) => {
                let (result, grown) = load::broadcast(plan, &stage.serve()?, pace)?;
                let mut figures = rates("deliveries/s", &result);
                if plan.silent > 0 {
                    figures.push(lower("grown kB", grown.max(0) as f64 / 1024.0));
                }
                Ok(figures)
            }
            Self::Membership(plan) => {
                Ok(rates("requests/s", &load::membership(plan, &stage.serve()?, pace)?))
            }
            Self::Workers { workers } => stage.run_workers(*workers),
            Self::FanIn(plan) => {
                let redis = stage.redis(SERVER_CORE)?;
                let server = stage.node(&redis, Dialect::Classic, stage.log)?;
                Ok(rates("deliveries/s", &load::fan_in(plan, &server, &redis, pace)?))
            }
            Self::TwoNodes { plan, dialect } => {
                let redis = stage.redis(SERVER_CORE)?;
                let here = stage.node(&redis, *dialect, stage.log)?;
                let there = stage.node(&redis, *dialect, &stage.log.with_extension("2.log"))?;
                let result = load::across_nodes(plan, [&here, &there], &redis, pace)?;
                Ok(rates("deliveries/s", &result))
            }
            Self::Emitter => {
                let mut redis = stage.redis(LOAD_CORE)?;
                let mut launch = stage.launch(SERVER_CORE, stage.log);
                launch.environment.extend(redis.environment());
                // Ours ends after N messages, in batches of B: not before it is ended.
                launch.environment.extend([("N", u64::MAX.to_string()), ("B", "1000".to_owned())]);
                let mut program = launch.run()?;
                program.discard_output();
                Ok(rates("messages/s", &load::emitter(&mut program, &mut redis, pace)?))
            }
        }
    }
}

impl Dialect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Sharded => "sharded",
        }
    }
}

impl Stage<'_> {
    fn launch<'a>(&'a self, cores: &'static str, log: &'a Path) -> Launch<'a> {
        let environment = vec![("WORKERS", self.workers.to_string())];
        Launch { command: self.command, environment, cores, log }
    }

    fn serve(&self) -> Result<Server, Box<dyn Error>> {
        self.launch(SERVER_CORE, self.log).serve()
    }

    fn redis(&self, cores: &'static str) -> Result<Redis, Box<dyn Error>> {
        Redis::start(cores, &self.log.with_extension("redis.log"))
    }

    /// All that serves shares one core, Redis too: it waits while a node works, and has little to do.
    fn node(&self, redis: &Redis, dialect: Dialect, log: &Path) -> Result<Server, Box<dyn Error>> {
        let mut launch = self.launch(SERVER_CORE, log);
        launch.environment.extend(redis.environment());
        launch.environment.push(("DIALECT", dialect.name().to_owned()));
        launch.serve()
    }

    fn run_workers(&self, workers: usize) -> Result<Vec<Figure>, Box<dyn Error>> {
        let cores = if workers == 1 { SERVER_CORE } else { "0,1" };
        let mut launch = self.launch(cores, self.log);
        launch.environment = vec![("WORKERS", workers.to_string())];
        let pace = Pace { waiting: Waiting::Nap(NAP), ..self.pace };
        Ok(rates("deliveries/s", &load::paced(&WORKERS, &launch.serve()?, pace)?))
    }
}

fn rates(unit: &'static str, result: &Throughput) -> Vec<Figure> {
    let microseconds = |time: Duration| time.as_nanos() as f64 / 1000.0;
    let mut figures = vec![
        Figure { name: unit, better: Better::Higher, main: true, value: result.usage.rate() },
        main(lower("CPU ns each", result.usage.server_each())),
        lower("user ns", result.usage.user_each()),
    ];
    figures.extend(result.p50.map(|time| lower("p50 us", microseconds(time))));
    figures.extend(result.p99.map(|time| lower("p99 us", microseconds(time))));
    figures.push(neither("server %", result.usage.server_busy() * 100.0));
    if result.usage.beside > 0.0 {
        figures.push(neither("redis %", result.usage.beside * 100.0));
    }
    figures.push(neither(LOAD, result.usage.generator * 100.0));
    figures.push(neither(NOISE, result.usage.disturbed() * 100.0));
    figures
}

fn lower(name: &'static str, value: f64) -> Figure {
    Figure { name, better: Better::Lower, main: false, value }
}

fn neither(name: &'static str, value: f64) -> Figure {
    Figure { name, better: Better::Neither, main: false, value }
}

fn main(figure: Figure) -> Figure {
    Figure { main: true, ..figure }
}
