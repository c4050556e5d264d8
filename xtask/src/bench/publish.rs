//! The tables of README.md and BENCHMARKS.md, written by the command and never by hand.
//!
//! Pure but for `write`. What stands between the two markers of a file is replaced; the rest is left alone.

use std::{fs, path::Path};

use super::{
    goals,
    peers::Peer,
    results::{Caution, Column, Document, Results},
    statistics::thousands,
};

const BEGIN: &str = "<!-- bench:begin, written by `cargo xtask bench --publish` -->";
const END: &str = "<!-- bench:end -->";

/// What the front page shows: how names of workloads begin, the figure, and the words for it.
const FRONT_PAGE: &[(&str, &str, &str)] = &[
    ("idle-", "B idle", "idle WebSocket joined to `/`, resident bytes"),
    ("idle-", "B after 64 kB", "the same after each echoed 64 kB"),
    ("idle-polling-", "B idle", "idle long-polling session, resident bytes"),
    ("connect-websocket", "connects/s", "connect, join and leave, per second"),
    ("echo-text-64-d1", "messages/s", "echo, 64 connections, 1 in flight on each, messages/s"),
    ("echo-text-64-d16", "messages/s", "echo, 64 connections, 16 in flight on each, messages/s"),
    ("ack-64-d1", "messages/s", "acknowledgement, 1 in flight on each, messages/s"),
    ("broadcast-1000-w1", "deliveries/s", "broadcast to 1,000, 1 in flight, deliveries/s"),
    ("broadcast-1000-w4", "deliveries/s", "broadcast to 1,000, 4 in flight, deliveries/s"),
    ("fan-in-1000-w1", "deliveries/s", "from Redis to 1,000, 1 in flight, deliveries/s"),
    ("fan-in-1000-w4", "deliveries/s", "from Redis to 1,000, 4 in flight, deliveries/s"),
    ("two-nodes-classic-1000-w4", "deliveries/s", "from another node to 1,000, 4 in flight, deliveries/s"),
    ("emitter", "messages/s", "emitter, messages/s"),
];

/// Replaces the tables in both files.
///
/// # Errors
///
/// If a file or its markers are missing.
pub(crate) fn write(document: &Document, root: &Path) -> Result<(), String> {
    for (name, text) in [("README.md", front_page(document)), ("BENCHMARKS.md", everything(document))] {
        let path = root.join(name);
        let old = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        let new = replace(&old, &text)
            .ok_or_else(|| format!("{name} does not have the lines {BEGIN} and {END}"))?;
        fs::write(&path, new).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

fn replace(text: &str, content: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{content}\n{END}{after}"))
}

/// One table with a column for each server.
fn front_page(document: &Document) -> String {
    let mut rows = Vec::new();
    let mut peers = Vec::new();
    for (start, figure, words) in FRONT_PAGE {
        let fits = |results: &&Results| {
            // `idle-2000`, but not `idle-polling-500`.
            let rest = results.name.strip_prefix(start);
            rest.is_some_and(|rest| {
                rest.is_empty() || start.ends_with('-') && rest.bytes().all(|b| b.is_ascii_digit())
            })
        };
        let Some(results) = document.workloads.iter().find(fits) else { continue };
        for peer in
            results.peers().filter(|peer| !peer.has_jemalloc() && !peers.contains(peer)).collect::<Vec<_>>()
        {
            peers.push(peer);
        }
        rows.push((results, *figure, *words));
    }
    // Ours first, the floor last.
    peers.sort_by_key(|peer| (*peer == Peer::Floor, !peer.is_ours()));
    let mut text = String::from("| |");
    peers.iter().for_each(|peer| text.push_str(&format!(" {} |", peer.label())));
    text.push_str(" × best peer | × floor |\n|");
    text.push_str(&" --- |".repeat(peers.len() + 3));
    text.push('\n');
    let mut cautions = Vec::new();
    for (results, figure, words) in rows {
        let Some(column) = column(results, figure) else { continue };
        text.push_str(&format!("| {words} |"));
        for &peer in &peers {
            let own = results.cautions(peer);
            let cell = results.median(peer, figure).map(|value| thousands(value) + &marks(&own));
            if cell.is_some() {
                note(&mut cautions, &own);
            }
            text.push_str(&format!(" {} |", cell.unwrap_or_default()));
        }
        let best = results.ratio_to_best(Peer::SioServer, column);
        let floor = results.ratio_to_floor(Peer::SioServer, column);
        text.push_str(&format!(" {} | {} |\n", ratio(best), ratio(floor)));
    }
    text.push_str(&meanings(&cautions));
    text + &provenance(document)
}

/// All figures of all workloads, with their spread, and the goals.
fn everything(document: &Document) -> String {
    let mut text = provenance(document);
    let verdicts = goals::verdicts(document);
    if !verdicts.is_empty() {
        text.push_str(
            "\n### Goals\n\n| goal | wanted | measured | the floor | |\n| --- | --- | --- | --- | --- |\n",
        );
        for verdict in verdicts {
            let bound = if verdict.is_bound { Caution::LoadBound.mark() } else { "" };
            let verdict_text = if verdict.reached { "reached" } else { "not reached" };
            text.push_str(&format!(
                "| {} | {} | {}{bound} | {} | {verdict_text} |\n",
                verdict.what, verdict.wanted, verdict.measured, verdict.floor
            ));
        }
    }
    let mut cautions = Vec::new();
    for results in &document.workloads {
        text.push_str(&details(results, &mut cautions));
    }
    text + &meanings(&cautions)
}

/// The table of one workload.
fn details(results: &Results, cautions: &mut Vec<Caution>) -> String {
    let columns = results.columns();
    let mut text = format!("\n### {} (`{}`)\n\n", results.title, results.name);
    if let Some((first, others)) = columns.split_first() {
        text.push_str(&format!("| | {} | lowest, highest | × best peer | × floor |", first.name));
        others.iter().for_each(|column| text.push_str(&format!(" {} |", column.name)));
        text.push_str(&format!("\n|{}\n", " --- |".repeat(columns.len() + 4)));
        for peer in results.peers() {
            let Some(summary) = results.summary(peer, first.name) else { continue };
            let own = results.cautions(peer);
            note(cautions, &own);
            let best = results.ratio_to_best(peer, *first).filter(|_| peer != Peer::Floor);
            text.push_str(&format!(
                "| {} | {}{} | {}, {} | {} | {} |",
                peer.label(),
                thousands(summary.median),
                marks(&own),
                thousands(summary.min),
                thousands(summary.max),
                ratio(best),
                ratio(results.ratio_to_floor(peer, *first))
            ));
            for column in others {
                let value = results.median(peer, column.name).map_or_else(String::new, thousands);
                text.push_str(&format!(" {value} |"));
            }
            text.push('\n');
        }
    }
    for (peer, error) in results.failures() {
        text.push_str(&format!("\n{} failed: {error}\n", peer.label()));
    }
    text
}

/// When, where, with what and by which command.
fn provenance(document: &Document) -> String {
    let environment = &document.environment;
    let settings = &document.settings;
    let versions: Vec<String> = environment
        .versions
        .iter()
        .map(|version| format!("{}: {}", version.peer.label(), version.text))
        .collect();
    format!(
        "\nMeasured on {} by `{}`: medians of {} rounds of {} s each. {}, {} cores, Linux {}, {}. {}.\n",
        environment.date,
        environment.command,
        settings.rounds,
        settings.seconds,
        environment.cpu,
        environment.cores,
        environment.kernel,
        environment.rustc,
        versions.join("; ")
    )
}

fn column<'a>(results: &'a Results, figure: &str) -> Option<Column<'a>> {
    results.columns().into_iter().find(|column| column.name == figure)
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}

