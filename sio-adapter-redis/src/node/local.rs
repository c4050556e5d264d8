//! The sockets of this node, as the node needs them: a server in production, a few rooms in the simulation.

use std::fmt;

use bytes::Bytes;
use sio_protocol::cluster::ClusterError;
use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{BroadcastOptions, SocketDetails};

/// The sockets of one namespace on this node. None of this waits.
pub(crate) trait Local: fmt::Debug + Send + Sync + 'static {
    /// Where the acknowledgements of a broadcast go.
    type Sink: Sink;

    /// Whether some socket is in `room`, which may be the id of one.
    fn has_room(&self, room: &str) -> bool;

    /// The names of all rooms, the sockets' own among them.
    fn rooms(&self) -> Vec<String>;

    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions);

    /// Broadcasts an event that is still in another form; `write` is called only if somebody is to get it.
    fn broadcast_with(
        &self,
        options: &BroadcastOptions,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, ClusterError>,
    ) -> Result<usize, ClusterError>;

    fn broadcast_with_ack(&self, packet: &Packet<'_>, options: &BroadcastOptions, sink: &Self::Sink);

    /// The same for an event in another form. The sink hears how many are asked, unless this fails.
    fn broadcast_with_ack_with(
        &self,
        options: &BroadcastOptions,
        sink: &Self::Sink,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, ClusterError>,
    ) -> Result<usize, ClusterError>;

    /// Makes the sink for a question of another node. What it hears has to come to
    /// [`Node::handle_asked`](super::Node::handle_asked) and [`Node::handle_answer`](super::Node::handle_answer).
    fn sink_for(&self, question: Question) -> Self::Sink;

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String]);

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String]);

    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool);

    fn fetch_sockets(&self, options: &BroadcastOptions) -> Vec<SocketDetails>;

    /// Hands an event of another node to the handlers. An answer has to come to
    /// [`Node::handle_reply`](super::Node::handle_reply).
    fn server_event(&self, packet: &Packet<'_>, reply: Option<ReplyTo>);

    /// Tells of a failure that no caller waits for.
    fn report(&self, message: String);
}

/// Where the acknowledgements of one broadcast go.
pub(crate) trait Sink: Clone + fmt::Debug + Send + 'static {
    /// Announces nodes, each of which will say how many clients it asks.
    fn expect_parties(&self, others: usize);

    /// A node has asked so many clients.
    fn expect(&self, clients: usize);

    /// A client of another node has answered.
    fn answer(&self, answer: OwnedArgs);

    /// Whether somebody still waits.
    fn is_open(&self) -> bool;

    /// Drops answers from now on, if the sink is one for another node.
    fn close(&self);
}

/// Says which broadcast of another node an acknowledgement belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// What the question is called here; `None` if answers to it are not passed on.
    pub(super) key: Option<u64>,
    pub(super) to: ReplyTo,
}

/// Says where an answer goes.
#[derive(Clone, Debug)]
pub(crate) struct ReplyTo {
    /// The node that asked, if it said who it is.
    pub(super) uid: Option<Box<str>>,
    pub(super) request_id: Box<str>,
}
