//! `sio-emit`: sends to the clients of Socket.IO servers from a shell or a batch job.
//!
//! Nothing is decided here that the library does not decide: this is its command line, and an exit status that says
//! whether everything that was asked for has been taken by Redis.

mod args;
mod input;
mod lines;
mod report;
mod stream;
mod values;

use std::process::ExitCode;

use clap::Parser as _;
use sio_emitter::{Broadcast, ConnectError, EmitError, Emitter, Stats};

use self::args::{Cli, Delivery, Event, Target, Task, Verb};
use self::report::complain;
use self::values::Spread;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Told before anything is connected: a command that cannot be right is not half done.
    let task = match cli.task() {
        Ok(task) => task,
        Err(problem) => {
            // With the standard error closed there is nobody to tell.
            let _ = Cli::error(&problem).print();
            return Exit::Usage.into();
        }
    };
    // One thread reads and makes messages, the other one sends them.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(run(&cli.target, task));
            // What is still under way (a name that is being resolved, say) is of no interest any more.
            runtime.shutdown_background();
            exit.into()
        }
        Err(error) => {
            complain(&format!("no runtime: {error}"));
            Exit::NotSent.into()
        }
    }
}

async fn run(target: &Target, task: Task) -> Exit {
    let emitter = match connect(target).await {
        Ok(emitter) => emitter,
        Err(error) => {
            complain(&error.to_string());
            return if matches!(error, ConnectError::Config(_)) { Exit::Usage } else { Exit::NotSent };
        }
    };
    let verb = match task {
        Task::Stream(options) => return stream::run(&emitter, target, &options).await,
        Task::Send(verb) => verb,
    };
    if let Err(error) = send(&emitter, target, verb).await {
        complain(&error.to_string());
        return if ends_all(&error) { Exit::NotSent } else { Exit::Usage };
    }
    if let Err(error) = emitter.close().await {
        complain(&error.cause.to_string());
        return Exit::NotSent;
    }
    if let Stats { unheard: Some(1..), .. } = emitter.stats()
        && !target.quiet
    {
        complain(target.nobody_hint());
    }
    Exit::Done
}

async fn connect(target: &Target) -> Result<Emitter, ConnectError> {
    let mut builder = Emitter::builder()
        .key(&target.key)
        .connect_timeout(target.connect_timeout())
        .queue_timeout(target.queue_timeout())
        .max_queued_bytes(MAX_QUEUED_BYTES);
    if let Some(mode) = target.mode() {
        builder = builder.sharded(mode);
    }
    builder.connect(&target.redis).await
}

async fn send(emitter: &Emitter, target: &Target, verb: Verb) -> Result<(), EmitError> {
    let namespace = emitter.of(&target.nsp);
    let aimed = |delivery| aim(&namespace, &target.to, &target.except, delivery);
    let plain = Delivery::default();
    match verb {
        Verb::Emit(Event { name, args }, delivery) => aimed(&delivery).emit(&name, &Spread(&args)).await,
        Verb::Join(rooms) => aimed(&plain).sockets_join(rooms).await,
        Verb::Leave(rooms) => aimed(&plain).sockets_leave(rooms).await,
        Verb::Disconnect { close } => aimed(&plain).disconnect_sockets(close).await,
        Verb::ServerSideEmit(Event { name, args }) => namespace.server_side_emit(&name, &Spread(&args)).await,
    }
}

/// Says whether an error is none of the message, so that the next one would meet it as well.
fn ends_all(error: &EmitError) -> bool {
    matches!(error, EmitError::TimedOut { .. } | EmitError::Closed | EmitError::QueueFull { .. })
}

/// Makes the operator for whom is meant.
fn aim(namespace: &Emitter, to: &[String], except: &[String], delivery: &Delivery) -> Broadcast {
    let mut broadcast = namespace.to(to).except(except);
    if delivery.volatile {
        broadcast = broadcast.volatile();
    }
    if let Some(compress) = delivery.compress {
        broadcast = broadcast.compress(compress);
    }
    broadcast
}

/// How it ended. The numbers are part of what is promised; `--help` explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done,
    Refused,
    Usage,
    NotSent,
    Unreadable,
    Signal(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::NotSent => 3,
            Exit::Unreadable => 4,
            Exit::Signal(number) => 128 + number,
        })
    }
}

/// What waits for Redis: so much that it is never idle, so little that what is lost with it can be counted.
const MAX_QUEUED_BYTES: usize = 4 * 1024 * 1024;
