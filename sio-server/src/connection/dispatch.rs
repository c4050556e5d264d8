//! From Engine.IO messages to sockets: the only place that decides what a packet means.
//!
//! Everything a client sends, over polling or WebSocket, passes through a [`Dispatch`], which holds the
//! connection's decoder for the length of one read batch. Packets are handled in order; a handler is polled once
//! in place before the next packet is looked at.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use sio_protocol::Malformed;
use sio_protocol::engineio::session::{CandidateId, Reaction, Transport};
use sio_protocol::engineio::{self, Data, Revision};
use sio_protocol::parser::{Decode, JsonDecoder};
use sio_protocol::socketio::{Packet, PacketKind};

use super::flush::Batch;
use super::running::{self, Backlog};
use super::{Connection, End};
use crate::config::Config;
use crate::handler::Table;
use crate::namespace::{connect, pathname};
use crate::reason::DisconnectReason;
use crate::socket::SocketInner;
use crate::sync::contained;

/// The part of a connection that only whoever reads it touches.
#[derive(Debug)]
pub(crate) struct Inbound {
    decoder: Decoder,
    /// What waits for handlers to end.
    backlog: Option<Box<Backlog>>,
}

#[derive(Debug)]
enum Decoder {
    Json(JsonDecoder),
    Custom(Box<dyn Decode>),
}

impl Inbound {
    pub(crate) fn new(config: &Config) -> Self {
        let decoder = match &config.parser {
            Some(parser) => Decoder::Custom(parser.decoder(&config.limits)),
            None => Decoder::Json(JsonDecoder::new(Arc::clone(&config.limits))),
        };
        Self { decoder, backlog: None }
    }
}

impl Decoder {
    fn decode_text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, Malformed> {
        match self {
            Self::Json(decoder) => decoder.decode_text(text),
            Self::Custom(decoder) => caught(|| decoder.decode_text(text)),
        }
    }

    fn decode_binary(&mut self, bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed> {
        match self {
            Self::Json(decoder) => decoder.decode_binary(bytes),
            Self::Custom(decoder) => caught(|| decoder.decode_binary(bytes)),
        }
    }
}

/// A user's parser that panics costs its connection, as an error of it does, not the task that reads: nobody else would
/// end the session before its heartbeat is missed.
fn caught<T>(decode: impl FnOnce() -> Result<Option<T>, Malformed>) -> Result<Option<T>, Malformed> {
    contained("the parser", decode).unwrap_or(Err(Malformed::EmptyPacket))
}

/// What the transport that read the packet has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// Go on with the next packet.
    Continue,
    /// The connection has ended: drop the rest.
    Stop,
    /// A probing WebSocket: answer `3probe`.
    AnswerProbe,
    /// A probing WebSocket: it is the transport now.
    Upgraded,
    /// A probing WebSocket: close it, the session lives on.
    CloseCandidate,
}

/// One read batch of one connection. Emits made while it lives go out together when it is dropped.
#[derive(Debug)]
pub(crate) struct Dispatch<'a> {
    connection: &'a Arc<Connection>,
    /// Always there; an option so that `drop` can give it back.
    inbound: Option<Inbound>,
    /// The socket of the last packet with its namespace's handlers: nearly every batch has only one.
    last: Option<(Arc<SocketInner>, Arc<Table>)>,
    /// The session has heard of this batch.
    heard: bool,
    /// It is of a WebSocket that probes, until that is the transport.
    candidate: Option<CandidateId>,
    // Last field: dropped after the decoder is back, so that the flush finds a connection at rest.
    _batch: Batch<'a>,
}

impl<'a> Dispatch<'a> {
    /// Begins a batch; `None` while another batch of the same connection is being handled elsewhere.
    pub(crate) fn begin(connection: &'a Arc<Connection>) -> Option<Self> {
        Some(Self::with(connection, connection.take_inbound()?))
    }

    /// Begins a batch when the one that is being handled elsewhere is done.
    pub(crate) fn poll_begin(connection: &'a Arc<Connection>, cx: &mut Context<'_>) -> Poll<Self> {
        connection.poll_take_inbound(cx).map(|inbound| Self::with(connection, inbound))
    }

