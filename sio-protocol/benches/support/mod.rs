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
    make: Box<dyn FnOnce() -> Turn>,
}

type Turn = Box<dyn FnMut()>;

impl Case {
    /// Names what `make` prepares, which it does only if it is asked for.
    pub(crate) fn new<F: FnMut() + 'static>(
        name: &'static str,
        bytes: usize,
        times: u32,
        make: impl FnOnce() -> F + 'static,
    ) -> Self {
        Self { name, bytes: bytes as u64, times, make: Box::new(|| Box::new(make())) }
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
    let (Some(case), Ok(times)) = (case, times.parse::<u32>()) else {
        eprintln!("no case is called {name}, or {times} is no number");
        exit(1);
    };
    let mut turn = (case.make)();
    for _ in 0..times {
        turn();
    }
}

fn time(cases: Vec<Case>) {
    let mut criterion = Criterion::default().configure_from_args();
    for case in cases {
        let mut group = criterion.benchmark_group(case.name);
        group.throughput(Throughput::Bytes(case.bytes));
        let mut turn = (case.make)();
        group.bench_function("time", |bencher| bencher.iter(&mut turn));
        group.finish();
    }
    criterion.final_summary();
}
