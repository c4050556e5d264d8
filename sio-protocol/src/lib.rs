//! The wire formats of Socket.IO, without any IO.

pub mod engineio;
pub mod parser;
pub mod socketio;

mod error;
mod limits;
