//! The server over streams that are no plain TCP: in memory, unix sockets, streams that take little at a time.

#![allow(clippy::unwrap_used, reason = "a helper that cannot go on fails its test")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use sio_server::{Args, DisconnectReason, Reply, Server, Socket};
use sio_tests::{Client, Http, Stream, Ws, disconnects, log, serve};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const TARGET: &str = "/socket.io/?EIO=4&transport=websocket";

/// A stream whose writes take one slice at most, as one that wraps another often does.
struct Plain<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Plain<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plain<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

fn serve_over(io: &Server, stream: impl Stream + 'static) {
    let service = io.service();
    tokio::spawn(async move {
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        // How it ends is the client's business.
        let _ = connection.await;
    });
}

/// A client over an in-memory stream that holds `capacity` bytes each way.
async fn connect(io: &Server, capacity: usize) -> Client {
    let (ours, theirs) = tokio::io::duplex(capacity);
    serve_over(io, theirs);
    join(ours).await
}

async fn join(stream: impl Stream + 'static) -> Client {
    let mut client = Client::over(Ws::try_over(Http::over(stream), TARGET, &[]).await.unwrap());
    client.recv_engine().await;
    client.join("/").await;
    client
}

#[tokio::test]
async fn everything_works_over_a_stream_in_memory() {
    let io = Server::new();
    io.sockets().on("add", async |Args((a, b)): Args<(i32, i32)>| Reply(a + b));
    let mut reasons = disconnects(&io);
    let mut client = connect(&io, 4096).await;
    assert_eq!(client.ask("[\"add\",1,2]").await, serde_json::json!([3]));
    io.emit("news", &1);
    client.expect("2[\"news\",1]").await;
    client.ws().frame(0x88, &1000_u16.to_be_bytes()).await;
    client.expect_close(Some(1000)).await;
    assert_eq!(reasons.next().await, DisconnectReason::TransportClose);
}

#[tokio::test]
async fn a_burst_arrives_whole_through_a_narrow_stream() {
    for capacity in [1, 7, 64, 1000, 100_000] {
        let io = Server::new();
        let mut client = connect(&io, capacity).await;
        for n in 0..100 {
            io.emit("n", &n);
            io.emit("bytes", &bytes::Bytes::from(vec![7; 300]));
        }
        for n in 0..100 {
            client.expect(&format!("2[\"n\",{n}]")).await;
            assert_eq!(client.packet().await.attachments, [vec![7; 300]], "{capacity} bytes");
        }
    }
}

#[tokio::test]
async fn a_burst_arrives_whole_through_a_stream_without_vectored_writes() {
    let io = Server::new();
    let (ours, theirs) = tokio::io::duplex(100_000);
    serve_over(&io, Plain(theirs));
    let mut client = join(ours).await;
    for n in 0..100 {
        io.emit("n", &n);
    }
    for n in 0..100 {
        client.expect(&format!("2[\"n\",{n}]")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_whole_while_the_client_reads_on_another_thread() {
    let io = Server::new();
    let mut client = connect(&io, 500).await;
    let emitter = tokio::task::spawn_blocking(move || {
        for n in 0..5000 {
            io.emit("n", &n);
        }
        io
    });
    for n in 0..5000 {
        client.expect(&format!("2[\"n\",{n}]")).await;
    }
    emitter.await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected_here_too() {
    let io = Server::builder().max_queued_bytes(10_000).build();
    let mut reasons = disconnects(&io);
    let _client = connect(&io, 1000).await;
    let mut reading = connect(&io, 1000).await;
    let text = "x".repeat(3000);
    for _ in 0..8 {
        io.emit("n", &text);
        assert_eq!(reading.recv().await.len(), 3000 + 9);
    }
    assert_eq!(reasons.next().await, DisconnectReason::SlowClient);
    reasons.assert_empty();
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_heard_before_it_does() {
    let io = Server::builder().max_queued_bytes(10_000).build();
    let (seen, mut events) = log();
    io.sockets()
        .on("n", move |Args(n): Args<u32>| {
            let _ = seen.send(n);
            async {}
        })
        .on("sync", async || Reply(()));
    let mut slow = connect(&io, 1000).await;
    let mut other = connect(&io, 1000).await;
    // More than half of the bound waits once the stream has taken what it holds.
    let text = "x".repeat(8000);
    io.to(slow_id(&io)).emit("large", &text);
    slow.send("2[\"n\",1]").await;
    for _ in 0..10 {
        other.ask("[\"sync\"]").await;
    }
    events.assert_empty();
    slow.expect(&format!("2[\"large\",\"{text}\"]")).await;
    assert_eq!(events.next().await, 1);
    // And with nothing waiting it is heard at once.
    slow.send("2[\"n\",2]").await;
    assert_eq!(events.next().await, 2);
}

/// The id of the socket that was connected first.
fn slow_id(io: &Server) -> sio_server::SocketId {
    io.sockets().local_sockets()[0].id().clone()
}

#[tokio::test]
async fn a_stream_that_ends_ends_its_session() {
    let io = Server::new();
    let mut reasons = disconnects(&io);
    let client = connect(&io, 1000).await;
    drop(client);
    assert_eq!(reasons.next().await, DisconnectReason::TransportClose);
    assert_eq!(io.session_count(), 0);
}

#[tokio::test]
async fn the_server_ends_a_session_after_what_waits_has_been_sent() {
    let io = Server::new();
    io.sockets().on("out", async |socket: Socket| {
        for n in 0..50 {
            socket.emit("n", &n);
        }
        socket.disconnect(true);
    });
    let mut client = connect(&io, 64).await;
    client.send("2[\"out\"]").await;
    for n in 0..50 {
        client.expect(&format!("2[\"n\",{n}]")).await;
    }
    client.expect("1").await;
    client.expect_close(None).await;
}

#[tokio::test]
async fn emits_from_a_thread_without_a_runtime_arrive() {
    let io = Server::new();
    let (mut tcp, _) = Client::connected(serve(&io).await).await;
    let mut memory = connect(&io, 1000).await;
    std::thread::spawn(move || {
        io.emit("hello", &1);
        io.of("/").disconnect_sockets(false);
    })
    .join()
    .unwrap();
    for client in [&mut tcp, &mut memory] {
        client.expect("2[\"hello\",1]").await;
        client.expect("1").await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn unix_sockets_carry_both_transports() {
    let io = Server::new();
    let (addresses, mut seen) = log();
    io.sockets()
        .on_connection(move |socket: Socket| {
            let _ = addresses.send(socket.handshake().address());
            async {}
        })
        .on("echo", async |Args(text): Args<String>| Reply(text));
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    serve_over(&io, theirs);
    let mut client = join(ours).await;
    assert_eq!(client.ask("[\"echo\",\"x\"]").await, serde_json::json!(["x"]));
    assert_eq!(seen.next().await, None, "there is no address to tell");
    let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
    serve_over(&io, theirs);
    let mut http = Http::over(ours);
    let open = http.get("/socket.io/?EIO=4&transport=polling").await;
    let open: serde_json::Value = serde_json::from_str(&open.text()[1..]).unwrap();
    let target = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
    assert_eq!(http.post(&target, b"40").await.text(), "ok");
    assert_eq!(http.post(&target, b"420[\"echo\",\"y\"]").await.text(), "ok");
    let polled = http.get(&target).await;
    assert!(polled.text().ends_with("\x1e430[\"y\"]"), "{}", polled.text());
}
