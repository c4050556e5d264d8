//! The one pong that answers all the pings of a read batch.

use super::frame::{FIN, MAX_CONTROL, Opcode};

/// Collects pings while a batch is read and gives the single pong they are owed.
///
/// RFC 6455, section 5.5.3, lets an endpoint answer only the latest of several unanswered pings. Doing so
/// once per batch bounds what a flood of pings can make the server write. Lives on the stack of whoever
/// handles the batch, not in the connection:
///
/// ```text
/// let mut pong = PongReply::default();
/// reader.feed(&limits, input, &mut |message| match message {
///     Message::Ping(payload) => { pong.note(payload); ControlFlow::Continue(()) }
///     ..
/// })?;
/// if let Some(frame) = pong.frame() { out.extend_from_slice(frame) }
/// ```
#[derive(Debug)]
pub(crate) struct PongReply {
    frame: [u8; 2 + MAX_CONTROL],
    /// Length of the frame, 0 when no ping came.
    len: u8,
}

impl PongReply {
    /// Remembers a ping instead of any earlier one.
    ///
    /// # Panics
    ///
    /// If the payload is longer than that of a control frame, which no [`Reader`](super::Reader) delivers.
    pub(crate) fn note(&mut self, payload: &[u8]) {
        self.frame[0] = FIN | Opcode::Pong as u8;
        self.frame[1] = payload.len() as u8;
        self.frame[2..2 + payload.len()].copy_from_slice(payload);
        self.len = 2 + payload.len() as u8;
    }

    /// Gives the finished pong frame, if there was a ping.
    pub(crate) fn frame(&self) -> Option<&[u8]> {
        (self.len > 0).then(|| &self.frame[..usize::from(self.len)])
    }
}

impl Default for PongReply {
    fn default() -> Self {
        Self { frame: [0; 2 + MAX_CONTROL], len: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_ping_is_answered() {
        let mut reply = PongReply::default();
        assert_eq!(reply.frame(), None);
        reply.note(b"first, and longer");
        reply.note(b"second");
        assert_eq!(reply.frame(), Some(&b"\x8A\x06second"[..]));
        reply.note(&[7; 125]);
        assert_eq!(reply.frame().unwrap().len(), 127);
    }
}
