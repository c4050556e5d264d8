//! Who is in which room: the index behind every broadcast. Pure data, generic over what a member is.
//!
//! Members and rooms are numbers into slabs; a room is a dense list of member numbers and a member knows its
//! position in each of its rooms, so joining and leaving cost the same in a room of ten and of ten thousand, and a
//! broadcast is a linear scan without hashing. Every member also sits in a room named by its own id; that one is
//! answered from the id table and takes no memory.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};
use smallvec::SmallVec;

/// What sits in rooms.
pub(crate) trait Member: Clone {
    /// The unique id, which is also the name of the member's own room.
    fn id(&self) -> &str;
}

/// A change that somebody may want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The member's own room begins.
    Added,
    Created(Box<str>),
    Joined(Box<str>),
    Left(Box<str>),
    Deleted(Box<str>),
    /// The member's own room ends.
    Removed,
}

/// The changes that one operation made to one member, in order; none are noted when nobody wants to hear of them.
#[derive(Debug)]
pub(crate) struct Changes {
    wanted: bool,
    list: SmallVec<[Change; 2]>,
}

impl Changes {
    pub(crate) fn new(wanted: bool) -> Self {
        Self { wanted, list: SmallVec::new() }
    }

    #[cfg(test)]
    pub(crate) fn of(change: Change) -> Self {
        Self { wanted: true, list: SmallVec::from_iter([change]) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn note(&mut self, change: impl FnOnce() -> Change) {
        if self.wanted {
            self.list.push(change());
        }
    }
}

impl IntoIterator for Changes {
    type Item = Change;
    type IntoIter = smallvec::IntoIter<[Change; 2]>;

    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

/// Where a member sits in one of its rooms.
#[derive(Clone, Copy, Debug)]
struct Seat {
    room: u32,
    position: u32,
}

#[derive(Debug)]
struct Slot<M> {
    member: M,
    seats: SmallVec<[Seat; 2]>,
    /// The number of the last selection that saw this member: each is selected once, without a set.
    stamp: u32,
    /// It has left its own room.
    own_room_left: bool,
}

#[derive(Debug)]
struct Room {
    name: Box<str>,
    members: Vec<u32>,
}

/// The members of one namespace and their rooms.
#[derive(Debug)]
pub(crate) struct Rooms<M> {
    slots: Vec<Option<Slot<M>>>,
    free_slots: Vec<u32>,
    ids: HashTable<u32>,
    rooms: Vec<Option<Room>>,
    free_rooms: Vec<u32>,
    names: HashTable<u32>,
    hasher: DefaultHashBuilder,
    stamp: u32,
}

impl<M: Member> Rooms<M> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free_slots: Vec::new(),
            ids: HashTable::new(),
            rooms: Vec::new(),
            free_rooms: Vec::new(),
            names: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            stamp: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Adds a member, in its own room. The id must be new.
    pub(crate) fn insert(&mut self, member: M, changes: &mut Changes) {
        changes.note(|| Change::Added);
        let hash = self.hasher.hash_one(member.id());
        let slot = Slot { member, seats: SmallVec::new(), stamp: self.stamp, own_room_left: false };
        let index = match self.free_slots.pop() {
            Some(index) => {
                self.slots[index as usize] = Some(slot);
                index
            }
            None => {
                self.slots.push(Some(slot));
                index(self.slots.len() - 1)
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.ids.insert_unique(hash, index, |i| hasher.hash_one(slot_id(slots, *i)));
    }

    /// Removes a member from everywhere; gives it back.
    pub(crate) fn remove(&mut self, id: &str, changes: &mut Changes) -> Option<M> {
        let index = self.find(id)?;
        let seats = std::mem::take(&mut self.slot_mut(index)?.seats);
        for seat in seats {
            self.vacate(seat, changes);
        }
        let slots = &self.slots;
        if let Ok(entry) = self.ids.find_entry(self.hasher.hash_one(id), |i| slot_id(slots, *i) == id) {
            entry.remove();
        }
        let slot = self.slots[index as usize].take();
        self.free_slots.push(index);
        if self.is_empty() {
            // The last one out gives everything back.
            let hasher = std::mem::take(&mut self.hasher);
            *self = Self { hasher, ..Self::new() };
        }
        self.shrink();
        let slot = slot?;
        if !slot.own_room_left {
            changes.note(|| Change::Removed);
        }
        Some(slot.member)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&M> {
        Some(&self.slots[self.find(id)? as usize].as_ref()?.member)
    }

    /// Puts a member into a room; nothing happens when it is there already or gone.
    pub(crate) fn join(&mut self, id: &str, name: &str, changes: &mut Changes) {
        let Some(member) = self.find(id) else { return };
        if name == id {
            if let Some(slot) = self.slot_mut(member)
                && std::mem::take(&mut slot.own_room_left)
            {
                changes.note(|| Change::Added);
            }
            return;
        }
        let room = match self.find_room(name) {
            Some(room) => room,
            None => {
                changes.note(|| Change::Created(name.into()));
                self.create_room(name)
            }
        };
        let Some(slot) = self.slots[member as usize].as_mut() else { return };
        if slot.seats.iter().any(|seat| seat.room == room) {
            return;
        }
        let Some(members) = self.rooms[room as usize].as_mut().map(|room| &mut room.members) else { return };
        slot.seats.push(Seat { room, position: index(members.len()) });
        members.push(member);
        changes.note(|| Change::Joined(name.into()));
    }

    /// Takes a member out of a room; nothing happens when it is not there.
    pub(crate) fn leave(&mut self, id: &str, name: &str, changes: &mut Changes) {
        let Some(member) = self.find(id) else { return };
        if name == id {
            if let Some(slot) = self.slot_mut(member)
                && !std::mem::replace(&mut slot.own_room_left, true)
            {
                changes.note(|| Change::Removed);
            }
            return;
        }
        let Some(room) = self.find_room(name) else { return };
        let Some(slot) = self.slot_mut(member) else { return };
        let Some(at) = slot.seats.iter().position(|seat| seat.room == room) else { return };
        let seat = slot.seats.swap_remove(at);
        if slot.seats.capacity() > 64 && slot.seats.len() < slot.seats.capacity() / 4 {
            slot.seats.shrink_to_fit();
        }
        self.vacate(seat, changes);
        self.shrink();
    }

    /// The rooms of a member, its own first.
    pub(crate) fn of(&self, id: &str) -> Vec<String> {
        let Some(slot) = self.find(id).and_then(|i| self.slots[i as usize].as_ref()) else {
            return Vec::new();
        };
        let own = (!slot.own_room_left).then(|| id.to_owned());
        let others = slot.seats.iter().filter_map(|seat| self.rooms[seat.room as usize].as_ref());
        own.into_iter().chain(others.map(|room| room.name.to_string())).collect()
    }

    /// The names of all rooms that are not a member's own.
    pub(crate) fn names(&self) -> Vec<String> {
        self.rooms.iter().flatten().map(|room| room.name.to_string()).collect()
    }

    /// The names of all rooms, the members' own among them.
    pub(crate) fn all_names(&self) -> Vec<String> {
        let own = self.slots.iter().flatten().filter(|slot| !slot.own_room_left).map(|slot| slot.member.id());
        // A member's id may also be the name of a room that others have joined.
        let own = own.filter(|id| self.find_room(id).is_none()).map(str::to_owned);
        own.chain(self.rooms.iter().flatten().map(|room| room.name.to_string())).collect()
    }

    /// Whether a member is in the room `name`.
    pub(crate) fn contains(&self, id: &str, name: &str) -> bool {
        let Some(slot) = self.find(id).and_then(|i| self.slots[i as usize].as_ref()) else { return false };
        if name == id {
            return !slot.own_room_left;
        }
        self.find_room(name).is_some_and(|room| slot.seats.iter().any(|seat| seat.room == room))
    }

    /// Whether anybody is in the room `name`, as its member or by its own id.
    pub(crate) fn is_occupied(&self, name: &str) -> bool {
        self.find_room(name).is_some() || self.owner(name).is_some()
    }

    /// Calls `f` once for every member in any of `rooms` (all members when empty) that is in none of `except`.
    pub(crate) fn select<'a>(
        &'a mut self,
        rooms: impl ExactSizeIterator<Item = &'a str>,
        except: impl Iterator<Item = &'a str>,
        mut f: impl FnMut(&M),
    ) {
        let stamp = self.next_stamp();
        for name in except {
            // Stamped members count as seen.
            if let Some(index) = self.owner(name) {
                stamp_once(&mut self.slots, index, stamp);
            }
            if let Some(room) = self.find_room(name).and_then(|room| self.rooms[room as usize].as_ref()) {
                for index in &room.members {
                    stamp_once(&mut self.slots, *index, stamp);
                }
            }
        }
        if rooms.len() == 0 {
            for slot in self.slots.iter_mut().flatten() {
                if slot.stamp != stamp {
                    f(&slot.member);
                }
            }
            return;
        }
        for name in rooms {
            if let Some(index) = self.owner(name)
                && let Some(member) = stamp_once(&mut self.slots, index, stamp)
            {
                f(member);
            }
            if let Some(room) = self.find_room(name).and_then(|room| self.rooms[room as usize].as_ref()) {
                for index in &room.members {
                    if let Some(member) = stamp_once(&mut self.slots, *index, stamp) {
                        f(member);
                    }
                }
            }
        }
    }

    /// Gives back the memory of a burst, of members or of rooms: what is left gets the numbers from 0 on, once at least
    /// three in four have gone since the last time.
    fn shrink(&mut self) {
        if is_sparse(self.slots.len(), self.ids.len()) {
            self.free_slots = Vec::new();
            self.ids = HashTable::with_capacity(self.ids.len());
            let old = std::mem::take(&mut self.slots);
            for slot in old.into_iter().flatten() {
                let member = index(self.slots.len());
                for seat in &slot.seats {
                    if let Some(room) = self.rooms[seat.room as usize].as_mut() {
                        room.members[seat.position as usize] = member;
                    }
                }
                let hash = self.hasher.hash_one(slot.member.id());
                self.slots.push(Some(slot));
                let (slots, hasher) = (&self.slots, &self.hasher);
                self.ids.insert_unique(hash, member, |i| hasher.hash_one(slot_id(slots, *i)));
            }
        }
        if is_sparse(self.rooms.len(), self.names.len()) {
            self.free_rooms = Vec::new();
            self.names = HashTable::with_capacity(self.names.len());
            let old = std::mem::take(&mut self.rooms);
            for (before, room) in old.into_iter().enumerate().filter_map(|(at, room)| Some((at, room?))) {
                let at = index(self.rooms.len());
                for member in &room.members {
                    // New numbers are below all old ones that have not had their turn: none is taken for another.
                    let seats = self.slots[*member as usize].iter_mut().flat_map(|slot| &mut slot.seats);
                    seats.filter(|seat| seat.room as usize == before).for_each(|seat| seat.room = at);
                }
                let hash = self.hasher.hash_one(&*room.name);
                self.rooms.push(Some(room));
                let (rooms, hasher) = (&self.rooms, &self.hasher);
                self.names.insert_unique(hash, at, |i| hasher.hash_one(room_name(rooms, *i)));
            }
        }
    }

    fn next_stamp(&mut self) -> u32 {
        if self.stamp == u32::MAX {
            // Once in four billion selections old stamps have to be forgotten.
            self.slots.iter_mut().flatten().for_each(|slot| slot.stamp = 0);
            self.stamp = 0;
        }
        self.stamp += 1;
        self.stamp
    }

    /// The member whose own room is called `name`.
    fn owner(&self, name: &str) -> Option<u32> {
        self.find(name).filter(|i| self.slots[*i as usize].as_ref().is_some_and(|slot| !slot.own_room_left))
    }

    fn find(&self, id: &str) -> Option<u32> {
        self.ids.find(self.hasher.hash_one(id), |i| slot_id(&self.slots, *i) == id).copied()
    }

    fn find_room(&self, name: &str) -> Option<u32> {
        self.names.find(self.hasher.hash_one(name), |i| room_name(&self.rooms, *i) == name).copied()
    }

    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<M>> {
        self.slots[index as usize].as_mut()
    }

    fn create_room(&mut self, name: &str) -> u32 {
        let room = Room { name: name.into(), members: Vec::new() };
        let at = match self.free_rooms.pop() {
            Some(at) => {
                self.rooms[at as usize] = Some(room);
                at
            }
            None => {
                self.rooms.push(Some(room));
                index(self.rooms.len() - 1)
            }
        };
        let (rooms, hasher) = (&self.rooms, &self.hasher);
        self.names.insert_unique(hasher.hash_one(name), at, |i| hasher.hash_one(room_name(rooms, *i)));
        at
    }

    /// Empties a seat; the last member of the room moves into it. An empty room vanishes.
    fn vacate(&mut self, seat: Seat, changes: &mut Changes) {
        let Some(room) = self.rooms[seat.room as usize].as_mut() else { return };
        changes.note(|| Change::Left(room.name.clone()));
        room.members.swap_remove(seat.position as usize);
        if let Some(moved) = room.members.get(seat.position as usize)
            && let Some(slot) = self.slots[*moved as usize].as_mut()
            && let Some(theirs) = slot.seats.iter_mut().find(|theirs| theirs.room == seat.room)
        {
            theirs.position = seat.position;
        }
        if room.members.is_empty() {
            let rooms = &self.rooms;
            let name = room_name(rooms, seat.room);
            if let Ok(entry) = self.names.find_entry(self.hasher.hash_one(name), |i| *i == seat.room) {
                entry.remove();
            }
            if let Some(room) = self.rooms[seat.room as usize].take() {
                changes.note(|| Change::Deleted(room.name));
            }
            self.free_rooms.push(seat.room);
        } else if room.members.capacity() > 64 && room.members.len() < room.members.capacity() / 4 {
            let half = room.members.capacity() / 2;
            room.members.shrink_to(half);
        }
    }
}

/// Whether so few of the numbers are in use that it is worth giving out new ones.
fn is_sparse(numbers: usize, used: usize) -> bool {
    numbers > SHRINK_MIN && used < numbers / 4
}

/// Marks a member as seen; gives it the first time only.
fn stamp_once<M>(slots: &mut [Option<Slot<M>>], index: u32, stamp: u32) -> Option<&M> {
    let slot = slots[index as usize].as_mut()?;
    if slot.stamp == stamp {
        return None;
    }
    slot.stamp = stamp;
    Some(&slot.member)
}

fn slot_id<M: Member>(slots: &[Option<Slot<M>>], index: u32) -> &str {
    slots[index as usize].as_ref().map_or("", |slot| slot.member.id())
}

fn room_name(rooms: &[Option<Room>], index: u32) -> &str {
    rooms[index as usize].as_ref().map_or("", |room| &room.name)
}

/// Four billion members or rooms do not fit into memory.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Fewer numbers than this are not worth the trouble. Tests shrink all the time.
const SHRINK_MIN: usize = if cfg!(test) { 4 } else { 64 };

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    impl Member for String {
        fn id(&self) -> &str {
            self
        }
    }

    fn select(rooms: &mut Rooms<String>, targets: &[&str], except: &[&str]) -> Vec<String> {
        let mut seen = Vec::new();
        rooms.select(targets.iter().copied(), except.iter().copied(), |member| seen.push(member.clone()));
        seen.sort();
        seen
    }

    fn of(members: &[(&str, &[&str])]) -> Rooms<String> {
        let mut rooms = Rooms::new();
        for (id, names) in members {
            rooms.insert((*id).to_owned(), &mut Changes::new(false));
            for name in *names {
                rooms.join(id, name, &mut Changes::new(true));
            }
        }
        rooms
    }

    #[test]
    fn a_member_of_two_target_rooms_is_selected_once() {
        let mut rooms = of(&[("a", &["x", "y"]), ("b", &["y"]), ("c", &[])]);
        assert_eq!(select(&mut rooms, &["x", "y", "a"], &[]), ["a", "b"]);
    }

    #[test]
    fn no_target_means_everybody_but_the_excepted() {
        let mut rooms = of(&[("a", &["x"]), ("b", &["y"]), ("c", &[])]);
        assert_eq!(select(&mut rooms, &[], &[]), ["a", "b", "c"]);
        assert_eq!(select(&mut rooms, &[], &["x", "c"]), ["b"]);
        assert_eq!(select(&mut rooms, &["x", "y"], &["y"]), ["a"]);
    }

    #[test]
    fn everybody_is_reached_by_its_own_id_until_it_leaves_that_room() {
        let mut rooms = of(&[("a", &[]), ("b", &["a"])]);
        assert_eq!(select(&mut rooms, &["a"], &[]), ["a", "b"]);
        rooms.leave("a", "a", &mut Changes::new(true));
        assert_eq!(select(&mut rooms, &["a"], &[]), ["b"]);
        assert_eq!(rooms.of("a"), Vec::<String>::new());
        rooms.join("a", "a", &mut Changes::new(true));
        assert_eq!(rooms.of("a"), ["a"]);
    }

    #[test]
    fn changes_say_when_a_room_begins_and_ends() {
        let mut rooms = of(&[("a", &[]), ("b", &[])]);
        let mut changes = Changes::new(true);
        rooms.join("a", "x", &mut changes);
        rooms.join("b", "x", &mut changes);
        rooms.join("b", "x", &mut changes);
        rooms.leave("a", "x", &mut changes);
        rooms.remove("b", &mut changes);
        let x = || Box::<str>::from("x");
        let expected = [
            Change::Created(x()),
            Change::Joined(x()),
            Change::Joined(x()),
            Change::Left(x()),
            Change::Left(x()),
            Change::Deleted(x()),
            Change::Removed,
        ];
        assert_eq!(changes.list[..], expected);
        assert!(rooms.names().is_empty());
    }

    #[test]
    fn a_member_s_own_room_begins_and_ends_once() {
        let mut rooms = Rooms::new();
        let mut changes = Changes::new(true);
        rooms.insert("a".to_owned(), &mut changes);
        rooms.join("a", "a", &mut changes);
        assert_eq!(changes.list[..], [Change::Added]);
        rooms.insert("b".to_owned(), &mut Changes::new(true));
        rooms.join("b", "a", &mut Changes::new(true));
        rooms.join("b", "x", &mut Changes::new(true));
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        assert_eq!(sorted(rooms.all_names()), ["a", "b", "x"], "each once");
        let mut changes = Changes::new(true);
        rooms.leave("a", "a", &mut changes);
        rooms.leave("a", "a", &mut changes);
        rooms.remove("a", &mut changes);
        assert_eq!(changes.list[..], [Change::Removed]);
        assert_eq!(sorted(rooms.all_names()), ["a", "b", "x"]);
        rooms.leave("b", "a", &mut Changes::new(true));
        assert_eq!(sorted(rooms.all_names()), ["b", "x"]);
    }

    #[test]
    fn nothing_is_noted_when_nobody_listens() {
        let mut rooms = Rooms::new();
        let mut changes = Changes::new(false);
        rooms.insert("a".to_owned(), &mut changes);
        rooms.join("a", "x", &mut changes);
        rooms.remove("a", &mut changes);
        assert!(changes.is_empty());
    }

    #[test]
    fn joining_after_removal_does_nothing() {
        let mut rooms = of(&[("a", &[])]);
        rooms.remove("a", &mut Changes::new(true));
        let mut changes = Changes::new(true);
        rooms.join("a", "x", &mut changes);
        assert!(changes.is_empty() && rooms.names().is_empty() && rooms.is_empty());
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back() {
        const BURST: usize = 10_000;
        let mut rooms = of(&[("stays", &["home"])]);
        for n in 0..BURST {
            rooms.insert(n.to_string(), &mut Changes::new(false));
            rooms.join(&n.to_string(), &format!("room {n}"), &mut Changes::new(false));
            rooms.join("stays", &format!("visited {n}"), &mut Changes::new(false));
        }
        for n in 0..BURST {
            rooms.leave("stays", &format!("visited {n}"), &mut Changes::new(false));
            rooms.remove(&n.to_string(), &mut Changes::new(false));
        }
        let capacities = [
            rooms.slots.capacity(),
            rooms.free_slots.capacity(),
            rooms.ids.capacity(),
            rooms.rooms.capacity(),
            rooms.free_rooms.capacity(),
            rooms.names.capacity(),
            rooms.slots.iter().flatten().map(|slot| slot.seats.capacity()).sum(),
        ];
        assert!(capacities.iter().all(|capacity| *capacity < 100), "{capacities:?}");
        assert_eq!(select(&mut rooms, &["home"], &[]), ["stays"]);
        assert_eq!(rooms.of("stays"), ["stays", "home"]);
    }

    /// Random operations against the obvious model.
    #[test]
    fn it_agrees_with_a_map_of_sets() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |n: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % n
        };
        let mut rooms = Rooms::new();
        let mut model: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for step in 0..50_000 {
            let id = format!("m{}", next(40));
            let name = format!("r{}", next(12));
            // A tide, so that there are times when most are gone.
            let leaving = step % 2000 > 1000;
            match next(8) {
                0 if !model.contains_key(&id) => {
                    rooms.insert(id.clone(), &mut Changes::new(true));
                    model.insert(id, BTreeSet::new());
                }
                1 if leaving || next(4) == 0 => assert_eq!(
                    rooms.remove(&id, &mut Changes::new(true)).is_some(),
                    model.remove(&id).is_some()
                ),
                2..=4 => {
                    rooms.join(&id, &name, &mut Changes::new(true));
                    if let Some(names) = model.get_mut(&id) {
                        names.insert(name);
                    }
                }
                5 | 6 => {
                    rooms.leave(&id, &name, &mut Changes::new(true));
                    if let Some(names) = model.get_mut(&id) {
                        names.remove(&name);
                    }
                }
                _ => {
                    let other = format!("r{}", next(12));
                    let expected: Vec<String> = model
                        .iter()
                        .filter(|(_, names)| {
                            (names.contains(&name) || names.contains(&other)) && !names.contains("r3")
                        })
                        .map(|(id, _)| id.clone())
                        .collect();
                    assert_eq!(select(&mut rooms, &[&name, &other], &["r3"]), expected);
                    let alive: BTreeSet<&String> = model.values().flatten().collect();
                    let names: BTreeSet<String> = rooms.names().into_iter().collect();
                    assert_eq!(names.iter().collect::<BTreeSet<_>>(), alive);
                }
            }
            assert_eq!(rooms.len(), model.len());
        }
    }
}
