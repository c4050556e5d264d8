//! One namespace at work: its node, the bus that carries out what the node wants, its task, and what the server holds.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use sio_protocol::socketio::{OwnedArgs, Packet};
use sio_server::{
    AckSink, Adapter, AdapterError, BroadcastOptions, Incomplete, LocalNamespace, RoomEvent, RoomInterest,
    SocketDetails,
};
use tokio::sync::Notify;

use super::dialect::Dialect;
use super::hub::Hub;
use super::sockets::{Back, Sockets, TakeAnswers};
use crate::link::Topic;
use crate::node::{Answers, Bus, Identity, Node, Question, Refused, ReplyTo, Settings, Uncounted};

/// One namespace of this process in the cluster.
pub(super) struct Attached<D: Dialect> {
    pub(super) node: D::Node,
    nsp: Box<str>,
    hub: Arc<Hub<D>>,
    /// Wakes the task.
    wake: Notify,
    count_wanted: AtomicBool,
    is_stopped: AtomicBool,
}

impl<D: Dialect> Attached<D> {
    pub(super) fn new(hub: &Arc<Hub<D>>, local: LocalNamespace, seed: u64) -> Arc<Self> {
        let nsp: Box<str> = local.path().into();
        Arc::new_cyclic(|this: &Weak<Self>| {
            let back: Weak<dyn TakeAnswers> = this.clone();
            let identity = Identity { nsp: nsp.clone(), seed, counters: Arc::clone(&hub.counters) };
            // What clients of this server accept.
            let settings = Settings { limits: local.limits(), ..hub.settings };
            let node = hub.dialect.node(Sockets::new(local, Back(back)), identity, &settings);
            Self {
                node,
                nsp,
                hub: Arc::clone(hub),
                wake: Notify::new(),
                count_wanted: AtomicBool::new(false),
                is_stopped: AtomicBool::new(false),
            }
        })
    }

    pub(super) fn nsp(&self) -> &str {
        &self.nsp
    }

    pub(super) fn handle_message(&self, channel: &str, message: &Bytes) {
        self.node.handle_message(channel, message, now(), self);
    }

    /// Ends it: takes the subscriptions back, ends what is awaited, and the task. Once.
    pub(super) fn stop(&self) {
        if !self.is_stopped.swap(true, Ordering::AcqRel) {
            self.node.stop(self);
            self.wake.notify_one();
        }
    }

    /// Counts nodes and ends what takes too long, until the node is stopped.
    pub(super) async fn run(self: Arc<Self>) {
        let mut counting = None;
        while !self.is_stopped.load(Ordering::Acquire) {
            if counting.is_none() && self.count_wanted.swap(false, Ordering::AcqRel) {
                counting = Some(Box::pin(self.count_nodes()));
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = sleep_until(self.node.poll_timeout()) => self.node.handle_timeout(now()),
                count = counted(&mut counting) => self.node.handle_count(count, &*self),
            }
        }
    }

    async fn count_nodes(&self) -> Result<usize, Uncounted> {
        let link = self.hub.link().ok_or_else(|| Uncounted(NOT_OPEN.to_owned()))?;
        let count = link.subscribers(D::SPACE, self.node.counted_channel()).await;
        count.map(to_usize).map_err(|error| Uncounted(error.to_string()))
    }
}

impl<D: Dialect> Bus for Attached<D> {
    fn publish(&self, channel: &str, message: Bytes) -> Result<(), Refused> {
        let link = self.hub.link().ok_or_else(|| Refused(NOT_OPEN.to_owned()))?;
        link.publish(D::SPACE, channel, message).map_err(|error| Refused(error.to_string()))
    }

    fn subscribe(&self, topic: Topic) {
        self.hub.subscribe(topic);
    }

    fn unsubscribe(&self, topic: Topic) {
        self.hub.unsubscribe(topic);
    }

    fn count(&self) {
        self.count_wanted.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    fn wake(&self) {
        self.wake.notify_one();
    }
}

impl<D: Dialect> TakeAnswers for Attached<D> {
    fn asked(&self, question: &Question, clients: usize) {
        self.node.handle_asked(question, clients, self);
    }

    fn answered(&self, question: &Question, answer: Option<&OwnedArgs>) {
        self.node.handle_answer(question, answer, self);
    }

