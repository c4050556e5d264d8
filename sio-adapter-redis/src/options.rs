//! The options that both adapters have.

use std::time::Duration;

use sio_protocol::Limits;

use crate::driver::{HubOptions, OnEvent};
use crate::link::RedisEvent;
use crate::node::Settings;

/// The values of the options, and their defaults.
pub(crate) struct CommonOptions {
    requests_timeout: Duration,
    max_requests: usize,
    max_questions: usize,
    max_answer_bytes: usize,
    max_queued_bytes: Option<usize>,
    connect_timeout: Option<Duration>,
    start_without_redis: bool,
    on_event: Option<OnEvent>,
}

impl Default for CommonOptions {
    fn default() -> Self {
        Self {
            requests_timeout: Duration::from_secs(5),
            max_requests: 10_000,
            max_questions: 10_000,
            max_answer_bytes: 64 << 20,
            max_queued_bytes: None,
            connect_timeout: None,
            start_without_redis: false,
            on_event: None,
        }
    }
}

impl CommonOptions {
    pub(crate) fn set_requests_timeout(&mut self, timeout: Duration) {
        self.requests_timeout = timeout;
    }

    pub(crate) fn set_max_requests(&mut self, requests: usize) {
        self.max_requests = requests;
    }

    pub(crate) fn set_max_questions(&mut self, questions: usize) {
        self.max_questions = questions;
    }

    pub(crate) fn set_max_answer_bytes(&mut self, bytes: usize) {
        self.max_answer_bytes = bytes;
    }

    pub(crate) fn set_max_queued_bytes(&mut self, bytes: usize) {
        self.max_queued_bytes = Some(bytes);
    }

    pub(crate) fn set_connect_timeout(&mut self, timeout: Duration) {
        self.connect_timeout = Some(timeout);
    }

    pub(crate) fn set_start_without_redis(&mut self, start: bool) {
        self.start_without_redis = start;
    }

    pub(crate) fn set_on_event(&mut self, on_event: impl Fn(&RedisEvent) + Send + Sync + 'static) {
        self.on_event = Some(Box::new(on_event));
    }

    pub(crate) fn into_hub_options(self) -> HubOptions {
        let Self { max_queued_bytes, connect_timeout, start_without_redis, .. } = self;
        HubOptions {
            settings: Settings {
                requests_timeout: self.requests_timeout,
                max_requests: self.max_requests,
                max_questions: self.max_questions,
                max_answer_bytes: self.max_answer_bytes,
                // Those of the server, once there is one.
                limits: Limits::default(),
            },
            on_event: self.on_event,
            link: Box::new(move |link| {
                link.max_queued_bytes = max_queued_bytes.unwrap_or(link.max_queued_bytes);
                link.connect_timeout = connect_timeout.unwrap_or(link.connect_timeout);
                link.start_without_redis = start_without_redis;
            }),
        }
    }
}

/// Gives a builder with a field `common` the options that both adapters have.
macro_rules! common_options {
    ($builder:ident) => {
        impl $builder {
            /// How long the answers of other nodes are awaited, by `fetch_sockets`, `all_rooms` and
            /// `server_side_emit_with_ack`. What has arrived by then is in the error. Broadcasts that want
            /// acknowledgements wait as long as they say, or as the server's
            /// [`broadcast_ack_timeout`](sio_server::ServerBuilder::broadcast_ack_timeout) does. Default: 5 s. Node:
            /// `requestsTimeout`.
            pub fn requests_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.common.set_requests_timeout(timeout);
                self
            }

            /// How many requests to other nodes may wait for answers, in each namespace; further ones fail with
            /// [`TooManyPending`](sio_server::AdapterError::TooManyPending). Each takes about 500 bytes and what has
            /// arrived for it. Default: 10,000.
            pub fn max_requests(mut self, requests: usize) -> Self {
                self.common.set_max_requests(requests);
                self
            }

            /// How many broadcasts of other nodes may wait for the acknowledgements of clients of this one, in each
            /// namespace. The clients get further ones, too, but what they acknowledge is not passed on. Each takes
            /// about 300 bytes, and about 50 for each client. Default: 10,000.
            pub fn max_questions(mut self, questions: usize) -> Self {
                self.common.set_max_questions(questions);
                self
            }

            /// How many bytes the answers to one request may have; one that gets more ends with
            /// [`TooLarge`](sio_server::AdapterError::TooLarge) and what had arrived. Descriptions of sockets take
            /// several times as much in memory. Default: 64 MiB.
            pub fn max_answer_bytes(mut self, bytes: usize) -> Self {
                self.common.set_max_answer_bytes(bytes);
                self
            }

            /// How many bytes may wait to be published, while Redis is down or slower than its senders. Messages that
            /// find no room are dropped, which is told once as [`QueueFull`](crate::RedisEvent::QueueFull) and counted
            /// as [`refused`](crate::LinkStats::refused). This is also the worst-case memory. Default: 64 MiB.
            pub fn max_queued_bytes(mut self, bytes: usize) -> Self {
                self.common.set_max_queued_bytes(bytes);
                self
            }

            /// How long [`connect`](Self::connect) tries before it gives up. Default: 5 s.
            pub fn connect_timeout(mut self, timeout: std::time::Duration) -> Self {
                self.common.set_connect_timeout(timeout);
                self
            }

            /// Whether to start when Redis cannot be reached: the server serves its own clients and joins the cluster
            /// when Redis comes. Wrong addresses and credentials are errors all the same. Default: no.
            pub fn start_without_redis(mut self, start: bool) -> Self {
                self.common.set_start_without_redis(start);
                self
            }

            /// Calls `on_event` for every transition of the connection: lost, restored, queue full and so on. It must
            /// not block. All of them are logged as well.
            pub fn on_event(mut self, on_event: impl Fn(&crate::RedisEvent) + Send + Sync + 'static) -> Self {
                self.common.set_on_event(on_event);
                self
            }
        }
    };
}
pub(crate) use common_options;
