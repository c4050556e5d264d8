//! How many messages a second a program publishes that emits from outside.
//!
//! The program says nothing of itself: Redis counts the messages, the kernel the time.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Pace, Result, Throughput};
use crate::bench::{
    clients::Waiting,
    meter::{Meter, Phase},
    redis::Redis,
    server::Running,
};

/// How often Redis is asked: each time costs it a few microseconds.
const STEP: Duration = Duration::from_millis(20);

const START_LIMIT: Duration = Duration::from_secs(20);

/// Messages published by a program that emits as fast as it can.
///
/// # Errors
///
/// If the program ends, or publishes nothing.
pub(crate) fn emitter(program: &mut Running, redis: &mut Redis, pace: Pace) -> Result<Throughput> {
    let begin = Instant::now();
    while redis.published()? == 0 {
        if begin.elapsed() > START_LIMIT || program.has_ended()? {
            return Err(program.explain("published nothing").into());
        }
        thread::sleep(STEP);
    }
    // By now it has the children it will have.
    program.refresh()?;
    let sink = redis.process().clone();
    let pace = Pace { waiting: Waiting::Sleep, ..pace };
    let mut meter = Meter::new(program.process(), pace).beside(&sink);
    loop {
        if let Phase::End(mut usage) = meter.tick(redis.published()?, Duration::ZERO)? {
            // What takes the messages here is Redis.
            usage.generator = usage.beside;
            return Ok(Throughput { usage, p50: None, p99: None });
        }
        thread::sleep(STEP);
    }
}
