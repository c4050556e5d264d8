//! A node that speaks the classic dialect, as `createAdapter` of `@socket.io/redis-adapter` does.
//!
//! What is peculiar to it: requests to join, leave and disconnect are applied when they come back from Redis, by the
//! node that asked like by all others; responses do not say who answers; broadcasts to one room have a channel of
//! their own, which all nodes receive through one pattern.

mod requests;
mod v5;

use std::time::Instant;

use bytes::Bytes;
use sio_protocol::cluster::classic::{
    Broadcast, Channels, PacketType, ReceivedResponse, Request, RequestBody, Response, ResponseBody,
};
use sio_protocol::cluster::{ClusterError, Payload, Scope};
use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{BroadcastOptions, SocketDetails};

use super::convert::{details_of, names_of, options_of, opts_of};
use super::core::{Core, Identity, Settings, at_once, caller};
use super::ids::Ids;
use super::local::{Local, Question, ReplyTo};
use super::requests::{Answer, Asker};
use super::stats::count;
use super::{Answers, Bus, Node, Topic, Uncounted, arguments, first_argument};

/// What is peculiar to the dialect.
#[derive(Clone, Debug)]
pub(crate) struct ClassicOptions {
    /// What all channels begin with.
    pub(crate) prefix: String,
    /// Responses go to the one who asked, not to all.
    pub(crate) publish_on_specific_response_channel: bool,
    /// The type of packets with binary values.
    pub(crate) packet_type: PacketType,
}

#[derive(Debug)]
pub(crate) struct Classic<L: Local> {
    core: Core<L>,
    channels: Channels,
    /// Where the responses go that are for this node alone.
    private: String,
    specific_responses: bool,
    packet_type: PacketType,
}

impl<L: Local> Classic<L> {
    pub(crate) fn new(local: L, identity: Identity, settings: &Settings, options: &ClassicOptions) -> Self {
        let channels = Channels::new(&options.prefix, &identity.nsp);
        let core = Core::new(local, identity, settings, Ids::short, channels.request().to_owned());
        Self {
            private: channels.private_response(&core.uid),
            specific_responses: options.publish_on_specific_response_channel,
            packet_type: options.packet_type,
            core,
            channels,
        }
    }

    #[cfg(test)]
    pub(super) fn core(&self) -> &Core<L> {
        &self.core
    }

    /// The topics, in the order in which they are to be subscribed to: who counts this node may expect that it gets what is
    /// for all. The link, which may ask for all at once, keeps patterns before channels but no order of channels; nothing
    /// depends on that one, since what those who count have to ask comes on the counted channel itself.
    fn topics(&self) -> [Topic; 4] {
        [
            Topic::Pattern(self.channels.broadcast_pattern().into()),
            Topic::Channel(self.channels.response().into()),
            Topic::Channel(self.private.as_str().into()),
            Topic::Channel(self.channels.request().into()),
        ]
    }

    /// Takes a broadcast: whatever can be decided without reading it is decided first, and it becomes a frame only if
    /// somebody is to get it.
    fn handle_broadcast(&self, scope: Scope<'_>, message: &Bytes) -> Result<(), ClusterError> {
        if Broadcast::sender(message)? == *self.core.uid {
            count(&self.core.counters.own);
            return Ok(());
        }
        if matches!(scope, Scope::One(room) if !self.core.local.has_room(room)) {
            count(&self.core.counters.unconcerned);
            return Ok(());
        }
        let broadcast = Broadcast::decode(message, &self.core.limits)?;
        if *broadcast.packet.nsp() != *self.core.nsp {
            count(&self.core.counters.unconcerned);
            return Ok(());
        }
        let options = options_of(broadcast.opts);
        self.core.local.broadcast_with(&options, |json| broadcast.packet.write_data(json)).map(drop)
    }

    fn handle_response(&self, message: &Bytes) -> Result<(), ClusterError> {
        // All nodes hear what one has asked for, and it may be long.
        if let Some(id) = Response::request_id(message, &self.core.limits)?
            && !self.core.is_asking(&id)
        {
            count(&self.core.counters.unconcerned);
            return Ok(());
        }
        let response = match Response::decode(message, &self.core.limits)? {
            ReceivedResponse::Current(response) => response,
            // Nothing of that kind is asked here: it is for a server of Socket.IO 2.
            ReceivedResponse::V5(_) => {
                count(&self.core.counters.unconcerned);
                return Ok(());
            }
        };
        let (id, size) = (&*response.request_id, message.len());
        let answer = match response.body {
            ResponseBody::ClientCount(clients) => {
                self.core.handle_client_count(id, None, clients);
                return Ok(());
            }
            ResponseBody::Ack(packet) => {
                self.core.handle_client_answer(id, size, arguments(packet));
                return Ok(());
            }
            ResponseBody::ServerSideEmit(data) => Answer::Event(arguments(data)),
            ResponseBody::Rooms(rooms) => Answer::Rooms(rooms.into_strings()),
            ResponseBody::Sockets(sockets) => Answer::Sockets(sockets.into_iter().map(details_of).collect()),
            _ => Answer::Nothing,
        };
        self.core.handle_answer(id, None, size, answer);
        Ok(())
    }

    /// Publishes a request that nobody answers.
    fn request(&self, body: RequestBody<'_>, bus: &dyn Bus) {
        let request = Request::new(&*self.core.uid, None, body);
        self.core.publish(self.channels.request(), bus, |out| request.encode(out));
    }

