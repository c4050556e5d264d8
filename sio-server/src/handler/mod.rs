//! Handlers: async functions of any arity whose parameters say what they need.

mod budget;
mod extract;
mod reply;
pub(crate) mod run;
pub(crate) mod server_event;
mod table;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sio_protocol::socketio::RawArgs;

pub use self::extract::{Args, Arguments, Auth, Event, FromContext, State};
pub(crate) use self::reply::AckSlot;
pub use self::reply::{AckSender, IntoReply, Reply};
pub use self::server_event::ServerReply;
pub use self::table::ListenerId;
pub(crate) use self::table::{EventTable, Listeners, Table, check_event_name};
use crate::reason::DisconnectReason;
use crate::socket::SocketInner;

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a handler's parameters are taken from.
pub struct Context<'a> {
    pub(crate) socket: &'a Arc<SocketInner>,
    pub(crate) event: &'a str,
    pub(crate) args: Option<RawArgs<'a>>,
    pub(crate) ack: Option<&'a Arc<AckSlot>>,
    pub(crate) reason: Option<DisconnectReason>,
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("socket", &self.socket)
            .field("event", &self.event)
            .finish_non_exhaustive()
    }
}

/// Why a parameter could not be taken; reported to [`Server::on_error`](crate::Server::on_error). The client is told
/// too: as the acknowledgement `{"error": text}` of its event, if it asked for one, or as the refusal of a middleware.
#[derive(Debug, thiserror::Error)]
#[error("{reason}{}", .hint.map(|hint| format!(" ({hint})")).unwrap_or_default())]
pub struct Rejection {
    reason: String,
    /// What the program can do about it, for `on_error` only.
    hint: Option<&'static str>,
    /// It is our fault and none of the client's business.
    internal: bool,
}

impl Rejection {
    /// A rejection with its reason, in lower case and without full stop. The client will read it.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None, internal: false }
    }

    /// A rejection that is a mistake of the program: the client only learns that there is one.
    pub fn internal(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None, internal: true }
    }

    pub(crate) fn with_hint(self, hint: Option<&'static str>) -> Self {
        Self { hint, ..self }
    }

    pub(crate) fn told_to_client(&self) -> &str {
        if self.internal { INTERNAL_ERROR } else { &self.reason }
    }
}

/// What a client is told of our mistakes and panics; the rest is for `on_error`.
pub(crate) const INTERNAL_ERROR: &str = "internal error";

/// An async function or closure that can handle something: every parameter implements [`FromContext`], at most
/// eight of them.
///
/// Implemented for all `Fn(..) -> impl Future + Send + 'static`. A closure that captures must give its future what it
/// needs: `move |socket: Socket| { let db = db.clone(); async move { .. } }`, or use [`State`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as a handler here",
    label = "not a handler",
    note = "a handler is an async function or closure; each parameter must implement `FromContext` (`Socket`, `Args<T>`, `Auth<T>`, `State<T>`, `AckSender`, `DisconnectReason`, ..), there may be at most eight, and the future must be `Send`",
    note = "middlewares return `Result<(), ConnectError>`, connection and disconnect handlers `()`, event handlers `()`, `Result<T, E>` or `Reply<T>`",
    note = "an `async move ||` closure that uses captured variables lends them to its future: write `move |..| {{ let x = x.clone(); async move {{ .. }} }}` instead"
)]
pub trait Handler<A>: Send + Sync + 'static {
    /// What it returns.
    type Output;
    /// Its future.
    type Future: Future<Output = Self::Output> + Send + 'static;

    /// Takes the parameters and calls it.
    ///
    /// # Errors
    /// When a parameter cannot be taken.
    fn call(&self, cx: &Context<'_>) -> Result<Self::Future, Rejection>;
}

macro_rules! handler {
    ($($parameter:ident),*) => {
        impl<F, Fut, $($parameter),*> Handler<($($parameter,)*)> for F
        where
            F: Fn($($parameter),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            $($parameter: FromContext,)*
        {
            type Output = Fut::Output;
            type Future = Fut;

            #[allow(unused_variables, reason = "without parameters there is nothing to take")]
            fn call(&self, cx: &Context<'_>) -> Result<Fut, Rejection> {
                Ok(self($($parameter::from_context(cx)?),*))
            }
        }
    };
}

handler!();
handler!(A);
handler!(A, B);
handler!(A, B, C);
handler!(A, B, C, D);
handler!(A, B, C, D, E);
handler!(A, B, C, D, E, G);
handler!(A, B, C, D, E, G, H);
handler!(A, B, C, D, E, G, H, I);
