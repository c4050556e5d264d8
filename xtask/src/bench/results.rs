//! What was measured: the content of results.json, and what can be asked of it.
//!
//! Pure. The file is written after every workload and is all that tables, charts and verdicts are made from,
//! so that they can be drawn again from the same measurement.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{peers::Peer, statistics::Summary};

/// Everything of one run of the command.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Document {
    pub(crate) environment: Environment,
    pub(crate) settings: Settings,
    pub(crate) workloads: Vec<Results>,
}

/// What a reader must know to compare the numbers with others.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Environment {
    pub(crate) date: String,
    pub(crate) command: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    pub(crate) rustc: String,
    /// As the kernel had it before the first measurement: of others, that is.
    pub(crate) load_average: String,
    pub(crate) versions: Vec<Version>,
}

/// What exactly was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Version {
    pub(crate) peer: Peer,
    pub(crate) text: String,
}

/// How it was measured.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Settings {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) warm_up_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) workers: usize,
    /// How the generator waits: by spinning, unless a workload says otherwise.
    pub(crate) generator_sleeps: bool,
}

/// All runs of one workload.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Results {
    pub(crate) name: String,
    pub(crate) title: String,
    peers: Vec<PeerResults>,
}

#[derive(Clone, Debug, Deserialize)]
struct PeerResults {
    peer: Peer,
    figures: Vec<Series>,
    failures: Vec<String>,
}

/// One figure of one peer in all rounds.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Series {
    name: String,
    better: Better,
    main: bool,
    runs: Vec<f64>,
}

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Better {
    Higher,
    Lower,
    /// Says something of the measurement, not of the server.
    Neither,
}

/// One number of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    /// With its unit.
    pub(crate) name: &'static str,
    pub(crate) better: Better,
    /// Is drawn; the others explain.
    pub(crate) main: bool,
    pub(crate) value: f64,
}

/// Heads a column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Column<'a> {
    pub(crate) name: &'a str,
    pub(crate) better: Better,
    pub(crate) main: bool,
}

/// What one run gave.
pub(crate) type Outcome = Result<Vec<Figure>, String>;

/// Why a figure has to be taken with care.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Caution {
    /// The load had no time left: the server may be able to do more.
    LoadBound,
    /// Other programs took part of the two cores.
    Disturbed,
}

/// The figures that say something of the measurement.
pub(crate) const LOAD: &str = "load %";
pub(crate) const NOISE: &str = "noise %";

/// From here on, the load counts as the bottleneck: it can no longer take everything as it comes.
const LOAD_BOUND: f64 = 90.0;

/// From here on, the rate says more of the machine than of the server.
const DISTURBED: f64 = 5.0;

impl Caution {
    /// The mark in tables and charts.
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::LoadBound => "†",
            Self::Disturbed => "‡",
        }
    }

    /// What the mark means.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::LoadBound => {
                "the load was busy for 90 % of the time or more: the server does at least this"
            }
            Self::Disturbed => "others took more than 5 % of the two cores: the rate is too low",
        }
    }
}

impl Document {
    /// Reads results.json.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub(crate) fn from_json(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The content of results.json. Medians and ratios are in it for whoever reads the file without this
    /// program, which computes them again.
    pub(crate) fn to_json(&self) -> Value {
        let workloads: Vec<Value> =
            self.workloads.iter().filter(|results| !results.peers.is_empty()).map(Results::to_json).collect();
        json!({ "environment": self.environment, "settings": self.settings, "workloads": workloads })
    }
}

impl Results {
    pub(crate) fn new(name: String, title: String) -> Self {
        Self { name, title, peers: Vec::new() }
    }

    pub(crate) fn push(&mut self, peer: Peer, outcome: Outcome) {
        if !self.peers.iter().any(|results| results.peer == peer) {
            self.peers.push(PeerResults { peer, figures: Vec::new(), failures: Vec::new() });
        }
        let Some(results) = self.peers.iter_mut().find(|results| results.peer == peer) else { return };
        match outcome {
            Ok(figures) => figures.into_iter().for_each(|figure| results.push(&figure)),
            Err(error) => results.failures.push(error),
        }
    }

