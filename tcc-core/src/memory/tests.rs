//! What the in-memory store adds to the state machine: time, queues, timers, listings and forgetting.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
};

use futures_util::{FutureExt, poll};

use super::*;
use crate::{
    machine::{Answer, Begin, Close, CloseDrive, Create, Decide, Drive, How, NewBranch, Register},
    name::CallId,
    payload::Payload,
    record::{Direction, Reason, Seen},
};

mod operator;

const BEGUN_AT: u64 = 1_000_000;
const LEASE_MS: u64 = 10_000;
const RETENTION_MS: u64 = 60_000;

fn text<T: std::str::FromStr<Err: fmt::Debug>>(text: &str) -> T {
    text.parse().expect("valid text")
}

struct Bench {
    store: MemoryStore,
    clock: Arc<AtomicU64>,
}

impl Bench {
    fn new(shards: u16) -> Self {
        let clock = Arc::new(AtomicU64::new(BEGUN_AT));
        let hand = clock.clone();
        let store = MemoryStore::with(shards, move || Timestamp::from_millis(hand.load(Ordering::Relaxed)));
        Self { store, clock }
    }

    fn wait(&self, millis: u64) {
        self.clock.fetch_add(millis, Ordering::Relaxed);
    }

    fn apply(&self, gid: &Gid, op: impl Into<Op>) -> Answer {
        self.store.apply_now(gid, &op.into()).0.result.expect("is not refused")
    }

    fn create(&self, gid: &Gid, key: Option<&str>) -> Create {
        Create {
            gid: gid.clone(),
            name: text("checkout"),
            key: key.map(text),
            initiator: text("initiator"),
            deadline_at: Timestamp::from_millis(BEGUN_AT + 30_000),
            lease_ms: LEASE_MS,
            retention_ms: RETENTION_MS,
        }
    }

    fn begin(&self, number: u64, shard: u16, key: Option<&str>) -> Gid {
        let gid = gid(number, shard);
        self.apply(&gid, Begin { create: self.create(&gid, key), again_after_cancel: false });
        gid
    }

    /// Begins one with a branch of each of these participants.
    fn trying(&self, number: u64, shard: u16, participants: &[&str]) -> Gid {
        let gid = self.begin(number, shard, None);
        let branch = |(n, participant): (u32, &&str)| NewBranch {
            call: CallId::top(n),
            runner: None,
            trace: None,
            action: text(&format!("{participant}.book@1")),
            arguments: Payload::from_json("{}"),
        };
        let branches = (1..).zip(participants).map(branch).collect();
        self.apply(&gid, Register { create: None, branches, branches_max: 9, payload_bytes_max: 999 });
        gid
    }

    /// Begins and cancels one with a branch of each of these participants.
    fn cancelling(&self, number: u64, shard: u16, participants: &[&str]) -> Gid {
        let gid = self.trying(number, shard, participants);
        self.apply(&gid, cancel());
        gid
    }

    async fn due(&self, shard: u16, max: usize) -> Vec<Gid> {
        let due = self.store.due(shard, max).await.expect("answers");
        due.into_iter().map(|(gid, _)| gid).collect()
    }

    async fn open(&self, shard: u16, after: Option<&Gid>, max: usize) -> Vec<Gid> {
        self.store.open(shard, after, max).await.expect("answers")
    }
}

fn gid(number: u64, shard: u16) -> Gid {
    Gid::new(Timestamp::from_millis(BEGUN_AT), number, shard)
}

fn cancel() -> Decide {
    Decide {
        direction: Direction::Cancel,
        reason: Reason::Aborted,
        by: text("initiator"),
        create: None,
        heard: Vec::new(),
        inline: None,
    }
}

fn bell(gid: &Gid, participant: &str) -> Doorbell {
    Doorbell { gid: gid.clone(), participant: text(participant) }
}

#[tokio::test]
async fn a_listener_gets_its_participants_messages_in_the_order_they_were_rung() {
    let bench = Bench::new(1);
    let first = bench.cancelling(1, 0, &["stock", "pay"]);
    let second = bench.cancelling(2, 0, &["mail", "stock"]);
    let mut bells = bench.store.listen(&text("worker"), &[text("stock"), text("mail")]).await.unwrap();
    let mut take = |max| bells.next(max).now_or_never().expect("something is rung").unwrap();
    assert_eq!(take(2), [bell(&first, "stock"), bell(&second, "mail")]);
    assert_eq!(take(2), [bell(&second, "stock")]);
    assert_eq!(bench.store.standing(), BTreeSet::from([bell(&first, "pay")]), "a message taken is gone");
}

