//! What this project set out to reach, and whether a run reached it.
//!
//! Pure. A goal whose workloads were not measured is left out, so that a short run judges what it has.

use super::{
    peers::Peer,
    results::{Column, Document, Results},
    statistics::thousands,
};

/// One thing to reach.
struct Goal {
    /// In words, for the first column.
    what: &'static str,
    limit: Limit,
    value: f64,
    measure: Measure,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Limit {
    AtLeast,
    AtMost,
}

/// How a number is taken from the results.
enum Measure {
    /// A figure of ours.
    Own(&'static str, &'static str),
    /// Ours as a multiple of the best peer's, the first figure of the workload.
    BestPeer(&'static str),
    /// Ours as a multiple of one peer's.
    Against(&'static str, Peer),
    Floor(&'static str),
    /// A figure of ours in the first workload as a multiple of that in the second.
    Growth(&'static str, &'static str, &'static str),
}

/// A goal with what was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    /// What a program without Socket.IO has in the same comparison, where there is one.
    pub(crate) floor: String,
    pub(crate) reached: bool,
    /// The load had no time left, so that more than this may be true.
    pub(crate) is_bound: bool,
}

const RATE: &str = "deliveries/s";
const COST: &str = "CPU ns each";

const GOALS: &[Goal] = &[
    at_most("idle WebSocket connection, resident bytes", 1_500.0, Measure::Own("idle-15000", "B idle")),
    at_most("the same after each echoed 64 kB", 1_700.0, Measure::Own("idle-15000", "B after 64 kB")),
    at_least("echo, 1 in flight, against the best peer", 1.3, Measure::BestPeer("echo-text-64-d1")),
    at_least("echo, 1 in flight, against the floor", 0.85, Measure::Floor("echo-text-64-d1")),
    at_least("echo, 16 in flight, against the best peer", 4.0, Measure::BestPeer("echo-text-64-d16")),
    at_least("echo, 16 in flight, against the floor", 0.5, Measure::Floor("echo-text-64-d16")),
    at_least("broadcast to 1,000, 1 in flight, against the floor", 0.9, Measure::Floor("broadcast-1000-w1")),
    at_least(
        "broadcast to 1,000, 4 in flight, against the best peer",
        2.0,
        Measure::BestPeer("broadcast-1000-w4"),
    ),
    at_least("connects, against the best peer", 2.0, Measure::BestPeer("connect-websocket")),
    at_least(
        "from Redis to 1,000, 1 in flight, against our own broadcast",
        0.9,
        Measure::Growth("fan-in-1000-w1", "broadcast-1000-w1", RATE),
    ),
    at_least(
        "from Redis to 1,000, 4 in flight, against our own broadcast",
        0.9,
        Measure::Growth("fan-in-1000-w4", "broadcast-1000-w4", RATE),
    ),
    at_least(
        "from Redis to 1,000, 1 in flight, against Node",
        2.5,
        Measure::Against("fan-in-1000-w1", Peer::Node),
    ),
    at_least(
        "from Redis to 1,000, 4 in flight, against Node",
        4.0,
        Measure::Against("fan-in-1000-w4", Peer::Node),
    ),
    at_least("emitter, against Node's", 3.0, Measure::Against("emitter", Peer::Node)),
    at_least("emitter, against redis-benchmark", 0.6, Measure::Floor("emitter")),
    at_most(
        "cost of a delivery with 15,000 connections against 1,000",
        1.2,
        Measure::Growth("broadcast-15000-w1", "broadcast-1000-w1", COST),
    ),
    at_most(
        "cost of joining and leaving a room of 10,000 against one of 10",
        1.1,
        Measure::Growth("join-leave-10000", "join-leave-10", COST),
    ),
    at_least(
        "broadcast with 2 worker threads and cores against 1",
        1.6,
        Measure::Growth("workers-2", "workers-1", RATE),
    ),
];

const fn at_least(what: &'static str, value: f64, measure: Measure) -> Goal {
    Goal { what, limit: Limit::AtLeast, value, measure }
}

const fn at_most(what: &'static str, value: f64, measure: Measure) -> Goal {
    Goal { what, limit: Limit::AtMost, value, measure }
}

/// Judges everything that was measured.
pub(crate) fn verdicts(document: &Document) -> Vec<Verdict> {
    GOALS.iter().filter_map(|goal| goal.judge(document)).collect()
}

impl Goal {
    fn judge(&self, document: &Document) -> Option<Verdict> {
        let (value, workload) = self.measure.take(document, Peer::SioServer)?;
        let (reached, sign) = match self.limit {
            Limit::AtLeast => (value >= self.value, "≥"),
            Limit::AtMost => (value <= self.value, "≤"),
        };
        let is_ratio = !matches!(self.measure, Measure::Own(..));
        let show = |value: f64| if is_ratio { format!("{value:.2} ×") } else { thousands(value) };
        Some(Verdict {
            what: self.what,
            wanted: format!("{sign} {}", show(self.value)),
            measured: show(value),
            floor: self.measure.floor(document).map(show).unwrap_or_default(),
            reached,
            is_bound: workload.cautions(Peer::SioServer).contains(&super::results::Caution::LoadBound),
        })
    }
}

impl Measure {
    /// The same for the floor, where that says anything: a hint at what the machine allows.
    fn floor(&self, document: &Document) -> Option<f64> {
        match *self {
            Self::Own(..) | Self::Floor(_) => None,
            // The best peer is the best beside us.
            Self::BestPeer(name) => {
                let (ours, _) = self.take(document, Peer::SioServer)?;
                let (of_floor, _) = Self::Floor(name).take(document, Peer::SioServer)?;
                Some(ours / of_floor)
            }
            Self::Against(..) | Self::Growth(..) => self.take(document, Peer::Floor).map(|(value, _)| value),
        }
    }

    /// The number for one program, and the workload in which it was measured.
    fn take<'a>(&self, document: &'a Document, whose: Peer) -> Option<(f64, &'a Results)> {
        let find = |name: &str| document.workloads.iter().find(|results| results.name == name);
        let own = |results: &Results, figure: &str| results.median(whose, figure);
        match *self {
            Self::Own(name, figure) => find(name).and_then(|results| Some((own(results, figure)?, results))),
            Self::BestPeer(name) => {
                find(name).and_then(|results| Some((results.ratio_to_best(whose, first(results)?)?, results)))
            }
            Self::Floor(name) => find(name)
                .and_then(|results| Some((results.ratio_to_floor(whose, first(results)?)?, results))),
            Self::Against(name, peer) => find(name).and_then(|results| {
                let figure = first(results)?.name;
                Some((own(results, figure)? / results.median(peer, figure)?, results))
            }),
            Self::Growth(name, base, figure) => find(name).and_then(|results| {
                let base = own(find(base)?, figure).filter(|base| *base > 0.0)?;
                Some((own(results, figure)? / base, results))
            }),
        }
    }
}

fn first(results: &Results) -> Option<Column<'_>> {
    results.columns().first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{
        plan::plan,
        results::{Better, sample},
        workload::Workload,
    };

    #[test]
    fn goals_name_workloads_that_exist() {
        let names: Vec<String> = plan(false).iter().map(Workload::name).collect();
        for goal in GOALS {
            let patterns = match goal.measure {
                Measure::Own(name, _)
                | Measure::BestPeer(name)
                | Measure::Against(name, _)
                | Measure::Floor(name) => vec![name],
                Measure::Growth(name, base, _) => vec![name, base],
            };
            for pattern in patterns {
                assert!(names.iter().any(|name| name == pattern), "{pattern}");
            }
        }
    }

    #[test]
    fn ratios_are_judged_against_what_was_measured() {
        let echo = sample::rates(
            "echo-text-64-d16",
            &[(Peer::SioServer, 1_600.0), (Peer::Node, 350.0), (Peer::Floor, 4_000.0)],
        );
        let found = verdicts(&sample::document(vec![echo]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[0].measured.as_str(), found[0].reached), ("4.52 ×", true));
        assert_eq!(found[0].floor, "11.28 ×", "the floor against the same peer");
        assert_eq!((found[1].measured.as_str(), found[1].reached), ("0.40 ×", false));
        assert_eq!(found[1].floor, "", "it is the measure itself");
        assert_eq!(found[1].wanted, "≥ 0.50 ×");
    }

    #[test]
    fn growth_compares_two_workloads_of_ours() {
        let cost = |name: &str, value| {
            let mut results = Results::new(name.to_owned(), String::new());
            results.push(Peer::SioServer, Ok(vec![sample::figure(COST, Better::Lower, value)]));
            let floor = if value > 3_500.0 { 3_000.0 } else { 2_500.0 };
            results.push(Peer::Floor, Ok(vec![sample::figure(COST, Better::Lower, floor)]));
            results
        };
        let document =
            sample::document(vec![cost("broadcast-1000-w1", 3_000.0), cost("broadcast-15000-w1", 3_900.0)]);
        let found = verdicts(&document);
        let growth = found.iter().find(|verdict| verdict.what.starts_with("cost of a delivery")).unwrap();
        assert_eq!((growth.measured.as_str(), growth.reached), ("1.30 ×", false));
        assert_eq!(growth.floor, "1.20 ×");
    }
}
