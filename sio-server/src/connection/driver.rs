//! The one task of a WebSocket connection. Read this file first: it names everything else.
//!
//! [`TcpDriver`] is the case that counts, a plain TCP stream: its future is three words, its read buffer belongs to
//! the thread, and it is woken only to read, to go on after a full kernel buffer, or to end. [`StreamDriver`] does
//! the same for any other stream, through `AsyncRead` and `AsyncWrite`.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dispatch::{Dispatch, Next};
use super::outbox::Channel;
use super::{Connection, End};
use crate::reason::DisconnectReason;
use crate::server::Task;
use crate::transport::stream::{Raw, Stream, Tcp};
use crate::websocket::{Message, PongReply, ReadLimits, Reader, Violation};

/// Starts the task that reads `raw` for `connection`; `input` is what has been read of it already.
pub(crate) fn spawn(connection: Arc<Connection>, raw: Raw, reader: Reader, input: Vec<u8>) {
    let task = connection.server().task();
    match raw {
        Raw::Tcp(stream) => {
            let tcp = Arc::new(Tcp::new(stream));
            connection.with_outbox(|outbox| outbox.tcp = Some(Arc::clone(&tcp)));
            tokio::spawn(TcpDriver { connection, tcp, reader, state: State::Starting(input), _task: task });
        }
        Raw::Other(stream) => {
            tokio::spawn(StreamDriver {
                connection,
                stream,
                reader,
                state: State::Starting(input),
                _task: task,
            });
        }
    }
}

#[derive(Debug)]
enum State {
    /// Frames that came with the upgrade wait to be handled.
    Starting(Vec<u8>),
    Open,
    /// Our close frame is sent; what the client sends is dropped until its own comes.
    Closing,
    /// Both have come, or there is nothing to wait for: our side of the stream is shut, the rest is read and dropped.
    Shut,
}

struct TcpDriver {
    connection: Arc<Connection>,
    tcp: Arc<Tcp>,
    reader: Reader,
    state: State,
    _task: Task,
}

/// What a driver does after looking at the queue.
enum Phase {
    Read,
    /// Too much is queued for this client to be worth reading more requests from it.
    WaitForWriter,
    /// Everything is written and the connection has ended: close our side.
    Shutdown,
    Finished,
}

fn phase(connection: &Connection) -> Phase {
    connection.with_outbox(|outbox| match outbox.channel {
        Channel::Closed => Phase::Finished,
        Channel::Closing if outbox.is_empty() => Phase::Shutdown,
        _ if outbox.is_backed_up(connection.server().config.max_queued_bytes) => Phase::WaitForWriter,
        _ => Phase::Read,
    })
}

impl Future for TcpDriver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let connection = &this.connection;
        let tcp = &this.tcp;
        if let State::Starting(_) = this.state {
            ready!(poll_start(connection, &mut this.reader, &mut this.state, cx));
            connection.flush();
        }
        let mut turns = READS_PER_TURN;
        loop {
            if connection.with_outbox(|outbox| outbox.blocked) {
                let result = tcp.poll_write(cx, || {
                    if connection.write_blocked(|slices| tcp.write(slices))? {
                        Ok(())
                    } else {
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                });
                match result {
                    Poll::Ready(Ok(())) => continue,
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Poll::Ready(Err(_)) => {
                        connection.end(DisconnectReason::TransportClose, End::Gone);
                        return Poll::Ready(());
                    }
                    Poll::Pending => {}
                }
            }
            match phase(connection) {
                Phase::Read => {}
                Phase::WaitForWriter => return Poll::Pending,
                Phase::Shutdown => {
                    // The stream is left open until the client has answered: RFC 6455, 7.1.1, and a client whose
                    // network hangs should see just that, not an end.
                    if !this.reader.is_finished() {
                        this.state = State::Closing;
                    } else if !matches!(this.state, State::Shut) {
                        this.state = State::Shut;
                        tcp.shutdown();
                    }
                }
                Phase::Finished => return Poll::Ready(()),
            }
            if !may_read(connection) {
                return Poll::Pending;
            }
            if turns == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            turns -= 1;
            let done = with_read_buffer(|buf| {
                let n = match tcp.poll_read(cx, buf) {
                    Poll::Pending => return ControlFlow::Break(Poll::Pending),
                    Poll::Ready(Ok(Some(0)) | Err(_)) => {
                        connection.end(DisconnectReason::TransportClose, End::Gone);
                        connection.finish_lingering();
                        return ControlFlow::Break(Poll::Ready(()));
                    }
                    Poll::Ready(Ok(None)) => return ControlFlow::Continue(()),
                    Poll::Ready(Ok(Some(n))) => n,
                };
                take_input(connection, &mut this.reader, &mut this.state, &mut buf[..n], cx)
            });
            if let ControlFlow::Break(poll) = done {
                return poll;
            }
        }
    }
}

