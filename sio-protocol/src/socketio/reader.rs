//! The deserialiser for JSON text with attachments.
//!
//! It does what `serde_json` does, and gives the attachment wherever a placeholder stands: to types that ask
//! for bytes, to types that take what comes (so that flattened, untagged and internally tagged types work),
//! and as a sequence.

use std::borrow::Cow;

use bytes::Bytes;
use serde::de::value::{
    BorrowedBytesDeserializer, BorrowedStrDeserializer, SeqDeserializer, StringDeserializer,
};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::args::{ArgsError, RawText};
use crate::json::{Cursor, Numeric, Syntax, find_placeholder};
use crate::limits::MAX_DEPTH;

/// Reads values one after another.
#[derive(Debug)]
pub(super) struct Reader<'de> {
    cursor: Cursor<'de>,
    attachments: &'de [Bytes],
    depth: usize,
}

impl<'de> Reader<'de> {
    /// Starts at a byte of `text`.
    pub(super) fn new(text: &'de str, at: usize, attachments: &'de [Bytes]) -> Self {
        Self { cursor: Cursor::new(text, at), attachments, depth: 0 }
    }

    /// Passes the comma before an argument that is not the first, and says whether there is one.
    pub(super) fn has_argument(&mut self, first: bool) -> Result<bool, ArgsError> {
        match self.cursor.peek() {
            None | Some(b']') => Ok(false),
            Some(_) if first => Ok(true),
            Some(_) => Ok(self.cursor.expect(b',').map(|()| true)?),
        }
    }

