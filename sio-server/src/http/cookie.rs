//! The cookie that lets a load balancer send a client back to the node that has its session.
//!
//! Pure. Set with the answer to a polling handshake only; the server itself never reads it. Spec: RFC 6265.

use std::{fmt::Write, time::Duration};

use http::HeaderValue;

/// The session cookie (Node's `cookie`). Off by default.
///
/// As it is made by [`Cookie::new`]: `io=<session id>; Path=/; HttpOnly; SameSite=Lax`. Clients on several nodes
/// need sticky routing; this cookie is one way to have it. It carries the Engine.IO session id, which is a
/// secret, so it should be neither readable by scripts nor sent in the clear.
#[derive(Clone, Debug)]
pub struct Cookie {
    name: String,
    path: String,
    domain: Option<String>,
    max_age: Option<Duration>,
    http_only: bool,
    secure: bool,
    same_site: Option<SameSite>,
}

impl Cookie {
    /// Makes the cookie `io` for the whole site, hidden from scripts, lax.
    pub fn new() -> Self {
        Self {
            name: "io".to_owned(),
            path: "/".to_owned(),
            domain: None,
            max_age: None,
            http_only: true,
            secure: false,
            same_site: Some(SameSite::Lax),
        }
    }

    /// Sets the name. Default: `io`.
    ///
    /// # Panics
    ///
    /// If it is empty or has a character that the name of a cookie may not have.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        assert!(!name.is_empty() && name.bytes().all(valid), "{name:?} is no name for a cookie");
        name.clone_into(&mut self.name);
        self
    }

    /// Sets the path below which the browser sends the cookie. Default: `/`.
    ///
    /// # Panics
    ///
    /// If it has a semicolon, a control character or a character outside ASCII.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        assert!(is_attribute(path), "{path:?} is no path for a cookie");
        path.clone_into(&mut self.path);
        self
    }

    /// Sets the domain whose hosts get the cookie. Default: the host that set it, alone.
    ///
    /// # Panics
    ///
    /// If it has a semicolon, a control character or a character outside ASCII.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        assert!(is_attribute(domain), "{domain:?} is no domain for a cookie");
        self.domain = Some(domain.to_owned());
        self
    }

    /// Sets for how long the browser keeps the cookie, in whole seconds. Default: until it is closed.
    #[must_use]
    pub fn max_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Sets whether scripts are kept from reading the cookie. Default: yes.
    #[must_use]
    pub fn http_only(mut self, on: bool) -> Self {
        self.http_only = on;
        self
    }

    /// Sets whether the cookie is sent over TLS only. Default: no, because the server cannot know.
    #[must_use]
    pub fn secure(mut self, on: bool) -> Self {
        self.secure = on;
        self
    }

    /// Sets whether requests that other sites cause carry the cookie; `None` leaves it to the browser.
    /// Default: [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: impl Into<Option<SameSite>>) -> Self {
        self.same_site = same_site.into();
        self
    }

    /// Makes the value of `Set-Cookie` for a session.
    pub(crate) fn header_value(&self, sid: &str) -> HeaderValue {
        let mut value = format!("{}=", self.name);
        for byte in sid.bytes() {
            // As Node does: what a session id does not normally have is escaped.
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
                value.push(char::from(byte));
            } else {
                let _ = write!(value, "%{byte:02X}");
            }
        }
        if let Some(age) = self.max_age {
            let _ = write!(value, "; Max-Age={}", age.as_secs());
        }
        if let Some(domain) = &self.domain {
            let _ = write!(value, "; Domain={domain}");
        }
        let _ = write!(value, "; Path={}", self.path);
        if self.http_only {
            value.push_str("; HttpOnly");
        }
        if self.secure {
            value.push_str("; Secure");
        }
        value.push_str(match self.same_site {
            Some(SameSite::Lax) => "; SameSite=Lax",
            Some(SameSite::None) => "; SameSite=None",
            Some(SameSite::Strict) => "; SameSite=Strict",
            None => "",
        });
        HeaderValue::try_from(value).expect("every part was checked when it was set, or is escaped")
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Self::new()
    }
}

/// Which requests caused by other sites carry a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SameSite {
    /// Only when the user follows a link here.
    Lax,
    /// All of them. Browsers demand [`Cookie::secure`] with it.
    None,
    /// Not one.
    Strict,
}

fn is_attribute(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_that_of_node() {
        let value = Cookie::new().header_value("lv_VI97HAXpY6yYWAAAC");
        assert_eq!(value, "io=lv_VI97HAXpY6yYWAAAC; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn attributes_come_in_the_order_of_node() {
        let value = Cookie::new()
            .name("sio")
            .path("/x")
            .domain("example.com")
            .max_age(Duration::from_secs(86_400))
            .secure(true)
            .same_site(SameSite::Strict)
            .header_value("abc");
        assert_eq!(
            value,
            "sio=abc; Max-Age=86400; Domain=example.com; Path=/x; HttpOnly; Secure; SameSite=Strict"
        );
    }

    #[test]
    fn attributes_can_be_left_out() {
        let value = Cookie::new().http_only(false).same_site(None).header_value("abc");
        assert_eq!(value, "io=abc; Path=/");
    }

    #[test]
    fn a_session_id_cannot_break_out_of_the_value() {
        let value = Cookie::new().http_only(false).same_site(None).header_value("a; b\r\nc=é");
        assert_eq!(value, "io=a%3B%20b%0D%0Ac%3D%C3%A9; Path=/");
    }

    #[test]
    #[should_panic(expected = "no path for a cookie")]
    fn a_path_with_a_semicolon_is_noticed_at_once() {
        let _ = Cookie::new().path("/; Secure");
    }

    #[test]
    #[should_panic(expected = "no name for a cookie")]
    fn a_name_with_an_equals_sign_is_noticed_at_once() {
        let _ = Cookie::new().name("a=b");
    }
}
