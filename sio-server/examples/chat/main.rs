//! Switchboard: a small chat that shows namespaces, rooms, private messages, acknowledgements and binary at work.
//!
//! `CONTRACT.md` says what the page in `public/` and this server agree on. The server keeps no list of people or
//! rooms: it asks the adapter each time, so that with another adapter it is a cluster, and nothing else changes.
//!
//! `cargo xtask demo` runs it; by hand, `npm ci` in this directory and `cargo run --example chat`. Environment: `PORT`
//! (default 3000, 0 picks one) and `CLIENT_DIST` (default `node_modules/socket.io-client/dist` beside this file).

mod answer;
mod message;
mod people;
mod web;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use serde::{Deserialize, Serialize};
use sio_server::{AdapterError, Args, Auth, ConnectError, Namespace, Server, Socket, SocketId, State, Value};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tower_layer::Layer as _;

use self::answer::{Refusal, answered};
use self::message::{Content, Image, Message, Sent, deliver};
use self::people::{Overview, Person, Presence, Profile};

/// Each has the same handlers, and its own people and rooms.
const BOARDS: [&str; 2] = ["/chat", "/support"];
const MAX_ROOMS: usize = 20;
const MAX_IMAGE: usize = 700_000;
const ROLL_CALL_TIMEOUT: Duration = Duration::from_secs(2);

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the address is what whoever starts it waits for")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The id of a protocol 3 client gives its session away, and here everybody sees everybody's id.
    let io = Server::builder().allow_eio3(false).state(Switchboard::default()).build();
    io.on_error(|failure| eprintln!("{failure}"));
    io.sockets().on_connection(enter_lobby);
    for board in BOARDS {
        io.of(board)
            .middleware(introduce)
            .on_connection(announce)
            .on("join", answered(join))
            .on("leave", answered(leave))
            .on("say", answered(say))
            .on("image", answered(image))
            .on("typing", answered(typing))
            .on("rollcall", answered(roll_call))
            .on_disconnecting(say_goodbye)
            .on_disconnect(announce);
    }

    let port: u16 = std::env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let listening = io.serve(listener, io.layer().layer(service_fn(web::page)))?;
    println!("Switchboard on http://{}/", listening.address());
    tokio::signal::ctrl_c().await?;
    io.close().await;
    Ok(())
}

/// What the server keeps besides sockets and rooms.
#[derive(Debug, Default)]
struct Switchboard {
    last_message: AtomicU64,
    /// Held from a snapshot until it is sent: pages believe the last one they get, so it has to be the newest.
    announcing: Mutex<()>,
}

impl Switchboard {
    fn next_id(&self) -> u64 {
        self.last_message.fetch_add(1, Ordering::Relaxed) + 1
    }
}

// Coming and going

/// Lets in whoever has a name, and keeps it with the socket.
async fn introduce(socket: Socket, auth: Option<Auth<Profile>>) -> Result<(), ConnectError> {
    let name = auth.map(|Auth(profile)| profile.name.trim().to_owned()).unwrap_or_default();
    if !(1..=24).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        return Err("Choose a name of 1 to 24 characters".into());
    }
    socket.set_data(&Profile { name }).map_err(|error| ConnectError::new(error.to_string()))
}

async fn enter_lobby(socket: Socket, io: Server, State(board): State<Switchboard>) {
    let _turn = board.announcing.lock().await;
    if let Ok(overview) = Overview::of(&io).await {
        socket.emit("overview", &overview);
    }
}

/// Tells a namespace who is in it, and the lobby how many are where.
async fn announce(namespace: Namespace, io: Server, State(board): State<Switchboard>) {
    let _turn = board.announcing.lock().await;
    // Should a node of a cluster not answer, pages go on with what they have until the next change.
    if let (Ok(presence), Ok(overview)) = (Presence::of(&namespace).await, Overview::of(&io).await) {
        namespace.emit("presence", &presence);
        io.emit("overview", &overview);
    }
}

async fn say_goodbye(socket: Socket, me: Person) {
    for room in rooms(&socket.rooms()) {
        socket.to(room).emit("left", &(room, &me));
    }
}

// Rooms

#[derive(Debug, Serialize)]
struct Room {
    room: String,
}

