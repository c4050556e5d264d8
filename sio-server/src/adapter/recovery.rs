//! Connection state recovery: what a client missed while its connection was down, kept for a while. Pure: time is an
//! argument.
//!
//! Every event that could be repeated is stored with an offset, which the client also gets, as its last argument. A
//! socket that loses its connection leaves a session behind: id, rooms, data. A client that comes back in time with
//! the session's `pid` and the last offset it saw gets the rest. Node: `SessionAwareAdapter` of `socket.io-adapter`.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use sio_protocol::socketio::Packet;

use super::BroadcastOptions;
use crate::config::millis;
use crate::id::SocketId;

/// Lets clients come back after a short loss of connection with their id, rooms, data and missed events. Node:
/// `connectionStateRecovery`.
///
/// Works with the in-memory adapter and for clients of protocol 4; others simply connect anew. A client that comes
/// back gets everything it missed, also what is sent while its middlewares are asked again, each once and in order.
///
/// Two threads that emit at the same time may reach a client in either order, as always; one that loses its connection
/// right between the two may miss or repeat the earlier.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionStateRecovery {
    max_disconnection_duration: Duration,
    skip_middlewares: bool,
    max_stored_bytes: usize,
}

impl Default for ConnectionStateRecovery {
    fn default() -> Self {
        Self {
            max_disconnection_duration: Duration::from_secs(120),
            skip_middlewares: true,
            max_stored_bytes: 64 << 20,
        }
    }
}

impl ConnectionStateRecovery {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a client may be away, and events are kept. Default 2 minutes.
    #[must_use]
    pub fn max_disconnection_duration(mut self, duration: Duration) -> Self {
        self.max_disconnection_duration = duration;
        self
    }

    /// Whether a client that comes back is let in without asking the middlewares again. Default yes.
    #[must_use]
    pub fn skip_middlewares(mut self, skip: bool) -> Self {
        self.skip_middlewares = skip;
        self
    }

    /// How many bytes of events each namespace may keep; the oldest go first, and a client that missed one of them
    /// connects anew. Default 64 MiB; Node has no such limit.
    #[must_use]
    pub fn max_stored_bytes(mut self, bytes: usize) -> Self {
        self.max_stored_bytes = bytes;
        self
    }

    pub(crate) fn skips_middlewares(&self) -> bool {
        self.skip_middlewares
    }
}

/// What a socket leaves behind.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: SocketId,
    pub(crate) rooms: Vec<String>,
    pub(crate) data: Option<serde_json::Value>,
}

/// A session that was found, on the way to what its client missed.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) session: Session,
    /// The number of the first event that the client has not been given.
    next: u64,
}

/// Events that a returning client has missed are no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// The sessions and events of one namespace.
#[derive(Debug)]
pub(crate) struct Store {
    options: ConnectionStateRecovery,
    events: VecDeque<Event>,
    sessions: HashMap<String, (u64, Session)>,
    /// The sessions in the order they were saved, to find those that have expired.
    saved: VecDeque<(u64, String)>,
    /// How many events have been dropped: the number of the first that is kept.
    dropped: u64,
    bytes: usize,
    offsets: Offsets,
}

#[derive(Debug)]
struct Event {
    at: u64,
    offset: String,
    rooms: Vec<String>,
    except: Vec<String>,
    packet: Packet<'static>,
}

impl Event {
    fn bytes(&self) -> usize {
        let attachments: usize = self.packet.attachments.iter().map(bytes::Bytes::len).sum();
        self.packet.data.len() + attachments + EVENT_OVERHEAD
    }

    fn is_for(&self, session: &Session) -> bool {
        let in_room = |room: &String| session.rooms.contains(room);
        (self.rooms.is_empty() || self.rooms.iter().any(in_room)) && !self.except.iter().any(in_room)
    }
}

impl Store {
    pub(crate) fn new(options: ConnectionStateRecovery) -> Self {
        Self {
            options,
            events: VecDeque::new(),
            sessions: HashMap::new(),
            saved: VecDeque::new(),
            dropped: 0,
            bytes: 0,
            offsets: Offsets::default(),
        }
    }

    pub(crate) fn options(&self) -> &ConnectionStateRecovery {
        &self.options
    }

