//! Events from server to server, over an adapter that joins servers by direct calls.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use bytes::Bytes;
use sio_server::{AdapterError, EmitError, Failure, Incomplete, Reply, Server, Socket};
use sio_tests::{Bus, Client, Log, log, serve, within};
use tokio::sync::oneshot;

fn servers<const N: usize>() -> [Server; N] {
    let bus = Bus::new();
    [(); N].map(|()| Server::builder().adapter(bus.node()).build())
}

fn failures(io: &Server) -> Log<String> {
    let (failures, log) = log();
    io.on_error(move |failure: &Failure| {
        let _ = failures.send(failure.to_string());
    });
    log
}

#[tokio::test]
async fn an_event_reaches_the_handlers_of_all_other_servers_in_order() {
    let servers = servers::<3>();
    let (heard, mut events) = log();
    for (number, io) in servers.iter().enumerate() {
        let heard = heard.clone();
        io.on_server_event("say", move |args: (u32, String)| {
            let _ = heard.send((number, args));
            async {}
        });
    }
    for n in 0..100 {
        servers[1].server_side_emit("say", &(n, "é"));
        assert_eq!(events.take(2).await, [(0, (n, "é".to_owned())), (2, (n, "é".to_owned()))]);
    }
    servers[1].of("/other").server_side_emit("say", &(1, "elsewhere"));
    servers[1].server_side_emit("unknown", &());
    events.assert_empty();
}

#[tokio::test]
async fn arguments_may_be_binary_and_look_like_placeholders() {
    let [here, there] = servers();
    let (heard, mut events) = log();
    there.on_server_event("file", move |args: (Bytes, serde_json::Value)| {
        let _ = heard.send(args);
        async {}
    });
    let map = serde_json::json!({"_placeholder": true, "num": 0});
    here.server_side_emit("file", &(Bytes::from_static(b"content"), &map));
    assert_eq!(events.next().await, (Bytes::from_static(b"content"), map));
}

#[tokio::test]
async fn names_are_reserved_as_in_node() {
    let [here, there] = servers();
    let mut failures = failures(&here);
    for name in ["connect", "connection", "new_namespace"] {
        let refused = here.try_server_side_emit(name, &());
        assert!(matches!(refused, Err(EmitError::ReservedEvent(reserved)) if reserved == name));
        here.server_side_emit(name, &());
        assert_eq!(
            failures.next().await,
            format!("emit of \"{name}\" in /: the event name \"{name}\" is reserved")
        );
        let asked = here.server_side_emit_with_ack::<()>(name, &()).await.unwrap_err();
        assert!(matches!(asked.cause, AdapterError::Emit(EmitError::ReservedEvent(_))));
    }
    // Between servers these are names like any other.
    let (heard, mut events) = log();
    there.on_server_event("disconnect", move |n: u32| {
        let _ = heard.send(n);
        async {}
    });
    here.server_side_emit("disconnect", &1);
    assert_eq!(events.next().await, 1);
}

#[tokio::test]
async fn every_other_server_answers_once() {
    let servers = servers::<3>();
    servers[0].on_server_event("add", async |(a, b): (u32, u32)| Ok::<_, String>(a + b));
    servers[1].on_server_event("add", async |_: u32| Reply(0));
    servers[2].on_server_event("add", async |(a, b): (u32, u32)| {
        tokio::task::yield_now().await;
        Reply(10 * (a + b))
    });
    servers[2].on_server_event("add", async |(a, b): (u32, u32)| Reply(100 * (a + b)));
    let asked = servers[1].server_side_emit_with_ack::<u32>("add", &(1, 2));
    let answers = within("the answers", asked).await.unwrap();
    assert_eq!(answers, [3, 300], "of two handlers the first answer counts");
}

#[tokio::test]
async fn alone_there_is_nobody_to_answer() {
    let io = Server::new();
    io.on_server_event("ask", async |()| Reply(1));
    io.server_side_emit("ask", &());
    assert_eq!(io.server_side_emit_with_ack::<u32>("ask", &()).await.unwrap(), [0; 0]);
    assert_eq!(io.sockets().server_count().await.unwrap(), 1);
}

#[tokio::test]
async fn what_did_arrive_is_in_the_error() {
    let servers = servers::<4>();
    servers[0].on_server_event("ask", async |()| Reply(7));
    // One that answers nothing and one that does not know the event: neither ever answers.
    servers[1].on_server_event("ask", async |()| {});
    let Incomplete { arrived, cause, .. } =
        servers[3].server_side_emit_with_ack::<u32>("ask", &()).await.unwrap_err();
    assert_eq!(arrived, [7]);
    assert!(matches!(cause, AdapterError::Timeout { expected: 3, missing: 2 }), "{cause}");

    for io in &servers[1..3] {
        io.on_server_event("ask", async |()| Reply("seven"));
    }
    let incomplete = servers[3].server_side_emit_with_ack::<u32>("ask", &()).await.unwrap_err();
    assert_eq!(incomplete.arrived, [7]);
    let text = incomplete.to_string();
    assert!(text.starts_with("1 arrived, 2 nodes answered with another type: "), "{text}");
}

