//! Who is here: what `fetch_sockets` knows, in the shapes that pages are told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sio_server::{AdapterError, Context, FromContext, Namespace, Rejection, Server, Socket, SocketId};

use crate::{BOARDS, rooms};

/// What `auth` holds, and what `fetch_sockets` tells of everybody.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) name: String,
}

/// Somebody, as others see them. As a parameter of a handler: the sender.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Person {
    id: SocketId,
    name: String,
}

impl FromContext for Person {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        let socket = Socket::from_context(cx)?;
        let Profile { name } = socket.data().unwrap_or_default();
        Ok(Self { id: socket.id().clone(), name })
    }
}

/// Who is in a namespace, and in which of its rooms.
#[derive(Debug, Serialize)]
pub(crate) struct Presence {
    people: Vec<Person>,
    rooms: Vec<Members>,
}

#[derive(Debug, Serialize)]
struct Members {
    name: String,
    members: Vec<SocketId>,
}

impl Presence {
    pub(crate) async fn of(namespace: &Namespace) -> Result<Self, AdapterError> {
        let mut people = Vec::new();
        let mut members = BTreeMap::<String, Vec<SocketId>>::new();
        for socket in namespace.fetch_sockets().await? {
            for room in rooms(socket.rooms()) {
                members.entry(room.to_owned()).or_default().push(socket.id().clone());
            }
            let Profile { name } = socket.data().unwrap_or_default();
            people.push(Person { id: socket.id().clone(), name });
        }
        let rooms = members.into_iter().map(|(name, members)| Members { name, members }).collect();
        Ok(Self { people, rooms })
    }
}

/// How many are where, for the lobby.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    server: &'static str,
    clients: usize,
    namespaces: Vec<Tally>,
}

#[derive(Debug, Serialize)]
struct Tally {
    name: &'static str,
    online: usize,
    rooms: usize,
}

impl Overview {
    pub(crate) async fn of(io: &Server) -> Result<Self, AdapterError> {
        let mut namespaces = Vec::new();
        for name in BOARDS {
            let Presence { people, rooms } = Presence::of(&io.of(name)).await?;
            namespaces.push(Tally { name, online: people.len(), rooms: rooms.len() });
        }
        let server = concat!("sio-server ", env!("CARGO_PKG_VERSION"));
        Ok(Self { server, clients: io.session_count(), namespaces })
    }
}
