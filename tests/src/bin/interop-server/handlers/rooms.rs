//! Rooms, and what is sent to them.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sio_server::{Args, IntoRooms, Namespace, Reply, Socket, Value, Values};

use super::rooms_of;

pub(crate) fn add(namespace: &Namespace) {
    own_rooms(namespace);
    broadcasts(namespace);
    others(namespace);
}

fn own_rooms(namespace: &Namespace) {
    namespace
        .on("join", async |socket: Socket, Args(rooms): Args<OneOrMany>| {
            socket.join(rooms);
            Reply(rooms_of(&socket))
        })
        .on("leave", async |socket: Socket, Args(room): Args<String>| {
            socket.leave(room);
            Reply(rooms_of(&socket))
        })
        .on("rooms", async |socket: Socket| Reply(rooms_of(&socket)))
        .on("members", async |nsp: Namespace, Args(room): Args<String>| {
            let sockets = nsp.in_(room).fetch_sockets().await?;
            let mut ids: Vec<_> = sockets.iter().map(|socket| socket.id().to_string()).collect();
            ids.sort_unstable();
            Ok::<_, sio_server::AdapterError>(ids)
        });
}

fn broadcasts(namespace: &Namespace) {
    namespace
        .on("to-room", async |socket: Socket, Args(to): Args<ToRoom>| {
            let sender = if to.include_sender { socket.namespace().broadcast() } else { socket.broadcast() };
            sender.to(to.rooms).except(to.except).emit(&to.event, &to.args);
            Reply(())
        })
        .on("broadcast", async |socket: Socket, Args((event, args)): Args<(String, Values)>| {
            socket.broadcast().emit(&event, &args);
            Reply(())
        })
        .on("to-id", async |nsp: Namespace, Args((id, event, args)): Args<(String, String, Values)>| {
            nsp.to(id).emit(&event, &args);
            Reply(())
        })
        .on("ask-room", async |nsp: Namespace, Args(ask): Args<AskRoom>| {
            let room = nsp.to(ask.room).timeout(Duration::from_millis(ask.timeout));
            let acks = room.emit_with_ack::<Value>(&ask.event, &ask.args).await?;
            let asked = acks.len();
            let mut replies: Vec<_> = acks.into_iter().filter_map(|ack| ack.result.ok()).collect();
            replies.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            Ok::<_, sio_server::AckError>(Answers { timed_out: replies.len() < asked, replies })
        });
}

fn others(namespace: &Namespace) {
    namespace
        .on("sockets-join", async |nsp: Namespace, Args((room, target)): Args<(String, String)>| {
            nsp.in_(room).sockets_join(target);
            Reply(())
        })
        .on("sockets-leave", async |nsp: Namespace, Args((room, target)): Args<(String, String)>| {
            nsp.in_(room).sockets_leave(target);
            Reply(())
        })
        .on("disconnect-sockets", async |nsp: Namespace, Args((room, close)): Args<(String, bool)>| {
            nsp.in_(room).disconnect_sockets(close);
            Reply(())
        });
}

/// Names of rooms: absent, one string, or several.
#[derive(Default, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl IntoRooms for OneOrMany {
    fn into_rooms(self) -> Vec<String> {
        match self {
            Self::None => Vec::new(),
            Self::One(room) => vec![room],
            Self::Many(rooms) => rooms,
        }
    }
}

#[derive(Deserialize)]
struct ToRoom {
    rooms: OneOrMany,
    #[serde(default)]
    except: OneOrMany,
    #[serde(default, rename = "self")]
    include_sender: bool,
    event: String,
    args: Values,
}

#[derive(Deserialize)]
struct AskRoom {
    room: String,
    timeout: u64,
    event: String,
    args: Values,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answers {
    timed_out: bool,
    replies: Vec<Value>,
}
