//! The short ways that most steps take find what the long ways would, and are answered as these are.

mod support;

use support::{
    harm::{
        Harm::{self, Delete, Replace, Set},
        harm,
    },
    server::{Server, ask},
    story::{MAIL, PAY, STOCK, Story, name, ordinal, payload, register, succeeded},
};
use tcc_core::{
    CallId, TryOutcome,
    machine::{
        Answer, Begin, Begun, ClaimWork, Close, CloseDrive, Decide, Heard, How, InlineClaim, Op, OwnCommit,
        Refusal, Register, Report, TryReport,
    },
    record::{Direction, Known, Reason, Seen, Token, TransactionState},
    store::{Store, StoreErrorKind},
};
use tcc_redis::{Durability, History, RedisStore};

/// What the short way of a decision must not pass over.
const TO_DECIDE: &[Harm] = &[
    Replace("record", "format=1", "format=2"),
    Set("state", "tried"),
    Replace("record", "branches=2", "branches=3"),
    Replace("record", "branches=2", "branches=1"),
    Delete("until"),
    Replace("until", " deadline=", " deadline=x"),
    Replace("until", "lease=", "least="),
    Delete("begun"),
    Replace("begun", " by ", " to "),
];

/// What the short way of branches that follow others must not pass over.
const TO_REGISTER: &[Harm] = &[
    Replace("record", "format=1", "format=2"),
    Replace("record", " keyed", " keyd"),
    Replace("record", "keep_ms=", "keep_ms=1h"),
    Set("state", "confirmed"),
    Replace("record", "branches=1", "branches=2"),
    Replace("record", "branches=1", "branches=0"),
    Delete("until"),
    Replace("until", " deadline=", " deadline=x"),
    Replace("until", "lease=", "least="),
    Delete("01"),
    Replace("01", "call=1", "call=x"),
    Replace("01", "arguments=", "arguments=x"),
    Set("02", "mail.book@1"),
];

/// What the short way of a report must not pass over.
const TO_REPORT: &[Harm] = &[
    Replace("record", "format=1", "format=2"),
    Replace("record", "keep_ms=", "keep_ms=1h"),
    Replace("record", "branches=2", "branches=1"),
    Set("state", "confirming"),
    Set("03", "mail.book@1"),
];

/// What the short way of a decision must not pass over where branches were reported on.
const TO_DECIDE_APART: &[Harm] = &[
    Replace("record", " apart", " part"),
    Replace("01.state", "succeeded", "refused"),
    Replace("02.state", "tried", "confirmed"),
];

/// What the short way of one participant's end must not pass over.
const TO_CLOSE_APART: &[Harm] = &[
    Replace("record", "format=1", "format=2"),
    Replace("record", " apart", " part"),
    Replace("record", "keep_ms=", "keep_ms=1h"),
    Replace("record", "branches=2", "branches=3"),
    Replace("record", "branches=2", "branches=1"),
    Set("state", "cancelling"),
    Replace("02.state", "succeeded", "refused"),
    Replace("02.state", "attempts=1", "attempts=2"),
    Replace("02.drive", "token=", "taken="),
    Replace("02.drive", "epoch=1", "epoch=0"),
    Replace("02.drive", "lease=", "lease=x"),
    Delete("02.drive"),
    Set("03", "mail.book@1"),
];

/// What the short way of the end must not pass over where there is a business key.
const TO_CLOSE_KEYED: &[Harm] =
    &[Replace("record", " keyed", " keyd"), Delete("name"), Replace("record", "keep_ms=", "keep_ms=1h")];

/// What the short way of the end must not pass over.
const TO_CLOSE: &[Harm] = &[
    Replace("record", "format=1", "format=2"),
    Set("state", "confirm"),
    Set("state", "cancelling"),
    Replace("record", "branches=2", "branches=3"),
    Replace("record", "branches=2", "branches=1"),
    Replace("record", "keep_ms=", "keep_ms=1h"),
    Replace("record", "keep_ms=", ""),
    Set("03", "mail.book@1"),
];

/// What the short way of a claim must not pass over.
const TO_CLAIM: &[Harm] = &[
    Replace("record", "format=1", "format=2"),
    Set("state", "confirm"),
    Set("state", "cancelling"),
    Replace("record", "branches=2", "branches=3"),
    Replace("record", "branches=2", "branches=1"),
    Set("name", "a name"),
    Delete("decided"),
    Replace("decided", "confirm", "cancel"),
    Replace("decided", "committed", "commuted"),
    Replace("bells", "stock", "st/ck"),
    Replace("01", "call=1", "call=2"),
    Set("01.state", "cancelling succeeded"),
    Delete("01.arguments"),
    Replace("01.arguments", "tea", "pea"),
    Delete("01.result"),
    Replace("01.result", "17", "18"),
    Set("03", "mail.book@1"),
];

