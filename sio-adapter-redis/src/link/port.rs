//! What one subscribing connection is to be subscribed to: the wish, and from it the commands.
//!
//! The wish survives connections. What Redis has been asked on the present connection is compared with it, so that
//! each topic is asked for once however often it is wished for, and everything is asked for again on a new connection.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{Notify, watch};

use super::{Topic, resp::Verb, wire::Outgoing};

/// The wish, shared with the handles of the link.
pub(super) struct Port {
    wish: Mutex<Wish>,
    /// Wakes the connection's task.
    pub(super) wake: Notify,
    /// How many of the changes Redis has confirmed.
    confirmed: watch::Sender<u64>,
    /// Whether a connection stands and is proven.
    subscribed: watch::Sender<bool>,
    /// Whether there is reason to doubt that.
    suspected: AtomicBool,
}

#[derive(Default)]
struct Wish {
    topics: HashSet<Topic>,
    /// What changed since the task looked.
    touched: HashSet<Topic>,
    /// Whether everything has to be compared instead.
    all: bool,
    /// How many changes there were.
    changes: u64,
}

/// What changed since the last look.
pub(super) struct Changes {
    /// The topics that changed, with whether they are wished for.
    pub(super) touched: Vec<(Topic, bool)>,
    /// Everything wished for, when everything has to be compared.
    pub(super) all: Option<HashSet<Topic>>,
    pub(super) number: u64,
}

impl Port {
    pub(super) fn new() -> Self {
        let wish = Wish { all: true, ..Wish::default() };
        Self {
            wish: Mutex::new(wish),
            wake: Notify::new(),
            confirmed: watch::Sender::new(0),
            subscribed: watch::Sender::new(false),
            suspected: AtomicBool::new(false),
        }
    }

    /// Wishes for a topic, or no longer.
    pub(super) fn set(&self, topic: Topic, wanted: bool) {
        let mut wish = self.lock();
        let changed = if wanted { wish.topics.insert(topic.clone()) } else { wish.topics.remove(&topic) };
        if !changed {
            return;
        }
        wish.changes += 1;
        if !wish.all {
            wish.touched.insert(topic);
            // While Redis is slow topics may come and go that nobody has asked it for: comparing is cheaper then.
            if wish.touched.len() > 2 * wish.topics.len() + 1024 {
                wish.touch_all();
            }
        }
        drop(wish);
        self.wake.notify_one();
    }

    /// Takes the changes out. With `all` everything is to be compared, as for a new connection.
    pub(super) fn take(&self, all: bool) -> Option<Changes> {
        let mut wish = self.lock();
        if all || wish.all {
            wish.touched = HashSet::new();
            wish.all = false;
            return Some(Changes {
                touched: Vec::new(),
                all: Some(wish.topics.clone()),
                number: wish.changes,
            });
        }
        if wish.touched.is_empty() {
            return None;
        }
        let touched = std::mem::take(&mut wish.touched);
        let touched =
            touched.into_iter().map(|topic| (topic.clone(), wish.topics.contains(&topic))).collect();
        Some(Changes { touched, all: None, number: wish.changes })
    }

    /// Makes the task compare everything. Until a connection does, changes are not noted one by one.
    pub(super) fn touch_all(&self) {
        self.lock().touch_all();
        self.wake.notify_one();
    }

    /// Takes every topic out that does not belong here any more.
    pub(super) fn split_off(&self, mut belongs: impl FnMut(&Topic) -> bool) -> Vec<Topic> {
        let mut wish = self.lock();
        let (stay, go) = std::mem::take(&mut wish.topics).into_iter().partition(|topic| belongs(topic));
        wish.topics = stay;
        let go: HashSet<Topic> = go;
        if !go.is_empty() {
            wish.changes += 1;
        }
        drop(wish);
        go.into_iter().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().topics.len()
    }

    pub(super) fn confirm(&self, number: u64) {
        self.confirmed.send_if_modified(|confirmed| {
            *confirmed != RETIRED && std::mem::replace(confirmed, number) != number
        });
    }

    /// Notes that nobody will confirm anything here any more, whatever the task may still say: whoever waits for it looks
    /// where the topics are now.
    pub(super) fn retire(&self) {
        self.confirm(RETIRED);
    }

    /// Notes that there is no connection: whatever was confirmed on the last one holds no more.
    pub(super) fn lost(&self) {
        self.set_subscribed(false);
        self.confirm(0);
    }

