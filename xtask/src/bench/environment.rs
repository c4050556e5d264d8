//! The machine and the programs that take part, for the record.

use std::{fs, process::Command, time::SystemTime};

use super::{
    peers::{Peer, first_line},
    results::{Environment, Version},
    statistics::date,
};

/// Looks around before anything is measured.
pub(crate) fn environment(command: String, peers: &[Peer]) -> Environment {
    let line = |path: &str, key: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned()
    };
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let version = |peer: &Peer| Version { peer: *peer, text: peer.versions() };
    Environment {
        date: date(seconds),
        command,
        cpu: line("/proc/cpuinfo", "model name").split(": ").nth(1).unwrap_or_default().to_owned(),
        cores: cores(&line("/sys/devices/system/cpu/online", "")),
        kernel: line("/proc/sys/kernel/osrelease", ""),
        rustc: first_line(Command::new("rustc").arg("--version")),
        load_average: line("/proc/loadavg", ""),
        versions: peers.iter().map(version).collect(),
    }
}

/// Counts a list such as `0-3,8`: this process itself is tied to one core and is told of no other.
fn cores(list: &str) -> usize {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        (last + 1).checked_sub(first)
    };
    list.trim().split(',').filter_map(count).sum()
}

/// How many files this process may open, and how many it may ask for.
pub(crate) fn open_files() -> Option<(u64, u64)> {
    parse_open_files(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse_open_files(limits: &str) -> Option<(u64, u64)> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut numbers = line.split_whitespace();
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_counted_from_ranges() {
        assert_eq!(cores("0-1\n"), 2);
        assert_eq!(cores("0,2-4"), 4);
        assert_eq!(cores(""), 0);
    }

    #[test]
    fn limits_are_read_from_their_line() {
        let text = "Limit   Soft   Hard   Units\nMax processes  9 9 processes\nMax open files            1024                 4096                 files\n";
        assert_eq!(parse_open_files(text), Some((1024, 4096)));
        assert_eq!(parse_open_files("Max open files unlimited unlimited files"), None);
    }
}
