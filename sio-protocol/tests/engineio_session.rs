//! What an Engine.IO session allows and when things are due: single claims first, then a simulation of a client and a
//! server in virtual time, with real polling bodies between them.
//!
//! Nothing here sleeps; the clock is a number that jumps to whatever comes next.

#![expect(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use sio_protocol::engineio::payload::{BodyKind, Decoder, Encoder};
use sio_protocol::engineio::session::{
    CandidateRefused, CloseReason, Due, Reaction, Session, Timing, Transport,
};
use sio_protocol::engineio::{Data, DataRef, Packet, PacketKind, Revision};

const TIMING: Timing = Timing { ping_interval: 1_000, ping_timeout: 500, upgrade_timeout: 300 };
const REVISIONS: [Revision; 2] = [Revision::V3, Revision::V4];
const TRANSPORTS: [Transport; 2] = [Transport::Polling, Transport::WebSocket];

mod claims {
    use super::*;

    fn open(rev: Revision, transport: Transport) -> Session {
        Session::open(rev, transport, &TIMING, 0)
    }

    fn over(session: &mut Session, now: u64, origin: Transport, text: &str) -> Reaction {
        let packet = Packet::decode_text(session.revision(), text).unwrap();
        session.handle_packet(&TIMING, now, origin, &packet)
    }

    fn probed(now: u64) -> Session {
        let mut session = open(Revision::V4, Transport::Polling);
        session.handle_candidate(&TIMING, now).unwrap();
        assert_eq!(over(&mut session, now, Transport::WebSocket, "2probe"), Reaction::AnswerProbe);
        session
    }

    #[test]
    fn defaults_are_nodes() {
        let timing = Timing::default();
        assert_eq!(
            (timing.ping_interval, timing.ping_timeout, timing.upgrade_timeout),
            (25_000, 20_000, 10_000)
        );
    }

    #[test]
    fn the_first_ping_is_due_one_interval_after_opening() {
        for transport in TRANSPORTS {
            let mut session = open(Revision::V4, transport);
            assert_eq!(session.deadline(), Some(1_000));
            assert_eq!(session.handle_timeout(&TIMING, 999), None);
            assert_eq!(session.handle_timeout(&TIMING, 1_000), Some(Due::Ping));
            assert_eq!(session.handle_timeout(&TIMING, 1_000), None);
        }
    }

    #[test]
    fn the_next_ping_is_due_one_interval_after_the_pong() {
        let mut session = open(Revision::V4, Transport::WebSocket);
        assert_eq!(session.handle_timeout(&TIMING, 1_000), Some(Due::Ping));
        assert_eq!(over(&mut session, 1_200, Transport::WebSocket, "3"), Reaction::Ignore);
        assert_eq!(session.deadline(), Some(2_200));
    }

    #[test]
    fn a_pong_nobody_asked_for_is_harmless() {
        let mut session = open(Revision::V4, Transport::Polling);
        assert_eq!(over(&mut session, 400, Transport::Polling, "3foo"), Reaction::Ignore);
        assert_eq!(session.deadline(), Some(1_400));
    }

    #[test]
    fn a_missing_pong_closes() {
        let mut session = open(Revision::V4, Transport::Polling);
        assert_eq!(session.handle_timeout(&TIMING, 1_000), Some(Due::Ping));
        assert_eq!(session.handle_timeout(&TIMING, 1_499), None);
        assert_eq!(session.handle_timeout(&TIMING, 1_500), Some(Due::Close(CloseReason::PingTimeout)));
        assert!(session.is_closed());
        assert_eq!(session.deadline(), None);
        assert_eq!(session.handle_timeout(&TIMING, u64::MAX), None);
    }

    #[test]
    fn another_packet_moves_the_pong_deadline_once_a_ping() {
        let mut session = open(Revision::V4, Transport::WebSocket);
        session.handle_message(&TIMING, 500);
        assert_eq!(session.deadline(), Some(1_000), "a message moves no ping");
        assert_eq!(session.handle_timeout(&TIMING, 1_000), Some(Due::Ping));
        session.handle_message(&TIMING, 1_400);
        assert_eq!(session.deadline(), Some(1_900));
        session.handle_message(&TIMING, 1_800);
        assert_eq!(over(&mut session, 1_800, Transport::WebSocket, "4a"), Reaction::Deliver);
        assert_eq!(session.deadline(), Some(1_900));
        assert_eq!(over(&mut session, 1_850, Transport::WebSocket, "3"), Reaction::Ignore);
        assert_eq!(session.handle_timeout(&TIMING, 2_850), Some(Due::Ping));
        assert_eq!(over(&mut session, 3_000, Transport::WebSocket, "6"), Reaction::Ignore);
        assert_eq!(session.deadline(), Some(3_500), "a new ping has an extension of its own");
    }

