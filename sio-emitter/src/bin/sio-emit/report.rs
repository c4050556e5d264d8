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
    pub(crate) lines: u64,
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
            Some(_) => "{bar:30} {bytes} of {total_bytes}, {msg}, {eta} left",
            None => "{spinner} {bytes}, {msg}",
        };
        // The templates are known to be right; the style of the house would do as well.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now(), lines: 0, refused: 0 }
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
        let rate = rate(self.lines, self.started.elapsed());
        self.bar.set_message(format!("{} lines, {rate} a second, {} refused", self.lines, self.refused));
    }

    /// Ends the progress.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Says how it ended.
    pub(crate) fn summary(&self, taken: u64, failed: u64, unheard: u64) -> String {
        let Self { lines, refused, .. } = self;
        let took = self.started.elapsed();
        let mut text = format!("{lines} lines: {taken} sent, {refused} refused, {failed} not confirmed");
        if unheard > 0 {
            text.push_str(&format!(", {unheard} with nobody listening"));
        }
        text.push_str(&format!("; {:.1} s, {} a second", took.as_secs_f64(), rate(*lines, took)));
        text
    }
}

fn rate(lines: u64, took: Duration) -> u64 {
    (lines as f64 / took.as_secs_f64().max(0.001)) as u64
}
