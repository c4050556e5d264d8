//! The MessagePack parser: one binary message for each packet, with binary values inside.
//!
//! Pure. Node's `socket.io-msgpack-parser` 3, which encodes with `notepack.io` 2. That package does not look
//! at event names; here they follow the same rules as with the default parser, so that a client cannot raise
//! `disconnect`.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use super::{Decode, Frame, Parser};
use crate::error::Malformed;
use crate::limits::Limits;
use crate::msgpack::{Dialect, Reader, Token, Writer, read_json, write_json_or_nil};
use crate::socketio::{MAX_ACK_ID, NameSpan, Packet, PacketKind, check_data};

/// Is the parser of clients with `socket.io-msgpack-parser`.
///
/// ```
/// use sio_protocol::Limits;
/// use sio_protocol::parser::{Frame, MsgPackParser, Parser};
/// use sio_protocol::socketio::Packet;
///
/// let packet = Packet::event("/", None, r#"["hello"]"#, vec![]);
/// let mut messages = Vec::new();
/// MsgPackParser.encode(&packet, &mut messages);
/// let [Frame::Binary(message)] = &messages[..] else { panic!() };
/// assert_eq!(message, &b"\x83\xa4type\x02\xa4data\x91\xa5hello\xa3nsp\xa1/"[..]);
///
/// let mut decoder = MsgPackParser.decoder(&Limits::default());
/// assert_eq!(decoder.decode_binary(message.clone()), Ok(Some(packet)));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "a parser has no state, and users name it as a value")]
pub struct MsgPackParser;

impl Parser for MsgPackParser {
    fn decoder(&self, limits: &Limits) -> Box<dyn Decode> {
        Box::new(MsgPackDecoder::new(Arc::new(*limits)))
    }

    fn encode(&self, packet: &Packet<'_>, out: &mut Vec<Frame>) {
        let mut message = Vec::with_capacity(ENVELOPE + packet.nsp.len() + packet.data.len());
        write_packet(&mut Writer::new(&mut message, Dialect::Notepack2), packet);
        out.push(Frame::Binary(message.into()));
    }
}

/// Makes a packet of every binary message.
#[derive(Debug)]
pub struct MsgPackDecoder {
    limits: Arc<Limits>,
}

impl MsgPackDecoder {
    /// Makes a decoder. It keeps nothing from one message to the next.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { limits }
    }

    /// Refuses a text message.
    ///
    /// # Errors
    ///
    /// Always: this parser speaks only binary.
    pub fn decode_text<'a>(&mut self, _text: &'a str) -> Result<Option<Packet<'a>>, Malformed> {
        Err(Malformed::TextUnexpected)
    }

    /// Takes a binary message, which is a whole packet.
    ///
    /// # Errors
    ///
    /// If the message is no packet.
    #[expect(clippy::needless_pass_by_value, reason = "all decoders take their message by value")]
    pub fn decode_binary(&mut self, bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed> {
        let fields = Fields::scan(&bytes)?;
        let kind = fields.kind()?;
        let id = fields.id()?;
        let nsp = fields.nsp(self.limits.max_namespace_length)?;
        let (json, attachments) = fields.data(&self.limits)?;
        if json.is_empty() && matches!(kind, PacketKind::Event | PacketKind::Ack | PacketKind::ConnectError) {
            return Err(Malformed::FieldInvalid { field: "data" });
        }
        let (data, name) = check_data(kind, &json, self.limits.depth())?;
        // The text was written here, so the check has nothing to shorten or to repair.
        let name = if data.len() == json.len() { name } else { NameSpan::default() };
        Ok(Some(Packet::checked(kind, nsp, id, Cow::Owned(json), name, attachments)))
    }
}

impl Decode for MsgPackDecoder {
    fn decode_text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, Malformed> {
        Self::decode_text(self, text)
    }

    fn decode_binary(&mut self, bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed> {
        Self::decode_binary(self, bytes)
    }
}

/// Where the fields of a packet start in its message. They come in any order, and others beside them are
/// ignored: clients send `options`.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<Reader<'a>>,
    id: Option<Reader<'a>>,
    nsp: Option<Reader<'a>>,
    data: Option<Reader<'a>>,
}

