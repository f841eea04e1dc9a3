//! What an operator changes and sees: pauses, processes, and the audit.

use super::*;
use crate::{
    machine::{Change, Operate},
    operator::{AUDIT_ENTRIES_MAX, Changed, PAUSES_MAX},
};

fn who() -> Name {
    text("alice")
}

fn why() -> Why {
    text("the warehouse is closed")
}

#[tokio::test]
async fn a_pause_stands_once_until_it_is_resumed() {
    let bench = Bench::new(1);
    let (action, participant): (Scope, Scope) = (text("inventory.reserve@1"), text("payment"));
    assert!(bench.store.pause(&participant, &who(), &why()).await.expect("paused"));
    bench.wait(5);
    assert!(bench.store.pause(&action, &who(), &why()).await.expect("paused"));
    assert!(!bench.store.pause(&participant, &text("bob"), &text("again")).await.expect("an answer"));
    let pauses = bench.store.pauses().await.expect("pauses");
    let since = |scope: &Scope| {
        let pause = pauses.iter().find(|pause| pause.scope == *scope).expect("it is paused");
        assert_eq!((&pause.by, &pause.why), (&who(), &why()), "the first one stands");
        pause.since.as_millis()
    };
    assert_eq!((since(&participant), since(&action), pauses.len()), (BEGUN_AT, BEGUN_AT + 5, 2));
    assert!(bench.store.resume(&participant, &text("bob"), &why()).await.expect("resumed"));
    assert!(!bench.store.resume(&participant, &text("bob"), &why()).await.expect("an answer"));
    assert_eq!(bench.store.pauses().await.expect("pauses").len(), 1);
    let audit = bench.store.audit(0, None, 10).await.expect("an audit");
    let changes: Vec<_> =
        audit.entries.iter().map(|entry| (entry.by.clone(), entry.changed.clone())).collect();
    assert_eq!(
        changes,
        [
            (text("bob"), Changed::Resumed(participant.clone())),
            (who(), Changed::Paused(action)),
            (who(), Changed::Paused(participant)),
        ],
        "newest first, and nothing that changed nothing"
    );
    assert!(audit.next.is_none());
}

#[tokio::test]
async fn pauses_are_bounded() {
    let bench = Bench::new(1);
    for number in 0..PAUSES_MAX {
        let scope = text(&format!("participant-{number}"));
        assert!(bench.store.pause(&scope, &who(), &why()).await.expect("paused"));
    }
    bench.store.pause(&text("one-more"), &who(), &why()).await.expect_err("too many");
    assert!(!bench.store.pause(&text("participant-0"), &who(), &why()).await.expect("one that stands"));
    assert_eq!(bench.store.pauses().await.expect("pauses").len(), PAUSES_MAX);
}

#[tokio::test]
async fn the_audit_is_read_page_by_page_and_keeps_the_newest() {
    let bench = Bench::new(1);
    let scope: Scope = text("payment");
    // One more than there is room for: the oldest entry goes.
    for number in 0..=AUDIT_ENTRIES_MAX {
        let why = text(&format!("reason {number}"));
        if number % 2 == 0 {
            assert!(bench.store.pause(&scope, &who(), &why).await.expect("paused"));
        } else {
            assert!(bench.store.resume(&scope, &who(), &why).await.expect("resumed"));
        }
    }
    let page_bytes = AUDIT_ENTRIES_MAX / 4;
    let (mut reasons, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = bench.store.audit(0, before.as_ref(), page_bytes).await.expect("a page");
        reasons.extend(page.entries.iter().map(|entry| entry.why.to_string()));
        pages += 1;
        before = page.next;
        if before.is_none() {
            break;
        }
        assert!(pages < 10, "it ends");
    }
    let expected: Vec<String> =
        (1..=AUDIT_ENTRIES_MAX).rev().map(|number| format!("reason {number}")).collect();
    assert_eq!(reasons, expected);
}

fn presence(process: &str) -> Presence {
    Presence {
        process: text(process),
        actions: vec![text("inventory.reserve@1")],
        version: "0.1.0".into(),
        heard_at: Timestamp::from_millis(0),
    }
}

#[tokio::test]
async fn a_process_is_there_for_as_long_as_it_is_heard() {
    let bench = Bench::new(1);
    bench.store.announce(&presence("first")).await.expect("heard");
    bench.wait(59_999);
    bench.store.announce(&presence("second")).await.expect("heard");
    let processes = || async {
        let processes = bench.store.processes(10).await.expect("processes");
        let mut heard: Vec<_> = processes
            .iter()
            .map(|one| (one.process.to_string(), one.heard_at.as_millis() - BEGUN_AT))
            .collect();
        heard.sort();
        heard
    };
    assert_eq!(processes().await, [("first".to_owned(), 0), ("second".to_owned(), 59_999)]);
    assert_eq!(bench.store.processes(1).await.expect("one").len(), 1);
    bench.wait(1);
    assert_eq!(processes().await, [("second".to_owned(), 59_999)]);
    bench.store.announce(&presence("first")).await.expect("heard again");
    assert_eq!(processes().await, [("first".to_owned(), 60_000), ("second".to_owned(), 59_999)]);
}

#[tokio::test]
async fn processes_are_bounded_and_the_oldest_goes() {
    let bench = Bench::new(1);
    for number in 0..=PROCESSES_MAX {
        bench.store.announce(&presence(&format!("process-{number}"))).await.expect("heard");
        bench.wait(1);
    }
    let processes = bench.store.processes(2 * PROCESSES_MAX).await.expect("processes");
    assert_eq!(processes.len(), PROCESSES_MAX);
    assert!(!processes.iter().any(|one| one.process.as_str() == "process-0"), "the oldest went");
}

#[tokio::test]
async fn an_operators_change_is_in_the_audit_of_its_shard() {
    let bench = Bench::new(2);
    let gid = bench.begin(1, 1, None);
    bench.apply(&gid, Operate { by: who(), why: why(), change: Change::Cancel });
    let audit = bench.store.audit(1, None, 10).await.expect("an audit");
    assert_eq!(audit.entries.len(), 1);
    assert_eq!(audit.entries[0].changed, Changed::Cancelled { gid });
    assert!(bench.store.audit(0, None, 10).await.expect("an audit").entries.is_empty());
}
