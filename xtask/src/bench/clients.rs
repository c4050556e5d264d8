//! Thousands of client connections on one thread.
//!
//! Raw non-blocking sockets on edge-triggered readiness. Connections play scripts (`script`) a bounded number
//! at a time; the measured loops of `load` then use the same sockets and count messages only.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    script::{self, Expected, Met, Step},
    wire::{self, Counted, FrameCounter, Response},
};

/// Nothing at all arriving for this long ends a measurement with an error.
const STALLED_AFTER: Duration = Duration::from_secs(20);

/// One read takes at most this much: the replies of one wake-up in every workload, a few times over.
const READ_SIZE: usize = 256 * 1024;

/// How the generator waits for its sockets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Waiting {
    /// Sleeps in the kernel, so that the server pays for waking it up.
    Sleep,
    /// Asks again and again: the server never pays for a wake-up, as if the clients were on other machines.
    Spin,
    /// Looks only after so long, so that much has come together and the generator needs little of a core.
    Nap(Duration),
}

/// All connections of one workload.
pub(crate) struct Clients {
    poll: Poll,
    events: Events,
    pub(crate) connections: Vec<Option<Connection>>,
    scratch: Vec<u8>,
    server: SocketAddr,
    /// Source addresses used in turn, so that closed connections do not use up the ports of one.
    spread_sources: bool,
    /// The receive buffer asked of the kernel for connections to be opened.
    receive_buffer: Option<usize>,
    opened: usize,
    waiting: Waiting,
    /// Time spent in calls that found nothing to do.
    idle: Duration,
}

/// One client.
pub(crate) struct Connection {
    stream: TcpStream,
    counter: FrameCounter,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    session: String,
    /// The next step of the script; nothing when none is being played.
    step: Option<usize>,
    /// A response to come that nobody asks about.
    passes_over: bool,
    /// Speaks HTTP, not WebSocket.
    polls: bool,
}

/// Where a script stands after all that could be done was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    Pending,
    Reconnect,
    Done,
}