async fn join(
    socket: Socket,
    me: Person,
    Args(room): Args<String>,
    board: State<Switchboard>,
) -> Result<Room, Refusal> {
    check_name(&room)?;
    if !socket.is_in(&room) {
        if rooms(&socket.rooms()).count() >= MAX_ROOMS {
            return Err(Refusal::TooManyRooms);
        }
        socket.join(&room);
        socket.to(&room).emit("joined", &(&room, me));
        announce(socket.namespace(), socket.server(), board).await;
    }
    Ok(Room { room })
}

async fn leave(
    socket: Socket,
    me: Person,
    Args(room): Args<String>,
    board: State<Switchboard>,
) -> Result<Room, Refusal> {
    check_name(&room)?;
    if socket.is_in(&room) {
        socket.leave(&room);
        socket.to(&room).emit("left", &(&room, me));
        announce(socket.namespace(), socket.server(), board).await;
    }
    Ok(Room { room })
}

#[derive(Debug, Serialize)]
struct RollCall {
    answers: Vec<Present>,
    missing: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Present {
    id: SocketId,
    transport: String,
    visible: bool,
}

async fn roll_call(socket: Socket, me: Person, Args(room): Args<String>) -> Result<RollCall, Refusal> {
    check_name(&room)?;
    if !socket.is_in(&room) {
        return Err(Refusal::NotIn(room));
    }
    let acks = socket.to(&room).timeout(ROLL_CALL_TIMEOUT).emit_with_ack("rollcall", &me).await?;
    let asked = acks.len();
    let answers: Vec<Present> = acks.into_iter().filter_map(|ack| ack.result.ok()).collect();
    Ok(RollCall { missing: asked - answers.len(), answers })
}

/// Every socket is in the room of its own id, too. A `#` tells the two apart, so nobody can join such a room.
fn check_name(room: &str) -> Result<(), Refusal> {
    let name = room.strip_prefix('#').ok_or(Refusal::RoomName)?;
    let is_fine = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'-');
    if (1..=24).contains(&name.len()) && name.bytes().all(is_fine) { Ok(()) } else { Err(Refusal::RoomName) }
}

fn rooms(all: &[String]) -> impl Iterator<Item = &str> {
    all.iter().map(String::as_str).filter(|room| room.starts_with('#'))
}

// Messages

async fn say(
    socket: Socket,
    me: Person,
    Args((to, text)): Args<(String, String)>,
    State(board): State<Switchboard>,
) -> Result<Sent, Refusal> {
    let reach = reach(&socket, &to).await?;
    let text = text.trim();
    if !(1..=2000).contains(&text.chars().count()) {
        return Err(Refusal::TextLength);
    }
    let message = Message::new(board.next_id(), me, to, Content::Text(text.to_owned()));
    Ok(deliver(&socket, &message, reach, "said", &message))
}

async fn image(
    socket: Socket,
    me: Person,
    Args((to, image, bytes)): Args<(String, Image, Value)>,
    State(board): State<Switchboard>,
) -> Result<Sent, Refusal> {
    let Value::Binary(bytes) = bytes else { return Err(Refusal::NotUnderstood) };
    if !image.is_plausible() {
        return Err(Refusal::NotUnderstood);
    }
    let reach = reach(&socket, &to).await?;
    if !(1..=MAX_IMAGE).contains(&bytes.len()) {
        return Err(Refusal::ImageSize);
    }
    if !image.is_of_known_type() {
        return Err(Refusal::ImageType);
    }
    let message = Message::new(board.next_id(), me, to, Content::Image(image));
    Ok(deliver(&socket, &message, reach, "image", &(&message, bytes)))
}

async fn typing(socket: Socket, me: Person, Args(to): Args<String>) -> Result<(), Refusal> {
    reach(&socket, &to).await?;
    socket.to(&to).volatile().emit("typing", &(&to, me));
    Ok(())
}

/// How many sockets `to` means, the sender's own left out, if the sender may write there.
async fn reach(socket: &Socket, to: &str) -> Result<usize, Refusal> {
    let is_room = to.starts_with('#');
    if is_room && !socket.is_in(to) {
        return Err(Refusal::NotIn(to.to_owned()));
    }
    let count = socket.to(to).fetch_sockets().await.map_err(AdapterError::from)?.len();
    if count > 0 || is_room { Ok(count) } else { Err(Refusal::Gone) }
}
