//! A long-polling session, protocol 4 or 3: payloads are packed and unpacked here by hand.

use std::collections::VecDeque;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::http::{Http, Response};
use crate::within;

/// An Engine.IO packet: text with its type digit, or the data of a binary message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third")]
pub enum Message {
    /// `4hello`.
    Text(String),
    /// The bytes.
    Binary(Vec<u8>),
}

impl Message {
    /// A text packet.
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A session over long-polling, with one HTTP connection for GETs and one for POSTs.
#[derive(Debug)]
pub struct Polling {
    /// The server.
    pub address: SocketAddr,
    /// 4 or 3.
    pub revision: u8,
    /// The session id.
    pub sid: String,
    /// The data of the open packet.
    pub open: Value,
    /// The connection for GETs.
    pub gets: Http,
    /// The connection for POSTs.
    pub posts: Http,
    inbox: VecDeque<Message>,
}

impl Polling {
    /// Opens a session of protocol 4.
    pub async fn open(address: SocketAddr) -> Self {
        Self::open_with(address, 4, "").await
    }

    /// Opens a session; `query` is added to the query of the handshake (`&b64=1`).
    ///
    /// # Panics
    /// When the server does not open one.
    pub async fn open_with(address: SocketAddr, revision: u8, query: &str) -> Self {
        let mut gets = Http::connect(address).await;
        let posts = Http::connect(address).await;
        let response = gets.get(&format!("/socket.io/?EIO={revision}&transport=polling{query}")).await;
        assert_eq!(response.status, 200, "{:?}", response.text());
        let mut inbox: VecDeque<Message> = unpack(revision, &response).into();
        let Some(Message::Text(open)) = inbox.pop_front() else { panic!("no open packet") };
        let open: Value =
            serde_json::from_str(open.strip_prefix('0').expect("an open packet")).expect("JSON");
        let sid = open["sid"].as_str().expect("a sid").to_owned();
        Self { address, revision, sid, open, gets, posts, inbox }
    }

    /// The request target of the session.
    pub fn target(&self) -> String {
        format!("/socket.io/?EIO={}&transport=polling&sid={}", self.revision, self.sid)
    }

    /// The request target for a WebSocket of the session.
    pub fn upgrade_target(&self) -> String {
        format!("/socket.io/?EIO={}&transport=websocket&sid={}", self.revision, self.sid)
    }

    /// Sends a GET without waiting for its response.
    pub async fn send_get(&mut self) {
        let target = self.target();
        self.gets.send("GET", &target, &[], b"").await;
    }

    /// Sends a GET and makes sure that the server holds it: a POST that was sent after it has been answered.
    pub async fn hold(&mut self) {
        self.send_get().await;
        self.say(&[Message::text("6")]).await;
    }

    /// The same while a POST is under way: something else on its connection is refused without harm.
    pub async fn hold_without_post(&mut self) {
        self.send_get().await;
        let mut http = Http::connect(self.address).await;
        assert_eq!(http.get("/").await.status, 404);
    }

    /// Waits for the response of the GET that is held.
    ///
    /// # Panics
    /// When the connection ends without one.
    #[track_caller]
    pub fn held(&mut self) -> impl Future<Output = Response> {
        let response = within("the held poll", self.gets.response());
        async move { response.await.expect("a response before the end of the connection") }
    }

    /// Sends a GET and gives its response as it is.
    pub async fn get(&mut self) -> Response {
        let target = self.target();
        self.gets.get(&target).await
    }

    /// Sends a POST and gives its response as it is.
    pub async fn post(&mut self, body: impl AsRef<[u8]>) -> Response {
        let target = self.target();
        self.posts.post(&target, body.as_ref()).await
    }

    /// Sends a GET and takes its payload apart.
    ///
    /// # Panics
    /// When the status is not 200.
    pub async fn poll(&mut self) -> Vec<Message> {
        let response = self.get().await;
        assert_eq!(response.status, 200, "{:?}", response.text());
        unpack(self.revision, &response)
    }

    /// The next packet, from the last payload or a new poll.
    pub async fn next(&mut self) -> Message {
        loop {
            if let Some(message) = self.inbox.pop_front() {
                return message;
            }
            let messages = self.poll().await;
            self.inbox.extend(messages);
        }
    }

    /// Sends packets in one POST.
    ///
    /// # Panics
    /// When the answer is not `ok`.
    pub async fn say(&mut self, messages: &[Message]) {
        let body = pack(self.revision, messages);
        let response = self.post(body).await;
        assert_eq!((response.status, response.text()), (200, "ok"));
    }
}

/// Makes a payload, its binary as base64.
pub fn pack(revision: u8, messages: &[Message]) -> String {
    let packets: Vec<String> = messages
        .iter()
        .map(|message| match message {
            Message::Text(text) => text.clone(),
            Message::Binary(bytes) if revision == 3 => format!("b4{}", BASE64.encode(bytes)),
            Message::Binary(bytes) => format!("b{}", BASE64.encode(bytes)),
        })
        .collect();
    if revision == 3 {
        packets.iter().map(|packet| format!("{}:{packet}", packet.encode_utf16().count())).collect()
    } else {
        packets.join("\x1e")
    }
}

/// Takes a payload apart.
pub fn unpack(revision: u8, response: &Response) -> Vec<Message> {
    match (revision, response.header("content-type")) {
        (3, Some("application/octet-stream")) => unpack_octets(&response.body),
        (3, _) => unpack_lengths(response.text()),
        _ => response.text().split('\x1e').map(|packet| unpack_text(packet, "b")).collect(),
    }
}

fn unpack_text(packet: &str, binary: &str) -> Message {
    match packet.strip_prefix(binary) {
        Some(encoded) => Message::Binary(BASE64.decode(encoded).expect("base64")),
        None => Message::text(packet),
    }
}

/// `<UTF-16 length>:<packet>`, again and again.
fn unpack_lengths(mut text: &str) -> Vec<Message> {
    let mut messages = Vec::new();
    while !text.is_empty() {
        let (length, rest) = text.split_once(':').expect("a length");
        let mut units: usize = length.parse().expect("a length");
        let end = rest
            .char_indices()
            .find(|(_, char)| {
                let done = units == 0;
                units = units.saturating_sub(char.len_utf16());
                done
            })
            .map_or(rest.len(), |(at, _)| at);
        messages.push(unpack_text(&rest[..end], "b4"));
        text = &rest[end..];
    }
    messages
}

/// A kind, decimal digits by value, 255, the packet; again and again.
fn unpack_octets(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let [kind, rest @ ..] = bytes {
        let end = rest.iter().position(|byte| *byte == 0xff).expect("the end of the length");
        let length = rest[..end].iter().fold(0, |length, digit| length * 10 + usize::from(*digit));
        let (packet, after) = rest[end + 1..].split_at(length);
        messages.push(match (kind, packet) {
            (0, text) => Message::text(std::str::from_utf8(text).expect("text")),
            (1, [4, data @ ..]) => Message::Binary(data.to_vec()),
            _ => panic!("packet {kind} {packet:?}"),
        });
        bytes = after;
    }
    messages
}
