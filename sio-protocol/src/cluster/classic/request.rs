//! The requests of the classic dialect: what servers and emitters ask of all servers.

use std::borrow::Cow;

use bytes::Bytes;

use super::v5;
use crate::cluster::input::Input;
use crate::cluster::options::OptsForm;
use crate::cluster::output::{Output, whole_or_nothing};
use crate::cluster::payload::write_packet;
use crate::cluster::{ClusterError, EMITTER, Names, Opaque, Opts, Payload};
use crate::limits::Limits;

/// Is a message on the channel of requests.
///
/// ```
/// use sio_protocol::cluster::classic::{Request, RequestBody};
/// use sio_protocol::cluster::{Flags, Opts};
///
/// let (all, rooms) = (Opts::default(), vec!["a".to_owned()]);
/// let request = Request::from_emitter(RequestBody::Join { opts: all, rooms: (&rooms).into() });
/// let mut message = Vec::new();
/// request.encode(&mut message)?;
/// assert_eq!(message, br#"{"type":2,"opts":{"rooms":[],"except":[]},"rooms":["a"]}"#);
/// # Ok::<(), sio_protocol::cluster::ClusterError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The id of the server that asks. Servers before 7.1 and emitters send none, or [`EMITTER`].
    pub uid: Option<Cow<'a, str>>,
    /// What responses refer to, if there are to be any.
    pub request_id: Option<Cow<'a, str>>,
    /// What is asked.
    pub body: RequestBody<'a>,
}

/// Says what is asked of all servers. The one that asks receives its request, too.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RequestBody<'a> {
    /// Type 0: the ids of the sockets in these rooms, or of all. Not sent by 8.
    Sockets {
        /// The rooms.
        rooms: Names<'a>,
    },
    /// Type 1: the names of all rooms.
    AllRooms,
    /// Type 2: to put sockets into rooms. Whoever asks does it when its own request arrives.
    Join {
        /// Which sockets. The flags are not sent.
        opts: Opts<'a>,
        /// Which rooms.
        rooms: Names<'a>,
    },
    /// Type 2: to put one socket into one room. Not sent by 8.
    JoinOne {
        /// The id of the socket.
        sid: Cow<'a, str>,
        /// The room.
        room: Cow<'a, str>,
    },
    /// Type 3: to take sockets out of rooms, as [`Join`](Self::Join).
    Leave {
        /// Which sockets. The flags are not sent.
        opts: Opts<'a>,
        /// Which rooms.
        rooms: Names<'a>,
    },
    /// Type 3: to take one socket out of one room. Not sent by 8.
    LeaveOne {
        /// The id of the socket.
        sid: Cow<'a, str>,
        /// The room.
        room: Cow<'a, str>,
    },
    /// Type 4: to disconnect sockets, as [`Join`](Self::Join).
    Disconnect {
        /// Which sockets. The flags are not sent.
        opts: Opts<'a>,
        /// Their connections end as well.
        close: bool,
    },
    /// Type 4: to disconnect one socket. Not sent by 8.
    DisconnectOne {
        /// The id of the socket.
        sid: Cow<'a, str>,
        /// Its connection ends as well.
        close: bool,
    },
    /// Type 5: the descriptions of sockets.
    FetchSockets {
        /// Which sockets. The flags are not sent.
        opts: Opts<'a>,
    },
    /// Type 6: to handle an event in the server itself. JSON, so binary values do not survive.
    ServerSideEmit {
        /// The event.
        packet: Payload<'a>,
    },
    /// Type 7: to send an event to clients and to pass their acknowledgements on. MessagePack.
    Broadcast {
        /// The event.
        packet: Payload<'a>,
        /// To whom.
        opts: Opts<'a>,
    },
}

