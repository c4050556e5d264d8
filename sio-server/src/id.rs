//! Identifiers: 20 characters of URL-safe base64, 12 random bytes and a 24-bit counter, as Node makes them.
//!
//! An Engine.IO session id is a secret (whoever holds it can post into the session); a [`SocketId`] is public.
//! They are therefore different types and never equal, except for protocol 3 clients, which derive the one from
//! the other themselves.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

/// Length of every generated id in characters. Sharded Redis adapters recognise a private room by it.
const LEN: usize = 20;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Random bytes fetched from the system at once: one system call serves 85 ids.
const POOL: usize = 1020;

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// The secret id of an Engine.IO session.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId([u8; LEN]);

impl SessionId {
    pub(crate) fn generate() -> Self {
        Self(generate())
    }

    /// The id in a request, or `None` when it cannot be one of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        text.as_bytes().try_into().ok().map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        ascii(&self.0)
    }

    /// The first eight characters: 48 random bits, enough to tell the sessions of one server apart.
    pub(crate) fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

// The id gives control over a session: logs show enough of it to tell two apart, not enough to use it.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({}..)", ascii(&self.0[..4]))
    }
}

/// The public id of a socket: random per namespace, and the name of the room the socket always sits in.
///
/// Node: `socket.id`. 20 characters of `A-Za-z0-9-_`, of which 16 are unguessable. A client of protocol 3
/// (Socket.IO 1.x and 2.x) computes its own id from the session id, `sid` in `/` and `/nsp#sid` elsewhere, and
/// the server has to agree with it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Random([u8; LEN]),
    Named(Box<str>),
}

impl SocketId {
    pub(crate) fn generate() -> Self {
        Self(Repr::Random(generate()))
    }

    /// The id a protocol 3 client gives itself in `namespace`.
    pub(crate) fn of_protocol_3(namespace: &str, session: &SessionId) -> Self {
        match namespace {
            "/" => Self(Repr::Random(session.0)),
            other => Self(Repr::Named(format!("{other}#{}", session.as_str()).into())),
        }
    }

    /// The id as text, as it stands on the wire and in room names.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Random(bytes) => ascii(bytes),
            Repr::Named(text) => text,
        }
    }
}

impl From<&str> for SocketId {
    fn from(text: &str) -> Self {
        match text.as_bytes().try_into() {
            Ok(bytes) if text.is_ascii() => Self(Repr::Random(bytes)),
            _ => Self(Repr::Named(text.into())),
        }
    }
}

impl AsRef<str> for SocketId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({})", self.as_str())
    }
}

impl serde::Serialize for SocketId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for SocketId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Ok(Self::from(text.as_ref()))
    }
}

/// Ids consist of ASCII by construction, so the fallback is never seen.
fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn generate() -> [u8; LEN] {
    thread_local! {
        static RANDOM: RefCell<(usize, [u8; POOL])> = const { RefCell::new((POOL, [0; POOL])) };
    }
    let mut bytes = [0; 15];
    RANDOM.with_borrow_mut(|(used, pool)| {
        if *used == POOL {
            #[expect(
                clippy::expect_used,
                reason = "without randomness ids would be guessable: nothing may go on"
            )]
            getrandom::fill(pool).expect("the operating system gives no random bytes");
            *used = 0;
        }
        bytes[..12].copy_from_slice(&pool[*used..*used + 12]);
        // A used byte is wiped so that no later reader of this memory learns an id.
        pool[*used..*used + 12].fill(0);
        *used += 12;
    });
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    bytes[12..].copy_from_slice(&count.to_be_bytes()[1..]);
    let mut text = [0; LEN];
    for (three, four) in bytes.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        for (at, char) in four.iter_mut().enumerate() {
            *char = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_twenty_url_safe_characters_and_never_repeat() {
        let ids: HashSet<String> = (0..10_000).map(|_| SocketId::generate().to_string()).collect();
        assert_eq!(ids.len(), 10_000);
        for id in ids {
            assert_eq!(id.len(), LEN);
            assert!(id.bytes().all(|b| ALPHABET.contains(&b)), "{id}");
        }
    }

    #[test]
    fn the_last_four_characters_count() {
        let a = SocketId::generate();
        let b = SocketId::generate();
        assert_ne!(a.as_str()[16..], b.as_str()[16..]);
    }

    #[test]
    fn protocol_3_ids_derive_from_the_session() {
        let session = SessionId::generate();
        assert_eq!(SocketId::of_protocol_3("/", &session).as_str(), session.as_str());
        assert_eq!(
            SocketId::of_protocol_3("/admin", &session).as_str(),
            format!("/admin#{}", session.as_str())
        );
    }

    #[test]
    fn a_session_id_of_another_length_is_not_ours() {
        assert!(SessionId::parse("__proto__").is_none());
        assert!(SessionId::parse("").is_none());
    }

    #[test]
    fn debug_hides_the_secret() {
        let session = SessionId::generate();
        assert!(!format!("{session:?}").contains(session.as_str()));
    }
}
