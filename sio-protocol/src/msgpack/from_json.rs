//! From JSON text and attachments to MessagePack, in one pass over the text.
//!
//! MessagePack says beforehand how many items an array has, JSON does not: the count is filled in afterwards.

use bytes::Bytes;

use super::writer::Writer;
use crate::error::Malformed;
use crate::json::Cursor;
use crate::limits::MAX_DEPTH;
use crate::socketio::Number;

/// Writes one JSON value, with binary values in the place of their placeholders.
///
/// # Errors
///
/// If the text is not JSON, is nested deeper than 127 levels, or has a placeholder for none of the
/// attachments; a packet from a decoder of this crate never is any of that. What was written until then
/// stays.
///
/// ```
/// use sio_protocol::msgpack::{Dialect, Writer, write_json};
///
/// let mut message = Vec::new();
/// let json = r#"["e",{"_placeholder":true,"num":0},1.0]"#;
/// write_json(json, &["\u{7}".into()], &mut Writer::new(&mut message, Dialect::Notepack3))?;
/// assert_eq!(message, b"\x93\xa1e\xc4\x01\x07\x01");
/// # Ok::<(), sio_protocol::Malformed>(())
/// ```
pub fn write_json(json: &str, attachments: &[Bytes], writer: &mut Writer<'_>) -> Result<(), Malformed> {
    FromJson { cursor: Cursor::new(json, 0), attachments, writer, depth: 0 }.whole()
}

/// Writes one JSON value without binary values, inside so many arrays and maps.
pub(super) fn write_json_at(depth: usize, json: &str, writer: &mut Writer<'_>) -> Result<(), Malformed> {
    FromJson { cursor: Cursor::new(json, 0), attachments: &[], writer, depth }.whole()
}

/// Writes one JSON value, or null if the text turns out not to be one.
pub(crate) fn write_json_or_nil(json: &str, attachments: &[Bytes], writer: &mut Writer<'_>) {
    let before = writer.len();
    if write_json(json, attachments, writer).is_err() {
        writer.truncate(before);
        writer.nil();
    }
}

struct FromJson<'t, 'o> {
    cursor: Cursor<'t>,
    attachments: &'t [Bytes],
    writer: &'t mut Writer<'o>,
    depth: usize,
}

impl FromJson<'_, '_> {
    /// Writes the value, and sees to it that nothing stands behind it.
    fn whole(mut self) -> Result<(), Malformed> {
        self.value()?;
        match self.cursor.peek() {
            None => Ok(()),
            Some(_) => Err(self.cursor.error().into()),
        }
    }

    fn value(&mut self) -> Result<(), Malformed> {
        if !self.attachments.is_empty()
            && let Some(index) = self.cursor.placeholder()
        {
            let attachments = self.attachments.len();
            let bytes = self.attachments.get(index).ok_or(Malformed::PlaceholderInvalid { attachments })?;
            self.writer.binary(bytes);
            return Ok(());
        }
        match self.cursor.peek() {
            Some(b'"') => self.writer.string(&self.cursor.string()?),
            Some(open @ (b'[' | b'{')) => self.nested(open)?,
            Some(b't') => {
                self.cursor.word("true")?;
                self.writer.boolean(true);
            }
            Some(b'f') => {
                self.cursor.word("false")?;
                self.writer.boolean(false);
            }
            Some(b'n') => {
                self.cursor.word("null")?;
                self.writer.nil();
            }
            _ => self.writer.number(Number::from(self.cursor.number()?)),
        }
        Ok(())
    }

    fn nested(&mut self, open: u8) -> Result<(), Malformed> {
        if self.depth >= MAX_DEPTH {
            return Err(Malformed::NestingExceeded { limit: MAX_DEPTH });
        }
        self.depth += 1;
        self.cursor.expect(open)?;
        let place = self.writer.open();
        let (mut count, mut first) = (0, true);
        if open == b'[' {
            while self.cursor.next_item(&mut first, b']')? {
                self.value()?;
                count += 1;
            }
            self.writer.close_array(place, count);
        } else {
            while self.cursor.next_item(&mut first, b'}')? {
                self.writer.string(&self.cursor.string()?);
                self.cursor.expect(b':')?;
                self.value()?;
                count += 1;
            }
            self.writer.close_map(place, count);
        }
        self.depth -= 1;
        Ok(())
    }
}
