//! Reads what `cargo test` prints: the counts of every test binary and the text of the failures.
//!
//! The harness has a machine-readable form, but only on nightly.

use crate::summary::Counts;

/// Failure text that is kept; a broken basis makes hundreds of tests say the same.
const MAX_DETAILS: usize = 400;

#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) counts: Counts,
    pub(crate) details: Vec<String>,
    in_failures: bool,
}

impl Reader {
    pub(crate) fn line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.in_failures = false;
            self.counts += counts(result);
        } else if line == "failures:" {
            self.in_failures = true;
        } else if line.starts_with("error") {
            // Compiler errors and "test failed, to rerun pass ..." come on the other stream, between anything.
            self.keep(line);
            return;
        }
        if self.in_failures {
            self.keep(line);
        }
    }

    fn keep(&mut self, line: &str) {
        if self.details.len() < MAX_DETAILS {
            self.details.push(line.to_owned());
        }
    }
}

/// Reads `ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
fn counts(result: &str) -> Counts {
    let mut counts = Counts::default();
    let words = result.split_once(". ").map_or(result, |(_, rest)| rest);
    for part in words.split("; ") {
        let Some((number, what)) = part.split_once(' ') else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        match what {
            "passed" => counts.passed += number,
            "failed" => counts.failed += number,
            "ignored" => counts.skipped += number,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_binaries_are_added() {
        let mut reader = Reader::default();
        let first =
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let second = "test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.0s";
        for line in ["running 4 tests", "test a ... ok", first, "", second] {
            reader.line(line);
        }
        assert_eq!(reader.counts, Counts { passed: 8, failed: 2, skipped: 1 });
    }

    #[test]
    fn failures_are_kept_and_successes_are_not() {
        let mut reader = Reader::default();
        let failed = "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        for line in ["test b ... FAILED", "test c ... ok", "failures:", "---- b stdout ----", "boom", failed]
        {
            reader.line(line);
        }
        reader.line("error: test failed, to rerun pass `-p x --lib`");
        assert_eq!(
            reader.details,
            ["failures:", "---- b stdout ----", "boom", "error: test failed, to rerun pass `-p x --lib`"]
        );
    }
}
