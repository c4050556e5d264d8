//! A packet in its finished form: encoded once, shared by every recipient.
//!
//! Server frames are not masked, so every WebSocket recipient gets the same bytes; a polling recipient gets the
//! same text without the frame header. [`Draft`] is the step before: arguments are serialised behind a head room
//! into which the packet header and the frame header are then written backwards, so that nothing is moved.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use bytes::Bytes;
use serde::Serialize;
use sio_protocol::engineio::Revision;
use sio_protocol::parser::{Frame, Parser};
use sio_protocol::socketio::{self, Packet, PacketKind, PlaceholderKeys};

use crate::error::EmitError;
use crate::namespace::NamespaceInner;
use crate::websocket::{MAX_HEADER, Opcode, PerMessageDeflate, frame_header, write_header_backwards};

/// An immutable packet, ready to be written to any transport.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// The WebSocket frame of the text message, or empty when the packet has none (MessagePack parser).
    frame: Box<[u8]>,
    /// Where the Engine.IO packet (`4...`) starts in `frame`.
    payload_at: usize,
    binaries: Box<[Binary]>,
    /// Transports may compress it.
    compress: bool,
    /// The form for WebSockets that have negotiated compression, made for the first of them; none when compressing
    /// does not pay.
    deflated: OnceLock<Option<Arc<Self>>>,
}

/// A binary message with its frame header for either revision; revision 3 counts its type byte as payload.
#[derive(Clone, Debug)]
struct Binary {
    v4: ([u8; MAX_HEADER], u8),
    v3: ([u8; MAX_HEADER + 1], u8),
    data: Bytes,
}

