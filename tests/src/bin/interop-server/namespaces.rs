//! Section 2 of the contract: the namespaces and who gets into them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use sio_server::{ConnectError, Handshake, Namespace, Server, Socket, Value};

use crate::handlers;

pub(crate) fn add(io: &Server) {
    let all = [
        io.of("/"),
        io.of("/custom"),
        admin(io),
        closed(io),
        welcome(io),
        io.of_matching(|name, _auth| is_dynamic(name)),
    ];
    for namespace in &all {
        handlers::add(namespace);
    }
}

/// `^/dyn-[0-9]+$`
fn is_dynamic(name: &str) -> bool {
    name.strip_prefix("/dyn-")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn admin(io: &Server) -> Namespace {
    let namespace = io.of("/admin");
    namespace.middleware(async |handshake: Handshake| {
        let in_auth = handshake.auth::<Value>().ok().and_then(|auth| auth.get("token").cloned());
        let token = in_auth.or_else(|| handshake.query("token").map(Value::from));
        if token.as_ref().and_then(Value::as_str) == Some("secret") {
            return Ok(());
        }
        let refusal = Refusal { code: "E_AUTH", need: ["token"], got: token };
        Err(ConnectError::new("not authorized").with_data(&refusal))
    });
    namespace
}

#[derive(Serialize)]
struct Refusal {
    code: &'static str,
    need: [&'static str; 1],
    got: Option<Value>,
}

fn closed(io: &Server) -> Namespace {
    let namespace = io.of("/closed");
    namespace.middleware(async || Err(ConnectError::new("no entry")));
    namespace
}

fn welcome(io: &Server) -> Namespace {
    let namespace = io.of("/welcome");
    namespace
        .middleware(async |socket: Socket| {
            // why: the contract asks for a middleware that takes this long.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Steps::of(&socket).note("first");
            Ok(())
        })
        .middleware(async |socket: Socket| {
            Steps::of(&socket).note("second");
            Ok(())
        })
        .on_connection(async |socket: Socket| {
            let steps = Steps::of(&socket).noted();
            socket.emit("welcome", &(1, &steps));
            socket.emit("welcome", &(2, &steps));
        });
    namespace
}

/// What the middlewares of `/welcome` have noted on a socket.
#[derive(Default)]
struct Steps(Mutex<Vec<&'static str>>);

impl Steps {
    fn of(socket: &Socket) -> Arc<Self> {
        socket.get().unwrap_or_else(|| {
            socket.insert(Self::default());
            socket.get().unwrap_or_default()
        })
    }

    fn note(&self, step: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    fn noted(&self) -> Vec<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
