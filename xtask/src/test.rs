//! `cargo xtask test`: every check and test of the workspace, one after the other, and one summary.

use std::process::Command;
use std::time::Instant;

use clap::Args;

use crate::libtest::Reader;
use crate::summary::{Counts, Summary};
use crate::workspace::{Error, Result, cargo};
use crate::{cluster, demo, fuzz, install, interop, purity, run, tidy, workspace};

#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Only what needs neither Node nor Redis nor a browser; installs nothing
    #[arg(long)]
    pub(crate) quick: bool,
}

/// The tests of Redis over TLS, which have that in their names.
const TLS: [&str; 12] = [
    "test",
    "-p",
    "sio-adapter-redis",
    "-p",
    "sio-tests",
    "--features",
    "sio-tests/tls",
    "--lib",
    "--test",
    "tls",
    "--no-fail-fast",
    "tls",
];

pub(crate) fn test(options: Options) -> Result<bool> {
    let mut summary = Summary::default();
    if !options.quick {
        in_process(&mut summary, "install", || Ok(Counts::one(report(&install_everything()))));
        purity::add_wasm_target();
    }
    in_process(&mut summary, "tidy", || Ok(Counts::one(report(&tidy::problems()?))));
    check(&mut summary, "fmt", &mut cargo(&["fmt", "--all", "--check"]));
    check(
        &mut summary,
        "clippy",
        &mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    );
    let mut command = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if !options.quick {
        command.env("SIO_TEST_FULL", "1").env("SIO_PYTHON", install::python());
    }
    cargo_test(&mut summary, "tests", &mut command);
    if !options.quick {
        // With features of their own, which others do without: a C compiler is needed.
        cargo_test(&mut summary, "tls", cargo(&TLS).env("SIO_TEST_FULL", "1"));
        let arguments =
            ["clippy", "-p", "sio-tests", "--features", "tls", "--test", "tls", "--", "-D", "warnings"];
        check(&mut summary, "clippy of tls", &mut cargo(&arguments));
    }
    check(
        &mut summary,
        "doc",
        cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"),
    );
    in_process(&mut summary, "purity", || Ok(Counts::one(report(&purity::problems()?))));
    if purity::has_wasm_target() {
        check(
            &mut summary,
            "wasm",
            &mut cargo(&["build", "-p", "sio-protocol", "--target", purity::WASM_TARGET]),
        );
    }
    if !options.quick {
        // The oracles of the fuzz targets on all their seeds, which needs no nightly toolchain.
        let arguments = ["test", "--manifest-path", fuzz::PROTOCOL, "--no-default-features", "--lib"];
        cargo_test(&mut summary, "fuzz seeds", &mut cargo(&arguments));
        in_process(&mut summary, "interop", interop::step);
        in_process(&mut summary, "cluster", cluster::step);
    }
    println!("\n{}", summary.render());
    Ok(summary.total().failed == 0)
}

/// Installs all that the tests need, and names what could not be.
fn install_everything() -> Vec<Error> {
    let mut problems = Vec::new();
    problems.extend(install::tool(&install::REDIS).err());
    problems.extend(install::tool(&install::OPENSSL).err());
    problems.extend(install::tool(&install::CHROMIUM).err());
    problems.extend(install::check_node().err());
    for project in [interop::PROJECT, demo::CHAT] {
        // Without a lock file there is nothing to install; the step that needs it will say so.
        if workspace::path(project).join("package-lock.json").exists() {
            problems.extend(install::npm_project(project).err());
        }
    }
    if workspace::path(interop::REQUIREMENTS).exists() {
        problems.extend(install::python_environment(interop::REQUIREMENTS).err());
    }
    problems
}

fn cargo_test(summary: &mut Summary, label: &'static str, command: &mut Command) {
    let mut reader = Reader::default();
    let finished = run::step_with(label, command, run::STEP_LIMIT, &mut |line| reader.line(line));
    if !finished.success {
        // Without a failing test it did not even build: then the end of the output tells more.
        let details = if reader.counts.failed > 0 { reader.details.as_slice() } else { &[] };
        finished.explain(label, details);
    }
    // Tests that are no longer found must not look like tests that pass.
    let success = finished.success && reader.counts.passed > 0;
    summary.add(label, reader.counts.with_status(success), finished.elapsed);
}

fn check(summary: &mut Summary, label: &'static str, command: &mut Command) {
    let finished = run::step(label, command);
    if !finished.success {
        finished.explain(label, &[]);
    }
    summary.add(label, Counts::one(finished.success), finished.elapsed);
}

fn in_process(summary: &mut Summary, label: &'static str, step: impl FnOnce() -> Result<Counts>) {
    let started = Instant::now();
    let counts = step().unwrap_or_else(|error| {
        eprintln!("---- {label}: {error}");
        Counts::one(false)
    });
    let elapsed = started.elapsed();
    eprintln!("{} {label} ({})", if counts.failed > 0 { "FAIL" } else { "ok  " }, run::seconds(elapsed));
    summary.add(label, counts, elapsed);
}

fn report(problems: &[impl std::fmt::Display]) -> bool {
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    problems.is_empty()
}
