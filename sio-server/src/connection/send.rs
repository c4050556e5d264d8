//! The way out of a connection: what is sent is queued, and written as far as the kernel takes it.

use std::io::IoSlice;
use std::sync::Arc;

use sio_protocol::engineio::PacketKind;
use sio_protocol::socketio::Packet;

use super::outbox::{Channel, Item, Pushed};
use super::{Connection, End, flush};
use crate::encoded::{Draft, Encoded};
use crate::error::EmitError;
use crate::reason::DisconnectReason;
use crate::sync::Lock;

impl Connection {
    /// Whether a volatile packet of about `len` bytes is sent now; see [`Outbox::is_writable`](super::outbox::Outbox::is_writable).
    pub(crate) fn is_writable(&self, len: usize) -> bool {
        self.outbox.locked().is_writable(len + VOLATILE_OVERHEAD, self.server.config.max_queued_bytes)
    }

    /// Queues a shared packet.
    pub(crate) fn send(self: &Arc<Self>, encoded: &Arc<Encoded>) -> Result<(), EmitError> {
        let encoded = self.deflate().and_then(|options| encoded.deflated(options)).unwrap_or(encoded);
        self.push(Item::Shared(Arc::clone(encoded)))
    }

    /// Queues a packet for this client alone.
    pub(crate) fn send_draft(
        self: &Arc<Self>,
        mut draft: Draft,
        nsp: &str,
        id: Option<u64>,
    ) -> Result<(), EmitError> {
        if let Some(parser) = &self.server.config.parser {
            let encoded = Arc::new(Encoded::new(&draft.packet(nsp, id), Some(parser)));
            return self.send(&encoded);
        }
        // The common case allocates nothing: the frame is copied to the end of the queue's buffer.
        let deflates = self.deflate().is_some_and(|options| draft.len() >= options.min_len());
        if !draft.has_attachments() && !deflates {
            let frame = draft.frame(nsp, id);
            let pushed = {
                let mut outbox = self.outbox.locked();
                match outbox.channel {
                    Channel::WebSocket => {
                        outbox.push_frame(frame, self.revision, self.server.config.max_queued_bytes)
                    }
                    Channel::Closing | Channel::Closed => Pushed::Closed,
                    Channel::Polling => {
                        drop(outbox);
                        return self.send(&Arc::new(draft.encode(nsp, id)));
                    }
                }
            };
            return self.pushed(pushed);
        }
        self.send(&Arc::new(draft.encode(nsp, id)))
    }

    /// Queues a Socket.IO packet that is neither event nor acknowledgement.
    pub(crate) fn send_packet(self: &Arc<Self>, packet: &Packet<'_>) -> Result<(), EmitError> {
        self.send(&Arc::new(Encoded::new(packet, self.server.config.parser.as_ref())))
    }

    /// Queues an Engine.IO packet without data.
    pub(crate) fn send_engine(self: &Arc<Self>, kind: PacketKind) {
        // Never refused for its size.
        let pushed = self.outbox.locked().push_engine(kind, self.revision);
        let _ = self.pushed(pushed);
    }

    /// Queues raw WebSocket frames: the open packet, a pong.
    pub(crate) fn send_frame(self: &Arc<Self>, frame: &[u8]) {
        let pushed =
            self.outbox.locked().push_frame(frame, self.revision, self.server.config.max_queued_bytes);
        // A client that floods pings and reads nothing ends here like any slow client.
        let _ = self.pushed(pushed);
    }

    fn push(self: &Arc<Self>, item: Item) -> Result<(), EmitError> {
        let pushed = self.outbox.locked().push(item, self.revision, self.server.config.max_queued_bytes);
        self.pushed(pushed)
    }

    fn pushed(self: &Arc<Self>, pushed: Pushed) -> Result<(), EmitError> {
        match pushed {
            Pushed::Queued => {
                flush::note_answer(self);
                Ok(())
            }
            Pushed::Dirty => {
                flush::schedule(self);
                Ok(())
            }
            Pushed::Closed => Err(EmitError::Disconnected),
            Pushed::Overflow => {
                tracing::debug!(session = ?self.id, "queue full, client disconnected");
                // Not here: the caller may be in the middle of a broadcast, and disconnect handlers are user code.
                let connection = Arc::clone(self);
                self.server.spawn(async move {
                    connection.end(DisconnectReason::SlowClient, End::Abrupt(None));
                });
                Err(EmitError::QueueFull)
            }
        }
    }

    /// Writes what is queued as far as the kernel takes it without waiting, or wakes whoever can.
    pub(crate) fn flush(&self) {
        let mut outbox = self.outbox.locked();
        outbox.dirty = false;
        if outbox.blocked {
            return;
        }
        let stream = match outbox.channel {
            Channel::Polling | Channel::Closed => None,
            Channel::WebSocket | Channel::Closing => outbox.tcp.take(),
        };
        if let Some(tcp) = stream {
            let written = outbox.write_to(self.revision, |slices| tcp.write(slices));
            outbox.tcp = Some(tcp);
            match written {
                Ok(true) if outbox.channel == Channel::WebSocket => return,
                Ok(true) => {}
                Ok(false) => outbox.blocked = true,
                // The driver meets the same error when it reads, and ends the connection with the right reason.
                Err(_) => outbox.clear(),
            }
        }
        if let Some(waker) = &outbox.waker {
            waker.wake_by_ref();
        }
    }

    /// Goes on writing for a driver whose stream became writable: `Ok(false)` when it would block again.
    pub(crate) fn write_blocked(
        &self,
        write: impl FnMut(&[IoSlice<'_>]) -> std::io::Result<usize>,
    ) -> std::io::Result<bool> {
        let mut outbox = self.outbox.locked();
        let done = outbox.write_to(self.revision, write)?;
        outbox.blocked = !done;
        Ok(done)
    }
}

/// What a packet may count beside its data when it is queued: frame, namespace and entry, generously.
const VOLATILE_OVERHEAD: usize = 1024;
