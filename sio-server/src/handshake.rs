//! What a client said when it connected: URL, headers, address, and the `auth` of its namespace.
//!
//! Kept as one block of text per connection and taken apart only when asked, as most servers never ask for most of
//! it and hold it for as long as the client stays.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::connection::Connection;
use crate::http::query;

/// Where a request came from. Put into the request's extensions by whoever accepts connections, so that
/// [`Handshake::address`] and [`Handshake::secure`] know; [`Server::listen`](crate::Server::listen) does it itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The connection is encrypted.
    pub secure: bool,
}

impl Peer {
    /// A peer with an address.
    #[must_use]
    pub fn new(address: SocketAddr, secure: bool) -> Self {
        Self { address, secure }
    }
}

/// The handshake request of a connection.
#[derive(Debug)]
pub(crate) struct Request {
    /// `s` or `-` (encrypted or not) and the URL, the address, then `name:value` lines, separated by line feeds, which
    /// none of them can contain.
    text: Box<[u8]>,
    issued: u64,
}

impl Request {
    pub(crate) fn new(parts: &Parts, peer: Option<Peer>) -> Self {
        let url = parts.uri.path_and_query().map_or("/", |url| url.as_str());
        let len: usize =
            parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 2).sum();
        let mut text = Vec::with_capacity(url.len() + len + 48);
        text.push(if peer.is_some_and(|peer| peer.secure) { b's' } else { b'-' });
        text.extend_from_slice(url.as_bytes());
        text.push(b'\n');
        if let Some(peer) = peer {
            text.extend_from_slice(peer.address.to_string().as_bytes());
        }
        for (name, value) in &parts.headers {
            text.push(b'\n');
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b':');
            text.extend_from_slice(value.as_bytes());
        }
        let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { text: text.into(), issued: u64::try_from(issued.as_millis()).unwrap_or(u64::MAX) }
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text.split(|byte| *byte == b'\n')
    }

    fn url(&self) -> &str {
        self.lines().next().and_then(|line| std::str::from_utf8(&line[1..]).ok()).unwrap_or("/")
    }

    fn is_secure(&self) -> bool {
        self.text.first() == Some(&b's')
    }

    fn address(&self) -> Option<SocketAddr> {
        std::str::from_utf8(self.lines().nth(1)?).ok()?.parse().ok()
    }

    fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines().skip(2).filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((std::str::from_utf8(&line[..colon]).ok()?, &line[colon + 1..]))
        })
    }
}

/// What a client said when it connected. Node: `socket.handshake`.
#[derive(Clone, Debug)]
pub struct Handshake {
    connection: Arc<Connection>,
    auth: Option<Arc<str>>,
}

impl Handshake {
    pub(crate) fn new(connection: Arc<Connection>, auth: Option<Arc<str>>) -> Self {
        Self { connection, auth }
    }

    /// The `auth` of the client's CONNECT packet as `T`; an absent one reads as `{}`. Protocol 3 clients have no
    /// `auth`: for them it is the query of the namespace (`io("/admin?token=1")`), all values strings.
    ///
    /// # Errors
    /// Says what does not fit `T`.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.auth_json())
    }

    /// The `auth` as JSON text, an object.
    #[must_use]
    pub fn auth_json(&self) -> &str {
        self.auth.as_deref().unwrap_or("{}")
    }

    /// The first value of a header, if it is text. The name is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.connection.request.headers();
        headers
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .and_then(|(_, value)| std::str::from_utf8(value).ok())
    }

    /// All headers of the handshake request.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let pairs = self.connection.request.headers().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value).ok()?))
        });
        pairs.collect()
    }

    /// The decoded value of a query parameter of the handshake URL; the last one when it is repeated.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        self.query_pairs().into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All query parameters of the handshake URL, decoded, in order; the engine's own (`EIO`, `transport`, ..)
    /// are among them, as in Node.
    #[must_use]
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        let url = self.connection.request.url();
        let query = url.split_once('?').map_or("", |(_, query)| query);
        query::parameters(query).map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
    }

    /// The URL of the handshake request, path and query.
    #[must_use]
    pub fn url(&self) -> &str {
        self.connection.request.url()
    }

    /// The client's address, when whoever accepted the connection has told it through [`Peer`] or the stream is
    /// plain TCP. Behind a proxy this is the proxy; see [`header`](Self::header) for `x-forwarded-for`.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.connection.request.address()
    }

    /// When the handshake was made. Node: `time` and `issued`.
    #[must_use]
    pub fn issued(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.connection.request.issued)
    }

    /// Whether the connection is encrypted, as far as [`Peer`] says.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.connection.request.is_secure()
    }

    /// Whether the request came from a page of some origin. Node: `xdomain`.
    #[must_use]
    pub fn xdomain(&self) -> bool {
        self.header(ORIGIN.as_str()).is_some()
    }
}

impl Handshake {
    /// As Node prints it for other nodes, keys in Node's order.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut headers = serde_json::Map::new();
        for (name, value) in self.connection.request.headers() {
            headers.insert(name.to_owned(), String::from_utf8_lossy(value).into());
        }
        let query: serde_json::Map<_, _> =
            self.query_pairs().into_iter().map(|(key, value)| (key, value.into())).collect();
        serde_json::json!({
            "headers": headers,
            "time": http_date(self.connection.request.issued),
            "address": self.address().map(|address| address.ip().to_string()).unwrap_or_default(),
            "xdomain": self.xdomain(),
            "secure": self.secure(),
            "issued": self.connection.request.issued,
            "url": self.url(),
            "query": query,
            "auth": self.auth::<serde_json::Value>().unwrap_or_else(|_| serde_json::json!({})),
        })
    }
}

/// A time as JavaScript's `Date.toString()` prints it in UTC.
fn http_date(ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = ms / 1000;
    let days = seconds / 86_400;
    // Civil date from days since 1970, with years that begin in March.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 2 } else { shifted - 10 };
    let year = year_of_era + era * 400 + u64::from(month < 2);
    #[expect(clippy::cast_possible_truncation, reason = "below twelve and seven")]
    let (month, weekday) = (MONTHS[month as usize], DAYS[(days % 7) as usize]);
    let (h, m, s) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{weekday} {month} {day:02} {year} {h:02}:{m:02}:{s:02} GMT+0000 (Coordinated Universal Time)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_as_in_javascript() {
        assert_eq!(http_date(0), "Thu Jan 01 1970 00:00:00 GMT+0000 (Coordinated Universal Time)");
        assert_eq!(
            http_date(1_795_348_715_123),
            "Sun Nov 22 2026 11:58:35 GMT+0000 (Coordinated Universal Time)"
        );
        assert_eq!(
            http_date(951_782_400_000),
            "Tue Feb 29 2000 00:00:00 GMT+0000 (Coordinated Universal Time)"
        );
    }

    #[test]
    fn a_request_gives_back_what_it_was_made_of() {
        let request = http::Request::get("/socket.io/?EIO=4&x=1")
            .header("Host", "example.org")
            .header("X-Odd", HeaderValue::from_bytes(b"a:b\xff").unwrap())
            .body(())
            .unwrap();
        let peer = Peer::new("[::1]:80".parse().unwrap(), true);
        let request = Request::new(&request.into_parts().0, Some(peer));
        assert_eq!(request.url(), "/socket.io/?EIO=4&x=1");
        assert_eq!(request.address(), Some(peer.address));
        let headers: Vec<_> = request.headers().collect();
        assert_eq!(headers, [("host", &b"example.org"[..]), ("x-odd", &b"a:b\xff"[..])]);
    }
}
