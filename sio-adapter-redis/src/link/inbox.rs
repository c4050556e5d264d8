//! What came from Redis and is not yet handled: read ahead of a slow receiver, up to a bound, and cut into frames.
//!
//! Without reading ahead, whatever the receiver is behind waits in Redis, which closes a subscriber that is 32 MB behind
//! (`client-output-buffer-limit pubsub`). A frame is given as a slice of the block it was read into: nothing is copied
//! and nothing allocated per message.

use std::{
    collections::VecDeque,
    io,
    pin::pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::resp::{Frame, Malformed, Parsed, element_size, elements_behind, parse};

/// The unhandled input of one connection.
pub(super) struct Inbox {
    /// What is parsed next.
    current: BytesMut,
    /// What comes after it, in blocks of `BLOCK`.
    ahead: VecDeque<BytesMut>,
    /// Bytes in `ahead`.
    ahead_bytes: usize,
    /// How many bytes the frame at the front of `current` has at least.
    need: usize,
    /// How many bytes to throw away: the rest of a frame that is too large, or of one of its elements.
    skip: usize,
    /// How many elements of that frame come after them: its size is only known with its last one.
    skip_elements: usize,
    /// How large it is without those.
    skipped: usize,
    /// The bound for everything held, and so for one frame.
    limit: usize,
    /// Bytes read since the last time that nothing more was there.
    streak: usize,
    /// Whether the bound was reached in that time.
    full: bool,
}

/// What a look into the inbox gives.
#[derive(Debug)]
pub(super) enum Next {
    /// A frame and its bytes.
    Frame(Frame, Bytes),
    /// A frame of so many bytes is too large and is being skipped.
    TooLarge(usize),
    /// Nothing complete is there.
    Empty,
}

/// What reading gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// Something was read.
    Bytes,
    /// The peer sends nothing any more.
    End,
    /// As much is held as is allowed.
    Full,
}

