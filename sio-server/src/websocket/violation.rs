//! What a client can do wrong on a WebSocket, and the close code each of these earns.
//!
//! A [`Violation`] ends the connection: RFC 6455 allows no recovery from any of them. The text is for
//! the log; the peer is only told the code.

use super::reader::MAX_FRAGMENTS;

/// A breach of RFC 6455, RFC 7692 or of the limits of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    /// The status of a close frame is one that may not be sent (section 7.4).
    #[error("close code {code} may not be sent")]
    CloseCodeForbidden { code: u16 },
    /// A close frame has one byte where the two of a status belong.
    #[error("close frame of 1 byte, a status takes 2")]
    CloseCodeTruncated,
    /// A continuation came without a message to continue.
    #[error("continuation frame outside a message")]
    ContinuationUnexpected,
    /// A ping, pong or close frame lacks FIN.
    #[error("fragmented control frame")]
    ControlFragmented,
    /// A ping, pong or close frame is longer than a control frame may be.
    #[error("control frame longer than 125 bytes")]
    ControlTooLong,
    /// A new message began before the previous one was complete.
    #[error("data frame inside a fragmented message")]
    DataInsideMessage,
    /// The compressed bytes are no DEFLATE stream.
    #[error("compressed message is not valid deflate data")]
    DeflateInvalid,
    /// The message is in too many pieces.
    #[error("message of more than {MAX_FRAGMENTS} fragments")]
    FragmentsExceeded,
    /// The frame length uses the bit that must be zero.
    #[error("frame length with the most significant bit set")]
    LengthInvalid,
    /// The frame is not masked, as every frame from a client must be.
    #[error("unmasked frame")]
    MaskMissing,
    /// The message is, or says it will be, longer than allowed.
    #[error("message of {len} bytes or more, limit is {limit}")]
    MessageTooBig { len: u64, limit: usize },
    /// The opcode has no meaning.
    #[error("reserved opcode {opcode:#x}")]
    OpcodeReserved { opcode: u8 },
    /// A reserved bit is set that no negotiated extension gives a meaning.
    #[error("reserved bits {bits:#05b} set")]
    ReservedBits { bits: u8 },
    /// A text message or a close reason is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8Invalid,
}

impl Violation {
    /// Names the status to close the connection with.
    pub(crate) fn close_code(self) -> u16 {
        match self {
            Self::CloseCodeForbidden { .. }
            | Self::CloseCodeTruncated
            | Self::ContinuationUnexpected
            | Self::ControlFragmented
            | Self::ControlTooLong
            | Self::DataInsideMessage
            | Self::LengthInvalid
            | Self::MaskMissing
            | Self::OpcodeReserved { .. }
            | Self::ReservedBits { .. } => 1002,
            Self::DeflateInvalid | Self::Utf8Invalid => 1007,
            Self::FragmentsExceeded => 1008,
            Self::MessageTooBig { .. } => 1009,
        }
    }
}
