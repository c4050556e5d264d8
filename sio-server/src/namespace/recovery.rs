//! What clients of a namespace that have lost their connection may come back for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use sio_protocol::socketio::Packet;

use super::{NamespaceInner, insert};
use crate::adapter::BroadcastOptions;
use crate::adapter::recovery::{Gone, Restored, Session, Store};
use crate::socket::SocketInner;
use crate::sync::Lock;

impl NamespaceInner {
    /// Whether clients may come back for what they missed.
    pub(crate) fn recovers(&self) -> bool {
        self.recovery.is_some() && self.adapter_recovers.load(Ordering::Relaxed)
    }

    fn with_recovery<R>(&self, f: impl FnOnce(&mut Store, u64) -> R) -> Option<R> {
        let store = self.recovery.as_ref().filter(|_| self.recovers())?;
        let server = self.server()?;
        let now = server.now();
        let (result, sweep, stays) = {
            let mut store = store.locked();
            let result = f(&mut store, now);
            // Events that nobody will come back for are not counted among what stays.
            let is_over = self.is_unused_child() && !store.has_sessions() && store.bytes() > 0;
            (result, store.begin_sweeps(now), self.count(&mut store) && !is_over)
        };
        if let Some(at) = sweep {
            server.timers.add_sweep(at);
        }
        if !stays {
            server.remove_unused(&self.path);
        }
        Some(result)
    }

    /// Drops what clients have not come back for, and says when to look again.
    pub(crate) fn sweep(&self, now: u64) -> Option<u64> {
        let mut store = self.recovery.as_ref()?.locked();
        let next = store.sweep(now);
        self.count(&mut store);
        next
    }

    /// Whether it stays although it has no sockets: somebody may come back.
    pub(crate) fn is_awaited(&self) -> bool {
        let Some(store) = self.recovery.as_ref().filter(|_| self.recovers()) else { return false };
        let mut store = store.locked();
        store.has_sessions() && self.count(&mut store)
    }

    /// Counts what it takes while it stays without sockets, which clients decide, with all others of its parent that do:
    /// `false` if that is too much.
    fn count(&self, store: &mut Store) -> bool {
        let Some(parent) = &self.parent else { return true };
        let stays = self.is_unused_child() && store.has_sessions();
        if !stays && store.counted == 0 {
            return true;
        }
        let bytes = if stays { store.bytes() + 3 * self.path.len() + STAYING } else { 0 };
        let more = bytes.wrapping_sub(std::mem::replace(&mut store.counted, bytes));
        let all = parent.staying.fetch_add(more, Ordering::Relaxed).wrapping_add(more);
        // One that has as much as each may have does fit in, if it is alone.
        !stays || all <= store.max_bytes() || all == bytes
    }

    /// Drops what it keeps: nobody finds it any more.
    pub(crate) fn forget(&self) {
        let Some(store) = &self.recovery else { return };
        let old = {
            let mut store = store.locked();
            let new = Store::new(*store.options());
            std::mem::replace(&mut *store, new)
        };
        if let Some(parent) = &self.parent {
            parent.staying.fetch_sub(old.counted, Ordering::Relaxed);
        }
    }

    /// The sockets that a broadcast goes to. An event that can be repeated is kept for those who are away and given
    /// back with its offset, to be sent instead; both at one moment, so that a socket that comes back gets it once.
    pub(crate) fn select_and_store(
        &self,
        packet: &Packet<'_>,
        options: &BroadcastOptions,
    ) -> (Vec<Arc<SocketInner>>, Option<Packet<'static>>) {
        if packet.id.is_some() || options.flags.volatile || !self.recovers() {
            return (self.select(options), None);
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        let stored = self.with_recovery(|store, now| {
            // Not for one that is no longer found, and only a handle of the user's is left.
            let is_kept = store.has_sessions() || !self.is_unused_child();
            let packet = is_kept.then(|| store.store(packet, options, now, unix));
            (self.select(options), packet)
        });
        stored.unwrap_or_else(|| (self.select(options), None))
    }

    #[cfg(test)]
    pub(crate) fn stored_bytes(&self) -> usize {
        self.recovery.as_ref().map_or(0, |store| store.locked().bytes())
    }

    pub(crate) fn save_session(&self, pid: String, session: Session) {
        self.with_recovery(|store, now| store.save(pid, session, now));
    }

    pub(crate) fn restore_session(&self, pid: &str, offset: &str) -> Option<Restored> {
        self.with_recovery(|store, now| store.restore(pid, offset, now)).flatten()
    }

    /// What a returning client has missed since it was last asked for.
    pub(crate) fn take_missed(&self, restored: &mut Restored) -> Result<Vec<Packet<'static>>, Gone> {
        self.with_recovery(|store, _| store.take_missed(restored)).unwrap_or(Err(Gone))
    }

