//! The ways to run a server: as a service in axum or hyper, as a tower layer, or by itself.

use std::convert::Infallible;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::HeaderMap;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Either;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::task::JoinHandle;

use crate::handler::BoxFuture;
use crate::handshake::Peer;
use crate::http::response::{Body, empty};
use crate::http::route::{self, Route};
use crate::server::{Server, Shared};
use crate::transport::{polling, upgrade};
use crate::websocket::is_upgrade;

/// The body of a response of a [`Service`].
pub type ResponseBody = http_body_util::Full<Bytes>;

/// A Socket.IO server as a tower and hyper service. Requests outside its path are answered with 404.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

impl Service {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn answer<B>(&self, request: Request<B>) -> BoxFuture<Result<Response<Body>, Infallible>>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
    {
        let answer = begin(answer(Arc::clone(&self.shared), request));
        Box::pin(async move { Ok(answer.await) })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("path", &self.shared.config.path).finish_non_exhaustive()
    }
}

impl<B> tower_service::Service<Request<B>> for Service
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.answer(request)
    }
}

impl<B> hyper::service::Service<Request<B>> for Service
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Self::Response, Infallible>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        self.answer(request)
    }
}

/// Starts to answer at once. hyper drops the answer to a client that hangs up together with its request without ever
/// polling it, and a poll that was given up has to end its session.
fn begin(answer: impl Future<Output = Response<Body>> + Send + 'static) -> Begun {
    let mut answer: BoxFuture<Response<Body>> = Box::pin(answer);
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(response) => Begun::Ready(Some(response)),
        Poll::Pending => Begun::Waiting(answer),
    }
}

/// An answer that has been polled once.
enum Begun {
    Ready(Option<Response<Body>>),
    Waiting(BoxFuture<Response<Body>>),
}

impl Future for Begun {
    type Output = Response<Body>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        match &mut *self {
            // Polled on after its end, it waits for ever.
            Self::Ready(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Self::Waiting(answer) => answer.as_mut().poll(cx),
        }
    }
}

async fn answer<B: http_body::Body>(shared: Arc<Shared>, request: Request<B>) -> Response<Body> {
    let path = request.uri().path();
    if !route::is_ours(path, &shared.config.path) {
        tracing::debug!(path, expected = &*shared.config.path, "request outside the path, answered with 404");
        return empty(StatusCode::NOT_FOUND);
    }
    respond(shared, request).await
}

/// Answers a request of ours.
async fn respond<B: http_body::Body>(shared: Arc<Shared>, request: Request<B>) -> Response<Body> {
    shared.start();
    let (parts, body) = request.into_parts();
    // CORS comes before everything, so that a page can read refusals too.
    let mut cors_headers = HeaderMap::new();
    if let Some(cors) = &shared.config.cors {
        if parts.method == Method::OPTIONS {
            return cors.preflight(&parts.headers).map(|()| Body::default());
        }
        cors.apply(&parts.headers, &mut cors_headers);
    }
    let is_upgrade = is_upgrade(&parts.headers);
    let mut response = match route::route(&shared, &parts, is_upgrade) {
        Err(refusal) => {
            tracing::debug!(code = refusal.code(), "request refused: {}", refusal.message());
            let refused = if is_upgrade { refusal.websocket_response() } else { refusal.polling_response() };
            refused.map(Body::from)
        }
        Ok(Route::OpenPolling(opening)) => polling::open(&shared, opening, &parts),
        Ok(Route::OpenWebSocket(opening)) => upgrade::open(&shared, &opening, parts),
        Ok(Route::Upgrade { connection, base64 }) => upgrade::upgrade(connection, parts, base64),
        Ok(Route::Poll(connection)) => {
            drop(shared);
            polling::handle(connection, parts, body).await
        }
    };
    response.headers_mut().extend(cors_headers);
    response
}

/// Puts a server in front of a service: requests below its path are its own.
///
/// All services the layer wraps share one server, so a router that applies it to every route is served right.
#[derive(Clone)]
pub struct Layer {
    shared: Arc<Shared>,
}

impl Layer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Layer {
    /// Puts the server in front of `inner`.
    pub fn wrap<S>(&self, inner: S) -> Layered<S> {
        Layered { shared: Arc::clone(&self.shared), inner }
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layer").field("path", &self.shared.config.path).finish_non_exhaustive()
    }
}

impl<S> tower_layer::Layer<S> for Layer {
    type Service = Layered<S>;

    fn layer(&self, inner: S) -> Layered<S> {
        self.wrap(inner)
    }
}

/// A service with a server in front of it.
#[derive(Clone)]
pub struct Layered<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S: fmt::Debug> fmt::Debug for Layered<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<S, B, R> tower_service::Service<Request<B>> for Layered<S>
where
    S: tower_service::Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Either<ResponseBody, R>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        answer_or_pass(&self.shared, request, |request| self.inner.call(request))
    }
}

impl<S, B, R> hyper::service::Service<Request<B>> for Layered<S>
where
    S: hyper::service::Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
{
    type Response = Response<Either<ResponseBody, R>>;
    type Error = S::Error;
    type Future = BoxFuture<Result<Self::Response, S::Error>>;

    fn call(&self, request: Request<B>) -> Self::Future {
        answer_or_pass(&self.shared, request, |request| self.inner.call(request))
    }
}

/// Answers a request of ours, and passes on any other.
fn answer_or_pass<B, R, F, E>(
    shared: &Arc<Shared>,
    request: Request<B>,
    pass: impl FnOnce(Request<B>) -> F,
) -> BoxFuture<Result<Response<Either<ResponseBody, R>>, E>>
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    F: Future<Output = Result<Response<R>, E>> + Send + 'static,
{
    if route::is_ours(request.uri().path(), &shared.config.path) {
        let answer = begin(respond(Arc::clone(shared), request));
        return Box::pin(async move { Ok(answer.await.map(Either::Left)) });
    }
    let response = pass(request);
    Box::pin(async move { Ok(response.await?.map(Either::Right)) })
}

