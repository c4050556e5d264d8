//! The files of the page, and of the client that it loads.

use std::convert::Infallible;
use std::path::PathBuf;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers a request that is not for the Socket.IO server.
pub(crate) async fn page(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (content_type, body) = match request.uri().path() {
        "/" => (HTML, Some(Bytes::from(include_str!("public/index.html")))),
        "/app.js" => (SCRIPT, Some(Bytes::from(include_str!("public/app.js")))),
        "/style.css" => (CSS, Some(Bytes::from(include_str!("public/style.css")))),
        "/client/socket.io.min.js" => (SCRIPT, client("socket.io.min.js").await),
        "/client/socket.io.min.js.map" => (JSON, client("socket.io.min.js.map").await),
        _ => (TEXT, None),
    };
    let status = if body.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let mut response = Response::new(Full::new(body.unwrap_or_default()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

/// Reads a file of the npm package, which may not be installed: then the page says so.
async fn client(file: &str) -> Option<Bytes> {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/chat/node_modules/socket.io-client/dist");
    let dist = std::env::var_os("CLIENT_DIST").map_or_else(|| installed.into(), PathBuf::from);
    tokio::fs::read(dist.join(file)).await.ok().map(Bytes::from)
}
