//! `cargo xtask demo`: the chat example, from a fresh clone to a browser; by itself, or as a cluster over Redis.

use std::collections::VecDeque;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::run::Together;
use crate::workspace::{self, Error, Result, cargo, command};
use crate::{install, redis, run};

pub(crate) const CHAT: &str = "sio-server/examples/chat";

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The port to listen on; further nodes take the ports after it
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// How many servers; from 2 on, they form a cluster over a Redis of their own
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=8))]
    nodes: u16,
}

pub(crate) fn demo(options: &Options) -> Result<bool> {
    install::check_node()?;
    let ports = free_ports(options)?;
    install::npm_project(CHAT)?;
    if let [port] = ports[..] { alone(port) } else { cluster(&ports) }
}

/// The ports of all nodes. Seen now, one that is taken costs nobody a build first.
fn free_ports(options: &Options) -> Result<Vec<u16>> {
    let ports: Option<Vec<u16>> = (0..options.nodes).map(|node| options.port.checked_add(node)).collect();
    let ports = ports.ok_or_else(|| Error::new(format!("there are no ports after {}", u16::MAX)))?;
    for &port in &ports {
        // The listener is closed again at once.
        TcpListener::bind(("0.0.0.0", port)).map_err(|cause| {
            let other = port.checked_add(1).unwrap_or(3000);
            Error::new(format!(
                "cannot listen on port {port} ({cause}): try `cargo xtask demo --port {other}`"
            ))
        })?;
    }
    Ok(ports)
}

/// Builds what is named and gives the directory of built programs.
fn build(what: &str, arguments: &[&str]) -> Result<PathBuf> {
    install::require(&format!("build of {what}"), &mut cargo(arguments))?;
    Ok(workspace::target().join("debug"))
}

fn chat(program: PathBuf, port: u16) -> Command {
    let mut chat = command(program);
    chat.env("PORT", port.to_string());
    chat.env("CLIENT_DIST", workspace::path(CHAT).join("node_modules/socket.io-client/dist"));
    chat
}

fn alone(port: u16) -> Result<bool> {
    let program = build("the chat example", &["build", "--workspace", "--example", "chat"])?;
    let program = program.join("examples/chat");
    let mut announced = false;
    let mut on_line = |line: &str| {
        println!("{line}");
        if let (false, Some(address)) = (announced, address(line)) {
            announced = true;
            let address = openable(address);
            print!(
                "{}",
                banner(&[format!("The chat is at {address} (open it in two tabs); Ctrl-C ends it.")])
            );
        }
    };
    // Ctrl-C ends the example and then us, inside this call: what returns from it went away by itself.
    let status = run::foreground(&mut chat(program.clone(), port), Some(&mut on_line))
        .map_err(|cause| Error::while_doing(program.display(), cause))?;
    if !status.success() {
        eprintln!("the chat example ended with {status}");
    }
    Ok(status.success())
}

fn cluster(ports: &[u16]) -> Result<bool> {
    let redis_port = redis::free_port()?;
    let mut redis = redis::server(redis_port)?;
    let emit = build("sio-emit", &["build", "--workspace", "--bin", "sio-emit"])?.join("sio-emit");
    let programs = build("the cluster chat example", &["build", "--workspace", "--example", "cluster-chat"])?;
    let program = programs.join("examples/cluster-chat");
    let failed = |what: &str| {
        let what = what.to_owned();
        move |cause| Error::while_doing(what, cause)
    };

    let url = format!("redis://127.0.0.1:{redis_port}");
    let mut together = Together::new();
    together.start(&mut redis).map_err(failed("redis-server"))?;
    redis::await_answer(redis_port)?;
    for (node, &port) in (1..).zip(ports) {
        let mut chat = chat(program.clone(), port);
        chat.env("REDIS_URL", &url).env("NODE_NAME", format!("node {node}"));
        together.start(&mut chat).map_err(failed("the cluster chat example"))?;
    }
    let mut output = Output::of(ports.len());
    let mut on_line = |member: usize, line: &str| {
        let Some(line) = output.take(member, line) else { return };
        println!("{line}");
        if let Some(all) = output.just_complete() {
            print!("{}", banner(&cluster_lines(&all, &url, &emit)));
        }
    };
    // Ctrl-C ends all of them and then us, inside this call.
    let (member, status) = together.wait(&mut on_line).map_err(failed("the demo"))?;
    let what = if member == 0 { "redis-server".into() } else { format!("node {member}") };
    if member == 0 {
        output.redis.iter().for_each(|line| eprintln!("redis: {line}"));
    }
    eprintln!("{what} ended with {status}");
    Ok(false)
}

