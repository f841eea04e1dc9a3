//! Every target with its seeds, and with seeds that are changed a little, from a fixed number on.

#![allow(clippy::print_stdout, reason = "scripts/prove reads it")]

use fuzz::TARGETS;

/// Xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A seed with one to four changes.
fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next() as u8,
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 => bytes.insert(at, random.next() as u8),
            4 => bytes.truncate(at),
            5 => {
                let (from, to) = (random.below(at + 1), at);
                let part = bytes[from..to].to_vec();
                let place = random.below(bytes.len() + 1);
                bytes.splice(place..place, part);
            }
            _ => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        // Long enough for all there is to read, and short enough to be fast.
        bytes.truncate(16_384);
    }
    bytes
}

fn feed(name: &str) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let seeds = (target.seeds)();
    seeds.iter().for_each(|seed| (target.run)(seed));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    // `TCC_FUZZ_TIMES` asks for more runs.
    let times = std::env::var("TCC_FUZZ_TIMES").map_or(1, |times| times.parse().expect("TCC_FUZZ_TIMES"));
    let (started, runs) = (std::time::Instant::now(), target.runs * times);
    for run in 0..runs {
        let bytes = mutated(&mut random, &seeds);
        let kept = bytes.clone();
        let outcome = std::panic::catch_unwind(move || (target.run)(&bytes));
        assert!(outcome.is_ok(), "run {run} of {name}: {:?}", String::from_utf8_lossy(&kept));
    }
    println!(
        "PROOF layer=fuzz-{name} runs={runs} faults={runs} violations=0 seconds={:.1}",
        started.elapsed().as_secs_f64()
    );
}

#[test]
fn fuzz_record() {
    feed("record");
}

#[test]
fn fuzz_message() {
    feed("message");
}

#[test]
fn fuzz_answer() {
    feed("answer");
}

#[test]
fn fuzz_names() {
    feed("names");
}

#[test]
fn fuzz_headers() {
    feed("headers");
}

#[test]
fn fuzz_arguments() {
    feed("arguments");
}

/// For the fuzzer, which begins with them: `cargo test -p fuzz corpora -- --ignored`.
#[test]
#[ignore = "writes the seeds to libfuzzer/corpus"]
fn corpora() {
    for target in TARGETS {
        let directory = format!("{}/libfuzzer/corpus/{}", env!("CARGO_MANIFEST_DIR"), target.name);
        std::fs::create_dir_all(&directory).expect("a directory");
        for (place, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(format!("{directory}/seed-{place:04}"), seed).expect("a file");
        }
    }
}

#[test]
fn every_target_has_one_of_its_own_for_the_fuzzer() {
    for target in TARGETS {
        let path = format!("{}/libfuzzer/fuzz_targets/{}.rs", env!("CARGO_MANIFEST_DIR"), target.name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(text.contains(&format!("\"{}\"", target.name)), "{path} runs another target");
    }
    let files = std::fs::read_dir(format!("{}/libfuzzer/fuzz_targets", env!("CARGO_MANIFEST_DIR")));
    assert_eq!(files.expect("a directory").count(), TARGETS.len());
}
