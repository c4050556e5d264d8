//! Whole clusters in memory and in virtual time: every test runs for each dialect that it names.

#![allow(clippy::needless_pass_by_value, reason = "a dialect is a small value that tests make in place")]

mod random;
mod scenarios;
mod sockets;
mod wire;
mod world;

use sio_protocol::Limits;
use sio_protocol::cluster::classic::PacketType;
use sio_protocol::cluster::sharded::Mode;
use std::sync::Arc;
use std::time::Duration;

use self::sockets::Sockets;
use super::{
    Classic, ClassicOptions, Counters, Identity, Node, Question, ReplyTo, Settings, Sharded, ShardedOptions,
};

/// Makes the nodes of one dialect.
pub(crate) trait Dialect: Clone {
    type Node: Node<Local = Sockets>;

    fn node(&self, sockets: Sockets, identity: Identity, settings: &Settings) -> Self::Node;

    /// How many requests and questions are open.
    fn open(node: &Self::Node) -> (usize, usize);

    fn counters(node: &Self::Node) -> &Counters;

    /// The namespace of the nodes.
    fn nsp(&self) -> &'static str {
        "/"
    }

    /// Requests to join, leave and disconnect are applied when they come back.
    const ECHOED: bool;
}

#[derive(Clone, Debug, Default)]
pub(crate) struct InClassic {
    specific_responses: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct InSharded(Mode);

impl Dialect for InClassic {
    type Node = Classic<Sockets>;

    const ECHOED: bool = true;

    fn node(&self, sockets: Sockets, identity: Identity, settings: &Settings) -> Self::Node {
        let options = ClassicOptions {
            prefix: "socket.io".to_owned(),
            publish_on_specific_response_channel: self.specific_responses,
            packet_type: PacketType::Event,
        };
        Classic::new(sockets, identity, settings, &options)
    }

    fn open(node: &Self::Node) -> (usize, usize) {
        node.core().open_count()
    }

    fn counters(node: &Self::Node) -> &Counters {
        &node.core().counters
    }
}

impl Dialect for InSharded {
    type Node = Sharded<Sockets>;

    const ECHOED: bool = false;

    fn node(&self, sockets: Sockets, identity: Identity, settings: &Settings) -> Self::Node {
        let options = ShardedOptions { prefix: "socket.io".to_owned(), mode: self.0 };
        Sharded::new(sockets, identity, settings, &options)
    }

    fn open(node: &Self::Node) -> (usize, usize) {
        node.core().open_count()
    }

    fn counters(node: &Self::Node) -> &Counters {
        &node.core().counters
    }
}

/// The same dialect in a namespace whose name looks like a part of its messages.
#[derive(Clone, Debug)]
pub(crate) struct InGuide<D>(D);

impl<D: Dialect> Dialect for InGuide<D> {
    type Node = D::Node;

    const ECHOED: bool = D::ECHOED;

    fn node(&self, sockets: Sockets, identity: Identity, settings: &Settings) -> Self::Node {
        self.0.node(sockets, identity, settings)
    }

    fn open(node: &Self::Node) -> (usize, usize) {
        D::open(node)
    }

    fn counters(node: &Self::Node) -> &Counters {
        D::counters(node)
    }

    fn nsp(&self) -> &'static str {
        "/guide"
    }
}

fn settings() -> Settings {
    Settings {
        requests_timeout: Duration::from_secs(5),
        max_requests: 1_000,
        max_questions: 1_000,
        max_answer_bytes: 1_000_000,
        limits: Limits::default(),
    }
}

fn identity(nsp: &str, seed: u64) -> Identity {
    Identity { nsp: nsp.into(), seed, counters: Arc::new(Counters::default()) }
}

/// What the sockets of a node, which know no node, have to call when something happens.
pub(crate) trait Back: Send + Sync {
    fn asked(&self, question: &Question, clients: usize);

    fn answered(&self, question: &Question, answer: Option<&sio_protocol::socketio::OwnedArgs>);

    fn replied(&self, to: &ReplyTo, answer: &sio_protocol::socketio::OwnedArgs);

    fn room_event(&self, event: &sio_server::RoomEvent);
}

/// A generator of its own for each test: the same seed, the same run.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.next() % 1_000 < per_mille
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len()))
    }
}

/// Instantiates tests that take a dialect for every dialect.
macro_rules! in_both {
    ($($name:ident)*) => {
        mod classic {
            $(#[test] fn $name() { super::$name(crate::node::tests::InClassic::default()); })*
        }
        mod classic_specific {
            $(#[test] fn $name() {
                super::$name(crate::node::tests::InClassic { specific_responses: true });
            })*
        }
        mod sharded_static {
            $(#[test] fn $name() {
                super::$name(crate::node::tests::InSharded(sio_protocol::cluster::sharded::Mode::Static));
            })*
        }
        mod sharded_dynamic {
            $(#[test] fn $name() {
                super::$name(crate::node::tests::InSharded(sio_protocol::cluster::sharded::Mode::Dynamic));
            })*
        }
        mod sharded_in_guide {
            $(#[test] fn $name() {
                let dialect = crate::node::tests::InSharded(sio_protocol::cluster::sharded::Mode::Dynamic);
                super::$name(crate::node::tests::InGuide(dialect));
            })*
        }
        mod sharded_dynamic_private {
            $(#[test] fn $name() {
                super::$name(crate::node::tests::InSharded(sio_protocol::cluster::sharded::Mode::DynamicPrivate));
            })*
        }
    };
}
use in_both;
