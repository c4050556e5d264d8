//! Section 3 of the contract: the handlers, the same in every namespace.

pub(crate) mod ends;
mod identity;
mod messages;
mod numbered;
mod rooms;

use std::sync::{Mutex, MutexGuard, PoisonError};

use sio_server::{Namespace, Socket};

pub(crate) fn add(namespace: &Namespace) {
    messages::add(namespace);
    identity::add(namespace);
    rooms::add(namespace);
    numbered::add(namespace);
    ends::add(namespace);
}

/// The rooms of a socket without its own, sorted.
fn rooms_of(socket: &Socket) -> Vec<String> {
    let mut rooms = socket.rooms();
    rooms.retain(|room| room != socket.id().as_str());
    rooms.sort_unstable();
    rooms
}

/// A panic in a handler is reported and must not take the others along.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
