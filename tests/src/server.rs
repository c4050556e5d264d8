//! Starting a server for a test, and hearing what its handlers see.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::panic::Location;

use sio_server::{DisconnectReason, Server};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::LIMIT;

/// Serves `io` on a free port of its own.
///
/// # Panics
/// When the port cannot be bound.
pub async fn serve(io: &Server) -> SocketAddr {
    io.listen(("127.0.0.1", 0)).await.expect("a free port").address()
}

/// A sender for handlers, and what they have sent.
pub fn log<T>() -> (UnboundedSender<T>, Log<T>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Log(receiver))
}

/// What handlers have sent, in order.
#[derive(Debug)]
pub struct Log<T>(UnboundedReceiver<T>);

impl<T> Log<T> {
    /// Waits for the next entry.
    ///
    /// # Panics
    /// When none comes in time.
    #[track_caller]
    #[allow(clippy::should_implement_trait, reason = "no iterator: it waits")]
    pub fn next(&mut self) -> impl Future<Output = T> {
        let caller = Location::caller();
        async move {
            match tokio::time::timeout(LIMIT, self.0.recv()).await {
                Ok(Some(entry)) => entry,
                Ok(None) => panic!("{caller}: nobody is left who could send"),
                Err(_) => panic!("{caller}: waited {LIMIT:?} for a handler"),
            }
        }
    }

    /// Waits for `count` entries.
    ///
    /// # Panics
    /// When they do not come in time.
    pub async fn take(&mut self, count: usize) -> Vec<T> {
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(self.next().await);
        }
        entries
    }

    /// Waits until nobody is left who could send.
    ///
    /// # Panics
    /// When something is sent meanwhile, or it takes too long.
    #[track_caller]
    pub fn end(&mut self) -> impl Future<Output = ()>
    where
        T: Debug,
    {
        let caller = Location::caller();
        async move {
            match tokio::time::timeout(LIMIT, self.0.recv()).await {
                Ok(None) => {}
                Ok(Some(entry)) => panic!("{caller}: {entry:?} where nothing was to come"),
                Err(_) => panic!("{caller}: waited {LIMIT:?} for the end"),
            }
        }
    }

    /// Whether nothing has been sent beyond what was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asserts that nothing has been sent beyond what was taken.
    ///
    /// # Panics
    /// When something has.
    #[track_caller]
    pub fn assert_empty(&mut self)
    where
        T: Debug,
    {
        match self.0.try_recv() {
            Ok(entry) => panic!("{entry:?} where nothing was to come"),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }
}

/// Hears why sockets of `/` are disconnected.
pub fn disconnects(io: &Server) -> Log<DisconnectReason> {
    let (reasons, log) = log();
    io.sockets().on_disconnect(move |reason: DisconnectReason| {
        let _ = reasons.send(reason);
        async {}
    });
    log
}
