//! Installs what a fresh clone lacks: npm projects, system packages, a Python environment.
//!
//! What cannot be installed is named together with the package that has it.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::run;
use crate::workspace::{self, Error, Result, command};

/// Major and minor number of the oldest Node that runs the demo and the tests: the first 18 whose `parseArgs` has defaults.
const OLDEST_NODE: (u32, u32) = (18, 11);

/// A program that tests start, and the package that has it.
#[derive(Debug)]
pub(crate) struct Tool {
    /// Any of these will do.
    programs: &'static [&'static str],
    debian: &'static str,
    elsewhere: &'static str,
}

pub(crate) const REDIS: Tool =
    Tool { programs: &["redis-server"], debian: "redis-server", elsewhere: "redis (Fedora, Arch, Homebrew)" };
/// Makes certificates.
pub(crate) const OPENSSL: Tool = Tool { programs: &["openssl"], debian: "openssl", elsewhere: "openssl" };
pub(crate) const CHROMIUM: Tool = Tool {
    programs: &["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    debian: "chromium",
    elsewhere: "chromium (Fedora, Arch), google-chrome (Homebrew)",
};
pub(crate) const REDIS_BENCHMARK: Tool = Tool {
    programs: &["redis-benchmark"],
    debian: "redis-tools",
    elsewhere: "redis (Fedora, Arch, Homebrew)",
};
pub(crate) const VALGRIND: Tool =
    Tool { programs: &["valgrind"], debian: "valgrind", elsewhere: "valgrind (Fedora, Arch)" };
const PYTHON: Tool = Tool { programs: &["python3"], debian: "python3", elsewhere: "python3" };

/// Fails with the name of the package to install unless Node and npm are there and recent enough.
pub(crate) fn check_node() -> Result<()> {
    let (major, minor) = OLDEST_NODE;
    let packages = format!(
        "install Node.js {major}.{minor} or newer \
         (Debian, Ubuntu: apt-get install nodejs npm; Fedora: dnf install nodejs; macOS: brew install node)"
    );
    let version = run::output(Command::new("node").arg("--version"))
        .map_err(|_| Error::new(format!("`node` was not found: {packages}")))?;
    if numbers(&version).is_none_or(|found| found < OLDEST_NODE) {
        return Err(Error::new(format!("`node` is {version}: {packages}")));
    }
    if find(&["npm"]).is_none() {
        return Err(Error::new(format!("`npm` was not found: {packages}")));
    }
    Ok(())
}

/// Finds major and minor number in the name of a version, such as `v18.20.8` or `>= 18`.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let start = version.find(|c: char| c.is_ascii_digit())?;
    let mut parts = version[start..].split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    // Of a version that is nothing but a major number, the first minor one is meant.
    Some((major, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

/// Runs `npm ci` in a project, unless its `node_modules` was made from this very lock file.
pub(crate) fn npm_project(project: &str) -> Result<()> {
    let directory = workspace::path(project);
    let lock_file = directory.join("package-lock.json");
    let lock = fs::read(&lock_file)
        .map_err(|cause| Error::while_doing(format!("{project}/package-lock.json"), cause))?;
    let stamp = directory.join("node_modules/.made-from-lock");
    let hash = format!("{:016x}", fnv1a(&lock));
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == hash) {
        return Ok(());
    }
    check_node()?;
    let mut npm = command("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory);
    require(&format!("npm ci in {project}"), &mut npm)?;
    // Without the stamp the next run installs again, nothing worse.
    let _ = fs::write(stamp, hash);
    Ok(())
}

/// Finds a program; installs its package if it is not there and we are allowed to.
pub(crate) fn tool(tool: &Tool) -> Result<PathBuf> {
    if let Some(program) = find(tool.programs) {
        return Ok(program);
    }
    let by_hand = || {
        let Tool { programs, debian, elsewhere } = tool;
        let program = programs.first().copied().unwrap_or(debian);
        Error::new(format!(
            "`{program}` was not found: install the package {debian} (Debian, Ubuntu) or {elsewhere}"
        ))
    };
    apt_install(tool.debian).map_err(|cause| match cause {
        Some(cause) => Error::while_doing(by_hand(), cause),
        None => by_hand(),
    })?;
    find(tool.programs).ok_or_else(by_hand)
}

/// Finds jemalloc as a library to be loaded before others; installs it if we are allowed to.
pub(crate) fn jemalloc() -> Result<PathBuf> {
    const NAME: &str = "libjemalloc.so.2";
    let find = || {
        let libraries = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
        // Debian has a directory for each architecture.
        let nested = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
        libraries.into_iter().chain(nested).map(|directory| directory.join(NAME)).find(|path| path.is_file())
    };
    let by_hand = || {
        Error::new(format!(
            "`{NAME}` was not found: install the package libjemalloc2 (Debian, Ubuntu) or jemalloc (Fedora, Arch)"
        ))
    };
    if let Some(path) = find() {
        return Ok(path);
    }
    apt_install("libjemalloc2").map_err(|cause| match cause {
        Some(cause) => Error::while_doing(by_hand(), cause),
        None => by_hand(),
    })?;
    find().ok_or_else(by_hand)
}

/// Makes sure that a crate can link OpenSSL.
pub(crate) fn openssl() -> Result<()> {
    let found = || run::output(Command::new("pkg-config").args(["--exists", "openssl"])).is_ok();
    if found() {
        return Ok(());
    }
    for package in ["pkg-config", "libssl-dev"] {
        // Whether it worked is asked below.
        let _ = apt_install(package);
    }
    if found() {
        return Ok(());
    }
    Err(Error::new("install pkg-config and libssl-dev (Debian, Ubuntu) or openssl-devel (Fedora)"))
}

/// The interpreter of the Python environment, whether it has been made or not.
pub(crate) fn python() -> PathBuf {
    workspace::target().join("interop-venv/bin/python")
}

/// Makes a Python environment under `target` from a list of requirements and gives its interpreter.
pub(crate) fn python_environment(requirements: &str) -> Result<PathBuf> {
    let venv = workspace::target().join("interop-venv");
    let python = python();
    let wanted = fs::read_to_string(workspace::path(requirements))
        .map_err(|cause| Error::while_doing(requirements, cause))?;
    let stamp = venv.join(".made-from");
    if fs::read_to_string(&stamp).is_ok_and(|made_from| made_from == wanted) {
        return Ok(python);
    }
    tool(&PYTHON)?;
    let make = || run::step("python virtual environment", command("python3").args(["-m", "venv"]).arg(&venv));
    let mut made = make();
    if !made.success && apt_install("python3-venv").is_ok() {
        // Debian's python3 cannot make an environment without that package.
        made = make();
    }
    if !made.success {
        made.explain("python virtual environment", &[]);
        return Err(Error::new(
            "python3 cannot make a virtual environment: install python3-venv (Debian, Ubuntu)",
        ));
    }
    let pip =
        ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements];
    require("python clients", command(&python).args(pip))?;
    let _ = fs::write(stamp, wanted);
    Ok(python)
}

/// Runs a step that must succeed for the rest to make sense.
pub(crate) fn require(label: &str, command: &mut Command) -> Result<()> {
    let finished = run::step(label, command);
    if finished.success {
        return Ok(());
    }
    finished.explain(label, &[]);
    Err(Error::new(format!("{label} failed")))
}

fn find(programs: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .flat_map(|directory| programs.iter().map(move |program| directory.join(program)))
        .find(|candidate| candidate.is_file())
}

/// Installs a Debian package; `Err(None)` means that this is not for us to do here.
fn apt_install(package: &str) -> std::result::Result<(), Option<Error>> {
    if find(&["apt-get"]).is_none() {
        return Err(None);
    }
    let root = run::output(Command::new("id").arg("-u")).is_ok_and(|id| id == "0");
    if !root && run::output(Command::new("sudo").args(["-n", "true"])).is_err() {
        return Err(None);
    }
    let apt = |arguments: &[&str]| {
        let mut command = if root { command("env") } else { command("sudo") };
        if !root {
            command.args(["-n", "env"]);
        }
        // Another apt may be at work (a fresh cloud machine updates itself): wait for it instead of failing.
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-y", "-o", "DPkg::Lock::Timeout=300"]);
        command.args(arguments);
        command
    };
    require("apt-get update", &mut apt(&["update"])).map_err(Some)?;
    let install = format!("apt-get install {package}");
    require(&install, &mut apt(&["install", "--no-install-recommends", package])).map_err(Some)
}

/// Hashes a lock file. Only chance has to be kept out, so the simplest stable hash does.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn versions_of_node_are_read() {
        assert_eq!(numbers("v18.20.8"), Some((18, 20)));
        assert_eq!(numbers(">= 18"), Some((18, 0)));
        assert_eq!(numbers("v"), None);
        assert!(numbers("v18.10.0") < Some(OLDEST_NODE) && numbers("v20.0.0") > Some(OLDEST_NODE));
    }

    #[test]
    fn no_package_of_demo_and_tests_needs_a_newer_node() {
        for project in [crate::interop::PROJECT, crate::demo::CHAT] {
            let lock = fs::read(workspace::path(project).join("package-lock.json")).unwrap();
            let lock: serde_json::Value = serde_json::from_slice(&lock).unwrap();
            let mut seen = 0;
            for (package, about) in lock["packages"].as_object().unwrap() {
                let Some(wanted) = about["engines"]["node"].as_str() else { continue };
                // Of alternatives one is enough, and `*` has no number.
                let oldest =
                    wanted.split("||").map(|range| numbers(range).unwrap_or_default()).min().unwrap();
                assert!(oldest <= OLDEST_NODE, "{project}: {package} wants Node {wanted}");
                seen += 1;
            }
            assert!(seen > 0, "{project}");
        }
    }

    #[test]
    fn a_missing_tool_is_not_found() {
        assert_eq!(find(&["no-such-program"]), None);
        assert!(find(&["no-such-program", "sh"]).is_some());
    }
}
