//! `cargo xtask bench`: this server beside its peers under the same load on the same machine.
//!
//! Each server runs alone on core 0, started anew for every measurement; the load generator has core 1. Rounds
//! are interleaved (A B C A B C), so that what disturbs the machine for a while disturbs all. `plan` and
//! `workload` say what is measured, `load` how, `peers` which servers there are, `floor` is the lower bound that
//! all of them are compared with. What comes out is `results`; `table`, `chart`, `goals` and `publish` are made
//! from that alone. BENCHMARKS.md has the method.

// A command line tool talks on its standard output.
#![allow(clippy::print_stdout)]

use std::{error::Error, os::unix::process::CommandExt as _, path::PathBuf, process::Command};

use crate::{install, workspace};

mod chart;
mod clients;
mod environment;
mod floor;
mod goals;
mod histogram;
mod instructions;
mod load;
mod measure;
mod meter;
mod peers;
mod plan;
mod process;
mod publish;
mod redis;
mod results;
mod script;
mod server;
mod statistics;
mod table;
mod wire;
mod workload;

use peers::{Peer, Role};
use workload::Workload;

/// Measures this server beside its peers, in one run.
#[derive(Clone, Debug, clap::Args)]
#[non_exhaustive]
pub(crate) struct Args {
    /// Runs a choice of workloads in two short rounds and without Python's server
    #[arg(long)]
    quick: bool,
    /// Runs only workloads that are called so, or whose names contain it; `--list` shows the names
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<String>,
    /// Measures only these servers; all that can be installed otherwise
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Writes results.json, the charts and the servers' logs here [default: target/bench]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Measures every server so many times in turn [default: 3, quick: 2]
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Measures for so long, after warming up for half of it [default: 2, quick: 1]
    #[arg(long)]
    seconds: Option<f64>,
    /// Passes on how many threads or processes a server may use; all of them share one core
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Lets the generator sleep between messages: the server then pays for waking it up
    #[arg(long)]
    sleep: bool,
    /// Runs ahead of other sessions on a busy machine; needs to be root
    #[arg(long)]
    priority: bool,
    /// Writes the tables into README.md and BENCHMARKS.md
    #[arg(long)]
    publish: bool,
    /// Measures nothing: draws, judges and publishes again what results.json holds
    #[arg(long, conflicts_with_all = ["quick", "only", "peers"])]
    redraw: bool,
    /// Takes the peers as they are, without building or installing
    #[arg(long)]
    no_install: bool,
    /// Lists the workloads
    #[arg(long)]
    list: bool,
    /// Counts instructions under callgrind instead, and compares them with the recorded ones
    #[arg(long, conflicts_with_all = ["quick", "only", "peers", "redraw"])]
    instructions: bool,
    /// With --instructions: records what was counted
    #[arg(long, requires = "instructions")]
    record: bool,
    /// Serves as the floor; started by the benchmark itself
    #[arg(long, hide = true)]
    serve_floor: bool,
}

/// Set for the process that measures, which is built for release and pinned to its core. It says what is ready.
const PREPARED: &str = "XTASK_BENCH_PREPARED";

/// The largest workload, with some to spare.
const OPEN_FILES: u64 = 16_384;

/// Runs the command; false if something got worse.
///
/// # Errors
///
/// If no server can be measured or the results cannot be written. A server that fails a workload is reported
/// in the table and does not end the run.
pub(crate) fn main(args: &Args) -> Result<bool, Box<dyn Error>> {
    if args.serve_floor {
        return floor::main().map(|()| true);
    }
    if args.instructions {
        return instructions::main(args.record);
    }
    if args.redraw {
        return measure::redraw(args).map(|()| true);
    }
    let plan = args.plan()?;
    if args.list {
        for workload in plan {
            println!("{:28} {}", workload.name(), workload.title());
        }
        return Ok(true);
    }
    match std::env::var(PREPARED) {
        Ok(prepared) => measure::measure(args, &plan, &prepared).map(|()| true),
        Err(_) => Err(prepare(args, &plan)?),
    }
}

/// Installs the peers, builds this program for release and becomes it, on its own core. Gives the reason why
/// that failed.
fn prepare(args: &Args, plan: &[Workload]) -> Result<Box<dyn Error>, Box<dyn Error>> {
    let mut ready = Vec::new();
    for (peer, role) in args.parts(plan) {
        if !args.no_install
            && let Err(error) = peer.prepare(role)
        {
            eprintln!("leaving out {peer} ({}): {error}", role.name());
            continue;
        }
        ready.push(format!("{peer}:{}", role.name()));
    }
    if ready.is_empty() {
        return Err("nothing to measure".into());
    }
    if !args.no_install {
        let mut build = workspace::cargo(&["build", "--release", "--package", "xtask"]);
        install::require("build of the load generator", &mut build)?;
    }
    let mut command = Command::new("taskset");
    if let Some((soft, hard)) = environment::open_files().filter(|(soft, _)| *soft < OPEN_FILES) {
        eprintln!("{soft} open files are too few, asking for {}", hard.min(OPEN_FILES));
        command = Command::new("prlimit");
        command.arg(format!("--nofile={}", hard.min(OPEN_FILES))).arg("taskset");
    }
    command
        .args(["-c", server::LOAD_CORE])
        .arg(workspace::target().join("release/xtask"))
        .args(std::env::args_os().skip(1))
        .env(PREPARED, ready.join(","));
    Ok(command.exec().into())
}

impl Args {
    fn plan(&self) -> Result<Vec<Workload>, Box<dyn Error>> {
        let mut plan = plan::plan(self.quick);
        if !self.only.is_empty() {
            let names: Vec<String> = plan.iter().map(Workload::name).collect();
            // A whole name means that workload alone, although `echo-text-64-d16` begins like `echo-text-64-d1`.
            plan.retain(|workload| {
                let name = workload.name();
                self.only.iter().any(|asked| name == *asked || !names.contains(asked) && name.contains(asked))
            });
        }
        if plan.is_empty() {
            return Err(format!("no workload is called {:?}, --list shows them", self.only).into());
        }
        Ok(plan)
    }

    /// Which peers have to be ready for what, each once.
    fn parts(&self, plan: &[Workload]) -> Vec<(Peer, Role)> {
        let asked = |peer: &Peer| match self.peers[..] {
            // The slowest to install, to connect to and to answer: nothing for a quick look.
            [] => !(self.quick && *peer == Peer::Python),
            _ => self.peers.contains(peer),
        };
        let mut parts = Vec::new();
        for role in Role::ALL {
            for peer in Peer::ALL.into_iter().filter(asked) {
                if plan.iter().any(|workload| workload.role() == role && workload.measures(peer)) {
                    parts.push((peer, role));
                }
            }
        }
        parts
    }
}
