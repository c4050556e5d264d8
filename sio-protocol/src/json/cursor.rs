//! A cursor over JSON text that has been validated, for the readers that follow: the deserialiser for
//! arguments with attachments, and the translation to MessagePack.
//!
//! Text that is not valid after all (a packet can be built by hand) gives an error or a wrong value, never a
//! panic.

use std::borrow::Cow;

use super::number::Numeric;
use super::scan::find_special;
use super::validate::{code_unit, value_end};
use crate::error::Malformed;

/// A position in JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// The text does not go on as JSON would, from this byte on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// The offset of the byte.
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at a byte of `text`.
    pub(crate) fn new(text: &'a str, at: usize) -> Self {
        Self { text, at }
    }

    /// Gives the offset of the next byte.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Gives the text between two offsets.
    pub(crate) fn slice(&self, from: usize, to: usize) -> &'a str {
        self.text.get(from..to).unwrap_or_default()
    }

    /// Skips white space and gives the byte after it.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.as_bytes().get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Passes `byte` if it is the next one after white space.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Passes `byte`, which has to be the next one after white space.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Syntax> {
        if self.eat(byte) { Ok(()) } else { Err(self.error()) }
    }

    /// Passes what separates the items of an array or object: says whether there is one more item before
    /// `end`.
    pub(crate) fn next_item(&mut self, first: &mut bool, end: u8) -> Result<bool, Syntax> {
        if self.eat(end) {
            return Ok(false);
        }
        if !std::mem::take(first) {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// Passes a word such as `true`.
    pub(crate) fn word(&mut self, word: &str) -> Result<(), Syntax> {
        if !self.slice(self.at, self.text.len()).starts_with(word) {
            return Err(self.error());
        }
        self.at += word.len();
        Ok(())
    }

    /// Reads a string without copying it, unless it has escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        self.expect(b'"')?;
        let bytes = self.text.as_bytes();
        let mut start = self.at;
        let mut unescaped = String::new();
        loop {
            self.at = find_special(bytes, self.at);
            let plain = self.slice(start, self.at);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    if unescaped.is_empty() {
                        return Ok(Cow::Borrowed(plain));
                    }
                    unescaped.push_str(plain);
                    return Ok(Cow::Owned(unescaped));
                }
                Some(b'\\') => {
                    unescaped.push_str(plain);
                    unescaped.push(self.escape()?);
                    start = self.at;
                }
                _ => return Err(self.error()),
            }
        }
    }

    /// Reads a number.
    pub(crate) fn number(&mut self) -> Result<Numeric, Syntax> {
        self.skip_number().map(Numeric::parse)
    }

    fn skip_number(&mut self) -> Result<&'a str, Syntax> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..).unwrap_or_default();
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        if length == 0 {
            return Err(self.error());
        }
        self.at += length;
        Ok(self.slice(start, self.at))
    }

    /// Passes one value of any kind.
    pub(crate) fn skip(&mut self) -> Result<(), Syntax> {
        let mut depth = 0_usize;
        loop {
            match self.peek().ok_or(self.error())? {
                b'"' => self.skip_string()?,
                b'[' | b'{' => {
                    depth += 1;
                    self.at += 1;
                }
                b']' | b'}' => {
                    depth = depth.checked_sub(1).ok_or(self.error())?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                b'-' | b'0'..=b'9' => {
                    self.skip_number()?;
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => return Err(self.error()),
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Passes one value and checks its syntax, which has not been done before. Gives its text.
    pub(crate) fn check_value(&mut self, max_depth: usize) -> Result<&'a str, Malformed> {
        self.peek();
        let start = self.at;
        self.at = value_end(self.text, start, max_depth)?;
        Ok(self.slice(start, self.at))
    }

    /// Reads the placeholder of an attachment, if one stands here: its number.
    pub(crate) fn placeholder(&mut self) -> Option<usize> {
        self.peek()?;
        let rest = self.text.get(self.at..)?.strip_prefix(PLACEHOLDER)?;
        let (digits, _) = rest.split_once('}')?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let index = digits.parse().ok()?;
        self.at += PLACEHOLDER.len() + digits.len() + 1;
        Some(index)
    }

    /// Says that the text should not go on like this.
    pub(crate) fn error(&self) -> Syntax {
        Syntax { at: self.at }
    }

    fn skip_string(&mut self) -> Result<(), Syntax> {
        self.at += 1;
        let bytes = self.text.as_bytes();
        loop {
            self.at = find_special(bytes, self.at);
            match bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.at += 2,
                _ => return Err(self.error()),
            }
        }
    }

    /// Reads one escape. Half a surrogate pair reads as U+FFFD.
    fn escape(&mut self) -> Result<char, Syntax> {
        let bytes = self.text.as_bytes();
        let character = match bytes.get(self.at + 1) {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(&byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'u') => {
                let unit = code_unit(bytes, self.at).ok_or(self.error())?;
                self.at += 6;
                if let Some(character) = char::from_u32(unit.into()) {
                    return Ok(character);
                }
                let pair = [unit, code_unit(bytes, self.at).unwrap_or(0)];
                let character = char::decode_utf16(pair).next().and_then(Result::ok);
                self.at += if character.is_some() { 6 } else { 0 };
                return Ok(character.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => return Err(self.error()),
        };
        self.at += 2;
        Ok(character)
    }
}

/// Says whether `text` holds a placeholder in the one form in which packets carry them.
pub(crate) fn find_placeholder(text: &str) -> Option<usize> {
    text.find(PLACEHOLDER)
}

/// Says whether some object in `text`, which is JSON, has the key `key`, however it is spelled.
pub(crate) fn has_key(text: &str, key: &str) -> bool {
    // Nearly always this is all there is to look at.
    if !text.contains(key) && !text.contains('\\') {
        return false;
    }
    let mut cursor = Cursor::new(text, 0);
    while let Some(byte) = cursor.peek() {
        if byte != b'"' {
            cursor.eat(byte);
            continue;
        }
        match cursor.string() {
            Ok(string) if string == key && cursor.peek() == Some(b':') => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
    }
    false
}

/// Finds the placeholders in `text`, each with its offset and its number. A string cannot hold one: it would
/// have to escape the quotes.
pub(crate) fn placeholders(text: &str) -> impl Iterator<Item = (std::ops::Range<usize>, usize)> {
    text.match_indices(PLACEHOLDER).filter_map(move |(at, _)| {
        let mut cursor = Cursor::new(text, at);
        let index = cursor.placeholder()?;
        Some((at..cursor.at(), index))
    })
}

/// How every placeholder starts; its number and a brace follow.
const PLACEHOLDER: &str = "{\"_placeholder\":true,\"num\":";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_unescape() {
        for (text, string) in [
            (r#""""#, ""),
            (r#" "plain é""#, "plain é"),
            (r#""\"\\\/\b\f\n\r\t\u0041""#, "\"\\/\u{8}\u{c}\n\r\tA"),
            (r#""\ud83d\ude00\ud83d""#, "😀\u{fffd}"),
            (r#""\ude00x\ud83d\u0041""#, "\u{fffd}x\u{fffd}A"),
        ] {
            assert_eq!(Cursor::new(text, 0).string().as_deref(), Ok(string));
        }
        for text in ["", "x", "\"", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\n\""] {
            assert!(Cursor::new(text, 0).string().is_err(), "{text}");
        }
    }

    #[test]
    fn skip_ends_where_the_value_ends() {
        for value in
            ["1", "-1.5e3", "\"a\\\"]\"", "true", "null", "[]", "[1,[{\"a\":\"]\"}],{}]", "{\"a\":[1,2]}"]
        {
            let text = format!(" {value} ,x");
            let mut cursor = Cursor::new(&text, 0);
            assert_eq!(cursor.skip(), Ok(()));
            assert_eq!(cursor.at(), value.len() + 1);
        }
        for text in ["", "]", "[", "[1", "{\"a\":", "tru", "x", ",", "\"a", "\"a\\"] {
            assert!(Cursor::new(text, 0).skip().is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_exact_form_is_a_placeholder() {
        assert_eq!(Cursor::new(" {\"_placeholder\":true,\"num\":12}", 0).placeholder(), Some(12));
        for text in [
            "{ \"_placeholder\":true,\"num\":1}",
            "{\"_placeholder\":true,\"num\":}",
            "{\"_placeholder\":true,\"num\":1,\"a\":2}",
            "{\"_placeholder\":true,\"num\":-1}",
            "{\"_placeholder\":false,\"num\":1}",
            "{\"_placeholder\":true,\"num\":1",
            "{\"_placeholder\":true,\"num\":99999999999999999999999}",
        ] {
            assert_eq!(Cursor::new(text, 0).placeholder(), None, "{text}");
        }
    }
}
