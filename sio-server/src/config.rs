//! The options of a server: names are Node's in snake case, defaults are Node's unless a line says otherwise.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use sio_protocol::Limits;
use sio_protocol::engineio::session::Timing;
use sio_protocol::parser::Parser;

use crate::adapter::ConnectionStateRecovery;
use crate::http::{Cookie, Cors};
use crate::websocket::PerMessageDeflate;

/// Decides on a handshake request before a session exists; an `Err` is the message of the refusal.
pub(crate) type AllowRequest = Arc<dyn Fn(&Parts) -> Result<(), String> + Send + Sync>;

/// Everything that can be set, with the defaults. Set through [`ServerBuilder`](crate::ServerBuilder), whose
/// methods carry the documentation.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) path: String,
    pub(crate) timing: Timing,
    pub(crate) max_http_buffer_size: usize,
    pub(crate) polling: bool,
    pub(crate) websocket: bool,
    pub(crate) allow_upgrades: bool,
    pub(crate) allow_eio3: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) max_queued_bytes: usize,
    pub(crate) max_namespaces: usize,
    pub(crate) max_pending_acks: usize,
    pub(crate) max_running_handlers: u32,
    pub(crate) max_sessions: usize,
    pub(crate) broadcast_ack_timeout: Duration,
    pub(crate) http_compression: Option<usize>,
    pub(crate) per_message_deflate: Option<PerMessageDeflate>,
    pub(crate) recovery: Option<ConnectionStateRecovery>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) cors: Option<Cors>,
    pub(crate) allow_request: Option<AllowRequest>,
    pub(crate) parser: Option<Arc<dyn Parser>>,
    pub(crate) limits: Arc<Limits>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/socket.io/".into(),
            timing: Timing { ping_interval: 25_000, ping_timeout: 20_000, upgrade_timeout: 10_000 },
            max_http_buffer_size: 1_000_000,
            polling: true,
            websocket: true,
            allow_upgrades: true,
            allow_eio3: true,
            connect_timeout: Duration::from_secs(45),
            max_queued_bytes: 16 << 20,
            max_namespaces: 64,
            max_pending_acks: 10_000,
            max_running_handlers: 1_000,
            max_sessions: usize::MAX,
            broadcast_ack_timeout: Duration::from_secs(5),
            http_compression: Some(1024),
            per_message_deflate: None,
            recovery: None,
            cookie: None,
            cors: None,
            allow_request: None,
            parser: None,
            limits: Arc::new(Limits::default()),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("path", &self.path)
            .field("timing", &self.timing)
            .field("max_http_buffer_size", &self.max_http_buffer_size)
            .field("allow_eio3", &self.allow_eio3)
            .finish_non_exhaustive()
    }
}

/// Milliseconds of a duration, saturating: a `Duration::MAX` means "never".
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 4).min(u64::MAX / 4)
}