// The stream goes with its task, even if a handle of the connection is kept for ever.
impl Drop for TcpDriver {
    fn drop(&mut self) {
        self.connection.with_outbox(|outbox| outbox.tcp = None);
    }
}

/// The same for streams that only their own task can write to.
struct StreamDriver {
    connection: Arc<Connection>,
    stream: Box<dyn Stream>,
    reader: Reader,
    state: State,
    _task: Task,
}

impl StreamDriver {
    /// Writes the queue out; pending when the stream takes no more.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let stream = &mut self.stream;
            let mut full = false;
            let done = self.connection.with_outbox(|outbox| {
                outbox.dirty = false;
                let written = outbox.write_to(self.connection.revision(), |slices| {
                    match Pin::new(&mut *stream).poll_write_vectored(cx, slices) {
                        Poll::Ready(result) => result,
                        Poll::Pending => {
                            full = true;
                            Err(io::ErrorKind::WouldBlock.into())
                        }
                    }
                });
                // The stream wakes this task when it takes more; nobody else needs to, and until then a client that
                // does not read is not heard either.
                outbox.blocked = full;
                written
            })?;
            if done {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            // Only a stream that says it is full wakes this task; after a short write it has to be asked again. One
            // without vectored writes takes a single slice at a time.
            if full {
                return Poll::Pending;
            }
        }
    }
}

impl Future for StreamDriver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        ready!(poll_start(&this.connection, &mut this.reader, &mut this.state, cx));
        let mut turns = READS_PER_TURN;
        loop {
            if let Poll::Ready(Err(_)) = this.poll_drain(cx) {
                this.connection.end(DisconnectReason::TransportClose, End::Gone);
                return Poll::Ready(());
            }
            match phase(&this.connection) {
                Phase::Read => {}
                Phase::WaitForWriter => return Poll::Pending,
                Phase::Shutdown => {
                    if !this.reader.is_finished() {
                        this.state = State::Closing;
                    } else if !matches!(this.state, State::Shut) {
                        // A failing close leaves nothing to be done.
                        let _ = ready!(Pin::new(&mut this.stream).poll_shutdown(cx));
                        this.state = State::Shut;
                    }
                }
                Phase::Finished => return Poll::Ready(()),
            }
            if !may_read(&this.connection) {
                return Poll::Pending;
            }
            if turns == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            turns -= 1;
            let connection = &this.connection;
            let done = with_read_buffer(|buf| {
                let mut into = ReadBuf::new(buf);
                match Pin::new(&mut this.stream).poll_read(cx, &mut into) {
                    Poll::Pending => return ControlFlow::Break(Poll::Pending),
                    Poll::Ready(Ok(())) if !into.filled().is_empty() => {}
                    Poll::Ready(_) => {
                        connection.end(DisconnectReason::TransportClose, End::Gone);
                        connection.finish_lingering();
                        return ControlFlow::Break(Poll::Ready(()));
                    }
                }
                take_input(connection, &mut this.reader, &mut this.state, into.filled_mut(), cx)
            });
            if let ControlFlow::Break(poll) = done {
                return poll;
            }
        }
    }
}

/// Handles what was read before the task began, or could not be handled yet, and leaves behind whom to wake.
fn poll_start(
    connection: &Arc<Connection>,
    reader: &mut Reader,
    state: &mut State,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let State::Starting(input) = state else { return Poll::Ready(()) };
    let mut input = std::mem::take(input);
    *state = State::Open;
    connection.with_outbox(|outbox| outbox.waker = Some(cx.waker().clone()));
    if !input.is_empty() && handle_input(connection, reader, &mut input, cx).is_pending() {
        *state = State::Starting(input);
        return Poll::Pending;
    }
    Poll::Ready(())
}

