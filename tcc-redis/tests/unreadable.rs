//! A record that cannot be read, or a key of another type, holds up nothing else and is listed with its
//! cause.

mod support;

use support::{
    harm::{
        Harm::{self, Append, Delete, Replace, Set},
        harm,
    },
    server::{Server, ask},
    story::{MAIL, STOCK, Story, succeeded},
};
use tcc_core::{
    machine::How,
    record::{Direction, ParkCause, TransactionState},
    store::{Store, StoreErrorKind},
};
use tcc_redis::{Durability, RedisStore};

async fn store(server: &Server) -> RedisStore {
    RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("the store")
}

const MOMENT: &str = "2026-11-21T05:10:00.000Z";

/// Harm to an undecided record, and the field it is found in.
const TO_TRYING: &[(Harm, &str)] = &[
    (Replace("record", "format=1", "format=2"), "record"),
    (Replace("record", "format=1 ", ""), "record"),
    (Delete("record"), "record"),
    (Set("name", "with space"), "name"),
    (Delete("name"), "name"),
    (Replace("record", "keep_ms=", "keep_ms=1h"), "record"),
    (Replace("record", "keep_ms=", ""), "record"),
    (Replace("record", "branches=3", "branches=three"), "record"),
    (Replace("record", "branches=3", "branches=100000"), "record"),
    (Replace("record", "branches=3 ", ""), "record"),
    (Append("record", " seen"), "record"),
    (Append("record", "looked"), "record"),
    (Replace("record", "branches=3", "branches=2"), "record"),
    (Replace("record", "branches=3", "branches=1"), "record"),
    (Replace("record", "branches=3", "branches=4"), "04"),
    (Set("state", "tried"), "state"),
    (Delete("state"), "state"),
    (Set("decided", "2026-11-21T05:10:00.000Z confirm committed"), "decided"),
    (Set("held", "lease=2026-11-21T05:10:00.000Z"), "held"),
    (Set("ended", MOMENT), "ended"),
    (Set("bells", "mail rung=1 again=2026-11-21T05:10:00.000Z entry=1-0"), "bells"),
    (Set("begun", "yesterday by shop-1"), "begun"),
    (Set("begun", "2026-11-21T05:10:00.000Z"), "begun"),
    (Set("begun", "2026-11-21T05:10:00.000Z by with space"), "begun"),
    (Set("begun", "2026-11-21T05:10:00.000Z by "), "begun"),
    (Set("begun", "2026-11-21T05:10:00.000Z to shop-1"), "begun"),
    (Delete("begun"), "begun"),
    (Set("until", "lease=2026-11-21T05:10:00.000Z deadline=2026-02-30T05:10:00.000Z"), "until"),
    (Set("until", "lease=2026-11-21T25:10:00.000Z deadline=2026-11-21T05:10:00.000Z"), "until"),
    (Set("until", "lease=2026-11-21T05:60:00.000Z deadline=2026-11-21T05:10:00.000Z"), "until"),
    (Set("until", "lease=2026-11-21T05:10:60.000Z deadline=2026-11-21T05:10:00.000Z"), "until"),
    (Replace("until", "lease=", "least="), "until"),
    (Replace("until", " deadline=", " deadlane="), "until"),
    (Append("until", " "), "until"),
    (Delete("until"), "until"),
    (Delete("02"), "02"),
    (Set("02", ""), "02"),
    (Set("02", "pay.authorize@1"), "02"),
    (Set("02", "pay.authorize@1 call=2"), "02"),
    (Set("02", "pay.authorize@1 arguments=21:3c0bb972"), "02"),
    (Replace("01", "stock.reserve@1", "stock"), "01"),
    (Replace("01", "call=1", "call=one"), "01"),
    (Replace("01", "arguments=", "arguments=x"), "01"),
    (Append("01", " runner=1"), "01"),
    (Append("01", " trace=00-1-1-01"), "01"),
    (Append("01", " trace=00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"), "01"),
    (Append("01", " colour=red"), "01"),
    (Append("01", " red"), "01"),
    (Append("01", " attempts=0"), "01"),
    (Set("01.state", ""), "01.state"),
    (Set("01.state", "tried"), "01.state"),
    (Set("01.state", "tried=1 succeeded"), "01.state"),
    (Replace("01.state", "tried", "tryed"), "01"),
    (Replace("01.state", "tried", "confirming"), "01"),
    (Replace("01.state", "succeeded", "maybe"), "01"),
    (Replace("01.state", "tried", "trying"), "01"),
    (Set("01.state", "tried refused"), "01"),
    (Set("01.state", "tried unknown"), "01"),
    (Replace("01.result", "11:", "11"), "01.result"),
    (Replace("01.result", " ", ""), "01.result"),
    (Delete("01.result"), "01.result"),
    (Set("02.state", "refused succeeded"), "02"),
    (Set("02.state", "refused unknown"), "02"),
    (Append("02.state", " result=1:12345678"), "02.state"),
    (Set("02.result", "11:75c5dfeb {\"hold\":17}"), "02.result"),
    (Append("02.state", " attempts=some"), "02.state"),
    (Append("02.state", " attempts=1"), "02.state"),
    (Append("02.state", " red"), "02.state"),
    (Set("02.state", "refused refused held"), "held"),
    (Set("02.state", "refused refused once"), "02"),
    (Set("03.state", "trying succeeded"), "03"),
    (Set("03.state", "trying refused"), "03"),
    (Set("03.drive", "epoch=1"), "03.drive"),
    (Set("03.drive", "epoch=1 token=0000000000000001"), "03.drive"),
    (Set("03.drive", "token=0000000000000001 lease=2026-11-21T05:10:00.000Z"), "03.drive"),
    (Set("03.drive", "lease=2026-11-21T05:10:00.000Z"), "03.drive"),
    (Set("03.drive", "closed=final"), "03.drive"),
    (Set("03.drive", "epoch=1 token=0000000000000001 lease=2026-11-21T05:10:00.000Z"), "03"),
    (Set("03.drive", "epoch=1 token=1 lease=2026-11-21T05:10:00.000Z"), "03.drive"),
    (Set("03.drive", "epoch=one"), "03.drive"),
    (Set("03.drive", "closed=rescheduled@soon"), "03.drive"),
    (Set("03.drive", "closed=FINAL"), "03.drive"),
    (Set("03.drive", "red"), "03.drive"),
    (Set("03.drive", "next=2026-11-21T05:10:00.000Z"), "03.drive"),
    (Set("03.wait", "parked=handler since=2026-11-21T05:10:00.000Z"), "03"),
    (Set("03.wait", "parked=handler"), "03.wait"),
    (Set("03.wait", "since=2026-11-21T05:10:00.000Z"), "03.wait"),
    (Set("03.wait", "next=soon"), "03.wait"),
    (Set("03.wait", "ongoing=soon"), "03.wait"),
    (Set("03.wait", "unhandled=soon"), "03.wait"),
    (Set("03.wait", "red"), "03.wait"),
    (Set("03.wait", "call=3"), "03.wait"),
];