    /// The peers in the order in which they first ran.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        self.peers.iter().map(|results| results.peer)
    }

    /// How often the peer that ran most often ran without failing.
    pub(crate) fn rounds(&self) -> usize {
        let runs = self.peers.iter().flat_map(|results| &results.figures).map(|series| series.runs.len());
        runs.max().unwrap_or_default()
    }

    /// The figures, in the order of the first run that gave any.
    pub(crate) fn columns(&self) -> Vec<Column<'_>> {
        let first = self.peers.iter().find(|results| !results.figures.is_empty());
        let series = first.map_or(&[][..], |results| &results.figures);
        series
            .iter()
            .map(|series| Column { name: &series.name, better: series.better, main: series.main })
            .collect()
    }

    pub(crate) fn summary(&self, peer: Peer, figure: &str) -> Option<Summary> {
        Summary::of(&self.series(peer, figure)?.runs)
    }

    pub(crate) fn median(&self, peer: Peer, figure: &str) -> Option<f64> {
        self.summary(peer, figure).map(|summary| summary.median)
    }

    /// What a peer reaches of the best of all others: neither of its own other allocator nor of the floor,
    /// which is no competitor.
    pub(crate) fn ratio_to_best(&self, peer: Peer, column: Column<'_>) -> Option<f64> {
        let competes = |other: &Peer| *other != Peer::Floor && self.compete(peer, *other);
        let medians = self.peers().filter(competes).filter_map(|other| self.median(other, column.name));
        let best = match column.better {
            Better::Higher => medians.reduce(f64::max),
            Better::Lower => medians.reduce(f64::min),
            Better::Neither => None,
        }?;
        ratio(self.median(peer, column.name)?, best)
    }

    fn compete(&self, one: Peer, other: Peer) -> bool {
        let twins = matches!(
            (one, other),
            (
                Peer::Socketioxide | Peer::SocketioxideJemalloc,
                Peer::Socketioxide | Peer::SocketioxideJemalloc
            )
        );
        one != other && !twins && !(one.is_ours() && other.is_ours())
    }

    pub(crate) fn ratio_to_floor(&self, peer: Peer, column: Column<'_>) -> Option<f64> {
        if peer == Peer::Floor || column.better == Better::Neither {
            return None;
        }
        ratio(self.median(peer, column.name)?, self.median(Peer::Floor, column.name)?)
    }

    /// What has to be said of a peer's rates.
    pub(crate) fn cautions(&self, peer: Peer) -> Vec<Caution> {
        let exceeds = |figure, limit| self.median(peer, figure).is_some_and(|value| value >= limit);
        let mut cautions = Vec::new();
        if exceeds(LOAD, LOAD_BOUND) {
            cautions.push(Caution::LoadBound);
        }
        if exceeds(NOISE, DISTURBED) {
            cautions.push(Caution::Disturbed);
        }
        cautions
    }

    /// Which runs failed, and why.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (Peer, &str)> {
        self.peers
            .iter()
            .flat_map(|results| results.failures.iter().map(|failure| (results.peer, failure.as_str())))
    }

    fn series(&self, peer: Peer, figure: &str) -> Option<&Series> {
        let results = self.peers.iter().find(|results| results.peer == peer)?;
        results.figures.iter().find(|series| series.name == figure)
    }

    fn to_json(&self) -> Value {
        let peers: Vec<Value> = self
            .peers
            .iter()
            .map(|results| {
                let figures: Vec<Value> = results
                    .figures
                    .iter()
                    .filter_map(|series| {
                        let Series { name, better, main, runs } = series;
                        let Summary { median, min, max } = Summary::of(runs)?;
                        let column = Column { name, better: *better, main: *main };
                        Some(json!({
                            "name": name, "better": better, "main": main, "runs": runs,
                            "median": median, "min": min, "max": max,
                            "ratio_to_best_peer": self.ratio_to_best(results.peer, column),
                            "ratio_to_floor": self.ratio_to_floor(results.peer, column),
                        }))
                    })
                    .collect();
                let cautions: Vec<&str> =
                    self.cautions(results.peer).into_iter().map(Caution::meaning).collect();
                json!({
                    "peer": results.peer, "figures": figures, "failures": results.failures,
                    "cautions": cautions,
                })
            })
            .collect();
        json!({ "name": self.name, "title": self.title, "peers": peers })
    }
}

impl PeerResults {
    fn push(&mut self, figure: &Figure) {
        let Figure { name, better, main, value } = *figure;
        match self.figures.iter_mut().find(|series| series.name == name) {
            Some(series) => series.runs.push(value),
            None => self.figures.push(Series { name: name.to_owned(), better, main, runs: vec![value] }),
        }
    }
}

