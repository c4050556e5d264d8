//! The sockets of one simulated node: rooms, and a log of everything that happened to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use sio_protocol::cluster::ClusterError;
use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{BroadcastOptions, RoomEvent, SocketDetails, SocketId};

use super::Back;
use crate::node::{Local, Question, ReplyTo, Sink};

/// Cheap to clone: the node has one, the world another.
#[derive(Clone, Default)]
pub(crate) struct Sockets {
    state: Arc<Mutex<State>>,
    back: Arc<OnceLock<Weak<dyn Back>>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) sockets: BTreeMap<String, Socket>,
    /// Questions whose clients have yet to answer.
    pub(crate) questions: Vec<Asked>,
    /// Events of other nodes, with what their data was.
    pub(crate) server_events: Vec<(String, Option<ReplyTo>)>,
    /// How often each set of sockets was put into each room from outside: the names of the rooms are unique.
    pub(crate) joins: BTreeMap<String, usize>,
    pub(crate) reports: Vec<String>,
    /// How often an event was written out.
    pub(crate) written: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Socket {
    pub(crate) rooms: BTreeSet<String>,
    /// The data of its events, with the bytes of attachments.
    pub(crate) received: Vec<(String, Vec<Bytes>)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) sink: SimSink,
    pub(crate) client: String,
    pub(crate) data: String,
}

/// Where acknowledgements go: to a caller of this node, or to another.
#[derive(Clone, Debug)]
pub(crate) enum SimSink {
    Caller(Arc<Mutex<Collected>>),
    Elsewhere(Question, Arc<Mutex<bool>>),
}

/// The twin of what the server collects.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) parties: usize,
    pub(crate) expected: usize,
    pub(crate) answers: Vec<OwnedArgs>,
    /// How many answers there were when it was complete for the first time.
    pub(crate) complete_at: Option<usize>,
    pub(crate) is_closed: bool,
}

impl Collected {
    fn note(&mut self) {
        let complete = self.parties == 0 && self.answers.len() >= self.expected;
        if complete && self.complete_at.is_none() {
            self.complete_at = Some(self.answers.len());
        }
    }
}

impl SimSink {
    /// A sink that somebody of this node waits for.
    pub(crate) fn caller() -> Self {
        Self::Caller(Arc::new(Mutex::new(Collected { parties: 1, ..Collected::default() })))
    }

    pub(crate) fn collected(&self) -> MutexGuard<'_, Collected> {
        let Self::Caller(collected) = self else { panic!("not a caller's") };
        locked(collected)
    }
}

impl Sink for SimSink {
    fn expect_parties(&self, others: usize) {
        self.collected().parties += others;
    }

    fn expect(&self, clients: usize) {
        let mut collected = self.collected();
        collected.parties = collected.parties.saturating_sub(1);
        collected.expected += clients;
        collected.note();
    }

    fn answer(&self, answer: OwnedArgs) {
        let mut collected = self.collected();
        collected.answers.push(answer);
        collected.note();
    }

    fn is_open(&self) -> bool {
        match self {
            Self::Caller(collected) => !locked(collected).is_closed,
            Self::Elsewhere(_, open) => *locked(open),
        }
    }

    fn close(&self) {
        if let Self::Elsewhere(_, open) = self {
            *locked(open) = false;
        }
    }
}

impl Sockets {
    pub(crate) fn set_back(&self, back: Weak<dyn Back>) {
        assert!(self.back.set(back).is_ok());
    }

