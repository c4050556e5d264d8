//! The second half of `cargo xtask interop`: servers and emitters of every make in one cluster on one Redis.
//!
//! The suite itself is `tests/interop/cluster/run.mjs`; here it gets its programs and packages, and its result is read.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::interop::{self, Server};
use crate::summary::Counts;
use crate::workspace::{self, Error, Result, cargo, command};
use crate::{install, run};

const SUITE: &str = "tests/interop/cluster/run.mjs";
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// Runs the suite on our own output; with `Server::Node` without our nodes and our emitter, as a check of the suite.
pub(crate) fn foreground(server: Option<Server>, only: Option<&str>) -> Result<bool> {
    let prepared = Prepared::new(server)?;
    let (mut suite, _) = prepared.suite();
    if let Some(only) = only {
        suite.args(["--part", "matrix", "--only", only]);
    }
    let status = run::foreground(&mut suite, None).map_err(|cause| Error::while_doing("node", cause))?;
    Ok(status.success())
}

/// Runs the whole suite as one step of `cargo xtask test`.
pub(crate) fn step() -> Result<Counts> {
    const LABEL: &str = "cluster with Node";
    let (mut suite, json) = Prepared::new(None)?.suite();
    Ok(interop::counted(LABEL, &mut suite, &json, LIMIT))
}

/// Everything that the suite needs, built and installed.
struct Prepared {
    redis: PathBuf,
    ours: bool,
}

impl Prepared {
    fn new(server: Option<Server>) -> Result<Self> {
        install::check_node()?;
        install::npm_project(interop::PROJECT)?;
        let redis = install::tool(&install::REDIS)?;
        let ours = server != Some(Server::Node);
        if ours {
            let mut build = cargo(&["build", "--workspace", "--bin", "cluster-node", "--bin", "sio-emit"]);
            install::require("build of cluster-node and sio-emit", &mut build)?;
        }
        Ok(Self { redis, ours })
    }

    /// Prepares a run of the suite and names the file that its result will be in.
    fn suite(&self) -> (Command, PathBuf) {
        let target = workspace::target();
        let json = interop::result_file(&target, "cluster");
        let mut suite = command("node");
        suite.arg(SUITE).arg("--redis").arg(&self.redis).arg("--json").arg(&json);
        if self.ours {
            suite.arg("--node-bin").arg(target.join("debug/cluster-node"));
            suite.arg("--emit-bin").arg(target.join("debug/sio-emit"));
        }
        (suite, json)
    }
}
