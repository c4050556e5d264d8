//! Runs handlers: polled once in place, handed to the runtime when they wait, contained when they panic.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use sio_protocol::socketio::Packet;

use super::table::{Call, Listeners};
use super::{AckSlot, BoxFuture, Context, EventTable, INTERNAL_ERROR, Rejection, Table, budget};
use crate::connection::running::RunningHandler;
use crate::error::{ConnectError, Failure};
use crate::namespace::NamespaceInner;
use crate::reason::DisconnectReason;
use crate::socket::SocketInner;

/// Runs everything registered for one event: listeners for any event first, then those for this one, then, when
/// there was none, the fallback.
pub(crate) fn event(
    table: &EventTable,
    own: &Listeners,
    socket: &Arc<SocketInner>,
    name: &str,
    packet: &Packet<'_>,
) {
    let slot = packet.id.map(|id| AckSlot::new(socket, id));
    let cx = Context { socket, event: name, args: Some(packet.args()), ack: slot.as_ref(), reason: None };
    // A listener for any event looks on: whatever it returns, and when it fails, the answer is for the event's own
    // handlers to give.
    for handler in table.any() {
        start(handler, &cx, OnFailure::Report);
    }
    for handler in &own.any {
        start(handler, &cx, OnFailure::Report);
    }
    let mut handled = false;
    for handler in table.named(name) {
        handled = true;
        start(handler, &cx, OnFailure::Answer);
    }
    for handler in &own.named {
        handled = true;
        start(handler, &cx, OnFailure::Answer);
    }
    if !handled {
        for handler in table.fallback() {
            start(handler, &cx, OnFailure::Answer);
        }
    }
}

/// Runs `connection`, `disconnecting` or `disconnect` handlers.
pub(crate) fn lifecycle(
    handlers: &[Call<()>],
    name: &'static str,
    socket: &Arc<SocketInner>,
    reason: Option<DisconnectReason>,
) {
    if handlers.is_empty() {
        return;
    }
    // A socket may be disconnected from a thread that has no runtime, its handlers may need one.
    let _runtime = socket.connection().server().enter();
    let cx = Context { socket, event: name, args: None, ack: None, reason };
    for handler in handlers {
        start(handler, &cx, OnFailure::Report);
    }
}

/// The verdict of all middlewares, in order; `None` when there are none.
pub(crate) fn middlewares(
    table: &Arc<Table>,
    socket: &Arc<SocketInner>,
) -> Option<BoxFuture<Result<(), ConnectError>>> {
    if table.middlewares.is_empty() {
        return None;
    }
    let (table, socket) = (Arc::clone(table), Arc::clone(socket));
    Some(Box::pin(async move {
        for middleware in &table.middlewares {
            let called = {
                let cx = Context { socket: &socket, event: MIDDLEWARE, args: None, ack: None, reason: None };
                catch_unwind(AssertUnwindSafe(|| middleware(&cx)))
            };
            let panicked = |panic: Box<dyn Any + Send>| {
                fail(&socket, MIDDLEWARE, Outcome::Panicked(panic));
                ConnectError::new(INTERNAL_ERROR)
            };
            let future = called.map_err(panicked)?;
            // The client gave something that does not fit: it is told what, as for any refusal.
            let future = match future {
                Ok(future) => future,
                Err(rejection) => {
                    let refusal = ConnectError::new(rejection.told_to_client());
                    fail(&socket, MIDDLEWARE, Outcome::Rejected(rejection));
                    return Err(refusal);
                }
            };
            Contained(future).await.map_err(panicked)??;
        }
        Ok(())
    }))
}

/// Polls once in place. The waker left behind does nothing: whoever goes on with it polls again.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    budget::poll(future)
}

/// Calls a handler and polls it once. The order in which handlers of a socket start is the order of its packets; one
/// that waits goes on in a task of its own.
fn start(handler: &Call<()>, cx: &Context<'_>, on_failure: OnFailure) {
    let ack = cx.ack.filter(|_| on_failure == OnFailure::Answer);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let mut future = handler(cx)?;
        let poll = poll_once(&mut future);
        Ok::<_, Rejection>((poll, future))
    }));
    match polled {
        Ok(Ok((Poll::Ready(()), _))) => {}
        Ok(Ok((Poll::Pending, future))) => {
            let running = RunningHandler::begin(cx.socket);
            let name = cx.event.to_owned();
            let ack = ack.cloned();
            cx.socket.connection().server().spawn(async move {
                if let Err(panic) = Contained(future).await {
                    refuse(ack.as_ref(), INTERNAL_ERROR);
                    fail(running.socket(), &name, Outcome::Panicked(panic));
                }
                running.finish();
            });
        }
        Ok(Err(rejection)) => {
            // A client that asked is told what does not fit, instead of waiting for nothing.
            refuse(ack, rejection.told_to_client());
            fail(cx.socket, cx.event, Outcome::Rejected(rejection));
        }
        Err(panic) => {
            refuse(ack, INTERNAL_ERROR);
            fail(cx.socket, cx.event, Outcome::Panicked(panic));
        }
    }
}

/// What becomes of a handler that rejects its parameters or panics, beside being reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnFailure {
    Report,
    /// A client that asked is told.
    Answer,
}

/// Answers an event whose handler could not. A client that is gone needs no answer.
fn refuse(ack: Option<&Arc<AckSlot>>, text: &str) {
    if let Some(ack) = ack {
        let _ = ack.send_error(text);
    }
}

/// How a handler can fail without having been wrong about its result.
pub(super) enum Outcome {
    Rejected(Rejection),
    Panicked(Box<dyn Any + Send>),
}

impl Outcome {
    pub(super) fn report(self, namespace: &NamespaceInner, event: &str) {
        let Some(server) = namespace.server() else { return };
        let (namespace, event) = (namespace.path().to_owned(), event.to_owned());
        let failure = match self {
            Self::Rejected(rejection) => Failure::Rejected { namespace, event, rejection },
            Self::Panicked(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Failure::Panicked { namespace, event, message }
            }
        };
        server.fail(&failure);
    }
}

fn fail(socket: &Arc<SocketInner>, event: &str, outcome: Outcome) {
    outcome.report(socket.namespace(), event);
}

/// A future whose panic is its result.
pub(super) struct Contained<T>(pub(super) BoxFuture<T>);

impl<T> Future for Contained<T> {
    type Output = Result<T, Box<dyn Any + Send>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| self.0.as_mut().poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

/// The name under which failures of middlewares are reported.
const MIDDLEWARE: &str = "middleware";
