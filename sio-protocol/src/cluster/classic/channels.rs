//! The channels of the classic dialect.

use std::borrow::Cow;

use crate::cluster::channel::{below, escape_pattern, scope};
use crate::cluster::{Opts, Scope};

/// Holds the names of the channels of one namespace.
///
/// ```
/// use sio_protocol::cluster::Scope;
/// use sio_protocol::cluster::classic::Channels;
///
/// let channels = Channels::new("socket.io", "/chat");
/// assert_eq!(channels.broadcast(), "socket.io#/chat#");
/// assert_eq!(channels.request(), "socket.io-request#/chat#");
/// assert_eq!(channels.scope_of("socket.io#/chat#lobby#"), Some(Scope::One("lobby")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channels {
    broadcast: String,
    request: String,
    response: String,
}

impl Channels {
    /// Makes the names. `nsp` has its slash.
    pub fn new(prefix: &str, nsp: &str) -> Self {
        Self {
            broadcast: format!("{prefix}#{nsp}#"),
            request: format!("{prefix}-request#{nsp}#"),
            response: format!("{prefix}-response#{nsp}#"),
        }
    }

    /// Gives the channel of broadcasts to no room, which means everybody, or to several.
    pub fn broadcast(&self) -> &str {
        &self.broadcast
    }

    /// Gives the pattern to subscribe to for all broadcasts, those to one room among them. It is escaped,
    /// unlike Node's, so that `/a*` does not receive what is for `/ab`.
    pub fn broadcast_pattern(&self) -> String {
        let mut pattern = escape_pattern(&self.broadcast);
        pattern.push('*');
        pattern
    }

    /// Gives the channel of broadcasts to one room.
    pub fn room(&self, room: &str) -> String {
        below(&self.broadcast, room)
    }

    /// Gives the channel that a broadcast is published on: that of the room if there is exactly one, whether
    /// or not others are left out.
    pub fn target(&self, opts: &Opts<'_>) -> Cow<'_, str> {
        match opts.rooms.single() {
            Some(room) => Cow::Owned(self.room(room)),
            None => Cow::Borrowed(&self.broadcast),
        }
    }

    /// Gives the channel of requests. Who subscribes to it is counted as a server that answers
    /// (`PUBSUB NUMSUB`): a server has to do so exactly once.
    pub fn request(&self) -> &str {
        &self.request
    }

    /// Gives the channel of responses that all servers receive.
    pub fn response(&self) -> &str {
        &self.response
    }

    /// Gives the channel of responses to the server `uid`. Only servers from 7.1 on receive them. Node: the
    /// option `publishOnSpecificResponseChannel`.
    pub fn private_response(&self, uid: &str) -> String {
        below(&self.response, uid)
    }

    /// Says to whom a broadcast on this channel goes, `None` if the channel is none for broadcasts in this
    /// namespace.
    pub fn scope_of<'a>(&self, channel: &'a str) -> Option<Scope<'a>> {
        scope(&self.broadcast, channel)
    }
}