/// What that of a claim by the initiator must not pass over, which does not read what it has.
const TO_CLAIM_OWN: &[Harm] = &[
    Replace("record", "format=1", "format=2"),
    Set("state", "confirm"),
    Set("state", "cancelling"),
    Replace("record", "branches=2", "branches=3"),
    Replace("record", "branches=2", "branches=1"),
    Delete("decided"),
    Replace("decided", "confirm", "cancel"),
    Replace("decided", "committed", "commuted"),
    Replace("bells", "stock", "st/ck"),
    Set("03", "mail.book@1"),
];

/// The business key of a transaction.
const BUSINESS: &str = "{tcc:00}:key:checkout:order 17 / ä";

/// Registers branches that follow so many.
fn next(there: usize, actions: &[&str]) -> Op {
    let mut register = register(None, actions);
    for (place, branch) in register.branches.iter_mut().enumerate() {
        branch.call = CallId::top((there + place + 1) as u32);
        branch.arguments = payload(&format!("{{\"sku\":\"tea\",\"qty\":{}}}", there + place + 1));
    }
    register.into()
}

/// Registers the branch of a service that joined.
fn joined(call: &str, action: &str) -> Op {
    let mut register = register(None, &[action]);
    register.branches[0].call = call.parse().expect("a call");
    register.branches[0].runner = Some(Token(1));
    register.into()
}

fn reported(place: usize) -> Op {
    Report { tries: vec![TryReport { ordinal: ordinal(place), known: succeeded() }] }.into()
}

fn commit(inline: &[usize]) -> Op {
    let actions = inline.iter().map(|place| [STOCK, PAY][place - 1].parse().expect("an action"));
    let inline = InlineClaim {
        token: Token(7),
        lease_ms: 60_000,
        branches: inline.iter().map(|place| ordinal(*place)).collect(),
        actions: actions.collect(),
    };
    let both = (1..=2).map(ordinal);
    let decide = Decide {
        direction: Direction::Confirm,
        reason: Reason::Committed,
        by: name("shop-1"),
        create: None,
        heard: both.map(|ordinal| Heard { ordinal, known: Some(succeeded()) }).collect(),
        inline: (!inline.branches.is_empty()).then_some(inline),
    };
    decide.into()
}

fn close(places: &[usize]) -> Op {
    let drives = places.iter().map(|place| CloseDrive {
        ordinal: ordinal(*place),
        epoch: 1,
        direction: Direction::Confirm,
        how: How::Done { seen: Seen::Succeeded },
    });
    Close { drives: drives.collect() }.into()
}

fn claim(participants: &[&str], own: Option<OwnCommit>) -> Op {
    let participants = participants.iter().map(|participant| name(participant)).collect();
    ClaimWork { participants, token: Token(7), lease_ms: 60_000, except: Vec::new(), own }.into()
}

/// The commit of both branches, as whoever committed it has it.
fn own() -> OwnCommit {
    let Known::Succeeded(result) = succeeded() else { panic!("they succeeded") };
    let branches = [STOCK, PAY].map(|action| (action.parse().expect("an action"), result.clone()));
    OwnCommit { reason: Reason::Committed, branches: branches.to_vec() }
}

#[tokio::test]
async fn the_short_way_passes_over_no_harm() {
    find_harm(vec![(commit(&[1, 2]), TO_DECIDE), (close(&[1, 2]), TO_CLOSE)]).await;
}

/// Begun by a call of its own, with tries one after the other.
#[tokio::test]
async fn the_short_way_of_a_business_key_passes_over_no_harm() {
    let server = Server::volatile().await;
    let store = RedisStore::builder(server.url()).durability(Durability::Volatile).history(History::off());
    let store = store.connect().await.expect("a store");
    let story = Story { key: Some("order 17 / ä".to_owned()), ..Story::new(&store, 1) };
    story.begin().await;
    story.apply(next(0, &[STOCK])).await;
    let end = [TO_CLOSE, TO_CLOSE_KEYED].concat();
    let steps = vec![(next(1, &[PAY]), TO_REGISTER), (commit(&[1, 2]), TO_DECIDE), (close(&[1, 2]), &end)];
    find_harm_to(&server, &story, steps, 2).await;
    let mut raw = server.raw().await;
    let business: i64 = ask(&mut raw, &["PEXPIRETIME", BUSINESS]).await;
    let record: i64 = ask(&mut raw, &["PEXPIRETIME", &store.inspect().record_key(&story.gid)]).await;
    assert!(record > 0 && business == record, "a key is kept as long as its record: {business}, {record}");
}

