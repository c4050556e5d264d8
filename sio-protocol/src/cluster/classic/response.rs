//! The responses of the classic dialect.

use std::borrow::Cow;

use bytes::Bytes;

use super::request::required;
use super::v5;
use crate::cluster::input::Input;
use crate::cluster::output::{Output, whole_or_nothing};
use crate::cluster::{ClusterError, Names, Opaque, SocketEntry};
use crate::limits::Limits;

/// Is a message on a channel of responses. What it answers is for the one to know who asked.
///
/// ```
/// use bytes::Bytes;
/// use sio_protocol::Limits;
/// use sio_protocol::cluster::classic::{ReceivedResponse, Response, ResponseBody};
///
/// let (message, limits) = (Bytes::from(r#"{"type":8,"requestId":"EdLscO","clientCount":2}"#), Limits::default());
/// let ReceivedResponse::Current(response) = Response::decode(&message, &limits)? else { panic!() };
/// assert_eq!(response.request_id, "EdLscO");
/// assert_eq!(response.body, ResponseBody::ClientCount(2));
/// # Ok::<(), sio_protocol::cluster::ClusterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response<'a> {
    /// What the request was called. A response to one that nobody has asked is to be ignored.
    pub request_id: Cow<'a, str>,
    /// The answer.
    pub body: ResponseBody<'a>,
}

