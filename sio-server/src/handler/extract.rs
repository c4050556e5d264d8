//! What a handler can ask for by naming it as a parameter.

use std::any::Any;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use sio_protocol::socketio::OwnedArgs;

use super::{AckSender, Context, Rejection};
use crate::handshake::Handshake;
use crate::namespace::Namespace;
use crate::reason::DisconnectReason;
use crate::server::Server;
use crate::socket::Socket;

/// Something that can be a handler's parameter.
///
/// Implement it for your own types, in terms of those that exist:
///
/// ```
/// use sio_server::{Context, FromContext, Rejection, Socket};
///
/// struct UserId(u64);
///
/// impl FromContext for UserId {
///     fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
///         let socket = Socket::from_context(cx)?;
///         socket.get::<u64>().map(|id| Self(*id)).ok_or_else(|| Rejection::new("not logged in"))
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a handler",
    note = "event arguments are taken with `Args<T>`, the connect payload with `Auth<T>`, shared state with `State<T>`"
)]
pub trait FromContext: Sized {
    /// Takes it.
    ///
    /// # Errors
    /// Says why it is not there or does not fit.
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection>;
}

impl FromContext for Socket {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        Ok(cx.socket())
    }
}

impl FromContext for Namespace {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        Ok(cx.socket().namespace())
    }
}

impl FromContext for Server {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        Ok(cx.socket().server())
    }
}

impl FromContext for Handshake {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        Ok(cx.socket().handshake())
    }
}

/// The arguments of the event as `T`: a tuple or a fixed array takes several, anything else the first. Arguments beyond
/// those asked for are ignored, a missing one reads as null.
///
/// Binary arrives as [`Bytes`](bytes::Bytes), and anywhere in a [`Value`](crate::Value); a `serde_json::Value` has no
/// place for it, and is refused. `Bytes` also take text, as its UTF-8, and an array of numbers from 0 to 255: to have
/// nothing but binary, take a [`Value`](crate::Value) and look for `Value::Binary`.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "made to be taken apart in a parameter list")]
pub struct Args<T>(pub T);

impl<T: DeserializeOwned> FromContext for Args<T> {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        let args = cx.args.ok_or_else(|| Rejection::internal("only events have arguments"))?;
        args.deserialize().map(Self).map_err(|error| {
            let error = error.to_string();
            // What serde_json says of its own type.
            let hint = error
                .contains("byte array, expected any valid JSON value")
                .then_some("`sio_server::Value` takes binary, `serde_json::Value` does not");
            Rejection::new(error).with_hint(hint)
        })
    }
}

/// The arguments of the event as they came, to be read later or more than once.
#[derive(Clone, Debug)]
#[allow(clippy::exhaustive_structs, reason = "made to be taken apart in a parameter list")]
pub struct Arguments(pub OwnedArgs);

impl FromContext for Arguments {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        let args = cx.args.ok_or_else(|| Rejection::internal("only events have arguments"))?;
        Ok(Self(args.to_owned()))
    }
}

/// The `auth` of the client's CONNECT as `T`, in any handler; see [`Handshake::auth`].
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "made to be taken apart in a parameter list")]
pub struct Auth<T>(pub T);

impl<T: DeserializeOwned> FromContext for Auth<T> {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        let auth = cx.socket().handshake().auth();
        auth.map(Self).map_err(|error| {
            let text = error.to_string();
            // Where it is in a text that nobody has written helps nobody.
            let place = format!(" at line {} column {}", error.line(), error.column());
            Rejection::new(format!("auth: {}", text.strip_suffix(&place).unwrap_or(&text)))
        })
    }
}

/// What was given to [`ServerBuilder::state`](crate::ServerBuilder::state), by type.
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "made to be taken apart in a parameter list")]
pub struct State<T>(pub Arc<T>);

impl<T: Any + Send + Sync> FromContext for State<T> {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        let state = cx.socket.connection().server().state::<T>();
        state.map(Self).ok_or_else(|| {
            Rejection::internal(format!("the server has no state of type {}", std::any::type_name::<T>()))
        })
    }
}

/// The name of the event; in other handlers `connection`, `disconnecting` or `disconnect`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made to be taken apart in a parameter list")]
pub struct Event(pub String);

impl FromContext for Event {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        Ok(Self(cx.event.to_owned()))
    }
}

impl FromContext for DisconnectReason {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        cx.reason.ok_or_else(|| Rejection::internal("only disconnect handlers have a reason"))
    }
}

impl FromContext for AckSender {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        Ok(Self::new(cx.ack.cloned()))
    }
}

/// `None` when it cannot be taken.
impl<T: FromContext> FromContext for Option<T> {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        Ok(T::from_context(cx).ok())
    }
}

/// The reason when it cannot be taken.
impl<T: FromContext> FromContext for Result<T, Rejection> {
    fn from_context(cx: &Context<'_>) -> Result<Self, Rejection> {
        Ok(T::from_context(cx))
    }
}
