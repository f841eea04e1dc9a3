//! Records: what is read is whole, and holds together.

use tcc_core::testing::sequences::Generator;
use tcc_core::{
    Gid, Timestamp,
    record::{BranchState, Record},
};
use tcc_redis::decoding;

use crate::bench::with_bench;

/// Each line is a field and its value.
pub(crate) fn run(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').take(4_096);
    let fields = lines.filter_map(|line| {
        let end = line.iter().position(|byte| *byte == b'=')?;
        Some((line[..end].to_vec(), line[end + 1..].to_vec()))
    });
    let gid = Gid::new(Timestamp::from_millis(1_795_000_000_000), 17, 0);
    let fields: Vec<_> = fields.collect();
    let Ok(record) = decoding::record(&gid, fields.clone()) else { return };
    assert_eq!(decoding::record(&gid, fields).as_ref(), Ok(&record), "read twice");
    check(&record);
}

fn check(record: &Record) {
    assert_eq!(
        record.decision.is_none(),
        record.state == tcc_core::record::TransactionState::Trying,
        "{record:?}"
    );
    assert_eq!(record.ended_at.is_some(), record.state.is_final(), "{record:?}");
    for branch in &record.branches {
        if let Some(arguments) = &branch.arguments {
            assert!(arguments.as_str().len() <= 4_194_304);
        }
        let is_final = matches!(branch.state, BranchState::Confirmed | BranchState::Cancelled);
        assert!(is_final || !record.state.is_final(), "final with an open branch: {record:?}");
        assert!(branch.parked.is_none() || branch.state.open_direction().is_some(), "{record:?}");
    }
}

/// As Redis keeps them, from the sequences that both stores are compared by.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    with_bench(|bench, tokio| {
        let mut seeds = Vec::new();
        for seed in 0..24 {
            tokio.block_on(bench.play(&mut Generator::new(seed), 40));
            for record in tokio.block_on(bench.records()) {
                let lines: Vec<String> =
                    record.iter().map(|(name, value)| format!("{name}={value}")).collect();
                seeds.push(lines.join("\n").into_bytes());
            }
        }
        seeds
    })
}
