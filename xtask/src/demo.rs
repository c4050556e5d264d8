//! `cargo xtask demo`: the chat example, from a fresh clone to a browser.

use std::net::TcpListener;

use clap::Args;

use crate::workspace::{self, Error, Result, cargo, command};
use crate::{install, run};

pub(crate) const CHAT: &str = "sio-server/examples/chat";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The port to listen on
    #[arg(long, default_value_t = 3000)]
    port: u16,
}

pub(crate) fn demo(options: &Options) -> Result<bool> {
    let port = options.port;
    install::check_node(install::NODE_OF_DEMO)?;
    // Seen now, it costs nobody a build first. The listener is closed again at once.
    TcpListener::bind(("0.0.0.0", port)).map_err(|cause| {
        let other = port.checked_add(1).unwrap_or(3000);
        Error::new(format!("cannot listen on port {port} ({cause}): try `cargo xtask demo --port {other}`"))
    })?;
    install::npm_project(CHAT)?;
    install::require(
        "build of the chat example",
        &mut cargo(&["build", "--workspace", "--example", "chat"]),
    )?;

    let program = workspace::target().join("debug/examples/chat");
    let mut chat = command(&program);
    chat.env("PORT", port.to_string());
    chat.env("CLIENT_DIST", workspace::path(CHAT).join("node_modules/socket.io-client/dist"));
    let mut announced = false;
    let mut on_line = |line: &str| {
        println!("{line}");
        if let (false, Some(address)) = (announced, address(line)) {
            announced = true;
            print!("{}", banner(address));
        }
    };
    // Ctrl-C ends the example and then us, inside this call: what returns from it went away by itself.
    let status = run::foreground(&mut chat, Some(&mut on_line))
        .map_err(|cause| Error::while_doing(program.display(), cause))?;
    if !status.success() {
        eprintln!("the chat example ended with {status}");
    }
    Ok(status.success())
}

/// Finds the address in `listening on http://...`, whatever the example calls what it does there.
fn address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" on http://")?;
    let start = line.len() - rest.len() - "http://".len();
    line[start..].split_whitespace().next()
}

fn banner(address: &str) -> String {
    // 0.0.0.0 is an address to listen on; browsers differ in what they make of it.
    let address = address.replace("0.0.0.0", "localhost").replace("[::]", "localhost");
    let text = format!("The chat is at {address} (open it in two tabs); Ctrl-C ends it.");
    let rule = "=".repeat(text.len());
    format!("\n{rule}\n{text}\n{rule}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_wherever_it_stands() {
        assert_eq!(address("listening on http://127.0.0.1:3000"), Some("http://127.0.0.1:3000"));
        assert_eq!(address("chat: listening on http://[::]:80 now"), Some("http://[::]:80"));
        assert_eq!(address("Chat on http://127.0.0.1:3000/"), Some("http://127.0.0.1:3000/"));
        assert_eq!(address("GET http://localhost/"), None);
    }

    #[test]
    fn the_banner_names_an_address_that_a_browser_opens() {
        assert!(banner("http://0.0.0.0:3000").contains("http://localhost:3000 "));
    }
}
