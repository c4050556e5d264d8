//! Runs child processes: with progress, a time limit, a log, and a tail to show when one fails.
//!
//! Every child leads a process group of its own, so that a time-out or Ctrl-C ends its children too.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::workspace::{self, Error, Result};

/// Ends a step that hangs before it makes a whole run exceed half an hour.
pub(crate) const STEP_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Lines of a failing step that are printed; the log has all.
const TAIL: usize = 120;
const TICK: Duration = Duration::from_millis(100);
const SIGN_OF_LIFE: Duration = Duration::from_secs(60);
/// What a child gets to clean up between the polite signal and the last one.
const GRACE: Duration = Duration::from_secs(3);

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
static CHILDREN: AtomicUsize = AtomicUsize::new(0);

/// What became of a step.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) success: bool,
    pub(crate) elapsed: Duration,
    why: String,
    tail: VecDeque<String>,
    log: Option<PathBuf>,
}

impl Finished {
    /// Prints why the step failed: `details` if there are any, else the end of its output.
    pub(crate) fn explain(&self, label: &str, details: &[String]) {
        eprintln!("---- {label}: {}", self.why);
        if details.is_empty() {
            self.tail.iter().for_each(|line| eprintln!("{line}"));
        } else {
            details.iter().for_each(|line| eprintln!("{line}"));
        }
        if let Some(log) = &self.log {
            eprintln!("---- all of its output: {}", log.display());
        }
    }
}

/// Lets Ctrl-C and SIGTERM end the running child first; without one they end us at once.
pub(crate) fn catch_interrupts() {
    let caught = ctrlc::set_handler(|| {
        let again = INTERRUPTED.swap(true, Ordering::Relaxed);
        if again || CHILDREN.load(Ordering::Relaxed) == 0 {
            std::process::exit(130);
        }
    });
    if let Err(cause) = caught {
        eprintln!("warning: Ctrl-C may leave child processes behind: {cause}");
    }
}

/// Runs a step to its end, hiding its output unless it fails.
pub(crate) fn step(label: &str, command: &mut Command) -> Finished {
    step_with(label, command, STEP_LIMIT, &mut |_| {})
}

/// Runs a step and shows each line of its output to `on_line`.
pub(crate) fn step_with(
    label: &str,
    command: &mut Command,
    limit: Duration,
    on_line: &mut dyn FnMut(&str),
) -> Finished {
    let mut progress = Progress::start(label);
    let started = Instant::now();
    let log = log_file(label);
    let mut finished = Finished {
        success: false,
        elapsed: Duration::ZERO,
        why: String::new(),
        tail: VecDeque::new(),
        log: log.as_ref().map(|(path, _)| path.clone()),
    };
    let mut log = log.map(|(_, file)| file);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = Running::spawn(command).and_then(|mut running| {
        let lines = running.lines();
        running.wait(Some(limit), |wait| match lines.recv_timeout(wait) {
            Ok(line) => {
                if let Some(log) = &mut log {
                    // A log that cannot be written (disk full) must not turn a passing step into a failing one.
                    let _ = writeln!(log, "{line}");
                }
                on_line(&line);
                progress.line(&line);
                if finished.tail.len() == TAIL {
                    finished.tail.pop_front();
                }
                finished.tail.push_back(line);
                Heard::Line
            }
            Err(RecvTimeoutError::Timeout) => {
                progress.tick();
                Heard::Nothing
            }
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        })
    });
    match ended {
        Ok(Ended::Exited(status)) => {
            finished.success = status.success();
            finished.why = status.to_string();
        }
        Ok(Ended::TimedOut) => finished.why = format!("ended by us after {}", seconds(limit)),
        Err(cause) => finished.why = format!("cannot start `{}`: {cause}", command.get_program().display()),
    }
    finished.elapsed = started.elapsed();
    progress.finish(finished.success, finished.elapsed);
    finished
}

/// Runs a child on our own output, for as long as it likes.
///
/// With `on_line` its standard output comes to us first.
pub(crate) fn foreground(
    command: &mut Command,
    mut on_line: Option<&mut dyn FnMut(&str)>,
) -> std::io::Result<ExitStatus> {
    command.stdin(Stdio::null());
    if on_line.is_some() {
        command.stdout(Stdio::piped());
    }
    let mut running = Running::spawn(command)?;
    let lines = running.lines();
    let ended = running.wait(None, |wait| match lines.recv_timeout(wait) {
        Ok(line) => {
            on_line.iter_mut().for_each(|on_line| on_line(&line));
            Heard::Line
        }
        Err(RecvTimeoutError::Timeout) => Heard::Nothing,
        Err(RecvTimeoutError::Disconnected) => Heard::End,
    })?;
    match ended {
        Ended::Exited(status) => Ok(status),
        Ended::TimedOut => unreachable!("no limit was given"),
    }
}