fn ratio(value: f64, to: f64) -> Option<f64> {
    (to > 0.0).then(|| value / to)
}

/// A document for the tests of whatever is made from one.
#[cfg(test)]
pub(crate) mod sample {
    use super::*;

    pub(crate) fn figure(name: &'static str, better: Better, value: f64) -> Figure {
        Figure { name, better, main: better != Better::Neither, value }
    }

    /// Adds a workload in which each peer has one rate, run twice, the second time by 10 more.
    pub(crate) fn rates(name: &str, rates: &[(Peer, f64)]) -> Results {
        let mut results = Results::new(name.to_owned(), format!("title of {name}"));
        for &(peer, rate) in rates {
            for value in [rate, rate + 10.0] {
                results.push(
                    peer,
                    Ok(vec![
                        figure("messages/s", Better::Higher, value),
                        figure(LOAD, Better::Neither, if peer == Peer::Floor { 97.0 } else { 40.0 }),
                        figure(NOISE, Better::Neither, 1.0),
                    ]),
                );
            }
        }
        results
    }

    pub(crate) fn document(workloads: Vec<Results>) -> Document {
        let environment = Environment {
            date: "2026-11-22".to_owned(),
            command: "cargo xtask bench --quick".to_owned(),
            cpu: "a processor".to_owned(),
            cores: 2,
            kernel: "6.18".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
            load_average: "0.00 0.00 0.00".to_owned(),
            versions: vec![Version { peer: Peer::Node, text: "Node 20".to_owned() }],
        };
        let settings = Settings {
            quick: true,
            rounds: 2,
            warm_up_seconds: 1.0,
            seconds: 1.0,
            workers: 1,
            generator_sleeps: false,
        };
        Document { environment, settings, workloads }
    }
}

#[cfg(test)]
mod tests {
    use super::{sample::figure, *};

    const IDLE: Column<'_> = Column { name: "B idle", better: Better::Lower, main: true };

    fn results() -> Results {
        let mut results = Results::new("idle".to_owned(), "Idle".to_owned());
        for (peer, value) in [
            (Peer::SioServer, 500.0),
            (Peer::SioServerJemalloc, 300.0),
            (Peer::Node, 8_000.0),
            (Peer::Bun, 4_000.0),
            (Peer::Floor, 100.0),
        ] {
            results.push(peer, Ok(vec![figure("B idle", Better::Lower, value)]));
            results.push(peer, Ok(vec![figure("B idle", Better::Lower, value + 10.0)]));
        }
        results.push(Peer::Node, Err("gone".to_owned()));
        results
    }

    #[test]
    fn the_best_peer_is_neither_ours_nor_the_floor() {
        let results = results();
        assert_eq!(results.ratio_to_best(Peer::SioServer, IDLE), Some(505.0 / 4_005.0));
        assert_eq!(results.ratio_to_best(Peer::SioServerJemalloc, IDLE), Some(305.0 / 4_005.0));
        assert_eq!(results.ratio_to_best(Peer::Node, IDLE), Some(8_005.0 / 305.0));
        assert_eq!(results.ratio_to_floor(Peer::SioServer, IDLE), Some(505.0 / 105.0));
        assert_eq!(results.ratio_to_floor(Peer::Floor, IDLE), None);
    }

    #[test]
    fn a_failed_run_is_kept_and_does_not_count() {
        let results = results();
        assert_eq!(results.failures().collect::<Vec<_>>(), [(Peer::Node, "gone")]);
        assert_eq!(results.median(Peer::Node, "B idle"), Some(8_005.0));
    }

    #[test]
    fn a_load_without_time_left_is_told() {
        let results = sample::rates("echo", &[(Peer::SioServer, 100.0), (Peer::Floor, 200.0)]);
        assert_eq!(results.cautions(Peer::Floor), [Caution::LoadBound]);
        assert!(results.cautions(Peer::SioServer).is_empty());
    }

    #[test]
    fn the_file_can_be_read_again() {
        let document = sample::document(vec![results()]);
        let json = document.to_json();
        let again = Document::from_json(&json.to_string()).unwrap();
        assert_eq!(again.to_json(), json);
        assert_eq!(json["workloads"][0]["peers"][0]["figures"][0]["median"], 505.0);
        assert_eq!(json["workloads"][0]["peers"][2]["failures"][0], "gone");
    }
}
