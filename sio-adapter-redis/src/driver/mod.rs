//! What runs the nodes: between [`Node`](crate::node::Node), which only thinks, the
//! [`Link`](crate::link::Link), which only moves bytes, and the server.
//!
//! ```text
//!  Server ─▶ Handle ─▶ Attached (a node and its bus) ─▶ Hub ─▶ Link ─▶ Redis
//!    ▲                    │ task: counts, timers        ▲
//!    └────── Sockets ◀────┘                             └── Receiver: channel ─▶ namespace
//! ```
//!
//! A [`Hub`] belongs to an adapter and has one link and all namespaces; an [`Attached`] is one namespace, with one task.

mod attached;
mod dialect;
mod hub;
mod namespaces;
mod sockets;
mod stats;

pub(crate) use self::hub::{Hub, HubOptions, OnEvent};
pub use self::stats::Stats;
