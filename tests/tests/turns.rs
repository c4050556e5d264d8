//! When emits are written: what many emit in one turn, and emits from threads that have no runtime, or one after another.

use std::sync::mpsc;
use std::thread;

use sio_server::{Args, Server, Socket};
use sio_tests::{Client, log, serve};
use tokio::runtime::Runtime;

/// Serves a room in which everybody says numbers and hears those of all.
async fn chorus(io: &Server) -> std::net::SocketAddr {
    io.sockets().on("say", async |io: Server, socket: Socket, Args(n): Args<u32>| {
        socket.emit("before", &n);
        io.emit("said", &n);
        socket.emit("after", &n);
    });
    serve(io).await
}

async fn everybody_hears_all_in_order(workers: usize) {
    const MEMBERS: u32 = 30;
    const EACH: u32 = 20;
    let io = Server::new();
    let address = chorus(&io).await;
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        members.push(Client::connected(address).await.0);
    }
    for n in 0..EACH {
        for (i, member) in members.iter_mut().enumerate() {
            member.send(&format!("2[\"say\",{}]", i * 1000 + n as usize)).await;
        }
    }
    for (own, member) in members.iter_mut().enumerate() {
        let mut next = vec![0; MEMBERS as usize];
        let mut script = (0..EACH).flat_map(|n| ["before", "said", "after"].map(|event| (event, n)));
        for _ in 0..EACH * (MEMBERS + 2) {
            let text = member.recv().await;
            let (event, number) = text.split_once(',').expect("an event with a number");
            let event = &event[3..event.len() - 1];
            let number: usize = number.trim_end_matches(']').parse().expect("a number");
            let (sender, n) = (number / 1000, number as u32 % 1000);
            if event == "said" {
                assert_eq!(n, next[sender], "of {sender} at {own}, with {workers} workers");
                next[sender] += 1;
            }
            if sender == own {
                assert_eq!(script.next(), Some((event, n)), "one's own, with {workers} workers");
            }
        }
        assert_eq!(next, vec![EACH; MEMBERS as usize]);
    }
}

#[tokio::test]
async fn everybody_hears_all_in_order_from_one_thread() {
    everybody_hears_all_in_order(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_hears_all_in_order_from_four_threads() {
    everybody_hears_all_in_order(4).await;
}

/// More members than one thread writes by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_room_that_threads_may_share_is_written_to_in_order() {
    let io = Server::new();
    let address = chorus(&io).await;
    let mut members = Vec::new();
    for _ in 0..400 {
        members.push(Client::connected(address).await.0);
    }
    for n in 0..5 {
        io.emit("first", &n);
        io.emit("second", &n);
        for member in &mut members {
            member.expect(&format!("2[\"first\",{n}]")).await;
            member.expect(&format!("2[\"second\",{n}]")).await;
        }
    }
}

#[tokio::test]
async fn a_thread_without_a_runtime_emits() {
    let io = Server::new();
    let (connected, mut sockets) = log();
    io.sockets().on_connection(move |socket: Socket| {
        let _ = connected.send(socket);
        async {}
    });
    let (mut client, _) = Client::connected(serve(&io).await).await;
    let socket = sockets.next().await;
    let (emit, emits) = mpsc::channel();
    let thread = thread::spawn(move || {
        // One after the other has arrived, so that each has to be written by itself.
        for n in emits {
            let n: u32 = n;
            socket.emit("socket", &n);
            io.emit("all", &n);
        }
    });
    for n in 0..3 {
        emit.send(n).expect("the thread waits");
        client.expect(&format!("2[\"socket\",{n}]")).await;
        client.expect(&format!("2[\"all\",{n}]")).await;
    }
    drop(emit);
    thread.join().expect("the thread ends");
}

/// What writes a thread's emits lives on the runtime it finds first, and is begun anew when that has ended.
#[test]
fn a_thread_that_outlives_its_runtime_emits() {
    for round in 0..3 {
        let runtime = Runtime::new().expect("a runtime");
        let io = Server::new();
        let mut client = runtime.block_on(async { Client::connected(serve(&io).await).await.0 });
        // From this thread, which is no worker of the runtime and the same in each round.
        for n in 0..3 {
            io.emit("round", &[round, n]);
            runtime.block_on(client.expect(&format!("2[\"round\",{round},{n}]")));
        }
    }
}