    /// Keeps an event and gives it as it has to be sent: with its offset as last argument. `unix` is the time in
    /// milliseconds since 1970, which offsets are made of.
    pub(crate) fn store(
        &mut self,
        packet: &Packet<'_>,
        options: &BroadcastOptions,
        now: u64,
        unix: u64,
    ) -> Packet<'static> {
        self.expire(now);
        let offset = self.offsets.next(unix);
        // The data is a JSON array with at least a name in it.
        let json = packet.data.strip_suffix(']').unwrap_or(&packet.data);
        let data = format!("{json},\"{offset}\"]");
        let sent = Packet::event(packet.nsp.clone().into_owned(), None, data, packet.attachments.clone());
        let event = Event {
            at: now,
            offset,
            rooms: options.rooms.clone(),
            except: options.except.clone(),
            packet: sent.clone(),
        };
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.bytes > self.options.max_stored_bytes {
            self.drop_oldest();
        }
        sent
    }

    /// Keeps what a socket leaves behind under its `pid`.
    pub(crate) fn save(&mut self, pid: String, session: Session, now: u64) {
        self.expire(now);
        self.saved.push_back((now, pid.clone()));
        self.sessions.insert(pid, (now, session));
    }

    /// Gives a session back, once, if what was sent after `offset` is still there.
    pub(crate) fn restore(&mut self, pid: &str, offset: &str, now: u64) -> Option<Restored> {
        self.expire(now);
        // Only whoever knows a session's secret has the events looked through.
        if !self.sessions.contains_key(pid) {
            return None;
        }
        let known = self.events.iter().position(|event| event.offset == offset)?;
        let (_, session) = self.sessions.remove(pid)?;
        Some(Restored { session, next: self.dropped + known as u64 + 1 })
    }

    /// What was sent to a session since it was last asked for.
    pub(crate) fn take_missed(&self, restored: &mut Restored) -> Result<Vec<Packet<'static>>, Gone> {
        let skip = restored.next.checked_sub(self.dropped).ok_or(Gone)?;
        restored.next = self.dropped + self.events.len() as u64;
        let missed = self.events.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
        let missed = missed.filter(|event| event.is_for(&restored.session));
        Ok(missed.map(|event| event.packet.clone()).collect())
    }

    #[cfg(test)]
    pub(crate) fn event_count(&self) -> usize {
        self.events.len()
    }

    fn expire(&mut self, now: u64) {
        let oldest = now.saturating_sub(millis(self.options.max_disconnection_duration));
        while self.events.front().is_some_and(|event| event.at < oldest) {
            self.drop_oldest();
        }
        while self.saved.front().is_some_and(|(at, _)| *at < oldest) {
            if let Some((at, pid)) = self.saved.pop_front() {
                // A socket that came back and was lost again has a younger entry.
                if self.sessions.get(&pid).is_some_and(|(saved, _)| *saved == at) {
                    self.sessions.remove(&pid);
                }
            }
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.bytes -= event.bytes();
            self.dropped += 1;
        }
    }
}

/// Offsets: the time in milliseconds in base 64, with a count for those after the first of a millisecond.
#[derive(Debug, Default)]
struct Offsets {
    last: u64,
    count: u64,
}

impl Offsets {
    fn next(&mut self, unix: u64) -> String {
        if unix > self.last {
            self.last = unix;
            self.count = 0;
            return base64(self.last);
        }
        // A clock that goes back must not give an offset a second time.
        let count = base64(self.count);
        self.count += 1;
        format!("{}.{count}", base64(self.last))
    }
}

/// A number in base 64, most significant digit first.
fn base64(mut number: u64) -> String {
    const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(DIGITS[(number % 64) as usize]));
        number /= 64;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// What an event takes beside its data, about.
