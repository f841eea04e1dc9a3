//! What the parts of a transaction cost the client, one by one, without Redis.
//!
//! `cargo bench -p bench`; a filter as the last argument chooses.

use std::{convert::Infallible, sync::Arc};

use divan::{Bencher, black_box};
use tcc::{CancelCx, ConfirmCx, PhaseError, Runtime, TryCx, TryOutcome};
use tcc_core::{
    CallId, Gid, MemoryStore, Name, Ordinal, Payload, Timestamp,
    machine::{self, Close, CloseDrive, Create, Decide, Heard, How, InlineClaim, NewBranch, Op, Register},
    record::{Direction, Known, Reason, Record, Seen, Token},
};
use tcc_redis::decoding;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
const ACTION: &str = "left.hold@1";
const PAYLOAD: &str = r#"{"what":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}"#;
const BRANCHES: [usize; 3] = [2, 10, 100];

fn main() {
    divan::main();
}

fn gid() -> Gid {
    Gid::new(NOW, 17, 0)
}

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

fn ordinals(count: usize) -> impl Iterator<Item = Ordinal> {
    (0..count).map(Ordinal::from_index)
}

fn register(count: usize) -> Op {
    let create = Create {
        gid: gid(),
        name: name("bench"),
        key: None,
        initiator: name("bench-1"),
        deadline_at: Timestamp::from_millis(NOW.as_millis() + 30_000),
        lease_ms: 3_000,
        retention_ms: 86_400_000,
    };
    let branches = (0..count).map(|place| NewBranch {
        call: CallId::top(place as u32 + 1),
        runner: None,
        action: ACTION.parse().expect("an action"),
        trace: None,
        arguments: Payload::from_json(PAYLOAD),
    });
    let branches = branches.collect();
    Register { create: Some(create), branches, branches_max: 1_000, payload_bytes_max: 4_194_304 }.into()
}

fn decide(count: usize) -> Op {
    let known = || Some(Known::Succeeded(Payload::from_json(PAYLOAD)));
    Decide {
        direction: Direction::Confirm,
        reason: Reason::Committed,
        by: name("bench-1"),
        create: None,
        heard: ordinals(count).map(|ordinal| Heard { ordinal, known: known() }).collect(),
        inline: Some(InlineClaim {
            token: Token(7),
            lease_ms: 3_000,
            branches: ordinals(count).collect(),
            actions: ordinals(count).map(|_| ACTION.parse().expect("an action")).collect(),
        }),
    }
    .into()
}

fn close(count: usize) -> Op {
    let drives = ordinals(count).map(|ordinal| CloseDrive {
        ordinal,
        epoch: 1,
        direction: Direction::Confirm,
        how: How::Done { seen: Seen::Succeeded },
    });
    Close { drives: drives.collect() }.into()
}

/// The three operations of a transaction, through the state machine.
#[divan::bench(args = BRANCHES)]
fn state_machine(bencher: Bencher<'_, '_>, branches: usize) {
    let ops = [register(branches), decide(branches), close(branches)];
    bencher.bench_local(|| {
        let mut record: Option<Record> = None;
        for op in &ops {
            assert!(machine::apply(&mut record, None, black_box(op), NOW).result.is_ok());
        }
        record
    });
}

/// The three operations of a transaction, as arguments of the functions in Redis.
#[divan::bench(args = BRANCHES)]
fn encoding_operations(bencher: Bencher<'_, '_>, branches: usize) {
    let (gid, ops) = (gid(), [register(branches), decide(branches), close(branches)]);
    bencher.bench_local(|| {
        for op in &ops {
            black_box(decoding::arguments(&gid, black_box(op)).expect("it can be written"));
        }
    });
}

/// The answer to a claim, which carries the most.
#[divan::bench(args = BRANCHES)]
fn decoding_answers(bencher: Bencher<'_, '_>, branches: usize) {
    let bulk = |text: &str| format!("${}\r\n{text}\r\n", text.len());
    let words = ["1", "confirm", "1", "1", "1", PAYLOAD, "succeeded", PAYLOAD, "-1", "-1", "3000"];
    let drive: String = [words[0], ACTION].iter().chain(&words[1..]).map(|word| bulk(word)).collect();
    let drives: String = (0..branches).map(|_| format!("*12\r\n{drive}")).collect();
    let (ok, confirm, committed) = (bulk("ok"), bulk("confirm"), bulk("committed"));
    let answer = format!("*4\r\n{ok}*{branches}\r\n{drives}{confirm}{committed}").into_bytes();
    let claim: Op = machine::ClaimWork {
        participants: vec![name("left")],
        token: Token(7),
        lease_ms: 3_000,
        except: vec![],
        own: None,
    }
    .into();
    bencher.bench_local(|| decoding::reply(&claim, black_box(&answer)).expect("it can be read"));
}

struct Left;

#[tcc::participant(name = "left")]
impl Left {
    #[tcc(try, confirm = confirm_hold, cancel = cancel_hold)]
    async fn hold(&self, _cx: &TryCx, what: String) -> Result<String, Infallible> {
        Ok(what)
    }

    async fn confirm_hold(&self, _cx: &ConfirmCx, _what: String, _held: String) -> Result<(), PhaseError> {
        Ok(())
    }

    async fn cancel_hold(
        &self,
        _cx: &CancelCx,
        _what: String,
        _held: TryOutcome<String>,
    ) -> Result<(), PhaseError> {
        Ok(())
    }
}

/// A whole transaction on the store in memory: the runtime's own work, and the dispatch of each branch's try and
/// confirm through what the macro made.
#[divan::bench(args = BRANCHES)]
fn dispatch(bencher: Bencher<'_, '_>, branches: usize) {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let runtime = tokio.block_on(async {
        let builder = Runtime::builder().store(MemoryStore::new()).participant(Left);
        Arc::new(builder.start().await.expect("a runtime"))
    });
    bencher.bench_local(|| {
        tokio.block_on(async {
            let open = runtime.transaction("bench").begin().await.expect("begun");
            let tries = (0..branches).map(|_| LeftTcc::new(&open).hold(PAYLOAD.to_owned()));
            tcc::try_join_all(tries).await.expect("tried");
            let ending = open.commit().await.expect("decided");
            ending.wait(std::time::Duration::from_secs(10)).await.expect("ended")
        })
    });
}