/// One Engine.IO message of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Message<'a> {
    /// The text after the packet type digit.
    Text(&'a str),
    Binary(&'a [u8]),
}

impl Binary {
    fn new(data: Bytes) -> Self {
        let (v4, v4_len) = frame_header(Opcode::Binary, data.len(), false);
        let (head, len) = frame_header(Opcode::Binary, data.len() + 1, false);
        let mut v3 = [0; MAX_HEADER + 1];
        v3[..len].copy_from_slice(&head[..len]);
        v3[len] = V3_MESSAGE;
        Self { v4: (v4, v4_len as u8), v3: (v3, len as u8 + 1), data }
    }

    fn header(&self, revision: Revision) -> &[u8] {
        match revision {
            Revision::V3 => &self.v3.0[..usize::from(self.v3.1)],
            _ => &self.v4.0[..usize::from(self.v4.1)],
        }
    }
}

impl Encoded {
    /// Encodes `packet` with `parser`, or as JSON when there is none.
    pub(crate) fn new(packet: &Packet<'_>, parser: Option<&Arc<dyn Parser>>) -> Self {
        if let Some(parser) = parser {
            let mut frames = Vec::new();
            parser.encode(packet, &mut frames);
            return Self::from_frames(frames);
        }
        let head_room = MAX_HEADER + 1 + socketio::header_len_max(&packet.nsp);
        let mut buf = vec![0; head_room];
        buf.extend_from_slice(packet.data.as_bytes());
        let start =
            write_header(&mut buf, head_room, packet.kind, packet.attachments.len(), &packet.nsp, packet.id);
        Self::from_text(&mut buf, start, packet.attachments.clone())
    }

    /// `buf[start..]` is an Engine.IO text packet with at least [`MAX_HEADER`] bytes of room before it.
    fn from_text(buf: &mut [u8], start: usize, attachments: Vec<Bytes>) -> Self {
        let frame_at = write_header_backwards(buf, start, Opcode::Text, buf.len() - start);
        Self {
            frame: buf[frame_at..].into(),
            payload_at: start - frame_at,
            binaries: attachments.into_iter().map(Binary::new).collect(),
            compress: true,
            deflated: OnceLock::new(),
        }
    }

    fn from_frames(frames: Vec<Frame>) -> Self {
        let mut text = None;
        let mut binaries = Vec::new();
        for frame in frames {
            match frame {
                Frame::Text(message) if text.is_none() => text = Some(message),
                // A parser that puts out a second text has no place in our order (text, then binaries); the
                // trait's documentation rules it out.
                Frame::Text(_) => tracing::error!("a parser gave two text messages for one packet"),
                Frame::Binary(bytes) => binaries.push(bytes),
            }
        }
        match text {
            Some(message) => {
                let mut buf = vec![0; MAX_HEADER];
                buf.push(MESSAGE);
                buf.extend_from_slice(message.as_bytes());
                Self::from_text(&mut buf, MAX_HEADER, binaries)
            }
            None => Self {
                frame: Box::default(),
                payload_at: 0,
                binaries: binaries.into_iter().map(Binary::new).collect(),
                compress: true,
                deflated: OnceLock::new(),
            },
        }
    }

    /// The same packet for a WebSocket whose client asked for base64: binary as text messages. No longer fit for a
    /// polling payload.
    pub(crate) fn to_base64(&self, revision: Revision) -> Self {
        let mut frames = self.frame.to_vec();
        for binary in &self.binaries {
            let mut text = String::from(if revision == Revision::V3 { "b4" } else { "b" });
            base64::engine::general_purpose::STANDARD.encode_string(&binary.data, &mut text);
            let (header, len) = frame_header(Opcode::Text, text.len(), false);
            frames.extend_from_slice(&header[..len]);
            frames.extend_from_slice(text.as_bytes());
        }
        Self { frame: frames.into(), binaries: Box::default(), deflated: OnceLock::new(), ..*self }
    }

    /// Says that no transport may compress it.
    pub(crate) fn uncompressed(mut self) -> Self {
        self.compress = false;
        self
    }

    /// Whether transports may compress it.
    pub(crate) fn may_compress(&self) -> bool {
        self.compress
    }

    /// The form for WebSockets that have negotiated compression; `None` when it is no other.
    pub(crate) fn deflated(&self, options: &PerMessageDeflate) -> Option<&Arc<Self>> {
        if !self.compress || self.frame.is_empty() {
            return None;
        }
        let form = self.deflated.get_or_init(|| {
            let frame = options.compress_frame(Opcode::Text, &self.frame[self.payload_at..])?;
            Some(Arc::new(Self {
                frame: frame.into(),
                payload_at: 0,
                binaries: self.binaries.clone(),
                compress: false,
                deflated: OnceLock::new(),
            }))
        });
        form.as_ref()
    }

    /// Whether it has messages beside the text.
    pub(crate) fn has_binaries(&self) -> bool {
        !self.binaries.is_empty()
    }

    /// Bytes on a WebSocket; what a queue counts.
    pub(crate) fn wire_len(&self, revision: Revision) -> usize {
        let binaries: usize = self.binaries.iter().map(|b| b.header(revision).len() + b.data.len()).sum();
        self.frame.len() + binaries
    }

    /// The bytes on a WebSocket, in order, as slices to be written together.
    pub(crate) fn slices(&self, revision: Revision) -> impl Iterator<Item = &[u8]> {
        let binaries = self.binaries.iter().flat_map(move |b| [b.header(revision), &b.data[..]]);
        std::iter::once(&self.frame[..]).chain(binaries).filter(|slice| !slice.is_empty())
    }

    /// The Engine.IO messages, for a polling payload.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let text = (!self.frame.is_empty())
            // What we wrote ourselves from a `str` is UTF-8.
            .then(|| {
                Message::Text(
                    simdutf8::basic::from_utf8(&self.frame[self.payload_at + 1..]).unwrap_or_default(),
                )
            });
        text.into_iter().chain(self.binaries.iter().map(|b| Message::Binary(&b.data)))
    }
}

/// A packet whose arguments are serialised and whose header is not written yet.
pub(crate) struct Draft {
    buf: Vec<u8>,
    head_room: usize,
    attachments: Vec<Bytes>,
    kind: PacketKind,
}

