//! The lines: commands in, answers and notes out, and values with binary in both.

use std::fmt::Display;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use sio_server::protocol::socketio::Number;
use sio_server::{Value, Values};

use crate::commands::Command;

/// A line of the standard input.
#[derive(Deserialize)]
pub(crate) struct Line {
    pub(crate) id: u64,
    pub(crate) nsp: String,
    /// Read later: what is wrong with it is the answer.
    #[serde(flatten)]
    pub(crate) command: serde_json::Value,
}

impl Line {
    /// Reads a command.
    pub(crate) fn command(value: serde_json::Value) -> Result<Command, String> {
        serde_json::from_value(value).map_err(|error| format!("unsupported: {error}"))
    }
}

/// Arguments as they are in a line.
#[derive(Debug, Default)]
pub(crate) struct Packed(pub(crate) Values);

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Vec::<serde_json::Value>::deserialize(deserializer)?;
        let values = values.into_iter().map(unpack).collect::<Result<_, _>>();
        Ok(Self(Values(values.map_err(serde::de::Error::custom)?)))
    }
}

/// `{"$bin": BASE64}` becomes bytes. There is no value for a date.
fn unpack(value: serde_json::Value) -> Result<Value, String> {
    Ok(match value {
        serde_json::Value::Array(items) => {
            Value::Array(items.into_iter().map(unpack).collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(entries) => {
            if entries.contains_key("$date") {
                return Err("a date".to_owned());
            }
            if let Some(text) = entries.get("$bin").and_then(|text| text.as_str()) {
                return Ok(Value::Binary(STANDARD.decode(text).map_err(|error| error.to_string())?.into()));
            }
            let entries = entries.into_iter().map(|(key, value)| Ok((key, unpack(value)?)));
            Value::Object(entries.collect::<Result<_, String>>()?)
        }
        other => other.into(),
    })
}

/// The other way round.
pub(crate) fn pack(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => json!(value),
        Value::Number(number) => json!(number_of(*number)),
        Value::String(text) => json!(text),
        Value::Binary(bytes) => json!({ "$bin": STANDARD.encode(bytes) }),
        Value::Array(items) => items.iter().map(pack).collect(),
        Value::Object(entries) => {
            serde_json::Value::Object(entries.iter().map(|(key, value)| (key.clone(), pack(value))).collect())
        }
        _ => serde_json::Value::Null,
    }
}

fn number_of(number: Number) -> serde_json::Value {
    match (number.as_u64(), number.as_i64()) {
        (Some(value), _) => json!(value),
        (None, Some(value)) => json!(value),
        (None, None) => json!(number.as_f64()),
    }
}

pub(crate) fn listening(address: impl Display) {
    say(&json!({ "listening": format!("http://{address}") }));
}

pub(crate) fn note(text: &str) {
    say(&json!({ "note": text }));
}

pub(crate) fn answer(id: u64, result: Result<serde_json::Value, String>) {
    say(&match result {
        Ok(value) => json!({ "id": id, "ok": value }),
        Err(error) => json!({ "id": id, "error": error }),
    });
}

fn say(line: &serde_json::Value) {
    // One write for a whole line: tasks on other threads write, too. If nobody reads any more, the end of the input
    // will be next.
    let _ = io::stdout().write_all(format!("{line}\n").as_bytes());
}
