//! A position in a message of the cluster, in either notation.
//!
//! The same messages travel as JSON and as MessagePack, so what reads them is written once, against this. It
//! pulls one value at a time and builds nothing; a value that is wanted later is a copy of the position.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use super::error::ClusterError;
use super::names::Names;
use crate::error::Malformed;
use crate::json::{Cursor, Syntax};
use crate::limits::Limits;
use crate::msgpack::{Reader, Short, Token};
use crate::socketio::Number;

/// Reads values from a message.
#[derive(Clone)]
pub(super) struct Input<'a> {
    form: Form<'a>,
    limits: &'a Limits,
}

#[derive(Clone)]
enum Form<'a> {
    Json(Cursor<'a>),
    MsgPack(Reader<'a>),
}

/// What remains of an array or map that was opened.
#[derive(Debug)]
pub(super) struct Items {
    /// How many are left in MessagePack, where JSON counts nothing.
    left: usize,
    first: bool,
}

/// A value that is no array and no map.
enum Scalar<'a> {
    Nothing,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    /// Anything else.
    Other,
}

impl<'a> Input<'a> {
    /// Starts at the first byte of a message, which tells the notation: JSON begins with a brace, which in
    /// MessagePack would be a number.
    pub(super) fn new(message: &'a Bytes, limits: &'a Limits) -> Result<Self, ClusterError> {
        if message.first() != Some(&b'{') {
            return Self::msgpack(message, limits);
        }
        check_length(message, limits)?;
        let text = simdutf8::basic::from_utf8(message).map_err(|_| ClusterError::TextNotUtf8)?;
        Ok(Self { form: Form::Json(Cursor::new(text, 0)), limits })
    }

    /// Starts at the first byte of a message that has to be MessagePack.
    pub(super) fn msgpack(message: &'a Bytes, limits: &'a Limits) -> Result<Self, ClusterError> {
        check_length(message, limits)?;
        Ok(Self { form: Form::MsgPack(Reader::new(message)), limits })
    }

