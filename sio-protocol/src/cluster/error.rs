//! What can be wrong with a message from another node.
//!
//! A node that receives such a message counts it, logs it once at a sane level and drops it. The same
//! catalogue serves for sending: what would be malformed is not written, because one malformed message can
//! end the subscription of every Node peer.

use crate::error::Malformed;

/// Says why bytes are no message of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// A node says that it has asked more clients than a node can have.
    #[error("{seen} clients asked by one node, limit is {limit}")]
    ClientCountTooLarge {
        /// The number that was found.
        seen: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// A field has a value of a type that nobody sends.
    #[error("field {field} of a cluster message is of the wrong type")]
    FieldInvalid {
        /// The name of the field.
        field: &'static str,
    },
    /// A field is missing without which the message means nothing.
    #[error("field {field} of a cluster message is missing")]
    FieldMissing {
        /// The name of the field.
        field: &'static str,
    },
    /// A broadcast is not an array of sender, packet and options.
    #[error("broadcast of {seen} items, expected are 3")]
    ItemCountMismatch {
        /// The number of items that were found.
        seen: usize,
    },
    /// The message is longer than allowed.
    #[error("cluster message of {seen} bytes, limit is {limit}")]
    MessageTooLong {
        /// The length of the message.
        seen: usize,
        /// [`Limits::max_cluster_message`](crate::Limits::max_cluster_message).
        limit: usize,
    },
    /// The type of a message is none that is known.
    #[error("cluster message of type {seen}, which is unknown")]
    MessageTypeUnknown {
        /// The type that was found.
        seen: u64,
    },
    /// The packet of a broadcast is not an event.
    #[error("broadcast of a packet of type {seen}, allowed are 2 and 5")]
    PacketTypeUnsupported {
        /// The type that was found.
        seen: u64,
    },
    /// A message in JSON is not UTF-8.
    #[error("cluster message in JSON that is not UTF-8")]
    TextNotUtf8,
    /// A value in the message is malformed, or beyond a limit.
    #[error(transparent)]
    Value(#[from] Malformed),
}
