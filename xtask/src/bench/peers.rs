//! What can be measured: which programs there are for which part, how each is installed and started.
//!
//! Every server fulfils the same contract: environment `PORT` and `WORKERS`, ping interval 300 s, on `/` the
//! events echo, ack, join, leave and bcast, and the line `listening on 127.0.0.1:PORT` once it accepts
//! connections. In a cluster `REDIS_URL` and `DIALECT` say where and how. An emitter publishes to the room
//! `room1` as fast as it can until it is ended.

use std::{error::Error, fmt, fs, path::PathBuf, process::Command};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::{install, workspace};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Whose programs are measured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// This project's server.
    SioServer,
    /// The same program with jemalloc in place of the system's allocator.
    SioServerJemalloc,
    /// What the kernel alone costs: no Socket.IO, the same bytes.
    Floor,
    /// socketioxide on axum.
    Socketioxide,
    /// The same program with jemalloc in place of the system's allocator.
    SocketioxideJemalloc,
    /// socket.io on Node.
    Node,
    /// socket.io on Bun's own engine.
    Bun,
    /// python-socketio on uvicorn.
    Python,
}

/// What a program is asked to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Role {
    /// Stands alone.
    Serve,
    /// Serves as a node of a cluster over Redis.
    Cluster,
    /// Emits from outside, through Redis.
    Emit,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Serve, Self::Cluster, Self::Emit];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Cluster => "cluster",
            Self::Emit => "emit",
        }
    }
}

/// What redis-benchmark publishes: as long a channel and a message as the emitters'.
const CHANNEL: &str = "socket.io#/#room1#";
const MESSAGE_LENGTH: usize = 140;

impl Peer {
    pub(crate) const ALL: [Self; 8] = [
        Self::SioServer,
        Self::SioServerJemalloc,
        Self::Floor,
        Self::Socketioxide,
        Self::SocketioxideJemalloc,
        Self::Node,
        Self::Bun,
        Self::Python,
    ];

