//! Starts the programs under test, each on the cores it is given, and stops them again.

use std::{
    error::Error,
    fs::File,
    io::{self, BufRead, BufReader},
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

/// The core of all that serves; the generator has core 1.
pub(crate) const SERVER_CORE: &str = "0";

/// The core of the load, whatever makes it or takes it.
pub(crate) const LOAD_CORE: &str = "1";

const START_LIMIT: Duration = Duration::from_secs(20);

/// Ports below the range that the kernel gives to clients: thousands of them are in use here.
const FIRST_PORT: u16 = 21_000;
const PORTS: u16 = 10_000;

/// A program with its arguments, and how to run it.
#[derive(Clone, Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) command: &'a [String],
    pub(crate) environment: Vec<(&'static str, String)>,
    /// As `taskset` takes them.
    pub(crate) cores: &'static str,
    /// What it writes to its standard error.
    pub(crate) log: &'a Path,
}

/// A running program; ends when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<Child>,
    process: Process,
    log: std::path::PathBuf,
}

/// A running server; ends when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    running: Running,
    pub(crate) address: SocketAddr,
}

impl Launch<'_> {
    /// Runs the program. Should this process be killed, the kernel ends the child.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub(crate) fn run(&self) -> Result<Running, Box<dyn Error>> {
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "taskset", "-c", self.cores])
            .args(self.command)
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(self.log)?)
            .spawn()
            .map_err(|error| format!("setpriv and taskset of util-linux: {error}"))?;
        let process = Process::with_id(child.id());
        Ok(Running { child: Some(child), process, log: self.log.to_owned() })
    }

    /// Runs the program with a port of its own and waits until it listens there.
    ///
    /// # Errors
    ///
    /// If it ends or does not say in time that it listens; the error quotes the end of its log.
    pub(crate) fn serve(mut self) -> Result<Server, Box<dyn Error>> {
        let port = free_port()?;
        self.environment.push(("PORT", port.to_string()));
        // Held from here on, so that the child ends with it whatever comes.
        let mut running = self.run()?;
        let output = running.child.as_mut().and_then(|child| child.stdout.take());
        let output = output.ok_or("no standard output")?;
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
            return Err(running.explain("did not start").into());
        }
        running.refresh()?;
        Ok(Server { running, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) })
    }
}

impl Running {
    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// Takes its children into account.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        if let Some(child) = &self.child {
            self.process = Process::with_descendants(child.id())?;
        }
        Ok(())
    }

    /// Lets the program write to its standard output what it wants.
    pub(crate) fn discard_output(&mut self) {
        if let Some(mut output) = self.child.as_mut().and_then(|child| child.stdout.take()) {
            thread::spawn(move || io::copy(&mut output, &mut io::sink()));
        }
    }

    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        self.child.as_mut().map_or(Ok(true), |child| child.try_wait().map(|status| status.is_some()))
    }

    /// Says what did not happen, with the end of the log.
    pub(crate) fn explain(&self, what: &str) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let mut tail: Vec<&str> = text.lines().rev().take(5).collect();
        tail.reverse();
        format!(
            "it {what}: {}",
            if tail.is_empty() { "its log is empty".to_owned() } else { tail.join(" | ") }
        )
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // A child that has already ended cannot be killed, which is as good.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

impl Server {
    pub(crate) fn process(&self) -> &Process {
        self.running.process()
    }

    /// Takes a server that runs in this process, for tests.
    #[cfg(test)]
    pub(crate) fn running_at(address: SocketAddr) -> Self {
        let log = std::path::PathBuf::new();
        Self { running: Running { child: None, process: Process::this(), log }, address }
    }
}

/// A port nobody listens on, another one for each start: the last one may be full of closing connections.
pub(crate) fn free_port() -> Result<u16, Box<dyn Error>> {
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
