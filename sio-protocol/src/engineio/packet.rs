//! One Engine.IO packet, as it travels in one WebSocket message or as one string of a polling body.
//!
//! Pure. A packet is a type and optional data, text or binary; reading one borrows from the input unless base64 has
//! to be undone. Specification: engine.io-protocol v4, "Packet encoding", and engine.io-protocol v3, "Encoding".

use std::borrow::Cow;

use super::{Malformed, base64};

/// One packet: what it is, and what it carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The type of the packet.
    pub kind: PacketKind,
    /// What the packet carries; the empty text if it carries nothing, which the wire does not tell apart.
    pub data: Data<'a>,
}

impl<'a> Packet<'a> {
    /// Reads one WebSocket text message, or one packet string of a polling body: `4hello`, and binary data as base64
    /// behind a `b` (`bAQID` is a message in revision 4; revision 3 has the type in between, `b4AQID`).
    ///
    /// Base64 is read as Node does it: both alphabets, missing padding and foreign characters are accepted.
    ///
    /// # Errors
    ///
    /// [`Malformed::EmptyPacket`] without a type, [`Malformed::UnknownPacketType`] with an unknown one.
    #[inline]
    pub fn decode_text(rev: Revision, text: &'a str) -> Result<Self, Malformed> {
        match text.bytes().next().and_then(PacketKind::from_digit) {
            Some(kind) => Ok(Self { kind, data: Data::Text(Cow::Borrowed(&text[1..])) }),
            None => Self::decode_unusual(rev, text),
        }
    }

    /// Base64 and errors, out of line so that the usual packet stays a digit check and a borrow.
    fn decode_unusual(rev: Revision, text: &'a str) -> Result<Self, Malformed> {
        let mut rest = text.chars();
        match rest.next() {
            None => Err(Malformed::EmptyPacket),
            Some('b') => {
                let kind = match rev {
                    Revision::V4 => PacketKind::Message,
                    Revision::V3 => {
                        let seen = rest.next().ok_or(Malformed::EmptyPacket)?;
                        u8::try_from(seen)
                            .ok()
                            .and_then(PacketKind::from_digit)
                            .ok_or(Malformed::UnknownPacketType { seen })?
                    }
                };
                let data = base64::decode(rest.as_str().as_bytes());
                Ok(Self { kind, data: Data::Binary(Cow::Owned(data)) })
            }
            Some(seen) => Err(Malformed::UnknownPacketType { seen }),
        }
    }

    /// Reads one WebSocket binary message. In revision 4 it is the data of a message, whatever the bytes; in
    /// revision 3 the first byte is the type, as a number (message: 4).
    ///
    /// # Errors
    ///
    /// Only in revision 3: [`Malformed::EmptyPacket`] without a type byte, [`Malformed::UnknownTypeByte`] with an
    /// unknown one.
    #[inline]
    pub fn decode_binary(rev: Revision, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (kind, data) = match (rev, bytes) {
            (Revision::V4, _) => (PacketKind::Message, bytes),
            (Revision::V3, []) => return Err(Malformed::EmptyPacket),
            (Revision::V3, &[seen, ref data @ ..]) => {
                (PacketKind::from_number(seen).ok_or(Malformed::UnknownTypeByte { seen })?, data)
            }
        };
        Ok(Self { kind, data: Data::Binary(Cow::Borrowed(data)) })
    }

    /// Returns the packet with data of its own, copying what it has borrowed.
    pub fn into_owned(self) -> Packet<'static> {
        Packet { kind: self.kind, data: self.data.into_owned() }
    }
}

/// The protocol revision that a client speaks, query parameter `EIO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Revision {
    /// Revision 3, of Socket.IO clients 1.x and 2.x: the client pings, lengths go before packets.
    V3,
    /// Revision 4, of Socket.IO clients since 3.0: the server pings, a separator goes between packets.
    V4,
}

impl Revision {
    /// Reads the query parameter `EIO`. As in Node, everything but `4` means revision 3, also its absence.
    pub fn from_query(eio: Option<&str>) -> Self {
        if eio == Some("4") { Self::V4 } else { Self::V3 }
    }

    /// Returns the number of the revision, 3 or 4.
    pub const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }
}

