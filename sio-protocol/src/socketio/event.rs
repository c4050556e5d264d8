//! The rules for event names: where a name stands, how it reads, and which names are reserved.

use std::borrow::Cow;

use crate::json::{Cursor, write_f64};

/// Says whether a name is reserved for what client and server raise themselves, so that it can neither be
/// sent nor received: `connect`, `connect_error`, `disconnect`, `disconnecting`, `newListener`,
/// `removeListener`.
///
/// ```
/// assert!(sio_protocol::socketio::is_reserved_event("disconnect"));
/// assert!(!sio_protocol::socketio::is_reserved_event("error"));
/// ```
pub fn is_reserved_event(name: &str) -> bool {
    matches!(
        name,
        "connect" | "connect_error" | "disconnect" | "disconnecting" | "newListener" | "removeListener"
    )
}

/// Where the name stands in the data of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NameSpan {
    /// Where its text starts, behind the quote, or 0 if it has to be read: it is a number or has escapes.
    pub(crate) start: usize,
    /// Where it ends, behind the quote; 0 if there is no name.
    pub(crate) end: usize,
}

impl NameSpan {
    /// Looks for the name in the data of an event.
    pub(super) fn find(data: &str) -> Self {
        let mut cursor = Cursor::new(data, 0);
        if !cursor.eat(b'[') {
            return Self::default();
        }
        let quoted = match cursor.peek() {
            Some(b'"') => true,
            Some(b'-' | b'0'..=b'9') => false,
            _ => return Self::default(),
        };
        let start = cursor.at() + 1;
        if cursor.skip().is_err() {
            return Self::default();
        }
        let end = cursor.at();
        let is_plain = quoted && data.get(start..end).is_some_and(|text| !text.contains('\\'));
        Self { start: if is_plain { start } else { 0 }, end }
    }

    /// Reads the name.
    pub(super) fn name(self, data: &str) -> Option<Cow<'_, str>> {
        if self.start > 0 {
            return data.get(self.start..self.end - 1).map(Cow::Borrowed);
        }
        let literal = data.get(..self.end)?.strip_prefix('[')?.trim_ascii_start();
        if literal.starts_with('"') {
            return Cursor::new(literal, 0).string().ok();
        }
        if literal.len() <= SAFE_DIGITS
            && !literal.starts_with('0')
            && literal.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Some(Cow::Borrowed(literal));
        }
        let mut printed = String::new();
        write_f64(&mut printed, Cursor::new(literal, 0).number().ok()?.to_f64());
        // The one place where JavaScript prints an infinity: it becomes a property name, not JSON.
        Some(Cow::Owned(match printed.as_str() {
            "null" if literal.starts_with('-') => "-Infinity".to_owned(),
            "null" => "Infinity".to_owned(),
            _ => printed,
        }))
    }
}

/// Integers of so many digits are exact as doubles, and print as they were written.
const SAFE_DIGITS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(data: &str) -> Option<Cow<'_, str>> {
        NameSpan::find(data).name(data)
    }

    #[test]
    fn names_read_as_javascript_reads_them() {
        for (data, expected) in [
            (r#"["a"]"#, "a"),
            (r#"[ "a\"\u00e9\\" ,1]"#, "a\"é\\"),
            (r#"[""]"#, ""),
            ("[1]", "1"),
            ("[0]", "0"),
            ("[12345678901234567890]", "12345678901234567000"),
            ("[-1.50,2]", "-1.5"),
            ("[1e21]", "1e+21"),
            ("[-0]", "0"),
            ("[1e400]", "Infinity"),
            ("[-1e400]", "-Infinity"),
        ] {
            assert_eq!(name_of(data).as_deref(), Some(expected), "{data}");
        }
        for data in ["", "[]", "[null]", "{}", "[", "[\"a", "1"] {
            assert_eq!(name_of(data), None, "{data}");
        }
    }

    #[test]
    fn plain_names_are_borrowed() {
        assert!(matches!(name_of("[\"message\",1]"), Some(Cow::Borrowed("message"))));
    }
}
