//! What other nodes have asked the clients of this one, until the clients have answered or nobody waits any more.
//!
//! Pure data behind the lock of [`Core`](super::core::Core). Answers carry what they need to be sent; what is kept
//! here is only what it takes to end the asking in time.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// All open questions of other nodes.
#[derive(Debug)]
pub(super) struct Questions<S> {
    open: HashMap<u64, Open<S>>,
    deadlines: BTreeSet<(Instant, u64)>,
    next_key: u64,
    max_open: usize,
    is_closed: bool,
}

#[derive(Debug)]
struct Open<S> {
    deadline: Instant,
    /// `None` until the clients are asked.
    sink: Option<S>,
    /// How many clients have yet to answer, once they are asked.
    left: Option<usize>,
}

impl<S> Questions<S> {
    pub(super) fn new(max_open: usize) -> Self {
        Self { open: HashMap::new(), deadlines: BTreeSet::new(), next_key: 0, max_open, is_closed: false }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Notes a question; gives what it is called and whether it is the next to time out. `None` if there are too many.
    pub(super) fn open(&mut self, now: Instant, timeout: Duration) -> Option<(u64, bool)> {
        if self.is_closed || self.open.len() >= self.max_open {
            return None;
        }
        let key = self.next_key;
        self.next_key += 1;
        let deadline = now + timeout.min(LONGEST);
        let wake = self.next_deadline().is_none_or(|next| deadline < next);
        self.open.insert(key, Open { deadline, sink: None, left: None });
        self.deadlines.insert((deadline, key));
        Some((key, wake))
    }

    /// Keeps the sink of a question, or gives it back if everybody has answered by now.
    pub(super) fn keep(&mut self, key: u64, sink: S) -> Option<S> {
        match self.open.get_mut(&key) {
            Some(open) => {
                open.sink = Some(sink);
                None
            }
            None => Some(sink),
        }
    }

    /// Notes how many clients are asked. Gives a sink that is to be closed.
    pub(super) fn asked(&mut self, key: u64, clients: usize) -> Option<S> {
        let open = self.open.get_mut(&key)?;
        open.left = Some(clients);
        if clients == 0 { self.take(key) } else { None }
    }

    /// Notes that a client has answered. Gives a sink that is to be closed.
    pub(super) fn answered(&mut self, key: u64) -> Option<S> {
        let left = self.open.get_mut(&key)?.left.as_mut()?;
        *left = left.saturating_sub(1);
        if *left == 0 { self.take(key) } else { None }
    }

    /// Forgets what was awaited until now; gives the sinks that are to be closed.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<S> {
        let mut sinks = Vec::new();
        while let Some((deadline, key)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            sinks.extend(self.take(key));
        }
        sinks
    }

    /// Forgets everything and takes nothing new.
    pub(super) fn close(&mut self) -> Vec<S> {
        self.is_closed = true;
        self.deadlines.clear();
        std::mem::take(&mut self.open).into_values().filter_map(|open| open.sink).collect()
    }

    fn take(&mut self, key: u64) -> Option<S> {
        let open = self.open.remove(&key)?;
        self.deadlines.remove(&(open.deadline, key));
        open.sink
    }
}

/// Who asks for longer than a day has forgotten it by then.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
