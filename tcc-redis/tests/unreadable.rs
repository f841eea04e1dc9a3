//! A record that cannot be read, or a key of another type, holds up nothing else and is listed with its
//! cause.

mod support;

use redis::aio::MultiplexedConnection;
use support::{
    server::{Server, ask},
    story::{MAIL, STOCK, Story, succeeded},
};
use tcc_core::{
    record::{Direction, TransactionState},
    store::{Store, StoreErrorKind},
};
use tcc_redis::{Durability, RedisStore};

/// What is done to a record.
enum Harm {
    /// A field gets another value.
    Set(&'static str, &'static str),
    /// A field goes.
    Delete(&'static str),
    /// A text in a field is replaced by another.
    Replace(&'static str, &'static str, &'static str),
    /// A text is added at a field's end.
    Append(&'static str, &'static str),
}
use Harm::{Append, Delete, Replace, Set};

async fn store(server: &Server) -> RedisStore {
    RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("the store")
}

async fn harm(raw: &mut MultiplexedConnection, key: &str, harm: &Harm) {
    match harm {
        Set(field, value) => {
            let () = ask(raw, &["HSET", key, field, value]).await;
        }
        Delete(field) => {
            let gone: i64 = ask(raw, &["HDEL", key, field]).await;
            assert_eq!(gone, 1, "{field} was there");
        }
        Replace(field, from, to) => {
            let value: String = ask(raw, &["HGET", key, field]).await;
            assert!(value.contains(from), "{field} is {value}");
            let () = ask(raw, &["HSET", key, field, &value.replace(from, to)]).await;
        }
        Append(field, more) => {
            let value: Option<String> = ask(raw, &["HGET", key, field]).await;
            let () = ask(raw, &["HSET", key, field, &(value.unwrap_or_default() + more)]).await;
        }
    }
}

const MOMENT: &str = "2026-11-21T05:10:00.000Z";

/// Harm to an undecided record, and the field it is found in.
const TO_TRYING: &[(Harm, &str)] = &[
    (Set("format", "2"), "format"),
    (Delete("format"), "format"),
    (Set("gid", "01kaj0p5zk4t8m2qw7rxbc-00"), "gid"),
    (Set("name", "with space"), "name"),
    (Delete("name"), "name"),
    (Set("initiator", "with space"), "initiator"),
    (Delete("initiator"), "initiator"),
    (Set("retention_ms", "1h"), "retention_ms"),
    (Delete("retention_ms"), "retention_ms"),
    (Set("branches", "three"), "branches"),
    (Set("branches", "100000"), "branches"),
    (Delete("branches"), "branches"),
    (Set("state", "tried"), "state"),
    (Delete("state"), "state"),
    (Set("decision", "confirm"), "decision"),
    (Set("reason", "committed"), "reason"),
    (Set("decided_by", "shop-1"), "decided_by"),
    (Set("decided_at", MOMENT), "decided_at"),
    (Set("ended_at", MOMENT), "ended_at"),
    (Set("bells", "mail rung=1 again=2026-11-21T05:10:00.000Z entry=1-0"), "bells"),
    (Set("begun_at", "yesterday"), "begun_at"),
    (Delete("begun_at"), "begun_at"),
    (Set("deadline_at", "2026-02-30T05:10:00.000Z"), "deadline_at"),
    (Delete("deadline_at"), "deadline_at"),
    (Set("lease_until", "2026-11-21T25:10:00.000Z"), "lease_until"),
    (Set("lease_until", "2026-11-21T05:60:00.000Z"), "lease_until"),
    (Set("lease_until", "2026-11-21T05:10:60.000Z"), "lease_until"),
    (Delete("lease_until"), "lease_until"),
    (Set("branches", "4"), "04"),
    (Delete("02"), "02"),
    (Set("02", ""), "02"),
    (Set("02", "pay.authorize@1"), "02"),
    (Replace("01", "stock.reserve@1", "stock"), "01"),
    (Replace("01", " tried", " tryed"), "01"),
    (Replace("01", " call=1", ""), "01"),
    (Replace("01", "call=1", "call=one"), "01"),
    (Replace("01", "try=succeeded", "try=maybe"), "01"),
    (Replace("01", "try=succeeded", "try=refused"), "01"),
    (Replace("02", "try=refused", "try=succeeded"), "02"),
    (Append("03", " try=refused"), "03"),
    (Append("03", " try=succeeded"), "03"),
    (Set("01", "stock.reserve@1 tried call=1 try=refused arguments=21:88bfdddd"), "01"),
    (Set("01", "stock.reserve@1 tried call=1 arguments=21:88bfdddd"), "01"),
    (Set("02", "pay.authorize@1 refused call=2 arguments=21:4ae77cc2"), "02"),
    (Append("02", " result=1:12345678"), "02"),
    (Append("03", " epoch=1"), "03"),
    (Append("03", " epoch=1 token=0000000000000001 lease=2026-11-21T05:10:00.000Z"), "03"),
    (Append("03", " token=0000000000000001 lease=2026-11-21T05:10:00.000Z"), "03"),
    (Append("03", " lease=2026-11-21T05:10:00.000Z"), "03"),
    (Append("03", " closed=final"), "03"),
    (Append("03", " parked=handler since=2026-11-21T05:10:00.000Z"), "03"),
    (Append("03", " parked=handler"), "03"),
    (Append("03", " since=2026-11-21T05:10:00.000Z"), "03"),
    (Append("03", " colour=red"), "03"),
    (Append("03", " red"), "03"),
    (Append("03", " attempts=some"), "03"),
    (Append("03", " runner=1"), "03"),
    (Append("03", " next=soon"), "03"),
    (Append("03", " closed=rescheduled@soon"), "03"),
    (Replace("03", "arguments=", "arguments=x"), "03"),
    (Replace("01", " tried", " confirming"), "01"),
];

/// Harm to a record that is being confirmed.
const TO_CONFIRMING: &[(Harm, &str)] = &[
    (Delete("decision"), "decision"),
    (Set("decision", "cancel"), "decision"),
    (Set("state", "cancelling"), "decision"),
    (Set("state", "trying"), "decision"),
    (Set("reason", "because"), "reason"),
    (Delete("reason"), "reason"),
    (Set("decided_by", "with space"), "decided_by"),
    (Delete("decided_by"), "decided_by"),
    (Delete("decided_at"), "decided_at"),
    (Set("decided_at", "soon"), "decided_at"),
    (Set("bells", "mail"), "bells"),
    (Set("bells", "m/l rung=1 again=2026-11-21T05:10:00.000Z entry=1-0"), "bells"),
    (Set("bells", "mail rung=1 again=soon entry=1-0"), "bells"),
    (Replace("01", " confirming", " cancelling"), "01"),
    (Replace("02", " confirming", " tried"), "02"),
    (Replace("02", "try=succeeded", "try=refused"), "02"),
    (Set("02", "pay.authorize@1 confirming call=2 arguments=21:4ae77cc2"), "02"),
    (Replace("03", "try=refused", "try=succeeded"), "03"),
    (Replace("02", "token=0000000000000007 ", ""), "02"),
    (Replace("02", "epoch=1 ", ""), "02"),
    (Replace("02", " lease=", " ongoing="), "02"),
    (Replace("01", "closed=parked", "closed=maybe"), "01"),
    (Append("01", " runner=rescheduled@2026-11-21T05:10:00.000Z"), "01"),
    (Replace("01", "parked=handler", "parked=handled"), "01"),
    (Replace("01", " since=", " ongoing="), "01"),
    (Replace("01", " parked=handler", ""), "01"),
    (Replace("01", " confirming", " confirmed"), "01"),
    (Set("02.arguments", "{\"sku\":\"tea\",\"qty\":3}"), "02.arguments"),
    (Delete("02.arguments"), "02.arguments"),
    (Set("02.result", "{\"hold\":18}"), "02.result"),
    (Delete("02.result"), "02.result"),
];

/// Harm to a final record.
const TO_CANCELLED: &[(Harm, &str)] = &[
    (Delete("ended_at"), "ended_at"),
    (Set("ended_at", "soon"), "ended_at"),
    (Set("bells", "mail rung=1 again=2026-11-21T05:10:00.000Z entry=1-0"), "bells"),
    (Replace("01", " cancelled", " cancelling"), "state"),
    (Set("state", "confirmed"), "decision"),
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
        let swept = story.sweep().await;
        let error = swept.expect_err(&format!("case {place} is found in {field}"));
        assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error}");
        let text = error.to_string();
        assert!(
            text.contains(story.gid.as_str()) && text.contains(&format!("field {field}:")),
            "case {place}: {text}"
        );
        let loaded = store.load(&story.gid).await.expect_err("an unreadable record");
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
    for index in ["due", "open", "parked", "done"] {
        let () = ask(&mut raw, &["FLUSHDB"]).await;
        let story = Story::new(&store, 1);
        story.confirming().await;
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
async fn a_branch_whose_arguments_are_gone_is_handed_out_without() {
    let server = Server::volatile().await;
    let store = store(&server).await;
    let mut raw = server.raw().await;
    let story = Story::new(&store, 1);
    story.register(&[STOCK]).await;
    story.decide(Direction::Confirm, &[(1, Some(succeeded()))], &[]).await;
    let key = store.inspect().record_key(&story.gid);
    harm(&mut raw, &key, &Replace("01", " arguments=21:88bfdddd", "")).await;
    let drives = story.claim("stock", 5).await;
    // Its host parks it, with what is missing as the cause.
    assert_eq!((drives.len(), &drives[0].arguments), (1, &None));
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
