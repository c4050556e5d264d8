//! Redis's protocol, version 3, as far as the link speaks it. Pure: bytes in, frames out.
//!
//! Messages, confirmations and numbers, which is all that comes at speed, are recognised in place and given as ranges of
//! the bytes they came in. Everything else becomes a [`Value`]. What Redis sends is bounded: a line by [`MAX_LINE`],
//! nesting by [`MAX_DEPTH`], and the size of a frame by the caller, who learns it before the frame is complete.

use std::ops::Range;

/// What the next frame of some bytes is.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed {
    /// A complete frame, of this many bytes.
    Frame(usize, Frame),
    /// The frame is not complete; it has at least this many bytes.
    Need(usize),
}

/// A frame. Ranges count from its first byte.
#[derive(Debug, PartialEq)]
pub(super) enum Frame {
    /// A message that was published.
    Message { pattern: Option<Range<usize>>, channel: Range<usize>, payload: Range<usize> },
    /// A subscription that now stands, or no longer stands.
    Confirmed { verb: Verb, topic: Option<Range<usize>> },
    /// The answer to a command: a number.
    Number(i64),
    /// The answer to a command: an error.
    Error(Range<usize>),
    /// The answer to a command: anything else.
    Value(Value),
    /// Something that is pushed and means nothing to us.
    Other,
}

/// The commands that are confirmed by push frames, one per topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Subscribe,
    Unsubscribe,
    Psubscribe,
    Punsubscribe,
    Ssubscribe,
    Sunsubscribe,
}

impl Verb {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Subscribe => "SUBSCRIBE",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Psubscribe => "PSUBSCRIBE",
            Self::Punsubscribe => "PUNSUBSCRIBE",
            Self::Ssubscribe => "SSUBSCRIBE",
            Self::Sunsubscribe => "SUNSUBSCRIBE",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"subscribe" => Self::Subscribe,
            b"unsubscribe" => Self::Unsubscribe,
            b"psubscribe" => Self::Psubscribe,
            b"punsubscribe" => Self::Punsubscribe,
            b"ssubscribe" => Self::Ssubscribe,
            b"sunsubscribe" => Self::Sunsubscribe,
            _ => return None,
        })
    }
}

/// An answer that is looked at once and thrown away.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Number(i64),
    Text(String),
    Error(String),
    /// An array, a set, a push, or a map as key, value, key, value.
    List(Vec<Self>),
}

impl Value {
    pub(super) fn number(&self) -> Option<i64> {
        if let Self::Number(n) = self { Some(*n) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// Finds what belongs to a key of a map.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::List(items) = self else { return None };
        items.chunks_exact(2).find(|pair| pair[0].text() == Some(key)).map(|pair| &pair[1])
    }
}

/// Says what is not Redis's protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) String);

/// Looks at the first frame of `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Malformed> {
    let result = match bytes.first() {
        None => return Ok(Parsed::Need(1)),
        Some(b'>') => push(bytes),
        Some(b':') => number(bytes, 0).map(|(n, end)| (end, Frame::Number(n))),
        Some(b'-') => line(bytes, 0).map(|(text, end)| (end, Frame::Error(text))),
        Some(_) => value(bytes, 0, 0).map(|(value, end)| (end, Frame::Value(value))),
    };
    match result {
        Ok((end, frame)) => Ok(Parsed::Frame(end, frame)),
        Err(Stop::Need(total)) => Ok(Parsed::Need(total.max(bytes.len() + 1))),
        Err(Stop::Malformed(what)) => Err(Malformed(what)),
    }
}

/// Says how many elements a pushed frame has behind the one that is not complete yet.
pub(super) fn elements_behind(bytes: &[u8]) -> usize {
    let (Some(b'>'), Ok((mut left @ 1..=4, mut at))) = (bytes.first(), number(bytes, 0)) else { return 0 };
    loop {
        left -= 1;
        match bytes.get(at) {
            Some(b'$') if left > 0 => match bulk(bytes, at) {
                Ok((_, end)) => at = end,
                Err(_) => return left.unsigned_abs() as usize,
            },
            _ => return 0,
        }
    }
}

