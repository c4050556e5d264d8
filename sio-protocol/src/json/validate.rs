//! The check that the data of a packet is JSON, of the right type and not nested too deeply, in one pass.
//!
//! Nothing is built and nothing is allocated: the text itself is what the server keeps. On the way the pass
//! notes where the name of an event ends, and whether some string holds half a surrogate pair, which
//! JavaScript strings may and Rust strings may not.

use super::scan::find_special;
use crate::error::Malformed;
use crate::socketio::NameSpan;

/// Says what the top-level value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// An object: the data of CONNECT.
    Object,
    /// An object or a string: the data of CONNECT_ERROR.
    ObjectOrString,
    /// An array: the data of ACK.
    Array,
    /// An array that starts with a string or a number: the data of EVENT.
    Event,
}

/// What the pass found out about valid text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The type is not the wanted one. The rest of the text was not looked at.
    pub(crate) wrong_type: bool,
    /// The length without white space at the end.
    pub(crate) length: usize,
    /// Where the name of an event stands.
    pub(crate) name: NameSpan,
    /// Some string has an escape such as `\ud800` without its other half.
    pub(crate) lone_surrogate: bool,
}

/// Checks `text`, which must start with the value: white space is allowed everywhere but there.
pub(crate) fn validate(text: &str, shape: Shape, max_depth: usize) -> Result<Verdict, Malformed> {
    let mut pass = Pass::new(text, 0, max_depth);
    let mut verdict =
        Verdict { wrong_type: false, length: 0, name: NameSpan::default(), lone_surrogate: false };
    let first = pass.peek();
    verdict.wrong_type = match shape {
        Shape::Object => first != b'{',
        Shape::ObjectOrString => first != b'{' && first != b'"',
        Shape::Array | Shape::Event => first != b'[',
    };
    if verdict.wrong_type {
        return Ok(verdict);
    }
    if shape == Shape::Event {
        pass.open(false)?;
        pass.white_space();
        match pass.peek() {
            b'"' => {
                let start = pass.at + 1;
                if pass.string()? {
                    verdict.name.start = start;
                }
            }
            b'-' | b'0'..=b'9' => pass.number()?,
            _ => return Err(Malformed::EventNameInvalid),
        }
        verdict.name.end = pass.at;
        pass.rest_of_value(true)?;
    } else {
        pass.rest_of_value(false)?;
    }
    verdict.length = pass.at;
    verdict.lone_surrogate = pass.lone_surrogate;
    pass.white_space();
    if pass.at == text.len() { Ok(verdict) } else { Err(pass.invalid()) }
}

/// Finds the end of the value that starts at the byte `at`, and checks its syntax on the way. What follows it
/// is not looked at.
pub(crate) fn value_end(text: &str, at: usize, max_depth: usize) -> Result<usize, Malformed> {
    let mut pass = Pass::new(text, at, max_depth);
    pass.rest_of_value(false)?;
    Ok(pass.at)
}

/// Replaces every escaped half of a surrogate pair by `\ufffd`, as JavaScript does when such a string leaves
/// as UTF-8. Keeps all offsets.
pub(crate) fn repair_surrogates(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut repaired = String::with_capacity(text.len());
    let mut copied = 0;
    let mut at = 0;
    while let Some(step) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\\')) {
        at += step;
        let (length, whole) = escape(bytes, at).unwrap_or((2, true));
        if !whole {
            repaired.push_str(text.get(copied..at).unwrap_or_default());
            repaired.push_str("\\ufffd");
            copied = at + length;
        }
        at += length;
    }
    repaired.push_str(text.get(copied..).unwrap_or_default());
    repaired
}

/// The pass over the text. A byte beyond its end reads as 0, which is valid nowhere.
struct Pass<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    max_depth: usize,
    /// One bit per open array (0) or object (1), the innermost lowest.
    objects: u128,
    lone_surrogate: bool,
}

impl<'a> Pass<'a> {
    fn new(text: &'a str, at: usize, max_depth: usize) -> Self {
        Self {
            bytes: text.as_bytes(),
            at,
            depth: 0,
            max_depth: max_depth.min(crate::limits::MAX_DEPTH),
            objects: 0,
            lone_surrogate: false,
        }
    }

    /// Passes a value or, after one, whatever follows up to the end of the outermost array or object.
    fn rest_of_value(&mut self, after_value: bool) -> Result<(), Malformed> {
        let mut after_value = after_value;
        loop {
            if !after_value {
                after_value = self.value()?;
                if !after_value {
                    continue;
                }
            }
            if self.depth == 0 {
                return Ok(());
            }
            self.white_space();
            let in_object = self.objects & 1 == 1;
            match (self.peek(), in_object) {
                (b',', _) => {
                    self.at += 1;
                    self.white_space();
                    if in_object {
                        self.key()?;
                    }
                    after_value = false;
                }
                (b'}', true) | (b']', false) => self.close(),
                _ => return Err(self.invalid()),
            }
        }
    }