impl<'a> Fields<'a> {
    fn scan(message: &'a Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(message);
        let Token::Map(count) = reader.next_token()? else {
            return Err(Malformed::FieldInvalid { field: "type" });
        };
        let mut fields = Self::default();
        for _ in 0..count {
            let mut key_reader = reader.clone();
            reader.skip()?;
            let value = Some(reader.clone());
            reader.skip()?;
            match key_reader.next_token()? {
                Token::String(key) if key == "type" => fields.kind = value,
                Token::String(key) if key == "id" => fields.id = value,
                Token::String(key) if key == "nsp" => fields.nsp = value,
                Token::String(key) if key == "data" => fields.data = value,
                _ => {}
            }
        }
        reader.finish()?;
        Ok(fields)
    }

    fn kind(&self) -> Result<PacketKind, Malformed> {
        let Some(Token::Number(number)) = token(self.kind.as_ref())? else {
            return Err(Malformed::FieldInvalid { field: "type" });
        };
        match number.as_u64() {
            Some(0) => Ok(PacketKind::Connect),
            Some(1) => Ok(PacketKind::Disconnect),
            Some(2) => Ok(PacketKind::Event),
            Some(3) => Ok(PacketKind::Ack),
            Some(4) => Ok(PacketKind::ConnectError),
            _ => Err(Malformed::FieldInvalid { field: "type" }),
        }
    }

    fn id(&self) -> Result<Option<u64>, Malformed> {
        match token(self.id.as_ref())? {
            None | Some(Token::Undefined) => Ok(None),
            Some(Token::Number(number)) => match number.as_u64() {
                Some(id) if id <= MAX_ACK_ID => Ok(Some(id)),
                Some(_) => Err(Malformed::AckIdTooLarge { limit: MAX_ACK_ID }),
                None => Err(Malformed::FieldInvalid { field: "id" }),
            },
            Some(_) => Err(Malformed::FieldInvalid { field: "id" }),
        }
    }

    fn nsp(&self, limit: usize) -> Result<Cow<'static, str>, Malformed> {
        match token(self.nsp.as_ref())? {
            Some(Token::String(nsp)) if nsp == "/" => Ok(Cow::Borrowed("/")),
            Some(Token::String(nsp)) if nsp.len() <= limit => Ok(Cow::Owned(nsp.into_owned())),
            Some(Token::String(nsp)) => Err(Malformed::NamespaceTooLong { seen: nsp.len(), limit }),
            _ => Err(Malformed::FieldInvalid { field: "nsp" }),
        }
    }

    /// Translates the data; missing data is empty text.
    fn data(&self, limits: &Limits) -> Result<(String, Vec<Bytes>), Malformed> {
        let (mut json, mut attachments) = (String::new(), Vec::new());
        if let (Some(reader), true) = (&self.data, token(self.data.as_ref())? != Some(Token::Undefined)) {
            read_json(&mut reader.clone(), limits, &mut json, &mut attachments)?;
        }
        Ok((json, attachments))
    }
}

fn token<'a>(field: Option<&Reader<'a>>) -> Result<Option<Token<'a>>, Malformed> {
    field.map(|reader| reader.clone().next_token()).transpose()
}

/// Writes a packet with its fields in the order in which Node's server builds them.
fn write_packet(writer: &mut Writer<'_>, packet: &Packet<'_>) {
    let order = match (packet.kind, packet.id.is_some()) {
        (PacketKind::Event | PacketKind::Connect | PacketKind::Disconnect, _) => {
            ["type", "data", "id", "nsp"]
        }
        (PacketKind::Ack, _) => ["id", "type", "data", "nsp"],
        (PacketKind::ConnectError, _) => ["type", "nsp", "data", "id"],
    };
    let has_data = !packet.data.is_empty();
    writer.map(2 + usize::from(has_data) + usize::from(packet.id.is_some()));
    for field in order {
        match (field, packet.id) {
            ("type", _) => {
                writer.string(field);
                writer.number(u64::from(packet.kind.digit(false) as u8 - b'0'));
            }
            ("nsp", _) => {
                writer.string(field);
                writer.string(&packet.nsp);
            }
            ("id", Some(id)) => {
                writer.string(field);
                writer.number(id);
            }
            ("data", _) if has_data => {
                writer.string(field);
                write_json_or_nil(&packet.data, &packet.attachments, writer);
            }
            _ => {}
        }
    }
}

/// The bytes of a packet without namespace and data, at most.
const ENVELOPE: usize = 48;