thread_local! {
    /// The buffer of the last draft of this thread: an emit allocates no working memory of its own.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Draft {
    /// Serialises the event `name` with `args`; the header is left open.
    pub(crate) fn event<T: Serialize + ?Sized>(
        namespace: &NamespaceInner,
        name: &str,
        args: &T,
    ) -> Result<Self, EmitError> {
        if socketio::is_reserved_event(name) {
            return Err(EmitError::ReservedEvent(name.to_owned()));
        }
        let mut draft = Self::open(namespace.path(), PacketKind::Event);
        let keys = placeholder_keys(namespace);
        socketio::write_event_with(&mut draft.buf, &mut draft.attachments, name, args, keys)?;
        Ok(draft)
    }

    /// Serialises the arguments of an acknowledgement.
    pub(crate) fn ack<T: Serialize + ?Sized>(
        namespace: &NamespaceInner,
        args: &T,
    ) -> Result<Self, EmitError> {
        let mut draft = Self::open(namespace.path(), PacketKind::Ack);
        let keys = placeholder_keys(namespace);
        socketio::write_args_with(&mut draft.buf, &mut draft.attachments, args, keys)?;
        Ok(draft)
    }

    /// Serialises an event for the handlers of other servers: names that clients must not use are allowed, and what
    /// looks like a placeholder stays data.
    pub(crate) fn server_event<T: Serialize + ?Sized>(
        nsp: &str,
        name: &str,
        args: &T,
    ) -> Result<Self, EmitError> {
        let mut draft = Self::open(nsp, PacketKind::Event);
        let attachments = &mut draft.attachments;
        socketio::write_event_with(&mut draft.buf, attachments, name, args, PlaceholderKeys::Kept)?;
        Ok(draft)
    }

    /// An event whose data `write` appends, giving its attachments; `None` when it has appended nothing.
    pub(crate) fn written<E>(
        nsp: &str,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, E>,
    ) -> Result<Option<Self>, E> {
        let mut draft = Self::open(nsp, PacketKind::Event);
        // There is nothing but zeros yet.
        let mut text = String::from_utf8(std::mem::take(&mut draft.buf)).unwrap_or_default();
        let written = write(&mut text);
        draft.buf = text.into_bytes();
        draft.attachments = written?;
        if draft.buf.len() <= draft.head_room {
            tracing::error!(nsp, "an adapter has delivered an event without data");
            return Ok(None);
        }
        Ok(Some(draft))
    }

    fn open(nsp: &str, kind: PacketKind) -> Self {
        let head_room = MAX_HEADER + 1 + socketio::header_len_max(nsp);
        let mut buf = SPARE.take();
        buf.clear();
        buf.resize(head_room, 0);
        Self { buf, head_room, attachments: Vec::new(), kind }
    }

    /// Bytes of the serialised arguments.
    pub(crate) fn len(&self) -> usize {
        self.buf.len() - self.head_room
    }

    /// The same with the attachments.
    pub(crate) fn total_len(&self) -> usize {
        self.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    pub(crate) fn has_attachments(&self) -> bool {
        !self.attachments.is_empty()
    }

    /// The whole as one WebSocket frame. Only for packets without attachments.
    pub(crate) fn frame(&mut self, nsp: &str, id: Option<u64>) -> &[u8] {
        let start = write_header(&mut self.buf, self.head_room, self.kind, 0, nsp, id);
        let len = self.buf.len() - start;
        let frame_at = write_header_backwards(&mut self.buf, start, Opcode::Text, len);
        &self.buf[frame_at..]
    }

    /// Finishes it as JSON for any transport.
    pub(crate) fn encode(mut self, nsp: &str, id: Option<u64>) -> Encoded {
        let start = write_header(&mut self.buf, self.head_room, self.kind, self.attachments.len(), nsp, id);
        let attachments = std::mem::take(&mut self.attachments);
        Encoded::from_text(&mut self.buf, start, attachments)
    }

    /// A view of it as a packet, for adapters, other parsers and listeners.
    pub(crate) fn packet<'a>(&'a self, nsp: &'a str, id: Option<u64>) -> Packet<'a> {
        // Written by our serialiser, which writes UTF-8 only.
        let json = simdutf8::basic::from_utf8(&self.buf[self.head_room..]).unwrap_or_default();
        match self.kind {
            PacketKind::Ack => Packet::ack(nsp, id.unwrap_or_default(), json, self.attachments.clone()),
            _ => Packet::event(nsp, id, json, self.attachments.clone()),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.buf.capacity() <= SPARE_CAPACITY {
            SPARE.set(std::mem::take(&mut self.buf));
        }
    }
}

/// A map that looks like a placeholder could be taken for one by a client of the JSON parser only.
fn placeholder_keys(namespace: &NamespaceInner) -> PlaceholderKeys {
    if namespace.parser().is_some() { PlaceholderKeys::Kept } else { PlaceholderKeys::Refused }
}

/// Writes `4` and the Socket.IO header so that they end at `end`.
fn write_header(
    buf: &mut [u8],
    end: usize,
    kind: PacketKind,
    attachments: usize,
    nsp: &str,
    id: Option<u64>,
) -> usize {
    let start = socketio::write_header_backwards(buf, end, kind, attachments, nsp, id) - 1;
    buf[start] = MESSAGE;
    start
}

/// The Engine.IO packet type of a message, as a character.
const MESSAGE: u8 = b'4';
/// The same in a binary message of revision 3.
const V3_MESSAGE: u8 = 4;
/// The largest working buffer a thread keeps: one large emit must not be remembered for ever.
const SPARE_CAPACITY: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(encoded: &Encoded, revision: Revision) -> Vec<u8> {
        let wire = encoded.slices(revision).collect::<Vec<_>>().concat();
        assert_eq!(wire.len(), encoded.wire_len(revision));
        wire
    }

    fn with_attachment() -> Encoded {
        Encoded::new(&Packet::event("/", None, r#"["e",{}]"#, vec![Bytes::from_static(&[1, 2])]), None)
    }

    #[test]
    fn revision_3_counts_the_type_byte_of_a_binary_message() {
        let text = b"\x81\x0c451-[\"e\",{}]";
        assert_eq!(wire(&with_attachment(), Revision::V4), [&text[..], b"\x82\x02\x01\x02"].concat());
        assert_eq!(wire(&with_attachment(), Revision::V3), [&text[..], b"\x82\x03\x04\x01\x02"].concat());
    }

    #[test]
    fn base64_is_a_text_message_with_a_type_digit_in_revision_3_only() {
        let text = b"\x81\x0c451-[\"e\",{}]";
        let v4 = with_attachment().to_base64(Revision::V4);
        assert_eq!(wire(&v4, Revision::V4), [&text[..], b"\x81\x05bAQI="].concat());
        let v3 = with_attachment().to_base64(Revision::V3);
        assert_eq!(wire(&v3, Revision::V3), [&text[..], b"\x81\x06b4AQI="].concat());
    }

    #[test]
    fn a_poll_gets_the_same_messages_without_frames() {
        let encoded = with_attachment();
        let mut messages = encoded.messages();
        assert!(matches!(messages.next(), Some(Message::Text(r#"51-["e",{}]"#))));
        assert!(matches!(messages.next(), Some(Message::Binary(&[1, 2]))));
        assert!(messages.next().is_none());
    }

    #[test]
    fn a_draft_and_a_packet_give_the_same_bytes() {
        let args = ("é", 1.0, [true; 3]);
        let io = crate::Server::new();
        for (nsp, id) in [("/", None), ("/chat", Some(12))] {
            let namespace = io.of(nsp).0;
            let draft = Draft::event(&namespace, "say", &args).unwrap();
            let packet = Encoded::new(&draft.packet(nsp, id), None);
            let mut again = Draft::event(&namespace, "say", &args).unwrap();
            assert_eq!(again.frame(nsp, id), wire(&packet, Revision::V4));
            assert_eq!(wire(&draft.encode(nsp, id), Revision::V4), wire(&packet, Revision::V4));
        }
    }
}
