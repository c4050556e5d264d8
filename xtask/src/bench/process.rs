//! What the kernel says of a process and its children: CPU time and resident memory.
//!
//! Reads `/proc`, nothing else. Linux only.

use std::{collections::HashSet, fs, io, path::Path, time::Duration};

/// The unit of the times in `/proc/PID/stat`: 100 a second on every Linux that can be met today.
const TICK: Duration = Duration::from_millis(10);

/// A server under test, or this process itself.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    ids: Vec<u32>,
}

/// CPU time used since the process began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    /// User and kernel time, to the nanosecond.
    pub(crate) total: Duration,
    /// User time, in steps of 10 ms.
    pub(crate) user: Duration,
}

impl CpuTime {
    /// What was used since an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self { total: self.total.saturating_sub(earlier.total), user: self.user.saturating_sub(earlier.user) }
    }
}

impl Process {
    /// Takes `id` and its descendants of this moment.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub(crate) fn with_descendants(id: u32) -> io::Result<Self> {
        let mut parents = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(child) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // A process that ended since the directory was read is none of ours.
            if let Ok(stat) = Stat::read(child) {
                parents.push((child, stat.parent));
            }
        }
        let mut ids = vec![id];
        let mut at = 0;
        while at < ids.len() {
            ids.extend(
                parents
                    .iter()
                    .filter(|(_, parent)| *parent == ids[at])
                    .map(|(child, _)| *child)
                    .collect::<HashSet<_>>(),
            );
            at += 1;
        }
        Ok(Self { ids })
    }

    /// Takes one process alone.
    pub(crate) fn with_id(id: u32) -> Self {
        Self { ids: vec![id] }
    }

    /// Takes this process.
    pub(crate) fn this() -> Self {
        Self::with_id(std::process::id())
    }

    /// Takes two servers as one.
    pub(crate) fn of_both(one: &Self, other: &Self) -> Self {
        Self { ids: [&one.ids[..], &other.ids].concat() }
    }

    /// The CPU time of all threads that are alive.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(crate) fn cpu_time(&self) -> io::Result<CpuTime> {
        let mut time = CpuTime::default();
        for &id in &self.ids {
            let stat = Stat::read(id)?;
            time.user += stat.user;
            time.total += precise_time(id).unwrap_or(stat.user + stat.system);
        }
        Ok(time)
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    ///
    /// If a process is gone.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let mut total = 0;
        for &id in &self.ids {
            // The page tables are walked for this one; VmRSS lags behind by up to 64 pages a core.
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))
                .or_else(|_| fs::read_to_string(format!("/proc/{id}/status")))?;
            let line = text.lines().find(|line| line.starts_with("Rss:") || line.starts_with("VmRSS:"));
            let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
            total += kilobytes
                .ok_or_else(|| io::Error::other(format!("no resident size for process {id}")))?
                * 1024;
        }
        Ok(total)
    }
}

/// The sum over threads of the scheduler's own account, where the kernel keeps one.
fn precise_time(id: u32) -> Option<Duration> {
    let mut total = 0;
    for task in fs::read_dir(Path::new("/proc").join(id.to_string()).join("task")).ok()? {
        // A thread that ends in between takes its account with it.
        let Ok(text) = fs::read_to_string(task.ok()?.path().join("schedstat")) else { continue };
        total += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (total > 0).then(|| Duration::from_nanos(total))
}

/// The time for which the first two cores have been busy since the machine started, in steps of 10 ms; what a
/// hypervisor took away counts as busy.
///
/// # Errors
///
/// If `/proc` cannot be read.
pub(crate) fn machine_busy() -> io::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    parse_busy(&text).ok_or_else(|| io::Error::other("cannot read /proc/stat"))
}

fn parse_busy(text: &str) -> Option<Duration> {
    let mut busy = 0;
    for line in text.lines().filter(|line| line.starts_with("cpu0 ") || line.starts_with("cpu1 ")) {
        let fields: Vec<u32> =
            line.split_whitespace().skip(1).map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, _idle, _disk, interrupts, soft_interrupts, stolen, ..] = fields[..] else {
            return None;
        };
        busy += user + nice + system + interrupts + soft_interrupts + stolen;
    }
    Some(TICK * busy)
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, PartialEq)]
struct Stat {
    parent: u32,
    user: Duration,
    system: Duration,
}

impl Stat {
    fn read(id: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
        Self::parse(&text).ok_or_else(|| io::Error::other(format!("cannot read the state of process {id}")))
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is the command in parentheses and may hold anything, spaces and parentheses too.
        let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
        let ticks = |index: usize| Some(TICK * fields.get(index)?.parse::<u32>().ok()?);
        Some(Self { parent: fields.get(1)?.parse().ok()?, user: ticks(11)?, system: ticks(12)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_with_spaces_does_not_shift_the_fields() {
        let stat = Stat::parse("7 (a ) b) S 3 7 7 0 -1 4194560 1 2 3 4 150 20 0 0 20 0 1 0 1 2").unwrap();
        let expected =
            Stat { parent: 3, user: Duration::from_millis(1500), system: Duration::from_millis(200) };
        assert_eq!(stat, expected);
    }

    #[test]
    fn idle_and_disk_time_are_not_busy() {
        let text =
            "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 400 50 6 7 8 0 0\ncpu1 1 0 0 9 9 0 0 0 0 0\ncpu2 5\n";
        assert_eq!(parse_busy(text), Some(Duration::from_millis(280)));
    }

    #[test]
    fn this_process_has_memory_and_time() {
        let this = Process::with_descendants(std::process::id()).unwrap();
        assert!(this.resident().unwrap() > 100_000);
        assert!(this.cpu_time().unwrap().total > Duration::ZERO);
    }
}
