//! Closing epochs, each once (rules 10 and 11).

use super::scene::*;
use crate::{
    machine::{Close, CloseDrive, How, Refusal, Transition as T},
    record::{BranchState, Closed, Direction, ERROR_BYTES_MAX, Seen, TransactionState},
};

#[test]
pub(super) fn a_finished_drive_makes_its_branch_final_in_its_direction() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    scene.finish("stock");
    assert_eq!(scene.saw(), [T::Completed(Direction::Confirm)]);
    assert_eq!(scene.branch(1).state, BranchState::Confirmed);
    assert_eq!(scene.branch(1).claim.unwrap().closed, Some(Closed::Final));
    assert_eq!(scene.record().state, TransactionState::Confirming);

    let mut scene = Scene::cancelling(&[STOCK, PAY]);
    scene.finish("stock");
    assert_eq!(scene.saw(), [T::Completed(Direction::Cancel)]);
    assert_eq!(scene.branch(1).state, BranchState::Cancelled);
}

#[test]
fn a_close_tells_how_the_transaction_stands_after_it() {
    let mut scene = Scene::confirming(&[STOCK, PAY]);
    let (one, two) = (scene.claim_one("stock"), scene.claim_one("pay"));
    let mut state = |drive| {
        let drives = vec![close(drive, done(drive))];
        scene.apply(Close { drives }).unwrap().state
    };
    assert_eq!(state(&one), TransactionState::Confirming);
    assert_eq!(state(&two), TransactionState::Confirmed);
}

#[test]
pub(super) fn rule_11_a_completion_is_accepted_from_a_stale_epoch() {
    for direction in [Direction::Confirm, Direction::Cancel] {
        let mut scene = match direction {
            Direction::Confirm => Scene::confirming(&[STOCK, PAY]),
            Direction::Cancel => Scene::cancelling(&[STOCK, PAY]),
        };
        let stale = scene.claim_one("stock");
        scene.wait(LEASE_MS);
        let newer = scene.claim_one("stock");
        assert_eq!(scene.close(&stale, done(&stale)), Ok(Closed::Final));
        assert_eq!(scene.saw(), [T::CompletedLate(direction)]);
        assert!(scene.branch(1).state.is_final());
        assert_eq!(
            scene.close(&newer, failed(0)),
            Ok(Closed::Final),
            "the newer drive learns that it is done"
        );
        assert_eq!(scene.saw(), [T::CompletedAgain]);
        assert!(scene.branch(1).state.is_final());
    }
}

#[test]
pub(super) fn rule_11_failing_rescheduling_and_parking_are_not_accepted_from_a_stale_epoch() {
    let mut scene = Scene::confirming(&[STOCK]);
    let stale = scene.claim_one("stock");
    scene.wait(LEASE_MS);
    scene.claim_one("stock");
    let record = scene.record().clone();
    let park = How::Park { cause: crate::record::ParkCause::Handler, error: String::new() };
    let release = How::Release { after_ms: 0, unhandled: false };
    for how in [failed(0), How::Ongoing { after_ms: 0 }, park, release] {
        assert_eq!(scene.close(&stale, how), Err(Refusal::StaleEpoch(nth(1))));
        assert!(scene.saw().is_empty());
    }
    assert_eq!(*scene.record(), record);
}

#[test]
pub(super) fn a_final_branch_that_is_finished_again_stays_as_it_is() {
    let mut scene = Scene::confirming(&[STOCK]);
    let stale = scene.claim_one("stock");
    scene.wait(LEASE_MS);
    scene.finish("stock");
    let record = scene.record().clone();
    assert_eq!(scene.close(&stale, done(&stale)), Ok(Closed::Final));
    assert_eq!(scene.saw(), [T::CompletedAgain]);
    assert_eq!(scene.close(&stale, failed(0)), Err(Refusal::StaleEpoch(nth(1))));
    assert_eq!(*scene.record(), record);
}

