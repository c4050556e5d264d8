//! A Redis for the workloads that need one, and a publisher that speaks to it without a client library.

use std::{
    error::Error,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    process::Process,
    server::{Launch, Running, free_port},
};

/// How long adapters may take to subscribe once they serve.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(10);

/// A redis-server without persistence; ends when dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    running: Running,
    port: u16,
    control: TcpStream,
}

impl Redis {
    /// Starts a server on these cores.
    ///
    /// # Errors
    ///
    /// If it is not installed or does not answer.
    pub(crate) fn start(cores: &'static str, log: &Path) -> Result<Self, Box<dyn Error>> {
        let port = free_port()?;
        let server = crate::redis::server(port).map_err(|error| error.to_string())?;
        let command: Vec<String> = std::iter::once(server.get_program())
            .chain(server.get_args())
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        let mut running = Launch { command: &command, environment: Vec::new(), cores, log }.run()?;
        running.discard_output();
        crate::redis::await_answer(port).map_err(|error| error.to_string())?;
        let control = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        control.set_nodelay(true)?;
        Ok(Self { running, port, control })
    }

    /// Where it is, for the programs under test.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![("REDIS_URL", format!("redis://127.0.0.1:{}", self.port)), ("REDIS_PORT", self.port.to_string())]
    }

    pub(crate) fn process(&self) -> &Process {
        self.running.process()
    }

    /// How many messages have been published since it started.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub(crate) fn published(&mut self) -> io::Result<u64> {
        self.control.write_all(&command(&[b"INFO", b"commandstats"]))?;
        let mut answer = Vec::new();
        let mut scratch = [0; 4096];
        loop {
            let length = self.control.read(&mut scratch)?;
            if length == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            answer.extend(&scratch[..length]);
            if let Some(text) = bulk(&answer) {
                return Ok(published(text));
            }
        }
    }

    /// A connection that publishes events of `size` bytes of text to one room.
    ///
    /// # Errors
    ///
    /// If it cannot connect.
    pub(crate) fn publisher(&self, room: &str, size: usize) -> io::Result<Publisher> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let channel = format!("socket.io#/#{room}#");
        Ok(Publisher {
            stream,
            publish: command(&[b"PUBLISH", channel.as_bytes(), &event(room, size)]),
            channel,
        })
    }
}

/// Publishes the same event again and again.
#[derive(Debug)]
pub(crate) struct Publisher {
    stream: TcpStream,
    publish: Vec<u8>,
    channel: String,
}

impl Publisher {
    /// Waits until so many nodes listen to the room.
    ///
    /// # Errors
    ///
    /// If they do not in good time.
    pub(crate) fn await_subscriber(&mut self, nodes: usize) -> io::Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < SUBSCRIBED_WITHIN {
            let patterns = self.ask(&command(&[b"PUBSUB", b"NUMPAT"]))?;
            let direct = self.ask(&command(&[b"PUBSUB", b"NUMSUB", self.channel.as_bytes()]))?;
            if patterns.max(direct) >= nodes {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other("no node subscribed"))
    }

    /// Sends the event so many times; what Redis answered to earlier ones is taken off the socket.
    ///
    /// # Errors
    ///
    /// If Redis is gone.
    pub(crate) fn publish(&mut self, count: usize) -> io::Result<()> {
        self.write(&self.publish.repeat(count))?;
        let mut scratch = [0; 4096];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Asks something whose answer ends in a number.
    fn ask(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_nonblocking(false)?;
        self.stream.write_all(bytes)?;
        let mut answer = Vec::new();
        let mut scratch = [0; 4096];
        // Both answers are a few lines that come in one piece; a number is the last of them.
        loop {
            let length = self.stream.read(&mut scratch)?;
            answer.extend(&scratch[..length]);
            let text = String::from_utf8_lossy(&answer);
            let last = text.strip_suffix("\r\n").and_then(|text| text.rsplit("\r\n").next());
            if let Some(number) = last.and_then(|line| line.strip_prefix(':')?.parse().ok()) {
                self.stream.set_nonblocking(true)?;
                return Ok(number);
            }
            if length == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(length) => bytes = &bytes[length..],
                // A few kilobytes that the socket does not take at once: Redis is about to read them.
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// A command in Redis's own notation.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend(*word);
        bytes.extend(b"\r\n");
    }
    bytes
}

/// The text of a complete bulk answer.
fn bulk(answer: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(answer).ok()?;
    let (length, rest) = text.strip_prefix('$')?.split_once("\r\n")?;
    rest.get(..length.parse().ok()?).filter(|text| rest.len() >= text.len() + 2)
}

/// Adds up what `INFO commandstats` says of both ways to publish.
fn published(statistics: &str) -> u64 {
    let count = |line: &str| {
        let rest = line.strip_prefix("cmdstat_publish:").or(line.strip_prefix("cmdstat_spublish:"))?;
        rest.strip_prefix("calls=")?.split(',').next()?.parse::<u64>().ok()
    };
    statistics.lines().filter_map(count).sum()
}

/// The message of the classic adapter for an event with one text, as `@socket.io/redis-emitter` writes it.
fn event(room: &str, size: usize) -> Vec<u8> {
    let mut bytes = vec![0x93];
    let string = |bytes: &mut Vec<u8>, text: &str| {
        match (text.len(), u8::try_from(text.len())) {
            (0..=31, Ok(length)) => bytes.push(0xa0 | length),
            (_, Ok(length)) => bytes.extend([0xd9, length]),
            (length, Err(_)) => {
                bytes.push(0xdb);
                bytes.extend((length as u32).to_be_bytes());
            }
        }
        bytes.extend(text.as_bytes());
    };
    string(&mut bytes, "emitter");
    bytes.push(0x83);
    string(&mut bytes, "type");
    bytes.push(2);
    string(&mut bytes, "data");
    bytes.push(0x92);
    string(&mut bytes, "bcast");
    string(&mut bytes, &"x".repeat(size));
    string(&mut bytes, "nsp");
    string(&mut bytes, "/");
    bytes.push(0x83);
    string(&mut bytes, "rooms");
    bytes.push(0x91);
    string(&mut bytes, room);
    string(&mut bytes, "flags");
    bytes.push(0x80);
    string(&mut bytes, "except");
    bytes.push(0x90);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_arrays_of_bulk_strings() {
        assert_eq!(command(&[b"PUBLISH", b"a", b""]), b"*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$0\r\n\r\n");
    }

    #[test]
    fn an_answer_is_read_once_it_is_complete() {
        assert_eq!(bulk(b"$5\r\nhello\r\n"), Some("hello"));
        assert_eq!(bulk(b"$5\r\nhello"), None);
        assert_eq!(bulk(b"$5\r\nhel"), None);
    }

    #[test]
    fn both_ways_to_publish_count() {
        let text = "# Commandstats\r\ncmdstat_publish:calls=12,usec=3\r\ncmdstat_spublish:calls=30,usec=9\r\n\
            cmdstat_info:calls=7,usec=1\r\n";
        assert_eq!(published(text), 42);
    }

    #[test]
    fn an_event_is_what_node_writes() {
        let hex: String = event("r", 2).iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = "93a7656d697474657283a47479706502a46461746192a56263617374a27878a36e7370a12f\
            83a5726f6f6d7391a172a5666c61677380a665786365707490";
        assert_eq!(hex, expected);
    }

    #[test]
    fn long_texts_have_longer_headers() {
        let long = event("r", 70_000);
        assert!(long.windows(5).any(|window| window == [0xdb, 0, 1, 0x11, 0x70]));
        assert!(event("r", 64).windows(2).any(|window| window == [0xd9, 64]));
    }
}
