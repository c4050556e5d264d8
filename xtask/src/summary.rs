//! The end of a test run: one table of steps, and one last line that a machine can read.

use std::fmt::Write;
use std::ops::AddAssign;
use std::time::Duration;

use crate::run::seconds;

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// Counts a step that is one check.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed), skipped: 0 }
    }

    /// Counts a failure when the step failed without any of its cases failing (it did not build, it crashed).
    pub(crate) fn with_status(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

#[derive(Debug, Default)]
pub(crate) struct Summary {
    rows: Vec<(&'static str, Counts, Duration)>,
}

impl Summary {
    pub(crate) fn add(&mut self, step: &'static str, counts: Counts, elapsed: Duration) {
        self.rows.push((step, counts, elapsed));
    }

    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.rows.iter().for_each(|(_, counts, _)| total += *counts);
        total
    }

    /// Renders the table; its last line is `N passed, N failed`, with `, N skipped` if any were.
    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        let mut row = |cells: [&str; 6]| {
            let [step, result, passed, failed, skipped, time] = cells;
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{step:<12} {result:<6} {passed:>7} {failed:>7} {skipped:>8} {time:>13}");
        };
        row(["step", "result", "passed", "failed", "skipped", "time"]);
        for (step, counts, elapsed) in &self.rows {
            row([
                step,
                if counts.failed > 0 { "FAIL" } else { "ok" },
                &counts.passed.to_string(),
                &counts.failed.to_string(),
                &counts.skipped.to_string(),
                &seconds(*elapsed),
            ]);
        }
        let Counts { passed, failed, skipped } = self.total();
        let _ = write!(text, "\n{passed} passed, {failed} failed");
        if skipped > 0 {
            let _ = write!(text, ", {skipped} skipped");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_sum() {
        let mut summary = Summary::default();
        summary.add("fmt", Counts::one(true), Duration::from_millis(300));
        summary.add("tests", Counts { passed: 40, failed: 2, skipped: 0 }, Duration::from_secs(75));
        assert_eq!(summary.render().lines().last(), Some("41 passed, 2 failed"));
        summary.add("interop", Counts { passed: 1, failed: 0, skipped: 3 }, Duration::ZERO);
        assert_eq!(summary.render().lines().last(), Some("42 passed, 2 failed, 3 skipped"));
    }

    #[test]
    fn a_failing_step_without_failing_cases_counts_as_one_failure() {
        assert_eq!(Counts::default().with_status(false).failed, 1);
        assert_eq!(Counts { failed: 4, ..Counts::default() }.with_status(false).failed, 4);
    }
}
