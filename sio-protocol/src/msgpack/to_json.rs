//! From MessagePack to JSON text and attachments, token by token.
//!
//! What JSON cannot say becomes what `JSON.stringify` makes of it: a date its text, NaN and the infinities
//! null, `undefined` null in an array and nothing in an object. Binary values become attachments.

use bytes::Bytes;

use super::date::iso_string;
use super::reader::{Reader, Token};
use crate::error::Malformed;
use crate::json::{Sink, write_placeholder, write_string};
use crate::limits::Limits;

/// Reads one value and appends it to `json`, its binary values to `attachments`. The placeholders in the text
/// count from the first attachment in the list, so that several values can share one.
///
/// # Errors
///
/// If the value is malformed, or beyond `limits`. What was appended until then stays.
pub fn read_json(
    reader: &mut Reader<'_>,
    limits: &Limits,
    json: &mut String,
    attachments: &mut Vec<Bytes>,
) -> Result<(), Malformed> {
    ToJson { reader, json, attachments, limits, depth: 0 }.value().map(|_| ())
}

struct ToJson<'t, 'a> {
    reader: &'t mut Reader<'a>,
    json: &'t mut String,
    attachments: &'t mut Vec<Bytes>,
    limits: &'t Limits,
    depth: usize,
}

impl ToJson<'_, '_> {
    /// Translates one value, and says whether it was more than `undefined`, which is written as null.
    fn value(&mut self) -> Result<bool, Malformed> {
        let token = self.reader.next_token()?;
        match token {
            Token::Nil | Token::Undefined | Token::Date(None) => self.json.push_str("null"),
            Token::Bool(value) => self.json.push_str(if value { "true" } else { "false" }),
            Token::Number(number) => number.numeric().write(self.json),
            Token::String(ref text) => write_string(self.json, text),
            Token::Binary(bytes) => self.binary(bytes)?,
            Token::Date(Some(milliseconds)) => write_string(self.json, &iso_string(milliseconds)),
            // notepack.io gives an array to the application.
            Token::Extension(kind, bytes) => {
                self.json.push('[');
                crate::json::write_i64(self.json, kind.into());
                self.json.push(',');
                self.binary(bytes)?;
                self.json.push(']');
            }
            Token::Array(count) => self.nested(|this| this.array(count))?,
            Token::Map(count) => self.nested(|this| this.map(count))?,
        }
        Ok(token != Token::Undefined)
    }

    fn nested(&mut self, body: impl FnOnce(&mut Self) -> Result<(), Malformed>) -> Result<(), Malformed> {
        let limit = self.limits.depth();
        if self.depth >= limit {
            return Err(Malformed::NestingExceeded { limit });
        }
        self.depth += 1;
        body(self)?;
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, count: usize) -> Result<(), Malformed> {
        self.json.push('[');
        for index in 0..count {
            if index > 0 {
                self.json.push(',');
            }
            self.value()?;
        }
        self.json.push(']');
        Ok(())
    }

    fn map(&mut self, count: usize) -> Result<(), Malformed> {
        self.json.push('{');
        let start = self.json.len();
        for _ in 0..count {
            let entry = self.json.len();
            if entry > start {
                self.json.push(',');
            }
            let key_start = self.json.len();
            self.key()?;
            // In MessagePack such a map is data and nothing else. White space keeps it from being taken for
            // the placeholder of an attachment, which is only ever written without.
            if key_start == start && self.json[start..] == *"\"_placeholder\"" {
                self.json.insert(start, ' ');
            }
            self.json.push(':');
            if !self.value()? {
                self.json.truncate(entry);
            }
        }
        self.json.push('}');
        Ok(())
    }

    /// Writes a key as JavaScript would: everything is made text.
    fn key(&mut self) -> Result<(), Malformed> {
        match self.reader.next_token()? {
            Token::String(text) => write_string(self.json, &text),
            Token::Number(number) => {
                self.json.ascii(b'"');
                match number.as_f64() {
                    value if value.is_finite() => number.numeric().write(self.json),
                    value if value.is_nan() => self.json.push_str("NaN"),
                    value => self.json.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" }),
                }
                self.json.ascii(b'"');
            }
            Token::Bool(value) => self.json.push_str(if value { "\"true\"" } else { "\"false\"" }),
            Token::Nil => self.json.push_str("\"null\""),
            Token::Undefined => self.json.push_str("\"undefined\""),
            Token::Binary(bytes) => write_string(self.json, &String::from_utf8_lossy(bytes)),
            Token::Date(_) | Token::Extension(..) | Token::Array(_) | Token::Map(_) => {
                return Err(Malformed::MsgPackKeyInvalid);
            }
        }
        Ok(())
    }

    fn binary(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let limit = self.limits.max_inline_attachments;
        if self.attachments.len() >= limit {
            return Err(Malformed::AttachmentsExceeded { seen: self.attachments.len() as u64 + 1, limit });
        }
        write_placeholder(self.json, self.attachments.len());
        self.attachments.push(self.reader.share(bytes));
        Ok(())
    }
}
