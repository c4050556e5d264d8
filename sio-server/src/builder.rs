//! The options of a server.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use sio_protocol::Limits;
use sio_protocol::parser::Parser;

use crate::adapter::{AdapterFactory, ConnectionStateRecovery, LocalAdapter};
use crate::config::{Config, millis};
use crate::connection::running::MAX_RUNNING;
use crate::http::{Cookie, Cors};
use crate::server::Server;
use crate::websocket::PerMessageDeflate;

/// Sets the options of a [`Server`]. Names and defaults are Node's unless a line says otherwise.
pub struct ServerBuilder {
    config: Config,
    adapter: Arc<dyn AdapterFactory>,
    states: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl Default for ServerBuilder {
    fn default() -> Self {
        Self { config: Config::default(), adapter: Arc::new(LocalAdapter::new()), states: HashMap::new() }
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ServerBuilder {
    /// Makes the server.
    #[must_use]
    pub fn build(self) -> Server {
        Server::assemble(self.config, self.adapter, self.states)
    }

    /// What connects namespaces to those of other nodes. Default: [`LocalAdapter`], which knows no others.
    #[must_use]
    pub fn adapter(mut self, adapter: impl AdapterFactory) -> Self {
        self.adapter = Arc::new(adapter);
        self
    }

    /// A value that handlers reach with [`State<T>`](crate::State): one per type.
    #[must_use]
    pub fn state<T: Any + Send + Sync>(mut self, state: T) -> Self {
        self.states.insert(TypeId::of::<T>(), Arc::new(state));
        self
    }

    /// The path the server answers under. Default `/socket.io`; a trailing slash is added. It starts where the
    /// service is mounted at the root; a prefix that a router strips must be left out.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        let trimmed = path.trim_matches('/');
        self.config.path = if trimmed.is_empty() { "/".into() } else { format!("/{trimmed}/") };
        self
    }

    /// Time between two heartbeats. Default 25 s. A protocol 4 client is pinged; a protocol 3 client pings itself.
    #[must_use]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.config.timing.ping_interval = millis(interval);
        self
    }

    /// How long a client may take to answer a heartbeat. Default 20 s.
    #[must_use]
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.config.timing.ping_timeout = millis(timeout);
        self
    }

