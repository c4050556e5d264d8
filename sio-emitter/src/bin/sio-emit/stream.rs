//! Many events, one a line.
//!
//! Lines are read, made into messages and queued; the queue is bounded, and a line waits for room in it. A line that
//! cannot be sent is named and passed over. At the end everything is flushed, whatever the end was.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

use sio_emitter::{EmitError, Emitter};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::Receiver;

use crate::args::{Delivery, Options, Target};
use crate::input::{self, Block};
use crate::lines::Line;
use crate::report::{Report, complain};
use crate::values::Spread;
use crate::{Exit, aim, ends_all};

/// Sends what the standard input says.
pub(crate) async fn run(emitter: &Emitter, target: &Target, options: &Options) -> Exit {
    let started = Signals::new().and_then(|signals| {
        let stdin = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let length =
            stdin.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
        Ok((signals, input::start(stdin, options.max_line)?, length))
    });
    let (mut signals, input, length) = match started {
        Ok(started) => started,
        Err(error) => {
            complain(&format!("the input cannot be read: {error}"));
            return Exit::Unreadable;
        }
    };
    let mut sender = Sender {
        emitter,
        namespace: emitter.of(&target.nsp),
        target,
        options,
        report: Report::new(target.quiet, length),
    };
    let mut exit = tokio::select! {
        exit = sender.send_all(input) => exit,
        number = signals.next() => Exit::Signal(number),
    };
    let report = sender.report;
    report.finish();
    let flushed = tokio::select! {
        flushed = emitter.close() => flushed.map_err(|error| error.to_string()),
        // Whoever interrupts twice does not want to wait.
        number = signals.next() => {
            exit = Exit::Signal(number);
            Ok(())
        }
    };
    let stats = emitter.stats();
    if let Err(error) = flushed {
        complain(&error);
        exit = Exit::NotSent;
    }
    let unconfirmed = stats.emitted - stats.taken;
    if unconfirmed > 0 {
        exit = Exit::NotSent;
    }
    if !target.quiet {
        complain(&report.summary(stats.taken, unconfirmed, stats.unheard.unwrap_or(0)));
    }
    exit
}

struct Sender<'a> {
    emitter: &'a Emitter,
    /// The namespace of the last line: most files have one.
    namespace: Emitter,
    target: &'a Target,
    options: &'a Options,
    report: Report,
}

impl Sender<'_> {
    async fn send_all(&mut self, mut input: Receiver<Block>) -> Exit {
        while let Some(block) = input.recv().await {
            let bytes = match block {
                Block::Lines(bytes) => bytes,
                Block::TooLong => {
                    self.report.lines += 1;
                    if let Some(exit) = self.refuse(&self.too_long()) {
                        return exit;
                    }
                    continue;
                }
                Block::Failed(error) => {
                    complain(&format!("the input cannot be read {}: {error}", self.report.so_far()));
                    return Exit::Unreadable;
                }
            };
            for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                self.report.lines += 1;
                let line = line.trim_ascii();
                if line.is_empty() {
                    self.report.blank += 1;
                    continue;
                }
                if let Some(exit) = self.send(line).await {
                    return exit;
                }
            }
            self.report.advance(bytes.len());
        }
        if self.report.refused > 0 { Exit::Refused } else { Exit::Done }
    }

    /// Sends one line. Gives how it ends if it ends here.
    async fn send(&mut self, line: &[u8]) -> Option<Exit> {
        if line.len() > self.options.max_line {
            return self.refuse(&self.too_long());
        }
        let line = match Line::read(line, self.options.binary) {
            Ok(line) => line,
            Err(problem) => return self.refuse(&problem),
        };
        match self.emit(&line).await {
            Ok(()) => None,
            Err(error) if ends_all(&error) => {
                self.report.lines -= 1;
                self.report.finish();
                complain(&format!("stopped {}: {error}", self.report.so_far()));
                Some(Exit::NotSent)
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    async fn emit(&mut self, line: &Line) -> Result<(), EmitError> {
        let path = line.nsp.as_deref().unwrap_or(&self.target.nsp);
        if self.namespace.path() != path {
            self.namespace = self.emitter.of(path);
        }
        let to = line.to.as_ref().map_or(&self.target.to[..], |rooms| rooms.as_slice());
        let except = line.except.as_ref().map_or(&self.target.except[..], |rooms| rooms.as_slice());
        let delivery = Delivery {
            volatile: line.volatile.unwrap_or(self.options.delivery.volatile),
            compress: line.compress.or(self.options.delivery.compress),
        };
        aim(&self.namespace, to, except, &delivery).emit(&line.event, &Spread(&line.args)).await
    }

    fn refuse(&mut self, reason: &str) -> Option<Exit> {
        self.report.refuse(reason);
        self.options.strict.then_some(Exit::Refused)
    }

    fn too_long(&self) -> String {
        format!("longer than {} bytes", self.options.max_line)
    }
}

/// The signals that end it, in order.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}
