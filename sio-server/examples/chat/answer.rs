//! What every event is acknowledged with: `{ ok: true, ... }`, or `{ ok: false, error }` with a sentence for the page.

use std::future::{Future, ready};
use std::pin::Pin;

use serde::Serialize;
use sio_server::{AckError, AdapterError, Context, Handler, Rejection, Reply};

/// Why a request is refused. Of several reasons the first in this list is given.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("That request was not understood")]
    NotUnderstood,
    #[error("A room is # and 1 to 24 of a-z, 0-9 and -")]
    RoomName,
    #[error("{} rooms are enough", super::MAX_ROOMS)]
    TooManyRooms,
    #[error("You are not in {0}")]
    NotIn(String),
    #[error("That person is no longer here")]
    Gone,
    #[error("A message has 1 to 2000 characters")]
    TextLength,
    #[error("An image has 1 to {} bytes", super::MAX_IMAGE)]
    ImageSize,
    #[error("Only JPEG, PNG, WebP and GIF are taken")]
    ImageType,
    #[error("The question could not be asked: {0}")]
    Unasked(#[from] AckError),
    #[error("The other servers do not answer: {0}")]
    Cluster(#[from] AdapterError),
}

#[derive(Debug, Serialize)]
pub(crate) struct Answer<T> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(flatten)]
    value: Option<T>,
}

impl<T> From<Result<T, Refusal>> for Answer<T> {
    fn from(result: Result<T, Refusal>) -> Self {
        match result {
            Ok(value) => Self { ok: true, error: None, value: Some(value) },
            Err(refusal) => Self { ok: false, error: Some(refusal.to_string()), value: None },
        }
    }
}

/// Makes a handler out of one that may refuse. Arguments that do not have its types are refused as well, instead of
/// going unanswered.
pub(crate) fn answered<H>(handler: H) -> Answered<H> {
    Answered(handler)
}

#[derive(Debug)]
pub(crate) struct Answered<H>(H);

impl<A, H, T> Handler<A> for Answered<H>
where
    H: Handler<A, Output = Result<T, Refusal>>,
    T: Send + 'static,
{
    type Output = Reply<Answer<T>>;
    type Future = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn call(&self, cx: &Context<'_>) -> Result<Self::Future, Rejection> {
        Ok(match self.0.call(cx) {
            Ok(future) => Box::pin(async { Reply(future.await.into()) }),
            Err(_) => Box::pin(ready(Reply(Err(Refusal::NotUnderstood).into()))),
        })
    }
}
