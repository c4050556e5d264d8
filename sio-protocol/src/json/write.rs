//! Writers of JSON text that print exactly what `JSON.stringify` prints.
//!
//! Strings escape the quote, the backslash and the control characters and nothing else. The target is
//! anything that takes text, so that bytes for a frame and a `String` for a packet share one writer.

use super::scan::find_special;

/// Takes JSON text piece by piece.
pub(crate) trait Sink {
    /// Appends text.
    fn text(&mut self, text: &str);

    /// Appends one ASCII character.
    fn ascii(&mut self, byte: u8);

    /// Appends several ASCII characters.
    fn all_ascii(&mut self, bytes: &[u8]);

    /// Makes room for so many more bytes.
    fn reserve(&mut self, more: usize);
}

impl Sink for Vec<u8> {
    #[inline]
    fn text(&mut self, text: &str) {
        self.extend_from_slice(text.as_bytes());
    }

    #[inline]
    fn ascii(&mut self, byte: u8) {
        self.push(byte);
    }

    #[inline]
    fn all_ascii(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    #[inline]
    fn reserve(&mut self, more: usize) {
        Self::reserve(self, more);
    }
}

impl Sink for String {
    #[inline]
    fn text(&mut self, text: &str) {
        self.push_str(text);
    }

    #[inline]
    fn ascii(&mut self, byte: u8) {
        self.push(char::from(byte));
    }

    #[inline]
    fn all_ascii(&mut self, bytes: &[u8]) {
        self.extend(bytes.iter().copied().map(char::from));
    }

    #[inline]
    fn reserve(&mut self, more: usize) {
        Self::reserve(self, more);
    }
}

/// Writes a string with its quotes.
#[inline]
pub(crate) fn write_string<S: Sink>(out: &mut S, text: &str) {
    out.reserve(text.len() + 2);
    out.ascii(b'"');
    write_escaped(out, text);
    out.ascii(b'"');
}

/// Writes the inside of a string.
#[inline]
pub(crate) fn write_escaped<S: Sink>(out: &mut S, text: &str) {
    let at = find_special(text.as_bytes(), 0);
    if at == text.len() {
        out.text(text);
    } else {
        write_with_escapes(out, text, at);
    }
}

#[inline(never)]
fn write_with_escapes<S: Sink>(out: &mut S, text: &str, first: usize) {
    let bytes = text.as_bytes();
    let (mut plain, mut at) = (0, first);
    loop {
        // What is special is ASCII, so both ends are character boundaries.
        out.text(text.get(plain..at).unwrap_or_default());
        let Some(&byte) = bytes.get(at) else { return };
        write_escape(out, byte);
        plain = at + 1;
        at = find_special(bytes, plain);
    }
}

fn write_escape<S: Sink>(out: &mut S, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        0x0c => b'f',
        b'\r' => b'r',
        _ => {
            out.text("\\u00");
            out.ascii(HEX[usize::from(byte >> 4)]);
            out.ascii(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.ascii(b'\\');
    out.ascii(short);
}

/// Writes what stands for attachment `index` in the JSON text of a binary packet.
pub(crate) fn write_placeholder<S: Sink>(out: &mut S, index: usize) {
    out.text("{\"_placeholder\":true,\"num\":");
    super::write_u64(out, index as u64);
    out.ascii(b'}');
}

/// Lower case, as `JSON.stringify` writes it.
const HEX: [u8; 16] = *b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        write_string(&mut out, text);
        let mut bytes = Vec::new();
        write_string(&mut bytes, text);
        assert_eq!(out.as_bytes(), bytes);
        out
    }

    #[test]
    fn only_what_json_stringify_escapes_is_escaped() {
        assert_eq!(
            written("\"\\/\u{8}\u{c}\n\r\t\0\u{1b}\u{7f}\u{2028}é😀"),
            "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001b\u{7f}\u{2028}é😀\""
        );
    }

    #[test]
    fn escapes_agree_with_serde_json() {
        for code in 0..0x300 {
            let text = format!(
                "{}{}{}",
                "x".repeat(code % 40),
                char::from_u32(code as u32).unwrap(),
                "y".repeat(code % 9)
            );
            assert_eq!(written(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
