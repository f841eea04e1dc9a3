//! The end of a transaction (rules 11 and 13, invariant I5).

use super::scene::*;
use crate::{
    machine::{Close, Transition as T},
    record::{Direction, Known, TransactionState},
};

#[test]
pub(super) fn invariant_05_a_transaction_ends_when_its_last_branch_is_final() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.finish("stock");
    assert_eq!((scene.record().state, scene.record().ended_at), (TransactionState::Confirming, None));
    scene.wait(5);
    scene.finish("pay");
    assert_eq!(scene.saw(), [T::Completed(Direction::Confirm), T::Ended(Direction::Confirm)]);
    assert_eq!(scene.record().state, TransactionState::Confirmed);
    assert_eq!(scene.record().ended_at, Some(scene.now()));
    assert_eq!(scene.timer(), None);
}

#[test]
pub(super) fn invariant_05_a_cancelled_transaction_ends_cancelled() {
    let mut scene = Scene::cancelling(&[STOCK]);
    scene.finish("stock");
    assert_eq!(scene.saw(), [T::Completed(Direction::Cancel), T::Ended(Direction::Cancel)]);
    assert_eq!(scene.record().state, TransactionState::Cancelled);
}

#[test]
fn rule_11_two_branches_finished_in_one_call_end_it_once() {
    let mut scene = Scene::confirming(&[STOCK, STOCK]);
    let drives = scene.claim("stock").iter().map(|drive| close(drive, done(drive))).collect();
    let close = Close { drives };
    assert_eq!(scene.apply(close.clone()).unwrap().state, TransactionState::Confirmed);
    let one = T::Completed(Direction::Confirm);
    assert_eq!(scene.saw(), [one, one, T::Ended(Direction::Confirm)]);
    scene.wait(10);
    let ended_at = scene.record().ended_at;
    scene.apply(close).unwrap();
    assert_eq!((scene.saw(), scene.record().ended_at), ([T::ClosedAgain; 2].as_slice(), ended_at));
}

#[test]
fn rule_13_a_final_record_is_kept_for_its_retention_and_an_open_one_for_ever() {
    let mut scene = Scene::confirming(&[STOCK]);
    scene.wait(100 * RETENTION_MS);
    scene.finish("stock");
    assert_eq!(scene.record().expires_at(), Some(scene.now() + ms(RETENTION_MS)));
    scene.wait(RETENTION_MS - 1);
    assert!(scene.exists());
    scene.wait(1);
    assert!(!scene.exists());
}

#[test]
fn rule_13_a_parked_transaction_does_not_expire() {
    let mut scene = Scene::confirming(&[STOCK]);
    scene.park("stock");
    scene.wait(100 * RETENTION_MS);
    assert!(scene.exists());
}

#[test]
fn payloads_are_deleted_when_the_transaction_is_final_and_not_before() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.finish("stock");
    assert!(scene.branch(1).arguments.is_some() && scene.branch(1).result.is_some());
    scene.finish("pay");
    assert_eq!(scene.record().payload_bytes(), 0);
}

#[test]
fn the_arguments_of_a_branch_whose_outcome_is_unknown_are_kept_for_a_late_outcome() {
    let mut scene = Scene::trying(&[STOCK, STOCK, STOCK]);
    scene.report(1, succeeded());
    scene.report(2, Known::Refused);
    scene.cancel();
    scene.finish("stock");
    let kept = [1, 2, 3].map(|n| scene.branch(n).arguments.is_some());
    assert_eq!(kept, [false, false, true]);
    scene.report(3, succeeded());
    scene.finish("stock");
    assert_eq!(scene.record().payload_bytes(), 0);
}

#[test]
fn a_message_that_still_stands_at_the_end_is_taken_away() {
    let mut scene = Scene::confirming(&[STOCK]);
    let stale = scene.claim_one("stock");
    scene.wait(LEASE_MS);
    scene.sweep();
    assert_eq!(scene.standing(), ["stock"]);
    scene.close(&stale, done(&stale)).unwrap();
    assert!(scene.record().state.is_final() && scene.record().bells.is_empty());
    assert!(scene.standing().is_empty());
}
