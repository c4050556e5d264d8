//! The server.
#![allow(dead_code, unused_imports)]

mod http;
mod websocket;

pub use http::{Cookie, Cors, SameSite};
pub use websocket::PerMessageDeflate;

#[cfg(fuzzing)]
pub mod fuzzing {
    //! What the fuzz targets may reach. Not part of the API.
    pub use crate::websocket::fuzzing::*;
}
