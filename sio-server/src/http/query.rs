//! The query string of a Socket.IO request.
//!
//! Pure. What routing needs is read in one pass that allocates nothing unless a value is escaped; everything
//! else stays in the string until somebody asks for it. Names and values are decoded as browsers encode
//! forms: `+` is a space, `%41` is a byte, bytes that are not UTF-8 become U+FFFD.

use std::borrow::Cow;

/// The parameters that Engine.IO gives a meaning. Where one comes twice, the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query<'a> {
    /// `EIO` is `4`; anything else, or nothing, means revision 3.
    pub(crate) eio4: bool,
    /// `transport`; `None` when absent or unknown.
    pub(crate) transport: Option<TransportName>,
    /// `sid`; an empty one counts as absent.
    pub(crate) sid: Option<Cow<'a, str>>,
    /// `b64` is there and not empty: the client cannot take binary.
    pub(crate) b64: bool,
    /// The digits of `j`, when there is one: the client polls by JSONP.
    pub(crate) jsonp: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    /// Reads a query string, without its question mark.
    pub(crate) fn parse(raw: &'a str) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs(raw) {
            match &*decode(name) {
                "EIO" => query.eio4 = decode(value) == "4",
                "transport" => query.transport = TransportName::from_name(&decode(value)),
                "sid" => query.sid = Some(decode(value)).filter(|sid| !sid.is_empty()),
                "b64" => query.b64 = !value.is_empty(),
                "j" => query.jsonp = Some(digits(decode(value))),
                _ => {}
            }
        }
        query
    }
}

/// The transports a request can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransportName {
    Polling,
    WebSocket,
}

impl TransportName {
    fn from_name(name: &str) -> Option<Self> {
        match name {
            "polling" => Some(Self::Polling),
            "websocket" => Some(Self::WebSocket),
            _ => None,
        }
    }
}

/// Gives all parameters of a query string, decoded, in their order, duplicates included.
pub(crate) fn parameters(raw: &str) -> Parameters<'_> {
    Parameters { rest: raw }
}

/// The parameters of a query string, decoded one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Parameters<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        next_pair(&mut self.rest).map(|(name, value)| (decode(name), decode(value)))
    }
}

fn pairs(mut raw: &str) -> impl Iterator<Item = (&str, &str)> {
    std::iter::from_fn(move || next_pair(&mut raw))
}

/// Takes the first `name=value`, as it stands; both `name` and `name=` have an empty value.
fn next_pair<'a>(rest: &mut &'a str) -> Option<(&'a str, &'a str)> {
    while !rest.is_empty() {
        let (pair, after) = rest.split_once('&').unwrap_or((rest, ""));
        *rest = after;
        if !pair.is_empty() {
            return Some(pair.split_once('=').unwrap_or((pair, "")));
        }
    }
    None
}

fn decode(encoded: &str) -> Cow<'_, str> {
    if !encoded.bytes().any(|byte| byte == b'%' || byte == b'+') {
        return Cow::Borrowed(encoded);
    }
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [byte, after @ ..] = rest {
        let (byte, after) = match (byte, after) {
            (b'+', _) => (b' ', after),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                // Not an escape, so it stands for itself.
                _ => (b'%', &rest[1..]),
            },
            _ => (*byte, after),
        };
        decoded.push(byte);
        rest = after;
    }
    let text = String::from_utf8(decoded)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Cow::Owned(text)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Drops everything that is not a digit: the value is written into a script.
fn digits(value: Cow<'_, str>) -> Cow<'_, str> {
    if value.bytes().all(|byte| byte.is_ascii_digit()) {
        return value;
    }
    Cow::Owned(value.chars().filter(char::is_ascii_digit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_of_today_is_read() {
        let query = Query::parse("EIO=4&transport=polling&t=OqQ1Zdr");
        assert_eq!(query, Query { eio4: true, transport: Some(TransportName::Polling), ..Query::default() });
    }

    #[test]
    fn an_upgrade_carries_the_session() {
        let query = Query::parse("EIO=4&transport=websocket&sid=lv_VI97HAXpY6yYWAAAC");
        assert_eq!(query.transport, Some(TransportName::WebSocket));
        assert!(matches!(query.sid, Some(Cow::Borrowed("lv_VI97HAXpY6yYWAAAC"))));
    }

    #[test]
    fn anything_but_four_is_revision_three() {
        for raw in ["", "EIO=3", "EIO=5", "EIO=04", "EIO", "EIO=4&EIO=3", "eio=4"] {
            assert!(!Query::parse(raw).eio4, "{raw}");
        }
        assert!(Query::parse("EIO=3&EIO=%34").eio4);
    }

    #[test]
    fn only_the_two_transports_are_known() {
        for raw in ["", "transport=", "transport=webtransport", "transport=Polling", "transport=polling+"] {
            assert_eq!(Query::parse(raw).transport, None, "{raw}");
        }
        assert_eq!(
            Query::parse("transport=websocket&transport=polling").transport,
            Some(TransportName::Polling)
        );
    }

    #[test]
    fn the_last_sid_counts_and_an_empty_one_is_none() {
        assert_eq!(Query::parse("sid=a&sid=b").sid.as_deref(), Some("b"));
        assert_eq!(Query::parse("sid=a&sid=").sid, None);
        assert_eq!(Query::parse("sid").sid, None);
        assert_eq!(Query::parse("%73id=a%2Db").sid.as_deref(), Some("a-b"));
    }

    #[test]
    fn b64_needs_a_value() {
        assert!(Query::parse("b64=1").b64);
        assert!(Query::parse("b64=0").b64);
        assert!(!Query::parse("b64=").b64);
        assert!(!Query::parse("b64").b64);
    }

    #[test]
    fn only_digits_of_j_survive() {
        assert_eq!(Query::parse("j=12").jsonp.as_deref(), Some("12"));
        assert_eq!(Query::parse("j=1](alert(2)%29").jsonp.as_deref(), Some("12"));
        assert_eq!(Query::parse("j=").jsonp.as_deref(), Some(""));
        assert_eq!(Query::parse("").jsonp, None);
    }

    #[test]
    fn all_parameters_are_decoded_in_their_order() {
        let all: Vec<_> = parameters("a=1&b=x+y%20z&&c&=d&a=%E2%82%AC&e==&%").collect();
        let expected = [("a", "1"), ("b", "x y z"), ("c", ""), ("", "d"), ("a", "€"), ("e", "="), ("%", "")];
        assert_eq!(all, expected.map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn broken_escapes_stand_for_themselves() {
        let value = |raw| parameters(raw).next().unwrap().1.into_owned();
        assert_eq!(value("a=%"), "%");
        assert_eq!(value("a=%4"), "%4");
        assert_eq!(value("a=%4g%41"), "%4gA");
        assert_eq!(value("a=%%41"), "%A");
        assert_eq!(value("a=%+1%2b"), "% 1+");
        assert_eq!(value("a=%FF%E2%82"), "\u{FFFD}\u{FFFD}");
    }
}
