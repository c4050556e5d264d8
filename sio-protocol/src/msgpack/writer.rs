//! The writer: one token of a MessagePack value at a time, always in the shortest form, as the Node encoders
//! do.

use rmp::encode as rmp;

use super::reader::{NOTEPACK, TIMESTAMP};
use crate::json::Numeric;
use crate::socketio::Number;

/// Names the encoder whose bytes are to be written. All readers take numbers, text, arrays, maps and binary
/// values of every dialect; dates are what they disagree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// `notepack.io` 2: the MessagePack parser, `@socket.io/redis-adapter` up to 7,
    /// `@socket.io/redis-emitter` up to 4.
    Notepack2,
    /// `notepack.io` 3: `@socket.io/redis-adapter` from 8 on, `@socket.io/redis-emitter` from 5 on.
    Notepack3,
    /// `@msgpack/msgpack` 2: `@socket.io/redis-streams-adapter` and its emitter.
    MsgPack2,
}

/// Appends tokens to a message.
///
/// `notepack.io` writes integral doubles beyond 64 bits modulo 2^64. That bug is not reproduced: such numbers
/// are written as doubles.
///
/// # Panics
///
/// Methods that take text, bytes or a count panic if that is more than 32 bits can count, which no message of
/// Socket.IO comes near.
///
/// ```
/// use sio_protocol::msgpack::{Dialect, Writer};
///
/// let mut message = Vec::new();
/// let mut writer = Writer::new(&mut message, Dialect::Notepack3);
/// writer.map(1);
/// writer.string("at");
/// writer.date(Some(1_700_000_000_000));
/// assert_eq!(message, b"\x81\xa2at\xd6\xff\x65\x53\xf1\x00");
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    dialect: Dialect,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, dialect: Dialect) -> Self {
        Self { out, dialect }
    }

    /// Writes null.
    pub fn nil(&mut self) {
        written(rmp::write_nil(self.out));
    }

    /// Writes `undefined` where it cannot be left out: only `notepack.io` 2 tells it from null.
    pub fn undefined(&mut self) {
        match self.dialect {
            Dialect::Notepack2 => {
                written(rmp::write_ext_meta(self.out, 1, NOTEPACK));
                self.out.push(0);
            }
            Dialect::Notepack3 | Dialect::MsgPack2 => self.nil(),
        }
    }

    /// Writes a boolean.
    pub fn boolean(&mut self, value: bool) {
        written(rmp::write_bool(self.out, value));
    }

    /// Writes a number: integers in the shortest form, everything else as a double.
    pub fn number(&mut self, number: impl Into<Number>) {
        let safe_only = self.dialect == Dialect::MsgPack2;
        match number.into().numeric() {
            Numeric::Unsigned(value) if !safe_only || value <= MAX_SAFE_INTEGER => {
                written(rmp::write_uint(self.out, value));
            }
            Numeric::Negative(value) if !safe_only || value.unsigned_abs() <= MAX_SAFE_INTEGER => {
                written(rmp::write_sint(self.out, value));
            }
            Numeric::Unsigned(value) => self.double(value as f64),
            Numeric::Negative(value) => self.double(value as f64),
            Numeric::Float(value) if value.trunc() == value && !safe_only => {
                // The bounds are exact as doubles; what is at or above the upper one would not fit.
                if (0.0..18_446_744_073_709_551_616.0).contains(&value) {
                    written(rmp::write_uint(self.out, value as u64));
                } else if (-9_223_372_036_854_775_808.0..0.0).contains(&value) {
                    written(rmp::write_sint(self.out, value as i64));
                } else {
                    self.double(value);
                }
            }
            Numeric::Float(value) => self.double(value),
        }
    }

    /// Writes text.
    pub fn string(&mut self, text: &str) {
        written(rmp::write_str_len(self.out, length(text.len())));
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Writes a binary value, as a Buffer of Node.
    pub fn binary(&mut self, bytes: &[u8]) {
        written(rmp::write_bin_len(self.out, length(bytes.len())));
        self.out.extend_from_slice(bytes);
    }

    /// Writes a binary value as an ArrayBuffer, which is something else than a Buffer only to `notepack.io`
    /// 2.
    pub fn array_buffer(&mut self, bytes: &[u8]) {
        if self.dialect != Dialect::Notepack2 {
            return self.binary(bytes);
        }
        // Never the forms of fixed size: those mean dates and undefined.
        match length(bytes.len()) {
            count @ 0..=0xff => self.out.extend_from_slice(&[0xc7, count as u8]),
            count @ 0x100..=0xffff => {
                self.out.push(0xc8);
                self.out.extend_from_slice(&(count as u16).to_be_bytes());
            }
            count => {
                self.out.push(0xc9);
                self.out.extend_from_slice(&count.to_be_bytes());
            }
        }
        self.out.push(NOTEPACK as u8);
        self.out.extend_from_slice(bytes);
    }

    /// Writes a date, in milliseconds since 1970. An invalid date is written as the Node encoders write it:
    /// as 1970.
    pub fn date(&mut self, milliseconds: Option<i64>) {
        if self.dialect == Dialect::Notepack2 {
            written(rmp::write_ext_meta(self.out, 8, NOTEPACK));
            self.out.extend_from_slice(&milliseconds.unwrap_or(0).to_be_bytes());
            return;
        }
        let seconds = milliseconds.unwrap_or(0).div_euclid(1_000);
        let nanoseconds = milliseconds.unwrap_or(0).rem_euclid(1_000) as u32 * 1_000_000;
        match (milliseconds, u64::try_from(seconds)) {
            (Some(_), Ok(seconds @ 0..=0xffff_ffff)) if nanoseconds == 0 => {
                written(rmp::write_ext_meta(self.out, 4, TIMESTAMP));
                self.out.extend_from_slice(&(seconds as u32).to_be_bytes());
            }
            (Some(_), Ok(seconds)) if seconds >> 34 == 0 => {
                written(rmp::write_ext_meta(self.out, 8, TIMESTAMP));
                self.out.extend_from_slice(&(u64::from(nanoseconds) << 34 | seconds).to_be_bytes());
            }
            _ => {
                written(rmp::write_ext_meta(self.out, 12, TIMESTAMP));
                self.out.extend_from_slice(&nanoseconds.to_be_bytes());
                self.out.extend_from_slice(&seconds.to_be_bytes());
            }
        }
    }

    /// Starts an array: so many values have to follow.
    pub fn array(&mut self, count: usize) {
        written(rmp::write_array_len(self.out, length(count)));
    }

    /// Starts a map: so many keys have to follow, which are strings, each with its value.
    pub fn map(&mut self, count: usize) {
        written(rmp::write_map_len(self.out, length(count)));
    }

    /// Gives the length of the message so far.
    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written after that length.
    pub(super) fn truncate(&mut self, length: usize) {
        self.out.truncate(length);
    }

    /// Starts an array or map whose count is not known yet.
    pub(super) fn open(&mut self) -> usize {
        self.out.push(0);
        self.out.len() - 1
    }

    /// Puts the start of an array in the place that [`open`](Self::open) has kept.
    pub(super) fn close_array(&mut self, place: usize, count: usize) {
        self.close(place, |writer| writer.array(count));
    }

    /// Puts the start of a map in the place that [`open`](Self::open) has kept.
    pub(super) fn close_map(&mut self, place: usize, count: usize) {
        self.close(place, |writer| writer.map(count));
    }

    /// Moves what was written only if the start takes more than the one byte kept for it.
    fn close(&mut self, place: usize, start: impl FnOnce(&mut Writer<'_>)) {
        let mut bytes = Vec::with_capacity(5);
        start(&mut Writer { out: &mut bytes, dialect: self.dialect });
        if let [byte] = bytes[..] {
            self.out[place] = byte;
        } else {
            self.out.splice(place..=place, bytes);
        }
    }

    fn double(&mut self, value: f64) {
        written(rmp::write_f64(self.out, value));
    }
}

fn length(count: usize) -> u32 {
    u32::try_from(count).expect("MessagePack counts with 32 bits")
}

/// Drops a result that cannot be an error: the target is memory, which takes everything.
fn written<T, E>(_: Result<T, E>) {}

/// 2^53 - 1.
const MAX_SAFE_INTEGER: u64 = 9_007_199_254_740_991;
