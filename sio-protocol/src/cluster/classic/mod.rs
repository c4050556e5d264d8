//! The classic dialect: what `createAdapter` of `@socket.io/redis-adapter` and the emitters speak.
//!
//! With prefix *P* (`socket.io`) and namespace *N* (`/`, `/chat`), [`Channels`] gives these names:
//!
//! | channel | name | subscribed with |
//! | --- | --- | --- |
//! | broadcasts to any number of rooms but one | `P#N#` | the pattern `P#N#*` |
//! | broadcasts to one room *R* | `P#N#R#` | the same pattern |
//! | requests | `P-request#N#` | `SUBSCRIBE`, once: the subscribers are counted |
//! | responses to anyone | `P-response#N#` | `SUBSCRIBE` |
//! | responses to the server *U* | `P-response#N#U#` | `SUBSCRIBE`, since 7.1 |
//!
//! A [`Broadcast`] is MessagePack, an array of three:
//!
//! | item | content |
//! | --- | --- |
//! | sender | the id of the server, or `emitter` |
//! | packet | `type` 2 (from Socket.IO 2 also 5, if there are binary values), `data`, `nsp` |
//! | options | `rooms`, `except`, `flags`, in an order that depends on the sender; some send no `except` |
//!
//! A [`Request`] is a map, in JSON, but for type 7. It has `uid` (from 7.1 on), `requestId` (if it is to be
//! answered) and `type`, and then:
//!
//! | type | since | further fields | responses |
//! | --- | --- | --- | --- |
//! | 0 sockets | 6, not sent by 8 | `rooms` | `requestId`, `sockets`: ids |
//! | 1 all rooms | 6 | | `requestId`, `rooms` |
//! | 2 join, 3 leave | 6.1 | `opts`, `rooms` | |
//! | 2 join, 3 leave | 6, not sent by 8 | `sid`, `room` | `requestId`, from the one who has the socket |
//! | 4 disconnect | 6.1 | `opts`, `close` | |
//! | 4 disconnect | 6, not sent by 8 | `sid`, `close` | `requestId`, from the one who has the socket |
//! | 5 fetch sockets | 6.1 | `opts` | `requestId`, `sockets`: descriptions |
//! | 6 emit to servers | 7 | `data` | `type` 6, `requestId`, `data`, from those whose handler answers |
//! | 7 broadcast with acknowledgements (MessagePack) | 7.2 | `packet`, `opts` | `type` 8, `requestId`, `clientCount`; then for each client `type` 9, `requestId`, `packet` (MessagePack) |
//!
//! Requests 0, 1, 5 and 7 have to be answered by every server but the one that asks, also with nothing: that
//! one counts. Version 5 has other types and spells `requestid`: see [`v5`].

mod broadcast;
mod channels;
mod request;
mod response;
pub mod v5;

pub use broadcast::{Broadcast, PacketType};
pub use channels::Channels;
pub use request::{ReceivedRequest, Request, RequestBody};
pub use response::{ReceivedResponse, Response, ResponseBody};
