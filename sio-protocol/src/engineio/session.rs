//! The life of one Engine.IO session on the server: what a packet means now, what is due when, how it ends.
//!
//! Pure: takes packets and the time, gives verdicts and the next deadline; never sleeps, never reads a clock. States
//! and transitions are drawn at [`Session`]. Specification: engine.io-protocol v4, "Heartbeat" and "Upgrade";
//! engine.io-protocol v3 for the reversed heartbeat; Node's `engine.io` 6.6.10 and later for the rest.

use super::{Data, Malformed, Packet, PacketKind, Revision};

/// One session: its transport, its heartbeat, and the WebSocket that may be about to take over.
///
/// ```text
///                         handle_candidate            2probe                   5
///  open(Polling) ──> polling ────────> candidate waits ────> probed (noop every ──> websocket <── open(WebSocket)
///                       ^                    │               100 ms)  │                 │
///                       └────────────────────┴────────────────────────┘                 │
///                         any other packet, upgrade timeout, candidate lost             │
///                       └───────────────── close, wrong packet, no heartbeat ───────────┴──> closed
/// ```
///
/// Methods come in three families. `handle_*` take what happened: a packet, a candidate, the passing of time. Plain
/// verbs are commands: [`open`](Self::open), [`close`](Self::close). Nouns only look. After each `handle_*` ask for the
/// [`deadline`](Self::deadline), which may have moved; when it has passed, call
/// [`handle_timeout`](Self::handle_timeout) until it returns `None`.
///
/// All times are milliseconds since an epoch that the caller chooses, and must not run backwards. A caller that is
/// late, say because the machine slept, gets what is due once; nothing is made up for.
#[derive(Clone, Debug)]
pub struct Session {
    revision: Revision,
    /// The number of the last candidate.
    candidates: u32,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// The candidate is boxed: few sessions have one at a time, and every session would have room for it.
    Polling(Heartbeat, Option<Box<Candidate>>),
    WebSocket(Heartbeat),
    /// Keeps the last transport, for those who ask afterwards.
    Closed(Transport),
}

/// What the heartbeat waits for. The first two are of revision 4, the last is of revision 3.
#[derive(Clone, Copy, Debug)]
enum Heartbeat {
    /// Nothing until the next ping of ours.
    PingAt(u64),
    /// A pong. Another packet is a sign of life too and moves the deadline, but only once a ping.
    PongBy { deadline: u64, extended: bool },
    /// A ping of the client.
    PeerPingBy(u64),
}

/// The WebSocket that wants to replace polling.
#[derive(Clone, Copy, Debug)]
enum Candidate {
    /// It has not sent its probe yet.
    Waits { expires: u64 },
    /// Its probe was answered.
    Probed { expires: u64, noop_at: u64 },
}

impl Session {
    /// Opens a session. The caller sends the [`Handshake`](super::handshake::Handshake).
    pub fn open(revision: Revision, transport: Transport, timing: &Timing, now: u64) -> Self {
        let heartbeat = Heartbeat::start(revision, timing, now);
        let state = match transport {
            Transport::Polling => State::Polling(heartbeat, None),
            Transport::WebSocket => State::WebSocket(heartbeat),
        };
        Self { revision, candidates: 0, state }
    }

