//! The opening handshake: is this a WebSocket request, and what is the answer?
//!
//! Pure, over the types of the `http` crate. Never answers a subprotocol, whatever the client offers: none is
//! defined for Socket.IO, and a client that insists on one would be misled. Spec: RFC 6455, section 4.2.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version,
    header::{
        ALLOW, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    request::Parts,
};
use sha1::{Digest, Sha1};

/// An opening handshake that passed.
#[derive(Debug)]
pub(crate) struct Accepted {
    accept: HeaderValue,
}

impl Accepted {
    /// Makes the answer, with `extensions` as the accepted extensions.
    pub(crate) fn response(self, extensions: Option<HeaderValue>) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_ACCEPT, self.accept);
        if let Some(extensions) = extensions {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
        }
        response
    }
}

/// Why an opening handshake is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UpgradeRefused {
    /// `Connection` does not list `Upgrade`.
    #[error("Connection header does not ask for an upgrade")]
    ConnectionMissing,
    /// The version of HTTP has no such upgrade; HTTP/2 has another way to WebSocket.
    #[error("WebSocket upgrade needs HTTP/1.1")]
    HttpVersion,
    /// The key is absent, there twice, or not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not 16 bytes in base64")]
    KeyInvalid,
    /// Only GET may be upgraded.
    #[error("WebSocket upgrade of a method other than GET")]
    MethodNotGet,
    /// `Upgrade` does not list `websocket`.
    #[error("Upgrade header does not ask for websocket")]
    UpgradeMissing,
    /// The request names no version of the protocol.
    #[error("Sec-WebSocket-Version is missing")]
    VersionMissing,
    /// The request names a version other than 13.
    #[error("unsupported Sec-WebSocket-Version, only 13 is")]
    VersionUnsupported,
}

impl UpgradeRefused {
    /// Names the status of the answer.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::MethodNotGet => StatusCode::METHOD_NOT_ALLOWED,
            Self::VersionUnsupported => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Gives the header that tells the client what would have been right, where there is one.
    pub(crate) fn hint(self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::MethodNotGet => Some((ALLOW, HeaderValue::from_static("GET"))),
            Self::VersionMissing | Self::VersionUnsupported => {
                Some((SEC_WEBSOCKET_VERSION, HeaderValue::from_static(VERSION)))
            }
            _ => None,
        }
    }

    /// Makes the whole answer. The connection is closed after it: what the client would send next is
    /// anyone's guess.
    pub(crate) fn response(self) -> Response<String> {
        let mut response = Response::new(self.to_string());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        if let Some((name, value)) = self.hint() {
            headers.insert(name, value);
        }
        response
    }
}

/// Tells whether a request wants to become a WebSocket, however badly it asks.
pub(crate) fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, "websocket")
}

/// Checks an opening handshake.
pub(crate) fn accept(request: &Parts) -> Result<Accepted, UpgradeRefused> {
    accept_headers(&request.method, request.version, &request.headers)
}

/// Checks an opening handshake given in its parts.
pub(crate) fn accept_headers(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<Accepted, UpgradeRefused> {
    if method != Method::GET {
        return Err(UpgradeRefused::MethodNotGet);
    }
    if version != Version::HTTP_11 {
        return Err(UpgradeRefused::HttpVersion);
    }
    if !has_token(headers, &UPGRADE, "websocket") {
        return Err(UpgradeRefused::UpgradeMissing);
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(UpgradeRefused::ConnectionMissing);
    }
    let version = headers.get(SEC_WEBSOCKET_VERSION).ok_or(UpgradeRefused::VersionMissing)?;
    if version.as_bytes() != VERSION.as_bytes() {
        return Err(UpgradeRefused::VersionUnsupported);
    }
    let mut keys = headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(UpgradeRefused::KeyInvalid);
    };
    let mut nonce = [0; KEY_LEN];
    match BASE64.decode_slice(key.as_bytes(), &mut nonce) {
        Ok(KEY_LEN) => Ok(Accepted { accept: accept_key(key.as_bytes()) }),
        _ => Err(UpgradeRefused::KeyInvalid),
    }
}

/// Derives `Sec-WebSocket-Accept` from the key, which is taken as it was sent.
pub(crate) fn accept_key(key: &[u8]) -> HeaderValue {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    HeaderValue::try_from(BASE64.encode(digest)).expect("base64 has only characters a header may have")
}

/// Looks for a token, in any case, in the comma separated lists of all headers of one name.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// The version of RFC 6455; the drafts before it had others.
const VERSION: &str = "13";

/// Length of the nonce in `Sec-WebSocket-Key`.
const KEY_LEN: usize = 16;

/// Given by RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn request() -> http::request::Builder {
        Request::get("/socket.io/?EIO=4&transport=websocket")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-protocol", "chat")
    }

    fn outcome(
        builder: http::request::Builder,
        edit: impl FnOnce(&mut Parts),
    ) -> Result<Accepted, UpgradeRefused> {
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        edit(&mut parts);
        accept(&parts)
    }

    fn with(name: &'static str, value: &'static str) -> Result<Accepted, UpgradeRefused> {
        outcome(request(), |parts| {
            parts.headers.insert(name, HeaderValue::from_static(value));
        })
    }

    #[test]
    fn the_example_of_the_rfc_is_accepted() {
        let response = outcome(request(), |_| ()).unwrap().response(None);
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.headers()["connection"], "Upgrade");
    }

    #[test]
    fn no_subprotocol_is_ever_answered() {
        let response = outcome(request(), |_| ()).unwrap().response(None);
        assert_eq!(response.headers().len(), 3);
    }

    #[test]
    fn every_fault_has_its_refusal() {
        use UpgradeRefused::*;
        let refusals = [
            (with("connection", "keep-alive"), ConnectionMissing),
            (with("upgrade", "h2c"), UpgradeMissing),
            (with("sec-websocket-version", "8"), VersionUnsupported),
            (with("sec-websocket-key", ""), KeyInvalid),
            (with("sec-websocket-key", "dGhlIHNhbXBsZSBub25j"), KeyInvalid),
            (with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQAA"), KeyInvalid),
            (with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ"), KeyInvalid),
            (with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZ!=="), KeyInvalid),
            (outcome(request().header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), |_| ()), KeyInvalid),
            (outcome(request().method("POST"), |_| ()), MethodNotGet),
            (outcome(request().version(Version::HTTP_10), |_| ()), HttpVersion),
            (outcome(request().version(Version::HTTP_2), |_| ()), HttpVersion),
            (
                outcome(request(), |parts| {
                    parts.headers.remove("sec-websocket-version");
                }),
                VersionMissing,
            ),
        ];
        for (outcome, refusal) in refusals {
            assert_eq!(outcome.unwrap_err(), refusal);
        }
    }

    #[test]
    fn an_unsupported_version_is_told_the_supported_one() {
        let response = UpgradeRefused::VersionUnsupported.response();
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        assert_eq!(UpgradeRefused::VersionMissing.status(), 400);
    }

    #[test]
    fn tokens_are_found_in_any_case_and_in_any_of_several_headers() {
        let (mut parts, ()) = request().body(()).unwrap().into_parts();
        parts.headers.remove("connection");
        parts.headers.append("connection", HeaderValue::from_static("keep-alive"));
        parts.headers.append("connection", HeaderValue::from_static("TE ,\tUPGRADE"));
        assert!(is_upgrade(&parts.headers));
        assert!(accept(&parts).is_ok());
    }
}
