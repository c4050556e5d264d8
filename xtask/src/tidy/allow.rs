//! What may exceed a budget, each with its reason. An entry that is no longer needed is a problem itself.

use super::source::{self, FILE_BUDGET};
use super::{Problem, Tree};

/// Files past the budget: path, reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions past the budget: path, name, reason.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];

pub(super) fn file(path: &str) -> bool {
    LONG_FILES.iter().any(|(allowed, _)| *allowed == path)
}

pub(super) fn function(path: &str, name: &str) -> bool {
    LONG_FUNCTIONS.iter().any(|(allowed, function, _)| *allowed == path && *function == name)
}

pub(super) fn check_for_stale_entries(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, _) in LONG_FILES {
        if tree.text(path).is_none_or(|text| source::lines_without_tests(text) <= FILE_BUDGET) {
            problems.push(Problem::new(path, None, "is within its budget, yet on the list in tidy/allow.rs"));
        }
    }
    for (path, name, _) in LONG_FUNCTIONS {
        let needed = tree
            .text(path)
            .is_some_and(|text| source::long_functions(text).iter().any(|function| function.name == *name));
        if !needed {
            let text = format!("`{name}` is within its budget, yet on the list in tidy/allow.rs");
            problems.push(Problem::new(path, None, text));
        }
    }
}