#[test]
pub(super) fn rule_11_an_epoch_is_closed_once_and_a_repeat_gets_the_first_answer() {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    let first = scene.close(&drive, failed(700));
    let record = scene.record().clone();
    scene.wait(100);
    for how in [failed(700), How::Ongoing { after_ms: 9 }, done(&drive)] {
        assert_eq!(scene.close(&drive, how), first);
        assert_eq!(scene.saw(), [T::ClosedAgain]);
    }
    assert_eq!(*scene.record(), record, "an attempt is not given back twice");
}

#[test]
pub(super) fn rule_10_a_failed_attempt_is_rescheduled_and_stays_counted() {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    scene.wait(10);
    assert_eq!(scene.close(&drive, failed(700)), Ok(Closed::Rescheduled(scene.now() + ms(700))));
    assert_eq!(scene.saw(), [T::Failed]);
    let branch = scene.branch(1);
    assert_eq!((branch.attempts, branch.next_attempt_at), (1, scene.now() + ms(700)));
    assert_eq!(branch.last_error.as_deref(), Some("connection reset"));
    assert_eq!(branch.state, BranchState::Confirming);
    assert_eq!(scene.timer(), Some(700));
}

#[test]
pub(super) fn rule_10_an_ongoing_handler_is_asked_again_and_spends_no_attempt() {
    let mut scene = Scene::confirming(&[STOCK]);
    let began = scene.now() + ms(10);
    for _ in 0..2 {
        scene.wait(10);
        let drive = scene.claim_one("stock");
        assert_eq!(drive.attempt, 1);
        assert_eq!(
            scene.close(&drive, How::Ongoing { after_ms: 5 }),
            Ok(Closed::Rescheduled(scene.now() + ms(5)))
        );
        assert_eq!(scene.saw(), [T::Ongoing]);
        assert_eq!(scene.branch(1).attempts, 0);
        assert_eq!(scene.branch(1).ongoing_since, Some(began), "it counts from the first answer");
    }
}

#[test]
fn a_failure_ends_an_ongoing_answer_and_a_handing_on() {
    let mut scene = Scene::confirming(&[STOCK]);
    for how in [How::Release { after_ms: 0, unhandled: true }, How::Ongoing { after_ms: 0 }] {
        let drive = scene.claim_one("stock");
        scene.close(&drive, how).unwrap();
    }
    assert!(scene.branch(1).ongoing_since.is_some() && scene.branch(1).unhandled_since.is_none());
    let drive = scene.claim_one("stock");
    scene.close(&drive, How::Release { after_ms: 0, unhandled: true }).unwrap();
    let drive = scene.claim_one("stock");
    scene.close(&drive, failed(0)).unwrap();
    let branch = scene.branch(1);
    assert_eq!((branch.ongoing_since, branch.unhandled_since), (None, None));
}

#[test]
pub(super) fn a_released_branch_waits_for_another_and_spends_no_attempt() {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    let release = How::Release { after_ms: 400, unhandled: false };
    assert_eq!(scene.close(&drive, release), Ok(Closed::Rescheduled(scene.now() + ms(400))));
    assert_eq!(scene.saw(), [T::Released]);
    let branch = scene.branch(1);
    assert_eq!((branch.attempts, branch.unhandled_since), (0, None));
    assert_eq!(scene.timer(), Some(400));
}

#[test]
pub(super) fn rule_10_an_unknown_action_is_handed_on_through_due_never_straight_back() {
    let mut scene = Scene::confirming(&[STOCK]);
    let began = scene.now() + ms(1_000);
    for _ in 0..2 {
        scene.wait(1_000);
        let drive = scene.claim_one("stock");
        scene.sweep();
        scene.close(&drive, How::Release { after_ms: 1_000, unhandled: true }).unwrap();
        assert_eq!(scene.saw(), [T::HandedOn]);
        assert!(scene.standing().is_empty());
        assert_eq!(scene.timer(), Some(1_000));
        let branch = scene.branch(1);
        assert_eq!((branch.attempts, branch.unhandled_since), (0, Some(began)), "it counts from the first");
    }
}

