//! The WebSocket layer against Python's `websockets`, a third implementation beside `ws` and the browser's.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::env;
use std::path::Path;

use sio_server::protocol::socketio::Values;
use sio_server::{Args, Server, Socket};
use tokio::process::Command;

#[tokio::test]
async fn the_websockets_package_of_python_agrees_with_us() {
    let Some(python) = env::var_os("SIO_PYTHON") else {
        assert!(env::var_os("SIO_TEST_FULL").is_none(), "SIO_PYTHON is not set");
        eprintln!("needs Python: skipped, `cargo xtask test` runs it");
        return;
    };
    let io = Server::new();
    io.sockets().on("echo", async |socket: Socket, Args(args): Args<Values>| socket.emit("echo", &args));
    let listening = io.listen(("127.0.0.1", 0)).await.unwrap();
    let check = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/websockets_check.py"))
        .arg(format!("ws://{}", listening.address()))
        .output()
        .await
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    assert!(check.status.success(), "{}\n{out}{err}", check.status);
}
