//! The floor: a server that moves the same bytes and does nothing else.
//!
//! It plays the opening of a connection by rote, looks at the first message of a workload once, and from then
//! on only counts bytes: what came in, divided by the length of a request, is how many prebuilt replies go
//! out, in one write. No frame is parsed, nothing is unmasked, no JSON is read. What remains is the price of
//! the kernel's sockets, which no server on this machine can beat with one system call a read and a write.
//!
//! With `REDIS_URL` it also takes what Redis pushes, by the same rote: so many bytes are so many messages for
//! the room.

use std::{
    collections::HashMap,
    error::Error,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use super::wire::{self, BINARY, CLOSE, Header, TEXT};

const LISTENER: Token = Token(usize::MAX - 1);
const REDIS: Token = Token(usize::MAX - 2);

/// One read, and at least one batch of replies.
const BUFFER: usize = 256 * 1024;

/// Serves on the port that the environment names, as every server under test does.
///
/// # Errors
///
/// If the port is taken.
pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".to_owned()).parse()?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let redis = std::env::var("REDIS_URL").ok().map(|url| subscribe(&url)).transpose()?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, redis)?;
    Ok(())
}

/// Asks for the messages of all rooms, as adapters do.
fn subscribe(url: &str) -> io::Result<TcpStream> {
    let mut stream = std::net::TcpStream::connect(url.trim_start_matches("redis://"))?;
    stream.write_all(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$13\r\nsocket.io#/#*\r\n")?;
    let mut answer = Vec::new();
    let mut scratch = [0; 256];
    while !answer.ends_with(b":1\r\n") {
        let length = stream.read(&mut scratch)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend(&scratch[..length]);
    }
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}

/// Serves until the process ends.
///
/// # Errors
///
/// If the kernel refuses to poll or to accept.
pub(crate) fn serve(mut listener: TcpListener, mut redis: Option<TcpStream>) -> io::Result<()> {
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    if let Some(stream) = &mut redis {
        poll.registry().register(stream, REDIS, Interest::READABLE)?;
    }
    let mut relay = redis.map(Relay::new);
    let mut events = Events::with_capacity(1024);
    let mut floor = Floor { scratch: vec![0; BUFFER], ..Floor::default() };
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener, &poll)?,
                REDIS => {
                    let pushes = relay.as_mut().map_or(Ok(0), |relay| relay.take(&mut floor.scratch))?;
                    if let Some(routine) = floor.routine_of_a_room() {
                        floor.broadcast(&routine, pushes);
                    }
                }
                Token(index) => floor.handle(index),
            }
        }
    }
}

#[derive(Default)]
struct Floor {
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    rooms: HashMap<String, Vec<usize>>,
    /// What has been learned, by the first message, so that thousands of connections share it.
    learned: HashMap<Vec<u8>, Rc<Routine>>,
    scratch: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    state: State,
    /// What the socket did not take; empty, and without memory, nearly always.
    pending: Vec<u8>,
}

enum State {
    /// Something is still said by rote: what has arrived, and the long polls so far.
    Opening(Box<(Vec<u8>, usize)>),
    /// Bytes in, replies out.
    Routine { routine: Rc<Routine>, surplus: usize },
}

/// What to do for each request of a known length.
struct Routine {
    request: usize,
    reply: usize,
    /// As many replies as fit the buffer.
    replies: Vec<u8>,
    /// Everybody in this room gets the reply; the sender alone if there is none.
    room: Option<String>,
}

/// The connection to Redis.
struct Relay {
    stream: TcpStream,
    /// The length of a push, which the first one tells: it comes alone.
    push: Option<usize>,
    surplus: usize,
}

impl Relay {
    fn new(stream: TcpStream) -> Self {
        Self { stream, push: None, surplus: 0 }
    }

    /// Reads all there is and says how many pushes it was.
    fn take(&mut self, scratch: &mut [u8]) -> io::Result<usize> {
        let mut total = self.surplus;
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => total += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if total == 0 {
            return Ok(0);
        }
        let push = *self.push.get_or_insert(total);
        self.surplus = total % push;
        Ok(total / push)
    }
}

