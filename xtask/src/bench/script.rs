//! What one client says and expects while it opens, step by step.
//!
//! Pure. A script is shared by all connections that play it; what differs between them, their number and
//! their session id, is passed in when a step is built. Every expected message is compared in full, so a
//! script is also the check that a server under test does what it is measured for.

use super::wire::{self, Header, Response};

/// One thing to send or to wait for.
pub(crate) enum Step {
    /// Sends what the function builds from the number of the connection and its session id.
    Send(Box<Build>),
    Expect(Expected),
    /// Goes on over a new TCP connection.
    Reconnect,
}

/// Builds bytes for the connection of that number and session id.
type Build = dyn Fn(usize, &str) -> Vec<u8>;

/// What a step waits for.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// The answer to a WebSocket upgrade.
    Switching,
    /// A successful HTTP response whose body starts so. Takes over the session id of an open packet.
    Body(&'static str),
    /// A text message that starts so.
    TextPrefix(&'static str),
    /// Exactly this text message.
    Text(String),
    /// Exactly this binary message.
    Binary(Vec<u8>),
    /// The end of the connection, by a close frame or without one.
    End,
}

/// How far the bytes received satisfy an expectation.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Met {
    Yes,
    /// More bytes are needed.
    NotYet,
    /// Not yet, and the server's ping wants this answer.
    Answer(Vec<u8>),
    /// A ping came in a response. It wants this request, whose own response is to be passed over; the flag
    /// says whether what was waited for came along.
    Post(Vec<u8>, bool),
}

impl Step {
    /// Sends the same bytes on every connection.
    pub(crate) fn send(bytes: Vec<u8>) -> Self {
        Self::Send(Box::new(move |_, _| bytes.clone()))
    }

    /// Sends a text message.
    pub(crate) fn text(payload: &str) -> Self {
        Self::send(wire::client_frame(wire::TEXT, payload.as_bytes()))
    }
}

impl Expected {
    /// Removes from `inbox` what was waited for.
    ///
    /// # Errors
    ///
    /// If something else came.
    pub(crate) fn take(&self, inbox: &mut Vec<u8>, session: &mut String) -> Result<Met, String> {
        match self {
            Self::Switching => {
                let Some(end) = wire::find(inbox, b"\r\n\r\n") else { return Ok(Met::NotYet) };
                let head = String::from_utf8_lossy(&inbox[..end]).into_owned();
                if !head.starts_with("HTTP/1.1 101") {
                    return Err(format!("the upgrade was answered with {head:?}"));
                }
                inbox.drain(..end + 4);
                Ok(Met::Yes)
            }
            Self::Body(prefix) => {
                let Some(response) = Response::parse(inbox)? else { return Ok(Met::NotYet) };
                inbox.drain(..response.length);
                take_payload(prefix, &response, session)
            }
            Self::TextPrefix(_) | Self::Text(_) | Self::Binary(_) | Self::End => self.take_message(inbox),
        }
    }

    fn take_message(&self, inbox: &mut Vec<u8>) -> Result<Met, String> {
        let Some(header) = Header::parse(inbox).filter(|header| inbox.len() >= header.frame()) else {
            return Ok(Met::NotYet);
        };
        let payload = header.unmask(inbox);
        inbox.drain(..header.frame());
        match (header.opcode, self) {
            (wire::PING, _) => return Ok(Met::Answer(wire::client_frame(wire::PONG, &payload))),
            (wire::TEXT, _) if payload == b"2" => {
                return Ok(Met::Answer(wire::client_frame(wire::TEXT, b"3")));
            }
            (wire::CLOSE, Self::End) => return Ok(Met::Yes),
            _ => {}
        }
        let fits = match self {
            Self::TextPrefix(prefix) => header.opcode == wire::TEXT && payload.starts_with(prefix.as_bytes()),
            Self::Text(text) => header.opcode == wire::TEXT && payload == text.as_bytes(),
            Self::Binary(bytes) => header.opcode == wire::BINARY && payload == *bytes,
            _ => false,
        };
        if !header.last || !fits {
            let seen = String::from_utf8_lossy(&payload[..payload.len().min(100)]).into_owned();
            return Err(format!("expected {}, got opcode {} {seen:?}", self.describe(), header.opcode));
        }
        Ok(Met::Yes)
    }

    fn describe(&self) -> String {
        let mut text = format!("{self:?}");
        if let Some((end, _)) = text.char_indices().nth(100) {
            text.truncate(end);
        }
        text
    }
}

/// Tells the answer to a POST from the answer to a poll.
pub(crate) fn is_post_response(response: &Response) -> bool {
    response.status == 200 && response.body.eq_ignore_ascii_case(b"ok")
}

