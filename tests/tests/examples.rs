//! The examples of sio-server do what they say. They are compiled into this test, so that they cannot be stale.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::future::Future;
use std::net::SocketAddr;

use sio_tests::{Client, Http};
use tokio::net::TcpListener;

#[path = "../../sio-server/examples/axum.rs"]
#[allow(dead_code, reason = "`main` is not called here")]
mod axum_example;
#[path = "../../sio-server/examples/guide.rs"]
#[allow(dead_code, reason = "`main` is not called here")]
mod guide;
#[path = "../../sio-server/examples/hyper.rs"]
#[allow(dead_code, reason = "`main` is not called here")]
mod hyper_example;
#[path = "../../sio-server/examples/layer.rs"]
#[allow(dead_code, reason = "`main` is not called here")]
mod layer_example;
#[path = "../../sio-server/examples/standalone.rs"]
#[allow(dead_code, reason = "`main` is not called here")]
mod standalone;

async fn start<F>(serve: impl FnOnce(TcpListener) -> F) -> SocketAddr
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener));
    address
}

#[tokio::test]
async fn standalone_serves_both_transports() {
    let listening = standalone::start(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listening.address();
    let (mut ws, id) = Client::connected(address).await;
    ws.expect(&format!(r#"2["welcome","{id}"]"#)).await;
    let mut polling = Client::polling(address).await;
    let id = polling.join("/").await;
    polling.expect(&format!(r#"2["welcome","{id}"]"#)).await;
    assert_eq!(ws.ask(r#"["add",1,2]"#).await, serde_json::json!([3]));
    assert_eq!(polling.ask(r#"["add",-1,1]"#).await, serde_json::json!([0]));
    ws.send(r#"2["say","hello"]"#).await;
    ws.expect(r#"2["said","hello"]"#).await;
    polling.expect(r#"2["said","hello"]"#).await;
}

#[tokio::test]
async fn axum_serves_the_site_and_its_routes_emit() {
    let address = start(axum_example::serve).await;
    let mut http = Http::connect(address).await;
    assert_eq!(http.get("/").await.text(), "the rest of the site");
    let (mut ws, _) = Client::connected(address).await;
    let mut polling = Client::polling(address).await;
    polling.join("/").await;
    assert_eq!(http.post("/announce", b"dinner").await.status, 200);
    ws.expect(r#"2["announcement","dinner"]"#).await;
    polling.expect(r#"2["announcement","dinner"]"#).await;
    polling.send(r#"2["say","thanks"]"#).await;
    ws.expect(r#"2["said","thanks"]"#).await;
}

#[tokio::test]
async fn hyper_serves_both_transports() {
    let address = start(hyper_example::serve).await;
    let (mut ws, _) = Client::connected(address).await;
    assert_eq!(ws.ask(r#"["echo",{"a":[1]}]"#).await, serde_json::json!([{"a": [1]}]));
    let mut polling = Client::polling(address).await;
    polling.join("/").await;
    assert_eq!(polling.ask(r#"["echo",null]"#).await, serde_json::json!([null]));
}

#[tokio::test]
async fn layer_lets_other_requests_through() {
    let address = start(layer_example::serve).await;
    let mut http = Http::connect(address).await;
    assert_eq!(http.get("/").await.text(), "the site");
    for other in ["/socket.io", "/socket.iox/", "/elsewhere"] {
        assert_eq!(http.get(other).await.text(), "any other page", "{other}");
    }
    let (mut ws, _) = Client::connected(address).await;
    assert_eq!(ws.ask(r#"["upper","a"]"#).await, serde_json::json!(["A"]));
    let mut polling = Client::polling(address).await;
    polling.join("/").await;
    assert_eq!(polling.ask(r#"["upper","b"]"#).await, serde_json::json!(["B"]));
}

mod the_guide {
    use super::*;

    #[tokio::test]
    async fn the_default_namespace_reaches_everybody_in_it_and_nobody_else() {
        let address = start(guide::serve).await;
        let (mut ada, _) = Client::connected(address).await;
        let mut bob = Client::polling(address).await;
        bob.join("/").await;
        let mut elsewhere = Client::websocket(address).await;
        let id = elsewhere.join("/my-namespace").await;
        elsewhere.expect(&format!(r#"2/my-namespace,["welcome","{id}"]"#)).await;
        ada.send(r#"2["announce"]"#).await;
        for client in [&mut ada, &mut bob] {
            client.expect(r#"2["hi","everyone!"]"#).await;
            client.expect(r#"2["hi","everyone!"]"#).await;
        }
        elsewhere.send(r#"2/my-namespace,["announce"]"#).await;
        elsewhere.expect(r#"2/my-namespace,["hi","everyone here!"]"#).await;
    }

    #[tokio::test]
    async fn a_connection_is_handed_over_as_a_socket_and_its_end_is_seen_on_it() {
        let address = start(guide::serve).await;
        let (mut ada, _) = Client::connected(address).await;
        // Only in the namespace that listens for it, and it is this very socket.
        let other = ada.join("/my-namespace").await;
        ada.expect(&format!(r#"2/my-namespace,["welcome","{other}"]"#)).await;
        let (bob, bob_id) = Client::connected(address).await;
        drop(bob);
        ada.expect(&format!(r#"2["left","{bob_id}",[]]"#)).await;
    }

    #[tokio::test]
    async fn the_name_of_a_namespace_is_no_url() {
        let address = start(guide::serve).await;
        let mut http = Http::connect(address).await;
        for path in ["/my-namespace/", "/my-namespace/socket.io/"] {
            let target = format!("{path}?EIO=4&transport=polling");
            assert_eq!(http.get(&target).await.status, 404, "{path}");
        }
        // Whoever polls joins it like any other.
        let mut polling = Client::polling(address).await;
        let id = polling.join("/my-namespace").await;
        polling.expect(&format!(r#"2/my-namespace,["welcome","{id}"]"#)).await;
    }

    #[tokio::test]
    async fn one_connection_joins_many_namespaces() {
        let address = start(guide::serve).await;
        let (mut client, id) = Client::connected(address).await;
        let other = client.join("/my-namespace").await;
        assert_ne!(id, other, "ids are different in each namespace");
        client.expect(&format!(r#"2/my-namespace,["welcome","{other}"]"#)).await;
        client.send(r#"2["announce"]"#).await;
        client.expect(r#"2["hi","everyone!"]"#).await;
        client.expect(r#"2["hi","everyone!"]"#).await;
        client.send(r#"2/my-namespace,["announce"]"#).await;
        client.expect(r#"2/my-namespace,["hi","everyone here!"]"#).await;
    }

    #[tokio::test]
    async fn rooms_are_joined_and_left_and_to_is_in() {
        let address = start(guide::serve).await;
        let (mut ada, id) = Client::connected(address).await;
        let (mut bob, _) = Client::connected(address).await;
        assert_eq!(ada.ask(r#"["join","some room"]"#).await, serde_json::json!([[id, "some room"]]));
        bob.send(r#"2["to room","some room","hello"]"#).await;
        ada.expect(r#"2["some event","hello"]"#).await;
        ada.expect(r#"2["some event","hello"]"#).await;
        assert_eq!(ada.ask(r#"["leave","some room"]"#).await, serde_json::json!([[id]]));
        bob.send(r#"2["to room","some room","nobody"]"#).await;
        bob.send(r#"2["announce"]"#).await;
        ada.expect(r#"2["hi","everyone!"]"#).await;
    }

    #[tokio::test]
    async fn whoever_knows_an_id_reaches_that_socket_alone() {
        let address = start(guide::serve).await;
        let (mut ada, ada_id) = Client::connected(address).await;
        let (mut bob, bob_id) = Client::connected(address).await;
        let (mut eve, _) = Client::connected(address).await;
        ada.send(&format!(r#"2["say to someone else","{bob_id}","hello"]"#)).await;
        bob.expect(&format!(r#"2["my message","{ada_id}","hello"]"#)).await;
        ada.send(r#"2["announce"]"#).await;
        eve.expect(r#"2["hi","everyone!"]"#).await;
    }

    #[tokio::test]
    async fn a_socket_that_disconnects_leaves_its_rooms() {
        let address = start(guide::serve).await;
        let (mut ada, _) = Client::connected(address).await;
        let (mut bob, bob_id) = Client::connected(address).await;
        ada.ask(r#"["join","some room"]"#).await;
        bob.ask(r#"["join","some room"]"#).await;
        bob.send("1").await;
        ada.expect(&format!(r#"2["gone","{bob_id}","client namespace disconnect"]"#)).await;
        ada.expect(&format!(r#"2["left","{bob_id}",[]]"#)).await;
        let again = bob.join("/").await;
        assert_eq!(bob.ask(r#"["leave","nothing"]"#).await, serde_json::json!([[again]]));
    }
}