#[test]
fn rule_09_each_drive_of_a_close_is_answered_on_its_own() {
    let mut scene = Scene::confirming(&[STOCK, STOCK]);
    let drives = scene.claim("stock");
    let missing = CloseDrive { ordinal: nth(3), ..close(&drives[0], failed(0)) };
    let all = vec![missing, close(&drives[0], done(&drives[0])), close(&drives[1], failed(30))];
    let closes = scene.apply(Close { drives: all }).unwrap().drives;
    assert_eq!(closes[0], Err(Refusal::NoSuchBranch(nth(3))));
    assert_eq!(closes[1..], [Ok(Closed::Final), Ok(Closed::Rescheduled(scene.now() + ms(30)))]);
}

#[test]
pub(super) fn a_branch_the_record_does_not_hold_cannot_be_closed() {
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    let lost = CloseDrive { ordinal: nth(2), ..close(&drive, done(&drive)) };
    let closes = scene.apply(Close { drives: vec![lost] }).unwrap();
    assert_eq!(closes.drives, [Err(Refusal::NoSuchBranch(nth(2)))]);
}

#[test]
pub(super) fn invariant_03_a_drive_in_the_other_direction_is_refused() {
    for (mut scene, wrong) in [
        (Scene::confirming(&[STOCK, PAY]), Direction::Cancel),
        (Scene::cancelling(&[STOCK, PAY]), Direction::Confirm),
    ] {
        let drive = scene.claim_one("stock");
        let turned = CloseDrive { direction: wrong, ..close(&drive, done(&drive)) };
        let refused = Err(Refusal::WrongDirection(nth(1)));
        assert_eq!(
            scene.apply(Close { drives: vec![turned.clone()] }).unwrap().drives,
            vec![refused.clone()]
        );
        scene.close(&drive, done(&drive)).unwrap();
        let stale = CloseDrive { epoch: 0, ..turned };
        assert_eq!(
            scene.apply(Close { drives: vec![stale] }).unwrap().drives,
            [refused],
            "nor once it is final"
        );
    }
}

#[test]
pub(super) fn nothing_is_closed_before_the_decision() {
    let mut scene = Scene::tried(&[STOCK]);
    let drive = CloseDrive {
        ordinal: nth(1),
        epoch: 1,
        direction: Direction::Confirm,
        how: How::Done { seen: Seen::Succeeded },
    };
    let close = Close { drives: vec![drive] };
    assert_eq!(scene.refused(close.clone()), Refusal::NotDecided);
    assert_eq!(Scene::new().refused(close), Refusal::NotFound);
}

#[test]
fn long_errors_are_cut() {
    let error = || "x".repeat(2 * ERROR_BYTES_MAX);
    let mut scene = Scene::confirming(&[STOCK]);
    let drive = scene.claim_one("stock");
    scene.close(&drive, How::Failed { after_ms: 0, error: error() }).unwrap();
    assert!(scene.branch(1).last_error.as_ref().unwrap().len() <= ERROR_BYTES_MAX);
    let drive = scene.claim_one("stock");
    let cause = crate::record::ParkCause::Handler;
    scene.close(&drive, How::Park { cause, error: error() }).unwrap();
    assert!(scene.branch(1).last_error.as_ref().unwrap().len() <= ERROR_BYTES_MAX);
}

#[test]
fn rule_11_a_late_completion_leaves_the_answer_of_a_closed_epoch() {
    let mut scene = Scene::confirming(&[STOCK]);
    let stale = scene.claim_one("stock");
    scene.wait(LEASE_MS);
    let newer = scene.claim_one("stock");
    let first = scene.close(&newer, failed(700));
    assert_eq!(scene.close(&stale, done(&stale)), Ok(Closed::Final));
    assert_eq!(scene.close(&newer, failed(700)), first);
}

#[test]
fn rule_02_a_branch_that_was_never_claimed_cannot_fail_or_be_parked() {
    let mut scene = Scene::confirming(&[STOCK]);
    let record = scene.record().clone();
    let park = How::Park { cause: crate::record::ParkCause::Handler, error: String::new() };
    for how in [failed(5_000), How::Ongoing { after_ms: 5_000 }, park] {
        let drive = CloseDrive { ordinal: nth(1), epoch: 0, direction: Direction::Confirm, how };
        let closes = scene.apply(Close { drives: vec![drive] }).unwrap();
        assert_eq!(closes.drives, [Err(Refusal::StaleEpoch(nth(1)))]);
        assert_eq!(*scene.record(), record);
    }
}