/// Harm to a record that is being confirmed.
const TO_CONFIRMING: &[(Harm, &str)] = &[
    (Delete("decided"), "decided"),
    (Replace("decided", "confirm", "cancel"), "decided"),
    (Replace("decided", "confirm", "conform"), "decided"),
    (Replace("decided", "committed", "because"), "decided"),
    (Replace("decided", " committed", ""), "decided"),
    (Replace("decided", "2", "soon"), "decided"),
    (Append("decided", " by with space"), "decided"),
    (Append("decided", " shop-2"), "decided"),
    (Append("decided", " by "), "decided"),
    (Set("state", "cancelling"), "decided"),
    (Set("state", "trying"), "decided"),
    (Set("state", "confirmed"), "ended"),
    (Replace("record", "branches=3", "branches=2"), "record"),
    (Delete("until"), "until"),
    (Set("bells", "mail"), "bells"),
    (Set("bells", "m/l rung=1 again=2026-11-21T05:10:00.000Z entry=1-0"), "bells"),
    (Set("bells", "mail rung=1 again=soon entry=1-0"), "bells"),
    (Set("bells", "mail soon"), "bells"),
    (Set("held", "token=7"), "held"),
    (Replace("held", "token=0", "token="), "held"),
    (Replace("held", " lease=", " until="), "held"),
    (Set("held", "token=0000000000000007 lease=soon"), "held"),
    (Set("02.state", "attempts=1"), "02.state"),
    (Set("02.state", "confirming succeeded hold"), "02.state"),
    (Set("02.state", "confirming succeeded attempts=1"), "02.state"),
    (Set("02.state", "cancelling succeeded held"), "02"),
    (Set("02.state", "tried succeeded held"), "02"),
    (Set("02.state", "confirming refused held"), "02"),
    (Set("02.state", "confirming unknown held"), "02"),
    (Set("02.state", "confirming succeeded held attempts=2"), "02.state"),
    (Set("02.drive", "closed=final"), "02.drive"),
    (Set("02.drive", "epoch=1 token=0000000000000007 lease=2026-11-21T05:10:00.000Z"), "02.drive"),
    (Set("03.state", "cancelled succeeded"), "03"),
    (Append("03.state", " result=1:12345678"), "03.state"),
    (Set("03.result", "11:75c5dfeb {\"hold\":17}"), "03.result"),
    (Delete("01.drive"), "01.state"),
    (Replace("01.drive", "token=0000000000000007 ", ""), "01.drive"),
    (Replace("01.drive", "epoch=1 ", ""), "01.drive"),
    (Replace("01.drive", " closed=parked", ""), "01.drive"),
    (Replace("01.drive", "closed=parked", "closed=maybe"), "01.drive"),
    (Append("01.drive", " lease=2026-11-21T05:10:00.000Z"), "01.drive"),
    (Replace("01.state", "confirming", "confirmed"), "01"),
    (Replace("01.state", "attempts=1", "attempts=2"), "01.state"),
    (Replace("01.state", "succeeded attempts=1", "attempts=1 succeeded"), "01.state"),
    (Replace("01.wait", "parked=handler", "parked=handled"), "01.wait"),
    (Replace("01.wait", " since=", " ongoing="), "01.wait"),
    (Replace("01.wait", "parked=handler", ""), "01.wait"),
    (Set("02.arguments", "{\"sku\":\"tea\",\"qty\":3}"), "02.arguments"),
    (Delete("02.arguments"), "02.arguments"),
    (Replace("02", "arguments=21:3", "arguments=21:5"), "02.arguments"),
    (Replace("02", "pay.authorize@1", "ray.authorize@1"), "02.arguments"),
    (Replace("02", "pay.authorize@1", "pay.authorize@3"), "02.arguments"),
    (Replace("02", "call=2", "call=6"), "02.arguments"),
    (Replace("02.result", "17", "18"), "02.result"),
    (Delete("02.result"), "02.result"),
    (Replace("02.result", "11:", "12:"), "02.result"),
];

