//! What nodes tell each other about a socket.

use std::borrow::Cow;

use super::error::ClusterError;
use super::input::Input;
use super::names::Names;
use super::opaque::Opaque;
use super::output::Output;

/// Describes a socket of another node. Node: the entries that `fetchSockets()` is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SocketEntry<'a> {
    /// Its id.
    pub id: Cow<'a, str>,
    /// Its handshake, an object with the keys `headers` (their names in lower case), `time` (a date as
    /// JavaScript prints it), `address`, `xdomain`, `secure`, `issued` (milliseconds), `url`, `query` and
    /// `auth`.
    pub handshake: Opaque<'a>,
    /// Its rooms, its own among them.
    pub rooms: Names<'a>,
    /// What the application attached to it; `socket.io-redis` 6 sends none.
    pub data: Option<Opaque<'a>>,
}

impl<'a> SocketEntry<'a> {
    /// Makes a description.
    pub fn new(
        id: impl Into<Cow<'a, str>>,
        handshake: Opaque<'a>,
        rooms: impl Into<Names<'a>>,
        data: Option<Opaque<'a>>,
    ) -> Self {
        Self { id: id.into(), handshake, rooms: rooms.into(), data }
    }

    pub(super) fn read(input: &mut Input<'a>) -> Result<Self, ClusterError> {
        let mut entries = input.map("sockets")?;
        let (mut id, mut handshake, mut rooms, mut data) = (None, None, Names::default(), None);
        while let Some(key) = input.next_key(&mut entries)? {
            match key.as_ref() {
                b"id" => id = input.string("id")?,
                b"handshake" => handshake = Opaque::read(input)?,
                b"rooms" => rooms = input.names("rooms")?,
                b"data" => data = Opaque::read(input)?,
                _ => input.skip()?,
            }
        }
        let id = id.ok_or(ClusterError::FieldMissing { field: "id" })?;
        let handshake = handshake.ok_or(ClusterError::FieldMissing { field: "handshake" })?;
        Ok(Self { id, handshake, rooms, data })
    }

    /// Reads a list of descriptions.
    pub(super) fn read_all(input: &mut Input<'a>) -> Result<Vec<Self>, ClusterError> {
        let mut items = input.array("sockets")?;
        let mut sockets = Vec::new();
        while input.next_item(&mut items)? {
            sockets.push(Self::read(input)?);
        }
        Ok(sockets)
    }

    pub(super) fn write(&self, output: &mut Output<'_>) -> Result<(), ClusterError> {
        output.map(3 + usize::from(self.data.is_some()));
        output.key("id");
        output.string(&self.id);
        output.key("handshake");
        self.handshake.write(output)?;
        output.key("rooms");
        output.names(&self.rooms);
        if let Some(data) = &self.data {
            output.key("data");
            data.write(output)?;
        }
        output.end_map();
        Ok(())
    }

    /// Writes a list of descriptions.
    pub(super) fn write_all(sockets: &[Self], output: &mut Output<'_>) -> Result<(), ClusterError> {
        output.array(sockets.len());
        for socket in sockets {
            socket.write(output)?;
        }
        output.end_array();
        Ok(())
    }

    /// Says whether MessagePack is needed to send it.
    pub(super) fn is_binary(&self) -> bool {
        self.handshake.is_binary() || self.data.as_ref().is_some_and(Opaque::is_binary)
    }
}
