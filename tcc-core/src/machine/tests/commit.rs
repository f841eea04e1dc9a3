//! Commits, and what stands in their way (rules 1 and 4, invariants I1 and I3).

use super::scene::*;
use crate::{
    machine::{Decided, Heard, Refusal, Transition as T},
    record::{BranchState, Direction, Known, Reason, TransactionState},
};

/// Commits and expects to be turned down.
fn turned_down(scene: &mut Scene, heard: Vec<Heard>, reason: Reason) -> Decided {
    let decided = scene.apply(commit(heard)).unwrap();
    assert_eq!((decided.decision.direction, decided.decision.reason), (Direction::Cancel, reason));
    assert!(scene.saw().contains(&T::Decided(Direction::Cancel, reason)));
    assert_eq!(decided.state, TransactionState::Cancelling);
    assert!(scene.record().branches.iter().all(|branch| branch.state == BranchState::Cancelling));
    decided
}

#[test]
pub(super) fn a_commit_of_tries_that_all_succeeded_and_were_heard_confirms() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    let both = vec![heard(1, Some(succeeded())), heard(2, Some(succeeded()))];
    let decided = scene.apply(commit(both)).unwrap();
    let confirm = T::Decided(Direction::Confirm, Reason::Committed);
    assert_eq!(scene.saw(), [T::Reported, T::Reported, confirm, T::Rung, T::Rung]);
    assert_eq!((decided.state, decided.lost), (TransactionState::Confirming, Vec::new()));
    assert_eq!(scene.record().decision, Some(decided.decision.clone()));
    assert_eq!((decided.decision.by.as_str(), decided.decision.at), ("initiator", scene.now()));
    assert!(scene.record().branches.iter().all(|branch| branch.state == BranchState::Confirming));
}

#[test]
pub(super) fn rule_04_and_invariant_01_a_refused_branch_is_cancelled_while_the_rest_is_confirmed() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    let decided =
        scene.apply(commit(vec![heard(1, Some(succeeded())), heard(2, Some(Known::Refused))])).unwrap();
    assert_eq!(decided.decision.direction, Direction::Confirm);
    let states = [1, 2].map(|n| scene.branch(n).state);
    assert_eq!(states, [BranchState::Confirming, BranchState::Cancelling]);
    scene.finish("pay");
    scene.finish("stock");
    assert_eq!(scene.saw(), [T::Completed(Direction::Confirm), T::Ended(Direction::Confirm)]);
}

#[test]
pub(super) fn rule_04_a_commit_that_does_not_name_every_branch_cancels() {
    let mut scene = Scene::tried(&[STOCK, PAY]);
    turned_down(&mut scene, vec![heard(2, Some(succeeded()))], Reason::UnnamedBranch);
}

#[test]
pub(super) fn rule_04_a_commit_of_an_unheard_outcome_cancels_even_if_the_record_knows_it() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    turned_down(&mut scene, vec![heard(1, Some(succeeded())), heard(2, None)], Reason::UnknownOutcome);
    let mut scene = Scene::tried(&[STOCK]);
    turned_down(&mut scene, vec![heard(1, None)], Reason::UnknownOutcome);
}

#[test]
pub(super) fn rule_04_a_commit_that_contradicts_the_record_cancels() {
    let mut scene = Scene::tried(&[STOCK]);
    turned_down(&mut scene, vec![heard(1, Some(Known::Refused))], Reason::OutcomeConflict);
    let mut scene = Scene::trying(&[STOCK]);
    scene.report(1, Known::Refused);
    turned_down(&mut scene, vec![heard(1, Some(succeeded()))], Reason::OutcomeConflict);
}

#[test]
pub(super) fn rule_04_a_commit_of_a_branch_the_record_lost_cancels_and_names_it() {
    let mut scene = Scene::tried(&[STOCK]);
    let with = |known| vec![heard(1, Some(succeeded())), heard(2, known)];
    let decided = turned_down(&mut scene, with(Some(succeeded())), Reason::LostBranch);
    assert_eq!(decided.lost, [nth(2)]);
    let mut scene = Scene::tried(&[STOCK]);
    assert_eq!(turned_down(&mut scene, with(None), Reason::LostBranch).lost, [nth(2)]);
}

#[test]
pub(super) fn rule_01_a_commit_at_the_deadline_or_after_cancels() {
    let all = || vec![heard(1, Some(succeeded()))];
    let mut scene = Scene::tried(&[STOCK]);
    scene.wait(TIMEOUT_MS);
    turned_down(&mut scene, all(), Reason::DeadlinePassed);

    let mut scene = Scene::tried(&[STOCK]);
    scene.wait(TIMEOUT_MS - 1);
    assert_eq!(scene.apply(commit(all())).unwrap().decision.direction, Direction::Confirm);
}

#[test]
fn invariant_03_a_commit_that_is_turned_down_still_tells_cancel_what_its_initiator_heard() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    turned_down(&mut scene, vec![heard(1, Some(succeeded())), heard(2, None)], Reason::UnknownOutcome);
    assert_eq!(scene.claim_one("stock").outcome.succeeded().unwrap().as_str(), "{\"hold\":7}");
}

#[test]
fn rule_03_a_commit_of_a_missing_record_creates_nothing() {
    let mut scene = Scene::new();
    let create = Some(scene.create());
    let commit = crate::machine::Decide { create, ..commit(Vec::new()) };
    assert_eq!(scene.refused(commit), Refusal::NotFound);
    assert!(!scene.exists());
}

#[test]
fn a_commit_without_branches_is_confirmed_at_once() {
    let mut scene = Scene::begun();
    assert_eq!(scene.commit().state, TransactionState::Confirmed);
    let confirm = T::Decided(Direction::Confirm, Reason::Committed);
    assert_eq!(scene.saw(), [confirm, T::Ended(Direction::Confirm)]);
    assert_eq!(scene.record().ended_at, Some(scene.now()));
    assert_eq!(scene.timer(), None);
}
