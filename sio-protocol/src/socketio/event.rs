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

/// Finds the end of the name in the data of an event, 0 if there is no name.
pub(super) fn name_end(data: &str) -> usize {
    let mut cursor = Cursor::new(data, 0);
    if !cursor.eat(b'[') || !matches!(cursor.peek(), Some(b'"' | b'-' | b'0'..=b'9')) {
        return 0;
    }
    cursor.skip().map_or(0, |()| cursor.at())
}

/// Reads the name from the data of an event, cut off after the name.
pub(super) fn name(head: &str) -> Option<Cow<'_, str>> {
    let literal = head.strip_prefix('[')?.trim_ascii_start();
    if let Some(name) = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        if !name.contains('\\') {
            return Some(Cow::Borrowed(name));
        }
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

/// Integers of so many digits are exact as doubles, and print as they were written.
const SAFE_DIGITS: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn name_of(data: &str) -> Option<Cow<'_, str>> {
        name(&data[..name_end(data)])
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
