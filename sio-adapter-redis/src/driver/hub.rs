//! What all namespaces of an adapter share: the link, and who is subscribed to what.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use sio_server::{Adapter, LocalNamespace};
use tokio::runtime::Handle as Runtime;

use super::Stats;
use super::attached::{Attached, Handle};
use super::dialect::Dialect;
use super::namespaces::Namespaces;
use crate::link::{ConnectError, Link, LinkOptions, Receiver, RedisEvent, RedisTarget, Topic};
use crate::node::{Counters, Settings};

pub(crate) struct Hub<D: Dialect> {
    pub(super) dialect: D,
    pub(super) settings: Settings,
    pub(super) counters: Arc<Counters>,
    /// Set once it is open.
    link: OnceLock<Link>,
    namespaces: Namespaces<Attached<D>>,
    /// Some namespace of the server that the adapter belongs to, to tell it from others.
    owner: Mutex<Option<LocalNamespace>>,
    /// How often each topic is subscribed to. The main channel of a namespace with a `#` in its name can be that of a
    /// room of a shorter one.
    topics: Mutex<HashMap<Topic, usize>>,
    /// What channels begin with, up to the `#` before the namespace.
    families: Vec<String>,
    on_event: Option<OnEvent>,
    /// Where the tasks run: adapters are attached on any thread.
    runtime: Runtime,
}

pub(crate) type OnEvent = Box<dyn Fn(&RedisEvent) + Send + Sync>;

/// How a hub is made, beside its dialect.
pub(crate) struct HubOptions {
    pub(crate) settings: Settings,
    pub(crate) on_event: Option<OnEvent>,
    /// Changes the defaults of the link.
    pub(crate) link: Box<dyn FnOnce(&mut LinkOptions) + Send>,
}

impl<D: Dialect> Hub<D> {
    /// Opens the link. Has to be called on a runtime, on which everything runs from then on.
    pub(crate) async fn connect(
        target: RedisTarget,
        dialect: D,
        options: HubOptions,
    ) -> Result<Arc<Self>, ConnectError> {
        let families = D::FAMILIES.iter().map(|family| format!("{}{family}", dialect.prefix())).collect();
        let probe_prefix = format!("{}-probe#", dialect.prefix());
        let hub = Arc::new(Self {
            dialect,
            settings: options.settings,
            counters: Arc::default(),
            link: OnceLock::new(),
            namespaces: Namespaces::default(),
            owner: Mutex::default(),
            topics: Mutex::default(),
            families,
            on_event: options.on_event,
            runtime: Runtime::current(),
        });
        let receiver: Weak<dyn Receiver> = Arc::downgrade(&(Arc::clone(&hub) as Arc<dyn Receiver>));
        let mut link_options = LinkOptions::new(target, receiver);
        link_options.space = D::SPACE;
        link_options.probe_prefix = probe_prefix;
        (options.link)(&mut link_options);
        let link = Link::open(link_options).await?;
        let _ = hub.link.set(link);
        Ok(hub)
    }

    pub(super) fn link(&self) -> Option<&Link> {
        self.link.get()
    }

    /// Makes the node of a namespace, which is in the cluster once Redis has confirmed its subscriptions.
    ///
    /// # Panics
    /// If the adapter belongs to another server: the namespaces of the two have the same names, and one would get what is
    /// for the other, which would hear of nothing any more. `Server::builder().build()` attaches `/`, so that it is there
    /// that this is noticed, before anything of the other server is touched.
    pub(crate) fn attach(self: &Arc<Self>, local: LocalNamespace) -> Arc<dyn Adapter> {
        assert!(self.is_for(&local), "{OTHER_SERVER}");
        let mut seed = [0; 8];
        #[expect(
            clippy::expect_used,
            reason = "two nodes with one name would ignore each other: nothing may go on"
        )]
        getrandom::fill(&mut seed).expect("the operating system gives no random bytes");
        let attached = Attached::new(self, local, u64::from_ne_bytes(seed));
        let replaced = self.namespaces.insert(attached.nsp(), Arc::clone(&attached));
        use crate::node::Node as _;
        attached.node.start(&*attached);
        // Afterwards, so that what both are subscribed to stays so. A namespace may come again before it is quite gone.
        if let Some(replaced) = replaced {
            replaced.stop();
        }
        self.runtime.spawn(Arc::clone(&attached).run());
        Arc::new(Handle(attached))
    }

    /// Says whether the server of `local` may use the adapter: the first one, or one that comes when the first is gone
    /// without having closed it.
    fn is_for(&self, local: &LocalNamespace) -> bool {
        let mut owner = self.owner.lock().unwrap_or_else(PoisonError::into_inner);
        let is_closed = self.link().is_some_and(Link::is_closing);
        if let Some(owner) = &*owner
            && !owner.is_beside(local)
            && (is_closed || !self.namespaces.is_empty())
        {
            return false;
        }
        *owner = Some(local.clone());
        true
    }

    /// Ends a namespace.
    pub(super) fn detach(&self, attached: &Arc<Attached<D>>) {
        self.namespaces.remove(attached.nsp(), attached);
        attached.stop();
    }

    pub(super) fn subscribe(&self, topic: Topic) {
        let Some(link) = self.link() else { return };
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let count = topics.entry(topic.clone()).or_default();
        *count += 1;
        if *count == 1 {
            // With the lock, so that nobody's wish overtakes another's; the link notes it and returns.
            link.subscribe(topic);
        }
    }

    pub(super) fn unsubscribe(&self, topic: Topic) {
        let Some(link) = self.link() else { return };
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let Entry::Occupied(mut entry) = topics.entry(topic) else { return };
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            let (topic, _) = entry.remove_entry();
            link.unsubscribe(topic);
        }
    }

    /// Waits until Redis has confirmed everything that the namespaces that are there want to receive.
    pub(crate) async fn ready(&self) {
        if let Some(link) = self.link() {
            link.settled().await;
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats::new(self.link().map(Link::stats).unwrap_or_default(), &self.counters)
    }

    /// Ends everything, what is queued first.
    pub(crate) async fn close(&self) {
        self.namespaces.drain().iter().for_each(|attached| attached.stop());
        if let Some(link) = self.link() {
            link.close().await;
        }
    }
}

impl<D: Dialect> Receiver for Hub<D> {
    fn receive(&self, channel: &str, message: Bytes) {
        for family in &self.families {
            self.namespaces.each_of(family, channel, |attached| attached.handle_message(channel, &message));
        }
    }

    fn burst(&self, hand_on: &mut dyn FnMut()) {
        // Messages that came together leave together.
        LocalNamespace::together(hand_on);
    }

    fn changed(&self, event: &RedisEvent) {
        if let Some(on_event) = &self.on_event
            && catch_unwind(AssertUnwindSafe(|| on_event(event))).is_err()
        {
            tracing::error!("on_event panicked");
        }
    }
}

impl<D: Dialect> fmt::Debug for Hub<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("prefix", &self.dialect.prefix()).finish_non_exhaustive()
    }
}

const OTHER_SERVER: &str = "a Redis adapter serves one server, and this one has a server already: connect another adapter \
    for a second server in the process";
