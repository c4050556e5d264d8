//! The guide "Rooms and namespaces" of Socket.IO, one statement after the other. Environment: `PORT` (default 3000, 0
//! picks one).

#![allow(clippy::print_stdout, reason = "whoever starts it waits for the line")]

use sio_server::{Args, DisconnectReason, Reply, Server, Socket};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    serve(TcpListener::bind(("127.0.0.1", port)).await?).await
}

/// Serves until the server is closed.
pub(crate) async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let io = Server::new();
    default_namespace(&io);
    custom_namespaces(&io);
    rooms(&io);
    own_room(&io);
    disconnection(&io);

    let listening = io.serve(listener, io.service())?;
    println!("listening on http://{}", listening.address());
    listening.await;
    Ok(())
}

/// The default namespace is `/`: clients connect to it unless they name another, and the server itself stands for it.
fn default_namespace(io: &Server) {
    io.sockets().on("announce", async |io: Server| {
        // The same, twice: both reach everybody in `/`, and nobody elsewhere.
        io.emit("hi", "everyone!");
        io.sockets().emit("hi", "everyone!");
    });
}

/// A namespace of one's own keeps apart what has nothing to do with each other. A client joins any number of them
/// over one connection. The name is no URL: all of them are below `/socket.io/` for HTTP.
fn custom_namespaces(io: &Server) {
    io.of("/my-namespace")
        // Every client that connects is handed over as a socket.
        .on_connection(async |socket: Socket| {
            println!("{} connected to {}", socket.id(), socket.namespace().path());
            socket.emit("welcome", socket.id());
        })
        .on("announce", async |io: Server| io.of("/my-namespace").emit("hi", "everyone here!"));
}

/// Within a namespace, sockets join and leave arbitrary rooms. A room exists while somebody is in it.
fn rooms(io: &Server) {
    io.sockets()
        .on("join", async |socket: Socket, Args(room): Args<String>| {
            socket.join(room);
            Reply(socket.rooms())
        })
        .on("leave", async |socket: Socket, Args(room): Args<String>| {
            socket.leave(room);
            Reply(socket.rooms())
        })
        .on("to room", async |io: Server, Args((room, text)): Args<(String, String)>| {
            // `to` and `in_` are the same: use whichever reads better.
            io.to(&room).emit("some event", &text);
            io.in_(&room).emit("some event", &text);
        });
}

/// Every socket sits in a room named by its own id, which is random and cannot be guessed: whoever was told the id can
/// have a message sent to just this one.
fn own_room(io: &Server) {
    io.sockets().on(
        "say to someone else",
        async |socket: Socket, Args((id, text)): Args<(String, String)>| {
            socket.broadcast().to(id).emit("my message", &(socket.id(), text));
        },
    );
}

/// The end is seen on the socket. It leaves every room by itself: nothing has to be torn down.
fn disconnection(io: &Server) {
    io.sockets()
        .on_disconnecting(async |io: Server, socket: Socket, reason: DisconnectReason| {
            // The last moment at which its rooms can be read.
            io.to(socket.rooms()).except(&socket).emit("gone", &(socket.id(), reason.as_str()));
        })
        .on_disconnect(async |io: Server, socket: Socket| {
            // Nobody has left them for it, and yet there are none.
            io.emit("left", &(socket.id(), socket.rooms()));
            println!("{} disconnected", socket.id());
        });
}