    /// Takes a packet that arrived over `origin`. A WebSocket while the session still polls is the candidate.
    ///
    /// A polling packet after the switch, out of a POST that was under way, counts like one over the WebSocket. On a
    /// closed session nothing has a meaning any more: the verdict is [`Reaction::Ignore`], for a late candidate
    /// [`Reaction::CloseCandidate`].
    pub fn handle_packet(
        &mut self,
        timing: &Timing,
        now: u64,
        origin: Transport,
        packet: &Packet<'_>,
    ) -> Reaction {
        if origin == Transport::WebSocket && self.transport() == Transport::Polling {
            return self.handle_candidate_packet(timing, now, packet);
        }
        let Some(heartbeat) = self.state.heartbeat_mut() else {
            return Reaction::Ignore;
        };
        match packet.kind {
            PacketKind::Message => {
                heartbeat.extend(timing, now);
                Reaction::Deliver
            }
            // "The server sends a ping, the client answers with a pong" (v4); the other way round in v3.
            PacketKind::Ping if self.revision == Revision::V3 => {
                *heartbeat = Heartbeat::start(self.revision, timing, now);
                Reaction::Pong
            }
            PacketKind::Pong if self.revision == Revision::V4 => {
                *heartbeat = Heartbeat::start(self.revision, timing, now);
                Reaction::Ignore
            }
            PacketKind::Ping | PacketKind::Pong => self.close_for(CloseReason::TransportError),
            // Over WebSocket Node ignores it and waits for the heartbeat to fail; the protocol asks for the end.
            PacketKind::Close => self.close_for(CloseReason::TransportClose),
            PacketKind::Open | PacketKind::Upgrade | PacketKind::Noop => {
                heartbeat.extend(timing, now);
                Reaction::Ignore
            }
        }
    }

    /// Takes note of a message over the session's transport, like [`handle_packet`](Self::handle_packet) whose verdict
    /// would be [`Reaction::Deliver`], for drivers that have seen the type already.
    #[inline]
    pub fn handle_message(&mut self, timing: &Timing, now: u64) {
        if let Some(heartbeat) = self.state.heartbeat_mut() {
            heartbeat.extend(timing, now);
        }
    }

    /// Takes note of a WebSocket that was opened with the id of this session. It has
    /// [`Timing::upgrade_timeout`] to complete the upgrade.
    ///
    /// A candidate may be over without its driver knowing yet: before a packet of it is handed in, and as long as it is
    /// not the transport, [`is_candidate`](Self::is_candidate) has to be asked.
    ///
    /// # Errors
    ///
    /// Returns why the WebSocket must be closed; the session goes on without it, and without noticing.
    pub fn handle_candidate(&mut self, timing: &Timing, now: u64) -> Result<CandidateId, CandidateRefused> {
        match &mut self.state {
            State::Polling(_, candidate @ None) => {
                let expires = now.saturating_add(timing.upgrade_timeout);
                *candidate = Some(Box::new(Candidate::Waits { expires }));
                self.candidates = self.candidates.wrapping_add(1);
                Ok(CandidateId(self.candidates))
            }
            State::Polling(..) => Err(CandidateRefused::AlreadyProbing),
            State::WebSocket(_) => Err(CandidateRefused::AlreadyUpgraded),
            State::Closed(_) => Err(CandidateRefused::SessionClosed),
        }
    }

    /// Takes note that a candidate went away. Polling goes on; another candidate may come, and if it has come already,
    /// nothing happens to it.
    pub fn handle_candidate_lost(&mut self, id: CandidateId) {
        if let State::Polling(_, candidate) = &mut self.state
            && self.candidates == id.0
        {
            *candidate = None;
        }
    }

