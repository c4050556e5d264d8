//! Proves that `sio-protocol` can do no IO: by what it depends on, directly and through others.
//!
//! Where the target `wasm32-unknown-unknown` can be had, `cargo xtask test` builds it there as well.

use std::path::Path;
use std::time::Duration;

use crate::run;
use crate::tidy::Problem;
use crate::workspace::{Error, Result, cargo, command};

pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// What `sio-protocol` may name in its Cargo.toml. What these bring along is theirs, with the exceptions below.
pub(crate) const ALLOWED: [&str; 8] =
    ["base64", "bytes", "memchr", "rmp", "serde", "serde_json", "simdutf8", "thiserror"];

/// Crates that mean IO, a clock or randomness, by name or by the beginning of it.
const FORBIDDEN: [&str; 13] = [
    "async-std",
    "fred",
    "futures",
    "getrandom",
    "http",
    "hyper",
    "libc",
    "mio",
    "rand",
    "redis",
    "socket2",
    "tokio",
    "tower",
];

/// How long a download may take.
const ADD_LIMIT: Duration = Duration::from_secs(120);

pub(crate) fn problems() -> Result<Vec<Problem>> {
    // `cargo tree` and not `cargo metadata`: the latter joins the features of the whole workspace.
    let tree = run::output(&mut cargo(&[
        "tree",
        "--package",
        "sio-protocol",
        "--all-features",
        "--edges",
        "normal,build",
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ]))?;
    if !tree.starts_with("0 sio-protocol ") {
        return Err(Error::new("cargo tree prints something else than a tree of sio-protocol"));
    }
    Ok(judge(&tree))
}

/// Has rustup add the target. Without rustup or a network there is none, and what it depends on has to be proof enough.
pub(crate) fn add_wasm_target() {
    if !has_wasm_target() && run::output(command("rustup").arg("--version")).is_ok() {
        let mut add = command("rustup");
        add.args(["target", "add", WASM_TARGET]);
        run::step_with("rustup target add", &mut add, ADD_LIMIT, &mut |_| {});
    }
    if !has_wasm_target() {
        eprintln!("{WASM_TARGET} could not be had: sio-protocol is not built for it, which is no failure");
    }
}

pub(crate) fn has_wasm_target() -> bool {
    run::output(command("rustc").args(["--print", "sysroot"]))
        .is_ok_and(|sysroot| Path::new(&sysroot).join("lib/rustlib").join(WASM_TARGET).exists())
}

/// Judges lines of the form `2 libc v0.2.191`: depth, name, version.
fn judge(tree: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name)) = (words.next(), words.next()) else { continue };
        if depth == "1" && !ALLOWED.contains(&name) {
            problems.push(Problem::new(
                "sio-protocol/Cargo.toml",
                None,
                format!("`{name}` is not on its list"),
            ));
        }
        if FORBIDDEN.iter().any(|forbidden| is_or_belongs_to(name, forbidden)) {
            let text = format!("`{name}` comes along, and nothing that can do IO or draw randomness may");
            problems.push(Problem::new("sio-protocol/Cargo.toml", None, text));
        }
    }
    problems
}

fn is_or_belongs_to(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_crates_and_what_they_bring_are_fine() {
        let tree = "0 sio-protocol v0.1.0 (x)\n1 rmp v0.8.15\n2 num-traits v0.2.19\n1 bytes v1.12.2";
        assert!(judge(tree).is_empty());
    }

    #[test]
    fn a_crate_of_ones_own_choice_is_named() {
        let problems = judge("0 sio-protocol v0.1.0\n1 smallvec v1.0.0");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].to_string().contains("`smallvec`"));
    }

    #[test]
    fn io_deep_down_is_found() {
        assert_eq!(judge("1 bytes v1\n2 futures-core v0.3").len(), 1);
        assert_eq!(judge("1 bytes v1\n2 randomly v1").len(), 0);
    }
}
