//! Branches that wait for an operator (rules 9 and 10).

use super::scene::*;
use crate::{
    machine::{How, Redrive, Refusal, Transition as T},
    record::{BranchState, Closed, Direction, ParkCause, Parked, TransactionState},
};

fn is_parked_for(cause: ParkCause) {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    let park = How::Park { cause, error: "no such hold".into() };
    assert_eq!(scene.close(&drive, park.clone()), Ok(Closed::Parked));
    assert_eq!(scene.saw(), [T::Parked(cause)]);
    let branch = scene.branch(1);
    assert_eq!(branch.parked, Some(Parked { cause, at: scene.now() }));
    assert_eq!((branch.state, branch.attempts), (BranchState::Confirming, 1), "its decision and count stand");
    assert_eq!(branch.last_error.as_deref(), Some("no such hold"));
    assert_eq!(scene.close(&drive, park), Ok(Closed::Parked));
    assert_eq!(scene.saw(), [T::ClosedAgain]);
}

#[test]
pub(super) fn rule_10_a_branch_out_of_attempts_is_parked() {
    is_parked_for(ParkCause::AttemptsExhausted);
}

#[test]
pub(super) fn rule_10_a_branch_ongoing_for_too_long_is_parked() {
    is_parked_for(ParkCause::OngoingTooLong);
}

#[test]
pub(super) fn rule_10_a_branch_is_parked_when_its_handler_says_so() {
    is_parked_for(ParkCause::Handler);
}

#[test]
pub(super) fn rule_10_a_branch_whose_payload_cannot_be_decoded_is_parked() {
    is_parked_for(ParkCause::Undecodable);
}

#[test]
pub(super) fn rule_10_a_branch_nobody_knows_the_action_of_is_parked() {
    is_parked_for(ParkCause::UnknownAction);
}

#[test]
fn rule_09_a_parked_branch_never_holds_up_its_siblings() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.park("stock");
    assert_eq!(scene.record().parked(), 1);
    assert!(scene.timer().is_some(), "its sibling is to be driven");
    scene.finish("pay");
    assert_eq!(scene.record().state, TransactionState::Confirming);
    assert_eq!((scene.timer(), scene.record().expires_at()), (None, None));
}

#[test]
pub(super) fn a_redriven_branch_is_driven_again_in_its_direction() {
    let mut scene = Scene::cancelling(&[STOCK]);
    scene.park("stock");
    scene.wait(10_000_000);
    assert_eq!(scene.redrive(&[1]), Ok(1));
    assert_eq!(scene.saw(), [T::Redriven, T::Rung]);
    assert_eq!((scene.standing(), scene.timer()), (vec!["stock"], Some(0)));
    let branch = scene.branch(1);
    assert_eq!((branch.parked, branch.attempts, branch.next_attempt_at), (None, 0, scene.now()));
    let drive = scene.claim_one("stock");
    assert_eq!((drive.direction, drive.epoch, drive.attempt), (Direction::Cancel, 2, 1));
}

#[test]
fn a_redriven_branch_starts_its_patience_afresh() {
    let mut scene = Scene::cancelling(&[STOCK]);
    for how in [How::Ongoing { after_ms: 0 }, How::Release { after_ms: 0, unhandled: true }] {
        let drive = scene.claim_one("stock");
        scene.close(&drive, how).unwrap();
    }
    scene.park("stock");
    assert!(scene.branch(1).ongoing_since.is_some() && scene.branch(1).unhandled_since.is_some());
    scene.redrive(&[]).unwrap();
    assert!(scene.branch(1).ongoing_since.is_none() && scene.branch(1).unhandled_since.is_none());
}

#[test]
fn a_redrive_sets_going_what_it_names_or_everything() {
    let mut scene = Scene::confirming(&[STOCK, PAY, "mail.book@1"]);
    for participant in ["stock", "pay", "mail"] {
        scene.park(participant);
    }
    assert_eq!(scene.redrive(&[2, 2]), Ok(1));
    assert_eq!(scene.standing(), ["pay"]);
    assert_eq!(scene.redrive(&[]), Ok(2));
    assert_eq!(scene.saw(), [T::Redriven, T::Redriven, T::Rung, T::Rung]);
    assert_eq!(scene.standing(), ["mail", "pay", "stock"]);
}

#[test]
pub(super) fn a_redrive_of_what_is_not_parked_is_refused() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.park("stock");
    assert_eq!(scene.refused(Redrive { branches: vec![nth(2)] }), Refusal::NotParked);
    assert_eq!(scene.refused(Redrive { branches: vec![nth(1), nth(3)] }), Refusal::NoSuchBranch(nth(3)));
    assert_eq!(Scene::begun().refused(Redrive { branches: Vec::new() }), Refusal::NotParked);
    assert_eq!(Scene::new().refused(Redrive { branches: Vec::new() }), Refusal::NotFound);
}

#[test]
fn rule_11_a_stale_completion_finishes_a_parked_branch() {
    let mut scene = Scene::confirming(&[STOCK]);
    let stale = scene.claim_one("stock");
    scene.wait(LEASE_MS);
    scene.park("stock");
    assert_eq!(scene.close(&stale, done(&stale)), Ok(Closed::Final));
    assert_eq!(scene.saw(), [T::CompletedLate(Direction::Confirm), T::Ended(Direction::Confirm)]);
    assert_eq!(scene.record().parked(), 0);
}
