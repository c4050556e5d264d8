//! Rules for one Rust file: module header, budgets, documentation summaries, sleeps, purity of `sio-protocol`.
//!
//! Lines, not syntax trees: rustfmt has put every item where indentation tells what belongs to it.

use super::{Problem, allow};

/// Lines of a file without its tests.
pub(super) const FILE_BUDGET: usize = 600;
/// Lines of one function.
const FUNCTION_BUDGET: usize = 120;

/// What code without IO, clock and randomness has no use for.
const IMPURE: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime",
    "time::Instant",
    "println!",
];

pub(super) fn check(path: &str, text: &str, problems: &mut Vec<Problem>) {
    let all_test = is_test_file(path);
    let lines: Vec<&str> = text.lines().collect();
    let in_tests = test_lines(&lines);
    check_header(path, &lines, problems);
    check_summaries(path, &lines, problems);
    for (number, line) in lines.iter().enumerate() {
        let is_test = all_test || in_tests[number];
        let code = line.split("//").next().unwrap_or_default();
        if is_test && sleeps(code) && !has_reason(&lines, number) {
            problems.push(Problem::new(
                path,
                Some(number),
                "a test that sleeps without `// why:` is flaky or slow",
            ));
        }
        if !is_test && path.starts_with("sio-protocol/src/") {
            for word in IMPURE.iter().filter(|word| code.contains(*word)) {
                let text = format!("`{word}` in sio-protocol, which does no IO and reads no clock");
                problems.push(Problem::new(path, Some(number), text));
            }
        }
        if code.contains(concat!("cfg(feature = \"", "tracing\")")) {
            problems.push(Problem::new(path, Some(number), "tracing is always on, not a feature"));
        }
    }
    if all_test {
        return;
    }
    let length = lines_without_tests(text);
    if length > FILE_BUDGET && !allow::file(path) {
        let text = format!(
            "{length} lines without tests, budget is {FILE_BUDGET}: split it, or give a reason in tidy/allow.rs"
        );
        problems.push(Problem::new(path, None, text));
    }
    for function in long_functions(text) {
        let Function { name, line, length } = function;
        if !in_tests[line] && !allow::function(path, name) {
            let text = format!(
                "`{name}` has {length} lines, budget is {FUNCTION_BUDGET}: split it, or give a reason in tidy/allow.rs"
            );
            problems.push(Problem::new(path, Some(line), text));
        }
    }
}

pub(super) fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    test_lines(&lines).iter().filter(|is_test| !**is_test).count()
}

/// A function over the budget.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    line: usize,
    length: usize,
}

pub(super) fn long_functions(text: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut long = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indentation = &line[..line.len() - line.trim_start().len()];
        let closes = |line: &&str| line.strip_prefix(indentation) == Some("}");
        // One without a body, or on one line, would take the next function's end for its own.
        let has_body = lines[start..]
            .iter()
            .find(|line| line.ends_with(['{', ';', '}']))
            .is_some_and(|line| line.ends_with('{'));
        let Some(end) = lines[start..].iter().position(closes).filter(|_| has_body) else { continue };
        let length = end + 1;
        if length > FUNCTION_BUDGET {
            long.push(Function { name, line: start, length });
        }
    }
    long
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    if rest.starts_with("//") {
        return None;
    }
    for qualifier in ["pub ", "pub(crate) ", "pub(super) ", "default ", "const ", "async ", "extern \"C\" "] {
        rest = rest.strip_prefix(qualifier).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    let end = name.find(['(', '<'])?;
    Some(&name[..end])
}

/// Everything below a `tests` directory is a test, as is a module that has a file of its own for them.
fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs")
}

/// Says of every line whether it belongs to a module under `#[cfg(test)]`.
fn test_lines(lines: &[&str]) -> Vec<bool> {
    let mut marks = vec![false; lines.len()];
    let mut number = 0;
    while number < lines.len() {
        let line = lines[number];
        let indentation = &line[..line.len() - line.trim_start().len()];
        let opens = |line: &&str| line.trim_start().contains("mod ") && line.ends_with('{');
        if line.trim_start().starts_with("#[cfg(test)]") && lines.get(number + 1).is_some_and(opens) {
            let length = lines[number..]
                .iter()
                .position(|line| line.strip_prefix(indentation) == Some("}"))
                .map_or(lines.len() - number, |end| end + 1);
            marks[number..number + length].fill(true);
            number += length;
        } else {
            number += 1;
        }
    }
    marks
}

