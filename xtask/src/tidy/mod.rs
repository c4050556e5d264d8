//! `cargo xtask tidy`: the house rules that neither the compiler nor clippy checks. Also a test, at the end.
//!
//! Every rule is a function of text that adds to a list of problems; only `Tree` touches files.

mod allow;
mod manifest;
mod project;
mod source;
mod text;

use std::fmt;

use crate::run;
use crate::workspace::{self, Error, Result, command};

/// Names a file, perhaps a line, and what is wrong there.
#[derive(Debug)]
pub(crate) struct Problem {
    file: String,
    line: Option<usize>,
    text: String,
}

impl Problem {
    /// `line` counts from 0, as iterators do; it is printed from 1.
    pub(crate) fn new(file: &str, line: Option<usize>, text: impl Into<String>) -> Self {
        Self { file: file.into(), line, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{}: {}", self.file, line + 1, self.text),
            None => write!(f, "{}: {}", self.file, self.text),
        }
    }
}

/// Checks the whole tree.
pub(crate) fn problems() -> Result<Vec<Problem>> {
    let tree = Tree::read()?;
    let mut problems = Vec::new();
    for (path, text) in &tree.texts {
        text::check(path, text, &mut problems);
        if path.ends_with(".rs") {
            source::check(path, text, &mut problems);
        }
    }
    allow::check_for_stale_entries(&tree, &mut problems);
    manifest::check(&tree, &mut problems);
    project::check(&tree, &mut problems);
    problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(problems)
}

/// The files that are, or would be, committed.
pub(crate) struct Tree {
    /// Every path, relative to the root.
    paths: Vec<String>,
    /// Path and content of those that are text.
    texts: Vec<(String, String)>,
}

impl Tree {
    fn read() -> Result<Self> {
        // The owner of a checkout in a container is often somebody else, which git refuses without that setting.
        let list = run::output(command("git").args([
            "-c",
            "safe.directory=*",
            "-c",
            "core.quotePath=off",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
        ]))
        .map_err(|cause| Error::while_doing("tidy needs git and a clone", cause))?;
        // A file that is deleted but not yet committed is still listed, one in a merge several times.
        let mut paths: Vec<String> =
            list.lines().filter(|path| workspace::path(path).is_file()).map(str::to_owned).collect();
        paths.sort();
        paths.dedup();
        let mut texts = Vec::new();
        for path in &paths {
            let bytes =
                std::fs::read(workspace::path(path)).map_err(|cause| Error::while_doing(path, cause))?;
            if let Ok(text) = String::from_utf8(bytes) {
                texts.push((path.clone(), text));
            }
        }
        Ok(Self { paths, texts })
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.texts.iter().find(|(candidate, _)| candidate == path).map(|(_, text)| text.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let problems = problems().unwrap();
        let list: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert!(list.is_empty(), "\n{}\n", list.join("\n"));
    }

    #[test]
    fn lines_are_printed_as_editors_count_them() {
        assert_eq!(Problem::new("a.rs", Some(0), "wrong").to_string(), "a.rs:1: wrong");
        assert_eq!(Problem::new("a.rs", None, "wrong").to_string(), "a.rs: wrong");
    }
}