    fn replied(&self, to: &ReplyTo, answer: &OwnedArgs) {
        self.node.handle_reply(to, answer, self);
    }
}

/// What the server holds. When it lets go, the node ends, whether or not the server was closed.
pub(super) struct Handle<D: Dialect>(pub(super) Arc<Attached<D>>);

impl<D: Dialect> Handle<D> {
    fn node(&self) -> &D::Node {
        &self.0.node
    }

    fn local(&self) -> &LocalNamespace {
        self.node().local().local()
    }

    fn end(&self) {
        self.0.hub.detach(&self.0);
    }
}

impl<D: Dialect> Drop for Handle<D> {
    fn drop(&mut self) {
        self.end();
    }
}

impl<D: Dialect> fmt::Debug for Handle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisAdapter").field("nsp", &self.0.nsp).finish_non_exhaustive()
    }
}

#[async_trait]
impl<D: Dialect> Adapter for Handle<D> {
    fn broadcast(&self, packet: &Packet<'_>, options: &BroadcastOptions) {
        self.node().broadcast(packet, options, &*self.0);
    }

    fn broadcast_with_ack(&self, packet: &Packet<'_>, options: &BroadcastOptions, sink: AckSink) {
        self.node().broadcast_with_ack(packet, options, sink, now(), &*self.0);
    }

    fn join_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.node().join_sockets(options, rooms, &*self.0);
    }

    fn leave_sockets(&self, options: &BroadcastOptions, rooms: &[String]) {
        self.node().leave_sockets(options, rooms, &*self.0);
    }

    fn disconnect_sockets(&self, options: &BroadcastOptions, close: bool) {
        self.node().disconnect_sockets(options, close, &*self.0);
    }

    async fn fetch_sockets(
        &self,
        options: &BroadcastOptions,
    ) -> Result<Vec<SocketDetails>, Incomplete<SocketDetails>> {
        arrived(self.node().fetch_sockets(options, now(), &*self.0)).await
    }

    async fn all_rooms(&self) -> Result<Vec<String>, Incomplete<String>> {
        arrived(self.node().all_rooms(now(), &*self.0)).await
    }

    async fn server_count(&self) -> Result<usize, AdapterError> {
        let unreachable = |error: &dyn fmt::Display| AdapterError::Unreachable(error.to_string());
        let link = self.0.hub.link().ok_or_else(|| unreachable(&NOT_OPEN))?;
        let count = link.subscribers(D::SPACE, self.node().counted_channel()).await;
        // This one is there, even if Redis has not noticed yet.
        count.map(|count| to_usize(count).max(1)).map_err(|error| unreachable(&error))
    }

    fn server_side_emit(&self, packet: &Packet<'_>) {
        self.node().server_side_emit(packet, &*self.0);
    }

    async fn server_side_emit_with_ack(
        &self,
        packet: Packet<'static>,
    ) -> Result<Vec<OwnedArgs>, Incomplete<OwnedArgs>> {
        arrived(self.node().server_side_emit_with_ack(&packet, now(), &*self.0)).await
    }

    fn could_reach(&self, options: &BroadcastOptions) -> bool {
        // Who is on other nodes is not known here.
        !options.flags.local || self.local().could_reach(options)
    }

    fn room_interest(&self) -> RoomInterest {
        self.node().room_interest()
    }

    fn room_event(&self, event: &RoomEvent) {
        self.node().handle_room_event(event, &*self.0);
    }

    async fn close(&self) {
        self.end();
    }
}

/// Waits for a count, if one is under way, and takes it out.
async fn counted<F>(counting: &mut Option<Pin<Box<F>>>) -> Result<usize, Uncounted>
where
    F: Future<Output = Result<usize, Uncounted>>,
{
    let Some(count) = counting else { return std::future::pending().await };
    let count = count.await;
    *counting = None;
    count
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

async fn arrived<T>(answers: Answers<T>) -> Result<Vec<T>, Incomplete<T>> {
    // A node answers in the end; without an answer it is no more.
    answers
        .await
        .unwrap_or_else(|_| Err(AdapterError::Unreachable("the adapter is closed".to_owned()).into()))
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// The runtime's time, which tests may hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

const NOT_OPEN: &str = "the link to Redis is not open";
