//! Between what the server calls things and what the wire calls them.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value as Json;
use sio_protocol::cluster::{Flags, Names, Opaque, Opts, SocketEntry};
use sio_protocol::socketio::Value;
use sio_server::{BroadcastFlags, BroadcastOptions, SocketDetails};

/// The options of a message to be sent, borrowed.
pub(super) fn opts_of(options: &BroadcastOptions) -> Opts<'_> {
    let mut flags = Flags::default();
    flags.volatile = options.flags.volatile;
    flags.compress = options.flags.compress;
    flags.expect_single_response = options.flags.expect_single_response;
    flags.timeout =
        options.flags.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    Opts::new(&options.rooms, &options.except, flags)
}

/// The options of a received message. `local` does not travel.
pub(super) fn options_of(opts: Opts<'_>) -> BroadcastOptions {
    let mut flags = BroadcastFlags::default();
    flags.volatile = opts.flags.volatile;
    flags.compress = opts.flags.compress;
    flags.expect_single_response = opts.flags.expect_single_response;
    flags.timeout = opts.flags.timeout.map(Duration::from_millis);
    let mut options = BroadcastOptions::default();
    options.rooms = opts.rooms.into_strings();
    options.except = opts.except.into_strings();
    options.flags = flags;
    options
}

/// Aims at one socket, or at everybody in these rooms.
pub(super) fn aim_at(rooms: Vec<String>) -> BroadcastOptions {
    let mut options = BroadcastOptions::default();
    options.rooms = rooms;
    options
}

/// A socket of this node for another one.
pub(super) fn entry_of(details: &SocketDetails) -> SocketEntry<'_> {
    let data = Some(Opaque::new(details.data.to_string(), Vec::new()));
    let handshake = Opaque::new(details.handshake.to_string(), Vec::new());
    SocketEntry::new(details.id.as_str(), handshake, &details.rooms, data)
}

/// A socket of another node.
pub(super) fn details_of(entry: SocketEntry<'_>) -> SocketDetails {
    let data = entry.data.as_ref().map_or_else(|| Json::Object(serde_json::Map::new()), json_of);
    SocketDetails::new(&*entry.id, json_of(&entry.handshake), entry.rooms.into_strings(), data)
}

/// A value of another node as plain JSON. Binary values, which Node's sharded adapter sends as such, become arrays of
/// numbers: from these, too, `Bytes` and `serde_bytes` deserialise.
fn json_of(value: &Opaque<'_>) -> Json {
    if value.attachments.is_empty() {
        return serde_json::from_str(&value.json).unwrap_or_default();
    }
    value.deserialize::<Value>().ok().and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default()
}

/// Names to be sent, from where they lie.
pub(super) fn names_of(names: &[String]) -> Names<'_> {
    Names::from(names)
}

/// The identifiers that a received message has, to be kept.
#[expect(clippy::ptr_arg, reason = "messages hold what it is called with, by reference")]
pub(super) fn boxed(text: &Cow<'_, str>) -> Box<str> {
    (**text).into()
}
