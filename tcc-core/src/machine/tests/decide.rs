//! Deciding once, with what leads a worker to the work (rules 1, 3, 5 and 7, invariant I2).

use super::scene::*;
use crate::{
    machine::{Decide, InlineClaim, Refusal, Transition as T},
    outcome::TryOutcome,
    record::{BranchState, Direction, Known, Reason, Token, TransactionState},
};

/// Decides and drives these branches itself.
fn inline(decide: Decide, branches: &[usize]) -> Decide {
    let branches = branches.iter().map(|n| nth(*n)).collect();
    Decide {
        inline: Some(InlineClaim { token: Token(7), lease_ms: LEASE_MS, branches, actions: vec![] }),
        ..decide
    }
}

fn cancels_because(reason: Reason) {
    let mut scene = Scene::trying(&[STOCK]);
    let decided = scene.apply(cancel(reason)).unwrap();
    assert_eq!((decided.decision.direction, decided.decision.reason), (Direction::Cancel, reason));
    assert_eq!(scene.saw(), [T::Decided(Direction::Cancel, reason), T::Rung]);
}

#[test]
pub(super) fn an_aborting_initiator_cancels() {
    cancels_because(Reason::Aborted);
}

#[test]
pub(super) fn a_panicking_initiator_cancels() {
    cancels_because(Reason::Panicked);
}

#[test]
pub(super) fn a_dropped_initiator_cancels() {
    cancels_because(Reason::Dropped);
}

#[test]
pub(super) fn an_operator_cancels() {
    cancels_because(Reason::Operator);
}

#[test]
pub(super) fn rule_16_an_initiator_with_a_pending_call_cancels() {
    cancels_because(Reason::PendingCall);
}

#[test]
pub(super) fn rule_01_and_invariant_02_the_second_decision_learns_the_first() {
    let mut scene = Scene::confirming(&[STOCK]);
    let first = scene.record().decision.clone().unwrap();
    scene.wait(TIMEOUT_MS);
    let record = scene.record().clone();
    let second = scene.apply(cancel(Reason::Operator)).unwrap();
    assert_eq!(scene.saw(), [T::DecidedBefore]);
    assert_eq!((second.decision, second.state), (first, TransactionState::Confirming));
    assert_eq!(*scene.record(), record);

    let mut scene = Scene::cancelling(&[STOCK]);
    let second = scene.apply(commit(vec![heard(1, Some(succeeded()))])).unwrap();
    assert_eq!((second.decision.direction, second.decision.reason), (Direction::Cancel, Reason::Aborted));
}

#[test]
fn rule_05_every_branch_of_a_cancelled_transaction_gets_cancel_with_what_is_known() {
    let mut scene = Scene::trying(&[STOCK, STOCK, STOCK]);
    scene.report(1, succeeded());
    scene.report(2, Known::Refused);
    scene.cancel();
    let drives = scene.claim("stock");
    assert!(drives.iter().all(|drive| drive.direction == Direction::Cancel));
    assert!(drives.iter().all(|drive| drive.reason == Reason::Aborted && drive.decided == Direction::Cancel));
    let outcomes: Vec<_> = drives.into_iter().map(|drive| drive.outcome.map(|_| ())).collect();
    assert_eq!(outcomes, [TryOutcome::Succeeded(()), TryOutcome::Refused, TryOutcome::Unknown]);
}

#[test]
pub(super) fn rule_05_the_record_of_a_cancelled_transaction_is_the_tombstone() {
    let mut scene = Scene::new();
    let create = Some(scene.create());
    let decided = scene.apply(Decide { create, ..cancel(Reason::Dropped) }).unwrap();
    let cancelled = T::Decided(Direction::Cancel, Reason::Dropped);
    assert_eq!(scene.saw(), [cancelled, T::Ended(Direction::Cancel), T::Tombstone]);
    assert_eq!(decided.state, TransactionState::Cancelled);
    assert_eq!((scene.timer(), scene.record().ended_at), (None, Some(scene.now())));
    // What was sent before it and comes after it finds it.
    let first =
        crate::machine::Register { create: Some(scene.create()), ..register(vec![new_branch(1, STOCK)]) };
    assert_eq!(scene.refused(first), Refusal::AlreadyDecided(Direction::Cancel));
}

#[test]
fn rule_03_a_tombstone_is_written_before_the_deadline_only_and_only_when_nothing_was_acknowledged() {
    let mut scene = Scene::new();
    let create = Some(scene.create());
    assert_eq!(scene.refused(cancel(Reason::Dropped)), Refusal::NotFound);
    scene.wait(TIMEOUT_MS);
    assert_eq!(scene.refused(Decide { create, ..cancel(Reason::Dropped) }), Refusal::TooLateToCreate);
    assert!(!scene.exists());
}

#[test]
fn rule_03_a_tombstone_names_the_branches_that_were_lost() {
    let mut scene = Scene::new();
    let create = Some(scene.create());
    let heard = vec![heard(1, Some(succeeded())), heard(2, None)];
    let decided = scene.apply(Decide { create, heard, ..cancel(Reason::Aborted) }).unwrap();
    assert_eq!(decided.lost, [nth(1), nth(2)]);
    assert!(scene.record().branches.is_empty());
}

