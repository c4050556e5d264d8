//! A budget of its own for what is polled in place.
//!
//! tokio gives each turn of a task 128 steps of its channels, locks, timers and streams; after those all of them are
//! pending until the task has yielded, however ready they are. Handlers that are polled in place use the budget of the
//! task that reads. Without one of their own the 129th that sends to a channel with room would be taken for one that
//! waits, and those that come at once would overtake each other in tasks of their own.
//!
//! Nor may a handler go on for as long as it finds something ready: one that drains a channel which others keep full
//! would never give its thread back. So it gets as many steps as a task of its own would. tokio does not offer that, but
//! what [`poll_proceed`] gives puts the budget back to where it was then, and can be kept until it is needed.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::task::LocalSet;
use tokio::task::coop::{self, RestoreOnPending, poll_proceed};

thread_local! {
    /// Dropped, it fills the budget.
    static FULL: Cell<Option<RestoreOnPending>> = const { Cell::new(None) };
}

/// Polls a future that is not to be woken. Pending only if it waits for something, or has used up a whole budget.
pub(super) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let polled = Pin::new(&mut *future).poll(&mut Context::from_waker(Waker::noop()));
    // Nearly all have enough in what is left of the task's.
    if polled.is_ready() || coop::has_budget_remaining() { polled } else { poll_with_full(future) }
}

/// Polls with a full budget, and leaves the task's used up: it yields when the batch is done.
#[cold]
fn poll_with_full<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    let kept = FULL.try_with(Cell::take).ok().flatten();
    let Some(full) = kept.or_else(full) else { return Poll::Pending };
    let mut full = Some(full);
    // For its end, at which it puts back what was left; inside there is a budget again.
    let polled = coop::unconstrained(poll_fn(|cx| {
        drop(full.take());
        if let Poll::Ready(full) = poll_proceed(cx) {
            let _ = FULL.try_with(|kept| kept.set(Some(full)));
        }
        Pin::new(&mut *future).poll(cx)
    }));
    pin!(polled).poll(&mut Context::from_waker(Waker::noop()))
}

/// A full budget, as a new task has it: the first one of a thread.
fn full() -> Option<RestoreOnPending> {
    let made = Rc::new(Cell::new(None));
    let tasks = LocalSet::new();
    let full = Rc::clone(&made);
    tasks.spawn_local(poll_fn(move |cx| poll_proceed(cx).map(|budget| full.set(Some(budget)))));
    let _ = pin!(tasks).poll(&mut Context::from_waker(Waker::noop()));
    made.take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::{Mutex, mpsc};

    async fn use_up() {
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
        }
    }

    #[tokio::test]
    async fn what_has_nothing_to_wait_for_is_done_however_much_came_before_it() {
        let (sender, mut received) = mpsc::channel(1000);
        let lock = Mutex::new(());
        for n in 0..1000 {
            let mut handler = Box::pin(async {
                let _held = lock.lock().await;
                sender.send(n).await.unwrap();
            });
            assert!(poll(&mut handler).is_ready(), "{n}");
        }
        assert!(std::iter::from_fn(|| received.try_recv().ok()).eq(0..1000));
    }

    #[tokio::test]
    async fn what_always_finds_something_ready_is_stopped() {
        for _ in 0..3 {
            let mut steps = 0;
            let mut endless = Box::pin(async {
                loop {
                    coop::consume_budget().await;
                    steps += 1;
                }
            });
            assert!(poll(&mut endless).is_pending());
            drop(endless);
            assert!((100..=256).contains(&steps), "{steps}");
        }
    }

    #[tokio::test]
    async fn the_tasks_own_budget_stays_used_up() {
        use_up().await;
        for _ in 0..3 {
            assert!(poll(&mut Box::pin(coop::consume_budget())).is_ready());
            assert!(!coop::has_budget_remaining());
        }
        // And is its own again in its next turn.
        tokio::task::yield_now().await;
        assert!(coop::has_budget_remaining());
    }

    #[tokio::test]
    async fn one_inside_another_has_its_own() {
        use_up().await;
        let mut outer = Box::pin(async {
            use_up().await;
            assert!(poll(&mut Box::pin(coop::consume_budget())).is_ready());
            assert!(!coop::has_budget_remaining());
        });
        assert!(poll(&mut outer).is_ready());
    }

    #[tokio::test]
    async fn a_panic_costs_no_budget() {
        use_up().await;
        let mut panics = Box::pin(async { panic!("as it should") });
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut panics)));
        assert!(caught.is_err());
        assert!(!coop::has_budget_remaining());
        assert!(poll(&mut Box::pin(coop::consume_budget())).is_ready());
    }
}
