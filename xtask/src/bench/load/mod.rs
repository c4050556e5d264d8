//! The workloads: each opens its connections, checks one message in full and measures a window.
//!
//! Results are plain figures of one run; what is repeated, compared and printed is decided elsewhere.

use std::{error::Error, time::Duration};

use super::{
    meter::{Timing, Usage},
    script::Expected,
    wire::{self, BINARY, TEXT},
};

mod connects;
mod emitter;
mod exchange;
mod membership;
mod memory;
mod paced;
mod rooms;

pub(crate) use connects::{Opening, connects};
pub(crate) use emitter::emitter;
pub(crate) use exchange::{Exchange, Kind, exchange};
pub(crate) use membership::{Membership, membership};
pub(crate) use memory::{idle_polls, idle_websockets};
pub(crate) use paced::{Paced, paced};
pub(crate) use rooms::{Broadcast, Senders, across_nodes, broadcast, fan_in};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Connections that are being opened at the same time. Fewer than the shortest listen queue of the peers.
const OPENING: usize = 128;

/// A rate, with latencies where they mean something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    pub(crate) usage: Usage,
    pub(crate) p50: Option<Duration>,
    pub(crate) p99: Option<Duration>,
}

/// How to warm up, how to measure and how to wait, the same for every workload of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) timing: Timing,
    pub(crate) waiting: super::clients::Waiting,
}

/// The bytes of a request, the messages that answer it, and the kind of message to count.
type Conversation = (Vec<u8>, Vec<Expected>, u8);

fn text(message: &str) -> Vec<u8> {
    wire::client_frame(TEXT, message.as_bytes())
}

fn conversation(kind: Kind, size: usize) -> Conversation {
    let payload = "x".repeat(size);
    match kind {
        Kind::EchoText => {
            let message = format!(r#"42["echo","{payload}"]"#);
            (text(&message), vec![Expected::Text(message)], TEXT)
        }
        Kind::EchoBinary => {
            let bytes = payload.into_bytes();
            let mut request = text(r#"451-["echo",{"_placeholder":true,"num":0}]"#);
            request.extend(wire::client_frame(BINARY, &bytes));
            (request, vec![Expected::TextPrefix(r#"451-["echo","#), Expected::Binary(bytes)], BINARY)
        }
        Kind::Ack => {
            let request = text(&format!(r#"421["ack","{payload}"]"#));
            (request, vec![Expected::Text(format!(r#"431["{payload}"]"#))], TEXT)
        }
    }
}
