//! Socket.IO servers, Rust and Node, as one cluster over Redis.

mod node;
