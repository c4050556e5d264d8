//! The serialiser for what the server sends: one pass from the user's type to JSON text and attachments.
//!
//! Text and numbers come out as `JSON.stringify` prints them. Whatever serialises as bytes is lifted out: a
//! placeholder goes into the text and the bytes become the next attachment. At the top a tuple is flattened
//! into several arguments.

mod arguments;
mod key;

use std::fmt::{self, Display, Write as _};

use bytes::Bytes;
use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use self::arguments::Arguments;
use self::key::Key;
use super::reader::RAW_VALUE;
use crate::json::{
    Sink, find_placeholder, has_key, write_escaped, write_f32, write_f64, write_i64, write_i128,
    write_placeholder, write_string, write_u64, write_u128,
};

/// Appends the data of an event, `["name",arg,..]`, to `out`, and its binary values to `attachments`.
///
/// A tuple is written as several arguments, `()` as none, anything else as one. serde does not tell arrays of
/// fixed length from tuples, so `[1, 2]` makes two arguments; `([1, 2],)` or a `Vec` makes one.
///
/// # Errors
///
/// If `args` cannot be written as JSON. Nothing is appended then.
///
/// ```
/// use bytes::Bytes;
/// use sio_protocol::socketio::write_event;
///
/// let (mut data, mut attachments) = (Vec::new(), Vec::new());
/// write_event(&mut data, &mut attachments, "file", &("a.txt", Bytes::from_static(b"hi"), 1.0))?;
/// assert_eq!(data, br#"["file","a.txt",{"_placeholder":true,"num":0},1]"#);
/// assert_eq!(attachments, ["hi"]);
/// # Ok::<(), sio_protocol::socketio::EncodeError>(())
/// ```
pub fn write_event<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    name: &str,
    args: &T,
) -> Result<(), EncodeError> {
    write_event_with(out, attachments, name, args, PlaceholderKeys::Refused)
}

/// Like [`write_event`], with a say in what becomes of maps that look like placeholders.
///
/// # Errors
///
/// If `args` cannot be written as JSON. Nothing is appended then.
pub fn write_event_with<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    name: &str,
    args: &T,
    keys: PlaceholderKeys,
) -> Result<(), EncodeError> {
    write(out, attachments, keys, |writer| {
        writer.out.push(b'[');
        write_string(writer.out, name);
        args.serialize(Arguments { writer: &mut *writer, first: false })?;
        writer.out.push(b']');
        Ok(())
    })
}

/// Appends the data of an ack, `[arg,..]`, to `out`, and its binary values to `attachments`. What counts as
/// several arguments is said at [`write_event`].
///
/// # Errors
///
/// If `args` cannot be written as JSON. Nothing is appended then.
pub fn write_args<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    args: &T,
) -> Result<(), EncodeError> {
    write_args_with(out, attachments, args, PlaceholderKeys::Refused)
}

/// Like [`write_args`], with a say in what becomes of maps that look like placeholders.
///
/// # Errors
///
/// If `args` cannot be written as JSON. Nothing is appended then.
pub fn write_args_with<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    args: &T,
    keys: PlaceholderKeys,
) -> Result<(), EncodeError> {
    write(out, attachments, keys, |writer| {
        writer.out.push(b'[');
        args.serialize(Arguments { writer: &mut *writer, first: true })?;
        writer.out.push(b']');
        Ok(())
    })
}

/// Appends one JSON value to `out`, and its binary values to `attachments`. A tuple is an array here.
///
/// # Errors
///
/// If `value` cannot be written as JSON. Nothing is appended then.
pub fn write_value<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    value: &T,
) -> Result<(), EncodeError> {
    write(out, attachments, PlaceholderKeys::Refused, |writer| value.serialize(writer))
}

