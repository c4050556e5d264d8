//! What this node says to the others, understands and waits for: one [`Node`] for each namespace.
//!
//! No IO, no clock, no randomness: messages, answers and time are arguments; what is to be published or subscribed to
//! is handed to a [`Bus`], what concerns the sockets of this node to a [`Local`]. So the simulation in `tests` runs
//! whole clusters in virtual time. There is one module for each dialect, [`classic`] and [`sharded`], over a shared
//! [`core`].
//!
//! All methods may be called from any thread at once. The bus is never called with a lock held; the local side neither,
//! but for a look whether a room exists ([`rooms`]).

mod classic;
mod convert;
mod core;
mod ids;
mod local;
mod questions;
mod requests;
mod rooms;
mod sharded;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Instant;

use bytes::Bytes;
use sio_protocol::cluster::Opaque;
use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{BroadcastOptions, Incomplete, RoomEvent, RoomInterest, SocketDetails};
use tokio::sync::oneshot;

pub(crate) use self::classic::{Classic, ClassicOptions};
pub(crate) use self::core::{Identity, Settings};
pub(crate) use self::local::{Local, Question, ReplyTo, Sink};
pub(crate) use self::sharded::{Sharded, ShardedOptions};
pub(crate) use self::stats::Counters;
use crate::link::Topic;

/// One namespace of this node, as the cluster sees it: the part that both dialects have.
pub(crate) trait Node: Send + Sync + Sized + 'static {
    /// The sockets of the namespace on this node.
    type Local: Local;

    fn local(&self) -> &Self::Local;

    /// Subscribes to everything the node needs.
    fn start(&self, bus: &dyn Bus);

    /// Takes the subscriptions back, ends what is awaited and forgets who waits for answers of this node.
    fn stop(&self, bus: &dyn Bus);

    /// The channel whose subscribers are the nodes of the namespace.
    fn counted_channel(&self) -> &str;

    /// Takes a message from Redis. Messages of a channel come in their order, one at a time.
    fn handle_message(&self, channel: &str, message: &Bytes, now: Instant, bus: &dyn Bus);

    /// Takes the number of nodes, this one included, that [`Bus::count`] has asked for.
    fn handle_count(&self, count: Result<usize, Uncounted>, bus: &dyn Bus);

    /// Takes how many clients were asked on behalf of another node.
    fn handle_asked(&self, question: &Question, clients: usize, bus: &dyn Bus);

    /// Takes what one of those clients answered, `None` if it disconnected instead.
    fn handle_answer(&self, question: &Question, answer: Option<&OwnedArgs>, bus: &dyn Bus);

    /// Takes what a handler answered to the event of another node.
    fn handle_reply(&self, to: &ReplyTo, answer: &OwnedArgs, bus: &dyn Bus);

    /// Ends what was awaited until now.
    fn handle_timeout(&self, now: Instant);

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Which changes of rooms [`handle_room_event`](Self::handle_room_event) has to hear of.
    fn room_interest(&self) -> RoomInterest {
        RoomInterest::None
    }

    /// Takes a change of the rooms on this node.
    fn handle_room_event(&self, event: &RoomEvent, bus: &dyn Bus) {
        let _ = (event, bus);
    }

    /// Sends an event to clients on all nodes.
    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions, bus: &dyn Bus);

    /// The same, asking for acknowledgements.
    fn broadcast_with_ack(
        &self,
        packet: &Packet<'_>,
        options: &BroadcastOptions,
        sink: <Self::Local as Local>::Sink,
        now: Instant,
        bus: &dyn Bus,
    );

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String], bus: &dyn Bus);

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String], bus: &dyn Bus);

    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool, bus: &dyn Bus);

    fn fetch_sockets(
        &self,
        options: &BroadcastOptions,
        now: Instant,
        bus: &dyn Bus,
    ) -> Answers<SocketDetails>;

    fn all_rooms(&self, now: Instant, bus: &dyn Bus) -> Answers<String>;

    fn server_side_emit(&self, packet: &Packet<'_>, bus: &dyn Bus);

    fn server_side_emit_with_ack(
        &self,
        packet: &Packet<'_>,
        now: Instant,
        bus: &dyn Bus,
    ) -> Answers<OwnedArgs>;
}

/// What arrives in the end. A request always ends: when all have answered, at its timeout, or with the node.
pub(crate) type Answers<T> = oneshot::Receiver<Result<Vec<T>, Incomplete<T>>>;

/// What a node wants done. Nothing here waits.
pub(crate) trait Bus: Send + Sync {
    /// Queues a message for a channel. What is queued goes out in this order.
    fn publish(&self, channel: &str, message: Bytes) -> Result<(), Refused>;

    fn subscribe(&self, topic: Topic);

    fn unsubscribe(&self, topic: Topic);

    /// Asks how many subscribe to the [counted channel](Node::counted_channel); there is no second question before
    /// [`Node::handle_count`] was called.
    fn count(&self);

    /// Says that [`Node::poll_timeout`] gives an earlier time than before.
    fn wake(&self);
}

/// Says why a message was not queued.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Says why the nodes could not be counted.
#[derive(Clone, Debug)]
pub(crate) struct Uncounted(pub(crate) String);

/// The first argument of an answer, which is all that travels.
fn first_argument(answer: &OwnedArgs) -> Option<Opaque<'_>> {
    Opaque::first_of(answer.raw())
}

/// The arguments that an answer stands for.
fn arguments(answer: Option<Opaque<'_>>) -> OwnedArgs {
    answer.map_or_else(|| OwnedArgs::new("[]", Vec::new()), Opaque::into_args)
}
