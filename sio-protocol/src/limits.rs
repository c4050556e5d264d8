//! Bounds on what a packet from the peer may make the decoder hold in memory.
//!
//! Engine.IO bounds the size of one message from a client (`maxPayload`); these bounds concern what several
//! messages add up to, what a small message could be blown up to, and what comes from other nodes.

/// Bounds what a decoder accepts. A packet beyond a limit is [`Malformed`](crate::Malformed).
///
/// ```
/// let mut limits = sio_protocol::Limits::default();
/// limits.max_attachments = 32;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The bytes of all attachments of one packet; one that the data refers to several times counts as often,
    /// because it is copied when arguments are deserialised. Default 10,000,000, which is the default number of
    /// attachments times the default `maxPayload`. A decoder holds at most this much, and one text message,
    /// while it waits for the rest of a packet.
    pub max_attachment_bytes: usize,
    /// The number of attachments of one packet of the JSON parser. Default 10, as in Node's
    /// `socket.io-parser`. Holds as well for an event that another node of the cluster sends to clients, who would close
    /// their connections over more.
    pub max_attachments: usize,
    /// The number of binary values in one packet of the MessagePack parser, where they are part of the one
    /// message. Default 1,000. An empty binary value takes 2 bytes on the wire and about 60 in memory.
    pub max_inline_attachments: usize,
    /// How deep arrays and maps may be nested. Default and maximum 127, which is what `serde_json`
    /// deserialises; a larger value counts as 127.
    pub max_json_depth: usize,
    /// The bytes of one message from another node of the cluster. Default 33,554,432 (32 MiB): unless it is
    /// configured otherwise, Redis closes the connection of a subscriber for whom it has to hold more. What is
    /// made of a message takes about as much again, at worst a hundred times as much, if the message consists
    /// of nothing but numbers that are to be names.
    pub max_cluster_message: usize,
    /// The bytes of a namespace, together with its query string. Default 4,096: clients of protocol revision
    /// 4 put their credentials there.
    pub max_namespace_length: usize,
}

impl Limits {
    /// Gives the nesting limit that is in force.
    pub(crate) fn depth(&self) -> usize {
        self.max_json_depth.min(MAX_DEPTH)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attachment_bytes: 10_000_000,
            max_attachments: 10,
            max_cluster_message: 33_554_432,
            max_inline_attachments: 1_000,
            max_json_depth: MAX_DEPTH,
            max_namespace_length: 4_096,
        }
    }
}

/// `serde_json` gives up when the 128th array or map opens, and a 128-bit stack holds one bit per level.
pub(crate) const MAX_DEPTH: usize = 127;
