//! What must hold whatever happens: processes die, the store comes and goes, handlers fail.
//!
//! One history is made, and every invariant looked for in it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use support::*;
use tcc::{
    Event, Gid, MemoryStore, Runtime, TransactionErrorKind, TryOutcome, Tx,
    record::{BranchState, Decision, Direction, Record, Seen, TransactionState},
};
use tokio::sync::OnceCell;

/// What happened.
struct History {
    /// Every record as it ended.
    records: BTreeMap<Gid, Record>,
    /// What was wrong with a record while it was looked at.
    wrong: Vec<String>,
    /// Decisions as processes told them.
    decisions: Vec<(Gid, Decision)>,
    /// What callers were told.
    told: Vec<(Gid, Result<(), TransactionErrorKind>)>,
    bank: Bank,
    store: MemoryStore,
}

async fn history() -> &'static History {
    static HISTORY: OnceCell<History> = OnceCell::const_new();
    // On threads of its own, which outlive the first test that asks.
    HISTORY
        .get_or_init(|| async {
            let (tell, told) = tokio::sync::oneshot::channel();
            std::thread::spawn(|| {
                let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let _ = tell.send(tokio.block_on(make_history()));
            });
            told.await.expect("the history is made")
        })
        .await
}

fn process(faulty: &Faulty, bank: &Bank) -> tcc::RuntimeBuilder {
    let actions = ["debit", "credit"].map(|name| {
        let policy = policy().timeout(ms(60)).retry(retry().max(50));
        bank.action(name, 1).with_policy(policy)
    });
    let builder = quick(faulty).actions("bank", actions);
    builder.lease(ms(300)).drive_lease(ms(300)).store_timeout(ms(100)).decide_patience(SECOND)
}

async fn make_history() -> History {
    let (store, bank) = (MemoryStore::new(), Bank::default());
    use Act::{Fail, Panic, Slow, Succeed};
    let tries = [Succeed, Slow(20), Succeed, Fail, Succeed, Slow(120), Panic, Succeed, Slow(5), Succeed];
    bank.script("try", &tries.repeat(40));
    bank.script("confirm", &[Succeed, Fail, Slow(30), Panic, Succeed].repeat(40));
    bank.script("cancel", &[Succeed, Slow(30), Fail, Succeed, Panic].repeat(40));
    let decisions: Arc<Mutex<Vec<(Gid, Decision)>>> = Arc::default();
    let told: Arc<Mutex<Vec<(Gid, Result<(), TransactionErrorKind>)>>> = Arc::default();
    let watching = tokio::spawn(watch(store.clone()));

    let survivor_store = Faulty::over(&store);
    let survivor = Process::start(process(&survivor_store, &bank)).await;
    listen(&survivor.runtime, &decisions);
    for round in 0..4 {
        let faulty = Faulty::over(&store);
        let doomed = Process::start(process(&faulty, &bank)).await;
        listen(&doomed.runtime, &decisions);
        for place in 0..16 {
            let host = if place % 2 == 0 { &doomed } else { &survivor };
            let told = Arc::clone(&told);
            host.spawn(|runtime| async move { transfer(runtime, place, told).await });
            tokio::time::sleep(ms(4)).await;
            faulty.set_away(place % 5 == round);
            survivor_store.set_away(place % 6 == round);
            faulty.fail("decide", &[Fault::Lose, Fault::Pass, Fault::Refuse]);
            survivor_store.fail("close", &[Fault::Lose, Fault::Refuse]);
        }
        doomed.kill();
    }
    survivor_store.set_away(false);
    let ended = || store.records().iter().all(|record| record.state.is_final()) && store.timers().is_empty();
    until("every transaction is final", ended).await;
    // Tries that ran out of time end, and what they came to late is cancelled.
    until_async("nothing is open", async || survivor.runtime.health().await.open_transactions == 0).await;
    until("every transaction is final", ended).await;
    watching.abort();
    let wrong = watching.await.err().filter(|error| error.is_panic());
    let wrong = wrong.map(|panic| format!("{panic}")).into_iter().collect();
    let records = store.records().into_iter().map(|record| (record.gid.clone(), record)).collect();
    let decisions = decisions.lock().unwrap().clone();
    let told = told.lock().unwrap().clone();
    History { records, wrong, decisions, told, bank, store }
}

async fn transfer(
    runtime: Runtime,
    place: u64,
    told: Arc<Mutex<Vec<(Gid, Result<(), TransactionErrorKind>)>>>,
) {
    let gid = Mutex::new(None);
    let body = async |tx: &Tx| {
        *gid.lock().unwrap() = Some(tx.gid().clone());
        match place % 3 {
            0 => drop(tcc::try_join!(tx.call("bank.debit@1", &place), tx.call("bank.credit@1", &place))?),
            1 => {
                tx.call("bank.debit@1", &place).await?;
                // The fallback of one who can do without.
                let _ = tx.call("bank.credit@1", &place).await;
            }
            _ => {
                tx.call("bank.debit@1", &place).await?;
                tx.call("bank.credit@1", &place).await?;
            }
        }
        Ok(())
    };
    let ended = runtime.transaction("transfer").run(body).await.map_err(|error| error.kind());
    let gid = gid.lock().unwrap().take();
    told.lock().unwrap().extend(gid.map(|gid| (gid, ended)));
}