    /// Passes a scalar or an empty container, or opens a container. Says whether a value is complete.
    #[inline]
    fn value(&mut self) -> Result<bool, Malformed> {
        match self.peek() {
            b'"' => {
                self.string()?;
            }
            b'{' => {
                self.open(true)?;
                self.white_space();
                if self.peek() == b'}' {
                    self.close();
                } else {
                    self.key()?;
                    return Ok(false);
                }
            }
            b'[' => {
                self.open(false)?;
                self.white_space();
                if self.peek() == b']' {
                    self.close();
                } else {
                    return Ok(false);
                }
            }
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => return Err(self.invalid()),
        }
        Ok(true)
    }

    /// Passes a key, the colon and the white space around it.
    #[inline]
    fn key(&mut self) -> Result<(), Malformed> {
        if self.peek() != b'"' {
            return Err(self.invalid());
        }
        self.string()?;
        self.white_space();
        if self.peek() != b':' {
            return Err(self.invalid());
        }
        self.at += 1;
        self.white_space();
        Ok(())
    }

    /// Passes a string. Says whether it has no escapes.
    #[inline]
    fn string(&mut self) -> Result<bool, Malformed> {
        self.at += 1;
        let mut plain = true;
        loop {
            self.at = find_special(self.bytes, self.at);
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(plain);
                }
                b'\\' => {
                    plain = false;
                    let (length, whole) = escape(self.bytes, self.at).ok_or(self.invalid())?;
                    self.lone_surrogate |= !whole;
                    self.at += length;
                }
                _ => return Err(self.invalid()),
            }
        }
    }

    #[inline]
    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == b'.' {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    #[inline]
    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        if self.at == start { Err(self.invalid()) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Malformed> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err(self.invalid());
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn open(&mut self, object: bool) -> Result<(), Malformed> {
        if self.depth >= self.max_depth {
            return Err(Malformed::NestingExceeded { limit: self.max_depth });
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        self.at += 1;
    }

    #[inline]
    fn white_space(&mut self) {
        // What JSON.stringify writes has none, so the loop is kept out of the way.
        if self.peek() <= b' ' {
            self.skip_white_space();
        }
    }

    #[cold]
    fn skip_white_space(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.at += 1;
        }
    }

    #[inline]
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    #[cold]
    fn invalid(&self) -> Malformed {
        Malformed::JsonInvalid { at: self.at }
    }
}

/// Reads the escape at `at`: its length, and whether it stands for whole characters. A surrogate pair counts
/// as one escape. `None` if it is no escape that JSON knows.
fn escape(bytes: &[u8], at: usize) -> Option<(usize, bool)> {
    match bytes.get(at + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some((2, true)),
        b'u' => match code_unit(bytes, at)? {
            0xd800..=0xdbff => match code_unit(bytes, at + 6) {
                Some(0xdc00..=0xdfff) => Some((12, true)),
                _ => Some((6, false)),
            },
            0xdc00..=0xdfff => Some((6, false)),
            _ => Some((6, true)),
        },
        _ => None,
    }
}

/// Reads the four digits of the `\u` escape at `at`.
pub(super) fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(text: &str) -> Result<Verdict, Malformed> {
        validate(text, Shape::Array, 127)
    }

    #[test]
    fn the_same_texts_are_accepted_as_by_serde_json() {
        for inner in [
            "",
            "1",
            "-1",
            "-",
            "01",
            "-01",
            "0",
            "-0",
            "0.5",
            ".5",
            "1.",
            "1.5e",
            "1e5",
            "1E+5",
            "1e-05",
            "1e+",
            "+1",
            "0x1",
            "1,",
            ",1",
            "1,2",
            "1 , 2",
            "1\u{a0}",
            "\u{feff}1",
            "1\u{c}",
            "true",
            "tru",
            "truex",
            "True",
            "false",
            "null",
            "nul",
            "undefined",
            "NaN",
            "Infinity",
            "\"\"",
            "\"a",
            "a\"",
            "'a'",
            "\"\\\"\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\n\"",
            "\"\t\"",
            "\"\u{7f}\"",
            "\"\\/\"",
            "\"\\",
            "\"\\u",
            "{}",
            "{ }",
            "{\"a\":1}",
            "{\"a\" : 1 , \"b\":[]}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{1:1}",
            "{\"a\":1 \"b\":2}",
            "[]",
            "[ ]",
            "[[]]",
            "[",
            "]",
            "[}",
            "{]",
            "{\"a\":[}",
            "[1}",
            "\"a\" \"b\"",
            "1 2",
            "/**/1",
            "\0",
            "\"\0\"",
            "{\"a\":{\"b\":{\"c\":[1,{\"d\":null}]}}}",
            "{\"a\":1,\"a\":2}",
        ] {
            for text in [
                format!("[{inner}]"),
                format!("[{inner}"),
                format!("[{inner}] "),
                format!("[{inner}]x"),
                format!("[\r\n {inner}\t]\n"),
            ] {
                let expected = serde_json::from_str::<serde_json::Value>(&text).is_ok();
                let seen = array(&text);
                assert_eq!(seen.is_ok(), expected, "{text:?} gives {seen:?}");
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(array(&nested(127)).is_ok());
        assert!(serde_json::from_str::<serde_json::Value>(&nested(127)).is_ok());
        assert_eq!(array(&nested(128)), Err(Malformed::NestingExceeded { limit: 127 }));
        assert_eq!(validate(&nested(100_000), Shape::Event, 5_000), Err(Malformed::EventNameInvalid));
        assert_eq!(array(&nested(100_000)), Err(Malformed::NestingExceeded { limit: 127 }));
        assert_eq!(validate("[[[]]]", Shape::Array, 2), Err(Malformed::NestingExceeded { limit: 2 }));
        assert_eq!(validate("[[],[]]", Shape::Array, 2).map(|verdict| verdict.length), Ok(7));
    }

    #[test]
    fn the_end_of_the_event_name_is_noted() {
        for (text, name_end) in [("[\"a\"]", 4), ("[ \"a\\\"b\" , 1 ]", 8), ("[-1.5e3,2]", 7), ("[1]", 2)] {
            assert_eq!(
                validate(text, Shape::Event, 127).map(|verdict| verdict.name.end),
                Ok(name_end),
                "{text}"
            );
        }
        for text in ["[]", "[null]", "[{}]", "[[\"a\"]]", "[true]", "["] {
            assert_eq!(validate(text, Shape::Event, 127), Err(Malformed::EventNameInvalid), "{text}");
        }
    }

    #[test]
    fn the_type_is_checked_before_anything_else() {
        for (shape, good, bad) in [
            (Shape::Object, "{}", "[]"),
            (Shape::Object, "{\"a\":1}", "null"),
            (Shape::ObjectOrString, "\"x\"", "[]"),
            (Shape::Array, "[1]", "{}"),
            (Shape::Event, "[1]", " [1]"),
        ] {
            assert_eq!(validate(good, shape, 127).map(|verdict| verdict.wrong_type), Ok(false));
            assert_eq!(validate(bad, shape, 127).map(|verdict| verdict.wrong_type), Ok(true));
        }
    }

    #[test]
    fn a_value_ends_where_its_syntax_does() {
        for value in
            ["1", "-0.5e3", "\"a\\\"]\"", "true", "null", "[]", "{}", "[1,{\"a\":[]}]", "{\"a\":[1,2]}"]
        {
            let text = format!("x{value} ,");
            assert_eq!(value_end(&text, 1, 127), Ok(value.len() + 1), "{value}");
        }
        for text in ["", ",", "]", "[1,]", "{\"a\",1}", "[1}", "\"a", "tru", "-", "[1", "{1:1}"] {
            assert!(value_end(text, 0, 127).is_err(), "{text}");
        }
        assert_eq!(value_end("[[]]", 0, 1), Err(Malformed::NestingExceeded { limit: 1 }));
    }

    #[test]
    fn half_a_surrogate_pair_is_noted_and_repaired() {
        for (text, repaired) in [
            (r#"["\ud83d"]"#, r#"["\ufffd"]"#),
            (r#"["\ude00\ud83d\ude00\\ud800"]"#, r#"["\ufffd\ud83d\ude00\\ud800"]"#),
            (r#"["\ud83d\ud83d\ude00"]"#, r#"["\ufffd\ud83d\ude00"]"#),
            (r#"["\uD83Dx\uDE00"]"#, r#"["\ufffdx\ufffd"]"#),
        ] {
            assert!(array(text).unwrap().lone_surrogate);
            assert_eq!(repair_surrogates(text), repaired);
            assert!(!array(repaired).unwrap().lone_surrogate);
            assert!(serde_json::from_str::<Vec<String>>(repaired).is_ok());
        }
        assert!(!array(r#"["\ud83d\ude00é\\ud800"]"#).unwrap().lone_surrogate);
    }
}
