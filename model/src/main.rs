//! Explores configurations of the model and prints what came of it.
//!
//! `tcc-model normal` explores what the tests explore, `tcc-model release` more; anything after it chooses
//! configurations by the beginning of their names. Ends with status 1 if a promise was broken.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what the program is for")]

use std::{process::ExitCode, time::Instant};

use tcc_model::{Config, explore, normal, release};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut configs: Vec<Config> = match arguments.next().as_deref() {
        Some("normal") => normal(),
        Some("release") => normal().into_iter().chain(release()).collect(),
        _ => {
            eprintln!("usage: tcc-model normal|release [beginning of a configuration's name]");
            return ExitCode::from(2);
        }
    };
    if let Some(beginning) = arguments.next() {
        configs.retain(|config| config.name.starts_with(&beginning));
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let started = Instant::now();
    let (mut states, mut generated, mut broken) = (0, 0, 0);
    for config in configs {
        let explored = explore(config, threads);
        println!("{explored}");
        states += explored.states;
        generated += explored.generated;
        broken += usize::from(!explored.holds());
    }
    let holds = broken == 0;
    println!("{states} states, {}", if holds { "every promise kept" } else { "FAILED" });
    let seconds = started.elapsed().as_secs_f64();
    println!("PROOF layer=model runs={states} faults={generated} violations={broken} seconds={seconds:.1}");
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
