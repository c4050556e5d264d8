//! Counters of one link.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a link has done since it was opened. Counts only grow, except `queued_bytes` and `subscriptions`.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Bytes that wait to be published or confirmed.
            pub queued_bytes: u64,
            /// Channels and patterns asked for.
            pub subscriptions: u64,
        }

        /// The counters behind [`Stats`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: AtomicU64,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self) -> Stats {
                Stats { $($name: self.$name.load(Relaxed),)* queued_bytes: 0, subscriptions: 0 }
            }
        }
    };
}

counters! {
    /// Messages taken for publishing.
    published,
    /// Messages that Redis confirmed.
    confirmed,
    /// Messages refused because the queue was full.
    refused,
    /// Messages that Redis answered with an error.
    rejected,
    /// Messages that were sent over a connection that then ended without confirming them. They are not sent again,
    /// because nobody can know whether they arrived.
    unconfirmed,
    /// Messages dropped by `close` because Redis did not take them in time.
    dropped,
    /// Messages received and handed on.
    received,
    /// Copies not handed on, because one message matched several subscriptions.
    duplicates,
    /// Messages on channels whose name is not UTF-8, dropped.
    unreadable,
    /// Messages skipped because they are larger than what may be held.
    oversized,
    /// Times that Redis cut off the subscriber because messages came faster than they were handled.
    overruns,
    /// Times that the queue became so full that a message was refused.
    queue_full,
    /// Times that it had room again after that.
    queue_drained,
    /// Connections that ended.
    lost,
    /// Connections made, the first ones included.
    connects,
    /// Attempts to connect that failed.
    failed_connects,
    /// Times that everything stood for the first time: at most one.
    connected,
    /// Times that everything stood again after a loss.
    restored,
    /// Times that the masters of the cluster were others than before.
    topology_changes,
    /// Times that the link was closed: at most one.
    closed,
    /// Probes sent through the subscription.
    probes,
    /// Probes that did not come back.
    lost_probes,
    /// Subscriptions that Redis refused.
    rejected_subscriptions,
    /// Old connections of ours that Redis still held open, ended by us before subscribing again.
    killed,
    /// Panics in the receiver, caught.
    panics,
}

/// Adds to a counter.
pub(super) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Relaxed);
}