/// Handles the bytes of one read, or keeps them until they can be.
fn take_input(
    connection: &Arc<Connection>,
    reader: &mut Reader,
    state: &mut State,
    input: &mut [u8],
    cx: &mut Context<'_>,
) -> ControlFlow<Poll<()>> {
    if let State::Closing | State::Shut = state {
        drop_input(connection, reader, input);
    } else if handle_input(connection, reader, input, cx).is_pending() {
        *state = State::Starting(input.to_vec());
        return ControlFlow::Break(Poll::Pending);
    }
    ControlFlow::Continue(())
}

/// Handles the bytes of one read; pending while another batch of the connection is being handled elsewhere, after which
/// the bytes have to be offered again.
fn handle_input(
    connection: &Arc<Connection>,
    reader: &mut Reader,
    input: &mut [u8],
    cx: &mut Context<'_>,
) -> Poll<()> {
    let mut dispatch = ready!(Dispatch::poll_begin(connection, cx));
    let limits = read_limits(connection);
    let mut pong = PongReply::default();
    let mut over = false;
    let result = reader.feed(&limits, input, &mut |message| match message {
        // Only the client's close frame still counts.
        Message::Text(_) | Message::Binary(_) | Message::Ping(_) if over => ControlFlow::Continue(()),
        Message::Text(text) => {
            over = dispatch.websocket_text(text) != Next::Continue;
            ControlFlow::Continue(())
        }
        Message::Binary(bytes) => {
            over = dispatch.websocket_binary(bytes) != Next::Continue;
            ControlFlow::Continue(())
        }
        Message::Ping(data) => {
            pong.note(data);
            ControlFlow::Continue(())
        }
        Message::Pong(_) => ControlFlow::Continue(()),
        Message::Close(code, _) => {
            connection.end(DisconnectReason::TransportClose, End::Abrupt(code));
            ControlFlow::Break(())
        }
    });
    if let Err(violation) = result {
        violated(connection, &violation);
    } else if let Some(frame) = pong.frame() {
        connection.send_frame(frame);
    }
    Poll::Ready(())
}

/// A client that breaks RFC 6455 is told why and disconnected.
pub(crate) fn violated(connection: &Arc<Connection>, violation: &Violation) {
    tracing::debug!(session = ?connection.id(), %violation, "websocket violation");
    connection.end(DisconnectReason::TransportError, End::Abrupt(Some(violation.close_code())));
}

pub(crate) fn read_limits(connection: &Connection) -> ReadLimits {
    ReadLimits { max_message: connection.server().config.max_http_buffer_size }
}

/// Looks for the client's close frame in what it sends after the end.
fn drop_input(connection: &Connection, reader: &mut Reader, input: &mut [u8]) {
    // A violation finishes the reader like a close frame does, and nobody is left to be told.
    let _ = reader.feed(&read_limits(connection), input, &mut |_| ControlFlow::Continue(()));
}

/// Whether no POST from before the upgrade is still being handled, and not too much waits for handlers. The end of either
/// wakes this task.
fn may_read(connection: &Connection) -> bool {
    !connection.is_backlogged() && !connection.is_posting()
}

/// Lends the thread's read buffer to `f`.
fn with_read_buffer<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    thread_local! {
        static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    }
    // Taken out, not borrowed: a handler that blocks on another runtime may get here a second time.
    let mut buffer = BUFFER.take().unwrap_or_else(|| vec![0; READ_BUFFER].into());
    let result = f(&mut buffer);
    BUFFER.set(Some(buffer));
    result
}

/// Reads of one connection before others get a turn: a client that floods keeps them waiting for at most half a
/// megabyte of its packets.
const READS_PER_TURN: usize = 8;
/// One buffer for all connections of a thread: large enough that a 64 kB message needs two reads, and never held
/// by an idle connection.
const READ_BUFFER: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_of_an_idle_connection_fits_the_smallest_cell() {
        // tokio puts a task into a cell of 256 bytes as long as its future stays below about 150; the next size is
        // 384.
        assert!(size_of::<TcpDriver>() <= 128, "{} bytes", size_of::<TcpDriver>());
    }
}
