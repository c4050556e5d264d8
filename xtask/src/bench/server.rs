//! Starts a server under test on a core of its own and stops it again.

use std::{
    error::Error,
    fs::File,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU16, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::process::Process;

/// The core the servers run on; the generator has core 1.
const SERVER_CORE: &str = "0";

const START_LIMIT: Duration = Duration::from_secs(20);

/// Ports below the range that the kernel gives to clients: thousands of them are in use here.
const FIRST_PORT: u16 = 21_000;
const PORTS: u16 = 10_000;

/// A running server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Option<Child>,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

impl Server {
    /// Runs `program` with its arguments on the server core and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it ends or does not say in time that it listens; the error quotes the end of its log.
    pub(crate) fn start(program: &[String], workers: usize, log: &Path) -> Result<Self, Box<dyn Error>> {
        let port = free_port()?;
        let mut child = Command::new("taskset")
            .args(["-c", SERVER_CORE])
            .args(program)
            .env("PORT", port.to_string())
            .env("WORKERS", workers.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(log)?)
            .spawn()?;
        let output = child.stdout.take().ok_or("no standard output")?;
        // Held from here on, so that the child ends with it whatever comes.
        let mut server = Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            process: Process::this(),
            child: Some(child),
        };
        let (listening, told) = mpsc::channel();
        thread::spawn(move || {
            // Read to the end: a server that cannot write would stand still.
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if line.starts_with("listening on") {
                    // The receiver is gone once the start has failed.
                    listening.send(()).unwrap_or_default();
                }
            }
        });
        if told.recv_timeout(START_LIMIT).is_err() {
            drop(server);
            let text = std::fs::read_to_string(log).unwrap_or_default();
            let tail: Vec<&str> = text.lines().rev().take(5).collect();
            return Err(format!("{program:?} did not start: {}", tail.join(" | ")).into());
        }
        if let Some(child) = &server.child {
            server.process = Process::with_descendants(child.id())?;
        }
        Ok(server)
    }

    /// Takes a server that runs in this process, for tests.
    #[cfg(test)]
    pub(crate) fn running_at(address: SocketAddr) -> Self {
        Self { child: None, address, process: Process::this() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // A child that has already ended cannot be killed, which is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// A port nobody listens on, another one for each start: the last one may be full of closing connections.
fn free_port() -> Result<u16, Box<dyn Error>> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs after each other should not begin with the same ports either.
    let offset = std::process::id() % u32::from(PORTS);
    for _ in 0..PORTS {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST_PORT + u16::try_from((offset + step) % u32::from(PORTS))?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err("no free port".into())
}
