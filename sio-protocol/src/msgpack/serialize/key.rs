//! The keys of maps: whatever they are, on the wire they are text.

use std::fmt::Display;

use serde::ser::{Impossible, Serialize, Serializer};

use super::{Direct, Done, EncodeError};
use crate::json::{write_f32, write_f64, write_i128, write_u128};

macro_rules! refuse {
    ($($method:ident($($name:ident: $kind:ty),*) -> $result:ty, $what:literal;)*) => {$(
        fn $method(self, $($name: $kind),*) -> Result<$result, EncodeError> {
            $(let _ = $name;)*
            Err(EncodeError::KeyNotText($what))
        }
    )*};
}

macro_rules! printed {
    ($($method:ident($kind:ty) $write:ident;)*) => {$(
        fn $method(self, value: $kind) -> Done {
            let mut text = String::new();
            $write(&mut text, value.into());
            self.serialize_str(&text)
        }
    )*};
}

/// The key of a map, always text on the wire; or text that is finished JSON, and goes out as the value that it says.
pub(super) struct Key<'a, 'w, 'o> {
    pub(super) direct: &'a mut Direct<'w, 'o>,
    pub(super) verbatim: bool,
}

impl Serializer for Key<'_, '_, '_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Impossible<(), EncodeError>;
    type SerializeTuple = Impossible<(), EncodeError>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Impossible<(), EncodeError>;
    type SerializeStruct = Impossible<(), EncodeError>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    printed! {
        serialize_i8(i8) write_i128;
        serialize_i16(i16) write_i128;
        serialize_i32(i32) write_i128;
        serialize_i64(i64) write_i128;
        serialize_i128(i128) write_i128;
        serialize_u8(u8) write_u128;
        serialize_u16(u16) write_u128;
        serialize_u32(u32) write_u128;
        serialize_u64(u64) write_u128;
        serialize_u128(u128) write_u128;
        serialize_f32(f32) write_f32;
        serialize_f64(f64) write_f64;
    }

    fn serialize_bool(self, value: bool) -> Done {
        self.serialize_str(if value { "true" } else { "false" })
    }

    fn serialize_char(self, value: char) -> Done {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Done {
        if self.verbatim {
            return self.direct.raw(value);
        }
        self.direct.key(value);
        Ok(())
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Done {
        self.serialize_str(variant)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Done {
        Err(EncodeError::KeyNotText("enum variant with content"))
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Done {
        self.serialize_str(&value.to_string())
    }

    refuse! {
        serialize_bytes(value: &[u8]) -> (), "bytes";
        serialize_none() -> (), "none";
        serialize_unit() -> (), "unit";
        serialize_unit_struct(name: &'static str) -> (), "unit struct";
        serialize_seq(len: Option<usize>) -> Self::SerializeSeq, "sequence";
        serialize_tuple(len: usize) -> Self::SerializeTuple, "tuple";
        serialize_tuple_struct(name: &'static str, len: usize) -> Self::SerializeTupleStruct, "tuple struct";
        serialize_tuple_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> Self::SerializeTupleVariant, "enum variant with content";
        serialize_map(len: Option<usize>) -> Self::SerializeMap, "map";
        serialize_struct(name: &'static str, len: usize) -> Self::SerializeStruct, "struct";
        serialize_struct_variant(name: &'static str, index: u32, variant: &'static str, len: usize)
            -> Self::SerializeStructVariant, "enum variant with content";
    }
}