    #[test]
    fn in_revision_3_only_pings_of_the_client_move_the_deadline() {
        let mut session = open(Revision::V3, Transport::Polling);
        assert_eq!(session.deadline(), Some(1_500));
        assert_eq!(over(&mut session, 900, Transport::Polling, "4a"), Reaction::Deliver);
        assert_eq!(session.deadline(), Some(1_500));
        assert_eq!(over(&mut session, 1_000, Transport::Polling, "2probe"), Reaction::Pong);
        assert_eq!(session.deadline(), Some(2_500));
        assert_eq!(session.handle_timeout(&TIMING, 2_500), Some(Due::Close(CloseReason::PingTimeout)));
    }

    #[test]
    fn the_wrong_heartbeat_direction_closes_with_transport_error() {
        for transport in TRANSPORTS {
            for (rev, packet) in [(Revision::V4, "2"), (Revision::V4, "2probe"), (Revision::V3, "3")] {
                let mut session = open(rev, transport);
                let reaction = over(&mut session, 10, transport, packet);
                assert_eq!(reaction, Reaction::Close(CloseReason::TransportError));
                assert!(session.is_closed());
            }
        }
    }

    #[test]
    fn a_close_packet_closes_over_both_transports() {
        for transport in TRANSPORTS {
            for rev in REVISIONS {
                let mut session = open(rev, transport);
                let reaction = over(&mut session, 10, transport, "1");
                assert_eq!(reaction, Reaction::Close(CloseReason::TransportClose));
                assert_eq!((session.deadline(), session.transport()), (None, transport));
            }
        }
    }

    #[test]
    fn open_upgrade_and_noop_are_ignored() {
        for transport in TRANSPORTS {
            for text in ["0", "5", "6"] {
                let mut session = open(Revision::V4, transport);
                assert_eq!(over(&mut session, 10, transport, text), Reaction::Ignore);
                assert!(!session.is_closed());
            }
        }
    }

    #[test]
    fn a_closed_session_is_silent() {
        for transport in TRANSPORTS {
            let mut session = open(Revision::V4, transport);
            session.close();
            for text in ["0", "1", "2", "3", "4", "5", "6"] {
                assert_eq!(over(&mut session, 10, transport, text), Reaction::Ignore);
            }
            session.handle_message(&TIMING, 10);
            assert_eq!(session.handle_candidate(&TIMING, 10), Err(CandidateRefused::SessionClosed));
            assert_eq!((session.deadline(), session.handle_timeout(&TIMING, 1 << 60)), (None, None));
        }
        let mut session = probed(0);
        session.close();
        assert_eq!(over(&mut session, 10, Transport::WebSocket, "5"), Reaction::CloseCandidate);
    }

    #[test]
    fn there_is_one_candidate_at_a_time() {
        let mut session = open(Revision::V4, Transport::Polling);
        assert!(!session.is_probing());
        let first = session.handle_candidate(&TIMING, 0).unwrap();
        assert!(session.is_probing() && session.is_candidate(first));
        assert_eq!(session.handle_candidate(&TIMING, 0), Err(CandidateRefused::AlreadyProbing));
        session.handle_candidate_lost(first);
        assert!(!session.is_probing() && !session.is_candidate(first));
        assert!(session.handle_candidate(&TIMING, 0).is_ok());
        let mut websocket = open(Revision::V4, Transport::WebSocket);
        assert_eq!(websocket.handle_candidate(&TIMING, 0), Err(CandidateRefused::AlreadyUpgraded));
    }

