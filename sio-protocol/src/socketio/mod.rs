//! Socket.IO, the layer of namespaces, events and acknowledgements: packets, their text form, and the
//! arguments in them.
//!
//! Pure: text and bytes go in, packets come out, and the other way round. Specification: socket.io-protocol
//! v5, which protocol revision 4 shares apart from what a CONNECT means; where it leaves something open, the
//! behaviour of Node's `socket.io-parser` 4.2.7 decides.
//!
//! In: [`JsonDecoder`] makes a [`Packet`] of one or several messages, and [`Packet::args`] gives its
//! arguments as [`RawArgs`], which are text until someone asks for a type. Out: [`write_event`] or
//! [`write_args`] write the arguments, [`write_header_backwards`] puts the header before them.

mod args;
mod decoder;
mod event;
mod header;
mod packet;
mod reader;
mod value;
mod values;
mod writer;

pub(crate) use decoder::check_data;
pub(crate) use header::MAX_ACK_ID;
pub(crate) use reader::RAW_VALUE;

pub use args::{ArgsError, OwnedArgs, RawArgs, read_value};
pub use decoder::JsonDecoder;
pub(crate) use event::NameSpan;
pub use event::is_reserved_event;
pub use header::{header_len_max, write_header, write_header_backwards};
pub use packet::{Packet, PacketKind};
pub use value::{Number, Value};
pub use values::Values;
pub use writer::{
    EncodeError, PlaceholderKeys, write_args, write_args_with, write_event, write_event_with, write_value,
};
