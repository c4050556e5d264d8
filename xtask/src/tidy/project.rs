//! Rules for the project as a whole: what its top level holds, one MSRV everywhere, a changelog that is kept.

use super::{Problem, Tree};

/// What may stand beside the crates. Everything else has a place inside one of them.
const TOP_LEVEL: [&str; 22] = [
    ".cargo",
    ".ci",
    ".gitattributes",
    ".gitignore",
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "clippy.toml",
    "rustfmt.toml",
    "sio-adapter-redis",
    "sio-emitter",
    "sio-protocol",
    "sio-server",
    "tests",
    "xtask",
];

/// Where people read which Rust they need. The README has to say it, the others must not say otherwise.
const MSRV_READERS: [&str; 3] = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"];

pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    check_top_level(&tree.paths, problems);
    check_msrv(tree, problems);
    let changelog = tree.text("CHANGELOG.md").unwrap_or_default();
    if !changelog.lines().any(|line| line.trim_end() == "## [Unreleased]") {
        problems.push(Problem::new("CHANGELOG.md", None, "has no section `## [Unreleased]`"));
    }
}

fn check_top_level(paths: &[String], problems: &mut Vec<Problem>) {
    let mut last = "";
    for path in paths {
        let top = path.split('/').next().unwrap_or_default();
        if top != last && !TOP_LEVEL.contains(&top) {
            problems.push(Problem::new(
                top,
                None,
                "is unexpected at the top level (list in tidy/project.rs)",
            ));
        }
        last = top;
    }
}

fn check_msrv(tree: &Tree, problems: &mut Vec<Problem>) {
    let manifest = tree.text("Cargo.toml").unwrap_or_default();
    let Some(msrv) = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")) else {
        problems.push(Problem::new("Cargo.toml", None, "has no `rust-version`"));
        return;
    };
    let msrv = msrv.trim_end_matches('"');
    for path in MSRV_READERS {
        let versions = rust_versions(tree.text(path).unwrap_or_default());
        if path == "README.md" && versions.is_empty() {
            problems.push(Problem::new(path, None, format!("does not say `Rust {msrv}`")));
        }
        for (line, version) in versions.iter().filter(|(_, version)| *version != msrv) {
            let text = format!("says Rust {version}, Cargo.toml says {msrv}");
            problems.push(Problem::new(path, Some(*line), text));
        }
    }
}

/// Finds `Rust 1.88`, with its line.
fn rust_versions(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (start, mark) in line.match_indices("Rust 1.") {
            let version = &line[start + mark.len() - 2..];
            let end = version.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(version.len());
            found.push((number, version[..end].trim_end_matches('.')));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_prose() {
        assert_eq!(rust_versions("Needs Rust 1.88 or newer.\nOr Rust 1.90."), [(0, "1.88"), (1, "1.90")]);
        assert_eq!(rust_versions("Rust 2 and rust 1.1"), []);
    }

    fn tree(texts: &[(&str, &str)]) -> Tree {
        Tree {
            paths: texts.iter().map(|(path, _)| (*path).to_owned()).collect(),
            texts: texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect(),
        }
    }

    fn problems(texts: &[(&str, &str)]) -> Vec<String> {
        let mut problems = Vec::new();
        check(&tree(texts), &mut problems);
        problems.iter().map(Problem::to_string).collect()
    }

    const MANIFEST: (&str, &str) = ("Cargo.toml", "rust-version = \"1.88\"\n");
    const CHANGELOG: (&str, &str) = ("CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n");

    #[test]
    fn one_msrv_everywhere() {
        assert!(problems(&[MANIFEST, CHANGELOG, ("README.md", "Rust 1.88")]).is_empty());
        assert_eq!(problems(&[MANIFEST, CHANGELOG, ("README.md", "Rust 1.87")]).len(), 1);
        assert_eq!(problems(&[MANIFEST, CHANGELOG, ("README.md", "")]).len(), 1);
    }

    #[test]
    fn the_changelog_has_a_place_for_the_next_line() {
        let old = ("CHANGELOG.md", "# Changelog\n\n## 0.1.0\n");
        assert_eq!(problems(&[MANIFEST, old, ("README.md", "Rust 1.88")]).len(), 1);
    }

    #[test]
    fn the_top_level_is_a_closed_list() {
        let found =
            problems(&[MANIFEST, CHANGELOG, ("README.md", "Rust 1.88"), ("notes.md", ""), ("docs/a", "")]);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
