//! What the integration tests speak with: a scripted peer that writes and reads the exact bytes of the protocols.
//!
//! Nothing here uses a codec of the server: bytes are made and taken apart by hand, so that a mistake cannot cancel
//! itself out. Whatever waits gives up after [`LIMIT`] and says what it waited for. Nothing sleeps.

mod bus;
mod client;
mod http;
mod polling;
pub mod redis;
mod server;
mod websocket;

pub use bus::{Bus, Node};
pub use client::{Client, Packet, Wire};
pub use http::{Http, Response, Stream};
pub use polling::{Message, Polling, pack, unpack};
pub use server::{Log, disconnects, log, serve};
pub use websocket::{Frame, Ws, frame, opcode};

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

/// How long anything may take. Long enough for a machine that is busy with other things.
pub const LIMIT: Duration = Duration::from_secs(15);

/// Waits for `future`, at most [`LIMIT`].
///
/// # Panics
/// When it takes longer; the message names `what` and the caller.
#[track_caller]
pub fn within<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        match tokio::time::timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => panic!("{caller}: waited {LIMIT:?} for {what}"),
        }
    }
}
