//! Long-polling: a GET takes everything that waits or is held until something does, a POST brings packets.
//!
//! One GET and one POST may be under way at a time. A session does not depend on a request: packets and their
//! attachments may come in different POSTs, and what a request cannot take waits for the next.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use sio_protocol::engineio::payload::{self, BodyKind, Decoder, Encoder};
use sio_protocol::engineio::session::Transport;
use sio_protocol::engineio::{DataRef, PacketKind, Revision};

use crate::connection::dispatch::{Dispatch, Next};
use crate::connection::flush::Batch;
use crate::connection::outbox::{Channel, Item};
use crate::connection::{Connection, End};
use crate::encoded::Message;
use crate::handshake::{Peer, Request};
use crate::http::response::{Body, Client, empty};
use crate::http::route::Opening;
use crate::namespace::connect;
use crate::reason::DisconnectReason;
use crate::server::Shared;
use crate::transport::open_packet;

/// Answers the GET that opens a session.
pub(crate) fn open(server: &Arc<Shared>, opening: Opening, parts: &Parts) -> Response<Body> {
    let request = Request::new(parts, parts.extensions.get::<Peer>().copied());
    let jsonp = opening.jsonp.clone();
    let Some(connection) = Connection::open(
        server,
        opening.revision,
        Transport::Polling,
        opening.base64,
        opening.jsonp,
        request,
    ) else {
        return empty(StatusCode::SERVICE_UNAVAILABLE);
    };
    let mut encoder = Encoder::new(opening.revision, opening.base64, jsonp.as_deref());
    encoder.push(PacketKind::Open, DataRef::Text(&open_packet(&connection, Transport::Polling)));
    if opening.revision == Revision::V3 {
        // With the open packet, unless a middleware has to think about it first.
        let _batch = Batch::begin();
        connect::connect_implicitly(&connection);
    }
    for item in connection.with_outbox(|outbox| outbox.drain().collect::<Vec<_>>()) {
        push_item(&mut encoder, &item);
    }
    let payload = encoder.finish();
    let mut response = Client::of(&parts.headers).payload(
        payload.body,
        payload.content_type,
        server.config.http_compression,
    );
    if let Some(cookie) = &server.config.cookie {
        response
            .headers_mut()
            .insert(http::header::SET_COOKIE, cookie.header_value(connection.id().as_str()));
    }
    response
}