    fn with(connection: &'a Arc<Connection>, inbound: Inbound) -> Self {
        let _batch = Batch::of(connection);
        Self { connection, inbound: Some(inbound), last: None, heard: false, candidate: None, _batch }
    }

    /// Makes it the batch of a WebSocket that probes.
    pub(crate) fn of_candidate(mut self, candidate: CandidateId) -> Self {
        self.candidate = Some(candidate);
        self
    }

    /// Handles a text message of a WebSocket.
    pub(crate) fn websocket_text(&mut self, text: &str) -> Next {
        // Nearly everything is a message; it needs nothing from the session but to be noticed once a batch.
        if self.heard
            && let Some(message) = text.strip_prefix('4')
        {
            return self.text(message);
        }
        match engineio::Packet::decode_text(self.connection.revision(), text) {
            Ok(packet) => self.packet(Transport::WebSocket, packet),
            Err(error) => self.malformed(Transport::WebSocket, &error),
        }
    }

    /// Handles a binary message of a WebSocket.
    pub(crate) fn websocket_binary(&mut self, bytes: &[u8]) -> Next {
        match engineio::Packet::decode_binary(self.connection.revision(), bytes) {
            Ok(packet) => self.packet(Transport::WebSocket, packet),
            Err(error) => self.malformed(Transport::WebSocket, &error),
        }
    }

    /// An Engine.IO packet that cannot be understood ends the session, or the probing WebSocket it came over.
    pub(crate) fn malformed(&mut self, origin: Transport, error: &engineio::Malformed) -> Next {
        let is_probing = self.candidate.is_some() || self.connection.transport() != origin;
        if origin == Transport::WebSocket && is_probing {
            return Next::CloseCandidate;
        }
        tracing::debug!(session = ?self.connection.id(), %error, "malformed engine.io packet");
        self.end(DisconnectReason::ParseError, End::Abrupt(None))
    }

    /// Handles one Engine.IO packet.
    pub(crate) fn packet(&mut self, origin: Transport, packet: engineio::Packet<'_>) -> Next {
        let timing = self.connection.timing();
        let candidate = self.candidate;
        let (reaction, current) = self.connection.with_session(|session, now| {
            // Its time is up and perhaps another has its place: that one's probe must not be taken for its own.
            if candidate.is_some_and(|id| !session.is_candidate(id)) {
                return (Reaction::CloseCandidate, false);
            }
            // A POST that was on its way when the WebSocket took over still counts: its messages came first.
            let late = origin == Transport::Polling && session.transport() != origin && !session.is_closed();
            let reaction = match packet.kind {
                engineio::PacketKind::Message if late => Reaction::Deliver,
                _ if late => Reaction::Ignore,
                _ => session.handle_packet(timing, now, origin, &packet),
            };
            (reaction, session.transport() == origin)
        });
        // From here on, messages of this batch take the short way.
        self.heard = current && origin == Transport::WebSocket;
        match reaction {
            Reaction::Deliver => match packet.data {
                Data::Text(text) => self.text(&text),
                Data::Binary(bytes) => self.binary(Bytes::from(bytes.into_owned())),
            },
            Reaction::Pong => {
                self.connection.send_engine(engineio::PacketKind::Pong);
                Next::Continue
            }
            Reaction::AnswerProbe => Next::AnswerProbe,
            Reaction::Upgraded => {
                self.candidate = None;
                Next::Upgraded
            }
            Reaction::CloseCandidate => Next::CloseCandidate,
            Reaction::Close(reason) => {
                let said_goodbye = packet.kind == engineio::PacketKind::Close;
                let end =
                    if said_goodbye && origin == Transport::Polling { End::Gone } else { End::Abrupt(None) };
                self.end(reason.into(), end)
            }
            _ => Next::Continue,
        }
    }

    fn text(&mut self, text: &str) -> Next {
        self.decode(|decoder| decoder.decode_text(text))
    }