/// What was slow is slow no more once it goes on: that is what a store under load needs.
#[tokio::test]
async fn what_a_sweep_looked_at_goes_the_short_way_and_is_listed_no_more_once_it_ended() {
    let server = Server::volatile().await;
    let store =
        RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store");
    let mut raw = server.raw().await;
    let mut other = raw.clone();
    let mut sweep = async |story: &Story<'_, RedisStore>| {
        story.sweep().await.expect("a sweep").result.expect("an answer");
        let listed: Option<f64> = ask(&mut other, &["ZSCORE", "{tcc:00}:open", &story.gid.to_string()]).await;
        assert!(listed.is_some(), "it is listed");
    };
    for (number, key) in [(1, None), (2, Some("order 17 / ä".to_owned()))] {
        let story = Story { key, ..Story::new(&store, number) };
        story.begin().await;
        sweep(&story).await;
        story.apply(next(0, &[STOCK])).await;
        story.apply(reported(1)).await;
        sweep(&story).await;
        story.apply(next(1, &[PAY])).await;
        story.apply(commit(&[])).await;
        sweep(&story).await;
        if number == 1 {
            story.apply(claim(&["stock", "pay"], None)).await;
            sweep(&story).await;
            story.apply(close(&[1, 2])).await;
        } else {
            story.apply(claim(&["stock"], None)).await;
            story.apply(claim(&["pay"], None)).await;
            story.apply(close(&[1])).await;
            story.apply(close(&[2])).await;
        }
        let ended = story.record().await;
        assert_eq!(ended.state, TransactionState::Confirmed);
        for index in ["{tcc:00}:open", "{tcc:00}:due"] {
            let left: Option<f64> = ask(&mut raw, &["ZSCORE", index, &story.gid.to_string()]).await;
            assert_eq!(left, None, "{index}");
        }
        let record: String =
            ask(&mut raw, &["HGET", &store.inspect().record_key(&story.gid), "record"]).await;
        assert!(!record.contains("looked") && !record.contains("marked"), "{record}");
    }
    let taken = store.short_ways();
    let expected = [("begin", 2), ("register", 4), ("report", 2), ("decide", 2), ("claim", 3), ("close", 3)];
    assert_eq!(taken, expected.into());
}

/// Each branch is tried, claimed and ended by a service of its own.
#[tokio::test]
async fn the_short_way_of_services_that_joined_passes_over_no_harm() {
    let server = Server::volatile().await;
    let store = RedisStore::builder(server.url()).durability(Durability::Volatile).history(History::off());
    let store = store.connect().await.expect("a store");
    let story = Story { key: Some("order 17 / ä".to_owned()), ..Story::new(&store, 1) };
    story.begin().await;
    story.apply(joined("1.1", STOCK)).await;
    story.apply(joined("2.1", PAY)).await;
    let to_report = [Set("01.state", "tried"), Set("02.state", "tried")];
    let to_report = to_report.map(|state| [TO_REPORT, &[state]].concat());
    let to_decide = [TO_DECIDE, TO_DECIDE_APART].concat();
    let steps = vec![
        // Asks whether it may be joined.
        (next(2, &[]), &[][..]),
        (reported(1), &to_report[0]),
        (reported(2), &to_report[1]),
        (commit(&[]), &to_decide),
        (claim(&["stock"], None), TO_CLAIM),
        (claim(&["pay"], None), &[]),
        (close(&[2]), TO_CLOSE_APART),
        (close(&[1]), &[]),
    ];
    find_harm_to(&server, &story, steps, 3).await;
    assert_eq!(story.record().await.state, TransactionState::Confirmed);
}

