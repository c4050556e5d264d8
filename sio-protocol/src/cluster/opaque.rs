//! A value that goes through the cluster without anybody here looking into it.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::error::ClusterError;
use super::input::{Input, Value};
use super::output::Output;
use crate::json::{Cursor, find_placeholder, repair_surrogates};
use crate::msgpack::{Token, read_json};
use crate::socketio::{ArgsError, OwnedArgs, RawArgs, read_value};

/// Is a value of any type, as JSON text with attachments: an acknowledgement, the data or the handshake of a
/// socket.
///
/// ```
/// use sio_protocol::cluster::Opaque;
/// use sio_protocol::socketio::Packet;
///
/// // Of what a client acknowledges, only the first argument travels to the node that asked.
/// let ack = Packet::ack("/", 7, r#"["yes",2]"#, vec![]);
/// let first = Opaque::first_of(ack.args()).ok_or("no argument")?;
/// assert_eq!(first.json, r#""yes""#);
/// assert_eq!(first.deserialize::<String>()?, "yes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opaque<'a> {
    /// The value as JSON text.
    pub json: Cow<'a, str>,
    /// The binary values that the placeholders in the text refer to.
    pub attachments: Vec<Bytes>,
}

impl<'a> Opaque<'a> {
    /// Makes a value of its text and its binary values, as [`write_value`](crate::socketio::write_value)
    /// gives them.
    pub fn new(json: impl Into<Cow<'a, str>>, attachments: Vec<Bytes>) -> Self {
        Self { json: json.into(), attachments }
    }

    /// Takes the first argument of an acknowledgement, `None` if there is no argument.
    pub fn first_of(args: RawArgs<'a>) -> Option<Self> {
        let text = args.json();
        let mut cursor = Cursor::new(text, 0);
        cursor.skip().ok()?;
        let first = cursor.slice(0, cursor.at());
        let binary = !args.attachments().is_empty() && find_placeholder(first).is_some();
        let attachments = if binary { args.attachments().to_vec() } else { Vec::new() };
        Some(Self::new(first, attachments))
    }

    /// Makes the list of arguments that has this one value.
    pub fn into_args(self) -> OwnedArgs {
        OwnedArgs::new(format!("[{}]", self.json), self.attachments)
    }

    /// Deserialises the value.
    ///
    /// # Errors
    ///
    /// If the value is not what `T` expects.
    pub fn deserialize<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ArgsError> {
        read_value(&self.json, &self.attachments)
    }

    /// Makes a value that borrows nothing.
    pub fn into_owned(self) -> Opaque<'static> {
        Opaque { json: Cow::Owned(self.json.into_owned()), attachments: self.attachments }
    }

    /// Says whether MessagePack is needed to send it.
    pub(super) fn is_binary(&self) -> bool {
        !self.attachments.is_empty()
    }

    /// Reads a value; `None` stands for the `undefined` of `notepack.io` 2.
    pub(super) fn read(input: &mut Input<'a>) -> Result<Option<Self>, ClusterError> {
        let limits = input.limits();
        match input.value()? {
            Value::Json(json) => Ok(Some(Self::new(well_formed(json), Vec::new()))),
            Value::MsgPack(reader) => {
                if reader.clone().next_token()? == Token::Undefined {
                    reader.skip()?;
                    return Ok(None);
                }
                let (mut json, mut attachments) = (String::new(), Vec::new());
                read_json(reader, limits, &mut json, &mut attachments)?;
                Ok(Some(Self::new(json, attachments)))
            }
        }
    }

    pub(super) fn write(&self, output: &mut Output<'_>) -> Result<(), ClusterError> {
        output.value(&self.json, &self.attachments)
    }
}

/// Replaces half surrogate pairs, which JavaScript escapes so that they survive in JSON, but which Rust
/// strings cannot hold.
pub(super) fn well_formed(json: &str) -> Cow<'_, str> {
    if json.contains("\\u") { Cow::Owned(repair_surrogates(json)) } else { Cow::Borrowed(json) }
}