    fn binary(&mut self, bytes: Bytes) -> Next {
        self.decode(|decoder| decoder.decode_binary(bytes))
    }

    #[inline]
    fn decode<'p>(
        &mut self,
        decode: impl FnOnce(&mut Decoder) -> Result<Option<Packet<'p>>, Malformed>,
    ) -> Next {
        // Out of `self` while user code runs, which may need the rest of it.
        let Some(mut inbound) = self.inbound.take() else { return Next::Stop };
        let next = match decode(&mut inbound.decoder) {
            Ok(Some(packet)) => self.admit(&mut inbound, &packet),
            Ok(None) => Next::Continue,
            Err(error) => self.undecodable(&error),
        };
        self.inbound = Some(inbound);
        next
    }

    /// Node: `Client.ondata` closes the connection when the decoder throws.
    fn undecodable(&mut self, error: &Malformed) -> Next {
        tracing::debug!(session = ?self.connection.id(), %error, "malformed socket.io packet");
        self.end(DisconnectReason::ForcedClose, End::Graceful)
    }

    /// Handles a packet now, or when handlers that run have ended: see [`running`]. What answers a handler does not
    /// wait for one.
    #[inline]
    fn admit(&mut self, inbound: &mut Inbound, packet: &Packet<'_>) -> Next {
        if self.connection.has_room() || packet.kind == PacketKind::Ack {
            return self.socket_packet(packet);
        }
        inbound.backlog.get_or_insert_default().push(self.connection, packet);
        Next::Continue
    }

    /// Handles what waits, as far as there is room. Once the connection has ended nobody is left to handle it.
    pub(super) fn resume(&mut self) {
        while let Some(inbound) = &mut self.inbound
            && let Some(backlog) = &mut inbound.backlog
        {
            let is_ended = self.connection.is_ended();
            if !is_ended && !self.connection.may_resume() {
                return;
            }
            match backlog.pop(self.connection).filter(|_| !is_ended) {
                // An end that it brings is found above.
                Some(packet) => self.waited(&packet),
                None => {
                    inbound.backlog = None;
                    running::emptied(self.connection);
                }
            }
        }
    }

    /// Handles a packet that has waited. It made sense when it came: a namespace that the server has disconnected since
    /// does not end the connection.
    fn waited(&mut self, packet: &Packet<'_>) {
        if packet.kind != PacketKind::Connect {
            self.last = self.take_target(&packet.nsp);
            if self.last.is_none() {
                return;
            }
        }
        let _ = self.socket_packet(packet);
    }

    /// Hands a packet to its socket. Whatever makes no sense in the present state closes the connection.
    fn socket_packet(&mut self, packet: &Packet<'_>) -> Next {
        if packet.kind == PacketKind::Connect {
            self.last = None;
            if connect::handle_connect(self.connection, packet) {
                return self.alive();
            }
            return self.out_of_place();
        }
        let Some((socket, table)) = self.take_target(&packet.nsp) else {
            return self.out_of_place();
        };
        if !socket.is_connected() {
            // It is being disconnected on another thread.
            return self.alive();
        }
        match packet.kind {
            PacketKind::Event => socket.handle_event(&table, packet),
            PacketKind::Ack => socket.handle_ack(packet),
            PacketKind::Disconnect => socket.leave_namespace(DisconnectReason::ClientNamespaceDisconnect),
            // Only a server sends CONNECT_ERROR.
            _ => return self.out_of_place(),
        }
        // While the socket is connected so is the connection; that is cheaper to ask.
        if socket.is_connected() {
            self.last = Some((socket, table));
            return Next::Continue;
        }
        self.alive()
    }

    /// Ends the connection for a packet that has no meaning in the present state. Node: `Client.close`, which closes a
    /// WebSocket before the sockets hear of it, so that its reason counts.
    fn out_of_place(&mut self) -> Next {
        let reason = match self.connection.transport() {
            Transport::WebSocket => DisconnectReason::ForcedClose,
            Transport::Polling => DisconnectReason::ForcedServerClose,
        };
        self.end(reason, End::Graceful)
    }

    /// The socket of a namespace with the namespace's handlers. Nearly every batch is for one socket only, so the
    /// last one is kept.
    fn take_target(&mut self, nsp: &str) -> Option<(Arc<SocketInner>, Arc<Table>)> {
        if let Some(last) = self.last.take_if(|(socket, _)| socket.namespace().path() == nsp) {
            return Some(last);
        }
        let socket = match self.connection.revision() {
            // Node reads every name of such a client as a URL.
            Revision::V3 => self.connection.socket(&pathname::split(nsp).0)?,
            _ => self.connection.socket(nsp)?,
        };
        let table = socket.namespace().table();
        Some((socket, table))
    }

    /// A handler may have ended the connection.
    fn alive(&self) -> Next {
        if self.connection.is_ended() { Next::Stop } else { Next::Continue }
    }

    fn end(&mut self, reason: DisconnectReason, end: End) -> Next {
        self.connection.end(reason, end);
        Next::Stop
    }
}