#[tokio::test]
async fn handlers_that_fail_are_reported_and_answer_as_those_of_clients_do() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Refusal {
        error: String,
    }
    let [here, there] = servers();
    let mut failures = failures(&there);
    there.on_server_event("refuse", async |()| Err::<(), _>("not today"));
    there.on_server_event("reject", async |_: u32| Reply(()));
    there.on_server_event("panic", async |_: u32| -> Reply<()> { panic!("at once") });
    there.on_server_event("panic later", async |_: u32| -> Reply<()> {
        tokio::task::yield_now().await;
        panic!("later")
    });
    for (event, answer, failure) in [
        ("refuse", "not today", "failed: not today"),
        ("reject", "argument 0 is missing", "argument 0 is missing"),
        ("panic", "internal error", "panicked: at once"),
        ("panic later", "internal error", "panicked: later"),
    ] {
        let args: &[u32] = if event.starts_with("panic") { &[1] } else { &[] };
        let answers = match args {
            [one] => here.server_side_emit_with_ack::<Refusal>(event, one).await,
            _ => here.server_side_emit_with_ack::<Refusal>(event, &()).await,
        };
        assert_eq!(answers.unwrap()[0].error, answer);
        let reported = failures.next().await;
        assert!(reported.ends_with(failure) && reported.contains(event), "{reported}");
    }
    // What never answers does not answer when it fails either.
    there.on_server_event("silent", async |_: u32| -> () { panic!("in silence") });
    let incomplete = here.server_side_emit_with_ack::<Refusal>("silent", &1).await.unwrap_err();
    assert!(incomplete.arrived.is_empty());
    assert!(failures.next().await.ends_with("in silence"));
}

#[tokio::test]
async fn a_handler_that_waits_holds_up_nobody_and_answers_when_it_is_done() {
    let [here, there] = servers();
    let (release, released) = oneshot::channel::<()>();
    let released = std::sync::Mutex::new(Some(released));
    there.on_server_event("wait", move |()| {
        let released = released.lock().unwrap().take();
        async move {
            released.unwrap().await.unwrap();
            Reply("done")
        }
    });
    there.on_server_event("now", async |()| Reply("now"));
    let waiting = tokio::spawn({
        let here = here.clone();
        async move { here.server_side_emit_with_ack::<String>("wait", &()).await }
    });
    let now = here.server_side_emit_with_ack::<String>("now", &());
    assert_eq!(within("the answer", now).await.unwrap(), ["now"]);
    assert!(!waiting.is_finished());
    release.send(()).unwrap();
    assert_eq!(within("the answer", waiting).await.unwrap().unwrap(), ["done"]);
}

#[tokio::test]
async fn a_handler_may_emit_to_the_clients_of_its_node() {
    let [here, there] = servers();
    let inner = there.clone();
    there.on_server_event("tell", move |text: String| {
        inner.local().emit("told", &text);
        async {}
    });
    let (mut client, _) = Client::connected(serve(&there).await).await;
    here.server_side_emit("tell", "news");
    client.expect(r#"2["told","news"]"#).await;
}

#[tokio::test]
async fn namespaces_made_for_clients_share_the_handlers_of_their_parent() {
    let servers = servers::<2>();
    let (heard, mut events) = log();
    for io in &servers {
        let parent = io.of_matching(|name, _| name.starts_with("/team-"));
        let heard = heard.clone();
        parent.on_connection(async |_: Socket| {}).on_server_event("say", move |n: u32| {
            let _ = heard.send(n);
            async { Reply(1) }
        });
        if std::ptr::eq(io, &servers[0]) {
            continue;
        }
        let mut clients = Vec::new();
        for io in &servers {
            let address = serve(io).await;
            for name in ["/team-a", "/team-b"] {
                let mut client = Client::websocket(address).await;
                client.join(name).await;
                clients.push(client);
            }
        }
        parent.server_side_emit("say", &5);
        assert_eq!(events.take(2).await, [5, 5], "once per namespace");
        let answers = parent.server_side_emit_with_ack::<u32>("say", &6).await.unwrap();
        assert_eq!(answers, [1, 1]);
        assert_eq!(parent.server_count().await.unwrap(), 2);
        assert_eq!(parent.all_rooms().await.unwrap().len(), 4);
    }
}
