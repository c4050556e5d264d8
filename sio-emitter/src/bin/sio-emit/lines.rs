//! One line of the input: an event, and for whom it is.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use sio_protocol::socketio::Value;

use crate::values::{bytes_in, json_error};

/// What a line says. What it leaves out is as the options say. Leaving out is not to say null: a program that makes lines
/// of its data writes that when it does not find for whom something is, which must not make it everybody's.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub(crate) event: String,
    #[serde(default)]
    pub(crate) args: Vec<Value>,
    #[serde(default, deserialize_with = "some_rooms")]
    pub(crate) to: Option<Rooms>,
    #[serde(default, deserialize_with = "not_null")]
    pub(crate) except: Option<Rooms>,
    #[serde(default, deserialize_with = "not_null")]
    pub(crate) nsp: Option<String>,
    pub(crate) volatile: Option<bool>,
    pub(crate) compress: Option<bool>,
}

/// One room or several.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged, expecting = "\"to\" and \"except\" are a room or a list of rooms")]
pub(crate) enum Rooms {
    One(String),
    Several(Vec<String>),
}

impl Rooms {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(room) => std::slice::from_ref(room),
            Self::Several(rooms) => rooms,
        }
    }
}

impl Line {
    /// Reads a line.
    pub(crate) fn read(line: &[u8], binary: bool) -> Result<Self, String> {
        let text = std::str::from_utf8(line)
            .map_err(|error| format!("not UTF-8 from byte {} on", error.valid_up_to() + 1))?;
        if !text.trim_start().starts_with('{') {
            // serde would take an array as well, with the fields in the order of the struct.
            return Err("not an object".to_owned());
        }
        let mut line: Self = serde_json::from_str(text).map_err(|error| json_error(&error))?;
        if binary {
            line.args.iter_mut().try_for_each(bytes_in)?;
        }
        Ok(line)
    }
}

fn not_null<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

fn some_rooms<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Rooms>, D::Error> {
    let rooms = Rooms::deserialize(value)?;
    if rooms.as_slice().is_empty() {
        return Err(D::Error::custom("\"to\" names no room; left out, it is as the options say"));
    }
    Ok(Some(rooms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(line: &str) -> String {
        Line::read(line.as_bytes(), true).unwrap_err()
    }

    #[test]
    fn a_line_says_what_and_for_whom() {
        let text = r#"{"nsp":"/chat","to":["a","b"],"except":"c","event":"e","args":[1,"x",[2]],"volatile":true,"compress":null}"#;
        let line = Line::read(text.as_bytes(), false).unwrap();
        assert_eq!((line.event.as_str(), line.nsp.as_deref()), ("e", Some("/chat")));
        assert_eq!(line.to.unwrap().as_slice(), ["a", "b"]);
        assert_eq!(line.except.unwrap().as_slice(), ["c"]);
        assert_eq!((line.args.len(), line.volatile, line.compress), (3, Some(true), None));
        let line = Line::read(b" {\"event\":\"\"}\r", false).unwrap();
        assert_eq!((line.event.as_str(), line.args.len(), line.to), ("", 0, None));
    }

    #[test]
    fn a_line_that_is_for_nobody_is_not_for_everybody() {
        for line in
            [r#"{"event":"e","to":null}"#, r#"{"event":"e","to":[null]}"#, r#"{"event":"e","except":null}"#]
        {
            assert!(problem(line).contains("a room or a list of rooms"), "{line}: {}", problem(line));
        }
        assert!(problem(r#"{"event":"e","to":[]}"#).starts_with("\"to\" names no room"));
        assert!(problem(r#"{"event":"e","nsp":null}"#).starts_with("invalid type: null"));
        let line = Line::read(br#"{"event":"e","except":[]}"#, false).unwrap();
        assert_eq!((line.to, line.except), (None, Some(Rooms::Several(Vec::new()))));
    }

    #[test]
    fn a_line_that_is_wrong_says_where() {
        assert_eq!(problem("{}"), "missing field `event` at column 2");
        assert_eq!(problem(r#"{"event":1}"#), "invalid type: integer `1`, expected a string at column 10");
        assert_eq!(problem("{\"event\":\"e\""), "EOF while parsing an object at column 12");
        assert_eq!(problem(r#"{"event":"e"} {"event":"e"}"#), "trailing characters at column 15");
        assert!(problem(r#"{"event":"e","rooms":["a"]}"#).starts_with("unknown field `rooms`"));
        assert!(problem(r#"{"event":"e","to":1}"#).contains("a room or a list of rooms"));
        assert!(problem(r#"{"event":"e","args":{}}"#).starts_with("invalid type: map, expected a sequence"));
        assert!(problem(r#"{"event":"e","event":"f"}"#).starts_with("duplicate field `event`"));
        for line in [r#"["e"]"#, "\"e\"", "event", ""] {
            assert_eq!(problem(line), "not an object");
        }
        assert!(problem(r#"{"event":"e","args":[{"$binary":"?"}]}"#).starts_with("$binary is not base64"));
        assert_eq!(Line::read(b"{\"event\":\"\xff\"}", false).unwrap_err(), "not UTF-8 from byte 11 on");
    }
}
