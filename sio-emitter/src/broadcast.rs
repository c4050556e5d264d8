//! The operator behind every emit: rooms, exceptions, flags, then the verb. The same as in the server.

use serde::Serialize;
use sio_protocol::cluster::{Flags, Opts};

use crate::emit::Emit;
use crate::emitter::Emitter;
use crate::encode::Order;
use crate::error::EmitError;
use crate::rooms::IntoRooms;

/// An emit in the making: whom it is aimed at and how. Node: `BroadcastOperator`.
///
/// Made by `to`, `in_`, `except`, `volatile` and `compress` of an [`Emitter`]. A client in several target rooms is
/// reached once. It can be kept and used for any number of emits.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before emit, or another verb, is called"]
pub struct Broadcast {
    emitter: Emitter,
    rooms: Vec<String>,
    except: Vec<String>,
    flags: Flags,
}

impl Broadcast {
    pub(crate) fn new(emitter: Emitter) -> Self {
        Self { emitter, rooms: Vec::new(), except: Vec::new(), flags: Flags::default() }
    }

    /// Aims at the clients in any of `rooms`, beside those named before. An empty list names nobody, and a
    /// broadcast that names nobody is for everybody, as in Node.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        add(&mut self.rooms, rooms);
        self
    }

    /// The same as [`to`](Self::to).
    pub fn in_(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out the clients in any of `rooms`.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        add(&mut self.except, rooms);
        self
    }

    /// Dropped for clients whose transport is busy when it arrives.
    pub fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether transports may compress it. Default: they may.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = Some(compress);
        self
    }

    /// Sends an event. The arguments are serialised here, once; a tuple is several arguments, `&()` none, anything
    /// else one. Bytes anywhere inside (`Bytes`, `serde_bytes`) travel as binary.
    /// serde does not tell arrays of fixed length from tuples, nor `serde_json::Value::Null` from `()`: `&[1, 2]` is two
    /// arguments, `&vec![1, 2]` one, a null in a tuple, `&(Value::Null,)`, one.
    ///
    /// Awaiting the result says whether the message is *queued*, and waits if the queue is full;
    /// [`Emitter::flush`] says whether Redis has taken it.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Emit {
        let emitter = &self.emitter;
        let queued = emitter.namespace().emit(event, args, &self.opts(), &mut |verb, channel, message| {
            emitter.queue(verb, channel, message)
        });
        queued.unwrap_or_else(Emit::from)
    }

    /// Like [`emit`](Self::emit), without waiting for room in the queue.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be serialised, the event name is reserved, the message is too long, the queue is
    /// full, or the emitter is closed.
    pub fn try_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) -> Result<(), EmitError> {
        let emitter = &self.emitter;
        emitter.namespace().emit(event, args, &self.opts(), &mut |verb, channel, message| {
            emitter.try_queue(verb, channel, message)
        })?
    }

    /// Puts the clients aimed at into `rooms`.
    pub fn sockets_join(&self, rooms: impl IntoRooms) -> Emit {
        self.order(Order::Join(&rooms.into_rooms()))
    }

    /// Takes the clients aimed at out of `rooms`.
    pub fn sockets_leave(&self, rooms: impl IntoRooms) -> Emit {
        self.order(Order::Leave(&rooms.into_rooms()))
    }

    /// Disconnects the clients aimed at from the namespace; `close` ends their connections too.
    pub fn disconnect_sockets(&self, close: bool) -> Emit {
        self.order(Order::Disconnect { close })
    }

    fn order(&self, order: Order<'_>) -> Emit {
        let emitter = &self.emitter;
        // The classic dialect has no flags here; the sharded one has a place for them, which Node's servers leave
        // empty.
        let opts = Opts::new(&self.rooms, &self.except, Flags::default());
        let queued = emitter
            .namespace()
            .order(order, opts, &mut |verb, channel, message| emitter.queue(verb, channel, message));
        queued.unwrap_or_else(Emit::from)
    }

    fn opts(&self) -> Opts<'_> {
        Opts::new(&self.rooms, &self.except, self.flags)
    }
}

fn add(names: &mut Vec<String>, rooms: impl IntoRooms) {
    for room in rooms.into_rooms() {
        if !names.contains(&room) {
            names.push(room);
        }
    }
}