/// Answers a request of a session.
pub(crate) async fn handle<B>(connection: Arc<Connection>, parts: Parts, body: B) -> Response<Body>
where
    B: http_body::Body,
{
    let client = Client::of(&parts.headers);
    match parts.method {
        Method::GET => {
            // The headers would keep hyper's read buffer for as long as the poll is held.
            drop(parts);
            drop(body);
            get(connection, client).await
        }
        Method::POST => post(connection, client, parts, body).await,
        _ => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn get(connection: Arc<Connection>, client: Client) -> Response<Body> {
    let overlapping = connection.with_polling(|polling| std::mem::replace(&mut polling.held, true));
    if overlapping {
        tracing::debug!(session = ?connection.id(), "overlapping polls");
        connection.end(DisconnectReason::TransportError, End::Abrupt(None));
        return empty(StatusCode::BAD_REQUEST);
    }
    let mut held = Held { connection: &connection, answered: false, waited: false };
    let items = poll_fn(|cx| held.poll(cx)).await;
    held.answered = true;
    let waited = held.waited;
    let jsonp = connection.with_polling(|polling| polling.jsonp.clone());
    drop(held);
    let mut encoder = Encoder::new(connection.revision(), connection.base64(), jsonp.as_deref());
    for item in &items {
        push_item(&mut encoder, item);
    }
    if items.is_empty() {
        for kind in connection.farewell(waited) {
            encoder.push(*kind, DataRef::Text(""));
        }
        if connection.is_ended() && connection.transport() == Transport::Polling {
            connection.finish_lingering();
        }
    }
    let payload = encoder.finish();
    // As in Node: one packet that may be compressed is enough.
    let may_compress =
        items.iter().any(|item| matches!(item, Item::Shared(encoded) if encoded.may_compress()));
    let threshold = connection.server().config.http_compression.filter(|_| may_compress);
    client.payload(payload.body, payload.content_type, threshold)
}

/// A GET that is waiting. Dropped before it was answered, the client has hung up, which ends the session.
struct Held<'a> {
    connection: &'a Arc<Connection>,
    answered: bool,
    waited: bool,
}

impl Held<'_> {
    /// What is to be sent; nothing when the session is over or polls no more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Item>> {
        // Once the session has changed over, the queue and its waker are the WebSocket's, ended or not.
        if self.connection.transport() != Transport::Polling {
            return Poll::Ready(Vec::new());
        }
        self.connection.with_outbox(|outbox| {
            if outbox.channel == Channel::WebSocket {
                return Poll::Ready(Vec::new());
            }
            if !outbox.is_empty() {
                outbox.waker = None;
                return Poll::Ready(outbox.drain().collect());
            }
            if outbox.channel != Channel::Polling {
                return Poll::Ready(Vec::new());
            }
            outbox.waker = Some(cx.waker().clone());
            self.waited = true;
            Poll::Pending
        })
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.connection.with_polling(|polling| polling.held = false);
        self.connection.release_polling();
        if !self.answered && self.connection.transport() == Transport::Polling {
            self.connection.with_outbox(|outbox| {
                if outbox.channel != Channel::WebSocket {
                    outbox.waker = None;
                }
            });
            {
                self.connection.end(DisconnectReason::TransportError, End::Gone);
            }
        }
    }
}

fn push_item(encoder: &mut Encoder, item: &Item) {
    match item {
        Item::Engine(kind) => encoder.push(*kind, DataRef::Text("")),
        Item::Shared(encoded) => {
            for message in encoded.messages() {
                match message {
                    Message::Text(text) => encoder.push(PacketKind::Message, DataRef::Text(text)),
                    Message::Binary(bytes) => encoder.push(PacketKind::Message, DataRef::Binary(bytes)),
                }
            }
        }
        // Frames are only made for a WebSocket, which never goes back to polling.
        Item::Frames(_) => {}
    }
}

async fn post<B>(connection: Arc<Connection>, client: Client, parts: Parts, body: B) -> Response<Body>
where
    B: http_body::Body,
{
    let is_octets =
        parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"application/octet-stream");
    let overlapping = connection.with_polling(|polling| std::mem::replace(&mut polling.posting, true));
    if overlapping {
        tracing::debug!(session = ?connection.id(), "overlapping posts");
        connection.end(DisconnectReason::TransportError, End::Abrupt(None));
        return empty(StatusCode::BAD_REQUEST);
    }
    let mut posting = Posting { connection: &connection, done: false };
    if is_octets && connection.revision() != Revision::V3 {
        posting.done = true;
        connection.end(DisconnectReason::TransportError, End::Abrupt(None));
        return empty(StatusCode::BAD_REQUEST);
    }
    let max = connection.server().config.max_http_buffer_size;
    // A body that does not arrive within the time a heartbeat may take belongs to a client that is gone.
    let timing = connection.timing();
    let patience = Duration::from_millis(timing.ping_interval.saturating_add(timing.ping_timeout));
    let collected = tokio::time::timeout(patience, collect(body, max)).await;
    let body = match collected.unwrap_or(Err(CollectError::Lost)) {
        Ok(body) => body,
        Err(CollectError::TooLarge) => {
            posting.done = true;
            let mut response = empty(StatusCode::PAYLOAD_TOO_LARGE);
            // The rest of the body is still on its way.
            response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        // The guard ends the session: a client that hangs up in the middle is gone.
        Err(CollectError::Lost) => return empty(StatusCode::BAD_REQUEST),
    };
    if connection.is_ended() {
        posting.done = true;
        return empty(StatusCode::BAD_REQUEST);
    }
    let is_jsonp = connection.with_polling(|polling| polling.jsonp.is_some());
    let body = if is_jsonp { payload::jsonp_form(&body) } else { Some(body) };
    if let Some(body) = body {
        let kind = if is_octets { BodyKind::OctetStream } else { BodyKind::Text };
        receive(&connection, kind, &body).await;
    }
    posting.done = true;
    drop(posting);
    client.ok()
}

