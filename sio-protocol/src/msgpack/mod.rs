//! MessagePack as the Node packages of Socket.IO write and read it.
//!
//! Three encoders are in use, and they differ in dates, in `undefined` and in large numbers ([`Dialect`]);
//! the [`Reader`] takes what any of them wrote. Packets hold JSON text, so there is a translation in both
//! directions that streams, without a tree of values in between: [`read_json`] and [`write_json`]. What is sent
//! as MessagePack only does not even become JSON: [`write_event`].
//!
//! Pure. Reading allocates only what is handed out, and checks every length against the input before it is
//! used. Specification: the MessagePack format, with the extension types of `notepack.io` and the timestamp
//! type -1.

mod date;
mod from_json;
mod reader;
mod serialize;
mod to_json;
mod writer;

pub use from_json::write_json;
pub(crate) use from_json::write_json_or_nil;
pub(crate) use reader::Short;
pub use reader::{Reader, Token};
pub use serialize::write_event;
pub use to_json::read_json;
pub use writer::{Dialect, Writer};
