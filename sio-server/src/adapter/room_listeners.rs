//! Who hears of changes in rooms, and in which order: the one in which they were made.
//!
//! A change is queued under the lock of the rooms and told without any: by the thread that made it, unless another
//! is telling at that moment. Then that one goes on with it, and a listener is never called by two threads at a time.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, RwLock};

use super::rooms::Changes;
use super::{Adapter, RoomEvent, RoomInterest};
use crate::id::SocketId;
use crate::sync::{Lock, contained};

/// Who hears of the changes in one namespace's rooms: its adapter and the user.
#[derive(Default)]
pub(crate) struct RoomListeners {
    adapter: OnceLock<RoomInterest>,
    user: RwLock<Option<OnRoomEvent>>,
    has_user: AtomicBool,
    untold: Mutex<Untold>,
    /// Told when there is room in the queue again.
    room: Condvar,
}

type OnRoomEvent = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// What has been changed and not been told.
#[derive(Debug, Default)]
struct Untold {
    queue: VecDeque<(SocketId, Changes)>,
    /// Some thread tells.
    is_telling: bool,
    /// Threads that wait for room.
    waiting: usize,
}

impl RoomListeners {
    /// Notes what the adapter wants to hear, once it is there.
    pub(crate) fn set_interest(&self, interest: RoomInterest) {
        let _ = self.adapter.set(interest);
    }

    pub(crate) fn set_callback(&self, callback: OnRoomEvent) {
        let old = self.user.write().unwrap_or_else(PoisonError::into_inner).replace(callback);
        self.has_user.store(true, Ordering::Relaxed);
        // Without the lock: it is the user's code.
        drop(old);
    }

    fn interest(&self) -> RoomInterest {
        self.adapter.get().copied().unwrap_or_default()
    }

    /// Whether anybody wants to hear anything; `user` are the listeners that have the user's callback.
    pub(crate) fn is_wanted(&self, user: &Self) -> bool {
        user.has_user.load(Ordering::Relaxed) || self.interest() != RoomInterest::None
    }

    /// Queues what happened to a socket. To be called under the lock that it happened under.
    pub(crate) fn note(&self, socket: &SocketId, changes: Changes) {
        self.untold.locked().queue.push_back((socket.clone(), changes));
    }

    /// Tells the adapter and the user what has been noted, unless another thread, or a listener further up on this one,
    /// is at it and goes on with the rest.
    pub(crate) fn tell<'a>(&self, user: &Self, adapter: impl Fn() -> &'a dyn Adapter) {
        loop {
            let (socket, changes) = {
                let mut untold = self.untold.locked();
                // Whoever makes changes faster than they can be told waits, like everybody did who told them himself.
                while untold.is_telling && untold.queue.len() >= MAX_UNTOLD && !IS_TELLING.get() {
                    untold.waiting += 1;
                    untold = self.room.wait(untold).unwrap_or_else(PoisonError::into_inner);
                    untold.waiting -= 1;
                }
                if untold.is_telling {
                    return;
                }
                let Some(next) = untold.queue.pop_front() else {
                    untold.queue = VecDeque::new();
                    return;
                };
                untold.is_telling = true;
                next
            };
            let was_telling = IS_TELLING.replace(true);
            self.tell_one(user, adapter(), &socket, changes);
            IS_TELLING.set(was_telling);
            let is_awaited = {
                let mut untold = self.untold.locked();
                untold.is_telling = false;
                untold.waiting > 0
            };
            // A system call, which is nearly never needed.
            if is_awaited {
                self.room.notify_all();
            }
        }
    }

    fn tell_one(&self, user: &Self, adapter: &dyn Adapter, socket: &SocketId, changes: Changes) {
        let callback = user.user.read().unwrap_or_else(PoisonError::into_inner).clone();
        let interest = self.interest();
        for change in changes {
            let event = RoomEvent::of(change, socket);
            if interest.covers(&event) {
                contained("an adapter", || adapter.room_event(&event));
            }
            if let Some(callback) = callback.as_ref().filter(|_| !event.is_private()) {
                contained("on_room_event", || callback(&event));
            }
        }
    }
}

thread_local! {
    /// This thread is in a listener, which must not wait for itself.
    static IS_TELLING: Cell<bool> = const { Cell::new(false) };
}

