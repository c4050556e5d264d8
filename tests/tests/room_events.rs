//! What adapters hear of rooms, and when an adapter is made.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};

use serde_json::json;
use sio_server::{
    Adapter, AdapterFactory, LocalAdapter, LocalNamespace, RoomEvent, RoomInterest, Server, Socket, SocketId,
};
use sio_tests::{Bus, Client, Log, disconnects, log, serve, within};
use tokio::sync::oneshot;

fn created(room: &str) -> RoomEvent {
    RoomEvent::Created { room: room.into() }
}

fn joined(room: &str, socket: &SocketId) -> RoomEvent {
    RoomEvent::Joined { room: room.into(), socket: socket.clone() }
}

fn left(room: &str, socket: &SocketId) -> RoomEvent {
    RoomEvent::Left { room: room.into(), socket: socket.clone() }
}

fn deleted(room: &str) -> RoomEvent {
    RoomEvent::Deleted { room: room.into() }
}

/// What an adapter with this interest and a user hear of one socket that joins a room in a middleware, leaves its own
/// room and comes back to it, and goes.
async fn events_of(interest: RoomInterest) -> (SocketId, Log<RoomEvent>, Log<RoomEvent>) {
    let (heard, adapter) = log();
    let (told, user) = log();
    let io = Server::builder().adapter(Bus::new().node().hears(interest, heard)).build();
    io.sockets()
        .on_room_event(move |event| {
            let _ = told.send(event.clone());
        })
        .middleware(async |socket: Socket| {
            socket.join("a");
            Ok(())
        })
        .on_connection(async |socket: Socket| {
            socket.leave(socket.id());
            socket.leave(socket.id());
            socket.join(socket.id());
            socket.join(socket.id());
        });
    let mut gone = disconnects(&io);
    let (client, id) = Client::connected(serve(&io).await).await;
    drop(client);
    gone.next().await;
    (SocketId::from(id.as_str()), adapter, user)
}

#[tokio::test]
async fn an_adapter_hears_of_the_rooms_it_is_interested_in() {
    let (_, mut adapter, _) = events_of(RoomInterest::None).await;
    adapter.assert_empty();

    let (id, mut adapter, mut user) = events_of(RoomInterest::Rooms).await;
    let rooms = [created("a"), joined("a", &id), left("a", &id), deleted("a")];
    assert_eq!(adapter.take(4).await, rooms);
    assert_eq!(user.take(4).await, rooms);
    adapter.assert_empty();
    user.assert_empty();

    let (id, mut adapter, mut user) = events_of(RoomInterest::All).await;
    let added = || RoomEvent::SocketAdded { socket: id.clone() };
    let removed = || RoomEvent::SocketRemoved { socket: id.clone() };
    let all = [
        added(),
        created("a"),
        joined("a", &id),
        removed(),
        added(),
        left("a", &id),
        deleted("a"),
        removed(),
    ];
    assert_eq!(adapter.take(8).await, all);
    assert_eq!(user.take(4).await, [created("a"), joined("a", &id), left("a", &id), deleted("a")]);
    adapter.assert_empty();
    user.assert_empty();
}

#[tokio::test]
async fn an_adapter_reads_what_is_true_when_it_hears_of_a_change() {
    let node = Bus::new().node();
    let io = Server::builder().adapter(node.clone()).build();
    let local = node.local("/");
    let (seen, mut rooms) = log();
    let inner = local.clone();
    io.sockets().on_room_event(move |event| {
        let (RoomEvent::Created { room } | RoomEvent::Deleted { room }) = event else { return };
        let _ = seen.send((inner.has_room(room), inner.rooms(), inner.socket_count()));
    });
    let (client, id) = Client::connected(serve(&io).await).await;
    assert!(local.has_room(&id));
    assert_eq!((local.all_rooms(), local.rooms().len()), (vec![id], 0));
    io.sockets().sockets_join("a");
    assert_eq!(rooms.next().await, (true, vec!["a".to_owned()], 1));
    drop(client);
    assert_eq!(rooms.next().await, (false, vec![], 0));
}

/// An adapter factory whose adapters are the in-memory one, with something to do first.
struct Factory<F>(F);

impl<F> std::fmt::Debug for Factory<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Factory")
    }
}

impl<F: Fn(&LocalNamespace) + Send + Sync + 'static> AdapterFactory for Factory<F> {
    fn attach(&self, local: LocalNamespace) -> Arc<dyn Adapter> {
        (self.0)(&local);
        LocalAdapter::new().attach(local)
    }
}

#[tokio::test]
async fn an_adapter_is_made_without_any_lock() {
    let server: Arc<OnceLock<Server>> = Arc::default();
    let inner = Arc::clone(&server);
    let factory = Factory(move |local: &LocalNamespace| {
        if local.path() == "/a" {
            // It may need another namespace, and its own in the way that adapters have.
            let _ = inner.get().unwrap().of("/b");
            assert!(!local.has_room("x") && local.socket_count() == 0);
        }
    });
    let io = server.get_or_init(|| Server::builder().adapter(factory).build());
    let io = io.clone();
    let (done, made) = oneshot::channel();
    // A thread of its own: were there a lock, it would never come back.
    std::thread::spawn(move || {
        let path = io.of("/a").path().to_owned();
        let _ = done.send(path);
    });
    assert_eq!(within("a namespace", made).await.unwrap(), "/a");
}

#[tokio::test]
async fn of_many_who_need_a_namespace_one_makes_its_adapter_and_all_find_it() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let io = Server::builder()
        .adapter(Factory(move |_: &LocalNamespace| {
            count.fetch_add(1, Ordering::SeqCst);
            // Others come meanwhile.
            std::thread::yield_now();
        }))
        .build();
    for round in 0..50 {
        let barrier = Arc::new(Barrier::new(4));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (io, barrier) = (io.clone(), Arc::clone(&barrier));
                std::thread::spawn(move || {
                    barrier.wait();
                    io.of(&format!("/{round}")).emit("e", &json!({}));
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
    assert_eq!(made.load(Ordering::SeqCst), 51, "one for each namespace, and one for the main one");
}

#[tokio::test]
async fn a_factory_that_panics_costs_a_client_its_namespace_only() {
    let io = Server::builder()
        .adapter(Factory(|local: &LocalNamespace| assert_ne!(local.path(), "/bad", "as arranged")))
        .build();
    let _ = io.of_matching(|_, _| true);
    let mut client = Client::websocket(serve(&io).await).await;
    let refusal = client.join_with("/bad", "").await.unwrap_err();
    assert_eq!(refusal, json!({"message": "Invalid namespace"}));
    client.join("/good").await;
}
