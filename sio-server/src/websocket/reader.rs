//! From the bytes of a client to its messages.
//!
//! Pure. A frame that is complete in the input is unmasked and delivered where it lies; only the rest at
//! the end of the input is copied. The memory of an incomplete message is given back the moment the
//! message is complete. Sizes are judged by the header alone, before the payload arrives.
//! Spec: RFC 6455, sections 5 and 7; RFC 7692, section 6.

use std::ops::ControlFlow::{self, Break, Continue};

use super::{
    Message, Opcode, Violation, deflate,
    frame::{Header, unmask},
    partial::{Gathered, Partial},
};

/// What bounds the memory a client can make the server use.
#[derive(Clone, Debug)]
pub(crate) struct ReadLimits {
    /// Most bytes of one message, on the wire and inflated.
    pub(crate) max_message: usize,
}

/// The receiving half of one connection.
///
/// 16 bytes while no message is incomplete.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    partial: Option<Box<Partial>>,
    deflate: bool,
    finished: bool,
}

impl Reader {
    /// Makes a reader; `deflate` tells whether permessage-deflate was negotiated.
    pub(crate) fn new(deflate: bool) -> Self {
        Self { partial: None, deflate, finished: false }
    }

    /// Tells whether the client has closed its side or broken the rules: nothing more is read.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Tells whether compression was negotiated.
    pub(crate) fn deflates(&self) -> bool {
        self.deflate
    }

    /// Takes the next bytes of the connection and delivers each message they complete, in order.
    ///
    /// The payloads are unmasked in `input` itself, which is of no use afterwards. After `on` breaks, after
    /// a close frame, and after a violation nothing more is read: the rest of this input and all later
    /// input is dropped, and so is what was gathered.
    pub(crate) fn feed(
        &mut self,
        limits: &ReadLimits,
        input: &mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        if self.finished {
            return Ok(());
        }
        let outcome = self.read(limits, input, on);
        if !matches!(outcome, Ok(Continue(()))) {
            self.finished = true;
            self.partial = None;
        }
        outcome.map(|_| ())
    }

    fn read(
        &mut self,
        limits: &ReadLimits,
        input: &mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let mut input = match self.resume(limits, input, on)? {
            Continue(rest) => rest,
            Break(()) => return Ok(Break(())),
        };
        while !input.is_empty() {
            let Some(header) = Header::parse(input, self.deflate)? else {
                self.partial.get_or_insert_default().keep_head(input);
                break;
            };
            match self.frame(header, limits, &mut input[header.size..], on)? {
                Continue(rest) => input = rest,
                Break(()) => return Ok(Break(())),
            }
        }
        Ok(Continue(()))
    }

    /// Goes on with the frame that earlier input ended in, if there is one.
    fn resume<'i>(
        &mut self,
        limits: &ReadLimits,
        input: &'i mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), &'i mut [u8]>, Violation> {
        let Some(partial) = self.partial.as_deref_mut().filter(|partial| partial.is_inside_frame()) else {
            return Ok(Continue(input));
        };
        let Some(header) = partial.frame else {
            let Some((header, taken)) = partial.complete_head(input, self.deflate)? else {
                return Ok(Continue(&mut []));
            };
            if partial.message.is_none() {
                self.partial = None;
            }
            return self.frame(header, limits, &mut input[taken..], on);
        };

        let outstanding = header.len as usize - partial.received;
        let (chunk, rest) = input.split_at_mut(outstanding.min(input.len()));
        let ends = chunk.len() == outstanding;
        partial.receive(header, chunk, limits.max_message)?;
        if !ends {
            return Ok(Continue(&mut []));
        }
        partial.frame = None;
        let flow = if header.opcode.is_control() {
            let control = std::mem::take(&mut partial.control);
            if partial.message.is_none() {
                self.partial = None;
            }
            deliver_control(header.opcode, &control, on)?
        } else if header.fin {
            self.finish_message(limits, on)?
        } else {
            Continue(())
        };
        Ok(flow.map_continue(|()| rest))
    }

