//! What can be wrong with the bytes of an Engine.IO packet or polling body.
//!
//! Only bytes that make no sense are listed here. Packets that are well formed but not allowed at that moment are the
//! business of [`session`](super::session), whose verdict is a [`CloseReason`](super::session::CloseReason).

/// Says why bytes from the peer are no Engine.IO packet. Every variant ends the session with
/// [`CloseReason::ParseError`](super::session::CloseReason::ParseError), on a probing WebSocket only that WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// A polling body of revision 3 in its text form has no bytes at all.
    #[error("empty body, at least one packet is expected")]
    EmptyBody,
    /// A packet has not even a type: an empty WebSocket text message, or nothing between two separators (or after
    /// the last one) of a revision 4 polling body.
    #[error("empty packet, at least a type is expected")]
    EmptyPacket,
    /// A length in a revision 3 polling body contains something that is not a digit, or no digit at all.
    #[error("packet length is not a decimal number")]
    LengthNotANumber,
    /// A length in a revision 3 polling body ends between the two UTF-16 halves of one character. Node delivers half
    /// a character here.
    #[error("packet length of {declared} UTF-16 units ends inside a character")]
    LengthSplitsCharacter {
        /// The length that was declared, in UTF-16 code units.
        declared: usize,
    },
    /// A length in a binary revision 3 polling body has more digits than any length can have.
    #[error("packet length with more than {limit} digits")]
    LengthTooLong {
        /// The most digits that are accepted.
        limit: usize,
    },
    /// A length in a revision 3 polling body is not followed by its end mark (`:`, in the binary form 0xff).
    #[error("packet length has no end mark")]
    LengthUnterminated,
    /// A body was declared as `application/octet-stream`, which revision 4 does not have.
    #[error("binary body, protocol revision 4 has only text bodies")]
    OctetStreamInRevision4,
    /// A revision 3 polling body ends before the packet does.
    #[error("packet of {declared}, only {available} bytes are left")]
    PacketTruncated {
        /// The length that was declared, in UTF-16 code units (text form) or bytes (binary form). A number that no
        /// `usize` can hold is given as `usize::MAX`.
        declared: usize,
        /// The bytes that are left in the body.
        available: usize,
    },
    /// The first character of a packet is neither a type nor the mark of base64 data.
    #[error("packet type {seen:?}, allowed are 0 to 6 and b")]
    UnknownPacketType {
        /// The character that was found.
        seen: char,
    },
    /// The type byte of a binary packet of revision 3 is not a type.
    #[error("packet type byte {seen}, allowed are 0 to 6")]
    UnknownTypeByte {
        /// The byte that was found.
        seen: u8,
    },
}