/// Several children that belong together: when one ends, or Ctrl-C is pressed, all end.
pub(crate) struct Together {
    members: Vec<Running>,
    sender: Sender<(usize, String)>,
    heard: Receiver<(usize, String)>,
}

impl Together {
    pub(crate) fn new() -> Self {
        let (sender, heard) = mpsc::channel();
        Self { members: Vec::new(), sender, heard }
    }

    /// Starts one more. What it prints on standard output is for [`wait`](Self::wait).
    pub(crate) fn start(&mut self, command: &mut Command) -> std::io::Result<()> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut running = Running::spawn(command)?;
        let (index, lines, sender) = (self.members.len(), running.lines(), self.sender.clone());
        thread::spawn(move || lines.iter().try_for_each(|line| sender.send((index, line))));
        self.members.push(running);
        Ok(())
    }

    /// Passes on lines with the number of the child, from 0, until a child ends by itself. Gives
    /// that child.
    pub(crate) fn wait(
        &mut self,
        on_line: &mut dyn FnMut(usize, &str),
    ) -> std::io::Result<(usize, ExitStatus)> {
        loop {
            // Never disconnected: we hold a sender ourselves.
            if let Ok((index, line)) = self.heard.recv_timeout(TICK) {
                on_line(index, &line);
            }
            if INTERRUPTED.load(Ordering::Relaxed) {
                // The last started depend on the first.
                self.members.iter_mut().rev().for_each(|running| running.end(Some("INT")));
                std::process::exit(130);
            }
            for (index, running) in self.members.iter_mut().enumerate() {
                if let Some(status) = running.child.try_wait()? {
                    running.ended = true;
                    CHILDREN.fetch_sub(1, Ordering::Relaxed);
                    while let Ok((index, line)) = self.heard.recv_timeout(TICK) {
                        on_line(index, &line);
                    }
                    return Ok((index, status));
                }
            }
        }
    }
}

/// Runs a short command and gives its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output =
        command.stdin(Stdio::null()).output().map_err(|cause| Error::while_doing(&program, cause))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::while_doing(format!("{program} ended with {}", output.status), said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

pub(crate) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        all => format!("{} min {:02} s", all / 60, all % 60),
    }
}

enum Ended {
    Exited(ExitStatus),
    TimedOut,
}

enum Heard {
    Line,
    Nothing,
    End,
}

/// A child that is ended, with its whole group, when this is dropped.
struct Running {
    child: Child,
    ended: bool,
}

impl Running {
    fn spawn(command: &mut Command) -> std::io::Result<Self> {
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(command, 0);
        let child = command.spawn()?;
        CHILDREN.fetch_add(1, Ordering::Relaxed);
        Ok(Self { child, ended: false })
    }

    /// Gives the lines of whatever is piped, standard output and error mixed as they come.
    fn lines(&mut self) -> Receiver<String> {
        let (sender, receiver) = mpsc::channel();
        if let Some(stdout) = self.child.stdout.take() {
            forward_lines(stdout, sender.clone());
        }
        if let Some(stderr) = self.child.stderr.take() {
            forward_lines(stderr, sender);
        }
        receiver
    }

    /// Waits for the child's end; `hear` waits for output, at most as long as it is told.
    fn wait(
        &mut self,
        limit: Option<Duration>,
        mut hear: impl FnMut(Duration) -> Heard,
    ) -> std::io::Result<Ended> {
        let started = Instant::now();
        let mut silent = false;
        loop {
            if silent {
                thread::sleep(TICK);
            } else {
                silent = matches!(hear(TICK), Heard::End);
            }
            if INTERRUPTED.load(Ordering::Relaxed) {
                self.end(Some("INT"));
                std::process::exit(130);
            }
            if let Some(status) = self.child.try_wait()? {
                self.ended = true;
                CHILDREN.fetch_sub(1, Ordering::Relaxed);
                // What it wrote last is still in the pipe. A daemon that it left behind may hold the pipe open
                // for ever, hence the silence of one tick as the other way out.
                while !silent && matches!(hear(TICK), Heard::Line) {}
                return Ok(Ended::Exited(status));
            }
            if limit.is_some_and(|limit| started.elapsed() > limit) {
                self.end(Some("TERM"));
                return Ok(Ended::TimedOut);
            }
        }
    }

