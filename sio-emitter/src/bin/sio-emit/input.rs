//! The standard input, in blocks of whole lines.
//!
//! A thread of its own reads, because reading cannot be interrupted. It is at most a few blocks ahead. A block is what
//! one read gave, so a line that somebody types goes out at once.

use std::io::{self, Read};
use std::thread;

use tokio::sync::mpsc::{self, Receiver, Sender};

/// What came.
#[derive(Debug)]
pub(crate) enum Block {
    /// Whole lines; the last one of the input may lack its end.
    Lines(Vec<u8>),
    /// A line that is longer than allowed, of which nothing was kept.
    TooLong,
    /// Reading failed, and ends with it.
    Failed(io::Error),
}

/// Starts to read.
pub(crate) fn start(input: impl Read + Send + 'static, max_line: usize) -> io::Result<Receiver<Block>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    // Never joined: at the end of the process it may still be waiting for input.
    thread::Builder::new().name("input".to_owned()).spawn(move || read(input, max_line, &sender))?;
    Ok(receiver)
}

fn read(mut input: impl Read, max_line: usize, sender: &Sender<Block>) {
    let send = |block| sender.blocking_send(block).is_ok();
    let mut buffer: Vec<u8> = Vec::new();
    // The rest of a line that is too long.
    let mut skipping = false;
    loop {
        let unfinished = buffer.len();
        buffer.resize(unfinished + READ, 0);
        let length = match input.read(&mut buffer[unfinished..]) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                buffer.truncate(unfinished);
                continue;
            }
            Err(error) => {
                send(Block::Failed(error));
                return;
            }
        };
        buffer.truncate(unfinished + length);
        if length == 0 {
            if skipping {
                send(Block::TooLong);
            } else if !buffer.is_empty() {
                send(Block::Lines(buffer));
            }
            return;
        }
        if skipping {
            let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
                buffer.clear();
                continue;
            };
            buffer.drain(..=end);
            skipping = false;
            if !send(Block::TooLong) {
                return;
            }
        }
        let whole = buffer.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = buffer.split_off(whole);
        if !buffer.is_empty() && !send(Block::Lines(buffer)) {
            return;
        }
        buffer = rest;
        if buffer.len() > max_line {
            buffer.clear();
            skipping = true;
        }
    }
}

/// Blocks that may wait to be sent.
const AHEAD: usize = 4;
/// The bytes that one read asks for.
const READ: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one part a read.
    struct Parts(Vec<Vec<u8>>);

    impl Read for Parts {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let part = self.0.remove(0);
            if part == b"!" {
                return Err(io::Error::other("broken"));
            }
            buffer[..part.len()].copy_from_slice(&part);
            Ok(part.len())
        }
    }

    fn blocks(parts: &[&[u8]], max_line: usize) -> Vec<String> {
        let parts = Parts(parts.iter().map(|part| part.to_vec()).collect());
        let mut receiver = start(parts, max_line).unwrap();
        std::iter::from_fn(|| receiver.blocking_recv())
            .map(|block| match block {
                Block::Lines(lines) => String::from_utf8(lines).unwrap(),
                Block::TooLong => "too long".to_owned(),
                Block::Failed(error) => format!("failed: {error}"),
            })
            .collect()
    }

    #[test]
    fn blocks_are_of_whole_lines() {
        assert_eq!(blocks(&[b"a\nb\n", b"c", b"d\n\ne"], 10), ["a\nb\n", "cd\n\n", "e"]);
        assert_eq!(blocks(&[], 10), [""; 0]);
        assert_eq!(blocks(&[b"\n"], 10), ["\n"]);
    }

    #[test]
    fn a_line_that_never_ends_is_not_kept() {
        let long = [b'x'; 60_000];
        assert_eq!(blocks(&[b"a\n", &long, &long, b"x\nb\n"], 100), ["a\n", "too long", "b\n"]);
        assert_eq!(blocks(&[b"a\nxxx", &long, b"x"], 100), ["a\n", "too long"]);
        assert_eq!(blocks(&[b"xxx", b"x\n"], 3), ["xxxx\n"]);
    }

    #[test]
    fn what_came_before_a_failure_is_not_lost() {
        assert_eq!(blocks(&[b"a\nb", b"!", b"c\n"], 10), ["a\n", "failed: broken"]);
    }
}