/// Says how many bytes the element has that `bytes` begin with; nothing while that cannot be seen.
pub(super) fn element_size(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let size = match bytes {
        [] => return Ok(None),
        [b'$', ..] if bytes.get(1) != Some(&b'-') => number(bytes, 0).and_then(|(length, start)| {
            let length = usize::try_from(length).unwrap_or_default();
            let end = start.checked_add(length).and_then(|end| end.checked_add(2));
            end.ok_or_else(|| Stop::Malformed(format!("a text of {length} bytes")))
        }),
        _ => line(bytes, 0).map(|(_, end)| end),
    };
    match size {
        Ok(size) => Ok(Some(size)),
        Err(Stop::Need(_)) => Ok(None),
        Err(Stop::Malformed(what)) => Err(Malformed(what)),
    }
}

/// Appends a command to `out`.
pub(super) fn command(out: &mut Vec<u8>, parts: &[&[u8]]) {
    head(out, b'*', parts.len());
    for part in parts {
        head(out, b'$', part.len());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a mark, a number and an end of line.
pub(super) fn head(out: &mut Vec<u8>, mark: u8, mut n: usize) {
    let mut digits = [0; 24];
    let mut at = digits.len() - 2;
    digits[at..].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    at -= 1;
    digits[at] = mark;
    out.extend_from_slice(&digits[at..]);
}

/// Why a frame could not be read to its end.
enum Stop {
    Need(usize),
    Malformed(String),
}

/// Reads a push frame: `>3 message channel payload`, `>4 pmessage pattern channel payload`, `>3 subscribe topic count`.
fn push(bytes: &[u8]) -> Result<(usize, Frame), Stop> {
    let (count, at) = number(bytes, 0)?;
    let other = |bytes| value(bytes, 0, 0).map(|(_, end)| (end, Frame::Other));
    if !(3..=4).contains(&count) || bytes.get(at).is_some_and(|mark| *mark != b'$') {
        return other(bytes);
    }
    let (word, at) = bulk(bytes, at)?;
    match (&bytes[word.clone()], count) {
        (b"message" | b"smessage", 3) => {
            let (channel, at) = bulk(bytes, at)?;
            let (payload, end) = bulk(bytes, at)?;
            Ok((end, Frame::Message { pattern: None, channel, payload }))
        }
        (b"pmessage", 4) => {
            let (pattern, at) = bulk(bytes, at)?;
            let (channel, at) = bulk(bytes, at)?;
            let (payload, end) = bulk(bytes, at)?;
            Ok((end, Frame::Message { pattern: Some(pattern), channel, payload }))
        }
        (word, 3) => {
            let Some(verb) = Verb::of(word) else { return other(bytes) };
            // To take back what was not there is confirmed with null.
            let (topic, at) = match bytes.get(at) {
                Some(b'_') => (None, line(bytes, at)?.1),
                _ => bulk(bytes, at).map(|(topic, at)| (Some(topic), at))?,
            };
            let (_, end) = number(bytes, at)?;
            Ok((end, Frame::Confirmed { verb, topic }))
        }
        _ => other(bytes),
    }
}

/// Reads any value at `at`.
fn value(bytes: &[u8], at: usize, depth: usize) -> Result<(Value, usize), Stop> {
    if depth > MAX_DEPTH {
        return Err(Stop::Malformed(format!("nested deeper than {MAX_DEPTH}")));
    }
    let Some(mark) = bytes.get(at) else { return Err(Stop::Need(at + 1)) };
    Ok(match mark {
        b':' => {
            let (n, end) = number(bytes, at)?;
            (Value::Number(n), end)
        }
        b'+' | b',' | b'#' | b'(' => {
            let (text, end) = line(bytes, at)?;
            (Value::Text(lossy(&bytes[text])), end)
        }
        b'-' => {
            let (text, end) = line(bytes, at)?;
            (Value::Error(lossy(&bytes[text])), end)
        }
        b'_' => (Value::Null, line(bytes, at)?.1),
        b'$' | b'*' if bytes.get(at + 1) == Some(&b'-') => (Value::Null, line(bytes, at)?.1),
        b'$' => {
            let (text, end) = bulk(bytes, at)?;
            (Value::Text(lossy(&bytes[text])), end)
        }
        b'=' => {
            // A text with the name of its format in front, `txt:`.
            let (text, end) = bulk(bytes, at)?;
            (Value::Text(lossy(bytes[text].get(4..).unwrap_or_default())), end)
        }
        b'!' => {
            let (text, end) = bulk(bytes, at)?;
            (Value::Error(lossy(&bytes[text])), end)
        }
        b'*' | b'~' | b'>' | b'%' => {
            let (count, mut end) = number(bytes, at)?;
            let count = usize::try_from(count).map_err(|_| Stop::Malformed(format!("{count} elements")))?;
            let count = if *mark == b'%' { count.saturating_mul(2) } else { count };
            // Not reserved: `count` is only a claim. An element has three bytes at least.
            let mut items = Vec::new();
            for _ in 0..count {
                let (item, next) = value(bytes, end, depth + 1)?;
                items.push(item);
                end = next;
            }
            (Value::List(items), end)
        }
        other => return Err(Stop::Malformed(format!("a frame begins with byte {other:#04x}"))),
    })
}

/// Reads `$<length>\r\n<bytes>\r\n` at `at`, whatever its mark is. Gives the bytes and where it ends.
fn bulk(bytes: &[u8], at: usize) -> Result<(Range<usize>, usize), Stop> {
    let (length, start) = number(bytes, at)?;
    let length = usize::try_from(length).map_err(|_| Stop::Malformed(format!("a text of {length} bytes")))?;
    let end = start.checked_add(length).filter(|end| *end <= usize::MAX - 2);
    let end = end.ok_or_else(|| Stop::Malformed(format!("a text of {length} bytes")))?;
    match bytes.get(end..end + 2) {
        None => Err(Stop::Need(end + 2)),
        Some(b"\r\n") => Ok((start..end, end + 2)),
        Some(_) => Err(Stop::Malformed(format!("a text does not end after its {length} bytes"))),
    }
}

/// Reads a mark, a number and an end of line at `at`. Gives the number and where it ends.
fn number(bytes: &[u8], at: usize) -> Result<(i64, usize), Stop> {
    let mut n: i64 = 0;
    let mut end = at + 1;
    let negative = bytes.get(end) == Some(&b'-');
    if negative {
        end += 1;
    }
    let first = end;
    loop {
        match bytes.get(end) {
            Some(digit @ b'0'..=b'9') => {
                n = n
                    .checked_mul(10)
                    .and_then(|n| n.checked_add(i64::from(digit - b'0')))
                    .ok_or_else(|| Stop::Malformed("a number of more than 63 bits".to_owned()))?;
                end += 1;
            }
            Some(b'\r') if end > first => match bytes.get(end + 1) {
                Some(b'\n') => return Ok((if negative { -n } else { n }, end + 2)),
                None => return Err(Stop::Need(end + 2)),
                Some(_) => return Err(Stop::Malformed("a number does not end its line".to_owned())),
            },
            None => return Err(Stop::Need(end + 1)),
            Some(other) => return Err(Stop::Malformed(format!("byte {other:#04x} in a number"))),
        }
    }
}

/// Reads a mark and a line at `at`. Gives the line without mark and end, and where it ends.
fn line(bytes: &[u8], at: usize) -> Result<(Range<usize>, usize), Stop> {
    let rest = &bytes[at + 1..];
    match rest.windows(2).take(MAX_LINE).position(|two| two == b"\r\n") {
        Some(length) => Ok((at + 1..at + 1 + length, at + length + 3)),
        None if rest.len() > MAX_LINE => {
            Err(Stop::Malformed(format!("a line of more than {MAX_LINE} bytes")))
        }
        None => Err(Stop::Need(bytes.len() + 1)),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Errors and short answers are lines; Redis cuts its own at about 1 kB, modules may not.
const MAX_LINE: usize = 64 << 10;

/// No answer that we ask for is nested deeper than four (`CLUSTER SLOTS`, which we leave to fred).
const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Frame {
        match parse(text.as_bytes()) {
            Ok(Parsed::Frame(length, frame)) => {
                assert_eq!(length, text.len(), "{text:?}");
                frame
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    #[test]
    fn messages_are_ranges_of_their_frame() {
        let text = ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$3\r\nabc\r\n$5\r\nx\r\ny\n\r\n";
        let Frame::Message { pattern: Some(pattern), channel, payload } = whole(text) else { panic!() };
        assert_eq!((&text[pattern], &text[channel], &text[payload]), ("a*", "abc", "x\r\ny\n"));
        for word in ["message", "smessage"] {
            let text = format!(">3\r\n${}\r\n{word}\r\n$1\r\nc\r\n$0\r\n\r\n", word.len());
            let Frame::Message { pattern: None, channel, payload } = whole(&text) else { panic!() };
            assert_eq!((&text[channel], payload.len()), ("c", 0));
        }
    }

    #[test]
    fn confirmations_name_verb_and_topic() {
        let text = ">3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n";
        let Frame::Confirmed { verb: Verb::Psubscribe, topic: Some(topic) } = whole(text) else { panic!() };
        assert_eq!(&text[topic], "a*");
        let none = whole(">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n");
        assert_eq!(none, Frame::Confirmed { verb: Verb::Unsubscribe, topic: None });
    }

    #[test]
    fn answers_are_values() {
        assert_eq!(whole(":-12\r\n"), Frame::Number(-12));
        let text = "-NOPERM no\r\n";
        let Frame::Error(error) = whole(text) else { panic!() };
        assert_eq!(&text[error], "NOPERM no");
        let Frame::Value(hello) = whole("%2\r\n$2\r\nid\r\n:4\r\n$5\r\nproto\r\n:3\r\n") else { panic!() };
        assert_eq!(hello.get("id").and_then(Value::number), Some(4));
        let Frame::Value(list) = whole("*5\r\n=8\r\ntxt:text\r\n_\r\n$-1\r\n!3\r\nbad\r\n#t\r\n") else {
            panic!()
        };
        let text = |text: &str| Value::Text(text.to_owned());
        let expected = [text("text"), Value::Null, Value::Null, Value::Error("bad".to_owned()), text("t")];
        assert_eq!(list, Value::List(expected.to_vec()));
        assert_eq!(whole(">2\r\n$10\r\ninvalidate\r\n_\r\n"), Frame::Other);
    }

    #[test]
    fn a_part_of_a_frame_tells_a_size_that_is_not_too_large() {
        for text in [
            ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$3\r\nabc\r\n$5\r\nx\r\ny\n\r\n",
            ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n",
            ":17\r\n",
            "-ERR x\r\n",
            "%1\r\n$2\r\nid\r\n*2\r\n:4\r\n+x\r\n",
        ] {
            for end in 0..text.len() {
                match parse(&text.as_bytes()[..end]) {
                    Ok(Parsed::Need(total)) => {
                        assert!((end + 1..=text.len()).contains(&total), "{text:?} {end}: {total}")
                    }
                    other => panic!("{text:?} cut at {end}: {other:?}"),
                }
            }
        }
        let large = ">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1000000\r\n";
        assert_eq!(parse(large.as_bytes()), Ok(Parsed::Need(large.len() + 1_000_002)));
    }

    #[test]
    fn nonsense_is_refused_and_never_panics() {
        for text in [
            "x",
            "$-5\r\n",
            ">3\r\n$7\r\nmessage\r\n$1\r\nabc\r\n$1\r\na\r\n",
            ":\r\n",
            ":1x\r\n",
            ":9999999999999999999\r\n",
            "*-7\r\n:",
            "$18446744073709551615\r\n",
            "$9223372036854775807\r\n",
        ] {
            let parsed = parse(text.as_bytes());
            assert!(
                matches!(parsed, Err(_) | Ok(Parsed::Need(_) | Parsed::Frame(_, Frame::Value(Value::Null)))),
                "{text:?}: {parsed:?}"
            );
        }
        assert!(parse(&b"*1\r\n".repeat(20)).is_err());
        assert!(parse(&vec![b'+'; MAX_LINE + 10]).is_err());
        // Any two changes to a good frame: whatever comes of it, not a panic.
        let good = b">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$3\r\nabc\r\n$5\r\nhello\r\n";
        for (at, _) in good.iter().enumerate() {
            for (other, _) in good.iter().enumerate() {
                for byte in [0, b'\r', b'-', b'9', b'$', b'*', 0xff] {
                    let mut bad = good.to_vec();
                    bad[at] = byte;
                    bad[other] = bad[other].wrapping_add(1);
                    let _ = parse(&bad);
                }
            }
        }
    }

    #[test]
    fn commands_are_arrays_of_texts() {
        let mut out = Vec::new();
        command(&mut out, &[b"PUBLISH", b"a channel", b""]);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$9\r\na channel\r\n$0\r\n\r\n");
    }
}
