//! The server's side of the WebSocket protocol, RFC 6455 and RFC 7692.
//!
//! Pure: bytes in, messages out, and the reverse. Nothing here reads a socket, a clock or a random
//! number; whoever owns the connection does that. An idle connection costs the 16 bytes of its
//! [`Reader`], because there is no read buffer in it: the caller reads into one buffer per thread and
//! only what is left of an incomplete message is kept. Server frames are unmasked, so one finished
//! frame serves every recipient.

mod deflate;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod handshake;
mod message;
mod partial;
mod pong;
mod reader;
#[cfg(test)]
mod tests;
mod violation;
mod write;

pub use deflate::PerMessageDeflate;
pub(crate) use deflate::negotiate;
pub(crate) use frame::Opcode;
pub(crate) use handshake::{accept, is_upgrade};
pub(crate) use message::Message;
pub(crate) use pong::PongReply;
pub(crate) use reader::{ReadLimits, Reader};
pub(crate) use violation::Violation;
pub(crate) use write::{MAX_HEADER, close_frame, frame_header, write_header_backwards};
