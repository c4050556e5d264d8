//! The first inputs of every target, made of the golden vectors in `testdata`.
//!
//! What a vector means does not matter here, only which bytes were seen on a wire: a fuzzer that starts from
//! real packets reaches rules that it would not find from nothing. Vectors are therefore walked through as trees,
//! and a new one needs no change here.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use sio_protocol::engineio::session::Transport;
use sio_protocol::engineio::{PacketKind, Revision};

use crate::messages::{Message, join};
use crate::session::{self, Event};

/// Distinct inputs of one target.
pub type Seeds = BTreeSet<Vec<u8>>;

/// Makes the inputs of each target: its name, and what it starts from.
///
/// # Errors
///
/// If a file of vectors cannot be read.
pub fn all() -> std::io::Result<Vec<(&'static str, Seeds)>> {
    let engineio = [vectors("engineio-v3")?, vectors("engineio-v4")?].concat();
    let socketio = [vectors("socketio-v4")?, vectors("socketio-v5")?].concat();
    let (parser, dialects) = (vectors("parser-json")?, vectors("msgpack-dialects")?);
    let clients = vectors("clients-v2")?;
    let redis = [vectors("redis-pubsub")?, vectors("redis-sharded")?, vectors("redis-extra")?].concat();
    let emitter = vectors("emitter")?;
    Ok(vec![
        ("payload", payload(&[engineio.clone(), clients.clone(), socketio.clone()].concat())),
        ("packet", packet(&[engineio.clone(), clients.clone(), socketio.clone()].concat())),
        ("decoder", decoder(&[parser.clone(), socketio.clone(), clients.clone(), dialects.clone()].concat())),
        ("session", sessions(&[engineio, clients, socketio.clone()].concat())),
        ("msgpack", msgpack(&[dialects, parser, socketio].concat())),
        ("cluster", cluster(&[redis, emitter].concat())),
    ])
}

