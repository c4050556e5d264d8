//! What a namespace does with the other nodes rather than with its sockets: events from server to server, and what
//! all nodes together know.

use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sio_protocol::socketio::{ArgsError, OwnedArgs, Packet};

use super::{Namespace, NamespaceInner};
use crate::broadcast::report;
use crate::encoded::Draft;
use crate::error::{AdapterError, EmitError, Incomplete};
use crate::handler::IntoReply;

impl Namespace {
    /// Emits an event to this namespace on every *other* node, where the handlers of
    /// [`on_server_event`](Self::on_server_event) get it. Nothing happens when there is no other, as with the
    /// in-memory adapter. What cannot be sent is reported to [`Server::on_error`](crate::Server::on_error). Node:
    /// `serverSideEmit()`.
    ///
    /// ```
    /// # use sio_server::Server;
    /// # let io = Server::new();
    /// io.sockets().on_server_event("reload", async |topic: String| println!("{topic} is stale"));
    /// io.server_side_emit("reload", "prices");
    /// ```
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, args: &T) {
        if let Err(error) = self.try_server_side_emit(event, args) {
            report(&self.0, event, error);
        }
    }

    /// Like [`server_side_emit`](Self::server_side_emit), with the error for the caller.
    ///
    /// # Errors
    /// When the arguments cannot be serialised or the event name is reserved: `connect`, `connection`,
    /// `new_namespace`.
    pub fn try_server_side_emit<T: Serialize + ?Sized>(
        &self,
        event: &str,
        args: &T,
    ) -> Result<(), EmitError> {
        for (namespace, packet) in self.server_packets(event, args)? {
            namespace.adapter().server_side_emit(&packet);
        }
        Ok(())
    }

    /// Emits an event to this namespace on every other node and waits for an answer of each, for as long as the
    /// adapter's request timeout says; gives the answers in the order they came, `[]` when there is no other node. A
    /// node without a handler that answers never does, as in Node. The event leaves when the future is polled. Node:
    /// `serverSideEmitWithAck()`.
    ///
    /// # Errors
    /// When a node does not answer in time, or not with an `R`; what did arrive is in the error. When the event cannot
    /// be sent, as for [`try_server_side_emit`](Self::try_server_side_emit).
    pub fn server_side_emit_with_ack<R: DeserializeOwned + Send>(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> impl Future<Output = Result<Vec<R>, Incomplete<R>>> + Send {
        // Serialised here: the future holds none of it.
        let packets = self.server_packets(event, args);
        async move {
            let mut answers = Answers::default();
            for (namespace, packet) in packets.map_err(AdapterError::from)? {
                match namespace.adapter().server_side_emit_with_ack(packet).await {
                    Ok(arrived) => answers.add(&arrived),
                    Err(Incomplete { arrived, cause }) => {
                        answers.add(&arrived);
                        answers.failed.get_or_insert(cause);
                    }
                }
            }
            answers.finish()
        }
    }

    fn server_packets(
        &self,
        event: &str,
        args: &(impl Serialize + ?Sized),
    ) -> Result<Vec<(Arc<NamespaceInner>, Packet<'static>)>, EmitError> {
        check_name(event)?;
        let targets = self.0.targets().into_iter();
        let packets = targets.map(|namespace| {
            let draft = Draft::server_event(namespace.path(), event, args)?;
            let packet = draft.packet(namespace.path(), None).into_owned();
            Ok((namespace, packet))
        });
        packets.collect()
    }

    /// Calls `handler` for every event `event` that another node emits to this namespace with
    /// [`server_side_emit`](Self::server_side_emit). `T` is taken as [`Args`](crate::Args) takes it: a tuple takes
    /// several arguments, anything else the first.
    ///
    /// What it returns is the answer, as for [`on`](Self::on): `Ok(value)` or `Reply(value)` answers with `value`,
    /// `Err(error)` with `{"error": text}`, `()` does not answer. Of several handlers the first answer counts. It
    /// starts where the adapter receives, so what runs before its first `.await` should be quick. Node: `io.on(event)`.
    ///
    /// ```
    /// # use sio_server::{Reply, Server};
    /// # let io = Server::new();
    /// io.sockets().on_server_event("load", async |()| Reply(0.75));
    /// # async {
    /// let loads = io.server_side_emit_with_ack::<f64>("load", &()).await;
    /// # };
    /// ```
    pub fn on_server_event<T, F, Fut>(&self, event: impl Into<String>, handler: F) -> &Self
    where
        T: DeserializeOwned,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output: IntoReply> + Send + 'static,
    {
        self.0.update_table(|table| table.server_events.add(event.into(), handler));
        self
    }

    /// The names of all rooms of the namespace on all nodes, the sockets' own among them; see
    /// [`local_rooms`](Self::local_rooms) for this node. Node: `adapter.allRooms()`.
    ///
    /// # Errors
    /// When another node does not answer in time; the rooms that are known are in the error.
    pub async fn all_rooms(&self) -> Result<Vec<String>, Incomplete<String>> {
        let (mut rooms, mut failed) = (HashSet::new(), None);
        for namespace in self.0.targets() {
            match namespace.adapter().all_rooms().await {
                Ok(names) => rooms.extend(names),
                Err(Incomplete { arrived, cause }) => {
                    rooms.extend(arrived);
                    failed.get_or_insert(cause);
                }
            }
        }
        let rooms = rooms.into_iter().collect();
        match failed {
            Some(cause) => Err(Incomplete::new(rooms, cause)),
            None => Ok(rooms),
        }
    }

    /// How many nodes serve the namespace, this one included. Node: `adapter.serverCount()`.
    ///
    /// # Errors
    /// When the cluster cannot be reached.
    pub async fn server_count(&self) -> Result<usize, AdapterError> {
        let mut count = 1;
        for namespace in self.0.targets() {
            count = count.max(namespace.adapter().server_count().await?);
        }
        Ok(count)
    }
}

/// The answers of other nodes, those that could be read apart from those that could not.
struct Answers<R> {
    arrived: Vec<R>,
    failed: Option<AdapterError>,
    undecodable: usize,
    error: Option<ArgsError>,
}

impl<R> Default for Answers<R> {
    fn default() -> Self {
        Self { arrived: Vec::new(), failed: None, undecodable: 0, error: None }
    }
}

impl<R: DeserializeOwned> Answers<R> {
    fn add(&mut self, answers: &[OwnedArgs]) {
        for answer in answers {
            match answer.deserialize() {
                Ok(answer) => self.arrived.push(answer),
                Err(error) => {
                    self.undecodable += 1;
                    self.error.get_or_insert(error);
                }
            }
        }
    }

    fn finish(self) -> Result<Vec<R>, Incomplete<R>> {
        let undecodable = self.error.map(|error| AdapterError::Decode { nodes: self.undecodable, error });
        match self.failed.or(undecodable) {
            Some(cause) => Err(Incomplete::new(self.arrived, cause)),
            None => Ok(self.arrived),
        }
    }
}

/// Names that Node keeps for itself between servers: `RESERVED_EVENTS` of its `namespace.ts`.
fn check_name(event: &str) -> Result<(), EmitError> {
    match event {
        "connect" | "connection" | "new_namespace" => Err(EmitError::ReservedEvent(event.to_owned())),
        _ => Ok(()),
    }
}
