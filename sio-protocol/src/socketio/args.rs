//! The arguments of an event or an ack: text until someone asks for a type.
//!
//! A tuple stands for several arguments, anything else for the first one. Without attachments `serde_json`
//! reads the text; with attachments our own reader does, which knows placeholders.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};
use serde::{Deserialize, forward_to_deserialize_any};

use super::reader::Reader;
use super::value::Value;
use crate::json::{Cursor, find_special};

/// Gives access to the arguments of a packet, as they came.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawArgs<'a> {
    /// The array, with the name of the event if there is one.
    array: &'a str,
    /// The offset in `array` of the first argument, or of the end of the array.
    first: usize,
    /// Whether the first item of the array is the name of the event.
    named: bool,
    attachments: &'a [Bytes],
}

impl<'a> RawArgs<'a> {
    /// Makes arguments of the text of a JSON array, without the name of an event, and the attachments that
    /// its placeholders refer to. Text that is no array counts as no arguments.
    pub fn new(array: &'a str, attachments: &'a [Bytes]) -> Self {
        let mut cursor = Cursor::new(array, 0);
        if !cursor.eat(b'[') {
            return Self::default();
        }
        cursor.peek();
        Self { array, first: cursor.at(), named: false, attachments }
    }

    /// Makes arguments of the data of an event, in which the name ends at `name_end`.
    pub(super) fn of_event(data: &'a str, name_end: usize, attachments: &'a [Bytes]) -> Self {
        if name_end == 0 {
            return Self::default();
        }
        let mut cursor = Cursor::new(data, name_end);
        cursor.eat(b',');
        cursor.peek();
        Self { array: data, first: cursor.at(), named: true, attachments }
    }

    /// Counts the arguments. This walks through the text.
    pub fn len(&self) -> usize {
        let mut cursor = Cursor::new(self.array, self.first);
        let mut count = 0;
        while cursor.peek().is_some_and(|byte| byte != b']') && cursor.skip().is_ok() {
            count += 1;
            cursor.eat(b',');
        }
        count
    }

    /// Says whether there is no argument at all.
    pub fn is_empty(&self) -> bool {
        matches!(self.array.as_bytes().get(self.first), None | Some(b']'))
    }

    /// Gives the text of the arguments, separated by commas, without brackets and without the name of the
    /// event.
    pub fn json(&self) -> &'a str {
        let rest = self.array.get(self.first..).unwrap_or_default();
        rest.trim_ascii_end().strip_suffix(']').unwrap_or_default().trim_ascii_end()
    }

    /// Gives the binary values that the placeholders in the text refer to.
    pub fn attachments(&self) -> &'a [Bytes] {
        self.attachments
    }

    /// Deserialises the arguments: a tuple from as many arguments, `()` from none, anything else from the
    /// first one. More arguments than that are ignored, as in JavaScript. A missing one is read as null,
    /// which an `Option` takes.
    ///
    /// Binary arguments arrive where the type asks for bytes: [`Bytes`], `serde_bytes`, [`Value`], and also
    /// `Vec<u8>`. Such types take text and arrays of numbers, too, as they do from `serde_json`; a [`Value`] tells
    /// them apart. serde does not tell arrays of fixed length from tuples, so `[f64; 2]` stands for two
    /// arguments; for one that is an array, ask for `([f64; 2],)`.
    ///
    /// # Errors
    ///
    /// If an argument is missing or not what `T` expects.
    ///
    /// ```
    /// use sio_protocol::socketio::{Packet, Value};
    ///
    /// let packet = Packet::event("/", None, r#"["move",3,{"x":1}]"#, vec![]);
    /// let (by, to): (u32, Value) = packet.args().deserialize()?;
    /// assert_eq!(by, 3);
    /// let by: u32 = packet.args().deserialize()?;
    /// assert!(packet.args().deserialize::<String>().is_err());
    /// # Ok::<(), sio_protocol::socketio::ArgsError>(())
    /// ```
    pub fn deserialize<T: Deserialize<'a>>(&self) -> Result<T, ArgsError> {
        T::deserialize(Arguments(*self))
    }

    /// Gives every argument as a [`Value`].
    ///
    /// # Errors
    ///
    /// If the text is not JSON, which a packet from a decoder rules out.
    pub fn values(&self) -> Result<Vec<Value>, ArgsError> {
        let mut reader = Reader::new(self.array, self.first, self.attachments);
        let mut values = Vec::new();
        while reader.has_argument(values.is_empty())? {
            values.push(Value::deserialize(&mut reader).map_err(|error| error.at(values.len()))?);
        }
        Ok(values)
    }

    /// Copies the text of the arguments; the attachments are shared.
    pub fn to_owned(&self) -> OwnedArgs {
        OwnedArgs { array: format!("[{}]", self.json()).into(), attachments: self.attachments.to_vec() }
    }

    /// Gives the first argument if it is text without escapes.
    fn plain_text(&self) -> Option<&'a str> {
        let text = self.tail().strip_prefix('"')?;
        let end = find_special(text.as_bytes(), 0);
        (text.as_bytes().get(end) == Some(&b'"')).then(|| &text[..end])
    }

    fn tail(&self) -> &'a str {
        self.array.get(self.first..).unwrap_or_default()
    }
}

