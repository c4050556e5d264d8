//! What can go wrong for a caller: emitting, waiting for acknowledgements, refusing a connection.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use sio_protocol::socketio::{ArgsError, EncodeError};

/// Why an emit could not be made. [`Socket::emit`](crate::Socket::emit) reports it to `on_error`,
/// [`Socket::try_emit`](crate::Socket::try_emit) returns it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is no longer connected.
    #[error("the socket is disconnected")]
    Disconnected,
    /// The arguments could not be serialised.
    #[error("the arguments cannot be serialised: {0}")]
    Encode(#[from] EncodeError),
    /// The name belongs to the protocol (`connect`, `connect_error`, `disconnect`, `disconnecting`,
    /// `newListener`, `removeListener`; between servers `connect`, `connection`, `new_namespace`).
    #[error("the event name \"{0}\" is reserved")]
    ReservedEvent(String),
    /// More than `max_queued_bytes` wait for this client already; it is disconnected as a slow client.
    #[error("the client is too slow: its queue is full")]
    QueueFull,
}

/// Why an acknowledgement did not arrive or could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// The client disconnected before it answered.
    #[error("the client disconnected before it acknowledged")]
    Disconnected,
    /// The event could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// The answer does not have the expected type.
    #[error("the acknowledgement has another type: {0}")]
    Decode(#[from] ArgsError),
    /// The client did not answer in time.
    #[error("the client did not acknowledge in time")]
    Timeout,
    /// As many acknowledgements as `max_pending_acks` allows are already awaited from this client.
    #[error("{0} acknowledgements are already awaited from this client")]
    TooManyPending(usize),
}

/// Refuses a connection to a namespace: the client's `connect_error` event gets `message` and `data`.
///
/// Node: an `Error` given to `next()` in a middleware, with its `data` property.
#[derive(Debug)]
pub struct ConnectError {
    pub(crate) message: String,
    pub(crate) data: Option<String>,
}

impl ConnectError {
    /// A refusal with a message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// Adds details: any serialisable value, seen by the client as `error.data`. A value that cannot be
    /// serialised is left out. A refusal has no attachments: bytes in it are seen as what Node makes of a `Buffer`,
    /// `{"type":"Buffer","data":[1,2]}`.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        let (mut json, mut attachments) = (Vec::new(), Vec::new());
        match sio_protocol::socketio::write_value(&mut json, &mut attachments, data) {
            Ok(()) if attachments.is_empty() => self.data = String::from_utf8(json).ok(),
            Ok(()) => {
                self.data = serde_json::from_slice(&json).ok().map(|mut data| {
                    inline(&mut data, &attachments);
                    data.to_string()
                });
            }
            Err(error) => tracing::warn!(%error, "the data of a connect error cannot be serialised"),
        }
        self
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Puts attachments where their placeholders are. The user's own data cannot look like one: that is refused.
fn inline(value: &mut Value, attachments: &[Bytes]) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| inline(value, attachments)),
        Value::Object(map) if map.contains_key("_placeholder") => {
            let at = map.get("num").and_then(Value::as_u64).and_then(|at| usize::try_from(at).ok());
            let bytes = at.and_then(|at| attachments.get(at)).map(|bytes| &bytes[..]);
            *value = json!({"type": "Buffer", "data": bytes.unwrap_or_default()});
        }
        Value::Object(map) => map.values_mut().for_each(|value| inline(value, attachments)),
        _ => {}
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConnectError {}