    /// Handles a frame whose header is complete; gives what follows the frame in the input.
    #[inline]
    fn frame<'i>(
        &mut self,
        header: Header,
        limits: &ReadLimits,
        input: &'i mut [u8],
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<(), &'i mut [u8]>, Violation> {
        self.admit(&header, limits)?;
        if (input.len() as u64) < header.len {
            self.partial.get_or_insert_default().begin(header, input, limits.max_message)?;
            return Ok(Continue(&mut []));
        }
        let (payload, rest) = input.split_at_mut(header.len as usize);
        unmask(payload, header.mask);
        let flow = if header.opcode.is_control() {
            deliver_control(header.opcode, payload, on)?
        } else if header.fin && self.partial.is_none() {
            deliver_data(header.opcode == Opcode::Text, header.compressed, payload, limits, on)?
        } else {
            self.fragment(&header, payload, limits, on)?
        };
        Ok(flow.map_continue(|()| rest))
    }

    /// Judges a frame by its header and by the message it would belong to.
    #[inline]
    fn admit(&self, header: &Header, limits: &ReadLimits) -> Result<(), Violation> {
        if header.opcode.is_control() {
            return Ok(());
        }
        let message = self.partial.as_ref().and_then(|partial| partial.message.as_ref());
        let gathered = match (message, header.opcode) {
            (None, Opcode::Continuation) => return Err(Violation::ContinuationUnexpected),
            (None, _) => 0,
            (Some(message), Opcode::Continuation) => {
                if message.fragments >= MAX_FRAGMENTS {
                    return Err(Violation::FragmentsExceeded);
                }
                message.payload.len() as u64
            }
            (Some(_), _) => return Err(Violation::DataInsideMessage),
        };
        // Neither term uses the highest bit, so this cannot wrap.
        let len = gathered + header.len;
        if len > limits.max_message as u64 {
            return Err(Violation::MessageTooBig { len, limit: limits.max_message });
        }
        Ok(())
    }

    /// Adds a complete data frame to the message it is part of.
    fn fragment(
        &mut self,
        header: &Header,
        payload: &[u8],
        limits: &ReadLimits,
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let partial = self.partial.get_or_insert_default();
        let message = partial.message.get_or_insert_with(|| Gathered::new(header));
        message.fragments += 1;
        message.push(payload, if header.fin { payload.len() } else { limits.max_message })?;
        if header.fin { self.finish_message(limits, on) } else { Ok(Continue(())) }
    }

    /// Delivers the gathered message and gives its memory back.
    fn finish_message(
        &mut self,
        limits: &ReadLimits,
        on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        match self.partial.take().and_then(|partial| partial.message) {
            Some(message) => deliver_data(message.text, message.compressed, &message.payload, limits, on),
            None => Ok(Continue(())),
        }
    }

    /// Bytes on the heap for what is incomplete.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| {
            size_of::<Partial>()
                + partial.control.capacity()
                + partial.message.as_ref().map_or(0, |message| message.payload.capacity())
        })
    }
}

#[inline]
fn deliver_data(
    text: bool,
    compressed: bool,
    payload: &[u8],
    limits: &ReadLimits,
    on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Violation> {
    if compressed {
        let plain = deflate::inflate(payload, limits.max_message)?;
        return deliver_data(text, false, &plain, limits, on);
    }
    Ok(on(if text { Message::text(payload)? } else { Message::Binary(payload) }))
}

fn deliver_control(
    opcode: Opcode,
    payload: &[u8],
    on: &mut impl FnMut(Message<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Violation> {
    match opcode {
        Opcode::Ping => Ok(on(Message::Ping(payload))),
        Opcode::Pong => Ok(on(Message::Pong(payload))),
        _ => {
            // Nothing counts after a close frame, whatever the caller says.
            let _ = on(Message::close(payload)?);
            Ok(Break(()))
        }
    }
}

/// Most fragments of one message. Empty fragments add nothing to its size and could go on for ever. A
/// message of 8 MB in pieces of 64 bytes still passes; browsers and Socket.IO clients do not fragment.
pub(super) const MAX_FRAGMENTS: u32 = 128 * 1024;