/// What the members of a cluster print: Redis is the first, the others are nodes.
struct Output {
    addresses: Vec<Option<String>>,
    announced: bool,
    /// The last lines of Redis, which are of interest only when it ends.
    redis: VecDeque<String>,
}

impl Output {
    fn of(nodes: usize) -> Self {
        Self { addresses: vec![None; nodes], announced: false, redis: VecDeque::new() }
    }

    /// Takes a line and gives what is to be shown of it.
    fn take(&mut self, member: usize, line: &str) -> Option<String> {
        let Some(node) = member.checked_sub(1) else {
            if self.redis.len() == REDIS_LINES {
                self.redis.pop_front();
            }
            self.redis.push_back(line.to_owned());
            return None;
        };
        if let Some(slot @ None) = self.addresses.get_mut(node) {
            *slot = address(line).map(openable);
        }
        Some(format!("node {member}: {line}"))
    }

    /// The addresses of all nodes, once, as soon as all are known.
    fn just_complete(&mut self) -> Option<Vec<String>> {
        if self.announced {
            return None;
        }
        let all: Option<Vec<String>> = self.addresses.iter().cloned().collect();
        self.announced = all.is_some();
        all
    }
}

fn cluster_lines(addresses: &[String], redis: &str, emit: &Path) -> Vec<String> {
    let mut lines = vec![format!("One chat, {} servers: open each in a tab of its own.", addresses.len())];
    lines.extend((1..).zip(addresses).map(|(node, address)| format!("  node {node}: {address}")));
    lines.push("From another terminal, a process that is no server reaches every page:".into());
    lines.push(format!("  {} --redis {redis} --nsp /chat notice '\"Lunch is ready\"'", emit.display()));
    lines.push("Ctrl-C ends it all.".into());
    lines
}

/// Finds the address in `listening on http://...`, whatever the example calls what it does there.
fn address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" on http://")?;
    let start = line.len() - rest.len() - "http://".len();
    line[start..].split_whitespace().next()
}

/// 0.0.0.0 is an address to listen on; browsers differ in what they make of it.
fn openable(address: &str) -> String {
    address.replace("0.0.0.0", "localhost").replace("[::]", "localhost")
}

fn banner(lines: &[String]) -> String {
    let rule = "=".repeat(lines.iter().map(String::len).max().unwrap_or_default());
    format!("\n{rule}\n{}\n{rule}\n\n", lines.join("\n"))
}

/// Enough for the reason why it ended.
const REDIS_LINES: usize = 20;

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
    fn an_address_is_one_that_a_browser_opens() {
        assert_eq!(openable("http://0.0.0.0:3000"), "http://localhost:3000");
    }

    #[test]
    fn the_log_of_redis_is_kept_for_its_end() {
        let mut output = Output::of(2);
        for line in 0..=REDIS_LINES {
            assert_eq!(output.take(0, &format!("# line {line}")), None);
        }
        assert_eq!((output.redis.len(), output.redis[0].as_str()), (REDIS_LINES, "# line 1"));
        let said = output.take(2, "Switchboard on http://127.0.0.1:3001/");
        assert_eq!(said.as_deref(), Some("node 2: Switchboard on http://127.0.0.1:3001/"));
        assert_eq!(output.just_complete(), None);
        output.take(1, "Switchboard on http://127.0.0.1:3000/");
        let all = ["http://127.0.0.1:3000/", "http://127.0.0.1:3001/"].map(str::to_owned);
        assert_eq!(output.just_complete(), Some(all.to_vec()));
        output.take(1, "later");
        assert_eq!(output.just_complete(), None);
    }

    #[test]
    fn a_cluster_shows_every_node_and_how_to_reach_it_from_outside() {
        let nodes = ["http://127.0.0.1:3000/".to_owned(), "http://127.0.0.1:3001/".to_owned()];
        let text =
            cluster_lines(&nodes, "redis://127.0.0.1:7000", Path::new("target/debug/sio-emit")).join("\n");
        assert!(nodes.iter().all(|address| text.contains(address)), "{text}");
        assert!(text.contains("sio-emit --redis redis://127.0.0.1:7000 --nsp /chat notice"), "{text}");
    }
}
