//! From a CONNECT packet to a connected socket: the namespace is looked up, its middlewares are asked, the client
//! is told, the handlers run.

use std::borrow::Cow;
use std::sync::Arc;
use std::task::Poll;

use serde::{Deserialize, Serialize};
use sio_protocol::engineio::Revision;
use sio_protocol::socketio::Packet;

use crate::adapter::recovery::{Gone, Restored};
use crate::connection::dispatch::Turn;
use crate::connection::flush::Batch;
use crate::connection::{Connection, End};
use crate::error::ConnectError;
use crate::handler::run;
use crate::http::query;
use crate::namespace::{NamespaceInner, pathname};
use crate::reason::DisconnectReason;
use crate::socket::SocketInner;

/// Handles a client's CONNECT; `false` when the client must not send it now, which closes the connection.
pub(crate) fn handle_connect(connection: &Arc<Connection>, packet: &Packet<'_>) -> bool {
    match connection.revision() {
        Revision::V3 => {
            let (path, query) = pathname::split(&packet.nsp);
            connect(connection, &path, query.map(credentials))
        }
        _ => {
            let auth = (!packet.data.is_empty()).then(|| Arc::from(&*packet.data));
            connect(connection, &packet.nsp, auth)
        }
    }
}

/// Joins a client of protocol 3 to the main namespace, which its protocol takes for granted.
pub(crate) fn connect_implicitly(connection: &Arc<Connection>) {
    connect(connection, "/", None);
}

/// A protocol 3 client puts its credentials into the query of the namespace: `/admin?token=1`.
fn credentials(query: &str) -> Arc<str> {
    let mut auth = serde_json::Map::new();
    for (key, value) in query::parameters(query) {
        auth.insert(key.into_owned(), value.into_owned().into());
    }
    serde_json::Value::Object(auth).to_string().into()
}