fn vectors(file: &str) -> std::io::Result<Vec<Value>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(file).with_extension("json");
    let explain = |cause: String| std::io::Error::other(format!("{}: {cause}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|cause| explain(cause.to_string()))?;
    serde_json::from_str(&text).map_err(|cause| explain(cause.to_string()))
}

fn payload(vectors: &[Value]) -> Seeds {
    let mut seeds = Seeds::new();
    for message in vectors.iter().flat_map(found) {
        match message {
            Message::Binary(bytes) => keep(&mut seeds, &bytes),
            Message::Text(text) => {
                keep(&mut seeds, text.as_bytes());
                // Some requests are recorded with their head, and some in words.
                for mark in ["\r\n\r\n", "POST ", "post/"] {
                    if let Some((_, body)) = text.split_once(mark) {
                        keep(&mut seeds, body.replace("<1e>", "\u{1e}").as_bytes());
                    }
                }
            }
        }
    }
    seeds
}

fn packet(vectors: &[Value]) -> Seeds {
    let mut seeds = Seeds::new();
    for message in vectors.iter().flat_map(found) {
        match message {
            Message::Binary(bytes) => keep(&mut seeds, &bytes),
            Message::Text(text) if text.starts_with(|first: char| "0123456b".contains(first)) => {
                keep(&mut seeds, text.as_bytes());
            }
            Message::Text(_) => {}
        }
    }
    seeds
}

/// The messages of a vector in their order, as they are and with packets of Engine.IO opened, and each of them
/// alone.
fn decoder(vectors: &[Value]) -> Seeds {
    let mut seeds = Seeds::new();
    for vector in vectors {
        let messages = found(vector);
        let opened: Vec<_> = messages.iter().map(open).collect();
        for messages in [messages, opened] {
            keep(&mut seeds, &join(&messages));
            for message in messages {
                keep(&mut seeds, &join(std::slice::from_ref(&message)));
                if matches!(&message, Message::Text(text) if text.starts_with(['5', '6'])) {
                    let attachment = Message::Binary(vec![1, 2, 3].into());
                    keep(&mut seeds, &join(&[message, attachment.clone(), attachment]));
                }
            }
        }
    }
    seeds
}

/// Takes the type of Engine.IO from a message.
fn open(message: &Message) -> Message {
    match message {
        Message::Text(text) => Message::Text(text.strip_prefix('4').unwrap_or(text).to_owned()),
        binary => binary.clone(),
    }
}

fn msgpack(vectors: &[Value]) -> Seeds {
    let mut seeds = Seeds::new();
    for message in vectors.iter().flat_map(found) {
        match message {
            Message::Binary(bytes) => keep(&mut seeds, &bytes),
            // The data of a packet.
            Message::Text(text) => {
                if let Some(at) = text.find(['[', '{', '"']) {
                    keep(&mut seeds, &text.as_bytes()[at..]);
                }
            }
        }
    }
    seeds
}

/// The messages that were published, and the channels.
fn cluster(vectors: &[Value]) -> Seeds {
    let mut seeds = Seeds::new();
    for message in vectors.iter().flat_map(found) {
        match message {
            Message::Binary(bytes) => keep(&mut seeds, &bytes),
            Message::Text(text) if text.starts_with('{') => keep(&mut seeds, text.as_bytes()),
            // With the prefix that the check knows.
            Message::Text(text) => {
                if let Some(channel) = text.strip_prefix("socket.io#") {
                    keep(&mut seeds, format!("p#{channel}").as_bytes());
                }
            }
        }
    }
    seeds
}

/// What a client was seen to send, over the transport it started with, and as a candidate if it probes.
fn sessions(vectors: &[Value]) -> Seeds {
    let mut seeds = Seeds::new();
    for vector in vectors {
        let messages = found(vector);
        let text = vector.to_string();
        let revision =
            if text.contains("EIO=4") || text.contains("v4/") { Revision::V4 } else { Revision::V3 };
        let probes = messages.contains(&Message::Text("2probe".into()));
        let transport =
            if text.contains("ws") && !probes { Transport::WebSocket } else { Transport::Polling };
        let origin = if probes { Transport::WebSocket } else { transport };
        let mut events = Vec::new();
        if probes {
            events.push(Event::Candidate);
        }
        for message in &messages {
            let event = match message {
                Message::Binary(_) => Some(Event::Packet(origin, PacketKind::Message, 3)),
                Message::Text(text) => packet_event(origin, text),
            };
            if let Some(event) = event {
                events.extend([event, Event::Pass(20)]);
            }
        }
        events.extend([Event::ApproachDeadline(0), Event::ReachDeadline(0)]);
        events.extend([
            Event::Packet(transport, PacketKind::Pong, 0),
            Event::ReachDeadline(1),
            Event::Message,
        ]);
        for timing in 0..3 {
            let mut seed = vec![session::setup(revision, transport, timing)];
            seed.extend(events.iter().flat_map(|event| event.to_bytes()));
            keep(&mut seeds, &seed);
        }
    }
    seeds
}

fn packet_event(origin: Transport, text: &str) -> Option<Event> {
    let (first, data) = text.split_at_checked(1)?;
    let kind = PacketKind::from_digit(first.as_bytes()[0])?;
    let data = match data {
        "" => 0,
        "probe" => 1,
        _ => 2,
    };
    Some(Event::Packet(origin, kind, data))
}

/// Finds the messages in a vector: every text but its names, and every place where bytes are given in hex.
fn found(vector: &Value) -> Vec<Message> {
    let mut messages = Vec::new();
    walk(vector, &mut messages);
    messages
}

fn walk(value: &Value, messages: &mut Vec<Message>) {
    match value {
        Value::String(text) => messages.push(Message::Text(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| walk(item, messages)),
        Value::Object(entries) => {
            for (key, value) in entries {
                match (key.as_str(), value.as_str().and_then(unhex)) {
                    ("$bin" | "$hex" | "hex" | "body_hex", Some(bytes)) => {
                        messages.push(Message::Binary(bytes.into()));
                    }
                    ("produced_by" | "headers" | "sha256" | "hex_prefix", _) => {}
                    _ => walk(value, messages),
                }
            }
        }
        _ => {}
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn keep(seeds: &mut Seeds, seed: &[u8]) {
    if !seed.is_empty() && seed.len() <= LONGEST {
        seeds.insert(seed.to_vec());
    }
}

/// Longer ones slow the fuzzer down and show it nothing new.
const LONGEST: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_keeps_every_promise() {
        for (target, seeds) in all().expect("the vectors are there") {
            assert!(seeds.len() > 50, "{target} has only {} seeds", seeds.len());
            for seed in seeds {
                match target {
                    "payload" => crate::payload::check(&seed),
                    "packet" => crate::packet::check(&seed),
                    "decoder" => crate::decoder::check(&seed),
                    "session" => session::check(&seed),
                    "msgpack" => crate::msgpack::check(&seed),
                    "cluster" => crate::cluster::check(&seed),
                    other => panic!("{other} has no check"),
                }
            }
        }
    }
}
