//! Who is here: what `fetch_sockets` knows, in the shapes that pages are told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sio_server::{AdapterError, Context, FromContext, Namespace, Rejection, Server, Socket, SocketId};

use super::{BOARDS, Switchboard, rooms};

/// What `fetch_sockets` tells of everybody.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// The node of the cluster that holds the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
}

/// Somebody, as others see them. As a parameter of a handler: the sender.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Person {
    id: SocketId,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
}

impl FromContext for Person {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        let socket = Socket::from_context(cx)?;
        let Profile { name, node } = socket.data().unwrap_or_default();
        Ok(Self { id: socket.id().clone(), name, node })
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
            let Profile { name, node } = socket.data().unwrap_or_default();
            people.push(Person { id: socket.id().clone(), name, node });
        }
        let rooms = members.into_iter().map(|(name, members)| Members { name, members }).collect();
        Ok(Self { people, rooms })
    }
}

/// How many are where, for the lobby.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    server: String,
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
    pub(crate) async fn of(io: &Server, board: &Switchboard) -> Result<Self, AdapterError> {
        let mut namespaces = Vec::new();
        for name in BOARDS {
            let Presence { people, rooms } = Presence::of(&io.of(name)).await?;
            namespaces.push(Tally { name, online: people.len(), rooms: rooms.len() });
        }
        let version = concat!("sio-server ", env!("CARGO_PKG_VERSION"));
        let server =
            board.node.as_ref().map_or_else(|| version.to_owned(), |node| format!("{node}, {version}"));
        Ok(Self { server, clients: io.session_count(), namespaces })
    }
}
