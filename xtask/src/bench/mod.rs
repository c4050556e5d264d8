//! `cargo xtask bench`: this server beside its peers under the same load on the same machine.
//!
//! Each server runs alone on core 0, started anew for every measurement; the load generator has core 1. Rounds
//! are interleaved (A B C A B C), so that what disturbs the machine for a while disturbs all. `load` has the
//! workloads, `peers` the servers, `floor` the lower bound that all of them are compared with.

// A command line tool talks on its standard output.
#![allow(clippy::print_stdout)]

use std::{
    error::Error,
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

mod clients;
mod floor;
mod histogram;
mod load;
mod meter;
mod peers;
mod process;
mod report;
mod script;
mod server;
mod wire;
mod workload;

use clients::Waiting;
use meter::Timing;
use peers::Peer;
use report::{Outcome, Results};
use server::Server;
use workload::Workload;

/// Measures the server beside its peers.
#[derive(Clone, Debug, clap::Args)]
#[non_exhaustive]
pub(crate) struct Args {
    /// Runs a few small workloads in two short rounds, for a first look.
    #[arg(long)]
    quick: bool,
    /// Runs only workloads that are called so, or whose names contain it; `--list` shows the names.
    #[arg(long, value_name = "WORKLOAD", value_delimiter = ',')]
    only: Vec<String>,
    /// Measures only these servers; all that can be installed otherwise.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Writes results.json and the servers' logs here [default: target/bench].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Measures every server so many times in turn [default: 3, quick: 2].
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Measures for so long, after a second of warming up [default: 2, quick: 1].
    #[arg(long)]
    seconds: Option<f64>,
    /// Passes on how many threads or processes a server may use; all of them share one core.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Lets the generator sleep between messages: the server then pays for waking it up.
    #[arg(long)]
    sleep: bool,
    /// Runs ahead of other sessions on a busy machine; needs to be root.
    #[arg(long)]
    priority: bool,
    /// Takes the peers as they are, without building or installing.
    #[arg(long)]
    no_install: bool,
    /// Lists the workloads.
    #[arg(long)]
    list: bool,
    /// Serves as the floor; started by the benchmark itself.
    #[arg(long, hide = true)]
    serve_floor: bool,
}

/// Set for the process that measures, which is built for release and pinned to its core.
const PINNED: &str = "XTASK_BENCH_PINNED";

/// The core of the load generator; the servers have core 0.
const GENERATOR_CORE: &str = "1";

/// Time for a compiler in the server to see what is hot.
const WARM_UP: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
///
/// If no server can be measured or the results cannot be written. A server that fails a workload is reported
/// in the table and does not end the run.
pub(crate) fn main(args: &Args) -> Result<(), Box<dyn Error>> {
    if args.serve_floor {
        return floor::main();
    }
    let plan = args.plan()?;
    if args.list {
        for workload in plan {
            println!("{:22} {}", workload.name(), workload.title());
        }
        return Ok(());
    }
    if std::env::var_os(PINNED).is_some() { measure(args, plan) } else { prepare(args) }
}

/// Installs the peers, builds this program for release and hands over to it on its own core.
fn prepare(args: &Args) -> Result<(), Box<dyn Error>> {
    let mut ready = Vec::new();
    for peer in args.peers() {
        if !args.no_install {
            eprintln!("preparing {}", peer.name());
            if let Err(error) = peer.prepare() {
                eprintln!("  leaving out {}: {error}", peer.name());
                continue;
            }
        }
        ready.push(peer.name());
    }
    let build = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--package", "xtask"])
        .current_dir(peers::workspace())
        .status()?;
    if ready.is_empty() || !build.success() {
        return Err("nothing to measure".into());
    }
    let status = Command::new("taskset")
        .args(["-c", GENERATOR_CORE])
        .arg(peers::target().join("release/xtask"))
        .args(std::env::args_os().skip(1))
        .env(PINNED, ready.join(","))
        .status()?;
    if status.success() { Ok(()) } else { Err("the measurement failed".into()) }
}

fn measure(args: &Args, plan: Vec<Workload>) -> Result<(), Box<dyn Error>> {
    let ready = std::env::var(PINNED)?;
    let _priority = args.priority.then(Priority::raise).transpose()?;
    let mut servers = Vec::new();
    for peer in args.peers().into_iter().filter(|peer| ready.split(',').any(|name| name == peer.name())) {
        match peer.command() {
            Ok(command) => servers.push((peer, command)),
            Err(error) => eprintln!("leaving out {}: {error}", peer.name()),
        }
    }
    let out = args.out.clone().unwrap_or_else(|| peers::target().join("bench"));
    fs::create_dir_all(&out)?;
    let rounds = args.rounds.unwrap_or(if args.quick { 2 } else { 3 });
    let seconds = args.seconds.unwrap_or(if args.quick { 1.0 } else { 2.0 });
    let window = Duration::try_from_secs_f64(seconds)?;
    let timing = Timing { warm_up: WARM_UP, window };
    let waiting = if args.sleep { Waiting::Sleep } else { Waiting::Spin };

    let steps: usize = plan.iter().map(|workload| workload.rounds(rounds) * servers.len()).sum();
    let bar = ProgressBar::new(steps as u64).with_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} {elapsed} of about {duration} {msg}",
    )?);
    let mut all = Vec::new();
    let environment = environment(&servers);
    for workload in plan {
        let mut results = Results::new(workload);
        for round in 1..=workload.rounds(rounds) {
            for (peer, command) in &servers {
                let name = format!("{} round {round} {}", workload.name(), peer.name());
                if bar.is_hidden() {
                    eprintln!("{name}");
                }
                bar.set_message(name);
                let log = out.join(format!("{}.log", peer.name()));
                let outcome = run_once(&workload, command, args.workers, &log, timing, waiting);
                results.push(*peer, outcome);
                bar.inc(1);
            }
        }
        bar.suspend(|| println!("{}", results.table()));
        all.push(results);
        // Written each time, so that a run broken off leaves what it has.
        let settings = json!({
            "quick": args.quick, "rounds": rounds, "seconds": seconds, "workers": args.workers,
            "generator_sleeps": args.sleep,
        });
        let document = json!({
            "environment": environment, "settings": settings,
            "workloads": all.iter().filter(|results| !results.is_empty()).map(Results::to_json).collect::<Vec<_>>(),
        });
        fs::write(out.join("results.json"), serde_json::to_string_pretty(&document)?)?;
    }
    bar.finish_and_clear();
    println!("{}", out.join("results.json").display());
    Ok(())
}

