//! The HTTP side: which request is ours, what is refused, what a response looks like.

mod cookie;
mod cors;
pub(crate) mod query;
mod refusal;
pub(crate) mod response;
pub(crate) mod route;

pub use cookie::{Cookie, SameSite};
pub use cors::Cors;
pub(crate) use query::{Query, TransportName};
pub(crate) use refusal::Refusal;
