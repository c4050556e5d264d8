//! `cargo xtask bench --instructions`: the micro-benchmarks of both crates counted under callgrind instead of timed.
//!
//! Instructions do not depend on how busy the machine is, so a change that makes a path longer can be seen by
//! CI. They are compared with `xtask/instructions.json`. What they do not show is what the kernel does, and how
//! long a cache miss takes: clocks are for that.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use super::{peers::first_line, table::align};
use crate::{install, run, workspace};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What was counted when it was last recorded.
const RECORD: &str = "xtask/instructions.json";

/// The benches that can be counted: package and name.
const BENCHES: [(&str, &str); 2] = [("sio-protocol", "codec"), ("sio-server", "server")];

/// What a count may rise by. Pure code differs by nothing from run to run; a server hashes with random keys and
/// meets its sockets in an order of their own.
const TOLERANCE: [(&str, f64); 2] = [("sio-protocol", 0.02), ("sio-server", 0.05)];

/// The recorded counts, and what they hold for: other compilers and processors give others.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Record {
    rustc: String,
    valgrind: String,
    machine: String,
    /// Instructions of one turn, by `package: case`.
    counts: BTreeMap<String, f64>,
}

/// A case that can be counted.
#[derive(Debug, Eq, PartialEq)]
struct Case {
    name: String,
    times: u64,
}

/// Counts; true if nothing got worse than the tolerance allows.
///
/// # Errors
///
/// If valgrind is missing or a bench cannot be built or run.
pub(crate) fn main(record: bool) -> Result<bool> {
    let valgrind = install::tool(&install::VALGRIND)?;
    let mut now = Record {
        rustc: first_line(Command::new("rustc").arg("--version")),
        valgrind: first_line(Command::new(&valgrind).arg("--version")),
        machine: std::env::consts::ARCH.to_owned(),
        counts: BTreeMap::new(),
    };
    for (package, bench) in BENCHES {
        let program = build(package, bench)?;
        let cases = run::output(Command::new(&program).arg("names")).map_err(|error| error.to_string())?;
        for case in cases.lines().filter_map(Case::parse) {
            eprintln!("counting {package}: {}", case.name);
            // The difference leaves out what starting costs.
            let count = |times| callgrind(&valgrind, &program, &case.name, times);
            let turns = count(2 * case.times)?.saturating_sub(count(case.times)?);
            now.counts.insert(format!("{package}: {}", case.name), turns as f64 / case.times as f64);
        }
    }
    let path = workspace::path(RECORD);
    if record {
        fs::write(&path, serde_json::to_string_pretty(&now)? + "\n")?;
        println!("recorded in {RECORD}");
        return Ok(true);
    }
    let before: Record = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|error| format!("{RECORD}: {error}"))?,
        Err(error) => return Err(format!("{RECORD}: {error}; --record makes it").into()),
    };
    for (what, then, now) in [
        ("compiler", &before.rustc, &now.rustc),
        ("valgrind", &before.valgrind, &now.valgrind),
        ("machine", &before.machine, &now.machine),
    ] {
        if then != now {
            println!("note: recorded with another {what}: {then}, now {now}; record again before judging");
        }
    }
    let (text, fine) = compare(&before.counts, &now.counts);
    println!("{text}");
    Ok(fine)
}

/// Builds a bench and gives its program.
fn build(package: &str, bench: &str) -> Result<PathBuf> {
    let arguments = ["bench", "--no-run", "--message-format=json", "--package", package, "--bench", bench];
    let mut program = None;
    let label = format!("build of the bench {bench} of {package}");
    let mut on_line = |line: &str| program = executable(line, bench).or(program.take());
    let finished = run::step_with(&label, &mut workspace::cargo(&arguments), run::STEP_LIMIT, &mut on_line);
    if !finished.success {
        finished.explain(&label, &[]);
    }
    program.ok_or_else(|| format!("cargo built no bench {bench} of {package}").into())
}

/// Finds the program in a line that cargo writes.
fn executable(line: &str, bench: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_it = message["target"]["name"] == bench && message["target"]["kind"][0] == "bench";
    message["executable"].as_str().filter(|_| is_it).map(PathBuf::from)
}