    /// Takes note that the time is `now` and returns one thing that is due, or `None` if nothing is. To be called until
    /// then.
    pub fn handle_timeout(&mut self, timing: &Timing, now: u64) -> Option<Due> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        if let State::Polling(_, candidate) = &mut self.state {
            match candidate.as_deref_mut() {
                Some(Candidate::Waits { expires } | Candidate::Probed { expires, .. }) if *expires <= now => {
                    *candidate = None;
                    return Some(Due::CandidateExpired);
                }
                Some(Candidate::Probed { noop_at, .. }) if *noop_at <= now => {
                    *noop_at = now.saturating_add(NOOP_INTERVAL);
                    return Some(Due::Noop);
                }
                _ => {}
            }
        }
        // Something is due, and it is not the candidate's.
        match self.state.heartbeat_mut()? {
            heartbeat @ Heartbeat::PingAt(_) => {
                let deadline = now.saturating_add(timing.ping_timeout);
                *heartbeat = Heartbeat::PongBy { deadline, extended: false };
                Some(Due::Ping)
            }
            Heartbeat::PongBy { .. } | Heartbeat::PeerPingBy(_) => {
                self.close();
                Some(Due::Close(CloseReason::PingTimeout))
            }
        }
    }

    /// Closes the session. There is no deadline any more, and every packet is ignored.
    pub fn close(&mut self) {
        self.state = State::Closed(self.transport());
    }

    /// Returns when something will be due if nothing happens before, `None` once closed.
    pub fn deadline(&self) -> Option<u64> {
        match &self.state {
            State::Polling(heartbeat, candidate) => {
                let heartbeat = heartbeat.deadline();
                Some(candidate.as_ref().map_or(heartbeat, |candidate| candidate.deadline().min(heartbeat)))
            }
            State::WebSocket(heartbeat) => Some(heartbeat.deadline()),
            State::Closed(_) => None,
        }
    }

    /// Returns the protocol revision of the client.
    pub const fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the transport that carries the session, after its end the last one.
    pub const fn transport(&self) -> Transport {
        match self.state {
            State::Polling(..) => Transport::Polling,
            State::WebSocket(_) => Transport::WebSocket,
            State::Closed(last) => last,
        }
    }

    /// Tells whether there is a candidate, be it before or after its probe.
    pub const fn is_probing(&self) -> bool {
        matches!(self.state, State::Polling(_, Some(_)))
    }

    /// Tells whether it is this one that is the candidate.
    pub const fn is_candidate(&self, id: CandidateId) -> bool {
        self.is_probing() && self.candidates == id.0
    }

    /// Tells whether the session has ended.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    fn handle_candidate_packet(&mut self, timing: &Timing, now: u64, packet: &Packet<'_>) -> Reaction {
        let State::Polling(_, candidate) = &mut self.state else {
            return Reaction::CloseCandidate;
        };
        match (candidate.as_deref_mut(), packet.kind) {
            (Some(waiting @ &mut Candidate::Waits { expires }), PacketKind::Ping)
                if is_probe(&packet.data) =>
            {
                *waiting = Candidate::Probed { expires, noop_at: now.saturating_add(NOOP_INTERVAL) };
                Reaction::AnswerProbe
            }
            // A client need not wait for our answer to its probe, so nothing else is to be checked here.
            (Some(Candidate::Probed { .. }), PacketKind::Upgrade) => {
                // A pong that is under way may be lost with the old transport, so its deadline goes; the next ping
                // replaces it. Node waits for that pong without end, and stops watching clients of revision 3.
                self.state = match self.state {
                    State::Polling(waiting @ Heartbeat::PingAt(_), _) => State::WebSocket(waiting),
                    _ => State::WebSocket(Heartbeat::start(self.revision, timing, now)),
                };
                Reaction::Upgraded
            }
            _ => {
                *candidate = None;
                Reaction::CloseCandidate
            }
        }
    }

    fn close_for(&mut self, reason: CloseReason) -> Reaction {
        self.close();
        Reaction::Close(reason)
    }
}

impl State {
    #[inline]
    fn heartbeat_mut(&mut self) -> Option<&mut Heartbeat> {
        match self {
            Self::Polling(heartbeat, _) | Self::WebSocket(heartbeat) => Some(heartbeat),
            Self::Closed(_) => None,
        }
    }
}

impl Heartbeat {
    /// The state after the opening of a session and after every sign of life that the protocol asks for.
    fn start(revision: Revision, timing: &Timing, now: u64) -> Self {
        let interval_end = now.saturating_add(timing.ping_interval);
        match revision {
            Revision::V4 => Self::PingAt(interval_end),
            Revision::V3 => Self::PeerPingBy(interval_end.saturating_add(timing.ping_timeout)),
        }
    }

    /// Moves the deadline of a pong, once. A busy client on a slow line may have its pong queued behind megabytes.
    #[inline]
    fn extend(&mut self, timing: &Timing, now: u64) {
        if let Self::PongBy { extended: false, .. } = self {
            *self = Self::PongBy { deadline: now.saturating_add(timing.ping_timeout), extended: true };
        }
    }

    fn deadline(&self) -> u64 {
        match *self {
            Self::PingAt(at) | Self::PongBy { deadline: at, .. } | Self::PeerPingBy(at) => at,
        }
    }
}

