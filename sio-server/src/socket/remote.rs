//! A socket that may live on another node: described by what was fetched, acted on through its own room.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::adapter::SocketDetails;
use crate::broadcast::{Broadcast, IntoRooms};
use crate::error::AckError;
use crate::id::SocketId;
use crate::namespace::NamespaceInner;

/// A socket of this or another node, as `fetch_sockets` found it. Node: `RemoteSocket`.
#[derive(Clone, Debug)]
pub struct RemoteSocket {
    namespace: Arc<NamespaceInner>,
    details: SocketDetails,
}

impl RemoteSocket {
    pub(crate) fn new(namespace: Arc<NamespaceInner>, details: SocketDetails) -> Self {
        Self { namespace, details }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SocketId {
        &self.details.id
    }

    /// The rooms it was in when it was fetched, its own among them.
    #[must_use]
    pub fn rooms(&self) -> &[String] {
        &self.details.rooms
    }

    /// Its handshake, as Node prints it.
    #[must_use]
    pub fn handshake(&self) -> &serde_json::Value {
        &self.details.handshake
    }

    /// What `set_data` had set when it was fetched, as `T`.
    ///
    /// # Errors
    /// Says what does not fit `T`.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.details.data)
    }

    /// Sends it an event.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        self.aim().emit(event, args);
    }

    /// Sends it an event and waits for its answer, for at most `timeout`.
    ///
    /// # Errors
    /// See [`AckError`].
    pub async fn emit_with_ack<R: DeserializeOwned + Send + 'static>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<R, AckError> {
        let acks = self.aim().timeout(timeout).emit_with_ack::<R>(event, args).await?;
        acks.into_iter().next().map_or(Err(AckError::Timeout), |ack| ack.result)
    }

    /// Puts it into rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.aim().sockets_join(rooms);
    }

    /// Takes it out of rooms.
    pub fn leave(&self, rooms: impl IntoRooms) {
        self.aim().sockets_leave(rooms);
    }

    /// Disconnects it; `close` ends its connection too.
    pub fn disconnect(&self, close: bool) {
        self.aim().disconnect_sockets(close);
    }

    fn aim(&self) -> Broadcast {
        Broadcast::new(Arc::clone(&self.namespace)).to(self.details.id.as_str()).expect_single_response()
    }
}