fn check_header(path: &str, lines: &[&str], problems: &mut Vec<Problem>) {
    // `#![no_main]` of a fuzz target and `#!` of a script may stand before it.
    let first = lines.iter().find(|line| !line.is_empty() && !line.starts_with("#!"));
    if first.is_none_or(|line| !line.starts_with("//!")) {
        problems.push(Problem::new(path, None, "does not begin with `//!`: say what the file is"));
    }
}

fn check_summaries(path: &str, lines: &[&str], problems: &mut Vec<Problem>) {
    let mut before = "";
    for (number, line) in lines.iter().map(|line| line.trim_start()).enumerate() {
        for mark in ["///", "//!"] {
            let heading = line.strip_prefix(mark).is_some_and(|text| text.trim_start().starts_with("# "));
            if heading && !before.starts_with(mark) {
                problems.push(Problem::new(path, Some(number), "a summary is a sentence, not a heading"));
            }
        }
        before = line;
    }
}

fn sleeps(code: &str) -> bool {
    // A function of one's own whose name ends so is not meant.
    ["::sleep(", " sleep(", "(sleep(", "::sleep_until(", " sleep_until("]
        .iter()
        .any(|call| code.contains(call))
        && !code.contains("fn sleep")
}

/// Looks for `// why:` on the line or in the comment above it.
fn has_reason(lines: &[&str], number: usize) -> bool {
    let says_why = |line: &str| line.contains("// why:");
    says_why(lines[number])
        || lines[..number]
            .iter()
            .rev()
            .take_while(|line| line.trim_start().starts_with("//"))
            .any(|line| says_why(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        check(path, text, &mut problems);
        problems.iter().map(Problem::to_string).collect()
    }

    #[test]
    fn a_file_must_begin_with_its_purpose() {
        assert!(problems("a.rs", "//! Something.\n").is_empty());
        assert!(problems("a.rs", "#![no_main]\n//! Something.\n").is_empty());
        assert_eq!(problems("a.rs", "use std::fmt;\n").len(), 1);
        assert_eq!(problems("a.rs", "").len(), 1);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let line = "const A: u8 = 0;\n";
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(FILE_BUDGET));
        let fitting = format!("//! A.\n{}{tests}", line.repeat(FILE_BUDGET - 1));
        assert!(problems("a.rs", &fitting).is_empty());
        let long = format!("//! A.\n{}", line.repeat(FILE_BUDGET));
        assert_eq!(problems("a.rs", &long).len(), 1);
        assert!(problems("x/tests/a.rs", &long).is_empty());
    }

    #[test]
    fn a_long_function_is_found_by_name() {
        let body = "        work();\n".repeat(FUNCTION_BUDGET);
        let text = format!("//! A.\nimpl A {{\n    pub async fn long(&self) {{\n{body}    }}\n}}\n");
        let found = problems("a.rs", &text);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.rs:3: `long` has 122 lines"), "{found:?}");
    }

    #[test]
    fn a_function_without_a_body_has_no_length() {
        let filler = "    const A: u8 = 0;\n".repeat(FUNCTION_BUDGET);
        let text = format!(
            "//! A.\ntrait A {{\n    fn a(&self);\n{filler}    fn b(&self) {{\n        c();\n    }}\n}}\n"
        );
        assert!(problems("a.rs", &text).is_empty());
    }

    #[test]
    fn a_sleep_in_a_test_wants_a_reason() {
        let text = |comment: &str| {
            format!("//! A.\n#[cfg(test)]\nmod tests {{\n    {comment}\n    thread::sleep(TIME);\n}}\n")
        };
        assert_eq!(problems("a.rs", &text("")).len(), 1);
        assert!(problems("a.rs", &text("// why: the kernel tells nobody.")).is_empty());
        assert!(problems("a.rs", "//! A.\nfn a() {\n    thread::sleep(TIME);\n}\n").is_empty());
        assert_eq!(problems("tests/src/a.rs", "//! A.\nfn a() {\n    thread::sleep(TIME);\n}\n").len(), 1);
    }

    #[test]
    fn a_heading_may_follow_a_summary_but_not_be_one() {
        assert!(problems("a.rs", "//! A.\n/// Does it.\n///\n/// # Errors\nfn a() {}\n").is_empty());
        assert_eq!(problems("a.rs", "//! A.\n/// # Errors\nfn a() {}\n").len(), 1);
        assert_eq!(problems("a.rs", "//! # A\n").len(), 1);
    }

    #[test]
    fn the_pure_crate_reads_no_clock_outside_its_tests() {
        let text = "//! A.\nfn a() {\n    Instant::now();\n}\n";
        assert_eq!(problems("sio-protocol/src/a.rs", text).len(), 1);
        assert!(problems("sio-server/src/a.rs", text).is_empty());
        let text = "//! A.\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert!(problems("sio-protocol/src/a.rs", text).is_empty());
    }
}
