//! The tasks of this workspace: `cargo xtask demo`, `test`, `interop`, `bench`, `fuzz`, `tidy` and `ci`.
//!
//! One module per task. They share `run` (child processes with progress, time limit and a kept tail),
//! `install` (what a fresh clone lacks) and `workspace` (where things are).

#![expect(clippy::print_stdout, reason = "a command-line tool talks through its standard output")]

mod bench;
mod cluster;
mod demo;
mod fuzz;
mod install;
mod interop;
mod libtest;
mod purity;
mod redis;
mod run;
mod summary;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Result;

#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", about = "The tasks of this workspace", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Builds the chat example and serves it, with --nodes as a cluster over Redis
    Demo(demo::Options),
    /// Installs what is missing, runs every check and test, ends with one summary
    Test(test::Options),
    /// Runs the official clients against this server and against Node's, and both servers in one cluster
    Interop(interop::Options),
    /// Measures this server beside its peers, in one run
    Bench(bench::Args),
    /// Runs every fuzz target for a while (needs a nightly toolchain)
    Fuzz(fuzz::Options),
    /// Checks the house rules that no compiler checks
    Tidy,
    /// Runs what a change has to pass, as `.ci/run` does
    Ci,
}

fn main() -> ExitCode {
    run::catch_interrupts();
    let done = match Cli::parse().task {
        Task::Demo(options) => demo::demo(&options),
        Task::Test(options) => test::test(options),
        Task::Interop(options) => interop::interop(&options),
        Task::Bench(args) => bench::main(&args).map_err(|error| workspace::Error::new(error.to_string())),
        Task::Fuzz(options) => fuzz::fuzz(&options),
        Task::Tidy => tidy_and_purity(),
        Task::Ci => test::test(test::Options { quick: false }),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tidy_and_purity() -> Result<bool> {
    let mut problems = tidy::problems()?;
    problems.extend(purity::problems()?);
    for problem in &problems {
        println!("{problem}");
    }
    println!(
        "tidy: {}",
        if problems.is_empty() { "nothing to complain about".into() } else { count(&problems) }
    );
    Ok(problems.is_empty())
}

fn count(problems: &[tidy::Problem]) -> String {
    match problems.len() {
        1 => "1 problem".into(),
        several => format!("{several} problems"),
    }
}
