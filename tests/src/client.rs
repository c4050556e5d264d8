//! A tiny Socket.IO client over either transport. It knows the shape of packets and nothing more: tests write and
//! compare the text of the wire.

use std::net::SocketAddr;

use serde_json::Value;

use crate::polling::{Message, Polling};
use crate::websocket::{Frame, Ws, opcode};

/// What carries a client's packets.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "there is no third")]
#[allow(clippy::large_enum_variant, reason = "a test has a handful of them")]
pub enum Wire {
    /// WebSocket.
    Ws(Ws),
    /// Long-polling.
    Polling(Polling),
}

/// A Socket.IO packet: its text without the `4` of Engine.IO, and its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "made to be compared")]
pub struct Packet {
    /// `2["hello"]`
    pub text: String,
    /// What came after it, as many as it announces.
    pub attachments: Vec<Vec<u8>>,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    /// What carries its packets.
    pub wire: Wire,
    asked: u64,
}

impl Client {
    /// Opens a session over WebSocket that has joined no namespace.
    pub async fn websocket(address: SocketAddr) -> Self {
        Self { wire: Wire::Ws(Ws::open(address).await), asked: 0 }
    }

    /// Opens a session over long-polling that has joined no namespace.
    pub async fn polling(address: SocketAddr) -> Self {
        Self { wire: Wire::Polling(Polling::open(address).await), asked: 0 }
    }

    /// Speaks over a WebSocket that has opened its session.
    pub fn over(ws: Ws) -> Self {
        Self { wire: Wire::Ws(ws), asked: 0 }
    }

    /// Opens a session over WebSocket and joins `/`; gives the socket id.
    pub async fn connected(address: SocketAddr) -> (Self, String) {
        let mut client = Self::websocket(address).await;
        let id = client.join("/").await;
        (client, id)
    }

    /// The WebSocket.
    ///
    /// # Panics
    /// When it polls.
    pub fn ws(&mut self) -> &mut Ws {
        match &mut self.wire {
            Wire::Ws(ws) => ws,
            Wire::Polling(_) => panic!("a polling client"),
        }
    }

    /// The polling session.
    ///
    /// # Panics
    /// When it has none.
    pub fn session(&mut self) -> &mut Polling {
        match &mut self.wire {
            Wire::Polling(polling) => polling,
            Wire::Ws(_) => panic!("a WebSocket client"),
        }
    }

    /// Sends a Socket.IO packet.
    pub async fn send(&mut self, text: &str) {
        self.send_engine(&format!("4{text}")).await;
    }

    /// Sends a Socket.IO packet with attachments.
    pub async fn send_binary(&mut self, text: &str, attachments: &[&[u8]]) {
        match &mut self.wire {
            Wire::Ws(ws) => {
                ws.send(&format!("4{text}")).await;
                for attachment in attachments {
                    ws.send_binary(attachment).await;
                }
            }
            Wire::Polling(polling) => {
                let mut messages = vec![Message::Text(format!("4{text}"))];
                messages.extend(attachments.iter().map(|bytes| Message::Binary(bytes.to_vec())));
                polling.say(&messages).await;
            }
        }
    }

    /// Sends an Engine.IO packet.
    pub async fn send_engine(&mut self, text: &str) {
        match &mut self.wire {
            Wire::Ws(ws) => ws.send(text).await,
            Wire::Polling(polling) => polling.say(&[Message::text(text)]).await,
        }
    }

    /// The next Engine.IO packet; a close frame or the end of the stream ends the test.
    ///
    /// # Panics
    /// When the connection ends.
    pub async fn recv_engine(&mut self) -> Message {
        match &mut self.wire {
            Wire::Polling(polling) => polling.next().await,
            Wire::Ws(ws) => {
                let frame = ws.next().await.expect("a frame before the end");
                match frame.head {
                    head if head == 0x80 | opcode::TEXT => {
                        Message::Text(String::from_utf8(frame.payload).expect("text"))
                    }
                    head if head == 0x80 | opcode::BINARY => Message::Binary(frame.payload),
                    _ => panic!("{frame:?}"),
                }
            }
        }
    }

