//! The command line: what can be said, and what of it makes no sense together.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use sio_emitter::Mode;
use sio_protocol::socketio::Value;

use crate::values::read_argument;

/// Sends to the clients of Socket.IO servers, Rust or Node, through the Redis that connects them.
///
/// EVENT goes to all clients of a namespace, or with --to to those in the given rooms. Every further argument is one
/// JSON value. Without EVENT, one of the commands below says what is to be done with the clients instead.
#[derive(Debug, Parser)]
#[command(name = "sio-emit", version, max_term_width = 100, after_help = SHORT, after_long_help = LONG)]
#[command(override_usage = USAGE)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,

    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    delivery: Delivery,

    #[command(flatten)]
    notation: Notation,

    #[command(flatten)]
    stream: Stream,

    /// The name of the event, and its arguments, each a JSON value. Behind `--` go an event that is called like a
    /// command, and text that begins with a dash; numbers like -5 may, but need not.
    // One list: behind a first word of its own, clap would look for commands again.
    #[arg(value_names = ["EVENT", "JSON"], num_args = 0.., allow_negative_numbers = true)]
    event: Vec<String>,
}

/// Which Redis, and who is meant.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Redis: redis://[[USER:]PASSWORD@]HOST[:PORT], rediss:// for TLS, redis+unix:///PATH, redis-cluster://,
    /// redis-sentinel://HOST:PORT?sentinelServiceName=NAME. A password is safer in REDIS_URL than in the list of
    /// processes.
    #[arg(short, long, global = true, value_name = "URL", env = "REDIS_URL", hide_env_values = true)]
    #[arg(default_value = "redis://127.0.0.1:6379")]
    pub(crate) redis: String,

    /// The namespace.
    #[arg(short, long, global = true, value_name = "NAMESPACE", default_value = "/")]
    pub(crate) nsp: String,

    /// Only clients in this room, or in any of these if given several times. The id of a client is a room, too.
    #[arg(short, long, global = true, value_name = "ROOM")]
    pub(crate) to: Vec<String>,

    /// No clients in this room, or in any of these.
    #[arg(short = 'x', long, global = true, value_name = "ROOM")]
    pub(crate) except: Vec<String>,

    /// The prefix of the channels, as the servers have it (Node: the options `key` and `channelPrefix`).
    #[arg(short, long, global = true, value_name = "PREFIX", default_value = "socket.io")]
    pub(crate) key: String,

    /// The servers use the sharded adapter (Node: `createShardedAdapter`).
    #[arg(long, global = true)]
    sharded: bool,

    /// The `subscriptionMode` of the sharded adapter; implies --sharded.
    #[arg(long, global = true, value_name = "MODE", value_enum)]
    mode: Option<SubscriptionMode>,

    /// Seconds to wait for the first connection.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    connect_timeout: Duration,

    /// Seconds that a message may wait while Redis is away, before it is given up.
    #[arg(long, global = true, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,

    /// Nothing but errors: no progress, no summary, no hint that nobody was listening.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SubscriptionMode {
    Static,
    Dynamic,
    DynamicPrivate,
}

/// How an event is delivered.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Delivery {
    /// May be lost for clients that are busy at that moment.
    #[arg(long)]
    pub(crate) volatile: bool,

    /// Whether transports may compress it [default: they may].
    #[arg(long, value_name = "BOOL")]
    pub(crate) compress: Option<bool>,
}

/// How arguments are written.
#[derive(Debug, Args)]
struct Notation {
    /// The arguments are text, not JSON.
    #[arg(long, conflicts_with = "stdin")]
    text: bool,

    /// `{"$binary":"BASE64"}` in a JSON value stands for bytes. Without this it is what it is.
    #[arg(long)]
    binary: bool,
}

/// Sending many.
#[derive(Debug, Args)]
struct Stream {
    /// Reads one event per line from the standard input: {"event":"NAME","args":[..],"to":[..],"except":[..],
    /// "nsp":"..","volatile":true,"compress":false}. All but "event" can be left out; what is left out is as the
    /// options say.
    #[arg(long, conflicts_with = "event")]
    stdin: bool,

