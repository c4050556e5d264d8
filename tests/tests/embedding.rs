//! A server beside other HTTP.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::service::service_fn;
use sio_server::Server;
use sio_tests::{Client, Http, Polling};
use tokio::net::TcpListener;
use tower_layer::Layer as _;

#[tokio::test]
async fn a_layer_around_a_hyper_service_is_served() {
    let io = Server::new();
    let site = service_fn(async |request: http::Request<Incoming>| {
        Ok::<_, Infallible>(http::Response::new(request.uri().path().to_owned()))
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = io.serve(listener, io.layer().layer(site)).unwrap().address();

    assert_eq!(Http::connect(address).await.get("/page").await.text(), "/page");
    Polling::open(address).await;
    io.close().await;
}

#[tokio::test]
async fn a_layer_on_every_route_and_method_is_one_server() {
    let io = Server::new();
    let app = axum::Router::new()
        .route("/{*path}", axum::routing::get(async || "get").post(async || "post"))
        .layer(io.layer());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });

    assert_eq!(Http::connect(address).await.get("/page").await.text(), "get");
    // GET and POST go through different layers here; a session that one opens the other has to know.
    let mut client = Client::polling(address).await;
    client.join("/").await;
    io.emit("x", &());
    client.expect("2[\"x\"]").await;
    io.close().await;
}