/// How many operations on rooms may wait to be told, at about 100 bytes each.
const MAX_UNTOLD: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use crate::adapter::rooms::Change;
    use crate::connection::Connection;
    use crate::namespace::NamespaceInner;
    use crate::socket::SocketInner;
    use sio_protocol::engineio::session::Transport;
    use std::collections::HashSet;

    fn member(io: &Server, namespace: &Arc<NamespaceInner>) -> Arc<SocketInner> {
        let connection = Connection::alone(&io.shared, Transport::Polling);
        namespace.join_begins();
        let socket = SocketInner::new(Arc::clone(namespace), &connection, None);
        namespace.insert(&socket, &[]);
        socket
    }

    #[test]
    fn whatever_threads_change_a_room_its_events_are_told_in_the_order_of_the_changes() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 500;
        let io = Server::new();
        let namespace = &io.sockets().0;
        let told = Arc::new(Mutex::new(Vec::new()));
        let telling = Arc::new(AtomicBool::new(false));
        let log = Arc::clone(&told);
        io.sockets().on_room_event(move |event| {
            assert!(!telling.swap(true, Ordering::SeqCst), "two at a time");
            log.lock().unwrap().push(event.clone());
            std::thread::yield_now();
            telling.store(false, Ordering::SeqCst);
        });
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                let socket = member(&io, namespace);
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        namespace.join(&socket, &["room".to_owned()]);
                        namespace.leave(&socket, &["room".to_owned()]);
                    }
                });
            }
        });
        let mut there: Option<HashSet<SocketId>> = None;
        let mut ends = 0;
        for event in told.lock().unwrap().iter() {
            match (event, &mut there) {
                (RoomEvent::Created { .. }, None) => there = Some(HashSet::new()),
                (RoomEvent::Joined { socket, .. }, Some(there)) => assert!(there.insert(socket.clone())),
                (RoomEvent::Left { socket, .. }, Some(there)) => {
                    assert!(there.remove(socket));
                    ends += 1;
                }
                (RoomEvent::Deleted { .. }, Some(members)) if members.is_empty() => there = None,
                (event, there) => panic!("{event:?} with {there:?}"),
            }
        }
        assert_eq!((there, ends), (None, THREADS * ROUNDS));
    }

    #[test]
    fn a_listener_may_change_rooms_itself_and_hears_of_it_afterwards() {
        let io = Server::new();
        let namespace = Arc::clone(&io.sockets().0);
        let socket = member(&io, &namespace);
        let told = Arc::new(Mutex::new(Vec::new()));
        let (log, here, its) = (Arc::clone(&told), Arc::clone(&namespace), Arc::clone(&socket));
        io.sockets().on_room_event(move |event| {
            if matches!(event, RoomEvent::Created { room } if room == "a") {
                here.join(&its, &["b".to_owned()]);
            }
            log.lock().unwrap().push(event.clone());
        });
        namespace.join(&socket, &["a".to_owned()]);
        let (id, a, b) = (socket.id().clone(), "a".to_owned(), "b".to_owned());
        let expected = [
            RoomEvent::Created { room: a.clone() },
            RoomEvent::Joined { room: a, socket: id.clone() },
            RoomEvent::Created { room: b.clone() },
            RoomEvent::Joined { room: b, socket: id },
        ];
        assert_eq!(told.lock().unwrap()[..], expected);
    }

    #[test]
    fn whoever_makes_changes_faster_than_they_are_told_waits() {
        const COUNT: usize = 3 * MAX_UNTOLD;
        let io = Server::new();
        let adapter = Arc::clone(io.sockets().0.adapter());
        let listeners = Arc::new(RoomListeners::default());
        let (seen, its) = (Arc::new(Mutex::new(Vec::new())), Arc::clone(&listeners));
        let log = Arc::clone(&seen);
        let waiting = move || its.untold.locked().queue.len();
        listeners.set_callback(Arc::new(move |event| {
            if log.lock().unwrap().is_empty() {
                while waiting() < MAX_UNTOLD {
                    std::thread::yield_now();
                }
                // Time for more than the bound, were there none.
                (0..1000).for_each(|_| std::thread::yield_now());
            }
            let RoomEvent::Created { room } = event else { return };
            log.lock().unwrap().push((room.parse::<usize>().unwrap(), waiting()));
        }));
        let change = |n: usize| {
            listeners.note(&SocketId::from("id"), Changes::of(Change::Created(n.to_string().into())));
            listeners.tell(&listeners, || &*adapter);
        };
        std::thread::scope(|scope| {
            scope.spawn(|| change(0));
            while !listeners.untold.locked().is_telling {
                std::thread::yield_now();
            }
            (1..COUNT).for_each(change);
        });
        let seen = seen.lock().unwrap();
        assert!(seen.iter().map(|(n, _)| *n).eq(0..COUNT), "out of order");
        assert_eq!(seen.iter().map(|(_, waiting)| *waiting).max(), Some(MAX_UNTOLD));
    }
}