fn marks(cautions: &[Caution]) -> String {
    cautions.iter().map(|caution| format!(" {}", caution.mark())).collect()
}

fn note(all: &mut Vec<Caution>, more: &[Caution]) {
    for caution in more {
        if !all.contains(caution) {
            all.push(*caution);
        }
    }
}

fn meanings(cautions: &[Caution]) -> String {
    cautions.iter().map(|caution| format!("\n{} {}.\n", caution.mark(), caution.meaning())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{plan::plan, results::sample, workload::Workload};

    fn document() -> Document {
        sample::document(vec![sample::rates(
            "echo-text-64-d1",
            &[(Peer::Floor, 3_995.0), (Peer::Node, 495.0), (Peer::SioServer, 1_995.0)],
        )])
    }

    #[test]
    fn only_what_is_between_the_markers_is_replaced() {
        let old = format!("# Title\n\n{BEGIN}\n\nold\n{END}\n\nrest\n");
        let new = replace(&old, "table\n").unwrap();
        assert_eq!(new, format!("# Title\n\n{BEGIN}\n\ntable\n\n{END}\n\nrest\n"));
        assert_eq!(replace(&new, "table\n").unwrap(), new);
        assert_eq!(replace("# Title\n", "table"), None);
    }

    #[test]
    fn the_front_page_has_ours_first_and_the_floor_last() {
        let text = front_page(&document());
        assert!(text.starts_with("| | sio | Node | floor | × best peer | × floor |\n"), "{text}");
        assert!(text.contains("messages/s | 2,000 | 500 | 4,000 † | 4.00 | 0.50 |\n"), "{text}");
        for provenance in ["2026-11-22", "`cargo xtask bench --quick`", "Node: Node 20"] {
            assert!(text.contains(provenance), "{provenance}");
        }
    }

    #[test]
    fn the_long_page_has_spread_and_goals() {
        let text = everything(&document());
        assert!(text.contains("| sio | 2,000 | 1,995, 2,005 | 4.00 | 0.50 | 40.0 | 1.0 |"), "{text}");
        assert!(
            text.contains(
                "| echo, 1 in flight, against the best peer | ≥ 1.30 × | 4.00 × | 8.00 × | reached |"
            )
        );
        assert!(
            text.contains("| echo, 1 in flight, against the floor | ≥ 0.85 × | 0.50 × |  | not reached |")
        );
    }

    #[test]
    fn the_front_page_names_workloads_of_both_plans() {
        for quick in [false, true] {
            let names: Vec<String> = plan(quick).iter().map(Workload::name).collect();
            for (start, _, words) in FRONT_PAGE {
                assert!(names.iter().any(|name| name.starts_with(start)), "{words} in {names:?}");
            }
        }
    }

    #[test]
    fn both_files_have_the_markers() {
        let root = crate::workspace::root();
        for name in ["README.md", "BENCHMARKS.md"] {
            let text = fs::read_to_string(root.join(name)).unwrap();
            assert!(replace(&text, "").is_some(), "{name}");
        }
    }
}
