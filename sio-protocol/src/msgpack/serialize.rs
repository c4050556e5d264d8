//! From the user's types to MessagePack, without JSON in between: for what is sent in no other notation.
//!
//! What comes out is what [`write_json`](super::write_json) makes of the text that
//! [`write_event`](crate::socketio::write_event) writes, byte for byte but for one thing: a double beyond 2^53 keeps
//! its exact value, as with Node's encoder, where the text has as few digits as tell it apart.

mod key;

use std::fmt::Display;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use self::key::Key;
use super::from_json::write_json_at;
use super::writer::Writer;
use crate::json::{Numeric, has_key, write_f32};
use crate::limits::MAX_DEPTH;
use crate::socketio::{EncodeError, RAW_VALUE};

/// Writes the data of an event, an array of its name and its arguments, with binary values in their places.
///
/// A tuple is written as several arguments, `()` as none, anything else as one, as
/// [`write_event`](crate::socketio::write_event) does it.
///
/// # Errors
///
/// If `args` cannot be written, or is nested deeper than 126 levels. What was written until then stays.
///
/// ```
/// use bytes::Bytes;
/// use sio_protocol::msgpack::{Dialect, Writer, write_event};
///
/// let mut message = Vec::new();
/// let mut writer = Writer::new(&mut message, Dialect::Notepack3);
/// write_event(&mut writer, "file", &("a.txt", Bytes::from_static(b"hi"), 1.0))?;
/// assert_eq!(message, b"\x94\xa4file\xa5a.txt\xc4\x02hi\x01");
/// # Ok::<(), sio_protocol::socketio::EncodeError>(())
/// ```
pub fn write_event<T: Serialize + ?Sized>(
    writer: &mut Writer<'_>,
    name: &str,
    args: &T,
) -> Result<(), EncodeError> {
    let place = writer.open();
    writer.string(name);
    let mut direct =
        Direct { writer, depth: 1, at_top: true, args: 0, binary: false, placeholder_key: false };
    args.serialize(&mut direct)?;
    if direct.binary && direct.placeholder_key {
        // Servers pass it on as JSON, where the map would be taken for a binary value.
        return Err(EncodeError::PlaceholderKey);
    }
    let count = direct.args + 1;
    writer.close_array(place, count);
    Ok(())
}

/// Where values go.
struct Direct<'w, 'o> {
    writer: &'w mut Writer<'o>,
    /// Arrays and maps that are open.
    depth: usize,
    /// The next value is not inside another one, so it is an argument, or several.
    at_top: bool,
    /// Arguments so far.
    args: usize,
    /// There is a binary value.
    binary: bool,
    /// There is a map that looks like the placeholder of one.
    placeholder_key: bool,
}

type Done = Result<(), EncodeError>;

