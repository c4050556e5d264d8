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

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::resp::{Frame, Malformed, Parsed, parse};

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
    /// How many bytes to throw away: the rest of a frame that is too large.
    skip: usize,
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
            if self.skip == 0 && self.current.len() >= self.need {
                match parse(&self.current)? {
                    Parsed::Frame(length, frame) => {
                        self.need = 1;
                        return Ok(Next::Frame(frame, self.current.split_to(length).freeze()));
                    }
                    Parsed::Need(total) if total > self.limit => {
                        self.need = 1;
                        self.skip = total;
                        return Ok(Next::TooLarge(total));
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

    /// Reads once, if something can be read and may be held.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<Filled>> {
        let held = self.current.len() + self.ahead_bytes;
        // What the front frame lacks is always read, else it could never be handled; it is within the bound by itself.
        let missing = self.need.saturating_sub(held);
        if held >= self.limit && missing == 0 && self.skip == 0 {
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

    /// Says whether the peer has been sending faster than was read, up to now: messages came without a pause, or not
    /// even the last one is whole.
    pub(super) fn is_behind(&self) -> bool {
        self.full || self.streak >= BLOCK || !self.current.is_empty() || self.skip > 0
    }

    fn drop_empty_block(&mut self) {
        if self.ahead.back().is_some_and(BytesMut::is_empty) {
            self.ahead.pop_back();
        }
    }
}

/// Bytes read at once: some 400 small messages, and what a socket's buffer has when it is read in time.
pub(super) const BLOCK: usize = 64 << 10;
