//! An emit to one socket in the making: flags and a timeout, then the verb.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Socket;
use super::acks::AckFuture;
use super::inner::Flags;
use crate::broadcast::report;
use crate::error::EmitError;

/// An emit to one socket in the making; see [`Socket::volatile`], [`Socket::compress`], [`Socket::timeout`].
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before emit or emit_with_ack is called"]
pub struct SocketOperator {
    pub(super) socket: Socket,
    pub(super) flags: Flags,
    pub(super) timeout: Option<Duration>,
}

impl SocketOperator {
    /// See [`Socket::volatile`].
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// See [`Socket::compress`].
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.uncompressed = !compress;
        self
    }

    /// See [`Socket::timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// See [`Socket::emit`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        match self.try_emit(event, args) {
            Ok(()) | Err(EmitError::Disconnected) => {}
            Err(error) => report(self.socket.0.namespace(), event, error),
        }
    }

    /// Like [`emit`](Self::emit), with the error for the caller. A volatile event that is dropped is no error.
    ///
    /// # Errors
    /// See [`EmitError`].
    pub fn try_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        self.socket.0.send(event, args, self.flags, None)
    }

    /// Sends an event and waits for the client's acknowledgement, for at most the timeout, if one was set.
    ///
    /// # Errors
    /// See [`AckError`](crate::AckError).
    pub fn emit_with_ack<R: DeserializeOwned + Send + 'static>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> AckFuture<R> {
        self.socket.ask(event, args, self.flags, self.timeout)
    }
}
