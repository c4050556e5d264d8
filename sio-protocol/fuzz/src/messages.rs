//! The layout of inputs that are several messages: `0xff 0x00` starts a text message, `0xff 0x01` a binary one.
//!
//! No byte of UTF-8 is 0xff, so text stays as it is and a fuzzer can cut and join messages anywhere. In a
//! binary message 0xff is written twice. Before the first mark the message is text.

use bytes::Bytes;

/// One message of the layer below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Bytes),
}

/// Cuts an input into its messages. Every input is some sequence of messages.
pub fn split(input: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    let (mut binary, mut content, mut started) = (false, Vec::new(), false);
    let mut rest = input;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (&MARK, [kind @ (TEXT | BINARY), after @ ..]) => {
                if started {
                    messages.push(message(binary, std::mem::take(&mut content)));
                }
                binary = *kind == BINARY;
                after
            }
            (&MARK, [MARK, after @ ..]) => {
                content.push(MARK);
                after
            }
            (byte, after) => {
                content.push(*byte);
                after
            }
        };
        started = true;
    }
    if started {
        messages.push(message(binary, content));
    }
    messages
}

/// Writes messages so that [`split`] finds them again.
pub fn join(messages: &[Message]) -> Vec<u8> {
    let mut input = Vec::new();
    for message in messages {
        match message {
            Message::Text(text) => {
                input.extend([MARK, TEXT]);
                input.extend(text.as_bytes());
            }
            Message::Binary(bytes) => {
                input.extend([MARK, BINARY]);
                for &byte in bytes {
                    input.extend(std::iter::repeat_n(byte, if byte == MARK { 2 } else { 1 }));
                }
            }
        }
    }
    input
}

fn message(binary: bool, content: Vec<u8>) -> Message {
    if binary {
        Message::Binary(content.into())
    } else {
        // The layer below has checked that text is UTF-8.
        Message::Text(String::from_utf8_lossy(&content).into_owned())
    }
}

const MARK: u8 = 0xff;
const TEXT: u8 = 0;
const BINARY: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_joined_is_split_again() {
        let messages = [
            Message::Text("2[\"é\"]".into()),
            Message::Binary(Bytes::from_static(&[0, 0xff, 1, 0xff, 0xff])),
            Message::Binary(Bytes::new()),
            Message::Text(String::new()),
        ];
        assert_eq!(split(&join(&messages)), messages);
        assert_eq!(split(b""), []);
        assert_eq!(split(b"2[]"), [Message::Text("2[]".into())]);
    }
}