    /// Waits until Redis has confirmed what is wished for at the time of the call, on a connection that still stands.
    pub(super) async fn settled(&self) {
        let number = self.lock().changes;
        // An error would mean that `self` is gone.
        let _ = self.confirmed.subscribe().wait_for(|confirmed| *confirmed >= number).await;
    }

    pub(super) fn set_subscribed(&self, subscribed: bool) {
        self.subscribed.send_if_modified(|before| std::mem::replace(before, subscribed) != subscribed);
    }

    /// Has the subscription probed, because something else to the same server is broken.
    pub(super) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
        self.set_subscribed(false);
        self.wake.notify_one();
    }

    pub(super) fn take_suspicion(&self) -> bool {
        self.suspected.swap(false, Ordering::Relaxed)
    }

    /// Waits until everything wished for is subscribed and proven.
    pub(super) async fn subscribed(&self) {
        // An error would mean that `self` is gone.
        let _ = self.subscribed.subscribe().wait_for(|subscribed| *subscribed).await;
    }

    fn lock(&self) -> MutexGuard<'_, Wish> {
        // Nothing can panic while it is held.
        self.wish.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    fn touch_all(&mut self) {
        self.touched = HashSet::new();
        self.all = true;
    }
}

/// What Redis has been asked on one connection, and what it has confirmed.
#[derive(Default)]
pub(super) struct Asked {
    topics: HashSet<Topic>,
    /// Commands without an answer yet.
    pending: VecDeque<Pending>,
    /// Whether it is a server of a cluster, where each topic of a shard has to be asked for by itself: one command is for
    /// one slot.
    singly: bool,
    /// The number of the last change that was turned into commands.
    number: u64,
    /// Whether something has to be asked again elsewhere or later, so that what was asked for is not reached.
    pub(super) astray: bool,
}

enum Pending {
    /// A command that is confirmed topic by topic.
    Topics { verb: Verb, topics: VecDeque<Topic> },
    /// The publish of a probe.
    Probe,
    /// Everything up to this change has been asked for before this point.
    Mark(u64),
}

/// What an error was the answer to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// A subscription.
    Topic(Topic),
    /// A subscription that another server of the cluster is to be asked for.
    Elsewhere(Topic),
    /// A probe was not published.
    Probe,
    /// Something that is tried in another way, or does not matter.
    Nothing,
}

impl Asked {
    pub(super) fn new(singly: bool) -> Self {
        Self { singly, ..Self::default() }
    }

    /// Turns changes into commands.
    pub(super) fn apply(&mut self, changes: Changes, out: &mut Outgoing) {
        let (mut add, mut remove): (Vec<Topic>, Vec<Topic>) = (Vec::new(), Vec::new());
        match changes.all {
            Some(wanted) => {
                remove.extend(self.topics.iter().filter(|topic| !wanted.contains(*topic)).cloned());
                add.extend(wanted.into_iter().filter(|topic| !self.topics.contains(topic)));
                self.astray = false;
            }
            None => {
                for (topic, wanted) in changes.touched {
                    match (wanted, self.topics.contains(&topic)) {
                        (true, false) => add.push(topic),
                        (false, true) => remove.push(topic),
                        _ => {}
                    }
                }
            }
        }
        for topic in &remove {
            self.topics.remove(topic);
        }
        self.topics.extend(add.iter().cloned());
        self.send(remove, false, out);
        self.send(add, true, out);
        self.number = changes.number;
        self.pending.push_back(Pending::Mark(changes.number));
    }

    /// Asks for patterns, of which there are few and which get what is for all, before channels, whose subscribers are
    /// counted; takes them back after those. The topics of a kind are in no order.
    fn send(&mut self, topics: Vec<Topic>, wanted: bool, out: &mut Outgoing) {
        let mut of = [Vec::new(), Vec::new(), Vec::new()];
        for topic in topics {
            let kind = match topic {
                Topic::Pattern(_) => 0,
                Topic::Channel(_) => 1,
                Topic::Shard(_) => 2,
            };
            of[kind].push(topic);
        }
        if !wanted {
            of.reverse();
        }
        for topics in of {
            let Some(verb) = topics.first().map(|topic| topic.verb(wanted)) else { continue };
            let at_once =
                if self.singly && matches!(topics[0], Topic::Shard(_)) { 1 } else { TOPICS_AT_ONCE };
            for topics in topics.chunks(at_once) {
                self.command(verb, topics.iter().cloned().collect(), out);
            }
        }
    }