/// Looks for the awaited packet in the body of a response, where a ping may stand beside it or alone.
///
/// # Errors
///
/// If there is neither.
pub(crate) fn take_payload(prefix: &str, response: &Response, session: &mut String) -> Result<Met, String> {
    const SEPARATOR: char = '\u{1e}';
    let body = String::from_utf8_lossy(&response.body);
    let met = body.split(SEPARATOR).any(|packet| packet.to_ascii_lowercase().starts_with(prefix));
    let pinged = body.split(SEPARATOR).any(|packet| packet == "2");
    if response.status != 200 || !(met || pinged) {
        return Err(format!("expected a body {prefix:?}, got {} {body:?}", response.status));
    }
    if let Some(id) = wire::session_id(&body).filter(|_| body.starts_with("0{")) {
        id.clone_into(session);
    }
    if !pinged {
        return Ok(Met::Yes);
    }
    let target = format!("{POLLING_TARGET}&sid={session}");
    let mut requests = wire::post_request(&target, "3");
    if !met {
        requests.extend(poll(session));
    }
    Ok(Met::Post(requests, met))
}

/// The path and query of a new session.
pub(crate) const WEBSOCKET_TARGET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING_TARGET: &str = "/socket.io/?EIO=4&transport=polling";

/// Opens a WebSocket and joins `/`.
pub(crate) fn websocket() -> Vec<Step> {
    vec![
        Step::send(wire::upgrade_request(WEBSOCKET_TARGET)),
        Step::Expect(Expected::Switching),
        Step::Expect(Expected::TextPrefix("0{")),
        Step::text("40"),
        Step::Expect(Expected::TextPrefix("40")),
    ]
}

/// Opens a long-polling session and joins `/`, all over one TCP connection.
fn polling() -> Vec<Step> {
    vec![
        Step::send(wire::get_request(POLLING_TARGET)),
        Step::Expect(Expected::Body("0{")),
        Step::Send(Box::new(|_, session| {
            wire::post_request(&format!("{POLLING_TARGET}&sid={session}"), "40")
        })),
        Step::Expect(Expected::Body("ok")),
        poll_step(),
        Step::Expect(Expected::Body("40")),
    ]
}

fn poll_step() -> Step {
    Step::Send(Box::new(|_, session| poll(session)))
}

/// A GET of the session.
pub(crate) fn poll(session: &str) -> Vec<u8> {
    wire::get_request(&format!("{POLLING_TARGET}&sid={session}"))
}

/// Opens a long-polling session whose last GET the server holds.
pub(crate) fn held_poll() -> Vec<Step> {
    let mut steps = polling();
    steps.push(poll_step());
    steps
}

/// Opens by long polling, upgrades to a WebSocket and shows by an acknowledgement that it carries messages.
pub(crate) fn polling_then_upgrade() -> Vec<Step> {
    let mut steps = polling();
    steps.extend([
        Step::Reconnect,
        Step::Send(Box::new(|_, session| {
            wire::upgrade_request(&format!("{WEBSOCKET_TARGET}&sid={session}"))
        })),
        Step::Expect(Expected::Switching),
        Step::text("2probe"),
        Step::Expect(Expected::Text("3probe".to_owned())),
        Step::text("5"),
        Step::text(r#"420["join","upgraded"]"#),
        Step::Expect(Expected::TextPrefix("430[")),
    ]);
    steps
}

/// Closes a WebSocket in good order.
pub(crate) fn goodbye() -> Vec<Step> {
    vec![Step::send(wire::client_frame(wire::CLOSE, &1000_u16.to_be_bytes())), Step::Expect(Expected::End)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_answered_while_something_else_is_awaited() {
        let mut inbox = wire::server_frame(wire::TEXT, b"2");
        inbox.extend(wire::server_frame(wire::TEXT, b"40{}"));
        let expected = Expected::TextPrefix("40");
        let pong = wire::client_frame(wire::TEXT, b"3");
        assert_eq!(expected.take(&mut inbox, &mut String::new()), Ok(Met::Answer(pong)));
        assert_eq!(expected.take(&mut inbox, &mut String::new()), Ok(Met::Yes));
        assert!(inbox.is_empty());
    }

    #[test]
    fn another_message_is_an_error() {
        let mut inbox = wire::server_frame(wire::TEXT, b"44{}");
        assert!(Expected::TextPrefix("40").take(&mut inbox, &mut String::new()).is_err());
    }

    #[test]
    fn ping_in_a_response_is_answered_by_a_request() {
        let response =
            |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        for (body, met) in [("2\u{1e}40{}", true), ("2", false)] {
            let mut inbox = response(body).into_bytes();
            let Ok(Met::Post(requests, seen)) = Expected::Body("40").take(&mut inbox, &mut "abc".to_owned())
            else {
                panic!("no request");
            };
            assert_eq!(seen, met);
            assert!(requests.starts_with(b"POST /socket.io/?EIO=4&transport=polling&sid=abc "));
        }
    }

    #[test]
    fn session_id_is_taken_over_from_the_open_packet() {
        let mut inbox = b"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n0{\"sid\":\"abc\"}".to_vec();
        let mut session = String::new();
        assert_eq!(Expected::Body("0{").take(&mut inbox, &mut session), Ok(Met::Yes));
        assert_eq!(session, "abc");
    }
}
