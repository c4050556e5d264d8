//! Any number of arguments, for code that passes on what it does not know.

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::value::Value;

/// Is a list of arguments whose number is not known when the program is written: sent, each value is an argument;
/// received, it takes all arguments there are. JavaScript: `...args`.
///
/// A `Vec<Value>` in its place is one argument, an array.
///
/// ```
/// use sio_protocol::socketio::{Packet, Values, write_args};
///
/// let packet = Packet::event("/", None, r#"["forward",1,"two",null]"#, vec![]);
/// let args: Values = packet.args().deserialize()?;
/// assert_eq!(args.0.len(), 3);
/// let mut data = Vec::new();
/// write_args(&mut data, &mut Vec::new(), &args)?;
/// assert_eq!(data, br#"[1,"two",null]"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "made to be taken apart in a parameter list")]
pub struct Values(pub Vec<Value>);

impl From<Vec<Value>> for Values {
    fn from(values: Vec<Value>) -> Self {
        Self(values)
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A tuple is what stands for several arguments.
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(ALL, ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("arguments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Values, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(Values(values))
    }

    /// Anywhere but at the place of the arguments, it is an array.
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Values, D::Error> {
        Vec::deserialize(deserializer).map(Values)
    }
}

/// The name by which the deserialiser of arguments knows that it is asked for all of them.
pub(super) const ALL: &str = "$sio_protocol::Values";

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::socketio::{Packet, write_args, write_event};

    const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

    fn taken(data: &str, attachments: Vec<Bytes>) -> Vec<Value> {
        Packet::event("/", None, data, attachments).args().deserialize::<Values>().unwrap().0
    }

    #[test]
    fn all_arguments_are_taken_and_none_is_made_up() {
        assert_eq!(taken(r#"["e"]"#, vec![]), []);
        assert_eq!(taken(r#"["e",null]"#, vec![]), [Value::Null]);
        assert_eq!(taken(r#"[ "e" , [1] , "x" ]"#, vec![]), [vec![Value::from(1)].into(), "x".into()]);
        let (data, attachment) = (format!(r#"["e",{PLACEHOLDER},2]"#), Bytes::from_static(b"x"));
        assert_eq!(taken(&data, vec![attachment.clone()]), [Value::Binary(attachment), 2.into()]);
    }

    #[test]
    fn all_arguments_are_sent() {
        let values = Values(vec![1.into(), Value::Binary("x".into()), Value::Null]);
        let (mut data, mut attachments) = (Vec::new(), Vec::new());
        write_event(&mut data, &mut attachments, "e", &values).unwrap();
        assert_eq!(String::from_utf8(data).unwrap(), format!(r#"["e",1,{PLACEHOLDER},null]"#));
        assert_eq!(attachments, ["x"]);
        let mut data = Vec::new();
        write_args(&mut data, &mut Vec::new(), &Values::default()).unwrap();
        assert_eq!(data, b"[]");
    }

    #[test]
    fn below_the_top_it_is_an_array() {
        let packet = Packet::event("/", None, r#"["e","room",[1,2]]"#, vec![]);
        let (_, inner): (String, Values) = packet.args().deserialize().unwrap();
        assert_eq!(inner.0, [1.into(), 2.into()]);
        let mut data = Vec::new();
        write_args(&mut data, &mut Vec::new(), &("room", inner)).unwrap();
        assert_eq!(data, br#"["room",[1,2]]"#);
    }
}
