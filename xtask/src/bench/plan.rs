//! Which workloads run: all of them, or a choice that is done in a few minutes.

use super::{
    load::{Broadcast, Exchange, Kind, Membership, Opening, Senders},
    workload::{Dialect, Workload},
};

/// All workloads, or a short choice of them.
pub(crate) fn plan(quick: bool) -> Vec<Workload> {
    if quick { short() } else { full() }
}

fn full() -> Vec<Workload> {
    let mut plan = vec![
        Workload::IdleWebSockets { connections: 15_000 },
        Workload::IdlePolls { connections: 5_000 },
        Workload::Connects { opening: Opening::WebSocket, slots: 64 },
        Workload::Connects { opening: Opening::PollingThenUpgrade, slots: 64 },
    ];
    for kind in [Kind::EchoText, Kind::EchoBinary] {
        for size in [64, 1024] {
            plan.extend([1, 16].map(|depth| exchange(kind, depth, size)));
        }
    }
    plan.extend([1, 16].map(|depth| exchange(Kind::Ack, depth, 64)));
    for members in [1_000, 10_000] {
        plan.extend([1, 4, 16].map(|window| Workload::Broadcast(broadcast(members, window))));
    }
    plan.extend([
        Workload::Broadcast(broadcast(15_000, 1)),
        Workload::Broadcast(Broadcast { rooms: 100, ..broadcast(100, 1) }),
        Workload::Broadcast(Broadcast { rooms: 8, senders: Senders::All, ..broadcast(64, 64) }),
        // Longer messages, so that the kernel's buffers are full soon and the server has to decide.
        Workload::Broadcast(Broadcast { silent: 10, size: 1024, ..broadcast(1_000, 4) }),
        membership(10),
        membership(10_000),
        Workload::Workers { workers: 1 },
        Workload::Workers { workers: 2 },
    ]);
    plan.extend([1, 4].map(|window| Workload::FanIn(broadcast(1_000, window))));
    for dialect in [Dialect::Classic, Dialect::Sharded] {
        plan.extend([1, 4].map(|window| two_nodes(dialect, window)));
    }
    plan.push(Workload::Emitter);
    plan
}

/// Every kind of work once, with the figures that people ask for first.
fn short() -> Vec<Workload> {
    vec![
        Workload::IdleWebSockets { connections: 2_000 },
        Workload::IdlePolls { connections: 500 },
        Workload::Connects { opening: Opening::WebSocket, slots: 64 },
        exchange(Kind::EchoText, 1, 64),
        exchange(Kind::EchoText, 16, 64),
        exchange(Kind::EchoBinary, 16, 64),
        exchange(Kind::Ack, 1, 64),
        Workload::Broadcast(broadcast(1_000, 1)),
        Workload::Broadcast(broadcast(1_000, 4)),
        Workload::FanIn(broadcast(1_000, 1)),
        Workload::FanIn(broadcast(1_000, 4)),
        two_nodes(Dialect::Classic, 4),
        Workload::Emitter,
    ]
}

fn exchange(kind: Kind, depth: usize, size: usize) -> Workload {
    Workload::Exchange(Exchange { connections: 64, depth, size, kind })
}

fn broadcast(members: usize, window: usize) -> Broadcast {
    Broadcast { rooms: 1, members, silent: 0, window, size: 64, senders: Senders::One }
}

fn membership(members: usize) -> Workload {
    Workload::Membership(Membership { members, movers: 8, depth: 4 })
}

fn two_nodes(dialect: Dialect, window: usize) -> Workload {
    Workload::TwoNodes { plan: broadcast(1_000, window), dialect }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::bench::peers::Peer;

    #[test]
    fn names_and_titles_are_unique() {
        for quick in [false, true] {
            for text in [Workload::name, Workload::title] {
                let texts: Vec<String> = plan(quick).iter().map(text).collect();
                assert_eq!(texts.iter().collect::<HashSet<_>>().len(), texts.len(), "{texts:?}");
            }
        }
    }

    #[test]
    fn every_workload_measures_this_server() {
        for workload in plan(false) {
            assert!(workload.measures(Peer::SioServer), "{}", workload.name());
        }
    }

    #[test]
    fn another_allocator_is_for_memory_only() {
        for workload in plan(false) {
            let memory = workload.name().starts_with("idle");
            assert_eq!(workload.measures(Peer::SioServerJemalloc), memory, "{}", workload.name());
        }
    }
}
