//! The measuring process: every workload, round by round, every server in turn; tables, files, charts.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Args, chart,
    clients::Waiting,
    environment::environment,
    goals,
    load::Pace,
    meter::Timing,
    peers::{Peer, Role},
    publish,
    results::{Document, Results, Settings},
    table::{align, table},
    workload::{Stage, Workload},
};
use crate::workspace;

/// The share of the measured time that is spent on warming up before it: a compiler in the server has then seen tens
/// of thousands of messages.
const WARM_UP: f64 = 0.5;

/// A program that is ready for a part.
struct Ready {
    peer: Peer,
    role: Role,
    command: Vec<String>,
}

/// Measures what is planned with those of the peers that could be prepared.
///
/// # Errors
///
/// If the results cannot be written. A server that fails a workload is reported in the table and does not end
/// the run.
pub(crate) fn measure(args: &Args, plan: &[Workload], prepared: &str) -> Result<(), Box<dyn Error>> {
    let _priority = args.priority.then(Priority::raise).transpose()?;
    let ready = ready(prepared);
    let out = args.out();
    fs::create_dir_all(&out)?;
    let rounds = args.rounds.unwrap_or(if args.quick { 2 } else { 3 });
    let seconds = args.seconds.unwrap_or(if args.quick { 1.0 } else { 2.0 });
    let window = Duration::try_from_secs_f64(seconds)?;
    let timing = Timing { warm_up: window.mul_f64(WARM_UP), window };
    let pace = Pace { timing, waiting: if args.sleep { Waiting::Sleep } else { Waiting::Spin } };
    let settings = Settings {
        quick: args.quick,
        rounds,
        warm_up_seconds: seconds * WARM_UP,
        seconds,
        workers: args.workers,
        generator_sleeps: args.sleep,
    };
    let peers = peers_of(&ready);
    let environment = environment(args.command_line(), &peers);
    let mut document = Document { environment, settings, workloads: Vec::new() };

    let takes_part =
        |workload: &Workload, ready: &&Ready| ready.role == workload.role() && workload.measures(ready.peer);
    let rounds_of = |workload: &Workload| workload.rounds(rounds, args.quick);
    let runs = |workload: &Workload| {
        rounds_of(workload) * ready.iter().filter(|ready| takes_part(workload, ready)).count()
    };
    let bar = ProgressBar::new(plan.iter().map(runs).sum::<usize>() as u64).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} of about {duration} {msg}")?,
    );
    for workload in plan {
        let mut results = Results::new(workload.name(), workload.title());
        for round in 1..=rounds_of(workload) {
            for Ready { peer, command, .. } in ready.iter().filter(|ready| takes_part(workload, ready)) {
                let name = format!("{} round {round} {peer}", workload.name());
                if bar.is_hidden() {
                    eprintln!("{}/{} {name}", bar.position() + 1, bar.length().unwrap_or_default());
                }
                bar.set_message(name);
                let log = out.join(format!("{}-{peer}.log", workload.name()));
                let stage = Stage { command, workers: args.workers, log: &log, pace };
                results.push(*peer, workload.run(&stage).map_err(|error| error.to_string()));
                bar.inc(1);
            }
        }
        if results.peers().next().is_some() {
            bar.suspend(|| println!("{}", table(&results)));
            document.workloads.push(results);
        }
        // Written each time, so that a run broken off leaves what it has.
        write(&document, &out)?;
    }
    bar.finish_and_clear();
    report(&document, args)
}