/// Is a request as it comes: of the versions from 6 on, or of version 5.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there are these two, and each needs its own answer")]
pub enum ReceivedRequest<'a> {
    /// Of version 6 or later.
    Current(Request<'a>),
    /// Of version 5, whose types mean something else.
    V5(v5::Request<'a>),
}

impl<'a> Request<'a> {
    /// Makes the request of a server.
    pub fn new(uid: impl Into<Cow<'a, str>>, request_id: Option<&'a str>, body: RequestBody<'a>) -> Self {
        Self { uid: Some(uid.into()), request_id: request_id.map(Cow::Borrowed), body }
    }

    /// Makes the request of an emitter, which awaits no response.
    pub fn from_emitter(body: RequestBody<'a>) -> Self {
        let uid = matches!(body, RequestBody::ServerSideEmit { .. }).then_some(Cow::Borrowed(EMITTER));
        Self { uid, request_id: None, body }
    }

    /// Reads a message on the request channel of the namespace `nsp`.
    ///
    /// # Errors
    ///
    /// If the message is malformed or too long, or its type is unknown.
    pub fn decode(
        message: &'a Bytes,
        nsp: &'a str,
        limits: &'a Limits,
    ) -> Result<ReceivedRequest<'a>, ClusterError> {
        let mut input = Input::new(message, limits)?;
        let fields = Fields::read(&mut input)?;
        input.finish()?;
        match fields.v5_id {
            Some(_) => fields.into_v5().map(ReceivedRequest::V5),
            None => fields.into_current(nsp).map(ReceivedRequest::Current),
        }
    }

    /// Appends the message, as `@socket.io/redis-adapter` 8 or `@socket.io/redis-emitter` 5 writes it.
    ///
    /// # Errors
    ///
    /// If a packet is no event, or was built by hand and its data is not JSON or refers to an attachment that
    /// is not there. Nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ClusterError> {
        whole_or_nothing(out, |out| {
            let mut output = match self.body {
                RequestBody::Broadcast { .. } => Output::msgpack(out),
                _ => Output::json(out),
            };
            self.write(&mut output)
        })
    }

    fn write(&self, output: &mut Output<'_>) -> Result<(), ClusterError> {
        let head = 1 + usize::from(self.uid.is_some()) + usize::from(self.request_id.is_some());
        output.map(head + self.body.field_count());
        if let Some(uid) = &self.uid {
            output.key("uid");
            output.string(uid);
        }
        if let Some(id) = &self.request_id {
            output.key("requestId");
            output.string(id);
        }
        output.key("type");
        output.integer(self.body.kind());
        match &self.body {
            RequestBody::Sockets { rooms } => {
                output.key("rooms");
                output.names(rooms);
            }
            RequestBody::AllRooms => {}
            RequestBody::Join { opts, rooms } | RequestBody::Leave { opts, rooms } => {
                output.key("opts");
                opts.write(output, OptsForm::Target);
                output.key("rooms");
                output.names(rooms);
            }
            RequestBody::JoinOne { sid, room } | RequestBody::LeaveOne { sid, room } => {
                output.key("sid");
                output.string(sid);
                output.key("room");
                output.string(room);
            }
            RequestBody::Disconnect { opts, close } => {
                output.key("opts");
                opts.write(output, OptsForm::Target);
                output.key("close");
                output.boolean(*close);
            }
            RequestBody::DisconnectOne { sid, close } => {
                output.key("sid");
                output.string(sid);
                output.key("close");
                output.boolean(*close);
            }
            RequestBody::FetchSockets { opts } => {
                output.key("opts");
                opts.write(output, OptsForm::Target);
            }
            RequestBody::ServerSideEmit { packet } => {
                let packet = packet.outgoing()?;
                output.key("data");
                output.value(&packet.data, &packet.attachments)?;
            }
            RequestBody::Broadcast { packet, opts } => {
                output.key("packet");
                write_packet(output, &*packet.outgoing()?, false, true)?;
                output.key("opts");
                opts.write(output, OptsForm::Server);
            }
        }
        output.end_map();
        Ok(())
    }
}

impl RequestBody<'_> {
    fn kind(&self) -> u64 {
        match self {
            Self::Sockets { .. } => 0,
            Self::AllRooms => 1,
            Self::Join { .. } | Self::JoinOne { .. } => 2,
            Self::Leave { .. } | Self::LeaveOne { .. } => 3,
            Self::Disconnect { .. } | Self::DisconnectOne { .. } => 4,
            Self::FetchSockets { .. } => 5,
            Self::ServerSideEmit { .. } => 6,
            Self::Broadcast { .. } => 7,
        }
    }

    /// Counts the fields beside those that every request has.
    fn field_count(&self) -> usize {
        match self {
            Self::AllRooms => 0,
            Self::Sockets { .. } | Self::FetchSockets { .. } | Self::ServerSideEmit { .. } => 1,
            _ => 2,
        }
    }
}

