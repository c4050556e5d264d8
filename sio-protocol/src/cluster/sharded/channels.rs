//! The channels of the sharded dialect.

use std::borrow::Cow;

use super::Body;
use crate::cluster::Scope;
use crate::cluster::channel::{below, scope};

/// Names which rooms have channels of their own. It has to be the same for all servers. Node:
/// `subscriptionMode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// No room.
    Static,
    /// Every room but those that belong to one socket. Node tells these by their length: the ids of sockets
    /// have 20 characters.
    #[default]
    Dynamic,
    /// Every room. Node: `dynamic-private`.
    DynamicPrivate,
}

/// Holds the names of the channels of one namespace.
///
/// ```
/// use sio_protocol::cluster::sharded::{Channels, Mode};
///
/// let channels = Channels::new("socket.io", "/chat", Mode::Dynamic);
/// assert_eq!(channels.main(), "socket.io#/chat#");
/// assert!(channels.subscribes_to("lobby", false));
/// assert!(!channels.subscribes_to("CAuIFmK6wXQLJ1NjAAAB", true));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    main: String,
    mode: Mode,
}

impl Channels {
    /// Makes the names. `nsp` has its slash.
    pub fn new(prefix: &str, nsp: &str, mode: Mode) -> Self {
        Self { main: format!("{prefix}#{nsp}#"), mode }
    }

    /// Gives the channel that every server subscribes to, once: the subscribers are counted
    /// (`PUBSUB SHARDNUMSUB`).
    pub fn main(&self) -> &str {
        &self.main
    }

    /// Gives the channel of responses to the server `uid`.
    pub fn private(&self, uid: &str) -> String {
        below(&self.main, uid)
    }

    /// Gives the channel of broadcasts to one room.
    pub fn room(&self, room: &str) -> String {
        below(&self.main, room)
    }

    /// Gives the channel that a message is published on, if it is no response: that of the room for a
    /// broadcast without acknowledgements to exactly one room that has a channel of its own.
    ///
    /// A name with a `#`, such as a client of Socket.IO 2 has as its id in all namespaces but `/`, always
    /// goes to everybody: Node's servers do not subscribe to the channels of such ids.
    pub fn target(&self, body: &Body<'_>) -> Cow<'_, str> {
        if let Body::Broadcast { opts, request_id: None, .. } = body
            && let Some(room) = opts.rooms.single()
            && !room.contains('#')
            && match self.mode {
                Mode::Static => false,
                Mode::Dynamic => !looks_like_socket_id(room),
                Mode::DynamicPrivate => true,
            }
        {
            return Cow::Owned(self.room(room));
        }
        Cow::Borrowed(&self.main)
    }

    /// Says whether a server subscribes to the channel of a room while one of its sockets is in it.
    /// `of_one_socket` says that it is the room of one socket only, whose name is the id of that socket.
    ///
    /// In [`Mode::Dynamic`], an id that does not have 20 characters has to be subscribed to, which Node
    /// forgets: others do not recognise it as an id, and publish on its channel.
    pub fn subscribes_to(&self, room: &str, of_one_socket: bool) -> bool {
        match self.mode {
            Mode::Static => false,
            Mode::Dynamic => !of_one_socket || !looks_like_socket_id(room),
            Mode::DynamicPrivate => true,
        }
    }

    /// Says whom a message on this channel concerns, `None` if the channel is none of this namespace. One
    /// name is that of a room, or of the server itself on [its channel](Self::private).
    pub fn scope_of<'a>(&self, channel: &'a str) -> Option<Scope<'a>> {
        scope(&self.main, channel)
    }
}

/// Node's rule for the rooms of single sockets: 20 characters, as JavaScript counts them.
fn looks_like_socket_id(room: &str) -> bool {
    // At most three bytes make one of JavaScript's characters.
    (ID_LENGTH..=3 * ID_LENGTH).contains(&room.len()) && room.encode_utf16().count() == ID_LENGTH
}

const ID_LENGTH: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Flags, Opts, Payload};
    use crate::socketio::Packet;

    fn target(mode: Mode, rooms: &[&str], request_id: Option<&str>) -> String {
        let packet = Packet::event("/", None, "[\"e\"]", vec![]);
        let rooms: Vec<String> = rooms.iter().map(|room| (*room).to_owned()).collect();
        let body = Body::Broadcast {
            packet: Payload::from(&packet),
            opts: Opts::new(&rooms, &[][..], Flags::default()),
            request_id: request_id.map(Into::into),
        };
        Channels::new("c", "/", mode).target(&body).into_owned()
    }

    #[test]
    fn only_broadcasts_to_one_room_go_to_its_channel() {
        let id = "abcdefghijklmnopqrst";
        assert_eq!(target(Mode::Dynamic, &["r"], None), "c#/#r#");
        assert_eq!(target(Mode::Dynamic, &["r"], Some("id")), "c#/#");
        assert_eq!(target(Mode::Dynamic, &["r", "s"], None), "c#/#");
        assert_eq!(target(Mode::Dynamic, &[], None), "c#/#");
        assert_eq!(target(Mode::Dynamic, &[id], None), "c#/#");
        assert_eq!(target(Mode::DynamicPrivate, &[id], None), format!("c#/#{id}#"));
        assert_eq!(target(Mode::Static, &["r"], None), "c#/#");
        assert_eq!(target(Mode::DynamicPrivate, &["/admin#CAuIFmK6wXQLJ1NjAAAB"], None), "c#/#");
        let channels = Channels::new("c", "/", Mode::Dynamic);
        assert_eq!(channels.target(&Body::Heartbeat), "c#/#");
    }

    #[test]
    fn characters_are_counted_as_javascript_counts_them() {
        for (room, is_id) in [
            ("abcdefghijklmnopqrst".to_owned(), true),
            ("é".repeat(20), true),
            ("€".repeat(20), true),
            ("😀".repeat(10), true),
            ("😀".repeat(20), false),
            ("a".repeat(19), false),
            ("a".repeat(21), false),
            ("😀".repeat(9), false),
            (String::new(), false),
        ] {
            assert_eq!(looks_like_socket_id(&room), is_id, "{room}");
        }
    }

    #[test]
    fn ids_of_another_length_are_subscribed_to() {
        let channels = Channels::new("c", "/admin", Mode::Dynamic);
        assert!(channels.subscribes_to("/admin#CAuIFmK6wXQLJ1NjAAAB", true));
        assert!(!channels.subscribes_to("CAuIFmK6wXQLJ1NjAAAB", true));
        assert!(channels.subscribes_to("CAuIFmK6wXQLJ1NjAAAB", false));
        assert!(!Channels::new("c", "/", Mode::Static).subscribes_to("r", false));
        assert!(Channels::new("c", "/", Mode::DynamicPrivate).subscribes_to("CAuIFmK6wXQLJ1NjAAAB", true));
    }
}
