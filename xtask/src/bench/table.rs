//! The table of one workload on a terminal.
//!
//! Pure: text is given back, not printed.

use super::{
    results::{Caution, Results},
    statistics::thousands,
};

/// One line a peer: the first figure with its spread and ratios, the others as medians.
pub(crate) fn table(results: &Results) -> String {
    let columns = results.columns();
    let Some((first, others)) = columns.split_first() else {
        return format!("{}\n{}", results.title, failures(results));
    };
    let head = ["", first.name, "", "min", "max", "x best peer", "x floor"].map(str::to_owned);
    let mut rows = vec![head.into_iter().chain(others.iter().map(|column| column.name.to_owned())).collect()];
    let mut cautions: Vec<Caution> = Vec::new();
    for peer in results.peers() {
        let Some(summary) = results.summary(peer, first.name) else { continue };
        let own = results.cautions(peer);
        let marks: String = own.iter().map(|caution| caution.mark()).collect();
        cautions.extend(own.into_iter().filter(|caution| !cautions.contains(caution)).collect::<Vec<_>>());
        let ratio = |ratio: Option<f64>| ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let floor = peer == super::peers::Peer::Floor;
        let mut row = vec![peer.label().to_owned(), thousands(summary.median), marks];
        row.extend([summary.min, summary.max].map(thousands));
        row.push(ratio(results.ratio_to_best(peer, *first).filter(|_| !floor)));
        row.push(ratio(results.ratio_to_floor(peer, *first)));
        row.extend(
            others.iter().map(|column| results.median(peer, column.name).map_or_else(String::new, thousands)),
        );
        rows.push(row);
    }
    let mut text = format!("{} [{}]\n{}", results.title, results.name, align(&rows));
    for caution in cautions {
        text.push_str(&format!("  {} {}\n", caution.mark(), caution.meaning()));
    }
    text + &failures(results)
}

fn failures(results: &Results) -> String {
    results.failures().map(|(peer, error)| format!("  {} failed: {error}\n", peer.label())).collect()
}

/// Pads cells: names to the left, numbers to the right.
pub(crate) fn align(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column);
            line.push_str(&if column == 0 {
                format!("  {cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{peers::Peer, results::sample};

    #[test]
    fn a_table_has_medians_ratios_and_marks() {
        let rates = [(Peer::SioServer, 1_995.0), (Peer::Node, 495.0), (Peer::Floor, 3_995.0)];
        let text = table(&sample::rates("echo", &rates));
        let line = |name: &str| {
            let line = text.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
            line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(line("sio"), ["sio", "2,000", "1,995", "2,005", "4.00", "0.50", "40.0", "1.0"]);
        assert_eq!(line("floor"), ["floor", "4,000", "†", "3,995", "4,005", "97.0", "1.0"]);
        assert!(text.contains("† the load was busy"), "{text}");
    }

    #[test]
    fn a_workload_that_nobody_finished_says_why() {
        let mut results = Results::new("echo".to_owned(), "Echo".to_owned());
        results.push(Peer::Node, Err("it did not start".to_owned()));
        assert_eq!(table(&results), "Echo\n  Node failed: it did not start\n");
    }
}
