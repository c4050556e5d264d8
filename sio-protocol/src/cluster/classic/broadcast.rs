//! The broadcast of the classic dialect: an event for the clients of all servers.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use crate::cluster::input::Input;
use crate::cluster::options::OptsForm;
use crate::cluster::output::{Output, whole_or_nothing};
use crate::cluster::payload::write_packet;
use crate::cluster::{ClusterError, EMITTER, Opts, Payload};
use crate::limits::Limits;
use crate::msgpack::{Dialect, Reader, Token, Writer, write_event};
use crate::socketio::EncodeError;

/// Is an event that goes to the clients of all servers, without acknowledgements.
///
/// Reading one looks at its head only: see [`Payload`]. Whoever publishes a broadcast receives it as well, so
/// [`sender`](Self::sender) comes first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Broadcast<'a> {
    /// The id of the server that sent it, or [`EMITTER`].
    pub uid: Cow<'a, str>,
    /// The event.
    pub packet: Payload<'a>,
    /// To whom.
    pub opts: Opts<'a>,
}

/// Names the packet types for events with binary values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PacketType {
    /// 2 for every event, which is what servers of Socket.IO 3 and 4 send.
    #[default]
    Event,
    /// 5 if there are binary values. Servers of Socket.IO 2 need it to find them, and servers of Socket.IO 4
    /// break over it: only for clusters of nothing but the former.
    BinaryEvent,
}

impl<'a> Broadcast<'a> {
    /// Makes a broadcast. An emitter has [`EMITTER`] as its id.
    pub fn new(uid: impl Into<Cow<'a, str>>, packet: Payload<'a>, opts: Opts<'a>) -> Self {
        Self { uid: uid.into(), packet, opts }
    }

    /// Gives the id of the sender. Nothing else of the message is looked at.
    ///
    /// # Errors
    ///
    /// If the message does not begin as a broadcast does.
    pub fn sender(message: &'a Bytes) -> Result<Cow<'a, str>, ClusterError> {
        let mut reader = Reader::new(message);
        match reader.next_token()? {
            Token::Array(_) => {}
            _ => return Err(ClusterError::FieldInvalid { field: "broadcast" }),
        }
        match reader.next_token()? {
            Token::String(uid) => Ok(uid),
            _ => Err(ClusterError::FieldInvalid { field: "uid" }),
        }
    }

    /// Reads the head of a broadcast. A packet without a namespace is for `/`.
    ///
    /// # Errors
    ///
    /// If the message is malformed or too long, or its packet is not an event.
    pub fn decode(message: &'a Bytes, limits: &'a Limits) -> Result<Self, ClusterError> {
        let mut input = Input::msgpack(message, limits)?;
        let items = input.array("broadcast")?;
        if items.left() != 3 {
            return Err(ClusterError::ItemCountMismatch { seen: items.left() });
        }
        let uid = input.string("uid")?.ok_or(ClusterError::FieldMissing { field: "uid" })?;
        let mut received = Payload::read(&mut input)?;
        let nsp = received.nsp.take().unwrap_or(Cow::Borrowed("/"));
        let opts = Opts::read(&mut input)?;
        input.finish()?;
        Ok(Self { uid, packet: received.for_clients(nsp), opts })
    }

    /// Appends the message, as `@socket.io/redis-adapter` 8 writes it, or `@socket.io/redis-emitter` 5 if the
    /// sender is [`EMITTER`].
    ///
    /// # Errors
    ///
    /// If the packet is no event, or was built by hand and its data is not JSON or refers to an attachment
    /// that is not there. Nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ClusterError> {
        self.encode_as(PacketType::Event, out)
    }

    /// Appends the message for an event that is sent nowhere else, from its arguments and without a packet in
    /// between, as [`encode`](Self::encode) would. Names that are reserved are for those to refuse who emit.
    ///
    /// # Errors
    ///
    /// If `args` cannot be written, or is nested deeper than 126 levels. Nothing is appended then.
    ///
    /// ```
    /// use sio_protocol::cluster::classic::Broadcast;
    /// use sio_protocol::cluster::{EMITTER, Opts};
    ///
    /// let mut message = Vec::new();
    /// Broadcast::encode_event(EMITTER, "/", "hello", &("world", 1), &Opts::default(), &mut message)?;
    /// assert!(message.starts_with(b"\x93\xa7emitter\x83\xa4type\x02\xa4data\x93\xa5hello\xa5world\x01"));
    /// # Ok::<(), sio_protocol::socketio::EncodeError>(())
    /// ```
    pub fn encode_event<T: Serialize + ?Sized>(
        uid: &str,
        nsp: &str,
        event: &str,
        args: &T,
        opts: &Opts<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let before = out.len();
        let mut writer = Writer::new(out, Dialect::Notepack3);
        writer.array(3);
        writer.string(uid);
        writer.map(3);
        writer.string("type");
        writer.number(2_u32);
        writer.string("data");
        let written = write_event(&mut writer, event, args);
        if written.is_err() {
            out.truncate(before);
            return written;
        }
        writer.string("nsp");
        writer.string(nsp);
        let form = if uid == EMITTER { OptsForm::Emitter } else { OptsForm::Server };
        opts.write(&mut Output::msgpack(out), form);
        Ok(())
    }

    /// Appends the message, with the packet type that the cluster needs. With
    /// [`BinaryEvent`](PacketType::BinaryEvent) all of it is as `socket.io-redis` 5 writes it.
    ///
    /// # Errors
    ///
    /// As for [`encode`](Self::encode).
    pub fn encode_as(&self, packet_type: PacketType, out: &mut Vec<u8>) -> Result<(), ClusterError> {
        let packet = self.packet.outgoing()?;
        let v2 = packet_type == PacketType::BinaryEvent;
        let form = match () {
            () if v2 => OptsForm::V2,
            () if self.uid == EMITTER => OptsForm::Emitter,
            () => OptsForm::Server,
        };
        whole_or_nothing(out, |out| {
            out.reserve(ENVELOPE + self.uid.len() + packet.nsp.len() + packet.data.len());
            let mut output = Output::msgpack(out);
            output.array(3);
            output.string(&self.uid);
            write_packet(&mut output, &packet, v2, true)?;
            self.opts.write(&mut output, form);
            output.end_array();
            Ok(())
        })
    }
}

/// The bytes of a broadcast without its data, with a few names.
const ENVELOPE: usize = 96;