impl Serialize for RawArgs<'_> {
    /// Writes the arguments as a tuple, so that they can be sent on as they are, however many there are.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let values = self.values().map_err(serde::ser::Error::custom)?;
        let mut tuple = serializer.serialize_tuple(values.len())?;
        for value in &values {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

/// Holds arguments that outlive their packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedArgs {
    array: Box<str>,
    attachments: Vec<Bytes>,
}

impl OwnedArgs {
    /// Makes arguments of the text of a JSON array and the attachments that its placeholders refer to.
    pub fn new(array: impl Into<Box<str>>, attachments: Vec<Bytes>) -> Self {
        Self { array: array.into(), attachments }
    }

    /// Gives access to the arguments.
    pub fn raw(&self) -> RawArgs<'_> {
        RawArgs::new(&self.array, &self.attachments)
    }

    /// Deserialises the arguments, as [`RawArgs::deserialize`] does.
    ///
    /// # Errors
    ///
    /// If an argument is missing or not what `T` expects.
    pub fn deserialize<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ArgsError> {
        self.raw().deserialize()
    }
}

impl Serialize for OwnedArgs {
    /// Writes the arguments as a tuple, so that they can be sent on as they are, however many there are.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw().serialize(serializer)
    }
}

/// Says which argument is not what the receiver expects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// The argument is of another type, or one of its parts is.
    #[error("argument {index}: {message}")]
    Mismatch {
        /// The position of the argument, from 0.
        index: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// There are not as many arguments.
    #[error("argument {index} is missing")]
    Missing {
        /// The position of the argument, from 0.
        index: usize,
    },
}

impl ArgsError {
    pub(super) fn at(self, index: usize) -> Self {
        match self {
            Self::Mismatch { message, .. } => Self::Mismatch { index, message },
            Self::Missing { .. } => Self::Missing { index },
        }
    }

    #[cold]
    fn mismatch(index: usize, error: &serde_json::Error) -> Self {
        let mut message = error.to_string();
        // The position is one in a part of the text and would mislead.
        if let Some(end) = message.rfind(" at line ") {
            message.truncate(end);
        }
        Self::Mismatch { index, message }
    }
}

impl serde::de::Error for ArgsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Mismatch { index: 0, message: message.to_string() }
    }
}

/// Deserialises one JSON value whose placeholders refer to `attachments`.
///
/// # Errors
///
/// If the value is not what `T` expects.
pub fn read_value<'de, T: Deserialize<'de>>(
    json: &'de str,
    attachments: &'de [Bytes],
) -> Result<T, ArgsError> {
    if attachments.is_empty() {
        serde_json::from_str(json).map_err(|error| ArgsError::mismatch(0, &error))
    } else {
        T::deserialize(&mut Reader::new(json, 0, attachments))
    }
}

/// Deserialises the list of arguments: tells tuples from everything else.
struct Arguments<'a>(RawArgs<'a>);

impl<'a> Arguments<'a> {
    /// Gives the arguments one by one, from `serde_json`.
    fn plain_tuple<V: Visitor<'a>>(&self, length: usize, visitor: V) -> Result<V::Value, ArgsError> {
        let index = Cell::new(0);
        let missing = Cell::new(false);
        let tuple = Tuple { visitor, named: self.0.named, length, index: &index, missing: &missing };
        let array = if self.0.array.is_empty() { "[]" } else { self.0.array };
        serde_json::Deserializer::from_str(array).deserialize_seq(tuple).map_err(|error| {
            let index = index.get().max(1) - 1;
            if missing.get() { ArgsError::Missing { index } } else { ArgsError::mismatch(index, &error) }
        })
    }
}

macro_rules! first_argument {
    // Most arguments are text, and most text needs no more than to be cut out.
    (@text $self:ident may_be_text) => { $self.0.plain_text() };
    (@text $self:ident) => { None::<&'a str> };
    ($($method:ident($($name:ident: $kind:ty),*) $($text:ident)?;)*) => {$(
        fn $method<V: Visitor<'a>>(self, $($name: $kind,)* visitor: V) -> Result<V::Value, ArgsError> {
            if self.0.is_empty() {
                Missing.$method($($name,)* visitor).map_err(|_| ArgsError::Missing { index: 0 })
            } else if let Some(text) = first_argument!(@text self $($text)?) {
                visitor.visit_borrowed_str(text)
            } else if self.0.attachments.is_empty() {
                serde_json::Deserializer::from_str(self.0.tail())
                    .$method($($name,)* visitor)
                    .map_err(|error| ArgsError::mismatch(0, &error))
            } else {
                Reader::new(self.0.array, self.0.first, self.0.attachments).$method($($name,)* visitor)
            }
        }
    )*};
}

