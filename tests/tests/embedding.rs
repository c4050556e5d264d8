//! A server beside other HTTP.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::service::service_fn;
use sio_server::Server;
use sio_tests::{Http, Polling};
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
