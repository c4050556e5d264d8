//! The top level of the serialiser: a tuple becomes several arguments, everything else one.

use std::fmt::Display;

use serde::ser::{Serialize, Serializer};

use super::{Done, EncodeError, Fields, Items, Writer};

macro_rules! forward {
    ($($method:ident($($name:ident: $kind:ty),*);)*) => {$(
        fn $method(mut self, $($name: $kind),*) -> Done {
            self.writer().$method($($name),*)
        }
    )*};
}

/// The list of arguments: one value, unless it is a tuple.
pub(super) struct Arguments<'w, 'a> {
    pub(super) writer: &'w mut Writer<'a>,
    /// Whether nothing stands before the arguments.
    pub(super) first: bool,
}

impl<'w, 'a> Arguments<'w, 'a> {
    /// Gives the writer for one argument, after the comma it needs.
    fn writer(&mut self) -> &mut Writer<'a> {
        if !std::mem::take(&mut self.first) {
            self.writer.out.push(b',');
        }
        self.writer
    }

    fn into_writer(mut self) -> &'w mut Writer<'a> {
        self.writer();
        self.writer
    }
}

impl<'w, 'a> Serializer for Arguments<'w, 'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Items<'w, 'a>;
    type SerializeTuple = Items<'w, 'a>;
    type SerializeTupleStruct = Items<'w, 'a>;
    type SerializeTupleVariant = Items<'w, 'a>;
    type SerializeMap = Items<'w, 'a>;
    type SerializeStruct = Fields<'w, 'a>;
    type SerializeStructVariant = Items<'w, 'a>;

    forward! {
        serialize_bool(value: bool);
        serialize_i8(value: i8);
        serialize_i16(value: i16);
        serialize_i32(value: i32);
        serialize_i64(value: i64);
        serialize_i128(value: i128);
        serialize_u8(value: u8);
        serialize_u16(value: u16);
        serialize_u32(value: u32);
        serialize_u64(value: u64);
        serialize_u128(value: u128);
        serialize_f32(value: f32);
        serialize_f64(value: f64);
        serialize_char(value: char);
        serialize_str(value: &str);
        serialize_bytes(value: &[u8]);
        serialize_none();
        serialize_unit_struct(name: &'static str);
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Done {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Done {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Done {
        self.writer().serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Items<'w, 'a>, EncodeError> {
        self.into_writer().serialize_seq(len)
    }

    fn serialize_tuple(self, _len: usize) -> Result<Items<'w, 'a>, EncodeError> {
        Ok(Items { writer: self.writer, first: self.first, end: "" })
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Items<'w, 'a>, EncodeError> {
        self.into_writer().serialize_tuple_struct(name, len)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Items<'w, 'a>, EncodeError> {
        self.into_writer().serialize_tuple_variant(name, index, variant, len)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Items<'w, 'a>, EncodeError> {
        self.into_writer().serialize_map(len)
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields<'w, 'a>, EncodeError> {
        self.into_writer().serialize_struct(name, len)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Items<'w, 'a>, EncodeError> {
        self.into_writer().serialize_struct_variant(name, index, variant, len)
    }

    fn collect_str<T: Display + ?Sized>(mut self, value: &T) -> Done {
        self.writer().collect_str(value)
    }
}
