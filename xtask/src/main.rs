//! cargo xtask.

mod bench;

use clap::Parser;

/// The project's own commands.
#[derive(Debug, Parser)]
enum Command {
    /// Measures the server beside its peers.
    Bench(bench::Args),
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Command::parse() {
        Command::Bench(args) => bench::main(&args),
    }
}
