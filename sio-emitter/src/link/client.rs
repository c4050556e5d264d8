//! The way through a `fred` client: whatever it can reach, in pipelines.
//!
//! A message is given to the client only while it is connected, and is tried once: what the client would keep for
//! later would be out of the queue, where its time is counted, and what it would write again could arrive twice.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use fred::bytes_utils::Str;
use fred::clients::Client;
use fred::error::{Error, ErrorKind};
use fred::interfaces::{ClientLike, PubsubInterface};
use fred::types::config::{Config, Options, ReconnectPolicy};
use fred::types::{Builder, ClusterHash, Value};
use fred::util::redis_keyslot;
use tokio::time::{sleep, timeout};

use super::direct::Timeouts;
use super::{Writer, back_off, expire, lost, restored};
use crate::encode::Dialect;
use crate::error::{ConnectError, PublishError};
use crate::frame::{Command, Commands, Tally, Verb};
use crate::queue::{Chunk, Queue};

/// Makes a client of our own.
pub(crate) async fn connect(mut config: Config, limit: Duration) -> Result<Client, ConnectError> {
    config.fail_fast = true;
    let address = config.server.hosts().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let client = Builder::from_config(config)
        .with_connection_config(|options| {
            options.connection_timeout = limit;
            options.internal_command_timeout = limit;
            options.reconnect_on_auth_error = true;
            options.auto_client_setname = true;
        })
        .set_policy(ReconnectPolicy::new_exponential(0, 50, 2_000, 2))
        .build()
        .map_err(|error| ConnectError::Config(error.details().to_owned()))?;
    match timeout(limit, client.init()).await {
        Ok(Ok(_)) => Ok(client),
        Err(_) => Err(ConnectError::TimedOut { address, waited: limit }),
        Ok(Err(error)) => Err(match error.kind() {
            ErrorKind::Auth => ConnectError::Refused(error.details().to_owned()),
            ErrorKind::Config | ErrorKind::Url => ConnectError::Config(error.details().to_owned()),
            _ => ConnectError::Unreachable { address, reason: error.details().to_owned() },
        }),
    }
}

/// Says how messages are to be treated.
pub(crate) fn options(client: &Client, dialect: Dialect, prefix: &str, response: Duration) -> Options {
    let mut options = Options::default();
    options.max_attempts = Some(1);
    options.fail_fast = true;
    options.timeout = Some(response);
    if client.is_clustered() && dialect == Dialect::Classic {
        // Every node of a cluster passes messages on to all others. Through one and the same node they keep their
        // order, whatever the room.
        options.cluster_hash = Some(ClusterHash::Custom(redis_keyslot(prefix.as_bytes())));
    }
    options
}

/// Publishes what is queued until the queue is closed and empty. `owned` says that nobody else uses the client.
pub(crate) async fn drive(writer: Writer, client: Client, options: Options, owned: bool, timeouts: Timeouts) {
    let queue = &*writer.0;
    let mut batches = Batches { client, options, running: VecDeque::new() };
    loop {
        if batches.running.is_empty() && !batches.client.is_connected() {
            lost(queue, "the client is not connected");
            tokio::select! {
                () = connected(&batches.client, timeouts.connect) => restored(queue),
                () = expire(queue) => break,
            }
        }
        match poll_fn(|context| batches.poll(queue, context)).await {
            Step::Answered(batch, results) => settle(queue, batch, results),
            Step::Started => {}
            Step::Finished => break,
        }
    }
    if owned {
        // The server notices just as well if this fails.
        let _ = timeout(timeouts.connect, batches.client.quit()).await;
    }
}

/// Waits until the client is connected.
async fn connected(client: &Client, limit: Duration) {
    let mut attempt = 0;
    while !client.is_connected() {
        // A connection that was made a moment before would not be announced again, hence the limit.
        if timeout(limit.min(PATIENCE), client.wait_for_connect()).await.is_ok() {
            sleep(back_off(attempt)).await;
            attempt += 1;
        }
    }
}