fn listen(runtime: &Runtime, decisions: &Arc<Mutex<Vec<(Gid, Decision)>>>) {
    let (mut events, decisions) = (runtime.events(), Arc::clone(decisions));
    tokio::spawn(async move {
        while let Ok(event) = events.recv().await {
            if let Event::Decided { gid, decision } = event {
                decisions.lock().unwrap().push((gid, decision));
            }
        }
    });
}

/// Looks at every record, over and over.
async fn watch(store: MemoryStore) {
    let mut seen: BTreeMap<Gid, Record> = BTreeMap::new();
    loop {
        for record in store.records() {
            if let Some(before) = seen.get(&record.gid).filter(|before| before.decision.is_some()) {
                assert_eq!(before.decision, record.decision, "I2");
                assert_eq!(before.branches.len(), record.branches.len(), "I7");
            }
            assert!(record.state.is_final() || record.expires_at().is_none(), "I10: {record:?}");
            seen.insert(record.gid.clone(), record);
        }
        tokio::time::sleep(ms(1)).await;
    }
}

#[tokio::test]
async fn the_history_holds_what_it_is_made_for() {
    let history = history().await;
    let states: Vec<TransactionState> = history.records.values().map(|record| record.state).collect();
    for state in [TransactionState::Confirmed, TransactionState::Cancelled] {
        assert!(states.iter().filter(|found| **found == state).count() >= 5, "{states:?}");
    }
    let transitions = history.store.transitions();
    assert!(transitions.len() > 20, "{transitions:?}");
}

#[tokio::test]
async fn invariant_i1_nothing_is_confirmed_beside_a_success_that_is_cancelled() {
    for record in history().await.records.values() {
        let confirmed = record.branches.iter().any(|branch| branch.state == BranchState::Confirmed);
        let undone = |known| known == Some(Seen::Succeeded);
        let cancelled = record
            .branches
            .iter()
            .any(|branch| branch.state == BranchState::Cancelled && undone(branch.known));
        assert!(!(confirmed && cancelled), "{record:?}");
    }
}

#[tokio::test]
async fn invariant_i2_and_i7_nothing_changes_a_decision_or_adds_to_it() {
    let history = history().await;
    assert_eq!(history.wrong, [""; 0]);
    for (gid, decision) in &history.decisions {
        assert_eq!(history.records[gid].decision.as_ref(), Some(decision), "{gid}");
    }
}

#[tokio::test]
async fn invariant_i3_only_what_was_tried_is_confirmed() {
    let history = history().await;
    for confirm in history.bank.ran("confirm") {
        let branch = history.records[&confirm.gid].branch(confirm.branch).unwrap();
        assert_eq!((branch.state, branch.known), (BranchState::Confirmed, Some(Seen::Succeeded)));
        let tries = history.bank.ran("try");
        assert!(tries.iter().any(|tried| (&tried.gid, tried.branch) == (&confirm.gid, confirm.branch)));
    }
}

#[tokio::test]
async fn invariant_i5_what_is_final_was_finished_by_a_handler_that_knew_as_much_as_the_record() {
    let history = history().await;
    for record in history.records.values() {
        for (ordinal, branch) in record.branches() {
            let of = |ran: &&Ran| (&ran.gid, ran.branch) == (&record.gid, ordinal);
            match branch.state {
                BranchState::Confirmed => assert!(history.bank.ran("confirm").iter().any(|ran| of(&ran))),
                BranchState::Cancelled => {
                    let cancels = history.bank.ran("cancel");
                    let told = cancels.iter().filter(of).filter_map(|ran| ran.outcome.as_ref());
                    let known = told.map(|outcome| match outcome {
                        TryOutcome::Succeeded(_) => Some(Seen::Succeeded),
                        TryOutcome::Refused => Some(Seen::Refused),
                        TryOutcome::Unknown => None,
                    });
                    assert!(
                        known.last().is_some_and(|known| known == branch.known),
                        "I6: {ordinal} {record:?}"
                    );
                }
                state => panic!("{state} in {record:?}"),
            }
        }
    }
}

#[tokio::test]
async fn invariant_i8_a_decision_that_was_heard_stands() {
    for (gid, told) in &history().await.told {
        let record = history().await.records.get(gid);
        let direction = record.and_then(|record| Some(record.decision.as_ref()?.direction));
        match told {
            Ok(()) => assert_eq!(direction, Some(Direction::Confirm), "{gid}"),
            Err(TransactionErrorKind::Undecided) => {}
            Err(kind) => assert_ne!(direction, Some(Direction::Confirm), "{gid} was told {kind:?}"),
        }
    }
}

#[tokio::test]
async fn invariant_i9_every_transaction_becomes_final() {
    let history = history().await;
    assert!(history.records.len() >= 40, "{}", history.records.len());
    assert!(history.records.values().all(|record| record.state.is_final()));
    assert_eq!((history.store.timers().len(), history.store.standing().len()), (0, 0));
}
