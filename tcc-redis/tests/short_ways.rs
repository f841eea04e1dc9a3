//! The short ways that most steps take find what the long ways would, and are answered as these are.

mod support;

use support::{
    harm::{
        Harm::{self, Delete, Replace, Set},
        harm,
    },
    server::{Server, ask},
    story::{PAY, STOCK, Story, name, ordinal, succeeded},
};
use tcc_core::{
    TryOutcome,
    machine::{Answer, ClaimWork, Close, CloseDrive, Decide, Heard, How, InlineClaim, Op, OwnCommit},
    record::{Direction, Known, Reason, Seen, Token},
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
    let mut raw = server.raw().await;
    let story = Story::new(&store, 1);
    let key = store.inspect().record_key(&story.gid);
    story.register(&[STOCK, PAY]).await;
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
    assert_eq!(store.short_ways().values().sum::<u64>(), 1 + count, "without harm, all go the short way");
}
