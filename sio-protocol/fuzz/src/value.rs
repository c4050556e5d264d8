//! Values made comparable, after a way through a format that keeps less than Rust does.

use sio_protocol::socketio::{Number, Value};

/// Gives what JavaScript makes of a value that goes through JSON: all numbers are doubles, and what is not
/// finite is null.
pub(crate) fn through_javascript(value: &Value) -> Value {
    match value {
        Value::Number(number) if !number.as_f64().is_finite() => Value::Null,
        Value::Number(number) => Number::from(number.as_f64()).into(),
        Value::Array(items) => Value::Array(items.iter().map(through_javascript).collect()),
        Value::Object(entries) => Value::Object(
            entries.iter().map(|(key, value)| (key.clone(), through_javascript(value))).collect(),
        ),
        other => other.clone(),
    }
}

/// The same for several values.
pub(crate) fn all_through_javascript(values: &[Value]) -> Vec<Value> {
    values.iter().map(through_javascript).collect()
}

/// Counts the bytes of all binary values.
pub(crate) fn binary_len(value: &Value) -> usize {
    match value {
        Value::Binary(bytes) => bytes.len(),
        Value::Array(items) => items.iter().map(binary_len).sum(),
        Value::Object(entries) => entries.iter().map(|(_, value)| binary_len(value)).sum(),
        _ => 0,
    }
}
