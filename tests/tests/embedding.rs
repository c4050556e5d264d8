//! A server beside other HTTP.

use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sio_server::Server;
use sio_tests::{Client, Http, Polling, log};
use tokio::net::{TcpListener, TcpStream};
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

#[tokio::test]
async fn what_the_server_accepts_does_not_wait_for_acknowledgements() {
    let io = Server::new();
    let (options, mut seen) = log();
    // Whoever upgrades gets the very stream that was accepted.
    let site = service_fn(move |mut request: http::Request<Incoming>| {
        let options = options.clone();
        async move {
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(&mut request).await.unwrap();
                let stream = upgraded.downcast::<TokioIo<TcpStream>>().unwrap().io.into_inner();
                let _ = options.send(stream.nodelay().unwrap());
            });
            let response = http::Response::builder().status(101).header("Upgrade", "nothing");
            Ok::<_, Infallible>(response.header("Connection", "Upgrade").body(String::new()).unwrap())
        }
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = io.serve(listener, io.layer().layer(site)).unwrap().address();
    let mut http = Http::connect(address).await;
    let upgrade = [("Connection", "Upgrade"), ("Upgrade", "nothing")];
    assert_eq!(http.request("GET", "/", &upgrade, b"").await.status, 101);
    assert!(seen.next().await, "TCP_NODELAY is not set");
    io.close().await;
}
