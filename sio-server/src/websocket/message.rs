//! A complete WebSocket message, borrowed from wherever its bytes happen to be.

use super::{Violation, frame::is_sendable_close_code};

/// What the peer sent, whole, unmasked, inflated, and valid UTF-8 where it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    /// The status, when there was one, and the reason. Nothing the peer sends after it counts.
    Close(Option<u16>, &'a str),
}

impl<'a> Message<'a> {
    pub(super) fn text(payload: &'a [u8]) -> Result<Self, Violation> {
        let text = simdutf8::basic::from_utf8(payload).map_err(|_| Violation::Utf8Invalid)?;
        Ok(Self::Text(text))
    }

    /// Reads the payload of a close frame: nothing, or a status and perhaps a reason.
    pub(super) fn close(payload: &'a [u8]) -> Result<Self, Violation> {
        match payload {
            [] => Ok(Self::Close(None, "")),
            [_] => Err(Violation::CloseCodeTruncated),
            [high, low, reason @ ..] => {
                let code = u16::from_be_bytes([*high, *low]);
                if !is_sendable_close_code(code) {
                    return Err(Violation::CloseCodeForbidden { code });
                }
                let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Violation::Utf8Invalid)?;
                Ok(Self::Close(Some(code), reason))
            }
        }
    }
}
