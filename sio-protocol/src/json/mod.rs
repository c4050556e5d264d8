//! JSON text as the wire needs it: a validator, a cursor over text that was validated before, and writers
//! that print what `JSON.stringify` prints.
//!
//! Pure and private to this crate. `serde_json` does the rest: whatever has no binary attachment is
//! deserialised by it.

mod cursor;
mod number;
mod scan;
mod validate;
mod write;

pub(crate) use cursor::{Cursor, Syntax, find_placeholder, has_key, placeholders};
pub(crate) use number::{Numeric, write_f32, write_f64, write_i64, write_i128, write_u64, write_u128};
pub(crate) use scan::find_special;
pub(crate) use validate::{Shape, Verdict, repair_surrogates, validate};
pub(crate) use write::{Sink, write_escaped, write_placeholder, write_string};