#[test]
fn a_cancel_of_a_recorded_transaction_writes_no_tombstone() {
    let mut scene = Scene::trying(&[STOCK]);
    let create = Some(scene.create());
    scene.apply(Decide { create, ..cancel(Reason::Aborted) }).unwrap();
    assert_eq!(scene.saw(), [T::Decided(Direction::Cancel, Reason::Aborted), T::Rung]);
    assert_eq!(scene.record().state, TransactionState::Cancelling);
}

#[test]
pub(super) fn rule_07_a_decision_rings_each_participant_once_in_the_same_step() {
    let scene = Scene::cancelling(&[STOCK, PAY, STOCK]);
    assert_eq!(scene.saw(), [T::Decided(Direction::Cancel, Reason::Aborted), T::Rung, T::Rung]);
    assert_eq!(scene.standing(), ["pay", "stock"]);
    assert!(scene.record().bells.values().all(|bell| bell.count == 1));
    assert_eq!(scene.timer(), Some(1_000), "if the messages are lost, someone looks");
}

#[test]
pub(super) fn rule_11_a_decision_claims_for_its_caller_and_rings_for_the_rest() {
    let mut scene = Scene::tried(&[STOCK, STOCK, PAY]);
    let heard = [1, 2, 3].map(|n| heard(n, Some(succeeded()))).to_vec();
    let decided = scene.apply(inline(commit(heard), &[1, 2])).unwrap();
    let confirm = T::Decided(Direction::Confirm, Reason::Committed);
    assert!(scene.saw().ends_with(&[confirm, T::ClaimedInline, T::ClaimedInline, T::Rung]));
    assert_eq!(decided.drives.iter().map(|drive| drive.ordinal).collect::<Vec<_>>(), [nth(1), nth(2)]);
    for drive in &decided.drives {
        assert_eq!((drive.epoch, drive.attempt, drive.lease_ms), (1, 1, LEASE_MS));
        assert_eq!(
            (drive.direction, drive.decided, drive.reason),
            (Direction::Confirm, Direction::Confirm, Reason::Committed)
        );
    }
    assert_eq!(scene.standing(), ["pay"]);
    assert_eq!(scene.timer(), Some(1_000));
    assert_eq!(scene.branch(1).leased_until(scene.now()), Some(scene.now() + ms(LEASE_MS)));
    assert!(scene.claim("stock").is_empty(), "they are leased to the caller");
}

#[test]
fn rule_07_a_caller_that_claimed_everything_is_watched_by_the_timer_alone() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    scene.apply(inline(cancel(Reason::Aborted), &[1, 2])).unwrap();
    assert!(scene.standing().is_empty());
    assert_eq!(scene.timer(), Some(LEASE_MS));
}

#[test]
fn a_commit_that_is_turned_down_claims_the_cancels_it_caused() {
    let mut scene = Scene::trying(&[STOCK]);
    let decided = scene.apply(inline(commit(vec![heard(1, None)]), &[1])).unwrap();
    assert_eq!(decided.drives[0].direction, Direction::Cancel);
    assert_eq!(decided.drives[0].reason, Reason::UnknownOutcome);
}

#[test]
fn rule_14_a_repeated_decision_gets_its_own_claims_while_they_are_open() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    let decide = inline(cancel(Reason::Aborted), &[1, 2]);
    let first = scene.apply(decide.clone()).unwrap();
    scene.wait(LEASE_MS - 1);
    let again = scene.apply(decide.clone()).unwrap();
    assert_eq!(scene.saw(), [T::DecidedBefore]);
    assert_eq!(again.drives.iter().map(|drive| drive.lease_ms).collect::<Vec<_>>(), [1, 1]);

    scene.close(&first.drives[0], done(&first.drives[0])).unwrap();
    assert_eq!(scene.apply(decide.clone()).unwrap().drives.len(), 1, "one is closed");
    scene.wait(1);
    assert!(scene.apply(decide).unwrap().drives.is_empty(), "the other's lease ran out");
}

#[test]
fn a_losing_decision_claims_nothing() {
    let mut scene = Scene::cancelling(&[STOCK]);
    let lost = scene.apply(inline(commit(vec![heard(1, Some(succeeded()))]), &[1])).unwrap();
    assert!(lost.drives.is_empty());
    assert_eq!(scene.branch(1).epoch, 0);
}

#[test]
fn invariant_04_a_losing_decision_is_given_none_of_the_winners_drives() {
    let mut scene = Scene::tried(&[STOCK]);
    let winner = scene.apply(inline(commit(vec![heard(1, Some(succeeded()))]), &[1])).unwrap();
    assert_eq!(winner.drives.len(), 1);
    let other = InlineClaim { token: Token(8), lease_ms: LEASE_MS, branches: vec![nth(1)], actions: vec![] };
    let loser = Decide { inline: Some(other), ..cancel(Reason::Operator) };
    assert!(scene.apply(loser).unwrap().drives.is_empty());
}

#[test]
fn a_decision_makes_every_branch_due_at_once() {
    let scene = Scene::cancelling(&[STOCK]);
    let branch = scene.branch(1);
    assert_eq!((branch.state, branch.next_attempt_at), (BranchState::Cancelling, scene.now()));
}
