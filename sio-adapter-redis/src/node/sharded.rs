//! A node that speaks the sharded dialect, as `createShardedAdapter` of `@socket.io/redis-adapter` does.
//!
//! What is peculiar to it: whoever asks to join, leave or disconnect does so at once for its own sockets; responses go
//! to the channel of the node that asked and say whose they are; depending on the mode, rooms have channels that only
//! the nodes with a socket in the room subscribe to.

use std::collections::BTreeSet;
use std::time::Instant;

use bytes::Bytes;
use sio_protocol::cluster::sharded::{Body, Channels, Message, Mode};
use sio_protocol::cluster::{ClusterError, Opaque, Payload, Scope};
use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{BroadcastOptions, RoomEvent, RoomInterest, SocketDetails};

use super::convert::{boxed, details_of, entry_of, names_of, options_of, opts_of};
use super::core::{Core, Identity, Settings, at_once, caller};
use super::ids::Ids;
use super::local::{Local, Question, ReplyTo};
use super::requests::{Answer, Asker};
use super::rooms::RoomChannels;
use super::stats::count;
use super::{Answers, Bus, Node, Topic, Uncounted, arguments, first_argument};

/// What is peculiar to the dialect.
#[derive(Clone, Debug)]
pub(crate) struct ShardedOptions {
    /// What all channels begin with.
    pub(crate) prefix: String,
    /// Which rooms have channels.
    pub(crate) mode: Mode,
}

#[derive(Debug)]
pub(crate) struct Sharded<L: Local> {
    core: Core<L>,
    channels: Channels,
    mode: Mode,
    /// Where the responses go that are for this node.
    private: String,
    rooms: RoomChannels,
    own: OwnMessages,
}

impl<L: Local> Sharded<L> {
    pub(crate) fn new(local: L, identity: Identity, settings: &Settings, options: &ShardedOptions) -> Self {
        let channels = Channels::new(&options.prefix, &identity.nsp, options.mode);
        let core = Core::new(local, identity, settings, Ids::long, channels.main().to_owned());
        Self {
            private: channels.private(&core.uid),
            own: OwnMessages::new(&core.uid, &core.nsp),
            rooms: RoomChannels::default(),
            mode: options.mode,
            core,
            channels,
        }
    }

    #[cfg(test)]
    pub(super) fn core(&self) -> &Core<L> {
        &self.core
    }

    /// Takes a message: whatever can be decided without reading it is decided first, and a broadcast becomes a frame
    /// only if somebody is to get it.
    fn handle(
        &self,
        scope: Scope<'_>,
        message: &Bytes,
        now: Instant,
        bus: &dyn Bus,
    ) -> Result<(), ClusterError> {
        if self.own.contains(message) {
            count(&self.core.counters.own);
            return Ok(());
        }
        // The last socket may have left while the message was on its way.
        if matches!(scope, Scope::One(name) if *name != *self.core.uid && !self.core.local.has_room(name)) {
            count(&self.core.counters.unconcerned);
            return Ok(());
        }
        let size = message.len();
        let message = Message::decode(message, &self.core.nsp, &self.core.limits)?;
        if message.uid == *self.core.uid {
            count(&self.core.counters.own);
        } else if message.nsp == *self.core.nsp {
            self.act(message, size, now, bus)?;
        } else {
            count(&self.core.counters.unconcerned);
        }
        Ok(())
    }

    /// Does what a message of another node says.
    fn act(
        &self,
        message: Message<'_>,
        size: usize,
        now: Instant,
        bus: &dyn Bus,
    ) -> Result<(), ClusterError> {
        let (core, local, uid) = (&self.core, &self.core.local, &message.uid);
        let to = |request_id: &_| ReplyTo { uid: Some(boxed(uid)), request_id: boxed(request_id) };
        match message.body {
            Body::Broadcast { packet, opts, request_id: None } => {
                local.broadcast_with(&options_of(opts), |json| packet.write_data(json))?;
            }
            Body::Broadcast { packet, opts, request_id: Some(id) } => {
                let asked = |question: &_, clients| self.handle_asked(question, clients, bus);
                core.handle_question(&packet, &options_of(opts), to(&id), now, bus, asked);
            }
            Body::Join { opts, rooms } => local.join_sockets(&options_of(opts), &rooms.into_strings()),
            Body::Leave { opts, rooms } => local.leave_sockets(&options_of(opts), &rooms.into_strings()),
            Body::Disconnect { opts, close } => local.disconnect_sockets(&options_of(opts), close),
            Body::FetchSockets { opts, request_id } => {
                let sockets = local.fetch_sockets(&options_of(opts));
                let sockets = sockets.iter().map(entry_of).collect();
                self.respond(&to(&request_id), |id| Body::Sockets { request_id: id.into(), sockets }, bus);
            }
            Body::ServerSideEmit { packet, request_id } => {
                local.server_event(&packet.to_packet()?, request_id.as_ref().map(to));
            }
            Body::Sockets { request_id, sockets } => {
                let sockets = sockets.into_iter().map(details_of).collect();
                core.handle_answer(&request_id, Some(uid), size, Answer::Sockets(sockets));
            }
            Body::ServerSideEmitAck { request_id, packet } => {
                core.handle_answer(&request_id, Some(uid), size, Answer::Event(arguments(packet)));
            }
            Body::ClientCount { request_id, count } => {
                core.handle_client_count(&request_id, Some(uid), count);
            }
            Body::Ack { request_id, packet } => {
                core.handle_client_answer(&request_id, size, arguments(packet));
            }
            // Other dialects tell by these who is there; here subscribers are counted.
            _ => count(&core.counters.unconcerned),
        }
        Ok(())
    }