impl<'a> Deserializer<'a> for Arguments<'a> {
    type Error = ArgsError;

    first_argument! {
        deserialize_any() may_be_text;
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str() may_be_text;
        deserialize_string() may_be_text;
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_unit_struct(name: &'static str);
        deserialize_seq();
        deserialize_tuple_struct(name: &'static str, len: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, len: usize, visitor: V) -> Result<V::Value, ArgsError> {
        if self.0.attachments.is_empty() {
            return self.plain_tuple(len, visitor);
        }
        let index = Cell::new(0);
        let mut reader = Reader::new(self.0.array, self.0.first, self.0.attachments);
        visitor
            .visit_seq(BinaryTuple { reader: &mut reader, length: len, index: &index })
            .map_err(|error| error.at(index.get().max(1) - 1))
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ArgsError> {
        if name == super::values::ALL {
            let mut reader = Reader::new(self.0.array, self.0.first, self.0.attachments);
            return visitor.visit_seq(All { reader: &mut reader, index: 0 });
        }
        if name != super::reader::RAW_VALUE {
            // A wrapper around a tuple still stands for several arguments.
            return visitor.visit_newtype_struct(self);
        }
        if self.0.is_empty() {
            return Err(ArgsError::Missing { index: 0 });
        }
        // Raw text cannot say which attachments belong to it, so it is refused when there are some.
        Reader::new(self.0.array, self.0.first, self.0.attachments).deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, ArgsError> {
        if self.0.is_empty() || self.0.tail().starts_with("null") {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }
}

/// Lets a visitor see an array of `serde_json` without the name of the event and with what is missing at its
/// end.
struct Tuple<'c, V> {
    visitor: V,
    named: bool,
    length: usize,
    index: &'c Cell<usize>,
    missing: &'c Cell<bool>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Tuple<'_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<V::Value, A::Error> {
        if self.named {
            items.next_element::<IgnoredAny>()?;
        }
        let value = self.visitor.visit_seq(PlainItems {
            items: &mut items,
            length: self.length,
            index: self.index,
            missing: self.missing,
        })?;
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

struct PlainItems<'c, A> {
    items: &'c mut A,
    length: usize,
    index: &'c Cell<usize>,
    missing: &'c Cell<bool>,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for PlainItems<'_, A> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        if self.index.get() == self.length {
            return Ok(None);
        }
        self.index.set(self.index.get() + 1);
        // The seed is used up by the first attempt, so presence is asked for by a seed of our own.
        let mut seed = Some(seed);
        match self.items.next_element_seed(Present(&mut seed))? {
            Some(value) => Ok(Some(value)),
            None => match seed {
                Some(seed) => seed.deserialize(Missing).map(Some).map_err(|_| {
                    self.missing.set(true);
                    A::Error::custom("missing")
                }),
                None => Ok(None),
            },
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.length - self.index.get())
    }
}

/// Takes the seed only if there is something to deserialise.
struct Present<'s, T>(&'s mut Option<T>);

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Present<'_, T> {
    type Value = T::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Value, D::Error> {
        match self.0.take() {
            Some(seed) => seed.deserialize(deserializer),
            None => Err(D::Error::custom("asked twice")),
        }
    }
}

/// Gives the arguments one by one, as many as there are.
struct All<'c, 'de> {
    reader: &'c mut Reader<'de>,
    index: usize,
}

impl<'de> SeqAccess<'de> for All<'_, 'de> {
    type Error = ArgsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ArgsError> {
        let index = self.index;
        if !self.reader.has_argument(index == 0)? {
            return Ok(None);
        }
        self.index += 1;
        seed.deserialize(&mut *self.reader).map(Some).map_err(|error| error.at(index))
    }
}

/// Gives the arguments one by one, with attachments.
struct BinaryTuple<'c, 'de> {
    reader: &'c mut Reader<'de>,
    length: usize,
    index: &'c Cell<usize>,
}

impl<'de> SeqAccess<'de> for BinaryTuple<'_, 'de> {
    type Error = ArgsError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ArgsError> {
        let index = self.index.get();
        if index == self.length {
            return Ok(None);
        }
        self.index.set(index + 1);
        if self.reader.has_argument(index == 0)? {
            seed.deserialize(&mut *self.reader).map(Some)
        } else {
            seed.deserialize(Missing).map(Some).map_err(|_| ArgsError::Missing { index })
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.length - self.index.get())
    }
}

/// Stands for an argument that is not there.
struct Missing;

impl<'de> Deserializer<'de> for Missing {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// Gives the text of one value in the way in which `serde_json` hands over a `RawValue`.
pub(super) struct RawText<'de>(pub(super) Option<&'de str>);

impl<'de> MapAccess<'de> for RawText<'de> {
    type Error = ArgsError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ArgsError> {
        if self.0.is_none() {
            return Ok(None);
        }
        seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(super::reader::RAW_VALUE)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ArgsError> {
        let text = self.0.take().unwrap_or_default();
        seed.deserialize(serde::de::value::BorrowedStrDeserializer::new(text))
    }
}
