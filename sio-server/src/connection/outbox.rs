//! What waits to be sent to one client: bounded in bytes, without heap memory while empty.
//!
//! Packets are queued in one order for both transports. A WebSocket drains them with one vectored write; a held
//! poll drains them into one payload. Small frames for a single recipient are appended to one contiguous buffer,
//! shared packets are queued by reference count.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::task::Waker;

use sio_protocol::engineio::{PacketKind, Revision};
use smallvec::SmallVec;

use super::flush;
use crate::encoded::Encoded;
use crate::transport::stream::Tcp;

/// One entry of the queue.
#[derive(Debug)]
pub(crate) enum Item {
    /// A packet shared with other recipients.
    Shared(Arc<Encoded>),
    /// Complete WebSocket text frames for this client alone. Never queued while the transport is polling.
    Frames(Vec<u8>),
    /// An Engine.IO packet without data.
    Engine(PacketKind),
}

impl Item {
    fn wire_len(&self, revision: Revision) -> usize {
        match self {
            Self::Shared(encoded) => encoded.wire_len(revision),
            Self::Frames(bytes) => bytes.len(),
            Self::Engine(_) => ENGINE_FRAME_LEN,
        }
    }

    /// What it counts against the bound: its bytes, and about what an entry takes beside them, or many tiny packets
    /// would take many times the bound.
    fn cost(&self, revision: Revision) -> usize {
        match self {
            Self::Frames(bytes) => bytes.len(),
            Self::Shared(_) | Self::Engine(_) => self.wire_len(revision) + ENTRY_OVERHEAD,
        }
    }
}

/// Where the connection drains its queue to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Polling,
    WebSocket,
    /// Nothing is accepted any more; what is queued still goes out.
    Closing,
    /// Nothing goes out any more.
    Closed,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Queued, and somebody already knows that this queue wants flushing.
    Queued,
    /// Queued as the first since the last flush: the caller has to have it flushed.
    Dirty,
    /// The connection is closed.
    Closed,
    /// The byte bound is exceeded: the caller has to close the connection. Nothing is accepted any more, or a smaller
    /// packet would arrive behind the gap.
    Overflow,
}

/// What waits behind the first entry. A type of its own because it is boxed: 8 bytes instead of 32 in every connection.
#[derive(Debug, Default)]
struct Rest(VecDeque<Item>);

/// The queue of one connection. In this order in memory: see [`Connection`](super::Connection).
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Outbox {
    pub(crate) channel: Channel,
    /// The client asked for binary as base64 when it opened the WebSocket. (A polling payload is made from the
    /// packets themselves and knows for itself.)
    base64: bool,
    /// The bound was exceeded: the connection is about to be ended.
    overflowed: bool,
    /// Somebody will flush: further pushes need not ask for it.
    pub(crate) dirty: bool,
    /// The kernel's buffer is full: the connection's own task goes on when it drains.
    pub(crate) blocked: bool,
    /// The batch in which the last packet was queued.
    last: u16,
    bytes: usize,
    front: Option<Item>,
    /// Boxed, as most connections never have two entries waiting.
    rest: Option<Box<Rest>>,
    /// Bytes of `front` that the kernel has taken.
    written: usize,
    /// The stream of a WebSocket over plain TCP, for whoever emits to write to directly. It is the task's: with the
    /// task it goes, whoever keeps a handle of the connection. Other streams (TLS, unix sockets) are the task's alone.
    pub(crate) tcp: Option<Arc<Tcp>>,
    /// The WebSocket's task, or the held poll.
    pub(crate) waker: Option<Waker>,
}

impl Outbox {
    pub(crate) fn new(channel: Channel, base64: bool) -> Self {
        let base64 = base64 && channel == Channel::WebSocket;
        Self {
            front: None,
            rest: None,
            written: 0,
            bytes: 0,
            channel,
            base64,
            overflowed: false,
            dirty: false,
            blocked: false,
            last: 0,
            waker: None,
            tcp: None,
        }
    }

