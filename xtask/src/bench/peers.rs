//! The servers that can be measured: how each is installed and started.
//!
//! Every one fulfils the same contract: environment `PORT` and `WORKERS`, ping interval 300 s, on `/` the
//! events echo, ack, join and bcast, and the line `listening on 127.0.0.1:PORT` once it accepts connections.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::ValueEnum;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A server under test.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Peer {
    /// This project's server.
    SioServer,
    /// Raw sockets without Socket.IO: what the kernel alone costs.
    Floor,
    /// socketioxide on axum.
    Socketioxide,
    /// socket.io on Node.
    Node,
    /// socket.io on Bun's own engine.
    Bun,
    /// python-socketio on uvicorn.
    Python,
}

impl Peer {
    pub(crate) const ALL: [Self; 6] =
        [Self::SioServer, Self::Floor, Self::Socketioxide, Self::Node, Self::Bun, Self::Python];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SioServer => "sio-server",
            Self::Floor => "floor",
            Self::Socketioxide => "socketioxide",
            Self::Node => "node",
            Self::Bun => "bun",
            Self::Python => "python",
        }
    }

    /// Installs or builds what the server needs; does little if that has been done before.
    ///
    /// # Errors
    ///
    /// If a tool is missing or fails.
    pub(crate) fn prepare(self) -> Result<()> {
        match self {
            Self::SioServer => run(Command::new("cargo")
                .args(["build", "--quiet", "--release", "--package", "sio-server", "--example", "bench"])
                .current_dir(workspace())),
            Self::Floor => Ok(()),
            Self::Socketioxide => run(Command::new("cargo")
                .args(["build", "--quiet", "--release", "--locked", "--target-dir"])
                .arg(target().join("peers"))
                .current_dir(peers().join("socketioxide"))),
            Self::Node | Self::Bun => {
                let folder = peers().join(self.name());
                if is_newer(
                    &folder.join("node_modules/.package-lock.json"),
                    &folder.join("package-lock.json"),
                ) {
                    return Ok(());
                }
                run(Command::new("npm")
                    .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
                    .current_dir(folder))
            }
            Self::Python => {
                let folder = target().join("peers/python");
                let wanted = peers().join("python/requirements.txt");
                let stamp = folder.join("installed.txt");
                if is_newer(&stamp, &wanted) {
                    return Ok(());
                }
                run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
                run(Command::new(folder.join("bin/pip"))
                    .args(["install", "--quiet", "--requirement"])
                    .arg(&wanted))?;
                fs::copy(&wanted, &stamp)?;
                Ok(())
            }
        }
    }

    /// The program and its arguments.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub(crate) fn command(self) -> Result<Vec<String>> {
        let script = |name: &str| peers().join(self.name()).join(name);
        let parts = match self {
            Self::SioServer => vec![target().join("release/examples/bench")],
            Self::Floor => vec![std::env::current_exe()?, "bench".into(), "--serve-floor".into()],
            Self::Socketioxide => vec![target().join("peers/release/bench-peer-socketioxide")],
            Self::Node => vec!["node".into(), script("server.mjs")],
            Self::Bun => vec![bun()?, script("server.mjs")],
            Self::Python => vec![target().join("peers/python/bin/python"), script("server.py")],
        };
        Ok(parts.iter().map(|part| part.to_string_lossy().into_owned()).collect())
    }

    /// The versions of what is measured, for the record.
    pub(crate) fn versions(self) -> String {
        match self {
            Self::SioServer | Self::Floor => first_line(
                Command::new("git").args(["describe", "--always", "--dirty"]).current_dir(workspace()),
            ),
            Self::Socketioxide => {
                let lock = fs::read_to_string(peers().join("socketioxide/Cargo.lock")).unwrap_or_default();
                let version = |name: &str| {
                    let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
                    rest.split_once('"').map(|(version, _)| format!("{name} {version}"))
                };
                ["socketioxide", "axum", "tokio"]
                    .into_iter()
                    .filter_map(version)
                    .collect::<Vec<_>>()
                    .join(", ")
            }
            Self::Node => format!(
                "node {}, {}",
                first_line(Command::new("node").arg("--version")),
                self.npm_versions(&["socket.io", "engine.io", "ws"])
            ),
            Self::Bun => format!(
                "bun {}, {}",
                bun().map(|path| first_line(Command::new(path).arg("--version"))).unwrap_or_default(),
                self.npm_versions(&["socket.io", "@socket.io/bun-engine"])
            ),
            Self::Python => {
                let pip = target().join("peers/python/bin/pip");
                let list = Command::new(pip)
                    .args(["list", "--format=freeze"])
                    .output()
                    .map(|output| output.stdout)
                    .unwrap_or_default();
                let wanted = ["python-socketio=", "uvicorn=", "uvloop=", "websockets="];
                let text = String::from_utf8_lossy(&list).into_owned();
                text.lines()
                    .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
                    .collect::<Vec<_>>()
                    .join(", ")
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

/// The workspace this program was built in.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where builds go.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |path| workspace().join(path))
}

fn peers() -> PathBuf {
    workspace().join("xtask/peers")
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

fn is_newer(path: &Path, than: &Path) -> bool {
    let time = |path| fs::metadata(path).and_then(|data| data.modified()).ok();
    time(path).is_some() && time(path) >= time(than)
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{command:?} failed: {}", text.lines().last().unwrap_or_default()).into())
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}
