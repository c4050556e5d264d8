//! The keys of maps: whatever they are, on the wire they are text.

use std::fmt::Display;

use serde::ser::{Impossible, Serialize, Serializer};

use super::{Done, EncodeError, Writer};

macro_rules! refuse {
    ($($method:ident($($name:ident: $kind:ty),*) -> $result:ty, $what:literal;)*) => {$(
        fn $method(self, $($name: $kind),*) -> Result<$result, EncodeError> {
            $(let _ = $name;)*
            Err(EncodeError::KeyNotText($what))
        }
    )*};
}

/// The key of a map, always text on the wire; or text that is finished JSON and goes out as it is.
pub(super) struct Key<'w, 'a> {
    pub(super) writer: &'w mut Writer<'a>,
    pub(super) verbatim: bool,
}

macro_rules! quoted {
    ($($method:ident($kind:ty);)*) => {$(
        fn $method(self, value: $kind) -> Done {
            self.writer.out.push(b'"');
            (&mut *self.writer).$method(value)?;
            self.writer.out.push(b'"');
            Ok(())
        }
    )*};
}

impl Serializer for Key<'_, '_> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Impossible<(), EncodeError>;
    type SerializeTuple = Impossible<(), EncodeError>;
    type SerializeTupleStruct = Impossible<(), EncodeError>;
    type SerializeTupleVariant = Impossible<(), EncodeError>;
    type SerializeMap = Impossible<(), EncodeError>;
    type SerializeStruct = Impossible<(), EncodeError>;
    type SerializeStructVariant = Impossible<(), EncodeError>;

    quoted! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32);
        serialize_f64(f64);
    }

    fn serialize_char(self, value: char) -> Done {
        self.writer.serialize_char(value)
    }

    fn serialize_str(self, value: &str) -> Done {
        if self.verbatim {
            self.writer.finished(value);
        } else {
            self.writer.key(value);
        }
        Ok(())
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Done {
        self.writer.key(variant);
        Ok(())
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
        self.writer.key(&value.to_string());
        Ok(())
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