    fn command(&mut self, verb: Verb, topics: VecDeque<Topic>, out: &mut Outgoing) {
        let mut parts = vec![verb.name().as_bytes()];
        parts.extend(topics.iter().map(|topic| topic.name().as_bytes()));
        out.command(&parts);
        self.pending.push_back(Pending::Topics { verb, topics });
    }

    /// Subscribes to something that nobody wishes for: a probe's channel.
    pub(super) fn subscribe(&mut self, topic: &Topic, out: &mut Outgoing) {
        self.command(topic.verb(true), VecDeque::from([topic.clone()]), out);
    }

    /// Publishes a probe.
    pub(super) fn probe(&mut self, topic: &Topic, message: &[u8], out: &mut Outgoing) {
        let verb: &[u8] = if matches!(topic, Topic::Shard(_)) { b"SPUBLISH" } else { b"PUBLISH" };
        out.command(&[verb, topic.name().as_bytes(), message]);
        self.pending.push_back(Pending::Probe);
    }

    /// Notes a confirmation. Returns false for one that nobody asked for: a cluster takes subscriptions back when a
    /// slot moves.
    pub(super) fn confirmed(&mut self, verb: Verb, topic: Option<&[u8]>) -> bool {
        if let Some(Pending::Topics { verb: asked, topics }) = self.pending.front_mut()
            && *asked == verb
            && topics.front().is_some_and(|next| Some(next.name().as_bytes()) == topic)
        {
            topics.pop_front();
            if topics.is_empty() {
                self.pending.pop_front();
            }
            return true;
        }
        if verb == Verb::Sunsubscribe
            && let Some(name) = topic.and_then(|topic| std::str::from_utf8(topic).ok())
        {
            self.topics.remove(&Topic::Shard(name.into()));
            self.astray = true;
        }
        false
    }

    /// Notes that a probe was published. Returns false when nothing of the kind was asked.
    pub(super) fn published(&mut self) -> bool {
        let expected = matches!(self.pending.front(), Some(Pending::Probe));
        if expected {
            self.pending.pop_front();
        }
        expected
    }

    /// Notes an error. A command for several topics is tried again for each of them, since the error does not say which.
    pub(super) fn refused(&mut self, error: &str, out: &mut Outgoing) -> Option<Refused> {
        match self.pending.pop_front()? {
            Pending::Probe => Some(Refused::Probe),
            Pending::Topics { verb, topics } if topics.len() > 1 => {
                for topic in topics {
                    self.command(verb, VecDeque::from([topic]), out);
                }
                // Nothing is reached before these are answered.
                self.pending.retain(|pending| !matches!(pending, Pending::Mark(_)));
                self.pending.push_back(Pending::Mark(self.number));
                Some(Refused::Nothing)
            }
            Pending::Topics { verb, mut topics } => {
                let topic = topics.pop_front()?;
                if !matches!(verb, Verb::Subscribe | Verb::Psubscribe | Verb::Ssubscribe) {
                    return Some(Refused::Nothing); // a slot that has moved took the subscription with it
                }
                self.topics.remove(&topic);
                if self.singly && is_elsewhere(error) {
                    self.astray = true;
                    return Some(Refused::Elsewhere(topic));
                }
                Some(Refused::Topic(topic))
            }
            mark @ Pending::Mark(_) => {
                self.pending.push_front(mark);
                None
            }
        }
    }

    /// Returns the number of the change up to which everything is confirmed, when that has just been reached.
    pub(super) fn reached(&mut self) -> Option<u64> {
        let mut reached = None;
        while let Some(Pending::Mark(number)) = self.pending.front() {
            // With something astray the change is reached when everything has been compared again.
            reached = (!self.astray).then_some(*number);
            self.pending.pop_front();
        }
        reached
    }

    /// Says whether Redis owes an answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many topics are asked for.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// Says whether one published message may match several of the topics.
    pub(super) fn may_overlap(&self) -> bool {
        let mut names: Vec<(Vec<u8>, bool)> = Vec::new();
        for topic in &self.topics {
            match topic {
                Topic::Pattern(pattern) => names.push((literal_prefix(pattern), true)),
                Topic::Channel(name) => names.push((name.as_bytes().to_vec(), false)),
                Topic::Shard(_) => {} // published by another command
            }
        }
        // What begins with a prefix follows it directly, or follows others that begin with it.
        names.sort();
        names.windows(2).any(|two| {
            let [(prefix, is_pattern), (name, also)] = two else { return false };
            (*is_pattern && name.starts_with(prefix)) || (*also && prefix.starts_with(name))
        })
    }
}

