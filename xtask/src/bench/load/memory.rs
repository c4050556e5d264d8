//! Resident memory of connections that do nothing.

use std::time::Duration;

use super::{Kind, OPENING, Result, conversation};
use crate::bench::{
    clients::{Clients, Waiting},
    meter::settled_memory,
    script::{self, Step},
    server::Server,
};

/// Clients that exchange their 64 kB at the same time.
const EXCHANGING: usize = 16;

/// How long memory may take to come to rest.
const SETTLING: Duration = Duration::from_secs(6);

/// The size of the exchange after which an idle connection is looked at again.
const LARGE: usize = 64 * 1024;

/// Resident bytes of the server for each idle connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdleMemory {
    /// The whole process before the first connection.
    pub(crate) base: u64,
    pub(crate) idle: f64,
    pub(crate) after_large: f64,
    pub(crate) after_churn: f64,
}

/// Memory for each idle WebSocket connection, fresh and after use.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn idle_websockets(connections: usize, server: &Server) -> Result<IdleMemory> {
    let script = script::websocket();
    let mut clients = Clients::new(server.address, Waiting::Sleep)?;
    let base = base_memory(&mut clients, &script, server)?;
    let each = |resident: u64| resident.saturating_sub(base) as f64 / connections as f64;

    clients.open(0..connections, OPENING, &script)?;
    let idle = each(settled_memory(server.process(), &mut clients, SETTLING)?);

    let (request, expected, _) = conversation(Kind::EchoText, LARGE);
    let mut large = vec![Step::send(request)];
    large.extend(expected.into_iter().map(Step::Expect));
    clients.replay(0..connections, EXCHANGING, &large)?;
    let after_large = each(settled_memory(server.process(), &mut clients, SETTLING)?);

    let churned = connections / 10;
    clients.drop_range(0..churned);
    settled_memory(server.process(), &mut clients, SETTLING)?;
    clients.open(0..churned, OPENING, &script)?;
    let after_churn = each(settled_memory(server.process(), &mut clients, SETTLING)?);
    Ok(IdleMemory { base, idle, after_large, after_churn })
}

/// Memory for each long-polling session whose GET the server holds, and the size before the first one.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or stops answering.
pub(crate) fn idle_polls(connections: usize, server: &Server) -> Result<(u64, f64)> {
    let script = script::held_poll();
    let mut clients = Clients::new(server.address, Waiting::Sleep)?;
    let base = base_memory(&mut clients, &script, server)?;
    clients.open(0..connections, OPENING, &script)?;
    let resident = settled_memory(server.process(), &mut clients, SETTLING)?;
    Ok((base, resident.saturating_sub(base) as f64 / connections as f64))
}

/// The size of a server that has served a few clients, so that what it sets up once is not put on the account
/// of the connections.
fn base_memory(clients: &mut Clients, script: &[Step], server: &Server) -> Result<u64> {
    const FEW: usize = 16;
    clients.open(0..FEW, FEW, script)?;
    clients.drop_range(0..FEW);
    Ok(settled_memory(server.process(), clients, SETTLING)?)
}
