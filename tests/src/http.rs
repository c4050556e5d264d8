//! HTTP/1.1 by hand, over any stream: one connection that is kept alive, requests and responses apart.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::within;

/// What a peer can speak over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One HTTP connection.
pub struct Http {
    pub(crate) stream: Box<dyn Stream>,
    /// What has been read beyond the last response.
    pub(crate) input: Vec<u8>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// Connects over TCP.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a TCP connection", TcpStream::connect(address)).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a TCP stream");
        Self::over(stream)
    }

    /// Speaks over a stream.
    pub fn over(stream: impl Stream + 'static) -> Self {
        Self { stream: Box::new(stream), input: Vec::new() }
    }

    /// Sends a request and waits for its response.
    pub async fn request(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.send(method, target, headers, body).await;
        within("a response", self.response()).await.expect("a response before the end of the connection")
    }

    /// Sends a GET and waits for its response.
    pub async fn get(&mut self, target: &str) -> Response {
        self.request("GET", target, &[], b"").await
    }

    /// Sends a POST and waits for its response.
    pub async fn post(&mut self, target: &str, body: &[u8]) -> Response {
        self.request("POST", target, &[("Content-Type", "text/plain;charset=UTF-8")], body).await
    }

    /// Sends a request.
    pub async fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.write(&bytes).await;
    }

    /// Sends bytes as they are.
    ///
    /// # Panics
    /// When the other side takes none any more.
    pub async fn write(&mut self, bytes: &[u8]) {
        within("bytes to be taken", async {
            self.stream.write_all(bytes).await.expect("the other side listens");
            self.stream.flush().await.expect("the other side listens");
        })
        .await;
    }

    /// Waits for a response for as long as it takes; `None` when the connection ends before it.
    pub async fn response(&mut self) -> Option<Response> {
        let head_end = loop {
            if let Some(at) = self.input.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            if !self.read_more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.input[..head_end].to_vec()).expect("a text head");
        self.input.drain(..head_end + 4);
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let headers = lines
            .map(|line| line.split_once(':').expect("a header"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        let length = response.header("content-length").map(|length| length.parse().expect("a length"));
        assert!(response.header("transfer-encoding").is_none(), "a length was expected, not chunks");
        let length: usize = length.unwrap_or(0);
        while self.input.len() < length {
            if !self.read_more().await {
                return None;
            }
        }
        response.body = self.input.drain(..length).collect();
        Some(response)
    }

    /// Whether the other side has closed; waits until it does or sends something.
    pub async fn is_closed(&mut self) -> bool {
        self.input.is_empty() && !within("the end of the connection", self.read_more()).await
    }

    async fn read_more(&mut self) -> bool {
        // A connection that was reset has ended as well.
        self.stream.read_buf(&mut self.input).await.is_ok_and(|n| n > 0)
    }
}

/// A response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, values, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text body")
    }
}
