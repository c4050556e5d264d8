//! Handlers of what other servers emit: no socket, one parameter, and an answer that goes back through the adapter.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_protocol::socketio::{OwnedArgs, Packet, PlaceholderKeys, RawArgs, write_args_with};

use super::reply::{ErrorReply, Responder};
use super::run::{Contained, Outcome, poll_once};
use super::{BoxFuture, INTERNAL_ERROR, IntoReply, Rejection};
use crate::error::EmitError;
use crate::namespace::NamespaceInner;
use crate::sync::{Lock, contained};

/// Takes the answer to an event of another node; made by an adapter for
/// [`LocalNamespace::server_event`](crate::LocalNamespace::server_event).
pub struct ServerReply(Box<dyn FnOnce(OwnedArgs) + Send>);

impl ServerReply {
    /// Has `answer` called with the first answer, from any thread, at most once; dropped without being called when
    /// none will come. It must not wait.
    pub fn new(answer: impl FnOnce(OwnedArgs) + Send + 'static) -> Self {
        Self(Box::new(answer))
    }
}

impl fmt::Debug for ServerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerReply")
    }
}

/// The one answer an event of another server may get, shared by all its handlers.
#[derive(Debug)]
pub(crate) struct ReplySlot(Mutex<Option<ServerReply>>);

impl ReplySlot {
    /// Answers; `false` when that has been done already.
    pub(super) fn send<T: Serialize + ?Sized>(&self, args: &T) -> Result<bool, EmitError> {
        let Some(ServerReply(answer)) = self.0.locked().take() else { return Ok(false) };
        let (mut json, mut attachments) = (Vec::new(), Vec::new());
        write_args_with(&mut json, &mut attachments, args, PlaceholderKeys::Kept)?;
        // Our serialiser writes UTF-8 only.
        let args = OwnedArgs::new(String::from_utf8(json).unwrap_or_default(), attachments);
        contained("an adapter", || answer(args));
        Ok(true)
    }
}

/// The handlers of a namespace by event.
#[derive(Clone, Default)]
pub(crate) struct ServerEvents(HashMap<String, Vec<ServerHandler>>);

impl ServerEvents {
    pub(crate) fn add<T, F, Fut>(&mut self, event: String, handler: F)
    where
        T: DeserializeOwned,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoReply> + Send + 'static,
    {
        self.0.entry(event).or_default().push(erased(handler));
    }
}

/// A handler with its types forgotten.
#[derive(Clone)]
struct ServerHandler {
    call: Call,
    answers: bool,
}

type Call = Arc<dyn Fn(&ServerContext<'_>) -> Result<BoxFuture<()>, Rejection> + Send + Sync>;

/// What a handler takes its parameter from.
struct ServerContext<'a> {
    namespace: &'a Arc<NamespaceInner>,
    event: &'a str,
    args: RawArgs<'a>,
    reply: Option<&'a Arc<ReplySlot>>,
}

fn erased<T, F, Fut>(handler: F) -> ServerHandler
where
    T: DeserializeOwned,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoReply> + Send + 'static,
{
    let answers = <Fut::Output as IntoReply>::ANSWERS;
    let call = move |cx: &ServerContext<'_>| -> Result<BoxFuture<()>, Rejection> {
        let args = cx.args.deserialize().map_err(|error| Rejection::new(error.to_string()))?;
        let future = handler(args);
        if !answers {
            return Ok(Box::pin(async move { drop(future.await) }));
        }
        let responder = Responder::of_server_event(cx.namespace, cx.event, cx.reply.cloned());
        Ok(Box::pin(async move { future.await.reply(&responder) }))
    };
    ServerHandler { call: Arc::new(call), answers }
}

/// Runs everything registered for an event of another server, each polled once in place.
pub(crate) fn handle(namespace: &Arc<NamespaceInner>, packet: &Packet<'_>, reply: Option<ServerReply>) {
    let Some(event) = packet.event_name() else { return };
    let table = namespace.table();
    let Some(handlers) = table.server_events.0.get(&*event) else { return };
    let Some(server) = namespace.server() else { return };
    let slot = reply.map(|reply| Arc::new(ReplySlot(Mutex::new(Some(reply)))));
    let cx = ServerContext { namespace, event: &event, args: packet.args(), reply: slot.as_ref() };
    let _runtime = server.enter();
    for handler in handlers {
        start(handler, &cx);
    }
}

fn start(handler: &ServerHandler, cx: &ServerContext<'_>) {
    let slot = cx.reply.filter(|_| handler.answers);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let mut future = (handler.call)(cx)?;
        let poll = poll_once(&mut future);
        Ok::<_, Rejection>((poll, future))
    }));
    match polled {
        Ok(Ok((Poll::Ready(()), _))) => {}
        Ok(Ok((Poll::Pending, future))) => {
            let (namespace, event, slot) = (Arc::clone(cx.namespace), cx.event.to_owned(), slot.cloned());
            if let Some(server) = cx.namespace.server() {
                server.spawn(async move {
                    if let Err(panic) = Contained(future).await {
                        refuse(slot.as_ref(), INTERNAL_ERROR);
                        Outcome::Panicked(panic).report(&namespace, &event);
                    }
                });
            }
        }
        Ok(Err(rejection)) => {
            refuse(slot, rejection.told_to_client());
            Outcome::Rejected(rejection).report(cx.namespace, cx.event);
        }
        Err(panic) => {
            refuse(slot, INTERNAL_ERROR);
            Outcome::Panicked(panic).report(cx.namespace, cx.event);
        }
    }
}

/// Answers an event whose handler could not, so that the node that asked need not wait for nothing.
fn refuse(slot: Option<&Arc<ReplySlot>>, text: &str) {
    if let Some(slot) = slot {
        // Text can be serialised.
        let _ = slot.send(&ErrorReply { error: text });
    }
}
