//! The handlers of a namespace, and the listeners of one socket.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::DefaultHashBuilder;

use super::reply::Responder;
use super::server_event::ServerEvents;
use super::{BoxFuture, Context, Handler, IntoReply, Rejection};
use crate::error::{ConnectError, Failure};
use crate::namespace::NamespaceInner;

/// A handler with its types forgotten.
pub(crate) type Call<T> = Arc<dyn Fn(&Context<'_>) -> Result<BoxFuture<T>, Rejection> + Send + Sync>;

/// Identifies a listener, to remove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(u64);

impl ListenerId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Clone)]
struct Listener {
    id: ListenerId,
    once: bool,
    call: Call<()>,
}

/// Reports a handler that is registered for something that is not an event of clients.
pub(crate) fn check_event_name(namespace: &NamespaceInner, event: &str) {
    if let (Some(failure), Some(server)) = (Failure::of_name(namespace.path(), event), namespace.server()) {
        server.fail(&failure);
    }
}

/// Handlers of events, by name.
#[derive(Clone, Default)]
pub(crate) struct EventTable {
    named: HashMap<String, Vec<Listener>, DefaultHashBuilder>,
    any: Vec<Listener>,
    fallback: Vec<Call<()>>,
}

impl EventTable {
    pub(crate) fn add<A, H: Handler<A, Output: IntoReply>>(
        &mut self,
        event: String,
        handler: H,
    ) -> ListenerId {
        self.push(event, handler, false)
    }

    pub(crate) fn add_once<A, H: Handler<A, Output: IntoReply>>(
        &mut self,
        event: String,
        handler: H,
    ) -> ListenerId {
        self.push(event, handler, true)
    }

    fn push<A, H: Handler<A, Output: IntoReply>>(
        &mut self,
        event: String,
        handler: H,
        once: bool,
    ) -> ListenerId {
        let id = ListenerId::next();
        self.named.entry(event).or_default().push(Listener { id, once, call: replying(handler) });
        id
    }

    pub(crate) fn add_any<A, H: Handler<A, Output: IntoReply>>(&mut self, handler: H) -> ListenerId {
        let id = ListenerId::next();
        self.any.push(Listener { id, once: false, call: looking_on(handler) });
        id
    }

    pub(crate) fn add_fallback<A, H: Handler<A, Output: IntoReply>>(&mut self, handler: H) {
        self.fallback.push(replying(handler));
    }

    /// Takes the handlers of an event out. The caller drops them when it holds no lock: they are the user's code.
    #[must_use]
    pub(crate) fn remove(&mut self, event: &str) -> Removed {
        Removed { _listeners: self.named.remove(event).unwrap_or_default() }
    }

    /// Takes one handler out, if it is there.
    pub(crate) fn remove_listener(&mut self, id: ListenerId) -> Option<Removed> {
        if let Some(at) = self.any.iter().position(|listener| listener.id == id) {
            return Some(Removed { _listeners: vec![self.any.remove(at)] });
        }
        let find = |listeners: &Vec<Listener>| listeners.iter().position(|listener| listener.id == id);
        let (event, at) = self.named.iter().find_map(|(event, all)| Some((event.clone(), find(all)?)))?;
        let listeners = self.named.get_mut(&event)?;
        let removed = Removed { _listeners: vec![listeners.remove(at)] };
        if listeners.is_empty() {
            self.named.remove(&event);
        }
        Some(removed)
    }

    pub(super) fn any(&self) -> impl Iterator<Item = &Call<()>> {
        self.any.iter().map(|listener| &listener.call)
    }

    pub(super) fn named(&self, event: &str) -> impl Iterator<Item = &Call<()>> {
        self.named.get(event).into_iter().flatten().map(|listener| &listener.call)
    }

    pub(super) fn fallback(&self) -> &[Call<()>] {
        &self.fallback
    }

    /// The listeners of one event, for a caller that must not hold the table while they run: those for any event,
    /// then those for this one. Listeners for one time are taken out.
    pub(crate) fn take_listeners(&mut self, event: &str) -> Listeners {
        let any = self.any().cloned().collect();
        let mut named = Vec::new();
        if let Some(listeners) = self.named.get_mut(event) {
            named = listeners.iter().map(|listener| Arc::clone(&listener.call)).collect();
            listeners.retain(|listener| !listener.once);
            if listeners.is_empty() {
                self.named.remove(event);
            }
        }
        Listeners { any, named }
    }
}

impl fmt::Debug for EventTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventTable").field("events", &self.named.keys()).finish_non_exhaustive()
    }
}

/// Handlers that were taken out of a table, to be dropped without its lock.
pub(crate) struct Removed {
    _listeners: Vec<Listener>,
}

/// A socket's own listeners of one event.
#[derive(Default)]
pub(crate) struct Listeners {
    pub(super) any: Vec<Call<()>>,
    pub(super) named: Vec<Call<()>>,
}

/// Everything registered on a namespace.
#[derive(Clone, Default)]
pub(crate) struct Table {
    pub(crate) events: EventTable,
    pub(crate) middlewares: Vec<Call<Result<(), ConnectError>>>,
    pub(crate) connection: Vec<Call<()>>,
    pub(crate) disconnecting: Vec<Call<()>>,
    pub(crate) disconnect: Vec<Call<()>>,
    pub(crate) server_events: ServerEvents,
}

impl Table {
    pub(crate) fn add_middleware<A, H>(&mut self, handler: H)
    where
        H: Handler<A, Output = Result<(), ConnectError>>,
    {
        self.middlewares.push(erased(handler));
    }

    pub(crate) fn add_connection<A, H: Handler<A, Output = ()>>(&mut self, handler: H) {
        self.connection.push(erased(handler));
    }

    pub(crate) fn add_disconnecting<A, H: Handler<A, Output = ()>>(&mut self, handler: H) {
        self.disconnecting.push(erased(handler));
    }

    pub(crate) fn add_disconnect<A, H: Handler<A, Output = ()>>(&mut self, handler: H) {
        self.disconnect.push(erased(handler));
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("events", &self.events).finish_non_exhaustive()
    }
}

fn erased<A, H: Handler<A>>(handler: H) -> Call<H::Output> {
    Arc::new(move |cx| Ok(Box::pin(handler.call(cx)?)))
}

/// A handler whose result is the acknowledgement.
fn replying<A, H: Handler<A, Output: IntoReply>>(handler: H) -> Call<()> {
    calling(handler, Responder::new)
}

/// A handler that may acknowledge by hand, but whose result is only reported when it is an error.
fn looking_on<A, H: Handler<A, Output: IntoReply>>(handler: H) -> Call<()> {
    calling(handler, Responder::without_ack)
}

fn calling<A, H: Handler<A, Output: IntoReply>>(
    handler: H,
    responder: impl Fn(&Context<'_>) -> Responder + Send + Sync + 'static,
) -> Call<()> {
    Arc::new(move |cx| {
        let future = handler.call(cx)?;
        if H::Output::ANSWERS {
            let responder = responder(cx);
            Ok(Box::pin(async move { future.await.reply(&responder) }))
        } else {
            Ok(Box::pin(async move { drop(future.await) }))
        }
    })
}