/// Harm to a final record.
const TO_CANCELLED: &[(Harm, &str)] = &[
    (Delete("ended"), "ended"),
    (Set("ended", "soon"), "ended"),
    (Set("bells", "mail rung=1 again=2026-11-21T05:10:00.000Z entry=1-0"), "bells"),
    (Replace("01.state", "cancelled", "cancelling"), "state"),
    (Set("state", "confirmed"), "decided"),
    (Replace("record", "branches=2", "branches=1"), "record"),
    (Set("until", "lease=2026-11-21T05:10:00.000Z deadline=2026-11-21T05:10:00.000Z"), "until"),
];

async fn found_in(number: u64, cases: &[(Harm, &str)]) {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let story = Story::new(&store, number);
    match number {
        1 => story.trying().await,
        2 => story.confirming().await,
        _ => story.cancelled().await,
    }
    let healthy = story.record().await;
    let key = store.inspect().record_key(&story.gid);
    let () = ask(&mut raw, &["COPY", &key, "whole"]).await;
    for (place, (case, field)) in cases.iter().enumerate() {
        harm(&mut raw, &key, case).await;
        // Listed since now: what it says of itself counts again once it can be read.
        let _: i64 = ask(&mut raw, &["ZREM", "{tcc:00}:parked", story.gid.as_str()]).await;
        let swept = story.sweep().await;
        let error = swept.expect_err(&format!("case {place} is found in {field}"));
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
        let text = error.to_string();
        assert!(
            text.contains(story.gid.as_str()) && text.contains(&format!("field {field}:")),
            "case {place}: {text}"
        );
        let loaded = store.load(&story.gid).await.expect_err(&format!("case {place}, {field}"));
        assert_eq!(loaded.kind(), StoreErrorKind::Corrupt, "case {place}: {loaded}");
        let text = loaded.to_string();
        assert!(
            text.contains(story.gid.as_str()) && text.contains("field "),
            "case {place}, {field}: {text}"
        );
        let waiting = store.inspect().parked(0, 10).await.expect("a list");
        let listed = waiting.iter().find(|one| one.gid == story.gid.as_str()).expect("it is listed");
        assert!(listed.unreadable.as_ref().is_some_and(|cause| cause.starts_with(field)), "{listed:?}");
        let timers = store.inspect().timers(0, 10).await.expect("timers");
        let now = store.now(0).await.expect("the time");
        let (_, at) = timers.iter().find(|(gid, _)| gid == story.gid.as_str()).expect("it keeps its timer");
        assert!(*at > now && at.as_millis() <= now.as_millis() + 60_000, "it is moved on");
        // Mended, it goes on, and is no longer listed as unreadable.
        let () = ask(&mut raw, &["COPY", "whole", &key, "REPLACE"]).await;
        story.sweep().await.expect("a mended record").result.expect("it is swept");
        assert_eq!(story.record().await.gid, healthy.gid);
        assert!(store.inspect().unreadable(0).await.expect("a list").is_empty());
        let waiting = store.inspect().parked(0, 10).await.expect("a list");
        assert_eq!(waiting.len(), healthy.parked(), "what is parked is listed");
        assert!(waiting.iter().all(|one| Some(one.since) == healthy.branches[0].parked.map(|mark| mark.at)));
    }
}

