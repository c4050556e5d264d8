//! How many handlers of one connection run, and what waits for one of them to end. Knows no packet's meaning.
//!
//! A handler that is done after its first poll is not counted and costs nothing here. One that goes on counts; at
//! [`max_running_handlers`](crate::ServerBuilder::max_running_handlers) whatever the client sends waits in a
//! [`Backlog`], in order, behind what waits already. Acknowledgements do not, since handlers may wait for them, and
//! neither do heartbeats, until the backlog is full and the connection is no longer read. Node has no such bound.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use sio_protocol::socketio::Packet;

use super::Connection;
use super::dispatch::Dispatch;
use crate::socket::SocketInner;
use crate::sync::Lock;

/// The count of running handlers, and two facts about the backlog, in one word: packets pay a load for it.
#[derive(Debug, Default)]
pub(super) struct Running(AtomicU32);

impl Running {
    /// Whether what comes now may be handled at once: fewer than `max` handlers run and nothing waits.
    #[inline]
    pub(super) fn has_room(&self, max: u32) -> bool {
        // A flag makes the word larger than any count.
        self.0.load(Ordering::Acquire) < max
    }

    /// Whether something waits for which there is room.
    pub(super) fn may_resume(&self, max: u32) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & WAITING != 0 && word & COUNT < max
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.0.load(Ordering::Acquire) & WAITING != 0
    }

    /// Whether so much waits that nothing more is to be read.
    pub(super) fn is_full(&self) -> bool {
        self.0.load(Ordering::Acquire) & FULL != 0
    }

    fn raise(&self, flags: u32) {
        self.0.fetch_or(flags, Ordering::AcqRel);
    }

    /// Whether it was full until now, and no longer is.
    fn clear(&self, flags: u32) -> bool {
        self.0.fetch_and(!flags, Ordering::AcqRel) & flags & FULL != 0
    }
}

impl Connection {
    /// Whether what comes now may be handled at once.
    #[inline]
    pub(super) fn has_room(&self) -> bool {
        self.running.has_room(self.server.config.max_running_handlers)
    }

    /// Whether something waits for which there is room now.
    pub(super) fn may_resume(&self) -> bool {
        self.running.may_resume(self.server.config.max_running_handlers)
    }

    /// Whether so much waits for handlers to end that nothing more is to be read.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.running.is_full()
    }

    /// Waits, as the POST, until more can be read.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_backlogged() {
            return Poll::Ready(());
        }
        self.with_polling(|polling| polling.post = Some(cx.waker().clone()));
        // It may have been made in between.
        if self.is_backlogged() { Poll::Pending } else { Poll::Ready(()) }
    }

    fn wake_readers(&self) {
        let post = self.core.locked().polling.as_mut().and_then(|polling| polling.post.take());
        if let Some(post) = post {
            post.wake();
        }
        if let Some(waker) = &self.outbox.locked().waker {
            waker.wake_by_ref();
        }
    }

    /// Goes on with what waits for a handler to end, unless a batch is being handled: its end sees to that.
    pub(super) fn resume(self: &Arc<Self>) {
        if let Some(mut dispatch) = Dispatch::begin(self) {
            dispatch.resume();
        }
    }
}

/// A handler that goes on in a task of its own.
#[derive(Debug)]
pub(crate) struct RunningHandler(Arc<SocketInner>);

impl RunningHandler {
    /// Counts it, for the socket it is for.
    pub(crate) fn begin(socket: &Arc<SocketInner>) -> Self {
        socket.connection().running.0.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(socket))
    }

    pub(crate) fn socket(&self) -> &Arc<SocketInner> {
        &self.0
    }

    /// It is done: what waits for it goes on here. Not when it is only dropped, with a runtime that ends.
    pub(crate) fn finish(self) {
        let connection = Arc::clone(self.0.connection());
        drop(self);
        if connection.running.is_waiting() {
            connection.resume();
        }
    }
}

