//! Medians with their spread, ratios, the table for people and the file for machines.
//!
//! Pure: text and JSON are given back, not written.

use serde_json::{Value, json};

use super::{
    peers::Peer,
    workload::{Better, Figure, Workload},
};

/// All runs of one workload.
#[derive(Debug)]
pub(crate) struct Results {
    workload: Workload,
    runs: Vec<(Peer, Outcome)>,
}

/// What one run gave.
pub(crate) type Outcome = Result<Vec<Figure>, String>;

/// Median and extremes of one figure of one peer.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Summary {
    median: f64,
    min: f64,
    max: f64,
}

impl Results {
    pub(crate) fn new(workload: Workload) -> Self {
        Self { workload, runs: Vec::new() }
    }

    pub(crate) fn push(&mut self, peer: Peer, outcome: Outcome) {
        self.runs.push((peer, outcome));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// A table: one line a peer, the first figure with its spread and ratios, the others as medians.
    pub(crate) fn table(&self) -> String {
        let columns = self.columns();
        let Some(&(first, better)) = columns.first() else {
            return format!("{}\n{}", self.workload.title(), self.failures());
        };
        let mut rows = vec![
            ["", first, "min", "max", "x best peer", "x floor"]
                .into_iter()
                .map(str::to_owned)
                .chain(columns[1..].iter().map(|(name, _)| (*name).to_owned()))
                .collect::<Vec<String>>(),
        ];
        for peer in self.peers() {
            let Some(summary) = self.summary(peer, first) else { continue };
            let ratio = |other: Option<f64>| match other {
                Some(value) if value > 0.0 => format!("{:.2}", summary.median / value),
                _ => String::new(),
            };
            let mut row = vec![peer.name().to_owned()];
            row.extend([summary.median, summary.min, summary.max].map(thousands));
            row.push(if peer == Peer::Floor {
                String::new()
            } else {
                ratio(self.best_besides(peer, first, better))
            });
            row.push(ratio(self.summary(Peer::Floor, first).map(|floor| floor.median)));
            for (name, _) in &columns[1..] {
                row.push(
                    self.summary(peer, name).map_or_else(String::new, |summary| thousands(summary.median)),
                );
            }
            rows.push(row);
        }
        format!("{} [{}]\n{}{}", self.workload.title(), self.workload.name(), align(&rows), self.failures())
    }

    /// Everything that was measured.
    pub(crate) fn to_json(&self) -> Value {
        let peers: Vec<Value> = self
            .peers()
            .into_iter()
            .map(|peer| {
                let figures: Vec<Value> = self
                    .columns()
                    .iter()
                    .filter_map(|&(name, better)| {
                        let Summary { median, min, max } = self.summary(peer, name)?;
                        let runs = self.values(peer, name);
                        let best = self.best_besides(peer, name, better).map(|best| median / best);
                        let floor = self.summary(Peer::Floor, name).map(|floor| median / floor.median);
                        let better = format!("{better:?}").to_lowercase();
                        Some(json!({
                            "name": name, "better": better, "median": median, "min": min, "max": max,
                            "runs": runs, "ratio_to_best_peer": best, "ratio_to_floor": floor,
                        }))
                    })
                    .collect();
                let failures: Vec<&String> = self
                    .runs
                    .iter()
                    .filter(|(other, _)| *other == peer)
                    .filter_map(|(_, outcome)| outcome.as_ref().err())
                    .collect();
                json!({ "peer": peer.name(), "figures": figures, "failures": failures })
            })
            .collect();
        json!({ "name": self.workload.name(), "title": self.workload.title(), "peers": peers })
    }

    /// The peers in the order in which they first ran.
    fn peers(&self) -> Vec<Peer> {
        let mut peers = Vec::new();
        for (peer, _) in &self.runs {
            if !peers.contains(peer) {
                peers.push(*peer);
            }
        }
        peers
    }

    /// The figures, in the order of the first run that gave any.
    fn columns(&self) -> Vec<(&'static str, Better)> {
        let figures = self.runs.iter().find_map(|(_, outcome)| outcome.as_ref().ok());
        figures.into_iter().flatten().map(|figure| (figure.name, figure.better)).collect()
    }

    fn values(&self, peer: Peer, name: &str) -> Vec<f64> {
        let outcomes = self
            .runs
            .iter()
            .filter(|(other, _)| *other == peer)
            .filter_map(|(_, outcome)| outcome.as_ref().ok());
        outcomes.flatten().filter(|figure| figure.name == name).map(|figure| figure.value).collect()
    }

    fn summary(&self, peer: Peer, name: &str) -> Option<Summary> {
        Summary::of(self.values(peer, name))
    }

    /// The best median among all others but the floor, which is no competitor.
    fn best_besides(&self, peer: Peer, name: &str, better: Better) -> Option<f64> {
        let others = self.peers().into_iter().filter(|other| *other != peer && *other != Peer::Floor);
        let medians = others.filter_map(|other| self.summary(other, name)).map(|summary| summary.median);
        match better {
            Better::Higher => medians.reduce(f64::max),
            Better::Lower => medians.reduce(f64::min),
            Better::Neither => None,
        }
    }

    fn failures(&self) -> String {
        let mut text = String::new();
        for (peer, outcome) in &self.runs {
            if let Err(error) = outcome {
                text.push_str(&format!("  {} failed: {error}\n", peer.name()));
            }
        }
        text
    }
}

impl Summary {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

/// Pads cells: names to the left, numbers to the right.
fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        text.push_str("  ");
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            text.push_str(&if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") });
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

/// A number as people read it: `1,234`, and one decimal where that says something.
fn thousands(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut results = Results::new(Workload::IdlePolls { connections: 5 });
        let figure = |value| Ok(vec![Figure { name: "B idle", better: Better::Lower, value }]);
        for (peer, value) in
            [(Peer::SioServer, 500.0), (Peer::Node, 8_000.0), (Peer::Bun, 4_000.0), (Peer::Floor, 100.0)]
        {
            results.push(peer, figure(value));
            results.push(peer, figure(value + 10.0));
        }
        results.push(Peer::Node, Err("gone".to_owned()));
        results
    }

    #[test]
    fn the_best_peer_is_another_one_and_not_the_floor() {
        let results = results();
        assert_eq!(results.best_besides(Peer::SioServer, "B idle", Better::Lower), Some(4_005.0));
        assert_eq!(results.best_besides(Peer::Node, "B idle", Better::Lower), Some(505.0));
    }

    #[test]
    fn a_failed_run_is_told_and_does_not_count() {
        let results = results();
        let table = results.table();
        assert!(table.contains("node failed: gone"), "{table}");
        assert!(table.contains("8,005"), "{table}");
        assert_eq!(results.to_json()["peers"][1]["failures"][0], "gone");
    }

    #[test]
    fn median_of_an_even_count_lies_between() {
        let summary = Summary::of(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(summary, Some(Summary { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Summary::of(Vec::new()), None);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(thousands(1_234_567.8), "1,234,568");
        assert_eq!(thousands(12.34), "12.3");
        assert_eq!(thousands(999.6), "1,000");
    }
}