impl Inbox {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            current: BytesMut::new(),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            need: 1,
            skip: 0,
            skip_elements: 0,
            skipped: 0,
            limit: limit.max(BLOCK),
            streak: 0,
            full: false,
        }
    }

    /// Takes the next complete frame out.
    pub(super) fn next(&mut self) -> Result<Next, Malformed> {
        loop {
            if self.skip > 0 {
                let now = self.skip.min(self.current.len());
                let _ = self.current.split_to(now);
                self.skip -= now;
            }
            if self.skip == 0 && self.skip_elements > 0 && self.current.len() >= self.need {
                match element_size(&self.current)? {
                    Some(size) => {
                        self.skip_elements -= 1;
                        if let Some(whole) = self.skip_more(size) {
                            return Ok(Next::TooLarge(whole));
                        }
                        continue;
                    }
                    None => self.need = self.current.len() + 1,
                }
            } else if self.skip == 0 && self.current.len() >= self.need {
                match parse(&self.current)? {
                    Parsed::Frame(length, frame) => {
                        self.need = 1;
                        if let Frame::Number(_) = frame {
                            // The answer to each publish: has no ranges, and so needs no share in the block.
                            self.current.advance(length);
                            return Ok(Next::Frame(frame, Bytes::new()));
                        }
                        return Ok(Next::Frame(frame, self.current.split_to(length).freeze()));
                    }
                    Parsed::Need(total) if total > self.limit => {
                        self.skip_elements = elements_behind(&self.current);
                        if let Some(whole) = self.skip_more(total) {
                            return Ok(Next::TooLarge(whole));
                        }
                        continue;
                    }
                    Parsed::Need(total) => self.need = total,
                }
            }
            let Some(block) = self.ahead.pop_front() else {
                if self.current.is_empty() && self.current.capacity() > 4 * BLOCK {
                    self.current = BytesMut::new(); // what a large message took is given back
                }
                return Ok(Next::Empty);
            };
            self.ahead_bytes -= block.len();
            if self.current.is_empty() {
                self.current = block;
            } else {
                // The beginning of a frame whose rest is in the next block: the only bytes that are copied.
                self.current.reserve(block.len().max(self.need.saturating_sub(self.current.len())));
                self.current.extend_from_slice(&block);
            }
        }
    }

    /// Throws `size` bytes of a frame away. Gives the size of the frame if they are its last.
    fn skip_more(&mut self, size: usize) -> Option<usize> {
        self.need = 1;
        self.skip = size;
        self.skipped = self.skipped.saturating_add(size);
        (self.skip_elements == 0).then(|| std::mem::take(&mut self.skipped))
    }

    /// Reads once, if something can be read and may be held.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<Filled>> {
        let held = self.current.len() + self.ahead_bytes;
        // What the front frame lacks is always read, else it could never be handled; it is within the bound by itself.
        let missing = self.need.saturating_sub(held);
        if held >= self.limit && missing == 0 {
            self.full = true;
            return Poll::Ready(Ok(Filled::Full));
        }
        let direct = self.ahead.is_empty() && (missing > 0 || self.skip > 0 || self.current.len() < BLOCK);
        let buffer = if direct {
            if self.current.capacity() - self.current.len() < missing.max(BLOCK / 8) {
                self.current.reserve(missing.max(BLOCK));
            }
            &mut self.current
        } else {
            if self.ahead.back().is_none_or(|block| block.capacity() - block.len() < BLOCK / 8) {
                self.ahead.push_back(BytesMut::with_capacity(BLOCK));
            }
            match self.ahead.back_mut() {
                Some(block) => block,
                None => &mut self.current, // one was just added
            }
        };
        // The future keeps nothing between polls: to make it anew each time loses nothing.
        let read = match pin!(stream.read_buf(buffer)).poll(cx) {
            Poll::Pending => {
                self.drop_empty_block();
                (self.streak, self.full) = (0, false);
                return Poll::Pending;
            }
            Poll::Ready(read) => read,
        };
        self.drop_empty_block();
        let read = read?;
        if !direct {
            self.ahead_bytes += read;
        }
        self.streak += read;
        Poll::Ready(Ok(if read == 0 { Filled::End } else { Filled::Bytes }))
    }

    /// Says whether as much is held as is allowed.
    pub(super) fn is_full(&self) -> bool {
        self.current.len() + self.ahead_bytes >= self.limit
    }

    /// Says whether the peer has been sending faster than was read, up to now: messages came without a pause, or not
    /// even the last one is whole.
    pub(super) fn is_behind(&self) -> bool {
        self.full || self.streak >= BLOCK || !self.current.is_empty() || self.skip + self.skip_elements > 0
    }

    fn drop_empty_block(&mut self) {
        if self.ahead.back().is_some_and(BytesMut::is_empty) {
            self.ahead.pop_back();
        }
    }
}

