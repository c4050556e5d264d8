//! Section 2 of the contract: the commands, and section 3: what is heard from other servers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value as Json, json};
use sio_server::{Broadcast, Incomplete, Namespace, RemoteSocket, Reply, Server, Socket, Value, Values};

use crate::load::Load;
use crate::wire::{Line, Packed, pack};

/// This node, as the commands see it.
pub(crate) struct Node {
    name: String,
    io: Server,
    load: Load,
    heard: Arc<Mutex<HashMap<String, Vec<Json>>>>,
}

/// Whom a command is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Target {
    rooms: Vec<String>,
    except: Vec<String>,
    flags: Flags,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Flags {
    volatile: bool,
    compress: Option<bool>,
    local: bool,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub(crate) enum Command {
    Emit {
        #[serde(flatten)]
        target: Target,
        event: String,
        args: Packed,
    },
    From {
        #[serde(flatten)]
        target: Target,
        sid: String,
        event: String,
        args: Packed,
    },
    Ask {
        #[serde(flatten)]
        target: Target,
        event: String,
        args: Packed,
        timeout: u64,
    },
    Join {
        #[serde(flatten)]
        target: Target,
        into: Vec<String>,
    },
    Leave {
        #[serde(flatten)]
        target: Target,
        into: Vec<String>,
    },
    Disconnect {
        #[serde(flatten)]
        target: Target,
        close: bool,
    },
    Fetch {
        #[serde(flatten)]
        target: Target,
    },
    Remote {
        sid: String,
        acts: Vec<Act>,
    },
    AllRooms,
    Count,
    ServerEmit {
        event: String,
        args: Packed,
    },
    ServerAsk {
        event: String,
        args: Packed,
    },
    Put {
        sid: String,
        into: Vec<String>,
        #[serde(default)]
        data: Option<Json>,
    },
    Local,
    Heard,
    Load {
        #[serde(flatten)]
        target: Target,
        event: String,
        every: u64,
    },
    Emitted,
    Unload,
    Crowd {
        #[serde(flatten)]
        target: Target,
        event: String,
        count: u64,
    },
}

/// What is done to one socket that was fetched.
#[derive(Debug, Deserialize)]
#[serde(tag = "act", rename_all = "camelCase")]
pub(crate) enum Act {
    Emit { event: String, args: Packed },
    Join { into: Vec<String> },
    Leave { into: Vec<String> },
    Disconnect { close: bool },
}

impl Node {
    pub(crate) fn new(name: String, io: Server) -> Self {
        Self { name, io, load: Load::default(), heard: Arc::default() }
    }

    /// Listens to what other servers emit to a namespace.
    pub(crate) fn hear(&self, namespace: &Namespace) {
        let remember = |event: &'static str| {
            let (heard, path) = (Arc::clone(&self.heard), namespace.path().to_owned());
            move |args: &Values| {
                let packet = std::iter::once(json!(event)).chain(args.0.iter().map(pack)).collect();
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.entry(path.clone()).or_default().push(packet);
            }
        };
        let (note, question, mute) = (remember("note"), remember("question"), remember("mute"));
        let name = self.name.clone();
        namespace
            .on_server_event("note", move |args: Values| {
                note(&args);
                async {}
            })
            .on_server_event("question", move |args: Values| {
                question(&args);
                let token = args.0.first().and_then(Value::as_str).unwrap_or_default();
                let answer = format!("{name}:{token}");
                async { Reply(answer) }
            })
            .on_server_event("mute", move |args: Values| {
                mute(&args);
                async {}
            });
    }

    /// Does what a command says and gives its result.
    pub(crate) async fn run(&self, nsp: &str, command: Json) -> Result<Json, String> {
        let namespace = self.io.of(nsp);
        let aimed = |target: Target| aim(namespace.broadcast(), target);
        match Line::command(command)? {
            Command::Emit { target, event, args } => {
                aimed(target).try_emit(&event, &args.0).map_err(text)?;
            }
            Command::From { target, sid, event, args } => {
                let socket = self.socket(&namespace, &sid)?;
                aim(socket.broadcast(), target).try_emit(&event, &args.0).map_err(text)?;
            }
            Command::Ask { target, event, args, timeout } => {
                return ask(aimed(target).timeout(Duration::from_millis(timeout)), &event, &args.0).await;
            }
            Command::Join { target, into } => aimed(target).sockets_join(into),
            Command::Leave { target, into } => aimed(target).sockets_leave(into),
            Command::Disconnect { target, close } => aimed(target).disconnect_sockets(close),
            Command::Fetch { target } => {
                let (complete, sockets) = parts(aimed(target).fetch_sockets().await);
                let sockets: Vec<_> = sockets.iter().map(details).collect::<Result<_, _>>()?;
                return Ok(json!({ "complete": complete, "sockets": sockets }));
            }
            Command::Remote { sid, acts } => act(&namespace, &sid, acts).await?,
            Command::AllRooms => {
                let (complete, rooms) = parts(namespace.all_rooms().await);
                return Ok(json!({ "complete": complete, "rooms": rooms }));
            }
            Command::Count => return Ok(json!(namespace.server_count().await.map_err(text)?)),
            Command::ServerEmit { event, args } => {
                namespace.try_server_side_emit(&event, &args.0).map_err(text)?;
            }
            Command::ServerAsk { event, args } => {
                let (complete, replies) =
                    parts(namespace.server_side_emit_with_ack::<Value>(&event, &args.0).await);
                return Ok(json!({ "complete": complete, "replies": packed(&replies) }));
            }
            Command::Put { sid, into, data } => {
                let socket = self.socket(&namespace, &sid)?;
                if let Some(data) = data {
                    socket.set_data(&data).map_err(text)?;
                }
                socket.join(into);
            }
            Command::Local => {
                let sockets = namespace.local_sockets();
                return Ok(sockets
                    .iter()
                    .map(|s| json!({ "id": s.id().as_str(), "rooms": s.rooms() }))
                    .collect());
            }
            Command::Heard => {
                let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner).remove(nsp);
                return Ok(Json::Array(heard.unwrap_or_default()));
            }
            Command::Load { target, event, every } => {
                self.load.start(aimed(target), event, self.name.clone(), Duration::from_millis(every));
            }
            Command::Emitted => return self.load.emitted().map(|n| json!(n)).ok_or_else(no_load),
            Command::Unload => return self.load.stop().await.map(|n| json!(n)).ok_or_else(no_load),
            Command::Crowd { target, event, count } => {
                let to = aimed(target);
                (0..count).for_each(|i| to.emit(&event, &(&self.name, i)));
            }
        }
        Ok(Json::Null)
    }

    fn socket(&self, namespace: &Namespace, sid: &str) -> Result<Socket, String> {
        namespace.local_socket(sid).ok_or_else(|| format!("no socket {sid} here"))
    }
}

