//! Requests and responses of `socket.io-redis` 5, the adapter of Socket.IO 2.
//!
//! Its broadcasts are like those of later versions, but its requests are not: the types mean something else.
//! They are told apart by `requestid`, which later versions spell in another way. A server of this version
//! answers its own requests, too: it counts from 0 up to the number of subscribers.
//!
//! | type | further fields | response, beside `requestid` |
//! | --- | --- | --- |
//! | 0 clients | `rooms` | `clients` |
//! | 1 rooms of a client | `sid` | `rooms`, from the one who has the client |
//! | 2 all rooms | | `rooms` |
//! | 3 join, 4 leave | `sid`, `room` | nothing more, from the one who has the client |
//! | 5 custom | `data` | `data` |
//! | 6 disconnect | `sid`, `close` | nothing more, from the one who has the client |

use std::borrow::Cow;

use super::request::{self, required};
use super::response;
use crate::cluster::output::{Output, whole_or_nothing};
use crate::cluster::{ClusterError, Names, Opaque};

/// Is a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request<'a> {
    /// What responses refer to.
    pub request_id: Cow<'a, str>,
    /// What is asked.
    pub body: RequestBody<'a>,
}

/// Says what is asked of all servers, the one that asks among them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "version 5 will not change any more")]
pub enum RequestBody<'a> {
    /// Type 0: the ids of the clients in these rooms, or of all.
    Clients {
        /// The rooms.
        rooms: Names<'a>,
    },
    /// Type 1: the rooms of a client.
    ClientRooms {
        /// The id of the client.
        sid: Cow<'a, str>,
    },
    /// Type 2: the names of all rooms.
    AllRooms,
    /// Type 3: to put a client into a room.
    Join {
        /// The id of the client.
        sid: Cow<'a, str>,
        /// The room.
        room: Cow<'a, str>,
    },
    /// Type 4: to take a client out of a room.
    Leave {
        /// The id of the client.
        sid: Cow<'a, str>,
        /// The room.
        room: Cow<'a, str>,
    },
    /// Type 5: whatever the application has agreed on. Without a handler the answer is null.
    Custom {
        /// The question.
        data: Opaque<'a>,
    },
    /// Type 6: to disconnect a client.
    Disconnect {
        /// The id of the client.
        sid: Cow<'a, str>,
        /// Its connection ends as well.
        close: bool,
    },
}

/// Is a response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response<'a> {
    /// What the request was called.
    pub request_id: Cow<'a, str>,
    /// The answer.
    pub body: ResponseBody<'a>,
}

/// Says what is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "version 5 will not change any more")]
pub enum ResponseBody<'a> {
    /// To types 3, 4 and 6: it is done.
    Done,
    /// To type 0: the ids of clients.
    Clients(Names<'a>),
    /// To types 1 and 2: the names of rooms.
    Rooms(Names<'a>),
    /// To type 5: what the application answered.
    Custom(Opaque<'a>),
}

impl<'a> Request<'a> {
    /// Makes a request.
    pub fn new(request_id: impl Into<Cow<'a, str>>, body: RequestBody<'a>) -> Self {
        Self { request_id: request_id.into(), body }
    }

    /// Appends the message.
    ///
    /// # Errors
    ///
    /// If a value in it is not JSON. Nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ClusterError> {
        whole_or_nothing(out, |out| self.write(&mut Output::json(out)))
    }

    fn write(&self, output: &mut Output<'_>) -> Result<(), ClusterError> {
        let kind = match self.body {
            RequestBody::Clients { .. } => 0,
            RequestBody::ClientRooms { .. } => 1,
            RequestBody::AllRooms => 2,
            RequestBody::Join { .. } => 3,
            RequestBody::Leave { .. } => 4,
            RequestBody::Custom { .. } => 5,
            RequestBody::Disconnect { .. } => 6,
        };
        // Always JSON, where nobody counts the entries beforehand.
        output.map(0);
        output.key("requestid");
        output.string(&self.request_id);
        output.key("type");
        output.integer(kind);
        match &self.body {
            RequestBody::Clients { rooms } => {
                output.key("rooms");
                output.names(rooms);
            }
            RequestBody::ClientRooms { sid } => {
                output.key("sid");
                output.string(sid);
            }
            RequestBody::AllRooms => {}
            RequestBody::Join { sid, room } | RequestBody::Leave { sid, room } => {
                output.key("sid");
                output.string(sid);
                output.key("room");
                output.string(room);
            }
            RequestBody::Custom { data } => {
                output.key("data");
                data.write(output)?;
            }
            RequestBody::Disconnect { sid, close } => {
                output.key("sid");
                output.string(sid);
                output.key("close");
                output.boolean(*close);
            }
        }
        output.end_map();
        Ok(())
    }
}

impl<'a> Response<'a> {
    /// Makes a response.
    pub fn new(request_id: impl Into<Cow<'a, str>>, body: ResponseBody<'a>) -> Self {
        Self { request_id: request_id.into(), body }
    }

    /// Appends the message.
    ///
    /// # Errors
    ///
    /// If a value in it is not JSON. Nothing is appended then.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ClusterError> {
        whole_or_nothing(out, |out| self.write(&mut Output::json(out)))
    }

    fn write(&self, output: &mut Output<'_>) -> Result<(), ClusterError> {
        output.map(0);
        output.key("requestid");
        output.string(&self.request_id);
        match &self.body {
            ResponseBody::Done => {}
            ResponseBody::Clients(clients) => {
                output.key("clients");
                output.names(clients);
            }
            ResponseBody::Rooms(rooms) => {
                output.key("rooms");
                output.names(rooms);
            }
            ResponseBody::Custom(data) => {
                output.key("data");
                data.write(output)?;
            }
        }
        output.end_map();
        Ok(())
    }
}

impl<'a> request::Fields<'a> {
    pub(super) fn into_v5(self) -> Result<Request<'a>, ClusterError> {
        let data = self.opaque_data()?;
        let body = match required(self.kind, "type")? {
            0 => RequestBody::Clients { rooms: self.rooms.unwrap_or_default() },
            1 => RequestBody::ClientRooms { sid: required(self.sid, "sid")? },
            2 => RequestBody::AllRooms,
            3 => RequestBody::Join { sid: required(self.sid, "sid")?, room: required(self.room, "room")? },
            4 => RequestBody::Leave { sid: required(self.sid, "sid")?, room: required(self.room, "room")? },
            5 => RequestBody::Custom { data },
            6 => RequestBody::Disconnect { sid: required(self.sid, "sid")?, close: self.close },
            seen => return Err(ClusterError::MessageTypeUnknown { seen }),
        };
        Ok(Request { request_id: required(self.v5_id, "requestid")?, body })
    }
}

impl<'a> response::Fields<'a> {
    pub(super) fn into_v5(self) -> Result<Response<'a>, ClusterError> {
        let body = match (self.clients, self.rooms, self.data) {
            (Some(clients), ..) => ResponseBody::Clients(clients),
            (None, Some(rooms), _) => ResponseBody::Rooms(rooms),
            (None, None, Some(data)) => ResponseBody::Custom(data),
            (None, None, None) => ResponseBody::Done,
        };
        Ok(Response { request_id: required(self.v5_id, "requestid")?, body })
    }
}
