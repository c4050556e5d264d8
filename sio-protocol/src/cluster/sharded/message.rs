//! The message of the sharded dialect.

use std::borrow::Cow;

use bytes::Bytes;

use crate::cluster::input::Input;
use crate::cluster::options::OptsForm;
use crate::cluster::output::{Output, whole_or_nothing};
use crate::cluster::payload::{Received, check_nsp, write_packet};
use crate::cluster::{ClusterError, Names, Opaque, Opts, Payload, SocketEntry};
use crate::limits::Limits;
use crate::socketio::Packet;

/// Is a message between servers.
///
/// ```
/// use bytes::Bytes;
/// use sio_protocol::Limits;
/// use sio_protocol::cluster::Opts;
/// use sio_protocol::cluster::sharded::{Body, Message};
///
/// let body = Body::Disconnect { opts: Opts::default(), close: false };
/// let mut message = Vec::new();
/// Message::new("a37804bd39eb2db8", "/", body).encode(&mut message)?;
/// assert_eq!(
///     message,
///     br#"{"type":6,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"close":false},"uid":"a37804bd39eb2db8","nsp":"/"}"#,
/// );
///
/// let (message, limits) = (Bytes::from(message), Limits::default());
/// let message = Message::decode(&message, "/", &limits)?;
/// assert_eq!(message.uid, "a37804bd39eb2db8");
/// # Ok::<(), sio_protocol::cluster::ClusterError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message<'a> {
    /// The id of the server that sent it, or [`EMITTER`](crate::cluster::EMITTER).
    pub uid: Cow<'a, str>,
    /// The namespace.
    pub nsp: Cow<'a, str>,
    /// What it says.
    pub body: Body<'a>,
}

/// Says what a message says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Body<'a> {
    /// Type 1: a server came. Not part of this dialect.
    InitialHeartbeat,
    /// Type 2: a server is there. Not part of this dialect.
    Heartbeat,
    /// Type 3: an event for clients.
    Broadcast {
        /// The event.
        packet: Payload<'a>,
        /// To whom.
        opts: Opts<'a>,
        /// What responses refer to, if acknowledgements are wanted.
        request_id: Option<Cow<'a, str>>,
    },
    /// Type 4: to put sockets into rooms.
    Join {
        /// Which sockets.
        opts: Opts<'a>,
        /// Which rooms.
        rooms: Names<'a>,
    },
    /// Type 5: to take sockets out of rooms.
    Leave {
        /// Which sockets.
        opts: Opts<'a>,
        /// Which rooms.
        rooms: Names<'a>,
    },
    /// Type 6: to disconnect sockets.
    Disconnect {
        /// Which sockets.
        opts: Opts<'a>,
        /// Their connections end as well.
        close: bool,
    },
    /// Type 7: the descriptions of sockets are wanted.
    FetchSockets {
        /// Which sockets.
        opts: Opts<'a>,
        /// What responses refer to.
        request_id: Cow<'a, str>,
    },
    /// Type 8, to type 7: descriptions of sockets.
    Sockets {
        /// What the request was called.
        request_id: Cow<'a, str>,
        /// The sockets.
        sockets: Vec<SocketEntry<'a>>,
    },
    /// Type 9: an event for the servers themselves.
    ServerSideEmit {
        /// The event.
        packet: Payload<'a>,
        /// What responses refer to, if answers are wanted.
        request_id: Option<Cow<'a, str>>,
    },
    /// Type 10, to type 9: what the handler answered.
    ServerSideEmitAck {
        /// What the request was called.
        request_id: Cow<'a, str>,
        /// The first argument of the answer, if there is one.
        packet: Option<Opaque<'a>>,
    },
    /// Type 11, to type 3: how many clients the event was sent to, also if that is none.
    ClientCount {
        /// What the request was called.
        request_id: Cow<'a, str>,
        /// The number of clients.
        count: u64,
    },
    /// Type 12, to type 3: what one client acknowledged.
    Ack {
        /// What the request was called.
        request_id: Cow<'a, str>,
        /// The first argument of the acknowledgement, if there is one.
        packet: Option<Opaque<'a>>,
    },
    /// Type 13: a server went. Not part of this dialect.
    AdapterClose,
}

