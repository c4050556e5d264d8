//! The notation of Redis for what an emitter has to say (RESP 2): commands out, answers in.
//!
//! Only `PUBLISH` and `SPUBLISH` are written, whose answers are one line each: the number of subscribers, or an
//! error.

use bytes::Bytes;

/// Names the command that publishes. The two have separate channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Publish,
    Spublish,
}

impl Verb {
    fn head(self) -> &'static [u8] {
        match self {
            Self::Publish => b"*3\r\n$7\r\nPUBLISH\r\n",
            Self::Spublish => b"*3\r\n$8\r\nSPUBLISH\r\n",
        }
    }
}

/// The most bytes that a command has beside its channel and its message.
pub(crate) const OVERHEAD: usize = 18 + 2 * (LENGTH_MAX + 2);

/// `$`, the digits of a length, and the end of the line.
const LENGTH_MAX: usize = 1 + 20 + 2;

/// Appends a command.
pub(crate) fn write_command(out: &mut Vec<u8>, verb: Verb, channel: &[u8], message: &[u8]) {
    out.extend_from_slice(verb.head());
    write_bulk(out, channel);
    write_bulk(out, message);
}

/// Appends a string of any bytes.
pub(crate) fn write_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut line = [0; LENGTH_MAX];
    let (mut at, mut rest) = (LENGTH_MAX - 2, bytes.len());
    line[at..].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        line[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    at -= 1;
    line[at] = b'$';
    out.extend_from_slice(&line[at..]);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// One command, taken apart again, for a client that has its own way to write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) verb: Verb,
    pub(crate) channel: Bytes,
    pub(crate) message: Bytes,
}

/// Takes commands apart that [`write_command`] wrote; nothing is copied.
pub(crate) struct Commands(pub(crate) Bytes);

impl Iterator for Commands {
    type Item = Command;

    fn next(&mut self) -> Option<Command> {
        let verb =
            [Verb::Publish, Verb::Spublish].into_iter().find(|verb| self.0.starts_with(verb.head()))?;
        let _ = self.0.split_to(verb.head().len());
        Some(Command { verb, channel: self.bulk()?, message: self.bulk()? })
    }
}

impl Commands {
    fn bulk(&mut self) -> Option<Bytes> {
        let end = self.0.iter().position(|byte| *byte == b'\r')?;
        let length: usize = std::str::from_utf8(self.0.get(1..end)?).ok()?.parse().ok()?;
        let start = end + 2;
        let bulk = (self.0.len() >= start + length + 2).then(|| self.0.slice(start..start + length))?;
        let _ = self.0.split_to(start + length + 2);
        Some(bulk)
    }
}

/// What a run of answers says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Messages that Redis took.
    pub(crate) taken: u64,
    /// Those among them for which there was no subscriber.
    pub(crate) unheard: u64,
    /// Messages that Redis refused.
    pub(crate) refused: u64,
    /// Its words for the first of them.
    pub(crate) refusal: Option<String>,
}

/// Reads answers, of which the last may be incomplete.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
}

impl Answers {
    /// Counts what was read.
    ///
    /// # Errors
    ///
    /// If it is no answer to what was asked.
    pub(crate) fn feed(&mut self, mut read: &[u8], tally: &mut Tally) -> Result<(), String> {
        if !self.line.is_empty() {
            let Some(end) = read.iter().position(|byte| *byte == b'\n') else { return self.keep(read) };
            let (head, rest) = read.split_at(end + 1);
            self.keep(head)?;
            count(&self.line, tally)?;
            self.line.clear();
            read = rest;
        }
        for line in read.split_inclusive(|byte| *byte == b'\n') {
            if line.ends_with(b"\n") {
                count(line, tally)?;
            } else {
                self.keep(line)?;
            }
        }
        Ok(())
    }

    fn keep(&mut self, part: &[u8]) -> Result<(), String> {
        if self.line.len() + part.len() > LINE_MAX {
            return Err(format!("answer with a line of more than {LINE_MAX} bytes"));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }
}

fn count(line: &[u8], tally: &mut Tally) -> Result<(), String> {
    match line {
        b":0\r\n" => {
            tally.taken += 1;
            tally.unheard += 1;
        }
        [b':', ..] => tally.taken += 1,
        [b'-', text @ ..] => {
            tally.refused += 1;
            tally.refusal.get_or_insert_with(|| String::from_utf8_lossy(text.trim_ascii_end()).into_owned());
        }
        other => {
            return Err(format!("unexpected answer \"{}\"", other[..other.len().min(40)].escape_ascii()));
        }
    }
    Ok(())
}

/// Far more than any error of Redis has.
const LINE_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_redis_reads_it() {
        let mut out = Vec::new();
        write_command(&mut out, Verb::Publish, b"socket.io#/#", b"0123456789");
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$12\r\nsocket.io#/#\r\n$10\r\n0123456789\r\n");
        out.clear();
        write_command(&mut out, Verb::Spublish, b"", &[b'x'; 1000]);
        assert!(out.starts_with(b"*3\r\n$8\r\nSPUBLISH\r\n$0\r\n\r\n$1000\r\nxxx"));
        assert!(out.len() <= OVERHEAD + 1000);
    }

    #[test]
    fn commands_come_apart_as_they_were_put_together() {
        let written = [
            (Verb::Publish, "a#/#", b"\r\n*3\r\n".to_vec()),
            (Verb::Spublish, "", Vec::new()),
            (Verb::Publish, "b#/#r#", vec![0; 70_000]),
        ];
        let mut out = Vec::new();
        for (verb, channel, message) in &written {
            write_command(&mut out, *verb, channel.as_bytes(), message);
        }
        let read: Vec<_> =
            Commands(out.into()).map(|command| (command.verb, command.channel, command.message)).collect();
        let written: Vec<_> = written
            .into_iter()
            .map(|(verb, channel, message)| (verb, channel.into(), message.into()))
            .collect();
        assert_eq!(read, written);
    }

    #[test]
    fn answers_are_counted_wherever_the_reads_end() {
        let bytes = b":0\r\n:12\r\n-NOPERM no channel\r\n:1\r\n-OOM x\r\n:0\r\n";
        for step in 1..=bytes.len() {
            let (mut answers, mut tally) = (Answers::default(), Tally::default());
            for part in bytes.chunks(step) {
                answers.feed(part, &mut tally).unwrap();
            }
            let refusal = Some("NOPERM no channel".to_owned());
            assert_eq!(tally, Tally { taken: 4, unheard: 2, refused: 2, refusal }, "{step}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let mut tally = Tally::default();
        for bytes in [&b"+OK\r\n"[..], b"HTTP/1.1 400 Bad Request\r\n", b"\n", b"$-1\r\n"] {
            assert!(Answers::default().feed(bytes, &mut tally).is_err(), "{}", bytes.escape_ascii());
        }
        let mut answers = Answers::default();
        answers.feed(b"-", &mut tally).unwrap();
        assert!(answers.feed(&vec![b'x'; LINE_MAX], &mut tally).is_err());
        assert_eq!(tally, Tally::default());
    }
}