    #[test]
    fn a_candidate_that_is_over_does_nothing_to_the_next() {
        let mut session = open(Revision::V4, Transport::Polling);
        let first = session.handle_candidate(&TIMING, 0).unwrap();
        assert_eq!(session.handle_timeout(&TIMING, 300), Some(Due::CandidateExpired));
        let second = session.handle_candidate(&TIMING, 300).unwrap();
        assert!(!session.is_candidate(first) && session.is_candidate(second));
        session.handle_candidate_lost(first);
        assert_eq!(over(&mut session, 300, Transport::WebSocket, "2probe"), Reaction::AnswerProbe);
        session.handle_candidate_lost(first);
        assert_eq!(over(&mut session, 300, Transport::WebSocket, "5"), Reaction::Upgraded);
        assert!(!session.is_candidate(first) && !session.is_candidate(second), "it is the transport");
        session.handle_candidate_lost(second);
        assert_eq!(session.transport(), Transport::WebSocket);
    }

    #[test]
    fn anything_but_a_probe_first_costs_the_candidate_and_nothing_else() {
        for text in ["0", "1", "2", "2prob", "3probe", "4probe", "5", "6", "b", "b4"] {
            let mut session = open(Revision::V4, Transport::Polling);
            session.handle_candidate(&TIMING, 0).unwrap();
            assert_eq!(over(&mut session, 0, Transport::WebSocket, text), Reaction::CloseCandidate, "{text}");
            assert!(!session.is_probing());
            assert_eq!(session.transport(), Transport::Polling);
            assert_eq!(over(&mut session, 0, Transport::Polling, "4a"), Reaction::Deliver);
        }
    }

    #[test]
    fn a_binary_probe_is_no_probe() {
        let mut session = open(Revision::V3, Transport::Polling);
        session.handle_candidate(&TIMING, 0).unwrap();
        let packet = Packet::decode_binary(Revision::V3, b"\x02probe").unwrap();
        let reaction = session.handle_packet(&TIMING, 0, Transport::WebSocket, &packet);
        assert_eq!(reaction, Reaction::CloseCandidate);
    }

    #[test]
    fn anything_but_an_upgrade_after_the_probe_costs_the_candidate_and_nothing_else() {
        for text in ["0", "1", "2", "2probe", "3", "4a", "6"] {
            let mut session = probed(0);
            assert_eq!(over(&mut session, 0, Transport::WebSocket, text), Reaction::CloseCandidate, "{text}");
            assert_eq!(session.transport(), Transport::Polling);
            assert_eq!(session.deadline(), Some(1_000));
        }
    }

    #[test]
    fn a_packet_of_a_candidate_that_is_none_any_more_closes_it() {
        let mut session = probed(0);
        assert_eq!(session.handle_timeout(&TIMING, 300), Some(Due::CandidateExpired));
        assert_eq!(over(&mut session, 301, Transport::WebSocket, "5"), Reaction::CloseCandidate);
    }

    #[test]
    fn noops_are_due_every_100_ms_from_the_probe_to_the_end_of_the_upgrade() {
        let mut session = open(Revision::V4, Transport::Polling);
        let candidate = session.handle_candidate(&TIMING, 0).unwrap();
        assert_eq!(session.deadline(), Some(300), "no noop before the probe");
        assert_eq!(over(&mut session, 50, Transport::WebSocket, "2probe"), Reaction::AnswerProbe);
        assert_eq!(session.deadline(), Some(150));
        assert_eq!(session.handle_timeout(&TIMING, 150), Some(Due::Noop));
        assert_eq!(session.handle_timeout(&TIMING, 150), None);
        assert_eq!(session.handle_timeout(&TIMING, 250), Some(Due::Noop));

        let mut lost = session.clone();
        lost.handle_candidate_lost(candidate);
        assert_eq!(lost.deadline(), Some(1_000));
        let mut expired = session.clone();
        assert_eq!(expired.handle_timeout(&TIMING, 300), Some(Due::CandidateExpired));
        assert_eq!(expired.handle_timeout(&TIMING, 300), None);
        assert_eq!((expired.deadline(), expired.is_closed()), (Some(1_000), false));
        assert_eq!(over(&mut session, 260, Transport::WebSocket, "5"), Reaction::Upgraded);
        assert_eq!((session.deadline(), session.is_probing()), (Some(1_000), false));
    }

    #[test]
    fn a_candidate_that_never_probes_expires() {
        let mut session = open(Revision::V4, Transport::Polling);
        session.handle_candidate(&TIMING, 10).unwrap();
        assert_eq!(session.handle_timeout(&TIMING, 310), Some(Due::CandidateExpired));
        assert!(session.handle_candidate(&TIMING, 310).is_ok(), "another may try");
    }

