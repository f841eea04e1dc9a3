//! Outcomes that come after the decision (rules 5 and 6c).

use super::scene::*;
use crate::{
    machine::{How, Register, Reported, Transition as T},
    outcome::TryOutcome,
    record::{BranchState, Closed, Direction, Known, Reason, Seen, TransactionState},
};

/// Cancelled for good, its try's outcome unknown.
fn cancelled() -> Scene {
    let mut scene = Scene::cancelling(&[STOCK]);
    scene.finish("stock");
    assert_eq!(scene.record().state, TransactionState::Cancelled);
    scene
}

#[test]
pub(super) fn rule_06c_an_outcome_that_comes_before_its_cancel_is_told_to_it() {
    for known in [succeeded(), Known::Refused] {
        let mut scene = Scene::cancelling(&[STOCK]);
        assert_eq!(scene.report(1, known.clone()), Reported::Late);
        assert_eq!(scene.saw(), [T::ReportedLate]);
        assert_eq!(scene.branch(1).state, BranchState::Cancelling);
        let told = scene.claim_one("stock").outcome;
        assert_eq!(told == TryOutcome::Refused, known == Known::Refused);
        assert_ne!(told, TryOutcome::Unknown);
    }
}

#[test]
pub(super) fn rule_06c_a_late_outcome_of_any_kind_reopens_its_branch_once() {
    for known in [succeeded(), Known::Refused] {
        let mut scene = cancelled();
        scene.wait(100);
        assert_eq!(scene.report(1, known.clone()), Reported::Late);
        assert_eq!(scene.saw(), [T::Reopened, T::Rung]);
        let record = scene.record();
        assert_eq!(
            (record.state, record.ended_at, record.expires_at()),
            (TransactionState::Cancelling, None, None)
        );
        assert_eq!(scene.standing(), ["stock"]);
        assert!(scene.timer().is_some());

        let record = scene.record().clone();
        assert_eq!(scene.report(1, known.clone()), Reported::Again);
        assert_eq!(*scene.record(), record, "a repeated report changes nothing");

        let drive = scene.claim_one("stock");
        assert_eq!((drive.direction, drive.epoch, drive.attempt), (Direction::Cancel, 2, 1));
        assert!(drive.arguments.is_some(), "it carries the arguments");
        assert_ne!(drive.outcome, TryOutcome::Unknown);
        scene.close(&drive, done(&drive)).unwrap();
        assert_eq!(scene.record().ended_at, Some(scene.now()), "its retention begins again");
        assert_eq!(scene.report(1, known), Reported::Again, "once, and not again");
        assert!(scene.record().state.is_final());
    }
}

#[test]
fn rule_06c_a_reopened_record_does_not_expire() {
    let mut scene = cancelled();
    scene.wait(RETENTION_MS - 1);
    scene.report(1, succeeded());
    scene.wait(2 * RETENTION_MS);
    assert!(scene.exists());
    scene.finish("stock");
    scene.wait(RETENTION_MS);
    assert!(!scene.exists());
}

#[test]
fn rule_06c_a_reopened_record_keeps_its_key() {
    let mut scene = Scene::new();
    let create = crate::machine::Create { key: Some(text("order 17")), ..scene.create() };
    scene.apply(begin(create)).unwrap();
    scene.register(vec![new_branch(1, STOCK)]).unwrap();
    scene.cancel();
    scene.finish("stock");
    scene.wait(RETENTION_MS - 1);
    scene.report(1, succeeded());
    scene.wait(1);
    assert_eq!(scene.snapshot().keys.len(), 1);
}

#[test]
fn rule_06c_one_branch_reopens_while_its_siblings_are_still_open() {
    let mut scene = Scene::cancelling(&[STOCK, PAY]);
    scene.finish("stock");
    scene.park("pay");
    assert_eq!(scene.timer(), None);
    assert_eq!(scene.report(1, succeeded()), Reported::Late);
    assert_eq!(scene.branch(1).state, BranchState::Cancelling);
    assert!(scene.branch(2).parked.is_some(), "a poisoned branch never holds up its siblings");
    assert!(scene.timer().is_some(), "I10: the transaction is in due again");
}

