//! What a message costs on its way through the whole server: over loopback, with the clients in the same thread.
//!
//! The clients are plain sockets that send prepared bytes and count what comes back, so that nearly everything
//! counted is the server's, its runtime's and the kernel's; under callgrind the kernel is left out. See `support`.

#![allow(missing_docs, clippy::print_stdout, reason = "a program, not a library")]
#![allow(clippy::unwrap_used, reason = "a case that fails has nothing to measure")]

use std::net::SocketAddr;
use std::time::Duration;

use sio_server::{Args, Reply, Server, Socket, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

#[path = "../../sio-protocol/benches/support/mod.rs"]
mod support;

use support::Case;

/// Members of a large room.
const MANY: usize = 100;

fn main() {
    let mut cases = Vec::new();
    exchanges(&mut cases);
    rooms(&mut cases);
    connections(&mut cases);
    support::main(cases);
}

/// A server that runs while its runtime is blocked on.
struct World {
    runtime: Runtime,
    io: Server,
    address: SocketAddr,
}

/// A client that knows how many bytes come back.
struct Client {
    stream: TcpStream,
    scratch: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let io = Server::builder().ping_interval(Duration::from_secs(3600)).build();
        io.sockets()
            .on("echo", async |socket: Socket, Args(x): Args<Value>| socket.emit("echo", &x))
            .on("ack", async |Args(x): Args<Value>| Reply(x))
            .on("join", async |socket: Socket, Args(room): Args<String>| {
                socket.join(room);
                Reply(())
            })
            .on("leave", async |socket: Socket, Args(room): Args<String>| {
                socket.leave(room);
                Reply(())
            });
        let listening = runtime.block_on(io.listen("127.0.0.1:0")).unwrap();
        let address = listening.address();
        runtime.spawn(async move { listening.await });
        Self { runtime, io, address }
    }

    fn connect(&self) -> Client {
        self.runtime.block_on(Client::connect(self.address))
    }

    /// Clients that are in a room.
    fn members(&self, count: usize) -> Vec<Client> {
        let join = text(r#"420["join","room"]"#);
        let members: Vec<Client> = (0..count).map(|_| self.connect()).collect();
        let joined = |mut member: Client| {
            self.runtime.block_on(member.ask(&join, "430[]".len() + 2));
            member
        };
        members.into_iter().map(joined).collect()
    }
}

impl Client {
    /// Connects by WebSocket and joins `/`.
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut client = Self { stream, scratch: vec![0; 64 * 1024] };
        let request = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        client.stream.write_all(request.as_bytes()).await.unwrap();
        client.read_until(b"\"maxPayload\":1000000}").await;
        client.stream.write_all(&text("40")).await.unwrap();
        client.read_until(b"\"}").await;
        client
    }

    async fn read_until(&mut self, end: &[u8]) {
        let mut seen = Vec::new();
        while !seen.ends_with(end) {
            let length = self.stream.read(&mut self.scratch).await.unwrap();
            assert!(length > 0, "closed after {:?}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&self.scratch[..length]);
        }
    }

    /// Sends prepared bytes and waits for so many in return.
    async fn ask(&mut self, bytes: &[u8], answer: usize) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.read_exact(&mut self.scratch[..answer]).await.unwrap();
    }
}

/// Messages of one client, answered.
fn exchanges(cases: &mut Vec<Case>) {
    let payload = "x".repeat(64);
    let echo = format!(r#"42["echo","{payload}"]"#);
    let ack = format!(r#"421["ack","{payload}"]"#);
    for (name, message, answer, count) in [
        ("echo 64 B", &echo, echo.len(), 1),
        ("echo 64 B, 16 at once", &echo, echo.len(), 16),
        ("acknowledge 64 B", &ack, format!(r#"431["{payload}"]"#).len(), 1),
    ] {
        let bytes = text(message).repeat(count);
        let answer = (2 + answer) * count;
        cases.push(Case::new(name, 64 * count, 400, move || {
            let world = World::new();
            let mut client = world.connect();
            move || world.runtime.block_on(client.ask(&bytes, answer))
        }));
    }
}

/// Messages to many, and who comes and goes meanwhile.
fn rooms(cases: &mut Vec<Case>) {
    cases.push(Case::new("broadcast 64 B to 100", 64 * MANY, 100, || {
        let payload = "x".repeat(64);
        let delivery = 2 + format!(r#"42["bcast","{payload}"]"#).len();
        let world = World::new();
        let mut members = world.members(MANY);
        move || {
            world.runtime.block_on(async {
                world.io.to("room").emit("bcast", &payload);
                for member in &mut members {
                    member.stream.read_exact(&mut member.scratch[..delivery]).await.unwrap();
                }
            });
        }
    }));
    cases.push(Case::new("broadcast to nobody", 64, 2_000, || {
        let world = World::new();
        move || world.io.to("room").emit("bcast", "hello")
    }));
    for (name, members) in [("join and leave a room of 1", 1), ("join and leave a room of 100", MANY)] {
        let requests = [text(r#"420["join","room"]"#), text(r#"420["leave","room"]"#)].concat();
        cases.push(Case::new(name, requests.len(), 400, move || {
            let world = World::new();
            let stay = world.members(members);
            let mut mover = world.connect();
            move || {
                world.runtime.block_on(mover.ask(&requests, 2 * (2 + "430[]".len())));
                // They stay as long as the case does.
                assert_eq!(stay.len(), members);
            }
        }));
    }
}

/// Clients that come and go.
fn connections(cases: &mut Vec<Case>) {
    cases.push(Case::new("connect, join / and leave", 0, 100, || {
        let world = World::new();
        let close = frame(8, &1000_u16.to_be_bytes());
        move || {
            world.runtime.block_on(async {
                let mut client = Client::connect(world.address).await;
                client.stream.write_all(&close).await.unwrap();
                let mut rest = Vec::new();
                client.stream.read_to_end(&mut rest).await.unwrap();
            });
        }
    }));
}

fn text(message: &str) -> Vec<u8> {
    frame(1, message.as_bytes())
}

/// A short frame as clients send them.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x9e];
    assert!(payload.len() < 126, "a short frame");
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8];
    frame.extend(MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}
