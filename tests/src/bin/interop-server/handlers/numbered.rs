//! Numbered messages both ways: what shows whether one is lost, doubled or out of order.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use sio_server::{Args, Namespace, Reply, Socket, Value, Values};
use tokio::time::MissedTickBehavior;

use super::lock;

pub(crate) fn add(namespace: &Namespace) {
    namespace
        .on_connection(async |socket: Socket| {
            socket.insert(Down::default());
            socket.insert(Up::default());
        })
        .on("stream-start", async |socket: Socket, Args(ms): Args<u64>| {
            let Some(down) = socket.get::<Down>() else { return };
            let run = down.current_run();
            let mut ticks = tokio::time::interval(Duration::from_millis(ms.max(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while socket.is_connected() {
                ticks.tick().await;
                if !down.emit_next(&socket, run) {
                    return;
                }
            }
        })
        .on("stream-stop", async |socket: Socket| Reply(socket.get::<Down>().map(|down| down.stop())))
        .on("up", async |socket: Socket, Args(Values(args)): Args<Values>| {
            if let Some(up) = socket.get::<Up>() {
                up.note(&args, socket.transport());
            }
        })
        .on("up-report", async |socket: Socket| Reply(socket.get::<Up>().map(|up| up.report())))
        .on("burst", async |socket: Socket, Args(n): Args<u32>| {
            for i in 0..n {
                emit(&socket, "burst", i);
            }
        });
}

/// Odd numbers have four bytes beside them.
fn emit(socket: &Socket, event: &str, i: u32) {
    if i.is_multiple_of(2) {
        socket.emit(event, &i);
    } else {
        socket.emit(event, &(i, four_bytes(i)));
    }
}

fn four_bytes(i: u32) -> Bytes {
    Bytes::copy_from_slice(&i.to_be_bytes())
}

/// The stream from the server.
#[derive(Default)]
struct Down(Mutex<Stream>);

#[derive(Default)]
struct Stream {
    sent: u32,
    /// Counts the stops: a stream that was stopped while it slept finds another number.
    run: u32,
}

impl Down {
    fn current_run(&self) -> u32 {
        lock(&self.0).run
    }

    /// `false` when the stream has been stopped.
    fn emit_next(&self, socket: &Socket, run: u32) -> bool {
        // Held during the emit, so that what `stop` counts has been emitted.
        let mut stream = lock(&self.0);
        if stream.run != run {
            return false;
        }
        emit(socket, "down", stream.sent);
        stream.sent += 1;
        true
    }

    fn stop(&self) -> u32 {
        let mut stream = lock(&self.0);
        stream.run += 1;
        std::mem::take(&mut stream.sent)
    }
}

/// What came from the client.
#[derive(Default)]
struct Up(Mutex<Report>);

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    seen: Vec<u32>,
    wrong_binary: u32,
    transports: Transports,
}

#[derive(Default, Serialize)]
struct Transports {
    polling: u32,
    websocket: u32,
}

impl Up {
    fn note(&self, args: &[Value], transport: &str) {
        let number = args.first().and_then(Value::as_u64).and_then(|i| u32::try_from(i).ok());
        let Some(i) = number else { return };
        let expected = (i % 2 == 1).then(|| Value::Binary(four_bytes(i)));
        let mut report = lock(&self.0);
        report.seen.push(i);
        report.wrong_binary += u32::from(args.get(1) != expected.as_ref());
        match transport {
            "polling" => report.transports.polling += 1,
            _ => report.transports.websocket += 1,
        }
    }

    fn report(&self) -> Report {
        std::mem::take(&mut *lock(&self.0))
    }
}