    /// Changes from polling to WebSocket; what waits goes out there. Gives the waker of a held poll.
    pub(crate) fn upgrade(&mut self, base64: bool, revision: Revision) -> Option<Waker> {
        // The session may have ended on another thread meanwhile.
        if matches!(self.channel, Channel::Closing | Channel::Closed) {
            return self.waker.take();
        }
        let items: Vec<Item> = self.drain().collect();
        self.channel = Channel::WebSocket;
        self.base64 = base64;
        for item in items {
            self.push(item, revision, usize::MAX);
        }
        self.dirty = false;
        self.waker.take()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.front.is_none()
    }

    /// Whether so much waits that the client should read before it is heard again.
    pub(crate) fn is_backed_up(&self, limit: usize) -> bool {
        self.blocked && self.bytes > limit / 2
    }

    /// Queues `item` unless the connection is closed or `limit` bytes would be exceeded.
    pub(crate) fn push(&mut self, item: Item, revision: Revision, limit: usize) -> Pushed {
        if matches!(self.channel, Channel::Closing | Channel::Closed) || self.overflowed {
            return Pushed::Closed;
        }
        let item = match item {
            Item::Shared(encoded) if self.base64 && encoded.has_binaries() => {
                Item::Shared(Arc::new(encoded.to_base64(revision)))
            }
            item => item,
        };
        let len = item.cost(revision);
        if !self.has_room(len, revision, limit) {
            return Pushed::Overflow;
        }
        self.bytes += len;
        self.enqueue(item);
        self.touch()
    }

    /// Queues an Engine.IO packet without data, even into a full queue: heartbeats must not be what ends a slow client.
    /// One that waits at the end already says the same, so there are never more of them than of other packets, which
    /// are bounded; a client that sends pings and reads nothing gets one pong.
    pub(crate) fn push_engine(&mut self, kind: PacketKind, revision: Revision) -> Pushed {
        let mut waiting = self.front.iter().chain(self.rest.iter().flat_map(|rest| rest.0.iter()));
        if waiting.next_back().is_some_and(|item| matches!(item, Item::Engine(last) if *last == kind)) {
            return Pushed::Queued;
        }
        self.push(Item::Engine(kind), revision, usize::MAX)
    }

    /// Appends a finished frame for this client alone; only for the WebSocket channel.
    pub(crate) fn push_frame(&mut self, frame: &[u8], revision: Revision, limit: usize) -> Pushed {
        if self.channel != Channel::WebSocket || self.overflowed {
            return Pushed::Closed;
        }
        if !self.has_room(frame.len(), revision, limit) {
            return Pushed::Overflow;
        }
        self.bytes += frame.len();
        let back = match &mut self.rest {
            Some(rest) => rest.0.back_mut(),
            None => self.front.as_mut(),
        };
        match back {
            Some(Item::Frames(bytes)) if bytes.len() + frame.len() <= FRAMES_CHUNK => {
                bytes.extend_from_slice(frame)
            }
            _ => {
                let mut bytes = spare::take();
                bytes.extend_from_slice(frame);
                self.enqueue(Item::Frames(bytes));
            }
        }
        self.touch()
    }

    /// Whether `len` more bytes may wait. A single packet larger than the bound still goes to a client that has nothing
    /// else waiting.
    ///
    /// The bound is for clients that do not read, not for handlers that emit much before anything is written: what
    /// waits is offered to the kernel first.
    fn has_room(&mut self, len: usize, revision: Revision, limit: usize) -> bool {
        let fits = |queue: &Self| queue.bytes + len <= limit || queue.is_empty();
        if fits(self) {
            return true;
        }
        if let Some(tcp) = self.tcp.clone().filter(|_| self.channel == Channel::WebSocket && !self.blocked) {
            match self.write_to(revision, |slices| tcp.write(slices)) {
                Ok(true) => {}
                Ok(false) => {
                    self.blocked = true;
                    // Whoever flushes next leaves a blocked queue alone: its task has to learn of it here.
                    if let Some(waker) = &self.waker {
                        waker.wake_by_ref();
                    }
                }
                // The driver meets the same error when it reads.
                Err(_) => self.clear(),
            }
        }
        self.overflowed = !fits(self);
        !self.overflowed
    }

