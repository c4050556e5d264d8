//! What must hold for all input, one module for each fuzz target.
//!
//! Every `check` takes bytes, which are the input of its target and the content of its seeds, and panics where
//! a promise of `sio-protocol` is broken. The targets themselves are one line each; the seeds are made of the
//! golden vectors ([`seeds`]). A test runs every check on every seed, without a fuzzer and on stable Rust:
//! `cargo test --no-default-features`.

pub mod cluster;
pub mod decoder;
pub mod messages;
pub mod msgpack;
pub mod packet;
pub mod payload;
pub mod seeds;
pub mod session;
mod value;
