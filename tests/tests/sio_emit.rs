//! The command `sio-emit`, as a shell runs it: what reaches Redis, what it says, and how it ends.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use sio_tests::redis::{Redis, Subscriber, full_run};
use sio_tests::within;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin};

/// What a run of the command gave.
#[derive(Debug)]
struct Ended {
    status: i32,
    said: String,
}

/// A command that runs.
struct Running(Child);

/// Starts the command. It knows no Redis but the one it is told of.
fn start(args: &[&str], stdin: Stdio) -> Running {
    let mut command = tokio::process::Command::new(binary());
    command.args(args).env_remove("REDIS_URL").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.kill_on_drop(true).spawn().unwrap())
}

/// Runs the command to its end.
async fn run(args: &[&str]) -> Ended {
    start(args, Stdio::null()).end().await
}

/// Runs it with an input.
async fn feed(args: &[&str], input: impl AsRef<[u8]>) -> Ended {
    let mut running = start(args, Stdio::piped());
    // It may end before it has read everything.
    let _ = running.input().write_all(input.as_ref()).await;
    running.0.stdin = None;
    running.end().await
}

impl Running {
    fn input(&mut self) -> &mut ChildStdin {
        self.0.stdin.as_mut().unwrap()
    }

    async fn end(self) -> Ended {
        use std::os::unix::process::ExitStatusExt as _;
        let output = within("the command to end", self.0.wait_with_output()).await.unwrap();
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        let status = output.status.code().unwrap_or_else(|| -output.status.signal().unwrap());
        Ended { status, said: String::from_utf8(output.stderr).unwrap() }
    }

    async fn signal(&self, name: &str) {
        let id = self.0.id().unwrap().to_string();
        let kill = tokio::process::Command::new("kill").args(["-s", name, &id]).status();
        assert!(within("kill", kill).await.unwrap().success());
    }
}

/// Builds the command and gives its path. For the whole workspace, since features are those of all that is asked for:
/// so nothing is built twice.
fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--workspace", "--bin", "sio-emit"])
            .args(["--message-format", "json-render-diagnostics"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "sio-emit does not build");
        let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
        let mut executables =
            messages.filter_map(|message| Some(message.unwrap()["executable"].as_str()?.into()));
        executables.next().expect("cargo names the executable")
    })
}

/// Messages of the sharded dialect are text, which says more than bytes.
async fn hear_sharded(redis: &Redis, channels: &[&str]) -> Subscriber {
    redis.subscribe("SSUBSCRIBE", channels).await
}

async fn text(heard: &mut Subscriber) -> (String, String) {
    let (channel, bytes) = heard.next().await;
    (channel, String::from_utf8(bytes).unwrap())
}

/// The arguments in a message, `["event",..]`.
async fn data(heard: &mut Subscriber) -> String {
    let (_, text) = text(heard).await;
    let (_, rest) = text.split_once(r#""data":["#).unwrap();
    let (data, _) = rest.split_once(r#"]},"opts""#).unwrap();
    format!("[{data}]")
}

#[tokio::test]
async fn an_event_reaches_the_room_it_is_for() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = redis.subscribe("PSUBSCRIBE", &["*"]).await;
    let url = redis.url();
    let args = [
        "--redis",
        &url,
        "--nsp",
        "chat",
        "--to",
        "lobby",
        "-x",
        "muted",
        "said",
        r#""hi""#,
        "[1]",
        "--volatile",
    ];
    let ended = run(&args).await;
    assert_eq!((ended.status, ended.said.as_str()), (0, ""));
    let (channel, bytes) = heard.next().await;
    assert_eq!(channel, "socket.io#/chat#lobby#");
    let mut expected =
        b"\x93\xa7emitter\x83\xa4type\x02\xa4data\x93\xa4said\xa2hi\x91\x01\xa3nsp\xa5/chat".to_vec();
    expected
        .extend_from_slice(b"\x83\xa5rooms\x91\xa5lobby\xa5flags\x81\xa8volatile\xc3\xa6except\x91\xa5muted");
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());

    let ended =
        run(&["--redis", &url, "--key", "app", "--text", "--compress", "false", "--", "join", "1", "-2"])
            .await;
    assert_eq!((ended.status, ended.said.as_str()), (0, ""));
    let (channel, bytes) = heard.next().await;
    assert_eq!(channel, "app#/#");
    let expected =
        b"\xa4data\x93\xa4join\xa11\xa2-2\xa3nsp\xa1/\x83\xa5rooms\x90\xa5flags\x81\xa8compress\xc2";
    assert!(bytes.windows(expected.len()).any(|part| part == expected), "{}", bytes.escape_ascii());
}