    /// Publishes a message to all nodes, or to those with a socket in its room.
    fn send(&self, body: Body<'_>, bus: &dyn Bus) {
        let message = self.message(body);
        let channel = self.channels.target(&message.body);
        self.core.publish(&channel, bus, |out| message.encode(out));
    }

    /// Publishes a response to the node that asked.
    fn respond<'a>(&self, to: &'a ReplyTo, body: impl FnOnce(&'a str) -> Body<'a>, bus: &dyn Bus) {
        let message = self.message(body(&to.request_id));
        let channel = self.channels.private(to.uid.as_deref().unwrap_or_default());
        self.core.publish(&channel, bus, |out| message.encode(out));
    }

    fn message<'a>(&'a self, body: Body<'a>) -> Message<'a> {
        Message::new(&*self.core.uid, &*self.core.nsp, body)
    }

    fn fetch(&self, options: &BroadcastOptions, asker: Asker<L::Sink>, now: Instant, bus: &dyn Bus) {
        self.core.ask(asker, options.flags.timeout, now, bus, |id, out| {
            let body = Body::FetchSockets { opts: opts_of(options), request_id: id.into() };
            self.message(body).encode(out)
        });
    }
}

impl<L: Local> Node for Sharded<L> {
    type Local = L;

    fn local(&self) -> &L {
        &self.core.local
    }

    fn start(&self, bus: &dyn Bus) {
        // In any order: the link may ask for both at once. Who counts this node asks on the counted channel; the private
        // one is for what this node itself asks.
        bus.subscribe(Topic::Shard(self.private.as_str().into()));
        bus.subscribe(Topic::Shard(self.core.channel().into()));
    }

    fn stop(&self, bus: &dyn Bus) {
        bus.unsubscribe(Topic::Shard(self.core.channel().into()));
        for room in self.rooms.close() {
            bus.unsubscribe(Topic::Shard(self.channels.room(&room).into()));
        }
        bus.unsubscribe(Topic::Shard(self.private.as_str().into()));
        self.core.close();
    }

    fn counted_channel(&self) -> &str {
        self.core.channel()
    }

    fn handle_message(&self, channel: &str, message: &Bytes, now: Instant, bus: &dyn Bus) {
        let Some(scope) = self.channels.scope_of(channel) else {
            return count(&self.core.counters.unconcerned);
        };
        if let Err(error) = self.handle(scope, message, now, bus) {
            self.core.malformed(&error);
        }
    }

    fn handle_count(&self, count: Result<usize, Uncounted>, bus: &dyn Bus) {
        self.core.handle_count(&count, bus);
    }

    fn handle_asked(&self, question: &Question, clients: usize, bus: &dyn Bus) {
        self.core.note_asked(question, clients);
        let count = u64::try_from(clients).unwrap_or(u64::MAX);
        self.respond(&question.to, |id| Body::ClientCount { request_id: id.into(), count }, bus);
    }

    fn handle_answer(&self, question: &Question, answer: Option<&OwnedArgs>, bus: &dyn Bus) {
        self.core.note_answered(question);
        if let Some(answer) = answer {
            let packet = first_argument(answer).map(Opaque::into_owned);
            self.respond(&question.to, |id| Body::Ack { request_id: id.into(), packet }, bus);
        }
    }

    fn handle_reply(&self, to: &ReplyTo, answer: &OwnedArgs, bus: &dyn Bus) {
        let packet = first_argument(answer).map(Opaque::into_owned);
        self.respond(to, |id| Body::ServerSideEmitAck { request_id: id.into(), packet }, bus);
    }

    fn handle_timeout(&self, now: Instant) {
        self.core.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    fn room_interest(&self) -> RoomInterest {
        match self.mode {
            Mode::Static => RoomInterest::None,
            // In `/` the ids of all clients have 20 characters, which need no channels. Elsewhere those of clients of
            // Socket.IO 2 are longer.
            Mode::Dynamic if *self.core.nsp == *"/" => RoomInterest::Rooms,
            _ => RoomInterest::All,
        }
    }

    fn handle_room_event(&self, event: &RoomEvent, bus: &dyn Bus) {
        let (room, of_one_socket) = match event {
            RoomEvent::Created { room } | RoomEvent::Deleted { room } => (room.as_str(), false),
            RoomEvent::SocketAdded { socket } | RoomEvent::SocketRemoved { socket } => {
                (socket.as_str(), true)
            }
            _ => return,
        };
        let subscribes = self.channels.subscribes_to(room, of_one_socket);
        self.rooms.reconcile(
            room,
            || subscribes && self.core.local.has_room(room),
            |room, wanted| {
                let topic = Topic::Shard(self.channels.room(room).into());
                if wanted { bus.subscribe(topic) } else { bus.unsubscribe(topic) }
            },
        );
    }

    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions, bus: &dyn Bus) {
        if !options.flags.local {
            let packet = Payload::from(packet);
            self.send(Body::Broadcast { packet, opts: opts_of(options), request_id: None }, bus);
        }
        self.core.local.broadcast(packet, options);
    }

