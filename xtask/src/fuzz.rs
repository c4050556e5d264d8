//! `cargo xtask fuzz`: every fuzz target of the workspace, for a given time each.

use clap::Args;

use crate::run;
use crate::workspace::{self, Error, Result, command};

/// Crates that may have a `fuzz` directory of their own, outside the workspace.
const CRATES: [&str; 2] = ["sio-protocol", "sio-server"];

/// The oracles and seeds of `sio-protocol`, which are tested without fuzzing, too.
pub(crate) const PROTOCOL: &str = "sio-protocol/fuzz/Cargo.toml";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn fuzz(options: &Options) -> Result<bool> {
    let crates: Vec<&str> =
        CRATES.into_iter().filter(|name| workspace::path(name).join("fuzz/Cargo.toml").exists()).collect();
    if crates.is_empty() {
        return Err(Error::new("no crate has a fuzz/Cargo.toml"));
    }
    if run::output(command("rustup").args(["run", "nightly", "rustc", "--version"])).is_err() {
        return Err(Error::new("fuzzing needs a nightly toolchain: rustup toolchain install nightly"));
    }
    if run::output(command("cargo").args(["fuzz", "--version"])).is_err() {
        crate::install::require(
            "cargo install cargo-fuzz",
            command("cargo").args(["install", "--locked", "cargo-fuzz"]),
        )?;
    }

    let mut failed = Vec::new();
    for name in crates {
        seed(name)?;
        let list = run::output(&mut cargo_fuzz(name, &["list"]))?;
        for target in list.lines() {
            println!("==== {name}: {target}, {} s", options.seconds);
            let time = format!("-max_total_time={}", options.seconds);
            let status = run::foreground(&mut cargo_fuzz(name, &["run", target, "--", &time]), None)
                .map_err(|cause| Error::while_doing("cargo fuzz", cause))?;
            if !status.success() {
                failed.push(format!("{name}: {target}"));
            }
        }
    }
    if failed.is_empty() {
        println!("no target found anything");
    } else {
        println!("failed: {}", failed.join(", "));
    }
    Ok(failed.is_empty())
}

/// Writes the first inputs of the targets, if the fuzz crate has a program for that.
fn seed(name: &str) -> Result<()> {
    let directory = workspace::path(name).join("fuzz");
    if !directory.join("src/bin/seed.rs").exists() {
        return Ok(());
    }
    println!("==== {name}: seeds");
    let mut command = workspace::cargo(&["run", "--quiet", "--no-default-features", "--bin", "seed"]);
    let status = run::foreground(command.current_dir(directory), None)
        .map_err(|cause| Error::while_doing("cargo run --bin seed", cause))?;
    if status.success() { Ok(()) } else { Err(Error::new(format!("{name}: no seeds for the fuzz targets"))) }
}

fn cargo_fuzz(name: &str, arguments: &[&str]) -> std::process::Command {
    // `rustup run`, because a `+nightly` would meet the real cargo that runs us, which knows no such argument.
    let mut command = command("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).args(arguments).current_dir(workspace::path(name));
    // Ours, from `cargo xtask`: they name the stable toolchain.
    command.env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    command
}
