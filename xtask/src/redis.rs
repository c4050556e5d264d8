//! A redis-server of our own: on a free port, without persistence, known to answer before anybody uses it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::install;
use crate::workspace::{Error, Result, command};

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Finds a port that nobody listens on at the moment.
pub(crate) fn free_port() -> Result<u16> {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    port.map(|address| address.port()).map_err(|cause| Error::while_doing("looking for a free port", cause))
}

/// Prepares the server, installed where it is missing. It keeps nothing and writes no file.
pub(crate) fn server(port: u16) -> Result<Command> {
    let mut server = command(install::tool(&install::REDIS)?);
    server.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    server.args(["--loglevel", "warning"]);
    Ok(server)
}

/// Waits until the server on `port` answers.
pub(crate) fn await_answer(port: u16) -> Result<()> {
    let start = Instant::now();
    loop {
        match ping(port) {
            Ok(()) => return Ok(()),
            Err(cause) if start.elapsed() > PATIENCE => {
                return Err(Error::while_doing(
                    format!("redis-server on port {port} does not answer"),
                    cause,
                ));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

fn ping(port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    if answer == *b"+PONG\r\n" {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("answered {:?}", String::from_utf8_lossy(&answer))))
    }
}
