//! The writer of cluster messages, in either notation.
//!
//! JSON comes out as `JSON.stringify` prints it, MessagePack as `notepack.io` 3 does. MessagePack counts what
//! an array or map has beforehand, JSON closes it afterwards, so callers do both.

use bytes::Bytes;

use super::error::ClusterError;
use super::names::Names;
use crate::error::Malformed;
use crate::json::{Cursor, placeholders, write_i64, write_string, write_u64};
use crate::limits::Limits;
use crate::msgpack::{Dialect, Writer, write_json};

/// Appends tokens to a message.
#[derive(Debug)]
pub(super) enum Output<'o> {
    Json { out: &'o mut Vec<u8>, start: usize },
    MsgPack(Writer<'o>),
}

impl<'o> Output<'o> {
    pub(super) fn json(out: &'o mut Vec<u8>) -> Self {
        let start = out.len();
        Self::Json { out, start }
    }

    pub(super) fn msgpack(out: &'o mut Vec<u8>) -> Self {
        Self::MsgPack(Writer::new(out, Dialect::Notepack3))
    }

    /// Opens a map of so many entries.
    pub(super) fn map(&mut self, count: usize) {
        match self {
            Self::Json { out, start } => {
                separate(out, *start);
                out.push(b'{');
            }
            Self::MsgPack(writer) => writer.map(count),
        }
    }

    pub(super) fn end_map(&mut self) {
        if let Self::Json { out, .. } = self {
            out.push(b'}');
        }
    }

    /// Opens an array of so many items.
    pub(super) fn array(&mut self, count: usize) {
        match self {
            Self::Json { out, start } => {
                separate(out, *start);
                out.push(b'[');
            }
            Self::MsgPack(writer) => writer.array(count),
        }
    }

    pub(super) fn end_array(&mut self) {
        if let Self::Json { out, .. } = self {
            out.push(b']');
        }
    }

    /// Writes a key, one of ours, in which nothing needs an escape.
    pub(super) fn key(&mut self, key: &'static str) {
        match self {
            Self::Json { out, start } => {
                separate(out, *start);
                out.push(b'"');
                out.extend_from_slice(key.as_bytes());
                out.extend_from_slice(b"\":");
            }
            Self::MsgPack(writer) => writer.string(key),
        }
    }

    pub(super) fn string(&mut self, text: &str) {
        match self {
            Self::Json { out, start } => {
                separate(out, *start);
                write_string(*out, text);
            }
            Self::MsgPack(writer) => writer.string(text),
        }
    }

    pub(super) fn integer(&mut self, value: u64) {
        match self {
            Self::Json { out, start } => {
                separate(out, *start);
                write_u64(*out, value);
            }
            Self::MsgPack(writer) => writer.number(value),
        }
    }

    pub(super) fn boolean(&mut self, value: bool) {
        match self {
            Self::Json { out, start } => {
                separate(out, *start);
                out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Self::MsgPack(writer) => writer.boolean(value),
        }
    }

    pub(super) fn names(&mut self, names: &Names<'_>) {
        self.array(names.len());
        names.iter().for_each(|name| self.string(name));
        self.end_array();
    }

    /// Writes a value that is JSON text with attachments. In JSON a binary value becomes what
    /// `JSON.stringify` makes of a Buffer, which nobody turns back into bytes.
    pub(super) fn value(&mut self, json: &str, attachments: &[Bytes]) -> Result<(), ClusterError> {
        match self {
            Self::Json { out, start } => {
                // A packet can be built by hand, and malformed messages are not for the cluster.
                let mut cursor = Cursor::new(json, 0);
                cursor.check_value(Limits::default().depth())?;
                if cursor.peek().is_some() {
                    return Err(cursor.error().into());
                }
                separate(out, *start);
                write_with_buffers(out, json, attachments)
            }
            Self::MsgPack(writer) => Ok(write_json(json, attachments, writer)?),
        }
    }
}

/// Runs what appends a message, and takes everything back that was appended if that fails.
pub(super) fn whole_or_nothing(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), ClusterError>,
) -> Result<(), ClusterError> {
    let before = out.len();
    let result = write(out);
    if result.is_err() {
        out.truncate(before);
    }
    result
}

/// Writes the comma before a key or an item that is not the first. What a value can end with is not what
/// something opens with.
fn separate(out: &mut Vec<u8>, start: usize) {
    if !matches!(out.get(start..).and_then(<[u8]>::last), None | Some(b'{' | b'[' | b':')) {
        out.push(b',');
    }
}

fn write_with_buffers(out: &mut Vec<u8>, json: &str, attachments: &[Bytes]) -> Result<(), ClusterError> {
    if attachments.is_empty() {
        out.extend_from_slice(json.as_bytes());
        return Ok(());
    }
    let mut copied = 0;
    for (place, index) in placeholders(json) {
        let count = attachments.len();
        let bytes = attachments.get(index).ok_or(Malformed::PlaceholderInvalid { attachments: count })?;
        out.extend_from_slice(&json.as_bytes()[copied..place.start]);
        out.extend_from_slice(b"{\"type\":\"Buffer\",\"data\":[");
        for (at, byte) in bytes.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_i64(out, i64::from(*byte));
        }
        out.extend_from_slice(b"]}");
        copied = place.end;
    }
    out.extend_from_slice(&json.as_bytes()[copied..]);
    Ok(())
}