    /// Stops at the first line that is refused.
    #[arg(long)]
    strict: bool,

    /// The longest line in bytes; longer ones are refused [default: 1048576].
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(2..=33_554_432))]
    max_line: Option<u32>,
}

/// What can be done instead of sending an event to clients.
#[derive(Debug, Subcommand)]
enum Command {
    /// Puts the clients into rooms.
    Join {
        /// The rooms.
        #[arg(required = true, value_name = "ROOM")]
        rooms: Vec<String>,
    },
    /// Takes the clients out of rooms.
    Leave {
        /// The rooms.
        #[arg(required = true, value_name = "ROOM")]
        rooms: Vec<String>,
    },
    /// Disconnects the clients from the namespace.
    Disconnect {
        /// Ends their connections, and with them their other namespaces.
        #[arg(long)]
        close: bool,
    },
    /// Sends an event to the servers themselves (Node: `serverSideEmit`).
    ServerSideEmit(ServerSideEmit),
}

#[derive(Debug, Args)]
struct ServerSideEmit {
    /// The name of the event.
    event: String,

    /// The arguments of the event, each a JSON value.
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    args: Vec<String>,

    /// The arguments are text, not JSON.
    #[arg(long)]
    text: bool,
}

/// What is to be done, checked.
#[derive(Debug)]
pub(crate) enum Task {
    /// One thing.
    Send(Verb),
    /// What the lines of the standard input say.
    Stream(Options),
}

#[derive(Debug)]
pub(crate) enum Verb {
    Emit(Event, Delivery),
    Join(Vec<String>),
    Leave(Vec<String>),
    Disconnect { close: bool },
    ServerSideEmit(Event),
}

#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) args: Vec<Value>,
}

/// What holds for all lines.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) delivery: Delivery,
    pub(crate) binary: bool,
    pub(crate) strict: bool,
    pub(crate) max_line: usize,
}

impl Cli {
    /// Says what is to be done.
    pub(crate) fn task(&self) -> Result<Task, String> {
        // Left to clap, this would not be noticed beside an event, which excludes --stdin.
        if !self.stream.stdin && (self.stream.strict || self.stream.max_line.is_some()) {
            return Err("--strict and --max-line are for --stdin".to_owned());
        }
        if let Some(command) = &self.command {
            return self.verb_of(command).map(Task::Send);
        }
        if self.stream.stdin {
            return Ok(Task::Stream(Options {
                delivery: self.delivery.clone(),
                binary: self.notation.binary,
                strict: self.stream.strict,
                max_line: self.stream.max_line.unwrap_or(MAX_LINE) as usize,
            }));
        }
        let Some((name, args)) = self.event.split_first() else {
            return Err("EVENT, --stdin or a command is missing".to_owned());
        };
        let event = self.event(name, args, self.notation.text)?;
        Ok(Task::Send(Verb::Emit(event, self.delivery.clone())))
    }

    fn verb_of(&self, command: &Command) -> Result<Verb, String> {
        if let Some(name) = self.event.first() {
            return Err(format!(
                "an event ({name}) and a command; an event that is called like one goes behind --"
            ));
        }
        if self.stream.stdin || self.delivery.volatile || self.delivery.compress.is_some() {
            return Err("--stdin, --volatile and --compress are for events to clients".to_owned());
        }
        let server_side = matches!(command, Command::ServerSideEmit(_));
        if (self.notation.text || self.notation.binary) && !server_side {
            return Err("--text and --binary are for the arguments of events".to_owned());
        }
        let event = match command {
            Command::Join { rooms } => return Ok(Verb::Join(rooms.clone())),
            Command::Leave { rooms } => return Ok(Verb::Leave(rooms.clone())),
            Command::Disconnect { close } => return Ok(Verb::Disconnect { close: *close }),
            Command::ServerSideEmit(event) => event,
        };
        if !self.target.to.is_empty() || !self.target.except.is_empty() {
            return Err("--to and --except choose clients, not servers".to_owned());
        }
        self.event(&event.event, &event.args, event.text || self.notation.text).map(Verb::ServerSideEmit)
    }

