//! What an emit gives back: a future that is ready at once, unless there is no room for the message.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::task::coop::consume_budget;

use crate::error::EmitError;
use crate::frame::Verb;
use crate::queue::{Queue, Refusal};

/// Says whether a message was queued. If there is no room it waits for some, which holds whoever emits too much
/// to the speed of Redis.
///
/// The message is made when the method is called, and queued right away if there is room. If there is none it
/// waits in here, and is gone if this is dropped.
#[must_use = "without room in the queue the message is lost unless this is awaited"]
pub struct Emit(Step);

enum Step {
    Done(Result<(), EmitError>),
    Waiting(Pin<Box<dyn Future<Output = Result<(), EmitError>> + Send>>),
    Given,
}

impl Emit {
    /// Queues a message, now or later.
    pub(crate) fn queue(queue: &Arc<Queue>, verb: Verb, channel: &str, message: &[u8]) -> Self {
        Self(match queue.push(verb, channel, message) {
            Ok(()) => Step::Done(Ok(())),
            Err(Refusal::Closed) => Step::Done(Err(EmitError::Closed)),
            Err(Refusal::Full) => {
                let queue = Arc::clone(queue);
                Step::Waiting(Box::pin(queue.push_when_room(verb, channel.to_owned(), message.to_vec())))
            }
        })
    }
}

impl From<EmitError> for Emit {
    fn from(error: EmitError) -> Self {
        Self(Step::Done(Err(error)))
    }
}

impl Future for Emit {
    type Output = Result<(), EmitError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Step::Waiting(waiting) = &mut self.0 {
            let queued = ready!(waiting.as_mut().poll(context));
            self.0 = Step::Done(queued);
        }
        // A loop of emits would never let the task run that writes to Redis, where both share a thread.
        ready!(pin!(consume_budget()).poll(context));
        match std::mem::replace(&mut self.0, Step::Given) {
            Step::Done(queued) => Poll::Ready(queued),
            // Polled again after it was ready, which the contract of futures leaves open.
            Step::Waiting(_) | Step::Given => Poll::Pending,
        }
    }
}

impl fmt::Debug for Emit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            Step::Done(Ok(())) => "queued",
            Step::Done(Err(_)) => "refused",
            Step::Waiting(_) => "waiting for room",
            Step::Given => "given",
        };
        formatter.debug_tuple("Emit").field(&state).finish()
    }
}
