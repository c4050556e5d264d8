//! Numbered messages, one every few milliseconds, until they are stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sio_server::Broadcast;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::interval;

/// The load of this node, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Load(Mutex<Option<Running>>);

#[derive(Debug)]
struct Running {
    emitted: Arc<AtomicU64>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(&self, to: Broadcast, event: String, name: String, every: Duration) {
        let emitted = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(emit(to, event, name, every, Arc::clone(&emitted), stopped));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { emitted, stop, task });
    }

    pub(crate) fn emitted(&self) -> Option<u64> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().map(|running| running.emitted.load(Ordering::Acquire))
    }

    /// Ends it; the number is final.
    pub(crate) async fn stop(&self) -> Option<u64> {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Running { emitted, stop, task } = running?;
        let _ = stop.send(());
        let _ = task.await;
        Some(emitted.load(Ordering::Acquire))
    }
}

async fn emit(
    to: Broadcast,
    event: String,
    name: String,
    every: Duration,
    emitted: Arc<AtomicU64>,
    mut stopped: oneshot::Receiver<()>,
) {
    let filler = "x".repeat(FILLER);
    let mut ticks = interval(every);
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            _ = ticks.tick() => {
                let number = emitted.load(Ordering::Acquire);
                to.emit(&event, &(&name, number, &filler));
                emitted.store(number + 1, Ordering::Release);
            }
        }
    }
}

/// The contract says so.
const FILLER: usize = 100;
