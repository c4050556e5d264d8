//! JSON values on their way through: as they came, but for what is asked to become bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeTuple as _, Serializer};
use sio_protocol::socketio::Value;

/// Several arguments in a list. The library takes a tuple for that, and a list for one argument.
pub(crate) struct Spread<'a>(pub(crate) &'a [Value]);

impl Serialize for Spread<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

/// Reads an argument of the command line.
pub(crate) fn read_argument(text: &str, number: usize, binary: bool) -> Result<Value, String> {
    let mut value: Value = serde_json::from_str(text).map_err(|error| {
        let shown: String = text.chars().take(40).collect();
        let more = if shown.len() < text.len() { ".." } else { "" };
        let problem = json_error(&error);
        format!("argument {number} is not JSON, {problem}: {shown}{more}\n{HINT}")
    })?;
    if binary {
        bytes_in(&mut value).map_err(|problem| format!("argument {number}: {problem}"))?;
    }
    Ok(value)
}

/// What is wrong with JSON that is on one line.
pub(crate) fn json_error(error: &serde_json::Error) -> String {
    error.to_string().replacen(" at line 1 column ", " at column ", 1)
}

/// Replaces every `{"$binary":"BASE64"}` by the bytes.
pub(crate) fn bytes_in(value: &mut Value) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter_mut().try_for_each(bytes_in)?,
        Value::Object(entries) => {
            if let [(key, Value::String(text))] = &entries[..]
                && key == KEY
            {
                let bytes = STANDARD.decode(text).map_err(|error| format!("{KEY} is not base64: {error}"))?;
                *value = Value::Binary(bytes.into());
                return Ok(());
            }
            entries.iter_mut().try_for_each(|(_, value)| bytes_in(value))?;
        }
        _ => {}
    }
    Ok(())
}

const KEY: &str = "$binary";
const HINT: &str = "Text wants the quotes of JSON inside those of the shell, or --text.";

#[cfg(test)]
mod tests {
    use sio_protocol::socketio::write_event;

    use super::*;

    /// What goes out for one argument.
    fn sent(text: &str, binary: bool) -> (String, usize) {
        let (mut data, mut attachments) = (Vec::new(), Vec::new());
        let args = [read_argument(text, 1, binary).unwrap()];
        write_event(&mut data, &mut attachments, "e", &Spread(&args)).unwrap();
        let data = String::from_utf8(data).unwrap();
        let value = data.strip_prefix(r#"["e","#).unwrap().strip_suffix(']').unwrap();
        (value.to_owned(), attachments.len())
    }

    #[test]
    fn values_go_out_as_javascript_prints_them() {
        for (text, expected) in [
            ("18446744073709551615", "18446744073709551615"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9007199254740993", "9007199254740993"),
            ("123456789012345678901234567890", "1.2345678901234568e+29"),
            ("100000000000000000000", "100000000000000000000"),
            ("1.0", "1"),
            ("-0", "0"),
            ("1e21", "1e+21"),
            ("0.1", "0.1"),
            ("0.30000000000000004", "0.30000000000000004"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("4.35", "4.35"),
            (r#"{"b":1,"a":[null,true,{}],"ü":"\u00e9\n"}"#, r#"{"b":1,"a":[null,true,{}],"ü":"é\n"}"#),
            ("[[1],[]]", "[[1],[]]"),
            (r#"{"$binary":"AQI="}"#, r#"{"$binary":"AQI="}"#),
        ] {
            assert_eq!(sent(text, false), (expected.to_owned(), 0), "{text}");
        }
    }

    #[test]
    fn bytes_are_found_wherever_they_are() {
        let place = |n: usize| format!(r#"{{"_placeholder":true,"num":{n}}}"#);
        assert_eq!(sent(r#"{"$binary":"AQI="}"#, true), (place(0), 1));
        let nested =
            sent(r#"[{"a":{"$binary":""}},{"$binary":"/+8="},{"$binary":1},{"$binary":"","x":1}]"#, true);
        let expected =
            format!(r#"[{{"a":{}}},{},{{"$binary":1}},{{"$binary":"","x":1}}]"#, place(0), place(1));
        assert_eq!(nested, (expected, 2));
        let problem = read_argument(r#"{"$binary":"*"}"#, 3, true).unwrap_err();
        assert!(problem.starts_with("argument 3: $binary is not base64"), "{problem}");
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in ["", "hello", "{", "1 2", "01", "1e400", "\"\\ud800\"", "NaN", "'x'", &"[".repeat(200)] {
            let problem = read_argument(text, 7, false).unwrap_err();
            assert!(problem.starts_with("argument 7 is not JSON, ") && problem.len() < 250, "{problem}");
        }
    }
}