impl From<serde_json::Error> for ConnectError {
    fn from(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// Something failed for which no caller waits; see [`Server::on_error`](crate::Server::on_error).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A handler's arguments could not be taken out of the event.
    #[error("handler of \"{event}\" in {namespace}: {rejection}")]
    Rejected {
        /// The namespace of the handler.
        namespace: String,
        /// The event, or `connection`, `disconnecting`, `disconnect`.
        event: String,
        /// What did not fit.
        rejection: crate::handler::Rejection,
    },
    /// A handler returned an error.
    #[error("handler of \"{event}\" in {namespace} failed: {message}")]
    Handler {
        /// The namespace of the handler.
        namespace: String,
        /// The event.
        event: String,
        /// The error's text, which the client got as its acknowledgement.
        message: String,
    },
    /// A handler panicked; the panic was contained.
    #[error("handler of \"{event}\" in {namespace} panicked: {message}")]
    Panicked {
        /// The namespace of the handler.
        namespace: String,
        /// The event.
        event: String,
        /// The panic's text.
        message: String,
    },
    /// A handler was registered for an event that is not one of clients.
    #[error("handler of \"{event}\" in {namespace}: {hint}")]
    Misnamed {
        /// The namespace of the handler.
        namespace: String,
        /// The event.
        event: String,
        /// When the handler is called, and what to use instead.
        hint: &'static str,
    },
    /// An emit without a waiting caller failed.
    #[error("emit of \"{event}\" in {namespace}: {error}")]
    Emit {
        /// The namespace.
        namespace: String,
        /// The event.
        event: String,
        /// Why.
        error: EmitError,
    },
    /// An adapter reports a failure.
    #[error("adapter of {namespace}: {message}")]
    Adapter {
        /// The namespace.
        namespace: String,
        /// What the adapter says.
        message: String,
    },
}

impl Failure {
    /// What is wrong with a handler for `event`, if its name shows that it hears nothing.
    pub(crate) fn of_name(namespace: &str, event: &str) -> Option<Self> {
        let hint = match event {
            "connection" => "not called when a socket connects: use `Namespace::on_connection`",
            "connect" => "never called: use `Namespace::on_connection`",
            "disconnecting" => "never called: use `Namespace::on_disconnecting`",
            "disconnect" => "never called: use `Namespace::on_disconnect`",
            _ if sio_protocol::socketio::is_reserved_event(event) => {
                "never called: no client can send an event of this name"
            }
            _ => return None,
        };
        Some(Self::Misnamed { namespace: namespace.to_owned(), event: event.to_owned(), hint })
    }
}

/// Why an operation over all nodes failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// Not every node answered in time.
    #[error("{missing} of {expected} nodes did not answer in time")]
    Timeout {
        /// Nodes asked.
        expected: usize,
        /// Nodes that did not answer.
        missing: usize,
    },
    /// The connection to the other nodes is down.
    #[error("the cluster cannot be reached: {0}")]
    Unreachable(String),
    /// The question could not be sent.
    #[error(transparent)]
    Emit(#[from] EmitError),
    /// Nodes answered with something else than was asked for.
    #[error("{nodes} nodes answered with another type: {error}")]
    Decode {
        /// How many.
        nodes: usize,
        /// What was wrong with the first of them.
        error: ArgsError,
    },
    /// Nodes answered with more than the adapter keeps for one question.
    #[error("the answers have more than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// As many questions as the adapter allows are already open.
    #[error("{0} questions to other nodes are already open")]
    TooManyPending(usize),
    /// The adapter cannot do this.
    #[error("the adapter does not support {0}")]
    Unsupported(&'static str),
}

/// An operation over all nodes that did not get everything: what came all the same, and why the rest did not.
///
/// With `?` it becomes its cause where an [`AdapterError`] is wanted; what arrived is dropped then. Node: the error
/// of `serverSideEmitWithAck()` with its `responses`; `fetchSockets()` gives nothing but the error.
#[non_exhaustive]
pub struct Incomplete<T> {
    /// What the nodes that did answer said, this one included where it has something to say.
    pub arrived: Vec<T>,
    /// Why there is no more.
    pub cause: AdapterError,
}

impl<T> Incomplete<T> {
    /// What has arrived, and why the rest has not.
    #[must_use]
    pub fn new(arrived: Vec<T>, cause: AdapterError) -> Self {
        Self { arrived, cause }
    }

    /// The same with other items.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Incomplete<U> {
        Incomplete { arrived: self.arrived.into_iter().map(f).collect(), cause: self.cause }
    }
}

impl<T> From<AdapterError> for Incomplete<T> {
    fn from(cause: AdapterError) -> Self {
        Self::new(Vec::new(), cause)
    }
}

impl<T> From<Incomplete<T>> for AdapterError {
    fn from(incomplete: Incomplete<T>) -> Self {
        incomplete.cause
    }
}

impl<T> fmt::Debug for Incomplete<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incomplete")
            .field("arrived", &self.arrived.len())
            .field("cause", &self.cause)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Incomplete<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} arrived, {}", self.arrived.len(), self.cause)
    }
}

impl<T> std::error::Error for Incomplete<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The cause itself is in our text.
        self.cause.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_incomplete_says_how_many_arrived_and_how_many_nodes_are_missing() {
        let incomplete = Incomplete::new(vec![1, 2], AdapterError::Timeout { expected: 3, missing: 1 });
        assert_eq!(incomplete.to_string(), "2 arrived, 1 of 3 nodes did not answer in time");
        let AdapterError::Timeout { missing: 1, .. } = AdapterError::from(incomplete) else {
            panic!("another cause");
        };
    }
}
