//! The wire formats of Socket.IO, without any IO.

pub mod engineio;
pub mod error;
pub mod limits;
pub mod msgpack;
pub mod parser;
pub mod socketio;

mod json;

pub use error::Malformed;
pub use limits::Limits;
