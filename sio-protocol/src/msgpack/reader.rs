//! The pull reader: one token of a MessagePack value at a time.
//!
//! It accepts all dialects, also where their peers would misread each other: the extension type 0 of
//! `notepack.io` 2 as date, `undefined` or binary value, the timestamp extension as date.

use std::borrow::Cow;

use bytes::Bytes;
use rmp::Marker;

use crate::error::Malformed;
use crate::socketio::Number;

/// Reads tokens from a message.
///
/// ```
/// use sio_protocol::msgpack::{Reader, Token};
///
/// let message = vec![0x92, 0x01, 0xa2, b'h', b'i'].into();
/// let mut reader = Reader::new(&message);
/// assert_eq!(reader.next_token()?, Token::Array(2));
/// assert_eq!(reader.next_token()?, Token::Number(1.into()));
/// assert_eq!(reader.next_token()?, Token::String("hi".into()));
/// reader.finish()?;
/// # Ok::<(), sio_protocol::Malformed>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    message: &'a Bytes,
    at: usize,
}

/// Is a scalar, or the start of an array or map.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Token<'a> {
    /// Null.
    Nil,
    /// JavaScript's `undefined`, which only `notepack.io` 2 tells from null.
    Undefined,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text. Bytes that are not UTF-8, such as the half surrogate pairs that JavaScript can write, are
    /// replaced.
    String(Cow<'a, str>),
    /// A binary value.
    Binary(&'a [u8]),
    /// A date in milliseconds since 1970, `None` if it is beyond what JavaScript has dates for.
    Date(Option<i64>),
    /// An extension of another type.
    Extension(i8, &'a [u8]),
    /// An array: so many values follow. It is certain that the message has at least as many more bytes.
    Array(usize),
    /// A map: so many keys, each followed by its value. The message has at least twice as many more bytes.
    Map(usize),
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of a message.
    pub fn new(message: &'a Bytes) -> Self {
        Self { message, at: 0 }
    }

    /// Reads the next token.
    ///
    /// # Errors
    ///
    /// If the message ends too early, or has the one marker that MessagePack does not use.
    pub fn next_token(&mut self) -> Result<Token<'a>, Malformed> {
        let marker = Marker::from_u8(self.array::<1>()?[0]);
        Ok(match marker {
            Marker::Null => Token::Nil,
            Marker::False => Token::Bool(false),
            Marker::True => Token::Bool(true),
            Marker::FixPos(value) => Token::Number(Number::from(u64::from(value))),
            Marker::FixNeg(value) => Token::Number(Number::from(i64::from(value))),
            Marker::U8 => Token::Number(Number::from(u64::from(u8::from_be_bytes(self.array()?)))),
            Marker::U16 => Token::Number(Number::from(u64::from(u16::from_be_bytes(self.array()?)))),
            Marker::U32 => Token::Number(Number::from(u64::from(u32::from_be_bytes(self.array()?)))),
            Marker::U64 => Token::Number(Number::from(u64::from_be_bytes(self.array()?))),
            Marker::I8 => Token::Number(Number::from(i64::from(i8::from_be_bytes(self.array()?)))),
            Marker::I16 => Token::Number(Number::from(i64::from(i16::from_be_bytes(self.array()?)))),
            Marker::I32 => Token::Number(Number::from(i64::from(i32::from_be_bytes(self.array()?)))),
            Marker::I64 => Token::Number(Number::from(i64::from_be_bytes(self.array()?))),
            Marker::F32 => Token::Number(Number::from(f64::from(f32::from_be_bytes(self.array()?)))),
            Marker::F64 => Token::Number(Number::from(f64::from_be_bytes(self.array()?))),
            Marker::FixStr(length) => self.string(length.into())?,
            Marker::Str8 => self.length8().and_then(|length| self.string(length))?,
            Marker::Str16 => self.length16().and_then(|length| self.string(length))?,
            Marker::Str32 => self.length32().and_then(|length| self.string(length))?,
            Marker::Bin8 => Token::Binary(self.length8().and_then(|length| self.take(length))?),
            Marker::Bin16 => Token::Binary(self.length16().and_then(|length| self.take(length))?),
            Marker::Bin32 => Token::Binary(self.length32().and_then(|length| self.take(length))?),
            Marker::FixArray(count) => self.items(count.into(), 1).map(Token::Array)?,
            Marker::Array16 => self.length16().and_then(|count| self.items(count, 1)).map(Token::Array)?,
            Marker::Array32 => self.length32().and_then(|count| self.items(count, 1)).map(Token::Array)?,
            Marker::FixMap(count) => self.items(count.into(), 2).map(Token::Map)?,
            Marker::Map16 => self.length16().and_then(|count| self.items(count, 2)).map(Token::Map)?,
            Marker::Map32 => self.length32().and_then(|count| self.items(count, 2)).map(Token::Map)?,
            Marker::FixExt1 => self.extension(1, true)?,
            Marker::FixExt2 => self.extension(2, true)?,
            Marker::FixExt4 => self.extension(4, true)?,
            Marker::FixExt8 => self.extension(8, true)?,
            Marker::FixExt16 => self.extension(16, true)?,
            Marker::Ext8 => self.length8().and_then(|length| self.extension(length, false))?,
            Marker::Ext16 => self.length16().and_then(|length| self.extension(length, false))?,
            Marker::Ext32 => self.length32().and_then(|length| self.extension(length, false))?,
            Marker::Reserved => return Err(Malformed::MsgPackReservedMarker),
        })
    }

    /// Passes one value with everything in it.
    ///
    /// # Errors
    ///
    /// If the value is malformed or ends too early.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        let mut values = 1_usize;
        while values > 0 {
            values -= 1;
            values = values.saturating_add(match self.next_token()? {
                Token::Array(count) => count,
                Token::Map(count) => 2 * count,
                _ => 0,
            });
            // Each of them takes a byte at least.
            if values > self.remaining() {
                return Err(Malformed::MsgPackTruncated);
            }
        }
        Ok(())
    }

    /// Checks that nothing follows.
    ///
    /// # Errors
    ///
    /// If there are bytes left.
    pub fn finish(&self) -> Result<(), Malformed> {
        match self.remaining() {
            0 => Ok(()),
            count => Err(Malformed::MsgPackTrailingBytes { count }),
        }
    }

    /// Gives the number of bytes that were read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Gives a binary value that was just read as bytes of their own. Large ones share the memory of the
    /// message; small ones are copied, so as not to keep a large message alive for the sake of a few bytes.
    pub(super) fn share(&self, binary: &[u8]) -> Bytes {
        if binary.len() >= self.message.len() / 2 {
            self.message.slice(self.at - binary.len()..self.at)
        } else {
            Bytes::copy_from_slice(binary)
        }
    }

    fn string(&mut self, length: usize) -> Result<Token<'a>, Malformed> {
        let bytes = self.take(length)?;
        Ok(Token::String(match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(bytes),
        }))
    }

    fn extension(&mut self, length: usize, fixed: bool) -> Result<Token<'a>, Malformed> {
        let kind = i8::from_be_bytes(self.array()?);
        let data = self.take(length)?;
        Ok(match (kind, data.len()) {
            (NOTEPACK, 1) if fixed => Token::Undefined,
            (NOTEPACK, 8) if fixed => Token::Date(valid_date(Some(i64::from_be_bytes(fixed_bytes(data))))),
            (NOTEPACK, _) if !fixed => Token::Binary(data),
            (TIMESTAMP, 4) => Token::Date(timestamp(u32::from_be_bytes(fixed_bytes(data)).into(), 0)),
            (TIMESTAMP, 8) => {
                let packed = u64::from_be_bytes(fixed_bytes(data));
                Token::Date(timestamp((packed & SECONDS_34) as i64, (packed >> 34) as u32))
            }
            (TIMESTAMP, 12) => {
                let (nanoseconds, seconds) = data.split_at(4);
                Token::Date(timestamp(
                    i64::from_be_bytes(fixed_bytes(seconds)),
                    u32::from_be_bytes(fixed_bytes(nanoseconds)),
                ))
            }
            _ => Token::Extension(kind, data),
        })
    }

    /// Checks a count against the bytes that are left, of which every item takes at least `least`.
    fn items(&self, count: usize, least: usize) -> Result<usize, Malformed> {
        if count > self.remaining() / least { Err(Malformed::MsgPackTruncated) } else { Ok(count) }
    }

    fn length8(&mut self) -> Result<usize, Malformed> {
        Ok(u8::from_be_bytes(self.array()?).into())
    }

    fn length16(&mut self) -> Result<usize, Malformed> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    fn length32(&mut self) -> Result<usize, Malformed> {
        usize::try_from(u32::from_be_bytes(self.array()?)).map_err(|_| Malformed::MsgPackTruncated)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N).map(fixed_bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let taken = self
            .message
            .get(self.at..)
            .and_then(|rest| rest.get(..length))
            .ok_or(Malformed::MsgPackTruncated)?;
        self.at += length;
        Ok(taken)
    }

    fn remaining(&self) -> usize {
        self.message.len() - self.at
    }
}

/// Copies bytes whose number is known.
fn fixed_bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// Makes milliseconds, rounded down, of a timestamp.
fn timestamp(seconds: i64, nanoseconds: u32) -> Option<i64> {
    let milliseconds = seconds.checked_mul(1_000)?.checked_add((nanoseconds / 1_000_000).into());
    valid_date(milliseconds)
}

fn valid_date(milliseconds: Option<i64>) -> Option<i64> {
    milliseconds.filter(|milliseconds| milliseconds.unsigned_abs() <= LAST_DATE)
}

/// The extension type that `notepack.io` 2 uses for all it needs.
pub(super) const NOTEPACK: i8 = 0;
/// The extension type of the MessagePack format for dates.
pub(super) const TIMESTAMP: i8 = -1;
/// The seconds of a timestamp in 8 bytes; the nanoseconds are above them.
const SECONDS_34: u64 = (1 << 34) - 1;
/// How far, in milliseconds, dates of JavaScript reach from 1970 in both directions (ECMA-262, "Time
/// Values").
const LAST_DATE: u64 = 8_640_000_000_000_000;