/// Runs a case so many times and gives all instructions of the process.
fn callgrind(valgrind: &Path, program: &Path, case: &str, times: u64) -> Result<u64> {
    let output = Command::new(valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["run", case, &times.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let tail: Vec<&str> = said.lines().rev().take(3).collect();
        return Err(format!("{case} under callgrind: {}", tail.join(" | ")).into());
    }
    collected(&said).ok_or_else(|| format!("callgrind did not say what it counted: {said}").into())
}

/// Reads `==7== Collected : 123`.
fn collected(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("Collected :")?;
    rest.split_whitespace().next()?.parse().ok()
}

impl Case {
    fn parse(line: &str) -> Option<Self> {
        let (times, name) = line.split_once(' ')?;
        Some(Self { name: name.to_owned(), times: times.parse().ok().filter(|times| *times > 0)? })
    }
}

/// A table of all cases, and whether none got worse than it may.
fn compare(before: &BTreeMap<String, f64>, now: &BTreeMap<String, f64>) -> (String, bool) {
    let mut rows =
        vec![["instructions of one turn", "recorded", "now", "change", ""].map(str::to_owned).to_vec()];
    let mut fine = true;
    let number = |count: Option<&f64>| count.map_or_else(String::new, |count| format!("{count:.0}"));
    let names: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), now.get(name));
        let (change, judgement) = match (old, new) {
            (Some(&old), Some(&new)) if old > 0.0 => {
                let change = new / old - 1.0;
                let worse = change > tolerance(name);
                fine &= !worse;
                let better = change < -tolerance(name);
                let judgement = if worse {
                    "WORSE"
                } else if better {
                    "better: --record it"
                } else {
                    ""
                };
                (format!("{:+.1} %", change * 100.0), judgement)
            }
            (None, Some(_)) => (String::new(), "new: --record it"),
            _ => {
                // A case that vanished would hide whatever it showed.
                fine = false;
                (String::new(), "GONE: --record if it should be")
            }
        };
        rows.push(vec![name.clone(), number(old), number(new), change, judgement.to_owned()]);
    }
    (align(&rows), fine)
}

fn tolerance(name: &str) -> f64 {
    let found = TOLERANCE.iter().find(|(package, _)| name.starts_with(package));
    found.map_or(0.0, |(_, tolerance)| *tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn what_callgrind_says_is_read() {
        let said = "==7== Events    : Ir\n==7== Collected : 29233\n==7== \n";
        assert_eq!(collected(said), Some(29_233));
        assert_eq!(collected("==7== no"), None);
    }

    #[test]
    fn names_may_have_spaces() {
        let case = Case { name: "echo 64 B, 16 at once".to_owned(), times: 400 };
        assert_eq!(Case::parse("400 echo 64 B, 16 at once"), Some(case));
        assert_eq!(Case::parse("0 echo"), None);
    }

    #[test]
    fn the_program_is_found_among_what_cargo_says() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["bench"],"name":"codec"},"executable":"target/codec"}"#;
        assert_eq!(executable(line, "codec"), Some(PathBuf::from("target/codec")));
        assert_eq!(executable(line, "server"), None);
        assert_eq!(executable("Compiling", "codec"), None);
    }

    #[test]
    fn more_than_the_tolerance_is_worse() {
        let before = counts(&[("sio-protocol: a", 1_000.0), ("sio-server: b", 1_000.0)]);
        assert!(compare(&before, &counts(&[("sio-protocol: a", 1_019.0), ("sio-server: b", 1_049.0)])).1);
        let (text, fine) =
            compare(&before, &counts(&[("sio-protocol: a", 1_021.0), ("sio-server: b", 900.0)]));
        assert!(
            !fine && text.contains("+2.1 %") && text.contains("WORSE") && text.contains("better"),
            "{text}"
        );
    }

    #[test]
    fn a_case_that_vanished_is_told_and_a_new_one_does_no_harm() {
        let before = counts(&[("sio-protocol: a", 1_000.0)]);
        assert!(!compare(&before, &counts(&[])).1);
        assert!(compare(&before, &counts(&[("sio-protocol: a", 1_000.0), ("sio-protocol: c", 5.0)])).1);
    }
}
