//! Messages to rooms of which a few members are read at once and the others now and then, so that nearly all work is the
//! server's: for comparing one worker thread with two where the load has no core of its own.

use std::time::{Duration, Instant};

use super::{Pace, Result, Throughput, rooms, text};
use crate::bench::{
    clients::Clients,
    meter::{Meter, Phase},
    script::{Expected, Step},
    server::Server,
    wire::TEXT,
};

/// Rooms whose first member sends the next message when all those who are read at once have got the last one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    pub(crate) rooms: usize,
    pub(crate) members: usize,
    pub(crate) size: usize,
}

/// One member in so many is read at once: few enough to cost little, and so many that a server has to have sent a message
/// to nearly all before the next one comes, which it could otherwise send together with it.
const ONE_IN: usize = 16;

/// The others are read when so many messages wait for each: that costs hardly more than reading one, and is far from
/// what the kernel holds for a client.
const READ_EVERY: u64 = 64;

/// How long the last deliveries may take.
const LATE_AFTER: Duration = Duration::from_secs(10);

/// Whoever is read at once counts for the others. In the end every member has to have had every message once.
///
/// # Errors
///
/// If the server answers anything but what the contract says, or a member misses a message or gets it twice.
pub(crate) fn paced(plan: &Paced, server: &Server, pace: Pace) -> Result<Throughput> {
    let &Paced { rooms, members, size } = plan;
    let mut clients = Clients::new(server.address, pace.waiting)?;
    rooms::open_members(rooms, members, 0, &mut clients)?;
    let payload = "x".repeat(size);
    let requests: Vec<Vec<u8>> =
        (0..rooms).map(|room| text(&format!(r#"42["bcast","room{room}","{payload}"]"#))).collect();
    let send = |clients: &mut Clients, room: usize| clients.send(room * members, &requests[room]);

    for room in 0..rooms {
        send(&mut clients, room)?;
    }
    let delivery = Expected::Text(format!(r#"42["bcast","{payload}"]"#));
    clients.replay(0..rooms * members, rooms * members, &[Step::Expect(delivery)])?;
    let at_once = |index: usize| (index % members).is_multiple_of(ONE_IN);
    for index in (0..rooms * members).filter(|index| !at_once(*index)) {
        clients.mute(index..index + 1)?;
    }

    let mut sent = vec![1_u64; rooms];
    let mut got = vec![0_u64; rooms];
    let readers = members.div_ceil(ONE_IN) as u64;
    let mut read = vec![0_u64; rooms * members];
    let mut meter = Meter::new(server.process(), pace);
    for room in 0..rooms {
        send(&mut clients, room)?;
    }
    let usage = loop {
        clients.wait()?;
        clients.exchange(TEXT, |index, messages| {
            got[index / members] += messages as u64;
            read[index] += messages as u64;
            None
        })?;
        for room in 0..rooms {
            if got[room] < sent[room] * readers {
                continue;
            }
            if sent[room].is_multiple_of(READ_EVERY) {
                read_all(&mut clients, room * members..(room + 1) * members, &mut read)?;
            }
            send(&mut clients, room)?;
            sent[room] += 1;
        }
        let count = got.iter().sum::<u64>() * members as u64 / readers;
        if let Phase::End(usage) = meter.tick(count, clients.idle())? {
            break usage;
        }
    };
    settle(&mut clients, plan, &sent, &mut read)?;
    Ok(Throughput { usage, p50: None, p99: None })
}

fn read_all(clients: &mut Clients, range: std::ops::Range<usize>, read: &mut [u64]) -> Result<()> {
    Ok(clients.collect(range, TEXT, |index, messages| read[index] += messages as u64)?)
}

/// Reads until everybody has what was sent, and no more than that.
fn settle(clients: &mut Clients, plan: &Paced, sent: &[u64], read: &mut [u64]) -> Result<()> {
    let deadline = Instant::now() + LATE_AFTER;
    loop {
        read_all(clients, 0..read.len(), read)?;
        let due = |index: usize| sent[index / plan.members];
        if let Some(index) = (0..read.len()).find(|index| read[*index] > due(*index)) {
            return Err(format!("connection {index} got more messages than were sent").into());
        }
        let Some(behind) = (0..read.len()).find(|index| read[*index] < due(*index)) else { return Ok(()) };
        if Instant::now() > deadline {
            return Err(
                format!("connection {behind} got {} of {} messages", read[behind], due(behind)).into()
            );
        }
        std::thread::yield_now();
    }
}
