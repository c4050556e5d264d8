//! A value of any type, for code that does not know what it receives.
//!
//! Like `serde_json::Value`, with two differences: binary values have a place of their own, and objects keep
//! the order of their keys, which JavaScript programs see.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::json::Numeric;

/// Is a value of any type.
///
/// ```
/// use sio_protocol::socketio::{Packet, Value};
///
/// let packet = Packet::event("/", None, r#"["e",{"b":[1,null],"a":{"_placeholder":true,"num":0}}]"#, vec!["x".into()]);
/// let value: Value = packet.args().deserialize()?;
/// assert_eq!(value.get("b").and_then(|b| b.as_array()).map(<[Value]>::len), Some(2));
/// assert_eq!(value.get("a"), Some(&Value::Binary("x".into())));
/// # Ok::<(), sio_protocol::socketio::ArgsError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(String),
    /// A binary value, sent as an attachment.
    Binary(Bytes),
    /// A list.
    Array(Vec<Self>),
    /// The entries of an object, in their order. A key that came twice is there twice; the last one counts.
    Object(Vec<(String, Self)>),
}

impl Value {
    /// Gives the entry of an object.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_object()?.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Gives the text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Gives the boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// Gives the number, if it is one.
    pub fn as_number(&self) -> Option<Number> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// Gives the number as a double, if it is a number.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number().map(Number::as_f64)
    }

    /// Gives the number, if it is an integer that fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_number()?.as_i64()
    }

    /// Gives the number, if it is an integer that fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number()?.as_u64()
    }

    /// Gives the bytes, if it is a binary value.
    pub fn as_binary(&self) -> Option<&Bytes> {
        if let Self::Binary(bytes) = self { Some(bytes) } else { None }
    }

    /// Gives the items, if it is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// Gives the entries, if it is an object.
    pub fn as_object(&self) -> Option<&[(String, Self)]> {
        if let Self::Object(entries) = self { Some(entries) } else { None }
    }

    /// Says whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

/// Is a number. Integers up to 64 bits keep all their digits; everything else is a double. `1` and `1.0` are
/// the same.
#[derive(Clone, Copy, PartialEq)]
pub struct Number(Numeric);

impl Number {
    /// Gives the nearest double.
    pub fn as_f64(self) -> f64 {
        self.0.to_f64()
    }

    /// Gives the number, if it is an integer that fits.
    pub fn as_i64(self) -> Option<i64> {
        match self.0 {
            Numeric::Unsigned(value) => value.try_into().ok(),
            Numeric::Negative(value) => Some(value),
            Numeric::Float(_) => None,
        }
    }

    /// Gives the number, if it is an integer that fits.
    pub fn as_u64(self) -> Option<u64> {
        if let Numeric::Unsigned(value) = self.0 { Some(value) } else { None }
    }
}

impl Number {
    /// Gives what is inside.
    pub(crate) fn numeric(self) -> Numeric {
        self.0
    }
}

impl From<Numeric> for Number {
    fn from(number: Numeric) -> Self {
        Self(number)
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Numeric::Unsigned(value) => value.fmt(formatter),
            Numeric::Negative(value) => value.fmt(formatter),
            Numeric::Float(value) => value.fmt(formatter),
        }
    }
}

impl fmt::Display for Number {
    /// Prints the number as JavaScript prints it in JSON: what is not finite is `null`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.0.write(&mut text);
        formatter.pad(&text)
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Binary(bytes) => serializer.serialize_bytes(bytes),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Numeric::Unsigned(value) => serializer.serialize_u64(value),
            Numeric::Negative(value) => serializer.serialize_i64(value),
            Numeric::Float(value) => serializer.serialize_f64(value),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

macro_rules! visit {
    ($($method:ident($kind:ty) => $value:expr;)*) => {$(
        fn $method<E>(self, value: $kind) -> Result<Value, E> {
            Ok($value(value))
        }
    )*};
}

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    visit! {
        visit_bool(bool) => Value::Bool;
        visit_i64(i64) => Value::from;
        visit_u64(u64) => Value::from;
        visit_f64(f64) => Value::from;
        visit_str(&str) => Value::from;
        visit_string(String) => Value::String;
        visit_bytes(&[u8]) => |bytes| Value::Binary(Bytes::copy_from_slice(bytes));
        visit_byte_buf(Vec<u8>) => |bytes: Vec<u8>| Value::Binary(bytes.into());
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            object.push(entry);
        }
        Ok(Value::Object(object))
    }
}

macro_rules! numbers {
    ($($kind:ty)*) => {$(
        impl From<$kind> for Number {
            fn from(value: $kind) -> Self {
                Self(value.into())
            }
        }

        impl From<$kind> for Value {
            fn from(value: $kind) -> Self {
                Self::Number(value.into())
            }
        }
    )*};
}
numbers! { i32 i64 u32 u64 f64 }

macro_rules! from {
    ($($kind:ty => |$value:ident| $result:expr;)*) => {$(
        impl From<$kind> for Value {
            fn from($value: $kind) -> Self {
                $result
            }
        }
    )*};
}
from! {
    bool => |value| Self::Bool(value);
    Number => |value| Self::Number(value);
    &str => |value| Self::String(value.to_owned());
    String => |value| Self::String(value);
    Bytes => |value| Self::Binary(value);
    Vec<Self> => |value| Self::Array(value);
    Vec<(String, Self)> => |value| Self::Object(value);
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => {
                Self::Number(Number(match (number.as_u64(), number.as_i64()) {
                    (Some(value), _) => Numeric::Unsigned(value),
                    (None, Some(value)) => value.into(),
                    (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
                }))
            }
            serde_json::Value::String(text) => Self::String(text),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            serde_json::Value::Object(entries) => {
                Self::Object(entries.into_iter().map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}
