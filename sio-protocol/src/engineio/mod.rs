//! Engine.IO, the layer that carries messages over HTTP long-polling and WebSocket: packets, polling bodies, the
//! handshake and the life of one session.
//!
//! Pure: bytes and times go in, packets, verdicts and the next deadline come out; nothing here does IO, reads a
//! clock or draws a random number. Both protocol revisions are served ([`Revision`]). Specification:
//! engine.io-protocol v4 and, for old clients, engine.io-protocol v3; where the two leave something open, the
//! behaviour of Node's `engine.io` 6 decides ("Node" below).
//!
//! What each module does, in the order in which bytes meet them: [`payload`] splits a polling body into packets,
//! [`Packet`] is one of them or one WebSocket message, [`session`] says what a packet means and what is due when,
//! [`handshake`] writes the first packet of a session.

#![expect(
    clippy::exhaustive_enums,
    clippy::exhaustive_structs,
    reason = "the protocol fixes these sets, and a driver that overlooks a verdict of the session is a bug that the \
              compiler should find; types that may grow are marked non_exhaustive one by one"
)]

mod base64;
mod error;
pub mod handshake;
mod packet;
pub mod payload;
pub mod session;

pub use error::Malformed;
pub use packet::{Data, DataRef, Frame, Packet, PacketKind, Revision};
