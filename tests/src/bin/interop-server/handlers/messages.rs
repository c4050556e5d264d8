//! Messages and acknowledgements.

use std::time::Duration;

use sio_server::{AckError, Args, Namespace, Reply, Socket, Value, Values};

pub(crate) fn add(namespace: &Namespace) {
    namespace
        .on("echo", async |socket: Socket, Args(args): Args<Values>| socket.emit("echo", &args))
        .on("ack", async |Args(args): Args<Values>| Reply(args))
        .on("ask", async |socket: Socket, Args(args): Args<Values>| {
            let Some((event, args)) = split(args) else { return };
            if let Ok(answer) = socket.emit_with_ack::<Values>(&event, &args).await {
                socket.emit("answer", &answer);
            }
        })
        .on("ask-timeout", async |socket: Socket, Args((ms, event)): Args<(u64, String)>| {
            let asked = socket.timeout(Duration::from_millis(ms)).emit_with_ack::<Value>(&event, &());
            let outcome = match asked.await {
                Ok(_) => "reply",
                Err(AckError::Timeout) => "timeout",
                Err(_) => return,
            };
            socket.emit("ask-timeout", outcome);
        })
        .on("volatile", async |socket: Socket, Args(args): Args<Values>| {
            if let Some((event, args)) = split(args) {
                socket.volatile().emit(&event, &args);
            }
        })
        // There are no event middlewares: a handler refuses as well.
        .on("forbidden", async |socket: Socket| socket.emit("refused", "event refused"));
}

/// The name of an event and its arguments.
fn split(Values(mut args): Values) -> Option<(String, Values)> {
    let event = args.first()?.as_str()?.to_owned();
    args.remove(0);
    Some((event, Values(args)))
}