#[tokio::test]
async fn harm_to_an_undecided_record_is_found() {
    found_in(1, TO_TRYING).await;
}

#[tokio::test]
async fn harm_to_a_record_in_phase_two_is_found() {
    found_in(2, TO_CONFIRMING).await;
}

#[tokio::test]
async fn harm_to_a_final_record_is_found() {
    found_in(3, TO_CANCELLED).await;
}

#[tokio::test]
async fn a_record_of_another_type_is_listed_and_the_rest_goes_on() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let (bad, good) = (Story::new(&store, 1), Story::new(&store, 2));
    bad.trying().await;
    good.trying().await;
    let () = ask(&mut raw, &["SET", &store.inspect().record_key(&bad.gid), "text"]).await;
    for error in
        [bad.sweep().await.expect_err("another type"), store.load(&bad.gid).await.expect_err("another type")]
    {
        assert_eq!(error.kind(), StoreErrorKind::Corrupt);
        assert!(error.to_string().contains("field type"), "{error}");
    }
    assert_eq!(store.inspect().unreadable(0).await.expect("a list").len(), 1);
    good.sweep().await.expect("the rest goes on").result.expect("it is swept");
    let drives = good.decide(Direction::Cancel, &[(1, None), (2, None), (3, None)], &[1, 2, 3]).await;
    good.finish(&drives).await;
    assert_eq!(good.record().await.state, TransactionState::Cancelled);
}

#[tokio::test]
async fn a_queue_of_another_type_costs_messages_and_no_decision() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let () = ask(&mut raw, &["SET", "{tcc:00}:ready:mail", "text"]).await;
    let story = Story::new(&store, 1);
    story.register(&[STOCK, MAIL]).await;
    let heard = [(1, Some(succeeded())), (2, Some(succeeded()))];
    story.decide(Direction::Confirm, &heard, &[]).await;
    assert_eq!(story.record().await.state, TransactionState::Confirming);
    assert_eq!(store.inspect().queued(0, &"stock".parse().expect("a name")).await.expect("a length"), 1);
    let troubles = store.inspect().unreadable(0).await.expect("a list");
    assert_eq!(troubles.keys().collect::<Vec<_>>(), ["ready:mail"]);
    for participant in ["stock", "mail"] {
        let drives = story.claim(participant, 9).await;
        assert_eq!(drives.len(), 1, "{participant} is found by the timer all the same");
        story.finish(&drives).await;
    }
    assert_eq!(story.record().await.state, TransactionState::Confirmed);
    let text: String = ask(&mut raw, &["GET", "{tcc:00}:ready:mail"]).await;
    assert_eq!(text, "text", "what is not ours is left alone");
}