impl<'a> Message<'a> {
    /// Makes a message.
    pub fn new(uid: impl Into<Cow<'a, str>>, nsp: impl Into<Cow<'a, str>>, body: Body<'a>) -> Self {
        Self { uid: uid.into(), nsp: nsp.into(), body }
    }

    /// Reads a message from a channel of the namespace `nsp`, which is taken to be meant if the message names
    /// none.
    ///
    /// # Errors
    ///
    /// If the message is malformed or too long, or its type is unknown.
    pub fn decode(message: &'a Bytes, nsp: &'a str, limits: &'a Limits) -> Result<Self, ClusterError> {
        let mut input = Input::new(message, limits)?;
        let (mut kind, mut uid, mut own_nsp) = (None, None, None);
        let (mut fields, mut later) = (None, None);
        let mut entries = input.map("message")?;
        while let Some(key) = input.next_key(&mut entries)? {
            match key.as_ref() {
                b"type" => kind = input.integer("type")?,
                b"uid" => uid = input.string("uid")?,
                b"nsp" => own_nsp = input.string("nsp")?,
                b"data" if input.eat_nothing() => {}
                // Node sends the type first, but nothing says that it has to come first.
                b"data" => match kind {
                    Some(kind) => fields = Some(Fields::read(&mut input, kind)?),
                    None => later = Some(input.later()?),
                },
                _ => input.skip()?,
            }
        }
        input.finish()?;
        let nsp = own_nsp.unwrap_or(Cow::Borrowed(nsp));
        check_nsp(&nsp, &input)?;
        let kind = required(kind, "type")?;
        let fields = match (fields, later) {
            (Some(fields), _) => fields,
            (None, Some(mut data)) => Fields::read(&mut data, kind)?,
            (None, None) => Fields::default(),
        };
        let body = fields.into_body(kind, &nsp)?;
        Ok(Self { uid: required(uid, "uid")?, nsp, body })
    }

    /// Appends the message, as `@socket.io/redis-adapter` 8.3 writes it.
    ///
    /// # Errors
    ///
    /// If a packet is no event, or it or a value was built by hand and is not JSON or refers to an attachment
    /// that is not there. Nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ClusterError> {
        let packet = match &self.body {
            Body::Broadcast { packet, .. } | Body::ServerSideEmit { packet, .. } => Some(packet.outgoing()?),
            _ => None,
        };
        let packet = packet.as_deref();
        let binary = match &self.body {
            Body::Sockets { sockets, .. } => sockets.iter().any(SocketEntry::is_binary),
            Body::ServerSideEmitAck { packet, .. } | Body::Ack { packet, .. } => {
                packet.as_ref().is_some_and(Opaque::is_binary)
            }
            _ => packet.is_some_and(|packet| !packet.attachments.is_empty()),
        };
        whole_or_nothing(out, |out| {
            out.reserve(ENVELOPE + self.nsp.len() + packet.map_or(0, |packet| packet.data.len()));
            let mut output = if binary { Output::msgpack(out) } else { Output::json(out) };
            let kind = self.body.kind();
            let has_data = !matches!(kind, INITIAL_HEARTBEAT | HEARTBEAT | ADAPTER_CLOSE);
            output.map(3 + usize::from(has_data));
            output.key("type");
            output.integer(kind);
            if has_data {
                output.key("data");
                self.body.write(packet, &mut output)?;
            }
            output.key("uid");
            output.string(&self.uid);
            output.key("nsp");
            output.string(&self.nsp);
            output.end_map();
            Ok(())
        })
    }
}

