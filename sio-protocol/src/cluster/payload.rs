//! The event that a message of the cluster carries, left as it came until somebody wants it.

use std::borrow::Cow;

use bytes::Bytes;

use super::error::ClusterError;
use super::input::{Input, Value};
use super::opaque::well_formed;
use super::output::Output;
use crate::error::Malformed;
use crate::limits::Limits;
use crate::msgpack::read_json;
use crate::socketio::{Packet, is_reserved_event};

/// Is an event for the cluster: a packet to be sent, or a received one, still in the bytes of its message.
///
/// A node receives many events that none of its sockets is to get, so an event is translated only when it is
/// asked for: from MessagePack straight to the text that clients get, with no tree in between. It is checked
/// then, too: an event that clients would have to refuse is not handed out.
#[derive(Clone, Debug)]
pub struct Payload<'a>(Repr<'a>);

#[derive(Clone, Debug)]
enum Repr<'a> {
    Outgoing(&'a Packet<'a>),
    Incoming {
        nsp: Cow<'a, str>,
        data: Input<'a>,
        /// The bytes of the data in the message.
        size: usize,
        /// It is for clients, who must not see events with reserved names.
        for_clients: bool,
    },
}

impl<'a> Payload<'a> {
    /// Gives the namespace.
    pub fn nsp(&self) -> &str {
        match &self.0 {
            Repr::Outgoing(packet) => &packet.nsp,
            Repr::Incoming { nsp, .. } => nsp,
        }
    }

    /// Gives the event as a packet without an ack id: who wants acknowledgements asks for them with an id of
    /// their own. Binary values become attachments, dates become text, as they would for a client.
    ///
    /// # Errors
    ///
    /// If the event is malformed, beyond the limits, or has no name that an event may have.
    pub fn to_packet(&self) -> Result<Packet<'a>, ClusterError> {
        match &self.0 {
            Repr::Outgoing(packet) => Ok((*packet).clone()),
            Repr::Incoming { nsp, data, size, for_clients } => {
                let (data, attachments) = translate(data, *size, *for_clients)?;
                let packet = Packet::event(nsp.clone(), None, data, attachments);
                check_name(&packet, *for_clients)?;
                Ok(packet)
            }
        }
    }

    /// Appends the data of the event, `["name",..]`, and gives its attachments. With head room in `json` for
    /// what [`write_header_backwards`](crate::socketio::write_header_backwards) writes, the result is a
    /// finished packet.
    ///
    /// # Errors
    ///
    /// As for [`to_packet`](Self::to_packet). What was appended until then stays.
    pub fn write_data(&self, json: &mut String) -> Result<Vec<Bytes>, ClusterError> {
        match &self.0 {
            Repr::Outgoing(packet) => {
                json.push_str(&packet.data);
                Ok(packet.attachments.clone())
            }
            Repr::Incoming { data, size, for_clients, .. } => {
                let start = json.len();
                let mut attachments = Vec::new();
                let mut data = data.clone();
                let limits = limits_of(&data, *for_clients);
                json.reserve(*size);
                match data.value()? {
                    Value::Json(text) => json.push_str(&well_formed(text)),
                    Value::MsgPack(reader) => read_json(reader, &limits, json, &mut attachments)?,
                }
                check_name(&Packet::event("/", None, &json[start..], Vec::new()), *for_clients)?;
                Ok(attachments)
            }
        }
    }

    /// Reads a packet, and gives its own namespace beside it. Only the head is looked at.
    pub(super) fn read(input: &mut Input<'a>) -> Result<Received<'a>, ClusterError> {
        let mut entries = input.map("packet")?;
        let (mut kind, mut nsp, mut data, mut size) = (None, None, None, 0);
        while let Some(key) = input.next_key(&mut entries)? {
            match key.as_ref() {
                b"type" => kind = input.integer("type")?,
                b"nsp" => nsp = input.string("nsp")?,
                b"data" => {
                    let start = input.position();
                    data = Some(input.later()?);
                    size = input.position() - start;
                }
                _ => input.skip()?,
            }
        }
        match kind {
            Some(EVENT | BINARY_EVENT) => {}
            Some(seen) => return Err(ClusterError::PacketTypeUnsupported { seen }),
            None => return Err(ClusterError::FieldMissing { field: "type" }),
        }
        if let Some(nsp) = &nsp {
            check_nsp(nsp, input)?;
        }
        let data = data.ok_or(ClusterError::FieldMissing { field: "data" })?;
        Ok(Received { nsp, data, size })
    }

    /// Makes the event for the servers of a namespace of its data.
    pub(super) fn for_servers(nsp: Cow<'a, str>, data: Input<'a>) -> Self {
        Self(Repr::Incoming { nsp, data, size: 0, for_clients: false })
    }

    /// Gives what is to be written. Names that are reserved are for those to refuse who emit.
    pub(super) fn outgoing(&self) -> Result<Cow<'_, Packet<'_>>, ClusterError> {
        match &self.0 {
            Repr::Outgoing(packet) => {
                check_name(packet, false)?;
                Ok(Cow::Borrowed(*packet))
            }
            Repr::Incoming { .. } => Ok(Cow::Owned(self.to_packet()?)),
        }
    }
}

