//! What is said on the standard error: progress on a terminal, refused lines, the summary.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Says what went wrong.
pub(crate) fn complain(problem: &str) {
    // With the standard error closed there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "sio-emit: {problem}");
}

/// Counts lines, and shows how it goes.
#[derive(Debug)]
pub(crate) struct Report {
    bar: ProgressBar,
    started: Instant,
    /// All lines, to number them.
    pub(crate) lines: u64,
    /// Those of them that are empty.
    pub(crate) blank: u64,
    pub(crate) refused: u64,
}

impl Report {
    /// `length` is how many bytes there are, if that is known.
    pub(crate) fn new(quiet: bool, length: Option<u64>) -> Self {
        // Somebody who types the lines sees them already.
        let shown = !quiet && std::io::stderr().is_terminal() && !std::io::stdin().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(length, target);
        let template = match length {
            Some(_) => "{bar:16} {percent} %, {msg}, {eta} left",
            None => "{spinner} {bytes}, {msg}",
        };
        // The templates are known to be right; the style of the house would do as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now(), lines: 0, blank: 0, refused: 0 }
    }

    /// Notes a line that was refused.
    pub(crate) fn refuse(&mut self, reason: &str) {
        self.refused += 1;
        let number = self.lines;
        self.bar.suspend(|| complain(&format!("line {number} refused: {reason}")));
    }

    /// Notes that so many bytes are done.
    pub(crate) fn advance(&self, bytes: usize) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.inc(bytes as u64);
        let (events, refused) = (self.events(), self.refused);
        let rate = rate(events, self.started.elapsed());
        self.bar.set_message(format!("{events} lines, {rate} a second, {refused} refused"));
    }

    /// Ends the progress.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Says how it ended.
    pub(crate) fn summary(&self, taken: u64, failed: u64, unheard: u64) -> String {
        let (events, refused) = (self.events(), self.refused);
        let took = self.started.elapsed();
        let lines = if events == 1 { "line" } else { "lines" };
        let mut text = format!("{events} {lines}: {taken} sent, {refused} refused, {failed} not confirmed");
        if unheard > 0 {
            text.push_str(&format!(", {unheard} with nobody listening"));
        }
        text.push_str(&format!("; {:.1} s, {} a second", took.as_secs_f64(), rate(events, took)));
        text
    }

    /// Lines that are not empty.
    fn events(&self) -> u64 {
        self.lines - self.blank
    }

    /// Says how far it got, to stand behind what ended it.
    pub(crate) fn so_far(&self) -> String {
        match self.lines {
            0 => "before the first line".to_owned(),
            lines => format!("behind line {lines}"),
        }
    }
}

fn rate(lines: u64, took: Duration) -> u64 {
    (lines as f64 / took.as_secs_f64().max(0.001)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_what_could_be_sent() {
        let mut report = Report::new(true, None);
        assert_eq!(report.so_far(), "before the first line");
        (report.lines, report.blank) = (3, 2);
        assert_eq!(report.so_far(), "behind line 3");
        assert!(report.summary(1, 0, 0).starts_with("1 line: 1 sent, 0 refused, 0 not confirmed; "));
        (report.lines, report.refused) = (5, 1);
        let summary = report.summary(1, 1, 1);
        let expected = "3 lines: 1 sent, 1 refused, 1 not confirmed, 1 with nobody listening; ";
        assert!(summary.starts_with(expected), "{summary}");
    }
}
