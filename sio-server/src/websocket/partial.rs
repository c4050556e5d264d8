//! What a connection remembers of a message that is not complete yet.
//!
//! Pure. Exists only while there is something to remember, and grows with the bytes received: a length
//! that is merely declared reserves nothing. Payload is unmasked and checked as it arrives.

use super::{
    Opcode, Violation,
    frame::{Header, MAX_CLIENT_HEADER, advance_mask, unmask},
};

/// An incomplete header, frame or message, in any combination the protocol allows.
#[derive(Debug, Default)]
pub(super) struct Partial {
    head: [u8; MAX_CLIENT_HEADER],
    head_len: u8,
    /// The frame whose payload is being received.
    pub(super) frame: Option<Header>,
    /// Bytes of that payload already received.
    pub(super) received: usize,
    /// The data message being gathered; its bytes include those of `frame`, if that is a data frame.
    pub(super) message: Option<Gathered>,
    /// The payload of `frame`, if that is a control frame.
    pub(super) control: Vec<u8>,
}

impl Partial {
    /// Tells whether the next byte belongs to a frame already begun.
    pub(super) fn is_inside_frame(&self) -> bool {
        self.head_len > 0 || self.frame.is_some()
    }

    /// Keeps the beginning of a header, shorter than a header can be.
    pub(super) fn keep_head(&mut self, bytes: &[u8]) {
        self.head[..bytes.len()].copy_from_slice(bytes);
        self.head_len = bytes.len() as u8;
    }

    /// Adds to the header kept, and gives it with the number of bytes it took once it is complete.
    pub(super) fn complete_head(
        &mut self,
        input: &[u8],
        deflate: bool,
    ) -> Result<Option<(Header, usize)>, Violation> {
        for (index, byte) in input.iter().enumerate() {
            let len = usize::from(self.head_len);
            self.head[len] = *byte;
            self.head_len += 1;
            if let Some(header) = Header::parse(&self.head[..=len], deflate)? {
                self.head_len = 0;
                return Ok(Some((header, index + 1)));
            }
        }
        Ok(None)
    }

    /// Takes in the payload received with the header of an incomplete frame.
    pub(super) fn begin(&mut self, header: Header, input: &mut [u8], limit: usize) -> Result<(), Violation> {
        if header.opcode.is_control() {
            self.control = Vec::with_capacity(header.len as usize);
        } else {
            self.message.get_or_insert_with(|| Gathered::new(&header)).fragments += 1;
        }
        self.frame = Some(header);
        self.received = 0;
        self.receive(header, input, limit)
    }

    /// Takes in more of the payload of the current frame.
    pub(super) fn receive(
        &mut self,
        header: Header,
        chunk: &mut [u8],
        limit: usize,
    ) -> Result<(), Violation> {
        unmask(chunk, advance_mask(header.mask, self.received));
        let outstanding = header.len as usize - self.received;
        self.received += chunk.len();
        match &mut self.message {
            Some(message) if !header.opcode.is_control() => {
                message.push(chunk, if header.fin { outstanding } else { limit })
            }
            _ => {
                self.control.extend_from_slice(chunk);
                Ok(())
            }
        }
    }
}

/// The payload of a data message, as far as it came.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) text: bool,
    pub(super) compressed: bool,
    pub(super) payload: Vec<u8>,
    pub(super) fragments: u32,
    /// How much of `payload` is known to be valid UTF-8.
    valid: usize,
}

impl Gathered {
    pub(super) fn new(first: &Header) -> Self {
        Self {
            text: first.opcode == Opcode::Text,
            compressed: first.compressed,
            payload: Vec::new(),
            fragments: 0,
            valid: 0,
        }
    }

    /// Appends unmasked bytes. At most `useful` bytes, these included, can still be of use.
    pub(super) fn push(&mut self, chunk: &[u8], useful: usize) -> Result<(), Violation> {
        let len = self.payload.len();
        if self.payload.capacity() - len < chunk.len() {
            // Doubling keeps the copying linear, the ceiling keeps the last doubling from overshooting.
            let step = len.max(MIN_STEP).min(useful).max(chunk.len());
            self.payload.reserve_exact(step);
        }
        self.payload.extend_from_slice(chunk);
        // What a compressed message says is only known when it is inflated, at its end.
        if self.text && !self.compressed { self.check_text() } else { Ok(()) }
    }

    /// Fails as soon as no further bytes could make the text valid.
    fn check_text(&mut self) -> Result<(), Violation> {
        match simdutf8::compat::from_utf8(&self.payload[self.valid..]) {
            Ok(_) => self.valid = self.payload.len(),
            // The last character may still be completed.
            Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
            Err(_) => return Err(Violation::Utf8Invalid),
        }
        Ok(())
    }
}

/// Least growth of a payload, so that fragments of a few bytes do not reallocate each time.
const MIN_STEP: usize = 64;
