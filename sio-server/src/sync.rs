//! Locking without poison: one helper that every lock of the crate goes through.
//!
//! User code never runs under one of our locks and panics in handlers are caught before they reach us, so a
//! poisoned lock can only mean a bug in this crate; going on with the data beats taking every connection down.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) trait Lock<T> {
    /// Locks, whatever happened to an earlier holder.
    fn locked(&self) -> MutexGuard<'_, T>;
}

impl<T> Lock<T> for Mutex<T> {
    #[inline]
    fn locked(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls user code that nobody waits for: a panic in it is logged and costs nobody else anything.
pub(crate) fn contained<R>(what: &str, f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(_) => {
            tracing::error!("{what} panicked");
            None
        }
    }
}
