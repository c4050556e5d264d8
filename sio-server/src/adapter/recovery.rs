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
///
/// A namespace of [`of_matching`](crate::Server::of_matching) stays while somebody may come back to it, even when its
/// last socket is gone.
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

    /// How long a client may be away, and events are kept, at most an eighth longer. Default 2 minutes.
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

    /// How many bytes of events, and of the rooms and data of clients that are away, each namespace may keep; the oldest
    /// go first, and a client that missed one of them, or whose own they were, connects anew. Default 64 MiB; Node has no
    /// such limit. It is the worst case per namespace; all those of one [`of_matching`](crate::Server::of_matching) that
    /// have no sockets may keep as much together, at about 2 kB and three times its name for each, and one that does not
    /// fit in goes.
    #[must_use]
    pub fn max_stored_bytes(mut self, bytes: usize) -> Self {
        self.max_stored_bytes = bytes;
        self
    }

    /// The least time between two looks at what has expired.
    pub(crate) fn sweep_pause(&self) -> u64 {
        (millis(self.max_disconnection_duration) / 8).max(1)
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

impl Session {
    fn bytes(&self) -> usize {
        names(&self.rooms) + self.data.as_ref().map_or(0, json_bytes) + SESSION_OVERHEAD
    }
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
    /// What all of them take, about.
    bytes: usize,
    offsets: Offsets,
    /// Somebody will look for what has expired.
    is_swept: bool,
    /// What is counted for it among the namespaces that stay without sockets.
    pub(crate) counted: usize,
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
        self.packet.data.len() + attachments + names(&self.rooms) + names(&self.except) + EVENT_OVERHEAD
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
            is_swept: false,
            counted: 0,
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
        self.fit();
        sent
    }

    /// Keeps what a socket leaves behind under its `pid`.
    pub(crate) fn save(&mut self, pid: String, session: Session, now: u64) {
        self.expire(now);
        self.saved.push_back((now, pid.clone()));
        self.bytes += SAVED_BYTES + session.bytes();
        if let Some((_, old)) = self.sessions.insert(pid, (now, session)) {
            self.bytes -= old.bytes();
        }
        self.fit();
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.options.max_stored_bytes
    }

    /// Whether somebody may come back.
    pub(crate) fn has_sessions(&self) -> bool {
        !self.sessions.is_empty()
    }

    /// When something expires next, for whoever sweeps; `None` once somebody has been told and until it is swept.
    pub(crate) fn begin_sweeps(&mut self, now: u64) -> Option<u64> {
        if self.is_swept || (self.events.is_empty() && self.saved.is_empty()) {
            return None;
        }
        self.is_swept = true;
        self.next_sweep(now)
    }

    /// Drops what has expired, with the memory of a burst, and says when to come again.
    pub(crate) fn sweep(&mut self, now: u64) -> Option<u64> {
        self.expire(now);
        self.events.shrink_to(2 * self.events.len());
        self.saved.shrink_to(2 * self.saved.len());
        self.sessions.shrink_to(2 * self.sessions.len());
        let next = self.next_sweep(now);
        self.is_swept = next.is_some();
        next
    }

    fn next_sweep(&self, now: u64) -> Option<u64> {
        let event = self.events.front().map(|event| event.at);
        let session = self.saved.front().map(|(at, _)| *at);
        let oldest = event.into_iter().chain(session).min()?;
        let expires =
            oldest.saturating_add(millis(self.options.max_disconnection_duration)).saturating_add(1);
        Some(expires.max(now.saturating_add(self.options.sweep_pause())))
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
        self.bytes -= session.bytes();
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
            self.drop_oldest_session();
        }
    }

    /// Drops the oldest until the rest fits.
    fn fit(&mut self) {
        while self.bytes > self.options.max_stored_bytes {
            match (self.events.front(), self.saved.front()) {
                (Some(event), Some((at, _))) if *at < event.at => self.drop_oldest_session(),
                (None, Some(_)) => self.drop_oldest_session(),
                (Some(_), _) => self.drop_oldest(),
                (None, None) => return,
            }
        }
    }

    fn drop_oldest_session(&mut self) {
        let Some((at, pid)) = self.saved.pop_front() else { return };
        self.bytes -= SAVED_BYTES;
        // A socket that came back and was lost again has a younger entry.
        if self.sessions.get(&pid).is_some_and(|(saved, _)| *saved == at)
            && let Some((_, session)) = self.sessions.remove(&pid)
        {
            self.bytes -= session.bytes();
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

/// What the names of rooms take in memory.
fn names(rooms: &[String]) -> usize {
    rooms.iter().map(|room| room.len() + size_of::<String>()).sum()
}

/// What a value takes in memory, about.
fn json_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    let held: usize = match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(json_bytes).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| MAP_ENTRY + key.len() + json_bytes(value)).sum(),
        _ => 0,
    };
    size_of::<Value>() + held
}

