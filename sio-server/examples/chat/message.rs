//! Messages and how they travel: delivered now, acknowledged at once, and a receipt when the pages have answered.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sio_server::{Socket, SocketId};

use super::people::Person;

const RECEIPT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize)]
pub(crate) struct Message {
    id: u64,
    /// A room, or a socket id: for emits they are the same.
    to: String,
    from: Person,
    at: u64,
    #[serde(flatten)]
    content: Content,
}

impl Message {
    pub(crate) fn new(id: u64, from: Person, to: String, content: Content) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { id, to, from, at: now.as_millis().try_into().unwrap_or(u64::MAX), content }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Content {
    Text(String),
    Image(Image),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Image {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    width: u16,
    height: u16,
}

impl Image {
    pub(crate) fn is_plausible(&self) -> bool {
        let side = 1..=10_000;
        side.contains(&self.width)
            && side.contains(&self.height)
            && (1..=120).contains(&self.name.chars().count())
    }

    pub(crate) fn is_of_known_type(&self) -> bool {
        matches!(self.kind.as_str(), "image/jpeg" | "image/png" | "image/webp" | "image/gif")
    }
}

/// The acknowledgement of a message: it is on its way to `reach` others.
#[derive(Debug, Serialize)]
pub(crate) struct Sent {
    id: u64,
    at: u64,
    reach: usize,
}

#[derive(Debug, Serialize)]
struct Receipt {
    id: u64,
    by: Vec<SocketId>,
    reach: usize,
}

/// Sends an event that every page answers; later, the sender is told which did.
pub(crate) fn deliver(
    socket: &Socket,
    message: &Message,
    reach: usize,
    event: &str,
    args: &impl Serialize,
) -> Sent {
    let &Message { id, at, .. } = message;
    if reach > 0 {
        let sender = socket.clone();
        // Sent already: only the answers are waited for.
        let acks = socket.to(&message.to).timeout(RECEIPT_TIMEOUT).emit_with_ack::<SocketId>(event, args);
        tokio::spawn(async move {
            let acks = acks.await.unwrap_or_default();
            // Who it was need not be believed, except where the adapter cannot say.
            let by = acks.into_iter().filter_map(|ack| ack.result.ok().map(|own| ack.socket.unwrap_or(own)));
            sender.emit("receipt", &Receipt { id, by: by.collect(), reach });
        });
    }
    Sent { id, at, reach }
}
