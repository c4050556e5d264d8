//! Which rooms' channels this node is subscribed to, in step with which rooms it has.
//!
//! Rooms change on many threads, which report after the fact and in any order. So nobody acts on a report: it makes
//! this look once more whether the room exists. What follows from a look is carried out in the order of the looks, by
//! whichever thread is at it already.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
pub(super) struct RoomChannels(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    rooms: HashMap<Box<str>, Room>,
    /// What has to be subscribed to (true) or no more, in this order.
    due: VecDeque<(Box<str>, bool)>,
    /// Some thread is carrying out what is due.
    is_busy: bool,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Room {
    /// As of the last look.
    is_wanted: bool,
    /// Carried out.
    is_subscribed: bool,
}

impl RoomChannels {
    /// Looks whether the channel of `room` is wanted, and has `change` called if that is new, with no lock held.
    pub(super) fn reconcile(
        &self,
        room: &str,
        wanted: impl FnOnce() -> bool,
        mut change: impl FnMut(&str, bool),
    ) {
        {
            let mut state = self.locked();
            if state.is_closed {
                return;
            }
            let wanted = wanted();
            let known = state.rooms.get_mut(room);
            if known.as_ref().is_some_and(|known| known.is_wanted) != wanted {
                match known {
                    Some(known) => known.is_wanted = wanted,
                    None => {
                        state.rooms.insert(room.into(), Room { is_wanted: wanted, is_subscribed: false });
                    }
                }
                state.due.push_back((room.into(), wanted));
            }
            if state.due.is_empty() || std::mem::replace(&mut state.is_busy, true) {
                return;
            }
        }
        while let Some((room, wanted)) = self.next() {
            change(&room, wanted);
            if wanted && !self.keep(&room) {
                change(&room, false);
            }
        }
    }

    /// Gives the rooms whose channels are subscribed to, and takes no further changes. A subscription that is just being
    /// carried out is taken back by the thread that does it.
    pub(super) fn close(&self) -> Vec<Box<str>> {
        let mut state = self.locked();
        state.is_closed = true;
        state.due.clear();
        let rooms = std::mem::take(&mut state.rooms).into_iter();
        rooms.filter(|(_, room)| room.is_subscribed).map(|(name, _)| name).collect()
    }

    /// Notes that the channel of `room` has been subscribed to, unless the end has come meanwhile.
    fn keep(&self, room: &str) -> bool {
        let mut state = self.locked();
        if let Some(room) = state.rooms.get_mut(room) {
            room.is_subscribed = true;
        }
        !state.is_closed
    }

    fn next(&self) -> Option<(Box<str>, bool)> {
        let mut state = self.locked();
        let Some((room, wanted)) = state.due.pop_front() else {
            state.is_busy = false;
            return None;
        };
        if !wanted && let Some(known) = state.rooms.get_mut(&room) {
            // Before it is carried out: whoever comes with the end must not do it once more.
            known.is_subscribed = false;
            if !known.is_wanted {
                state.rooms.remove(&room);
            }
        }
        Some((room, wanted))
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[test]
    fn only_changes_are_carried_out() {
        let rooms = RoomChannels::default();
        let mut changes = Vec::new();
        for wanted in [false, true, true, false, false] {
            rooms.reconcile("a", || wanted, |room, wanted| changes.push((room.to_owned(), wanted)));
        }
        assert_eq!(changes, [("a".to_owned(), true), ("a".to_owned(), false)]);
    }

    #[test]
    fn after_the_end_nothing_is_subscribed_to() {
        let rooms = RoomChannels::default();
        rooms.reconcile("a", || true, |_, _| {});
        assert_eq!(rooms.close().len(), 1);
        rooms.reconcile("b", || true, |room, _| panic!("{room} was subscribed to"));
    }

    #[test]
    fn an_end_in_the_middle_of_a_change_leaves_nothing_and_takes_back_nothing_else() {
        let rooms = RoomChannels::default();
        rooms.reconcile("kept", || true, |_, _| {});
        let (mut changes, mut taken_back) = (Vec::new(), Vec::new());
        rooms.reconcile(
            "a",
            || true,
            |room, wanted| {
                if changes.is_empty() {
                    // What other threads do meanwhile: one room more, and the end.
                    rooms.reconcile("b", || true, |room, _| panic!("{room}: somebody is at it already"));
                    taken_back = rooms.close();
                }
                changes.push((room.to_owned(), wanted));
            },
        );
        assert_eq!(changes, [("a".to_owned(), true), ("a".to_owned(), false)]);
        assert_eq!(taken_back, [Box::<str>::from("kept")], "`b` was never subscribed to");

        // One that is being taken back, to be there again after that.
        let rooms = RoomChannels::default();
        rooms.reconcile("a", || true, |_, _| {});
        let mut changes = Vec::new();
        rooms.reconcile(
            "b",
            || true,
            |room, wanted| {
                changes.push((room.to_owned(), wanted));
                match (room, wanted) {
                    ("b", true) => [false, true].into_iter().for_each(|wanted| {
                        rooms.reconcile("a", || wanted, |_, _| panic!("somebody is at it"))
                    }),
                    ("a", false) => assert_eq!(rooms.close(), [Box::<str>::from("b")]),
                    other => panic!("{other:?}"),
                }
            },
        );
        assert_eq!(changes, [("b".to_owned(), true), ("a".to_owned(), false)]);
    }

    #[test]
    fn threads_that_report_in_any_order_end_with_what_is() {
        let rooms = RoomChannels::default();
        let (exists, subscribed, odd) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (rooms, exists, subscribed, odd) = (&rooms, &exists, &subscribed, &odd);
                scope.spawn(move || {
                    for turn in 0..2_000 {
                        exists.store((turn + thread) % 2 == 0, Ordering::SeqCst);
                        let carry_out = |_: &str, wanted| {
                            // Two equal changes in a row mean that one overtook another.
                            if subscribed.swap(wanted, Ordering::SeqCst) == wanted {
                                odd.fetch_add(1, Ordering::SeqCst);
                            }
                        };
                        rooms.reconcile("a", || exists.load(Ordering::SeqCst), carry_out);
                    }
                });
            }
        });
        assert_eq!(odd.into_inner(), 0);
        rooms.reconcile(
            "a",
            || exists.load(Ordering::SeqCst),
            |_, wanted| {
                subscribed.store(wanted, Ordering::SeqCst);
            },
        );
        assert_eq!(subscribed.into_inner(), exists.into_inner());
    }
}
