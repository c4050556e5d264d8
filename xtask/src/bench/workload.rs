//! Which workloads there are, under which names, and which figures each gives.

use std::{error::Error, time::Duration};

use super::{
    clients::Waiting,
    load::{self, Broadcast, Exchange, Kind, Opening, Throughput},
    meter::Timing,
    server::Server,
};

/// One row of the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Workload {
    IdleWebSockets { connections: usize },
    IdlePolls { connections: usize },
    Connects { opening: Opening, slots: usize },
    Exchange(Exchange),
    Broadcast(Broadcast),
}

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Better {
    Higher,
    Lower,
    /// Says something of the measurement, not of the server.
    Neither,
}

/// One number of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) better: Better,
    pub(crate) value: f64,
}

impl Workload {
    /// All workloads, or a short choice of them.
    pub(crate) fn plan(quick: bool) -> Vec<Self> {
        let exchange = |kind, depth, size| Self::Exchange(Exchange { connections: 64, depth, size, kind });
        let broadcast =
            |rooms, members, window| Self::Broadcast(Broadcast { rooms, members, window, size: 64 });
        if quick {
            return vec![
                Self::IdleWebSockets { connections: 2_000 },
                Self::IdlePolls { connections: 500 },
                Self::Connects { opening: Opening::WebSocket, slots: 64 },
                exchange(Kind::EchoText, 1, 64),
                exchange(Kind::EchoText, 16, 64),
                exchange(Kind::EchoBinary, 16, 64),
                exchange(Kind::Ack, 1, 64),
                broadcast(1, 1_000, 1),
                broadcast(1, 1_000, 4),
            ];
        }
        let mut plan = vec![
            Self::IdleWebSockets { connections: 15_000 },
            Self::IdlePolls { connections: 5_000 },
            Self::Connects { opening: Opening::WebSocket, slots: 64 },
            Self::Connects { opening: Opening::PollingThenUpgrade, slots: 64 },
        ];
        for kind in [Kind::EchoText, Kind::EchoBinary] {
            for size in [64, 1024] {
                plan.extend([1, 16].map(|depth| exchange(kind, depth, size)));
            }
        }
        plan.extend([1, 16].map(|depth| exchange(Kind::Ack, depth, 64)));
        for members in [1_000, 10_000] {
            plan.extend([1, 4, 16].map(|window| broadcast(1, members, window)));
        }
        plan.push(broadcast(100, 100, 1));
        plan
    }

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
            Self::Broadcast(Broadcast { rooms: 1, members, window, .. }) => {
                format!("broadcast-{members}-w{window}")
            }
            Self::Broadcast(Broadcast { rooms, members, window, .. }) => {
                format!("rooms-{rooms}x{members}-w{window}")
            }
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
                format!("connect, join / and leave: {how}, {slots} at a time")
            }
            Self::Exchange(Exchange { connections, depth, size, kind }) => {
                let kind = match kind {
                    Kind::EchoText => "echo of text",
                    Kind::EchoBinary => "echo of binary",
                    Kind::Ack => "acknowledgement of text",
                };
                format!("{kind}, {size} B, {connections} connections, {depth} in flight on each")
            }
            Self::Broadcast(Broadcast { rooms: 1, members, window, size }) => {
                format!("broadcast of {size} B to {members} members, {window} in flight")
            }
            Self::Broadcast(Broadcast { rooms, members, window, size }) => {
                format!("broadcast of {size} B in {rooms} rooms of {members}, {window} in flight in each")
            }
        }
    }

    /// How often to measure, of so many rounds: memory hardly moves from one to the next.
    pub(crate) fn rounds(&self, asked: usize) -> usize {
        match self {
            Self::IdleWebSockets { .. } | Self::IdlePolls { .. } => asked.min(2),
            _ => asked,
        }
    }

    /// Measures once. The first figure is the one servers are compared by.
    ///
    /// # Errors
    ///
    /// If the server does not do what the contract says.
    pub(crate) fn run(
        &self,
        server: &Server,
        timing: Timing,
        waiting: Waiting,
    ) -> Result<Vec<Figure>, Box<dyn Error>> {
        match self {
            Self::IdleWebSockets { connections } => {
                let memory = load::idle_websockets(*connections, server)?;
                Ok(vec![
                    lower("B idle", memory.idle),
                    lower("B after 64 kB", memory.after_large),
                    lower("B after churn", memory.after_churn),
                    neither("base kB", memory.base as f64 / 1024.0),
                ])
            }
            Self::IdlePolls { connections } => {
                let (base, each) = load::idle_polls(*connections, server)?;
                Ok(vec![lower("B idle", each), neither("base kB", base as f64 / 1024.0)])
            }
            Self::Connects { opening, slots } => {
                Ok(rates("connects/s", &load::connects(*opening, *slots, server, timing, waiting)?))
            }
            Self::Exchange(plan) => Ok(rates("messages/s", &load::exchange(plan, server, timing, waiting)?)),
            Self::Broadcast(plan) => {
                Ok(rates("deliveries/s", &load::broadcast(plan, server, timing, waiting)?))
            }
        }
    }
}

fn rates(unit: &'static str, result: &Throughput) -> Vec<Figure> {
    let microseconds = |time: Duration| time.as_nanos() as f64 / 1000.0;
    let mut figures = vec![
        Figure { name: unit, better: Better::Higher, value: result.usage.rate() },
        lower("CPU ns each", result.usage.server_each()),
        lower("user ns", result.usage.user_each()),
    ];
    figures.extend(result.p50.map(|time| lower("p50 us", microseconds(time))));
    figures.extend(result.p99.map(|time| lower("p99 us", microseconds(time))));
    figures.push(neither("server %", result.usage.server_busy() * 100.0));
    figures.push(neither("load %", result.usage.generator * 100.0));
    figures.push(neither("noise %", result.usage.disturbed() * 100.0));
    figures
}

fn lower(name: &'static str, value: f64) -> Figure {
    Figure { name, better: Better::Lower, value }
}

fn neither(name: &'static str, value: f64) -> Figure {
    Figure { name, better: Better::Neither, value }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        for quick in [false, true] {
            let names: Vec<String> = Workload::plan(quick).iter().map(Workload::name).collect();
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{names:?}");
        }
    }
}