/// Pipelines that are under way, in the order of their messages.
struct Batches {
    client: Client,
    options: Options,
    running: VecDeque<Batch>,
}

struct Batch {
    count: u64,
    results: Pin<Box<dyn Future<Output = Vec<Result<Value, Error>>> + Send>>,
}

enum Step {
    Answered(u64, Vec<Result<Value, Error>>),
    Started,
    Finished,
}

impl Batches {
    fn poll(&mut self, queue: &Queue, context: &mut Context<'_>) -> Poll<Step> {
        // The others have run since they were started, and wait with their results.
        if let Some(first) = self.running.front_mut()
            && let Poll::Ready(results) = first.results.as_mut().poll(context)
        {
            let count = first.count;
            self.running.pop_front();
            return Poll::Ready(Step::Answered(count, results));
        }
        if self.running.len() >= PIPELINES || !self.client.is_connected() {
            return if self.running.is_empty() { Poll::Ready(Step::Started) } else { Poll::Pending };
        }
        match queue.poll_take(context) {
            Poll::Ready(Some(chunk)) => {
                self.start(chunk, context);
                Poll::Ready(Step::Started)
            }
            Poll::Ready(None) if self.running.is_empty() => Poll::Ready(Step::Finished),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn start(&mut self, chunk: Chunk, context: &mut Context<'_>) {
        let pipeline = self.client.pipeline().with_options(&self.options);
        let results = async move {
            for command in Commands(chunk.bytes.into()) {
                if let Err(error) = add(&pipeline, command).await {
                    return vec![Err(error)];
                }
            }
            pipeline.try_all::<Value>().await
        };
        let mut batch = Batch { count: chunk.count, results: Box::pin(results) };
        // The first poll gives the pipeline to the client: polled here, they go out in the order of the queue.
        let results = match batch.results.as_mut().poll(context) {
            Poll::Ready(results) => Box::pin(std::future::ready(results)),
            Poll::Pending => return self.running.push_back(batch),
        };
        self.running.push_back(Batch { count: batch.count, results });
    }
}

/// Puts a command into a pipeline, which only notes it.
async fn add(
    pipeline: &(impl PubsubInterface + Sync),
    Command { verb, channel, message }: Command,
) -> Result<(), Error> {
    let channel = Str::from_inner(channel)
        .map_err(|_| Error::new(ErrorKind::InvalidArgument, "the channel is not UTF-8"))?;
    match verb {
        Verb::Publish => pipeline.publish(channel, message).await,
        Verb::Spublish => pipeline.spublish(channel, message).await,
    }
}

fn settle(queue: &Queue, count: u64, results: Vec<Result<Value, Error>>) {
    let mut tally = Tally::default();
    let mut broken = None;
    if results.len() as u64 == count {
        for result in results {
            match result {
                Ok(value) => {
                    tally.taken += 1;
                    tally.unheard += u64::from(value.as_u64() == Some(0));
                }
                Err(error) if is_answer(&error) => {
                    tally.refused += 1;
                    tally.refusal.get_or_insert_with(|| error.details().to_owned());
                }
                Err(error) => {
                    let (_, lost) = broken.get_or_insert((error.details().to_owned(), 0));
                    *lost += 1;
                }
            }
        }
    } else if let Some(Err(error)) = results.into_iter().next() {
        broken = Some((error.details().to_owned(), count));
    } else {
        broken = Some(("as many answers were expected as there are messages".to_owned(), count));
    }
    queue.settle(tally);
    if let Some((reason, lost)) = broken {
        queue.lose(PublishError::ConnectionLost(reason), lost);
    }
}

/// Says whether an error is the word of Redis, not that of the client.
fn is_answer(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::IO
            | ErrorKind::Canceled
            | ErrorKind::Timeout
            | ErrorKind::Routing
            | ErrorKind::Backpressure
    )
}

/// Pipelines under way, each of a chunk: enough that the client never waits for the next one.
const PIPELINES: usize = 8;
/// How long an announcement of the client is awaited before looking again.
const PATIENCE: Duration = Duration::from_millis(500);
