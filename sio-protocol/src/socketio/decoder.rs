//! The decoder of the default parser: text messages and attachments in, packets out.
//!
//! Pure state machine, owned by the connection: between packets it is empty, and while attachments are
//! outstanding it holds the packet they belong to. That state outlives a change of transport. Spec:
//! socket.io-protocol v5, "Packet encoding"; strictness as in `socket.io-parser` 4.2.7, except that numbers
//! in headers are decimal digits only.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Malformed;
use crate::json::{Cursor, Shape, Syntax, Verdict, repair_surrogates, validate, write_placeholder};
use crate::limits::Limits;

use super::event::{NameSpan, is_reserved_event};
use super::header;
use super::packet::{Packet, PacketKind};

/// Puts packets together from the messages of one connection.
///
/// After an error the connection is to be closed; a decoder that is used on anyway starts with the next
/// packet.
///
/// ```
/// use std::sync::Arc;
/// use sio_protocol::{Limits, socketio::JsonDecoder};
///
/// let mut decoder = JsonDecoder::new(Arc::new(Limits::default()));
/// let header = r#"51-["upload",{"_placeholder":true,"num":0}]"#;
/// assert_eq!(decoder.decode_text(header), Ok(None));
/// let packet = decoder.decode_binary(vec![1, 2, 3].into()).unwrap().unwrap();
/// assert_eq!(packet.event_name().as_deref(), Some("upload"));
/// ```
#[derive(Debug)]
pub struct JsonDecoder {
    limits: Arc<Limits>,
    /// Boxed because most connections never have one.
    pending: Option<Box<Pending>>,
}

impl JsonDecoder {
    /// Makes a decoder that waits for its first message.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { limits, pending: None }
    }

    /// Takes a text message. `None` means that attachments have to follow before there is a packet.
    ///
    /// # Errors
    ///
    /// If the message is no packet, or attachments of the packet before are outstanding.
    pub fn decode_text<'a>(&mut self, text: &'a str) -> Result<Option<Packet<'a>>, Malformed> {
        if let Some(pending) = self.pending.take() {
            return Err(Malformed::TextWhileBinaryPending { outstanding: pending.outstanding() });
        }
        let header = header::scan(text, &self.limits)?;
        let (data, name) = check_data(header.kind, header.data, self.limits.depth())?;
        if header.attachments == 0 {
            let nsp = Cow::Borrowed(header.nsp);
            return Ok(Some(Packet::checked(header.kind, nsp, header.id, data, name, Vec::new())));
        }
        let (data, uses) = resolve_placeholders(data, header.attachments)?;
        let nsp = Cow::Borrowed(header.nsp);
        let packet = Packet::checked(header.kind, nsp, header.id, data, name, Vec::new());
        self.pending = Some(Box::new(Pending { packet: packet.into_owned(), uses, bytes: 0 }));
        Ok(None)
    }

    /// Takes a binary message, which is the next attachment. Gives the packet if it was the last one.
    ///
    /// # Errors
    ///
    /// If no attachment is outstanding, or the attachments are larger than allowed.
    pub fn decode_binary(&mut self, bytes: Bytes) -> Result<Option<Packet<'static>>, Malformed> {
        let mut pending = self.pending.take().ok_or(Malformed::BinaryUnexpected)?;
        pending.bytes = pending.bytes.saturating_add(pending.cost_of_next(bytes.len()));
        if pending.bytes > self.limits.max_attachment_bytes {
            let limit = self.limits.max_attachment_bytes;
            return Err(Malformed::AttachmentBytesExceeded { seen: pending.bytes, limit });
        }
        pending.packet.attachments.push(bytes);
        if pending.outstanding() == 0 {
            return Ok(Some(pending.packet));
        }
        self.pending = Some(pending);
        Ok(None)
    }

    /// Says whether attachments are outstanding.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}

/// A packet that waits for its attachments.
#[derive(Debug)]
struct Pending {
    packet: Packet<'static>,
    /// For each attachment that is expected, how many placeholders refer to it.
    uses: Vec<usize>,
    bytes: usize,
}

impl Pending {
    fn outstanding(&self) -> usize {
        self.uses.len() - self.packet.attachments.len()
    }

    /// Gives what the next attachment adds to the bytes of the packet. Node hands out the same buffer for each of
    /// its placeholders, but whoever deserialises arguments gets as many copies: without this, a message and an
    /// attachment of a megabyte each would become 30 gigabytes.
    fn cost_of_next(&self, length: usize) -> usize {
        let uses = self.uses.get(self.packet.attachments.len()).copied().unwrap_or(0);
        length.saturating_mul(uses.max(1))
    }
}

