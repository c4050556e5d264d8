//! The measured window: warms up, then takes the difference of all counters over a fixed time.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    clients::{Clients, Waiting},
    load::Pace,
    process::{CpuTime, Process, machine_busy},
};

/// How long to warm up and how long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) warm_up: Duration,
    pub(crate) window: Duration,
}

/// What a measured loop should do next.
#[derive(Debug)]
pub(crate) enum Phase {
    WarmUp,
    /// The window begins now: what was recorded so far does not count.
    Begin,
    Measure,
    End(Usage),
}

/// What happened in the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) elapsed: Duration,
    /// Messages, deliveries or connections: what the workload counts.
    pub(crate) count: u64,
    pub(crate) server: CpuTime,
    /// The share of the window in which the generator had something to do.
    pub(crate) generator: f64,
    /// The share of the window for which Redis had a core, where there is one.
    pub(crate) beside: f64,
    /// CPU time that went to other programs or to a hypervisor.
    pub(crate) others: Duration,
}

impl Usage {
    pub(crate) fn rate(&self) -> f64 {
        self.count as f64 / self.elapsed.as_secs_f64()
    }

    /// Server CPU time for each counted thing, in nanoseconds.
    pub(crate) fn server_each(&self) -> f64 {
        self.server.total.as_nanos() as f64 / self.count.max(1) as f64
    }

    /// The part of it that was spent in user space, in nanoseconds.
    pub(crate) fn user_each(&self) -> f64 {
        self.server.user.as_nanos() as f64 / self.count.max(1) as f64
    }

    /// CPU time of others as a share of the window. Both cores are needed here: above a few per cent the rate
    /// says little, while CPU time for each message still holds.
    pub(crate) fn disturbed(&self) -> f64 {
        self.others.as_secs_f64() / self.elapsed.as_secs_f64()
    }

    /// The share of the window in which the server had a core.
    pub(crate) fn server_busy(&self) -> f64 {
        self.server.total.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

/// Watches the clock for a measured loop.
#[derive(Debug)]
pub(crate) struct Meter<'a> {
    server: &'a Process,
    beside: Option<&'a Process>,
    generator: Process,
    waiting: Waiting,
    timing: Timing,
    begin: Instant,
    snapshot: Option<Snapshot>,
}

#[derive(Clone, Copy, Debug)]
struct Snapshot {
    at: Instant,
    count: u64,
    server: CpuTime,
    beside: CpuTime,
    generator: CpuTime,
    machine: Duration,
    idle: Duration,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(server: &'a Process, pace: Pace) -> Self {
        let Pace { timing, waiting } = pace;
        let generator = Process::this();
        Self { server, beside: None, generator, waiting, timing, begin: Instant::now(), snapshot: None }
    }

    /// Takes into account that another program has a part in it.
    pub(crate) fn beside(mut self, process: &'a Process) -> Self {
        self.beside = Some(process);
        self
    }

    /// Tells the phase after a turn of the loop, given the counters so far.
    ///
    /// # Errors
    ///
    /// If the server is gone.
    pub(crate) fn tick(&mut self, count: u64, idle: Duration) -> io::Result<Phase> {
        let now = Instant::now();
        let Some(start) = self.snapshot else {
            if now - self.begin < self.timing.warm_up {
                return Ok(Phase::WarmUp);
            }
            self.snapshot = Some(self.snapshot(count, idle)?);
            return Ok(Phase::Begin);
        };
        if now - start.at < self.timing.window {
            return Ok(Phase::Measure);
        }
        let end = self.snapshot(count, idle)?;
        let elapsed = end.at - start.at;
        let server = end.server.since(&start.server);
        let beside = end.beside.since(&start.beside);
        let generator = end.generator.since(&start.generator);
        let busy = match self.waiting {
            Waiting::Sleep | Waiting::Nap(_) => generator.total,
            Waiting::Spin => elapsed.saturating_sub(end.idle - start.idle),
        };
        Ok(Phase::End(Usage {
            elapsed,
            count: end.count - start.count,
            server,
            generator: busy.as_secs_f64() / elapsed.as_secs_f64(),
            beside: beside.total.as_secs_f64() / elapsed.as_secs_f64(),
            others: (end.machine - start.machine)
                .saturating_sub(server.total + generator.total + beside.total),
        }))
    }

    fn snapshot(&self, count: u64, idle: Duration) -> io::Result<Snapshot> {
        let server = self.server.cpu_time()?;
        let beside = self.beside.map_or(Ok(CpuTime::default()), Process::cpu_time)?;
        let generator = self.generator.cpu_time()?;
        Ok(Snapshot { at: Instant::now(), count, server, beside, generator, machine: machine_busy()?, idle })
    }
}

/// Waits until the resident size of a process no longer moves, and gives it.
///
/// # Errors
///
/// If the process is gone.
pub(crate) fn settled_memory(process: &Process, clients: &mut Clients, limit: Duration) -> io::Result<u64> {
    const STEP: Duration = Duration::from_millis(250);
    /// The size counts as settled after so many steps without a change of more than 0.5 %.
    const STEADY: u32 = 4;
    let begin = Instant::now();
    let mut last = process.resident()?;
    let mut steady = 0;
    while steady < STEADY && begin.elapsed() < limit {
        clients.idle_for(STEP)?;
        let now = process.resident()?;
        steady = if now.abs_diff(last) * 200 <= last { steady + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
