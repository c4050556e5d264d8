//! Finds the copies of a message that matched more than one of our subscriptions.
//!
//! Redis sends one copy for each pattern and for the channel that matches: with the namespaces `/a` and `/a#b`, what is
//! published on `socket.io#/a#b#` arrives by `socket.io#/a#*` and by `socket.io#/a#b#*`. All copies of one publish come in
//! a row, since Redis does one command after the other, and each subscription gives one. So a message on the same channel
//! is a copy as long as its subscription has not been seen since the first of them. A confirmation ends the row:
//! subscriptions only change between two messages.

use bytes::Bytes;

/// The row of copies that is being received.
#[derive(Default)]
pub(super) struct Once {
    channel: Bytes,
    /// The subscriptions seen: a pattern, or none for the channel itself.
    seen: Vec<Option<Bytes>>,
}

impl Once {
    /// Says whether a message is a copy of the one before.
    pub(super) fn is_copy(&mut self, pattern: Option<Bytes>, channel: &Bytes) -> bool {
        let copy = !self.seen.is_empty() && self.channel == channel && !self.seen.contains(&pattern);
        if !copy {
            self.seen.clear();
            self.channel = channel.clone();
        }
        self.seen.push(pattern);
        copy
    }

    /// Ends the row.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a message: the subscription it came by (`.`: the channel itself), all on the same channel. Returns the
    /// positions of those that count.
    fn counted(messages: &str) -> Vec<usize> {
        let mut once = Once::default();
        let channel = Bytes::from_static(b"channel");
        let copies = messages.chars().map(|by| match by {
            '|' => {
                once.reset();
                true
            }
            '.' => once.is_copy(None, &channel),
            by => once.is_copy(Some(Bytes::from(by.to_string())), &channel),
        });
        copies.enumerate().filter(|(_, copy)| !copy).map(|(at, _)| at).collect()
    }

    #[test]
    fn each_publish_counts_once_whatever_the_order_of_its_copies() {
        assert_eq!(counted("ababab"), [0, 2, 4]);
        assert_eq!(counted("abba"), [0, 2]);
        assert_eq!(counted(".a.a"), [0, 2]);
        assert_eq!(counted("aaa"), [0, 1, 2]);
        // `b` is subscribed after the second, `a` taken back after the next.
        assert_eq!(counted("aa|ab|bb"), [0, 1, 3, 6, 7]);
        assert_eq!(counted("a|b"), [0, 2]);
    }

    #[test]
    fn another_channel_is_another_message() {
        let mut once = Once::default();
        let by = |name: &'static str| Some(Bytes::from_static(name.as_bytes()));
        let [one, two] = ["one", "two"].map(|name| Bytes::from_static(name.as_bytes()));
        assert!(!once.is_copy(by("a"), &one));
        assert!(!once.is_copy(by("b"), &two));
        assert!(once.is_copy(by("a"), &two));
        assert!(!once.is_copy(by("a"), &one));
    }
}
