//! Operators' changes (rules 1 and 4), and what is kept of them.

use super::scene::*;
use crate::{
    machine::{Change, Operated, Refusal, Transition as T},
    operator::{AuditEntry, Changed},
    record::{BranchState, Closed, Direction, Known, Reason, TransactionState},
};

fn resolved(state: TransactionState, changed: bool) -> Operated {
    Operated::Resolved { state, changed }
}

fn all() -> Change {
    Change::Redrive { branches: Vec::new() }
}

#[test]
pub(super) fn an_operator_attests_a_parked_branch_and_the_last_one_ends_the_transaction() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.park("stock");
    scene.finish("pay");
    scene.wait(1_000);
    let done = scene.operate(resolve(1, Direction::Confirm));
    assert_eq!(done, Ok(resolved(TransactionState::Confirmed, true)));
    assert_eq!(scene.saw(), [T::Resolved(Direction::Confirm), T::Ended(Direction::Confirm)]);
    assert_eq!((scene.branch(1).state, scene.branch(1).parked), (BranchState::Confirmed, None));
    assert_eq!(scene.record().ended_at, Some(scene.now()));
    let (gid, branch, direction) = (scene.gid(), nth(1), Direction::Confirm);
    let changed = Changed::Resolved { gid, branch, direction };
    let entry = AuditEntry { at: scene.now(), by: text("alice"), why: text("ticket 17"), changed };
    assert_eq!(scene.audited(), [entry]);
}

#[test]
pub(super) fn each_branch_is_attested_in_its_own_direction() {
    let mut scene = Scene::trying(&[STOCK, PAY]);
    scene.report(1, succeeded());
    scene.report(2, Known::Refused);
    scene.commit();
    assert_eq!(scene.operate(resolve(1, Direction::Cancel)), Err(Refusal::WrongDirection(nth(1))));
    assert_eq!(scene.operate(resolve(2, Direction::Confirm)), Err(Refusal::WrongDirection(nth(2))));
    let open = resolved(TransactionState::Confirming, true);
    assert_eq!(scene.operate(resolve(2, Direction::Cancel)), Ok(open), "rule 4: it was refused");
    assert_eq!(scene.saw(), [T::Resolved(Direction::Cancel)]);
    assert!(scene.timer().is_some(), "its sibling is to be driven");
    assert_eq!(scene.operate(resolve(2, Direction::Confirm)), Err(Refusal::WrongDirection(nth(2))));
    scene.finish("stock");
    assert_eq!(scene.record().state, TransactionState::Confirmed);
}

#[test]
fn what_is_left_wholly_parked_has_no_timer() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.park("stock");
    assert!(scene.timer().is_some());
    scene.operate(resolve(2, Direction::Confirm)).unwrap();
    assert_eq!(scene.timer(), None);
}

#[test]
pub(super) fn a_branch_that_a_process_drives_is_not_attested() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    let drive = scene.claim_one("stock");
    assert_eq!(scene.refused(operate(resolve(1, Direction::Confirm))), Refusal::BranchLeased(nth(1)));
    scene.wait(LEASE_MS);
    scene.operate(resolve(1, Direction::Confirm)).unwrap();
    let before = scene.branch(1).state;
    assert_eq!(scene.close(&drive, failed(1_000)), Ok(Closed::Final), "whoever drove it finds it final");
    assert_eq!((scene.branch(1).state, before), (BranchState::Confirmed, BranchState::Confirmed));
    assert_eq!(scene.claim("stock"), [], "nobody drives it again");
}

#[test]
fn rule_06c_a_late_outcome_reopens_what_was_attested_without_it() {
    let mut scene = Scene::cancelling(&[STOCK]);
    scene.park("stock");
    scene.operate(resolve(1, Direction::Cancel)).unwrap();
    assert_eq!(scene.record().state, TransactionState::Cancelled);
    scene.report(1, succeeded());
    assert_eq!(scene.branch(1).state, BranchState::Cancelling);
    let drive = scene.claim_one("stock");
    assert_eq!(drive.direction, Direction::Cancel);
}

#[test]
fn an_operator_cancels_what_is_not_decided() {
    let mut scene = Scene::trying(&[STOCK]);
    let Ok(Operated::Cancelled { decision, changed: true }) = scene.operate(Change::Cancel) else {
        panic!("it cancels")
    };
    assert_eq!((decision.direction, decision.reason), (Direction::Cancel, Reason::Operator));
    assert_eq!((decision.by, decision.at), (text("alice"), scene.now()));
    assert_eq!((scene.standing(), scene.timer().is_some()), (vec!["stock"], true), "rule 7");
    assert_eq!(scene.audited()[0].changed, Changed::Cancelled { gid: scene.gid() });
}

#[test]
pub(super) fn rule_01_an_operator_never_turns_a_decision_round() {
    let mut scene = Scene::confirming(&[STOCK]);
    assert_eq!(scene.refused(operate(Change::Cancel)), Refusal::WouldFlip(Direction::Confirm));
    scene.finish("stock");
    assert_eq!(scene.refused(operate(Change::Cancel)), Refusal::WouldFlip(Direction::Confirm));
    assert_eq!(scene.audited(), [], "what changes nothing is not kept");
}

#[test]
pub(super) fn a_repeated_change_is_kept_once() {
    let mut scene = Scene::trying(&[STOCK]);
    scene.operate(Change::Cancel).unwrap();
    let again = scene.operate(Change::Cancel);
    assert!(matches!(again, Ok(Operated::Cancelled { changed: false, .. })), "{again:?}");
    assert_eq!(scene.saw(), [T::DecidedBefore]);
    scene.park("stock");
    scene.operate(all()).unwrap();
    assert_eq!(scene.operate(all()), Err(Refusal::NotParked));
    scene.operate(resolve(1, Direction::Cancel)).unwrap();
    let again = scene.operate(resolve(1, Direction::Cancel));
    assert_eq!(again, Ok(resolved(TransactionState::Cancelled, false)));
    assert_eq!(scene.saw(), [T::ResolvedAgain]);
    assert_eq!(scene.audited().len(), 3);
}

#[test]
fn a_retry_keeps_which_branches_were_set_going() {
    let mut scene = Scene::confirming(&[STOCK, PAY, "mail.book@1"]);
    scene.park("stock");
    scene.park("mail");
    assert_eq!(scene.operate(all()), Ok(Operated::Redriven(2)));
    assert_eq!(scene.saw(), [T::Redriven, T::Redriven, T::Rung, T::Rung]);
    let (gid, branches) = (scene.gid(), vec![nth(1), nth(3)]);
    assert_eq!(scene.audited()[0].changed, Changed::Retried { gid, branches, count: 2 });
}

#[test]
fn what_cannot_be_changed_is_refused_by_what_it_is() {
    let mut scene = Scene::begun();
    assert_eq!(scene.refused(operate(all())), Refusal::NotDecided);
    assert_eq!(scene.refused(operate(resolve(1, Direction::Cancel))), Refusal::NotDecided);
    let mut scene = Scene::confirming(&[STOCK]);
    assert_eq!(scene.refused(operate(all())), Refusal::NotParked);
    assert_eq!(scene.refused(operate(resolve(2, Direction::Confirm))), Refusal::NoSuchBranch(nth(2)));
    let mut scene = Scene::new();
    for change in [Change::Cancel, all(), resolve(1, Direction::Cancel)] {
        assert_eq!(scene.refused(operate(change)), Refusal::NotFound);
    }
}