    /// Publishes the response to a request, on the channel where it is awaited.
    fn respond(&self, to: &ReplyTo, body: ResponseBody<'_>, bus: &dyn Bus) {
        // Servers before 7.1 do not say who they are, and have no channel of their own.
        let channel = match &to.uid {
            Some(uid) if self.specific_responses => &self.channels.private_response(uid),
            _ => self.channels.response(),
        };
        let response = Response::new(&*to.request_id, body);
        self.core.publish(channel, bus, |out| response.encode(out));
    }
}

impl<L: Local> Node for Classic<L> {
    type Local = L;

    fn local(&self) -> &L {
        &self.core.local
    }

    fn start(&self, bus: &dyn Bus) {
        self.topics().into_iter().for_each(|topic| bus.subscribe(topic));
    }

    fn stop(&self, bus: &dyn Bus) {
        // The other way round: who is no longer counted need not answer.
        self.topics().into_iter().rev().for_each(|topic| bus.unsubscribe(topic));
        self.core.close();
    }

    fn counted_channel(&self) -> &str {
        self.core.channel()
    }

    fn handle_message(&self, channel: &str, message: &Bytes, now: Instant, bus: &dyn Bus) {
        let handled = if let Some(scope) = self.channels.scope_of(channel) {
            self.handle_broadcast(scope, message)
        } else if channel == self.channels.request() {
            self.handle_request(message, now, bus)
        } else if channel == self.channels.response() || channel == self.private {
            self.handle_response(message)
        } else {
            count(&self.core.counters.unconcerned);
            Ok(())
        };
        if let Err(error) = handled {
            self.core.malformed(&error);
        }
    }

    fn handle_count(&self, count: Result<usize, Uncounted>, bus: &dyn Bus) {
        self.core.handle_count(&count, bus);
    }

    fn handle_asked(&self, question: &Question, clients: usize, bus: &dyn Bus) {
        self.core.note_asked(question, clients);
        let clients = u64::try_from(clients).unwrap_or(u64::MAX);
        self.respond(&question.to, ResponseBody::ClientCount(clients), bus);
    }

    fn handle_answer(&self, question: &Question, answer: Option<&OwnedArgs>, bus: &dyn Bus) {
        self.core.note_answered(question);
        if let Some(answer) = answer {
            self.respond(&question.to, ResponseBody::Ack(first_argument(answer)), bus);
        }
    }

    fn handle_reply(&self, to: &ReplyTo, answer: &OwnedArgs, bus: &dyn Bus) {
        // To all, also where other responses go to the one who asked: Node does so.
        let response = Response::new(&*to.request_id, ResponseBody::ServerSideEmit(first_argument(answer)));
        self.core.publish(self.channels.response(), bus, |out| response.encode(out));
    }

    fn handle_timeout(&self, now: Instant) {
        self.core.handle_timeout(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions, bus: &dyn Bus) {
        if !options.flags.local {
            let broadcast = Broadcast::new(&*self.core.uid, Payload::from(packet), opts_of(options));
            let channel = self.channels.target(&broadcast.opts);
            self.core.publish(&channel, bus, |out| broadcast.encode_as(self.packet_type, out));
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
                let body = RequestBody::Broadcast { packet: Payload::from(packet), opts: opts_of(options) };
                Request::new(&*self.core.uid, Some(id), body).encode(out)
            });
        }
        self.core.local.broadcast_with_ack(packet, options, &sink);
    }

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String], bus: &dyn Bus) {
        if options.flags.local {
            return self.core.local.join_sockets(options, rooms);
        }
        self.request(RequestBody::Join { opts: opts_of(options), rooms: names_of(rooms) }, bus);
    }

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String], bus: &dyn Bus) {
        if options.flags.local {
            return self.core.local.leave_sockets(options, rooms);
        }
        self.request(RequestBody::Leave { opts: opts_of(options), rooms: names_of(rooms) }, bus);
    }

    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool, bus: &dyn Bus) {
        if options.flags.local {
            return self.core.local.disconnect_sockets(options, close);
        }
        self.request(RequestBody::Disconnect { opts: opts_of(options), close }, bus);
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
        let asker = Asker::Sockets { caller, arrived, ids };
        self.core.ask(asker, options.flags.timeout, now, bus, |id, out| {
            let body = RequestBody::FetchSockets { opts: opts_of(options) };
            Request::new(&*self.core.uid, Some(id), body).encode(out)
        });
        answers
    }

    fn all_rooms(&self, now: Instant, bus: &dyn Bus) -> Answers<String> {
        let (caller, answers) = caller();
        let asker = Asker::Rooms { caller, arrived: self.core.local.rooms().into_iter().collect() };
        self.core.ask(asker, None, now, bus, |id, out| {
            Request::new(&*self.core.uid, Some(id), RequestBody::AllRooms).encode(out)
        });
        answers
    }

    fn server_side_emit(&self, packet: &Packet<'_>, bus: &dyn Bus) {
        self.request(RequestBody::ServerSideEmit { packet: Payload::from(packet) }, bus);
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
            let body = RequestBody::ServerSideEmit { packet: Payload::from(packet) };
            Request::new(&*self.core.uid, Some(id), body).encode(out)
        });
        answers
    }
}