    /// Puts a returning client's socket into its rooms, unless there is something it has missed, which is given then:
    /// from here on it gets everything like all others.
    pub(crate) fn insert_returning(
        &self,
        socket: &Arc<SocketInner>,
        rooms: &[String],
        restored: &mut Restored,
    ) -> Result<Vec<Packet<'static>>, Gone> {
        let missed = self.with_recovery(|store, _| {
            let missed = store.take_missed(restored)?;
            if missed.is_empty() {
                self.change(socket.id(), |all, changes| insert(all, socket, rooms, changes));
            }
            Ok(missed)
        });
        self.tell();
        missed.unwrap_or(Err(Gone))
    }

    pub(crate) fn skips_middlewares(&self) -> bool {
        self.with_recovery(|store, _| store.options().skips_middlewares()).unwrap_or_default()
    }
}

/// What a namespace takes beside its events, sessions and name, about.
const STAYING: usize = 2000;

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use sio_protocol::engineio::Revision;
    use sio_protocol::engineio::session::Transport;

    use super::*;
    use crate::connection::Connection;
    use crate::handshake::Request;
    use crate::{ConnectionStateRecovery, Namespace, Server};

    fn recovering() -> Server {
        Server::builder().connection_state_recovery(ConnectionStateRecovery::new()).build()
    }

    /// Asserts that whoever runs `step` has the store locked when it comes to the rooms, and has not changed it before:
    /// nobody can come between.
    fn assert_one_step(io: &Server, step: impl FnOnce() + Send) {
        let namespace = &io.sockets().0;
        let store = namespace.recovery.as_ref().unwrap();
        let before = store.locked().event_count();
        thread::scope(|scope| {
            namespace.with_rooms(|_| {
                scope.spawn(step);
                let started = Instant::now();
                let mut locked = 0;
                while locked < 50 {
                    locked = match store.try_lock() {
                        Ok(store) => {
                            assert_eq!(store.event_count(), before, "kept, and nobody selected");
                            assert!(started.elapsed() < Duration::from_secs(5), "the store is not locked");
                            0
                        }
                        Err(_) => locked + 1,
                    };
                    // why: it has to stay locked, for longer than it takes to keep an event and let go.
                    thread::sleep(Duration::from_millis(1));
                }
            });
        });
    }

    #[test]
    fn an_event_is_kept_and_its_recipients_are_selected_in_one_step() {
        let io = recovering();
        assert_one_step(&io, || io.emit("n", &1));
        assert_eq!(io.sockets().0.recovery.as_ref().unwrap().locked().event_count(), 1);
    }

    #[test]
    fn a_socket_that_comes_back_is_found_to_have_missed_nothing_and_put_into_its_rooms_in_one_step() {
        let io = recovering();
        let namespace = &io.sockets().0;
        let (parts, ()) = http::Request::new(()).into_parts();
        let request = Request::new(&parts, None);
        let transport = Transport::Polling;
        let connection = Connection::open(&io.shared, Revision::V4, transport, false, None, request).unwrap();
        namespace.join_begins();
        let socket = SocketInner::new(Arc::clone(namespace), &connection, None);
        let data = "[\"n\"]";
        let packet = Packet::event("/", None, data, Vec::new());
        let (_, stored) = namespace.select_and_store(&packet, &BroadcastOptions::default());
        let stored = stored.unwrap();
        let offset = stored.args().deserialize::<String>().unwrap();
        let session = Session { id: socket.id().clone(), rooms: Vec::new(), data: None };
        namespace.save_session("pid".to_owned(), session);
        let mut restored = namespace.restore_session("pid", &offset).unwrap();
        assert_one_step(&io, || {
            assert!(namespace.insert_returning(&socket, &[], &mut restored).unwrap().is_empty());
        });
        assert_eq!(io.sockets().local_sockets().len(), 1);
    }

    /// A server on which every name is a namespace.
    fn matching(recovery: ConnectionStateRecovery) -> (Server, Arc<NamespaceInner>) {
        let io = Server::builder().connection_state_recovery(recovery).build();
        let parent = Arc::clone(&io.of_matching(|_, _| true).0);
        (io, parent)
    }

    /// The namespace that a client was in and has lost its connection to.
    fn left(io: &Server, path: &str) -> Arc<NamespaceInner> {
        io.shared.start();
        let connection = Connection::alone(&io.shared, Transport::Polling);
        let namespace = io.shared.namespace_for(path, "").unwrap();
        let socket = SocketInner::new(Arc::clone(&namespace), &connection, None);
        namespace.insert(&socket, &[]);
        let pid = socket.pid();
        assert!(!pid.is_empty());
        socket.leave_session(namespace.remove(&socket));
        namespace
    }

    fn is_there(io: &Server, namespace: &Arc<NamespaceInner>) -> bool {
        io.shared
            .children(namespace.parent.as_ref().unwrap())
            .iter()
            .any(|child| Arc::ptr_eq(child, namespace))
    }

    #[tokio::test]
    async fn a_matched_namespace_stays_until_nobody_can_come_back_to_it_and_keeps_nothing_then() {
        let recovery = ConnectionStateRecovery::new().max_disconnection_duration(Duration::from_secs(1));
        let (io, parent) = matching(recovery);
        let namespace = left(&io, "/x");
        assert!(is_there(&io, &namespace));
        io.of("/x").emit("missed", &1);
        assert!(namespace.stored_bytes() > 0 && parent.staying.load(Ordering::Relaxed) > 0);
        let gone = async {
            while is_there(&io, &namespace) {
                // why: only the time it takes makes the difference.
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.unwrap();
        // Also not for a handle that somebody has kept.
        Namespace::new(Arc::clone(&namespace)).emit("late", &1);
        assert_eq!((namespace.stored_bytes(), parent.staying.load(Ordering::Relaxed)), (0, 0));
    }

    #[tokio::test]
    async fn matched_namespaces_without_sockets_share_one_bound() {
        const BOUND: usize = 50_000;
        let (io, parent) = matching(ConnectionStateRecovery::new().max_stored_bytes(BOUND));
        for n in 0..100 {
            left(&io, &format!("/{n}"));
        }
        let count = || io.shared.children(&parent).len();
        let before = count();
        assert!((10..25).contains(&before), "{before} namespaces");
        // What is sent to them counts as well.
        Namespace::new(Arc::clone(&parent)).emit("to all", &"x".repeat(2000));
        assert!((5..before).contains(&count()), "{} namespaces", count());
        assert!(parent.staying.load(Ordering::Relaxed) <= BOUND);
        // One that is used no longer counts.
        let used = io.shared.children(&parent).remove(0);
        let counted = parent.staying.load(Ordering::Relaxed);
        used.join_begins();
        used.restore_session("unknown", "");
        assert!(parent.staying.load(Ordering::Relaxed) < counted);
        // Alone, one may keep as much as any.
        let (io, parent) = matching(ConnectionStateRecovery::new().max_stored_bytes(BOUND));
        let namespace = left(&io, "/x");
        let handle = Namespace::new(Arc::clone(&namespace));
        let emit = |count| (0..count).for_each(|_| handle.emit("e", &"x".repeat(1000)));
        emit(30);
        assert!(is_there(&io, &namespace) && io.shared.children(&parent).len() == 1);
        assert!(namespace.stored_bytes() > BOUND / 2);
        // Beyond that the session goes, once the events are younger, and without one there is nobody to keep them for.
        let start = Instant::now();
        while is_there(&io, &namespace) {
            assert!(start.elapsed() < Duration::from_secs(5));
            emit(1);
        }
        assert_eq!((namespace.stored_bytes(), parent.staying.load(Ordering::Relaxed)), (0, 0));
    }
}
