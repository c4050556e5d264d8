//! What the names of channels have in common: how they are put together, and what a received one says.
//!
//! A channel is made of a prefix, a namespace and perhaps a room or a server, each followed by `#`. Neither
//! namespaces nor rooms escape that character, so a name alone can be ambiguous; with the namespace known it
//! is not.

/// Says whom a channel concerns within its namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a channel has one part after the namespace or none")]
pub enum Scope<'a> {
    /// Everybody. A room without a name counts as this, too, as it does in Node.
    All,
    /// One room; or one server, on the channel that is its own in the sharded dialect. The name may have a
    /// `#` in it.
    One(&'a str),
}

/// Escapes what `PSUBSCRIBE` would take for a pattern. Node does not do that.
///
/// ```
/// assert_eq!(sio_protocol::cluster::escape_pattern("/chat*"), r"/chat\*");
/// ```
pub fn escape_pattern(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for character in name.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// Says in which namespaces a channel can be: normally one, but a name with further `#` in it can be a room
/// of a short namespace, or a namespace with a `#` of its own. Which one is meant is in the message.
///
/// ```
/// use sio_protocol::cluster::{Scope, namespaces_of};
///
/// let found: Vec<_> = namespaces_of("socket.io", "socket.io#/chat#lobby#").collect();
/// assert_eq!(found, [("/chat", Scope::One("lobby")), ("/chat#lobby", Scope::All)]);
/// ```
pub fn namespaces_of<'a>(prefix: &str, channel: &'a str) -> impl Iterator<Item = (&'a str, Scope<'a>)> {
    let rest = channel.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('#')).unwrap_or_default();
    let rest = if rest.starts_with('/') { rest } else { "" };
    rest.match_indices('#').filter_map(move |(at, _)| {
        let (nsp, rest) = rest.split_at(at);
        Some((nsp, scope("#", rest)?))
    })
}

/// Says whom a channel concerns that has to start with `base`: prefix and namespace, each with its `#`.
pub(super) fn scope<'a>(base: &str, channel: &'a str) -> Option<Scope<'a>> {
    let rest = channel.strip_prefix(base)?;
    if rest.is_empty() {
        return Some(Scope::All);
    }
    let name = rest.strip_suffix('#')?;
    Some(if name.is_empty() { Scope::All } else { Scope::One(name) })
}

/// Puts the name of a channel together: what is common to the namespace, one more part, `#`.
pub(super) fn below(base: &str, name: &str) -> String {
    let mut channel = String::with_capacity(base.len() + name.len() + 1);
    channel.push_str(base);
    channel.push_str(name);
    channel.push('#');
    channel
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_read_as_node_reads_it() {
        for (channel, expected) in [
            ("p#/#", Some(Scope::All)),
            ("p#/##", Some(Scope::All)),
            ("p#/#a#", Some(Scope::One("a"))),
            ("p#/#a#b#", Some(Scope::One("a#b"))),
            ("p#/#a", None),
            ("p#/", None),
            ("q#/#", None),
            ("p#/admin#", None),
            ("", None),
        ] {
            assert_eq!(scope("p#/#", channel), expected, "{channel}");
        }
    }

    #[test]
    fn every_namespace_that_a_channel_can_mean_is_found() {
        let all = |channel| namespaces_of("p", channel).collect::<Vec<_>>();
        assert_eq!(all("p#/#"), [("/", Scope::All)]);
        assert_eq!(all("p#/#r#"), [("/", Scope::One("r")), ("/#r", Scope::All)]);
        assert_eq!(
            all("p#/a##b#"),
            [("/a", Scope::One("#b")), ("/a#", Scope::One("b")), ("/a##b", Scope::All)]
        );
        for channel in ["p#", "p#x#", "p", "pp#/#", "p-request#/#", "p#/", "p#/x", ""] {
            assert_eq!(all(channel), [], "{channel}");
        }
    }

    #[test]
    fn patterns_match_only_themselves() {
        assert_eq!(escape_pattern("a*b?[c]\\#/ü"), "a\\*b\\?\\[c\\]\\\\#/ü");
    }
}
