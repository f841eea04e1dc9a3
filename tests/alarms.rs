//! What a notifier is told of: what is parked, what is stuck, once each, whatever the notifier does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use support::*;
use tcc::{
    Alarm, AlarmKind, BoxError, Gid, MemoryStore, Notifier, Runtime, RuntimeBuilder, Tx, store::Store,
};

/// Writes down what it is told, and fails as it is told to.
#[derive(Clone, Default)]
struct Pager {
    told: Arc<Mutex<Vec<Alarm>>>,
    acts: Arc<Mutex<Vec<Act>>>,
}

#[async_trait]
impl Notifier for Pager {
    async fn notify(&self, alarm: &Alarm) -> Result<(), BoxError> {
        self.told.lock().unwrap().push(alarm.clone());
        let act = self.acts.lock().unwrap().pop();
        match act {
            Some(Act::Fail) => Err("nobody is there".into()),
            Some(Act::Panic) => panic!("the pager broke"),
            Some(Act::Hang) => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

impl Pager {
    fn told(&self) -> Vec<Alarm> {
        self.told.lock().unwrap().clone()
    }

    fn ids(&self) -> Vec<String> {
        self.told().into_iter().map(|alarm| alarm.id).collect()
    }
}

fn watched(store: &(impl Store + Clone), bank: &Bank, pager: &Pager) -> RuntimeBuilder {
    hosting(store, bank).survey_interval(ms(10)).notifier(pager.clone())
}

/// Decides a transfer of these debits, and does not wait for its end.
async fn transfer(runtime: &Runtime, debits: u32) -> Gid {
    let body = async |tx: &Tx| {
        for amount in 0..debits {
            tx.call("bank.debit@1", &amount).await?;
        }
        Ok(tx.gid().clone())
    };
    runtime.transaction("transfer").run(body).await.unwrap()
}

#[tokio::test]
async fn a_parked_branch_is_told_at_once_and_once() {
    let (store, bank, pager) = (MemoryStore::new(), Bank::default(), Pager::default());
    // Nothing is looked at for an hour: who parks it has it told.
    let runtime =
        hosting(&store, &bank).survey_interval(Duration::from_secs(3_600)).notifier(pager.clone()).start();
    let runtime = runtime.await.unwrap();
    bank.script("confirm", &[Act::Park]);
    let gid = transfer(&runtime, 1).await;
    until("the alarm", || pager.told().len() == 1).await;
    let alarm = pager.told().remove(0);
    assert_eq!(alarm.id, format!("{gid}/01/parked/1"));
    assert_eq!((alarm.kind, alarm.cause, alarm.attempts), (AlarmKind::Parked, "handler", 1));
    assert_eq!(alarm.branch.map(|branch| branch.to_string()).as_deref(), Some("01"));
    assert_eq!(alarm.action.map(|action| action.to_string()).as_deref(), Some("bank.debit@1"));
    assert!(alarm.last_error.is_some() && alarm.since.is_some() && alarm.name.is_some());
    runtime.shutdown().await;
}

#[tokio::test]
async fn two_processes_that_look_over_and_over_tell_each_alarm_once() {
    let (store, bank, pager) = (MemoryStore::new(), Bank::default(), Pager::default());
    let first = watched(&store, &bank, &pager).survey_max(1).start().await.unwrap();
    let second = watched(&store, &bank, &pager).start().await.unwrap();
    bank.script("confirm", &[Act::Park; 6]);
    let gids = [transfer(&first, 1).await, transfer(&second, 2).await, transfer(&first, 3).await];
    until("six alarms", || pager.ids().len() >= 6).await;
    tokio::time::sleep(ms(200)).await;
    let ids = pager.ids();
    let expected: BTreeSet<String> = (gids.iter().zip(1..=3))
        .flat_map(|(gid, debits)| (1..=debits).map(move |branch| format!("{gid}/{branch:02}/parked/1")))
        .collect();
    assert_eq!(ids.len(), 6, "{ids:?}");
    assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), expected);
    first.shutdown().await;
    second.shutdown().await;
}

#[tokio::test]
async fn what_a_notifier_fails_to_tell_is_told_again_with_the_same_id() {
    for act in [Act::Fail, Act::Panic] {
        let ((store, clock), bank, pager) = (stopped_clock(1), Bank::default(), Pager::default());
        pager.acts.lock().unwrap().push(act);
        let runtime = watched(&store, &bank, &pager).start().await.unwrap();
        bank.script("confirm", &[Act::Park]);
        transfer(&runtime, 1).await;
        until("the first telling", || pager.ids().len() == 1).await;
        tokio::time::sleep(ms(100)).await;
        assert_eq!(pager.ids().len(), 1, "not before its time");
        move_clock(&clock, Duration::from_secs(61));
        // A process that has nothing to do learns the store's time when it is asked how it is.
        runtime.health().await;
        until("the second telling", || pager.ids().len() == 2).await;
        assert_eq!(pager.ids()[0], pager.ids()[1]);
        runtime.shutdown().await;
    }
}

#[tokio::test]
async fn a_notifier_that_hangs_holds_up_no_transaction() {
    let (store, bank, pager) = (MemoryStore::new(), Bank::default(), Pager::default());
    *pager.acts.lock().unwrap() = vec![Act::Hang; 20];
    let runtime = watched(&store, &bank, &pager).start().await.unwrap();
    bank.script("confirm", &[Act::Park; 20]);
    transfer(&runtime, 20).await;
    until("the pager hangs", || !pager.ids().is_empty()).await;
    let body = async |tx: &Tx| Ok(tx.call("bank.credit@1", &1).await?);
    runtime.transaction("refund").wait_final(LONG).run(body).await.unwrap();
    tokio::time::timeout(LONG, runtime.shutdown()).await.expect("a shutdown does not wait for it either");
}

#[tokio::test]
async fn what_takes_too_long_is_told_as_stuck_while_it_goes_on() {
    let (store, bank, pager) = (MemoryStore::new(), Bank::default(), Pager::default());
    let runtime = watched(&store, &bank, &pager).stuck_after(ms(50)).start().await.unwrap();
    bank.script("confirm", &[Act::Held]);
    let gid = transfer(&runtime, 2).await;
    until("two alarms", || pager.ids().len() >= 2).await;
    let told = pager.told();
    let kinds: BTreeSet<_> = told.iter().map(|alarm| (alarm.kind, alarm.cause)).collect();
    assert_eq!(kinds, BTreeSet::from([(AlarmKind::Stuck, "overdue")]));
    assert!(told.iter().any(|alarm| alarm.id == format!("{gid}/01/stuck/confirm")));
    bank.open_gate();
    until_state(&store, tcc::record::TransactionState::Confirmed).await;
    runtime.shutdown().await;
}

#[tokio::test]
async fn a_branch_with_many_attempts_is_stuck_before_it_is_old() {
    let (store, bank, pager) = (MemoryStore::new(), Bank::default(), Pager::default());
    let runtime = watched(&store, &bank, &pager).stuck_attempts(2).start().await.unwrap();
    bank.script("confirm", &[Act::Fail, Act::Fail, Act::Held]);
    let gid = transfer(&runtime, 1).await;
    until("the alarm", || !pager.ids().is_empty()).await;
    let alarm = pager.told().remove(0);
    assert_eq!(alarm.id, format!("{gid}/01/stuck/confirm"));
    assert_eq!((alarm.kind, alarm.cause), (AlarmKind::Stuck, "attempts"));
    assert!(alarm.attempts >= 2 && alarm.last_error.is_some());
    bank.open_gate();
    runtime.shutdown().await;
}