#[tokio::test]
async fn a_listener_waits_until_its_participant_is_rung_for() {
    let bench = Bench::new(1);
    let mut bells = bench.store.listen(&text("worker"), &[text("stock")]).await.unwrap();
    let mut waiting = bells.next(0);
    assert!(poll!(&mut waiting).is_pending(), "nothing is rung");
    bench.cancelling(1, 0, &["pay"]);
    assert!(poll!(&mut waiting).is_pending(), "another's message");
    let gid = bench.trying(2, 0, &["stock"]);
    assert!(poll!(&mut waiting).is_pending(), "not decided yet");
    bench.apply(&gid, cancel());
    assert_eq!(poll!(&mut waiting).map(Result::unwrap), Poll::Ready(vec![bell(&gid, "stock")]));
}

#[tokio::test]
async fn due_lists_whose_timer_ran_out_earliest_first_and_bounded() {
    let bench = Bench::new(2);
    let early = bench.begin(3, 0, None);
    bench.wait(1);
    let late = bench.begin(1, 0, None);
    bench.wait(LEASE_MS - 2);
    assert!(bench.due(0, 9).await.is_empty());
    bench.wait(1);
    assert_eq!(bench.due(0, 9).await, vec![early.clone()]);
    bench.wait(1);
    assert_eq!(bench.due(0, 9).await, [early.clone(), late]);
    assert_eq!(bench.due(0, 1).await, [early]);
    assert!(bench.due(1, 9).await.is_empty());
}

#[tokio::test]
async fn open_lists_what_is_not_final_in_the_order_of_ids_page_by_page() {
    let bench = Bench::new(2);
    let all: Vec<_> = [1, 2, 3].map(|number| bench.begin(number, 0, None)).into();
    let done = bench.begin(4, 0, None);
    bench.apply(&done, cancel());
    let elsewhere = bench.begin(5, 1, None);
    assert_eq!(bench.open(0, None, 9).await, all);
    assert_eq!(bench.open(0, None, 2).await, all[..2]);
    assert_eq!(bench.open(0, Some(&all[1]), 2).await, all[2..]);
    assert_eq!(bench.open(1, None, 9).await, [elsewhere]);
}

#[tokio::test]
async fn keys_are_found_on_whatever_shard_they_are() {
    let bench = Bench::new(3);
    let gid = bench.begin(1, 2, Some("order 17"));
    let find = |name: &str, key: &str| {
        let (store, name, key) = (bench.store.clone(), text::<Name>(name), text::<BusinessKey>(key));
        async move { store.find(&name, &key).await.unwrap() }
    };
    assert_eq!(find("checkout", "order 17").await, Some(gid));
    assert_eq!(find("checkout", "order 18").await, None);
    assert_eq!(find("refund", "order 17").await, None);
}

#[tokio::test]
async fn loading_tells_a_record_or_that_there_is_none() {
    let bench = Bench::new(1);
    let gid = bench.begin(1, 0, None);
    assert_eq!(bench.store.load(&gid).await.unwrap().unwrap().gid, gid);
    bench.store.lose(&gid);
    assert_eq!(bench.store.load(&gid).await.unwrap(), None);
    assert!(bench.store.timers().is_empty());
}

#[tokio::test]
async fn each_shards_time_never_goes_back() {
    let bench = Bench::new(2);
    bench.wait(500);
    assert_eq!(bench.store.now(0).await.unwrap().as_millis(), BEGUN_AT + 500);
    bench.clock.store(BEGUN_AT, Ordering::Relaxed);
    assert_eq!(bench.store.now(0).await.unwrap().as_millis(), BEGUN_AT + 500);
    assert_eq!(bench.store.now(1).await.unwrap().as_millis(), BEGUN_AT);
    let again =
        bench.store.apply(&gid(1, 0), &Op::Sweep(machine::Sweep { by: text("sweeper") })).await.unwrap();
    assert_eq!(again.now.as_millis(), BEGUN_AT + 500);
}