impl Floor {
    fn routine_of_a_room(&self) -> Option<Rc<Routine>> {
        self.learned.values().find(|routine| routine.room.is_some()).map(Rc::clone)
    }

    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let index = self.free.pop().unwrap_or(self.connections.len());
            poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
            let state = State::Opening(Box::default());
            let connection = Some(Connection { stream, state, pending: Vec::new() });
            match self.connections.get_mut(index) {
                Some(place) => *place = connection,
                None => self.connections.push(connection),
            }
        }
    }

    /// Goes on with one connection and forgets it when it ended.
    fn handle(&mut self, index: usize) {
        if self.drive(index).is_err() {
            self.connections[index] = None;
            self.free.push(index);
            for members in self.rooms.values_mut() {
                members.retain(|member| *member != index);
            }
        }
    }

    fn drive(&mut self, index: usize) -> io::Result<()> {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(index) else { return Ok(()) };
            connection.flush()?;
            let length = match connection.stream.read(&mut self.scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            match &mut connection.state {
                State::Routine { routine, surplus } => {
                    let total = *surplus + length;
                    *surplus = total % routine.request;
                    let requests = total / routine.request;
                    let routine = Rc::clone(routine);
                    if routine.room.is_some() {
                        self.broadcast(&routine, requests);
                    } else {
                        for batch in routine.batches(requests) {
                            connection.pending_or_write(batch)?;
                        }
                    }
                }
                State::Opening(opening) => {
                    opening.0.extend_from_slice(&self.scratch[..length]);
                    self.play(index)?;
                }
            }
            // A short read has emptied the socket.
            if length < self.scratch.len() {
                return Ok(());
            }
        }
    }

    fn broadcast(&mut self, routine: &Routine, requests: usize) {
        let Some(members) = routine.room.as_ref().and_then(|room| self.rooms.get(room)) else { return };
        for batch in routine.batches(requests) {
            for &member in members {
                if let Some(Some(connection)) = self.connections.get_mut(member) {
                    // One that has ended is found out by its own event.
                    drop(connection.pending_or_write(batch));
                }
            }
        }
    }

    /// Answers what has arrived during the opening, message by message.
    fn play(&mut self, index: usize) -> io::Result<()> {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(index) else { return Ok(()) };
            let State::Opening(opening) = &mut connection.state else { return Ok(()) };
            let (inbox, polls) = opening.as_mut();
            if inbox.is_empty() {
                // An idle connection holds no buffer here either.
                *inbox = Vec::new();
                return Ok(());
            }
            if inbox.first().is_some_and(u8::is_ascii_uppercase) {
                let Some(reply) = answer_request(inbox, polls) else { return Ok(()) };
                connection.pending_or_write(&reply)?;
                continue;
            }
            let Some(message) = complete_message(inbox) else { return Ok(()) };
            let request = message.length;
            let frames: Vec<u8> = inbox.drain(..request).collect();
            match &message.text[..] {
                "40" => connection.pending_or_write(&text_frame(r#"40{"sid":"floor"}"#))?,
                "2probe" => connection.pending_or_write(&text_frame("3probe"))?,
                "5" => {}
                GOODBYE => return Err(ErrorKind::ConnectionAborted.into()),
                text if text.starts_with(r#"420["join","#) => {
                    let room = text.split('"').nth(3).unwrap_or_default().to_owned();
                    connection.pending_or_write(&text_frame("430[]"))?;
                    self.rooms.entry(room).or_default().push(index);
                }
                text => {
                    let routine = Rc::clone(
                        self.learned
                            .entry(frames)
                            .or_insert_with(|| Rc::new(Routine::learn(request, text, &message.binary))),
                    );
                    let surplus = inbox.len() % request;
                    let requests = 1 + inbox.len() / request;
                    connection.state = State::Routine { routine: Rc::clone(&routine), surplus };
                    if routine.room.is_some() {
                        self.broadcast(&routine, requests);
                        return Ok(());
                    }
                    for batch in routine.batches(requests) {
                        connection.pending_or_write(batch)?;
                    }
                }
            }
        }
    }
}