impl Topic {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Channel(name) | Self::Pattern(name) | Self::Shard(name) => name,
        }
    }

    pub(super) fn verb(&self, wanted: bool) -> Verb {
        match (self, wanted) {
            (Self::Channel(_), true) => Verb::Subscribe,
            (Self::Channel(_), false) => Verb::Unsubscribe,
            (Self::Pattern(_), true) => Verb::Psubscribe,
            (Self::Pattern(_), false) => Verb::Punsubscribe,
            (Self::Shard(_), true) => Verb::Ssubscribe,
            (Self::Shard(_), false) => Verb::Sunsubscribe,
        }
    }
}

/// Says whether an error means that another server of the cluster is responsible, or will be.
pub(super) fn is_elsewhere(error: &str) -> bool {
    ["MOVED ", "ASK ", "CLUSTERDOWN", "TRYAGAIN"].iter().any(|word| error.starts_with(word))
}

/// What every channel that matches a glob begins with.
fn literal_prefix(pattern: &str) -> Vec<u8> {
    let mut prefix = Vec::new();
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => break,
            b'\\' => prefix.extend(bytes.next()),
            byte => prefix.push(byte),
        }
    }
    prefix
}

/// More changes than there can be.
const RETIRED: u64 = u64::MAX;

/// How many topics one command names: an error costs as many further commands.
const TOPICS_AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> Topic {
        Topic::Channel(name.into())
    }

    /// Applies what changed and returns how many bytes that made.
    fn apply(port: &Port, asked: &mut Asked, all: bool) -> usize {
        let mut out = Outgoing::default();
        if let Some(changes) = port.take(all) {
            asked.apply(changes, &mut out);
        }
        out.len()
    }

    fn confirm(asked: &mut Asked, verb: Verb, name: &str) -> Option<u64> {
        assert!(asked.confirmed(verb, Some(name.as_bytes())), "{verb:?} {name} was not asked for");
        asked.reached()
    }

    #[test]
    fn a_topic_is_asked_for_once_and_again_on_a_new_connection() {
        let (port, mut asked) = (Port::new(), Asked::new(false));
        apply(&port, &mut asked, true);
        assert_eq!(asked.reached(), Some(0));
        port.set(channel("a"), true);
        port.set(channel("a"), true);
        assert!(apply(&port, &mut asked, false) > 0);
        assert_eq!(confirm(&mut asked, Verb::Subscribe, "a"), Some(1));
        port.set(channel("a"), false);
        port.set(channel("a"), true);
        assert_eq!(apply(&port, &mut asked, false), 0, "taken back and asked again before anybody looked");
        assert_eq!(asked.reached(), Some(3));
        let mut asked = Asked::new(false);
        assert!(apply(&port, &mut asked, true) > 0);
        assert_eq!(
            (confirm(&mut asked, Verb::Subscribe, "a"), asked.len(), asked.is_waiting()),
            (Some(3), 1, false)
        );
    }

    #[test]
    fn what_gets_broadcasts_is_subscribed_before_what_is_counted_and_longer() {
        let (port, mut asked) = (Port::new(), Asked::new(false));
        let verbs = |port: &Port, asked: &mut Asked| {
            let mut out = Outgoing::default();
            asked.apply(port.take(false).unwrap(), &mut out);
            let verb =
                |pending: Pending| if let Pending::Topics { verb, .. } = pending { Some(verb) } else { None };
            asked.pending.drain(..).filter_map(verb).collect::<Vec<_>>()
        };
        let topics = [channel("counted"), Topic::Pattern("all*".into())];
        topics.iter().for_each(|topic| port.set(topic.clone(), true));
        assert_eq!(verbs(&port, &mut asked), [Verb::Psubscribe, Verb::Subscribe]);
        topics.iter().rev().for_each(|topic| port.set(topic.clone(), false));
        port.set(channel("other"), true);
        assert_eq!(verbs(&port, &mut asked), [Verb::Unsubscribe, Verb::Punsubscribe, Verb::Subscribe]);
    }

    #[tokio::test]
    async fn a_connection_that_is_lost_takes_its_confirmations_along_but_nobody_waits_at_a_retired_port() {
        let port = Port::new();
        port.set(channel("a"), true);
        port.confirm(1);
        port.settled().await;
        port.lost();
        let mut settled = std::pin::pin!(port.settled());
        tokio::select! {
            biased;
            () = &mut settled => panic!("the confirmation is of the connection that was lost"),
            () = std::future::ready(()) => {}
        }
        port.retire();
        // Its task may not have noticed.
        port.lost();
        port.confirm(0);
        tokio::select! {
            biased;
            () = settled => {}
            () = std::future::ready(()) => panic!("nobody will ever confirm anything"),
        }
    }

    #[test]
    fn changes_while_nobody_looks_take_no_more_memory_than_the_topics() {
        let port = Port::new();
        port.take(true);
        for n in 0..100_000 {
            port.set(channel(&n.to_string()), true);
            port.set(channel(&n.to_string()), false);
        }
        assert!(port.lock().touched.len() <= 1024);
        assert!(port.take(false).unwrap().all.is_some_and(|all| all.is_empty()));
    }

    #[test]
    fn a_refused_command_is_tried_topic_by_topic_and_reached_after_that() {
        let (port, mut asked, mut out) = (Port::new(), Asked::new(false), Outgoing::default());
        port.set(channel("a"), true);
        port.set(channel("b"), true);
        apply(&port, &mut asked, true);
        port.set(channel("c"), true);
        apply(&port, &mut asked, false);
        assert_eq!(asked.refused("NOPERM", &mut out), Some(Refused::Nothing));
        assert_eq!(confirm(&mut asked, Verb::Subscribe, "c"), None, "the two are still open");
        let Some(Refused::Topic(first)) = asked.refused("NOPERM", &mut out) else { panic!() };
        assert_eq!(asked.reached(), None);
        let second = if first == channel("a") { "b" } else { "a" };
        assert_eq!(confirm(&mut asked, Verb::Subscribe, second), Some(3));
        assert_eq!(asked.refused("ERR", &mut out), None, "nothing was asked");
    }

    #[test]
    fn a_slot_that_moves_away_is_noticed_and_everything_is_compared_again() {
        let (port, mut asked, mut out) = (Port::new(), Asked::new(true), Outgoing::default());
        let shard = |name: &str| Topic::Shard(name.into());
        port.set(shard("a"), true);
        apply(&port, &mut asked, true);
        assert_eq!(confirm(&mut asked, Verb::Ssubscribe, "a"), Some(1));
        assert!(!asked.confirmed(Verb::Sunsubscribe, Some(b"a")));
        assert!(asked.astray);
        port.set(shard("b"), true);
        apply(&port, &mut asked, false);
        assert_eq!(asked.refused("MOVED 1 127.0.0.1:2", &mut out), Some(Refused::Elsewhere(shard("b"))));
        assert_eq!(asked.reached(), None, "neither of the two is subscribed");
        port.touch_all();
        assert!(apply(&port, &mut asked, false) > 0);
        assert!(!asked.astray);
        assert_eq!(asked.len(), 2);
    }

    #[test]
    fn probes_and_confirmations_are_told_apart() {
        let (port, mut asked, mut out) = (Port::new(), Asked::new(false), Outgoing::default());
        assert!(!asked.published());
        port.set(channel("a"), true);
        apply(&port, &mut asked, true);
        asked.probe(&channel("p"), b"1", &mut out);
        assert!(!asked.published(), "the confirmation comes first");
        assert_eq!(confirm(&mut asked, Verb::Subscribe, "a"), Some(1));
        assert!(asked.published());
        assert_eq!(asked.refused("NOPERM", &mut out), None);
        asked.probe(&channel("p"), b"2", &mut out);
        assert_eq!(asked.refused("NOPERM", &mut out), Some(Refused::Probe));
    }

    #[test]
    fn overlaps_are_found() {
        let overlap = |topics: &[Topic]| {
            let asked = Asked { topics: topics.iter().cloned().collect(), ..Asked::default() };
            asked.may_overlap()
        };
        let pattern = |name: &str| Topic::Pattern(name.into());
        assert!(!overlap(&[
            pattern("io#/#*"),
            pattern("io#/a#*"),
            channel("io-request#/#"),
            channel("io-request#/a#")
        ]));
        assert!(overlap(&[pattern("io#/a#*"), pattern("io#/z#*"), pattern("io#/a#b#*")]));
        assert!(overlap(&[pattern("io#/a#*"), channel("io#/a#x")]));
        assert!(overlap(&[pattern("io*"), pattern("io?")]));
        assert!(!overlap(&[pattern(r"io\*/a#*"), pattern("io#/a#*")]));
        assert!(!overlap(&[channel("a"), channel("ab"), Topic::Shard("a".into())]));
    }
}
