//! The sharded dialect: what `createShardedAdapter` of `@socket.io/redis-adapter` speaks.
//!
//! With prefix *C* (`socket.io`) and namespace *N*, [`Channels`] gives these names, all for `SSUBSCRIBE` and
//! `SPUBLISH`:
//!
//! | channel | name |
//! | --- | --- |
//! | everything that goes to all servers | `C#N#` |
//! | responses to the server *U* | `C#N#U#` |
//! | broadcasts to one room *R*, depending on the [`Mode`] | `C#N#R#` |
//!
//! A [`Message`] is a map of `type`, `data`, `uid` and `nsp`; 8.2 sends no `nsp`. It is JSON, or MessagePack
//! if its type is one of 3, 8, 9, 10 and 12 and it has a binary value. What servers do for each other:
//!
//! | type | data | goes to |
//! | --- | --- | --- |
//! | 3 broadcast | `packet`: `type`, `data`; `requestId` if acknowledgements are wanted; `opts` | all, or the room |
//! | 4 join, 5 leave | `opts`, `rooms` | all |
//! | 6 disconnect | `opts`, `close` | all |
//! | 7 fetch sockets | `opts`, `requestId` | all |
//! | 8 answer to 7 | `requestId`, `sockets` | the one who asked |
//! | 9 emit to servers | `requestId` if an answer is wanted; `packet`: name and arguments | all |
//! | 10 answer to 9 | `requestId`, `packet`: its first argument | the one who asked |
//! | 11 number of clients, to 3 | `requestId`, `clientCount` | the one who asked |
//! | 12 acknowledgement, to 3 | `requestId`, `packet`: its first argument | the one who asked |
//!
//! Types 1, 2 and 13 tell that a server came, is there or went. This dialect does not use them; they and all
//! others also occur in the dialect of `@socket.io/redis-streams-adapter`, whose messages differ only in how
//! they are carried.
//!
//! Whoever sends 3 to 6 does them locally by itself. Messages of one's own and those for another namespace
//! are to be ignored. 7, and 3 with a `requestId`, have to be answered by every other server, also with
//! nothing.

mod channels;
mod message;

pub use channels::{Channels, Mode};
pub use message::{Body, Message};