    fn broadcast_with_ack(
        &self,
        packet: &Packet<'_>,
        options: &BroadcastOptions,
        sink: L::Sink,
        now: Instant,
        bus: &dyn Bus,
    ) {
        if !options.flags.local {
            self.core.ask_clients(&sink, options, now, bus, |id, out| {
                let (packet, request_id) = (Payload::from(packet), Some(id.into()));
                self.message(Body::Broadcast { packet, opts: opts_of(options), request_id }).encode(out)
            });
        }
        self.core.local.broadcast_with_ack(packet, options, &sink);
    }

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String], bus: &dyn Bus) {
        if !options.flags.local {
            self.send(Body::Join { opts: opts_of(options), rooms: names_of(rooms) }, bus);
        }
        self.core.local.join_sockets(options, rooms);
    }

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String], bus: &dyn Bus) {
        if !options.flags.local {
            self.send(Body::Leave { opts: opts_of(options), rooms: names_of(rooms) }, bus);
        }
        self.core.local.leave_sockets(options, rooms);
    }

    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool, bus: &dyn Bus) {
        if !options.flags.local {
            self.send(Body::Disconnect { opts: opts_of(options), close }, bus);
        }
        self.core.local.disconnect_sockets(options, close);
    }

    fn fetch_sockets(
        &self,
        options: &BroadcastOptions,
        now: Instant,
        bus: &dyn Bus,
    ) -> Answers<SocketDetails> {
        let arrived = self.core.local.fetch_sockets(options);
        if options.flags.local {
            return at_once(Ok(arrived));
        }
        let (caller, answers) = caller();
        let ids = arrived.iter().map(|socket| socket.id.clone()).collect();
        self.fetch(options, Asker::Sockets { caller, arrived, ids }, now, bus);
        answers
    }

    /// The dialect has no question for rooms, so all sockets are fetched for their rooms.
    fn all_rooms(&self, now: Instant, bus: &dyn Bus) -> Answers<String> {
        let (caller, answers) = caller();
        let arrived: BTreeSet<_> = self.core.local.rooms().into_iter().collect();
        self.fetch(&BroadcastOptions::default(), Asker::Rooms { caller, arrived }, now, bus);
        answers
    }

    fn server_side_emit(&self, packet: &Packet<'_>, bus: &dyn Bus) {
        self.send(Body::ServerSideEmit { packet: Payload::from(packet), request_id: None }, bus);
    }

    fn server_side_emit_with_ack(
        &self,
        packet: &Packet<'_>,
        now: Instant,
        bus: &dyn Bus,
    ) -> Answers<OwnedArgs> {
        let (caller, answers) = caller();
        let asker = Asker::Events { caller, arrived: Vec::new() };
        self.core.ask(asker, None, now, bus, |id, out| {
            let (packet, request_id) = (Payload::from(packet), Some(id.into()));
            self.message(Body::ServerSideEmit { packet, request_id }).encode(out)
        });
        answers
    }
}

/// Recognises the messages that this node has sent itself by how they end. The name of the sender comes last, after
/// everything that takes long to read.
#[derive(Debug)]
struct OwnMessages {
    json: Vec<u8>,
    msgpack: Vec<u8>,
}

impl OwnMessages {
    fn new(uid: &str, nsp: &str) -> Self {
        // Both endings are taken from messages as they are written.
        let end_of = |body: Body<'_>| {
            let mut message = Vec::new();
            let written = Message::new(uid, nsp, body).encode(&mut message);
            // Before the name come keys and numbers only, behind it the namespace, in which anything may stand.
            let name = message.windows(uid.len().max(1)).position(|window| window == uid.as_bytes());
            match (written, name) {
                (Ok(()), Some(at)) => message.split_off(at),
                // Not to recognise them only takes longer.
                _ => Vec::new(),
            }
        };
        let binary = Opaque::new(r#"{"_placeholder":true,"num":0}"#, vec![Bytes::new()]);
        Self {
            json: end_of(Body::Heartbeat),
            msgpack: end_of(Body::Ack { request_id: "".into(), packet: Some(binary) }),
        }
    }

    fn contains(&self, message: &[u8]) -> bool {
        let ends_with = |end: &[u8]| !end.is_empty() && message.ends_with(end);
        ends_with(&self.json) || ends_with(&self.msgpack)
    }
}