    /// As on the command line and in results.json.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SioServer => "sio-server",
            Self::SioServerJemalloc => "sio-server-jemalloc",
            Self::Floor => "floor",
            Self::Socketioxide => "socketioxide",
            Self::SocketioxideJemalloc => "socketioxide-jemalloc",
            Self::Node => "node",
            Self::Bun => "bun",
            Self::Python => "python",
        }
    }

    /// As in tables and charts.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::SioServer => "sio",
            Self::SioServerJemalloc => "sio, jemalloc",
            Self::Floor => "floor",
            Self::Socketioxide => "socketioxide",
            Self::SocketioxideJemalloc => "socketioxide, jemalloc",
            Self::Node => "Node",
            Self::Bun => "Bun",
            Self::Python => "python-socketio",
        }
    }

    /// Ours compete with others only, and nobody with the floor.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::SioServer | Self::SioServerJemalloc)
    }

    pub(crate) fn has_jemalloc(self) -> bool {
        matches!(self, Self::SioServerJemalloc | Self::SocketioxideJemalloc)
    }

    /// Whether there is a program for that.
    pub(crate) fn plays(self, role: Role) -> bool {
        match role {
            Role::Serve => true,
            Role::Cluster | Role::Emit => matches!(self, Self::SioServer | Self::Floor | Self::Node),
        }
    }

    /// Installs or builds what the part needs; does little if that has been done before.
    ///
    /// # Errors
    ///
    /// If a tool is missing or fails.
    pub(crate) fn prepare(self, role: Role) -> Result<()> {
        if self.has_jemalloc() {
            install::jemalloc()?;
        }
        if role != Role::Serve {
            install::tool(&install::REDIS)?;
        }
        match (self, role) {
            (Self::SioServer | Self::SioServerJemalloc, _) => build(role)?,
            (Self::Floor, Role::Emit) => drop(install::tool(&install::REDIS_BENCHMARK)?),
            (Self::Floor, _) => {}
            (Self::Socketioxide | Self::SocketioxideJemalloc, _) => {
                let mut build = workspace::cargo(&["build", "--release", "--locked", "--target-dir"]);
                build.arg(workspace::target().join("peers")).current_dir(peers().join("socketioxide"));
                install::require("build of socketioxide", &mut build)?;
            }
            (Self::Node | Self::Bun, _) => {
                install::npm_project(&format!("xtask/peers/{}", self.name()))?;
            }
            (Self::Python, _) => self.prepare_python()?,
        }
        Ok(())
    }

    fn prepare_python(self) -> Result<()> {
        let folder = workspace::target().join("peers/python");
        let wanted = fs::read_to_string(peers().join("python/requirements.txt"))?;
        let stamp = folder.join("made-from.txt");
        if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
            return Ok(());
        }
        let mut venv = workspace::command("python3");
        install::require("python virtual environment", venv.args(["-m", "venv"]).arg(&folder))?;
        let mut pip = workspace::command(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        install::require("python-socketio", pip.arg(peers().join("python/requirements.txt")))?;
        Ok(fs::write(&stamp, wanted)?)
    }

    /// The program and its arguments.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub(crate) fn command(self, role: Role) -> Result<Vec<String>> {
        let script = |name: &str| peers().join(self.name()).join(name);
        let mut parts = match (self, role) {
            (Self::SioServer | Self::SioServerJemalloc, _) => vec![programs().join(package(role))],
            (Self::Floor, Role::Emit) => return Ok(redis_benchmark()),
            (Self::Floor, _) => vec![std::env::current_exe()?, "bench".into(), "--serve-floor".into()],
            (Self::Socketioxide | Self::SocketioxideJemalloc, _) => {
                vec![workspace::target().join("peers/release/bench-peer-socketioxide")]
            }
            (Self::Node, Role::Emit) => vec!["node".into(), script("emitter.mjs")],
            (Self::Node, _) => vec!["node".into(), script("server.mjs")],
            (Self::Bun, _) => vec![bun()?, script("server.mjs")],
            (Self::Python, _) => {
                vec![workspace::target().join("peers/python/bin/python"), script("server.py")]
            }
        };
        if let Some(program) = parts.first().filter(|program| program.is_absolute() && !program.exists()) {
            return Err(format!("{} is not there", program.display()).into());
        }
        if self.has_jemalloc() {
            let library = install::jemalloc()?;
            parts.splice(0..0, ["env".into(), format!("LD_PRELOAD={}", library.display()).into()]);
        }
        Ok(parts.iter().map(|part| part.to_string_lossy().into_owned()).collect())
    }

    /// The versions of what is measured, for the record.
    pub(crate) fn versions(self) -> String {
        match self {
            Self::SioServer | Self::Floor => format!(
                "{} {}",
                env!("CARGO_PKG_VERSION"),
                first_line(workspace::command("git").args(["describe", "--always", "--dirty"]))
            ),
            Self::SioServerJemalloc | Self::SocketioxideJemalloc => {
                let library = install::jemalloc().and_then(|path| {
                    fs::canonicalize(&path)
                        .map_err(|error| workspace::Error::while_doing(path.display(), error))
                });
                library.map_or_else(|_| String::new(), |path| path.display().to_string())
            }
            Self::Socketioxide => {
                let lock = fs::read_to_string(peers().join("socketioxide/Cargo.lock")).unwrap_or_default();
                locked_versions(&lock, &["socketioxide", "axum", "tokio"])
            }
            Self::Node => format!(
                "Node {}, {}",
                first_line(Command::new("node").arg("--version")),
                self.npm_versions(&[
                    "socket.io",
                    "ws",
                    "@socket.io/redis-adapter",
                    "@socket.io/redis-emitter",
                    "redis"
                ])
            ),
            Self::Bun => format!(
                "Bun {}, {}",
                bun().map(|path| first_line(Command::new(path).arg("--version"))).unwrap_or_default(),
                self.npm_versions(&["socket.io", "@socket.io/bun-engine"])
            ),
            Self::Python => {
                let pip = workspace::target().join("peers/python/bin/pip");
                let list = Command::new(pip).args(["list", "--format=freeze"]).output();
                let text = list.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
                let wanted = ["python-socketio=", "uvicorn=", "uvloop=", "websockets="];
                let lines: Vec<String> = text
                    .unwrap_or_default()
                    .lines()
                    .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
                    .map(|line| line.replace("==", " "))
                    .collect();
                lines.join(", ")
            }
        }
    }

    fn npm_versions(self, packages: &[&str]) -> String {
        let version = |name: &&str| {
            let path = peers().join(self.name()).join("node_modules").join(name).join("package.json");
            let json: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
            Some(format!("{name} {}", json.get("version")?.as_str()?))
        };
        packages.iter().filter_map(version).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where our own program for a part is.
fn package(role: Role) -> &'static str {
    match role {
        Role::Serve => "sio-server",
        Role::Cluster => "sio-adapter-redis",
        Role::Emit => "sio-emitter",
    }
}