#[tokio::test]
async fn values_arrive_as_javascript_prints_them() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = hear_sharded(&redis, &["socket.io#/#"]).await;
    let url = redis.url();
    let values = [
        "18446744073709551615",
        "-9007199254740993",
        "1.0",
        "-0.0",
        "1e21",
        "1e-7",
        "0.1",
        "123456789.125",
        r#"{"z":1,"a":{"b":[null,true]},"é":"\u00e9\\"}"#,
        "null",
        r#"{"$binary":"AQI="}"#,
    ];
    let mut args = vec!["--redis", &url, "--sharded", "e"];
    args.extend(values);
    assert_eq!(run(&args).await.status, 0);
    let expected = r#"["e",18446744073709551615,-9007199254740993,1,0,1e+21,1e-7,0.1,123456789.125,{"z":1,"a":{"b":[null,true]},"é":"é\\"},null,{"$binary":"AQI="}]"#;
    assert_eq!(data(&mut heard).await, expected);

    // The same from a line.
    let line = format!(r#"{{"event":"e","args":[{}]}}"#, values.join(","));
    assert_eq!(feed(&["--redis", &url, "--sharded", "--stdin"], line).await.status, 0);
    assert_eq!(data(&mut heard).await, expected);

    let args = ["--redis", &url, "--sharded", "--binary", "e", r#"[{"$binary":"AQI="}]"#];
    assert_eq!(run(&args).await.status, 0);
    let (_, bytes) = heard.next().await;
    let expected = b"\xa4data\x92\xa1e\x91\xc4\x02\x01\x02";
    assert!(bytes.windows(expected.len()).any(|part| part == expected), "{}", bytes.escape_ascii());
}

#[tokio::test]
async fn commands_say_what_is_to_be_done_with_clients_and_servers() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = redis.subscribe("SUBSCRIBE", &["socket.io-request#/chat#"]).await;
    let url = redis.url();
    for (args, expected) in [
        (
            &["--to", "lobby", "join", "a", "b"][..],
            r#"{"type":2,"opts":{"rooms":["lobby"],"except":[]},"rooms":["a","b"]}"#,
        ),
        (&["leave", "a", "--except", "x"], r#"{"type":3,"opts":{"rooms":[],"except":["x"]},"rooms":["a"]}"#),
        (&["disconnect"], r#"{"type":4,"opts":{"rooms":[],"except":[]},"close":false}"#),
        (
            &["-t", "u", "disconnect", "--close"],
            r#"{"type":4,"opts":{"rooms":["u"],"except":[]},"close":true}"#,
        ),
        (
            &["server-side-emit", "e", "-1", r#"{"a":[]}"#],
            r#"{"uid":"emitter","type":6,"data":["e",-1,{"a":[]}]}"#,
        ),
        (&["server-side-emit", "--text", "e", "x"], r#"{"uid":"emitter","type":6,"data":["e","x"]}"#),
    ] {
        let ended = run(&[&["--redis", &url, "--nsp", "/chat"], args].concat()).await;
        assert_eq!((ended.status, ended.said.as_str()), (0, ""), "{args:?}");
        assert_eq!(text(&mut heard).await.1, expected);
    }
}

#[tokio::test]
async fn refused_lines_are_named_and_passed_over() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = hear_sharded(&redis, &["socket.io#/#", "socket.io#/#a#", "socket.io#/n#b#"]).await;
    let url = redis.url();
    let input = b"{\"event\":\"e1\"}\n\
        \n\
        not json\n\
        {\"event\":\"connect\"}\r\n\
        {\"event\":\"e2\",\"args\":[1,\"x\"],\"to\":\"b\",\"nsp\":\"n\"}\r\n\
        {\"event\":\"long\",\"args\":[\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"]}\n\
        {\"event\":\"e\",\"room\":\"a\"}\n\
        \xff\n\
        {\"event\":\"e3\",\"to\":[]}";
    let args = ["--redis", &url, "--sharded", "--stdin", "--to", "a", "--max-line", "70"];
    let ended = feed(&args, input).await;
    let said: Vec<&str> = ended.said.lines().collect();
    assert_eq!(ended.status, 1, "{said:#?}");
    assert_eq!(
        said[..5],
        [
            "sio-emit: line 3 refused: not an object",
            "sio-emit: line 4 refused: the event name \"connect\" is reserved",
            "sio-emit: line 6 refused: longer than 70 bytes",
            "sio-emit: line 7 refused: unknown field `room`, expected one of `event`, `args`, `to`, `except`, `nsp`, \
             `volatile`, `compress` at column 19",
            "sio-emit: line 8 refused: not UTF-8 from byte 1 on",
        ]
    );
    // Nobody is not everybody.
    assert!(said[5].starts_with("sio-emit: line 9 refused: \"to\" names no room"), "{said:#?}");
    assert!(said[6].starts_with("sio-emit: 8 lines: 2 sent, 6 refused, 0 not confirmed; "), "{said:#?}");
    assert_eq!(said.len(), 7, "{said:#?}");
    for (channel, name) in [("socket.io#/#a#", "e1"), ("socket.io#/n#b#", "e2")] {
        let (seen, text) = text(&mut heard).await;
        assert_eq!(seen, channel);
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn strict_stops_at_the_first_refused_line() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = hear_sharded(&redis, &["socket.io#/#"]).await;
    let url = redis.url();
    let args = ["--redis", &url, "--sharded", "--stdin", "--strict"];
    let ended = feed(&args, "{\"event\":\"a\"}\nno\n{\"event\":\"b\"}\n").await;
    assert_eq!(ended.status, 1);
    assert!(ended.said.contains("2 lines: 1 sent, 1 refused, 0 not confirmed"), "{}", ended.said);
    assert_eq!(data(&mut heard).await, r#"["a"]"#);
    assert_eq!(run(&["--redis", &url, "--sharded", "c"]).await.status, 0);
    assert_eq!(data(&mut heard).await, r#"["c"]"#);
}

#[tokio::test]
async fn a_hundred_thousand_lines_arrive_in_order() {
    if !full_run() {
        return;
    }
    let redis = Redis::with(&["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let mut heard = hear_sharded(&redis, &["socket.io#/#"]).await;
    let count = 100_000;
    let input: String = (0..count).map(|n| format!("{{\"event\":\"e\",\"args\":[{n}]}}\n")).collect();
    let url = redis.url();
    let args = ["--redis", &url, "--sharded", "--stdin"];
    let receive = async {
        for n in 0..count {
            assert_eq!(data(&mut heard).await, format!(r#"["e",{n}]"#));
        }
    };
    let (ended, ()) = tokio::join!(feed(&args, input), receive);
    assert_eq!(ended.status, 0, "{}", ended.said);
    // Not on a terminal: a summary and nothing else, least of all what draws.
    assert_eq!(ended.said.lines().count(), 1, "{}", ended.said);
    assert!(ended.said.starts_with("sio-emit: 100000 lines: 100000 sent, 0 refused, 0 not confirmed; "));
    assert!(!ended.said.contains('\u{1b}'));
}

#[tokio::test]
async fn what_cannot_be_right_is_not_sent() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = hear_sharded(&redis, &["socket.io#/#"]).await;
    let url = redis.url();
    for (args, expected) in [
        (&["e", "{}", "hello"][..], "argument 2 is not JSON"),
        (&["disconnect_", "1", "}"], "argument 2 is not JSON"),
        (&["--binary", "e", r#"{"$binary":"?"}"#], "argument 1: $binary is not base64"),
        (&["disconnect", "x"], "unexpected argument"),
        (&["connect"], "the event name \"connect\" is reserved"),
        (&["server-side-emit", "connection"], "the event name \"connection\" is reserved"),
        (&["--stdin", "e"], "cannot be used with"),
        (&["--redis", "http://localhost", "e"], "has to begin with redis://"),
        (&[], "is missing"),
    ] {
        let mut all = if args.contains(&"--redis") { vec![] } else { vec!["--redis", &url, "--sharded"] };
        all.extend(args);
        let ended = run(&all).await;
        assert_eq!(ended.status, 2, "{args:?}: {}", ended.said);
        assert!(ended.said.contains(expected), "{args:?}: {}", ended.said);
    }
    assert_eq!(run(&["--redis", &url, "--sharded", "e"]).await.status, 0);
    assert_eq!(data(&mut heard).await, r#"["e"]"#);
}

#[tokio::test]
async fn an_unreachable_redis_is_status_3_and_no_password_is_told() {
    if !full_run() {
        return;
    }
    let redis = Redis::with(&["--requirepass", "right"]);
    for (url, expected) in [
        (format!("redis://:wrong@127.0.0.1:{}", redis.port()), "redis refuses the connection: WRONGPASS"),
        (redis.url(), "redis refuses the connection: NOAUTH"),
        ("redis://:wrong@127.0.0.1:1".to_owned(), "redis at 127.0.0.1:1 cannot be reached: "),
    ] {
        for args in [&["e"][..], &["--stdin"], &["join", "a"]] {
            let ended = run(&[&["--redis", &url], args].concat()).await;
            assert_eq!(ended.status, 3, "{}", ended.said);
            assert!(ended.said.starts_with(&format!("sio-emit: {expected}")), "{}", ended.said);
            assert!(!ended.said.contains("wrong"), "{}", ended.said);
        }
    }
    // From the environment it works, and is not shown in the help.
    let url = format!("redis://:right@127.0.0.1:{}", redis.port());
    let output = Command::new(binary()).args(["-q", "e"]).env("REDIS_URL", &url).output().unwrap();
    assert_eq!((output.status.code(), output.stderr.is_empty()), (Some(0), true));
    let output = Command::new(binary()).arg("--help").env("REDIS_URL", &url).output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(help.contains("REDIS_URL") && !help.contains("right@"), "{help}");
}

#[tokio::test]
async fn refused_by_redis_is_status_3_with_a_count() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let user =
        ["ACL", "SETUSER", "emitter", "on", ">secret", "+publish", "resetchannels", "&socket.io#/ok#*"];
    assert_eq!(redis.command(&user).await, "+OK");
    let url = format!("redis://emitter:secret@127.0.0.1:{}", redis.port());
    let ended = run(&["--redis", &url, "e"]).await;
    assert_eq!(ended.status, 3);
    assert!(ended.said.starts_with("sio-emit: redis refuses it: NOPERM"), "{}", ended.said);

    let input = "{\"event\":\"a\"}\n{\"event\":\"b\",\"nsp\":\"/ok\"}\n{\"event\":\"c\"}\nno\n";
    let ended = feed(&["--redis", &url, "--stdin"], input).await;
    assert_eq!(ended.status, 3);
    assert!(
        ended.said.contains("redis has not taken 2 messages; the first one because redis refuses it: NOPERM")
    );
    let summary = "4 lines: 1 sent, 1 refused, 2 not confirmed, 1 with nobody listening; ";
    assert!(ended.said.contains(summary), "{}", ended.said);
}

#[tokio::test]
async fn a_redis_that_goes_away_for_good_stops_it() {
    if !full_run() {
        return;
    }
    let mut redis = Redis::start();
    let mut heard = hear_sharded(&redis, &["socket.io#/#"]).await;
    let url = redis.url();
    let mut running = start(&["--redis", &url, "--sharded", "--stdin", "--timeout", "0.2"], Stdio::piped());
    running.input().write_all(b"{\"event\":\"a\"}\n").await.unwrap();
    assert_eq!(data(&mut heard).await, r#"["a"]"#);
    redis.kill();
    // More than its queue holds, so that it cannot just read everything and give up at the end.
    let line = format!("{{\"event\":\"b\",\"args\":[\"{}\"]}}\n", "x".repeat(100_000));
    for _ in 0..200 {
        // It may have stopped, which is what is wanted.
        if running.input().write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    running.0.stdin = None;
    let ended = running.end().await;
    assert_eq!(ended.status, 3, "{}", ended.said);
    assert!(ended.said.contains(": 1 sent, 0 refused, "), "{}", ended.said);
    assert!(ended.said.contains("redis has not taken "), "{}", ended.said);
}

#[tokio::test]
async fn an_interrupt_ends_it_with_what_was_read_sent() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let mut heard = hear_sharded(&redis, &["socket.io#/#"]).await;
    let url = redis.url();
    for (name, status) in [("INT", 130), ("TERM", 143)] {
        let mut running = start(&["--redis", &url, "--sharded", "--stdin"], Stdio::piped());
        running.input().write_all(b"{\"event\":\"a\"}\n{\"event\":\"b\"").await.unwrap();
        // A whole line goes out at once, without waiting for more.
        assert_eq!(data(&mut heard).await, r#"["a"]"#);
        running.signal(name).await;
        // Its input stays open: it must not wait for that.
        let input = running.0.stdin.take();
        let ended = running.end().await;
        drop(input);
        assert_eq!(ended.status, status, "{}", ended.said);
        assert!(ended.said.contains("1 line: 1 sent, 0 refused, 0 not confirmed"), "{}", ended.said);
    }
}

#[tokio::test]
async fn an_input_that_cannot_be_read_is_status_4() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let directory = std::fs::File::open(redis.directory()).unwrap();
    let ended = start(&["--redis", &redis.url(), "--stdin"], directory.into()).end().await;
    assert_eq!(ended.status, 4, "{}", ended.said);
    assert!(
        ended.said.starts_with("sio-emit: the input cannot be read before the first line: "),
        "{}",
        ended.said
    );
}

#[tokio::test]
async fn nobody_listening_is_a_hint_and_no_failure() {
    if !full_run() {
        return;
    }
    let redis = Redis::start();
    let url = redis.url();
    for args in [&["e"][..], &["--sharded", "--to", "a", "e"], &["join", "a"]] {
        let ended = run(&[&["--redis", &url], args].concat()).await;
        assert_eq!(ended.status, 0);
        assert!(ended.said.contains("nobody was listening"), "{}", ended.said);
        let ended = run(&[&["--redis", &url, "--quiet"], args].concat()).await;
        assert_eq!((ended.status, ended.said.as_str()), (0, ""));
    }
    let ended = feed(&["--redis", &url, "--stdin", "--quiet"], "{\"event\":\"a\"}\nno\n").await;
    assert_eq!((ended.status, ended.said.as_str()), (1, "sio-emit: line 2 refused: not an object\n"));
}