impl Connection {
    fn pending_or_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut sent = 0;
        if self.pending.is_empty() {
            match self.stream.write(bytes) {
                Ok(length) => sent = length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        self.pending.extend_from_slice(&bytes[sent..]);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending = std::mem::take(&mut self.pending);
        self.pending_or_write(&pending)
    }
}

impl Routine {
    fn learn(request: usize, text: &str, binary: &[u8]) -> Self {
        let mut room = None;
        let mut reply = if let Some(rest) = text.strip_prefix(r#"42["bcast",""#) {
            let (name, payload) = rest.split_once("\",").unwrap_or((rest, "]"));
            room = Some(name.to_owned());
            text_frame(&format!(r#"42["bcast",{payload}"#))
        } else if let Some((head, payload)) = text.split_once(r#"["ack","#) {
            // `421` acknowledges as `431`.
            text_frame(&format!("43{}[{payload}", head.trim_start_matches("42")))
        } else {
            text_frame(text)
        };
        if !binary.is_empty() {
            reply.extend(wire::server_frame(BINARY, binary));
        }
        Self { request, reply: reply.len(), replies: reply.repeat((BUFFER / reply.len()).clamp(1, 64)), room }
    }

    /// Replies to so many requests, in as few pieces as the prebuilt bytes allow.
    fn batches(&self, requests: usize) -> impl Iterator<Item = &[u8]> {
        let most = self.replies.len() / self.reply;
        let full = std::iter::repeat_n(&self.replies[..], requests / most);
        let rest = requests % most;
        full.chain((rest > 0).then(|| &self.replies[..rest * self.reply]))
    }
}

struct Message {
    text: String,
    binary: Vec<u8>,
    /// Bytes on the wire, all frames together.
    length: usize,
}

/// The Socket.IO message at the start of a buffer, with its attachment if it has one.
fn complete_message(bytes: &[u8]) -> Option<Message> {
    let frame = |at: usize| {
        let rest = bytes.get(at..)?;
        let header = Header::parse(rest).filter(|header| rest.len() >= header.frame())?;
        Some((header.opcode, header.unmask(rest), at + header.frame()))
    };
    let (opcode, payload, end) = frame(0)?;
    if opcode == CLOSE {
        return Some(Message { text: GOODBYE.to_owned(), binary: Vec::new(), length: end });
    }
    let text = String::from_utf8_lossy(&payload).into_owned();
    if !text.starts_with("451-") {
        return Some(Message { text, binary: Vec::new(), length: end });
    }
    let (_, binary, end) = frame(end)?;
    Some(Message { text, binary, length: end })
}

/// Removes one HTTP request and says what answers it; nothing while it is incomplete.
fn answer_request(inbox: &mut Vec<u8>, polls: &mut usize) -> Option<Vec<u8>> {
    let head = wire::find(inbox, b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&inbox[..head]).into_owned();
    let body = text
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(Some(0), |length| length.parse::<usize>().ok())?;
    if inbox.len() < head + 4 + body {
        return None;
    }
    inbox.drain(..head + 4 + body);
    let known = text.lines().next().is_some_and(|line| line.contains("&sid="));
    if text.contains("Upgrade: websocket") {
        let mut reply = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
            .to_vec();
        if !known {
            reply.extend(text_frame(OPEN));
        }
        return Some(reply);
    }
    let body = match (text.starts_with("POST"), known) {
        (true, _) => "ok",
        (false, false) => OPEN,
        (false, true) => {
            *polls += 1;
            // The second poll is held: nothing will ever be sent to it.
            if *polls > 1 {
                return Some(Vec::new());
            }
            r#"40{"sid":"floor"}"#
        }
    };
    Some(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// Stands for a close frame. An Engine.IO close packet would mean the same.
const GOODBYE: &str = "1";

/// The Engine.IO open packet.
const OPEN: &str =
    r#"0{"sid":"floor","upgrades":[],"pingInterval":300000,"pingTimeout":20000,"maxPayload":1000000}"#;

fn text_frame(text: &str) -> Vec<u8> {
    wire::server_frame(TEXT, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use super::*;
    use crate::bench::{
        clients::Waiting,
        load::{self, Broadcast, Exchange, Kind, Opening, Pace, Senders},
        meter::Timing,
        server::Server,
    };

    fn floor() -> Server {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(listener, None));
        Server::running_at(address)
    }

    fn pace(waiting: Waiting) -> Pace {
        let timing = Timing { warm_up: Duration::from_millis(5), window: Duration::from_millis(20) };
        Pace { timing, waiting }
    }

    #[test]
    fn every_kind_of_exchange_is_answered() {
        let server = floor();
        for kind in [Kind::EchoText, Kind::EchoBinary, Kind::Ack] {
            for (depth, size) in [(1, 64), (16, 1024), (2, 70_000)] {
                let plan = Exchange { connections: 3, depth, size, kind };
                let result = load::exchange(&plan, &server, pace(Waiting::Sleep)).unwrap();
                assert!(result.usage.count > 0, "{plan:?}");
                assert_eq!(result.p50.is_some(), depth == 1);
            }
        }
    }

    #[test]
    fn every_member_gets_every_message() {
        let server = floor();
        for (rooms, window) in [(1, 1), (1, 4), (3, 16)] {
            let plan = Broadcast { rooms, members: 7, silent: 0, window, size: 64, senders: Senders::One };
            let (result, _) = load::broadcast(&plan, &server, pace(Waiting::Spin)).unwrap();
            assert!(result.usage.count > 7, "{plan:?}");
        }
    }

    #[test]
    fn members_that_do_not_read_hold_up_nobody() {
        let server = floor();
        let plan =
            Broadcast { rooms: 2, members: 7, silent: 2, window: 4, size: 1024, senders: Senders::All };
        let nap = Waiting::Nap(Duration::from_millis(1));
        let (result, _) = load::broadcast(&plan, &server, pace(nap)).unwrap();
        assert!(result.usage.count > 10);
    }

    #[test]
    fn pushes_are_counted_wherever_a_read_cuts_them() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let (mut redis, _) = listener.accept().unwrap();
        let mut relay = Relay::new(TcpStream::from_std(stream));
        let mut scratch = [0; 64];
        let mut pushes = Vec::new();
        for bytes in [10, 30, 4, 16] {
            redis.write_all(&vec![b'x'; bytes]).unwrap();
            // The loopback device delivers before the write returns.
            pushes.push(relay.take(&mut scratch).unwrap());
        }
        assert_eq!(pushes, [1, 3, 0, 2]);
    }

    #[test]
    fn clients_come_and_go_both_ways() {
        let server = floor();
        for opening in [Opening::WebSocket, Opening::PollingThenUpgrade] {
            let result = load::connects(opening, 4, &server, pace(Waiting::Sleep)).unwrap();
            assert!(result.usage.count > 0, "{opening:?}");
        }
    }
}