/// Says what becomes of a map of the user with the key `_placeholder`, which a receiver of JSON packets would take for
/// a binary value when there are others beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there is no third way")]
pub enum PlaceholderKeys {
    /// It stays data, told from a placeholder by white space. For parsers that carry binary in place.
    Kept,
    /// It is an error beside binary values. For JSON packets.
    Refused,
}

/// Says why a value cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The value refused to be serialised.
    #[error("{0}")]
    Custom(String),
    /// A map has a key that is neither text nor a number nor a boolean.
    #[error("map key of type {0}, only text, numbers and booleans can be keys")]
    KeyNotText(&'static str),
    /// A map has the key `_placeholder` and there are binary values beside it, so that receivers would take
    /// the map for a binary value. Node sends this, and its clients then close the connection.
    #[error("map with the key _placeholder beside binary values")]
    PlaceholderKey,
}

impl serde::ser::Error for EncodeError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Custom(message.to_string())
    }
}

fn write(
    out: &mut Vec<u8>,
    attachments: &mut Vec<Bytes>,
    keys: PlaceholderKeys,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let before = (out.len(), attachments.len());
    let mut writer = Writer {
        out: &mut *out,
        attachments: &mut *attachments,
        placeholder_keys: Vec::new(),
        finished_placeholder_key: false,
    };
    let mut result = body(&mut writer);
    let marked = std::mem::take(&mut writer.placeholder_keys);
    let has_key = !marked.is_empty() || writer.finished_placeholder_key;
    if attachments.is_empty() {
        // Without binary values nothing can be confused, and the text is as JavaScript writes it.
        remove_all(out, &marked);
    } else if result.is_ok() && has_key && keys == PlaceholderKeys::Refused {
        result = Err(EncodeError::PlaceholderKey);
    }
    if result.is_err() {
        out.truncate(before.0);
        attachments.truncate(before.1);
    }
    result
}

/// Removes the bytes at these offsets, which ascend, in one pass: a client may send as many as it likes, and have them
/// sent back.
fn remove_all(out: &mut Vec<u8>, offsets: &[usize]) {
    let Some(&first) = offsets.first() else { return };
    let mut kept = first;
    for (index, &at) in offsets.iter().enumerate() {
        let end = offsets.get(index + 1).copied().unwrap_or(out.len());
        out.copy_within(at + 1..end, kept);
        kept += end - at - 1;
    }
    out.truncate(kept);
}

/// Where one value goes.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    attachments: &'a mut Vec<Bytes>,
    /// Where maps have a key that makes them look like placeholders: each has a space before it. Hardly ever any.
    placeholder_keys: Vec<usize>,
    /// Finished JSON of the user's has such a key, perhaps in another spelling.
    finished_placeholder_key: bool,
}

impl Writer<'_> {
    /// Writes text that is JSON already.
    fn finished(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = find_placeholder(rest) {
            let (before, after) = rest.split_at(at + 1);
            self.out.extend_from_slice(before.as_bytes());
            self.placeholder_keys.push(self.out.len());
            self.out.push(b' ');
            rest = after;
        }
        self.out.extend_from_slice(rest.as_bytes());
        self.finished_placeholder_key |= has_key(text, "_placeholder");
    }

    /// Opens an object with one entry, `{"variant":`, which is how serde writes an enum with content.
    fn open_variant(&mut self, variant: &str) {
        self.out.push(b'{');
        write_string(self.out, variant);
        self.out.push(b':');
    }

    fn key(&mut self, key: &str) {
        if key == "_placeholder" {
            // A placeholder of ours is only ever written, and recognised, without white space.
            self.placeholder_keys.push(self.out.len());
            self.out.push(b' ');
        }
        write_string(self.out, key);
    }
}

type Done = Result<(), EncodeError>;