/// Draws, judges and publishes once more what a run has left.
///
/// # Errors
///
/// If there are no results, or a file cannot be written.
pub(crate) fn redraw(args: &Args) -> Result<(), Box<dyn Error>> {
    let path = args.out().join("results.json");
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let document = Document::from_json(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    document.workloads.iter().for_each(|results| println!("{}", table(results)));
    write(&document, &args.out())?;
    report(&document, args)
}

fn write(document: &Document, out: &Path) -> Result<(), Box<dyn Error>> {
    fs::write(out.join("results.json"), serde_json::to_string_pretty(&document.to_json())?)?;
    for (name, text) in chart::charts(document) {
        fs::write(out.join(name), text)?;
    }
    Ok(())
}

fn report(document: &Document, args: &Args) -> Result<(), Box<dyn Error>> {
    let verdicts = goals::verdicts(document);
    if !verdicts.is_empty() {
        let head = ["goal", "wanted", "measured", "the floor", ""].map(str::to_owned).to_vec();
        let rows = verdicts.into_iter().map(|verdict| {
            let judgement = if verdict.reached { "reached" } else { "not reached" };
            vec![
                verdict.what.to_owned(),
                verdict.wanted,
                verdict.measured,
                verdict.floor,
                judgement.to_owned(),
            ]
        });
        println!("Goals\n{}", align(&std::iter::once(head).chain(rows).collect::<Vec<_>>()));
    }
    println!("results.json and the charts are in {}", args.out().display());
    if args.publish {
        publish::write(document, workspace::root())?;
        println!("the tables of README.md and BENCHMARKS.md are written");
    }
    Ok(())
}

/// Reads what the preparing process found ready, in its notation: `node:serve,node:emit`.
fn ready(prepared: &str) -> Vec<Ready> {
    let mut all = Vec::new();
    for part in prepared.split(',') {
        let (name, role) = part.split_once(':').unwrap_or_default();
        let peer = Peer::ALL.into_iter().find(|peer| peer.name() == name);
        let role = Role::ALL.into_iter().find(|candidate| candidate.name() == role);
        let (Some(peer), Some(role)) = (peer, role) else { continue };
        match peer.command(role) {
            Ok(command) => all.push(Ready { peer, role, command }),
            Err(error) => eprintln!("leaving out {peer} ({}): {error}", role.name()),
        }
    }
    all
}

fn peers_of(ready: &[Ready]) -> Vec<Peer> {
    Peer::ALL.into_iter().filter(|peer| ready.iter().any(|ready| ready.peer == *peer)).collect()
}

impl Args {
    pub(crate) fn out(&self) -> PathBuf {
        self.out.clone().unwrap_or_else(|| workspace::target().join("bench"))
    }

    /// What somebody else would have to type to measure the same.
    fn command_line(&self) -> String {
        let mut line = String::from("cargo xtask bench");
        let mut add = |text: &str| {
            line.push(' ');
            line.push_str(text);
        };
        if self.quick {
            add("--quick");
        }
        if !self.only.is_empty() {
            add(&format!("--only {}", self.only.join(",")));
        }
        if !self.peers.is_empty() {
            let names: Vec<&str> = self.peers.iter().map(|peer| peer.name()).collect();
            add(&format!("--peers {}", names.join(",")));
        }
        if let Some(rounds) = self.rounds {
            add(&format!("--rounds {rounds}"));
        }
        if let Some(seconds) = self.seconds {
            add(&format!("--seconds {seconds}"));
        }
        if self.workers != 1 {
            add(&format!("--workers {}", self.workers));
        }
        if self.sleep {
            add("--sleep");
        }
        line
    }
}

/// The scheduling group of this session, ahead of others until dropped. Plain niceness only counts inside a
/// group, and real-time scheduling lets the helper threads of a server hold up its main one.
#[derive(Debug)]
struct Priority;

impl Priority {
    const GROUP: &str = "/proc/self/autogroup";

    fn raise() -> Result<Self, Box<dyn Error>> {
        fs::write(Self::GROUP, "-20").map_err(|error| format!("cannot raise the priority: {error}"))?;
        Ok(Self)
    }
}

impl Drop for Priority {
    fn drop(&mut self) {
        // It was written before; if the kernel refuses now, the session keeps its priority, no more.
        fs::write(Self::GROUP, "0").unwrap_or_default();
    }
}