    fn event(&self, name: &str, args: &[String], text: bool) -> Result<Event, String> {
        let read = |(index, arg): (usize, &String)| {
            if text {
                Ok(Value::from(arg.as_str()))
            } else {
                read_argument(arg, index + 1, self.notation.binary)
            }
        };
        let args = args.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Event { name: name.to_owned(), args })
    }

    /// Makes the message for a problem with the command line.
    pub(crate) fn error(problem: &str) -> clap::Error {
        Self::command().error(ErrorKind::ValueValidation, problem)
    }
}

impl Target {
    /// The mode of the sharded dialect, `None` for the classic one.
    pub(crate) fn mode(&self) -> Option<Mode> {
        match (self.mode, self.sharded) {
            (None, false) => None,
            (None | Some(SubscriptionMode::Dynamic), _) => Some(Mode::Dynamic),
            (Some(SubscriptionMode::Static), _) => Some(Mode::Static),
            (Some(SubscriptionMode::DynamicPrivate), _) => Some(Mode::DynamicPrivate),
        }
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    pub(crate) fn queue_timeout(&self) -> Duration {
        self.timeout
    }

    /// What to say when Redis had nobody to pass a message on to.
    pub(crate) fn nobody_hint(&self) -> &'static str {
        if self.mode().is_some() {
            "redis has taken it, but nobody was listening: no server with this namespace, --key and --mode, or no \
             client in the room"
        } else {
            "redis has taken it, but nobody was listening: no server with this namespace and --key (or they use the \
             sharded adapter: --sharded)"
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("allowed are 0.001 to 86400".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// As large as the messages that servers take from clients by default.
const MAX_LINE: u32 = 1_048_576;

const USAGE: &str = "sio-emit [OPTIONS] EVENT [JSON]...
       sio-emit [OPTIONS] --stdin
       sio-emit [OPTIONS] join ROOM...
       sio-emit [OPTIONS] leave ROOM...
       sio-emit [OPTIONS] disconnect [--close]
       sio-emit [OPTIONS] server-side-emit EVENT [JSON]...";

const SHORT: &str = "Examples and exit status: --help";

const LONG: &str = r#"Examples:
  Tell everybody:
    sio-emit maintenance '{"minutes":10}'
  Text wants the quotes of JSON inside those of the shell, or --text:
    sio-emit --nsp /chat --to lobby said '"hello"'
    sio-emit --nsp /chat --to lobby --text said hello
  Text with a dash in front wants -- before it, or it is taken for an option:
    sio-emit --nsp /chat --to lobby --text said -- '-5 degrees'
  One user, wherever connected, but not the one who asked:
    sio-emit --to user:42 --except xK3hS0bkQ9VYAAAB9_aa reload
  A file as bytes:
    sio-emit --binary picture "{\"\$binary\":\"$(base64 -w0 cat.png)\"}"
  Many, at hundreds of thousands a second:
    jq -c '{event:"price",args:[.symbol,.price],to:.symbol}' prices.json | sio-emit --stdin
    (a line whose "to" is null or names no room is refused; without "to" it is for all whom the options name)
  Move, remove, tell the servers:
    sio-emit --to lobby join archive
    sio-emit --to user:42 disconnect --close
    sio-emit server-side-emit reload-config

Exit status:
  0  Redis has taken everything.
  1  With --stdin: lines were refused, and named on the standard error; all others were taken, with --strict those
     before the first of them.
  2  The command line is wrong, an argument is not JSON, or the event cannot be sent. Nothing was sent.
  3  Redis was not reached, has refused messages, or has not confirmed them in time.
  4  With --stdin: the input could not be read to its end. What was read before was taken.
  130, 143  Interrupted. With --stdin, what was read before was taken.

Redis does not keep messages: it passes them on to the servers that are subscribed at that moment, and they to the
clients that are connected. Status 0 says that Redis has done so."#;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("sio-emit").chain(args.iter().copied()))
    }

    fn verb(args: &[&str]) -> Result<Verb, String> {
        match parse(args).map_err(|error| error.to_string())?.task()? {
            Task::Send(verb) => Ok(verb),
            Task::Stream(_) => panic!("{args:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_event_has_json_arguments() {
        let Ok(Verb::Emit(event, delivery)) = verb(&["--to", "a", "e", "1", r#""x""#, "--volatile"]) else {
            panic!()
        };
        assert_eq!((event.name.as_str(), event.args.len(), delivery.volatile), ("e", 2, true));
        let Ok(Verb::Emit(event, _)) = verb(&["--text", "e", "1", "x"]) else { panic!() };
        assert_eq!(event.args, [Value::from("1"), Value::from("x")]);
        let Ok(Verb::Emit(event, _)) = verb(&["e", "-5", "-1.5e3"]) else { panic!() };
        assert_eq!(event.args, [Value::from(-5), Value::from(-1500)]);
        for text in ["-5", "-x", "--to"] {
            let Ok(Verb::Emit(event, _)) = verb(&["--text", "e", "--", text]) else { panic!() };
            assert_eq!(event.args, [Value::from(text)]);
        }
        let help = Cli::command().render_long_help().to_string();
        assert!(
            help.contains("--text said -- '-5 degrees'") && help.contains("text that begins with a dash"),
            "{help}"
        );
        let problem = verb(&["e", "1", "x y"]).unwrap_err();
        assert!(problem.contains("argument 2"), "{problem}");
    }

    #[test]
    fn options_may_stand_before_and_behind_a_command() {
        for args in [&["--to", "a", "join", "b", "c"][..], &["join", "b", "--to", "a", "c"]] {
            let cli = parse(args).unwrap();
            assert_eq!(cli.target.to, ["a"]);
            let Ok(Task::Send(Verb::Join(rooms))) = cli.task() else { panic!() };
            assert_eq!(rooms, ["b", "c"]);
        }
    }

    #[test]
    fn an_event_can_be_called_like_a_command() {
        let Ok(Verb::Emit(event, _)) = verb(&["--to", "a", "--", "join", "1"]) else { panic!() };
        assert_eq!(event.name, "join");
        let Ok(Verb::Emit(event, _)) = verb(&["--text", "said", "join"]) else { panic!() };
        assert_eq!((event.name.as_str(), event.args), ("said", vec![Value::from("join")]));
    }

    #[test]
    fn what_makes_no_sense_together_is_refused() {
        for args in [
            &[][..],
            &["--stdin", "event"],
            &["--strict", "event"],
            &["--max-line", "100", "event"],
            &["--strict"],
            &["--stdin", "join", "a"],
            &["event", "--text", "join", "a"],
            &["--volatile", "join", "a"],
            &["--text", "join", "a"],
            &["join"],
            &["--to", "a", "server-side-emit", "e"],
            &["--stdin", "--text"],
            &["--mode", "other", "e"],
            &["--timeout", "0", "e"],
            &["--timeout", "NaN", "e"],
            &["--stdin", "--max-line", "99999999999"],
        ] {
            assert!(verb(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn the_mode_implies_the_dialect() {
        let mode = |args: &[&str]| parse(args).unwrap().target.mode();
        assert_eq!(mode(&["e"]), None);
        assert_eq!(mode(&["e", "--sharded"]), Some(Mode::Dynamic));
        assert_eq!(mode(&["e", "--mode", "static"]), Some(Mode::Static));
        assert_eq!(mode(&["e", "--sharded", "--mode", "dynamic-private"]), Some(Mode::DynamicPrivate));
    }
}
