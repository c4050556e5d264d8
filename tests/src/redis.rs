//! A Redis of one's own, and a subscriber that hears what Redis passes on, byte for byte.
//!
//! The protocol is spoken by hand here: nothing that is tested reads its own bytes.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::within;

/// Whether tests that need Redis are to run; says so if not.
#[must_use]
pub fn full_run() -> bool {
    let full = env::var_os("SIO_TEST_FULL").is_some();
    if !full {
        eprintln!("needs redis-server: skipped, `cargo xtask test` runs it");
    }
    full
}

/// A running server without persistence. It ends with this value, or with the process that has started it.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    watcher: Watcher,
    port: u16,
    tls_port: u16,
    directory: PathBuf,
    options: Vec<String>,
}

impl Redis {
    /// Starts one on a free port.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with further options, as on its command line.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn with(options: &[&str]) -> Self {
        let directory = new_directory();
        let options = WITHOUT_PERSISTENCE.iter().chain(options).map(|option| (*option).to_owned());
        let options: Vec<_> = options.collect();
        Self::launch(directory, &options)
    }

    /// Starts one that listens for TLS as well, with a certificate of its own making.
    ///
    /// # Panics
    /// When it does not start, or there is no `openssl`.
    #[must_use]
    pub fn with_tls() -> Self {
        let directory = new_directory();
        let arguments = "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out certificate.pem \
                         -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
                         -addext basicConstraints=critical,CA:FALSE";
        let output = Command::new("openssl").args(arguments.split(' ')).current_dir(&directory).output();
        let output = output.expect("openssl is installed");
        assert!(output.status.success(), "{output:?}");
        let options = "--tls-cert-file certificate.pem --tls-key-file key.pem \
                       --tls-ca-cert-file certificate.pem --tls-auth-clients no";
        let options: Vec<_> =
            WITHOUT_PERSISTENCE.into_iter().chain(options.split(' ')).map(str::to_owned).collect();
        Self::launch(directory, &options)
    }

    /// Starts a sentinel that watches over a server: its name, host, port and how many have to agree.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn sentinel(monitor: &str) -> Self {
        let directory = new_directory();
        let config = directory.join("sentinel.conf");
        fs::write(&config, format!("sentinel monitor {monitor}\n")).expect("the configuration");
        Self::launch(directory, &[config.display().to_string(), "--sentinel".to_owned()])
    }

    fn launch(directory: PathBuf, options: &[String]) -> Self {
        // Somebody else may take the port before Redis does.
        for _ in 0..20 {
            let (port, mut options) = (free_port(), options.to_vec());
            let mut tls_port = 0;
            if options.iter().any(|option| option == "--tls-cert-file") {
                tls_port = free_port();
                options.extend(["--tls-port".to_owned(), tls_port.to_string()]);
            }
            if let Some((process, watcher)) = spawn(port, &directory, &options) {
                return Self { process, watcher, port, tls_port, directory, options };
            }
        }
        panic!("redis-server does not start; is it installed?");
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The address for TLS.
    #[must_use]
    pub fn tls_url(&self) -> String {
        format!("rediss://127.0.0.1:{}", self.tls_port)
    }

    /// The directory that it runs in, which goes with it.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.watcher.end();
        // It may have been killed before.
        let _ = self.process.wait();
    }

    /// Starts it again on the same port, after [`kill`](Self::kill).
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        (self.process, self.watcher) =
            spawn(self.port, &self.directory, &self.options).expect("redis starts again");
    }

    /// Says something to it and gives its answer, which has to be one line or one text.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn command(&self, words: &[&str]) -> String {
        let mut connection = Connection::open(self.port).await;
        connection.say(words).await;
        match connection.hear().await {
            Answer::Line(line) => line,
            Answer::Bulk(text) => String::from_utf8(text).expect("text"),
            other @ Answer::Array(_) => panic!("{other:?} in answer to {words:?}"),
        }
    }

    /// Subscribes with `command` (`SUBSCRIBE`, `PSUBSCRIBE`, `SSUBSCRIBE`).
    ///
    /// # Panics
    /// When it is not confirmed.
    pub async fn subscribe(&self, command: &str, names: &[&str]) -> Subscriber {
        let mut connection = Connection::open(self.port).await;
        let words: Vec<&str> = std::iter::once(command).chain(names.iter().copied()).collect();
        connection.say(&words).await;
        for name in names {
            let confirmation = connection.hear().await;
            let Answer::Array(items) = &confirmation else { panic!("{confirmation:?}") };
            assert_eq!(items[1], Answer::Bulk(name.as_bytes().to_vec()));
        }
        Subscriber(connection)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A shell that kills a process when its own input ends: when that is wanted, or when this process is gone, however it
/// went. A test that is killed drops nothing.
#[derive(Debug)]
struct Watcher(Child);

impl Watcher {
    fn over(process: &Child) -> Self {
        let shell = Command::new("sh")
            .args(["-c", r#"read -r _; kill -KILL "$1""#, "sh", &process.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(shell.expect("a shell"))
    }

    /// Kills the process, which is not waited for: until it is, no other can have got its number.
    fn end(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// What Redis passes on.
#[derive(Debug)]
pub struct Subscriber(Connection);

impl Subscriber {
    /// Waits for the next message: its channel and its bytes.
    ///
    /// # Panics
    /// When none comes in time.
    pub async fn next(&mut self) -> (String, Vec<u8>) {
        let message = self.0.hear().await;
        let Answer::Array(items) = &message else { panic!("{message:?}") };
        // A pattern comes before the channel.
        match &items[items.len() - 2..] {
            [Answer::Bulk(channel), Answer::Bulk(message)] => {
                (String::from_utf8(channel.clone()).expect("the channel is UTF-8"), message.clone())
            }
            other => panic!("{other:?}"),
        }
    }
}

#[derive(Debug)]
struct Connection {
    reader: tokio::io::BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// What Redis says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    /// A line with its mark: `+OK`, `-ERR ..`, `:1`.
    Line(String),
    Bulk(Vec<u8>),
    Array(Vec<Self>),
}

impl Connection {
    async fn open(port: u16) -> Self {
        let stream = within("redis", TcpStream::connect(("127.0.0.1", port))).await.expect("redis listens");
        let (reader, writer) = stream.into_split();
        Self { reader: tokio::io::BufReader::new(reader), writer }
    }

    async fn say(&mut self, words: &[&str]) {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.writer.write_all(request.as_bytes()).await.expect("redis reads");
    }

    async fn hear(&mut self) -> Answer {
        match self.item().await {
            Item::Whole(answer) => answer,
            Item::Array(length) => {
                let mut items = Vec::new();
                for _ in 0..length {
                    match self.item().await {
                        Item::Whole(item) => items.push(item),
                        Item::Array(_) => panic!("an array in an array"),
                    }
                }
                Answer::Array(items)
            }
        }
    }

    async fn item(&mut self) -> Item {
        let mut line = String::new();
        within("redis to say something", self.reader.read_line(&mut line)).await.expect("redis speaks");
        let line = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("redis hung up behind {line:?}"));
        let length = || line[1..].parse::<usize>().expect("a length");
        match line.as_bytes()[0] {
            b'$' => {
                let mut bytes = vec![0; length() + 2];
                within("the rest", self.reader.read_exact(&mut bytes)).await.expect("redis speaks on");
                bytes.truncate(length());
                Item::Whole(Answer::Bulk(bytes))
            }
            b'*' => Item::Array(length()),
            _ => Item::Whole(Answer::Line(line.to_owned())),
        }
    }
}

enum Item {
    Whole(Answer),
    Array(usize),
}

fn spawn(port: u16, directory: &Path, options: &[String]) -> Option<(Child, Watcher)> {
    let mut process = Command::new("redis-server")
        .args(options)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut watcher = Watcher::over(&process);
    let mut log = BufReader::new(process.stdout.take()?);
    let mut line = String::new();
    while log.read_line(&mut line).is_ok_and(|length| length > 0) {
        if line.contains("Ready to accept connections") || line.contains("+monitor master") {
            // Its log must not fill up the pipe.
            std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Some((process, watcher));
        }
        line.clear();
    }
    watcher.end();
    let _ = process.wait();
    None
}

const WITHOUT_PERSISTENCE: [&str; 4] = ["--save", "", "--appendonly", "no"];

fn new_directory() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("sio-redis-{}-{number}", process::id()));
    fs::create_dir_all(&directory).expect("a directory for redis");
    directory
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("it has an address").port()
}
