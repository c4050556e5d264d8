//! Redis over TLS: a cluster of servers and the emitter, each trusting a certificate of its own and those of the system.
//!
//! Built with the feature `tls` only, for which `cargo xtask test` has a step.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::process::Stdio;
use std::time::Duration;

use sio_adapter_redis::{RedisAdapter, ShardedRedisAdapter};
use sio_emitter::Emitter;
use sio_emitter::fred::types::config::{Config, TlsConnector};
use sio_server::Server;
use sio_tests::redis::{Redis, full_run};
use sio_tests::{Client, serve, within};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Trusts the certificate of `redis` and no other.
fn trusting(redis: &Redis) -> Config {
    let certificate = CertificateDer::from_pem_file(redis.directory().join("certificate.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut config = Config::from_url(&redis.tls_url()).unwrap();
    config.tls = Some(TlsConnector::from(tls).into());
    config
}

/// Runs a test of this file in a process for which the certificate of `redis` is one of the system's.
async fn with_system_certificate(redis: &Redis, test: &str) {
    let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test])
        .env("SSL_CERT_FILE", redis.directory().join("certificate.pem"))
        .env(URL, redis.tls_url())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = within("the test in its process", command.output()).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// The address in such a process.
fn url_for_system_certificate() -> Option<String> {
    std::env::var(URL).ok()
}

const URL: &str = "SIO_TEST_TLS_URL";

#[tokio::test]
async fn servers_are_one_cluster_over_tls() {
    if !full_run() {
        return;
    }
    let redis = Redis::with_tls();
    for sharded in [false, true] {
        let mut servers = Vec::new();
        for _ in 0..2 {
            let builder = Server::builder();
            let io = if sharded {
                let adapter = within("redis", ShardedRedisAdapter::connect(trusting(&redis))).await.unwrap();
                let io = builder.adapter(adapter.clone()).build();
                within("subscriptions", adapter.ready()).await;
                io
            } else {
                let adapter = within("redis", RedisAdapter::connect(trusting(&redis))).await.unwrap();
                let io = builder.adapter(adapter.clone()).build();
                within("subscriptions", adapter.ready()).await;
                io
            };
            servers.push(io);
        }
        let mut client = Client::connected(serve(&servers[0]).await).await.0;
        // More than one record of TLS.
        let text = "x".repeat(100_000);
        servers[1].emit("said", &text);
        client.expect(&format!("2[\"said\",\"{text}\"]")).await;
        // A server that closes waits for its clients.
        drop(client);
        for io in servers {
            within("the end", io.close()).await;
        }
    }
}

#[tokio::test]
async fn the_emitter_speaks_tls() {
    if !full_run() {
        return;
    }
    let redis = Redis::with_tls();
    let mut heard = redis.subscribe("SUBSCRIBE", &["socket.io#/#"]).await;
    let io = Emitter::builder().connect_with(trusting(&redis)).await.unwrap();
    io.emit("said", &1).await.unwrap();
    io.close().await.unwrap();
    let (channel, bytes) = heard.next().await;
    assert_eq!(channel, "socket.io#/#");
    assert!(bytes.windows(4).any(|window| window == b"said"));
}

#[tokio::test]
async fn tls_with_a_certificate_that_nobody_knows_is_refused() {
    if !full_run() {
        return;
    }
    let redis = Redis::with_tls();
    // Each goes on trying until its time is over.
    let url = redis.tls_url();
    let emitter = Emitter::builder().connect_timeout(Duration::from_secs(5)).connect(&url);
    let both = async { tokio::join!(emitter, RedisAdapter::connect(url.as_str())) };
    let (emitter, adapter) = within("both to give up", both).await;
    for error in [emitter.err().unwrap().to_string(), adapter.err().unwrap().to_string()] {
        assert!(error.contains("ertificate"), "{error}");
    }
}

#[tokio::test]
async fn tls_with_a_certificate_of_the_system_is_trusted() {
    if let Some(url) = url_for_system_certificate() {
        let adapter = RedisAdapter::connect(url.clone()).await.unwrap();
        let server = Server::builder().adapter(adapter.clone()).build();
        adapter.ready().await;
        let mut client = Client::connected(serve(&server).await).await.0;
        let io = Emitter::connect(&url).await.unwrap();
        io.emit("said", &1).await.unwrap();
        client.expect(r#"2["said",1]"#).await;
        return;
    }
    if !full_run() {
        return;
    }
    with_system_certificate(&Redis::with_tls(), "tls_with_a_certificate_of_the_system_is_trusted").await;
}
