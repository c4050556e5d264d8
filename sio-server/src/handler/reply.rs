//! How an event is acknowledged: by what its handler returns, or by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::Context;
use super::server_event::ReplySlot;
use crate::error::{EmitError, Failure};
use crate::namespace::NamespaceInner;
use crate::socket::SocketInner;

/// The one acknowledgement an event may get, shared by all its handlers.
pub(crate) struct AckSlot {
    socket: Arc<SocketInner>,
    id: u64,
    sent: AtomicBool,
}

impl AckSlot {
    pub(crate) fn new(socket: &Arc<SocketInner>, id: u64) -> Arc<Self> {
        Arc::new(Self { socket: Arc::clone(socket), id, sent: AtomicBool::new(false) })
    }

    pub(super) fn send_error(&self, text: &str) -> Result<bool, EmitError> {
        self.send(&ErrorReply { error: text })
    }

    fn send<T: Serialize + ?Sized>(&self, args: &T) -> Result<bool, EmitError> {
        if self.sent.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        self.socket.acknowledge(self.id, args).map(|()| true)
    }
}

impl fmt::Debug for AckSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckSlot").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Acknowledges an event by hand: several arguments, from another task, or never. Node: the callback that is the
/// last argument of a listener.
#[derive(Clone, Debug)]
pub struct AckSender(Option<Arc<AckSlot>>);

impl AckSender {
    pub(crate) fn new(slot: Option<Arc<AckSlot>>) -> Self {
        Self(slot)
    }

    /// Whether the client asked for an acknowledgement.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Acknowledges; a tuple or a fixed array is several arguments, `&()` and a JSON null none, anything
    /// else one. `false` when the client did not
    /// ask or has been answered already: only the first answer is sent.
    ///
    /// # Errors
    /// When the arguments cannot be serialised or the client is gone.
    pub fn send<T: Serialize + ?Sized>(&self, args: &T) -> Result<bool, EmitError> {
        self.0.as_ref().map_or(Ok(false), |slot| slot.send(args))
    }
}

/// A value that is the acknowledgement, for handlers that cannot fail.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "made to be returned from handlers")]
pub struct Reply<T>(pub T);

/// Answers for a handler that has finished.
#[derive(Debug)]
pub struct Responder {
    event: Box<str>,
    asked_by: AskedBy,
}

#[derive(Debug)]
enum AskedBy {
    Client { socket: Arc<SocketInner>, ack: Option<Arc<AckSlot>> },
    Server { namespace: Arc<NamespaceInner>, reply: Option<Arc<ReplySlot>> },
}

impl Responder {
    pub(super) fn new(cx: &Context<'_>) -> Self {
        let asked_by = AskedBy::Client { socket: Arc::clone(cx.socket), ack: cx.ack.cloned() };
        Self { event: cx.event.into(), asked_by }
    }

    /// For who looks on: what it returns answers nobody.
    pub(super) fn without_ack(cx: &Context<'_>) -> Self {
        let asked_by = AskedBy::Client { socket: Arc::clone(cx.socket), ack: None };
        Self { event: cx.event.into(), asked_by }
    }

    pub(super) fn of_server_event(
        namespace: &Arc<NamespaceInner>,
        event: &str,
        reply: Option<Arc<ReplySlot>>,
    ) -> Self {
        let asked_by = AskedBy::Server { namespace: Arc::clone(namespace), reply };
        Self { event: event.into(), asked_by }
    }

    fn answer<T: Serialize + ?Sized>(&self, args: &T) {
        let answered = match &self.asked_by {
            AskedBy::Client { ack, .. } => ack.as_ref().map_or(Ok(false), |slot| slot.send(args)),
            AskedBy::Server { reply, .. } => reply.as_ref().map_or(Ok(false), |slot| slot.send(args)),
        };
        match answered {
            Ok(_) | Err(EmitError::Disconnected) => {}
            Err(error) => crate::broadcast::report(self.namespace(), &self.event, error),
        }
    }

    fn namespace(&self) -> &NamespaceInner {
        match &self.asked_by {
            AskedBy::Client { socket, .. } => socket.namespace(),
            AskedBy::Server { namespace, .. } => namespace,
        }
    }
}

/// What an event handler may return.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be returned by an event handler",
    note = "return `()` for no acknowledgement, `Result<T, E>` with `T: Serialize` and `E: Display`, or `Reply<T>`"
)]
pub trait IntoReply: Sized {
    /// Whether it ever answers; a handler that never does costs nothing for it.
    const ANSWERS: bool = true;

    /// Answers.
    fn reply(self, responder: &Responder);
}

impl IntoReply for () {
    const ANSWERS: bool = false;

    fn reply(self, _: &Responder) {}
}

impl<T: Serialize> IntoReply for Reply<T> {
    fn reply(self, responder: &Responder) {
        responder.answer(&self.0);
    }
}

#[derive(Serialize)]
pub(super) struct ErrorReply<'a> {
    pub(super) error: &'a str,
}

impl<T: Serialize, E: fmt::Display> IntoReply for Result<T, E> {
    fn reply(self, responder: &Responder) {
        match self {
            Ok(value) => responder.answer(&value),
            Err(error) => {
                let message = error.to_string();
                responder.answer(&ErrorReply { error: &message });
                if let Some(server) = responder.namespace().server() {
                    server.fail(&Failure::Handler {
                        namespace: responder.namespace().path().to_owned(),
                        event: responder.event.to_string(),
                        message,
                    });
                }
            }
        }
    }
}