impl<'a> From<&'a Packet<'a>> for Payload<'a> {
    /// Takes a packet to be sent, which has to be an event. Its namespace is sent where the message has a
    /// place for it, its ack id is not.
    fn from(packet: &'a Packet<'a>) -> Self {
        Self(Repr::Outgoing(packet))
    }
}

/// A packet of which only the head has been read.
pub(super) struct Received<'a> {
    /// The namespace, if the packet names one.
    pub(super) nsp: Option<Cow<'a, str>>,
    data: Input<'a>,
    size: usize,
}

impl<'a> Received<'a> {
    /// Makes the event for the clients of a namespace.
    pub(super) fn for_clients(self, nsp: Cow<'a, str>) -> Payload<'a> {
        Payload(Repr::Incoming { nsp, data: self.data, size: self.size, for_clients: true })
    }
}

/// Writes the packet of a broadcast. `binary_type` asks for the packet type that Socket.IO 2 needs to find
/// binary values; `nsp` says whether the namespace is part of it.
pub(super) fn write_packet(
    output: &mut Output<'_>,
    packet: &Packet<'_>,
    binary_type: bool,
    nsp: bool,
) -> Result<(), ClusterError> {
    let binary = binary_type && !packet.attachments.is_empty();
    output.map(if nsp { 3 } else { 2 });
    output.key("type");
    output.integer(if binary { BINARY_EVENT } else { EVENT });
    output.key("data");
    output.value(&packet.data, &packet.attachments)?;
    if nsp {
        output.key("nsp");
        output.string(&packet.nsp);
    }
    output.end_map();
    Ok(())
}

/// Checks a namespace against the limit for its length.
pub(super) fn check_nsp(nsp: &str, input: &Input<'_>) -> Result<(), ClusterError> {
    let (seen, limit) = (nsp.len(), input.limits().max_namespace_length);
    if seen > limit { Err(Malformed::NamespaceTooLong { seen, limit }.into()) } else { Ok(()) }
}

/// Gives the data of an event as text and attachments.
fn translate<'a>(
    data: &Input<'a>,
    size: usize,
    for_clients: bool,
) -> Result<(Cow<'a, str>, Vec<Bytes>), ClusterError> {
    let mut data = data.clone();
    let limits = limits_of(&data, for_clients);
    match data.value()? {
        Value::Json(text) => Ok((well_formed(text), Vec::new())),
        Value::MsgPack(reader) => {
            let (mut json, mut attachments) = (String::with_capacity(size + size / 8), Vec::new());
            read_json(reader, &limits, &mut json, &mut attachments)?;
            Ok((Cow::Owned(json), attachments))
        }
    }
}

/// Gives what holds for an event: to a client it goes as a packet, which may have fewer attachments than there can be
/// binary values in a message.
fn limits_of(data: &Input<'_>, for_clients: bool) -> Limits {
    let mut limits = *data.limits();
    if for_clients {
        limits.max_inline_attachments = limits.max_inline_attachments.min(limits.max_attachments);
    }
    limits
}

/// Checks what a client checks, and would close its connection for.
fn check_name(packet: &Packet<'_>, for_clients: bool) -> Result<(), ClusterError> {
    match packet.event_name() {
        None => Err(Malformed::EventNameInvalid.into()),
        Some(name) if for_clients && is_reserved_event(&name) => Err(Malformed::EventNameReserved.into()),
        Some(_) => Ok(()),
    }
}

const EVENT: u64 = 2;
const BINARY_EVENT: u64 = 5;