/// Says what is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResponseBody<'a> {
    /// To types 2, 3 and 4 for one socket: it was here, and it is done.
    Done,
    /// To type 0: the ids of sockets. An empty list is read as [`Sockets`](Self::Sockets), from which it does
    /// not differ.
    SocketIds(Names<'a>),
    /// To type 1: the names of rooms.
    Rooms(Names<'a>),
    /// To type 5: the descriptions of sockets. Binary values in their data do not survive.
    Sockets(Vec<SocketEntry<'a>>),
    /// To type 6: what the handler answered, if anything. Binary values do not survive. Goes to the channel
    /// that all receive, always.
    ServerSideEmit(Option<Opaque<'a>>),
    /// Type 8, to type 7: how many clients the event was sent to, also if that is none. It comes before their
    /// acknowledgements.
    ClientCount(u64),
    /// Type 9, to type 7: the first argument of what one client acknowledged, if any. MessagePack.
    Ack(Option<Opaque<'a>>),
}

/// Is a response as it comes: of the versions from 6 on, or of version 5.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are these two")]
pub enum ReceivedResponse<'a> {
    /// Of version 6 or later.
    Current(Response<'a>),
    /// Of version 5.
    V5(v5::Response<'a>),
}

impl<'a> Response<'a> {
    /// Makes a response.
    pub fn new(request_id: impl Into<Cow<'a, str>>, body: ResponseBody<'a>) -> Self {
        Self { request_id: request_id.into(), body }
    }

    /// Reads a message on a response channel.
    ///
    /// # Errors
    ///
    /// If the message is malformed or too long, or its type is unknown.
    pub fn decode(message: &'a Bytes, limits: &'a Limits) -> Result<ReceivedResponse<'a>, ClusterError> {
        let mut input = Input::new(message, limits)?;
        let fields = Fields::read(&mut input)?;
        input.finish()?;
        match fields.v5_id {
            Some(_) => fields.into_v5().map(ReceivedResponse::V5),
            None => fields.into_current().map(ReceivedResponse::Current),
        }
    }

    /// Reads only what the request was called: a response may be long, and where all servers receive it, it is for one of
    /// them. `None` if it does not say so, as those of version 5 do not.
    ///
    /// # Errors
    ///
    /// If the message is malformed up to there, or too long.
    pub fn request_id(message: &'a Bytes, limits: &'a Limits) -> Result<Option<Cow<'a, str>>, ClusterError> {
        let mut input = Input::new(message, limits)?;
        let mut entries = input.map("response")?;
        while let Some(key) = input.next_key(&mut entries)? {
            if key.as_ref() == b"requestId" {
                return input.string("requestId");
            }
            input.skip()?;
        }
        Ok(None)
    }

    /// Appends the message, as `@socket.io/redis-adapter` 8 writes it.
    ///
    /// # Errors
    ///
    /// If a value in it is not JSON, or refers to an attachment that is not there. Nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ClusterError> {
        whole_or_nothing(out, |out| {
            let mut output = match self.body {
                ResponseBody::Ack(_) => Output::msgpack(out),
                _ => Output::json(out),
            };
            self.write(&mut output)
        })
    }

    fn write(&self, output: &mut Output<'_>) -> Result<(), ClusterError> {
        let kind = match self.body {
            ResponseBody::ServerSideEmit(_) => Some(SERVER_SIDE_EMIT),
            ResponseBody::ClientCount(_) => Some(CLIENT_COUNT),
            ResponseBody::Ack(_) => Some(ACK),
            _ => None,
        };
        let content = match &self.body {
            ResponseBody::Done => false,
            ResponseBody::ServerSideEmit(data) | ResponseBody::Ack(data) => data.is_some(),
            _ => true,
        };
        output.map(1 + usize::from(kind.is_some()) + usize::from(content));
        if let Some(kind) = kind {
            output.key("type");
            output.integer(kind);
        }
        output.key("requestId");
        output.string(&self.request_id);
        match &self.body {
            ResponseBody::SocketIds(ids) => {
                output.key("sockets");
                output.names(ids);
            }
            ResponseBody::Rooms(rooms) => {
                output.key("rooms");
                output.names(rooms);
            }
            ResponseBody::Sockets(sockets) => {
                output.key("sockets");
                SocketEntry::write_all(sockets, output)?;
            }
            ResponseBody::ServerSideEmit(Some(data)) => {
                output.key("data");
                data.write(output)?;
            }
            ResponseBody::ClientCount(count) => {
                output.key("clientCount");
                output.integer(*count);
            }
            ResponseBody::Ack(Some(packet)) => {
                output.key("packet");
                packet.write(output)?;
            }
            ResponseBody::Done | ResponseBody::ServerSideEmit(None) | ResponseBody::Ack(None) => {}
        }
        output.end_map();
        Ok(())
    }
}

/// The fields of responses of all versions, in any order.
#[derive(Default)]
pub(super) struct Fields<'a> {
    kind: Option<u64>,
    request_id: Option<Cow<'a, str>>,
    pub(super) v5_id: Option<Cow<'a, str>>,
    pub(super) rooms: Option<Names<'a>>,
    pub(super) clients: Option<Names<'a>>,
    sockets: Option<Input<'a>>,
    client_count: Option<u64>,
    pub(super) data: Option<Opaque<'a>>,
    packet: Option<Opaque<'a>>,
}

impl<'a> Fields<'a> {
    fn read(input: &mut Input<'a>) -> Result<Self, ClusterError> {
        let mut fields = Self::default();
        let mut entries = input.map("response")?;
        while let Some(key) = input.next_key(&mut entries)? {
            match key.as_ref() {
                b"type" => fields.kind = input.integer("type")?,
                b"requestId" => fields.request_id = input.string("requestId")?,
                b"requestid" => fields.v5_id = input.string("requestid")?,
                b"rooms" => fields.rooms = Some(input.names("rooms")?),
                b"clients" => fields.clients = Some(input.names("clients")?),
                b"sockets" if input.eat_nothing() => fields.sockets = None,
                b"sockets" => fields.sockets = Some(input.later()?),
                b"clientCount" => fields.client_count = input.integer("clientCount")?,
                b"data" => fields.data = Opaque::read(input)?,
                b"packet" => fields.packet = Opaque::read(input)?,
                _ => input.skip()?,
            }
        }
        Ok(fields)
    }

    fn into_current(self) -> Result<Response<'a>, ClusterError> {
        let request_id = required(self.request_id, "requestId")?;
        let body = match (self.kind, self.sockets, self.rooms) {
            (Some(SERVER_SIDE_EMIT), ..) => ResponseBody::ServerSideEmit(self.data),
            (Some(CLIENT_COUNT), ..) => {
                ResponseBody::ClientCount(required(self.client_count, "clientCount")?)
            }
            (Some(ACK), ..) => ResponseBody::Ack(self.packet),
            (Some(seen), ..) => return Err(ClusterError::MessageTypeUnknown { seen }),
            (None, Some(sockets), _) => read_sockets(sockets)?,
            (None, None, Some(rooms)) => ResponseBody::Rooms(rooms),
            (None, None, None) => ResponseBody::Done,
        };
        Ok(Response { request_id, body })
    }
}

/// Reads `sockets`, which are ids or descriptions, depending on what was asked.
fn read_sockets(mut input: Input<'_>) -> Result<ResponseBody<'_>, ClusterError> {
    let mut ahead = input.clone();
    let mut items = ahead.array("sockets")?;
    if ahead.next_item(&mut items)? && ahead.is_scalar() {
        return input.names("sockets").map(ResponseBody::SocketIds);
    }
    SocketEntry::read_all(&mut input).map(ResponseBody::Sockets)
}

const SERVER_SIDE_EMIT: u64 = 6;
const CLIENT_COUNT: u64 = 8;
const ACK: u64 = 9;