/// Bytes read at once: some 400 small messages, and what a socket's buffer has when it is read in time.
pub(super) const BLOCK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Waker};

    use tokio::io::ReadBuf;

    use super::*;

    /// A stream that gives at most so many bytes at once, and then nothing.
    struct Pieces<'a> {
        rest: &'a [u8],
        at_once: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.rest.is_empty() {
                return Poll::Pending;
            }
            let (now, rest) = self.rest.split_at(self.at_once.min(buf.remaining()).min(self.rest.len()));
            buf.put_slice(now);
            self.rest = rest;
            Poll::Ready(Ok(()))
        }
    }

    fn message(size: usize) -> Vec<u8> {
        let mut bytes = format!(">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n${size}\r\n").into_bytes();
        bytes.extend((0..size).map(|at| at as u8));
        bytes.extend(b"\r\n");
        bytes
    }

    /// Reads `ahead` pieces before each look. Returns the sizes of the messages, those too large as errors.
    fn sizes(bytes: &[u8], at_once: usize, ahead: usize, limit: usize) -> Vec<Result<usize, usize>> {
        let mut stream = Pieces { rest: bytes, at_once };
        let mut inbox = Inbox::new(limit);
        let mut cx = Context::from_waker(Waker::noop());
        let mut sizes = Vec::new();
        loop {
            let mut pending = false;
            for _ in 0..ahead {
                pending = inbox.poll_fill(&mut cx, &mut stream).is_pending();
            }
            assert!(inbox.current.len() + inbox.ahead_bytes <= inbox.limit + 2 * BLOCK);
            assert_eq!(inbox.ahead_bytes, inbox.ahead.iter().map(BytesMut::len).sum::<usize>());
            match inbox.next().unwrap() {
                Next::Frame(Frame::Message { payload, .. }, bytes) => {
                    assert!(bytes[payload.clone()].iter().enumerate().all(|(at, byte)| *byte == at as u8));
                    sizes.push(Ok(payload.len()));
                }
                Next::TooLarge(size) => sizes.push(Err(size)),
                Next::Frame(other, _) => panic!("{other:?}"),
                Next::Empty if pending => return sizes,
                Next::Empty => {}
            }
        }
    }

    #[test]
    fn a_frame_is_skipped_whole_whichever_part_of_it_is_too_large() {
        let parts = |name: usize, payload: usize| {
            let (name, payload) = ("n".repeat(name), ":1\r\n".repeat(payload / 4));
            let head = format!(">4\r\n$8\r\npmessage\r\n$1\r\n*\r\n${}\r\n{name}\r\n", name.len());
            format!("{head}${}\r\n{payload}\r\n", payload.len()).into_bytes()
        };
        let frames = [parts(400_000, 8), parts(400_000, 400_000), parts(8, 400_000), parts(90_000, 400_000)];
        let mut bytes: Vec<u8> = Vec::new();
        for frame in &frames {
            bytes.extend(message(3));
            bytes.extend(frame);
        }
        bytes.extend(message(4));
        let mut expected: Vec<_> = frames.iter().flat_map(|frame| [Ok(3), Err(frame.len())]).collect();
        expected.push(Ok(4));
        for at_once in [1, 7, 1000, 65_536, 1_000_000] {
            for ahead in [1, 3, 50] {
                assert_eq!(sizes(&bytes, at_once, ahead, 99_000), expected, "{at_once} {ahead}");
            }
        }
    }

    #[test]
    fn frames_are_whole_however_they_are_cut_and_however_much_is_read_ahead() {
        let expected = [0, 1, 100, 100_000, 5, 70_000, 300_000, 2, 2, 65_500];
        let bytes: Vec<u8> = expected.into_iter().flat_map(message).collect();
        for at_once in [1, 7, 1000, 65_536, 1_000_000] {
            for ahead in [1, 3, 50] {
                let sizes = sizes(&bytes, at_once, ahead, 400_000);
                assert!(sizes.into_iter().eq(expected.map(Ok)), "{at_once} {ahead}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_skipped_and_nothing_else() {
        let bytes: Vec<u8> = [10, 500_000, 20, 99_000, 2_000_000, 30].into_iter().flat_map(message).collect();
        for (at_once, ahead) in [(1, 1), (1000, 3), (65_536, 50), (1_000_000, 1)] {
            let large = |size| Err(message(size).len());
            let expected = [Ok(10), large(500_000), Ok(20), Ok(99_000), large(2_000_000), Ok(30)];
            assert_eq!(sizes(&bytes, at_once, ahead, 100_000), expected, "{at_once} {ahead}");
        }
    }

    #[test]
    fn what_is_read_ahead_is_bounded_and_being_behind_is_noticed() {
        let bytes = message(100).repeat(10_000);
        let mut stream = Pieces { rest: &bytes, at_once: usize::MAX };
        let mut inbox = Inbox::new(200_000);
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(filled) = inbox.poll_fill(&mut cx, &mut stream)
            && filled.unwrap() == Filled::Bytes
        {}
        assert!(inbox.is_full() && inbox.is_behind() && !stream.rest.is_empty());
        let mut count = 0;
        loop {
            match inbox.next().unwrap() {
                Next::Frame(..) => count += 1,
                _ if inbox.poll_fill(&mut cx, &mut stream).is_pending() => break,
                _ => {}
            }
        }
        assert_eq!((count, inbox.is_behind()), (10_000, false));
        assert!(inbox.ahead.is_empty() && inbox.current.capacity() <= 4 * BLOCK);
    }
}
