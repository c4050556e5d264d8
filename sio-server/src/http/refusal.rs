//! The requests that are turned away before there is a session, and what they are told.
//!
//! Pure. The codes and messages are part of the protocol: clients show them. Spec: engine.io-protocol, errors of
//! the handshake.

use http::{
    HeaderValue, Response, StatusCode,
    header::{CONNECTION, CONTENT_TYPE},
};

/// Why a request is refused, in the order of the codes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    UnknownTransport,
    UnknownSid,
    BadHandshakeMethod,
    BadRequest,
    /// The application said no, perhaps with a reason meant for the client.
    Forbidden(Option<String>),
    UnsupportedProtocolVersion,
}

impl Refusal {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSid => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden(_) => 4,
            Self::UnsupportedProtocolVersion => 5,
        }
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSid => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden(message) => message.as_deref().unwrap_or("Forbidden"),
            Self::UnsupportedProtocolVersion => "Unsupported protocol version",
        }
    }

    /// Names the status a polling client gets; a WebSocket client always gets 400.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// Makes the answer to a polling request.
    pub(crate) fn polling_response(&self) -> Response<String> {
        let message = serde_json::Value::from(self.message());
        let mut response = Response::new(format!(r#"{{"code":{},"message":{message}}}"#, self.code()));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// Makes the answer to a WebSocket handshake: the bare message, and the connection ends.
    ///
    /// A browser shows its script none of this; it is for people with a debugger, and it is what Node sends.
    pub(crate) fn websocket_response(&self) -> Response<String> {
        let mut response = Response::new(self.message().to_owned());
        *response.status_mut() = StatusCode::BAD_REQUEST;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_code_and_message() {
        let table = [
            (Refusal::UnknownTransport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (Refusal::UnknownSid, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (Refusal::BadHandshakeMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
            (Refusal::BadRequest, 400, r#"{"code":3,"message":"Bad request"}"#),
            (Refusal::Forbidden(None), 403, r#"{"code":4,"message":"Forbidden"}"#),
            (
                Refusal::Forbidden(Some("say \"please\"".into())),
                403,
                r#"{"code":4,"message":"say \"please\""}"#,
            ),
            (
                Refusal::UnsupportedProtocolVersion,
                400,
                r#"{"code":5,"message":"Unsupported protocol version"}"#,
            ),
        ];
        for (refusal, status, body) in table {
            let response = refusal.polling_response();
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["content-type"], "application/json");
            assert_eq!(response.body(), body);
        }
    }

    #[test]
    fn a_websocket_client_is_told_400_whatever_the_reason() {
        let response = Refusal::Forbidden(Some("no entry".into())).websocket_response();
        assert_eq!(response.status(), 400);
        assert_eq!(response.headers()["connection"], "close");
        assert_eq!(response.headers()["content-type"], "text/html");
        assert_eq!(response.body(), "no entry");
    }
}