    pub(crate) fn locked(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Adds a socket and reports its rooms, as a server does.
    pub(crate) fn connect(&self, id: &str, rooms: &[&str]) {
        self.locked().sockets.insert(id.to_owned(), Socket::default());
        self.tell(&RoomEvent::SocketAdded { socket: id.into() });
        self.put(id, &rooms.iter().map(|room| (*room).to_owned()).collect::<Vec<_>>());
    }

    pub(crate) fn disconnect(&self, id: &str) {
        let Some(socket) = self.locked().sockets.get(id).cloned() else { return };
        self.take(id, &socket.rooms.into_iter().collect::<Vec<_>>());
        self.locked().sockets.remove(id);
        self.tell(&RoomEvent::SocketRemoved { socket: id.into() });
    }

    /// Puts one socket into rooms, as its own handler does.
    pub(crate) fn put(&self, id: &str, rooms: &[String]) {
        for room in rooms {
            let new = {
                let mut state = self.locked();
                let new = !state.sockets.values().any(|socket| socket.rooms.contains(room));
                let Some(socket) = state.sockets.get_mut(id) else { return };
                socket.rooms.insert(room.clone());
                new
            };
            if new {
                self.tell(&RoomEvent::Created { room: room.clone() });
            }
        }
    }

    /// Takes one socket out of rooms.
    pub(crate) fn take(&self, id: &str, rooms: &[String]) {
        for room in rooms {
            let last = {
                let mut state = self.locked();
                let Some(socket) = state.sockets.get_mut(id) else { return };
                socket.rooms.remove(room) && !state.sockets.values().any(|socket| socket.rooms.contains(room))
            };
            if last {
                self.tell(&RoomEvent::Deleted { room: room.clone() });
            }
        }
    }

    pub(crate) fn select(&self, options: &BroadcastOptions) -> Vec<String> {
        let state = self.locked();
        let is_in = |id: &str, socket: &Socket, rooms: &[String]| {
            rooms.iter().any(|room| id == room || socket.rooms.contains(room))
        };
        let selected = state.sockets.iter().filter(|(id, socket)| {
            (options.rooms.is_empty() || is_in(id, socket, &options.rooms))
                && !is_in(id, socket, &options.except)
        });
        selected.map(|(id, _)| id.clone()).collect()
    }

    /// What a client has received, as text.
    pub(crate) fn received(&self, id: &str) -> Vec<String> {
        let state = self.locked();
        state
            .sockets
            .get(id)
            .map_or_else(Vec::new, |s| s.received.iter().map(|(data, _)| data.clone()).collect())
    }

    fn deliver(&self, clients: &[String], data: &str, attachments: &[Bytes]) {
        let mut state = self.locked();
        for id in clients {
            if let Some(socket) = state.sockets.get_mut(id) {
                socket.received.push((data.to_owned(), attachments.to_vec()));
            }
        }
    }

    fn ask(&self, clients: &[String], data: &str, attachments: &[Bytes], sink: &SimSink) {
        match sink {
            SimSink::Caller(_) => sink.expect(clients.len()),
            SimSink::Elsewhere(question, _) => self.back().asked(question, clients.len()),
        }
        self.deliver(clients, data, attachments);
        let asked = clients.iter().map(|client| Asked {
            sink: sink.clone(),
            client: client.clone(),
            data: data.to_owned(),
        });
        self.locked().questions.extend(asked);
    }

    fn back(&self) -> Arc<dyn Back> {
        self.back.get().and_then(Weak::upgrade).unwrap()
    }

    fn tell(&self, event: &RoomEvent) {
        self.back().room_event(event);
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.locked().fmt(f)
    }
}

impl Local for Sockets {
    type Sink = SimSink;

    fn has_room(&self, room: &str) -> bool {
        let state = self.locked();
        state.sockets.contains_key(room) || state.sockets.values().any(|socket| socket.rooms.contains(room))
    }

    fn rooms(&self) -> Vec<String> {
        let state = self.locked();
        let mut names: Vec<_> = state.sockets.keys().cloned().collect();
        for room in state.sockets.values().flat_map(|socket| &socket.rooms) {
            if !names.contains(room) {
                names.push(room.clone());
            }
        }
        names
    }

    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions) {
        self.deliver(&self.select(options), &packet.data, &packet.attachments);
    }

    fn broadcast_with(
        &self,
        options: &BroadcastOptions,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, ClusterError>,
    ) -> Result<usize, ClusterError> {
        let clients = self.select(options);
        if clients.is_empty() {
            return Ok(0);
        }
        let mut data = String::new();
        let attachments = write(&mut data)?;
        self.locked().written += 1;
        self.deliver(&clients, &data, &attachments);
        Ok(clients.len())
    }

    fn broadcast_with_ack(&self, packet: &Packet<'_>, options: &BroadcastOptions, sink: &SimSink) {
        self.ask(&self.select(options), &packet.data, &packet.attachments, sink);
    }

    fn broadcast_with_ack_with(
        &self,
        options: &BroadcastOptions,
        sink: &SimSink,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, ClusterError>,
    ) -> Result<usize, ClusterError> {
        let clients = self.select(options);
        let mut data = String::new();
        let attachments = if clients.is_empty() { Vec::new() } else { write(&mut data)? };
        self.ask(&clients, &data, &attachments, sink);
        Ok(clients.len())
    }

    fn sink_for(&self, question: Question) -> SimSink {
        SimSink::Elsewhere(question, Arc::new(Mutex::new(true)))
    }

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        for room in rooms {
            *self.locked().joins.entry(room.clone()).or_default() += 1;
        }
        self.select(options).iter().for_each(|id| self.put(id, rooms));
    }

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.select(options).iter().for_each(|id| self.take(id, rooms));
    }

    fn disconnect_sockets(&self, options: &BroadcastOptions, _close: bool) {
        self.select(options).iter().for_each(|id| self.disconnect(id));
    }

    fn fetch_sockets(&self, options: &BroadcastOptions) -> Vec<SocketDetails> {
        let selected = self.select(options);
        let state = self.locked();
        let details = |id: &String| {
            let rooms = std::iter::once(id.clone()).chain(state.sockets[id].rooms.iter().cloned());
            let handshake = serde_json::json!({ "address": "127.0.0.1", "query": { "id": id } });
            let data = serde_json::json!({ "of": id });
            SocketDetails::new(SocketId::from(id.as_str()), handshake, rooms.collect(), data)
        };
        selected.iter().map(details).collect()
    }

    fn server_event(&self, packet: &Packet<'_>, reply: Option<ReplyTo>) {
        self.locked().server_events.push((packet.data.to_string(), reply));
    }

    fn report(&self, message: String) {
        self.locked().reports.push(message);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