    /// Gives the limits that hold for the message.
    pub(super) fn limits(&self) -> &'a Limits {
        self.limits
    }

    /// Gives the number of bytes before this position.
    pub(super) fn position(&self) -> usize {
        match &self.form {
            Form::Json(cursor) => cursor.at(),
            Form::MsgPack(reader) => reader.position(),
        }
    }

    /// Passes one value with everything in it.
    pub(super) fn skip(&mut self) -> Result<(), ClusterError> {
        match &mut self.form {
            Form::Json(cursor) => cursor.check_value(self.limits.depth()).map(|_| ())?,
            Form::MsgPack(reader) => reader.skip()?,
        }
        Ok(())
    }

    /// Passes one value and gives its position. Whoever reads it there checks its syntax.
    pub(super) fn later(&mut self) -> Result<Self, ClusterError> {
        let start = self.clone();
        let scalar = self.is_scalar();
        match &mut self.form {
            // Without a check, how deep an event is nested in what is around it does not matter.
            Form::Json(cursor) if !scalar => cursor.skip()?,
            _ => self.skip()?,
        }
        Ok(start)
    }

    /// Checks that nothing follows.
    pub(super) fn finish(&mut self) -> Result<(), ClusterError> {
        match &mut self.form {
            Form::Json(cursor) => match cursor.peek() {
                None => Ok(()),
                Some(_) => Err(cursor.error().into()),
            },
            Form::MsgPack(reader) => Ok(reader.finish()?),
        }
    }

    /// Opens an array. MessagePack says how many items it has.
    pub(super) fn array(&mut self, field: &'static str) -> Result<Items, ClusterError> {
        match &mut self.form {
            Form::Json(cursor) => {
                cursor.expect(b'[').map_err(|_| ClusterError::FieldInvalid { field })?;
                Ok(Items { left: 0, first: true })
            }
            Form::MsgPack(reader) => {
                if let Some(left) = reader.eat_short(Short::Array) {
                    return Ok(Items { left, first: true });
                }
                match reader.next_token()? {
                    Token::Array(left) => Ok(Items { left, first: true }),
                    _ => Err(ClusterError::FieldInvalid { field }),
                }
            }
        }
    }

    /// Says whether the array has one more item, and goes to it.
    pub(super) fn next_item(&mut self, items: &mut Items) -> Result<bool, ClusterError> {
        match &mut self.form {
            Form::Json(cursor) => Ok(cursor.next_item(&mut items.first, b']')?),
            Form::MsgPack(_) => Ok(items.take_one()),
        }
    }

    /// Opens a map.
    pub(super) fn map(&mut self, field: &'static str) -> Result<Items, ClusterError> {
        match &mut self.form {
            Form::Json(cursor) => {
                cursor.expect(b'{').map_err(|_| ClusterError::FieldInvalid { field })?;
                Ok(Items { left: 0, first: true })
            }
            Form::MsgPack(reader) => {
                if let Some(left) = reader.eat_short(Short::Map) {
                    return Ok(Items { left, first: true });
                }
                match reader.next_token()? {
                    Token::Map(left) => Ok(Items { left, first: true }),
                    _ => Err(ClusterError::FieldInvalid { field }),
                }
            }
        }
    }

    /// Gives the next key of a map, as the bytes of its text, and goes to its value. A key that is no string
    /// reads as empty, which no field is called.
    pub(super) fn next_key(&mut self, items: &mut Items) -> Result<Option<Cow<'a, [u8]>>, ClusterError> {
        match &mut self.form {
            Form::Json(cursor) => {
                if !cursor.next_item(&mut items.first, b'}')? {
                    return Ok(None);
                }
                let key = cursor.string()?;
                cursor.expect(b':')?;
                Ok(Some(into_bytes(key)))
            }
            Form::MsgPack(_) if !items.take_one() => Ok(None),
            Form::MsgPack(reader) => {
                if let Some(key) = reader.eat_short_string() {
                    return Ok(Some(Cow::Borrowed(key)));
                }
                let start = reader.clone();
                if let Token::String(key) = reader.next_token()? {
                    return Ok(Some(into_bytes(key)));
                }
                *reader = start;
                reader.skip()?;
                Ok(Some(Cow::Borrowed(b"")))
            }
        }
    }

    /// Passes null or `undefined`, if that is what comes next.
    pub(super) fn eat_nothing(&mut self) -> bool {
        match &mut self.form {
            Form::Json(cursor) => cursor.peek() == Some(b'n') && cursor.word("null").is_ok(),
            Form::MsgPack(reader) => reader.eat_nothing(),
        }
    }

    /// Says whether the next value is neither an array nor a map.
    pub(super) fn is_scalar(&self) -> bool {
        match &self.form {
            Form::Json(cursor) => !matches!(cursor.clone().peek(), Some(b'[' | b'{')),
            Form::MsgPack(reader) => {
                !matches!(reader.clone().next_token(), Ok(Token::Array(_) | Token::Map(_)))
            }
        }
    }

    /// Reads text; null counts as missing.
    pub(super) fn string(&mut self, field: &'static str) -> Result<Option<Cow<'a, str>>, ClusterError> {
        match self.scalar()? {
            Scalar::String(text) => Ok(Some(text)),
            Scalar::Nothing => Ok(None),
            _ => Err(ClusterError::FieldInvalid { field }),
        }
    }

    /// Reads a whole number that is not negative; null counts as missing.
    pub(super) fn integer(&mut self, field: &'static str) -> Result<Option<u64>, ClusterError> {
        match self.scalar()? {
            Scalar::Number(number) => match number.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(ClusterError::FieldInvalid { field }),
            },
            Scalar::Nothing => Ok(None),
            _ => Err(ClusterError::FieldInvalid { field }),
        }
    }

    /// Reads a boolean, `None` if it is anything else.
    pub(super) fn boolean(&mut self) -> Result<Option<bool>, ClusterError> {
        Ok(if let Scalar::Bool(value) = self.scalar()? { Some(value) } else { None })
    }

    /// Reads a number, `None` if it is anything else.
    pub(super) fn number(&mut self) -> Result<Option<f64>, ClusterError> {
        Ok(if let Scalar::Number(number) = self.scalar()? { Some(number.as_f64()) } else { None })
    }

    /// Reads the name of a room. Node applications may use numbers; here all names are text.
    pub(super) fn name(&mut self, field: &'static str) -> Result<Cow<'a, str>, ClusterError> {
        match self.scalar()? {
            Scalar::String(name) => Ok(name),
            Scalar::Number(name) => Ok(Cow::Owned(name.to_string())),
            // Left out, a name that nobody can have would turn "those in this room" into "everybody".
            _ => Err(ClusterError::FieldInvalid { field }),
        }
    }

    /// Reads a list of names; null is an empty one.
    pub(super) fn names(&mut self, field: &'static str) -> Result<Names<'a>, ClusterError> {
        if self.eat_nothing() {
            return Ok(Names::default());
        }
        let mut items = self.array(field)?;
        let mut names = Vec::new();
        while self.next_item(&mut items)? {
            names.push(self.name(field)?);
        }
        Ok(names.into())
    }

    /// Gives the position as text that was not looked at yet, or as MessagePack.
    pub(super) fn value(&mut self) -> Result<Value<'a, '_>, ClusterError> {
        Ok(match &mut self.form {
            Form::Json(cursor) => Value::Json(cursor.check_value(self.limits.depth())?),
            Form::MsgPack(reader) => Value::MsgPack(reader),
        })
    }

    fn scalar(&mut self) -> Result<Scalar<'a>, ClusterError> {
        match &mut self.form {
            Form::Json(cursor) => {
                if cursor.peek() == Some(b'"') {
                    return Ok(Scalar::String(cursor.string()?));
                }
                let text = cursor.check_value(self.limits.depth())?;
                Ok(match text.as_bytes().first() {
                    Some(b'n') => Scalar::Nothing,
                    Some(b't') => Scalar::Bool(true),
                    Some(b'f') => Scalar::Bool(false),
                    Some(b'-' | b'0'..=b'9') => Scalar::Number(Cursor::new(text, 0).number()?.into()),
                    _ => Scalar::Other,
                })
            }
            Form::MsgPack(reader) => {
                let start = reader.clone();
                if let Some(text) = reader.eat_short_string() {
                    return Ok(Scalar::String(String::from_utf8_lossy(text)));
                }
                Ok(match reader.next_token()? {
                    Token::String(text) => Scalar::String(text),
                    Token::Number(number) => Scalar::Number(number),
                    Token::Bool(value) => Scalar::Bool(value),
                    Token::Nil | Token::Undefined => Scalar::Nothing,
                    _ => {
                        *reader = start;
                        reader.skip()?;
                        Scalar::Other
                    }
                })
            }
        }
    }
}

impl fmt::Debug for Input<'_> {
    /// Prints the position only: a message can be long, and is nothing for a log.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Input").field("position", &self.position()).finish_non_exhaustive()
    }
}

impl Items {
    /// Gives how many items are left, in MessagePack.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    fn take_one(&mut self) -> bool {
        let some = self.left > 0;
        self.left -= usize::from(some);
        some
    }
}

/// A value of any type: the text of it, which is valid JSON, or the reader in front of it.
pub(super) enum Value<'a, 'r> {
    Json(&'a str),
    MsgPack(&'r mut Reader<'a>),
}

impl From<Syntax> for ClusterError {
    fn from(syntax: Syntax) -> Self {
        Malformed::from(syntax).into()
    }
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn check_length(message: &Bytes, limits: &Limits) -> Result<(), ClusterError> {
    let (seen, limit) = (message.len(), limits.max_cluster_message);
    if seen > limit { Err(ClusterError::MessageTooLong { seen, limit }) } else { Ok(()) }
}