#[test]
fn rule_06c_a_reopened_branch_starts_afresh() {
    let mut scene = Scene::cancelling(&[STOCK]);
    let drive = scene.claim_one("stock");
    scene.close(&drive, How::Release { after_ms: 0, unhandled: true }).unwrap();
    let drive = scene.claim_one("stock");
    scene.close(&drive, How::Ongoing { after_ms: 50_000 }).unwrap();
    scene.wait(50_000);
    scene.finish("stock");
    scene.report(1, succeeded());
    let branch = scene.branch(1);
    assert_eq!((branch.attempts, branch.next_attempt_at), (0, scene.now()));
    assert_eq!((branch.ongoing_since, branch.unhandled_since, branch.parked), (None, None, None));
}

#[test]
fn rule_06c_a_losing_decision_reports_what_its_initiator_knows() {
    let mut scene = cancelled();
    let lost = scene.apply(commit(vec![heard(1, Some(succeeded()))])).unwrap();
    assert_eq!(scene.saw(), [T::Reopened, T::Rung, T::DecidedBefore]);
    assert_eq!((lost.decision.direction, lost.state), (Direction::Cancel, TransactionState::Cancelling));

    let mut scene = Scene::cancelling(&[STOCK]);
    scene.apply(commit(vec![heard(1, Some(Known::Refused))])).unwrap();
    assert_eq!(scene.saw(), [T::ReportedLate, T::DecidedBefore]);
}

#[test]
fn a_late_outcome_of_a_parked_branch_is_kept_for_the_operator_who_redrives_it() {
    let mut scene = Scene::cancelling(&[STOCK]);
    scene.park("stock");
    assert_eq!(scene.report(1, succeeded()), Reported::Late);
    assert_eq!((scene.branch(1).parked.is_some(), scene.timer()), (true, None));
    scene.redrive(&[]).unwrap();
    assert!(scene.claim_one("stock").outcome.succeeded().is_some());
}

#[test]
pub(super) fn rule_11_a_drive_that_finishes_knowing_less_than_the_record_drives_again_at_once() {
    let mut scene = Scene::cancelling(&[STOCK]);
    let unaware = scene.claim_one("stock");
    scene.report(1, succeeded());
    scene.wait(10);
    assert_eq!(scene.close(&unaware, done(&unaware)), Ok(Closed::DriveAgain));
    assert_eq!(scene.saw(), [T::CompletedUnaware, T::Rung]);
    let branch = scene.branch(1);
    assert_eq!((branch.state, branch.next_attempt_at), (BranchState::Cancelling, scene.now()));
    assert_eq!(scene.standing(), ["stock"]);

    assert_eq!(scene.close(&unaware, done(&unaware)), Ok(Closed::DriveAgain));
    assert_eq!(scene.saw(), [T::ClosedAgain]);
    let aware = scene.claim_one("stock");
    assert!(aware.outcome.clone().succeeded().is_some());
    assert_eq!(scene.close(&aware, done(&aware)), Ok(Closed::Final));
}

#[test]
fn rule_11_an_older_drive_that_knew_less_does_not_disturb_the_newer_one() {
    let mut scene = Scene::cancelling(&[STOCK]);
    let old = scene.claim_one("stock");
    scene.wait(LEASE_MS);
    scene.report(1, succeeded());
    let new = scene.claim_one("stock");
    let record = scene.record().clone();
    assert_eq!(scene.close(&old, done(&old)), Ok(Closed::DriveAgain));
    assert_eq!(scene.saw(), [T::CompletedUnaware]);
    assert_eq!(*scene.record(), record);
    assert_eq!(
        scene.close(&old, How::Done { seen: Seen::Succeeded }),
        Ok(Closed::Final),
        "the effect did happen"
    );
    assert_eq!(scene.close(&new, done(&new)), Ok(Closed::Final));
}