impl Body<'_> {
    fn kind(&self) -> u64 {
        match self {
            Self::InitialHeartbeat => INITIAL_HEARTBEAT,
            Self::Heartbeat => HEARTBEAT,
            Self::Broadcast { .. } => BROADCAST,
            Self::Join { .. } => JOIN,
            Self::Leave { .. } => LEAVE,
            Self::Disconnect { .. } => DISCONNECT,
            Self::FetchSockets { .. } => FETCH_SOCKETS,
            Self::Sockets { .. } => SOCKETS,
            Self::ServerSideEmit { .. } => SERVER_SIDE_EMIT,
            Self::ServerSideEmitAck { .. } => SERVER_SIDE_EMIT_ACK,
            Self::ClientCount { .. } => CLIENT_COUNT,
            Self::Ack { .. } => ACK,
            Self::AdapterClose => ADAPTER_CLOSE,
        }
    }

    /// Writes the data, with the event that it carries, if it does.
    fn write(&self, event: Option<&Packet<'_>>, output: &mut Output<'_>) -> Result<(), ClusterError> {
        match self {
            Self::InitialHeartbeat | Self::Heartbeat | Self::AdapterClose => return Ok(()),
            Self::Broadcast { opts, request_id, .. } => {
                output.map(2 + usize::from(request_id.is_some()));
                if let Some(packet) = event {
                    output.key("packet");
                    write_packet(output, packet, false, false)?;
                }
                if let Some(id) = request_id {
                    write_request_id(id, output);
                }
                output.key("opts");
                opts.write(output, OptsForm::Server);
            }
            Self::Join { opts, rooms } | Self::Leave { opts, rooms } => {
                output.map(2);
                output.key("opts");
                opts.write(output, OptsForm::Server);
                output.key("rooms");
                output.names(rooms);
            }
            Self::Disconnect { opts, close } => {
                output.map(2);
                output.key("opts");
                opts.write(output, OptsForm::Server);
                output.key("close");
                output.boolean(*close);
            }
            Self::FetchSockets { opts, request_id } => {
                output.map(2);
                output.key("opts");
                opts.write(output, OptsForm::Server);
                write_request_id(request_id, output);
            }
            Self::Sockets { request_id, sockets } => {
                output.map(2);
                write_request_id(request_id, output);
                output.key("sockets");
                SocketEntry::write_all(sockets, output)?;
            }
            Self::ServerSideEmit { request_id, .. } => {
                output.map(1 + usize::from(request_id.is_some()));
                if let Some(id) = request_id {
                    write_request_id(id, output);
                }
                if let Some(packet) = event {
                    output.key("packet");
                    output.value(&packet.data, &packet.attachments)?;
                }
            }
            Self::ServerSideEmitAck { request_id, packet } | Self::Ack { request_id, packet } => {
                output.map(1 + usize::from(packet.is_some()));
                write_request_id(request_id, output);
                if let Some(packet) = packet {
                    output.key("packet");
                    packet.write(output)?;
                }
            }
            Self::ClientCount { request_id, count } => {
                output.map(2);
                write_request_id(request_id, output);
                output.key("clientCount");
                output.integer(*count);
            }
        }
        output.end_map();
        Ok(())
    }
}

/// The fields that `data` has, whatever the type, in any order.
#[derive(Default)]
struct Fields<'a> {
    /// `packet`, of type 3.
    packet: Option<Received<'a>>,
    /// `packet`, of type 9.
    event: Option<Input<'a>>,
    /// `packet`, of types 10 and 12.
    answer: Option<Opaque<'a>>,
    opts: Option<Opts<'a>>,
    request_id: Option<Cow<'a, str>>,
    rooms: Option<Names<'a>>,
    close: bool,
    sockets: Option<Vec<SocketEntry<'a>>>,
    client_count: Option<u64>,
}

