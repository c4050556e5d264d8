//! JSONP, by which browsers without cross-origin requests poll: answers are scripts, posts are HTML forms.
//!
//! Pure. No specification; this is what Node's `engine.io` and the clients of Socket.IO 1.x and 2.x do.

/// Finds the field `d` of a form that a JSONP client has posted, and undoes the two escapings: that of forms, and that
/// of line feeds, which old browsers would change. The result is an ordinary polling body.
///
/// Returns `None` without such a field; Node then does nothing and answers `ok`.
pub fn jsonp_form(body: &[u8]) -> Option<Vec<u8>> {
    let field = body.split(|&byte| byte == b'&').find_map(|field| field.strip_prefix(b"d="))?;
    Some(restore_line_feeds(&decode_form_value(field)))
}

/// Keeps the digits of the query parameter `j`, as Node does; nothing else may get into a script.
pub(super) fn index(parameter: &str) -> String {
    parameter.chars().filter(char::is_ascii_digit).collect()
}

/// Wraps a polling body into the call that hands it to the client.
pub(super) fn script(index: &str, body: &str) -> String {
    let literal = serde_json::to_string(body).expect("a string always has a JSON form");
    // These two end a line in JavaScript before ECMAScript 2019, but not in JSON.
    let literal = literal.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
    format!("___eio[{index}]({literal});")
}

/// Undoes `application/x-www-form-urlencoded`. A `%` without two hexadecimal digits stays, as in Node.
fn decode_form_value(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'+', _) => (b' ', tail),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => (b'%', tail),
            },
            _ => (*first, tail),
        };
        out.push(byte);
        rest = tail;
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Turns `\n` (backslash and letter) into a line feed, and `\\n` into `\n`.
fn restore_line_feeds(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match rest {
            [b'\\', b'\\', b'n', after @ ..] => {
                out.extend_from_slice(b"\\n");
                after
            }
            [b'\\', b'n', after @ ..] => {
                out.push(b'\n');
                after
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_d_is_unescaped_twice() {
        let form = |text: &str| jsonp_form(text.as_bytes()).map(|body| String::from_utf8(body).unwrap());
        assert_eq!(form("d=6%3A4hello").as_deref(), Some("6:4hello"));
        assert_eq!(form("x=1&d=a+b%2B%e2%82%AC&d=2").as_deref(), Some("a b+€"));
        assert_eq!(form("d=").as_deref(), Some(""));
        assert_eq!(form("d=%&e").as_deref(), Some("%"));
        assert_eq!(form("d=%4%zz%+").as_deref(), Some("%4%zz% "));
        assert_eq!(form("x=1"), None);
        assert_eq!(form("dd=1"), None);
        assert_eq!(form(""), None);
    }

    #[test]
    fn line_feeds_are_restored_as_by_nodes_two_regular_expressions() {
        let restore = |text: &str| String::from_utf8(restore_line_feeds(text.as_bytes())).unwrap();
        assert_eq!(restore(r"a\nb"), "a\nb");
        assert_eq!(restore(r"a\\nb"), r"a\nb");
        assert_eq!(restore(r"a\\\nb"), r"a\\nb");
        assert_eq!(restore(r"\\\\n"), r"\\\n");
        assert_eq!(restore(r"\n\n\\n\"), "\n\n\\n\\");
        assert_eq!(restore(r"\r\t\\"), r"\r\t\\");
    }

    #[test]
    fn a_script_is_javascript_and_carries_only_digits_of_the_index() {
        let script = script(&index("3);alert(1"), "a\"\n\u{2028}\u{2029}é");
        assert_eq!(script, "___eio[31](\"a\\\"\\n\\u2028\\u2029é\");");
    }
}
