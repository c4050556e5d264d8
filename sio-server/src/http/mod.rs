//! The HTTP side.

mod cookie;
mod cors;
mod query;
mod refusal;

pub use cookie::{Cookie, SameSite};
pub use cors::Cors;
pub(crate) use query::{Parameters, Query, TransportName, parameters};
pub(crate) use refusal::Refusal;