/// The type of a packet. The order is that of the digits on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// `0`, the handshake, sent once by the server.
    Open = 0,
    /// `1`, the end of the session.
    Close = 1,
    /// `2`, a heartbeat (server to client in revision 4, client to server in revision 3), or the probe of an upgrade.
    Ping = 2,
    /// `3`, the answer to a ping.
    Pong = 3,
    /// `4`, data of the layer above.
    Message = 4,
    /// `5`, the client completes an upgrade.
    Upgrade = 5,
    /// `6`, nothing: lets a held poll return.
    Noop = 6,
}

impl PacketKind {
    /// Returns the ASCII digit that stands for the type on the wire.
    pub const fn digit(self) -> u8 {
        b'0' + self as u8
    }

    /// Finds the type for an ASCII digit.
    #[inline]
    pub const fn from_digit(digit: u8) -> Option<Self> {
        Self::from_number(digit.wrapping_sub(b'0'))
    }

    /// Finds the type for a number, as revision 3 has it in binary packets.
    #[inline]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Open,
            1 => Self::Close,
            2 => Self::Ping,
            3 => Self::Pong,
            4 => Self::Message,
            5 => Self::Upgrade,
            6 => Self::Noop,
            _ => return None,
        })
    }
}

/// What a packet carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// Text, without the type digit.
    Text(Cow<'a, str>),
    /// Bytes, without a type byte.
    Binary(Cow<'a, [u8]>),
}

impl Data<'_> {
    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Tells whether nothing is carried.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Borrows the data.
    pub fn as_ref(&self) -> DataRef<'_> {
        match self {
            Self::Text(text) => DataRef::Text(text),
            Self::Binary(bytes) => DataRef::Binary(bytes),
        }
    }

    /// Returns data that borrows from nobody, copying what was borrowed.
    pub fn into_owned(self) -> Data<'static> {
        match self {
            Self::Text(text) => Data::Text(Cow::Owned(text.into_owned())),
            Self::Binary(bytes) => Data::Binary(Cow::Owned(bytes.into_owned())),
        }
    }
}

/// What a packet is to carry, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataRef<'a> {
    /// Text, without a type digit.
    Text(&'a str),
    /// Bytes, without a type byte. In revision 4 only messages can carry bytes.
    Binary(&'a [u8]),
}

impl<'a> DataRef<'a> {
    /// Returns the length in bytes.
    pub const fn len(self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Tells whether there is nothing to carry.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Writes the packet of type `kind` as one WebSocket message. `b64` says that the client cannot take binary
    /// messages (query parameter `b64`), they are then base64 in text messages.
    ///
    /// In revision 4 binary data is always a message: there, `kind` is not written for it.
    pub fn to_frame(self, rev: Revision, kind: PacketKind, b64: bool) -> Frame<'a> {
        match (self, rev) {
            (Self::Binary(bytes), Revision::V4) if !b64 => Frame::Binary(Cow::Borrowed(bytes)),
            (Self::Binary(bytes), Revision::V3) if !b64 => {
                let mut packet = Vec::with_capacity(1 + bytes.len());
                packet.push(kind as u8);
                packet.extend_from_slice(bytes);
                Frame::Binary(Cow::Owned(packet))
            }
            _ => {
                let mut text = String::with_capacity(text_len(rev, self));
                write_text(rev, kind, self, &mut text);
                Frame::Text(text)
            }
        }
    }
}

impl<'a> From<&'a str> for DataRef<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for DataRef<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Binary(bytes)
    }
}

/// One WebSocket message, whole and without WebSocket framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
}

/// Appends a packet as a string, binary data as base64.
pub(super) fn write_text(rev: Revision, kind: PacketKind, data: DataRef<'_>, out: &mut String) {
    match (data, rev) {
        (DataRef::Text(text), _) => {
            out.push(char::from(kind.digit()));
            out.push_str(text);
        }
        (DataRef::Binary(bytes), Revision::V4) => {
            out.push('b');
            base64::encode(bytes, out);
        }
        (DataRef::Binary(bytes), Revision::V3) => {
            out.push('b');
            out.push(char::from(kind.digit()));
            base64::encode(bytes, out);
        }
    }
}

