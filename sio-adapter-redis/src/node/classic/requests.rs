//! What other nodes ask, in the versions from 6 on.

use std::time::Instant;

use bytes::Bytes;
use sio_protocol::cluster::classic::{ReceivedRequest, Request, RequestBody, ResponseBody};
use sio_protocol::cluster::{ClusterError, Names};

use super::Classic;
use crate::node::convert::{aim_at, boxed, entry_of, names_of, options_of};
use crate::node::local::{Local, ReplyTo};
use crate::node::stats::count;
use crate::node::{Bus, Node};

impl<L: Local> Classic<L> {
    pub(super) fn handle_request(
        &self,
        message: &Bytes,
        now: Instant,
        bus: &dyn Bus,
    ) -> Result<(), ClusterError> {
        match Request::decode(message, &self.core.nsp, &self.core.limits)? {
            ReceivedRequest::Current(request) => self.answer(request, now, bus),
            ReceivedRequest::V5(request) => {
                self.answer_v5(&request, bus);
                Ok(())
            }
        }
    }

    /// Does what is asked. What has to be answered is answered with an empty list, too: the one who asks counts.
    fn answer(&self, request: Request<'_>, now: Instant, bus: &dyn Bus) -> Result<(), ClusterError> {
        let local = &self.core.local;
        let is_own = self.is_own(&request);
        let to = request
            .request_id
            .as_ref()
            .map(|id| ReplyTo { uid: request.uid.as_ref().map(boxed), request_id: boxed(id) });
        match (request.body, to) {
            // Everybody does these, the node that asks among them.
            (RequestBody::Join { opts, rooms }, _) => {
                local.join_sockets(&options_of(opts), &rooms.into_strings());
            }
            (RequestBody::Leave { opts, rooms }, _) => {
                local.leave_sockets(&options_of(opts), &rooms.into_strings());
            }
            (RequestBody::Disconnect { opts, close }, _) => {
                local.disconnect_sockets(&options_of(opts), close)
            }
            _ if is_own => count(&self.core.counters.own),
            (RequestBody::ServerSideEmit { packet }, to) => local.server_event(&packet.to_packet()?, to),
            // The owner of a socket does these.
            (RequestBody::JoinOne { sid, room }, to) if self.owns(&sid) => {
                local.join_sockets(&aim_at(vec![sid.into_owned()]), &[room.into_owned()]);
                self.respond_done(to, bus);
            }
            (RequestBody::LeaveOne { sid, room }, to) if self.owns(&sid) => {
                local.leave_sockets(&aim_at(vec![sid.into_owned()]), &[room.into_owned()]);
                self.respond_done(to, bus);
            }
            (RequestBody::DisconnectOne { sid, close }, to) if self.owns(&sid) => {
                local.disconnect_sockets(&aim_at(vec![sid.into_owned()]), close);
                self.respond_done(to, bus);
            }
            (RequestBody::Sockets { rooms }, Some(to)) => {
                let sockets = local.fetch_sockets(&aim_at(rooms.into_strings()));
                let ids: Names<'_> = sockets.iter().map(|socket| socket.id.as_str()).collect();
                self.respond(&to, ResponseBody::SocketIds(ids), bus);
            }
            (RequestBody::AllRooms, Some(to)) => {
                self.respond(&to, ResponseBody::Rooms(names_of(&local.rooms())), bus);
            }
            (RequestBody::FetchSockets { opts }, Some(to)) => {
                let sockets = local.fetch_sockets(&options_of(opts));
                let entries = sockets.iter().map(entry_of).collect();
                self.respond(&to, ResponseBody::Sockets(entries), bus);
            }
            (RequestBody::Broadcast { packet, opts }, Some(to)) => {
                let asked = |question: &_, clients| self.handle_asked(question, clients, bus);
                self.core.handle_question(&packet, &options_of(opts), to, now, bus, asked);
            }
            // For the owner of another socket, or impossible to answer.
            _ => count(&self.core.counters.unconcerned),
        }
        Ok(())
    }

    /// Whether a request is one of this node. Servers before 7.1 do not say who they are, but this one does.
    fn is_own(&self, request: &Request<'_>) -> bool {
        request.uid.as_deref() == Some(&*self.core.uid)
    }

    pub(super) fn owns(&self, sid: &str) -> bool {
        self.core.local.has_room(sid)
            && self
                .core
                .local
                .fetch_sockets(&aim_at(vec![sid.to_owned()]))
                .iter()
                .any(|s| s.id.as_str() == sid)
    }

    fn respond_done(&self, to: Option<ReplyTo>, bus: &dyn Bus) {
        if let Some(to) = to {
            self.respond(&to, ResponseBody::Done, bus);
        }
    }
}
