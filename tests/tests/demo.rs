//! The chat example under real browsers: `e2e.mjs` beside it is the check, here it gets a server of its own.

#![allow(clippy::unwrap_used, reason = "these are tests, which clippy sees only in marked functions")]

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

const CHAT: &str = "sio-server/examples/chat";

#[test]
fn the_demo_page_does_what_it_says() {
    if env::var_os("SIO_TEST_FULL").is_none() {
        eprintln!("needs Node and a browser: skipped, `cargo xtask test` runs it");
        return;
    }
    let client = root().join(CHAT).join("node_modules/socket.io-client/dist");
    assert!(client.exists(), "no {}: `npm ci` in {CHAT} installs it", client.display());
    let playwright = env::var_os("SIO_PLAYWRIGHT")
        .map_or_else(|| root().join("tests/interop/node_modules/playwright-core"), PathBuf::from);
    assert!(playwright.exists(), "no {}: `npm ci` in tests/interop installs it", playwright.display());

    let chat = Chat::start(&client);
    let check = Command::new("node")
        .arg(root().join(CHAT).join("e2e.mjs"))
        .args(["--url", &chat.url, "--playwright"])
        .arg(playwright)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&check.stdout), String::from_utf8_lossy(&check.stderr));
    assert!(check.status.success(), "{}\n{out}{err}", check.status);
}

/// The running example; it ends with this value.
struct Chat {
    process: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
}

impl Chat {
    fn start(client: &Path) -> Self {
        let mut process = Command::new(build())
            .env("PORT", "0")
            .env("CLIENT_DIST", client)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        let mut chat = Self { process, stdout, url: String::new() };
        let mut line = String::new();
        chat.stdout.read_line(&mut line).unwrap();
        chat.url = line.trim().strip_prefix("Switchboard on ").expect(&line).to_owned();
        chat
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Builds the example and gives its path. For the whole workspace, since features are those of all that is asked for:
/// so nothing is built twice.
fn build() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--workspace", "--example", "chat"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the chat example does not build");
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    let mut executables =
        messages.filter_map(|message| Some(message.unwrap()["executable"].as_str()?.into()));
    executables.next().expect("cargo names the executable")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}