impl<'w, 'o> Direct<'w, 'o> {
    /// Notes that a value begins, and gives its writer.
    #[inline]
    fn value(&mut self) -> &mut Writer<'o> {
        if self.at_top {
            self.at_top = false;
            self.args += 1;
        }
        self.writer
    }

    fn open(&mut self, map: bool) -> Result<Items<'_, 'w, 'o>, EncodeError> {
        let place = self.value().open();
        self.deeper()?;
        Ok(Items {
            direct: self,
            place,
            count: 0,
            kind: if map { Kind::Map } else { Kind::Array },
            wrapped: false,
        })
    }

    /// Opens a map with one entry, whose key is the variant: how serde writes an enum with content.
    fn open_variant(&mut self, variant: &str) -> Done {
        self.value().map(1);
        self.deeper()?;
        self.key(variant);
        Ok(())
    }

    fn deeper(&mut self) -> Done {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(EncodeError::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    fn key(&mut self, key: &str) {
        self.placeholder_key |= key == "_placeholder";
        self.writer.string(key);
    }

    /// Writes a value that is JSON already.
    fn raw(&mut self, json: &str) -> Done {
        let depth = self.depth;
        self.placeholder_key |= has_key(json, "_placeholder");
        write_json_at(depth, json, self.value()).map_err(EncodeError::custom)
    }

    fn double(&mut self, value: f64) {
        let writer = self.value();
        // There is no text for the others in JSON, and so none for clients.
        if value.is_finite() { writer.number(value) } else { writer.nil() }
    }
}

impl<'a, 'w, 'o> Serializer for &'a mut Direct<'w, 'o> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Items<'a, 'w, 'o>;
    type SerializeTuple = Items<'a, 'w, 'o>;
    type SerializeTupleStruct = Items<'a, 'w, 'o>;
    type SerializeTupleVariant = Items<'a, 'w, 'o>;
    type SerializeMap = Items<'a, 'w, 'o>;
    type SerializeStruct = Fields<'a, 'w, 'o>;
    type SerializeStructVariant = Items<'a, 'w, 'o>;

    fn serialize_bool(self, value: bool) -> Done {
        self.value().boolean(value);
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
        self.value().number(value);
        Ok(())
    }

    fn serialize_i128(self, value: i128) -> Done {
        match i64::try_from(value) {
            Ok(value) => self.value().number(value),
            // To the nearest double, as when the digits are read.
            Err(_) if value < 0 => self.double(value as f64),
            Err(_) => return self.serialize_u128(value.unsigned_abs()),
        }
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
        self.value().number(value);
        Ok(())
    }

    fn serialize_u128(self, value: u128) -> Done {
        match u64::try_from(value) {
            Ok(value) => self.value().number(value),
            Err(_) => self.double(value as f64),
        }
        Ok(())
    }

    fn serialize_f32(self, value: f32) -> Done {
        // A single has fewer digits than the double of the same value: 0.1 stays 0.1.
        let mut text = String::new();
        write_f32(&mut text, value);
        self.double(if value.is_finite() { Numeric::parse(&text).to_f64() } else { f64::NAN });
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Done {
        self.double(value);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Done {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Done {
        self.value().string(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Done {
        self.binary = true;
        self.value().binary(value);
        Ok(())
    }

    fn serialize_none(self) -> Done {
        self.value().nil();
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        if self.at_top {
            self.at_top = false;
            return Ok(());
        }
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Done {
        self.serialize_none()
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
        self.open_variant(variant)?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Items<'a, 'w, 'o>, EncodeError> {
        self.open(false)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Items<'a, 'w, 'o>, EncodeError> {
        if self.at_top {
            self.at_top = false;
            return Ok(Items { direct: self, place: 0, count: 0, kind: Kind::Arguments, wrapped: false });
        }
        self.open(false)
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Items<'a, 'w, 'o>, EncodeError> {
        self.open(false)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items<'a, 'w, 'o>, EncodeError> {
        self.open_variant(variant)?;
        Ok(Items { wrapped: true, ..self.open(false)? })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Items<'a, 'w, 'o>, EncodeError> {
        self.open(true)
    }

    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Fields<'a, 'w, 'o>, EncodeError> {
        if name == RAW_VALUE {
            return Ok(Fields::Raw(self));
        }
        self.open(true).map(Fields::Items)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Items<'a, 'w, 'o>, EncodeError> {
        self.open_variant(variant)?;
        Ok(Items { wrapped: true, ..self.open(true)? })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Done {
        self.serialize_str(&value.to_string())
    }
}

/// What is being written item by item.
struct Items<'a, 'w, 'o> {
    direct: &'a mut Direct<'w, 'o>,
    /// Where it begins.
    place: usize,
    count: usize,
    kind: Kind,
    /// It is the content of a variant, in a map of its own.
    wrapped: bool,
}

enum Kind {
    Array,
    Map,
    /// Items of the array that is there already.
    Arguments,
}

impl Items<'_, '_, '_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.count += 1;
        value.serialize(&mut *self.direct)
    }

    fn field<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Done {
        self.direct.key(key);
        self.item(value)
    }

    fn close(self) -> Done {
        match self.kind {
            Kind::Array => self.direct.writer.close_array(self.place, self.count),
            Kind::Map => self.direct.writer.close_map(self.place, self.count),
            Kind::Arguments => {
                self.direct.args = self.count;
                return Ok(());
            }
        }
        self.direct.depth -= 1 + usize::from(self.wrapped);
        Ok(())
    }
}

macro_rules! items {
    ($($kind:ident $method:ident)*) => {$(
        impl $kind for Items<'_, '_, '_> {
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

impl SerializeMap for Items<'_, '_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Done {
        key.serialize(Key { direct: self.direct, verbatim: false })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Done {
        self.item(value)
    }

    fn end(self) -> Done {
        self.close()
    }
}

impl SerializeStructVariant for Items<'_, '_, '_> {
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
enum Fields<'a, 'w, 'o> {
    Items(Items<'a, 'w, 'o>),
    Raw(&'a mut Direct<'w, 'o>),
}

impl SerializeStruct for Fields<'_, '_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Done {
        match self {
            Self::Items(items) => items.field(key, value),
            Self::Raw(direct) => value.serialize(Key { direct, verbatim: true }),
        }
    }

    fn end(self) -> Done {
        match self {
            Self::Items(items) => items.close(),
            Self::Raw(_) => Ok(()),
        }
    }
}