impl<'a> Fields<'a> {
    fn read(input: &mut Input<'a>, kind: u64) -> Result<Self, ClusterError> {
        let mut fields = Self::default();
        let mut entries = input.map("data")?;
        while let Some(key) = input.next_key(&mut entries)? {
            match key.as_ref() {
                b"packet" => match kind {
                    BROADCAST => fields.packet = Some(Payload::read(input)?),
                    SERVER_SIDE_EMIT => fields.event = Some(input.later()?),
                    SERVER_SIDE_EMIT_ACK | ACK => fields.answer = Opaque::read(input)?,
                    _ => input.skip()?,
                },
                b"opts" if input.eat_nothing() => fields.opts = None,
                b"opts" => fields.opts = Some(Opts::read(input)?),
                b"requestId" => fields.request_id = input.string("requestId")?,
                b"rooms" => fields.rooms = Some(input.names("rooms")?),
                b"close" => fields.close = input.boolean()? == Some(true),
                b"sockets" => fields.sockets = Some(SocketEntry::read_all(input)?),
                b"clientCount" => fields.client_count = input.integer("clientCount")?,
                _ => input.skip()?,
            }
        }
        Ok(fields)
    }

    fn into_body(self, kind: u64, nsp: &Cow<'a, str>) -> Result<Body<'a>, ClusterError> {
        let Self { packet, event, answer, opts, request_id, rooms, close, sockets, client_count } = self;
        Ok(match kind {
            INITIAL_HEARTBEAT => Body::InitialHeartbeat,
            HEARTBEAT => Body::Heartbeat,
            BROADCAST => {
                let packet = required(packet, "packet")?.for_clients(nsp.clone());
                Body::Broadcast { packet, opts: required(opts, "opts")?, request_id }
            }
            JOIN => Body::Join { opts: required(opts, "opts")?, rooms: required(rooms, "rooms")? },
            LEAVE => Body::Leave { opts: required(opts, "opts")?, rooms: required(rooms, "rooms")? },
            DISCONNECT => Body::Disconnect { opts: required(opts, "opts")?, close },
            FETCH_SOCKETS => Body::FetchSockets {
                opts: required(opts, "opts")?,
                request_id: required(request_id, "requestId")?,
            },
            SOCKETS => Body::Sockets {
                request_id: required(request_id, "requestId")?,
                sockets: required(sockets, "sockets")?,
            },
            SERVER_SIDE_EMIT => {
                let packet = Payload::for_servers(nsp.clone(), required(event, "packet")?);
                Body::ServerSideEmit { packet, request_id }
            }
            SERVER_SIDE_EMIT_ACK => {
                Body::ServerSideEmitAck { request_id: required(request_id, "requestId")?, packet: answer }
            }
            CLIENT_COUNT => Body::ClientCount {
                request_id: required(request_id, "requestId")?,
                count: required(client_count, "clientCount")?,
            },
            ACK => Body::Ack { request_id: required(request_id, "requestId")?, packet: answer },
            ADAPTER_CLOSE => Body::AdapterClose,
            seen => return Err(ClusterError::MessageTypeUnknown { seen }),
        })
    }
}

fn required<T>(field: Option<T>, name: &'static str) -> Result<T, ClusterError> {
    field.ok_or(ClusterError::FieldMissing { field: name })
}

fn write_request_id(id: &str, output: &mut Output<'_>) {
    output.key("requestId");
    output.string(id);
}

const INITIAL_HEARTBEAT: u64 = 1;
const HEARTBEAT: u64 = 2;
const BROADCAST: u64 = 3;
const JOIN: u64 = 4;
const LEAVE: u64 = 5;
const DISCONNECT: u64 = 6;
const FETCH_SOCKETS: u64 = 7;
const SOCKETS: u64 = 8;
const SERVER_SIDE_EMIT: u64 = 9;
const SERVER_SIDE_EMIT_ACK: u64 = 10;
const CLIENT_COUNT: u64 = 11;
const ACK: u64 = 12;
const ADAPTER_CLOSE: u64 = 13;

/// The bytes of a broadcast without namespace and data, with a few names.
const ENVELOPE: usize = 144;