impl Candidate {
    fn deadline(&self) -> u64 {
        match *self {
            Self::Waits { expires } => expires,
            Self::Probed { expires, noop_at } => expires.min(noop_at),
        }
    }
}

/// "The client sends a ping packet with the string probe in the payload."
fn is_probe(data: &Data<'_>) -> bool {
    matches!(data, Data::Text(text) if text == "probe")
}

/// The intervals of all sessions of a server. [`Default`] is Node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Milliseconds from the opening, or from a pong, to the next ping. Default: 25 000.
    pub ping_interval: u64,
    /// Milliseconds that the client has to answer a ping. Revision 3: what its pings may be late. Default: 20 000.
    pub ping_timeout: u64,
    /// Milliseconds that a WebSocket has to complete an upgrade. Default: 10 000.
    pub upgrade_timeout: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { ping_interval: 25_000, ping_timeout: 20_000, upgrade_timeout: 10_000 }
    }
}

/// What carries packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// Returns the name that the query parameter `transport` has.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// What the driver has to do about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Reaction {
    /// Nothing.
    Ignore,
    /// Hand the data to the layer above.
    Deliver,
    /// Send a pong without data over the session's transport.
    Pong,
    /// Send a pong with the data `probe` over the candidate. Messages still go through polling.
    AnswerProbe,
    /// The session is now carried by the candidate: send the queue there, answer a held GET with a close packet.
    Upgraded,
    /// Close the WebSocket on which the packet came, and nothing else; it is no candidate any more.
    CloseCandidate,
    /// The session has ended: tell the layer above why, close the transport, and the candidate if there is one. A held
    /// GET is answered with a noop packet if the client has closed ([`CloseReason::TransportClose`]), else with a close
    /// packet.
    Close(CloseReason),
}

/// What the passing of time has made due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Due {
    /// Send a ping over the session's transport.
    Ping,
    /// Answer a held GET, if there is one, with a noop packet, so that the client can stop polling.
    Noop,
    /// Close the candidate; it did not complete the upgrade in time. Polling goes on.
    CandidateExpired,
    /// The session has ended: tell the layer above why, close the transport, and the candidate if there is one.
    Close(CloseReason),
}

/// Tells the candidates of one session apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CandidateId(u32);

/// Why a WebSocket that names an existing session cannot become its candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CandidateRefused {
    /// Another WebSocket is in the middle of an upgrade.
    #[error("session has a probing websocket already")]
    AlreadyProbing,
    /// The session is carried by a WebSocket, from its opening or since an upgrade.
    #[error("session is on websocket already")]
    AlreadyUpgraded,
    /// The session has ended.
    #[error("session is closed")]
    SessionClosed,
}

/// Why a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The server closed it.
    ForcedClose,
    /// The client sent what is no packet.
    ParseError,
    /// The client missed a heartbeat.
    PingTimeout,
    /// The server as a whole is closing.
    ServerShuttingDown,
    /// The client closed it, by a packet or by closing the connection.
    TransportClose,
    /// The connection broke, or the client did what the protocol forbids.
    TransportError,
}

impl CloseReason {
    /// Returns the text by which Node names the reason.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForcedClose => "forced close",
            Self::ParseError => "parse error",
            Self::PingTimeout => "ping timeout",
            Self::ServerShuttingDown => "server shutting down",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
        }
    }
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Malformed> for CloseReason {
    /// Maps what is wrong with a polling body to how Node ends the session. All but one are parse errors; a body of the
    /// wrong kind is refused before it is parsed.
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::OctetStreamInRevision4 => Self::TransportError,
            _ => Self::ParseError,
        }
    }
}

/// Milliseconds between two noop packets during an upgrade, as in Node: a client that holds a GET cannot complete the
/// upgrade before that is answered.
const NOOP_INTERVAL: u64 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small() {
        // One for each connection, idle or not.
        assert!(size_of::<Session>() <= 48, "{} bytes", size_of::<Session>());
    }
}
