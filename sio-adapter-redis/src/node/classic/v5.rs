//! What `socket.io-redis` 5, the adapter of Socket.IO 2, asks. It counts this node among those that have to answer.

use sio_protocol::cluster::classic::v5::{Request, RequestBody, Response, ResponseBody};
use sio_protocol::cluster::{Names, Opaque};

use super::Classic;
use crate::node::Bus;
use crate::node::convert::{aim_at, names_of};
use crate::node::local::Local;
use crate::node::stats::count;

impl<L: Local> Classic<L> {
    pub(super) fn answer_v5(&self, request: &Request<'_>, bus: &dyn Bus) {
        let local = &self.core.local;
        let id = &*request.request_id;
        match &request.body {
            RequestBody::Clients { rooms } => {
                let sockets = local.fetch_sockets(&aim_at(rooms.clone().into_strings()));
                let ids: Names<'_> = sockets.iter().map(|socket| socket.id.as_str()).collect();
                self.respond_v5(id, ResponseBody::Clients(ids), bus);
            }
            RequestBody::ClientRooms { sid } => {
                let sockets = local.fetch_sockets(&aim_at(vec![sid.to_string()]));
                match sockets.iter().find(|socket| socket.id.as_str() == sid) {
                    Some(socket) => self.respond_v5(id, ResponseBody::Rooms(names_of(&socket.rooms)), bus),
                    None => count(&self.core.counters.unconcerned),
                }
            }
            RequestBody::AllRooms => self.respond_v5(id, ResponseBody::Rooms(names_of(&local.rooms())), bus),
            // As without a `customHook`, which is the application's in Node.
            RequestBody::Custom { .. } => {
                self.respond_v5(id, ResponseBody::Custom(Opaque::new("null", Vec::new())), bus);
            }
            RequestBody::Join { sid, room } if self.owns(sid) => {
                local.join_sockets(&aim_at(vec![sid.to_string()]), &[room.to_string()]);
                self.respond_v5(id, ResponseBody::Done, bus);
            }
            RequestBody::Leave { sid, room } if self.owns(sid) => {
                local.leave_sockets(&aim_at(vec![sid.to_string()]), &[room.to_string()]);
                self.respond_v5(id, ResponseBody::Done, bus);
            }
            RequestBody::Disconnect { sid, close } if self.owns(sid) => {
                local.disconnect_sockets(&aim_at(vec![sid.to_string()]), *close);
                self.respond_v5(id, ResponseBody::Done, bus);
            }
            // For the owner of another socket.
            RequestBody::Join { .. } | RequestBody::Leave { .. } | RequestBody::Disconnect { .. } => {
                count(&self.core.counters.unconcerned);
            }
        }
    }

    /// Publishes a response where servers of this version listen, which have no channels of their own.
    fn respond_v5(&self, id: &str, body: ResponseBody<'_>, bus: &dyn Bus) {
        let response = Response::new(id, body);
        self.core.publish(self.channels.response(), bus, |out| response.encode(out));
    }
}