#[test]
fn rule_06a_a_late_registration_of_a_reopened_transaction_is_refused() {
    let mut scene = cancelled();
    scene.report(1, succeeded());
    let first = Register { create: Some(scene.create()), ..register(vec![new_branch(2, PAY)]) };
    scene.refused(first);
    assert_eq!(scene.record().decision.as_ref().unwrap().reason, Reason::Aborted);
}

#[test]
fn rule_10_a_drive_that_finished_unaware_is_no_longer_ongoing_or_handed_on() {
    let mut scene = Scene::cancelling(&[STOCK]);
    for how in [How::Ongoing { after_ms: 0 }, How::Release { after_ms: 0, unhandled: true }] {
        let drive = scene.claim_one("stock");
        scene.close(&drive, how).unwrap();
    }
    let unaware = scene.claim_one("stock");
    scene.report(1, succeeded());
    scene.close(&unaware, done(&unaware)).unwrap();
    let branch = scene.branch(1);
    assert_eq!((branch.ongoing_since, branch.unhandled_since), (None, None));
}

#[test]
fn rule_08_many_late_outcomes_in_one_step_ring_their_participant_once() {
    let mut scene = Scene::cancelling(&[STOCK, STOCK, STOCK]);
    scene.finish("stock");
    let all = [1, 2, 3].map(|n| heard(n, Some(succeeded()))).to_vec();
    scene.apply(commit(all)).unwrap();
    assert_eq!(scene.saw(), [T::Reopened, T::Rung, T::Reopened, T::Reopened, T::DecidedBefore]);
    assert_eq!(scene.record().bells["stock"].count, 1, "a lost message costs a second, not a minute");
}

#[test]
fn rule_10_a_drive_that_finished_unaware_has_not_failed_and_the_next_one_counts_from_one() {
    let mut scene = Scene::cancelling(&[STOCK]);
    let drive = scene.claim_one("stock");
    scene.close(&drive, failed(0)).unwrap();
    let unaware = scene.claim_one("stock");
    scene.report(1, succeeded());
    scene.close(&unaware, done(&unaware)).unwrap();
    assert_eq!(scene.claim_one("stock").attempt, 1, "as if the outcome had come after it");
}

/// Found by the exhaustive model: the older drive's completion used to close the newer claim, and the late
/// outcome then let a third worker in beside the second, whose lease still held.
#[test]
fn i4_a_branch_finished_by_an_older_drive_and_reopened_waits_for_the_newer_one() {
    let mut scene = Scene::cancelling(&[STOCK]);
    let old = scene.claim_one("stock");
    scene.wait(LEASE_MS);
    let new = scene.claim_one("stock");
    assert_eq!(scene.close(&old, done(&old)), Ok(Closed::Final));
    assert_eq!(scene.report(1, succeeded()), Reported::Late);
    assert_eq!(scene.claim("stock"), [], "the newer drive's lease holds");
    assert_eq!(scene.close(&new, done(&new)), Ok(Closed::DriveAgain));
    let aware = scene.claim_one("stock");
    assert_eq!(scene.close(&aware, done(&aware)), Ok(Closed::Final));
}

#[test]
fn i4_the_holder_of_a_branch_finished_by_an_older_drive_closes_its_claim_by_any_report() {
    for how in [How::Done { seen: Seen::Unknown }, failed(10_000), How::Ongoing { after_ms: 10_000 }] {
        let mut scene = Scene::cancelling(&[STOCK]);
        let old = scene.claim_one("stock");
        scene.wait(LEASE_MS);
        let new = scene.claim_one("stock");
        scene.close(&old, done(&old)).unwrap();
        assert_eq!(scene.close(&new, how), Ok(Closed::Final));
        scene.report(1, succeeded());
        scene.claim_one("stock");
    }
}