fn aim(from: Broadcast, Target { rooms, except, flags }: Target) -> Broadcast {
    let mut to = from.to(rooms).except(except);
    if flags.volatile {
        to = to.volatile();
    }
    if flags.local {
        to = to.local();
    }
    match flags.compress {
        Some(compress) => to.compress(compress),
        None => to,
    }
}

async fn ask(to: Broadcast, event: &str, args: &Values) -> Result<Json, String> {
    let acks = to.emit_with_ack::<Value>(event, args).await.map_err(text)?;
    let asked = acks.len();
    let replies: Vec<_> = acks.into_iter().filter_map(|ack| ack.result.ok()).collect();
    Ok(json!({ "complete": replies.len() == asked, "replies": packed(&replies) }))
}

async fn act(namespace: &Namespace, sid: &str, acts: Vec<Act>) -> Result<(), String> {
    // What did arrive is enough: there is one such socket.
    let (_, sockets) = parts(namespace.in_(sid).fetch_sockets().await);
    let socket = sockets.first().ok_or_else(|| format!("no socket {sid} in the cluster"))?;
    for act in acts {
        match act {
            Act::Emit { event, args } => socket.emit(&event, &args.0),
            Act::Join { into } => socket.join(into),
            Act::Leave { into } => socket.leave(into),
            Act::Disconnect { close } => socket.disconnect(close),
        }
    }
    Ok(())
}

fn details(socket: &RemoteSocket) -> Result<Json, String> {
    let data: Json = socket.data().map_err(text)?;
    Ok(
        json!({ "id": socket.id().as_str(), "rooms": socket.rooms(), "data": data, "handshake": socket.handshake() }),
    )
}

/// Whether a request came to its end, and what arrived.
fn parts<T>(result: Result<Vec<T>, Incomplete<T>>) -> (bool, Vec<T>) {
    match result {
        Ok(all) => (true, all),
        Err(incomplete) => (false, incomplete.arrived),
    }
}

fn packed(values: &[Value]) -> Json {
    values.iter().map(pack).collect()
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn no_load() -> String {
    "there is no load".to_owned()
}