    #[test]
    fn an_upgrade_ends_a_pong_deadline_and_keeps_the_ping_schedule() {
        let mut waiting = probed(900);
        assert_eq!(over(&mut waiting, 950, Transport::WebSocket, "5"), Reaction::Upgraded);
        assert_eq!(waiting.deadline(), Some(1_000));

        let mut pinged = probed(900);
        assert_eq!(pinged.handle_timeout(&TIMING, 1_000), Some(Due::Noop));
        assert_eq!(pinged.handle_timeout(&TIMING, 1_000), Some(Due::Ping));
        assert_eq!(over(&mut pinged, 1_050, Transport::WebSocket, "5"), Reaction::Upgraded);
        assert_eq!(pinged.deadline(), Some(2_050), "there is another ping, so a dead client is noticed");
        assert_eq!(over(&mut pinged, 1_100, Transport::WebSocket, "3"), Reaction::Ignore);
        assert_eq!(pinged.deadline(), Some(2_100));
    }

    #[test]
    fn an_upgraded_session_of_revision_3_is_still_watched() {
        let mut session = open(Revision::V3, Transport::Polling);
        session.handle_candidate(&TIMING, 1_200).unwrap();
        assert_eq!(over(&mut session, 1_200, Transport::WebSocket, "2probe"), Reaction::AnswerProbe);
        assert_eq!(over(&mut session, 1_250, Transport::WebSocket, "5"), Reaction::Upgraded);
        assert_eq!(session.deadline(), Some(2_750));
    }

    #[test]
    fn a_post_that_was_under_way_during_the_switch_counts() {
        let mut session = probed(0);
        assert_eq!(over(&mut session, 0, Transport::WebSocket, "5"), Reaction::Upgraded);
        assert_eq!(over(&mut session, 1, Transport::Polling, "4late"), Reaction::Deliver);
        assert_eq!(over(&mut session, 1, Transport::WebSocket, "4next"), Reaction::Deliver);
    }

    #[test]
    fn who_was_late_gets_what_is_due_once() {
        let hour = 3_600_000;
        let mut session = open(Revision::V4, Transport::WebSocket);
        assert_eq!(session.handle_timeout(&TIMING, hour), Some(Due::Ping));
        assert_eq!(session.handle_timeout(&TIMING, hour), None);
        assert_eq!(session.deadline(), Some(hour + 500));

        let mut session = probed(0);
        assert_eq!(session.handle_timeout(&TIMING, hour), Some(Due::CandidateExpired));
        assert_eq!(session.handle_timeout(&TIMING, hour), Some(Due::Ping));
        assert_eq!(session.handle_timeout(&TIMING, hour), None);
    }

    #[test]
    fn times_at_the_end_of_the_scale_do_not_overflow() {
        let timing = Timing { ping_interval: u64::MAX, ping_timeout: u64::MAX, upgrade_timeout: u64::MAX };
        for rev in REVISIONS {
            let mut session = Session::open(rev, Transport::Polling, &timing, u64::MAX);
            session.handle_candidate(&timing, u64::MAX).unwrap();
            let probe = Packet::decode_text(rev, "2probe").unwrap();
            assert_eq!(
                session.handle_packet(&timing, u64::MAX, Transport::WebSocket, &probe),
                Reaction::AnswerProbe
            );
            let due = std::iter::from_fn(|| session.handle_timeout(&timing, u64::MAX)).count();
            assert!(due <= 3);
        }
    }
}

mod simulation {
    use super::*;

    #[test]
    fn an_idle_session_lives_as_long_as_its_client() {
        for rev in REVISIONS {
            for transport in TRANSPORTS {
                for latency in [0, 1, 40, 240] {
                    let mut pair = Pair::open(rev, transport, latency);
                    pair.run_until(100_000);
                    assert_eq!(
                        (pair.closed, pair.client.gave_up),
                        (None, false),
                        "{rev:?} {transport:?} {latency}"
                    );
                    let heartbeats = pair.heartbeats;
                    assert!((60..=100).contains(&heartbeats), "{heartbeats} heartbeats in 100 intervals");
                }
            }
        }
    }