fn run_once(
    workload: &Workload,
    command: &[String],
    workers: usize,
    log: &std::path::Path,
    timing: Timing,
    waiting: Waiting,
) -> Outcome {
    let server = Server::start(command, workers, log).map_err(|error| error.to_string())?;
    workload.run(&server, timing, waiting).map_err(|error| error.to_string())
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

/// What a reader must know to compare the numbers with others.
fn environment(servers: &[(Peer, Vec<String>)]) -> Value {
    let line = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned()
    };
    let versions: serde_json::Map<String, Value> =
        servers.iter().map(|(peer, _)| (peer.name().to_owned(), peer.versions().into())).collect();
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    json!({
        "cpu": line("/proc/cpuinfo", "model name").split(": ").nth(1).unwrap_or_default(),
        "kernel": line("/proc/sys/kernel/osrelease", ""),
        "load_average": line("/proc/loadavg", ""),
        "unix_time": seconds,
        "versions": versions,
    })
}

impl Args {
    fn plan(&self) -> Result<Vec<Workload>, Box<dyn Error>> {
        let mut plan = Workload::plan(self.quick);
        if !self.only.is_empty() {
            let names: Vec<String> = plan.iter().map(Workload::name).collect();
            // A whole name means that workload alone, although `echo-text-64-d16` begins like `echo-text-64-d1`.
            plan.retain(|workload| {
                let name = workload.name();
                self.only.iter().any(|asked| name == *asked || !names.contains(asked) && name.contains(asked))
            });
        }
        if plan.is_empty() {
            return Err(format!("no workload is called {:?}", self.only).into());
        }
        Ok(plan)
    }

    fn peers(&self) -> Vec<Peer> {
        if self.peers.is_empty() { Peer::ALL.to_vec() } else { self.peers.clone() }
    }
}