impl Clients {
    pub(crate) fn new(server: SocketAddr, waiting: Waiting) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            events: Events::with_capacity(1024),
            connections: Vec::new(),
            scratch: vec![0; READ_SIZE],
            server,
            spread_sources: false,
            receive_buffer: None,
            opened: 0,
            waiting,
            idle: Duration::ZERO,
        })
    }

    /// Connects from many loopback addresses.
    pub(crate) fn spread_sources(&mut self) {
        self.spread_sources = true;
    }

    /// Asks the kernel for a receive buffer of this size for connections opened from now on.
    pub(crate) fn limit_receiving(&mut self, bytes: Option<usize>) {
        self.receive_buffer = bytes;
    }

    /// Connects to another server from now on.
    pub(crate) fn aim(&mut self, server: SocketAddr) {
        self.server = server;
    }

    /// Does not wait for these connections any more.
    ///
    /// # Errors
    ///
    /// If the kernel refuses.
    pub(crate) fn mute(&mut self, range: Range<usize>) -> io::Result<()> {
        for connection in self.connections[range].iter_mut().flatten() {
            self.poll.registry().deregister(&mut connection.stream)?;
        }
        Ok(())
    }

    /// Time spent so far without anything to do, when waiting by spinning.
    pub(crate) fn idle(&self) -> Duration {
        self.idle
    }

    /// Opens the connections of `range`, `window` at a time.
    ///
    /// # Errors
    ///
    /// If a server says something else than the script expects, or nothing.
    pub(crate) fn open(&mut self, range: Range<usize>, window: usize, script: &[Step]) -> io::Result<()> {
        self.play(range, window, script, true)
    }

    /// Plays another script on the open connections of `range`, `window` at a time.
    ///
    /// # Errors
    ///
    /// If a server says something else than the script expects, or nothing.
    pub(crate) fn replay(&mut self, range: Range<usize>, window: usize, script: &[Step]) -> io::Result<()> {
        self.play(range, window, script, false)
    }

    /// Drops connections without a word.
    pub(crate) fn drop_range(&mut self, range: Range<usize>) {
        self.connections[range].fill_with(|| None);
    }

    fn play(&mut self, range: Range<usize>, window: usize, script: &[Step], fresh: bool) -> io::Result<()> {
        let mut waiting = range;
        let mut active = 0;
        loop {
            while active < window
                && let Some(index) = waiting.next()
            {
                active += usize::from(!self.begin(index, script, fresh)?);
            }
            if active == 0 {
                return Ok(());
            }
            active -= self.turn(script, |_| {})?;
        }
    }

    /// Opens and ends connections in `slots` places again and again until `proceed` says no; it is told after
    /// every turn how many scripts have been played to their end.
    ///
    /// # Errors
    ///
    /// If a server says something else than the script expects, or nothing.
    pub(crate) fn open_repeatedly(
        &mut self,
        slots: usize,
        script: &[Step],
        mut proceed: impl FnMut(u64, Duration) -> io::Result<bool>,
    ) -> io::Result<()> {
        let mut free: Vec<usize> = (0..slots).collect();
        let mut done = 0;
        loop {
            while let Some(index) = free.pop() {
                if self.begin(index, script, true)? {
                    free.push(index);
                    done += 1;
                }
            }
            done += self.turn(script, |index| free.push(index))? as u64;
            if !proceed(done, self.idle)? {
                return Ok(());
            }
        }
    }

    /// Starts the script on one connection; true if it could be played to its end at once.
    fn begin(&mut self, index: usize, script: &[Step], fresh: bool) -> io::Result<bool> {
        if fresh {
            let connection = self.connect(index)?;
            if index >= self.connections.len() {
                self.connections.resize_with(index + 1, || None);
            }
            self.connections[index] = Some(connection);
        }
        if let Some(Some(connection)) = self.connections.get_mut(index) {
            connection.step = Some(0);
        }
        self.advance(index, script)
    }

    /// Waits once and goes on with every connection that can; gives the number of scripts that ended.
    fn turn(&mut self, script: &[Step], mut ended: impl FnMut(usize)) -> io::Result<usize> {
        self.wait()?;
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        let mut count = 0;
        for index in ready {
            if self.advance(index, script)? {
                count += 1;
                ended(index);
            }
        }
        Ok(count)
    }

    /// True if the script of the connection ended just now.
    fn advance(&mut self, index: usize, script: &[Step]) -> io::Result<bool> {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(index) else { return Ok(false) };
            let failed = |error| describe(index, &error);
            if connection.step.is_none() {
                connection.receive(&mut self.scratch, wire::TEXT).map_err(failed)?;
                return Ok(false);
            }
            match connection.advance(index, script, &mut self.scratch).map_err(failed)? {
                Progress::Pending => return Ok(false),
                Progress::Done => return Ok(true),
                Progress::Reconnect => {
                    let mut fresh = self.connect(index)?;
                    if let Some(old) = self.connections[index].take() {
                        fresh.session = old.session;
                        fresh.step = old.step;
                    }
                    self.connections[index] = Some(fresh);
                }
            }
        }
    }

    fn connect(&mut self, index: usize) -> io::Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if self.spread_sources {
            let source = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(self.opened % 250).unwrap_or(0));
            socket.bind(&SocketAddrV4::new(source, 0).into())?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        self.opened += 1;
        match socket.connect(&self.server.into()) {
            Ok(()) => {}
            Err(error) if is_in_progress(&error) => {}
            Err(error) => return Err(describe(index, &error)),
        }
        let mut stream = TcpStream::from_std(socket.into());
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection {
            stream,
            counter: FrameCounter::default(),
            inbox: Vec::new(),
            outbox: Vec::new(),
            session: String::new(),
            step: None,
            passes_over: false,
            polls: false,
        })
    }

    /// Waits until some connection can go on.
    ///
    /// # Errors
    ///
    /// If nothing happens for a long time.
    pub(crate) fn wait(&mut self) -> io::Result<()> {
        let timeout = match self.waiting {
            Waiting::Sleep => STALLED_AFTER,
            Waiting::Spin => Duration::ZERO,
            Waiting::Nap(time) => {
                thread::sleep(time);
                STALLED_AFTER
            }
        };
        let start = Instant::now();
        let mut asked = start;
        loop {
            match self.poll.poll(&mut self.events, Some(timeout)) {
                Ok(()) if !self.events.is_empty() => {
                    self.idle += asked - start;
                    return Ok(());
                }
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => asked = Instant::now(),
            }
            if asked - start >= STALLED_AFTER {
                return Err(io::Error::other(format!("no connection got anything for {STALLED_AFTER:?}")));
            }
        }
    }

    /// Sleeps, answering pings.
    ///
    /// # Errors
    ///
    /// If a connection ends.
    pub(crate) fn idle_for(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            match self.poll.poll(&mut self.events, Some(left)) {
                Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
                _ => self.exchange(wire::TEXT, |_, _| None)?,
            }
        }
        Ok(())
    }

    /// Counts the messages that have arrived and tells the handler how many on which connection; what it
    /// returns is sent there.
    ///
    /// # Errors
    ///
    /// If a connection ends.
    pub(crate) fn exchange<'a>(
        &mut self,
        wanted: u8,
        mut handler: impl FnMut(usize, usize) -> Option<&'a [u8]>,
    ) -> io::Result<()> {
        for event in &self.events {
            let index = event.token().0;
            let Some(Some(connection)) = self.connections.get_mut(index) else { continue };
            let failed = |error| describe(index, &error);
            if event.is_writable() {
                connection.flush().map_err(failed)?;
            }
            let messages = connection.receive(&mut self.scratch, wanted).map_err(failed)?;
            if messages > 0
                && let Some(reply) = handler(index, messages)
            {
                connection.send(reply).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// The same, once, for connections that nobody waits for.
    ///
    /// # Errors
    ///
    /// If a connection ends.
    pub(crate) fn collect(
        &mut self,
        range: Range<usize>,
        wanted: u8,
        mut handler: impl FnMut(usize, usize),
    ) -> io::Result<()> {
        for index in range {
            let Some(Some(connection)) = self.connections.get_mut(index) else { continue };
            let messages =
                connection.receive(&mut self.scratch, wanted).map_err(|error| describe(index, &error))?;
            handler(index, messages);
        }
        Ok(())
    }

    /// Sends on one connection.
    ///
    /// # Errors
    ///
    /// If the connection ended.
    pub(crate) fn send(&mut self, index: usize, bytes: &[u8]) -> io::Result<()> {
        match self.connections.get_mut(index) {
            Some(Some(connection)) => connection.send(bytes).map_err(|error| describe(index, &error)),
            _ => Err(io::Error::other(format!("connection {index} is not open"))),
        }
    }
}

impl Connection {
    fn advance(&mut self, index: usize, script: &[Step], scratch: &mut [u8]) -> io::Result<Progress> {
        loop {
            if !self.flush()? {
                return Ok(Progress::Pending);
            }
            if self.passes_over {
                match Response::parse(&self.inbox).map_err(io::Error::other)? {
                    Some(response) => {
                        self.inbox.drain(..response.length);
                        self.passes_over = false;
                    }
                    None => match self.read_into_inbox(scratch)? {
                        Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                        Some(_) => {}
                        None => return Ok(Progress::Pending),
                    },
                }
                continue;
            }
            let at = self.step.unwrap_or(script.len());
            match script.get(at) {
                None => {
                    self.finish()?;
                    return Ok(Progress::Done);
                }
                Some(Step::Send(build)) => self.outbox = build(index, &self.session),
                Some(Step::Reconnect) => {
                    self.step = Some(at + 1);
                    return Ok(Progress::Reconnect);
                }
                Some(Step::Expect(expected)) => {
                    self.polls = matches!(expected, Expected::Body(_));
                    match expected.take(&mut self.inbox, &mut self.session).map_err(io::Error::other)? {
                        Met::Yes => {}
                        Met::Answer(bytes) => {
                            self.outbox = bytes;
                            continue;
                        }
                        Met::Post(requests, met) => {
                            self.outbox = requests;
                            self.passes_over = true;
                            if !met {
                                continue;
                            }
                        }
                        Met::NotYet => match self.read_into_inbox(scratch)? {
                            Some(0) if matches!(expected, Expected::End) => {}
                            Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                            Some(_) => continue,
                            None => return Ok(Progress::Pending),
                        },
                    }
                }
            }
            self.step = Some(at + 1);
        }
    }

    /// Ends the script. Only a ping may have come after the last message it waited for.
    fn finish(&mut self) -> io::Result<()> {
        let inbox = std::mem::take(&mut self.inbox);
        self.outbox = Vec::new();
        self.step = None;
        if self.polls && !inbox.is_empty() || self.count(&inbox, wire::TEXT)? > 0 {
            let text = String::from_utf8_lossy(&inbox).into_owned();
            return Err(io::Error::other(format!("nobody waited for {text:?}")));
        }
        Ok(())
    }

    /// Reads once; nothing if no byte is there yet.
    fn read_into_inbox(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        match self.stream.read(scratch) {
            Ok(length) => {
                self.inbox.extend_from_slice(&scratch[..length]);
                Ok(Some(length))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            // What the server resets after both sides have said goodbye is an end like any other.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Some(0)),
            Err(error) => Err(error),
        }
    }

    /// Reads all there is and counts.
    fn receive(&mut self, scratch: &mut [u8], wanted: u8) -> io::Result<usize> {
        let mut messages = 0;
        loop {
            let length = match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(messages),
                Err(error) => return Err(error),
            };
            messages += self.count(&scratch[..length], wanted)?;
            // A short read has emptied the socket, and what comes later raises a new edge.
            if length < scratch.len() {
                return Ok(messages);
            }
        }
    }

    /// Counts messages and answers pings.
    fn count(&mut self, bytes: &[u8], wanted: u8) -> io::Result<usize> {
        if self.polls {
            self.inbox.extend_from_slice(bytes);
            return self.answer_polls();
        }
        let Counted { messages, pings, closed } = self.counter.count(bytes, wanted);
        if closed {
            return Err(io::Error::other("the server closed it"));
        }
        for _ in 0..pings {
            // Both layers are answered, since the counter does not tell them apart; neither minds the other.
            self.send(&wire::client_frame(wire::TEXT, b"3"))?;
            self.send(&wire::client_frame(wire::PONG, b""))?;
        }
        Ok(messages)
    }

    /// Keeps an idle long poll going: a ping ends it, and its answer and the next poll are sent together.
    fn answer_polls(&mut self) -> io::Result<usize> {
        while let Some(response) = Response::parse(&self.inbox).map_err(io::Error::other)? {
            self.inbox.drain(..response.length);
            if script::is_post_response(&response) {
                continue;
            }
            match script::take_payload("2", &response, &mut self.session).map_err(io::Error::other)? {
                Met::Post(pong, _) => {
                    self.send(&pong)?;
                    self.send(&script::poll(&self.session))?;
                }
                other => return Err(io::Error::other(format!("a poll gave {other:?}"))),
            }
        }
        self.inbox.shrink_to_fit();
        Ok(0)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        if self.outbox.is_empty() {
            match self.stream.write(bytes) {
                Ok(length) => sent = length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.outbox.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    /// Sends what is left over; true if nothing is any more.
    fn flush(&mut self) -> io::Result<bool> {
        while !self.outbox.is_empty() {
            match self.stream.write(&self.outbox) {
                Ok(length) => drop(self.outbox.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// A non-blocking connect answers `EINPROGRESS`, which has no `ErrorKind` on stable Rust of the lowest version.
fn is_in_progress(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = 115;
    error.kind() == ErrorKind::WouldBlock || error.raw_os_error() == Some(EINPROGRESS)
}

fn describe(index: usize, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("connection {index}: {error}"))
}
