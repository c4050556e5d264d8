//! A TCP proxy that can stop forwarding without closing anything, as a network does.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
};

pub(super) struct Proxy {
    pub(super) port: u16,
    /// Connections made before this number is raised are frozen when it is.
    frozen: Arc<watch::Sender<u64>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(super) async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let frozen = Arc::new(watch::Sender::new(0));
        let state = Arc::clone(&frozen);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                let ((client_read, client_write), (server_read, server_write)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(forward(client_read, server_write, state.subscribe()));
                tokio::spawn(forward(server_read, client_write, state.subscribe()));
            }
        });
        Self { port, frozen, task }
    }

    /// Stops forwarding for the connections that exist now.
    pub(super) fn freeze(&self) {
        self.frozen.send_modify(|number| *number += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<u64>) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        tokio::select! {
            biased;
            changed = frozen.changed() => match changed {
                // Holds both halves for good: neither side learns anything.
                Ok(()) => std::future::pending().await,
                Err(_) => return,
            },
            read = from.read(&mut buffer) => match read {
                Ok(length) if length > 0 => if to.write_all(&buffer[..length]).await.is_err() { return },
                _ => return,
            },
        }
    }
}
