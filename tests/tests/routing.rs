//! Which requests the server takes, and what it says to those it refuses: order of checks, codes, statuses, headers.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sio_server::{Cookie, Cors, SameSite, Server, Socket};
use sio_tests::{Client, Http, Polling, Response, Ws, log, serve, within};

const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";

fn assert_refused(response: &Response, status: u16, body: &str) {
    assert_eq!((response.status, response.text()), (status, body));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn every_refusal_has_its_numeric_code() {
    let address = serve(&Server::builder().allow_eio3(false).build()).await;
    let mut http = Http::connect(address).await;
    let transport = r#"{"code":0,"message":"Transport unknown"}"#;
    let sid = r#"{"code":1,"message":"Session ID unknown"}"#;
    let method = r#"{"code":2,"message":"Bad handshake method"}"#;
    let request = r#"{"code":3,"message":"Bad request"}"#;
    let version = r#"{"code":5,"message":"Unsupported protocol version"}"#;
    let table = [
        ("GET", "EIO=4", transport),
        ("GET", "EIO=4&transport=abc", transport),
        ("GET", "EIO=4&transport=webtransport", transport),
        ("GET", "EIO=4&transport=__proto__", transport),
        ("GET", "EIO=4&transport=polling&sid=short", sid),
        ("GET", "EIO=4&transport=polling&sid=__proto__", sid),
        ("GET", "EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", sid),
        ("POST", "EIO=4&transport=polling", method),
        ("PUT", "EIO=4&transport=polling", method),
        ("OPTIONS", "EIO=4&transport=polling", method),
        ("GET", "EIO=4&transport=websocket", request),
        ("GET", "EIO=3&transport=polling", version),
        ("GET", "transport=polling", version),
    ];
    for (verb, query, body) in table {
        let response = http.request(verb, &format!("/socket.io/?{query}"), &[], b"").await;
        assert_eq!((response.status, response.text()), (400, body), "{verb} {query}");
        assert_eq!(response.header("content-type"), Some("application/json"), "{verb} {query}");
    }
}

#[tokio::test]
async fn the_first_check_that_fails_decides() {
    let io = Server::builder().allow_eio3(false).allow_request(|_| Err(String::new())).build();
    let address = serve(&io).await;
    let mut http = Http::connect(address).await;
    let table = [
        // Transport before session, session before method, method before upgrade, application before version.
        ("POST", "EIO=4&transport=abc&sid=unknown", 400, 0),
        ("PUT", "EIO=4&transport=polling&sid=unknown", 400, 1),
        ("POST", "EIO=4&transport=websocket", 400, 2),
        ("GET", "EIO=4&transport=websocket", 400, 3),
        ("GET", "EIO=3&transport=polling", 403, 4),
    ];
    for (verb, query, status, code) in table {
        let response = http.request(verb, &format!("/socket.io/?{query}"), &[], b"").await;
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        assert_eq!((response.status, &body["code"]), (status, &code.into()), "{verb} {query}");
    }
    assert_eq!(io.session_count(), 0);
}

#[tokio::test]
async fn an_origin_that_must_not_be_sent_back_is_refused() {
    let io = Server::builder().cors(Cors::reflect()).build();
    let address = serve(&io).await;
    let request = |origin: &[u8]| {
        let head = format!("GET {HANDSHAKE} HTTP/1.1\r\nHost: t\r\nOrigin: ");
        [head.as_bytes(), origin, b"\r\n\r\n"].concat()
    };
    for control in [0, 1, 8, 0x0b, 0x1f, 0x7f] {
        let mut http = Http::connect(address).await;
        http.write(&request(&[b"http://a", &[control][..], b"b"].concat())).await;
        let response = within("the refusal", http.response()).await.unwrap();
        assert_eq!(response.status, 400, "{control:#x}");
        assert_eq!(response.header("access-control-allow-origin"), None, "{control:#x}");
    }
    assert_eq!(io.session_count(), 0);
    for fine in [&b"http://a\tb"[..], "http://ä".as_bytes()] {
        let mut http = Http::connect(address).await;
        http.write(&request(fine)).await;
        let response = within("the handshake", http.response()).await.unwrap();
        assert_eq!(response.status, 200, "{fine:?}");
    }
}

#[tokio::test]
async fn a_session_is_bound_to_its_transport_and_revision() {
    let address = serve(&Server::new()).await;
    let mut http = Http::connect(address).await;
    let mut ws = Ws::connect(address, "/socket.io/?EIO=4&transport=websocket").await;
    let open: serde_json::Value = serde_json::from_str(&ws.recv().await[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    let bad = r#"{"code":3,"message":"Bad request"}"#;
    assert_refused(&http.get(&format!("{HANDSHAKE}&sid={sid}")).await, 400, bad);
    // Nor can it be read or written as if it were a polling session.
    assert_refused(&http.get(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")).await, 400, bad);
    let post = http.post(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}"), b"40").await;
    assert_refused(&post, 400, bad);
    ws.send("40").await;
    assert!(ws.recv().await.starts_with("40{"), "the session is as it was");
    let mut polling = Polling::open(address).await;
    let sid = &polling.sid;
    assert_refused(&http.get(&format!("/socket.io/?EIO=3&transport=polling&sid={sid}")).await, 400, bad);
    assert_refused(&http.get(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")).await, 400, bad);
    // None of this has hurt the session.
    assert_eq!(polling.post("40").await.text(), "ok");
    assert!(polling.poll().await[0] != sio_tests::Message::text("1"));
}

#[tokio::test]
async fn a_refused_upgrade_gets_plain_text_and_the_end_of_the_connection() {
    let io = Server::builder().allow_eio3(false).build();
    let address = serve(&io).await;
    let table = [
        ("EIO=4&transport=abc", "Transport unknown"),
        ("EIO=4&transport=websocket&sid=unknown", "Session ID unknown"),
        ("EIO=4&transport=polling", "Bad request"),
        // Before the 101, or the client would read HTTP as frames.
        ("EIO=3&transport=websocket", "Unsupported protocol version"),
    ];
    for (query, message) in table {
        assert_upgrade_refused(address, query, message).await;
    }
    let io = Server::builder().allow_request(|_| Err("not you".into())).build();
    assert_upgrade_refused(serve(&io).await, "EIO=4&transport=websocket", "not you").await;
}

async fn assert_upgrade_refused(address: std::net::SocketAddr, query: &str, message: &str) {
    let mut http = Http::connect(address).await;
    let headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let response = http.request("GET", &format!("/socket.io/?{query}"), &headers, b"").await;
    assert_eq!((response.status, response.text()), (400, message), "{query}");
    assert_eq!(response.header("content-type"), Some("text/html"), "{query}");
    assert_eq!(response.header("connection"), Some("close"), "{query}");
    assert!(http.is_closed().await, "{query}");
}

#[tokio::test]
async fn only_paths_below_its_own_are_taken() {
    let address = serve(&Server::new()).await;
    let mut http = Http::connect(address).await;
    for path in ["/socket.io", "/socket.iox/", "/socket.io-admin/", "/engine.io/", "/", "/a/socket.io/"] {
        let response = http.get(&format!("{path}?EIO=4&transport=polling")).await;
        assert_eq!(response.status, 404, "{path}");
    }
    for path in ["/socket.io/", "/socket.io/anything", "/socket.io/a/b"] {
        let response = http.get(&format!("{path}?EIO=4&transport=polling")).await;
        assert_eq!(response.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_path_is_an_option_and_needs_no_slashes() {
    for path in ["api/live", "/api/live", "/api/live/"] {
        let address = serve(&Server::builder().path(path).build()).await;
        let mut http = Http::connect(address).await;
        assert_eq!(http.get("/api/live/?EIO=4&transport=polling").await.status, 200, "{path}");
        assert_eq!(http.get(HANDSHAKE).await.status, 404, "{path}");
        assert_eq!(http.get("/api/live?EIO=4&transport=polling").await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_last_of_a_repeated_parameter_counts_and_an_empty_sid_is_none() {
    let address = serve(&Server::new()).await;
    let mut http = Http::connect(address).await;
    let response = http.get("/socket.io/?EIO=3&EIO=4&transport=abc&transport=polling&sid=").await;
    assert!(response.text().starts_with("0{"), "{}", response.text());
    let response = http.get("/socket.io/?EIO=4&transport=polling&sid=&sid=unknown").await;
    assert_eq!(response.status, 400);
}

#[tokio::test]
async fn the_application_decides_on_handshakes_and_only_on_them() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let io = Server::builder()
        .allow_request(move |request| {
            count.fetch_add(1, Ordering::Relaxed);
            match request.headers.get("x-key").map(|key| key.as_bytes()) {
                Some(b"right") => Ok(()),
                Some(b"wrong") => Err("wrong key".into()),
                _ => Err(String::new()),
            }
        })
        .build();
    let address = serve(&io).await;
    let mut http = Http::connect(address).await;
    assert_refused(&http.get(HANDSHAKE).await, 403, r#"{"code":4,"message":"Forbidden"}"#);
    let wrong = http.request("GET", HANDSHAKE, &[("X-Key", "wrong")], b"").await;
    assert_refused(&wrong, 403, r#"{"code":4,"message":"wrong key"}"#);
    let right = http.request("GET", HANDSHAKE, &[("X-Key", "right")], b"").await;
    assert_eq!(right.status, 200);
    let open: serde_json::Value = serde_json::from_str(&right.text()[1..]).unwrap();
    let target = format!("{HANDSHAKE}&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(http.post(&target, b"40").await.text(), "ok");
    assert_eq!(http.get(&target).await.status, 200);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn the_open_packet_says_what_the_options_say() {
    let io = Server::builder()
        .ping_interval(Duration::from_millis(1234))
        .ping_timeout(Duration::from_millis(567))
        .max_http_buffer_size(4321)
        .build();
    let address = serve(&io).await;
    let mut http = Http::connect(address).await;
    let response = http.get(HANDSHAKE).await;
    let open = response.text();
    let sid = open.strip_prefix(r#"0{"sid":""#).unwrap().split('"').next().unwrap();
    let upgrades = r#"["websocket"]"#;
    assert_eq!(
        open,
        format!(
            r#"0{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":1234,"pingTimeout":567,"maxPayload":4321}}"#
        )
    );
    assert_eq!(sid.len(), 20);
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let ws = Ws::connect(address, "/socket.io/?EIO=4&transport=websocket").await.recv().await;
    assert!(ws.contains(r#""upgrades":[],"#), "{ws}");
}

#[tokio::test]
async fn upgrades_are_offered_only_where_they_would_succeed() {
    for io in
        [Server::builder().allow_upgrades(false).build(), Server::builder().transports(true, false).build()]
    {
        let polling = Polling::open(serve(&io).await).await;
        assert_eq!(polling.open["upgrades"], serde_json::json!([]));
    }
}

#[tokio::test]
async fn a_transport_that_is_off_is_unknown() {
    let address = serve(&Server::builder().transports(true, false).build()).await;
    assert_upgrade_refused(address, "EIO=4&transport=websocket", "Transport unknown").await;
    let address = serve(&Server::builder().transports(false, true).build()).await;
    let response = Http::connect(address).await.get(HANDSHAKE).await;
    assert_refused(&response, 400, r#"{"code":0,"message":"Transport unknown"}"#);
    Client::connected(address).await;
}

#[tokio::test]
async fn other_methods_on_a_session_fail_and_leave_it_alone() {
    let address = serve(&Server::new()).await;
    let mut polling = Polling::open(address).await;
    for method in ["PUT", "DELETE", "PATCH"] {
        let target = polling.target();
        let response = polling.posts.request(method, &target, &[], b"").await;
        assert_eq!((response.status, response.text()), (500, ""), "{method}");
    }
    assert_eq!(polling.post("40").await.text(), "ok");
}

#[tokio::test]
async fn without_the_option_there_are_no_cors_headers() {
    let address = serve(&Server::new()).await;
    let mut http = Http::connect(address).await;
    let response = http.request("GET", HANDSHAKE, &[("Origin", "http://a.example")], b"").await;
    assert_eq!(response.status, 200);
    let cors = response.headers.iter().find(|(name, _)| name.starts_with("access-control"));
    assert_eq!(cors, None);
    assert_eq!(response.header("vary"), None);
}

#[tokio::test]
async fn cors_headers_are_on_answers_refusals_and_polls() {
    let io = Server::builder().cors(Cors::origin("http://a.example").credentials(true)).build();
    let address = serve(&io).await;
    let mut polling = Polling::open(address).await;
    polling.post("40").await;
    let target = polling.target();
    let mut http = Http::connect(address).await;
    for target in [HANDSHAKE, "/socket.io/?EIO=4&transport=abc", &target] {
        let response = http.request("GET", target, &[("Origin", "http://b.example")], b"").await;
        assert_eq!(response.header("access-control-allow-origin"), Some("http://a.example"), "{target}");
        assert_eq!(response.header("access-control-allow-credentials"), Some("true"), "{target}");
        assert_eq!(response.header("vary"), Some("Origin"), "{target}");
    }
}

#[tokio::test]
async fn cors_for_anybody_does_not_vary_and_a_list_reflects() {
    let origin = [("Origin", "http://b.example")];
    let address = serve(&Server::builder().cors(Cors::any()).build()).await;
    let response = Http::connect(address).await.request("GET", HANDSHAKE, &origin, b"").await;
    assert_eq!(response.header("access-control-allow-origin"), Some("*"));
    assert_eq!(response.header("vary"), None);
    let cors = Cors::origins(["http://a.example", "http://b.example"]);
    let address = serve(&Server::builder().cors(cors).build()).await;
    let mut http = Http::connect(address).await;
    let response = http.request("GET", HANDSHAKE, &origin, b"").await;
    assert_eq!(response.header("access-control-allow-origin"), Some("http://b.example"));
    assert_eq!(response.header("vary"), Some("Origin"));
    let response = http.request("GET", HANDSHAKE, &[("Origin", "http://c.example")], b"").await;
    assert_eq!(response.header("access-control-allow-origin"), None);
    assert_eq!(response.header("vary"), Some("Origin"));
}

#[tokio::test]
async fn a_preflight_is_answered_before_the_checks() {
    let address = serve(&Server::builder().cors(Cors::origin("http://a.example")).build()).await;
    let mut http = Http::connect(address).await;
    let headers = [
        ("Origin", "http://a.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-token"),
    ];
    let target = "/socket.io/?EIO=4&transport=polling&sid=unknown";
    let response = http.request("OPTIONS", target, &headers, b"").await;
    assert_eq!((response.status, response.text()), (204, ""));
    assert_eq!(response.header("access-control-allow-methods"), Some("GET,HEAD,PUT,PATCH,POST,DELETE"));
    assert_eq!(response.header("access-control-allow-headers"), Some("x-token"));
    assert_eq!(response.header("access-control-allow-origin"), Some("http://a.example"));
}

#[tokio::test]
async fn the_cookie_comes_with_the_polling_handshake_only() {
    let address = serve(&Server::builder().cookie(Cookie::new()).build()).await;
    let mut http = Http::connect(address).await;
    let response = http.get(HANDSHAKE).await;
    let open: serde_json::Value = serde_json::from_str(&response.text()[1..]).unwrap();
    let sid = open["sid"].as_str().unwrap();
    assert_eq!(response.header("set-cookie"), Some(&*format!("io={sid}; Path=/; HttpOnly; SameSite=Lax")));
    let response = http.post(&format!("{HANDSHAKE}&sid={sid}"), b"40").await;
    assert_eq!(response.header("set-cookie"), None);
    let response = http.get(&format!("{HANDSHAKE}&sid={sid}")).await;
    assert_eq!(response.header("set-cookie"), None);

    let cookie = Cookie::new()
        .name("sio")
        .path("/x")
        .max_age(Duration::from_secs(86400))
        .secure(true)
        .http_only(false)
        .same_site(SameSite::Strict);
    let address = serve(&Server::builder().cookie(cookie).build()).await;
    let response = Http::connect(address).await.get(HANDSHAKE).await;
    let set = response.header("set-cookie").unwrap();
    assert!(set.starts_with("sio="), "{set}");
    assert!(set.ends_with("; Max-Age=86400; Path=/x; Secure; SameSite=Strict"), "{set}");
}

#[tokio::test]
async fn a_full_server_says_so_on_both_transports() {
    let io = Server::builder().max_sessions(2).build();
    let address = serve(&io).await;
    let _first = Polling::open(address).await;
    let (mut second, _) = Client::connected(address).await;
    let mut http = Http::connect(address).await;
    assert_eq!(http.get(HANDSHAKE).await.status, 503);
    let refused = Ws::try_over(http, "/socket.io/?EIO=4&transport=websocket", &[]).await;
    assert_eq!(refused.unwrap_err().status, 503, "not 101 and then silence");
    assert_eq!(io.session_count(), 2);
    // A place that is given back can be taken.
    second.ws().frame(0x88, b"").await;
    second.closed().await;
    Client::connected(address).await;
}

#[tokio::test]
async fn handlers_see_the_handshake_request() {
    let io = Server::new();
    let (sockets, mut connected) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = sockets.send(socket);
        async {}
    });
    let address = serve(&io).await;
    let target = "/socket.io/?EIO=4&transport=websocket&name=Ada+L%C3%B6&x=1&x=2";
    let http = Http::connect(address).await;
    let headers = [("X-Token", "abc"), ("Origin", "http://a.example")];
    let mut client = Client::over(Ws::try_over(http, target, &headers).await.unwrap());
    client.recv_engine().await;
    client.join_with("/", r#"{"token":"secret"}"#).await.unwrap();
    let handshake = connected.next().await.handshake();
    assert_eq!(handshake.url(), target);
    assert_eq!(handshake.query("name").as_deref(), Some("Ada Lö"));
    assert_eq!(handshake.query("x").as_deref(), Some("2"));
    assert_eq!(handshake.header("x-token"), Some("abc"));
    assert!(handshake.xdomain() && !handshake.secure());
    assert_eq!(handshake.address().unwrap().ip(), address.ip());
    assert_eq!(handshake.auth_json(), r#"{"token":"secret"}"#);
}
