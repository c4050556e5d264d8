//! What a request is: the checks of engine.io in their order, the first that fails refuses.

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use sio_protocol::engineio::Revision;
use sio_protocol::engineio::session::Transport;

use super::{Query, Refusal, TransportName};
use crate::connection::Connection;
use crate::id::SessionId;
use crate::server::Shared;
use crate::sync::contained;

/// A request that passed.
#[derive(Debug)]
pub(crate) enum Route {
    /// A GET without session: opens one over polling.
    OpenPolling(Opening),
    /// An upgrade request without session: opens one over WebSocket.
    OpenWebSocket(Opening),
    /// A polling request of a session.
    Poll(Arc<Connection>),
    /// An upgrade request of a session that polls.
    Upgrade {
        /// The session.
        connection: Arc<Connection>,
        /// The request asks for binary as base64.
        base64: bool,
    },
}

/// What a new session starts with.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) revision: Revision,
    pub(crate) base64: bool,
    pub(crate) jsonp: Option<Box<str>>,
}

/// Whether the request is for the engine at all: its path starts with the configured one.
pub(crate) fn is_ours(path: &str, configured: &str) -> bool {
    path.starts_with(configured)
}

/// Node: `Server.verify`, but for its look at the `Origin`: the characters that it refuses cannot be in a
/// [`HeaderValue`](http::HeaderValue).
pub(crate) fn route(server: &Shared, parts: &Parts, is_upgrade: bool) -> Result<Route, Refusal> {
    let config = &server.config;
    let query = Query::parse(parts.uri.query().unwrap_or(""));
    let transport = match query.transport {
        Some(TransportName::Polling) if config.polling => Transport::Polling,
        Some(TransportName::WebSocket) if config.websocket => Transport::WebSocket,
        _ => return Err(Refusal::UnknownTransport),
    };
    let revision = if query.eio4 { Revision::V4 } else { Revision::V3 };
    if let Some(sid) = &query.sid {
        let connection =
            SessionId::parse(sid).and_then(|id| server.sessions.get(&id)).ok_or(Refusal::UnknownSid)?;
        if connection.revision() != revision {
            return Err(Refusal::BadRequest);
        }
        if is_upgrade {
            if transport != Transport::WebSocket {
                return Err(Refusal::BadRequest);
            }
            return Ok(Route::Upgrade { connection, base64: query.b64 });
        }
        // A WebSocket session has no requests of its own: only an upgrade may name it.
        if transport != Transport::Polling || connection.transport() != transport {
            return Err(Refusal::BadRequest);
        }
        return Ok(Route::Poll(connection));
    }
    if parts.method != Method::GET {
        return Err(Refusal::BadHandshakeMethod);
    }
    if (transport == Transport::WebSocket) != is_upgrade {
        return Err(Refusal::BadRequest);
    }
    // What a session keeps of its handshake is bounded, whatever the HTTP server in front lets through.
    let head: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head + parts.uri.query().map_or(0, str::len) > MAX_HEAD {
        return Err(Refusal::BadRequest);
    }
    if let Some(allow) = &config.allow_request {
        let allowed = contained("allow_request", || allow(parts)).unwrap_or_else(|| Err(String::new()));
        allowed.map_err(|message| Refusal::Forbidden(Some(message).filter(|text| !text.is_empty())))?;
    }
    if revision == Revision::V3 && !config.allow_eio3 {
        return Err(Refusal::UnsupportedProtocolVersion);
    }
    if server.is_closed() {
        return Err(Refusal::Forbidden(Some("server shutting down".into())));
    }
    let opening = Opening {
        revision,
        base64: query.b64 || query.jsonp.is_some(),
        jsonp: query.jsonp.map(|digits| digits.into()),
    };
    Ok(match transport {
        Transport::Polling => Route::OpenPolling(opening),
        _ => Route::OpenWebSocket(opening),
    })
}

/// Bytes of headers and query of a handshake request. Node: `--max-http-header-size`, 16 KiB.
const MAX_HEAD: usize = 16 * 1024;
