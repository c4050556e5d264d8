//! Whom a message of the cluster is aimed at, and how it is to be delivered.

use super::error::ClusterError;
use super::input::Input;
use super::names::Names;
use super::output::Output;

/// Says whom a message is aimed at. Node: `BroadcastOptions`, in messages `opts`.
///
/// ```
/// use sio_protocol::cluster::{Flags, Opts};
///
/// let (rooms, except) = (vec!["lobby".to_owned()], vec!["muted".to_owned()]);
/// let opts = Opts::new(&rooms, &except, Flags::default());
/// assert_eq!(opts.rooms.single(), Some("lobby"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opts<'a> {
    /// Sockets in any of these rooms; empty means all sockets of the namespace.
    pub rooms: Names<'a>,
    /// Sockets in any of these rooms are left out. The id of a socket is the name of a room that only it is
    /// in.
    pub except: Names<'a>,
    /// How.
    pub flags: Flags,
}

/// Says how an event is to be delivered. Flags that other versions send and nobody reads (`broadcast`,
/// `json`, `binary`) are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flags {
    /// Dropped for a client whose transport is busy.
    pub volatile: bool,
    /// Whether transports may compress it; `None` leaves the default, which is that they may.
    pub compress: Option<bool>,
    /// One answer is awaited, not one of every client: what `fetchSockets()` gives in Node sets this.
    pub expect_single_response: bool,
    /// How long acknowledgements are awaited, in milliseconds.
    pub timeout: Option<u64>,
}

/// Names the forms that options have. The keys and their order differ; all readers take all forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OptsForm {
    /// `rooms`, `except`, `flags`.
    Server,
    /// `rooms`, `flags`, `except`: `@socket.io/redis-emitter`.
    Emitter,
    /// `rooms`, `except`: the requests of the classic adapter.
    Target,
    /// `except` only if there is one, then `rooms`, `flags`: `socket.io-redis` 5.
    V2,
}

impl<'a> Opts<'a> {
    /// Makes options.
    pub fn new(rooms: impl Into<Names<'a>>, except: impl Into<Names<'a>>, flags: Flags) -> Self {
        Self { rooms: rooms.into(), except: except.into(), flags }
    }

    /// Reads options with their keys in any order. What is missing counts as empty.
    pub(super) fn read(input: &mut Input<'a>) -> Result<Self, ClusterError> {
        let mut entries = input.map("opts")?;
        let mut opts = Self::default();
        while let Some(key) = input.next_key(&mut entries)? {
            match key.as_ref() {
                b"rooms" => opts.rooms = input.names("rooms")?,
                b"except" => opts.except = input.names("except")?,
                b"flags" => opts.flags = Flags::read(input)?,
                _ => input.skip()?,
            }
        }
        Ok(opts)
    }

    pub(super) fn write(&self, output: &mut Output<'_>, form: OptsForm) {
        let keys: &[&'static str] = match form {
            OptsForm::Server => &["rooms", "except", "flags"],
            OptsForm::Emitter => &["rooms", "flags", "except"],
            OptsForm::Target => &["rooms", "except"],
            OptsForm::V2 if self.except.is_empty() => &["rooms", "flags"],
            OptsForm::V2 => &["except", "rooms", "flags"],
        };
        output.map(keys.len());
        for key in keys {
            output.key(key);
            match *key {
                "rooms" => output.names(&self.rooms),
                "except" => output.names(&self.except),
                _ => self.flags.write(output),
            }
        }
        output.end_map();
    }
}

impl Flags {
    fn read(input: &mut Input<'_>) -> Result<Self, ClusterError> {
        let mut flags = Self::default();
        if input.eat_nothing() {
            return Ok(flags);
        }
        let mut entries = input.map("flags")?;
        while let Some(key) = input.next_key(&mut entries)? {
            match key.as_ref() {
                b"volatile" => flags.volatile = input.boolean()? == Some(true),
                b"compress" => flags.compress = input.boolean()?,
                b"expectSingleResponse" => flags.expect_single_response = input.boolean()? == Some(true),
                // A cast saturates, and JavaScript takes fractions.
                b"timeout" => {
                    flags.timeout = input.number()?.filter(|timeout| *timeout >= 0.0).map(|ms| ms as u64);
                }
                _ => input.skip()?,
            }
        }
        Ok(flags)
    }

    /// Writes the flags that are set. Node writes them in the order in which the application named them;
    /// where it names them itself, it is this one.
    fn write(self, output: &mut Output<'_>) {
        let count = usize::from(self.volatile)
            + usize::from(self.compress.is_some())
            + usize::from(self.expect_single_response)
            + usize::from(self.timeout.is_some());
        output.map(count);
        if self.volatile {
            output.key("volatile");
            output.boolean(true);
        }
        if let Some(compress) = self.compress {
            output.key("compress");
            output.boolean(compress);
        }
        if self.expect_single_response {
            output.key("expectSingleResponse");
            output.boolean(true);
        }
        if let Some(timeout) = self.timeout {
            output.key("timeout");
            output.integer(timeout);
        }
        output.end_map();
    }
}