#[tokio::test]
async fn a_business_key_of_another_is_left_to_it() {
    let server = Server::volatile().await;
    let store =
        RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store");
    let mut raw = server.raw().await;
    let begin = |number| Story { key: Some("order 17 / ä".to_owned()), ..Story::new(&store, number) };
    let story = begin(1);
    story.begin().await;
    // A repetition finds it begun, another transaction finds the key taken.
    story.begin().await;
    let create = begin(2).create().await;
    let rival = begin(2).apply(Begin { create, again_after_cancel: false }).await;
    assert_eq!(rival, Answer::Begun(Begun::Taken(story.gid.clone())));
    story.apply(next(0, &[STOCK, PAY])).await;
    story.apply(commit(&[1, 2])).await;
    // Whoever took it meanwhile keeps it as long as it likes.
    let other = support::story::gid(3).to_string();
    let () = ask(&mut raw, &["SET", BUSINESS, &other]).await;
    story.apply(close(&[1, 2])).await;
    let taken = store.short_ways();
    let expected = ["begin", "register", "decide", "close"].map(|operation| (operation, 1));
    assert_eq!(taken, expected.into());
    assert_eq!(ask::<i64>(&mut raw, &["PEXPIRETIME", BUSINESS]).await, -1);
    assert_eq!(ask::<String>(&mut raw, &["GET", BUSINESS]).await, other);
}

/// A process that never heard of the key is told of it, and asks again.
#[tokio::test]
async fn a_business_key_is_kept_with_its_record_whoever_ends_it() {
    let server = Server::volatile().await;
    let connect = || RedisStore::builder(server.url()).durability(Durability::Volatile).connect();
    let (store, other) = (connect().await.expect("a store"), connect().await.expect("a store"));
    let mut raw = server.raw().await;
    let story = Story { key: Some("order 17 / ä".to_owned()), ..Story::new(&store, 1) };
    story.begin().await;
    story.apply(next(0, &[STOCK, PAY])).await;
    story.apply(commit(&[1, 2])).await;
    Story::new(&other, 1).apply(close(&[1, 2])).await;
    let business: i64 = ask(&mut raw, &["PEXPIRETIME", BUSINESS]).await;
    let record: i64 = ask(&mut raw, &["PEXPIRETIME", &store.inspect().record_key(&story.gid)]).await;
    assert!(record > 0 && business == record, "{business}, {record}");
}

#[tokio::test]
async fn branches_that_follow_others_are_registered_once_and_within_the_limits() {
    let server = Server::volatile().await;
    let store =
        RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store");
    let story = Story::new(&store, 1);
    story.register(&[STOCK]).await;
    let places = |answer: Answer| {
        let Answer::Registered(branches) = answer else { panic!("{answer:?}") };
        branches.iter().map(|branch| (branch.ordinal.index() + 1, branch.yours)).collect::<Vec<_>>()
    };
    assert_eq!(places(story.apply(next(1, &[PAY, MAIL])).await), [(2, true), (3, true)]);
    // Sent again, and again with one more: what is there is found.
    assert_eq!(places(story.apply(next(1, &[PAY, MAIL])).await), [(2, true), (3, true)]);
    assert_eq!(places(story.apply(next(2, &[MAIL, STOCK])).await), [(3, true), (4, true)]);
    // A call of a service that joined tells nothing of how many were made before.
    assert_eq!(places(story.apply(joined("5.1", PAY)).await), [(5, true)]);
    let Op::Register(mut again) = joined("5.1", PAY) else { panic!("a registration") };
    again.branches[0].runner = Some(Token(2));
    assert_eq!(places(story.apply(again).await), [(5, false)], "another run of the call");
    let limited = |branches_max, payload_bytes_max| {
        let Op::Register(register) = next(5, &[STOCK]) else { panic!("a registration") };
        Register { branches_max, payload_bytes_max, ..register }
    };
    let bytes = story
        .record()
        .await
        .branches
        .iter()
        .map(|branch| branch.arguments.as_ref().map_or(0, |a| a.len() as u64))
        .sum::<u64>();
    let one = limited(6, 0).branches[0].arguments.len() as u64;
    let refusal =
        |limits| async { story.try_apply(limits).await.expect("an answer").result.expect_err("refused") };
    assert_eq!(refusal(limited(5, 1_000)).await, Refusal::TooManyBranches { max: 5 });
    let max = bytes + one - 1;
    assert_eq!(refusal(limited(6, max)).await, Refusal::TooManyPayloadBytes { max });
    assert_eq!(places(story.apply(limited(6, bytes + one)).await), [(6, true)]);
    let calls: Vec<_> = story.record().await.branches.iter().map(|branch| branch.call.to_string()).collect();
    assert_eq!(calls, ["1", "2", "3", "4", "5.1", "6"]);
    // The first of all, those that follow, the joined one, and the last.
    assert_eq!(store.short_ways(), [("register", 4)].into());
}

