//! The sockets of a server, as a node needs them.

use std::fmt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use sio_protocol::cluster::ClusterError;
use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{AckSink, BroadcastOptions, LocalNamespace, ServerReply, SocketDetails};

use crate::node::{Local, Question, ReplyTo, Sink};

/// The sockets of one namespace on this node.
#[derive(Debug)]
pub(crate) struct Sockets {
    local: LocalNamespace,
    answers: Back,
}

/// Where answers go that come later. Weak: the node owns its sockets.
#[derive(Clone)]
pub(super) struct Back(pub(super) Weak<dyn TakeAnswers>);

/// Takes what clients and handlers answer to other nodes, from any thread.
pub(super) trait TakeAnswers: Send + Sync {
    fn asked(&self, question: &Question, clients: usize);

    /// Takes the answer of a client, `None` if it disconnected instead.
    fn answered(&self, question: &Question, answer: Option<&OwnedArgs>);

    fn replied(&self, to: &ReplyTo, answer: &OwnedArgs);
}

impl Sockets {
    pub(super) fn new(local: LocalNamespace, answers: Back) -> Self {
        Self { local, answers }
    }

    pub(super) fn local(&self) -> &LocalNamespace {
        &self.local
    }
}

impl Back {
    fn with(&self, f: impl FnOnce(&dyn TakeAnswers)) {
        if let Some(answers) = self.0.upgrade() {
            f(&*answers);
        }
    }
}

impl fmt::Debug for Back {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Back")
    }
}

impl Local for Sockets {
    type Sink = AckSink;

    fn has_room(&self, room: &str) -> bool {
        self.local.has_room(room)
    }

    fn rooms(&self) -> Vec<String> {
        self.local.all_rooms()
    }

    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions) {
        self.local.broadcast(packet, options);
    }

    fn broadcast_with(
        &self,
        options: &BroadcastOptions,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, ClusterError>,
    ) -> Result<usize, ClusterError> {
        self.local.broadcast_with(options, |json| write(json).map(release))
    }

    fn broadcast_with_ack(&self, packet: &Packet<'_>, options: &BroadcastOptions, sink: &AckSink) {
        self.local.broadcast_with_ack(packet, options, sink);
    }

    fn broadcast_with_ack_with(
        &self,
        options: &BroadcastOptions,
        sink: &AckSink,
        write: impl FnOnce(&mut String) -> Result<Vec<Bytes>, ClusterError>,
    ) -> Result<usize, ClusterError> {
        self.local.broadcast_with_ack_with(options, sink, |json| write(json).map(release))
    }

    fn sink_for(&self, question: Question) -> AckSink {
        let question = Arc::new(question);
        let (asked, answered) = (self.answers.clone(), self.answers.clone());
        let same = Arc::clone(&question);
        AckSink::forward(
            move |clients| asked.with(|back| back.asked(&question, clients)),
            move |_, answer| answered.with(|back| back.answered(&same, answer.as_ref().ok())),
        )
    }

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.local.join_sockets(options, rooms);
    }

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.local.leave_sockets(options, rooms);
    }

    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool) {
        self.local.disconnect_sockets(options, close);
    }

    fn fetch_sockets(&self, options: &BroadcastOptions) -> Vec<SocketDetails> {
        self.local.fetch_sockets(options)
    }

    fn server_event(&self, packet: &Packet<'_>, reply: Option<ReplyTo>) {
        let reply = reply.map(|to| {
            let back = self.answers.clone();
            ServerReply::new(move |answer| back.with(|back| back.replied(&to, &answer)))
        });
        self.local.server_event(packet, reply);
    }

    fn report(&self, message: String) {
        self.local.report(message);
    }
}

impl Sink for AckSink {
    fn expect_parties(&self, others: usize) {
        Self::expect_parties(self, others);
    }

    fn expect(&self, clients: usize) {
        Self::expect(self, clients);
    }

    fn answer(&self, answer: OwnedArgs) {
        Self::answer(self, None, Ok(answer));
    }

    fn is_open(&self) -> bool {
        Self::is_open(self)
    }

    fn close(&self) {
        Self::close(self);
    }
}

/// Lets go of the buffer that a message was read into, in which its attachments lie, where little is to be kept of it:
/// a few bytes in the queue of a slow client must not hold 64 kB.
fn release(mut attachments: Vec<Bytes>) -> Vec<Bytes> {
    for attachment in &mut attachments {
        if attachment.len() < WORTH_KEEPING {
            *attachment = Bytes::copy_from_slice(attachment);
        }
    }
    attachments
}

/// Copying so many bytes costs about as much as counting a reference for a few recipients.
const WORTH_KEEPING: usize = 4096;
