//! Runs the cases of a bench: timed by criterion, or a given number of times for who counts instructions.
//!
//! `cargo bench` times. `cargo xtask bench --instructions` asks for `names`, and runs `run NAME TIMES` under
//! callgrind; the difference between two numbers of times is what one turn costs.

use std::process::exit;

use criterion::{Criterion, Throughput};

/// Something small that is done again and again. It checks what comes out, so that it cannot be fast by failing.
pub(crate) struct Case {
    name: &'static str,
    /// What it works on, for a rate beside the time.
    bytes: u64,
    /// How often to do it when instructions are counted: enough to make one turn of a table that grows not matter.
    times: u32,
    turn: Box<dyn FnMut()>,
}

impl Case {
    pub(crate) fn new(name: &'static str, bytes: usize, times: u32, turn: impl FnMut() + 'static) -> Self {
        Self { name, bytes: bytes as u64, times, turn: Box::new(turn) }
    }
}

/// Does what the command line asks for.
pub(crate) fn main(cases: Vec<Case>) {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["names"] => cases.iter().for_each(|case| println!("{} {}", case.times, case.name)),
        ["run", name, times] => run(cases, name, times),
        _ => time(cases),
    }
}

fn run(cases: Vec<Case>, name: &str, times: &str) {
    let case = cases.into_iter().find(|case| case.name == name);
    let (Some(mut case), Ok(times)) = (case, times.parse::<u32>()) else {
        eprintln!("no case is called {name}, or {times} is no number");
        exit(1);
    };
    for _ in 0..times {
        (case.turn)();
    }
}

fn time(cases: Vec<Case>) {
    let mut criterion = Criterion::default().configure_from_args();
    for mut case in cases {
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(Throughput::Bytes(case.bytes));
        group.bench_function("time", |bencher| bencher.iter(&mut case.turn));
        group.finish();
    }
    criterion.final_summary();
}
