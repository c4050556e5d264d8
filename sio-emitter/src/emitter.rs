//! The handle of one namespace, from which everything is sent.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use crate::broadcast::Broadcast;
use crate::builder::Builder;
use crate::emit::Emit;
use crate::encode::{Dialect, Namespace};
use crate::error::{ConnectError, EmitError, FlushError};
use crate::frame::Verb;
use crate::queue::{Queue, Refusal, Stats};
use crate::rooms::IntoRooms;

/// Sends to the clients of one namespace. Cheap to clone; all clones, and the handles that [`of`](Self::of)
/// gives, share one connection.
///
/// What is queued when the last handle is dropped still goes out, as long as the runtime lives; wait for it with
/// [`flush`](Self::flush).
#[derive(Clone)]
pub struct Emitter {
    shared: Arc<Shared>,
    namespace: Arc<Namespace>,
}

/// What all handles of one connection share.
pub(crate) struct Shared {
    pub(crate) queue: Arc<Queue>,
    pub(crate) dialect: Dialect,
    pub(crate) prefix: String,
    pub(crate) max_message_bytes: usize,
    /// Whether the answer of Redis says how many subscribers there are in all.
    pub(crate) counts_subscribers: bool,
}

impl Emitter {
    /// Connects to Redis, with the defaults of [`Builder`]. The address is what `fred` understands: `redis://`,
    /// `rediss://`, `redis+unix://`, `redis-cluster://`, `redis-sentinel://`.
    ///
    /// # Errors
    ///
    /// If the address is none, or Redis does not let us in within 5 seconds.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder().connect(url).await
    }

    /// Gives the options, to set them before connecting.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(shared: Shared) -> Self {
        let namespace = Arc::new(Namespace::new(shared.dialect, &shared.prefix, "/"));
        Self { shared: Arc::new(shared), namespace }
    }

    /// Gives the handle of the namespace `path`. A missing leading slash is added. Keep it if much is sent there:
    /// the names of its channels are put together here.
    #[must_use]
    pub fn of(&self, path: &str) -> Self {
        let namespace = Arc::new(Namespace::new(self.shared.dialect, &self.shared.prefix, path));
        Self { shared: Arc::clone(&self.shared), namespace }
    }

    /// Gives the path of the namespace.
    pub fn path(&self) -> &str {
        &self.namespace.path
    }

    /// Aims at the clients in any of `rooms`. See [`Broadcast::to`].
    pub fn to(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> Broadcast {
        self.to(rooms)
    }

    /// Aims at all clients but those in any of `rooms`.
    pub fn except(&self, rooms: impl IntoRooms) -> Broadcast {
        self.broadcast().except(rooms)
    }

    /// Dropped for clients whose transport is busy when it arrives.
    pub fn volatile(&self) -> Broadcast {
        self.broadcast().volatile()
    }

    /// Whether transports may compress it. Default: they may.
    pub fn compress(&self, compress: bool) -> Broadcast {
        self.broadcast().compress(compress)
    }

    /// Sends an event to all clients of the namespace. See [`Broadcast::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Emit {
        self.broadcast().emit(event, args)
    }

    /// Like [`emit`](Self::emit), without waiting for room in the queue.
    ///
    /// # Errors
    ///
    /// As for [`Broadcast::try_emit`].
    pub fn try_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.broadcast().try_emit(event, args)
    }

    /// Puts all clients of the namespace into `rooms`.
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Emit {
        self.broadcast().sockets_join(rooms)
    }

    /// Takes all clients of the namespace out of `rooms`.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Emit {
        self.broadcast().sockets_leave(rooms)
    }

    /// Disconnects all clients from the namespace; `close` ends their connections too.
    pub fn disconnect_sockets(&self, close: bool) -> Emit {
        self.broadcast().disconnect_sockets(close)
    }

    /// Sends an event to the servers themselves, for their handlers of server events. The arguments are as for
    /// [`Broadcast::emit`]; they travel as JSON, where a binary value becomes what `JSON.stringify` makes of a
    /// Buffer, except in the sharded dialect. There are no acknowledgements.
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Emit {
        let queued = self
            .namespace
            .server_side_emit(event, args, &mut |verb, channel, message| self.queue(verb, channel, message));
        queued.unwrap_or_else(Emit::from)
    }

    /// Waits until Redis has taken everything that was queued before, by any handle of this connection. What it
    /// has taken, it has sent to the servers that are subscribed at that moment.
    ///
    /// # Errors
    ///
    /// If messages were not taken, and no flush before has reported them: how many, and why the first one was
    /// not.
    pub async fn flush(&self) -> Result<(), FlushError> {
        self.shared.queue.flush().await
    }

    /// Accepts nothing more, sends what is queued, and ends the connection, for all handles.
    ///
    /// # Errors
    ///
    /// As for [`flush`](Self::flush).
    pub async fn close(&self) -> Result<(), FlushError> {
        self.shared.queue.close();
        self.flush().await
    }

    /// Counts what was sent, by all handles of this connection.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.queue.stats(self.shared.counts_subscribers)
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn queue(&self, verb: Verb, channel: &str, message: &[u8]) -> Emit {
        match self.check_length(message) {
            Ok(()) => Emit::queue(&self.shared.queue, verb, channel, message),
            Err(error) => error.into(),
        }
    }

    pub(crate) fn try_queue(&self, verb: Verb, channel: &str, message: &[u8]) -> Result<(), EmitError> {
        self.check_length(message)?;
        self.shared.queue.push(verb, channel, message).map_err(|refusal| match refusal {
            Refusal::Closed => EmitError::Closed,
            Refusal::Full => EmitError::QueueFull { limit: self.shared.queue.max_bytes() },
        })
    }

    fn check_length(&self, message: &[u8]) -> Result<(), EmitError> {
        let (seen, limit) = (message.len(), self.shared.max_message_bytes);
        if seen > limit { Err(EmitError::MessageTooLong { seen, limit }) } else { Ok(()) }
    }

    fn broadcast(&self) -> Broadcast {
        Broadcast::new(self.clone())
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Emitter")
            .field("path", &self.namespace.path)
            .field("dialect", &self.shared.dialect)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.queue.close();
    }
}