#[tokio::test]
async fn an_alarm_is_held_until_its_time_or_as_long_as_it_rests() {
    let store = MemoryStore::with(2, Timestamp::default);
    let ids = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let take = async |shard, names: &[&str], now, until| {
        let (now, until) = (Timestamp::from_millis(now), Timestamp::from_millis(until));
        store.take_alarms(shard, &ids(names), now, until).await.unwrap()
    };
    assert_eq!(take(0, &["a", "b"], 100, 160).await, [true, true]);
    assert_eq!(take(0, &["b", "c"], 159, 170).await, [false, true], "held, though another asks");
    assert_eq!(take(1, &["a"], 159, 170).await, [true], "another shard's");
    assert_eq!(take(0, &["a", "c"], 160, 220).await, [true, false], "until its time, not after");
    store.rest_alarms(0, &ids(&["a"]), Timestamp::from_millis(900)).await.unwrap();
    assert_eq!(take(0, &["a", "b"], 899, 960).await, [false, true]);
    assert_eq!(take(0, &["a"], 900, 960).await, [true]);
}

#[test]
fn the_number_of_shards_is_kept_between_one_and_the_most_there_can_be() {
    assert_eq!(MemoryStore::new().shards(), 1);
    assert_eq!(MemoryStore::with(0, Timestamp::default).shards(), 1);
    assert_eq!(MemoryStore::with(5, Timestamp::default).shards(), 5);
    assert_eq!(MemoryStore::with(u16::MAX, Timestamp::default).shards(), SHARDS_MAX);
}

#[test]
fn transitions_are_counted_over_all_shards() {
    let bench = Bench::new(2);
    for (number, shard) in [(1, 0), (2, 0), (3, 1)] {
        bench.begin(number, shard, None);
    }
    assert_eq!(bench.store.transitions(), BTreeMap::from([(Transition::Begun, 3)]));
}

#[test]
fn a_failover_takes_back_what_was_written_since_and_counts_it_still() {
    let bench = Bench::new(2);
    let kept = bench.begin(1, 1, None);
    let snapshot = bench.store.snapshot();
    let lost = bench.begin(2, 0, None);
    bench.apply(&kept, cancel());
    bench.store.restore(&snapshot);
    let records: Vec<_> =
        bench.store.records().into_iter().map(|record| (record.gid, record.state)).collect();
    assert_eq!(records, [(kept, crate::record::TransactionState::Trying)], "{lost} was begun since");
    assert_eq!(bench.store.transitions().get(&Transition::Begun), Some(&2));
}

#[test]
fn records_are_listed_over_all_shards_in_the_order_of_ids() {
    let bench = Bench::new(2);
    let all: Vec<_> = [(3, 0), (2, 1), (1, 0)].map(|(number, shard)| bench.begin(number, shard, None)).into();
    let listed: Vec<_> = bench.store.records().into_iter().map(|record| record.gid).collect();
    assert_eq!(listed, all.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn expired_records_are_forgotten_a_bounded_number_at_a_time() {
    let bench = Bench::new(1);
    for number in 0..200 {
        let gid = bench.begin(number, 0, None);
        bench.apply(&gid, cancel());
    }
    bench.wait(RETENTION_MS);
    assert_eq!(bench.store.records().len(), 200 - FORGET_MAX);
    assert_eq!(bench.store.records().len(), 200 - 2 * FORGET_MAX);
}

#[test]
fn a_record_that_ends_is_kept_from_its_last_end_on() {
    let bench = Bench::new(1);
    let gid = bench.cancelling(1, 0, &["stock"]);
    let claim = machine::ClaimWork {
        participants: vec![text("stock")],
        token: crate::record::Token(1),
        lease_ms: LEASE_MS,
        except: Vec::new(),
        own: None,
    };
    let Answer::Claimed(drives) = bench.apply(&gid, claim) else { panic!("claims") };
    let Drive { ordinal, epoch, direction, .. } = drives[0];
    let how = How::Done { seen: Seen::Unknown };
    bench.apply(&gid, Close { drives: vec![CloseDrive { ordinal, epoch, direction, how }] });
    bench.wait(RETENTION_MS - 1);
    assert_eq!(bench.store.records().len(), 1);
    bench.wait(1);
    assert!(bench.store.records().is_empty());
}

#[test]
fn a_store_prints_no_record() {
    let bench = Bench::new(2);
    bench.begin(1, 0, None);
    assert_eq!(format!("{:?}", bench.store), "MemoryStore { shards: 2, .. }");
}