    /// Reads an attachment, if a placeholder stands here.
    fn attachment(&mut self) -> Result<Option<&'de Bytes>, ArgsError> {
        if self.attachments.is_empty() {
            return Ok(None);
        }
        let Some(index) = self.cursor.placeholder() else { return Ok(None) };
        let count = self.attachments.len();
        let attachment = self.attachments.get(index);
        attachment
            .map(Some)
            .ok_or_else(|| ArgsError::custom(format_args!("placeholder {index} of {count} attachments")))
    }

    fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.cursor.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    /// Opens an array or object. Text from a decoder is never too deep, but a packet can be built by hand.
    fn open(&mut self, open: u8) -> Result<(), ArgsError> {
        if self.depth >= MAX_DEPTH {
            return Err(ArgsError::custom(format_args!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.depth += 1;
        Ok(self.cursor.expect(open)?)
    }

    fn container<V: Visitor<'de>>(&mut self, open: u8, visitor: V) -> Result<V::Value, ArgsError> {
        self.open(open)?;
        let value = if open == b'[' {
            let mut items = Items { reader: self, first: true, ended: false };
            let value = visitor.visit_seq(&mut items)?;
            items.end(b']')?;
            value
        } else {
            let mut items = Items { reader: self, first: true, ended: false };
            let value = visitor.visit_map(&mut items)?;
            items.end(b'}')?;
            value
        };
        self.depth -= 1;
        Ok(value)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        if let Some(attachment) = self.attachment()? {
            return visitor.visit_borrowed_bytes(attachment);
        }
        match self.cursor.peek() {
            Some(b'"') => self.string(visitor),
            Some(open @ (b'[' | b'{')) => self.container(open, visitor),
            Some(b't') => {
                self.cursor.word("true").map_err(ArgsError::from).and_then(|()| visitor.visit_bool(true))
            }
            Some(b'f') => {
                self.cursor.word("false").map_err(ArgsError::from).and_then(|()| visitor.visit_bool(false))
            }
            Some(b'n') => {
                self.cursor.word("null").map_err(ArgsError::from).and_then(|()| visitor.visit_unit())
            }
            _ => match self.cursor.number()? {
                Numeric::Unsigned(value) => visitor.visit_u64(value),
                Numeric::Negative(value) => visitor.visit_i64(value),
                Numeric::Float(value) => visitor.visit_f64(value),
            },
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.attachment()? {
            // A `String` would take bytes that happen to be UTF-8, but binary is not text to any other client.
            Some(attachment) => Err(ArgsError::invalid_type(Unexpected::Bytes(attachment), &visitor)),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        if self.cursor.peek() == Some(b'"') {
            // As serde_json does: a string gives its bytes.
            return match self.cursor.string()? {
                Cow::Borrowed(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
                Cow::Owned(text) => visitor.visit_byte_buf(text.into_bytes()),
            };
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.attachment()? {
            Some(attachment) => SeqDeserializer::new(attachment.iter().copied()).deserialize_seq(visitor),
            None => self.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ArgsError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        if self.cursor.peek() == Some(b'n') {
            self.cursor.word("null")?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        if name != RAW_VALUE {
            return visitor.visit_newtype_struct(self);
        }
        self.cursor.peek();
        let start = self.cursor.at();
        self.cursor.skip()?;
        let text = self.cursor.slice(start, self.cursor.at());
        if !self.attachments.is_empty() && find_placeholder(text) {
            return Err(ArgsError::custom("raw JSON text cannot hold binary values"));
        }
        visitor.visit_map(RawText(Some(text)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        match self.cursor.peek() {
            Some(b'{') => {
                self.open(b'{')?;
                let value = visitor.visit_enum(Variant { reader: self })?;
                self.cursor.expect(b'}')?;
                self.depth -= 1;
                Ok(value)
            }
            Some(b'"') => match self.cursor.string()? {
                Cow::Borrowed(name) => visitor.visit_enum(BorrowedStrDeserializer::new(name)),
                Cow::Owned(name) => visitor.visit_enum(StringDeserializer::new(name)),
            },
            _ => Err(ArgsError::custom("expected a string or an object with one key, for an enum")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.cursor.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char unit unit_struct tuple_struct map struct identifier
    }
}

/// The items of an array or object.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    first: bool,
    ended: bool,
}

impl<'de> Items<'_, 'de> {
    fn next(&mut self, end: u8) -> Result<bool, ArgsError> {
        if !self.ended {
            self.ended = !self.reader.cursor.next_item(&mut self.first, end)?;
        }
        Ok(!self.ended)
    }

    /// A visitor may stop early, but only where the container ends.
    fn end(&mut self, end: u8) -> Result<(), ArgsError> {
        if self.next(end)? { Err(ArgsError::custom("more items than expected")) } else { Ok(()) }
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = ArgsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ArgsError> {
        if !self.next(b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = ArgsError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ArgsError> {
        if !self.next(b'}')? {
            return Ok(None);
        }
        let key = self.reader.cursor.string()?;
        seed.deserialize(Key(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ArgsError> {
        self.reader.cursor.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// The key of an object, which is text on the wire and may be a number or a boolean to the receiver.
struct Key<'de>(Cow<'de, str>);

impl<'de> Key<'de> {
    fn text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }
}

macro_rules! keys_from_text {
    ($($method:ident => $visit:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
            match self.0.parse() {
                Ok(value) => visitor.$visit(value),
                Err(_) => self.text(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = ArgsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.text(visitor)
    }

    keys_from_text! {
        deserialize_bool => visit_bool
        deserialize_i8 => visit_i8
        deserialize_i16 => visit_i16
        deserialize_i32 => visit_i32
        deserialize_i64 => visit_i64
        deserialize_i128 => visit_i128
        deserialize_u8 => visit_u8
        deserialize_u16 => visit_u16
        deserialize_u32 => visit_u32
        deserialize_u64 => visit_u64
        deserialize_u128 => visit_u128
        deserialize_f32 => visit_f32
        deserialize_f64 => visit_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            Cow::Owned(text) => visitor.visit_enum(StringDeserializer::new(text)),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        match self.0 {
            Cow::Borrowed(text) => BorrowedBytesDeserializer::new(text.as_bytes()).deserialize_bytes(visitor),
            Cow::Owned(text) => visitor.visit_byte_buf(text.into_bytes()),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        self.deserialize_bytes(visitor)
    }

    forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// The one entry of an object that stands for an enum: `{"Variant":content}`.
struct Variant<'r, 'de> {
    reader: &'r mut Reader<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = ArgsError;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), ArgsError> {
        self.reader.cursor.peek();
        let name = seed.deserialize(Key(self.reader.cursor.string()?))?;
        self.reader.cursor.expect(b':')?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = ArgsError;

    fn unit_variant(self) -> Result<(), ArgsError> {
        serde::Deserialize::deserialize(self.reader)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ArgsError> {
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ArgsError> {
        self.reader.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        self.reader.deserialize_any(visitor)
    }
}

impl From<Syntax> for ArgsError {
    fn from(syntax: Syntax) -> Self {
        Self::custom(format_args!("not JSON from byte {} on", syntax.at))
    }
}

/// The name under which `serde_json` asks for, and offers, text that is not to be parsed.
pub(crate) const RAW_VALUE: &str = "$serde_json::private::RawValue";