impl<'w, 'a> Serializer for &'w mut Writer<'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Items<'w, 'a>;
    type SerializeTuple = Items<'w, 'a>;
    type SerializeTupleStruct = Items<'w, 'a>;
    type SerializeTupleVariant = Items<'w, 'a>;
    type SerializeMap = Items<'w, 'a>;
    type SerializeStruct = Fields<'w, 'a>;
    type SerializeStructVariant = Items<'w, 'a>;

    fn serialize_bool(self, value: bool) -> Done {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Done {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Done {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Done {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Done {
        write_i64(self.out, value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Done {
        write_i128(self.out, value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Done {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Done {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Done {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Done {
        write_u64(self.out, value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Done {
        write_u128(self.out, value);
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Done {
        write_f32(self.out, value);
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Done {
        write_f64(self.out, value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Done {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Done {
        write_string(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Done {
        write_placeholder(self.out, self.attachments.len());
        self.attachments.push(Bytes::copy_from_slice(value));
        Ok(())
    }

    fn serialize_none(self) -> Done {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Done {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Done {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.open_variant(variant);
        value.serialize(&mut *self)?;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Items<'w, 'a>, EncodeError> {
        self.out.push(b'[');
        Ok(Items { writer: self, first: true, end: "]" })
    }

    fn serialize_tuple(self, _len: usize) -> Result<Items<'w, 'a>, EncodeError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Items<'w, 'a>, EncodeError> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items<'w, 'a>, EncodeError> {
        self.open_variant(variant);
        self.out.push(b'[');
        Ok(Items { writer: self, first: true, end: "]}" })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Items<'w, 'a>, EncodeError> {
        self.out.push(b'{');
        Ok(Items { writer: self, first: true, end: "}" })
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Fields<'w, 'a>, EncodeError> {
        if name == RAW_VALUE {
            return Ok(Fields::Raw(self));
        }
        self.serialize_map(None).map(Fields::Items)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items<'w, 'a>, EncodeError> {
        self.open_variant(variant);
        self.out.push(b'{');
        Ok(Items { writer: self, first: true, end: "}}" })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Done {
        self.out.push(b'"');
        write!(Escaped(self.out), "{value}").map_err(EncodeError::custom)?;
        self.out.push(b'"');
        Ok(())
    }
}

/// Writes formatted text as the inside of a string.
struct Escaped<'a>(&'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write_escaped(self.0, text);
        Ok(())
    }
}

/// An array or object whose items are being written.
struct Items<'w, 'a> {
    writer: &'w mut Writer<'a>,
    first: bool,
    end: &'static str,
}

impl Items<'_, '_> {
    fn comma(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.writer.out.push(b',');
        }
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.comma();
        value.serialize(&mut *self.writer)
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
        self.comma();
        self.writer.key(key);
        self.writer.out.push(b':');
        value.serialize(&mut *self.writer)
    }

    fn close(self) -> Done {
        self.writer.out.text(self.end);
        Ok(())
    }
}

macro_rules! items {
    ($($kind:ident $method:ident)*) => {$(
        impl $kind for Items<'_, '_> {
            type Ok = ();
            type Error = EncodeError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
                self.item(value)
            }

            fn end(self) -> Done {
                self.close()
            }
        }
    )*};
}
items! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

impl SerializeMap for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        self.comma();
        key.serialize(Key { writer: &mut *self.writer, verbatim: false })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.writer.out.push(b':');
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Done {
        self.close()
    }
}

impl SerializeStructVariant for Items<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
        self.field(key, value)
    }

    fn end(self) -> Done {
        self.close()
    }
}

/// A struct, or text that `serde_json` marks as finished JSON.
enum Fields<'w, 'a> {
    Items(Items<'w, 'a>),
    Raw(&'w mut Writer<'a>),
}

impl SerializeStruct for Fields<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
        match self {
            Self::Items(items) => items.field(key, value),
            Self::Raw(writer) => value.serialize(Key { writer, verbatim: true }),
        }
    }

    fn end(self) -> Done {
        match self {
            Self::Items(items) => items.close(),
            Self::Raw(_) => Ok(()),
        }
    }
}