/// Handles the packets of a body in order.
async fn receive(connection: &Arc<Connection>, kind: BodyKind, body: &[u8]) {
    let mut packets = Decoder::new(connection.revision(), kind, body);
    loop {
        // The answer waits, and with it the client's next POST.
        poll_fn(|cx| connection.poll_room(cx)).await;
        let mut dispatch = poll_fn(|cx| Dispatch::poll_begin(connection, cx)).await;
        while !connection.is_backlogged() {
            let next = match packets.next() {
                Some(Ok(packet)) => dispatch.packet(Transport::Polling, packet),
                Some(Err(error)) => dispatch.malformed(Transport::Polling, &error),
                None => return,
            };
            if next != Next::Continue {
                return;
            }
        }
    }
}

enum CollectError {
    TooLarge,
    Lost,
}

async fn collect<B: http_body::Body>(body: B, max: usize) -> Result<Vec<u8>, CollectError> {
    let declared = body.size_hint().lower();
    if declared > max as u64 {
        return Err(CollectError::TooLarge);
    }
    let mut body = pin!(body);
    // Grows with what arrives, not with what was declared.
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(CollectError::Lost) };
        if let Ok(mut data) = frame.into_data() {
            if collected.len() + data.remaining() > max {
                return Err(CollectError::TooLarge);
            }
            while data.has_remaining() {
                let chunk = data.chunk();
                collected.extend_from_slice(chunk);
                let len = chunk.len();
                data.advance(len);
            }
        }
    }
    Ok(collected)
}

/// A POST under way. Dropped before it is done, the client has hung up, which ends the session.
struct Posting<'a> {
    connection: &'a Arc<Connection>,
    done: bool,
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        let candidate = self.connection.with_polling(|polling| {
            polling.posting = false;
            polling.post = None;
            polling.candidate.as_ref().map(|(_, candidate)| candidate.clone())
        });
        self.connection.release_polling();
        if let Some(candidate) = candidate {
            candidate.wake();
        }
        if !self.done {
            self.connection.end(DisconnectReason::TransportError, End::Abrupt(None));
        }
        // A WebSocket that took over meanwhile waits for this POST to be handled.
        self.connection.with_outbox(|outbox| {
            if outbox.channel != Channel::Polling
                && let Some(waker) = &outbox.waker
            {
                waker.wake_by_ref();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use crate::connection::dispatch::Next;

    #[test]
    fn an_upgraded_session_keeps_nothing_for_polling_once_its_last_requests_are_over() {
        let connection = Connection::alone(&Server::new().shared, Transport::Polling);
        connection.with_polling(|polling| {
            (polling.held, polling.posting) = (true, true);
            // Left behind when room was made while the POST looked for it.
            polling.post = Some(std::task::Waker::noop().clone());
        });
        let held = Held { connection: &connection, answered: false, waited: true };
        let posting = Posting { connection: &connection, done: true };
        let timing = connection.timing();
        let candidate =
            connection.with_session(|session, now| session.handle_candidate(timing, now)).unwrap();
        for (text, next) in [("2probe", Next::AnswerProbe), ("5", Next::Upgraded)] {
            let mut dispatch = Dispatch::begin(&connection).unwrap().of_candidate(candidate);
            assert_eq!(dispatch.websocket_text(text), next);
        }
        connection.release_polling();
        drop(posting);
        assert!(connection.keeps_polling(), "a poll is not answered yet");
        drop(held);
        assert!(!connection.keeps_polling());
    }
}