/// Publishes through pipelines until it is ended; the shell knows the port.
fn redis_benchmark() -> Vec<String> {
    let publish = format!(
        "exec redis-benchmark -p \"$REDIS_PORT\" -c 8 -P 1000 -n 1000000 -l -q PUBLISH '{CHANNEL}' {}",
        "x".repeat(MESSAGE_LENGTH)
    );
    ["sh", "-c", &publish].map(str::to_owned).to_vec()
}

fn peers() -> PathBuf {
    workspace::path("xtask/peers")
}

/// The program that npm brought along: an install script moves it, where npm lets one run.
fn bun() -> Result<PathBuf> {
    let modules = peers().join("bun/node_modules");
    let mut candidates = vec![modules.join("bun/bin/bun.exe")];
    for entry in fs::read_dir(modules.join("@oven"))? {
        candidates.push(entry?.path().join("bin/bun"));
    }
    let works = |path: &PathBuf| {
        Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success())
    };
    candidates.into_iter().find(works).ok_or_else(|| "npm brought no bun for this machine".into())
}

/// `name version` of some packages of a Cargo.lock.
fn locked_versions(lock: &str, names: &[&str]) -> String {
    let version = |name: &&str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        rest.split_once('"').map(|(version, _)| format!("{name} {version}"))
    };
    names.iter().filter_map(version).collect::<Vec<_>>().join(", ")
}

/// The first line that a program prints; nothing if it does not run.
pub(crate) fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}

/// Where programs of ours are kept: cargo gives all three examples the same name.
fn programs() -> PathBuf {
    workspace::target().join("bench-programs")
}

/// Builds our own program for a part.
fn build(role: Role) -> Result<()> {
    let package = package(role);
    let arguments = ["build", "--release", "--package", package, "--example", "bench"];
    install::require(&format!("build of the bench of {package}"), &mut workspace::cargo(&arguments))?;
    fs::create_dir_all(programs())?;
    let built = workspace::target().join("release/examples/bench");
    fs::copy(&built, programs().join(package)).map_err(|error| format!("{}: {error}", built.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_command_line_and_of_the_file() {
        for peer in Peer::ALL {
            assert_eq!(peer.to_possible_value().unwrap().get_name(), peer.name());
            assert_eq!(serde_json::to_value(peer).unwrap(), peer.name());
        }
    }

    #[test]
    fn versions_are_read_from_a_lock_file() {
        let lock = "[[package]]\nname = \"axum-core\"\nversion = \"0.5.0\"\n\n[[package]]\nname = \"axum\"\nversion = \"0.8.4\"\n";
        assert_eq!(locked_versions(lock, &["axum", "tokio"]), "axum 0.8.4");
    }
}
