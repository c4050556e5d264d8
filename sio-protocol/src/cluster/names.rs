//! A list of names (rooms, socket ids) that is sent from where it lies, or was received.

use std::borrow::Cow;
use std::fmt;

/// Is a list of rooms or of socket ids: strings that somebody else owns, so that sending copies none of them,
/// or names that were received.
///
/// ```
/// use sio_protocol::cluster::Names;
///
/// let rooms = vec!["lobby".to_owned()];
/// assert_eq!(Names::from(&rooms).single(), Some("lobby"));
/// ```
#[derive(Clone)]
pub struct Names<'a>(Repr<'a>);

#[derive(Clone)]
enum Repr<'a> {
    Strings(&'a [String]),
    Received(Vec<Cow<'a, str>>),
}

impl Names<'_> {
    /// Counts the names.
    pub fn len(&self) -> usize {
        match &self.0 {
            Repr::Strings(names) => names.len(),
            Repr::Received(names) => names.len(),
        }
    }

    /// Says whether there is no name.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the names in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (strings, received): (&[String], &[Cow<'_, str>]) = match &self.0 {
            Repr::Strings(names) => (names, &[]),
            Repr::Received(names) => (&[], names),
        };
        strings.iter().map(String::as_str).chain(received.iter().map(AsRef::as_ref))
    }

    /// Gives the name, if it is the only one.
    pub fn single(&self) -> Option<&str> {
        if self.len() == 1 { self.iter().next() } else { None }
    }

    /// Makes strings of the names.
    pub fn into_strings(self) -> Vec<String> {
        match self.0 {
            Repr::Strings(names) => names.to_vec(),
            Repr::Received(names) => names.into_iter().map(Cow::into_owned).collect(),
        }
    }
}

impl Default for Names<'_> {
    fn default() -> Self {
        Self(Repr::Received(Vec::new()))
    }
}

impl<'a> From<&'a [String]> for Names<'a> {
    fn from(names: &'a [String]) -> Self {
        Self(Repr::Strings(names))
    }
}

impl<'a> From<&'a Vec<String>> for Names<'a> {
    fn from(names: &'a Vec<String>) -> Self {
        names.as_slice().into()
    }
}

impl<'a> From<Vec<Cow<'a, str>>> for Names<'a> {
    fn from(names: Vec<Cow<'a, str>>) -> Self {
        Self(Repr::Received(names))
    }
}

impl<'a> FromIterator<&'a str> for Names<'a> {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        Self(Repr::Received(names.into_iter().map(Cow::Borrowed).collect()))
    }
}

impl PartialEq for Names<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Names<'_> {}

impl fmt::Debug for Names<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}