fn connect(connection: &Arc<Connection>, path: &str, auth: Option<Arc<str>>) -> bool {
    let server = connection.server();
    let Some(namespace) = server.namespace_for(path, auth.as_deref().unwrap_or("{}")) else {
        // Sent as an object to protocol 3 clients too, as socket.io 4 does.
        refuse(connection, path, r#"{"message":"Invalid namespace"}"#);
        return true;
    };
    let table = namespace.table();
    let mut asks = true;
    let socket = match come_back(connection, &namespace, auth.as_deref()) {
        Some((pid, restored)) => {
            asks = !namespace.skips_middlewares();
            SocketInner::restored(namespace, connection, auth, &pid, restored)
        }
        None => SocketInner::new(namespace, connection, auth),
    };
    if !connection.begin_connect(&socket) {
        return false;
    }
    match run::middlewares(&table, &socket).filter(|_| asks) {
        None => finish(&socket, Ok(())),
        Some(mut outcome) => match run::poll_once(&mut outcome) {
            Poll::Ready(outcome) => finish(&socket, outcome),
            Poll::Pending => {
                server.spawn(async move {
                    let outcome = outcome.await;
                    // Between two batches of what the client sends: what came before this finds the namespace not
                    // joined, as in Node; what comes after it, perhaps in answer to the CONNECT, waits until the
                    // `connection` handlers have started.
                    let _turn = Turn::take(socket.connection()).await;
                    finish(&socket, outcome);
                });
            }
        },
    }
    true
}

/// The session that a client comes back to: its `auth` then has the strings `pid` and `offset`.
fn come_back(
    connection: &Arc<Connection>,
    namespace: &NamespaceInner,
    auth: Option<&str>,
) -> Option<(String, Restored)> {
    #[derive(Deserialize)]
    struct Return {
        pid: String,
        offset: String,
    }
    if connection.revision() == Revision::V3 || !namespace.recovers() {
        return None;
    }
    let Return { pid, offset } = serde_json::from_str(auth?).ok()?;
    let restored = namespace.restore_session(&pid, &offset)?;
    Some((pid, restored))
}

fn finish(socket: &Arc<SocketInner>, outcome: Result<(), ConnectError>) {
    let connection = socket.connection();
    // Everything that is sent below goes out in one write.
    let _batch = Batch::begin();
    if !connection.finish_connect(socket, outcome.is_ok()) {
        socket.abandon();
        return;
    }
    match outcome {
        Ok(()) => {
            let data: Cow<'_, str> = match connection.revision() {
                Revision::V3 => "".into(),
                _ if socket.namespace().recovers() => {
                    format!(r#"{{"sid":"{}","pid":"{}"}}"#, socket.id(), socket.pid()).into()
                }
                _ => format!(r#"{{"sid":"{}"}}"#, socket.id()).into(),
            };
            // What a client that has come back missed comes before the CONNECT, as in Node.
            let mut restored = socket.take_restored();
            if let Some(restored) = &mut restored
                && !catch_up(socket, || socket.namespace().take_missed(restored))
            {
                return;
            }
            // The CONNECT goes first, then the socket can be reached by broadcasts, then handlers may emit.
            let started = connection.send_packet(&Packet::connect(socket.namespace().path(), data)).is_ok()
                && socket.start(|rooms| match &mut restored {
                    None => socket.namespace().insert(socket, rooms),
                    Some(restored) => {
                        catch_up(socket, || socket.namespace().insert_returning(socket, rooms, restored));
                    }
                });
            if !started && let Some(restored) = restored {
                socket.give_back(restored);
            }
        }
        Err(error) => {
            socket.abandon();
            let text = match (connection.revision(), &error.data) {
                (Revision::V3, Some(data)) => data.clone(),
                (Revision::V3, None) => json(&error.message),
                (_, None) => format!(r#"{{"message":{}}}"#, json(&error.message)),
                (_, Some(data)) => format!(r#"{{"message":{},"data":{data}}}"#, json(&error.message)),
            };
            refuse(connection, socket.namespace().path(), &text);
        }
    }
}

/// Sends what a returning client missed until there is no more; each round takes what came during the last. When
/// something is no longer there, its connection is closed, so that it comes as a new client.
fn catch_up(socket: &Arc<SocketInner>, mut take: impl FnMut() -> Result<Vec<Packet<'static>>, Gone>) -> bool {
    let connection = socket.connection();
    loop {
        match take() {
            Ok(missed) if missed.is_empty() => return true,
            Ok(missed) => missed.iter().for_each(|packet| _ = connection.send_packet(packet)),
            Err(Gone) => {
                connection.end(DisconnectReason::ForcedClose, End::Graceful);
                return false;
            }
        }
    }
}

fn refuse(connection: &Arc<Connection>, path: &str, data: &str) {
    // A client that is gone meanwhile needs no refusal.
    let _ = connection.send_packet(&Packet::connect_error(path, data));
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::recovery::Session;
    use crate::connection::outbox::Item;
    use crate::{ConnectionStateRecovery, Server};
    use sio_protocol::engineio::session::Transport;

    fn polling(server: &Server) -> Arc<Connection> {
        Connection::alone(&server.shared, Transport::Polling)
    }

    /// Number and offset of every event that waits for a client.
    fn received(connection: &Connection) -> Vec<(u64, String)> {
        let items: Vec<Item> = connection.with_outbox(|outbox| outbox.drain().collect());
        let text = |item: &Item| match item {
            Item::Shared(encoded) => match encoded.messages().next() {
                Some(crate::encoded::Message::Text(text)) => text.to_owned(),
                _ => panic!("no text"),
            },
            other => panic!("{other:?}"),
        };
        let parse = |text: String| serde_json::from_str::<(String, u64, String)>(&text[1..]).unwrap();
        items.iter().map(text).map(parse).map(|(_, n, offset)| (n, offset)).collect()
    }

    /// The steps of coming back against emits on another thread, without all that lies between them in reality.
    #[test]
    fn whenever_an_emit_meets_a_socket_that_comes_back_it_gets_the_event_once() {
        const EVENTS: u64 = 10_000;
        let recovery = ConnectionStateRecovery::new();
        let io = Server::builder().connection_state_recovery(recovery).max_queued_bytes(usize::MAX).build();
        let namespace = &io.sockets().0;
        let connection = polling(&io);
        namespace.join_begins();
        let socket = SocketInner::new(Arc::clone(namespace), &connection, None);
        namespace.insert(&socket, &[]);
        io.emit("n", &0_u64);
        let (mut last, mut offset) = received(&connection).pop().unwrap();
        let pid = socket.pid();
        socket.leave_session(namespace.remove(&socket));
        std::thread::scope(|scope| {
            let emitter = io.clone();
            scope.spawn(move || (1..EVENTS).for_each(|n| emitter.emit("n", &n)));
            while last + 1 < EVENTS {
                let connection = polling(&io);
                namespace.join_begins();
                let mut restored = namespace.restore_session(&pid, &offset).unwrap();
                let session = restored.session.clone();
                let socket = SocketInner::new(Arc::clone(namespace), &connection, None);
                let rounds = std::iter::repeat_with(|| {
                    let missed = namespace.insert_returning(&socket, &session.rooms, &mut restored).unwrap();
                    missed.iter().for_each(|packet| connection.send_packet(packet).unwrap());
                    missed.is_empty()
                });
                assert!(rounds.take(1000).any(|is_done| is_done));
                let rooms = namespace.remove(&socket);
                namespace.save_session(pid.clone(), Session { rooms, ..session });
                // What is sent to it in this moment is lost with its connection, and missed.
                for (n, its_offset) in received(&connection) {
                    assert_eq!(n, last + 1);
                    (last, offset) = (n, its_offset);
                }
                connection.leave_registry();
            }
        });
    }
}
