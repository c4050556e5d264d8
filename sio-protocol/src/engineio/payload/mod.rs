//! Polling bodies: several packets in one HTTP body, in the five forms that clients and servers use.
//!
//! Pure. Specification: engine.io-protocol v4, "HTTP long-polling: packet encoding", engine.io-protocol v3, "Payload",
//! and for JSONP what Node's `engine.io` does.
//!
//! | form | used when | layout |
//! | --- | --- | --- |
//! | separated | revision 4 | packet strings with 0x1e between them |
//! | text | revision 3: no binary packet in the body, or the client asked for base64 | `length:packet`, length in UTF-16 code units |
//! | binary | revision 3 otherwise | `0` or `1` (string or bytes), a byte per length digit, 0xff, packet; length in bytes |
//! | script | answers to JSONP clients | one of the above, text only, as a string literal in a call |
//! | form field | bodies from JSONP clients | one of the above, text only, in the field `d` |

mod decode;
mod encode;
mod jsonp;

pub use decode::{BodyKind, Decoder};
pub use encode::{Encoder, Payload};
pub use jsonp::jsonp_form;