impl Drop for RunningHandler {
    fn drop(&mut self) {
        self.0.connection().running.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Packets that wait, in order. Belongs to whoever handles what the client sends; made when the first one waits.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    packets: VecDeque<Packet<'static>>,
    bytes: usize,
}

impl Backlog {
    /// Adds a packet; past the size of one message the connection is to be read no more.
    #[cold]
    pub(super) fn push(&mut self, connection: &Connection, packet: &Packet<'_>) {
        self.bytes += size(packet);
        self.packets.push_back(packet.clone().into_owned());
        let is_full = self.bytes > connection.server().config.max_http_buffer_size;
        connection.running.raise(if is_full { WAITING | FULL } else { WAITING });
    }

    /// Takes the next one out. At half the bound there is room again.
    pub(super) fn pop(&mut self, connection: &Connection) -> Option<Packet<'static>> {
        let packet = self.packets.pop_front()?;
        self.bytes -= size(&packet);
        if self.bytes <= connection.server().config.max_http_buffer_size / 2 && connection.running.clear(FULL)
        {
            connection.wake_readers();
        }
        Some(packet)
    }
}

/// Nothing waits any more.
pub(super) fn emptied(connection: &Connection) {
    if connection.running.clear(WAITING | FULL) {
        connection.wake_readers();
    }
}

fn size(packet: &Packet<'_>) -> usize {
    let attachments: usize = packet.attachments.iter().map(|bytes| bytes.len() + size_of::<Bytes>()).sum();
    packet.data.len() + packet.nsp.len() + attachments + size_of::<Packet<'_>>()
}

