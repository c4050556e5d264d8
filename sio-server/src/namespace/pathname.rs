//! The namespace of a protocol 3 client, which writes it as a URL with its credentials as query. Pure.
//!
//! Node's server takes it apart with `url.parse()`, which also mends what browsers mend in addresses: the names that
//! come out are those that its `of()` is called with.

use std::borrow::Cow;

/// Takes a namespace apart: its name, and the query, if there is one. An authority, as in `//user@host/x`, is nothing
/// that a client sends, and stays part of the name.
pub(crate) fn split(nsp: &str) -> (Cow<'_, str>, Option<&str>) {
    let nsp = nsp.trim_matches(|c: char| c <= ' ' || c == '\u{a0}' || c == '\u{feff}');
    let (before_hash, has_hash) = match nsp.split_once('#') {
        Some((before, _)) => (before, true),
        None => (nsp, false),
    };
    let (path, query) = match before_hash.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (before_hash, None),
    };
    let path = if path.contains('\\') { Cow::Owned(path.replace('\\', "/")) } else { Cow::Borrowed(path) };
    // Its short way for simple paths, on which nothing is escaped.
    let is_simple =
        !has_hash && !path.contains('@') && !path.starts_with("///") && !nsp.contains(is_javascript_space);
    if is_simple || !path.contains(is_escaped) {
        return (path, query);
    }
    let mut escaped = String::with_capacity(path.len() + 8);
    for c in path.chars() {
        if is_escaped(c) {
            escaped.push_str(&format!("%{:02X}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    (escaped.into(), query)
}

/// What `\s` means in a regular expression of JavaScript.
fn is_javascript_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}

/// What `url.parse()` escapes.
fn is_escaped(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' ' | '"' | '\'' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_node_reads() {
        // What `url.parse(nsp, true)` of Node 20 says.
        for (nsp, pathname, query) in [
            ("/a", "/a", None),
            ("/a?x=1", "/a", Some("x=1")),
            ("/my room", "/my%20room", None),
            ("/my room?token=1", "/my%20room", Some("token=1")),
            ("/a\tb", "/a%09b", None),
            ("/caf\u{e9}", "/caf\u{e9}", None),
            ("/caf\u{e9} x", "/caf\u{e9}%20x", None),
            ("/a\"b", "/a\"b", None),
            ("/a\"b c", "/a%22b%20c", None),
            ("/a'b<c>`{d}|e\\f^g h", "/a%27b%3Cc%3E%60%7Bd%7D%7Ce/f%5Eg%20h", None),
            ("/a\\b?c\\d", "/a/b", Some("c\\d")),
            ("/a#b?c=1", "/a", None),
            ("/a?x=1#y", "/a", Some("x=1")),
            ("/a@b", "/a@b", None),
            ("/a@b{c}", "/a@b%7Bc%7D", None),
            (" /a b ", "/a%20b", None),
            ("/a%20b c", "/a%20b%20c", None),
            ("//h/x", "//h/x", None),
            ("/a b;c:d@e", "/a%20b;c:d@e", None),
            ("/a?b?c", "/a", Some("b?c")),
            ("/a\u{2003}b", "/a\u{2003}b", None),
            ("/a\u{1}b", "/a\u{1}b", None),
            ("/a\n", "/a", None),
            ("///a", "///a", None),
            ("/a b?c#d", "/a%20b", Some("c")),
        ] {
            assert_eq!(split(nsp), (pathname.into(), query), "{nsp:?}");
        }
    }
}
