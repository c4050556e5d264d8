//! The namespaces of an adapter by name, and which of them a channel can be for.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sio_protocol::cluster::namespaces_of;

/// The namespaces that are there, each with what belongs to it.
pub(super) struct Namespaces<T>(RwLock<State<T>>);

struct State<T> {
    by_name: HashMap<Box<str>, Arc<T>>,
    /// How many names have each length: no other beginning of a channel need be looked up. A room, and so a channel,
    /// may be called `####..`, and hashing each of its beginnings would take the square of its length.
    lengths: BTreeMap<usize, usize>,
}

impl<T> Namespaces<T> {
    /// Adds a namespace. Gives the one of that name which was there before.
    pub(super) fn insert(&self, name: &str, namespace: Arc<T>) -> Option<Arc<T>> {
        let mut state = self.write();
        let replaced = state.by_name.insert(name.into(), namespace);
        if replaced.is_none() {
            *state.lengths.entry(name.len()).or_default() += 1;
        }
        replaced
    }

    /// Takes a namespace out, unless another one has its name by now.
    pub(super) fn remove(&self, name: &str, namespace: &Arc<T>) {
        let mut state = self.write();
        if let Entry::Occupied(entry) = state.by_name.entry(name.into())
            && Arc::ptr_eq(entry.get(), namespace)
        {
            entry.remove();
            let left = state.lengths.get_mut(&name.len()).map(|count| {
                *count -= 1;
                *count
            });
            if left == Some(0) {
                state.lengths.remove(&name.len());
            }
        }
    }

    /// Takes all out.
    pub(super) fn drain(&self) -> Vec<Arc<T>> {
        let mut state = self.write();
        state.lengths.clear();
        state.by_name.drain().map(|(_, namespace)| namespace).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.read().by_name.is_empty()
    }

    /// Calls `f`, with no lock held, for every namespace that a channel beginning with `family` can be for: one with a
    /// `#` in its name may be for several, and which one is meant, the message says.
    pub(super) fn each_of(&self, family: &str, channel: &str, mut f: impl FnMut(&T)) {
        let mut names = namespaces_of(family, channel).map(|(name, _)| name);
        while let Some(namespace) = self.next_of(&mut names) {
            f(&namespace);
        }
    }

    fn next_of<'a>(&self, names: &mut impl Iterator<Item = &'a str>) -> Option<Arc<T>> {
        let state = self.read();
        let longest = *state.lengths.last_key_value()?.0;
        names
            .take_while(|name| name.len() <= longest)
            .filter(|name| state.lengths.contains_key(&name.len()))
            .find_map(|name| state.by_name.get(name).cloned())
    }

    fn read(&self) -> RwLockReadGuard<'_, State<T>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<T>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Namespaces<T> {
    fn default() -> Self {
        Self(RwLock::new(State { by_name: HashMap::new(), lengths: BTreeMap::new() }))
    }
}

impl<T> fmt::Debug for Namespaces<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.read().by_name.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(namespaces: &Namespaces<&'static str>, channel: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        namespaces.each_of("io", channel, |name| found.push(*name));
        found
    }

    #[test]
    fn a_channel_finds_every_namespace_that_it_can_be_for() {
        let namespaces = Namespaces::default();
        let added = ["/", "/a", "/a#b", "/long"].map(|name| {
            let namespace = Arc::new(name);
            assert!(namespaces.insert(name, Arc::clone(&namespace)).is_none());
            namespace
        });
        assert_eq!(found(&namespaces, "io#/#room#"), ["/"]);
        assert_eq!(found(&namespaces, "io#/a#b#c#"), ["/a", "/a#b"]);
        assert_eq!(found(&namespaces, "io#/b#"), [""; 0]);
        assert_eq!(found(&namespaces, "io#/long#"), ["/long"]);

        let again = Arc::new("/a again");
        assert_eq!(namespaces.insert("/a", Arc::clone(&again)).as_deref(), Some(&"/a"));
        namespaces.remove("/a", &added[1]);
        assert_eq!(found(&namespaces, "io#/a#b#c#"), ["/a again", "/a#b"], "another has its name by now");
        namespaces.remove("/a", &again);
        namespaces.remove("/long", &added[3]);
        assert_eq!(found(&namespaces, "io#/a#b#c#"), ["/a#b"]);
        assert_eq!(found(&namespaces, "io#/long#"), [""; 0]);
        assert_eq!((namespaces.drain().len(), namespaces.is_empty()), (2, true));
        assert_eq!(found(&namespaces, "io#/#"), [""; 0]);
    }

    #[test]
    fn a_room_of_nothing_but_separators_does_not_hold_the_others_up() {
        let namespaces = Namespaces::default();
        for name in ["/", "/other", "/#", &format!("/{}", "x".repeat(4_000))] {
            namespaces.insert(name, Arc::new("found"));
        }
        let channel = format!("io#/#{}#", "#".repeat(200_000));
        let start = std::time::Instant::now();
        assert_eq!(found(&namespaces, &channel), ["found", "found"]);
        // Milliseconds; looking up every beginning would take a minute.
        assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    }
}
