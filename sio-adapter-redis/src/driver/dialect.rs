//! What the driver has to know of a dialect: how its nodes are made, and which namespaces a channel can be of.

use super::sockets::Sockets;
use crate::link::Space;
use crate::node::{Classic, ClassicOptions, Identity, Node, Settings, Sharded, ShardedOptions};

pub(crate) trait Dialect: Send + Sync + 'static {
    type Node: Node<Local = Sockets>;

    /// Where its channels are.
    const SPACE: Space;

    fn node(&self, sockets: Sockets, identity: Identity, settings: &Settings) -> Self::Node;

    /// What all its channels begin with.
    fn prefix(&self) -> &str;

    /// What may stand between prefix and namespace.
    const FAMILIES: &'static [&'static str];
}

impl Dialect for ClassicOptions {
    type Node = Classic<Sockets>;

    const SPACE: Space = Space::Classic;
    const FAMILIES: &'static [&'static str] = &["", "-request", "-response"];

    fn node(&self, sockets: Sockets, identity: Identity, settings: &Settings) -> Self::Node {
        Classic::new(sockets, identity, settings, self)
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Dialect for ShardedOptions {
    type Node = Sharded<Sockets>;

    const SPACE: Space = Space::Sharded;
    const FAMILIES: &'static [&'static str] = &[""];

    fn node(&self, sockets: Sockets, identity: Identity, settings: &Settings) -> Self::Node {
        Sharded::new(sockets, identity, settings, self)
    }

    fn prefix(&self) -> &str {
        &self.prefix
    }
}