    #[test]
    fn a_client_that_falls_silent_is_noticed() {
        for rev in REVISIONS {
            for transport in TRANSPORTS {
                let mut pair = Pair::open(rev, transport, 20);
                pair.run_until(10_000);
                pair.client.mute = true;
                pair.run_until(20_000);
                let (at, reason) = pair.closed.unwrap();
                assert_eq!(reason, CloseReason::PingTimeout);
                assert!(at <= 10_000 + 1_500 + 2 * 20, "{rev:?} {transport:?} closed at {at}");
            }
        }
    }

    #[test]
    fn an_upgrade_loses_nothing_and_keeps_the_order() {
        for rev in REVISIONS {
            for eager in [false, true] {
                for latency in [0, 3, 40] {
                    // Starting points all over one heartbeat, so that pings and pongs fall into every phase.
                    for start in (0..1_600).step_by(37) {
                        let mut pair = Pair::open(rev, Transport::Polling, latency);
                        pair.client.eager = eager;
                        for at in (0..3_000).step_by(17) {
                            pair.at(at, Event::ServerSends(format!("s{at}")));
                            pair.at(at, Event::ClientSends(format!("c{at}")));
                        }
                        pair.at(start, Event::ClientUpgrades);
                        pair.run_until(6_000);
                        let context = format!("{rev:?} eager {eager} latency {latency} start {start}");
                        assert_eq!(pair.closed, None, "{context}");
                        assert_eq!(pair.server.transport(), Transport::WebSocket, "{context}");
                        let sent =
                            |mark| (0..3_000).step_by(17).map(|at| format!("{mark}{at}")).collect::<Vec<_>>();
                        assert_eq!(pair.delivered, sent('c'), "{context}");
                        assert_eq!(pair.client.received, sent('s'), "{context}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_upgrade_of_an_idle_session_needs_one_noop() {
        for rev in REVISIONS {
            let mut pair = Pair::open(rev, Transport::Polling, 10);
            pair.at(200, Event::ClientUpgrades);
            pair.run_until(200 + 100 + 4 * 10);
            assert_eq!(pair.server.transport(), Transport::WebSocket);
            assert_eq!(pair.noops, 1);
        }
    }

    #[test]
    fn a_stalled_upgrade_costs_only_the_candidate() {
        for rev in REVISIONS {
            let mut pair = Pair::open(rev, Transport::Polling, 10);
            pair.client.stalls = true;
            pair.at(200, Event::ClientUpgrades);
            pair.at(400, Event::ServerSends("during".to_owned()));
            pair.at(900, Event::ServerSends("after".to_owned()));
            pair.run_until(10_000);
            assert_eq!((pair.closed, pair.expired), (None, 1));
            assert_eq!(pair.server.transport(), Transport::Polling);
            assert_eq!(pair.client.received, ["during", "after"]);
        }
    }

    /// A client and a server with a wire between them, in one virtual time.
    struct Pair {
        now: u64,
        latency: u64,
        /// What happens when; events of one time in the order of their making.
        events: BTreeMap<(u64, u64), Event>,
        made: u64,
        server: Session,
        outbox: VecDeque<(PacketKind, String)>,
        get_is_held: bool,
        delivered: Vec<String>,
        closed: Option<(u64, CloseReason)>,
        heartbeats: u32,
        noops: u32,
        expired: u32,
        client: Client,
    }

    /// Behaves like the official client.
    struct Client {
        rev: Revision,
        transport: Transport,
        /// When it gives up (revision 4), or when it pings next (revision 3).
        deadline: u64,
        get_is_out: bool,
        posts_out: u32,
        /// Polling has stopped in favour of the candidate, which waits for the last answers.
        paused: bool,
        queue: VecDeque<String>,
        received: Vec<String>,
        gave_up: bool,
        /// Knob: does not answer and does not ping.
        mute: bool,
        /// Knob: sends `5` right behind its probe and awaits neither the answer to that nor those to its polls.
        eager: bool,
        /// Knob: never sends `5`.
        stalls: bool,
    }

    #[derive(Debug)]
    enum Event {
        ServerSends(String),
        ClientSends(String),
        ClientUpgrades,
        Get,
        Post(Vec<u8>),
        PostAnswer,
        GetAnswer(Vec<u8>),
        CandidateOpens,
        ToServer(String),
        ToClient(String),
    }

    impl Pair {
        fn open(rev: Revision, transport: Transport, latency: u64) -> Self {
            let deadline = match rev {
                Revision::V3 => TIMING.ping_interval,
                Revision::V4 => TIMING.ping_interval + TIMING.ping_timeout + latency,
            };
            let client = Client {
                rev,
                transport,
                deadline,
                get_is_out: false,
                posts_out: 0,
                paused: false,
                queue: VecDeque::new(),
                received: Vec::new(),
                gave_up: false,
                mute: false,
                eager: false,
                stalls: false,
            };
            let mut pair = Self {
                now: 0,
                latency,
                events: BTreeMap::new(),
                made: 0,
                server: Session::open(rev, transport, &TIMING, 0),
                outbox: VecDeque::new(),
                get_is_held: false,
                delivered: Vec::new(),
                closed: None,
                heartbeats: 0,
                noops: 0,
                expired: 0,
                client,
            };
            pair.client_polls();
            pair
        }

        fn at(&mut self, time: u64, event: Event) {
            self.made += 1;
            self.events.insert((time, self.made), event);
        }

        fn transmit(&mut self, event: Event) {
            self.at(self.now + self.latency, event);
        }

        /// Jumps from one event or deadline to the next.
        fn run_until(&mut self, end: u64) {
            loop {
                let event = self.events.keys().next().map(|(time, _)| *time);
                let client = (!self.client.gave_up).then_some(self.client.deadline);
                let next = [event, self.server.deadline(), client].into_iter().flatten().min();
                let Some(next) = next.filter(|next| *next <= end) else {
                    self.now = end;
                    return;
                };
                assert!(next >= self.now, "time runs backwards: {} to {next}", self.now);
                self.now = next;
                if event == Some(next) {
                    let (_, event) = self.events.pop_first().unwrap();
                    self.handle(event);
                } else if client == Some(next) {
                    self.client_deadline();
                } else {
                    self.server_deadline();
                }
            }
        }

        fn handle(&mut self, event: Event) {
            match event {
                Event::ServerSends(text) => self.server_sends(PacketKind::Message, &text),
                Event::ClientSends(text) => self.client_sends(format!("4{text}")),
                Event::ClientUpgrades => {
                    self.transmit(Event::CandidateOpens);
                    self.transmit(Event::ToServer("2probe".to_owned()));
                    if self.client.eager {
                        self.client_upgrades();
                    }
                }
                Event::Get => {
                    assert!(!self.get_is_held, "two GETs at once");
                    self.get_is_held = true;
                    self.server_flushes();
                }
                Event::Post(body) => {
                    for packet in Decoder::new(self.server.revision(), BodyKind::Text, &body) {
                        self.server_handles(Transport::Polling, &packet.unwrap());
                    }
                    self.transmit(Event::PostAnswer);
                }
                Event::PostAnswer => {
                    self.client.posts_out -= 1;
                    self.client_upgrades_if_at_rest();
                }
                Event::GetAnswer(body) => {
                    self.client.get_is_out = false;
                    let packets: Vec<_> =
                        Decoder::new(self.client.rev, BodyKind::Text, &body).map(Result::unwrap).collect();
                    for packet in packets {
                        self.client_handles(&packet);
                    }
                    self.client_upgrades_if_at_rest();
                    self.client_polls();
                }
                Event::CandidateOpens => {
                    self.server.handle_candidate(&TIMING, self.now).unwrap();
                }
                Event::ToServer(text) => {
                    let packet = Packet::decode_text(self.server.revision(), &text).unwrap();
                    self.server_handles(Transport::WebSocket, &packet);
                }
                Event::ToClient(text) if text == "3probe" => {
                    if !self.client.stalls && !self.client.eager {
                        self.client.paused = true;
                        self.client_upgrades_if_at_rest();
                    }
                }
                Event::ToClient(text) => {
                    let packet = Packet::decode_text(self.client.rev, &text).unwrap();
                    self.client_handles(&packet);
                }
            }
        }

        fn server_handles(&mut self, origin: Transport, packet: &Packet<'_>) {
            match self.server.handle_packet(&TIMING, self.now, origin, packet) {
                Reaction::Ignore | Reaction::CloseCandidate => {}
                Reaction::Deliver => self.delivered.push(text_of(packet)),
                Reaction::Pong => {
                    self.heartbeats += 1;
                    self.server_sends(PacketKind::Pong, "");
                }
                Reaction::AnswerProbe => self.transmit(Event::ToClient("3probe".to_owned())),
                Reaction::Upgraded => {
                    if std::mem::take(&mut self.get_is_held) {
                        let body = self.encode([(PacketKind::Close, String::new())]);
                        self.transmit(Event::GetAnswer(body));
                    }
                    self.server_flushes();
                }
                Reaction::Close(reason) => self.closed = Some((self.now, reason)),
            }
        }

        fn server_deadline(&mut self) {
            while let Some(due) = self.server.handle_timeout(&TIMING, self.now) {
                match due {
                    Due::Ping => {
                        self.heartbeats += 1;
                        self.server_sends(PacketKind::Ping, "");
                    }
                    Due::Noop => {
                        if self.get_is_held {
                            self.noops += 1;
                            self.server_sends(PacketKind::Noop, "");
                        }
                    }
                    Due::CandidateExpired => self.expired += 1,
                    Due::Close(reason) => self.closed = Some((self.now, reason)),
                }
            }
        }

        fn server_sends(&mut self, kind: PacketKind, data: &str) {
            self.outbox.push_back((kind, data.to_owned()));
            self.server_flushes();
        }

        fn server_flushes(&mut self) {
            match self.server.transport() {
                Transport::Polling if self.get_is_held && !self.outbox.is_empty() => {
                    self.get_is_held = false;
                    let packets = std::mem::take(&mut self.outbox);
                    let body = self.encode(packets);
                    self.transmit(Event::GetAnswer(body));
                }
                Transport::Polling => {}
                Transport::WebSocket => {
                    while let Some((kind, data)) = self.outbox.pop_front() {
                        self.transmit(Event::ToClient(format!("{}{data}", char::from(kind.digit()))));
                    }
                }
            }
        }

        fn encode(&self, packets: impl IntoIterator<Item = (PacketKind, String)>) -> Vec<u8> {
            let mut encoder = Encoder::new(self.server.revision(), false, None);
            for (kind, data) in packets {
                encoder.push(kind, DataRef::Text(&data));
            }
            encoder.finish().body
        }

        fn client_handles(&mut self, packet: &Packet<'_>) {
            match packet.kind {
                PacketKind::Message => self.client.received.push(text_of(packet)),
                PacketKind::Ping => {
                    assert_eq!(self.client.rev, Revision::V4);
                    self.client.deadline = self.now + TIMING.ping_interval + TIMING.ping_timeout;
                    if !self.client.mute {
                        self.client_sends("3".to_owned());
                    }
                }
                PacketKind::Pong => assert_eq!(self.client.rev, Revision::V3),
                PacketKind::Close => assert_eq!(self.client.transport, Transport::WebSocket),
                PacketKind::Open | PacketKind::Upgrade | PacketKind::Noop => {}
            }
        }

        fn client_deadline(&mut self) {
            match self.client.rev {
                Revision::V4 => self.client.gave_up = true,
                Revision::V3 => {
                    self.client.deadline = self.now + TIMING.ping_interval;
                    if !self.client.mute {
                        self.client_sends("2".to_owned());
                    }
                }
            }
        }

        fn client_sends(&mut self, packet: String) {
            self.client.queue.push_back(packet);
            self.client_flushes();
        }

        fn client_flushes(&mut self) {
            match self.client.transport {
                Transport::Polling if self.client.paused => {}
                Transport::Polling => {
                    let mut encoder = Encoder::new(self.client.rev, false, None);
                    for packet in self.client.queue.drain(..) {
                        let packet = Packet::decode_text(self.client.rev, &packet).unwrap();
                        encoder.push(packet.kind, packet.data.as_ref());
                    }
                    if !encoder.is_empty() {
                        self.client.posts_out += 1;
                        self.transmit(Event::Post(encoder.finish().body));
                    }
                }
                Transport::WebSocket => {
                    while let Some(packet) = self.client.queue.pop_front() {
                        self.transmit(Event::ToServer(packet));
                    }
                }
            }
        }

        fn client_polls(&mut self) {
            let polls = self.client.transport == Transport::Polling && !self.client.paused;
            if polls && !self.client.get_is_out {
                self.client.get_is_out = true;
                self.transmit(Event::Get);
            }
        }

        fn client_upgrades_if_at_rest(&mut self) {
            let at_rest = !self.client.get_is_out && self.client.posts_out == 0;
            if self.client.paused && at_rest && self.client.transport == Transport::Polling {
                self.client_upgrades();
            }
        }

        fn client_upgrades(&mut self) {
            self.client.transport = Transport::WebSocket;
            self.transmit(Event::ToServer("5".to_owned()));
            self.client_flushes();
        }
    }

    fn text_of(packet: &Packet<'_>) -> String {
        match &packet.data {
            Data::Text(text) => text.clone().into_owned(),
            Data::Binary(_) => panic!("binary in a text test"),
        }
    }
}

mod operations {
    use super::*;

    /// Whatever happens in whatever order: what is due comes to an end, a deadline is in the future once it has, a
    /// session closes once, and upgrades once.
    #[test]
    fn any_sequence_of_operations_keeps_the_invariants() {
        let mut random = 0x0dd0_5eed_1234_5678_u64;
        let mut below = move |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % bound
        };
        let (mut upgrades, mut closes) = (0, 0);
        for round in 0..5_000 {
            let rev = REVISIONS[round % 2];
            let transport = if below(4) == 0 { Transport::WebSocket } else { Transport::Polling };
            let mut now = below(1_000);
            let mut session = Session::open(rev, transport, &TIMING, now);
            let mut upgraded = transport == Transport::WebSocket;
            let mut candidates = Vec::new();
            for _ in 0..60 {
                now += below(120);
                let was_closed = session.is_closed();
                match below(12) {
                    0 => {
                        let free = !was_closed && !session.is_probing() && !upgraded;
                        let candidate = session.handle_candidate(&TIMING, now);
                        assert_eq!(candidate.is_ok(), free);
                        candidates.extend(candidate);
                    }
                    1 => {
                        for stale in candidates.iter().rev().skip(1) {
                            let was_probing = session.is_probing();
                            session.handle_candidate_lost(*stale);
                            assert_eq!(session.is_probing(), was_probing);
                        }
                        candidates.last().inspect(|last| session.handle_candidate_lost(**last));
                        assert!(!session.is_probing());
                    }
                    2 if below(20) == 0 => session.close(),
                    _ => {
                        let origin = if below(2) == 0 { Transport::Polling } else { Transport::WebSocket };
                        // What closes a session is rare, or nothing would be seen but closed sessions.
                        let wrong = below(40) == 0;
                        let right = match rev {
                            Revision::V3 => PacketKind::Ping,
                            Revision::V4 => PacketKind::Pong,
                        };
                        let (kind, data) = match (below(8), origin) {
                            (0 | 1, _) => (PacketKind::Upgrade, ""),
                            (2 | 3, Transport::WebSocket) if !upgraded => (PacketKind::Ping, "probe"),
                            (2, _) => (right, ""),
                            (3, _) if wrong => (PacketKind::Ping, "probe"),
                            (4, _) if wrong => (PacketKind::Pong, ""),
                            (5, _) if wrong => (PacketKind::Close, ""),
                            _ => (PacketKind::Message, "a"),
                        };
                        let packet = Packet { kind, data: Data::Text(Cow::Borrowed(data)) };
                        let is_candidate = origin == Transport::WebSocket && !upgraded;
                        let reaction = session.handle_packet(&TIMING, now, origin, &packet);
                        match reaction {
                            Reaction::AnswerProbe => assert!(is_candidate && session.is_probing()),
                            Reaction::Upgraded => {
                                assert!(is_candidate);
                                upgraded = true;
                                upgrades += 1;
                            }
                            Reaction::CloseCandidate => assert!(is_candidate && !session.is_probing()),
                            Reaction::Deliver => assert!(kind == PacketKind::Message && !is_candidate),
                            Reaction::Close(_) => {
                                assert!(!was_closed && session.is_closed());
                                closes += 1;
                            }
                            Reaction::Pong => assert_eq!(rev, Revision::V3),
                            Reaction::Ignore => {}
                        }
                    }
                }
                let mut due = Vec::new();
                while let Some(next) = session.handle_timeout(&TIMING, now) {
                    due.push(next);
                    assert!(due.len() <= 3, "{due:?}");
                }
                assert_eq!(session.is_closed(), session.deadline().is_none());
                assert!(session.deadline().is_none_or(|deadline| deadline > now));
                assert!(!was_closed || (session.is_closed() && due.is_empty()));
                let expected = if upgraded { Transport::WebSocket } else { Transport::Polling };
                assert_eq!(session.transport(), expected);
            }
        }
        assert!(upgrades > 100 && closes > 100, "{upgrades} upgrades and {closes} closes are no test");
    }
}