    fn enqueue(&mut self, item: Item) {
        if self.front.is_none() {
            self.front = Some(item);
        } else {
            self.rest.get_or_insert_with(spare::take_rest).0.push_back(item);
        }
    }

    /// Whether a volatile packet of `len` bytes is sent now: nothing waits but, on a WebSocket, what other batches have
    /// left for the end of this turn. What the same batch has queued counts as in Node, where the transport is busy
    /// until the callback returns. Node: `transport.writable`.
    pub(crate) fn is_writable(&self, len: usize, limit: usize) -> bool {
        match self.channel {
            Channel::WebSocket if self.blocked => false,
            Channel::WebSocket => {
                let at_once = self.bytes + len <= limit.min(WRITABLE_MAX);
                let only_late = at_once && self.dirty && self.last != flush::serial();
                self.is_empty() || only_late
            }
            Channel::Polling => self.is_empty() && self.waker.is_some(),
            Channel::Closing | Channel::Closed => false,
        }
    }

    fn touch(&mut self) -> Pushed {
        self.last = flush::serial();
        // The task that waits for room writes this too, and leaves a queue behind that nobody has in a list.
        if self.blocked || std::mem::replace(&mut self.dirty, true) { Pushed::Queued } else { Pushed::Dirty }
    }

    /// Takes everything, for a polling payload.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Item> + use<> {
        self.written = 0;
        self.bytes = 0;
        self.dirty = false;
        let rest = self.rest.take().map_or_else(VecDeque::new, |rest| rest.0);
        self.front.take().into_iter().chain(rest)
    }

    /// Writes as much as `write` takes: it is given slices in order and says how many bytes it took.
    ///
    /// `Ok(true)` when the queue is empty afterwards, `Ok(false)` when `write` would block.
    pub(crate) fn write_to(
        &mut self,
        revision: Revision,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        while let Some(front) = &self.front {
            // Not an array: most writes have a few slices, and filling 64 with nothing takes longer than that.
            let mut slices = SmallVec::<[IoSlice<'_>; MAX_SLICES]>::new();
            let mut offered = 0;
            let mut skip = self.written;
            for item in std::iter::once(front).chain(self.rest.iter().flat_map(|rest| rest.0.iter())) {
                for_each_slice(item, revision, |slice| {
                    let from = skip.min(slice.len());
                    skip -= from;
                    if slices.len() < MAX_SLICES && from < slice.len() {
                        slices.push(IoSlice::new(&slice[from..]));
                        offered += slice.len() - from;
                    }
                });
                if slices.len() == MAX_SLICES {
                    break;
                }
            }
            let result = if slices.len() > 1 && offered <= JOINED_MAX {
                spare::join(&slices, |joined| write(&[IoSlice::new(joined)]))
            } else {
                write(&slices)
            };
            drop(slices);
            match result {
                Ok(0) if offered > 0 => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    self.advance(taken, revision);
                    // A short write says that the kernel's buffer is full; asking again would cost a call to
                    // hear it.
                    if taken < offered {
                        return Ok(false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Drops `taken` bytes from the head of the queue.
    fn advance(&mut self, taken: usize, revision: Revision) {
        self.written += taken;
        while let Some(front) = &self.front {
            let len = front.wire_len(revision);
            if self.written < len {
                return;
            }
            self.written -= len;
            self.bytes -= front.cost(revision);
            if let Some(Item::Frames(bytes)) = self.front.take() {
                spare::put(bytes);
            }
            if let Some(rest) = &mut self.rest {
                self.front = rest.0.pop_front();
                // What a burst took is given back: an idle connection is as small as before.
                if rest.0.is_empty()
                    && let Some(rest) = self.rest.take()
                {
                    spare::put_rest(rest);
                }
            }
        }
        self.written = 0;
    }

    /// Drops what the kernel has taken nothing of yet; a frame that is half sent has to be finished.
    pub(crate) fn drop_unsent(&mut self) {
        self.rest = None;
        if self.written == 0 {
            self.front = None;
        }
        self.bytes = self.front.as_ref().map_or(0, |_| self.bytes);
    }

    /// Queues the frame after which nothing comes, whatever the bound.
    pub(crate) fn push_last(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.enqueue(Item::Frames(frame));
    }

    /// Forgets everything that waits.
    pub(crate) fn clear(&mut self) {
        drop(self.drain());
        self.blocked = false;
    }
}

fn for_each_slice<'a>(item: &'a Item, revision: Revision, mut f: impl FnMut(&'a [u8])) {
    match item {
        Item::Shared(encoded) => encoded.slices(revision).for_each(f),
        Item::Frames(bytes) => f(bytes),
        Item::Engine(kind) => f(engine_frame(*kind)),
    }
}

/// The WebSocket text frame of an Engine.IO packet without data.
fn engine_frame(kind: PacketKind) -> &'static [u8; ENGINE_FRAME_LEN] {
    match kind {
        PacketKind::Open => b"\x81\x010",
        PacketKind::Close => b"\x81\x011",
        PacketKind::Ping => b"\x81\x012",
        PacketKind::Pong => b"\x81\x013",
        PacketKind::Message => b"\x81\x014",
        PacketKind::Upgrade => b"\x81\x015",
        PacketKind::Noop => b"\x81\x016",
    }
}

/// Memory of drained queues, reused by the next connections that this thread writes to. In a broadcast of several packets
/// every recipient needs a queue for a moment; the allocator, asked for a thousand at once, is slow to give and to take.
mod spare {
    use std::cell::{Cell, RefCell};
    use std::io::IoSlice;

    use super::Rest;

    thread_local! {
        static JOINED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        static BUFFERS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
        #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
        static RESTS: RefCell<Vec<Box<Rest>>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn take() -> Vec<u8> {
        BUFFERS.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
    }

    pub(super) fn put(mut bytes: Vec<u8>) {
        if bytes.capacity() <= super::FRAMES_CHUNK {
            // Not on a thread that is ending.
            let _ = BUFFERS.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < MAX_BUFFERS {
                    bytes.clear();
                    spare.push(bytes);
                }
            });
        }
    }

    /// Lends `f` what the slices hold, in one piece. Their total is at most `JOINED_MAX`.
    pub(super) fn join<R>(slices: &[IoSlice<'_>], f: impl FnOnce(&[u8]) -> R) -> R {
        // Taken out, not borrowed: `f` may be some stream's own code.
        let mut joined = JOINED.try_with(Cell::take).unwrap_or_default();
        joined.clear();
        slices.iter().for_each(|slice| joined.extend_from_slice(slice));
        let result = f(&joined);
        let _ = JOINED.try_with(|spare| spare.set(joined));
        result
    }

    pub(super) fn take_rest() -> Box<Rest> {
        RESTS.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default()
    }

    /// Takes back an empty queue.
    pub(super) fn put_rest(rest: Box<Rest>) {
        if rest.0.capacity() <= MAX_CAPACITY {
            let _ = RESTS.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < MAX_RESTS {
                    spare.push(rest);
                }
            });
        }
    }

    /// Worst case 64 x 16 KiB = 1 MiB a thread.
    const MAX_BUFFERS: usize = 64;
    /// Worst case 1024 x 16 entries of 24 bytes = 400 KiB a thread.
    const MAX_RESTS: usize = 1024;
    const MAX_CAPACITY: usize = 16;
}

const ENGINE_FRAME_LEN: usize = 3;
/// Bytes of an entry and of the packet behind it, about.
const ENTRY_OVERHEAD: usize = 128;
/// So much may wait for the end of the turn for a volatile packet to join it: what the kernel takes in one go from a
/// client that reads.
const WRITABLE_MAX: usize = 64 * 1024;
/// Slices of one vectored write. Eight frames a call already give most of the gain; 64 is far below the
/// kernel's 1024 and keeps the array on the stack small.
const MAX_SLICES: usize = 64;
/// Several slices of no more than this in all are copied together first: one piece costs the kernel about 300 ns less to
/// take than four, which is more than copying it takes.
const JOINED_MAX: usize = 8 * 1024;
/// Frames are appended to one buffer up to this size, so that growing it never copies much.
const FRAMES_CHUNK: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use sio_protocol::socketio::Packet;

    fn shared(text: &str) -> Item {
        let packet = Packet::event("/", None, format!("[\"e\",\"{text}\"]"), Vec::<Bytes>::new());
        Item::Shared(Arc::new(Encoded::new(&packet, None)))
    }

    fn collect(outbox: &mut Outbox, mut step: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        let all = step == 0;
        loop {
            let done = outbox
                .write_to(Revision::V4, |slices| {
                    let mut taken = 0;
                    for slice in slices {
                        let n = if all { slice.len() } else { slice.len().min(step - taken) };
                        wire.extend_from_slice(&slice[..n]);
                        taken += n;
                        if !all && taken == step {
                            break;
                        }
                    }
                    Ok(taken)
                })
                .unwrap();
            if done {
                return wire;
            }
            step = step.max(1);
        }
    }

    fn filled() -> Outbox {
        let mut outbox = Outbox::new(Channel::WebSocket, false);
        assert_eq!(outbox.push(shared("one"), Revision::V4, 1000), Pushed::Dirty);
        assert_eq!(outbox.push_frame(b"\x81\x03abc", Revision::V4, 1000), Pushed::Queued);
        assert_eq!(outbox.push_frame(b"\x81\x03def", Revision::V4, 1000), Pushed::Queued);
        assert_eq!(outbox.push(Item::Engine(PacketKind::Ping), Revision::V4, 1000), Pushed::Queued);
        assert_eq!(outbox.push(shared("two"), Revision::V4, 1000), Pushed::Queued);
        outbox
    }

    /// Who asks for a flush would otherwise wait for ever for the one that was thought to be under way.
    #[test]
    fn what_is_queued_while_blocked_leaves_a_queue_that_asks_for_a_flush_again() {
        let mut outbox = Outbox::new(Channel::WebSocket, false);
        outbox.blocked = true;
        assert_eq!(outbox.push_engine(PacketKind::Ping, Revision::V4), Pushed::Queued);
        assert!(
            outbox.write_to(Revision::V4, |slices| Ok(slices.iter().map(|slice| slice.len()).sum())).unwrap()
        );
        outbox.blocked = false;
        assert_eq!(outbox.push_engine(PacketKind::Ping, Revision::V4), Pushed::Dirty);
    }

    #[test]
    fn any_pattern_of_short_writes_gives_the_same_bytes() {
        let whole = collect(&mut filled(), 0);
        assert!(whole.starts_with(b"\x81\x0d42[\"e\",\"one\"]\x81\x03abc\x81\x03def\x81\x012\x81"));
        for step in 1..whole.len() {
            assert_eq!(collect(&mut filled(), step), whole, "{step} bytes a write");
        }
    }

    #[test]
    fn a_drained_queue_holds_no_memory_and_no_bytes() {
        let mut outbox = filled();
        collect(&mut outbox, 0);
        assert!(outbox.is_empty() && outbox.rest.is_none());
        assert_eq!((outbox.bytes, outbox.written), (0, 0));
    }

    #[test]
    fn the_byte_bound_refuses_what_does_not_fit_and_everything_after_it() {
        let mut outbox = Outbox::new(Channel::WebSocket, false);
        assert_eq!(outbox.push_frame(&[0; 90], Revision::V4, 100), Pushed::Dirty);
        assert_eq!(outbox.push_frame(&[0; 10], Revision::V4, 100), Pushed::Queued);
        assert_eq!(outbox.push_frame(&[0; 1], Revision::V4, 100), Pushed::Overflow);
        assert_eq!(collect(&mut outbox, 0).len(), 100, "what was before it still goes out");
        assert_eq!(outbox.push_frame(&[0; 1], Revision::V4, 100), Pushed::Closed);
        assert_eq!(outbox.push(shared("x"), Revision::V4, 100), Pushed::Closed);
        assert_eq!(outbox.push_engine(PacketKind::Ping, Revision::V4), Pushed::Closed);
        let mut polled = Outbox::new(Channel::Polling, false);
        assert_eq!(polled.push(shared("x"), Revision::V4, 300), Pushed::Dirty);
        assert_eq!(polled.push(shared(&"x".repeat(300)), Revision::V4, 300), Pushed::Overflow);
        assert_eq!(polled.push(shared("x"), Revision::V4, 1000), Pushed::Closed);
    }

    #[test]
    fn a_flood_of_pongs_is_one_pong() {
        let mut outbox = Outbox::new(Channel::Polling, false);
        for _ in 0..100_000 {
            outbox.push_engine(PacketKind::Pong, Revision::V3);
        }
        assert_eq!(outbox.drain().count(), 1);
    }

    #[test]
    fn tiny_packets_count_with_what_they_take_in_memory() {
        let mut outbox = Outbox::new(Channel::Polling, false);
        let queued =
            (0..).take_while(|_| outbox.push(shared(""), Revision::V4, 100_000) != Pushed::Overflow).count();
        assert!((500..1000).contains(&queued), "{queued}");
    }

    #[test]
    fn one_large_packet_passes_an_empty_queue() {
        let mut outbox = Outbox::new(Channel::WebSocket, false);
        assert_eq!(outbox.push_frame(&[0; 500], Revision::V4, 100), Pushed::Dirty);
    }

    #[test]
    fn a_closing_connection_accepts_nothing() {
        let mut outbox = filled();
        outbox.channel = Channel::Closing;
        assert_eq!(outbox.push(shared("late"), Revision::V4, 1000), Pushed::Closed);
        assert!(!outbox.is_empty(), "what was queued before still goes out");
    }

    #[test]
    fn an_upgrade_that_meets_the_end_changes_nothing() {
        let mut outbox = Outbox::new(Channel::Polling, false);
        outbox.push(shared("last"), Revision::V4, 1000);
        outbox.channel = Channel::Closing;
        outbox.waker = Some(Waker::noop().clone());
        assert!(outbox.upgrade(false, Revision::V4).is_some(), "a held poll is sent home all the same");
        assert_eq!(outbox.channel, Channel::Closing);
        assert_eq!(outbox.push(shared("late"), Revision::V4, 1000), Pushed::Closed);
        assert!(matches!(outbox.drain().next(), Some(Item::Shared(_))));
    }

    #[test]
    fn a_poll_takes_everything_in_order() {
        let mut outbox = Outbox::new(Channel::Polling, false);
        outbox.push(shared("one"), Revision::V4, 1000);
        outbox.push(Item::Engine(PacketKind::Ping), Revision::V4, 1000);
        let items: Vec<Item> = outbox.drain().collect();
        assert!(matches!(items[..], [Item::Shared(_), Item::Engine(PacketKind::Ping)]));
        assert!(outbox.is_empty());
        assert_eq!(outbox.push(shared("next"), Revision::V4, 1000), Pushed::Dirty);
    }
}
