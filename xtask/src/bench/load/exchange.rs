//! Echoes and acknowledgements: a fixed number of messages in flight on every connection.

use std::time::Instant;

use super::{OPENING, Pace, Result, Throughput, conversation};
use crate::bench::{
    clients::Clients,
    histogram::Histogram,
    meter::{Meter, Phase},
    script::{self, Step},
    server::Server,
};

/// What a client sends and gets back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    EchoText,
    EchoBinary,
    Ack,
}

/// Round trips of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    pub(crate) connections: usize,
    /// Messages in flight on each connection.
    pub(crate) depth: usize,
    /// Bytes of the payload, without the wrapping.
    pub(crate) size: usize,
    pub(crate) kind: Kind,
}

/// Echoes or acknowledgements, `depth` in flight on every connection.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn exchange(plan: &Exchange, server: &Server, pace: Pace) -> Result<Throughput> {
    let (request, expected, wanted) = conversation(plan.kind, plan.size);
    let mut script = script::websocket();
    script.push(Step::send(request.clone()));
    script.extend(expected.into_iter().map(Step::Expect));
    let mut clients = Clients::new(server.address, pace.waiting)?;
    clients.open(0..plan.connections, OPENING, &script)?;

    let unit = request.len();
    let batch = request.repeat(plan.depth);
    let mut latencies = Histogram::new();
    let mut sent_at = vec![Instant::now(); plan.connections];
    for index in 0..plan.connections {
        clients.send(index, &batch)?;
    }
    let mut meter = Meter::new(server.process(), pace);
    let mut count = 0_u64;
    loop {
        clients.wait()?;
        clients.exchange(wanted, |index, messages| {
            count += messages as u64;
            if plan.depth == 1 {
                let now = Instant::now();
                latencies.record(now - sent_at[index]);
                sent_at[index] = now;
            }
            batch.get(..messages * unit)
        })?;
        match meter.tick(count, clients.idle())? {
            Phase::WarmUp | Phase::Measure => {}
            Phase::Begin => latencies.clear(),
            Phase::End(usage) => {
                let (p50, p99) = (latencies.quantile(0.5), latencies.quantile(0.99));
                return Ok(Throughput { usage, p50, p99 });
            }
        }
    }
}