    /// How long a WebSocket may take to prove itself to a session that polls. Default 10 s. A failure costs only the
    /// WebSocket.
    #[must_use]
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.config.timing.upgrade_timeout = millis(timeout);
        self
    }

    /// How long a client may stay without joining a namespace. Default 45 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// The largest message a client may send, in bytes: of a WebSocket message, of a POST body. Default 1,000,000.
    ///
    /// A WebSocket message is checked against it as soon as its length is known, and buffered only as its bytes
    /// arrive: worst case this much per connection while a message is incomplete.
    #[must_use]
    pub fn max_http_buffer_size(mut self, bytes: usize) -> Self {
        self.config.max_http_buffer_size = bytes;
        self
    }

    /// The transports that are offered. Default both; one without the other is possible, neither is not useful.
    #[must_use]
    pub fn transports(mut self, polling: bool, websocket: bool) -> Self {
        self.config.polling = polling;
        self.config.websocket = websocket;
        self
    }

    /// Whether a session that polls may change to WebSocket. Default yes.
    #[must_use]
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.config.allow_upgrades = allow;
        self
    }

    /// Whether clients of Socket.IO 1.x and 2.x (Engine.IO protocol 3) are served. Default **yes**, unlike Node.
    /// As in Node, a request whose `EIO` is anything but 4 counts as protocol 3.
    ///
    /// Such a client computes its socket id itself, from the secret id of its session: in `/` they are the same.
    /// Whoever learns the id of such a socket can send in its name, so do not show it to other users when you serve
    /// old clients.
    #[must_use]
    pub fn allow_eio3(mut self, allow: bool) -> Self {
        self.config.allow_eio3 = allow;
        self
    }

    /// How many bytes may wait for a client that does not read, before it is disconnected as
    /// [`SlowClient`](crate::DisconnectReason::SlowClient). Default 16 MiB; Node has no such limit. It is the worst
    /// case of queued memory per connection; a packet sent to many clients is held once, and counted for each.
    ///
    /// A handler may emit more than this at once: over plain TCP what waits is offered to the kernel first. Over TLS and
    /// to polling clients nothing leaves before the handler is done, so there it bounds what one handler emits, too.
    #[must_use]
    pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
        self.config.max_queued_bytes = bytes;
        self
    }

    /// How many namespaces one connection may join. Default 64; Node has no such limit. One more closes the
    /// connection. Worst case: this many sockets per connection, about 200 bytes each with their places in the namespace,
    /// with what their middlewares keep, the `auth` of each (up to `max_http_buffer_size`), and the rooms that your
    /// handlers put them into.
    #[must_use]
    pub fn max_namespaces(mut self, count: usize) -> Self {
        self.config.max_namespaces = count;
        self
    }

    /// How many acknowledgements may be awaited from one client in one namespace. Default 10,000; Node has no such
    /// limit. One more fails with [`AckError::TooManyPending`](crate::AckError::TooManyPending). Worst case: about 200 bytes for
    /// each, so 2 MB per socket with the default, without the future that waits.
    #[must_use]
    pub fn max_pending_acks(mut self, count: usize) -> Self {
        self.config.max_pending_acks = count;
        self
    }

    /// How many handlers of one connection may run at a time, counting those that were not done at once. Default 1,000,
    /// at least 1; Node has no such limit. While as many run, what the client sends waits, in order, for one of them to
    /// end; only its acknowledgements and heartbeats do not, so that a handler may wait for an acknowledgement. When as
    /// many bytes wait as [`max_http_buffer_size`](Self::max_http_buffer_size) allows for one message, the connection is
    /// not read any further: the client is slowed down, and when no handler ends for longer than a heartbeat may take, it
    /// is disconnected for its [`PingTimeout`](crate::DisconnectReason::PingTimeout). What waits when a connection ends
    /// is dropped, and so is what waits for a namespace from which the server disconnects the client meanwhile.
    ///
    /// The bound is the connection's, not the namespace's: at the bound the handlers of one namespace hold up all the
    /// others. A handler that never ends counts for as long as the connection lives, be it one of `connection`; a task
    /// spawned from it does not. At the bound a handler that waits for a further event of its own client waits in vain.
    ///
    /// Worst case per connection: this many times a handler's future (about half a kilobyte and what it holds, above all
    /// its arguments, of up to `max_http_buffer_size` each) and, waiting, `max_http_buffer_size` and one read or message
    /// more. An event with several handlers may exceed it by those. Handlers of
    /// [`on_server_event`](crate::Namespace::on_server_event) are not counted: other nodes are trusted.
    #[must_use]
    pub fn max_running_handlers(mut self, count: usize) -> Self {
        self.config.max_running_handlers = u32::try_from(count).unwrap_or(MAX_RUNNING).clamp(1, MAX_RUNNING);
        self
    }

    /// How many sessions may be open. Default: as many as the system allows. One more is answered with 503.
    #[must_use]
    pub fn max_sessions(mut self, count: usize) -> Self {
        self.config.max_sessions = count;
        self
    }

    /// How long [`Broadcast::emit_with_ack`](crate::Broadcast::emit_with_ack) waits when no timeout is given.
    /// Default 5 s. (Node then does not wait at all, which nobody wants.)
    #[must_use]
    pub fn broadcast_ack_timeout(mut self, timeout: Duration) -> Self {
        self.config.broadcast_ack_timeout = timeout;
        self
    }

    /// From how many bytes on polling payloads are compressed for clients that take it; `None` never. Default 1024.
    #[must_use]
    pub fn http_compression(mut self, threshold: Option<usize>) -> Self {
        self.config.http_compression = threshold;
        self
    }

    /// Whether WebSocket messages are compressed for clients that offer it (permessage-deflate, RFC 7692). Default
    /// no, as in Node. A text message from the option's threshold on is compressed once, however many receive it;
    /// binary is left as it is, being images or compressed already more often than not. No connection keeps a
    /// compressor: each thread has one.
    #[must_use]
    pub fn per_message_deflate(mut self, deflate: PerMessageDeflate) -> Self {
        self.config.per_message_deflate = Some(deflate);
        self
    }

    /// Lets clients come back after a short loss of connection with their id, rooms, data and missed events. Default
    /// off. Events then carry an offset as their last argument, and those of the last two minutes are kept.
    #[must_use]
    pub fn connection_state_recovery(mut self, recovery: ConnectionStateRecovery) -> Self {
        self.config.recovery = Some(recovery);
        self
    }

    /// A cookie with the session id on the handshake of polling clients, for load balancers that route by cookie.
    /// Default none.
    #[must_use]
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.config.cookie = Some(cookie);
        self
    }

    /// Which pages of other origins may read the answers to their requests. Default: no CORS headers, so none.
    ///
    /// This is for polling in browsers only. It keeps nobody from opening a WebSocket, which browsers let any page do:
    /// check the `Origin` in [`allow_request`](Self::allow_request) for that. Node: `cors`.
    #[must_use]
    pub fn cors(mut self, cors: Cors) -> Self {
        self.config.cors = Some(cors);
        self
    }

    /// Decides on each handshake request before a session exists; an `Err` refuses it, with its text as message
    /// (empty: `Forbidden`). Node: `allowRequest`.
    #[must_use]
    pub fn allow_request(
        mut self,
        allow: impl Fn(&Parts) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.config.allow_request = Some(Arc::new(allow));
        self
    }

    /// The format of Socket.IO packets, which has to be the clients' too. Default: JSON with binary attachments. See
    /// [`MsgPackParser`](sio_protocol::parser::MsgPackParser).
    #[must_use]
    pub fn parser(mut self, parser: impl Parser) -> Self {
        self.config.parser = Some(Arc::new(parser));
        self
    }

    /// What one packet of a client may hold: attachments and their bytes, length of a namespace, depth of JSON; for the
    /// defaults see [`Limits`]. Worst case per connection: one packet that waits for its attachments, that is their
    /// bytes and one message of [`max_http_buffer_size`](Self::max_http_buffer_size).
    ///
    /// In a cluster it bounds what other nodes send, too: an event with more attachments than this allows is not passed
    /// on to the clients of this one.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = Arc::new(limits);
        self
    }
}
