//! How sockets end, and what is known of them afterwards.

use std::collections::HashMap;
use std::sync::Mutex;

use serde::Serialize;
use sio_server::{AckSender, Args, DisconnectReason, Namespace, Reply, Socket, State};

use super::{lock, rooms_of};

pub(crate) fn add(namespace: &Namespace) {
    namespace
        .on_connection(async |socket: Socket| {
            socket.insert(Tagged::default());
        })
        .on("tag", async |socket: Socket, Args(tag): Args<String>| {
            if let Some(tagged) = socket.get::<Tagged>() {
                lock(&tagged.0).tag = Some(tag);
            }
            Reply(())
        })
        .on("reason-of", async |State(ends): State<Ends>, Args(tag): Args<String>, reply: AckSender| {
            ends.ask(tag, &reply);
        })
        .on("kick", async |socket: Socket| socket.disconnect(false))
        .on("kick-hard", async |socket: Socket| socket.disconnect(true))
        .on("drop-engine", async |socket: Socket| socket.close_connection())
        .on_disconnecting(async |socket: Socket| {
            if let Some(tagged) = socket.get::<Tagged>() {
                lock(&tagged.0).rooms = rooms_of(&socket);
            }
        })
        .on_disconnect(async |socket: Socket, State(ends): State<Ends>, reason: DisconnectReason| {
            let Some(tagged) = socket.get::<Tagged>() else { return };
            let Tag { tag, rooms } = std::mem::take(&mut *lock(&tagged.0));
            if let Some(tag) = tag {
                ends.note(tag, &End { reason: reason.as_str(), rooms });
            }
        });
}

/// On each socket: its tag, and the rooms it was in when it began to disconnect.
#[derive(Default)]
struct Tagged(Mutex<Tag>);

#[derive(Default)]
struct Tag {
    tag: Option<String>,
    rooms: Vec<String>,
}

/// On the server: the ends of tagged sockets, and who waits for one.
#[derive(Default)]
pub(crate) struct Ends(Mutex<Known>);

#[derive(Default)]
struct Known {
    gone: HashMap<String, End>,
    waiting: HashMap<String, Vec<AckSender>>,
}

#[derive(Clone, Serialize)]
struct End {
    reason: &'static str,
    rooms: Vec<String>,
}

impl Ends {
    fn ask(&self, tag: String, reply: &AckSender) {
        let end = {
            let mut known = lock(&self.0);
            let end = known.gone.get(&tag).cloned();
            if end.is_none() {
                known.waiting.entry(tag).or_default().push(reply.clone());
            }
            end
        };
        if let Some(end) = end {
            answer(reply, &end);
        }
    }

    fn note(&self, tag: String, end: &End) {
        let waiting = {
            let mut known = lock(&self.0);
            let waiting = known.waiting.remove(&tag).unwrap_or_default();
            known.gone.insert(tag, end.clone());
            waiting
        };
        for reply in &waiting {
            answer(reply, end);
        }
    }
}

fn answer(reply: &AckSender, end: &End) {
    if let Err(error) = reply.send(end) {
        eprintln!("the end of a socket could not be told: {error}");
    }
}
