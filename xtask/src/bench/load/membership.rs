//! Joining and leaving: what a room costs that others are already in.

use super::{OPENING, Pace, Result, Throughput, text};
use crate::bench::{
    clients::Clients,
    meter::{Meter, Phase},
    script::{self, Expected, Step},
    server::Server,
    wire::TEXT,
};

/// A few clients that join and leave a room in which many stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Membership {
    /// Members that stay.
    pub(crate) members: usize,
    /// Clients that come and go.
    pub(crate) movers: usize,
    /// Requests in flight of each of them.
    pub(crate) depth: usize,
}

const JOIN: &str = r#"420["join","room"]"#;
const LEAVE: &str = r#"420["leave","room"]"#;

/// Joins and leaves, counted by their acknowledgements.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn membership(plan: &Membership, server: &Server, pace: Pace) -> Result<Throughput> {
    let mut script = script::websocket();
    script.extend([Step::text(JOIN), Step::Expect(Expected::TextPrefix("430["))]);
    let mut clients = Clients::new(server.address, pace.waiting)?;
    clients.open(0..plan.members, OPENING, &script)?;
    // The others have left again, so that everybody's next request is to join.
    script.extend([Step::text(LEAVE), Step::Expect(Expected::TextPrefix("430["))]);
    let movers = plan.members..plan.members + plan.movers;
    clients.open(movers.clone(), OPENING, &script)?;

    let requests = Alternating::new(plan.depth);
    let mut joins_next = vec![true; plan.movers];
    let mut count = 0_u64;
    for index in movers.clone() {
        clients.send(index, requests.take(&mut joins_next[index - movers.start], plan.depth))?;
    }
    let mut meter = Meter::new(server.process(), pace);
    loop {
        clients.wait()?;
        clients.exchange(TEXT, |index, messages| {
            count += messages as u64;
            let joins_next = joins_next.get_mut(index.checked_sub(movers.start)?)?;
            Some(requests.take(joins_next, messages))
        })?;
        if let Phase::End(usage) = meter.tick(count, clients.idle())? {
            return Ok(Throughput { usage, p50: None, p99: None });
        }
    }
}

/// The bytes of requests that join and leave in turn.
struct Alternating {
    bytes: Vec<u8>,
    /// Where each request begins, and where the last one ends.
    bounds: Vec<usize>,
}

impl Alternating {
    /// Holds enough for `most` requests, whichever comes first.
    fn new(most: usize) -> Self {
        let mut requests = Self { bytes: Vec::new(), bounds: vec![0] };
        for number in 0..=most {
            requests.bytes.extend(text(if number % 2 == 0 { JOIN } else { LEAVE }));
            requests.bounds.push(requests.bytes.len());
        }
        requests
    }

    /// The next requests of one client. More than fit are not in flight, so there is nothing to cut off.
    fn take(&self, joins_next: &mut bool, count: usize) -> &[u8] {
        let first = usize::from(!*joins_next);
        let last = (first + count).min(self.bounds.len() - 1);
        *joins_next ^= count % 2 == 1;
        &self.bytes[self.bounds[first]..self.bounds[last]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_join_and_leave_in_turn() {
        let requests = Alternating::new(3);
        let (join, leave) = (text(JOIN), text(LEAVE));
        let mut joins_next = true;
        assert_eq!(requests.take(&mut joins_next, 3), [&join[..], &leave, &join].concat());
        assert_eq!(requests.take(&mut joins_next, 3), [&leave[..], &join, &leave].concat());
        assert_eq!(requests.take(&mut joins_next, 1), join);
        assert_eq!(requests.take(&mut joins_next, 2), [&leave[..], &join].concat());
    }
}
