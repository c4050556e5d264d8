//! A redis-server of a test's own: on a free port, without persistence, killed when the test ends, or is killed itself.

use std::{fmt::Write as _, path::PathBuf, process::Stdio};

use fred::types::config::{Config, Server};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::super::{resp::Value, wire::Wire};

pub(super) struct Redis {
    pub(super) port: u16,
    arguments: Vec<String>,
    directory: PathBuf,
    child: Option<Child>,
    watcher: Option<Watcher>,
}

impl Redis {
    /// Starts a server and waits until it takes connections.
    pub(super) async fn start(arguments: &[&str]) -> Self {
        loop {
            let port = free_port();
            let directory = std::env::temp_dir().join(format!("sio-redis-{}-{port}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
            let mut redis = Self { port, arguments, directory, child: None, watcher: None };
            if redis.launch().await {
                return redis;
            }
        }
    }

    /// Starts a server that speaks TLS only, with a certificate for `localhost` of its own making.
    #[cfg(feature = "tls")]
    pub(super) async fn start_with_tls() -> Self {
        let port = free_port();
        let directory = std::env::temp_dir().join(format!("sio-redis-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let openssl = |arguments: &str| {
            let mut command = std::process::Command::new("openssl");
            let output = command.args(arguments.split(' ')).current_dir(&directory).output().unwrap();
            assert!(output.status.success(), "{output:?}");
        };
        openssl(
            "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out certificate.pem -subj /CN=localhost \
             -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE",
        );
        openssl("x509 -in certificate.pem -outform DER -out certificate.der");
        let arguments = format!(
            "--port 0 --tls-port {port} --tls-cert-file certificate.pem --tls-key-file key.pem \
             --tls-ca-cert-file certificate.pem --tls-auth-clients no"
        );
        let arguments = arguments.split(' ').map(str::to_owned).collect();
        let mut redis = Self { port, arguments, directory, child: None, watcher: None };
        assert!(redis.launch().await, "the port was taken meanwhile");
        redis
    }

    /// Reads a file of the server's directory.
    #[cfg(feature = "tls")]
    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.directory.join(name)).unwrap()
    }

    /// Stands for a server that runs already.
    pub(super) fn at(port: u16) -> Self {
        let directory = std::env::temp_dir().join("sio-none");
        Self { port, arguments: Vec::new(), directory, child: None, watcher: None }
    }

    /// Starts it again on the same port.
    pub(super) async fn restart(&mut self) {
        assert!(self.launch().await, "the port was taken meanwhile");
    }

    async fn launch(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        if self.arguments.first().is_none_or(|first| first.starts_with("--")) {
            command.args(["--port", &self.port.to_string(), "--save", "", "--appendonly", "no"]);
        }
        command.args(&self.arguments).current_dir(&self.directory).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("redis-server is not installed");
        let watcher = Watcher::over(&child);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("eady to accept connections") || line.contains("Sentinel ID is") {
                // Goes on reading, so that it never waits for somebody to read.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                (self.child, self.watcher) = (Some(child), Some(watcher));
                return true;
            }
        }
        false
    }

    /// Kills it at once.
    pub(super) async fn kill(&mut self) {
        self.watcher = None;
        self.child.take().unwrap().wait().await.unwrap();
    }

    /// Makes it stand still, with its connections open.
    pub(super) fn pause(&self) {
        let pid = self.child.as_ref().and_then(Child::id).unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Asks it something on a connection of its own.
    pub(super) async fn ask(&self, command: &[&str]) -> Value {
        let parts: Vec<_> = command.iter().map(|part| part.as_bytes()).collect();
        self.ask_bytes(&parts).await
    }

    pub(super) async fn ask_bytes(&self, command: &[&[u8]]) -> Value {
        let config = Config::default();
        let server = Server::new("127.0.0.1", self.port);
        let mut wire = Wire::connect(&config, &server, "test", 1 << 20).await.unwrap();
        wire.ask(command).await.unwrap()
    }

    /// Counts the subscriptions to a channel.
    pub(super) async fn subscribers(&self, channel: &str) -> i64 {
        self.ask(&["PUBSUB", "NUMSUB", channel]).await.get(channel).and_then(Value::number).unwrap()
    }

    /// Lists the connections of links by their names.
    pub(super) async fn connections(&self) -> Vec<String> {
        let list = self.ask(&["CLIENT", "LIST"]).await;
        let names =
            list.text().unwrap().split_ascii_whitespace().filter_map(|field| field.strip_prefix("name="));
        names.filter(|name| name.starts_with("sio-")).map(str::to_owned).collect()
    }

    /// Has another process publish messages at full speed, each with its number in front. Ends when all are published.
    pub(super) async fn blast(&self, channel: &str, count: usize, size: usize) {
        let mut script = String::new();
        let rest = "x".repeat(size - 8);
        for number in 0..count {
            write!(script, "*3\r\n$7\r\nPUBLISH\r\n${}\r\n{channel}\r\n", channel.len()).unwrap();
            write!(script, "${size}\r\n{number:08}{rest}\r\n").unwrap();
        }
        let path = self.directory.join("blast");
        std::fs::write(&path, script).unwrap();
        let mut command = Command::new("redis-cli");
        command.args(["-p", &self.port.to_string(), "--pipe"]).stdin(std::fs::File::open(path).unwrap());
        let output = command.stdout(Stdio::piped()).kill_on_drop(true).output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.watcher = None;
        self.child = None;
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A shell that kills a process when its own input ends: when this value goes, or the process that it is of, however it
/// went. A test that is killed drops nothing.
struct Watcher(std::process::Child);

impl Watcher {
    fn over(process: &Child) -> Self {
        let pid = process.id().unwrap().to_string();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", r#"read -r _; kill -KILL "$1""#, "sh", &pid]);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(shell.spawn().unwrap())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

pub(super) fn free_port() -> u16 {
    // Below 55536: a cluster's node takes the port 10,000 above as well.
    loop {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        if port < 55_000 {
            return port;
        }
    }
}