const EVENT_OVERHEAD: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> Store {
        Store::new(ConnectionStateRecovery::new().max_disconnection_duration(Duration::from_secs(1)))
    }

    fn send(store: &mut Store, name: &str, rooms: &[&str], except: &[&str], now: u64) -> String {
        let options = BroadcastOptions {
            rooms: rooms.iter().map(|room| (*room).to_owned()).collect(),
            except: except.iter().map(|room| (*room).to_owned()).collect(),
            ..BroadcastOptions::default()
        };
        let packet = Packet::event("/", None, format!("[\"{name}\"]"), Vec::new());
        let sent = store.store(&packet, &options, now, 1_795_348_715_123);
        let (_, offset) = sent.data.rsplit_once(',').unwrap();
        offset.trim_matches(['"', ']']).to_owned()
    }

    fn session(rooms: &[&str]) -> Session {
        let rooms = rooms.iter().map(|room| (*room).to_owned()).collect();
        Session { id: SocketId::from("STtyS2pQ2XrPJDqIAAAA"), rooms, data: None }
    }

    fn names(missed: &[Packet<'_>]) -> Vec<String> {
        missed.iter().map(|packet| packet.event_name().unwrap().into_owned()).collect()
    }

    #[test]
    fn a_client_gets_what_it_missed_in_order_and_nothing_else() {
        let mut store = store();
        send(&mut store, "before", &[], &[], 0);
        let offset = send(&mut store, "last", &[], &[], 1);
        store.save("pid".into(), session(&["id", "room"]), 2);
        send(&mut store, "all", &[], &[], 3);
        send(&mut store, "mine", &["room"], &[], 4);
        send(&mut store, "other", &["elsewhere"], &[], 5);
        send(&mut store, "not me", &[], &["id"], 6);
        send(&mut store, "private", &["id"], &[], 7);
        let mut restored = store.restore("pid", &offset, 8).unwrap();
        assert_eq!(names(&store.take_missed(&mut restored).unwrap()), ["all", "mine", "private"]);
        send(&mut store, "late", &["room"], &[], 9);
        assert_eq!(names(&store.take_missed(&mut restored).unwrap()), ["late"], "what came since");
        assert!(store.take_missed(&mut restored).unwrap().is_empty());
        assert!(store.restore("pid", &offset, 9).is_none(), "a session is given back once");
    }

    #[test]
    fn too_late_or_an_unknown_offset_means_a_new_session() {
        let mut store = store();
        let offset = send(&mut store, "e", &[], &[], 0);
        store.save("a".into(), session(&[]), 0);
        store.save("b".into(), session(&[]), 0);
        assert!(store.restore("a", "unknown", 1).is_none());
        assert!(store.restore("a", &offset, 1000).is_some());
        assert!(store.restore("b", &offset, 1001).is_none());
        assert_eq!((store.events.len(), store.sessions.len(), store.saved.len(), store.bytes), (0, 0, 0, 0));
    }

    #[test]
    fn the_oldest_events_go_when_there_are_too_many_bytes() {
        let mut store = Store::new(ConnectionStateRecovery::new().max_stored_bytes(1000));
        for _ in 0..1000 {
            send(&mut store, "e", &[], &[], 0);
        }
        assert!(store.bytes <= 1000 && store.events.len() < 5);
    }

    #[test]
    fn a_client_that_takes_too_long_to_come_back_learns_that_events_are_gone() {
        let mut store = store();
        let offset = send(&mut store, "last", &[], &[], 0);
        store.save("pid".into(), session(&[]), 0);
        send(&mut store, "missed", &[], &[], 1);
        let mut restored = store.restore("pid", &offset, 2).unwrap();
        // What it has seen may go, what it has not may not.
        send(&mut store, "later", &[], &[], 1001);
        assert_eq!(names(&store.take_missed(&mut restored).unwrap()), ["missed", "later"]);
        send(&mut store, "gone", &[], &[], 1500);
        send(&mut store, "too late", &[], &[], 3000);
        assert_eq!(store.take_missed(&mut restored).unwrap_err(), Gone);
    }

    #[test]
    fn offsets_are_node_s_and_never_repeat() {
        let mut offsets = Offsets::default();
        assert_eq!(offsets.next(1_795_348_715_123), base64(1_795_348_715_123));
        assert_eq!(offsets.next(1_795_348_715_123), format!("{}.0", base64(1_795_348_715_123)));
        assert_eq!(offsets.next(1_795_348_715_000), format!("{}.1", base64(1_795_348_715_123)));
        assert_eq!(offsets.next(1_795_348_715_124), base64(1_795_348_715_124));
        assert_eq!(base64(0), "0");
        assert_eq!(base64(64 * 63 + 10), "_A");
    }
}
