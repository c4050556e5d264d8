//! What can be wrong with the bytes of a Socket.IO packet.
//!
//! Only bytes that make no sense are listed here. Packets that are well formed but not allowed at that moment
//! (an event for a namespace that was never joined, say) are the business of whoever keeps that state. In
//! protocol revision 5 the answer to all of them is to close the Engine.IO connection.

use crate::socketio::PacketKind;

/// Says why bytes from the peer are no Socket.IO packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The ack id does not fit into the integers that JavaScript can count with.
    #[error("ack id above {limit}")]
    AckIdTooLarge {
        /// The largest id that is accepted.
        limit: u64,
    },
    /// The attachments of one packet are together larger than allowed.
    #[error("attachments of {seen} bytes, limit is {limit}")]
    AttachmentBytesExceeded {
        /// The bytes of the attachments received so far.
        seen: usize,
        /// [`Limits::max_attachment_bytes`](crate::Limits::max_attachment_bytes).
        limit: usize,
    },
    /// A binary packet does not start with the number of its attachments, at least 1, and a dash.
    #[error("no number of attachments, expected are decimal digits and a dash, at least 1-")]
    AttachmentCountInvalid,
    /// A packet declares, or carries, more attachments than allowed.
    #[error("{seen} attachments, limit is {limit}")]
    AttachmentsExceeded {
        /// The number of attachments declared.
        seen: u64,
        /// The limit that applies to this parser.
        limit: usize,
    },
    /// A binary message came although no packet waits for an attachment.
    #[error("binary message, but no attachment is outstanding")]
    BinaryUnexpected,
    /// The data of a packet is valid, but of a type that this kind of packet cannot carry.
    #[error("data of another type in a packet of kind {kind:?}, allowed is {allowed}")]
    DataTypeMismatch {
        /// The kind of the packet.
        kind: PacketKind,
        /// What this kind may carry.
        allowed: &'static str,
    },
    /// The text message has no byte at all.
    #[error("empty packet, at least a type is expected")]
    EmptyPacket,
    /// The first item of an event is neither a string nor a number, or there is none.
    #[error("event without a name, the first item must be a string or a number")]
    EventNameInvalid,
    /// The name of an event is one that only the peer itself may raise, such as `disconnect`.
    #[error("event with a reserved name")]
    EventNameReserved,
    /// A field of a MessagePack packet is missing or of the wrong type.
    #[error("field {field} of a MessagePack packet is missing or of the wrong type")]
    FieldInvalid {
        /// The name of the field.
        field: &'static str,
    },
    /// The data of a packet is not JSON.
    #[error("data is not JSON from byte {at} on")]
    JsonInvalid {
        /// The offset of the first byte that does not fit, counted from the start of the data.
        at: usize,
    },
    /// A MessagePack map has a key that no JavaScript object would have: an array, a map, a date or an
    /// extension.
    #[error("MessagePack map key that cannot be a string")]
    MsgPackKeyInvalid,
    /// The MessagePack marker that the format reserves.
    #[error("MessagePack marker 0xc1")]
    MsgPackReservedMarker,
    /// A MessagePack message has bytes after its value.
    #[error("{count} bytes after the MessagePack value")]
    MsgPackTrailingBytes {
        /// The number of bytes.
        count: usize,
    },
    /// A MessagePack message ends inside a value.
    #[error("MessagePack value that ends too early")]
    MsgPackTruncated,
    /// The namespace of a packet is longer than allowed.
    #[error("namespace of {seen} bytes, limit is {limit}")]
    NamespaceTooLong {
        /// The length that was found, in bytes.
        seen: usize,
        /// [`Limits::max_namespace_length`](crate::Limits::max_namespace_length).
        limit: usize,
    },
    /// Arrays and maps are nested deeper than allowed.
    #[error("data nested deeper than {limit} levels")]
    NestingExceeded {
        /// The deepest nesting that is accepted.
        limit: usize,
    },
    /// A placeholder does not point to one of the attachments of its packet.
    #[error("placeholder for none of the {attachments} attachments")]
    PlaceholderInvalid {
        /// The number of attachments of the packet.
        attachments: usize,
    },
    /// A text message came, but this parser speaks only binary.
    #[error("text message, only binary messages are expected")]
    TextUnexpected,
    /// A text message came while attachments of the packet before it were outstanding.
    #[error("text message, but {outstanding} attachments are outstanding")]
    TextWhileBinaryPending {
        /// The number of attachments that are still missing.
        outstanding: usize,
    },
    /// The first character is not a packet type.
    #[error("packet type {seen:?}, allowed are 0 to 6")]
    UnknownPacketType {
        /// The character that was found.
        seen: char,
    },
}