#[tokio::test]
async fn an_index_of_another_type_stops_an_operation_before_its_first_write() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    for index in ["due", "open", "parked"] {
        let () = ask(&mut raw, &["FLUSHDB"]).await;
        let story = Story::new(&store, 1);
        story.confirming().await;
        // What a sweep has looked at leaves `open` when it ends.
        story.sweep().await.expect("a sweep").result.expect("an answer");
        let () = ask(&mut raw, &["SET", &format!("{{tcc:00}}:{index}"), "text"]).await;
        let before: std::collections::BTreeMap<String, String> =
            ask(&mut raw, &["HGETALL", &store.inspect().record_key(&story.gid)]).await;
        // Together these write every index: a branch redriven, then all of them closed.
        let redrive = tcc_core::machine::Redrive { branches: vec![] };
        let redriven = story.try_apply(redrive).await;
        if matches!(index, "due" | "parked") {
            assert_eq!(redriven.expect_err(index).kind(), StoreErrorKind::Corrupt);
            let after: std::collections::BTreeMap<String, String> =
                ask(&mut raw, &["HGETALL", &store.inspect().record_key(&story.gid)]).await;
            assert_eq!(before, after, "nothing was written");
        } else {
            redriven.expect("an index that is not written does not matter").result.expect("it is redriven");
            let drives = [story.claim("stock", 8).await, story.claim("mail", 9).await].concat();
            story.finish(&drives).await;
            let before = story.record().await;
            let last = tcc_core::machine::CloseDrive {
                ordinal: support::story::ordinal(2),
                epoch: 1,
                direction: Direction::Confirm,
                how: tcc_core::machine::How::Done { seen: tcc_core::record::Seen::Succeeded },
            };
            let closed = story.try_apply(tcc_core::machine::Close { drives: vec![last] }).await;
            let error = closed.expect_err(index);
            assert_eq!(
                error.kind(),
                StoreErrorKind::Corrupt,
                "{error} {:?}",
                std::error::Error::source(&error)
            );
            assert_eq!(story.record().await, before, "nothing was written");
        }
    }
}

#[tokio::test]
async fn a_business_key_that_leads_nowhere_is_told() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let mut first = Story::new(&store, 1);
    first.key = Some("order-17".into());
    first.begin().await;
    let mut second = Story::new(&store, 2);
    second.key = Some("order-17".into());
    let begin = tcc_core::machine::Begin { create: second.create().await, again_after_cancel: true };
    let key = "{tcc:00}:key:checkout:order-17";
    let () = ask(&mut raw, &["SET", key, "nonsense"]).await;
    assert_eq!(second.try_apply(begin.clone()).await.expect_err("no gid").kind(), StoreErrorKind::Corrupt);
    let () = ask(&mut raw, &["DEL", key]).await;
    let () = ask(&mut raw, &["RPUSH", key, "text"]).await;
    assert_eq!(second.try_apply(begin.clone()).await.expect_err("a list").kind(), StoreErrorKind::Corrupt);
    let () = ask(&mut raw, &["DEL", key]).await;
    let () = ask(&mut raw, &["SET", key, first.gid.as_str()]).await;
    let () = ask(&mut raw, &["HSET", &store.inspect().record_key(&first.gid), "state", "cancelledd"]).await;
    let error = second.try_apply(begin.clone()).await.expect_err("its record cannot be read");
    assert!(error.to_string().contains("field key"), "{error}");
    let () = ask(&mut raw, &["SET", &store.inspect().record_key(&first.gid), "text"]).await;
    assert_eq!(second.try_apply(begin).await.expect_err("no record").kind(), StoreErrorKind::Corrupt);
}

/// What waits for an operator alone has no timer, also after it could not be read for a while.
#[tokio::test]
async fn a_parked_transaction_leaves_the_timers_again_once_it_is_mended() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let story = Story::new(&store, 1);
    story.register(&[STOCK]).await;
    let drives = story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[1]).await;
    story.close(&drives[0], How::Park { cause: ParkCause::Handler, error: "closed".into() }).await;
    let key = store.inspect().record_key(&story.gid);
    let () = ask(&mut raw, &["COPY", &key, "whole"]).await;
    let () = ask(&mut raw, &["HSET", &key, "state", "confirmt"]).await;
    story.sweep().await.expect_err("it cannot be read");
    let timers: Vec<String> = ask(&mut raw, &["ZRANGE", "{tcc:00}:due", "0", "-1"]).await;
    assert_eq!(timers, [story.gid.to_string()], "it is looked at again");
    let () = ask(&mut raw, &["COPY", "whole", &key, "REPLACE"]).await;
    story.sweep().await.expect("it can be read").result.expect("it is looked at");
    let timers: Vec<String> = ask(&mut raw, &["ZRANGE", "{tcc:00}:due", "0", "-1"]).await;
    assert!(timers.is_empty(), "{timers:?}");
    let parked: Vec<String> = ask(&mut raw, &["ZRANGE", "{tcc:00}:parked", "0", "-1"]).await;
    assert_eq!(parked, [story.gid.to_string()]);
}