/// What an event takes beside its data and rooms, about.
const EVENT_OVERHEAD: usize = 200;
/// What a session takes beside its rooms and data, about.
const SESSION_OVERHEAD: usize = 200;
/// An entry that tells when a session was saved, with its `pid`.
const SAVED_BYTES: usize = 60;
/// What an entry of a map takes beside key and value, about.
const MAP_ENTRY: usize = 40;

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
    fn the_rooms_that_events_are_for_count() {
        let mut store = Store::new(ConnectionStateRecovery::new().max_stored_bytes(100_000));
        let names: Vec<String> = (0..1000).map(|n| format!("room {n}")).collect();
        let held: usize = names.iter().map(|name| name.len() + size_of::<String>()).sum();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        send(&mut store, "e", &names, &[], 0);
        assert!(store.bytes > held, "{} bytes", store.bytes);
        send(&mut store, "e", &[], &names, 0);
        assert!(store.bytes > 2 * held, "{} bytes", store.bytes);
        for _ in 0..10 {
            send(&mut store, "e", &names, &[], 0);
        }
        assert_eq!(store.events.len(), 100_000 / held);
    }

    #[test]
    fn sessions_count_and_the_oldest_of_all_go_first() {
        let mut store = Store::new(ConnectionStateRecovery::new().max_stored_bytes(20_000));
        let large = |text: &str| Session {
            data: Some(serde_json::json!({"n": [text.repeat(100)]})),
            ..session(&["r"])
        };
        let offset = send(&mut store, "e", &[], &[], 0);
        for n in 0..1000 {
            store.save(n.to_string(), large("x"), n);
        }
        assert!(store.bytes <= 20_000, "{} bytes", store.bytes);
        assert!((10..100).contains(&store.sessions.len()), "{} sessions", store.sessions.len());
        assert!(
            store.restore("0", &offset, 1000).is_none() && store.events.is_empty(),
            "the event was older"
        );
        let offset = send(&mut store, "e", &[], &[], 1000);
        assert!(store.restore("999", &offset, 1000).is_some());
        // What is counted is given back, whichever way a session goes.
        store.save("998".into(), large("y"), 1000);
        assert!(store.sweep(1_000_000).is_none());
        assert_eq!((store.bytes, store.sessions.capacity(), store.saved.capacity()), (0, 0, 0));
    }

    #[test]
    fn what_expires_is_swept_when_it_does_and_not_all_the_time() {
        let mut store = store();
        assert_eq!(store.begin_sweeps(0), None, "nothing is there");
        store.save("a".into(), session(&[]), 5);
        assert_eq!(store.begin_sweeps(5), Some(1006));
        assert_eq!(store.begin_sweeps(5), None, "somebody knows");
        store.save("b".into(), session(&[]), 6);
        assert_eq!((store.sweep(1006), store.sessions.len()), (Some(1006 + 125), 1));
        assert_eq!((store.sweep(1131), store.sessions.len()), (None, 0));
        store.save("c".into(), session(&[]), 2000);
        assert_eq!(store.begin_sweeps(2000), Some(3001));
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

    #[tokio::test]
    async fn a_server_drops_what_nobody_comes_back_for_without_being_asked() {
        let recovery = ConnectionStateRecovery::new().max_disconnection_duration(Duration::from_millis(50));
        let io = crate::Server::builder().connection_state_recovery(recovery).build();
        io.shared.start();
        io.emit("e", &1);
        let namespace = &io.of("/").0;
        namespace.save_session("pid".into(), session(&["room"]));
        assert!(namespace.stored_bytes() > 0);
        let swept = async {
            while namespace.stored_bytes() > 0 {
                // why: only the time it takes makes the difference.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), swept).await.unwrap();
    }
}
