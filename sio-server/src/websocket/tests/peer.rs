//! What tungstenite makes of a stream, in our terms, and when that counts as the same.
//!
//! Used by the tests of this crate and, by its path, by the fuzz target. Differences that are tolerated:
//!
//! - We refuse a frame as soon as its header or its text is seen to be wrong, tungstenite when it has come
//!   whole. So a stream we refused is given to tungstenite with padding that completes any frame.
//! - A close frame with a forbidden code is a violation to us; tungstenite delivers it as its own 1002. It
//!   forbids 1014 (bad gateway), which was registered after the RFC.
//! - A control frame whose length is written in more bytes than it needs is refused, because the short form
//!   already says that it is too long; tungstenite looks at the length alone.
//! - A frame with several faults may be refused for another one of them.

use std::io::{self, Read, Write};

use tungstenite::{
    Error, Message,
    error::ProtocolError,
    protocol::{Role, WebSocket, WebSocketConfig},
};

use super::Owned;

/// Tells how the two differ over a stream, given what our reader made of it: its messages and the close code
/// of the violation that ended it, if one did.
pub(super) fn compare(
    stream: &[u8],
    max_message: usize,
    ours: &(Vec<Owned>, Option<u16>),
) -> Result<(), String> {
    let (messages, refused) = ours;
    let mut padded = stream.to_vec();
    if refused.is_some() {
        padded.resize(stream.len() + max_message + 16, 0);
    }
    let (theirs, refused_too) = read(&padded, max_message);
    let same = match messages.split_last() {
        Some((Owned::Close(Some(1014), _), before)) => before == theirs && refused_too == Some(1002),
        _ if *refused == Some(1002) && has_long_control(stream) => theirs.starts_with(messages),
        _ => *messages == theirs && refused.is_some() == refused_too.is_some(),
    };
    if same {
        return Ok(());
    }
    let common = messages.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
    Err(format!(
        "after {common} messages, ours: {:02X?}, {refused:?}; theirs: {:02X?}, {refused_too:?}",
        messages.get(common),
        theirs.get(common),
    ))
}

/// Tells whether a stream has what looks like a control frame with a length of two or eight bytes.
fn has_long_control(stream: &[u8]) -> bool {
    stream.windows(2).any(|pair| matches!(pair, [0x88..=0x8A, 0xFE | 0xFF]))
}

/// Reads a stream with tungstenite, up to its end, an error, or a close frame.
pub(super) fn read(stream: &[u8], max_message: usize) -> (Vec<Owned>, Option<u16>) {
    let config =
        WebSocketConfig::default().max_message_size(Some(max_message)).max_frame_size(Some(max_message));
    let mut socket = WebSocket::from_raw_socket(Wire(stream), Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        let message = match socket.read() {
            Ok(Message::Text(text)) => Owned::Text(text.as_str().to_owned()),
            Ok(Message::Binary(bytes)) => Owned::Binary(bytes.to_vec()),
            Ok(Message::Ping(payload)) => Owned::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Owned::Pong(payload.to_vec()),
            Ok(Message::Close(Some(frame))) if frame.reason.as_str() == "Protocol violation" => {
                return (messages, Some(1002));
            }
            Ok(Message::Close(frame)) => {
                let (code, reason) = match frame {
                    Some(frame) => (Some(frame.code.into()), frame.reason.as_str().to_owned()),
                    None => (None, String::new()),
                };
                messages.push(Owned::Close(code, reason));
                return (messages, None);
            }
            Ok(Message::Frame(_)) => unreachable!("never read"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return (messages, None),
            Err(Error::Protocol(_)) => return (messages, Some(1002)),
            Err(Error::Utf8(_)) => return (messages, Some(1007)),
            Err(Error::Capacity(_)) => return (messages, Some(1009)),
            Err(error) => panic!("tungstenite: {error}"),
        };
        messages.push(message);
    }
}

/// A connection that has said all it will say and takes whatever it is sent.
struct Wire<'a>(&'a [u8]);

impl Read for Wire<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
