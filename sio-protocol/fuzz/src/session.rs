//! The life of a session, under any sequence of events and with virtual time.
//!
//! Beside the session runs a list of facts: when it began to wait, when it pinged, when a candidate came. From
//! them, and from nothing else, the verdict on every event and the next deadline follow. On top of that: once
//! closed, nothing brings a session back; what is due comes at its time, in a bounded number of steps; a client
//! that stays silent is closed.

use std::borrow::Cow;

use sio_protocol::engineio::session::{
    CandidateId, CandidateRefused, CloseReason, Due, Reaction, Session, Timing, Transport,
};
use sio_protocol::engineio::{Data, Packet, PacketKind, Revision};

/// Takes the first byte as the set-up, and then two bytes for each event.
pub fn check(input: &[u8]) {
    let Some((&setup, events)) = input.split_first() else { return };
    let mut run = Run::new(setup);
    for pair in events.chunks_exact(2) {
        run.event(Event::from_bytes([pair[0], pair[1]]));
    }
    run.fall_silent();
}

/// Something that happens to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A packet arrives. The number chooses its data: none, `probe`, other text, the bytes of `probe`.
    Packet(Transport, PacketKind, u8),
    /// A message arrives, and the driver knows that it is one.
    Message,
    /// A WebSocket arrives with the id of the session.
    Candidate,
    /// That WebSocket goes away.
    CandidateLost,
    /// So many milliseconds pass, and the driver looks what is due.
    Pass(u8),
    /// The same, but other things happen before the driver looks.
    PassUnseen(u8),
    /// Time passes to so many milliseconds before the deadline, which is when nothing is due yet.
    ApproachDeadline(u8),
    /// Time passes to so many milliseconds after the deadline.
    ReachDeadline(u8),
    /// The server closes the session.
    Close,
}

impl Event {
    /// Reads an event; all bytes are one.
    pub fn from_bytes([kind, argument]: [u8; 2]) -> Self {
        let packet = PacketKind::from_number(argument % 7).unwrap_or(PacketKind::Noop);
        match kind % 10 {
            0 => Self::Packet(Transport::Polling, packet, argument / 7 % 4),
            1 => Self::Packet(Transport::WebSocket, packet, argument / 7 % 4),
            2 => Self::Message,
            3 => Self::Candidate,
            4 => Self::CandidateLost,
            5 => Self::Pass(argument),
            6 => Self::PassUnseen(argument),
            7 => Self::ApproachDeadline(argument),
            8 => Self::ReachDeadline(argument),
            _ => Self::Close,
        }
    }

    /// Writes an event so that it is read again.
    pub fn to_bytes(self) -> [u8; 2] {
        match self {
            Self::Packet(origin, kind, data) => {
                [u8::from(origin == Transport::WebSocket), kind as u8 + 7 * data]
            }
            Self::Message => [2, 0],
            Self::Candidate => [3, 0],
            Self::CandidateLost => [4, 0],
            Self::Pass(time) => [5, time],
            Self::PassUnseen(time) => [6, time],
            Self::ApproachDeadline(before) => [7, before],
            Self::ReachDeadline(after) => [8, after],
            Self::Close => [9, 0],
        }
    }
}

/// Writes the first byte of an input. `timing` is the index of one of several timings.
pub fn setup(revision: Revision, transport: Transport, timing: u8) -> u8 {
    u8::from(revision == Revision::V4) | u8::from(transport == Transport::WebSocket) << 1 | timing << 2
}

/// A session, and what is known about it.
struct Run {
    session: Session,
    timing: Timing,
    now: u64,
    revision: Revision,
    transport: Transport,
    closed: bool,
    /// When the current wait for a heartbeat began.
    reset: u64,
    /// When the ping was sent that is not answered.
    pinged: Option<u64>,
    /// When, after that, the first other packet arrived.
    extended: Option<u64>,
    candidate: Option<Candidate>,
    /// The last candidate, and the one before it.
    id: Option<CandidateId>,
    stale_id: Option<CandidateId>,
}

struct Candidate {
    came: u64,
    /// When its probe was answered, or a noop was due after that.
    answered: Option<u64>,
}