/// The fields of requests of all versions, in any order.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) kind: Option<u64>,
    uid: Option<Cow<'a, str>>,
    request_id: Option<Cow<'a, str>>,
    pub(super) v5_id: Option<Cow<'a, str>>,
    opts: Option<Opts<'a>>,
    pub(super) rooms: Option<Names<'a>>,
    pub(super) sid: Option<Cow<'a, str>>,
    pub(super) room: Option<Cow<'a, str>>,
    pub(super) close: bool,
    data: Option<Input<'a>>,
    packet: Option<Input<'a>>,
}

impl<'a> Fields<'a> {
    fn read(input: &mut Input<'a>) -> Result<Self, ClusterError> {
        let mut fields = Self::default();
        let mut entries = input.map("request")?;
        while let Some(key) = input.next_key(&mut entries)? {
            match key.as_ref() {
                b"type" => fields.kind = input.integer("type")?,
                b"uid" => fields.uid = input.string("uid")?,
                b"requestId" => fields.request_id = input.string("requestId")?,
                b"requestid" => fields.v5_id = input.string("requestid")?,
                b"opts" if input.eat_nothing() => fields.opts = None,
                b"opts" => fields.opts = Some(Opts::read(input)?),
                b"rooms" => fields.rooms = Some(input.names("rooms")?),
                b"sid" => fields.sid = input.string("sid")?,
                b"room" => fields.room = Some(input.name("room")?),
                b"close" => fields.close = input.boolean()? == Some(true),
                b"data" => fields.data = Some(input.later()?),
                b"packet" => fields.packet = Some(input.later()?),
                _ => input.skip()?,
            }
        }
        Ok(fields)
    }

    fn into_current(self, nsp: &'a str) -> Result<Request<'a>, ClusterError> {
        let kind = self.kind.ok_or(ClusterError::FieldMissing { field: "type" })?;
        let (uid, request_id) = (self.uid.clone(), self.request_id.clone());
        let body = match kind {
            0 => RequestBody::Sockets { rooms: self.rooms.unwrap_or_default() },
            1 => RequestBody::AllRooms,
            2 => match self.opts {
                Some(opts) => RequestBody::Join { opts, rooms: required(self.rooms, "rooms")? },
                None => RequestBody::JoinOne {
                    sid: required(self.sid, "opts")?,
                    room: required(self.room, "room")?,
                },
            },
            3 => match self.opts {
                Some(opts) => RequestBody::Leave { opts, rooms: required(self.rooms, "rooms")? },
                None => RequestBody::LeaveOne {
                    sid: required(self.sid, "opts")?,
                    room: required(self.room, "room")?,
                },
            },
            4 => match self.opts {
                Some(opts) => RequestBody::Disconnect { opts, close: self.close },
                None => RequestBody::DisconnectOne { sid: required(self.sid, "opts")?, close: self.close },
            },
            5 => RequestBody::FetchSockets { opts: required(self.opts, "opts")? },
            6 => RequestBody::ServerSideEmit {
                packet: Payload::for_servers(nsp.into(), required(self.data, "data")?),
            },
            7 => {
                let mut received = Payload::read(&mut required(self.packet, "packet")?)?;
                let nsp = received.nsp.take().unwrap_or(Cow::Borrowed("/"));
                RequestBody::Broadcast {
                    packet: received.for_clients(nsp),
                    opts: required(self.opts, "opts")?,
                }
            }
            seen => return Err(ClusterError::MessageTypeUnknown { seen }),
        };
        Ok(Request { uid, request_id, body })
    }

    /// Gives the field `data` as a value; what is missing is null.
    pub(super) fn opaque_data(&self) -> Result<Opaque<'a>, ClusterError> {
        let data = self.data.clone().map(|mut input| Opaque::read(&mut input)).transpose()?;
        Ok(data.flatten().unwrap_or_else(|| Opaque::new("null", Vec::new())))
    }
}

pub(super) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, ClusterError> {
    field.ok_or(ClusterError::FieldMissing { field: name })
}