/// Returns how many bytes [`write_text`] appends.
pub(super) const fn text_len(rev: Revision, data: DataRef<'_>) -> usize {
    match (data, rev) {
        (DataRef::Text(text), _) => 1 + text.len(),
        (DataRef::Binary(bytes), Revision::V4) => 1 + base64::encoded_len(bytes.len()),
        (DataRef::Binary(bytes), Revision::V3) => 2 + base64::encoded_len(bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: PacketKind, data: &str) -> Packet<'_> {
        Packet { kind, data: Data::Text(Cow::Borrowed(data)) }
    }

    fn binary(kind: PacketKind, data: &[u8]) -> Packet<'_> {
        Packet { kind, data: Data::Binary(Cow::Borrowed(data)) }
    }

    #[test]
    fn text_and_revision_4_binary_are_borrowed() {
        let decoded = Packet::decode_text(Revision::V4, "4[\"a\"]").unwrap();
        assert!(matches!(decoded.data, Data::Text(Cow::Borrowed("[\"a\"]"))));
        let decoded = Packet::decode_binary(Revision::V4, &[0xff]).unwrap();
        assert!(matches!(decoded.data, Data::Binary(Cow::Borrowed(&[0xff]))));
    }

    #[test]
    fn every_digit_is_its_kind_and_back() {
        for digit in 0..=u8::MAX {
            let kind = PacketKind::from_digit(digit);
            assert_eq!(kind.is_some(), (b'0'..=b'6').contains(&digit));
            assert_eq!(kind.map_or(digit, PacketKind::digit), digit);
        }
    }

    #[test]
    fn base64_carries_a_type_only_in_revision_3() {
        assert_eq!(
            Packet::decode_text(Revision::V4, "b4AQI").unwrap(),
            binary(PacketKind::Message, &[0xe0, 0x04, 0x08][..])
        );
        assert_eq!(
            Packet::decode_text(Revision::V3, "b4AQID").unwrap(),
            binary(PacketKind::Message, &[1, 2, 3])
        );
        assert_eq!(Packet::decode_text(Revision::V3, "b"), Err(Malformed::EmptyPacket));
        assert_eq!(Packet::decode_text(Revision::V3, "bé"), Err(Malformed::UnknownPacketType { seen: 'é' }));
    }

    #[test]
    fn unknown_types_are_told_as_seen() {
        for (bad, seen) in [("7", '7'), ("x", 'x'), ("€4", '€'), (" 4", ' ')] {
            assert_eq!(Packet::decode_text(Revision::V4, bad), Err(Malformed::UnknownPacketType { seen }));
        }
        assert_eq!(Packet::decode_text(Revision::V4, ""), Err(Malformed::EmptyPacket));
        assert_eq!(Packet::decode_text(Revision::V4, "4é"), Ok(text(PacketKind::Message, "é")));
        assert_eq!(Packet::decode_binary(Revision::V3, &[7]), Err(Malformed::UnknownTypeByte { seen: 7 }));
        assert_eq!(Packet::decode_binary(Revision::V3, &[]), Err(Malformed::EmptyPacket));
    }

    #[test]
    fn revision_3_binary_messages_start_with_the_type_as_a_number() {
        let packet = [4, 1, 2, 3];
        assert_eq!(Packet::decode_binary(Revision::V3, &packet), Ok(binary(PacketKind::Message, &[1, 2, 3])));
        let frame = DataRef::Binary(&packet[1..]).to_frame(Revision::V3, PacketKind::Message, false);
        assert_eq!(frame, Frame::Binary(Cow::Borrowed(&packet)));
    }

    #[test]
    fn only_eio_4_is_revision_4() {
        assert_eq!(Revision::from_query(Some("4")), Revision::V4);
        for other in [None, Some(""), Some("3"), Some("5"), Some("04"), Some("abc")] {
            assert_eq!(Revision::from_query(other), Revision::V3);
        }
    }

    #[test]
    fn error_texts_say_what_was_seen_and_what_is_allowed() {
        let seen = Malformed::UnknownPacketType { seen: '9' };
        assert_eq!(seen.to_string(), "packet type '9', allowed are 0 to 6 and b");
    }
}
