//! `cargo xtask interop`: official clients of every generation against this server and, in reverse, against Node's.
//!
//! The suite itself is `tests/interop/run.mjs`; here it gets its programs and packages, and its result is read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::summary::Counts;
use crate::workspace::{self, Error, Result, cargo, command};
use crate::{cluster, install, run};

pub(crate) const PROJECT: &str = "tests/interop";
/// A workspace of its own.
const RUST_CLIENT: &str = "tests/interop/rust-client/Cargo.toml";
pub(crate) const REQUIREMENTS: &str = "tests/interop/requirements.txt";
const SUITE: &str = "tests/interop/run.mjs";
const LIMIT: Duration = Duration::from_secs(10 * 60);

#[derive(Args, Debug, Default)]
pub(crate) struct Options {
    /// Only this suite; both by default, unless an option says more about the clients
    #[arg(long, value_enum)]
    suite: Option<Suite>,
    /// Only this client, as the suite of clients names it
    #[arg(long)]
    client: Option<String>,
    /// Only against this server, both by default; for the cluster `node` leaves ours out of it
    #[arg(long, value_enum)]
    server: Option<Server>,
    /// Only this feature of the clients, or with `--suite cluster` this operation, as the suite names it
    #[arg(long)]
    only: Option<String>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Suite {
    /// Clients of every generation against one server
    Clients,
    /// Servers and emitters of every make in one cluster on one Redis
    Cluster,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Server {
    /// Ours
    Rust,
    /// Node's own: what fails here too is the suite's fault
    Node,
}

pub(crate) fn interop(options: &Options) -> Result<bool> {
    // A client or a feature means nothing to the other suite.
    let narrow = options.client.is_some() || options.only.is_some();
    let suite = options.suite.or(narrow.then_some(Suite::Clients));
    let mut passed = true;
    if suite != Some(Suite::Cluster) {
        passed &= clients(options)?;
    }
    if suite != Some(Suite::Clients) {
        passed &= cluster::foreground(options.server, options.only.as_deref())?;
    }
    Ok(passed)
}

fn clients(options: &Options) -> Result<bool> {
    let prepared = Prepared::new(options.server)?;
    let mut passed = true;
    for server in servers(options.server) {
        let (mut suite, _) = prepared.suite(*server, options);
        let status = run::foreground(&mut suite, None).map_err(|cause| Error::while_doing("node", cause))?;
        passed &= status.success();
    }
    Ok(passed)
}

/// Runs the whole suite as one step of `cargo xtask test`.
pub(crate) fn step() -> Result<Counts> {
    let prepared = Prepared::new(None)?;
    let mut counts = Counts::default();
    for server in servers(None) {
        let label = match server {
            Server::Rust => "interop with this server",
            Server::Node => "interop with Node's server",
        };
        let (mut suite, json) = prepared.suite(*server, &Options::default());
        counts += counted(label, &mut suite, &json, LIMIT);
    }
    Ok(counts)
}

/// Runs a suite as a step and reads what it counted from the file it writes.
pub(crate) fn counted(label: &str, suite: &mut Command, json: &Path, limit: Duration) -> Counts {
    let finished = run::step_with(label, suite, limit, &mut |_| {});
    let read = fs::read_to_string(json)
        .map_err(|cause| Error::while_doing(json.display(), cause))
        .and_then(|text| read_result(&text));
    if !finished.success {
        finished.explain(label, &[]);
    }
    if let Err(error) = &read {
        eprintln!("---- {label}: {error}");
    }
    read.as_ref().copied().unwrap_or_default().with_status(finished.success && read.is_ok())
}

/// Everything that the suite needs, built and installed.
struct Prepared {
    server: PathBuf,
    python: PathBuf,
    chromium: PathBuf,
    /// The `rust_socketio` client; none where it does not build.
    rust_client: Option<PathBuf>,
}

impl Prepared {
    fn new(server: Option<Server>) -> Result<Self> {
        if !workspace::path(SUITE).exists() {
            return Err(Error::new(format!("{SUITE} is missing")));
        }
        install::check_node()?;
        install::npm_project(PROJECT)?;
        let python = install::python_environment(REQUIREMENTS)?;
        let chromium = install::tool(&install::CHROMIUM)?;
        if server != Some(Server::Node) {
            install::require(
                "build of interop-server",
                &mut cargo(&["build", "--workspace", "--bin", "interop-server"]),
            )?;
        }
        let server = workspace::target().join("debug/interop-server");
        Ok(Self { server, python, chromium, rust_client: rust_client() })
    }

    /// Prepares one run of the suite and names the file that its result will be in.
    fn suite(&self, server: Server, options: &Options) -> (Command, PathBuf) {
        let name = match server {
            Server::Rust => "rust",
            Server::Node => "node",
        };
        let json = result_file(&workspace::target(), name);
        let mut suite = command("node");
        suite.args([SUITE, "--server", name]);
        if server == Server::Rust {
            suite.arg("--server-bin").arg(&self.server);
        }
        for (flag, value) in [("--client", &options.client), ("--only", &options.only)] {
            if let Some(value) = value {
                suite.args([flag, value]);
            }
        }
        suite.arg("--python").arg(&self.python);
        suite.arg("--chromium").arg(&self.chromium);
        if let Some(client) = &self.rust_client {
            suite.arg("--rust-client").arg(client);
        }
        suite.arg("--json").arg(&json);
        (suite, json)
    }
}

/// Builds the `rust_socketio` client, which wants OpenSSL: a clone that cannot have it goes without that client, and
/// the suite's table says so.
fn rust_client() -> Option<PathBuf> {
    if let Err(error) = install::openssl() {
        println!("without rust_socketio: {error}");
        return None;
    }
    let target = workspace::target().join("interop-rust-client");
    let mut build = cargo(&["build", "--quiet", "--manifest-path", RUST_CLIENT, "--target-dir"]);
    build.arg(&target);
    let finished = run::step("build of the rust_socketio client", &mut build);
    if !finished.success {
        finished.explain("build of the rust_socketio client", &[]);
        return None;
    }
    Some(target.join("debug/interop-rust-client"))
}

fn servers(only: Option<Server>) -> &'static [Server] {
    match only {
        None => &[Server::Rust, Server::Node],
        Some(Server::Rust) => &[Server::Rust],
        Some(Server::Node) => &[Server::Node],
    }
}

pub(crate) fn result_file(target: &Path, name: &str) -> PathBuf {
    let file = target.join(format!("interop-{name}.json"));
    // An old result must not be taken for that of a run that died before writing its own.
    let _ = fs::remove_file(&file);
    file
}

/// Reads `{"passed": n, "failed": n, "skipped": n, ...}`.
fn read_result(text: &str) -> Result<Counts> {
    let result: Value =
        serde_json::from_str(text).map_err(|cause| Error::while_doing("the suite's result", cause))?;
    let number = |key: &str| result.get(key).and_then(Value::as_u64);
    match (number("passed"), number("failed")) {
        (Some(passed), Some(failed)) if passed + failed > 0 => {
            Ok(Counts { passed, failed, skipped: number("skipped").unwrap_or(0) })
        }
        (Some(_), Some(_)) => Err(Error::new("the suite ran nothing")),
        _ => Err(Error::new("the suite's result has no `passed` and `failed`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_read() {
        let counts = read_result(r#"{"passed": 7, "failed": 1, "skipped": 2, "results": []}"#).unwrap();
        assert_eq!(counts, Counts { passed: 7, failed: 1, skipped: 2 });
        assert_eq!(read_result(r#"{"passed": 7, "failed": 0}"#).unwrap().skipped, 0);
    }

    #[test]
    fn a_suite_that_ran_nothing_has_not_passed() {
        assert!(read_result(r#"{"passed": 0, "failed": 0}"#).is_err());
        assert!(read_result(r#"{"ok": true}"#).is_err());
        assert!(read_result("").is_err());
    }
}
