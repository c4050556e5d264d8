//! From an operation to the command that tells Redis of it: which channel, and which bytes.

use std::cell::Cell;

use serde::Serialize;
use sio_protocol::cluster::classic::{self, Broadcast, Request, RequestBody};
use sio_protocol::cluster::sharded::{self, Body, Message, Mode};
use sio_protocol::cluster::{EMITTER, Names, Opts, Payload};
use sio_protocol::socketio::{Packet, is_reserved_event, write_event};

use crate::error::EmitError;
use crate::frame::Verb;

/// What the servers of the cluster understand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Classic,
    Sharded(Mode),
}

/// One namespace, with the names of its channels.
#[derive(Debug)]
pub(crate) struct Namespace {
    pub(crate) path: String,
    channels: Channels,
}

#[derive(Debug)]
enum Channels {
    Classic(classic::Channels),
    Sharded(sharded::Channels),
}

/// What is asked of the servers, beside delivering an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order<'a> {
    Join(&'a [String]),
    Leave(&'a [String]),
    Disconnect { close: bool },
}

/// Takes a finished command.
pub(crate) type Sink<'s, R> = &'s mut dyn FnMut(Verb, &str, &[u8]) -> R;

impl Namespace {
    /// Makes a namespace. The slash that all of them begin with is added if it is missing.
    pub(crate) fn new(dialect: Dialect, prefix: &str, path: &str) -> Self {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let channels = match dialect {
            Dialect::Classic => Channels::Classic(classic::Channels::new(prefix, &path)),
            Dialect::Sharded(mode) => Channels::Sharded(sharded::Channels::new(prefix, &path, mode)),
        };
        Self { path, channels }
    }

    /// Makes the command for an event to clients.
    pub(crate) fn emit<T: Serialize + ?Sized, R>(
        &self,
        event: &str,
        args: &T,
        opts: &Opts<'_>,
        sink: Sink<'_, R>,
    ) -> Result<R, EmitError> {
        if is_reserved_event(event) {
            return Err(EmitError::ReservedEvent(event.to_owned()));
        }
        self.with_event(event, args, |packet, message| match &self.channels {
            Channels::Classic(channels) => {
                let payload = Payload::from(packet);
                Broadcast::new(EMITTER, payload, opts.clone()).encode(message)?;
                Ok(sink(Verb::Publish, &channels.target(opts), message))
            }
            Channels::Sharded(channels) => {
                let packet = Payload::from(packet);
                let body = Body::Broadcast { packet, opts: opts.clone(), request_id: None };
                self.sharded(channels, body, message, sink)
            }
        })
    }

    /// Makes the command for an event to the servers themselves.
    pub(crate) fn server_side_emit<T: Serialize + ?Sized, R>(
        &self,
        event: &str,
        args: &T,
        sink: Sink<'_, R>,
    ) -> Result<R, EmitError> {
        if matches!(event, "connect" | "connection" | "new_namespace") {
            return Err(EmitError::ReservedEvent(event.to_owned()));
        }
        self.with_event(event, args, |packet, message| {
            let packet = Payload::from(packet);
            match &self.channels {
                Channels::Classic(channels) => {
                    classic(channels, RequestBody::ServerSideEmit { packet }, message, sink)
                }
                Channels::Sharded(channels) => {
                    let body = Body::ServerSideEmit { packet, request_id: None };
                    self.sharded(channels, body, message, sink)
                }
            }
        })
    }

    /// Makes the command for an order.
    pub(crate) fn order<R>(
        &self,
        order: Order<'_>,
        opts: Opts<'_>,
        sink: Sink<'_, R>,
    ) -> Result<R, EmitError> {
        let mut message = Scratch::take();
        match &self.channels {
            Channels::Classic(channels) => {
                let body = match order {
                    Order::Join(rooms) => RequestBody::Join { opts, rooms: Names::from(rooms) },
                    Order::Leave(rooms) => RequestBody::Leave { opts, rooms: Names::from(rooms) },
                    Order::Disconnect { close } => RequestBody::Disconnect { opts, close },
                };
                classic(channels, body, &mut message.0, sink)
            }
            Channels::Sharded(channels) => {
                let body = match order {
                    Order::Join(rooms) => Body::Join { opts, rooms: Names::from(rooms) },
                    Order::Leave(rooms) => Body::Leave { opts, rooms: Names::from(rooms) },
                    Order::Disconnect { close } => Body::Disconnect { opts, close },
                };
                self.sharded(channels, body, &mut message.0, sink)
            }
        }
    }

    fn sharded<R>(
        &self,
        channels: &sharded::Channels,
        body: Body<'_>,
        message: &mut Vec<u8>,
        sink: Sink<'_, R>,
    ) -> Result<R, EmitError> {
        let channel = channels.target(&body).into_owned();
        Message::new(EMITTER, self.path.as_str(), body).encode(message)?;
        Ok(sink(Verb::Spublish, &channel, message))
    }

    /// Serialises an event and gives it to `encode`, with an empty buffer for the message.
    fn with_event<T: Serialize + ?Sized, R>(
        &self,
        event: &str,
        args: &T,
        encode: impl FnOnce(&Packet<'_>, &mut Vec<u8>) -> Result<R, EmitError>,
    ) -> Result<R, EmitError> {
        let (mut data, mut attachments) = (Scratch::take(), Vec::new());
        write_event(&mut data.0, &mut attachments, event, args)?;
        // Our serialiser writes UTF-8 only.
        let text = std::str::from_utf8(&data.0).unwrap_or_default();
        let packet = Packet::event(self.path.as_str(), None, text, attachments);
        encode(&packet, &mut Scratch::take().0)
    }
}

fn classic<R>(
    channels: &classic::Channels,
    body: RequestBody<'_>,
    message: &mut Vec<u8>,
    sink: Sink<'_, R>,
) -> Result<R, EmitError> {
    Request::from_emitter(body).encode(message)?;
    Ok(sink(Verb::Publish, channels.request(), message))
}

thread_local! {
    /// Buffers of this thread: an emit allocates no working memory of its own. One is for the arguments, one for
    /// the message; whoever emits while it is being serialised finds none and makes new ones.
    static SPARE: [Cell<Vec<u8>>; 2] = const { [const { Cell::new(Vec::new()) }, const { Cell::new(Vec::new()) }] };
}

/// An empty buffer on loan.
struct Scratch(Vec<u8>);

impl Scratch {
    fn take() -> Self {
        let buffer = SPARE.try_with(|[one, other]| match one.take() {
            buffer if buffer.capacity() > 0 => buffer,
            _ => other.take(),
        });
        Self(buffer.unwrap_or_default())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.0);
        if buffer.capacity() > SPARE_CAPACITY {
            return;
        }
        buffer.clear();
        // At the end of the thread there is nothing to give it back to.
        let _ = SPARE.try_with(|[one, other]| match one.replace(buffer) {
            empty if empty.capacity() == 0 => {}
            full => other.set(full),
        });
    }
}

/// Larger buffers are freed: what one large message took is not kept.
const SPARE_CAPACITY: usize = 65_536;