impl Drop for Dispatch<'_> {
    fn drop(&mut self) {
        if let Some(inbound) = self.inbound.take() {
            self.connection.put_inbound(inbound);
        }
    }
}

/// Keeps what a client sends from being looked at, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    connection: &'a Arc<Connection>,
    inbound: Option<Inbound>,
}

impl<'a> Turn<'a> {
    /// Waits for the batch under way, if there is one. Once the connection has ended there is nothing to be kept.
    pub(crate) async fn take(connection: &'a Arc<Connection>) -> Self {
        let inbound = poll_fn(|cx| match connection.poll_take_inbound(cx) {
            Poll::Ready(inbound) => Poll::Ready(Some(inbound)),
            Poll::Pending if connection.is_ended() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        Self { connection, inbound: inbound.await }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(inbound) = self.inbound.take() {
            self.connection.put_inbound(inbound);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    fn polling() -> Arc<Connection> {
        Connection::alone(&Server::new().shared, Transport::Polling)
    }

    fn candidate(connection: &Connection) -> CandidateId {
        let timing = connection.timing();
        connection.with_session(|session, now| session.handle_candidate(timing, now)).unwrap()
    }

    fn say(connection: &Arc<Connection>, candidate: CandidateId, text: &str) -> Next {
        Dispatch::begin(connection).unwrap().of_candidate(candidate).websocket_text(text)
    }

    #[test]
    fn a_candidate_that_is_over_does_not_speak_for_the_next() {
        let connection = polling();
        let first = candidate(&connection);
        assert_eq!(say(&connection, first, "2probe"), Next::AnswerProbe);
        connection.with_session(|session, _| session.handle_candidate_lost(first));
        let second = candidate(&connection);
        assert_eq!(say(&connection, second, "2probe"), Next::AnswerProbe);
        for text in ["5", "42[\"n\"]", "x"] {
            assert_eq!(say(&connection, first, text), Next::CloseCandidate, "{text}");
        }
        assert_eq!(connection.transport(), Transport::Polling);
        assert_eq!(say(&connection, second, "5"), Next::Upgraded);
        // Nor for the session.
        for text in ["42[\"n\"]", "1", "x"] {
            assert_eq!(say(&connection, first, text), Next::CloseCandidate, "{text}");
        }
        assert!(!connection.is_ended());
    }

    #[test]
    fn whoever_waits_for_a_batch_to_end_is_woken_by_its_end_and_not_before() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let connection = polling();
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&count));
        let mut cx = Context::from_waker(&waker);
        let batch = Dispatch::begin(&connection).unwrap();
        let mut turn = pin!(Turn::take(&connection));
        assert!(turn.as_mut().poll(&mut cx).is_pending());
        assert!(Dispatch::poll_begin(&connection, &mut cx).is_pending());
        assert_eq!(count.0.load(Ordering::Relaxed), 0);
        drop(batch);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(turn.as_mut().poll(&mut cx).is_ready());
        assert!(Dispatch::poll_begin(&connection, &mut cx).is_ready());
    }
}
