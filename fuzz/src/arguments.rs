//! Arguments of the functions, on a real Redis: whatever they are, the call ends, what it does not answer well wrote
//! nothing, and no other transaction changes.

use std::collections::BTreeSet;

use tcc_core::{
    Gid,
    store::Store,
    testing::sequences::{Generator, Step},
};
use tcc_redis::decoding;

use crate::bench::{Bench, with_bench};

/// Operations before the arguments are spoiled, and spoiled ones.
const BEFORE: u8 = 24;
const SPOILED: usize = 8;

impl Bench {
    async fn spoil(&mut self, seed: u8, steps: u8, mut spoil: &[u8]) {
        let mut generator = Generator::new(u64::from(seed));
        self.play(&mut generator, steps % BEFORE).await;
        for _ in 0..SPOILED {
            if spoil.is_empty() {
                return;
            }
            let Step::Apply(gid, op) = generator.step() else { continue };
            let Ok((operation, mut arguments)) = decoding::arguments(&gid, &op) else { continue };
            let told = (operation, op);
            spoil = spoil_one(&mut arguments, spoil);
            self.send(&gid, operation, &arguments, &told).await;
        }
    }

    async fn send(
        &mut self,
        gid: &Gid,
        operation: &'static str,
        arguments: &[Vec<u8>],
        told: &impl std::fmt::Debug,
    ) {
        let was = self.digests().await;
        let suffixes = ["ready:stock", "ready:pay", "ready:mail"].map(str::to_owned).to_vec();
        let what = || {
            format!(
                "{told:?} as {:?}",
                arguments.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect::<Vec<_>>()
            )
        };
        let answer = self.store.send_step(gid, operation, arguments, suffixes).await;
        let answer = answer.unwrap_or_else(|error| {
            panic!("{error} ({:?}): {}", std::error::Error::source(&error).map(ToString::to_string), what())
        });
        let is = self.digests().await;
        let all: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        let changed: Vec<&String> = all.into_iter().filter(|key| was.get(*key) != is.get(*key)).collect();
        // A sweep lists what it cannot read, and takes off the lists what is not there.
        let is_applied =
            answer.as_deref().is_none_or(|word| ["ok", "quick"].contains(&word)) || operation == "sweep";
        assert!(is_applied || changed.is_empty(), "{answer:?} wrote {changed:?}: {}", what());
        let other = changed.iter().find(|key| key.contains(":tx:") && !key.ends_with(gid.as_str()));
        assert!(other.is_none(), "{other:?} changed: {}", what());
        // Whether or not the record can be read now, reading it ends.
        let _ = self.store.load(gid).await;
    }
}

/// Changes arguments as the bytes say, four for each change, and gives those back that are left.
fn spoil_one<'a>(arguments: &mut Vec<Vec<u8>>, mut spoil: &'a [u8]) -> &'a [u8] {
    const NUMBERS: [&str; 6] = ["-1", "0", "9007199254740993", "1e308", "nan", "3.5"];
    for _ in 0..2 {
        let Some((change, rest)) = spoil.split_at_checked(4) else { return &[] };
        spoil = rest;
        let [place, how, at, with] = change else { return spoil };
        if arguments.is_empty() {
            return spoil;
        }
        let place = usize::from(*place) % arguments.len();
        match how % 6 {
            0 => {
                if let Some(byte) = arguments[place].get_mut(usize::from(*at)) {
                    *byte ^= with;
                }
            }
            1 => drop(arguments.remove(place)),
            2 => arguments.insert(place, vec![*with; usize::from(*at) % 8]),
            3 => arguments[place] = NUMBERS[usize::from(*with) % NUMBERS.len()].into(),
            4 => arguments[place].truncate(usize::from(*at)),
            _ => {
                let other = usize::from(*at) % arguments.len();
                arguments.swap(place, other);
            }
        }
    }
    spoil
}

pub(crate) fn run(bytes: &[u8]) {
    let [seed, steps, spoil @ ..] = bytes else { return };
    with_bench(|bench, tokio| tokio.block_on(bench.spoil(*seed, *steps, spoil)));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    (0..64_u8)
        .map(|seed| (0..34_u8).map(|at| seed.wrapping_mul(37).wrapping_add(at.wrapping_mul(11))).collect())
        .collect()
}
