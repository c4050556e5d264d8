//! A WebSocket by hand: it can send any frame, right or wrong, and shows frames as they come.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http::{Http, Response};
use crate::{Stream, within};

/// Frame types.
pub mod opcode {
    /// Continues a fragmented message.
    pub const CONTINUATION: u8 = 0;
    /// Text.
    pub const TEXT: u8 = 1;
    /// Binary.
    pub const BINARY: u8 = 2;
    /// Close.
    pub const CLOSE: u8 = 8;
    /// Ping.
    pub const PING: u8 = 9;
    /// Pong.
    pub const PONG: u8 = 10;
}

/// A frame as the server sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made to be compared")]
pub struct Frame {
    /// The first byte: FIN, reserved bits, opcode.
    pub head: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole text message.
    pub fn text(text: &str) -> Self {
        Self { head: 0x80 | opcode::TEXT, payload: text.into() }
    }

    /// A whole binary message.
    pub fn binary(bytes: &[u8]) -> Self {
        Self { head: 0x80 | opcode::BINARY, payload: bytes.into() }
    }

    /// A close frame; `None` is one without status.
    pub fn close(code: Option<u16>) -> Self {
        let payload = code.map_or_else(Vec::new, |code| code.to_be_bytes().to_vec());
        Self { head: 0x80 | opcode::CLOSE, payload }
    }
}

/// A WebSocket.
pub struct Ws {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
}

impl std::fmt::Debug for Ws {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ws")
    }
}

impl Ws {
    /// Opens a session of protocol 4 over WebSocket and takes the open packet.
    ///
    /// # Panics
    /// When the server does not open one.
    pub async fn open(address: SocketAddr) -> Self {
        let mut ws = Self::connect(address, "/socket.io/?EIO=4&transport=websocket").await;
        assert!(ws.recv().await.starts_with("0{"), "no open packet");
        ws
    }

    /// Makes the WebSocket handshake.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn connect(address: SocketAddr, target: &str) -> Self {
        Self::try_over(Http::connect(address).await, target, &[]).await.expect("the answer is 101")
    }

    /// Makes the WebSocket handshake over an HTTP connection, with headers of one's own; gives the response of a
    /// server that refuses.
    ///
    /// # Errors
    /// The response, when it is not 101.
    pub async fn try_over(mut http: Http, target: &str, headers: &[(&str, &str)]) -> Result<Self, Response> {
        let mut all = vec![
            ("Connection", "Upgrade"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        all.extend_from_slice(headers);
        let response = http.request("GET", target, &all, b"").await;
        if response.status != 101 {
            return Err(response);
        }
        // The example of RFC 6455, section 1.3.
        assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok(Self { stream: http.stream, input: http.input })
    }

    /// Sends a text message.
    pub async fn send(&mut self, text: &str) {
        self.frame(0x80 | opcode::TEXT, text.as_bytes()).await;
    }

    /// Sends a binary message.
    pub async fn send_binary(&mut self, bytes: &[u8]) {
        self.frame(0x80 | opcode::BINARY, bytes).await;
    }

    /// Sends a masked frame with any first byte.
    pub async fn frame(&mut self, head: u8, payload: &[u8]) {
        self.write(&frame(head, payload)).await;
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

    /// Waits for the next frame; `None` is the end of the stream.
    #[track_caller]
    #[allow(clippy::should_implement_trait, reason = "no iterator: it waits")]
    pub fn next(&mut self) -> impl Future<Output = Option<Frame>> {
        within("a frame", async {
            loop {
                if let Some(frame) = self.take_frame() {
                    return Some(frame);
                }
                // A connection that was reset has ended as well.
                if !self.stream.read_buf(&mut self.input).await.is_ok_and(|n| n > 0) {
                    return None;
                }
            }
        })
    }

    /// Waits for the next frame, which has to be a text message.
    ///
    /// # Panics
    /// When it is not.
    pub async fn recv(&mut self) -> String {
        let frame = self.next().await.expect("a frame before the end");
        assert_eq!(frame.head, 0x80 | opcode::TEXT, "{frame:?}");
        String::from_utf8(frame.payload).expect("text")
    }

    /// Waits for the close frame, dropping everything before it, and for the end of the stream; gives the status.
    ///
    /// # Panics
    /// When there is none, or something comes after it.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            let frame = self.next().await.expect("a close frame before the end");
            if frame.head == 0x80 | opcode::CLOSE {
                self.answer_close(&frame.payload).await;
                return frame.payload.try_into().ok().map(u16::from_be_bytes);
            }
        }
    }

    /// Answers a close frame and waits for the end of the stream, which the server leaves open until then.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn answer_close(&mut self, payload: &[u8]) {
        // A server that has nothing to wait for may have closed the stream already.
        let _ = self.stream.write_all(&frame(0x80 | opcode::CLOSE, payload)).await;
        assert_eq!(self.next().await, None, "nothing comes after a close frame");
    }

    fn take_frame(&mut self) -> Option<Frame> {
        let [head, length, ..] = *self.input else { return None };
        assert_eq!(length & 0x80, 0, "a server does not mask");
        let (header, length) = match length {
            126 => (4, usize::from(u16::from_be_bytes(self.input.get(2..4)?.try_into().ok()?))),
            127 => (10, u64::from_be_bytes(self.input.get(2..10)?.try_into().ok()?) as usize),
            length => (2, usize::from(length)),
        };
        let payload = self.input.get(header..header + length)?.to_vec();
        self.input.drain(..header + length);
        Some(Frame { head, payload })
    }
}

/// The bytes of a masked frame.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![head];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
    bytes
}
