//! How bytes travel: long-polling requests, WebSockets, and the change from one to the other.

pub(crate) mod polling;
pub(crate) mod stream;
pub(crate) mod upgrade;