/// A server that listens by itself; see [`Server::listen`]. Dropping it does not stop the server.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Listening {
    /// The address it listens on, with the real port when 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Waits until the server is closed.
impl IntoFuture for Listening {
    type Output = ();
    type IntoFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            if let Err(error) = self.accepting.await {
                tracing::error!(%error, "the accepting task failed");
            }
        })
    }
}

impl Server {
    /// Listens on a TCP address, without any other HTTP server; anything outside the server's path is answered with
    /// 404. Accepting stops with [`close`](Self::close).
    ///
    /// ```no_run
    /// # async fn example() -> std::io::Result<()> {
    /// let io = sio_server::Server::new();
    /// let listening = io.listen("127.0.0.1:3000").await?;
    /// println!("listening on http://{}", listening.address());
    /// listening.await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn listen(&self, address: impl ToSocketAddrs) -> io::Result<Listening> {
        let listener = TcpListener::bind(address).await?;
        self.serve(listener, self.service())
    }

    /// Serves a listener with `service`, which usually is one that has [`layer`](Self::layer) around it. This is
    /// what `listen` does; it costs less memory per connection than a server that also speaks HTTP/2.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn serve<S, R>(&self, listener: TcpListener, service: S) -> io::Result<Listening>
    where
        S: hyper::service::Service<
                Request<hyper::body::Incoming>,
                Response = Response<R>,
                Error = Infallible,
            > + Clone
            + Send
            + 'static,
        S::Future: Send,
        R: http_body::Body + Send + 'static,
        R::Data: Send,
        R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let address = listener.local_addr()?;
        let shared = Arc::clone(&self.shared);
        let accepting = tokio::spawn(async move {
            loop {
                let closing = shared.closing.notified();
                if shared.is_closed() {
                    return;
                }
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = closing => return,
                };
                match accepted {
                    Ok((stream, peer)) => accept(&shared, stream, peer, service.clone()),
                    // Out of file descriptors, most likely: the ones that close meanwhile help.
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        Ok(Listening { address, accepting })
    }
}

fn accept<S, R>(shared: &Arc<Shared>, stream: tokio::net::TcpStream, peer: SocketAddr, service: S)
where
    S: hyper::service::Service<Request<hyper::body::Incoming>, Response = Response<R>, Error = Infallible>
        + Send
        + 'static,
    S::Future: Send,
    R: http_body::Body + Send + 'static,
    R::Data: Send,
    R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Without it the second of two small responses waits for the client's delayed acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY not set");
    }
    let service = hyper::service::service_fn(move |mut request: Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer::new(peer, false));
        service.call(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        // A client that does not finish its request's head must not hold a connection for ever.
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let shared = Arc::clone(shared);
    // Whoever closes the server waits until what is held has been answered.
    let task = shared.task();
    tokio::spawn(async move {
        let _task = task;
        let mut connection = std::pin::pin!(connection);
        let closing = async {
            let closing = shared.closing.notified();
            // It may have been closed between the accept and here.
            if !shared.is_closed() {
                closing.await;
            }
        };
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = closing => {
                connection.as_mut().graceful_shutdown();
                // A request that never ends does not hold up the end of the server.
                tokio::time::timeout(CLOSE_WAIT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = result {
            tracing::debug!(%error, "http connection failed");
        }
    });
}

/// How long the head of a request may take, and a kept connection may stay without one.
const HEADER_READ_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
/// How long a closed server waits for requests that are being answered.
const CLOSE_WAIT: std::time::Duration = std::time::Duration::from_secs(5);
/// Between two tries to accept when the system refuses.
const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use http_body_util::{BodyExt, Empty};
    use hyper::service::Service as _;

    use super::*;
    use crate::logged::logged;

    fn get(service: &Service, query: &str) -> BoxFuture<Result<Response<Body>, Infallible>> {
        let request = Request::get(format!("/socket.io/?EIO=4&transport=polling{query}"));
        service.call(request.body(Empty::<Bytes>::new()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_accepted_while_the_server_closes_is_gone_when_it_is_closed() {
        for head in ["", "GET / HTTP/1.1"] {
            let io = Server::new();
            io.close().await;
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let mut client = client.into_std().unwrap();
            client.write_all(head.as_bytes()).unwrap();
            let (stream, peer) = listener.accept().await.unwrap();
            accept(&io.shared, stream, peer, io.service());
            let started = tokio::time::Instant::now();
            io.close().await;
            assert!(started.elapsed() < 2 * CLOSE_WAIT, "{:?}", started.elapsed());
            assert!(!client.read(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock));
        }
    }

    #[test]
    fn a_request_outside_the_path_is_logged() {
        let service = Server::new().service();
        let log = logged(|| {
            let request = Request::get("/?EIO=4&transport=polling&token=secret");
            drop(service.call(request.body(Empty::<Bytes>::new()).unwrap()));
        });
        let expected =
            "message=request outside the path, answered with 404 path=\"/\" expected=\"/socket.io/\"";
        assert_eq!(log, [format!("DEBUG {expected}")]);
    }

    #[tokio::test]
    async fn a_poll_that_is_never_waited_for_ends_its_session() {
        let io = Server::new();
        let service = io.service();
        let opened = get(&service, "").await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let opened: serde_json::Value = serde_json::from_slice(&opened[1..]).unwrap();
        let poll = get(&service, &format!("&sid={}", opened["sid"].as_str().unwrap()));
        assert_eq!(io.session_count(), 1);
        drop(poll);
        assert_eq!(io.session_count(), 0);
    }
}
