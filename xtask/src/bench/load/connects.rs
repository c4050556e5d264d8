//! Clients that come and go.

use super::{Pace, Result, Throughput};
use crate::bench::{
    clients::Clients,
    meter::{Meter, Phase},
    script,
    server::Server,
};

/// How a client connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Opening {
    WebSocket,
    PollingThenUpgrade,
}

/// Clients that connect, join `/` and leave, `slots` at the same time.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn connects(opening: Opening, slots: usize, server: &Server, pace: Pace) -> Result<Throughput> {
    let mut script = match opening {
        Opening::WebSocket => script::websocket(),
        Opening::PollingThenUpgrade => script::polling_then_upgrade(),
    };
    script.extend(script::goodbye());
    let mut clients = Clients::new(server.address, pace.waiting)?;
    clients.spread_sources();
    let mut meter = Meter::new(server.process(), pace);
    let mut result = None;
    clients.open_repeatedly(slots, &script, |done, idle| {
        if let Phase::End(usage) = meter.tick(done, idle)? {
            result = Some(Throughput { usage, p50: None, p99: None });
        }
        Ok(result.is_none())
    })?;
    result.ok_or_else(|| "the window did not end".into())
}