/// Checks the data of a packet against its kind. Gives the data and, for an event, where its name stands.
/// Data that is missing is no error at this level.
pub(crate) fn check_data(
    kind: PacketKind,
    data: &str,
    max_depth: usize,
) -> Result<(Cow<'_, str>, NameSpan), Malformed> {
    if data.is_empty() {
        return Ok((Cow::Borrowed(""), NameSpan::default()));
    }
    let (shape, allowed) = match kind {
        PacketKind::Connect => (Shape::Object, "an object"),
        PacketKind::Disconnect => return Err(Malformed::DataTypeMismatch { kind, allowed: "none" }),
        PacketKind::Event => (Shape::Event, "an array"),
        PacketKind::Ack => (Shape::Array, "an array"),
        PacketKind::ConnectError => (Shape::ObjectOrString, "an object or a string"),
    };
    let Verdict { wrong_type, length, name, lone_surrogate } = validate(data, shape, max_depth)?;
    if wrong_type {
        return Err(Malformed::DataTypeMismatch { kind, allowed });
    }
    let data = data.get(..length).unwrap_or(data);
    let data = if lone_surrogate { Cow::Owned(repair_surrogates(data)) } else { Cow::Borrowed(data) };
    if kind == PacketKind::Event {
        let name = name.name(&data).ok_or(Malformed::EventNameInvalid)?;
        if is_reserved_event(&name) {
            return Err(Malformed::EventNameReserved);
        }
    }
    Ok((data, name))
}

/// Checks that every placeholder points to an attachment, and brings those that are spelled in another way
/// (JSON allows white space, more keys and another order) into the one form that all readers know. Gives also
/// how many there are for each attachment.
fn resolve_placeholders(
    data: Cow<'_, str>,
    attachments: usize,
) -> Result<(Cow<'_, str>, Vec<usize>), Malformed> {
    let uses = vec![0; attachments];
    let mut pass = Placeholders { cursor: Cursor::new(&data, 0), uses, copied: 0, out: String::new() };
    if !data.is_empty() {
        pass.value()?;
    }
    let Placeholders { copied, mut out, uses, .. } = pass;
    if out.is_empty() {
        return Ok((data, uses));
    }
    out.push_str(data.get(copied..).unwrap_or_default());
    Ok((Cow::Owned(out), uses))
}

/// The pass over the data of a binary packet. Recursion is bounded: the nesting has been checked.
struct Placeholders<'a> {
    cursor: Cursor<'a>,
    /// How many placeholders each attachment has. Those inside a placeholder count, although they go away:
    /// nobody writes them.
    uses: Vec<usize>,
    /// The text up to here is in `out`.
    copied: usize,
    /// Stays empty as long as nothing has to be spelled differently.
    out: String,
}

impl<'a> Placeholders<'a> {
    fn value(&mut self) -> Result<(), Malformed> {
        if let Some(index) = self.cursor.placeholder() {
            return self.count(index);
        }
        match self.cursor.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            _ => Ok(self.cursor.skip()?),
        }
    }

    fn array(&mut self) -> Result<(), Malformed> {
        self.cursor.expect(b'[')?;
        let mut first = true;
        while self.cursor.next_item(&mut first, b']')? {
            self.value()?;
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), Malformed> {
        let start = self.cursor.at();
        let before = (self.copied, self.out.len());
        self.cursor.expect(b'{')?;
        let (mut first, mut marked, mut index) = (true, false, None);
        while self.cursor.next_item(&mut first, b'}')? {
            self.cursor.peek();
            let key = self.cursor.string()?;
            self.cursor.expect(b':')?;
            self.cursor.peek();
            let at = self.cursor.at();
            self.value()?;
            // A key that comes twice counts as its last value, as for JSON.parse.
            match key.as_ref() {
                "_placeholder" => marked = self.cursor.slice(at, self.cursor.at()) == "true",
                "num" => index = self.index(at),
                _ => {}
            }
        }
        if !marked {
            return Ok(());
        }
        // "num must be a number of an attachment": a missing one, a fraction or a string is an illegal
        // attachment.
        let index = index.ok_or(self.invalid())?;
        self.count(index)?;
        // What was rewritten inside goes away with the object.
        self.out.truncate(before.1);
        self.out.push_str(self.cursor.slice(before.0, start));
        write_placeholder(&mut self.out, index);
        self.copied = self.cursor.at();
        Ok(())
    }

    fn count(&mut self, index: usize) -> Result<(), Malformed> {
        let invalid = self.invalid();
        *self.uses.get_mut(index).ok_or(invalid)? += 1;
        Ok(())
    }

    /// Reads the value that started at `at` as the number of an attachment.
    fn index(&self, at: usize) -> Option<usize> {
        let number = Cursor::new(self.cursor.slice(at, self.cursor.at()), 0).number().ok()?;
        let number = number.to_f64();
        (number >= 0.0 && number < self.uses.len() as f64 && number.fract() == 0.0).then_some(number as usize)
    }

    fn invalid(&self) -> Malformed {
        Malformed::PlaceholderInvalid { attachments: self.uses.len() }
    }
}

impl From<Syntax> for Malformed {
    fn from(syntax: Syntax) -> Self {
        Self::JsonInvalid { at: syntax.at }
    }
}