#[tokio::test]
async fn the_short_way_of_queued_work_passes_over_no_harm() {
    let both = ["stock", "pay"];
    for claim in [(claim(&both, None), TO_CLAIM), (claim(&both, Some(own())), TO_CLAIM_OWN)] {
        find_harm(vec![(commit(&[]), TO_DECIDE), claim, (close(&[1, 2]), &[])]).await;
    }
}

/// It has the arguments and results, and is told none: what it knows is asked of the record only if the record is not
/// as it must be then.
#[tokio::test]
async fn a_claim_by_the_initiator_is_answered_with_what_it_has() {
    let server = Server::volatile().await;
    let store =
        RedisStore::builder(server.url()).durability(Durability::Volatile).connect().await.expect("a store");
    for (number, names, branches, is_short) in [
        (1, &["stock", "pay"][..], 0..2, true),
        // Not all of its branches, a participant of none of them, another's message, and a commit of another reason.
        (2, &["stock", "pay"], 0..1, false),
        (3, &["stock", "pay", "mail"], 0..2, false),
        (4, &["stock"], 0..2, false),
        (5, &["stock", "pay"], 0..2, false),
    ] {
        let story = Story::new(&store, number);
        story.register(&[STOCK, PAY]).await;
        story.apply(commit(&[])).await;
        let mut own = own();
        own.branches = own.branches[branches].to_vec();
        if number == 5 {
            own.reason = Reason::Operator;
        }
        let ways = || store.short_ways().get("claim").copied().unwrap_or_default();
        let before = ways();
        let Answer::Claimed(drives) = story.apply(claim(names, Some(own))).await else { panic!("claimed") };
        assert_eq!(ways() - before, u64::from(is_short), "story {number}");
        let expected = if number == 4 { vec![STOCK] } else { vec![STOCK, PAY] };
        assert_eq!(drives.iter().map(|drive| drive.action.to_string()).collect::<Vec<_>>(), expected);
        for drive in drives {
            assert_eq!((drive.arguments, drive.name, drive.trace), (None, None, None), "story {number}");
            assert_eq!((drive.epoch, drive.attempt, drive.lease_ms), (1, 1, 60_000));
            assert_eq!(
                (drive.direction, drive.decided, drive.reason),
                (Direction::Confirm, Direction::Confirm, Reason::Committed)
            );
            let Known::Succeeded(result) = succeeded() else { panic!("they succeeded") };
            assert_eq!(drive.outcome, TryOutcome::Succeeded(result));
        }
        let record = store.load(&story.gid).await.expect("a record").expect("a record");
        let claims = record.branches.iter().filter(|branch| branch.claim.is_some()).count();
        assert_eq!(claims, expected.len(), "story {number}");
        // Said twice, it is answered alike (rule 14).
        let again = story.apply(claim(names, Some(self::own()))).await;
        let Answer::Claimed(again) = again else { panic!("claimed") };
        assert_eq!(again.len(), expected.len(), "story {number}");
        assert!(again.iter().all(|drive| drive.arguments.is_none()));
    }
}

/// Applies each operation to a record that was harmed in each of these ways, and then to one that was not.
async fn find_harm(steps: Vec<(Op, &[Harm])>) {
    let server = Server::volatile().await;
    let store = RedisStore::builder(server.url()).durability(Durability::Volatile).history(History::off());
    let store = store.connect().await.expect("a store");
    let story = Story::new(&store, 1);
    story.register(&[STOCK, PAY]).await;
    find_harm_to(&server, &story, steps, 1).await;
}

/// The same of a transaction that was begun by so many steps.
async fn find_harm_to(
    server: &Server,
    story: &Story<'_, RedisStore>,
    steps: Vec<(Op, &[Harm])>,
    begun_by: u64,
) {
    let store = story.store;
    let mut raw = server.raw().await;
    let key = store.inspect().record_key(&story.gid);
    let count = steps.len() as u64;
    for (op, cases) in steps {
        let () = ask(&mut raw, &["COPY", &key, "whole", "REPLACE"]).await;
        for (place, case) in cases.iter().enumerate() {
            harm(&mut raw, &key, case).await;
            let answer = story.try_apply(op.clone()).await;
            let error = answer.expect_err(&format!("case {place}"));
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "case {place}: {error}");
            let () = ask(&mut raw, &["COPY", "whole", &key, "REPLACE"]).await;
        }
        story.apply(op).await;
    }
    let taken = store.short_ways().values().sum::<u64>();
    assert_eq!(taken, begun_by + count, "without harm, all go the short way");
}