impl Run {
    fn new(setup: u8) -> Self {
        let revision = if setup & 1 == 0 { Revision::V3 } else { Revision::V4 };
        let transport = if setup & 2 == 0 { Transport::Polling } else { Transport::WebSocket };
        let timing = TIMINGS.get(usize::from(setup >> 2 & 7)).map_or_else(Timing::default, timing);
        let now = if setup & 0x80 == 0 { 0 } else { 1 << 41 };
        let session = Session::open(revision, transport, &timing, now);
        let run = Self {
            session,
            timing,
            now,
            revision,
            transport,
            closed: false,
            reset: now,
            pinged: None,
            extended: None,
            candidate: None,
            id: None,
            stale_id: None,
        };
        run.check_state();
        run
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Packet(origin, kind, data) => self.packet(origin, kind, data),
            Event::Message => {
                self.session.handle_message(&self.timing, self.now);
                self.sign_of_life();
            }
            Event::Candidate => self.candidate(),
            Event::CandidateLost => {
                // One that is over has no say any more.
                if let Some(stale) = self.stale_id {
                    self.session.handle_candidate_lost(stale);
                    self.check_state();
                }
                if let Some(id) = self.id {
                    self.session.handle_candidate_lost(id);
                }
                self.candidate = None;
            }
            Event::Pass(time) => {
                self.pass(milliseconds(time));
                self.take_what_is_due();
            }
            Event::PassUnseen(time) => self.pass(milliseconds(time)),
            Event::ApproachDeadline(before) => {
                if let Some(deadline) = self.session.deadline() {
                    let until = deadline.saturating_sub(1 + u64::from(before));
                    self.pass(until.saturating_sub(self.now));
                    self.take_what_is_due();
                }
            }
            Event::ReachDeadline(after) => {
                if let Some(deadline) = self.session.deadline() {
                    let until = deadline.saturating_add(u64::from(after));
                    self.pass(until.saturating_sub(self.now));
                    self.take_what_is_due();
                }
            }
            Event::Close => {
                self.session.close();
                self.closed = true;
            }
        }
        self.check_state();
    }

    fn pass(&mut self, time: u64) {
        // Times that no clock shows: half a billion years.
        self.now = self.now.saturating_add(time).min(1 << 62);
    }

    fn packet(&mut self, origin: Transport, kind: PacketKind, data: u8) {
        let data = match data {
            0 => Data::Text(Cow::Borrowed("")),
            1 => Data::Text(Cow::Borrowed("probe")),
            2 => Data::Text(Cow::Borrowed("probe ")),
            _ => Data::Binary(Cow::Borrowed(b"probe")),
        };
        let packet = Packet { kind, data };
        let before = self.session.deadline();
        let reaction = self.session.handle_packet(&self.timing, self.now, origin, &packet);
        let expected = self.expected_reaction(origin, &packet);
        assert_eq!(reaction, expected, "to {packet:?} over {origin:?}");
        if matches!(reaction, Reaction::Deliver) {
            assert!(self.session.deadline() >= before, "a message brings the end nearer");
        }
    }

    /// Says what a packet means, and notes what follows from it.
    fn expected_reaction(&mut self, origin: Transport, packet: &Packet<'_>) -> Reaction {
        if origin == Transport::WebSocket && self.transport == Transport::Polling {
            return self.expected_reaction_to_candidate(packet);
        }
        if self.closed {
            return Reaction::Ignore;
        }
        match (packet.kind, self.revision) {
            (PacketKind::Ping, Revision::V3) => {
                self.heartbeat();
                Reaction::Pong
            }
            (PacketKind::Pong, Revision::V4) => {
                self.heartbeat();
                Reaction::Ignore
            }
            (PacketKind::Ping | PacketKind::Pong, _) => {
                self.closed = true;
                Reaction::Close(CloseReason::TransportError)
            }
            (PacketKind::Close, _) => {
                self.closed = true;
                Reaction::Close(CloseReason::TransportClose)
            }
            (kind, _) => {
                self.sign_of_life();
                if kind == PacketKind::Message { Reaction::Deliver } else { Reaction::Ignore }
            }
        }
    }

    fn expected_reaction_to_candidate(&mut self, packet: &Packet<'_>) -> Reaction {
        let is_probe = packet.kind == PacketKind::Ping && packet.data == Data::Text(Cow::Borrowed("probe"));
        match &mut self.candidate {
            Some(candidate) if !self.closed && candidate.answered.is_none() && is_probe => {
                candidate.answered = Some(self.now);
                Reaction::AnswerProbe
            }
            Some(candidate)
                if !self.closed && candidate.answered.is_some() && packet.kind == PacketKind::Upgrade =>
            {
                self.candidate = None;
                self.transport = Transport::WebSocket;
                if self.revision == Revision::V3 || self.pinged.is_some() {
                    self.heartbeat();
                }
                Reaction::Upgraded
            }
            _ => {
                self.candidate = None;
                Reaction::CloseCandidate
            }
        }
    }

    fn candidate(&mut self) {
        let result = self.session.handle_candidate(&self.timing, self.now);
        let expected = if self.closed {
            Err(CandidateRefused::SessionClosed)
        } else if self.transport == Transport::WebSocket {
            Err(CandidateRefused::AlreadyUpgraded)
        } else if self.candidate.is_some() {
            Err(CandidateRefused::AlreadyProbing)
        } else {
            self.candidate = Some(Candidate { came: self.now, answered: None });
            Ok(())
        };
        assert_eq!(result.map(drop), expected);
        if let Ok(id) = result {
            assert!(self.session.is_candidate(id));
            self.stale_id = self.id.replace(id);
        }
    }

    fn heartbeat(&mut self) {
        self.reset = self.now;
        self.pinged = None;
        self.extended = None;
    }

    fn sign_of_life(&mut self) {
        if self.pinged.is_some() && self.extended.is_none() {
            self.extended = Some(self.now);
        }
    }

    fn take_what_is_due(&mut self) {
        // A candidate, a ping, and, if pings need not wait for an answer, the end.
        for _ in 0..=3 {
            let before = self.session.deadline();
            let Some(due) = self.session.handle_timeout(&self.timing, self.now) else {
                assert_eq!(self.session.deadline(), before, "nothing was due");
                assert!(before.is_none_or(|deadline| deadline > self.now), "something is still due");
                return;
            };
            assert!(before.is_some_and(|deadline| deadline <= self.now), "{due:?} came too early");
            match due {
                Due::Ping => {
                    assert!(self.revision == Revision::V4 && self.pinged.is_none());
                    assert!(self.heartbeat_deadline() <= self.now);
                    self.pinged = Some(self.now);
                }
                Due::Noop => {
                    let candidate = self.candidate.as_mut().expect("a noop is for a candidate");
                    let last = candidate.answered.expect("a noop is for a candidate with a probe");
                    assert!(self.now >= last + 100);
                    candidate.answered = Some(self.now);
                }
                Due::CandidateExpired => {
                    let candidate = self.candidate.take().expect("only a candidate expires");
                    assert!(self.now >= candidate.came.saturating_add(self.timing.upgrade_timeout));
                }
                Due::Close(reason) => {
                    assert_eq!(reason, CloseReason::PingTimeout);
                    assert!(self.revision == Revision::V3 || self.pinged.is_some());
                    assert!(self.heartbeat_deadline() <= self.now);
                    self.closed = true;
                }
            }
            self.check_state();
        }
        panic!("there is no end to what is due");
    }

    fn heartbeat_deadline(&self) -> u64 {
        let Timing { ping_interval, ping_timeout, .. } = self.timing;
        match (self.revision, self.pinged) {
            (Revision::V3, _) => self.reset.saturating_add(ping_interval).saturating_add(ping_timeout),
            (Revision::V4, None) => self.reset.saturating_add(ping_interval),
            (Revision::V4, Some(pinged)) => self.extended.unwrap_or(pinged).saturating_add(ping_timeout),
        }
    }

    fn check_state(&self) {
        let candidate = self.candidate.as_ref().filter(|_| !self.closed);
        let expires = candidate.map(|candidate| candidate.came.saturating_add(self.timing.upgrade_timeout));
        let noop = candidate.and_then(|candidate| candidate.answered).map(|last| last.saturating_add(100));
        let heartbeat = Some(self.heartbeat_deadline()).filter(|_| !self.closed);
        let deadline = [heartbeat, expires, noop].into_iter().flatten().min();
        assert_eq!(self.session.deadline(), deadline);
        assert_eq!(self.session.is_closed(), self.closed);
        assert_eq!(self.session.is_probing(), candidate.is_some());
        assert_eq!(self.session.transport(), self.transport);
        assert_eq!(self.session.revision(), self.revision);
    }

    /// Lets nothing happen any more, which closes the session. With a timing that never ends it does not: a
    /// candidate may then be sent noops for ever.
    fn fall_silent(&mut self) {
        self.take_what_is_due();
        if self.timing.ping_interval == u64::MAX {
            return;
        }
        for _ in 0..STEPS_TO_THE_END {
            match self.session.deadline() {
                None => {
                    assert!(self.closed);
                    return;
                }
                Some(deadline) => {
                    assert!(deadline > self.now);
                    self.pass(deadline - self.now);
                    self.take_what_is_due();
                }
            }
        }
        panic!("a silent session does not end");
    }
}

/// Spreads a byte over times from nothing to a minute.
fn milliseconds(time: u8) -> u64 {
    match time {
        0..=99 => time.into(),
        100..=199 => 100 * u64::from(time - 99),
        200.. => 1_000 * u64::from(time - 196),
    }
}

fn timing(&(ping_interval, ping_timeout, upgrade_timeout): &(u64, u64, u64)) -> Timing {
    Timing { ping_interval, ping_timeout, upgrade_timeout }
}

/// Interval and timeout of pings and timeout of upgrades; the index is part of the input. Others are the default.
const TIMINGS: [(u64, u64, u64); 6] = [
    (25_000, 20_000, 10_000),
    (300, 200, 1_000),
    (100, 1_000, 50),
    (1, 1, 250),
    (0, 0, 0),
    (u64::MAX, u64::MAX, u64::MAX),
];

/// A noop every 100 ms until the longest upgrade times out, and a little more.
const STEPS_TO_THE_END: usize = 110;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_they_were_written() {
        for kind in 0..10 {
            for argument in 0..=u8::MAX {
                let event = Event::from_bytes([kind, argument]);
                assert_eq!(Event::from_bytes(event.to_bytes()), event);
            }
        }
    }
}