/// Something waits.
const WAITING: u32 = 1 << 31;
/// The backlog is full.
const FULL: u32 = 1 << 30;
const COUNT: u32 = FULL - 1;
/// The largest bound that the word can hold.
pub(crate) const MAX_RUNNING: u32 = COUNT;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::End;
    use crate::connection::dispatch::{Dispatch, Next};
    use crate::reason::DisconnectReason;
    use crate::{Args, Server, Socket};
    use sio_protocol::engineio::session::Transport;
    use std::future::poll_fn;
    use tokio::sync::Semaphore;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// A server whose handlers of `n` say that they start and wait for a permit.
    fn server(max_running: usize, max_message: usize) -> (Server, Arc<Semaphore>, UnboundedReceiver<u32>) {
        let io = Server::builder()
            .max_running_handlers(max_running)
            .max_http_buffer_size(max_message)
            .state(Semaphore::new(0))
            .build();
        let (sender, started) = unbounded_channel();
        let permits: Arc<Semaphore> = io.state().unwrap();
        let wanted = Arc::clone(&permits);
        io.of("/").on("n", move |Args(n): Args<u32>| {
            let _ = sender.send(n);
            let wanted = Arc::clone(&wanted);
            async move { wanted.acquire().await.unwrap().forget() }
        });
        (io, permits, started)
    }

    fn joined(io: &Server) -> Arc<Connection> {
        let connection = Connection::alone(&io.shared, Transport::WebSocket);
        say(&connection, &["40"]);
        connection
    }

    /// One batch.
    fn say(connection: &Arc<Connection>, texts: &[&str]) {
        let mut dispatch = Dispatch::begin(connection).unwrap();
        texts.iter().for_each(|text| assert_eq!(dispatch.websocket_text(text), Next::Continue));
    }

    fn drain(started: &mut UnboundedReceiver<u32>) -> Vec<u32> {
        std::iter::from_fn(|| started.try_recv().ok()).collect()
    }

    #[tokio::test]
    async fn at_the_bound_what_comes_waits_in_order_for_a_handler_to_end() {
        let (io, permits, mut started) = server(2, 1_000_000);
        let (ends, mut ended) = unbounded_channel();
        io.of("/").on_disconnect(move |_: Socket| {
            let _ = ends.send(());
            async {}
        });
        let connection = joined(&io);
        say(&connection, &["42[\"n\",0]", "42[\"n\",1]", "42[\"n\",2]"]);
        say(&connection, &["42[\"n\",3]", "42[\"n\",4]", "41"]);
        assert_eq!(drain(&mut started), [0, 1]);
        for n in 2..5 {
            permits.add_permits(1);
            assert_eq!(started.recv().await, Some(n));
            assert_eq!(drain(&mut started), [0; 0]);
            assert!(ended.try_recv().is_err());
        }
        // It comes behind the events that were sent before it.
        permits.add_permits(1);
        ended.recv().await.unwrap();
        assert!(!connection.running.is_waiting());
    }

    #[tokio::test]
    async fn a_handler_that_is_done_at_once_is_not_counted() {
        let (io, permits, mut started) = server(1, 1_000_000);
        permits.add_permits(3);
        say(&joined(&io), &["42[\"n\",0]", "42[\"n\",1]", "42[\"n\",2]"]);
        assert_eq!(drain(&mut started), [0, 1, 2]);
    }

    #[tokio::test]
    async fn the_acknowledgement_that_a_handler_waits_for_does_not_wait_for_it() {
        let (io, _permits, mut started) = server(1, 1_000_000);
        io.of("/").on("ask", async |socket: Socket| _ = socket.emit_with_ack::<u32>("answer", &()).await);
        let connection = joined(&io);
        say(&connection, &["42[\"ask\"]", "42[\"n\",7]"]);
        assert_eq!(drain(&mut started), [0; 0]);
        say(&connection, &["430[1]"]);
        assert_eq!(started.recv().await, Some(7));
    }

    #[tokio::test]
    async fn with_the_bytes_of_one_message_waiting_nothing_more_is_read_until_half_of_them_are_gone() {
        let (io, permits, mut started) = server(1, 1000);
        let connection = joined(&io);
        let mut count = 0;
        while !connection.is_backlogged() {
            say(&connection, &["42[\"n\",0]"]);
            count += 1;
            assert!(count < 100, "no bound");
        }
        let mut room = std::pin::pin!(poll_fn(|cx| connection.poll_room(cx)));
        for waiting in (1..count).rev() {
            let is_over = (waiting - 1) * size_of::<Packet<'_>>() > 500;
            assert_eq!(crate::handler::run::poll_once(&mut room).is_pending(), connection.is_backlogged());
            if !is_over {
                break;
            }
            permits.add_permits(1);
            started.recv().await.unwrap();
        }
        permits.add_permits(count);
        // Wakes whoever waits.
        room.await;
        assert!(!connection.is_backlogged());
    }

    #[tokio::test]
    async fn what_waits_for_a_namespace_that_the_server_disconnects_does_not_end_the_connection() {
        let (io, permits, mut started) = server(1, 1_000_000);
        let a = io.of("/a");
        let connection = joined(&io);
        say(&connection, &["40/a,", "42[\"n\",0]"]);
        say(&connection, &["42/a,[\"n\",1]", "41/a,", "40/a,", "42[\"n\",2]"]);
        a.disconnect_sockets(false);
        assert!(a.local_sockets().is_empty());
        assert_eq!(drain(&mut started), [0]);
        permits.add_permits(1);
        assert_eq!(started.recv().await, Some(2));
        assert!(!connection.is_ended());
        assert_eq!(a.local_sockets().len(), 1, "it may come back");
    }

    #[tokio::test]
    async fn what_waits_when_the_connection_ends_is_dropped() {
        let (io, permits, mut started) = server(1, 100);
        let connection = joined(&io);
        say(&connection, &["42[\"n\",0]", "42[\"n\",1]", "42[\"n\",2]"]);
        assert!(connection.is_backlogged());
        connection.end(DisconnectReason::TransportClose, End::Gone);
        assert!(!connection.is_backlogged() && !connection.running.is_waiting());
        permits.add_permits(3);
        // The first one takes its permit, and is done.
        while permits.available_permits() == 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(drain(&mut started), [0]);
    }
}
