//! The packet: what one or several messages say once they are put together.
//!
//! Its data stays JSON text, borrowed from the message where that is possible, and binary values stay beside
//! it as attachments. Whether the wire type is that of a binary packet follows from the attachments and is
//! not stored.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::args::{ArgsError, RawArgs, read_value};
use super::event::NameSpan;
use super::header;

/// Is one Socket.IO packet.
///
/// Text that comes from a decoder is valid JSON of the type that the kind asks for. A packet built by hand is
/// taken at its word; wrong text makes wrong packets and failing arguments, but no panic.
///
/// With attachments, the data refers to each as `{"_placeholder":true,"num":0}`, in exactly this form; the
/// decoders bring other spellings into it. Without attachments such an object is ordinary data.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Packet<'a> {
    /// What the packet is for.
    pub kind: PacketKind,
    /// The namespace, `/` unless the packet names another.
    pub nsp: Cow<'a, str>,
    /// The ack id: an event with one asks for an answer, an ack gives it.
    pub id: Option<u64>,
    /// The data as JSON text, empty when the packet has none.
    pub data: Cow<'a, str>,
    /// The binary values of the data.
    pub attachments: Vec<Bytes>,
    /// Where the name of an event stands in `data`, if that is known.
    name: NameSpan,
}

impl<'a> Packet<'a> {
    /// Makes the packet that joins a namespace, or confirms it. `data` is an object or empty.
    pub fn connect(nsp: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, str>>) -> Self {
        Self::new(PacketKind::Connect, nsp.into(), None, data.into(), Vec::new())
    }

    /// Makes the packet that leaves a namespace.
    pub fn disconnect(nsp: impl Into<Cow<'a, str>>) -> Self {
        Self::new(PacketKind::Disconnect, nsp.into(), None, Cow::Borrowed(""), Vec::new())
    }

    /// Makes the packet that refuses a namespace. `data` is an object, or a string for clients of revision 4.
    pub fn connect_error(nsp: impl Into<Cow<'a, str>>, data: impl Into<Cow<'a, str>>) -> Self {
        Self::new(PacketKind::ConnectError, nsp.into(), None, data.into(), Vec::new())
    }

    /// Makes an event. `data` is an array that starts with the name, as [`write_event`](super::write_event)
    /// writes it.
    pub fn event(
        nsp: impl Into<Cow<'a, str>>,
        id: Option<u64>,
        data: impl Into<Cow<'a, str>>,
        attachments: Vec<Bytes>,
    ) -> Self {
        let data = data.into();
        let name = NameSpan::find(&data);
        Self { name, ..Self::new(PacketKind::Event, nsp.into(), id, data, attachments) }
    }

    /// Makes the answer to an event. `data` is an array, as [`write_args`](super::write_args) writes it.
    pub fn ack(
        nsp: impl Into<Cow<'a, str>>,
        id: u64,
        data: impl Into<Cow<'a, str>>,
        attachments: Vec<Bytes>,
    ) -> Self {
        Self::new(PacketKind::Ack, nsp.into(), Some(id), data.into(), attachments)
    }

    /// Gives the name of an event. A number is printed as JavaScript prints it. `None` for other packets, and
    /// for an event without data, which Node drops silently.
    pub fn event_name(&self) -> Option<Cow<'_, str>> {
        self.known_name().name(&self.data)
    }

    /// Gives the arguments of an event or of an ack. Other packets have none.
    pub fn args(&self) -> RawArgs<'_> {
        match self.kind {
            PacketKind::Event => RawArgs::of_event(&self.data, self.known_name().end, &self.attachments),
            PacketKind::Ack => RawArgs::new(&self.data, &self.attachments),
            _ => RawArgs::default(),
        }
    }

    /// Deserialises the data of a packet that is no list of arguments: CONNECT and CONNECT_ERROR. Data that
    /// is missing is read as null.
    ///
    /// # Errors
    ///
    /// If the data is not what `T` expects.
    pub fn payload<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ArgsError> {
        read_value(if self.data.is_empty() { "null" } else { &self.data }, &self.attachments)
    }

    /// Appends the text message of the packet: header and data.
    pub fn write_text(&self, out: &mut String) {
        out.reserve(header::header_len_max(&self.nsp) + self.data.len());
        header::write_header(out, self.kind, self.attachments.len(), &self.nsp, self.id);
        out.push_str(&self.data);
    }

    /// Makes a packet that borrows nothing.
    pub fn into_owned(self) -> Packet<'static> {
        Packet {
            kind: self.kind,
            nsp: match self.nsp {
                // Nearly every packet is for the main namespace, and that one needs no memory of its own.
                Cow::Borrowed("/") => Cow::Borrowed("/"),
                other => Cow::Owned(other.into_owned()),
            },
            id: self.id,
            data: Cow::Owned(self.data.into_owned()),
            attachments: self.attachments,
            name: self.name,
        }
    }

    /// Makes a packet from parts that a decoder has checked.
    pub(crate) fn checked(
        kind: PacketKind,
        nsp: Cow<'a, str>,
        id: Option<u64>,
        data: Cow<'a, str>,
        name: NameSpan,
        attachments: Vec<Bytes>,
    ) -> Self {
        Self { kind, nsp, id, data, attachments, name }
    }

    fn new(
        kind: PacketKind,
        nsp: Cow<'a, str>,
        id: Option<u64>,
        data: Cow<'a, str>,
        attachments: Vec<Bytes>,
    ) -> Self {
        Self { kind, nsp, id, data, attachments, name: NameSpan::default() }
    }

    /// Says where the name stands, also if kind or data were set after the packet was made.
    fn known_name(&self) -> NameSpan {
        match self.kind {
            PacketKind::Event if self.name.end == 0 => NameSpan::find(&self.data),
            PacketKind::Event => self.name,
            _ => NameSpan::default(),
        }
    }
}

/// Names what a packet is for. The two binary types of the wire are [`Event`](Self::Event) and
/// [`Ack`](Self::Ack) with attachments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "the protocol fixes the set, and each kind needs its own answer")]
pub enum PacketKind {
    /// Joins a namespace; from the server: it was joined.
    Connect,
    /// Leaves a namespace.
    Disconnect,
    /// Carries an event.
    Event,
    /// Answers an event.
    Ack,
    /// Refuses a namespace. Only a server sends it.
    ConnectError,
}

impl PacketKind {
    /// Gives the packet type of the wire, which depends on whether there are attachments.
    pub const fn digit(self, binary: bool) -> char {
        match (self, binary) {
            (Self::Connect, _) => '0',
            (Self::Disconnect, _) => '1',
            (Self::Event, false) => '2',
            (Self::Ack, false) => '3',
            (Self::ConnectError, _) => '4',
            (Self::Event, true) => '5',
            (Self::Ack, true) => '6',
        }
    }
}