    /// The next Socket.IO packet with its attachments.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn packet(&mut self) -> Packet {
        let Message::Text(text) = self.recv_engine().await else { panic!("an attachment without a packet") };
        let Some(text) = text.strip_prefix('4') else { panic!("{text} where a message was to come") };
        let count = match text.as_bytes().first() {
            Some(b'5' | b'6') => {
                text[1..].split_once('-').and_then(|(count, _)| count.parse().ok()).unwrap_or(0)
            }
            _ => 0,
        };
        let mut packet = Packet { text: text.to_owned(), attachments: Vec::new() };
        for _ in 0..count {
            match self.recv_engine().await {
                Message::Binary(bytes) => packet.attachments.push(bytes),
                Message::Text(text) => panic!("{text} where an attachment was to come"),
            }
        }
        packet
    }

    /// The text of the next Socket.IO packet, which has no attachments.
    ///
    /// # Panics
    /// When it has some.
    pub async fn recv(&mut self) -> String {
        let packet = self.packet().await;
        assert!(packet.attachments.is_empty(), "{packet:?}");
        packet.text
    }

    /// Waits for the next packet, which has to be this one.
    ///
    /// # Panics
    /// When it is another.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let received = self.recv().await;
            assert_eq!(received, text, "at {caller}");
        }
    }

    /// Joins a namespace; gives the socket id.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn join(&mut self, nsp: &str) -> String {
        self.join_with(nsp, "").await.unwrap_or_else(|error| panic!("{nsp} refused: {error}"))
    }

    /// Joins a namespace with `auth` as JSON text (empty: none).
    ///
    /// # Errors
    /// The data of the CONNECT_ERROR.
    ///
    /// # Panics
    /// When the next packet is neither.
    pub async fn join_with(&mut self, nsp: &str, auth: &str) -> Result<String, Value> {
        let prefix = prefix(nsp);
        self.send(&format!("0{prefix}{auth}")).await;
        let reply = self.recv().await;
        let data = reply[1..].strip_prefix(&prefix).unwrap_or_else(|| panic!("{reply} for {nsp}"));
        let data: Value = serde_json::from_str(data).unwrap_or_else(|_| panic!("{reply} for {nsp}"));
        match &reply[..1] {
            "0" => Ok(data["sid"].as_str().expect("a sid").to_owned()),
            "4" => Err(data),
            _ => panic!("{reply} for {nsp}"),
        }
    }

    /// Emits an event of `/` (a JSON array with its name) and waits for its acknowledgement, which has to be the next
    /// packet; gives its arguments.
    pub async fn ask(&mut self, event: &str) -> Value {
        self.ask_in("/", event).await
    }

    /// The same in another namespace.
    ///
    /// # Panics
    /// When another packet comes.
    pub async fn ask_in(&mut self, nsp: &str, event: &str) -> Value {
        let id = self.asked;
        self.asked += 1;
        let prefix = prefix(nsp);
        self.send(&format!("2{prefix}{id}{event}")).await;
        let reply = self.recv().await;
        let args = reply.strip_prefix(&format!("3{prefix}{id}"));
        let args = args.unwrap_or_else(|| panic!("{reply} where the answer to {event} was to come"));
        serde_json::from_str(args).expect("JSON")
    }

    /// Waits until the server has closed the WebSocket; gives the status.
    pub async fn closed(&mut self) -> Option<u16> {
        self.ws().closed().await
    }

    /// Waits for the next frame, which has to be the close frame.
    ///
    /// # Panics
    /// When it is another.
    pub async fn expect_close(&mut self, code: Option<u16>) {
        let close = Frame::close(code);
        assert_eq!(self.ws().next().await.as_ref(), Some(&close));
        self.ws().answer_close(&close.payload).await;
    }
}

fn prefix(nsp: &str) -> String {
    if nsp == "/" { String::new() } else { format!("{nsp},") }
}