    fn end(&mut self, polite: Option<&str>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if let Some(signal) = polite {
            self.signal_group(signal);
            let asked = Instant::now();
            while asked.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
                thread::sleep(TICK);
            }
        }
        self.signal_group("KILL");
        // Both fail only if the child is gone already, which is what they are for.
        let _ = self.child.kill();
        let _ = self.child.wait();
        CHILDREN.fetch_sub(1, Ordering::Relaxed);
    }

    fn signal_group(&self, signal: &str) {
        // The shell's own kill: the program of that name is missing on small systems, and the system call
        // would need `unsafe` or one more dependency.
        let _ = Command::new("sh")
            .arg("-c")
            .arg(format!("kill -s {signal} -- -{}", self.child.id()))
            .stderr(Stdio::null())
            .status();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(None);
    }
}

fn forward_lines(pipe: impl Read + Send + 'static, sender: Sender<String>) {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line);
            if sender.send(text.trim_end().to_owned()).is_err() {
                break;
            }
            line.clear();
        }
    });
}

fn log_file(label: &str) -> Option<(PathBuf, File)> {
    let directory = workspace::target().join("xtask-logs");
    fs::create_dir_all(&directory).ok()?;
    let name: String = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = directory.join(format!("{name}.log"));
    let file = File::create(&path).ok()?;
    Some((path, file))
}

/// Shows that a step is running: a spinner on a terminal, else plain lines.
pub(crate) struct Progress {
    label: String,
    spinner: Option<ProgressBar>,
    started: Instant,
    last_sign: Instant,
}

impl Progress {
    pub(crate) fn start(label: &str) -> Self {
        let now = Instant::now();
        let spinner = std::io::stderr().is_terminal().then(|| {
            let spinner = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}") {
                spinner.set_style(style);
            }
            spinner.set_prefix(label.to_owned());
            spinner.enable_steady_tick(TICK);
            spinner
        });
        if spinner.is_none() {
            eprintln!(".... {label}");
        }
        Self { label: label.into(), spinner, started: now, last_sign: now }
    }

    fn line(&mut self, line: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(line.trim().to_owned()),
            None => self.tick(),
        }
    }

    fn tick(&mut self) {
        if self.spinner.is_none() && self.last_sign.elapsed() >= SIGN_OF_LIFE {
            self.last_sign = Instant::now();
            eprintln!(".... {} (for {} now)", self.label, seconds(self.started.elapsed()));
        }
    }

    pub(crate) fn finish(self, success: bool, elapsed: Duration) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        let word = if success { "ok  " } else { "FAIL" };
        eprintln!("{word} {} ({})", self.label, seconds(elapsed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        command
    }

    #[test]
    fn every_line_is_heard_and_the_exit_status_kept() {
        let mut heard = Vec::new();
        let finished =
            step_with("test-lines", &mut shell("echo one; echo two >&2; exit 3"), STEP_LIMIT, &mut |line| {
                heard.push(line.to_owned());
            });
        heard.sort();
        assert_eq!(heard, ["one", "two"]);
        assert!(!finished.success);
        assert!(finished.why.contains('3'), "{}", finished.why);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let finished =
            step("test-tail", &mut shell("i=0; while [ $i -lt 500 ]; do echo $i; i=$((i+1)); done"));
        assert!(finished.success);
        assert_eq!(finished.tail.len(), TAIL);
        assert_eq!(finished.tail.back().map(String::as_str), Some("499"));
    }

    #[test]
    fn a_step_past_its_limit_is_ended() {
        // A grandchild that runs for ever: only ending the whole group ends it.
        let mut command = shell("tail -f /dev/null & wait");
        let finished = step_with("test-limit", &mut command, Duration::from_millis(1), &mut |_| {});
        assert!(!finished.success);
        assert!(finished.why.starts_with("ended by us"), "{}", finished.why);
    }

    #[test]
    fn when_one_of_several_ends_its_lines_are_heard_and_the_others_end_too() {
        let mut together = Together::new();
        together.start(&mut shell("echo first; tail -f /dev/null")).unwrap();
        together.start(&mut shell("echo second; exit 3")).unwrap();
        let first = together.members[0].child.id();
        let mut heard = Vec::new();
        let (index, status) = together.wait(&mut |index, line| heard.push((index, line.to_owned()))).unwrap();
        assert_eq!((index, status.code()), (1, Some(3)));
        assert!(heard.contains(&(1, "second".to_owned())), "{heard:?}");
        drop(together);
        let alive =
            Command::new("sh").arg("-c").arg(format!("kill -0 {first} 2>/dev/null")).status().unwrap();
        assert!(!alive.success(), "the first child still runs");
    }

    #[test]
    fn a_missing_program_is_named() {
        let finished = step("test-missing", &mut Command::new("no-such-program"));
        assert!(finished.why.contains("no-such-program"), "{}", finished.why);
    }
}
