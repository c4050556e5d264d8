//! Under construction.

mod broadcast;
mod builder;
mod emit;
mod emitter;
mod encode;
mod error;
mod frame;
mod link;
mod queue;
mod rooms;

pub use broadcast::Broadcast;
pub use builder::Builder;
pub use emit::Emit;
pub use emitter::Emitter;
pub use error::{ConnectError, EmitError, FlushError, PublishError};
pub use fred;
pub use queue::Stats;
pub use rooms::IntoRooms;
pub use sio_protocol::cluster::sharded::Mode;