/// What lists a transaction whose record is gone leads nowhere, and goes with the next sweep.
#[tokio::test]
async fn nothing_lists_a_record_that_is_gone() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let story = Story::new(&store, 1);
    story.confirming().await;
    story.sweep().await.expect("a sweep").result.expect("an answer");
    let key = store.inspect().record_key(&story.gid);
    let () = ask(&mut raw, &["HSET", &key, "state", "confirmt"]).await;
    story.sweep().await.expect_err("it cannot be read");
    for (index, kind) in [("due", "zset"), ("open", "zset"), ("parked", "zset"), ("unreadable", "hash")] {
        let index = format!("{{tcc:00}}:{index}");
        let count = if kind == "zset" { "ZCARD" } else { "HLEN" };
        assert_eq!(ask::<i64>(&mut raw, &[count, &index]).await, 1, "{index} lists it");
    }
    let () = ask(&mut raw, &["DEL", &key]).await;
    story.sweep().await.expect("a sweep").result.expect_err("there is no record");
    for index in ["due", "open", "parked", "unreadable"] {
        let index = format!("{{tcc:00}}:{index}");
        assert_eq!(ask::<i64>(&mut raw, &["EXISTS", &index]).await, 0, "{index} lists it no more");
    }
}

/// What a record says of outcome and payloads.
fn essentials(record: &tcc_core::record::Record) -> impl PartialEq + std::fmt::Debug + use<> {
    let branches = record.branches.iter().map(|branch| {
        (branch.state.open_direction(), branch.arguments.clone(), branch.known, branch.result.clone())
    });
    (record.decision.as_ref().map(|decision| decision.direction), branches.collect::<Vec<_>>())
}

/// Half of the flipped bits in an append-only file pass Redis unnoticed.
#[tokio::test]
async fn no_flipped_bit_of_a_record_changes_an_outcome_or_a_payload() {
    let server = Server::volatile().await;
    let builder = RedisStore::builder(server.url()).durability(Durability::Volatile);
    let store = builder.history(tcc_redis::History::off()).connect().await.expect("the store");
    let mut raw = server.raw().await;
    for number in [1, 2] {
        let story = Story::new(&store, number);
        if number == 1 {
            story.trying().await;
        } else {
            story.confirming().await;
        }
        let whole = essentials(&story.record().await);
        let key = store.inspect().record_key(&story.gid);
        let () = ask(&mut raw, &["COPY", &key, "whole", "REPLACE"]).await;
        let fields: std::collections::BTreeMap<String, String> = ask(&mut raw, &["HGETALL", &key]).await;
        // The times of an undecided record say when it is cancelled, and any is as good as another.
        let fields = fields.into_iter().filter(|(name, _)| name != "until");
        let (mut flips, mut found) = (0, 0);
        for (name, value) in fields {
            for bit in 0..value.len() * 8 {
                let mut flipped = value.clone().into_bytes();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let mut set = redis::cmd("HSET");
                let () = set.arg(&key).arg(&name).arg(&flipped).query_async(&mut raw).await.expect("a field");
                let what = || format!("{name}: {}", String::from_utf8_lossy(&flipped));
                let loaded = store.load(&story.gid).await;
                found += u32::from(loaded.is_err());
                if let Ok(record) = loaded {
                    assert_eq!(essentials(&record.expect("a record")), whole, "{}", what());
                }
                // The functions write what they read, if they can read it.
                if story.sweep().await.is_ok()
                    && let Ok(record) = store.load(&story.gid).await
                {
                    assert_eq!(essentials(&record.expect("a record")), whole, "swept: {}", what());
                }
                flips += 1;
                let () = ask(&mut raw, &["COPY", "whole", &key, "REPLACE"]).await;
            }
        }
        assert!(found * 2 > flips, "most are found: {found} of {flips}");
    }
}
