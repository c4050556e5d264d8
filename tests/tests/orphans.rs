//! A test that is killed leaves no redis-server behind.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use sio_tests::redis::{Redis, full_run};
use sio_tests::within;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// Set for the process that is to be killed.
const VICTIM: &str = "SIO_TEST_VICTIM";

#[tokio::test]
async fn redis_ends_with_the_process_that_has_started_it() {
    if !full_run() {
        return;
    }
    let mut victim = Command::new(env::current_exe().unwrap())
        .args(["--exact", "the_victim", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map_while(Result::ok);
    let port: u16 = lines.find_map(|line| line.split_once("redis at ")?.1.parse().ok()).unwrap();
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    let end = within("the end of redis", connection.read(&mut [0])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[test]
fn the_victim() {
    if env::var_os(VICTIM).is_none() {
        return;
    }
    let redis = Redis::start();
    println!("redis at {}", redis.port());
    // Until it is killed, or whoever started it is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}
