//! Why a socket was disconnected, in Node's words.

use std::fmt;

use sio_protocol::engineio::session::CloseReason;

/// Why a socket left its namespace. Node: the `reason` argument of `disconnect`.
///
/// [`as_str`](Self::as_str) gives Node's text, so that logs and dashboards of a mixed cluster agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client called `disconnect()` for this namespace.
    ClientNamespaceDisconnect,
    /// The client sent a Socket.IO packet that makes no sense, or over a WebSocket one that makes no sense at this
    /// point; or the server called [`Socket::close_connection`](crate::Socket::close_connection).
    ForcedClose,
    /// The client sent, over polling, a packet for a namespace it has not joined, or joined one twice.
    ForcedServerClose,
    /// The client sent an Engine.IO packet that makes no sense.
    ParseError,
    /// No heartbeat arrived in time.
    PingTimeout,
    /// The server called [`Socket::disconnect`](crate::Socket::disconnect).
    ServerNamespaceDisconnect,
    /// The server was closed.
    ServerShuttingDown,
    /// More than `max_queued_bytes` waited for a client that did not read. Node has no such limit.
    SlowClient,
    /// The client closed the connection, or it was lost.
    TransportClose,
    /// The connection failed.
    TransportError,
}

impl DisconnectReason {
    /// Whether a client that is gone for this reason may come back to its session.
    pub(crate) fn is_recoverable(self) -> bool {
        !matches!(self, Self::ClientNamespaceDisconnect | Self::ServerNamespaceDisconnect | Self::ParseError)
    }

    /// Node's text for the reason.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ForcedClose => "forced close",
            Self::ForcedServerClose => "forced server close",
            Self::ParseError => "parse error",
            Self::PingTimeout => "ping timeout",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::ServerShuttingDown => "server shutting down",
            Self::SlowClient => "slow client",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<CloseReason> for DisconnectReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::ForcedClose => Self::ForcedClose,
            CloseReason::ParseError => Self::ParseError,
            CloseReason::PingTimeout => Self::PingTimeout,
            CloseReason::ServerShuttingDown => Self::ServerShuttingDown,
            CloseReason::TransportClose => Self::TransportClose,
            _ => Self::TransportError,
        }
    }
}
