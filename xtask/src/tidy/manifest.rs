//! Rules for the manifests: which crate may depend on which, what the pure one may, and where packages come from.

use std::collections::BTreeSet;

use super::{Problem, Tree};
use crate::purity;

/// The arrows between our crates; nothing else may point anywhere else.
const ARROWS: [(&str, &[&str]); 4] = [
    ("sio-protocol", &[]),
    ("sio-server", &["sio-protocol"]),
    ("sio-adapter-redis", &["sio-protocol", "sio-server"]),
    ("sio-emitter", &["sio-protocol"]),
];

pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    let contributing = tree.text("CONTRIBUTING.md").unwrap_or_default();
    let mut unexplained = BTreeSet::new();
    for (path, text) in &tree.texts {
        if path.ends_with("package-lock.json") {
            check_npm_lock(path, text, problems);
        }
        if path.rsplit('/').next() != Some("Cargo.toml") || is_outside(path) {
            continue;
        }
        for dependency in dependencies(text) {
            check_arrow(path, &dependency, problems);
            if !is_explained(&dependency, contributing) && unexplained.insert(dependency.name) {
                let text = format!(
                    "`{}` is not in the table of CONTRIBUTING.md: what for, why this one",
                    dependency.name
                );
                problems.push(Problem::new(path, Some(dependency.line), text));
            }
        }
    }
}

/// Fuzz targets and benchmark peers are workspaces of their own, whose dependencies reach nobody.
fn is_outside(path: &str) -> bool {
    path.contains("/fuzz/") || path.starts_with("xtask/peers/")
}

#[derive(Debug, Eq, PartialEq)]
struct Dependency<'a> {
    name: &'a str,
    line: usize,
    /// Only for tests, examples and benches.
    dev: bool,
}

/// Reads the names below every `[dependencies]`, `[dev-dependencies]`, `[target.'...'.dependencies]` and so on.
fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let mut section = "";
    for (line, text) in manifest.lines().enumerate() {
        if let Some(header) = text.strip_prefix('[') {
            section = header.split(']').next().unwrap_or_default();
            // `[dependencies.name]`
            if let Some((table, name)) = section.rsplit_once('.')
                && table.ends_with("dependencies")
            {
                found.push(Dependency { name, line, dev: table.ends_with("dev-dependencies") });
            }
            continue;
        }
        let name = text.split(['=', '.', ' ']).next().unwrap_or_default().trim_matches('"');
        if section.ends_with("dependencies")
            && !name.is_empty()
            && !name.starts_with('#')
            && !text.starts_with(' ')
            && text.contains('=')
        {
            found.push(Dependency { name, line, dev: section.ends_with("dev-dependencies") });
        }
    }
    found
}

fn check_arrow(path: &str, dependency: &Dependency<'_>, problems: &mut Vec<Problem>) {
    let Dependency { name, line, dev } = *dependency;
    let owner = path.trim_end_matches("/Cargo.toml");
    let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == owner) else { return };
    if ARROWS.iter().any(|(ours, _)| *ours == name) {
        if !allowed.contains(&name) {
            problems.push(Problem::new(path, Some(line), format!("{owner} must not depend on {name}")));
        }
    } else if owner == "sio-protocol" && !dev && !purity::ALLOWED.contains(&name) {
        problems.push(Problem::new(
            path,
            Some(line),
            format!("`{name}` is not on the list in xtask/src/purity.rs"),
        ));
    }
}

/// Looks for the name in the dependency table of CONTRIBUTING.md; our own crates need no reason.
fn is_explained(dependency: &Dependency<'_>, contributing: &str) -> bool {
    let Dependency { name, .. } = dependency;
    ARROWS.iter().any(|(ours, _)| ours == name) || contributing.contains(&format!("`{name}`"))
}

/// A mirror's address in a lock file works for whoever made it and for nobody else.
fn check_npm_lock(path: &str, text: &str, problems: &mut Vec<Problem>) {
    let foreign = |line: &str| {
        let (_, address) = line.split_once("\"resolved\": \"")?;
        (address.contains("://") && !address.starts_with("https://registry.npmjs.org/")).then_some(())
    };
    if let Some(line) = text.lines().position(|line| foreign(line).is_some()) {
        problems.push(Problem::new(path, Some(line), "resolves from another registry than npm's"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_every_kind_of_section() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\n# a comment\nbytes.workspace = true\n\
            serde = { version = \"1\", features = [\n    \"derive\",\n] }\n\n[dev-dependencies]\nfoo = \"1\"\n\n\
            [target.'cfg(unix)'.dependencies]\nnix = \"1\"\n\n[dependencies.bar]\nversion = \"1\"\n\n[features]\na = []\n";
        let names: Vec<(&str, bool)> = dependencies(manifest).iter().map(|d| (d.name, d.dev)).collect();
        assert_eq!(
            names,
            [("bytes", false), ("serde", false), ("foo", true), ("nix", false), ("bar", false)]
        );
    }

    fn arrow(path: &str, name: &str, dev: bool) -> usize {
        let mut problems = Vec::new();
        check_arrow(path, &Dependency { name, line: 0, dev }, &mut problems);
        problems.len()
    }

    #[test]
    fn arrows_point_one_way() {
        assert_eq!(arrow("sio-server/Cargo.toml", "sio-protocol", false), 0);
        assert_eq!(arrow("sio-protocol/Cargo.toml", "sio-server", true), 1);
        assert_eq!(arrow("sio-emitter/Cargo.toml", "sio-server", false), 1);
        assert_eq!(arrow("tests/Cargo.toml", "sio-server", false), 0);
    }

    #[test]
    fn the_pure_crate_has_a_list() {
        assert_eq!(arrow("sio-protocol/Cargo.toml", "tokio", false), 1);
        assert_eq!(arrow("sio-protocol/Cargo.toml", "criterion", true), 0);
        assert_eq!(arrow("sio-protocol/Cargo.toml", "bytes", false), 0);
    }

    #[test]
    fn a_dependency_wants_a_line_in_the_table() {
        let dependency = Dependency { name: "bytes", line: 0, dev: false };
        assert!(is_explained(&dependency, "| `bytes` | shared buffers |"));
        assert!(!is_explained(&dependency, "| `bytestring` | text |"));
        assert!(is_explained(&Dependency { name: "sio-protocol", ..dependency }, ""));
    }

    #[test]
    fn a_lock_file_names_no_mirror() {
        let count = |text: &str| {
            let mut problems = Vec::new();
            check_npm_lock("package-lock.json", text, &mut problems);
            problems.len()
        };
        assert_eq!(count("\"resolved\": \"https://registry.npmjs.org/ws/-/ws-8.0.0.tgz\""), 0);
        assert_eq!(count("\"resolved\": \"https://mirror.example/ws/-/ws-8.0.0.tgz\""), 1);
    }
}
